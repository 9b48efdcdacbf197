"""Adam in TensorFlow's form."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from hdrlab.stages.optimizers import TensorFlowAdam


@pytest.mark.golden
def test_trajectory_matches_tensorflow(goldens: Path) -> None:
    with np.load(goldens / "adam_tf1.npz") as arrays:
        start, a, trajectory = (torch.from_numpy(arrays[name]) for name in ("w0", "a", "trajectory"))

    def distance(optimiser_class: type[torch.optim.Optimizer]) -> float:
        w = start.clone().requires_grad_()
        optimiser = optimiser_class([w], lr=1e-4)  # type: ignore[call-arg]
        worst = 0.0
        for expected in trajectory:
            optimiser.zero_grad()
            (a * w.square()).sum().backward()
            optimiser.step()
            # Compared are the moves, which are some 1e-4 of the weights.
            worst = max(worst, (w.detach() - expected).abs().max().item())
        return worst

    assert distance(TensorFlowAdam) < 2.5e-7  # two units in the last place of weights near 1
    assert distance(torch.optim.Adam) > 1e-5


@pytest.mark.golden
@pytest.mark.parametrize("lr", [0.0003, 0.0015])
def test_tiny_and_large_gradients_move_as_in_tensorflow(iqatm_goldens: Path, lr: float) -> None:
    with np.load(iqatm_goldens / "adam.npz") as arrays:
        grads, trajectory = torch.from_numpy(arrays["grads"]), torch.from_numpy(arrays[f"trajectory_lr{lr}"])

    def distance(optimiser_class: type[torch.optim.Optimizer]) -> float:
        w = trajectory[0].clone().requires_grad_()
        optimiser = optimiser_class([w], lr=lr)  # type: ignore[call-arg]
        worst = 0.0
        for grad, expected in zip(grads, trajectory[1:], strict=True):
            w.grad = grad.clone()
            optimiser.step()
            worst = max(worst, (w.detach() - expected).abs().max().item())
        return worst

    assert distance(TensorFlowAdam) < 2e-7
    assert distance(torch.optim.Adam) > 0.1 * lr


def test_first_step_by_hand() -> None:
    w = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    w.grad = torch.tensor([1.0, 1e-8], dtype=torch.float64)
    TensorFlowAdam([w], lr=0.1, eps=1e-8).step()
    # lr · √(1−β₂)/(1−β₁) · (1−β₁)g / (√(1−β₂)·g + ε)
    root = 0.001**0.5
    expected = [-0.1 * root * g / (root * g + 1e-8) for g in (1.0, 1e-8)]
    torch.testing.assert_close(w.detach(), torch.tensor(expected, dtype=torch.float64))


def test_state_round_trip_continues_exactly() -> None:
    torch.manual_seed(0)
    net = torch.nn.Linear(4, 3)
    optimiser = TensorFlowAdam(net.parameters(), lr=1e-2)
    data = torch.randn(6, 5, 4)

    def train(net: torch.nn.Linear, optimiser: TensorFlowAdam, batches: torch.Tensor) -> None:
        for batch in batches:
            optimiser.zero_grad()
            net(batch).square().sum().backward()
            optimiser.step()

    train(net, optimiser, data[:3])
    twin = copy.deepcopy(net)
    resumed = TensorFlowAdam(twin.parameters(), lr=1.0)
    resumed.load_state_dict(copy.deepcopy(optimiser.state_dict()))
    train(net, optimiser, data[3:])
    train(twin, resumed, data[3:])
    assert torch.equal(net.weight, twin.weight)
    assert torch.equal(net.bias, twin.bias)


def test_parameters_without_gradient_stay_and_keep_their_own_count() -> None:
    used, frozen = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    optimiser = TensorFlowAdam([used, frozen], lr=0.1)
    loss = optimiser.step(lambda: (used.sum().backward(), 7.0)[1])
    assert loss == 7
    assert torch.equal(frozen, torch.ones(2))
    assert (used < 1).all()
    used.grad, frozen.grad = torch.zeros(2), torch.ones(2)
    optimiser.step()
    torch.testing.assert_close(frozen.detach(), torch.full((2,), 0.9), atol=1e-5, rtol=0)


@pytest.mark.parametrize("wrong", [{"lr": -1.0}, {"betas": (0.9, 1.0)}, {"eps": 0.0}])
def test_numbers_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        TensorFlowAdam([torch.ones(1)], **wrong)  # type: ignore[arg-type]
