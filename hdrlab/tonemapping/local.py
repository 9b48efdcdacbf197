"""Local operators: how a pixel is shown depends on its surroundings.

They take and return what the global ones do, see `hdrlab.tonemapping.global_curves`, and read and show images
by rows, see `hdrlab.tonemapping.rows.by_rows`.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.ndimage import gaussian_filter

from hdrlab.ops.bilateral_grid import BilateralGrid
from hdrlab.ops.colour import MIDDLE_GREY, Pixels, luminance, with_luminance
from hdrlab.ops.ranks import percentiles
from hdrlab.tonemapping.rows import Shown, Source, by_rows, with_halo
from hdrlab.tonemapping.scene import log_average_of

SCALE_STEP = 1.6
_REACH = 3  # standard deviations at which the Gaussians end
DARKEST = 2.0**-30  # of the log-average: what black pixels count as in logarithms


@by_rows
def reinhard_local(
    hdr: Source,
    key: float = MIDDLE_GREY,
    sharpening: float = 8.0,
    threshold: float = 0.05,
    num_scales: int = 8,
) -> Shown:
    """Compress the luminance by dodging and burning: L_d = L / (1 + V), V the mean around each pixel.

    The mean reaches as far as there is no strong contrast, found by comparing a Gaussian mean of each scale
    with that of the next.

    Args:
        hdr: Linear pixels [H, W, 3], at least 0, in any unit.
        key: Where the log-average comes to lie; a in the paper.
        sharpening: φ; greater settles on smaller surroundings.
        threshold: ε, the contrast at which the search ends.
        num_scales: Scales from 1 pixel on, each 1.6 times the one before.

    Returns:
        Display light [H, W, 3], linear; 1 = the display's white, which it may exceed.

    Source: Reinhard et al., "Photographic Tone Reproduction for Digital Images", 2002, equations 5 to 9 and
    their constants. A Gaussian profile of scale s there has a standard deviation of s / 4 pixels.
    """
    factor = np.float32(key / log_average_of(hdr))
    halo = math.ceil(_REACH * SCALE_STEP**num_scales / 4) + 1

    def show(rows: slice) -> Pixels:
        outer, inner = with_halo(rows, hdr.height, halo)
        pixels = hdr[outer]
        light = luminance(pixels)
        exposed = light * factor
        centre = gaussian_filter(exposed, 1 / 4, mode="nearest")
        local, growing = centre.copy(), np.ones(light.shape, bool)
        for number in range(num_scales):
            scale = SCALE_STEP**number
            surround = gaussian_filter(exposed, scale * SCALE_STEP / 4, mode="nearest", truncate=_REACH)
            contrast = (centre - surround) / (centre + np.float32(2**sharpening * key / scale**2))
            growing &= np.abs(contrast) < threshold
            np.copyto(local, centre, where=growing)
            centre = surround
        return with_luminance(pixels[inner], light[inner], (exposed / (1 + local))[inner])

    return Shown(show, least=4 * halo)


@by_rows
def durand(hdr: Source, base_contrast: float = 100.0, extent: float = 0.02, sigma: float = 0.4) -> Shown:
    """Compress the large-scale contrast of the luminance and keep the details.

    A bilateral filter splits log10 L into a base and the details; the base is scaled to the contrast wanted
    and its upper end becomes white.

    Args:
        hdr: Linear pixels [H, W, 3], at least 0, in any unit.
        base_contrast: Contrast of the base on the display. A base that has less keeps what it has.
        extent: Spatial standard deviation of the filter, as a share of the longer side.
        sigma: Its standard deviation in log10 units.

    Returns:
        Display light [H, W, 3], linear; 1 = the display's white, which it may exceed.

    Source: Durand and Dorsey, "Fast Bilateral Filtering for the Display of High-Dynamic-Range Images", 2002,
    whose extent and sigma are used. Ours: a contrast of 100, the ends of the base at its 0.5th and 99.5th
    percentile among lit pixels, and the filter by a grid, see `cross_bilateral`.
    """
    darkest = np.float32(log_average_of(hdr) * DARKEST)

    def logarithm(rows: slice) -> Pixels:
        return np.log10(np.maximum(hdr.light(rows), darkest))

    ends = [(part.min(), part.max()) for part in map(logarithm, hdr.strips())]
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    shape = hdr.height, hdr.width
    grid = BilateralGrid(shape, max(1.0, extent * max(shape)), (float(low), float(high)), sigma)
    for rows in hdr.strips():
        part = logarithm(rows)
        grid.add(rows.start, part, part)
    base = np.empty(shape, np.float32)
    for rows in hdr.strips():
        base[rows] = grid.read(rows.start, logarithm(rows))
    low, high = percentiles(lambda: (base[rows][hdr.light(rows) > 0] for rows in hdr.strips()), (0.5, 99.5))
    strength = min(1.0, math.log10(base_contrast) / max(high - low, 1e-6))
    # The details cancel out of L_d / L, by which the channels are multiplied.
    slope, top = np.float32(strength - 1), np.float32(high * strength)
    return Shown(lambda rows: hdr[rows] * (10 ** (base[rows] * slope - top))[..., None])
