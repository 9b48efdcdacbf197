"""Scores of one result: alignment, anchors, regions, failures; each by hand where that is possible."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scenes import scene

from hdrlab.errors import EvaluationError
from hdrlab.evaluation.hdr_metrics import HEADLINE, REGIONS, PhotographCase, add_harm, metrics
from hdrlab.evaluation.photographs import Photograph
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


def test_every_metric_is_measured_and_says_its_convention(case: PhotographCase) -> None:
    scores = case.judge(scene())[0]
    every = metrics(everything=True)
    names = [metric.name for metric in every]
    assert names[: len(HEADLINE)] == list(HEADLINE)
    assert len(set(names)) == len(names)
    assert {*scores, "harmed"} == {*names, "scale"}
    assert {"psnr_pu21_display", "psnr_pu21_wide_corrected@clipped", "psnr_y_pu21_wide_unaligned"} <= set(
        names
    )
    for metric in every[1:]:
        if metric.name != "harmed":
            assert ("1000 cd" in metric.convention) == ("_display" in metric.name)
            assert ("10000 cd" in metric.convention) == ("_wide" in metric.name)
            assert ("oracle" in metric.convention) == ("corrected" in metric.name)
        assert metric.higher_is_better == metric.name.startswith(("psnr", "ssim", "ms_ssim"))


def test_only_what_is_wanted_is_measured(case: PhotographCase) -> None:
    wanted = {metric.name for metric in metrics()}
    assert set(HEADLINE) < wanted
    some = PhotographCase(case.photograph, wanted).judge(scene() ** np.float32(0.9))[0]
    every = case.judge(scene() ** np.float32(0.9))[0]
    assert {*some, "harmed"} == {*wanted, "scale"}
    assert some == {name: every[name] for name in some}


def test_harm_is_half_a_decibel_below_doing_nothing() -> None:
    scores = {"srgb": 20.0, "a": 19.51, "b": 19.49, "c": 30.0}
    rows = [
        {"image": image, "method": method, "psnr_pu21_display_corrected": score + number}
        for number, image in enumerate("xy")
        for method, score in scores.items()
    ]
    add_harm(rows)
    assert [row["harmed"] for row in rows] == [0, 0, 100, 0] * 2


def test_the_reference_itself_is_perfect_on_any_scale(case: PhotographCase) -> None:
    scores = case.judge(3 * scene())[0]
    assert scores["scale"] == pytest.approx(1 / 3, rel=1e-5)
    for name in ("psnr_pu21_display", "psnr_pu21_wide@clipped"):
        assert scores[name] > 95
    assert scores["ssim_pu21_wide"] == pytest.approx(1, abs=1e-5)
    assert scores["rmse_log10"] == pytest.approx(0, abs=1e-5)
    assert scores["psnr_pu21_display_unaligned"] < 25
    assert case.judge(scene())[0]["psnr_pu21_display"] == 100  # infinite


def test_a_flat_image_scores_as_by_hand() -> None:
    hdr = np.full((32, 32, 3), 0.4, np.float32)
    hdr[0, 0] = 5  # one lamp: the median does not see it
    photograph = photographed(hdr, 1.0)
    case = PhotographCase(photograph)
    made = hdr.copy()
    made[0, 0] = 1
    scores = case.judge(made)[0]
    # 0.4 shows as 20 cd/m², so the lamp as 250 and the result's as 50.
    error = code(250) - code(50)
    assert scores["scale"] == pytest.approx(1)
    assert scores["psnr_pu21_display@clipped"] == pytest.approx(20 * math.log10(256 / error), abs=1e-3)
    assert scores["psnr_pu21_display"] == pytest.approx(
        20 * math.log10(256 / error) + 10 * math.log10(1024), abs=1e-3
    )
    assert scores["psnr_pu21_display@rest"] == 100
    assert math.isnan(scores["psnr_pu21_display@ramp"])
    assert scores["rmse_log10@clipped"] == pytest.approx(math.log10(5), rel=1e-5)
    logs = [math.log(1 + 10 * x) / math.log(11) for x in (5, 1)]
    assert scores["log_l1_aligned"] == pytest.approx((logs[0] - logs[1]) / 1024, rel=1e-4)
    assert math.isnan(scores["ms_ssim_pu21_display"])  # below 161 pixels
    assert case.facts["white_cd_m2"] == pytest.approx(50)
    assert case.facts["share_clipped"] == pytest.approx(1 / 1024)


def test_display_clips_what_wide_shows() -> None:
    hdr = np.full((32, 32, 3), 0.1, np.float32)
    hdr[:4] = 100  # 20000 cd/m² under a median of 20
    case = PhotographCase(photographed(hdr, 1.0))
    made = np.where(hdr > 1, np.float32(10), hdr)  # 2000 cd/m²
    scores = case.judge(made)[0]
    assert scores["psnr_pu21_display@clipped"] == 100
    error = code(10000) - code(2000)
    assert scores["psnr_pu21_wide@clipped"] == pytest.approx(20 * math.log10(256 / error), abs=1e-3)


def test_regions_part_the_image(case: PhotographCase) -> None:
    masks = [case.regions[name] for name in REGIONS]
    total = sum(mask.int() for mask in masks if mask is not None)
    assert torch.equal(torch.as_tensor(total), torch.ones_like(masks[0].int()))  # type: ignore[union-attr]
    np.testing.assert_array_equal(masks[0][0, 0].numpy(), case.input.max(-1) >= 249)  # type: ignore[index]


def test_the_scale_looks_at_unclipped_pixels_only(case: PhotographCase) -> None:
    hdr = scene()
    made = np.where(case.unclipped[0].permute(1, 2, 0).numpy(), hdr, 50 * hdr)
    assert case.judge(made)[0]["scale"] == pytest.approx(1, rel=1e-6)
    # Without a known clipping point the codes alone tell, and the white's place follows from doing nothing.
    blind = PhotographCase(Photograph("a", "s", case.input, hdr))
    assert blind.unclipped.sum() >= case.unclipped.sum()
    assert blind.white == pytest.approx(2.0, rel=0.1)


def test_correction_forgives_a_tone_curve_and_no_clipping(case: PhotographCase) -> None:
    scores = case.judge(scene() ** np.float32(0.6))[0]
    assert scores["psnr_pu21_display"] < 30
    assert scores["psnr_pu21_display_corrected"] > scores["psnr_pu21_display"] + 10
    clipped = case.judge(np.minimum(scene(), 2))[0]
    assert clipped["psnr_pu21_wide_corrected@clipped"] < 30
    # As Hanji et al. (2022) have it, the correction turns the order of the two.
    assert scores["psnr_pu21_display"] < clipped["psnr_pu21_display"]
    assert scores["psnr_pu21_display_corrected"] > clipped["psnr_pu21_display_corrected"]


def test_scores_do_not_depend_on_a_results_scale(case: PhotographCase) -> None:
    plain = np.minimum(scene(), 2)
    one, other = (case.judge(plain * np.float32(factor))[0] for factor in (1, 0.0137))
    for name in one:
        if name != "scale" and "_unaligned" not in name:
            assert one[name] == pytest.approx(other[name], abs=1e-2, nan_ok=True), name


def test_errors_of_logarithms_part_into_luminance_and_colour(case: PhotographCase) -> None:
    hdr = scene()
    brighter = np.where(case.input.max(axis=-1, keepdims=True) >= 249, 2 * hdr, hdr)
    scores = case.judge(brighter)[0]
    for name in ("rmse_log10@clipped", "rmse_log10_y@clipped"):
        assert scores[name] == pytest.approx(math.log10(2), abs=1e-4)
    assert scores["rmse_log10_c@clipped"] == pytest.approx(0, abs=1e-4)
    grey = (hdr @ np.array([0.212656, 0.715158, 0.072186], np.float32))[..., None].repeat(3, axis=2)
    scores = case.judge(grey)[0]
    assert scores["rmse_log10_y@clipped"] < 0.02  # of the scale, which is fitted to R, G and B
    assert scores["rmse_log10_c@clipped"] == pytest.approx(scores["rmse_log10@clipped"], rel=0.05)
    assert scores["rmse_log10_c@clipped"] > 0.05


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
    assert wrong is None or case.unfit(wrong)
    assert not case.unfit(np.zeros_like(scene()))  # a black result is one
    judged, black = case.judge(None)[0], case.judge(np.zeros_like(scene()))[0]
    np.testing.assert_equal(judged, black)
    assert judged["psnr_pu21_display"] < 10
    assert judged["psnr_pu21_display_corrected"] == judged["psnr_pu21_display"]


def test_pairs_that_do_not_fit_are_refused() -> None:
    hdr = scene()
    ldr = np.zeros((96, 100, 3), np.uint8)
    with pytest.raises(
        EvaluationError, match=r"a: the photograph and its reference differ in size, 100×96 and"
    ):
        PhotographCase(Photograph("a", "s", ldr, hdr))
    with pytest.raises(EvaluationError, match=r"a: the reference holds no light"):
        PhotographCase(Photograph("a", "s", ldr, np.zeros((96, 100, 3), np.float32)))


@pytest.mark.parametrize("value", [0, 255])
def test_hostile_photographs_are_scored(value: int) -> None:
    hdr = scene()[:16, :16]
    case = PhotographCase(Photograph("a", "s", np.full(hdr.shape, value, np.uint8), hdr, clip_point=1e-6))
    scores = case.judge(np.full(hdr.shape, value / 255, np.float32))[0]
    assert math.isfinite(scores["psnr_pu21_display"])
    assert scores["scale"] == pytest.approx(1)
