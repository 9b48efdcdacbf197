"""Metrics of other packages, used where they are installed and asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor

from hdrlab.comparison.contest import ComparisonError
from hdrlab.comparison.hdrvdp import open_hdrvdp
from hdrlab.config.check import TOOLBOX_FILES
from hdrlab.config.schema import ToolboxConfig
from hdrlab.metrics import PEAK_LUMINANCE
from hdrlab.report.model import Column

_CONTRAST, _AMBIENT = 1_000_000, 10  # a black that no picture reaches, and 10 lux in the room


@dataclass(frozen=True)
class Perceptual:
    """A metric of another package.

    Attributes:
        columns: What it gives.
        score: From absolute pictures [1, 3, H, W] in cd/m², test and reference, to the figures.
        said: What must be quoted beside its figures: version, display, viewing distance.
        perfect: What it gives for equal pictures; None where no value is promised.
    """

    columns: tuple[Column, ...]
    score: Callable[[Tensor, Tensor], Mapping[str, float]]
    said: str
    perfect: float | None


def open_metrics(names: Sequence[str], toolbox: ToolboxConfig) -> list[Perceptual]:
    """Open metrics of other packages.

    Args:
        names: Which.
        toolbox: What the user has installed for HDR-VDP.

    Raises:
        ComparisonError: A package cannot be used as it is installed.
    """
    opened: dict[str, Callable[[], Perceptual]] = {
        "cvvdp": _open_cvvdp,
        "flip": _open_flip,
        **{name: partial(_open_hdrvdp, name, toolbox) for name in TOOLBOX_FILES},
    }
    try:
        return [opened[name]() for name in names]
    except (ImportError, RuntimeError) as error:  # RuntimeError: a torchvision that does not fit torch
        reason = str(error).splitlines()[0]
        raise ComparisonError(f"metrics={','.join(names)}: a package cannot be used ({reason})") from error


def _open_cvvdp() -> Perceptual:
    """Open ColorVideoVDP, a display for each peak.

    Source: Mantiuk et al., "ColorVideoVDP: A Visual Difference Predictor for Image, Video and Display
    Distortions", 2024.
    """
    import pycvvdp
    import torch

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
        Column(f"cvvdp_{mode}", f"ColorVideoVDP {mode}", "JOD", f"{said}; scale aligned")
        for mode, said in conventions.items()
    )
    return Perceptual(columns, score, "; ".join(conventions.values()), 10.0)


def _open_hdrvdp(name: str, toolbox: ToolboxConfig) -> Perceptual:
    """Open HDR-VDP through Octave or MATLAB; see `hdrlab.comparison.hdrvdp`."""
    return Perceptual(*open_hdrvdp(name, toolbox), perfect=None)


def _open_flip() -> Perceptual:
    """Open HDR-FLIP.

    Source: Andersson et al., "Visualizing Errors in Rendered High Dynamic Range Images", 2021.
    """
    from importlib.metadata import version

    from flip_evaluator import evaluate

    def score(test: Tensor, reference: Tensor) -> dict[str, float]:
        pixels = [x[0].clamp(min=0).permute(1, 2, 0).contiguous().numpy() for x in (reference, test)]
        _, mean, _ = evaluate(*pixels, "HDR", applyMagma=False)
        return {"flip_hdr": float(mean)}

    said = (
        f"flip-evaluator {version('flip-evaluator')}, HDR-FLIP, exposures from the reference, 67.02 pixels "
    )
    said += "per degree, ACES"
    column = Column("flip_hdr", "HDR-FLIP", "", f"{said}; scale aligned", higher_is_better=False)
    return Perceptual((column,), score, said, 0.0)
