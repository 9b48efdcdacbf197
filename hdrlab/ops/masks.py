"""Masks of badly exposed pixels."""

from __future__ import annotations

from torch import Tensor


def highlight_mask(x_lin: Tensor, width: float = 0.12) -> Tensor:
    """Rate how clipped each pixel is: 0 up to a channel maximum of 1 − width, rising linearly to 1 at 1.

    Args:
        x_lin: Scene-linear images [B, 3, H, W], 1 = the clipping point.
        width: Width of the ramp in (0, 1]. The SingleHDR paper sets the threshold 0.95 (width 0.05), its
            code 0.88 (width 0.12).

    Returns:
        Masks [B, 1, H, W] in [0, 1]; gradients reach `x_lin` inside the ramp.

    Raises:
        ValueError: The width lies outside (0, 1].

    Source: SingleHDR, section 3.3 (the overexposed mask α).
    """
    if not 0 < width <= 1:
        raise ValueError(f"width={width}: the ramp of the highlight mask must be in (0, 1], for example 0.12")
    return ((x_lin.amax(dim=1, keepdim=True) - 1 + width) / width).clamp(0, 1)
