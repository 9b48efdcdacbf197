"""Colours of one image with the luminance of another."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hdrlab.ops.colour import MIDDLE_GREY, luminance, srgb_decode, srgb_encode
from hdrlab.ops.free_sizes import shrink

LOOKED_AT, _BLOCK, _HALVINGS = 512, 11, 10
LEAST_CONTRAST, MOST_CONTRAST = 0.85, 1.6


def with_chromaticity(
    x_srgb: Tensor, hdr: Tensor, saturation: float = 1.0, contrast: float | Tensor = 1.0
) -> Tensor:
    """Give display-encoded images the chromaticity of others; gradients pass to the former.

    The luminance is that of a grey of each pixel's luma. A colour of that luminance that does not fit into
    the display's range becomes the mean of two that do: mixed with grey, which keeps hue and luminance, and
    clipped channel by channel, which keeps more of the saturation.

    Args:
        x_srgb: Display-encoded images [B, 3, H, W] in [0, 1].
        hdr: Linear images of the same shape, at least 0, in any unit; black gives grey.
        saturation: Exponent of the ratios of the channels to the luminance: 1 keeps them, 0 gives grey.
        contrast: Exponent of the luminance below middle grey, and first slope of the shoulder above it, which
            reaches white at white alone; above 0; one, or [B, 1, 1, 1].

    Returns:
        Display-encoded images of that shape in [0, 1].

    Source: Schlick, "Quantization Techniques for Visualization of High Dynamic Range Images", 1994, for the
        ratios; Tumblin and Turk, "LCIS", 1999, for their exponent.
    """
    wanted, tiny = srgb_decode(luminance(x_srgb)).clamp(0, 1), torch.finfo(hdr.dtype).tiny
    if isinstance(contrast, Tensor) or contrast != 1:
        wanted = _about_grey(wanted.clamp(min=tiny), contrast)
    light = luminance(hdr)
    ratio = torch.where(light > tiny, hdr / light.clamp(min=tiny), 1) ** saturation
    ratio = ratio / luminance(ratio)
    most = ratio.amax(dim=1, keepdim=True)
    room = ((1 - wanted) / (wanted * (most - 1)).clamp(min=1e-6)).clamp(max=1)
    mixed, clipped = (srgb_encode((wanted * (1 + share * (ratio - 1))).clamp(0, 1)) for share in (room, 1))
    return (mixed + clipped) / 2


def contrast_for(x_srgb: Tensor, deviation: float) -> Tensor:
    """Find the exponent by which an image's luminance gets a local contrast.

    Local contrast is the mean standard deviation of the luma in blocks of 11 × 11 pixels, of the image shrunk
    to 512, so that it does not depend on how many pixels a scene has.

    Args:
        x_srgb: Display-encoded images [B, 3, H, W] in [0, 1].
        deviation: The local contrast wanted, in (0, 1); photographs have about 0.06.

    Returns:
        Exponents [B, 1, 1, 1] for `with_chromaticity`, from 0.85 to 1.6.
    """
    with torch.no_grad():
        light = srgb_decode(luminance(shrink(x_srgb, LOOKED_AT))).clamp(min=1e-6).clamp(max=1)
        low, high = (light.new_full((len(light), 1, 1, 1), end) for end in (LEAST_CONTRAST, MOST_CONTRAST))
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            lacks = _deviation(srgb_encode(_about_grey(light, middle))) < deviation
            low, high = torch.where(lacks, middle, low), torch.where(lacks, high, middle)
        return (low + high) / 2


def _about_grey(light: Tensor, exponent: float | Tensor) -> Tensor:
    """Raise the contrast of light [B, 1, H, W] in (0, 1]; above grey such that only white becomes white."""
    dark = MIDDLE_GREY * (light.clamp(max=MIDDLE_GREY) / MIDDLE_GREY) ** exponent
    above = (light - MIDDLE_GREY).clamp(min=0) / (1 - MIDDLE_GREY)
    return dark + (1 - MIDDLE_GREY) * exponent * above / (1 + (exponent - 1) * above)


def _deviation(luma: Tensor) -> Tensor:
    padded = F.pad(luma, (_BLOCK // 2,) * 4, mode="replicate")  # no image is smaller than a block
    mean, square = (F.avg_pool2d(y, _BLOCK) for y in (padded, padded.square()))
    return (square - mean.square()).clamp(min=0).sqrt().mean(dim=(1, 2, 3), keepdim=True)
