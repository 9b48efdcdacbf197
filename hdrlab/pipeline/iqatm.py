"""Tone mapping as one function: from a linear HDR image to one that a display shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from hdrlab.errors import OperatorError, WeightsError
from hdrlab.nets import SYSTEMS
from hdrlab.nets.layers import require_choice, require_maps
from hdrlab.ops.chromaticity import contrast_for, with_chromaticity
from hdrlab.ops.colour import luminance
from hdrlab.ops.encoding import (
    ENCODING_EXPONENT,
    Domain,
    clip_to,
    encode_hdr,
    normalise_minmax,
    normalise_percentile,
    tone_limits,
)
from hdrlab.ops.free_sizes import crop, is_free, round_up
from hdrlab.ops.pyramids import LEVELS, Pyramid, decompose, expand
from hdrlab.ops.strips import in_strips
from hdrlab.pipeline.resizing import PROCEDURES, ProcedureName, pad_mirrored
from hdrlab.pipeline.singlehdr import Nets

Normalization = Literal["minmax", "percentile", "none"]
NORMALIZATIONS: Mapping[Normalization, Callable[[Tensor], Tensor]] = {
    "minmax": normalise_minmax,
    "percentile": normalise_percentile,
    "none": lambda out: out,
}
"""How the last net's output is stretched to the range of a display."""

MULTIPLE = 2**LEVELS
BOTTOM_MARGIN = 6
MARGIN = 2 * MULTIPLE
"""At least the 13 pixels from which the zeros around an image reach it through the full-size nets."""

MID_GREY = 0.18


@dataclass(frozen=True)
class ToneInput:
    """What the nets were trained to see of an image.

    Attributes:
        domain: Encoding, see `encode_hdr`; with `linear` the nets' output is linear too.
        pyramid: How the layers are made, see `decompose`.
        sigma_color: Colour deviation of the bilateral filter.
        fuse_middle: Whether the high layer holds the middle bands.
        stretch: How the nets' output is stretched, a key of `NORMALIZATIONS`.
        colour: Where colours come from: ``nets``, or ``input``, see `hdrlab.ops.colour.with_chromaticity`.
        saturation: Exponent of the input's colours there.
        contrast: Exponent of the luminance there, about middle grey.
        local_contrast: What that exponent is chosen for instead, image by image, above 0, see
            `hdrlab.ops.chromaticity.contrast_for`.
        level: What `adaptive` exposes for, see `tone_limits`.
    """

    domain: Domain = "gamma"
    pyramid: Pyramid = "bilateral"
    sigma_color: float = 75.0
    fuse_middle: bool = False
    stretch: Normalization = "minmax"
    colour: Literal["nets", "input"] = "nets"
    saturation: float = 1.0
    contrast: float = 1.0
    local_contrast: float = 0.0
    level: float = 0.0


def merge_layers(high: Tensor, bottom: Tensor, nets: Nets, *, margin: int = 0) -> Tensor:
    """Run the three nets; gradients pass.

    Args:
        high: High layers [B, 3, H, W] of encoded images.
        bottom: Bottom layers [B, 3, H / 8, W / 8] of encoded images; the bottom net's statistics join the
            samples of a batch.
        nets: `tmo_high`, `tmo_bottom` and `tmo_merge`.
        margin: By how many pixels the bottom layer is mirrored beyond its border, or its border repeated
            where it is smaller; 6 is as far as the bottom net sees, so that its zero padding does not show.

    Returns:
        Images [B, 3, H, W] in (0, 1), display-encoded, or linear for nets trained so.

    Raises:
        WeightsError: A net is missing.

    Source: IQATM, the authors' program.
    """
    require_tone_nets(nets)
    toned: Tensor = nets["tmo_bottom"](pad_mirrored(bottom, (margin,) * 4))
    height, width = bottom.shape[-2:]
    toned = toned[..., margin : margin + height, margin : margin + width]
    fine: Tensor = nets["tmo_high"](high)
    del high  # of a large image that nobody else holds
    out: Tensor = nets["tmo_merge"](_join(fine, toned))
    return out


def _join(fine: Tensor, toned: Tensor) -> Tensor:
    """Add a small layer, brought to its image's size, to the layer of that size."""
    if torch.is_grad_enabled():
        return expand(toned) + fine
    scale = 2**LEVELS
    (joined,) = in_strips(
        lambda fine, toned: (expand(toned) + fine,),
        [fine, toned],
        channels=12,
        halo=2 * scale,
        multiple=scale,
    )
    return joined


