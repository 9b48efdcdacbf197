"""Global operators: one curve for all pixels of a picture.

All take linear pixels [H, W, 3], at least 0 and not all 0, in any unit, and return display light: linear,
1 = the display's white, possibly above it. None depends on the unit.
"""

from __future__ import annotations

import math

import numpy as np

from hdrlab.operators.light import MIDDLE_GREY, Pixels, expose, log_average, luminance, with_luminance

_HABLE = np.array((0.15, 0.5, 0.1, 0.2, 0.02, 0.3), np.float32)  # A to F of the source


def gamma(hdr: Pixels, clipped: float = 0.003) -> Pixels:
    """Show linear light as it is, its brightest samples clipped; the display's encoding is the only curve.

    Args:
        hdr: Linear pixels.
        clipped: Share of the samples that is white: 0.003, as IQATM prepares its input.
    """
    samples = hdr.ravel()
    rank = samples.size - max(1, int(samples.size * clipped))
    white = np.partition(samples, rank)[rank] or samples.max()
    shown: Pixels = hdr / white
    return shown


def log(hdr: Pixels) -> Pixels:
    """Compress the luminance logarithmically, L = 1 at the log-average: L_d = ln(1 + L) / ln(1 + L_max).

    Source: Stockham, "Image Processing in the Context of a Visual Model", 1972; the unit of L is ours.
    """
    light = luminance(hdr)
    exposed = light / np.float32(log_average(light))
    return with_luminance(hdr, light, np.log1p(exposed) / np.log1p(exposed.max()))


def reinhard(hdr: Pixels, key: float = MIDDLE_GREY) -> Pixels:
    """Compress the luminance as Reinhard's global photographic operator does.

    L = key / log-average · luminance; L_d = L (1 + L / L_white²) / (1 + L).

    Args:
        hdr: Linear pixels.
        key: Where the log-average comes to lie: 0.18, the paper's middle grey.

    Source: Reinhard et al., "Photographic Tone Reproduction for Digital Images", 2002, equations 1, 2, 4.
    L_white is the greatest L, the paper's default, but at least 1: a picture of low contrast, say one grey,
    is not stretched to white.
    """
    light = luminance(hdr)
    exposed = light * np.float32(key / log_average(light))
    white = max(float(exposed.max()), 1.0)
    return with_luminance(hdr, light, exposed * (1 + exposed / np.float32(white**2)) / (1 + exposed))


def drago(hdr: Pixels, bias: float = 0.85) -> Pixels:
    """Compress the luminance by logarithms whose base grows from 2 in the dark to 10 at the brightest pixel.

    Args:
        hdr: Linear pixels.
        bias: Steepness of that change: 0.85, the paper's; less is brighter.

    Source: Drago et al., "Adaptive Logarithmic Mapping for Displaying High Contrast Scenes", 2003,
    equation 4, for a display of 100 cd/m². L = 1 at the log-average; encoded as sRGB instead of the paper's
    modified Rec. 709 curve.
    """
    light = luminance(hdr)
    exposed = light / np.float32(log_average(light))
    white = float(exposed.max())
    base = 2 + 8 * (exposed / np.float32(white)) ** np.float32(math.log(bias) / math.log(0.5))
    shown = np.log1p(exposed) / np.log(base) / np.float32(math.log10(1 + white))
    return with_luminance(hdr, light, shown)


def filmic(hdr: Pixels, key: float = MIDDLE_GREY, exposure_bias: float = 2.0, white: float = 11.2) -> Pixels:
    """Bend each channel by Hable's filmic curve of Uncharted 2, with a toe and a shoulder.

    Args:
        hdr: Linear pixels.
        key: Where the log-average comes to lie.
        exposure_bias: Factor on it.
        white: What is shown white; the defaults clip at 31 times the log-average.

    Source: Hable, "Filmic Tonemapping Operators", 2010, with the constants of that text. The exposure, there
    a number for one scene, comes from the log-average.
    """
    return _hable(expose(hdr, key * exposure_bias)) / _hable(np.array(white, np.float32))


def _hable(x: Pixels) -> Pixels:
    shoulder, linear, angle, toe, toe_numerator, toe_denominator = _HABLE
    upper = x * (shoulder * x + angle * linear) + toe * toe_numerator
    lower = x * (shoulder * x + linear) + toe * toe_denominator
    bent: Pixels = upper / lower - toe_numerator / toe_denominator
    return bent
