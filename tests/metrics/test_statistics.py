"""Means and their intervals."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hdrlab.evaluation.bootstrap import summarise


def test_mean_is_over_images_and_wins_are_counted() -> None:
    summary = summarise([1.0, 2.0, 3.0, -2.0], ["a", "a", "b", "c"])
    assert (summary.mean, summary.num, summary.scenes, summary.positive) == (1.0, 4, 3, 0.75)
    assert summary.low <= summary.mean <= summary.high


def test_two_scenes_give_the_three_possible_means() -> None:
    # Drawn: both scenes (mean 2), only the first (0), only the second (4); a quarter each of the latter.
    summary = summarise([0.0, 4.0], ["a", "b"])
    assert (summary.low, summary.high) == (0.0, 4.0)
    assert not summary.differs


def test_whole_scenes_are_drawn() -> None:
    values = np.repeat([0.0, 1.0, 2.0, 3.0], 50).tolist()
    clustered = summarise(values, [name for name in "abcd" for _ in range(50)])
    apart = summarise(values, [str(i) for i in range(200)])
    assert clustered.mean == apart.mean == 1.5
    assert clustered.high - clustered.low > 4 * (apart.high - apart.low)


def test_scenes_weigh_by_their_images() -> None:
    summary = summarise([0.0] * 9 + [10.0], ["a"] * 9 + ["b"])
    assert summary.mean == 1.0
    assert (summary.low, summary.high) == (0.0, 10.0)
    one_large = summarise([0.0] * 100 + [1.0] * 20, ["large"] * 100 + [f"small{i}" for i in range(20)])
    assert one_large.mean == pytest.approx(1 / 6)
    assert one_large.low < one_large.mean


def test_one_scene_proves_nothing() -> None:
    summary = summarise([1.0, 2.0, 3.0], ["a", "a", "a"])
    assert summary.low == summary.mean == summary.high == 2.0
    assert not summary.differs


@pytest.mark.parametrize("sign", [1, -1])
def test_clear_difference(sign: int) -> None:
    assert summarise([sign * (1 + i / 10) for i in range(8)], list("abcdefgh")).differs


def test_nan_does_not_count() -> None:
    with_gaps = summarise([1.0, math.nan, 3.0, math.nan], ["a", "b", "c", "a"])
    assert with_gaps == summarise([1.0, 3.0], ["a", "c"])


def test_nothing_left() -> None:
    with pytest.raises(ValueError, match="no value"):
        summarise([math.nan], ["a"])
    with pytest.raises(ValueError, match="no value"):
        summarise([], [])


def test_scene_missing() -> None:
    with pytest.raises(ValueError, match="zip"):
        summarise([1.0, 2.0], ["a"])


def test_same_seed_same_interval() -> None:
    values, scenes = np.random.default_rng(0).normal(size=30).tolist(), [str(i) for i in range(30)]
    assert summarise(values, scenes) == summarise(values, scenes)
    assert summarise(values, scenes, seed=1).low != summarise(values, scenes).low


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    draws = np.random.default_rng(7)
    covered, trials, scenes = 0, 200, 30
    for _ in range(trials):
        of_scene = draws.normal(size=scenes)
        values = (of_scene[:, None] + 0.3 * draws.normal(size=(scenes, 2))).ravel()
        names = [str(i) for i in range(scenes) for _ in range(2)]
        summary = summarise(values.tolist(), names)
        covered += summary.low <= 0 <= summary.high
    assert 0.88 <= covered / trials <= 0.99
