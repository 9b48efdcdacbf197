"""What tone-mapping operators share: luminance, its average, and its replacement."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.float32]

MIDDLE_GREY = 0.18
_WEIGHTS = np.array((0.212656, 0.715158, 0.072186), np.float32)  # of linear RGB with Rec. 709 primaries


def luminance(hdr: Pixels) -> Pixels:
    """Return the luminance [H, W] of linear pixels [H, W, 3] with Rec. 709 primaries, in their unit."""
    light: Pixels = hdr @ _WEIGHTS
    return light


def log_average(light: Pixels) -> float:
    """Return the geometric mean of a luminance [H, W] over the pixels that hold light; 1 where none does.

    Source: Reinhard et al. 2002, equation 1. Leaving black pixels out instead of adding a small number keeps
    it proportional to the unit, and independent of how much of a picture is masked.
    """
    lit = light[light > 0]
    return float(np.exp(np.mean(np.log(lit), dtype=np.float64))) if lit.size else 1.0


def expose(hdr: Pixels, average: float) -> Pixels:
    """Scale linear pixels [H, W, 3] so that the log-average of their luminance is the one given."""
    return hdr * np.float32(average / log_average(luminance(hdr)))


def with_luminance(hdr: Pixels, light: Pixels, shown: Pixels) -> Pixels:
    """Give linear pixels another luminance, their chromaticity kept; black ones stay black.

    Args:
        hdr: Linear pixels [H, W, 3].
        light: Their luminance [H, W], in any unit.
        shown: The wanted luminance [H, W].
    """
    ratio = np.divide(shown, light, out=np.zeros_like(light), where=light > 0)
    return hdr * ratio[..., None]


def srgb_encode(display: Pixels) -> Pixels:
    """Encode display light in [0, 1], of any shape, with the sRGB curve (IEC 61966-2-1)."""
    power = np.float32(1.055) * display ** np.float32(1 / 2.4) - np.float32(0.055)
    return np.where(display <= 0.0031308, np.float32(12.92) * display, power)
