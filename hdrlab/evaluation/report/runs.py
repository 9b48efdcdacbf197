"""A page of runs: what differs, what came of it, and the curves, in one HTML file without a server."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape
from itertools import groupby
from pathlib import Path
from string import Template

from hdrlab.errors import RunError
from hdrlab.evaluation.report.page import framed
from hdrlab.evaluation.run_curves import curve, shown_curves
from hdrlab.evaluation.run_tables import duration, score_rows, steps
from hdrlab.io.atomic import writing_text
from hdrlab.training.run_list import RunRecord, as_override, differing, neighbours

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _EDGE = 420, 230, 62, 22, 8
_TICKS = 5
_COLOURS = 9
"""Of the palette in ``runs.css``."""


def write_runs_report(runs: Sequence[RunRecord], title: str, path: Path) -> None:
    """Write the page.

    Args:
        runs: From `hdrlab.training.run_list`, those of a stage one after the other.
        title: Its title.
        path: The file; it appears when it is complete.

    Raises:
        RunError: There are no runs, or the file cannot be written.
    """
    if not runs:
        raise RunError("report: there are no runs yet; train a stage first")
    groups = {stage: list(group) for stage, group in groupby(runs, key=lambda run: run.stage)}
    styles = ("viewer.css", "page.css", "runs.css")
    template, values = framed("runs.html", title, "Stages", {one: one for one in groups}, styles, ["runs.js"])
    values |= {
        "lead": f"{len(runs)} run{'s' * (len(runs) > 1)} of {', '.join(map(escape, groups))}",
        "stages": "".join(_stage(*group) for group in groups.items()),
    }
    try:
        with writing_text(path) as file:
            file.write(Template(template).substitute(values))
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror or error}") from error


def _stage(stage: str, runs: Sequence[RunRecord]) -> str:
    charts = "".join(_chart(runs, name) for name in shown_curves(runs))
    keys = "".join(
        f'<tr><th scope="row" class="name"><code>{escape(key)}</code></th>'
        + "".join(f"<td>{escape(as_override(value))}</td>" for value in values)
        + "</tr>"
        for key, values in differing(runs).items()
    )
    heads = "".join(
        f'<th scope="col">{_swatch(place)}{escape(run.folder.name)}</th>' for place, run in enumerate(runs)
    )
    table = f'<table class="runs">{_head(runs)}<tbody>{"".join(_rows(runs))}</tbody></table>'
    parts = [f'<div class="charts">{charts}</div>{_scroll(table)}']
    if keys:
        head = f'<thead><tr><th scope="col" class="name">Key</th>{heads}</tr></thead>'
        parts.append(f"<h3>What differs</h3>{_scroll(f'<table>{head}<tbody>{keys}</tbody></table>')}")
    return f'<section id="{escape(stage)}"><h2>{escape(stage)}</h2>{"".join(parts)}</section>'


def _scroll(table: str) -> str:
    return f'<div class="scroll" tabindex="0" role="region" aria-label="Runs">{table}</div>'


def _swatch(place: int) -> str:
    return f'<span class="swatch c{place % _COLOURS}"></span>'


def _head(runs: Sequence[RunRecord]) -> str:
    columns = [
        ("Run", "the run's folder; below it what it has otherwise than the one begun before it"),
        ("Begun", "when its first try began"),
        ("Steps", "optimiser steps that were made and saved"),
        ("Time", "of all tries together, validations included"),
    ]
    columns += [(name, _meaning(name)) for name, _ in _metrics(runs)]
    return (
        "<thead><tr>"
        + "".join(
            f'<th scope="col"{" class=name" if not place else ""} title="{escape(text)}">'
            f'<button type="button">{escape(name)}</button></th>'
            for place, (name, text) in enumerate(columns)
        )
        + "</tr></thead>"
    )


def _metrics(runs: Sequence[RunRecord]) -> list[tuple[str, list[tuple[str, bool]]]]:
    return [(name, cells) for name, cells in score_rows(runs) if name.endswith(("↑", "↓"))]


def _meaning(name: str) -> str:
    from hdrlab.metrics.names import METRICS

    plain, _, arrow = name.rpartition(" ")
    text = METRICS.get(plain, "the weighted sum of all terms" if plain == "loss" else "a term of the loss")
    return f"{text}; at the best validation. {'Higher' if arrow == '↑' else 'Lower'} is better."


def _rows(runs: Sequence[RunRecord]) -> Iterator[str]:
    told, metrics = neighbours(runs), _metrics(runs)
    for place, run in enumerate(runs):
        cells = [
            (f"{run.started.timestamp():.0f}", f"{run.started:%Y-%m-%d %H:%M}", ""),
            (f"{run.steps or 0}", f"{steps(run)}<small> {escape(run.state)}</small>", ""),
            (f"{run.seconds}", duration(run.seconds), ""),
            *(
                (
                    f"{run.best.get(name.rpartition(' ')[0], math.nan)}",
                    escape(texts[place][0]),
                    _top(texts[place]),
                )
                for name, texts in metrics
            ),
        ]
        shown = "".join(f'<td class="{kind}" data-value="{value}">{text}</td>' for value, text, kind in cells)
        about = " · ".join(filter(None, (run.data, told[place])))
        yield (
            f'<tr data-run="{place}"><th scope="row" class="name" data-value="{place}" '
            f'title="{escape(str(run.folder))}">{_swatch(place)}'
            f'<span class="title">{escape(run.folder.name)}</span>'
            f'<span class="kind">{escape(about)}</span></th>{shown}</tr>'
        )


def _top(cell: tuple[str, bool]) -> str:
    return "score top-score" if cell[1] else "score"


def _chart(runs: Sequence[RunRecord], name: str) -> str:
    """Draw a number of all runs over the steps, as SVG; a loss logarithmically."""
    curves = [curve(run, name) for run in runs]
    values = [value for _, found in curves for value in found]
    last = max((step for found, _ in curves for step in found), default=0)
    if not values or not last:
        return ""
    logarithmic = name.endswith("loss") and min(values) > 0

    def height(value: float) -> float:
        return math.log10(value) if logarithmic else value

    low, high = height(min(values)), height(max(values))
    span = (high - low) or 1.0

    def x(step: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _EDGE) * step / last

    def y(value: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _BOTTOM - _EDGE) * (value - low) / span

    parts = []
    for tick in range(_TICKS):
        at = low + span * tick / (_TICKS - 1)
        text = f"{10**at if logarithmic else at:.3g}"
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _EDGE}" y1="{y(at):.1f}" y2="{y(at):.1f}"/>'
        )
        parts.append(f'<text x="{_LEFT - 5}" y="{y(at) + 3:.1f}" text-anchor="end">{text}</text>')
    for step in (0, last // 2, last):
        parts.append(f'<text x="{x(step):.1f}" y="{_HEIGHT - 7}" text-anchor="middle">{step}</text>')
    for place, (run, (found, heights)) in enumerate(zip(runs, curves, strict=True)):
        if not found:
            continue
        points = " L".join(
            f"{x(step):.1f},{y(height(v)):.1f}" for step, v in zip(found, heights, strict=True)
        )
        mark = f'class="c{place % _COLOURS}" data-run="{place}"'
        title = f"<title>{escape(run.folder.name)}</title>"
        parts.append(f'<path {mark} d="M{points}">{title}</path>')
        if name.startswith("val/") and run.best_step in found:
            dot = (x(run.best_step), y(height(heights[found.index(run.best_step)])))
            title = f"<title>{escape(run.folder.name)}, its best: step {run.best_step}</title>"
            place_and_size = f'cx="{dot[0]:.1f}" cy="{dot[1]:.1f}" r="4"'
            parts.append(f"<circle {mark} {place_and_size}>{title}</circle>")
    scale = ", logarithmic" if logarithmic else ""
    caption = f'<figcaption>{escape(name)}<span class="quiet"> over steps{scale}</span></figcaption>'
    frame = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(name)} over steps"'
    return f"<figure>{caption}<svg {frame}>{''.join(parts)}</svg></figure>"
