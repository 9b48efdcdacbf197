"""A comparison as one plot: every method's mean and interval, a panel a figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hdrlab.report.model import Column, Report

_COLOURS = {"trained": "#0072b2", "results": "#d55e00", "classical": "#6b6b6b", "oracle": "#009e73"}
_ACROSS = 3


def plot_scores(report: Report, columns: Sequence[Column], path: Path) -> None:
    """Draw means with their 95 % intervals; a dashed line marks the method that does nothing.

    Args:
        report: The comparison.
        columns: Figures to draw.
        path: PNG to write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    down = -(-len(columns) // _ACROSS)
    across = min(_ACROSS, len(columns))
    figure = Figure(figsize=(4 * across + 1, down * (0.28 * len(report.methods) + 1)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(down, across, squeeze=False, sharey=True).ravel()
    for panel, column in zip(panels, columns, strict=False):
        for place, method in enumerate(report.methods):
            score = report.scores[method.name].get(column.name)
            if score is not None:
                colour = _COLOURS.get(method.kind, "black")
                panel.plot((score.low, score.high), (place, place), color=colour, linewidth=2, alpha=0.45)
                panel.plot(score.mean, place, "o", color=colour, markersize=5)
        if report.against and (nothing := report.scores[report.against.name].get(column.name)):
            panel.axvline(nothing.mean, color="black", linestyle="--", linewidth=0.8, alpha=0.6)
        place_of = f", {column.region}" if column.region else ""
        unit = f" ({column.unit})" if column.unit else ""
        panel.set_title(f"{column.title}{place_of}{unit}", fontsize=10)
        panel.set_xlabel("better →" if column.higher_is_better else "← better", fontsize=8, color="#555555")
        panel.tick_params(labelsize=8)
        panel.grid(axis="x", linewidth=0.4, alpha=0.6)
        panel.spines[["top", "right", "left"]].set_visible(False)
        panel.set_yticks(range(len(report.methods)), [method.title for method in report.methods])
    panels[0].invert_yaxis()  # shared: the first method at the top of all
    for panel in panels[len(columns) :]:
        panel.set_visible(False)
    figure.savefig(path, dpi=110)
