"""Global operators: one curve for all pixels of an image.

All take linear pixels [H, W, 3], at least 0 and not all 0, in any unit, and return display light: linear,
1 = the display's white, possibly above it. None depends on the unit. Where pixels are a part of an image,
``scene`` is the whole.
"""

from __future__ import annotations

import math

import numpy as np

from hdrlab.ops.colour import MIDDLE_GREY, Pixels, luminance, with_luminance
from hdrlab.ops.ranks import ranked
from hdrlab.tonemapping.rows import Shown, Source, by_rows
from hdrlab.tonemapping.scene import Scene

_HABLE = np.array((0.15, 0.5, 0.1, 0.2, 0.02, 0.3), np.float32)  # A to F of the source
_HABLE_EXPOSURE = 2.0


@by_rows
def gamma(hdr: Source, clipped: float = 0.003) -> Shown:
    """Show linear light as it is, its brightest samples clipped; the display's encoding is the only curve.

    Args:
        hdr: Linear pixels [H, W, 3], at least 0, in any unit.
        clipped: Share of the samples that is white: 0.003, as IQATM prepares its input.

    Returns:
        Display light [H, W, 3], linear; 1 = the display's white, which it may exceed.
    """
    number = 3 * hdr.height * hdr.width
    ranks = number - max(1, int(number * clipped)), number - 1
    white, most = ranked(lambda: (hdr[rows] for rows in hdr.strips()), lambda _: ranks)
    return Shown(lambda rows: hdr[rows] / np.float32(white or most))


def log(hdr: Pixels, key: float = 1.0, *, scene: Scene | None = None) -> Pixels:
    """Compress the luminance logarithmically: L_d = ln(1 + L) / ln(1 + L_max).

    Args:
        hdr: Linear pixels [H, W, 3], at least 0, in any unit.
        key: Where the log-average comes to lie; more is brighter.
        scene: Of the whole image.

    Returns:
        Display light [H, W, 3], linear; 1 = the display's white, which it may exceed.

    Source: Stockham, "Image Processing in the Context of a Visual Model", 1972; the unit of L is ours.
    """
    scene = scene or Scene.of(hdr)
    light, factor = luminance(hdr), np.float32(key / scene.average)
    white = np.float32(scene.brightest) * factor
    return with_luminance(hdr, light, np.log1p(light * factor) / np.log1p(white))


def reinhard(
    hdr: Pixels, key: float = MIDDLE_GREY, white: float | None = None, *, scene: Scene | None = None
) -> Pixels:
    """Compress the luminance as Reinhard's global photographic operator does.

    L = key / log-average · luminance; L_d = L (1 + L / L_white²) / (1 + L).

    Args:
        hdr: Linear pixels [H, W, 3], at least 0, in any unit.
        key: Where the log-average comes to lie: 0.18, the paper's middle grey.
        white: L_white, the least L that is shown white. None: the greatest, the paper's default, but at least
            1: an image of low contrast, say one grey, is not stretched to white.
        scene: Of the whole image.

    Returns:
        Display light [H, W, 3], linear; 1 = the display's white, which it may exceed.

    Source: Reinhard et al., "Photographic Tone Reproduction for Digital Images", 2002, equations 1, 2, 4.
    """
    scene = scene or Scene.of(hdr)
    light, factor = luminance(hdr), np.float32(key / scene.average)
    exposed = light * factor
    white = max(float(np.float32(scene.brightest) * factor), 1.0) if white is None else white
    return with_luminance(hdr, light, exposed * (1 + exposed / np.float32(white**2)) / (1 + exposed))


def drago(hdr: Pixels, bias: float = 0.85, key: float = 1.0, *, scene: Scene | None = None) -> Pixels:
    """Compress the luminance by logarithms whose base grows from 2 in the dark to 10 at the brightest pixel.

    Args:
        hdr: Linear pixels [H, W, 3], at least 0, in any unit.
        bias: Steepness of that change: 0.85, the paper's; less is brighter.
        key: Where the log-average comes to lie; more is brighter.
        scene: Of the whole image.

    Returns:
        Display light [H, W, 3], linear; 1 = the display's white, which it may exceed.

    Source: Drago et al., "Adaptive Logarithmic Mapping for Displaying High Contrast Scenes", 2003,
    equation 4, for a display of 100 cd/m². L = key at the log-average; encoded as sRGB instead of the paper's
    modified Rec. 709 curve.
    """
    scene = scene or Scene.of(hdr)
    light, factor = luminance(hdr), np.float32(key / scene.average)
    exposed, white = light * factor, float(np.float32(scene.brightest) * factor)
    base = 2 + 8 * (exposed / np.float32(white)) ** np.float32(math.log(bias) / math.log(0.5))
    shown = np.log1p(exposed) / np.log(base) / np.float32(math.log10(1 + white))
    return with_luminance(hdr, light, shown)


def filmic(
    hdr: Pixels, key: float = MIDDLE_GREY, white: float = 11.2, *, scene: Scene | None = None
) -> Pixels:
    """Bend each channel by Hable's filmic curve of Uncharted 2, with a toe and a shoulder.

    Args:
        hdr: Linear pixels [H, W, 3], at least 0, in any unit.
        key: Where the log-average comes to lie; Hable's factor of 2 on the exposure is applied to it.
        white: What is shown white; the defaults clip at 31 times the log-average.
        scene: Of the whole image.

    Returns:
        Display light [H, W, 3], linear; 1 = the display's white, which it may exceed.

    Source: Hable, "Filmic Tonemapping Operators", 2010, with the constants of that text. The exposure, there
    a number for one scene, comes from the log-average.
    """
    scene = scene or Scene.of(hdr)
    exposed = hdr * np.float32(key * _HABLE_EXPOSURE / scene.average)
    return _hable(exposed) / _hable(np.array(white, np.float32))


def _hable(x: Pixels) -> Pixels:
    shoulder, linear, angle, toe, toe_numerator, toe_denominator = _HABLE
    upper = x * (shoulder * x + angle * linear) + toe * toe_numerator
    lower = x * (shoulder * x + linear) + toe * toe_denominator
    bent: Pixels = upper / lower - toe_numerator / toe_denominator
    return bent
