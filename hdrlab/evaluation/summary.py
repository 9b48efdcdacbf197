"""Means, intervals and paired differences of the rows of a comparison."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hdrlab.evaluation.benchmark import Benchmark, Row
from hdrlab.evaluation.bootstrap import Summary, summarise
from hdrlab.metrics.names import Metric

LEAST_SCENES = 6
"""Of fewer scenes, all in favour of one method, chance alone would give that more often than 1 time in 20."""

OWN = ("trained", "results")
"""Kinds of methods that a comparison is made for, and that are compared with each other one."""

Verdict = Literal["better", "worse", "not significant", "identical"]


@dataclass(frozen=True)
class Difference:
    """One method against another, image by image, in one metric.

    Attributes:
        mean: Mean of the method's score less the other's, over images on which both are defined.
        low: Lower end of its 95 % interval.
        high: Upper end.
        num: Number of these images.
        scenes: Number of their scenes.
        wins: Share of the images, 0 to 1, on which the method is the better one; where only one of the two
            scores is defined, the other has lost.
        lost: Images on which only the other's score is defined.
        verdict: What follows.
    """

    mean: float
    low: float
    high: float
    num: int
    scenes: int
    wins: float
    lost: int
    verdict: Verdict


@dataclass(frozen=True)
class Results:
    """A comparison in numbers.

    Attributes:
        scores: By method, then metric; metrics that apply to no image are left out.
        differences: By method, then the one it is compared with, then metric.
        num: Images that count.
        left_out: Images that are mostly black or white, which do not.
        failures: By method, of all images: name and reason.
        identical: By method, the first other one that made the same of every image.
    """

    scores: dict[str, dict[str, Summary]]
    differences: dict[str, dict[str, dict[str, Difference]]]
    num: int
    left_out: int
    failures: dict[str, list[tuple[str, str]]]
    identical: dict[str, str]

    def undefined(self, method: str, metric: str) -> int:
        """Count the images on which a method has no score although another one has."""
        own = self.scores[method].get(metric)
        return max((row[metric].num for row in self.scores.values() if metric in row), default=0) - (
            own.num if own else 0
        )

    def best(self, benchmark: Benchmark, metric: Metric) -> str | None:
        """Name the method with the best mean of those that do not know the reference and have all scores."""
        sign = 1 if metric.higher_is_better else -1
        able = [
            (sign * self.scores[method.name][metric.name].mean, -place, method.name)
            for place, method in enumerate(benchmark.methods)
            if method.kind != "oracle" and metric.name in self.scores[method.name]
            if not self.undefined(method.name, metric.name)
        ]
        return max(able, default=(0.0, 0, None))[2]


def summarise_rows(benchmark: Benchmark, rows: Sequence[Row], *, everything: bool = False) -> Results:
    """Summarise a comparison over the images that are neither mostly black nor mostly white.

    Args:
        benchmark: Its methods and metrics.
        rows: As `hdrlab.evaluation.benchmark.run` gives them.
        everything: Whether all images count.
    """
    names = [method.name for method in benchmark.methods]
    of = {name: [row for row in rows if row["method"] == name] for name in names}
    kept = {name: [row for row in own if everything or row["usable"]] for name, own in of.items()}
    num = len(kept[names[0]])
    identical = dict(_identical(benchmark, kept))
    scores: dict[str, dict[str, Summary]] = {name: {} for name in names}
    differences: dict[str, dict[str, dict[str, Difference]]] = {}
    for metric in benchmark.metrics:
        values = {name: np.array([row[metric.name] for row in own]) for name, own in kept.items()}
        scenes = [row["scene"] for row in kept[names[0]]]
        for name, own in values.items():
            if not np.isnan(own).all():
                scores[name][metric.name] = summarise(own.tolist(), scenes)
        for one, other in pairs_of(benchmark):
            same = identical.get(one, one) == identical.get(other, other)
            found = _difference(values[one], values[other], scenes, metric, same=same)
            if found:
                differences.setdefault(one, {}).setdefault(other, {})[metric.name] = found
    failures = {
        name: [(row["image"], row["reason"]) for row in own if row["failed"]] for name, own in of.items()
    }
    failed = {name: images for name, images in failures.items() if images}
    return Results(scores, differences, num, len(of[names[0]]) - num, failed, identical)


def pairs_of(benchmark: Benchmark) -> list[tuple[str, str]]:
    """Return every method paired with the one that does nothing, and trained and foreign ones with all."""
    return [
        (one.name, other.name)
        for one in benchmark.methods
        for other in benchmark.methods
        if one is not other and (other.name == benchmark.baseline or one.kind in OWN)
    ]


def _identical(benchmark: Benchmark, rows: dict[str, list[Row]]) -> Iterator[tuple[str, str]]:
    """Yield each method whose scores are those of an earlier one to the last digit, and that one."""
    facts = ("method", "reason")
    seen: dict[str, str] = {}
    for method in benchmark.methods:
        scores = [{key: value for key, value in row.items() if key not in facts} for row in rows[method.name]]
        first = seen.setdefault(repr(scores), method.name)
        if first != method.name and scores:
            yield method.name, first


def _difference(
    own: NDArray[np.float64], other: NDArray[np.float64], scenes: Sequence[str], metric: Metric, *, same: bool
) -> Difference | None:
    differences = own - other
    if np.isnan(differences).all():
        return None
    found = summarise(differences.tolist(), scenes)
    gains = differences * (1 if metric.higher_is_better else -1)
    defined = ~(np.isnan(own) & np.isnan(other))
    won = (gains > 0) | (np.isnan(other) & ~np.isnan(own))
    lost = int((np.isnan(own) & ~np.isnan(other)).sum())
    better = (found.mean > 0) == metric.higher_is_better
    verdict: Verdict = "not significant"
    if same:
        verdict = "identical"
    elif found.differs and found.scenes >= LEAST_SCENES and not (better and lost):
        verdict = "better" if better else "worse"
    return Difference(
        mean=found.mean,
        low=found.low,
        high=found.high,
        num=found.num,
        scenes=found.scenes,
        wins=float(won[defined].mean()),
        lost=lost,
        verdict=verdict,
    )
