from __future__ import annotations

import numpy as np

from hdrlab.inference.contact_sheet import (
    CAPTION,
    CELL,
    GAP,
    draw_sheet,
    exposures_side_by_side,
    fit_cell,
)


def test_cells_stand_below_their_captions_in_columns() -> None:
    red, blue = (np.full((20, 50, 3), colour, np.uint8) for colour in ((255, 0, 0), (0, 0, 255)))
    sheet = draw_sheet([[("a", red), ("b", blue)], [("c", blue)]])
    assert sheet.shape == (2 * (20 + CAPTION + GAP), 2 * 50 + 3 * GAP, 3)
    np.testing.assert_array_equal(sheet[CAPTION : CAPTION + 20, GAP : GAP + 50], red)
    np.testing.assert_array_equal(sheet[CAPTION : CAPTION + 20, 2 * GAP + 50 : 2 * GAP + 100], blue)
    below = 20 + GAP + 2 * CAPTION
    np.testing.assert_array_equal(sheet[below : below + 20, GAP : GAP + 50], blue)
    assert (sheet[:CAPTION, GAP : GAP + 12] > 150).any()  # the caption


def test_a_darker_exposure_tells_clipped_from_restored() -> None:
    clipped, restored = np.ones((8, 8, 3), np.float32), np.full((8, 8, 3), 4, np.float32)
    sheet = exposures_side_by_side({"p": clipped, "r": restored}, (0, -2))
    first, second = CAPTION, 2 * CAPTION + 8 + GAP
    assert (sheet[first, GAP] == sheet[first, 2 * GAP + 8]).all()
    assert sheet[second, GAP, 0] == 137  # a quarter, as sRGB
    assert sheet[second, 2 * GAP + 8, 0] == 255


def test_large_images_are_shrunk_and_long_captions_cut() -> None:
    assert fit_cell(np.zeros((10, 5 * CELL, 3), np.float32)).shape == (2, CELL, 3)
    sheet = draw_sheet([[("a very long caption " * 9, np.zeros((8, 40, 3), np.uint8))]])
    assert sheet.shape[1] == 40 + 2 * GAP
    assert (sheet[:CAPTION, -GAP:] == sheet[0, -1]).all()
