"""One picture of a sweep: what each varied key does to the figure that judges."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hdrlab.sweeps.record import FAILED, Job, Record
from hdrlab.sweeps.space import Axis

LOG_RATIO = 10
"""Numbers that span more than this are drawn on a log scale."""
MOST_TICKS = 12
"""Named numbers that are all written on their axis."""
_WIDTH, _HEIGHT = 4.2, 3.6
_CROWDED = 40
"""Letters of tick labels that no longer stand side by side."""


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
    columns = 2 if panels == 4 else min(3, panels)
    rows = -(-panels // columns)
    figure = Figure((_WIDTH * columns + 0.8, _HEIGHT * rows + 0.4), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False).flatten().tolist()
    if as_map:
        _draw_map(grid[0], record, axes, objective, higher=higher)
    else:
        for panel, axis in zip(grid, axes, strict=False):
            _draw_axis(panel, record, axis, higher=higher, searched=searched)
        if searched:
            _draw_progress(grid[len(axes)], record, higher=higher)
        for panel in grid[:panels:columns]:
            panel.set_ylabel(_goal(objective, higher=higher))
    for panel in grid[panels:]:
        panel.set_visible(False)
    figure.suptitle(record.folder.name, fontsize="medium")
    path = record.folder / "sweep.png"
    part = path.with_name("sweep.part.png")
    figure.savefig(part)
    part.replace(path)
    return path


def _goal(objective: str, *, higher: bool) -> str:
    return f"{objective} ({'higher' if higher else 'lower'} is better)"


def numbers(axis: Axis) -> bool:
    """Say whether an axis' values are numbers."""
    try:
        return all(float(value) == float(value) for value in axis.values)
    except ValueError:
        return False


def spans(values: Sequence[float]) -> bool:
    """Say whether numbers need a log scale."""
    return min(values) > 0 and max(values) / min(values) > LOG_RATIO


def _draw_axis(panel: Any, record: Record, axis: Axis, *, higher: bool, searched: bool) -> None:
    ranked = record.ranked(higher=higher)
    listed, numeric = list(axis.values), numbers(axis)

    def place(job: Job) -> float:
        value = job.values[axis.key]
        return float(value) if numeric else float(listed.index(value))

    if numeric and len(record.definition["axes"]) == 1 and not searched:
        across = sorted(ranked, key=place)
        panel.plot([place(job) for job in across], [job.result for job in across], color="0.7", zorder=1)
    colours: dict[str, Any] = {"color": "tab:blue"}
    if searched:
        colours = {"c": [job.number for job in ranked], "cmap": "viridis"}
    shown = panel.scatter([place(job) for job in ranked], [job.result for job in ranked], zorder=2, **colours)
    if searched:
        panel.figure.colorbar(shown, ax=panel, label="job")
    best = ranked[0]
    panel.scatter([place(best)], [best.result], s=170, facecolors="none", edgecolors="tab:red", zorder=3)
    failed = [place(job) for job in record.in_state(FAILED)]
    if failed:  # at the edge where results are bad
        edge = [0.03 if higher else 0.97] * len(failed)
        at_edge = panel.get_xaxis_transform()
        panel.plot(failed, edge, "x", color="tab:red", transform=at_edge, label="failed")
        panel.legend(fontsize="small")
    if numeric and (axis.log or spans([float(value) for value in axis.values])):
        panel.set_xscale("log")
    if not axis.interval and (len(listed) <= MOST_TICKS or not numeric):
        places = [float(value) for value in listed] if numeric else range(len(listed))
        panel.set_xticks([], minor=True)
        crowded = sum(map(len, listed)) > _CROWDED
        turned = {"rotation": 20, "ha": "right", "rotation_mode": "anchor"} if crowded else {}
        panel.set_xticks(places, listed, **turned)
    if spans([job.result or 0.0 for job in ranked]):
        panel.set_yscale("log")
    panel.set_xlabel(axis.key)
    panel.grid(alpha=0.3)


def _draw_progress(panel: Any, record: Record, *, higher: bool) -> None:
    done = [job for job in record.jobs if job.result is not None]
    better = max if higher else min
    best = [better(job.result or 0.0 for job in done[: k + 1]) for k in range(len(done))]
    panel.scatter([job.number for job in done], [job.result for job in done], color="0.6", label="a job")
    panel.step([job.number for job in done], best, where="post", color="tab:red", label="best so far")
    if spans([job.result or 0.0 for job in done]):
        panel.set_yscale("log")
    panel.xaxis.get_major_locator().set_params(integer=True)
    panel.set_xlabel("job")
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
    panel.figure.colorbar(shown, ax=panel, label=_goal(objective, higher=higher))
    panel.set_yticks(range(len(down.values)), down.values)
    panel.set_xticks(range(len(across.values)), across.values)
    panel.set(ylabel=down.key, xlabel=across.key)
