"""A bilateral filter whose time does not depend on how far it reaches. NumPy and SciPy only."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from hdrlab.ops.colour import Pixels

_MARGIN = 3  # cells around the grid, so that its blur loses nothing
_GRID_BLUR = math.sqrt(1 - 1 / 12 - 1 / 6)  # in cells; binning and interpolating blur by the rest
_ROWS = 64


class BilateralGrid:
    """Smooths an image [H, W] where another one, the guide, is smooth; both come and go by rows.

    Pixels are summed into a grid over place and guide whose cells measure one sigma, the grid is blurred, and
    each pixel reads its mean from it.

    Args:
        shape: H and W.
        sigma_space: Spatial standard deviation in pixels, at least 1.
        ends: Of the guide, its least and greatest value; at most some hundreds of `sigma_range` apart.
        sigma_range: Standard deviation in the unit of the guide.

    Source: Chen, Paris and Durand, "Real-time Edge-Aware Image Processing with the Bilateral Grid", 2007.
    """

    def __init__(
        self, shape: tuple[int, int], sigma_space: float, ends: tuple[float, float], sigma_range: float
    ) -> None:
        self._places = [np.arange(size) / sigma_space + _MARGIN for size in shape]
        self._least, self._sigma = np.float32(ends[0]), np.float32(sigma_range)
        greatest = (*(place[-1] for place in self._places), *self._levels(np.array(ends[1:], np.float32)))
        self._shape = tuple(int(place + 0.5) + _MARGIN + 1 for place in greatest)
        self._grids = [np.zeros(math.prod(self._shape)) for _ in range(2)]
        self._blurred: list[NDArray[np.float64]] = []

    def add(self, top: int, values: Pixels, guide: Pixels) -> None:
        """Add rows [h, W] of both images, each in its unit, the first of which is row ``top``."""
        places = (self._places[0][top : top + len(guide)], self._places[1], self._levels(guide))
        rows, columns, layers = (np.floor(place + 0.5).astype(np.int64) for place in places)
        cells = ((rows[:, None] * self._shape[1] + columns) * self._shape[2] + layers).ravel()
        for grid, weights in zip(self._grids, (values.ravel(), None), strict=True):
            grid += np.bincount(cells, weights, minlength=grid.size)

    def read(self, top: int, guide: Pixels) -> Pixels:
        """Return smoothed rows [h, W] in the unit of the values, once all rows were added."""
        if not self._blurred:
            self._blurred = [
                gaussian_filter(grid.reshape(self._shape), _GRID_BLUR, mode="constant")
                for grid in self._grids
            ]
        levels = self._levels(guide)
        down = np.broadcast_to(self._places[0][top : top + len(guide), None], levels.shape)
        where = np.stack([down, np.broadcast_to(self._places[1], levels.shape), levels])
        total, weight = (map_coordinates(grid, where, order=1) for grid in self._blurred)
        return np.asarray(total / weight, np.float32)

    def _levels(self, guide: Pixels) -> Pixels:
        levels: Pixels = (guide - self._least) / self._sigma + np.float32(_MARGIN)
        return levels


def cross_bilateral(values: Pixels, guide: Pixels, sigma_space: float, sigma_range: float) -> Pixels:
    """Smooth an image [H, W] where another one is smooth; with itself as the other, a bilateral filter.

    Args:
        values: The image [H, W] in any unit.
        guide: The other one, of the same shape; its range is at most some hundreds of `sigma_range`.
        sigma_space: Spatial standard deviation in pixels, at least 1.
        sigma_range: Standard deviation in the unit of the guide.

    Returns:
        The smoothed image [H, W] in the unit of the values.
    """
    ends = float(guide.min()), float(guide.max())
    grid = BilateralGrid((guide.shape[0], guide.shape[1]), sigma_space, ends, sigma_range)
    grid.add(0, values, guide)
    smooth = np.empty_like(values)
    for top in range(0, len(values), _ROWS):
        smooth[top : top + _ROWS] = grid.read(top, guide[top : top + _ROWS])
    return smooth
