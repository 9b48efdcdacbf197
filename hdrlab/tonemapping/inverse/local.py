"""Local expansions: how far a pixel is lifted depends on its surroundings.

They take and return what the global ones do, see `hdrlab.tonemapping.inverse.global_curves`.
"""

from __future__ import annotations

import numpy as np

from hdrlab.ops.bilateral_grid import cross_bilateral
from hdrlab.ops.colour import Pixels, log_average, luminance, srgb_decode, with_luminance
from hdrlab.tonemapping.inverse.global_curves import OVEREXPOSED


def kovaleski(
    x_lin: Pixels, boost: float = 4.0, extent: float = 150 / 1920, sigma: float = 25 / 255
) -> Pixels:
    """Lift overexposed pixels and what is as bright around them by a smooth map that stops at edges.

    A cross-bilateral filter, guided by the encoded luminance, smooths the mask of overexposed pixels; where
    it is 1 the light is multiplied by `boost`.

    Args:
        x_lin: Linearised pixels [H, W, 3] in [0, 1].
        boost: The greatest factor: 4, the paper's.
        extent: Spatial standard deviation of the filter as a share of the longer side; 150 pixels in HD.
        sigma: Its standard deviation in encoded luminance.

    Returns:
        Linear pixels [H, W, 3], at least 0; 1 = the photograph's clipping point.

    Source: Kovaleski and Oliveira, "High-Quality Brightness Enhancement Functions for Real-Time Reverse Tone
    Mapping", 2009, and "High-Quality Reverse Tone Mapping for a Wide Range of Exposures", 2014.
    """
    mask = x_lin.max(axis=-1) >= srgb_decode(np.array(OVEREXPOSED))
    guide = luminance(x_lin) ** np.float32(1 / 2.2)
    smooth = cross_bilateral(mask.astype(np.float32), guide, max(1.0, extent * max(guide.shape)), sigma)
    return np.asarray(x_lin * (1 + (boost - 1) * np.clip(smooth, 0, 1))[..., None], np.float32)


def huo(x_lin: Pixels, exponent: float = 0.86) -> Pixels:
    """Undo the local adaptation of the retina: the brighter the surroundings, the more is lifted.

    L' = c · L · (S^n + σ^n)^(1/n), S the smoothed luminance and σ the log-average.

    Args:
        x_lin: Linearised pixels [H, W, 3] in [0, 1].
        exponent: n, which shares the range between bright and dark.

    Returns:
        Linear pixels [H, W, 3], at least 0; 1 = the photograph's clipping point.

    Source: Huo et al., "Physiological Inverse Tone Mapping Based on Retina Response", 2014: two passes of a
    bilateral filter with standard deviations of 16 and 10 pixels, 0.3 and 0.1 in luminance. The factor c,
    which the paper takes from its display, is such that light of the log-average in surroundings of its own
    keeps its value.
    """
    light = luminance(x_lin)
    average = log_average(light)
    smooth = light
    for sigma_space, sigma_range in ((16.0, 0.3), (10.0, 0.1)):
        smooth = np.clip(cross_bilateral(smooth, smooth, sigma_space, sigma_range), 0, 1)
    lift = ((smooth**exponent + average**exponent) / (2 * average**exponent)) ** (1 / exponent)
    return with_luminance(x_lin, light, np.asarray(light * lift, np.float32))
