"""Figures of one result: alignment, anchors, regions, failures; each by hand where that is possible."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hdrlab.comparison.contest import ComparisonError
from hdrlab.comparison.figures import HEADLINE, REGIONS, PhotographCase, columns
from hdrlab.comparison.gates import scene
from hdrlab.comparison.photographs import Photograph
from hdrlab.metrics import pu21_encode

Pixels = NDArray[np.float32]


def photographed(hdr: Pixels, clip: float) -> Photograph:
    ldr = np.rint(255 * np.clip(hdr / clip, 0, 1) ** (1 / 2.2)).astype(np.uint8)
    return Photograph("a", "s", ldr, hdr, clip_point=clip)


@pytest.fixture(scope="module")
def case() -> PhotographCase:
    return PhotographCase(photographed(scene(), 2.0))


def code(luminance: float) -> float:
    return float(pu21_encode(torch.tensor([luminance], dtype=torch.float64)))


def test_every_column_is_measured_and_says_its_convention(case: PhotographCase) -> None:
    figures = case.judge(scene()).figures
    names = [column.name for column in columns()]
    assert names[: len(HEADLINE)] == list(HEADLINE)
    assert len(set(names)) == len(names)
    assert set(figures) == {*names, "scale"}
    assert {"psnr_pu21_display", "psnr_pu21_wide_corrected@clipped", "psnr_y_pu21_wide_unaligned"} <= set(
        names
    )
    for column in columns():
        assert ("1000 cd" in column.convention) == ("_display" in column.name)
        assert ("10000 cd" in column.convention) == ("_wide" in column.name)
        assert ("oracle" in column.convention) == ("corrected" in column.name)
        assert column.higher_is_better == column.name.startswith(("psnr", "ssim", "ms_ssim"))


def test_the_reference_itself_is_perfect_on_any_scale(case: PhotographCase) -> None:
    figures = case.judge(3 * scene()).figures
    assert figures["scale"] == pytest.approx(1 / 3, rel=1e-5)
    for name in ("psnr_pu21_display", "psnr_pu21_wide@clipped"):
        assert figures[name] > 95
    assert figures["ssim_pu21_wide"] == pytest.approx(1, abs=1e-5)
    assert figures["rmse_log10"] == pytest.approx(0, abs=1e-5)
    assert figures["psnr_pu21_display_unaligned"] < 25
    assert case.judge(scene()).figures["psnr_pu21_display"] == 100  # infinite


def test_a_flat_picture_scores_as_by_hand() -> None:
    hdr = np.full((32, 32, 3), 0.4, np.float32)
    hdr[0, 0] = 5  # one lamp: the median does not see it
    photograph = photographed(hdr, 1.0)
    case = PhotographCase(photograph)
    made = hdr.copy()
    made[0, 0] = 1
    figures = case.judge(made).figures
    # 0.4 shows as 20 cd/m², so the lamp as 250 and the result's as 50.
    error = code(250) - code(50)
    assert figures["scale"] == pytest.approx(1)
    assert figures["psnr_pu21_display@clipped"] == pytest.approx(20 * math.log10(256 / error), abs=1e-3)
    assert figures["psnr_pu21_display"] == pytest.approx(
        20 * math.log10(256 / error) + 10 * math.log10(1024), abs=1e-3
    )
    assert figures["psnr_pu21_display@rest"] == 100
    assert math.isnan(figures["psnr_pu21_display@ramp"])
    assert figures["rmse_log10@clipped"] == pytest.approx(math.log10(5), rel=1e-5)
    logs = [math.log(1 + 10 * x) / math.log(11) for x in (5, 1)]
    assert figures["log_l1_aligned"] == pytest.approx((logs[0] - logs[1]) / 1024, rel=1e-4)
    assert math.isnan(figures["ms_ssim_pu21_display"])  # below 161 pixels
    assert case.facts["white_cd_m2"] == pytest.approx(50)
    assert case.facts["share_clipped"] == pytest.approx(1 / 1024)


def test_display_clips_what_wide_shows() -> None:
    hdr = np.full((32, 32, 3), 0.1, np.float32)
    hdr[:4] = 100  # 20000 cd/m² under a median of 20
    case = PhotographCase(photographed(hdr, 1.0))
    made = np.where(hdr > 1, np.float32(10), hdr)  # 2000 cd/m²
    figures = case.judge(made).figures
    assert figures["psnr_pu21_display@clipped"] == 100
    error = code(10000) - code(2000)
    assert figures["psnr_pu21_wide@clipped"] == pytest.approx(20 * math.log10(256 / error), abs=1e-3)


def test_regions_part_the_picture(case: PhotographCase) -> None:
    masks = [case.regions[name] for name in REGIONS]
    total = sum(mask.int() for mask in masks if mask is not None)
    assert torch.equal(torch.as_tensor(total), torch.ones_like(masks[0].int()))  # type: ignore[union-attr]
    np.testing.assert_array_equal(masks[0][0, 0].numpy(), case.input.max(-1) >= 249)  # type: ignore[index]


def test_the_scale_looks_at_unclipped_pixels_only(case: PhotographCase) -> None:
    hdr = scene()
    made = np.where(case.unclipped[0].permute(1, 2, 0).numpy(), hdr, 50 * hdr)
    assert case.judge(made).figures["scale"] == pytest.approx(1, rel=1e-6)
    # Without a known clipping point the codes alone tell, and the white's place follows from doing nothing.
    blind = PhotographCase(Photograph("a", "s", case.input, hdr))
    assert blind.unclipped.sum() >= case.unclipped.sum()
    assert blind.white == pytest.approx(2.0, rel=0.1)


def test_correction_forgives_a_tone_curve_and_no_clipping(case: PhotographCase) -> None:
    figures = case.judge(scene() ** np.float32(0.6)).figures
    assert figures["psnr_pu21_display"] < 30
    assert figures["psnr_pu21_display_corrected"] > figures["psnr_pu21_display"] + 10
    clipped = case.judge(np.minimum(scene(), 2)).figures
    assert clipped["psnr_pu21_wide_corrected@clipped"] < 30


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        np.full((96, 144, 3), np.nan, np.float32),
        np.full((96, 144, 3), np.inf, np.float32),
        np.ones((95, 144, 3), np.float32),
        np.ones((96, 144), np.float32),
    ],
)
def test_what_cannot_be_scored_counts_as_black(case: PhotographCase, wrong: Pixels | None) -> None:
    judged, black = case.judge(wrong), case.judge(np.zeros_like(scene()))
    assert judged.shown is None
    assert black.shown is not None  # a black result is one
    np.testing.assert_equal(dict(judged.figures), dict(black.figures))
    assert judged.figures["psnr_pu21_display"] < 10
    assert judged.figures["psnr_pu21_display_corrected"] == judged.figures["psnr_pu21_display"]


def test_pairs_that_do_not_fit_are_refused() -> None:
    hdr = scene()
    ldr = np.zeros((96, 100, 3), np.uint8)
    with pytest.raises(
        ComparisonError, match=r"a: the photograph and its reference differ in size, 100×96 and"
    ):
        PhotographCase(Photograph("a", "s", ldr, hdr))
    with pytest.raises(ComparisonError, match=r"a: the reference holds no light"):
        PhotographCase(Photograph("a", "s", ldr, np.zeros((96, 100, 3), np.float32)))


@pytest.mark.parametrize("value", [0, 255])
def test_hostile_photographs_are_scored(value: int) -> None:
    hdr = scene()[:16, :16]
    case = PhotographCase(Photograph("a", "s", np.full(hdr.shape, value, np.uint8), hdr, clip_point=1e-6))
    figures = case.judge(np.full(hdr.shape, value / 255, np.float32)).figures
    assert math.isfinite(figures["psnr_pu21_display"])
    assert figures["scale"] == pytest.approx(1)
