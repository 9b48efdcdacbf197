"""Colours of one image with the luminance of another."""

from __future__ import annotations

import torch
from torch import Tensor

from hdrlab.ops.colour import MIDDLE_GREY, luminance, srgb_decode, srgb_encode


def with_chromaticity(x_srgb: Tensor, hdr: Tensor, saturation: float = 1.0, contrast: float = 1.0) -> Tensor:
    """Give display-encoded images the chromaticity of others; gradients pass to the former.

    The luminance is that of a grey of each pixel's luma. A colour of that luminance that does not fit into
    the display's range becomes the mean of two that do: mixed with grey, which keeps hue and luminance, and
    clipped channel by channel, which keeps more of the saturation.

    Args:
        x_srgb: Display-encoded images [B, 3, H, W] in [0, 1].
        hdr: Linear images of the same shape, at least 0, in any unit; black gives grey.
        saturation: Exponent of the ratios of the channels to the luminance: 1 keeps them, 0 gives grey.
        contrast: Exponent of the luminance about middle grey, above 0.

    Returns:
        Display-encoded images of that shape in [0, 1].

    Source: Schlick, "Quantization Techniques for Visualization of High Dynamic Range Images", 1994, for the
        ratios; Tumblin and Turk, "LCIS", 1999, for their exponent.
    """
    wanted, tiny = srgb_decode(luminance(x_srgb)).clamp(0, 1), torch.finfo(hdr.dtype).tiny
    if contrast != 1:
        wanted = (MIDDLE_GREY * (wanted.clamp(min=tiny) / MIDDLE_GREY) ** contrast).clamp(max=1)
    light = luminance(hdr)
    ratio = torch.where(light > tiny, hdr / light.clamp(min=tiny), 1) ** saturation
    ratio = ratio / luminance(ratio)
    most = ratio.amax(dim=1, keepdim=True)
    room = ((1 - wanted) / (wanted * (most - 1)).clamp(min=1e-6)).clamp(max=1)
    mixed, clipped = (srgb_encode((wanted * (1 + share * (ratio - 1))).clamp(0, 1)) for share in (room, 1))
    return (mixed + clipped) / 2
