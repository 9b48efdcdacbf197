"""Steps of IQATM's trainings by our stages: nets, losses and optimiser together against the reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from iqatm import NET_SCOPES, vgg16_of_the_reference
from numpy.typing import NDArray
from torch import Tensor

from hdrlab.stages.base import Batch, Stage
from hdrlab.stages.frozen import Frozen
from hdrlab.train import COMMAND
from hdrlab.training import build as training_build
from hdrlab.weights import load_variables

pytestmark = pytest.mark.golden

Arrays = dict[str, NDArray[np.float32]]
TERMS = {
    "bot": {"l1": "l1", "perceptual": "f", "structure": "tmqi_s", "hue": "h", "delta_e": "c"},
    "high": {"l1": "l1", "perceptual": "f", "ms_ssim": "msssim"},
    "ft": {"l1": "l1", "perceptual": "p", "ssim": "ssim", "delta_e": "c", "hue": "h", "structure": "tmqi"},
}
"""What the reference calls the terms."""

STAGES = {"bot": "tmo_bottom", "high": "tmo_high", "ft": "tmo_ft"}
INPUTS = {
    "bot": {"bottom": "in", "sdr_bottom": "label"},
    "high": {"high": "in", "sdr_high": "label"},
    "ft": {"encoded": "x", "high": "high", "bottom": "bot", "sdr": "label"},
}


def load(path: Path) -> Arrays:
    with np.load(path) as arrays:
        return dict(arrays)


def image(array: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(array).permute(0, 3, 1, 2).double()


def official(kind: str, variables: Arrays) -> Stage:
    words = [f"stage={STAGES[kind]}", "preset=official", "stage.adam_epsilon=tf", "stage.gamut=nikon_d2x"]
    stage = training_build.build_stage(COMMAND.compose([*words, "stage.loss.perceptual=0"]))
    for name in NET_SCOPES:
        if hasattr(stage, name):
            load_variables(getattr(stage, name), variables)
    stage.weights["perceptual"] = 0.3
    stage.vgg16 = Frozen(vgg16_of_the_reference())
    return stage.double().train()


def names_of_parameters(stage: Stage, variables: Arrays) -> dict[str, str]:
    """TensorFlow's name of each parameter, found by its initial values."""
    by_value = {array.tobytes(): name for name, array in variables.items()}
    names = {}
    for key, parameter in stage.named_parameters():
        values = parameter.detach().float().numpy()
        layout = values.transpose(2, 3, 1, 0) if values.ndim == 4 else values
        names[key] = by_value[np.ascontiguousarray(layout).tobytes()]
    return names


def in_our_layout(array: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(array.transpose(3, 2, 0, 1) if array.ndim == 4 else array).double()


SLOW = (pytest.mark.slow, pytest.mark.timeout(1200))  # VGG-16 in double precision


@pytest.mark.parametrize("kind", ["bot", pytest.param("high", marks=SLOW), pytest.param("ft", marks=SLOW)])
def test_terms_gradients_and_steps_match_the_reference(iqatm_goldens: Path, kind: str) -> None:
    golden, variables = load(iqatm_goldens / f"train_{kind}.npz"), load(iqatm_goldens / "weights.npz")
    stage = official(kind, variables)
    batch: Batch = {key: image(golden[f"{kind}_{theirs}"]) for key, theirs in INPUTS[kind].items()}
    batch = {**batch, "labelled": torch.ones(2, 1, 1, 1), "mask": torch.ones(2, 1, 1, 1)}
    optimiser = stage.configure_optimizers()
    for group in optimiser.param_groups:
        group["lr"] = 1.5e-3 if kind == "ft" else 3e-4
    names = names_of_parameters(stage, variables)

    steps = golden[f"{kind}_losses_before_each_step_and_after_last"]
    for number, expected in enumerate(steps):
        terms = stage.losses(batch, stage(batch))
        loss = stage.weigh(terms)
        assert loss.item() == pytest.approx(float(expected), rel=5e-5 if number == 0 else 2e-3)
        if number == len(steps) - 1:
            break
        optimiser.zero_grad()
        loss.backward()
        if number == 0:
            for ours, theirs in TERMS[kind].items():
                wanted = float(golden[f"{kind}_term_loss_{theirs}"])
                assert terms[ours].item() == pytest.approx(wanted, rel=5e-5, abs=2e-5), ours
            for key, parameter in stage.named_parameters():
                wanted_grad = in_our_layout(golden[f"{kind}_grad__{names[key].replace('/', '.')}"])
                assert parameter.grad is not None
                scale = float(wanted_grad.abs().max())
                torch.testing.assert_close(parameter.grad, wanted_grad, rtol=0, atol=0.1 * scale, msg=key)
                likeness = torch.cosine_similarity(parameter.grad.flatten(), wanted_grad.flatten(), dim=0)
                assert likeness > 0.999 or scale < 1e-6, key
        optimiser.step()
    learnt = {key: in_our_layout(golden[f"{kind}_final__{names[key].replace('/', '.')}"]) for key in names}
    rate = optimiser.param_groups[0]["lr"] * (len(steps) - 1)
    moved = [
        (dict(stage.named_parameters())[key].detach() - value).abs().mean() for key, value in learnt.items()
    ]
    assert float(torch.stack(moved).mean()) < 0.05 * rate
