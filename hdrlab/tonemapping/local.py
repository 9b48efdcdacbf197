"""Local operators: how a pixel is shown depends on its surroundings.

They take and return what the global ones do, see `hdrlab.operators.global_curves`.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from hdrlab.operators.light import MIDDLE_GREY, Pixels, log_average, luminance, with_luminance

SCALE_STEP = 1.6
DARKEST = 2.0**-30  # of the log-average: what black pixels count as in logarithms

_MARGIN = 3  # cells around the grid, so that its blur loses nothing
_GRID_BLUR = math.sqrt(1 - 1 / 12 - 1 / 6)  # in cells; binning and interpolating blur by the rest
_ROWS = 512


def reinhard_local(
    hdr: Pixels,
    key: float = MIDDLE_GREY,
    sharpening: float = 8.0,
    threshold: float = 0.05,
    num_scales: int = 8,
) -> Pixels:
    """Compress the luminance by dodging and burning: L_d = L / (1 + V), V the mean around each pixel.

    The mean reaches as far as there is no strong contrast, found by comparing a Gaussian mean of each scale
    with that of the next.

    Args:
        hdr: Linear pixels.
        key: Where the log-average comes to lie; a in the paper.
        sharpening: φ; greater settles on smaller surroundings.
        threshold: ε, the contrast at which the search ends.
        num_scales: Scales from 1 pixel on, each 1.6 times the one before.

    Source: Reinhard et al., "Photographic Tone Reproduction for Digital Images", 2002, equations 5 to 9 and
    their constants. A Gaussian profile of scale s there has a standard deviation of s / 4 pixels.
    """
    light = luminance(hdr)
    exposed = light * np.float32(key / log_average(light))
    centre = gaussian_filter(exposed, 1 / 4, mode="nearest")
    local, growing = centre.copy(), np.ones(light.shape, bool)
    for number in range(num_scales):
        scale = SCALE_STEP**number
        surround = gaussian_filter(exposed, scale * SCALE_STEP / 4, mode="nearest", truncate=3)
        contrast = (centre - surround) / (centre + np.float32(2**sharpening * key / scale**2))
        growing &= np.abs(contrast) < threshold
        np.copyto(local, centre, where=growing)
        centre = surround
    return with_luminance(hdr, light, exposed / (1 + local))


def durand(hdr: Pixels, contrast: float = 100.0, extent: float = 0.02, sigma: float = 0.4) -> Pixels:
    """Compress the large-scale contrast of the luminance and keep the details.

    A bilateral filter splits log10 L into a base and the details; the base is scaled to the contrast wanted
    and its upper end becomes white.

    Args:
        hdr: Linear pixels.
        contrast: Contrast of the base on the display. A base that has less keeps what it has.
        extent: Spatial standard deviation of the filter, as a share of the longer side.
        sigma: Its standard deviation in log10 units.

    Source: Durand and Dorsey, "Fast Bilateral Filtering for the Display of High-Dynamic-Range Images", 2002,
    whose extent and sigma are used. Ours: a contrast of 100, the ends of the base at its 0.5th and 99.5th
    percentile among lit pixels, and the filter by a grid, see `bilateral_filter`.
    """
    light = luminance(hdr)
    logarithm = np.log10(np.maximum(light, np.float32(log_average(light) * DARKEST)))
    base = bilateral_filter(logarithm, max(1.0, extent * max(light.shape)), sigma)
    low, high = np.percentile(base[light > 0], (0.5, 99.5))
    strength = min(1.0, math.log10(contrast) / max(float(high - low), 1e-6))
    # The details cancel out of L_d / L, by which the channels are multiplied.
    return hdr * (10 ** (base * np.float32(strength - 1) - np.float32(high * strength)))[..., None]


def bilateral_filter(values: Pixels, sigma_space: float, sigma_range: float) -> Pixels:
    """Smooth a picture [H, W] where it is smooth already, in a time that does not depend on the sigmas.

    Pixels are summed into a grid over place and value whose cells measure one sigma, the grid is blurred, and
    each pixel reads its mean from it.

    Args:
        values: The picture; its range is at most some hundreds of `sigma_range`.
        sigma_space: Spatial standard deviation in pixels, at least 1.
        sigma_range: Standard deviation in the unit of the values.

    Source: Chen, Paris and Durand, "Real-time Edge-Aware Image Processing with the Bilateral Grid", 2007.
    """
    low = float(values.min())
    places = [np.arange(size) / sigma_space + _MARGIN for size in values.shape]
    sizes = [int(place[-1] + 0.5) + _MARGIN + 1 for place in places]
    depth = int((float(values.max()) - low) / sigma_range + 0.5) + 2 * _MARGIN + 1
    shape = (sizes[0], sizes[1], depth)
    levels = (values - np.float32(low)) / np.float32(sigma_range) + np.float32(_MARGIN)
    rows, columns = (np.floor(place + 0.5).astype(np.int64) for place in places)
    cells = (rows[:, None] * shape[1] + columns) * depth + np.floor(levels + 0.5).astype(np.int64)
    sums, counts = (
        np.bincount(cells.ravel(), weights, minlength=math.prod(shape)).reshape(shape)
        for weights in (levels.ravel(), None)
    )
    sums, counts = (
        gaussian_filter(grid.astype(np.float64), _GRID_BLUR, mode="constant") for grid in (sums, counts)
    )
    smooth = np.empty_like(values)
    for top in range(0, len(values), _ROWS):
        strip = levels[top : top + _ROWS]
        where = np.stack(
            [
                np.broadcast_to(places[0][top : top + _ROWS, None], strip.shape),
                np.broadcast_to(places[1], strip.shape),
                strip,
            ]
        )
        total, weight = (map_coordinates(grid, where, order=1) for grid in (sums, counts))
        smooth[top : top + _ROWS] = total / weight * sigma_range
    return smooth + np.float32(low - _MARGIN * sigma_range)
