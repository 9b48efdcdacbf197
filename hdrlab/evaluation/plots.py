"""A comparison as one plot: every method's mean and interval, a panel a metric."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hdrlab.evaluation.benchmark import Benchmark
from hdrlab.evaluation.summary import Results
from hdrlab.io.atomic import replacing
from hdrlab.metrics.names import Metric

_COLOURS = {"trained": "#0072b2", "results": "#d55e00", "classical": "#6b6b6b", "oracle": "#009e73"}
_ACROSS = 3


def plot_scores(benchmark: Benchmark, results: Results, metrics: Sequence[Metric], path: Path) -> None:
    """Draw means with their 95 % intervals; a dashed line marks the method that does nothing.

    Args:
        benchmark: The comparison.
        results: What came out; a mean over fewer images than others' is drawn hollow.
        metrics: What to draw.
        path: PNG to write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    methods = benchmark.methods
    down = -(-len(metrics) // _ACROSS)
    across = min(_ACROSS, len(metrics))
    figure = Figure(figsize=(4 * across + 1, down * (0.28 * len(methods) + 1)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(down, across, squeeze=False, sharey=True).ravel()
    for panel, metric in zip(panels, metrics, strict=False):
        for place, method in enumerate(methods):
            if score := results.scores[method.name].get(metric.name):
                colour = _COLOURS.get(method.kind, "black")
                fill = "none" if results.undefined(method.name, metric.name) else "full"
                panel.plot((score.low, score.high), (place, place), color=colour, linewidth=2, alpha=0.45)
                panel.plot(score.mean, place, "o", color=colour, markersize=5, fillstyle=fill)
        if nothing := results.scores[benchmark.baseline].get(metric.name):
            panel.axvline(nothing.mean, color="black", linestyle="--", linewidth=0.8, alpha=0.6)
        panel.set_title(metric.heading, fontsize=10)
        panel.set_xlabel("better →" if metric.higher_is_better else "← better", fontsize=8, color="#555555")
        panel.tick_params(labelsize=8)
        panel.grid(axis="x", linewidth=0.4, alpha=0.6)
        panel.spines[["top", "right", "left"]].set_visible(False)
        panel.set_yticks(range(len(methods)), [method.title for method in methods])
    panels[0].invert_yaxis()  # shared: the first method at the top of all
    for panel in panels[len(metrics) :]:
        panel.set_visible(False)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
