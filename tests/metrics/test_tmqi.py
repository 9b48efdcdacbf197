"""TMQI: reference values, hand calculations, what a score may not depend on, and what it must prefer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from scipy.stats import beta, norm
from torch import Tensor

from hdrlab.errors import ImageSizeError
from hdrlab.metrics import TMQI_MIN_SIDE, tmqi, tmqi2_structure
from hdrlab.metrics.tmqi import trainable_tmqi
from hdrlab.ops.windows import gaussian_window

THRESHOLDS = (1.32361, 0.932203, 1.128013, 1.731693, 2.893676)
quick = settings(max_examples=8, deadline=None, derandomize=True)


def make_scene(seed: int, height: int = 176, width: int = 176, num: int = 1) -> Tensor:
    """Linear images of about 14 stops: smooth light, texture at several scales, a lamp."""
    generator = torch.Generator().manual_seed(seed)
    stops = torch.zeros(num, 3, height, width, dtype=torch.float64)
    for side, strength in ((4, 3.0), (16, 1.0), (64, 0.5)):
        noise = torch.randn(num, 1, side, side, generator=generator, dtype=torch.float64)
        stops += strength * torch.nn.functional.interpolate(noise, (height, width), mode="bilinear")
    stops += 0.1 * torch.randn(num, 3, height, width, generator=generator, dtype=torch.float64)
    stops[:, :, 20:40, 30:60] = 6
    return torch.exp2(stops)


def encode(hdr: Tensor) -> Tensor:
    """A sensible tone curve: the logarithm, most of its range about the middle."""
    logs = torch.log2(hdr)
    return torch.sigmoid((logs - logs.mean(dim=(1, 2, 3), keepdim=True)) / 3)


@pytest.mark.golden
@pytest.mark.parametrize("number", [0, 1, 2])
def test_tmqi_matches_the_reference(iqatm_goldens: Path, number: int) -> None:
    with np.load(iqatm_goldens / "metrics_own.npz") as arrays:
        names = ("fsitm_big_hdr", "fsitm_big_ldr") if number == 2 else (f"hdr_{number}", f"ldr_{number}")
        hdr, codes = (np.atleast_3d(arrays[name]).astype(np.float64) for name in names)
        scores = tmqi(hdr, codes / 255)
        for ours, name in zip(scores, "QSNs", strict=True):
            np.testing.assert_allclose(ours[0], arrays[f"tmqi_{name}_{number}"], rtol=0, atol=1e-10)
        single = tmqi(hdr.astype(np.float32), (codes / 255).astype(np.float32))
        np.testing.assert_allclose(single.q[0], arrays[f"tmqi_Q_{number}"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("level", range(5))
def test_visibility_threshold_of_each_level(level: int) -> None:
    """A checkerboard that a level sees as such, against a flat HDR image: no covariance, contrast alone."""
    rows, columns = torch.meshgrid(*[torch.arange(352) // 2**level] * 2, indexing="ij")
    sign = 1 - 2 * ((rows + columns) % 2).double()
    amplitude = 0.9 * THRESHOLDS[level]
    sdr = (100 + amplitude * sign).expand(1, 3, -1, -1) / 255
    seen_h, seen_l = norm.cdf(-3), norm.cdf(-0.3)
    expected = (2 * seen_h * seen_l + 0.01) / (seen_h**2 + seen_l**2 + 0.01)
    assert tmqi(torch.ones_like(sdr), sdr).levels[0, level].item() == pytest.approx(expected, abs=1e-4)


def block_naturalness(y: np.ndarray) -> float:
    """Naturalness of [H, W] in 0 … 255, block by block."""
    deviations = np.zeros_like(y)
    for i in range(0, y.shape[0], 11):
        for j in range(0, y.shape[1], 11):
            block = np.zeros((11, 11))
            part = y[i : i + 11, j : j + 11]
            block[: part.shape[0], : part.shape[1]] = part
            deviations[i : i + 11, j : j + 11] = block.std(ddof=1)
    contrast = beta.pdf(deviations.mean() / 64.29, 4.4, 10.1) / beta.pdf(0.272, 4.4, 10.1)
    return float(np.exp(-((y.mean() - 115.94) ** 2) / (2 * 27.99**2)) * contrast)


@pytest.mark.parametrize(("height", "width"), [(176, 187), (176, 190), (170, 165), (161, 161)])
def test_naturalness_counts_border_blocks_by_their_pixels(height: int, width: int) -> None:
    y = 30 + 170 * np.random.default_rng(1).random((height, width)) ** 2
    sdr = torch.from_numpy(y / 255).expand(1, 3, -1, -1)
    assert tmqi(sdr, sdr).n.item() == pytest.approx(block_naturalness(y), rel=1e-12)


def test_naturalness_is_1_at_the_most_natural_brightness_and_contrast() -> None:
    rows, columns = torch.meshgrid(*[torch.arange(176)] * 2, indexing="ij")
    sign = 1 - 2 * ((rows + columns) % 2).double()
    # 61 pixels of one sign and 60 of the other in every block; sample variance.
    amplitude = 0.272 * 64.29 / np.sqrt((121 - 1 / 121) / 120)
    sdr = ((115.94 + amplitude * sign) / 255).expand(1, 3, -1, -1)
    assert tmqi(sdr, sdr).n.item() == pytest.approx(1, abs=1e-12)
    assert tmqi(sdr, 0.5 * sdr).n.item() < 0.1
    assert tmqi(sdr, sdr.round()).n.item() == 0  # more contrast than the scale has room for


def test_structure_of_tmqi2_window_by_window() -> None:
    noise = torch.randn(1, 3, 20, 25, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    hdr, sdr = 1 + 0.1 * noise, 0.5 + 0.02 * noise  # about the thresholds of both
    hdr[..., 12:] = 0  # windows that hold only the minimum do not count
    weights = np.array([0.213, 0.715, 0.072]).reshape(3, 1, 1)
    y, luma = ((v[0].numpy() * weights).sum(0) for v in (hdr, 255 * sdr))
    y = np.round((2**32 - 1) / np.ptp(y)) * (y - y.min())
    window = np.outer(gaussian_window(), gaussian_window())
    scores = []
    parts = (sliding_window_view(v, (11, 11)).reshape(-1, 11, 11) for v in (y, luma))
    for part_h, part_l in zip(*parts, strict=True):
        mean_h, mean_l = (part_h * window).sum(), (part_l * window).sum()
        if mean_h == 0:
            continue
        dev_h, dev_l = part_h - mean_h, part_l - mean_l
        sigma_h, sigma_l = np.sqrt((window * dev_h**2).sum()), np.sqrt((window * dev_l**2).sum())
        p_h, p_l = norm.cdf(sigma_h / mean_h, 0.06, 0.02), norm.cdf(sigma_l, 2.6303, 2.6303 / 3)
        contrast = (2 * p_h * p_l + 0.01) / (p_h**2 + p_l**2 + 0.01)
        scores.append(contrast * ((window * dev_h * dev_l).sum() + 10) / (sigma_h * sigma_l + 10))
    assert 0 < len(scores) < 150
    assert tmqi2_structure(hdr, sdr).item() == pytest.approx(np.mean(scores), rel=1e-10)


@quick
@given(seed=st.integers(0, 1000), gain=st.floats(0.05, 4), spread=st.floats(0, 1))
def test_scores_lie_between_0_and_1(seed: int, gain: float, spread: float) -> None:
    hdr = make_scene(seed)
    noise = torch.rand(hdr.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    scores = tmqi(hdr, torch.lerp((gain * encode(hdr)).clamp(max=1), noise, spread))
    for score in scores[:3]:
        assert 0 <= score.item() <= 1
    assert (scores.levels.abs() <= 1).all()
    exponents = scores.levels.new_tensor([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])
    torch.testing.assert_close(scores.s, (scores.levels.clamp(min=0) ** exponents).prod(dim=1))
    expected = 0.8012 * scores.s**0.3046 + 0.1988 * scores.n**0.7088
    torch.testing.assert_close(scores.q, expected)


@quick
@given(seed=st.integers(0, 1000), stops=st.integers(-20, 14), factor=st.floats(0.5, 1))
def test_the_unit_of_the_hdr_image_matters_only_by_rounding(seed: int, stops: int, factor: float) -> None:
    hdr = make_scene(seed)
    sdr = encode(hdr)
    scaled = tmqi(factor * 2.0**stops * hdr, sdr)
    torch.testing.assert_close(scaled.levels, tmqi(hdr, sdr).levels, rtol=0, atol=1e-4)
    torch.testing.assert_close(tmqi2_structure(2.0**stops * hdr, sdr), tmqi2_structure(hdr, sdr))


def test_the_scale_is_a_whole_number() -> None:
    sdr = make_scene(1)
    hdr = 2 * sdr / sdr.std()
    hdr[..., 20:40, 30:60] = 2.0**32 - 1
    hdr[..., 0, 0] = 0
    lower = hdr.clamp(max=3e9)  # 1.43 times brighter, were the factor not rounded to 1
    torch.testing.assert_close(tmqi(lower, sdr / 64).levels, tmqi(hdr, sdr / 64).levels, rtol=0, atol=1e-6)


def test_images_of_great_units_keep_their_structure() -> None:
    hdr = make_scene(0)
    torch.testing.assert_close(tmqi(1e12 * hdr, encode(hdr)).s, tmqi(hdr, encode(hdr)).s, rtol=0, atol=1e-6)


@quick
@given(seed=st.integers(0, 1000), dims=st.sampled_from([(-1,), (-2,), (-1, -2)]))
def test_flips_and_order_do_not_matter(seed: int, dims: tuple[int, ...]) -> None:
    hdr = make_scene(seed, num=2)  # all levels of 176 pixels and its blocks of 11 are whole
    sdr = encode(hdr)
    scores = tmqi(hdr, sdr)
    for ours, flipped, swapped in zip(
        scores, tmqi(hdr.flip(dims), sdr.flip(dims)), tmqi(hdr.flip(0), sdr.flip(0)), strict=True
    ):
        assert len(ours) == 2
        torch.testing.assert_close(flipped, ours, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(swapped, ours.flip(0), rtol=0, atol=1e-12)
    torch.testing.assert_close(tmqi2_structure(hdr.flip(dims), sdr.flip(dims)), tmqi2_structure(hdr, sdr))


def test_a_sensible_curve_beats_crushed_ones() -> None:
    hdr = make_scene(7, num=3)
    sensible, white = encode(hdr), hdr.amax(dim=(1, 2, 3), keepdim=True)
    best = tmqi(hdr, sensible)
    crushed = {
        "linear to the peak": hdr / white,
        "clipped": (4 * hdr).clamp(max=1),
        "two levels": sensible.round(),
        "grey": torch.full_like(hdr, 0.5),
    }
    for name, sdr in crushed.items():
        assert (tmqi(hdr, sdr).q < best.q - 0.05).all(), name
        assert (tmqi2_structure(hdr, sdr) < tmqi2_structure(hdr, sensible)).all(), name


def test_a_negative_image_has_negative_levels_and_structure_0() -> None:
    hdr = make_scene(2)
    hdr = hdr / hdr.amax()
    scores = tmqi(1e-3 * hdr, 1 - encode(hdr))
    assert scores.levels.min() < 0
    assert scores.s.item() == 0
    torch.testing.assert_close(scores.q, 0.1988 * scores.n**0.7088)


def test_constant_images() -> None:
    hdr = make_scene(3)
    flat = torch.full_like(hdr, 0.4)
    both = tmqi(flat, flat)
    assert both.s.item() == pytest.approx(1)
    assert both.n.item() == 0
    assert 0 < tmqi(flat, encode(hdr)).s.item() < 0.1
    assert 0 < tmqi(hdr, flat).s.item() < 0.1
    assert tmqi(0 * hdr, 0 * hdr).q.item() == pytest.approx(0.8012)
    assert tmqi2_structure(flat, encode(hdr)).isnan().all()
    assert 0 < tmqi2_structure(hdr, flat).item() < 0.2


def test_a_flatly_clipped_highlight_has_no_contrast() -> None:
    hdr = torch.rand(1, 3, 176, 176, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    hdr[..., 88:] = 1e4 / 3
    sdr = torch.full_like(hdr, 0.5)
    # Whole windows of the flat half see nothing in either image and agree.
    assert tmqi(hdr, sdr).levels[0, 0].item() > 0.47


def test_forms_of_input() -> None:
    hdr = make_scene(5, 165, 180)
    sdr = encode(hdr)
    q = tmqi(hdr, sdr).q
    assert tmqi(hdr.float(), sdr.float()).q.dtype == torch.float64
    torch.testing.assert_close(tmqi(hdr[0].permute(1, 2, 0).numpy(), sdr[0].numpy().transpose(1, 2, 0)).q, q)
    grey = tmqi(hdr[:, :1].expand(-1, 3, -1, -1), sdr[:, :1].expand(-1, 3, -1, -1)).q
    torch.testing.assert_close(tmqi(hdr[:, :1], sdr[:, :1]).q, grey)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_what_is_not_finite_has_no_score(value: float) -> None:
    good = make_scene(6, num=2)
    bad = good.clone()
    bad[0, 1, 50, 60] = value
    for scores in (tmqi(bad, encode(good)).q, tmqi2_structure(bad, encode(good))):
        assert scores.isnan().tolist() == [True, False]
    assert tmqi(good, bad).q.isnan().tolist() == [True, False]


def test_wrong_input_is_refused_by_name() -> None:
    assert TMQI_MIN_SIDE == 161
    small = torch.rand(1, 3, 160, 300)
    with pytest.raises(ImageSizeError, match="161×161 pixels, not 160×300"):
        tmqi(small, small)
    with pytest.raises(ImageSizeError, match="11×11 pixels, not 160×10"):
        tmqi2_structure(small[..., :10], small[..., :10])
    with pytest.raises(ValueError, match="255"):
        tmqi(torch.rand(1, 3, 176, 176), torch.zeros(1, 3, 176, 176, dtype=torch.uint8))
    with pytest.raises(ValueError, match="one size"):
        tmqi(small, small[..., :200])


def test_the_trainable_score_is_the_score_and_leads_to_a_better_one() -> None:
    hdr = make_scene(3, num=2)
    hdr[..., :60, :60] = 0
    sdr = encode(hdr + 1e-9).float().requires_grad_()
    score = trainable_tmqi(hdr, sdr)
    torch.testing.assert_close(score.double(), tmqi(hdr, sdr.detach()).q, rtol=0, atol=2e-3)
    (gradient,) = torch.autograd.grad(score.sum(), sdr)
    assert gradient.isfinite().all()
    better = (sdr + 20 * gradient).detach().clamp(0, 1)
    assert (tmqi(hdr, better).q > tmqi(hdr, sdr.detach()).q).all()
    grey = torch.full_like(sdr, 0.5).requires_grad_()
    (gradient,) = torch.autograd.grad(trainable_tmqi(hdr, grey).sum(), grey)
    assert gradient.isfinite().all()
    with pytest.raises(ImageSizeError):
        trainable_tmqi(hdr[..., :100], sdr[..., :100])
