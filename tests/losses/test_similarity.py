"""Structural similarity: reference outputs, independence of samples, and gradients where formulas break."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor

from hdrlab.errors import ImageSizeError
from hdrlab.losses import multiscale_ssim_loss, ssim_loss, tmqi_multiscale_loss, tmqi_ssim_loss
from hdrlab.ops.windows import local_statistics

Loss = Callable[..., Tensor]

PLAIN: Mapping[str, Loss] = {
    "ssim": ssim_loss,
    "ssim_normalised": partial(ssim_loss, normalise=True),
    "tmqi": tmqi_ssim_loss,
    "tmqi_255": partial(tmqi_ssim_loss, scale255=True),
}
MULTISCALE: Mapping[str, Loss] = {
    "ms": multiscale_ssim_loss,
    "tmqi_ms": partial(tmqi_multiscale_loss, normalise=True, scale255=True),
}
ALL = PLAIN | MULTISCALE


@pytest.fixture(scope="module")
def reference(iqatm_goldens: Path) -> dict[str, Tensor]:
    with np.load(iqatm_goldens / "losses.npz") as arrays:
        tensors = {name: torch.from_numpy(np.asarray(arrays[name])) for name in arrays.files}
    return {name: t.permute(0, 3, 1, 2) if name in ("o", "t", "x") else t for name, t in tensors.items()}


def images(name: str, dtype: torch.dtype = torch.float32, batch: int = 2) -> tuple[Tensor, Tensor]:
    """An image and a disturbed one of odd size, just large enough for a loss; samples of unlike contrast."""
    least = 161 if name in MULTISCALE else 17
    generator = torch.Generator().manual_seed(1)
    noise = torch.rand(2, batch, 3, least, least + 2, generator=generator, dtype=dtype)
    ramp = (
        torch.linspace(0, 0.6, least + 2, dtype=dtype) * torch.arange(1, batch + 1).view(-1, 1, 1, 1) / batch
    )
    return ramp + 0.3 * noise[0], ramp + 0.3 * noise[0] + 0.1 * noise[1]


@pytest.mark.golden
@pytest.mark.parametrize(
    ("loss", "other", "key", "tolerance"),
    [
        (ssim_loss, "t", "ssim_ot", 1e-3),
        (multiscale_ssim_loss, "t", "msssim_ot", 1e-3),
        (tmqi_ssim_loss, "x", "ssim_tmqi_ox", 1e-2),
        (tmqi_multiscale_loss, "x", "msssim_tmqi_ox", 1e-3),
    ],
)
def test_values_and_gradients_match_the_reference(
    reference: dict[str, Tensor], loss: Loss, other: str, key: str, tolerance: float
) -> None:
    output = reference["o"].clone().requires_grad_()
    similarity = 1 - loss(output, reference[other], form="official")
    assert similarity.item() == pytest.approx(reference[key].item(), abs=2e-6)
    (grad,) = torch.autograd.grad(similarity, output)
    grad = grad.permute(0, 2, 3, 1)
    for part, place in (("crop", grad[0, 60:84, 70:94]), ("corner", grad[-1, :16, :16])):
        expected = reference[f"grad_{key}_{part}"]
        torch.testing.assert_close(place, expected, rtol=0, atol=tolerance * float(expected.abs().max()))
    assert grad.abs().sum().item() == pytest.approx(reference[f"grad_{key}_l1norm"].item(), rel=1e-3)


@pytest.mark.golden
@pytest.mark.parametrize(
    ("loss", "other", "key"),
    [
        (partial(ssim_loss, normalise=True), "t", "ssim_norm_ot"),
        (partial(multiscale_ssim_loss, normalise=True), "t", "msssim_norm_ot"),
        (partial(tmqi_multiscale_loss, normalise=True), "x", "msssim_tmqi_norm_ox"),
        (multiscale_ssim_loss, "t", "msssim_ot_odd"),
        (tmqi_multiscale_loss, "x", "msssim_tmqi_ox_odd"),
    ],
)
def test_normalised_and_odd_sizes_match_the_reference(
    reference: dict[str, Tensor], loss: Loss, other: str, key: str
) -> None:
    a, b = reference["o"], reference[other]
    if key.endswith("odd"):
        a, b = a[..., :165, :167], b[..., :165, :167]
    assert 1 - loss(a, b, form="official").item() == pytest.approx(reference[key].item(), abs=2e-6)


def test_ssim_agrees_with_its_definition() -> None:
    def blur(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return gaussian_filter(x, sigma=1.5, radius=5, axes=(2, 3))[..., 5:-5, 5:-5]

    a, b = (x.numpy() for x in images("ssim", torch.float64))
    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b, cov = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2, blur(a * b) - mean_a * mean_b
    top = (2 * mean_a * mean_b + 0.01**2) * (2 * cov + 0.03**2)
    bottom = (mean_a**2 + mean_b**2 + 0.01**2) * (var_a + var_b + 0.03**2)
    assert 1 - ssim_loss(torch.from_numpy(a), torch.from_numpy(b)).item() == pytest.approx(
        (top / bottom).mean(), abs=1e-12
    )


@pytest.mark.parametrize("name", ALL)
def test_both_forms_agree_on_one_image_of_even_size(name: str) -> None:
    # Repeated, so that its size is even down to the fifth scale, where 176 would leave a single window.
    a, b = (x.repeat(1, 1, 2, 2)[..., :192, :192] for x in images(name, torch.float64, batch=1))
    assert ALL[name](a, b).item() == pytest.approx(ALL[name](a, b, form="official").item(), abs=1e-9)


@pytest.mark.parametrize("name", ALL)
def test_samples_do_not_depend_on_each_other(name: str) -> None:
    a, b = images(name, torch.float64, batch=3)
    loss = ALL[name]
    alone = torch.stack([loss(a[i : i + 1], b[i : i + 1]) for i in range(3)])
    assert loss(a, b).item() == pytest.approx(alone.mean().item(), rel=1e-12)
    assert loss(a.flip(0), b.flip(0)).item() == pytest.approx(loss(a, b).item(), rel=1e-12)


def test_the_official_form_measures_the_batch_as_one_image() -> None:
    a, b = images("tmqi")
    alone = [tmqi_ssim_loss(a[i : i + 1], b[i : i + 1], form="official").item() for i in range(2)]
    assert abs(tmqi_ssim_loss(a, b, form="official").item() - sum(alone) / 2) > 1e-4


@pytest.mark.parametrize("form", ["official", "default"])
@pytest.mark.parametrize("name", ["ssim_normalised", "tmqi", "ms"])
def test_masked_samples_have_no_influence(name: str, form: str) -> None:
    a, b = images(name, torch.float64)
    b[0] = 0  # as where there is no label
    a.requires_grad_()
    loss = partial(ALL[name], form=form)
    mask = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1)
    value = loss(a, b, mask)
    assert value.item() == pytest.approx(loss(a[1:], b[1:]).item() / 2, rel=1e-9)
    (grad,) = torch.autograd.grad(value, a)
    assert grad[0].count_nonzero() == 0
    assert grad[1].count_nonzero() > 0
    nothing = loss(a, b, torch.zeros(2))
    assert nothing.item() == 0
    assert torch.autograd.grad(nothing, a)[0].count_nonzero() == 0


@pytest.mark.parametrize("name", ALL)
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    a, b = images(name, torch.float64)
    torch.manual_seed(0)  # directions of the check
    assert torch.autograd.gradcheck(ALL[name], (a.requires_grad_(), b), fast_mode=True)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("case", ["equal", "black", "constant", "opposite", "white_against_black"])
def test_values_and_gradients_are_finite_where_formulas_break(name: str, case: str) -> None:
    a, b = images(name)
    a, b = {
        "equal": (a, a.clone()),
        "black": (torch.zeros_like(a), torch.zeros_like(a)),
        "constant": (torch.full_like(a, 0.3), b),
        "opposite": (a, 1 - a),  # its negative levels have no power
        "white_against_black": (torch.ones_like(a), torch.zeros_like(a)),
    }[case]
    a.requires_grad_()
    value = ALL[name](a, b)
    (grad,) = torch.autograd.grad(value, a)
    assert value.isfinite()
    assert grad.isfinite().all()
    if case in ("equal", "black"):
        assert value < 0.01
        assert grad.abs().max() < 1e-4


def test_variance_survives_a_bright_mean() -> None:
    noise = 1e-3 * torch.randn(1, 1, 40, 40, generator=torch.Generator().manual_seed(0))
    bright = 0.9 + noise
    exact = local_statistics(bright.double(), bright.double()).var_a
    single = local_statistics(bright, bright).var_a
    torch.testing.assert_close(
        single, exact.float(), rtol=1e-4, atol=0
    )  # 0.1 with E[x²] − E[x]² as it stands
    halves = torch.tensor([0.1, 0.7]).repeat_interleave(20).expand(1, 1, 40, 40)  # flat, but not at the mean
    assert (local_statistics(halves, halves).var_a >= 0).all()


def test_scale_of_255_makes_the_structure_count() -> None:
    a, _ = images("tmqi")
    inverted = 1 - a  # the same visibility, opposite structure
    assert tmqi_ssim_loss(a, inverted).item() < 0.01
    assert tmqi_ssim_loss(a, inverted, scale255=True).item() > 1


def test_halving_an_odd_size_keeps_a_constant() -> None:
    a = torch.full((1, 1, 161, 161), 0.5)
    b = torch.full_like(a, 0.25)
    # On constants SSIM is its luminance term, the same at all scales unless a border is darkened.
    plain = 1 - ssim_loss(a, b).item()
    weights = torch.tensor([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])
    assert 1 - multiscale_ssim_loss(a, b).item() == pytest.approx((plain**weights).mean().item(), abs=1e-6)


def test_precision_is_kept_or_lifted() -> None:
    a, b = images("ssim")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert ssim_loss(a, b).item() == pytest.approx(ssim_loss(a.double(), b.double()).item(), abs=1e-6)
    assert tmqi_ssim_loss(a.half(), b.half()).dtype == torch.float32
    assert tmqi_ssim_loss(a.double(), b.double()).dtype == torch.float64


def test_small_images_are_refused() -> None:
    x = torch.rand(1, 3, 160, 200)
    with pytest.raises(ImageSizeError, match=r"at least 161 × 161 pixels, not \[1, 3, 160, 200\]"):
        multiscale_ssim_loss(x, x)
    with pytest.raises(ImageSizeError, match="at least 11 × 11"):
        tmqi_ssim_loss(x[..., :10], x[..., :10])


def test_wrong_arguments_are_refused() -> None:
    a, b = images("ssim")
    with pytest.raises(ValueError, match="same shape"):
        ssim_loss(a, b[:1])
    with pytest.raises(ValueError, match="one value per sample"):
        ssim_loss(a, b, torch.ones(3))
    with pytest.raises(ValueError, match="'official' or 'default'"):
        ssim_loss(a, b, form="tf2")  # type: ignore[arg-type]
