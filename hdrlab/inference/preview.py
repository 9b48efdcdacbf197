"""An image to look at: linear light brought to 8 bits by a simple global operator."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hdrlab.ops.colour import MIDDLE_GREY, luminance, srgb_levels
from hdrlab.ops.resize import resize

SATURATION = 0.9
_SAMPLES = 1_000_000
_ROWS = 512


def preview(hdr: NDArray[np.float32], long_side: int | None = None) -> NDArray[np.uint8]:
    """Tone-map a linear image, whatever its scale.

    The exposure brings the log-average of the luminance, its darkest and brightest hundredths left out, to
    middle grey; the 99.9th percentile becomes white.

    Args:
        hdr: Linear pixels [H, W, 3], at least 0, in any unit.
        long_side: Larger images are shrunk to this longer side in pixels; None: never.

    Returns:
        sRGB [H, W, 3], uint8.

    Source: Reinhard et al., "Photographic Tone Reproduction for Digital Images", 2002, equations 1 to 4;
    robust limits instead of the extremes, and colours desaturated a little, are ours.
    """
    shrunk = max(hdr.shape) / long_side if long_side else 1
    if shrunk > 1:
        hdr = resize(hdr, *(max(round(side / shrunk), 1) for side in hdr.shape[:2]))
    exposure, white = _exposure(hdr)
    shown = np.empty(hdr.shape, np.uint8)
    for top in range(0, len(hdr), _ROWS):
        shown[top : top + _ROWS] = _map(hdr[top : top + _ROWS] * np.float32(exposure), white)
    return shown


def _exposure(hdr: NDArray[np.float32]) -> tuple[float, float]:
    """Return the factor to apply and the luminance, after it, that is shown white."""
    step = max(1, int((hdr.shape[0] * hdr.shape[1] / _SAMPLES) ** 0.5))
    light = luminance(hdr[::step, ::step].reshape(-1, 3)).astype(np.float64)
    light = light[light > 0]
    if not light.size:
        return 1.0, 1.0
    dark, bright, white = np.percentile(light, (1, 99, 99.9))
    exposure = MIDDLE_GREY / float(np.exp(np.mean(np.log(light.clip(dark, bright)))))
    return exposure, max(float(white) * exposure, 1.0)


def _map(exposed: NDArray[np.float32], white: float) -> NDArray[np.uint8]:
    light = luminance(exposed)
    mapped = light * (1 + light / white**2) / (1 + light)
    ratio = exposed / np.maximum(light, np.float32(1e-12))[..., None]
    return srgb_levels(mapped[..., None] * ratio**SATURATION)
