"""FSITM: reference values, the filters by their definition, and what a score may not depend on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hdrlab.errors import ImageSizeError
from hdrlab.metrics import fsitm

quick = settings(max_examples=15, deadline=None, derandomize=True)


def make_scene(seed: int, height: int, width: int, num: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.exp2(2 * torch.randn(num, 3, height, width, generator=generator, dtype=torch.float64))


def phase_by_definition(x: np.ndarray, wavelength: float) -> np.ndarray:
    """Phase of [H, W] with complex filters on a centred grid, angles and all."""
    axes = [np.arange(-(n // 2), n - n // 2) / (n if n % 2 == 0 else n - 1) for n in x.shape]
    fy, fx = np.meshgrid(*axes, indexing="ij")
    rho, theta = np.fft.ifftshift(np.hypot(fx, fy)), np.fft.ifftshift(np.arctan2(-fy, fx))
    rho[0, 0] = 1
    even, odd = np.zeros(x.shape), np.zeros((2, *x.shape))
    for length in (wavelength, wavelength**2):
        gain = np.exp(-(np.log(rho * length) ** 2) / (2 * np.log(0.65) ** 2)) / (1 + (rho / 0.45) ** 30)
        gain[0, 0] = 0
        for angle in (0, np.pi / 2):
            away = np.abs(np.angle(np.exp(1j * (theta - angle))))
            response = np.fft.ifft2(np.fft.fft2(x) * gain * (1 + np.cos(away)) / 2)
            even += response.real
            odd += np.array([np.cos(angle), np.sin(angle)]).reshape(2, 1, 1) * response.imag
    phase: np.ndarray = np.arctan2(even, np.hypot(*odd))
    return phase


@pytest.mark.golden
@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fsitm_matches_the_reference(iqatm_goldens: Path, number: int, dtype: type) -> None:
    with np.load(iqatm_goldens / "metrics_own.npz") as arrays:
        hdr = arrays[f"hdr_{number}"].astype(dtype)
        sdr = (arrays[f"ldr_{number}"] / 255).astype(dtype)
        scores = fsitm(hdr, sdr)
        np.testing.assert_allclose(torch.cat(scores), arrays[f"fsitm_rgb_{number}"], rtol=0, atol=1e-12)
        assert scores.mean.item() == pytest.approx(arrays[f"fsitm_rgb_{number}"].mean(), abs=1e-12)
        half = fsitm(hdr, sdr, alpha=0.5).green.item()
        assert half == pytest.approx(float(arrays[f"fsitm_alpha05_g_{number}"]), abs=1e-12)


@pytest.mark.golden
def test_large_images_take_the_coarse_phase_in(iqatm_goldens: Path) -> None:
    with np.load(iqatm_goldens / "metrics_own.npz") as arrays:
        hdr, sdr = arrays["fsitm_big_hdr"][..., None], arrays["fsitm_big_ldr"][..., None] / 255
        scores = fsitm(hdr, sdr)
        assert [score.item() for score in scores] == pytest.approx(
            [float(arrays["fsitm_big"])] * 3, abs=1e-12
        )


@pytest.mark.parametrize("size", [(24, 30), (25, 31), (24, 31), (25, 30)])
@pytest.mark.parametrize("alpha", [0, 0.25, 1])
def test_scores_follow_the_definition(size: tuple[int, int], alpha: float) -> None:
    hdr = make_scene(1, *size)
    hdr[0, 2, :5] = 0
    sdr = hdr.sqrt().clamp(max=1) + 0.1 * make_scene(2, *size).sqrt()
    expected = []
    for h, s in zip(hdr[0].numpy(), sdr[0].numpy(), strict=True):
        logs = np.log(np.where(h > 0, h, h[h > 0].min()))
        codes = np.round(255 * (logs - logs.min()) / np.ptp(logs))
        features = [
            alpha * phase_by_definition(coarse, 8) + (1 - alpha) * phase_by_definition(fine, 2) > 0
            for coarse, fine in ((h, codes), (s, s))
        ]
        expected.append((features[0] == features[1]).mean())
    assert torch.cat(fsitm(hdr, sdr, alpha)).tolist() == pytest.approx(expected, abs=1e-12)
    assert min(expected) > 0.4
    assert max(expected) < 1


@pytest.mark.parametrize(("height", "alpha"), [(1023, 0), (1024, 0.5)])
def test_the_weight_of_the_coarse_phase_grows_with_the_image(height: int, alpha: float) -> None:
    hdr, sdr = (make_scene(seed, height, 512)[:, :1] for seed in (9, 10))
    assert fsitm(hdr, sdr) == fsitm(hdr, sdr, alpha)
    assert fsitm(hdr, sdr) != fsitm(hdr, sdr, 0.5 - alpha)


@quick
@given(
    seed=st.integers(0, 1000),
    size=st.tuples(st.integers(4, 40), st.integers(4, 40)),
    alpha=st.sampled_from([None, 0.5]),
)
def test_contract(seed: int, size: tuple[int, int], alpha: float | None) -> None:
    hdr, sdr = make_scene(seed, *size, num=2), make_scene(seed + 1, *size, num=2)
    scores = fsitm(hdr, sdr, alpha)
    for score, swapped in zip(scores, fsitm(hdr.flip(0), sdr.flip(0), alpha), strict=True):
        assert score.shape == (2,)
        assert ((score >= 0) & (score <= 1)).all()
        assert swapped.tolist() == score.flip(0).tolist()
    assert (scores.mean * 3 - sum(scores)).abs().max() < 1e-12
    # A power of two changes no digit; the codes of the logarithm may only round otherwise.
    rescaled = fsitm(4 * hdr, sdr / 2, alpha)
    assert max((a - b).abs().max() for a, b in zip(scores, rescaled, strict=True)) < 3 / (size[0] * size[1])


@pytest.mark.parametrize("dims", [(-1,), (-2,), (-1, -2)])
def test_flips_do_not_matter_to_the_fine_phase_of_odd_sizes(dims: tuple[int, ...]) -> None:
    hdr, sdr = make_scene(3, 41, 53), make_scene(4, 41, 53)
    expected = [score.item() for score in fsitm(hdr, sdr)]
    assert [score.item() for score in fsitm(hdr.flip(dims), sdr.flip(dims))] == pytest.approx(
        expected, abs=1e-12
    )


def test_the_logarithm_scores_best_and_crushed_images_less() -> None:
    hdr = make_scene(5, 64, 80, num=2)
    logs = (torch.log2(hdr) + 10) / 20
    best = fsitm(hdr, logs).mean
    assert (best > 0.99).all()
    for crushed in (
        hdr / hdr.amax(),
        (4 * hdr).clamp(max=1),
        logs.round(),
        torch.full_like(hdr, 0.5),
        1 - logs,
    ):
        assert (fsitm(hdr, crushed).mean < best - 0.03).all()
    assert (fsitm(hdr, 1 - logs).mean < 0.01).all()


def test_constant_black_and_negative_channels() -> None:
    hdr = make_scene(6, 33, 40)
    flat = torch.full_like(hdr, 1 / 3)
    for constant in (flat, 0 * flat, 1e5 * flat):
        for alpha in (0, 0.5):
            assert fsitm(constant, flat, alpha).mean.item() == 1
    shares = fsitm(hdr, flat)
    assert all(0.3 < share.item() < 0.7 for share in shares)
    below = hdr.clone()
    below[..., :3] = -1
    black = hdr.clone()
    black[..., :3] = 0
    sdr = make_scene(7, 33, 40)
    assert fsitm(below, sdr, 0.5) == fsitm(black, sdr, 0.5)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_what_is_not_finite_has_no_score(value: float) -> None:
    good = make_scene(8, 16, 17, num=2)
    bad = good.clone()
    bad[0, 1, 5, 6] = value
    for scores in (fsitm(bad, good), fsitm(good, bad)):
        assert scores.green.isnan().tolist() == [True, False]
        assert scores.mean.isnan().tolist() == [True, False]
        assert scores.red.isfinite().all()


def test_small_images_are_refused_by_name() -> None:
    small = torch.rand(1, 3, 3, 10)
    with pytest.raises(ImageSizeError, match="4×4 pixels, not 3×10"):
        fsitm(small, small)
