"""One picture of a sweep: what each varied key does to the figure that judges."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hdrlab.sweeps.record import FAILED, Job, Record
from hdrlab.sweeps.space import Axis

LOG_RATIO = 10
"""Numbers that span more than this are drawn on a log scale."""
_WIDTH, _HEIGHT = 4.2, 3.6


def draw(record: Record, axes: Sequence[Axis], objective: str, *, higher: bool) -> Path:
    """Write ``sweep.png``.

    A grid of two keys is drawn as a table of colours. Everything else as a panel for each key with all jobs
    in it, and for a search one more: the best so far after each job.

    Args:
        record: The sweep; at least one job is finished.
        axes: What is varied.
        objective: The figure that judges.
        higher: Whether the higher figure is the better.

    Returns:
        The file.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    searched = record.definition["method"] == "tpe"
    as_map = len(axes) == 2 and not searched
    panels = 1 if as_map else len(axes) + searched
    columns = min(3, panels)
    rows = -(-panels // columns)
    figure = Figure((_WIDTH * columns + 0.8, _HEIGHT * rows + 0.4), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False).flatten().tolist()
    if as_map:
        _draw_map(grid[0], record, axes, objective, higher=higher)
    else:
        for panel, axis in zip(grid, axes, strict=False):
            _draw_axis(panel, record, axis, objective, higher=higher, lines=not searched)
        if searched:
            _draw_progress(grid[len(axes)], record, objective, higher=higher)
    for panel in grid[panels:]:
        panel.set_visible(False)
    figure.suptitle(record.folder.name, fontsize="medium")
    path = record.folder / "sweep.png"
    part = path.with_name("sweep.part.png")
    figure.savefig(part)
    part.replace(path)
    return path


def numbers(axis: Axis) -> bool:
    """Say whether an axis' values are numbers."""
    try:
        return all(float(value) == float(value) for value in axis.values)
    except ValueError:
        return False


def spans(values: Sequence[float]) -> bool:
    """Say whether numbers need a log scale."""
    return min(values) > 0 and max(values) / min(values) > LOG_RATIO


def _draw_axis(panel: Any, record: Record, axis: Axis, objective: str, *, higher: bool, lines: bool) -> None:
    ranked = record.ranked(higher=higher)
    numeric = numbers(axis)
    listed = list(axis.values)

    def place(job: Job) -> float:
        return float(job.values[axis.key]) if numeric else float(listed.index(job.values[axis.key]))

    if lines and len(record.definition["axes"]) == 1:
        across = sorted(ranked, key=place)
        panel.plot([place(job) for job in across], [job.result for job in across], color="0.7", zorder=1)
    order = [job.number for job in ranked]
    colours = {"c": order, "cmap": "viridis"} if not lines else {"color": "tab:blue"}
    shown = panel.scatter([place(job) for job in ranked], [job.result for job in ranked], zorder=2, **colours)
    if not lines:
        panel.figure.colorbar(shown, ax=panel, label="job")
    best = ranked[0]
    panel.scatter([place(best)], [best.result], s=170, facecolors="none", edgecolors="tab:red", zorder=3)
    failed = [place(job) for job in record.in_state(FAILED)]
    if failed:
        panel.plot(
            failed,
            [0.03] * len(failed),
            "x",
            color="tab:red",
            transform=panel.get_xaxis_transform(),
            label="failed",
        )
        panel.legend(loc="best", fontsize="small")
    if numeric and (axis.log or spans([float(value) for value in axis.values])):
        panel.set_xscale("log")
    if not numeric:
        panel.set_xticks(range(len(listed)), listed)
    if spans([job.result or 0.0 for job in ranked]):
        panel.set_yscale("log")
    panel.set(xlabel=axis.key, ylabel=f"{objective} ({'higher' if higher else 'lower'} is better)")
    panel.grid(alpha=0.3)


def _draw_progress(panel: Any, record: Record, objective: str, *, higher: bool) -> None:
    done = [job for job in record.jobs if job.result is not None]
    better = max if higher else min
    best = [better(job.result or 0.0 for job in done[: k + 1]) for k in range(len(done))]
    panel.scatter([job.number for job in done], [job.result for job in done], color="0.6", label="a job")
    panel.step([job.number for job in done], best, where="post", color="tab:red", label="best so far")
    if spans([job.result or 0.0 for job in done]):
        panel.set_yscale("log")
    panel.xaxis.get_major_locator().set_params(integer=True)
    panel.set(xlabel="job", ylabel=objective)
    panel.legend(fontsize="small")
    panel.grid(alpha=0.3)


def _draw_map(panel: Any, record: Record, axes: Sequence[Axis], objective: str, *, higher: bool) -> None:
    import numpy as np
    from matplotlib.colors import LogNorm
    from matplotlib.patches import Rectangle

    down, across = axes
    best = record.ranked(higher=higher)[0]
    values = np.full((len(down.values), len(across.values)), np.nan)
    for job in record.jobs:
        place = down.values.index(job.values[down.key]), across.values.index(job.values[across.key])
        values[place] = np.nan if job.result is None else job.result
        if job is best:
            frame = Rectangle((place[1] - 0.48, place[0] - 0.48), 0.96, 0.96)
            frame.set(fill=False, edgecolor="tab:red", linewidth=2)
            panel.add_patch(frame)
        said = job.state if job.result is None else f"{job.result:.4g}"
        box = {"boxstyle": "round,pad=0.2", "facecolor": "white", "alpha": 0.75, "linewidth": 0}
        panel.text(place[1], place[0], said, ha="center", va="center", fontsize="small", bbox=box)
    known = values[~np.isnan(values)].tolist()
    shown = panel.imshow(
        values,
        cmap="viridis" if higher else "viridis_r",
        norm=LogNorm() if spans(known) else None,
        aspect="auto",
    )
    panel.figure.colorbar(shown, ax=panel, label=f"{objective} ({'higher' if higher else 'lower'} is better)")
    panel.set_yticks(range(len(down.values)), down.values)
    panel.set_xticks(range(len(across.values)), across.values)
    panel.set(ylabel=down.key, xlabel=across.key)
