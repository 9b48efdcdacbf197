"""A bilateral filter whose time does not depend on how far it reaches. NumPy and SciPy only."""

from __future__ import annotations

import math

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from hdrlab.ops.colour import Pixels

_MARGIN = 3  # cells around the grid, so that its blur loses nothing
_GRID_BLUR = math.sqrt(1 - 1 / 12 - 1 / 6)  # in cells; binning and interpolating blur by the rest
_ROWS = 512


def cross_bilateral(values: Pixels, guide: Pixels, sigma_space: float, sigma_range: float) -> Pixels:
    """Smooth an image [H, W] where another one is smooth; with itself as the other, a bilateral filter.

    Pixels are summed into a grid over place and guide whose cells measure one sigma, the grid is blurred, and
    each pixel reads its mean from it.

    Args:
        values: The image [H, W] in any unit.
        guide: The other one, of the same shape; its range is at most some hundreds of `sigma_range`.
        sigma_space: Spatial standard deviation in pixels, at least 1.
        sigma_range: Standard deviation in the unit of the guide.

    Returns:
        The smoothed image [H, W] in the unit of the values.

    Source: Chen, Paris and Durand, "Real-time Edge-Aware Image Processing with the Bilateral Grid", 2007.
    """
    places = [np.arange(size) / sigma_space + _MARGIN for size in guide.shape]
    levels = (guide - guide.min()) / np.float32(sigma_range) + np.float32(_MARGIN)
    shape = tuple(int(place.max() + 0.5) + _MARGIN + 1 for place in (*places, levels))
    rows, columns, layers = (np.floor(place + 0.5).astype(np.int64) for place in (*places, levels))
    cells = (rows[:, None] * shape[1] + columns) * shape[2] + layers
    sums, counts = (
        gaussian_filter(
            np.bincount(cells.ravel(), weights, minlength=math.prod(shape)).reshape(shape).astype(np.float64),
            _GRID_BLUR,
            mode="constant",
        )
        for weights in (values.ravel(), None)
    )
    smooth = np.empty_like(values)
    for top in range(0, len(values), _ROWS):
        strip = levels[top : top + _ROWS]
        down = np.broadcast_to(places[0][top : top + _ROWS, None], strip.shape)
        where = np.stack([down, np.broadcast_to(places[1], strip.shape), strip])
        total, weight = (map_coordinates(grid, where, order=1) for grid in (sums, counts))
        smooth[top : top + _ROWS] = total / weight
    return smooth
