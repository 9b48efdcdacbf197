"""What a comparison leaves behind: a table on screen, CSV, JSON and Markdown."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from hdrlab.evaluation.benchmark import Benchmark
from hdrlab.evaluation.bootstrap import Summary
from hdrlab.evaluation.summary import OWN, Difference, Results
from hdrlab.io.atomic import write_text
from hdrlab.io.image import printable
from hdrlab.metrics.names import Metric

METHOD_WIDTH, CELL_WIDTH = 20, 19


def screen_table(benchmark: Benchmark, results: Results, width: int) -> Table:
    """Return as many headline scores as fit, with intervals, and who beats doing nothing."""
    metrics = headline_metrics(benchmark, results)
    shown = metrics[: max(1, (width - METHOD_WIDTH) // CELL_WIDTH)]
    title = f"{benchmark.title}: mean and 95 % interval over scenes"
    heads = ("method", *(metric.heading for metric in shown))
    table = Table(*heads, title=Text(printable(title)), caption=Text(_caption(benchmark, results, shown)))
    for method in benchmark.methods:
        cells = (_score(results, method.name, metric, everywhere=False) for metric in shown)
        table.add_row(Text(method.name), *(Text(cell.replace(" ", "\n", 1)) for cell in cells))
    return table


def _caption(benchmark: Benchmark, results: Results, metrics: Sequence[Metric]) -> str:
    """Say in words how own methods do against the one that does nothing."""
    lines = [f"n = {results.num} where no other is given"]
    lines += [f"{one} is identical to {other}" for one, other in results.identical.items()]
    lines += [
        f"{method.name} − {benchmark.baseline}: {metric.heading} "
        f"{verdict(results, method.name, benchmark.baseline, metric)}"
        for method in benchmark.methods
        for metric in metrics
        if method.kind in OWN
    ]
    return "\n".join(lines)


def failures_of(results: Results, total: int) -> list[str]:
    """Say of each method that failed on which images and why; a line a method, most of it names."""
    return [
        f"{method} {len(failed)} of {total}: {', '.join(f'{printable(n)} ({why})' for n, why in failed)}"
        for method, failed in results.failures.items()
    ]


def write_summary(
    benchmark: Benchmark,
    results: Results,
    every: Results,
    notes: Mapping[str, str],
    more: Mapping[str, Any],
    path: Path,
) -> None:
    """Write scores, all paired differences, and everything that they depend on."""
    hidden = ("run",)
    content = {
        "title": benchmark.title,
        "notes": dict(notes),
        "columns": [asdict(metric) for metric in benchmark.metrics],
        "methods": [
            {key: value for key, value in vars(method).items() if key not in hidden}
            for method in benchmark.methods
        ],
        "images": results.num,
        "left_out": results.left_out,
        "scores": _plain(results.scores),
        "undefined": {
            method.name: {
                metric.name: missing
                for metric in benchmark.metrics
                if (missing := results.undefined(method.name, metric.name))
            }
            for method in benchmark.methods
        },
        "identical": results.identical,
        "differences": _plain(results.differences),
        "scores_with_left_out": _plain(every.scores),
        **more,
    }
    write_text(path, json.dumps(content, indent=2, allow_nan=False, default=str))


def write_markdown(
    benchmark: Benchmark, results: Results, notes: Mapping[str, str], failed: Sequence[str], path: Path
) -> None:
    """Write the tables for a reader: scores with intervals, differences with their verdict in words."""
    metrics = headline_metrics(benchmark, results)
    lines = [f"# {benchmark.title}", "", "Mean [95 % interval over scenes] and number of images.", ""]
    lines += _markdown(
        ["method", *(metric.heading for metric in metrics)],
        (
            [method.title, *(_score(results, method.name, metric) for metric in metrics)]
            for method in benchmark.methods
        ),
    )
    lines += ["", *(f"- {one} is identical to {other}." for one, other in results.identical.items())]
    lines += ["", "![Means and intervals](scores.png)"]
    for own in (method for method in benchmark.methods if method.kind in OWN):
        lines += ["", f"## {own.title} against each other method", ""]
        lines += ["Mean difference [95 % interval], share of images on which it is better.", ""]
        lines += _markdown(
            ["against", *(metric.heading for metric in metrics)],
            (
                [other.title, *(verdict(results, own.name, other.name, metric) for metric in metrics)]
                for other in benchmark.methods
                if other is not own
            ),
        )
    lines += ["", "## Failures, scored as black", ""]
    lines += [f"- {line}" for line in failed] or ["None."]
    lines += ["", "## What was measured", ""]
    lines += [f"- {metric.heading}: {metric.convention}." for metric in metrics]
    lines += ["", *(f"- {key}: {value}" for key, value in notes.items())]
    write_text(path, printable_lines(lines))


def printable_lines(lines: Iterable[str]) -> str:
    """Join lines, in which names of files may hold what is no text."""
    return "\n".join(printable(line) for line in lines) + "\n"


def headline_metrics(benchmark: Benchmark, results: Results) -> list[Metric]:
    """Return the headline metrics that apply to some image."""
    found = {name for row in results.scores.values() for name in row}
    return [m for m in benchmark.metrics if m.name in benchmark.headline and m.name in found]


def _score(results: Results, method: str, metric: Metric, *, everywhere: bool = True) -> str:
    """Write a mean, its interval, and its number of images, always or where it is not that of all."""
    score = results.scores[method].get(metric.name)
    missing = results.undefined(method, metric.name)
    if score is None:
        return f"undefined on {missing}" if missing else "–"
    digits = digits_of(score.mean, metric)
    mean, low, high = (f"{value:.{digits}f}" for value in (score.mean, score.low, score.high))
    interval = f"[{low}, {high}]" if score.scenes > 1 else "[one scene]"
    number = f", n = {score.num}" if everywhere or score.num != results.num else ""
    return f"{mean} {interval}{number}{f', undefined on {missing}' if missing else ''}"


def verdict(results: Results, method: str, other: str, metric: Metric) -> str:
    """Write a paired difference, its interval, the share of images won, and what follows."""
    difference = results.differences[method].get(other, {}).get(metric.name)
    if difference is None:
        own, its = (metric.name in results.scores[one] for one in (method, other))
        return "–" if own == its else "better: the other is undefined" if own else "worse: undefined"
    if difference.verdict == "identical":
        return "identical"
    digits = digits_of(max(abs(difference.low), abs(difference.high)), metric)
    mean, low, high = (f"{value:+.{digits}f}" for value in (difference.mean, difference.low, difference.high))
    # Images of a single scene give an interval without a width, which would look like certainty.
    sure = f"[{low}, {high}]" if difference.scenes > 1 else "[one scene]"
    lost = f", {difference.lost} undefined and lost" if difference.lost else ""
    return f"{mean} {sure}, {difference.wins:.0%}{lost}, {difference.verdict}"


def digits_of(value: float, metric: Metric) -> int:
    """Return the decimals that a score is written with."""
    if metric.unit == "%":
        return 0
    return 2 if metric.unit else max(3, min(6, 1 - math.floor(math.log10(abs(value) or 1))))


def _markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


def _plain(value: Summary | Difference | Mapping[str, Any]) -> dict[str, Any]:
    """Turn nested mappings of dataclasses into plain values."""
    if isinstance(value, Summary | Difference):
        return asdict(value)
    return {key: _plain(inner) for key, inner in value.items()}
