"""What a comparison leaves behind: a table on screen, CSV, JSON and Markdown."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from hdrlab.comparison.contest import Row
from hdrlab.comparison.summaries import OWN, Results
from hdrlab.report.model import Column, Difference, Report, Score


def screen_table(report: Report, headline: Sequence[str]) -> Table:
    """Return the headline figures of all methods with their intervals, and who beats doing nothing."""
    columns = headline_columns(report, headline)
    title = f"{report.title}: mean and 95 % interval over scenes"
    table = Table(
        "method", *(_titled(column) for column in columns), title=title, caption=_caption(report, columns)
    )
    for method in report.methods:
        cells = (_score(report.scores[method.name].get(column.name), column) for column in columns)
        table.add_row(method.name, *(cell.replace(" ", "\n", 1) for cell in cells))
    return table


def _caption(report: Report, columns: Sequence[Column]) -> str:
    """Say in words how trained methods do against the one that does nothing."""
    other = report.against
    trained = [method.name for method in report.methods if method.kind in OWN]
    assert other is not None
    lines = [
        f"{name} − {other.name}: {_titled(c)} {_verdict(report.differences[name].get(c.name), c)}"
        for name in trained
        for c in columns
    ]
    nums = sorted({score.num for row in report.scores.values() for score in row.values()})
    return "\n".join(
        [f"n = {' to '.join(str(num) for num in dict.fromkeys((*nums[:1], *nums[-1:])))}", *lines]
    )


def write_rows(rows: Sequence[Row], path: Path) -> None:
    """Write a line a picture and method."""
    names = dict.fromkeys(name for row in rows for name in row)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _brief(value) for name, value in row.items()} for row in rows)


def write_summary(
    report: Report, results: Results, every: Results, more: Mapping[str, Any], path: Path
) -> None:
    """Write scores, all paired differences, and everything that they depend on."""
    content = {
        "title": report.title,
        "said": dict(report.said),
        "gates": [{"name": name, "passed": passed, "seen": seen} for name, passed, seen in report.gates],
        "columns": [asdict(column) for column in report.columns],
        "methods": [asdict(method) for method in report.methods],
        "pictures": results.num,
        "left_out": results.left_out,
        "scores": _plain(results.scores),
        "differences": _plain(results.differences),
        "scores_with_left_out": _plain(every.scores),
        **more,
    }
    path.write_text(json.dumps(content, indent=2, allow_nan=False, default=str), encoding="utf-8")


def write_markdown(
    report: Report, results: Results, headline: Sequence[str], failed: Sequence[str], path: Path
) -> None:
    """Write the tables for a reader: scores with intervals, differences with their verdict in words."""
    columns = headline_columns(report, headline)
    lines = [f"# {report.title}", "", "Mean [95 % interval over scenes] and number of pictures.", ""]
    lines += _markdown(
        ["method", *(_titled(column) for column in columns)],
        (
            [method.title, *(_counted(report.scores[method.name].get(c.name), c) for c in columns)]
            for method in report.methods
        ),
    )
    lines += ["", "![Means and intervals](scores.png)"]
    for own in (method for method in report.methods if method.kind in OWN):
        lines += ["", f"## {own.title} against each other method", ""]
        lines += ["Mean difference [95 % interval], share of pictures on which it is better.", ""]
        lines += _markdown(
            ["against", *(_titled(column) for column in columns)],
            (
                [
                    other.title,
                    *(_verdict(results.differences[own.name][other.name].get(c.name), c) for c in columns),
                ]
                for other in report.methods
                if other is not own
            ),
        )
    lines += ["", "## Failures, scored as black", ""]
    lines += [f"- {line}" for line in failed] or ["None."]
    lines += ["", "## What was measured", ""]
    lines += [f"- {_titled(column)}: {column.convention}." for column in columns]
    lines += ["", *(f"- {key}: {value}" for key, value in report.said.items()), "", "## Checks", ""]
    lines += [f"- {'passed' if passed else 'FAILED'}: {name} ({seen})" for name, passed, seen in report.gates]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def headline_columns(report: Report, names: Sequence[str]) -> list[Column]:
    """Return the columns of these names that apply to some picture."""
    found = {name for row in report.scores.values() for name in row}
    return [column for column in report.columns if column.name in names and column.name in found]


def _titled(column: Column) -> str:
    arrow = "↑" if column.higher_is_better else "↓"
    place = f", {column.region}" if column.region else ""
    return f"{column.title}{place}{f' ({column.unit})' if column.unit else ''} {arrow}"


def _score(score: Score | None, column: Column) -> str:
    if score is None:
        return "–"
    digits = _digits(score.mean, column)
    mean, low, high = (f"{value:.{digits}f}" for value in (score.mean, score.low, score.high))
    return f"{mean} [{low}, {high}]" if score.scenes > 1 else f"{mean} [one scene]"


def _counted(score: Score | None, column: Column) -> str:
    return f"{_score(score, column)}, n = {score.num}" if score else "–"


def _verdict(difference: Difference | None, column: Column) -> str:
    if difference is None:
        return "–"
    digits = _digits(max(abs(difference.low), abs(difference.high)), column)
    mean, low, high = (f"{value:+.{digits}f}" for value in (difference.mean, difference.low, difference.high))
    better = (difference.mean > 0) == column.higher_is_better
    word = ("better" if better else "worse") if difference.significant else "not significant"
    # Pictures of a single scene give an interval without a width, which would look like certainty.
    sure = f"[{low}, {high}]" if difference.low < difference.high else "[one scene]"
    return f"{mean} {sure}, {difference.wins:.0%}, {word}"


def _digits(value: float, column: Column) -> int:
    if column.unit:
        return 2
    return max(3, min(6, 1 - math.floor(math.log10(abs(value) or 1))))


def _markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


def _brief(value: Any) -> Any:
    return f"{value:.7g}" if isinstance(value, float) else value


def _plain(value: Any) -> Any:
    """Turn nested mappings of dataclasses into plain values."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return asdict(value)
