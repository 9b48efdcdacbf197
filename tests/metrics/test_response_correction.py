"""Response correction: what it must remove, and what it must leave."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from hdrlab.metrics import anchor_luminance, crf_correct, psnr_pu21
from hdrlab.ops.colour import luminance


@pytest.fixture(scope="module")
def reference() -> Tensor:
    """A smooth coloured scene with fine texture, as a display of 1000 cd/m² shows it."""
    generator = torch.Generator().manual_seed(0)

    def smooth(channels: int, cells: int) -> Tensor:
        noise = torch.randn(1, channels, cells, cells * 3 // 2, generator=generator, dtype=torch.float64)
        return interpolate(noise, size=(96, 144), mode="bicubic")

    hdr = torch.exp(1.3 * smooth(1, 4) + 0.4 * smooth(1, 16) + 0.5 * smooth(3, 6))
    return anchor_luminance(hdr)(hdr)


def naka_rushton(luminance_cd: Tensor) -> Tensor:
    powered = luminance_cd**0.5
    return 1000 * powered / (powered + 300**0.5)


def test_correction_turns_the_ranking_of_clipping_and_tone_curve(reference: Tensor) -> None:
    y = luminance(reference)
    clipped = reference.clamp(max=y.quantile(0.95).item())
    toned = reference * naka_rushton(y) / y
    before = [psnr_pu21(x, reference).item() for x in (clipped, toned)]
    after = [psnr_pu21(crf_correct(x, reference), reference).item() for x in (clipped, toned)]
    assert before[1] < before[0] - 10
    assert after[1] > 40
    assert after[0] < 35
    # A curve on each channel also changes chromaticities, in a way that the model cannot undo.
    per_channel = psnr_pu21(crf_correct(naka_rushton(reference), reference), reference).item()
    assert per_channel < 38


def test_correction_removes_scale_and_leaves_the_reference_alone(reference: Tensor) -> None:
    assert psnr_pu21(crf_correct(reference, reference), reference).item() > 100
    # A scale is not a cubic of PQ exactly, but nearly.
    assert psnr_pu21(crf_correct(0.25 * reference, reference), reference).item() > 45
    assert psnr_pu21(0.25 * reference, reference).item() < 15


def test_images_are_corrected_one_by_one(reference: Tensor) -> None:
    other = 0.5 * reference.flip(3)
    both = crf_correct(torch.cat((reference.sqrt(), other)).float(), torch.cat((reference, reference)))
    torch.testing.assert_close(both[1:], crf_correct(other.float(), reference))
    assert both.dtype == torch.float64
    assert crf_correct(other.float(), reference.float()).dtype == torch.float32


def test_flat_and_black_images_stay_finite(reference: Tensor) -> None:
    for flat in (torch.zeros_like(reference), torch.full_like(reference, 5.0)):
        corrected = crf_correct(flat, reference)
        assert corrected.isfinite().all()
        assert (corrected >= 0).all()
