"""Summaries: means, failures, paired differences, and what counts as significant."""

from __future__ import annotations

import math

import pytest

from hdrlab.comparison.contest import Row
from hdrlab.comparison.summaries import against, pairs_of, summarise_rows
from hdrlab.report.model import Column, Method

COLUMNS = (Column("psnr", "PSNR", "dB", "c"), Column("error", "Error", "", "c", higher_is_better=False))
METHODS = [Method("net", "Net", "trained"), Method("srgb", "S", "baseline"), Method("huo", "H", "classical")]


def rows(num: int, scenes: int, gain: float = 1.0) -> list[Row]:
    made: list[Row] = []
    for number in range(num):
        for method in METHODS:
            better = gain * (method.name == "net")
            own = {"picture": f"{number}", "scene": f"{number % scenes}", "method": method.name}
            figures = {"psnr": 20 + number + better, "error": 0.5 - 0.1 * better}
            made.append({**own, "usable": number != 0, "failed": number == 1, **figures})
    return made


def test_scores_are_those_of_the_usable_pictures() -> None:
    found = summarise_rows(rows(5, 5), COLUMNS)
    score = found.scores["srgb"]["psnr"]
    assert (score.mean, score.median, score.num, score.scenes, score.failures) == (22.5, 22.5, 4, 4, 1)
    assert score.std == pytest.approx(math.sqrt(5 / 3))
    assert (found.num, found.left_out) == (4, 1)
    everything = summarise_rows(rows(5, 5), COLUMNS, everything=True)
    assert everything.scores["srgb"]["psnr"].mean == 22
    assert everything.left_out == 0


def test_trained_methods_are_paired_with_all_and_the_others_with_doing_nothing() -> None:
    pairs = pairs_of(METHODS, "srgb")
    assert sorted(pairs) == [("huo", "srgb"), ("net", "huo"), ("net", "srgb")]
    found = summarise_rows(rows(9, 9), COLUMNS, pairs)
    assert set(against(found, "srgb")) == {"net", "huo"}
    raised, lowered = (against(found, "srgb")["net"][name] for name in ("psnr", "error"))
    assert (raised.mean, raised.wins, raised.significant) == (1, 1, True)
    assert lowered.mean == pytest.approx(-0.1)
    assert (lowered.wins, lowered.significant) == (1, True)
    same = against(found, "srgb")["huo"]["psnr"]
    assert (same.mean, same.wins, same.significant) == (0, 0, False)


def test_few_scenes_prove_nothing() -> None:
    found = summarise_rows(rows(20, 5), COLUMNS, [("net", "srgb")])
    difference = found.differences["net"]["srgb"]["psnr"]
    assert difference.low > 0
    assert not difference.significant
    assert (
        summarise_rows(rows(20, 6), COLUMNS, [("net", "srgb")]).differences["net"]["srgb"]["psnr"].significant
    )


def test_a_figure_that_applies_nowhere_is_left_out() -> None:
    made = [{**row, "error": math.nan} for row in rows(4, 4)]
    made[4] = {**made[4], "psnr": math.nan}
    found = summarise_rows(made, COLUMNS, [("net", "srgb")])
    assert "error" not in found.scores["net"]
    assert "error" not in found.differences["net"]["srgb"]
    assert found.scores["srgb"]["psnr"].num == 2
