"""The images in a report: how far copies are from the image, and how large they are."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from reports import Shown, light, photograph

from hdrlab.evaluation.report.images import copy_of, opening_stops, page_image, shrink, white_of


def picture(source: str) -> NDArray[np.uint8]:
    head, _, text = source.partition(",")
    assert head in ("data:image/jpeg;base64", "data:image/png;base64")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def decoded(copy: dict[str, Any]) -> NDArray[np.float64]:
    """What the page does."""
    codes = picture(copy["src"]) / 255
    return copy["floor"] * (np.exp2(codes * copy["span"]) - 1) if "span" in copy else codes


def smooth() -> NDArray[np.float32]:
    """Light that rises over 16 stops, from left to right."""
    stops = np.linspace(-8, 8, 96)[None, :, None] + np.zeros((64, 1, 3))
    return np.asarray(np.exp2(stops), np.float32)


def test_smooth_light_comes_back_within_a_fraction_of_a_stop() -> None:
    hdr = smooth()
    stops = np.log2(decoded(copy_of(hdr, 1.0)) / hdr)
    assert np.abs(stops).max() < 0.15
    assert np.abs(stops).mean() < 0.03


def test_light_is_in_shares_of_white() -> None:
    np.testing.assert_allclose(decoded(copy_of(37 * smooth(), 37)), decoded(copy_of(smooth(), 1)), rtol=1e-3)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -1.0])
def test_what_is_no_light_is_black(value: float) -> None:
    hdr = smooth()
    hdr[:32] = value
    shown = decoded(copy_of(hdr, 1.0))
    assert shown[:24].max() < 2**-7
    assert np.isfinite(shown).all()


def test_a_black_image_is_black() -> None:
    assert not decoded(copy_of(np.zeros((3, 5, 3), np.float32), 1.0)).any()


def test_light_beyond_every_exposure_does_not_cost_the_rest() -> None:
    hdr = smooth()
    hdr[0, 0] = 1e9
    stops = np.log2(decoded(copy_of(hdr, 1.0)) / hdr)[16:]
    assert np.abs(stops).max() < 0.3


def test_a_photograph_comes_back_nearly() -> None:
    ldr = photograph(smooth(), 100.0)
    assert np.abs(255 * decoded(copy_of(ldr, 1.0)) - ldr).max() <= 4


def test_shrinking_keeps_the_light_and_its_place() -> None:
    hdr = light(2, 37, 101)
    small = shrink(hdr, 50)
    assert small.shape == (18, 50, 3)
    np.testing.assert_allclose(small.mean((0, 1)), hdr.mean((0, 1)), rtol=0.1)
    np.testing.assert_allclose(shrink(hdr[:36, :100], 25)[2, 3], hdr[8:12, 12:16].mean((0, 1)), rtol=1e-4)
    assert shrink(hdr, 200) is hdr


def test_white_is_where_the_photograph_clips() -> None:
    hdr = light(0) * 37
    assert white_of(Shown(0, "a", hdr, photograph(hdr, white=74))) == pytest.approx(74, rel=0.01)


def test_white_without_a_photograph_comes_from_the_light() -> None:
    grey = np.full((8, 8, 3), 9, np.float32)
    assert white_of(Shown(0, "a", grey, None)) == pytest.approx(50, rel=1e-4)
    assert np.isfinite(white_of(Shown(0, "a", 0 * grey, None)))


@pytest.mark.parametrize(("middle", "stops"), [(0.2, 0), (0.08 / 8, 3), (0.4 * 4, -2), (0.0, 0), (1e-9, 12)])
def test_an_image_opens_at_an_exposure_that_shows_it(middle: float, stops: float) -> None:
    assert opening_stops(np.full((8, 8, 3), middle, np.float32), 1.0) == stops


def test_failures_have_a_reason_and_no_layer() -> None:
    hdr = light(0)
    made = page_image(Shown(0, "a", hdr, photograph(hdr)), {"x": hdr, "y": "no file"}, {})
    assert set(made["layers"]) == {"input", "reference", "method:x"}
    assert made["failed"] == {"y": "no file"}


def test_a_cropped_result_keeps_its_place() -> None:
    hdr = light(0)
    made = page_image(Shown(0, "a", hdr, None), {"x": photograph(hdr)[:-5, :-3]}, {})
    assert picture(made["layers"]["method:x"]["src"]).shape == (60, 90, 3)


def test_the_mask_marks_what_the_photograph_clips() -> None:
    ldr = np.zeros((40, 60, 3), np.uint8)
    ldr[10:20, 20:40, 1] = 249
    made = page_image(Shown(0, "a", np.ones((40, 60, 3), np.float32), ldr), {}, {})
    np.testing.assert_array_equal(picture(made["clipped"]) > 0, ldr.max(axis=2) >= 249)


def test_six_images_with_nine_results_take_less_than_four_megabytes() -> None:
    """Grain in every channel, as cameras have it, packs badly."""
    x = np.linspace(0, 40, 384)
    waves = np.sin(x)[:, None] + np.sin(1.7 * x)[None, :]
    grain = np.random.default_rng(3).normal(0, 0.04, (384, 384, 3))
    hdr = np.asarray(np.exp2(2 * waves[..., None] + grain), np.float32)
    size = len(copy_of(hdr, 4.0)["src"])
    assert 6 * 10 * size + 6 * len(copy_of(photograph(hdr, 4.0), 1.0)["src"]) < 4e6