@torch.inference_mode()
def tone_map(
    hdr: Tensor,
    nets: Nets,
    *,
    tone: ToneInput = ToneInput(),
    procedure: ProcedureName = "default",
    normalize: Normalization | None = None,
) -> Tensor:
    """Tone-map images, each by itself.

    An image in which the nets would see one flat colour is not given to them: normalisation would blow its
    rounding errors up to an image. It is shown as it is, with its mean luminance at mid grey; black stays
    black. Under `official` these are also images below 334 samples, of which the authors' clipping leaves
    one value.

    Args:
        hdr: Linear images [B, 3, H, W] in any unit, at least 0.
        nets: `tmo_high`, `tmo_bottom` and `tmo_merge`.
        tone: What the nets were trained with.
        procedure: `default` takes any size; it mirrors the image beyond its borders for the nets, so that
            their zero padding does not show. `official` is the authors' test program: it crops the right and
            the bottom to multiples of 8 and pads the bottom layer only.
        normalize: How the output is stretched: `minmax` as the authors do, where one pixel can set the
            exposure; `percentile` clips 0.1 % at both ends; `none`; None: as `tone` says.

    Returns:
        Display-encoded images [B, 3, H, W] in [0, 1]; under `official` of the cropped size.

    Raises:
        WeightsError: A net is missing.
        OperatorError: Samples are not finite, or an image has no 8 × 8 pixels under `official`.
        ValueError: A shape or a word is illegal.

    Source: IQATM, the authors' test program.
    """
    require_tone_nets(nets)
    require_choice("procedure", procedure, PROCEDURES)
    normalize = normalize or tone.stretch
    require_choice("normalize", normalize, NORMALIZATIONS)
    require_maps(hdr, 3)
    if broken := int(torch.sum(~hdr.isfinite())):
        raise OperatorError(f"{broken} of {hdr.numel()} samples are NaN or infinite: repair the images")
    official = procedure == "official"
    if official:
        hdr = crop_to_layers(hdr)
    return torch.cat([map_one(image[None], nets, tone, official, normalize) for image in hdr])


def to_bytes_official(x_srgb: Tensor) -> Tensor:
    """Quantise as the authors' image writer does: add just under a half and cut off.

    Their writer stretches to the full range once more, which an image stretched by `minmax` has already.

    Args:
        x_srgb: Display-encoded images of any shape in [0, 1].

    Returns:
        Bytes (uint8) of the same shape, on the CPU.

    Source: IQATM, the authors' test program (imageio 2.4, given a float image).
    """
    # In float32 the addend would be 0.5.
    return (255 * x_srgb.cpu().double() + 0.499999999).to(torch.uint8)


def require_tone_nets(nets: Nets) -> None:
    """Refuse a set that lacks a tone-mapping net.

    Raises:
        WeightsError: Naming the missing nets.
    """
    needed = SYSTEMS["IQATM"]
    if missing := [name for name in needed if name not in nets]:
        raise WeightsError(f"no {' and no '.join(missing)} net; tone mapping needs {', '.join(needed)}")


def map_one(hdr: Tensor, nets: Nets, tone: ToneInput, official: bool, normalize: Normalization) -> Tensor:
    """Tone-map an image [1, 3, H, W] as `tone_map` does, which checks it; also in a graph that is traced."""
    limits = tone_limits(hdr, tone.domain, official=official, level=tone.level)
    # Not after the encoding: vectorised powers of equal values differ in the last bit.
    channels = hdr.flatten(2)
    darkest, brightest = (
        clip_to(end[..., None, None], *limits, tone.domain)
        for end in (channels.amin(dim=2), channels.amax(dim=2))
    )
    flat = (darkest == brightest).all()
    if is_free(hdr):
        return torch.where(flat, _at_mid_grey(hdr), _shown(hdr, limits, nets, tone, official, normalize))
    return _at_mid_grey(hdr) if flat else _shown(hdr, limits, nets, tone, official, normalize)


def _shown(
    hdr: Tensor,
    limits: tuple[Tensor, Tensor],
    nets: Nets,
    tone: ToneInput,
    official: bool,
    normalize: Normalization,
) -> Tensor:
    x = encode_hdr(hdr, *limits, tone.domain)
    height, width = x.shape[-2:]
    first = 0 if official else MARGIN
    if not official:
        below, right = (MARGIN + round_up(size, MULTIPLE) - size for size in (height, width))
        x = pad_mirrored(x, (MARGIN, below, MARGIN, right))
    *high, bottom = decompose(
        x, pyramid=tone.pyramid, sigma_color=tone.sigma_color, fuse_middle=tone.fuse_middle
    )
    del x
    out = merge_layers(high.pop(), bottom, nets, margin=BOTTOM_MARGIN)
    shown = NORMALIZATIONS[normalize](crop(out[..., first:, first:], height, width))
    shown = shown**ENCODING_EXPONENT if tone.domain == "linear" else shown
    if tone.colour == "nets":
        return shown
    contrast = contrast_for(shown, tone.local_contrast) if tone.local_contrast else tone.contrast
    (coloured,) = in_strips(
        lambda shown, hdr: (with_chromaticity(shown, hdr, tone.saturation, contrast),),
        [shown, hdr.clamp(min=0)],
        channels=24,
    )
    return coloured


def _at_mid_grey(hdr: Tensor) -> Tensor:
    tiny = torch.finfo(hdr.dtype).tiny
    colour = hdr.clamp(min=0)
    colour = colour / colour.amax(dim=(0, 1, 2, 3)).clamp(
        min=tiny
    )  # or the sum of large values would be infinite
    level = luminance(colour).mean().clamp(min=tiny)
    return (MID_GREY / level * colour).clamp(max=1) ** ENCODING_EXPONENT


def crop_to_layers(hdr: Tensor) -> Tensor:
    """Crop the right and the bottom of images to multiples of 8, as the authors do.

    Args:
        hdr: Images [B, 3, H, W] of any range.

    Returns:
        Images [B, 3, h, w] of any range.

    Raises:
        OperatorError: An image has no 8 × 8 pixels.
    """
    height, width = hdr.shape[-2:]
    if is_free(hdr):
        return crop(hdr, *(round_up(size - MULTIPLE + 1, MULTIPLE) for size in (height, width)))
    if min(height, width) < MULTIPLE:
        raise OperatorError(
            f"{height}×{width} pixels: the official procedure needs 8×8; use procedure=default"
        )
    return crop(hdr, height - height % MULTIPLE, width - width % MULTIPLE)
