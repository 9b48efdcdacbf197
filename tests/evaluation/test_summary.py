"""Summaries: means, failures, paired differences, and what counts as significant."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hdrlab.evaluation.benchmark import Benchmark, Method, Row
from hdrlab.evaluation.summary import Difference, Results, pairs_of, summarise_rows
from hdrlab.metrics.names import Metric

METRICS = (Metric("psnr", "PSNR", "dB", "c"), Metric("error", "Error", "", "c", higher_is_better=False))


def method(name: str, kind: str) -> Method:
    return Method(name, name.capitalize(), kind, "", lambda case: (np.zeros(3, np.float32), None))  # type: ignore[arg-type]


METHODS = [method("net", "trained"), method("srgb", "baseline"), method("huo", "classical")]


def benchmark(methods: list[Method] = METHODS) -> Benchmark:
    return Benchmark("t", "reconstruct", "srgb", methods, METRICS, ("psnr",), [], lambda n: None, "f")  # type: ignore[arg-type, return-value]


def summarised(rows: list[Row], *, everything: bool = False) -> Results:
    return summarise_rows(benchmark(), rows, everything=everything)


def rows(num: int, scenes: int, gain: float = 1.0) -> list[Row]:
    made: list[Row] = []
    for number in range(num):
        for one in METHODS:
            better = gain * (one.name == "net")
            own = {"image": f"{number}", "scene": f"{number % scenes}", "method": one.name, "reason": "r"}
            scores = {"psnr": 20 + number + better, "error": 0.5 - 0.1 * better}
            made.append({**own, "usable": number != 0, "failed": number == 1, **scores})
    return made


def against_nothing(found: Results, name: str, metric: str) -> Difference:
    return found.differences[name]["srgb"][metric]


def test_scores_are_those_of_the_usable_images() -> None:
    found = summarised(rows(5, 5))
    score = found.scores["srgb"]["psnr"]
    assert (score.mean, score.median, score.num, score.scenes) == (22.5, 22.5, 4, 4)
    assert score.std == pytest.approx(math.sqrt(5 / 3))
    assert (found.num, found.left_out) == (4, 1)
    assert found.failures == {name: [("1", "r")] for name in ("net", "srgb", "huo")}
    everything = summarised(rows(5, 5), everything=True)
    assert everything.scores["srgb"]["psnr"].mean == 22
    assert everything.left_out == 0


def test_trained_methods_are_paired_with_all_and_the_others_with_doing_nothing() -> None:
    assert sorted(pairs_of(benchmark())) == [("huo", "srgb"), ("net", "huo"), ("net", "srgb")]
    found = summarised(rows(9, 9))
    assert {name for name, others in found.differences.items() if "srgb" in others} == {"net", "huo"}
    raised, lowered = (against_nothing(found, "net", name) for name in ("psnr", "error"))
    assert (raised.mean, raised.wins, raised.verdict) == (1, 1, "better")
    assert lowered.mean == pytest.approx(-0.1)
    assert (lowered.wins, lowered.verdict) == (1, "better")
    assert against_nothing(summarised(rows(9, 9, gain=-1)), "net", "psnr").verdict == "worse"


def test_methods_with_the_same_scores_are_called_identical() -> None:
    found = summarised(rows(9, 9))
    assert found.identical == {"huo": "srgb"}
    same = against_nothing(found, "huo", "psnr")
    assert (same.mean, same.wins, same.verdict) == (0, 0, "identical")
    made = rows(9, 9)
    made[-1]["error"] += 1e-9  # the last of huo
    assert summarised(made).identical == {}


def test_few_scenes_prove_nothing() -> None:
    difference = against_nothing(summarised(rows(20, 5)), "net", "psnr")
    assert difference.low > 0
    assert difference.verdict == "not significant"
    assert against_nothing(summarised(rows(20, 6)), "net", "psnr").verdict == "better"


def test_a_metric_that_applies_nowhere_is_left_out() -> None:
    found = summarised([{**row, "error": math.nan} for row in rows(4, 4)])
    assert "error" not in found.scores["net"]
    assert "error" not in found.differences["net"]["srgb"]
    assert found.undefined("net", "error") == 0


def test_an_undefined_score_is_counted_and_loses() -> None:
    made = rows(13, 12)
    for row in made:
        if row["method"] == "net" and row["image"] in ("3", "4"):
            row["psnr"] = math.nan
    found = summarised(made)
    assert (found.scores["net"]["psnr"].num, found.scores["srgb"]["psnr"].num) == (10, 12)
    assert (found.undefined("net", "psnr"), found.undefined("srgb", "psnr")) == (2, 0)
    difference = against_nothing(found, "net", "psnr")
    assert (difference.num, difference.lost) == (10, 2)
    assert difference.low > 0
    assert difference.wins == pytest.approx(10 / 12)
    assert difference.verdict == "not significant"  # it is not better where it has nothing to show
    assert found.best(benchmark(), METRICS[0]) == "srgb"
    assert found.best(benchmark(), METRICS[1]) == "net"
    # Where both have none, neither has lost.
    for row in made:
        if row["image"] in ("3", "4"):
            row["psnr"] = math.nan
    difference = against_nothing(summarised(made), "net", "psnr")
    assert (difference.lost, difference.wins, difference.verdict) == (0, 1, "better")
