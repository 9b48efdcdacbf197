"""What expansion operators share: the photograph's light, its luminance, and its replacement."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.float32]

_WEIGHTS = np.array((0.212656, 0.715158, 0.072186), np.float32)  # of linear RGB with Rec. 709 primaries


def srgb_decode(x_srgb: NDArray[Any]) -> Pixels:
    """Undo the sRGB curve (IEC 61966-2-1) on values in [0, 1] of any shape."""
    x_srgb = np.asarray(x_srgb, np.float64)
    power = ((x_srgb + 0.055) / 1.055) ** 2.4
    return np.where(x_srgb <= 0.04045, x_srgb / 12.92, power).astype(np.float32)


def luminance(x_lin: Pixels) -> Pixels:
    """Return the luminance [H, W] of linear pixels [H, W, 3] with Rec. 709 primaries, in their unit."""
    light: Pixels = np.minimum(x_lin @ _WEIGHTS, x_lin.max(axis=-1))  # rounding must not lift white above 1
    return light


def log_average(light: Pixels) -> float:
    """Return the geometric mean of a luminance [H, W] over the pixels that hold light; 1 where none does."""
    lit = light[light > 0]
    return float(np.exp(np.mean(np.log(lit), dtype=np.float64))) if lit.size else 1.0


def with_luminance(x_lin: Pixels, light: Pixels, expanded: Pixels) -> Pixels:
    """Give linear pixels another luminance, their chromaticity kept; black ones stay black.

    Args:
        x_lin: Linear pixels [H, W, 3].
        light: Their luminance [H, W].
        expanded: The wanted luminance [H, W].
    """
    ratio = np.divide(expanded, light, out=np.zeros_like(light), where=light > 0)
    return x_lin * ratio[..., None]
