"""Tone mapping as one function: from a linear HDR picture to one that a display shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from hdrlab.nets import SYSTEMS
from hdrlab.nets.layers import require_choice, require_maps
from hdrlab.ops.pyramids import LEVELS, Pyramid, decompose, expand
from hdrlab.ops.tone_range import (
    ENCODING_EXPONENT,
    Domain,
    encode_hdr,
    normalise_minmax,
    normalise_percentile,
    tone_limits,
)
from hdrlab.ops.transfer import luminance
from hdrlab.pipeline import Nets, NetSetError
from hdrlab.procedure import PROCEDURES, ProcedureName, pad_mirrored

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
"""At least the 13 pixels from which the zeros around a picture reach it through the full-size nets."""

MID_GREY = 0.18


class ToneMappingError(ValueError):
    """Pictures that cannot be tone-mapped."""


@dataclass(frozen=True)
class ToneInput:
    """What the nets were trained to see of a picture.

    Attributes:
        domain: Encoding, see `encode_hdr`; with `linear` the nets' output is linear too.
        pyramid: How the layers are made, see `decompose`.
        sigma_color: Colour deviation of the bilateral filter.
        fuse_middle: Whether the high layer holds the middle bands.
    """

    domain: Domain = "gamma"
    pyramid: Pyramid = "bilateral"
    sigma_color: float = 75.0
    fuse_middle: bool = False


def merge_layers(high: Tensor, bottom: Tensor, nets: Nets, *, margin: int = 0) -> Tensor:
    """Run the three nets; gradients pass.

    Args:
        high: High layers [B, 3, H, W] of encoded pictures.
        bottom: Bottom layers [B, 3, H / 8, W / 8]; the bottom net's statistics join the samples of a batch.
        nets: `tmo_high`, `tmo_bottom` and `tmo_merge`.
        margin: By how many pixels the bottom layer is mirrored beyond its border, or its border repeated
            where it is smaller; 6 is as far as the bottom net sees, so that its zero padding does not show.

    Returns:
        Pictures [B, 3, H, W] in (0, 1), display-encoded, or linear for nets trained so.

    Raises:
        NetSetError: A net is missing.

    Source: IQATM, the authors' program.
    """
    require_tone_nets(nets)
    toned: Tensor = nets["tmo_bottom"](pad_mirrored(bottom, (margin,) * 4))
    height, width = bottom.shape[-2:]
    toned = expand(toned[..., margin : margin + height, margin : margin + width])
    toned = toned + nets["tmo_high"](high)
    out: Tensor = nets["tmo_merge"](toned)
    return out


@torch.inference_mode()
def tone_map(
    hdr: Tensor,
    nets: Nets,
    *,
    tone: ToneInput = ToneInput(),
    procedure: ProcedureName = "default",
    normalize: Normalization = "minmax",
) -> Tensor:
    """Tone-map pictures, each by itself.

    A picture in which the nets would see one flat colour is not given to them: normalisation would blow its
    rounding errors up to an image. It is shown as it is, with its mean luminance at mid grey; black stays
    black. Under `official` these are also pictures below 334 samples, of which the authors' clipping leaves
    one value.

    Args:
        hdr: Linear pictures [B, 3, H, W] in any unit, at least 0.
        nets: `tmo_high`, `tmo_bottom` and `tmo_merge`.
        tone: What the nets were trained with.
        procedure: `default` takes any size; it mirrors the picture beyond its borders for the nets, so that
            their zero padding does not show. `official` is the authors' test program: it crops the right and
            the bottom to multiples of 8 and pads the bottom layer only.
        normalize: How the output is stretched: `minmax` as the authors do, where one pixel can set the
            exposure; `percentile` clips 0.1 % at both ends; `none`.

    Returns:
        Display-encoded pictures [B, 3, H, W] in [0, 1]; under `official` of the cropped size.

    Raises:
        NetSetError: A net is missing.
        ToneMappingError: Samples are not finite, or a picture has no 8 × 8 pixels under `official`.
        ValueError: A shape or a word is illegal.

    Source: IQATM, the authors' test program.
    """
    require_tone_nets(nets)
    require_choice("procedure", procedure, PROCEDURES)
    require_choice("normalize", normalize, NORMALIZATIONS)
    require_maps(hdr, 3)
    if broken := int(torch.sum(~hdr.isfinite())):
        raise ToneMappingError(f"{broken} of {hdr.numel()} samples are NaN or infinite: repair the pictures")
    official = procedure == "official"
    if official:
        hdr = _crop(hdr)
    return torch.cat([_map_one(picture[None], nets, tone, official, normalize) for picture in hdr])


def to_bytes_official(x_srgb: Tensor) -> Tensor:
    """Quantise as the authors' image writer does: add just under a half and cut off.

    Their writer stretches to the full range once more, which a picture stretched by `minmax` has already.

    Args:
        x_srgb: Display-encoded pictures of any shape in [0, 1].

    Returns:
        Bytes (uint8) of the same shape, on the CPU.

    Source: IQATM, the authors' test program (imageio 2.4, given a float picture).
    """
    # In float32 the addend would be 0.5.
    return (255 * x_srgb.cpu().double() + 0.499999999).to(torch.uint8)


def require_tone_nets(nets: Nets) -> None:
    """Refuse a set that lacks a tone-mapping net.

    Raises:
        NetSetError: Naming the missing nets.
    """
    needed = SYSTEMS["IQATM"]
    if missing := [name for name in needed if name not in nets]:
        raise NetSetError(f"no {' and no '.join(missing)} net; tone mapping needs {', '.join(needed)}")


def _map_one(hdr: Tensor, nets: Nets, tone: ToneInput, official: bool, normalize: Normalization) -> Tensor:
    limits = tone_limits(hdr, tone.domain, official=official)
    # Not after the encoding: vectorised powers of equal values differ in the last bit.
    darkest, brightest = (
        channel[..., None, None].clamp(*limits) for channel in hdr.flatten(2).aminmax(dim=2)
    )
    if torch.equal(darkest, brightest):
        return _at_mid_grey(hdr)
    x = encode_hdr(hdr, *limits, tone.domain)
    height, width = x.shape[-2:]
    first = 0 if official else MARGIN
    if not official:
        x = pad_mirrored(x, (MARGIN, MARGIN + -height % MULTIPLE, MARGIN, MARGIN + -width % MULTIPLE))
    high, bottom = decompose(
        x, pyramid=tone.pyramid, sigma_color=tone.sigma_color, fuse_middle=tone.fuse_middle
    )
    del x
    out = merge_layers(high, bottom, nets, margin=BOTTOM_MARGIN)
    shown = NORMALIZATIONS[normalize](out[..., first : first + height, first : first + width])
    return shown**ENCODING_EXPONENT if tone.domain == "linear" else shown


def _at_mid_grey(hdr: Tensor) -> Tensor:
    tiny = torch.finfo(hdr.dtype).tiny
    colour = hdr.clamp(min=0)
    colour = colour / colour.amax().clamp(min=tiny)  # or the sum of large values would be infinite
    level = luminance(colour).mean().clamp(min=tiny)
    return (MID_GREY / level * colour).clamp(max=1) ** ENCODING_EXPONENT


def _crop(hdr: Tensor) -> Tensor:
    height, width = (size - size % MULTIPLE for size in hdr.shape[-2:])
    if not (height and width):
        raise ToneMappingError(
            f"{hdr.shape[-2]}×{hdr.shape[-1]} pixels: the official procedure needs 8×8; use procedure=default"
        )
    return hdr[..., :height, :width]
