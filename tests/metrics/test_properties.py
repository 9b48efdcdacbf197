"""What must hold of every full-reference metric whatever the images: identity, scale, permutation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hdrlab.evaluation.hdr_metrics import PhotographCase
from hdrlab.evaluation.photographs import Photograph
from hdrlab.metrics import (
    align_scale,
    anchor_luminance,
    crf_correct,
    log10_rmse,
    log_l1,
    log_l2,
    ms_ssim_pu21,
    psnr,
    psnr_mu,
    psnr_pu21,
    psnr_pu21_y,
    ssim_pu21,
)

quick = settings(max_examples=12, deadline=None, derandomize=True)
POINTWISE = [psnr, psnr_mu, psnr_pu21, psnr_pu21_y, log_l1, log_l2, log10_rmse]
PERFECT = dict.fromkeys(POINTWISE[:4], math.inf) | dict.fromkeys(POINTWISE[4:], 0.0) | {ssim_pu21: 1.0}
EVERY = list(PERFECT)
seeds, spreads = st.integers(0, 10_000), st.floats(0.2, 3)


def light(seed: int, spread: float, size: tuple[int, int] = (24, 30)) -> Tensor:
    """Two images about 20 cd/m², with `spread` as the deviation of the natural logarithm."""
    draws = torch.Generator().manual_seed(seed)
    return 20 * torch.exp(spread * torch.randn(2, 3, *size, generator=draws, dtype=torch.float64))


def distorted(image: Tensor, seed: int, amount: float) -> Tensor:
    draws = torch.Generator().manual_seed(seed + 1)
    return image * torch.exp(amount * torch.randn(image.shape, generator=draws, dtype=torch.float64))


@pytest.mark.parametrize("metric", EVERY)
@quick
@given(seed=seeds, spread=spreads, amount=st.floats(0.01, 1))
def test_equal_images_are_perfect_and_others_are_not(
    metric: object, seed: int, spread: float, amount: float
) -> None:
    assert callable(metric)
    reference = light(seed, spread)
    perfect = PERFECT[metric]
    torch.testing.assert_close(metric(reference, reference), torch.full((2,), perfect, dtype=torch.float64))
    other = metric(distorted(reference, seed, amount), reference)
    assert ((other > 0) if perfect == 0 else (other < perfect)).all()


@pytest.mark.parametrize("metric", EVERY)
@quick
@given(seed=seeds, spread=spreads)
def test_images_of_a_batch_do_not_touch_each_other(metric: object, seed: int, spread: float) -> None:
    assert callable(metric)
    reference = light(seed, spread)
    test = distorted(reference, seed, 0.3)
    scores = metric(test, reference)
    torch.testing.assert_close(metric(test.flip(0), reference.flip(0)), scores.flip(0))
    torch.testing.assert_close(metric(test[:1], reference[:1]), scores[:1])


@pytest.mark.parametrize("metric", POINTWISE)
@quick
@given(seed=seeds, spread=spreads)
def test_the_order_of_pixels_does_not_matter_where_pixels_stand_alone(
    metric: object, seed: int, spread: float
) -> None:
    assert callable(metric)
    reference = light(seed, spread)
    test = distorted(reference, seed, 0.3)
    order = torch.randperm(24 * 30, generator=torch.Generator().manual_seed(seed))
    shuffled = [x.flatten(2)[..., order].reshape(x.shape) for x in (test, reference)]
    torch.testing.assert_close(metric(*shuffled), metric(test, reference))


@settings(quick, max_examples=3)
@given(seed=seeds, spread=spreads, dims=st.sampled_from([(-1,), (-2,), (-1, -2)]))
def test_mirrored_images_are_as_similar(seed: int, spread: float, dims: tuple[int, ...]) -> None:
    reference = light(seed, spread, (176, 192))  # can be halved four times
    test = distorted(reference, seed, 0.3)
    for metric in (ssim_pu21, ms_ssim_pu21):
        mirrored = metric(test.flip(dims), reference.flip(dims))
        torch.testing.assert_close(mirrored, metric(test, reference), rtol=0, atol=1e-9)


@quick
@given(seed=seeds, spread=spreads, order=st.permutations((0, 1, 2)))
def test_red_green_and_blue_count_alike_in_psnr(seed: int, spread: float, order: list[int]) -> None:
    reference = light(seed, spread)
    test = distorted(reference, seed, 0.3)
    torch.testing.assert_close(psnr_pu21(test[:, order], reference[:, order]), psnr_pu21(test, reference))


@pytest.mark.parametrize("metric", [psnr, psnr_pu21, psnr_pu21_y, log_l1, log_l2, log10_rmse, ssim_pu21])
@quick
@given(seed=seeds, spread=spreads)
def test_which_is_the_reference_does_not_matter(metric: object, seed: int, spread: float) -> None:
    assert callable(metric)
    reference = light(seed, spread)
    test = distorted(reference, seed, 0.3)
    torch.testing.assert_close(metric(test, reference), metric(reference, test))


@pytest.mark.parametrize("metric", EVERY)
@quick
@given(seed=seeds, spread=spreads, own=st.floats(1e-4, 1e4), unit=st.floats(1e-4, 1e4))
def test_aligned_and_anchored_scores_forget_every_scale(
    metric: object, seed: int, spread: float, own: float, unit: float
) -> None:
    assert callable(metric)

    def score(test: Tensor, reference: Tensor) -> Tensor:
        everywhere = torch.ones(2, 1, 24, 30, dtype=torch.bool)
        scale = align_scale(test, reference, everywhere).view(2, 1, 1, 1)
        display = anchor_luminance(reference)
        result: Tensor = metric(display(test * scale), display(reference))
        return result

    reference = light(seed, spread)
    test = distorted(reference, seed, 0.3)
    torch.testing.assert_close(
        score(own * test, unit * reference), score(test, reference), rtol=1e-6, atol=1e-6
    )


@quick
@given(seed=seeds, spread=st.floats(0.2, 1.5), scale=st.floats(0.1, 10), power=st.floats(0.5, 2))
def test_correction_finds_the_identity_and_undoes_a_power(
    seed: int, spread: float, scale: float, power: float
) -> None:
    reference = light(seed, spread).clamp(0.01, 9000)
    assert (psnr_pu21(crf_correct(reference, reference), reference) > 60).all()
    y = reference.mean(dim=1, keepdim=True)
    toned = (reference * scale * (y / 20) ** (power - 1)).clamp(0.01, 9000)
    corrected = psnr_pu21(crf_correct(toned, reference), reference)
    assert (corrected > psnr_pu21(toned, reference) - 0.5).all()


@quick
@given(seed=seeds, clip=st.floats(0.2, 0.98), factor=st.floats(1e-3, 1e3))
def test_figures_of_a_result_do_not_depend_on_its_scale(seed: int, clip: float, factor: float) -> None:
    hdr = light(seed, 1.0, (32, 40))[0].permute(1, 2, 0).float().numpy()
    white = float(np.quantile(hdr, clip))
    ldr = np.rint(255 * np.clip(hdr / white, 0, 1) ** (1 / 2.2)).astype(np.uint8)
    case = PhotographCase(Photograph("a", "s", ldr, hdr, clip_point=white))
    made = np.minimum(hdr, 2 * white)
    one, other = (case.judge(np.asarray(made * f, np.float32))[0] for f in (1, factor))
    for name in one:
        if name != "scale" and "_unaligned" not in name:
            assert other[name] == pytest.approx(one[name], abs=0.02, rel=1e-3, nan_ok=True), name
