"""Runs as tables for a terminal: a list, one run, several side by side."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import groupby

from rich.markup import escape
from rich.table import Table

from hdrlab.training.run_list import RunRecord, as_override, differing, neighbours

_MINUTE, _HOUR = 60, 3600


def duration(seconds: float) -> str:
    """Write a time for people; "–" where it is unknown."""
    if math.isnan(seconds):
        return "–"
    if seconds < _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    return f"{seconds // _HOUR:.0f} h {seconds % _HOUR / _MINUTE:02.0f} min"


def steps(run: RunRecord) -> str:
    """Write the steps made, and how many were to be where they are not."""
    made = "0" if run.steps is None else str(run.steps)
    return made if run.state == "finished" or run.planned is None else f"{made} of {run.planned}"


def best(run: RunRecord) -> str:
    """Write the headline's best score with the step it was reached at."""
    if run.best_step is None:
        return "–"
    return f"{run.headline} {run.best[run.headline]:.4g}\nat step {run.best_step}"


def list_tables(runs: Sequence[RunRecord]) -> Iterator[Table]:
    """Yield a table a stage, its runs in the order they were begun."""
    told = dict(zip((run.name for run in runs), neighbours(runs), strict=True))
    for stage, group in groupby(runs, key=lambda run: run.stage):
        table = Table(
            *(
                "run\nwhat differs from the one above",
                "begun\ndata",
                "steps\nstate",
                "best validation",
                "time",
            ),
            title=escape(stage),
            title_justify="left",
            show_lines=True,
        )
        table.columns[0].overflow = "fold"
        for run in group:
            table.add_row(
                f"[bold]{escape(run.folder.name)}[/]\n{escape(told[run.name])}",
                f"{run.started:%Y-%m-%d %H:%M}\n{escape(run.data)}",
                f"{steps(run)}\n{run.state}",
                escape(best(run)),
                duration(run.seconds),
            )
        yield table


def run_tables(run: RunRecord) -> Iterator[Table]:
    """Yield what there is to know of one run: itself, its scores, its configuration."""
    table = Table("", escape(run.name), title_justify="left")
    for name, text in (
        ("folder", str(run.folder)),
        ("data", run.data),
        ("begun", f"{run.started:%Y-%m-%d %H:%M}"),
        ("time", duration(run.seconds)),
        ("steps", steps(run)),
        ("state", run.state),
        ("checkpoints", ", ".join(sorted(path.name for path in run.folder.glob("*.ckpt"))) or "none"),
        ("newest panel", str(max(run.folder.glob("panels/*.png"), default="none"))),
    ):
        table.add_row(name, escape(text))
    yield table
    if run.best_step is not None:
        last = max(step for step, row in run.scores.items() if "val/loss" in row)
        scores = Table("score", f"best, step {run.best_step}", f"last, step {last}")
        for name, value in run.best.items():
            scores.add_row(
                escape(name), f"{value:.6g}", f"{run.scores[last].get(f'val/{name}', math.nan):.6g}"
            )
        yield scores
    keys = Table("key", "value", title="configuration", title_justify="left")
    for key, value in run.config.items():
        keys.add_row(escape(key), escape(as_override(value)))
    yield keys


def comparison_tables(runs: Sequence[RunRecord]) -> Iterator[Table]:
    """Yield the keys in which runs of one stage differ, and their scores; the best of each is marked."""
    names = [escape(run.folder.name) for run in runs]
    keys = Table("key", *names, title="what differs", title_justify="left")
    for key, values in differing(runs).items():
        keys.add_row(escape(key), *(escape(as_override(value)) for value in values))
    yield keys
    scores = Table("at the best step", *names, title="what came of it", title_justify="left")
    for name, cells in score_rows(runs):
        scores.add_row(escape(name), *(f"[bold green]{text} *[/]" if top else text for text, top in cells))
    yield scores


def score_rows(runs: Sequence[RunRecord]) -> Iterator[tuple[str, list[tuple[str, bool]]]]:
    """Yield a row a figure: its name, and of each run the text and whether it is the best.

    The loss is marked only where all runs weigh its terms alike.
    """
    from hdrlab.metrics.names import better  # and torch

    yield "steps", [(steps(run), False) for run in runs]
    yield "time", [(duration(run.seconds), False) for run in runs]
    yield "best step", [("–" if run.best_step is None else str(run.best_step), False) for run in runs]
    alike = not any(key.startswith("stage.loss.") for key in differing(runs))
    for name in dict.fromkeys(name for run in runs for name in run.best):
        values = [run.best.get(name, math.nan) for run in runs]
        finite = [value for value in values if math.isfinite(value)]
        top = (max if better(name) == "max" else min)(finite, default=None)
        compared = (alike or name != "loss") and len(set(finite)) > 1
        arrow = "↑" if better(name) == "max" else "↓"
        yield (
            f"{name} {arrow}",
            [("–" if math.isnan(v) else f"{v:.5g}", compared and v == top) for v in values],
        )
