"""Losses: reference outputs, masking and precision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from hdrlab.losses import curve_loss, l2_loss, log_l1_loss, masked_mean, perceptual_loss, total_variation_loss
from hdrlab.ops.encoding import mean_normalise
from hdrlab.ops.response import apply_response


def load(path: Path) -> dict[str, Tensor]:
    """The arrays of a reference file, images as BCHW."""
    with np.load(path) as arrays:
        tensors = {
            name: torch.from_numpy(arrays[name]) for name in arrays.files if arrays[name].dtype == np.float32
        }
    return {name: (t.permute(0, 3, 1, 2) if t.ndim == 4 else t) for name, t in tensors.items()}


def gradient(loss: Tensor, x: Tensor) -> Tensor:
    return torch.autograd.grad(loss, x, retain_graph=True)[0]


def assert_near(actual: Tensor, expected: Tensor, relative: float = 1e-5) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=relative * float(expected.abs().max()))


@pytest.mark.golden
def test_dequantization_matches_the_reference(goldens: Path) -> None:
    g = load(goldens / "loss_deq.npz")
    pred = g["pred"].requires_grad_()
    # The reference clamps inside the loss: saturated pixels get no gradient.
    loss = l2_loss(pred.clamp(0, 1), g["target"], g["loss_mask"])
    assert_near(loss, g["total"])
    assert_near(gradient(loss, pred), g["grad_pred"])


@pytest.mark.golden
@pytest.mark.parametrize(
    ("reduction", "total", "grad"),
    [
        ("per_sample", "total_per_sample", "grad_pred_invcrf_per_sample"),
        ("authors_broadcast", "total_authors", "grad_pred_invcrf_authors"),
    ],
)
def test_linearization_matches_the_reference(goldens: Path, reduction: str, total: str, grad: str) -> None:
    g = load(goldens / "loss_lin.npz")
    curve = g["pred_invcrf"].requires_grad_()
    image = apply_response(g["ldr"], curve)
    assert_near(image, g["pred_lin"])
    loss = l2_loss(image, g["clipped_hdr"], g["loss_mask"]) + 0.1 * curve_loss(
        curve, g["invcrf"], g["loss_mask"], reduction
    )
    assert_near(loss, g[total])
    assert_near(gradient(loss, curve), g[grad])


@pytest.mark.golden
def test_refinement_matches_the_reference(goldens: Path) -> None:
    g = load(goldens / "loss_ref.npz")
    output = g["refinement_output"].requires_grad_()
    normalised = mean_normalise(output)
    assert_near(normalised, g["refinement_normalised"])
    loss = log_l1_loss(normalised, g["hdr_normalised"])
    assert_near(loss, g["loss"])
    assert_near(gradient(loss, output), g["grad_refinement_output"])


@pytest.mark.golden
def test_hallucination_pixel_terms_match_the_reference(goldens: Path) -> None:
    g = load(goldens / "loss_hal.npz")
    for sample in range(3):
        one = slice(sample, sample + 1)
        assert_near(log_l1_loss(g["y_final"][one], g["hdr_t"][one]), g["l1_log"][one].squeeze())
    assert_near(total_variation_loss(g["y_final"]), g["tv"])
    assert_near(total_variation_loss(g["y_final"], g["loss_mask"]), g["tv"] * 2 / 3)


def test_division_is_by_the_batch_not_by_the_unmasked() -> None:
    values = torch.tensor([1.0, 2.0, 6.0])
    assert masked_mean(values).item() == 3
    assert masked_mean(values, torch.tensor([1.0, 0.0, 1.0])).item() == pytest.approx(7 / 3)
    assert masked_mean(values, torch.zeros(3, 1, 1, 1)).item() == 0


def test_masked_samples_get_no_gradient() -> None:
    x = torch.rand(2, 3, 8, 8, requires_grad=True)
    target, mask = torch.rand(2, 3, 8, 8), torch.tensor([1.0, 0.0])
    for loss in (
        l2_loss(x, target, mask),
        log_l1_loss(x, target, mask),
        perceptual_loss(lambda v: [v.square()], x, target, mask),
    ):
        grad = gradient(loss, x)
        assert grad[0].abs().sum() > 0
        assert grad[1].abs().sum() == 0


def test_total_variation_by_hand() -> None:
    x = torch.zeros(1, 1, 2, 2)
    x[..., 1, 1] = 1  # ℓ(0) = 0, ℓ(1) = 1: one step of 1 along each axis, four cells
    assert total_variation_loss(x).item() == pytest.approx(0.5)


def test_curve_reductions_differ_by_the_leak_of_masked_samples() -> None:
    pred, true = torch.tensor([[0.0, 0.0], [2.0, 2.0]]), torch.zeros(2, 2)
    mask = torch.tensor([1.0, 0.0])
    assert curve_loss(pred, true, mask).item() == 0
    assert curve_loss(pred, true, mask, "authors_broadcast").item() == pytest.approx(0.5 * 2)


def test_perceptual_sums_the_maps_and_spares_the_target() -> None:
    hdr = torch.zeros(2, 3, 4, 4, requires_grad=True)
    target = torch.ones(2, 3, 4, 4, requires_grad=True)
    loss = perceptual_loss(lambda x: [x, 10 * x], hdr, target)
    assert loss.item() == pytest.approx(11)
    loss.backward()
    assert hdr.grad is not None
    assert target.grad is None


def test_half_precision_is_lifted() -> None:
    tiny = torch.full((1, 3, 4, 4), 1e-5, dtype=torch.float16)  # its square is 0 in half precision
    assert l2_loss(tiny, torch.zeros_like(tiny)).item() == pytest.approx(1e-10, rel=0.05)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        net = torch.nn.Conv2d(3, 2, 1)
        loss = perceptual_loss(lambda x: [net(x)], torch.rand(1, 3, 4, 4), torch.rand(1, 3, 4, 4))
    assert loss.dtype == torch.float32


def test_double_precision_is_kept() -> None:
    x = torch.rand(2, 3, 4, 4, dtype=torch.float64)
    mask = torch.ones(2)
    assert l2_loss(x, x + 1, mask).dtype == torch.float64
    assert total_variation_loss(x, mask).dtype == torch.float64
    assert curve_loss(x[:, 0, 0], x[:, 1, 0], mask).dtype == torch.float64


def test_shapes_that_would_broadcast_are_refused() -> None:
    x = torch.rand(2, 3, 4, 4)
    with pytest.raises(ValueError, match="same shape"):
        l2_loss(x, x[:, :1])
    with pytest.raises(ValueError, match="one value per sample"):
        l2_loss(x, x, torch.ones(3))
    with pytest.raises(ValueError, match="per_sample"):
        curve_loss(x[:, 0, 0], x[:, 0, 0], reduction="mean")  # type: ignore[arg-type]
