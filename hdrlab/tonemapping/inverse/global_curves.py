"""Global expansions: one curve for all pixels of a photograph.

All take linearised pixels [H, W, 3] in [0, 1], 1 = the photograph's clipping point, and return linear ones,
at least 0, on the same scale.
"""

from __future__ import annotations

import numpy as np

from hdrlab.ops.colour import Pixels, log_average, luminance, with_luminance

OVEREXPOSED = 254 / 255


def srgb(x_lin: Pixels) -> Pixels:
    """Do nothing: the inverse sRGB curve alone, which every other method must beat.

    Args:
        x_lin: Linearised pixels [H, W, 3] in [0, 1].

    Returns:
        Linear pixels [H, W, 3], at least 0; 1 = the photograph's clipping point.
    """
    return x_lin


def landis(x_lin: Pixels, power: float = 2.0, threshold: float = 0.5, peak: float = 10.0) -> Pixels:
    """Lift what is brighter than a threshold, up to a peak.

    L' = L (1 − t) + peak · L · t with t = ((L − threshold) / (1 − threshold))^power.

    Args:
        x_lin: Linearised pixels [H, W, 3] in [0, 1].
        power: α of the paper.
        threshold: The luminance from which it lifts.
        peak: What white becomes. Ours is ten times the clipping point; the paper takes that of its display.

    Returns:
        Linear pixels [H, W, 3], at least 0; 1 = the photograph's clipping point.

    Source: Landis, "Production-Ready Global Illumination", 2002.
    """
    light = luminance(x_lin)
    share = (np.clip(light - threshold, 0, None) / (1 - threshold)) ** power
    return with_luminance(x_lin, light, np.asarray(light * (1 + (peak - 1) * share), np.float32))


def akyuz(x_lin: Pixels, exponent: float = 1.0) -> Pixels:
    """Stretch the luminance from the image's darkest pixel to its brightest.

    L' = L_max · ((L − L_min) / (L_max − L_min))^exponent; an image of one luminance stays as it is.

    Args:
        x_lin: Linearised pixels [H, W, 3] in [0, 1].
        exponent: 1, the linear one that viewers preferred.

    Returns:
        Linear pixels [H, W, 3], at least 0; 1 = the photograph's clipping point.

    Source: Akyüz et al., "Do HDR Displays Support LDR Content? A Psychophysical Evaluation", 2007. The
    brightest pixel keeps its light, where the paper has the display's peak.
    """
    light = luminance(x_lin)
    low, high = float(light.min()), float(light.max())
    if low == high:
        return x_lin
    return with_luminance(x_lin, light, high * ((light - low) / (high - low)) ** exponent)


def masia(x_lin: Pixels) -> Pixels:
    """Raise the luminance to a power found from the image's statistics: L' = L^γ.

    γ = 2.4379 + 0.2319 ln L_H − 1.1228 k + 0.0085 p, with the log-average L_H, the key k (where L_H lies
    between the 1st and the 99th percentile of ln L) and the percentage p of overexposed pixels.

    Args:
        x_lin: Linearised pixels [H, W, 3] in [0, 1].

    Returns:
        Linear pixels [H, W, 3], at least 0; 1 = the photograph's clipping point.

    Source: Masia et al., "Evaluation of Reverse Tone Mapping Through Varying Exposure Conditions", 2009, for
    the power, and "Dynamic Range Expansion Based on Image Statistics", 2017, equation 5, for γ. Ours: γ is
    at least 1, or it would compress; and percentiles are those of pixels that hold light.
    """
    light = luminance(x_lin)
    return with_luminance(x_lin, light, light ** np.float32(masia_exponent(light)))


def masia_exponent(light: Pixels) -> float:
    """Return γ of `masia` for a luminance [H, W] in [0, 1]."""
    lit = light[light > 0]
    if not lit.size:
        return 1.0
    average = np.log(log_average(light))
    low, high = np.log(np.percentile(lit, (1, 99)).astype(np.float64))
    key = (average - low) / (high - low) if high > low else 0.5
    overexposed = 100 * float(np.mean(light >= OVEREXPOSED))
    return max(1.0, float(2.4379 + 0.2319 * average - 1.1228 * key + 0.0085 * overexposed))
