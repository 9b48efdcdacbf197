"""Panels: what a net did, as one image a person can judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdrlab.ops.colour import srgb_encode

EXPOSURES = (-4, 0, 4)  # stops


@dataclass(frozen=True)
class PanelSample:
    """What to show of one sample.

    Attributes:
        images: Linear images [3, H, W] by title, shown side by side in every exposure.
        displays: Display-encoded images [3, H, W] by title, in one row as they are, instead of the others.
        maps: Single-channel maps [H, W] in [0, 1] by title, such as masks and errors.
        curves: Curves [K] over a uniform grid on [0, 1] by title.
    """

    images: dict[str, Tensor] = field(default_factory=dict)
    displays: dict[str, Tensor] = field(default_factory=dict)
    maps: dict[str, Tensor] = field(default_factory=dict)
    curves: dict[str, Tensor] = field(default_factory=dict)


def expose(image: Tensor, stops: float) -> NDArray[np.uint8]:
    """Show a linear image [3, H, W] at an exposure as 8-bit sRGB [H, W, 3]."""
    return to_levels(srgb_encode((image.float() * 2.0**stops).clamp(0, 1)))


def to_levels(encoded: Tensor) -> NDArray[np.uint8]:
    """Turn a display-encoded image [3, H, W] into 8 bits [H, W, 3], cut to [0, 1]."""
    levels = (encoded.float().clamp(0, 1) * 255).round().to(torch.uint8)
    shown: NDArray[np.uint8] = levels.permute(1, 2, 0).cpu().numpy()
    return shown


def draw_panel(samples: Sequence[PanelSample], path: Path, title: str) -> None:
    """Draw samples below each other, a row per exposure, and write the panel as PNG.

    Args:
        samples: What to show, all of one stage.
        path: File to write.
        title: One line above.
    """
    from matplotlib.figure import Figure  # slow to import, and only needed here

    first = samples[0]
    rows, columns = len(EXPOSURES), len(first.images) + 1
    if first.displays:
        rows, columns = 1, len(first.displays)
    figure = Figure(figsize=(2.3 * columns, 1.95 * rows * len(samples) + 0.5), layout="constrained", dpi=100)
    figure.suptitle(title, fontsize=10)
    parts = figure.subfigures(len(samples), 1, squeeze=False)[:, 0]
    for part, sample in zip(parts, samples, strict=True):
        grid = part.subplots(rows, columns, squeeze=False)
        if sample.displays:
            for axes, (name, image) in zip(grid[0], sample.displays.items(), strict=True):
                axes.imshow(to_levels(image))
                axes.set_title(name, fontsize=8)
        else:
            _draw_exposures(grid, sample)
        for axes in grid.flat:
            axes.set_xticks([])
            axes.set_yticks([])
    figure.savefig(path, format="png")


def _draw_exposures(grid: NDArray[Any], sample: PanelSample) -> None:
    for row, stops in enumerate(EXPOSURES):
        for column, (name, image) in enumerate(sample.images.items()):
            axes = grid[row, column]
            axes.imshow(expose(image, stops))
            axes.set_title(name if row == 0 else "", fontsize=8)
            axes.set_ylabel(f"{stops:+d} EV" if column == 0 else "", fontsize=8)
    _draw_beside(list(grid[:, -1]), sample)


def _draw_beside(column: list, sample: PanelSample) -> None:  # type: ignore[type-arg]
    """Fill the last column: maps first, then the curves, the rest stays empty."""
    for axes, (name, values) in zip(column, sample.maps.items(), strict=False):
        axes.imshow(values.float().clamp(0, 1).cpu().numpy(), cmap="magma", vmin=0, vmax=1)
        axes.set_title(name, fontsize=8)
    free = column[len(sample.maps) :]
    if sample.curves:
        axes = free.pop(0)
        for (name, values), style in zip(sample.curves.items(), ("k-", "C1--", "C0:"), strict=False):
            axes.plot(np.linspace(0, 1, len(values)), values.float().cpu().numpy(), style, label=name, lw=1.2)
        axes.set_box_aspect(0.75)
        axes.set_title("inverse response", fontsize=8)
        axes.legend(fontsize=6, loc="upper left")
    for axes in free:
        axes.set_axis_off()
