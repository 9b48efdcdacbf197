"""Panoramas are continued round their edges, and joined again."""

from __future__ import annotations

import numpy as np
import pytest

from hdrlab.ops.panorama import unwrap, wrap


@pytest.mark.parametrize("margin", [1, 7, 20])
def test_what_was_added_is_taken_back(margin: int) -> None:
    pixels = np.random.default_rng(0).random((3, 20, 2), np.float32)
    assert np.array_equal(unwrap(wrap(pixels, margin, margin), margin), pixels)


def test_edges_meet_where_the_two_results_of_a_column_differ() -> None:
    made = (
        wrap(np.ones((2, 20, 1), np.float32), 8, 8) + np.linspace(0, 1, 36, dtype=np.float32)[None, :, None]
    )
    joined = unwrap(made, 8)
    assert np.abs(joined[:, 0] - joined[:, -1]).max() < 0.2
    assert np.abs(made[:, 8] - made[:, 27]).max() > 0.5, "cut out alone, the edges are far apart"
    assert np.array_equal(joined[:, 4:-4], made[:, 12:-12])
