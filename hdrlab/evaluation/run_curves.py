"""The curves of several runs in one plot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from hdrlab.io.atomic import replacing
from hdrlab.training.run_list import RunRecord

Curve = tuple[list[int], list[float]]


def curve(run: RunRecord, name: str) -> Curve:
    """Return the steps and values of a number that was logged, where it is finite."""
    points = [(step, row[name]) for step, row in sorted(run.scores.items()) if name in row]
    finite = [(step, value) for step, value in points if math.isfinite(value)]
    return [step for step, _ in finite], [value for _, value in finite]


def shown_curves(runs: Sequence[RunRecord]) -> list[str]:
    """Name the numbers to draw: both losses, and the headline metric where it is another."""
    headline = next((f"val/{run.headline}" for run in runs if run.best), "val/loss")
    return list(dict.fromkeys([headline, "val/loss", "train/loss"]))


def plot_runs(runs: Sequence[RunRecord], path: Path) -> None:
    """Draw the runs' curves, a panel a number, the best validation of each marked.

    Args:
        runs: Runs of one stage.
        path: PNG to write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = shown_curves(runs)
    figure = Figure((4.8 * len(names), 3.6 + 0.22 * len(runs)), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    for panel, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        drawn = []
        for number, run in enumerate(runs):
            steps, values = curve(run, name)
            drawn += values
            panel.plot(steps, values, color=f"C{number}", linewidth=1.5, label=run.folder.name)
            if run.best_step in steps and name.startswith("val/"):
                panel.plot(run.best_step, values[steps.index(run.best_step)], "o", color=f"C{number}")
        if name.endswith("loss") and drawn and min(drawn) > 0 and max(drawn) > 10 * min(drawn):
            panel.set_yscale("log")
        panel.set_title(name, fontsize=10)
        panel.set_xlabel("step", fontsize=8)
        panel.tick_params(labelsize=8)
        panel.grid(linewidth=0.4, alpha=0.6)
        panel.spines[["top", "right"]].set_visible(False)
    figure.legend(*panel.get_legend_handles_labels(), loc="outside lower left", fontsize=8, frameon=False)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png")
