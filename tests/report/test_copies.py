"""The copies in a report: how far they are from the picture, and that packing loses nothing."""

from __future__ import annotations

import base64
import zlib

import numpy as np
import pytest
from numpy.typing import NDArray
from reports import light, photograph

from hdrlab.report import copies
from hdrlab.report.copies import Copy, copy_of, pack, shrink, to_codes, to_light


def unpack(data: bytes, height: int, width: int) -> NDArray[np.int64]:
    """What the page does, in its order."""
    raw = np.frombuffer(zlib.decompress(data), np.uint8).astype(np.int64)
    low, high = raw.reshape(2, 3, height, width)
    folded = low + 256 * high
    rest = np.where(folded % 2, -(folded + 1) // 2, folded // 2)
    planes = np.zeros((3, height + 1, width + 1), np.int64)
    for y in range(1, height + 1):
        for x in range(1, width + 1):
            left, above, corner = planes[:, y, x - 1], planes[:, y - 1, x], planes[:, y - 1, x - 1]
            guess = np.sort([left, above, left + above - corner], axis=0)[1]
            planes[:, y, x] = guess + rest[:, y - 1, x - 1]
    green, red, blue = planes[:, 1:, 1:]
    return np.stack([red + green, green, blue + green], axis=2)


def decoded(copy: Copy) -> NDArray[np.float64]:
    codes = unpack(base64.b64decode(copy.text), copy.height, copy.width).astype(np.uint16)
    return to_light(codes, copy.floor) if copy.coding == "log" else codes / 255


def test_light_comes_back_within_a_fraction_of_a_stop() -> None:
    hdr = light(0)
    copy = copy_of(hdr)
    assert copy.coding == "log"
    assert (copy.height, copy.width) == hdr.shape[:2]
    stops = np.log2(decoded(copy) / hdr)
    bright = hdr > 8 * copy.floor
    assert abs(stops[bright]).max() <= 1 / (2 * copies.STEPS) * 1.15
    assert abs(stops).max() < 0.1


def test_light_of_thirty_stops_and_black_keep_their_places() -> None:
    hdr = np.zeros((4, 8, 3), np.float32)
    hdr[1:] = 2.0 ** np.arange(-10, 14).reshape(1, 8, 3)
    hdr[2] *= 2**6
    shown = decoded(copy_of(hdr))
    assert not shown[0].any()
    np.testing.assert_allclose(shown[1:], hdr[1:], rtol=0.1)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -1.0])
def test_what_is_no_light_is_black(value: float) -> None:
    hdr = light(0)
    hdr[5, 5] = value
    shown = decoded(copy_of(hdr))
    assert not shown[5, 5].any()
    assert np.isfinite(shown).all()


def test_a_black_picture_is_black() -> None:
    assert not decoded(copy_of(np.zeros((3, 5, 3), np.float32))).any()


def test_a_photograph_comes_back_exactly() -> None:
    ldr = photograph(light(1))
    copy = copy_of(ldr)
    assert copy.coding == "srgb"
    np.testing.assert_array_equal(np.rint(decoded(copy) * 255), ldr)


def test_packing_loses_nothing() -> None:
    codes = np.random.default_rng(0).integers(0, 4000, (7, 11, 3)).astype(np.uint16)
    np.testing.assert_array_equal(unpack(pack(codes), 7, 11), codes)


def test_codes_are_even_steps_of_a_stop() -> None:
    codes = to_codes(np.array([0, 1, 3, 7], np.float32), 1.0)
    np.testing.assert_array_equal(codes, np.arange(4) * copies.STEPS)


def test_shrinking_keeps_the_light_and_its_place() -> None:
    hdr = light(2, 37, 101)
    small = shrink(hdr, 50)
    assert small.shape == (18, 50, 3)
    np.testing.assert_allclose(small.mean((0, 1)), hdr.mean((0, 1)), rtol=1e-5)
    np.testing.assert_allclose(shrink(hdr[:36, :100], 25)[2, 3], hdr[8:12, 12:16].mean((0, 1)), rtol=1e-5)
    assert shrink(hdr, 200) is hdr


def test_a_report_of_nineteen_pictures_is_below_sixty_megabytes() -> None:
    noisy = light(3, 288, 384) * np.random.default_rng(3).normal(1, 0.03, (288, 384, 3)).astype(np.float32)
    copy, ldr = copy_of(noisy), copy_of(photograph(noisy.clip(0, None)))
    assert 19 * (8 * len(copy.text) + len(ldr.text)) < 60e6
