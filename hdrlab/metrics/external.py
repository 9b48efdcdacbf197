"""Metrics of other packages, used where they are installed and asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from hdrlab.config.registry.tables import SCORES
from hdrlab.errors import EvaluationError
from hdrlab.metrics.hdrvdp import open_hdrvdp
from hdrlab.metrics.names import Metric
from hdrlab.metrics.photometry import PEAK_LUMINANCE

_CONTRAST, _AMBIENT = 1_000_000, 10  # a black that no image reaches, and 10 lux in the room


@dataclass(frozen=True)
class ExternalMetric:
    """A metric of another package.

    Attributes:
        metrics: What it gives.
        score: From absolute images [1, 3, H, W] in cd/m², test and reference, to the scores by name.
        convention: What must be quoted beside its scores: version, display, viewing distance.
        perfect: What it gives for equal images; None where no value is promised.
    """

    metrics: tuple[Metric, ...]
    score: Callable[[Tensor, Tensor], Mapping[str, float]]
    convention: str
    perfect: float | None = None


def open_metrics(
    names: Sequence[str],
    toolboxes: Mapping[str, Path],
    program: str | None = None,
    settings: Mapping[str, Any] = MappingProxyType({}),
) -> list[ExternalMetric]:
    """Open metrics of other packages, and see that each tells equal images from clipped ones.

    Args:
        names: Keys of `hdrlab.config.registry.tables.SCORES`.
        toolboxes: Main files of HDR-VDP's toolboxes by the names of their metrics.
        program: Octave or MATLAB, which runs them.
        settings: Parameters of plug-ins' metrics.

    Raises:
        EvaluationError: A package cannot be used as it is installed.
    """
    try:
        metrics = [_open(name, toolboxes.get(name), program, settings) for name in names]
    except (ImportError, RuntimeError) as error:  # RuntimeError: a torchvision that does not fit torch
        reason = str(error).splitlines()[0]
        raise EvaluationError(f"metrics={','.join(names)}: a package cannot be used ({reason})") from error
    for name, metric in zip(names, metrics, strict=True):
        if name in SCORES.own:
            check(metric)
    return metrics


def _open(
    name: str, toolbox: Path | None, program: str | None, settings: Mapping[str, Any]
) -> ExternalMetric:
    row = SCORES[name]
    if name in SCORES.own:
        opened: ExternalMetric = row.apply(toolbox, program) if row.toolbox else row.apply()
        return opened
    own = {word: settings[word] for word in row.parameters if settings.get(word) is not None}
    summary = ", ".join((row.summary, *(f"{word} {value}" for word, value in own.items())))
    column = Metric(name, row.title, row.unit, summary, row.higher_is_better)

    def score(test: Tensor, reference: Tensor) -> dict[str, float]:
        with torch.inference_mode():
            return {name: float(row.apply(test, reference, **own))}

    return ExternalMetric((column,), score, f"{row.title}: {summary}")


def check(metric: ExternalMetric) -> None:
    """Try a metric of an installation that is the user's.

    Raises:
        EvaluationError: It does not rate equal images as perfect, or not better than clipped ones.
    """
    x = torch.linspace(-2, 5, 432).expand(1, 3, 288, 432)  # room for the scales of the eye's channels
    image = torch.exp(x + torch.sin(torch.arange(288.0)).view(1, 1, -1, 1))
    equal, clipped = (metric.score(test, image) for test in (image, image.clamp(max=40)))
    for one in metric.metrics:
        value, sign = equal[one.name], 1 if one.higher_is_better else -1
        perfect = metric.perfect is None or abs(value - metric.perfect) < 1e-3
        if not (perfect and sign * value > sign * clipped[one.name]):
            seen = f"{value:.4f} for equal images and {clipped[one.name]:.4f} for clipped ones"
            raise EvaluationError(f"{one.title}: {seen}; no score of this installation can be trusted")


def open_cvvdp() -> ExternalMetric:
    """Open ColorVideoVDP, a display for each peak.

    Source: Mantiuk et al., "ColorVideoVDP: A Visual Difference Predictor for Image, Video and Display
    Distortions", 2024.
    """
    import pycvvdp

    metrics: dict[str, Any] = {}
    for mode, peak in PEAK_LUMINANCE.items():
        display = pycvvdp.vvdp_display_photo_eotf(
            peak, contrast=_CONTRAST, source_colorspace="BT.709-linear", E_ambient=_AMBIENT, name=mode
        )
        metrics[mode] = pycvvdp.cvvdp(
            display_name="standard_hdr_linear",
            display_photometry=display,
            quiet=True,
            device=torch.device("cpu"),
        )

    def score(test: Tensor, reference: Tensor) -> dict[str, float]:
        pairs = {mode: [x.clamp(0, peak) for x in (test, reference)] for mode, peak in PEAK_LUMINANCE.items()}
        with torch.inference_mode():
            return {
                f"cvvdp_{mode}": float(metrics[mode].predict(*pair, dim_order="BCHW")[0])
                for mode, pair in pairs.items()
            }

    conventions = {mode: metric.get_info_string().strip('"') for mode, metric in metrics.items()}
    columns = tuple(
        Metric(f"cvvdp_{mode}", f"ColorVideoVDP {mode}", "JOD", f"{text}; scale aligned")
        for mode, text in conventions.items()
    )
    return ExternalMetric(columns, score, "; ".join(conventions.values()), 10.0)


def open_flip() -> ExternalMetric:
    """Open HDR-FLIP.

    Source: Andersson et al., "Visualizing Errors in Rendered High Dynamic Range Images", 2021.
    """
    from importlib.metadata import version

    from flip_evaluator import evaluate

    def score(test: Tensor, reference: Tensor) -> dict[str, float]:
        pixels = [x[0].clamp(min=0).permute(1, 2, 0).contiguous().numpy() for x in (reference, test)]
        _, mean, _ = evaluate(*pixels, "HDR", applyMagma=False)
        return {"flip_hdr": float(mean)}

    text = f"flip-evaluator {version('flip-evaluator')}, HDR-FLIP, exposures from the reference, "
    text += "67.02 pixels per degree, ACES"
    column = Metric("flip_hdr", "HDR-FLIP", "", f"{text}; scale aligned", higher_is_better=False)
    return ExternalMetric((column,), score, text, 0.0)


def open_hdrvdp2(toolbox: Path, program: str) -> ExternalMetric:
    """Open HDR-VDP-2 through Octave or MATLAB; see `hdrlab.metrics.hdrvdp`."""
    return ExternalMetric(*open_hdrvdp("hdrvdp2", toolbox, program))


def open_hdrvdp3(toolbox: Path, program: str) -> ExternalMetric:
    """Open HDR-VDP-3, likewise."""
    return ExternalMetric(*open_hdrvdp("hdrvdp3", toolbox, program))
