"""PU21: published values, SSIM against an independent implementation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

from hdrlab.metrics import ms_ssim_pu21, psnr_pu21, psnr_pu21_y, pu21_decode, pu21_encode, ssim_pu21

TABLE = {
    0.005: 0.0,
    0.01: 0.372232,
    0.1: 5.717074,
    1: 36.543911,
    10: 123.647484,
    100: 256.383897,
    203: 303.800226,
    1000: 420.096921,
    4000: 527.493901,
    10000: 595.393920,
}


@pytest.fixture
def pair() -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(3)
    reference = np.exp(rng.normal(2, 1.5, (2, 3, 176, 180)))
    test = reference * np.exp(rng.normal(0, 0.2, reference.shape))
    return torch.from_numpy(test), torch.from_numpy(reference)


@pytest.mark.parametrize(("luminance_cd", "code"), TABLE.items())
def test_encoding_matches_the_published_values(luminance_cd: float, code: float) -> None:
    assert pu21_encode(torch.tensor(luminance_cd, dtype=torch.float64)).item() == pytest.approx(
        code, abs=1e-5
    )


@pytest.mark.parametrize("variant", ["banding", "banding_glare", "peaks", "peaks_glare"])
def test_every_variant_rises_and_inverts(variant: str) -> None:
    luminance_cd = torch.logspace(np.log10(0.0051), 4, 200, dtype=torch.float64)
    encoded = pu21_encode(luminance_cd, variant)  # type: ignore[arg-type]
    assert (encoded.diff() > 0).all()
    # The fits leave the darkest values of some variants slightly below the floor of 0.
    above = encoded > 0
    decoded = pu21_decode(encoded, variant)  # type: ignore[arg-type]
    torch.testing.assert_close(decoded[above], luminance_cd[above], rtol=1e-6, atol=1e-6)
    assert above.sum() > 190


def test_values_outside_the_range_are_clamped_and_unknown_variants_refused() -> None:
    assert pu21_encode(torch.tensor([-1.0, 0.0])).tolist() == pytest.approx([0, 0], abs=1e-4)
    assert pu21_encode(np.array([2e4]))[0] == pu21_encode(np.array([1e4]))[0]
    with pytest.raises(ValueError, match="banding_glare"):
        pu21_encode(torch.ones(1), "glare")  # type: ignore[arg-type]


def test_psnr_by_hand() -> None:
    reference = torch.full((1, 3, 4, 4), 100.0, dtype=torch.float64)
    test = reference.clone()
    test[:, 0] = 10
    difference = TABLE[100] - TABLE[10]
    expected = 10 * np.log10(256**2 / (difference**2 / 3))
    assert psnr_pu21(test, reference).item() == pytest.approx(expected, abs=1e-6)
    # Luminance is taken before the encoding.
    code = pu21_encode(np.array([100 - 90 * 0.212656]))[0].item()
    expected = 20 * np.log10(256 / (TABLE[100] - code))
    assert psnr_pu21_y(test, reference).item() == pytest.approx(expected, abs=1e-4)


def ssim_of_one(a: np.ndarray, b: np.ndarray) -> float:
    """SSIM as published, borders mirrored without repeating the edge, written with SciPy."""

    def blur(x: np.ndarray) -> np.ndarray:
        for axis in (0, 1):
            x = gaussian_filter1d(x, 1.5, axis=axis, radius=5, mode="mirror")
        return x

    c1, c2 = (0.01 * 256) ** 2, (0.03 * 256) ** 2
    mean_a, mean_b = blur(a), blur(b)
    variance_a, variance_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    covariance = blur(a * b) - mean_a * mean_b
    numerator = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return float((numerator / ((mean_a**2 + mean_b**2 + c1) * (variance_a + variance_b + c2))).mean())


def test_ssim_matches_an_independent_implementation(pair: tuple[Tensor, Tensor]) -> None:
    weights = np.array([0.212656, 0.715158, 0.072186]).reshape(1, 3, 1, 1)
    a, b = (pu21_encode((x.numpy() * weights).sum(1)).numpy() for x in pair)
    expected = [ssim_of_one(a[i], b[i]) for i in range(2)]
    assert ssim_pu21(*pair).tolist() == pytest.approx(expected, abs=1e-6)
    assert 0.3 < expected[0] < 0.99


def test_equal_images_score_best_and_more_noise_scores_less(pair: tuple[Tensor, Tensor]) -> None:
    test, reference = pair
    assert psnr_pu21(reference, reference).isinf().all()
    for metric in (ssim_pu21, ms_ssim_pu21):
        torch.testing.assert_close(metric(reference, reference), torch.ones(2, dtype=torch.float64))
    worse = test * (test / reference)
    for metric in (psnr_pu21, psnr_pu21_y, ssim_pu21, ms_ssim_pu21):
        assert (metric(worse, reference) < metric(test, reference)).all()


def test_samples_are_scored_one_by_one(pair: tuple[Tensor, Tensor]) -> None:
    for metric in (psnr_pu21, psnr_pu21_y, ssim_pu21, ms_ssim_pu21):
        scores = metric(*pair)
        assert scores.shape == (2,)
        torch.testing.assert_close(metric(pair[0].flip(0), pair[1].flip(0)), scores.flip(0))


def test_masks_select_pixels(pair: tuple[Tensor, Tensor]) -> None:
    test, reference = (x.clone() for x in pair)
    mask = torch.zeros(2, 1, 176, 180, dtype=torch.bool)
    mask[..., :90] = True
    expected = psnr_pu21(test[..., :90], reference[..., :90])
    test[..., 90:] = torch.nan
    torch.testing.assert_close(psnr_pu21(test, reference, mask), expected)
    assert psnr_pu21(test, reference, torch.zeros_like(mask)).isnan().all()
    assert ssim_pu21(reference, reference, mask).tolist() == pytest.approx([1, 1])


def test_short_sides_are_refused_by_name(pair: tuple[Tensor, Tensor]) -> None:
    small = [x[..., :5] for x in pair]
    with pytest.raises(ValueError, match="SSIM needs"):
        ssim_pu21(*small)
    with pytest.raises(ValueError, match="MS-SSIM needs"):
        ms_ssim_pu21(*(x[..., :160] for x in pair))
