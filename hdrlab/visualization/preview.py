"""A picture to look at: linear light brought to 8 bits by a simple global operator."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

KEY = 0.18
SATURATION = 0.9
_WEIGHTS = np.array((0.212656, 0.715158, 0.072186), np.float32)  # of linear RGB with Rec. 709 primaries
_SAMPLES = 1_000_000
_ROWS = 512


def preview(hdr: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Tone-map a linear picture, whatever its scale.

    The exposure brings the log-average of the luminance, its darkest and brightest hundredths left out, to
    middle grey; the 99.9th percentile becomes white.

    Args:
        hdr: Linear pixels [H, W, 3], at least 0, in any unit.

    Returns:
        sRGB [H, W, 3].

    Source: Reinhard et al., "Photographic Tone Reproduction for Digital Images", 2002, equations 1 to 4;
    robust limits instead of the extremes, and colours desaturated a little, are ours.
    """
    exposure, white = _exposure(hdr)
    shown = np.empty(hdr.shape, np.uint8)
    for top in range(0, len(hdr), _ROWS):
        shown[top : top + _ROWS] = _map(hdr[top : top + _ROWS] * np.float32(exposure), white)
    return shown


def to_srgb_levels(linear: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Encode linear values, cut to [0, 1], as 8-bit sRGB of the same shape."""
    shown = linear.clip(0, 1)
    encoded = np.where(shown <= 0.0031308, 12.92 * shown, 1.055 * shown ** (1 / 2.4) - 0.055)
    levels: NDArray[np.uint8] = np.rint(encoded * 255).astype(np.uint8)
    return levels


def _exposure(hdr: NDArray[np.float32]) -> tuple[float, float]:
    """Return the factor to apply and the luminance, after it, that is shown white."""
    step = max(1, int((hdr.shape[0] * hdr.shape[1] / _SAMPLES) ** 0.5))
    light = (hdr[::step, ::step].reshape(-1, 3) @ _WEIGHTS).astype(np.float64)
    light = light[light > 0]
    if not light.size:
        return 1.0, 1.0
    dark, bright, white = np.percentile(light, (1, 99, 99.9))
    exposure = KEY / float(np.exp(np.mean(np.log(light.clip(dark, bright)))))
    return exposure, max(float(white) * exposure, 1.0)


def _map(exposed: NDArray[np.float32], white: float) -> NDArray[np.uint8]:
    luminance = exposed @ _WEIGHTS
    mapped = luminance * (1 + luminance / white**2) / (1 + luminance)
    ratio = exposed / np.maximum(luminance, np.float32(1e-12))[..., None]
    return to_srgb_levels(mapped[..., None] * ratio**SATURATION)
