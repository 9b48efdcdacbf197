"""Means, intervals and paired differences of the rows of a comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hdrlab.comparison.contest import Row
from hdrlab.metrics.statistics import summarise
from hdrlab.report.model import Column, Difference, Method, Score

LEAST_SCENES = 6
"""Of fewer scenes, all in favour of one method, chance alone would give that more often than 1 time in 20."""

OWN = ("trained", "results")
"""Kinds of methods that a comparison is made for, and that are compared with each other one."""


@dataclass(frozen=True)
class Results:
    """A comparison in numbers.

    Attributes:
        scores: By method, then column; columns that apply to no picture are left out.
        differences: By method, then the one it is compared with, then column.
        num: Pictures that count.
        left_out: Pictures that are mostly black or white, which do not.
    """

    scores: dict[str, dict[str, Score]]
    differences: dict[str, dict[str, dict[str, Difference]]]
    num: int
    left_out: int


def summarise_rows(
    rows: Sequence[Row],
    columns: Sequence[Column],
    pairs: Sequence[tuple[str, str]] = (),
    *,
    everything: bool = False,
) -> Results:
    """Summarise a comparison over the pictures that are neither mostly black nor mostly white.

    Args:
        rows: As `hdrlab.comparison.contest.compare` gives them.
        columns: What to summarise.
        pairs: Which methods to compare with which, picture by picture.
        everything: Whether all pictures count.
    """
    methods = list(dict.fromkeys(row["method"] for row in rows))
    kept = [row for row in rows if everything or row["usable"]]
    by_method = {method: [row for row in kept if row["method"] == method] for method in methods}
    scores = {
        method: {c.name: score for c in columns if (score := _score(own, c.name))}
        for method, own in by_method.items()
    }
    differences: dict[str, dict[str, dict[str, Difference]]] = {}
    for one, other in pairs:
        found = {c.name: _difference(by_method[one], by_method[other], c) for c in columns}
        named = {name: difference for name, difference in found.items() if difference}
        differences.setdefault(one, {})[other] = named
    num = len(kept) // len(methods)
    return Results(scores, differences, num, len(rows) // len(methods) - num)


def pairs_of(methods: Sequence[Method], baseline: str) -> list[tuple[str, str]]:
    """Return every method paired with the one that does nothing, and trained and foreign ones with all."""
    return [
        (one.name, other.name)
        for one in methods
        for other in methods
        if one is not other and (other.name == baseline or one.kind in OWN)
    ]


def failures_of(rows: Sequence[Row]) -> list[str]:
    """Say of each method that failed on which pictures and why; a line a method, most of it names."""
    lines = []
    for method in dict.fromkeys(row["method"] for row in rows):
        own = [row for row in rows if row["method"] == method]
        failed = [f"{row['picture']} ({row['reason']})" for row in own if row["failed"]]
        if failed:
            lines.append(f"{method} {len(failed)} of {len(own)}: {', '.join(failed)}")
    return lines


def _score(rows: Sequence[Row], column: str) -> Score | None:
    applies = [row for row in rows if not np.isnan(row[column])]
    if not applies:
        return None
    values = np.array([row[column] for row in applies])
    found = summarise(values.tolist(), [row["scene"] for row in applies])
    failures = sum(bool(row["failed"]) for row in applies)
    middle, spread = float(np.median(values)), float(values.std(ddof=min(1, len(values) - 1)))
    return Score(found.mean, middle, spread, found.low, found.high, found.num, found.scenes, failures)


def _difference(rows: Sequence[Row], others: Sequence[Row], column: Column) -> Difference | None:
    values = np.array([a[column.name] - b[column.name] for a, b in zip(rows, others, strict=True)])
    if np.isnan(values).all():
        return None
    found = summarise(values.tolist(), [row["scene"] for row in rows])
    gains = values[~np.isnan(values)] * (1 if column.higher_is_better else -1)
    differs = found.differs and found.scenes >= LEAST_SCENES
    return Difference(found.mean, found.low, found.high, float((gains > 0).mean()), differs)


def against(results: Results, baseline: str) -> Mapping[str, Mapping[str, Difference]]:
    """Return the differences of all other methods to one."""
    rows = results.differences.items()
    return {method: others[baseline] for method, others in rows if baseline in others}
