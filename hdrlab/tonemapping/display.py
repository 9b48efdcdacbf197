"""From what an operator makes to what a display is sent: adjustments after any operator, then the gamut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrlab.ops.colour import (
    LUMINANCE_WEIGHTS,
    MIDDLE_GREY,
    Pixels,
    greatest_sample,
    least_sample,
    luminance,
    srgb_encode,
    with_luminance,
)


def to_display(
    light: NDArray[Any],
    *,
    exposure: float = 0.0,
    contrast: float = 1.0,
    saturation: float = 1.0,
    gamma: float = 1.0,
    compress: bool = True,
) -> Pixels:
    """Adjust display light and encode it.

    Args:
        light: Linear pixels [H, W, 3], Rec. 709, 1 = the display's white; what is above is compressed.
        exposure: Stops by which all is brighter.
        contrast: Exponent of the luminance about middle grey.
        saturation: Factor on what distinguishes a colour from the grey of its luminance.
        gamma: The encoded values are raised to 1 / gamma: above 1 lifts the dark ones.
        compress: Whether colours beyond the display are brought to its gamut by `into_gamut`. If not they are
            cut channel by channel, which leaves it to the caller to add what a wider display can show.

    Returns:
        Display-encoded sRGB [H, W, 3] in [0, 1], float32.
    """
    shown = np.asarray(light, np.float32)
    if exposure:
        shown = shown * np.float32(2**exposure)
    if contrast != 1:
        grey = luminance(shown).clip(min=0)
        shown = with_luminance(shown, grey, MIDDLE_GREY * (grey / np.float32(MIDDLE_GREY)) ** contrast)
    if saturation != 1:
        grey = luminance(shown)[..., None]
        shown = grey + (shown - grey) * np.float32(saturation)
    encoded = srgb_encode(into_gamut(shown) if compress else shown.clip(0, 1))
    return encoded if gamma == 1 else encoded ** np.float32(1 / gamma)


def into_gamut(light: Pixels, weights: Sequence[float] = LUMINANCE_WEIGHTS) -> Pixels:
    """Bring colours that a display cannot show to its gamut's border, towards the grey of their luminance.

    Cutting channels one by one would change hues: a bright orange flame turns yellow, a blue lamp cyan.

    Args:
        light: Linear pixels [H, W, 3] in the display's primaries; 1 = its white.
        weights: What each primary adds to the luminance; Rec. 709's by default.

    Returns:
        Pixels in [0, 1]; luminance above 1 is white, all other luminance is kept.
    """
    low, high = least_sample(light), greatest_sample(light)
    outside = (low < 0) | (high > 1)
    if not outside.any():
        return light
    colours = light[outside]
    grey = (colours @ np.asarray(weights, np.float32)).clip(0, 1)
    above = (1 - grey) / np.maximum(high[outside] - grey, np.float32(1e-12))
    below = grey / np.maximum(grey - low[outside], np.float32(1e-12))
    share = np.minimum(np.minimum(above, below), 1)[..., None]
    shown = light.copy()
    shown[outside] = (grey[..., None] + (colours - grey[..., None]) * share).clip(0, 1)
    return shown
