"""Between the planes of video and RGB: matrices, ranges, sub-sampled chroma and transfer functions.

Tensors are RGB [1, 3, H, W], float32. Chroma of 4:2:0 and 4:2:2 lies on the left of its pixels, as H.264,
HEVC and AV1 have it unless they say otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hdrlab.ops.colour import srgb_encode
from hdrlab.ops.colour_spaces import (
    CODED_CURVES,
    CODED_PRIMARIES,
    DIFFUSE_WHITE,
    HLG_CODE,
    HLG_PEAK,
    PQ_CODE,
    REC709,
    REC2020,
    conversion,
    hlg_curve,
    hlg_encode,
    pq_curve,
    pq_encode,
    to_xyz,
)

UNSAID = (0, 2)  # reserved and unspecified, of every code point
RGB_MATRIX = 0
_KR_KB = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}
"""What red and blue weigh in luma, by the matrix' code point. Source: ITU-T H.273, table 4."""

_NAMES = {1: "BT.709", 5: "BT.601", 6: "BT.601", 7: "SMPTE 240M", 9: "BT.2020"}


@dataclass(frozen=True)
class Tags:
    """What a stream says of its colours, as code points of ITU-T H.273.

    Attributes:
        primaries: 1 is Rec. 709.
        transfer: 16 is PQ, 18 HLG.
        matrix: 0 is RGB itself.
        is_full: Whether codes use the full range.
    """

    primaries: int = 1
    transfer: int = 1
    matrix: int = 1
    is_full: bool = False

    @property
    def hdr(self) -> str | None:
        """``PQ`` or ``HLG``; None: it is SDR."""
        return {PQ_CODE: "PQ", HLG_CODE: "HLG"}.get(self.transfer)

    def completed(self, height: int) -> tuple[Tags, str | None]:
        """Return tags without gaps, guessed as players do by the height, and what was guessed."""
        standard = 9 if self.hdr else 1 if height > 576 else 5 if height == 576 else 6
        made = Tags(
            standard if self.primaries in UNSAID else self.primaries,
            1 if self.transfer in UNSAID else self.transfer,
            standard if self.matrix == 2 else self.matrix,
            self.is_full,
        )
        names = ("primaries", "transfer", "matrix")
        guessed = [name for name in names if getattr(made, name) != getattr(self, name)]
        note = f"says nothing of its {', '.join(guessed)}: taken as {_NAMES[standard]}" if guessed else None
        return made, note


HDR10 = Tags(9, PQ_CODE, 9)
HLG = Tags(9, HLG_CODE, 9)
SDR = Tags(1, 1, 1)


def supported(tags: Tags) -> str | None:
    """Say what of a stream's colours is not supported, or return None."""
    if tags.matrix not in (*_KR_KB, RGB_MATRIX):
        return f"has matrix {tags.matrix} of H.273, which is unsupported"
    if tags.transfer not in (*CODED_CURVES, HLG_CODE) or tags.primaries not in CODED_PRIMARIES:
        codes = f"primaries {tags.primaries}, transfer {tags.transfer} of H.273"
        return f"has colours ({codes}) that are unsupported"
    return None


def to_rgb(planes: Sequence[Tensor], bits: int, tags: Tags) -> Tensor:
    """Decode planes of luma and chroma.

    Args:
        planes: Codes [1, 1, h, w] of Y', or of Y', Cb and Cr, float32; chroma may be sub-sampled.
        bits: Of the codes.
        tags: Of the stream.

    Returns:
        R'G'B' [1, 3, H, W], nominally in [0, 1]: codes outside the nominal range are kept.
    """
    unit = 2.0 ** (bits - 8)
    low, span, chroma_span = (
        (0, 2**bits - 1, 2**bits - 1) if tags.is_full else (16 * unit, 219 * unit, 224 * unit)
    )
    luma = (planes[0] - low) / span
    if len(planes) == 1:
        return luma.expand(1, 3, *luma.shape[-2:]).contiguous()
    cb, cr = ((_upsampled(plane, luma.shape[-2:]) - 128 * unit) / chroma_span for plane in planes[1:3])
    kr, kb = _KR_KB[tags.matrix]
    red, blue = luma + 2 * (1 - kr) * cr, luma + 2 * (1 - kb) * cb
    return torch.cat([red, (luma - kr * red - kb * blue) / (1 - kr - kb), blue], dim=1)


def to_planes(rgb: Tensor, bits: int, tags: Tags) -> list[Tensor]:
    """Encode R'G'B' [1, 3, H, W], H and W even, as 4:2:0: codes before rounding, in the legal range.

    Returns:
        Y' [1, 1, H, W], Cb and Cr [1, 1, H/2, W/2].
    """
    kr, kb = _KR_KB[tags.matrix]
    unit, (red, green, blue) = 2.0 ** (bits - 8), (rgb[:, i : i + 1] for i in range(3))
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    chroma = [_halved((blue - luma) / (2 * (1 - kb))), _halved((red - luma) / (2 * (1 - kr)))]
    codes = [luma * (219 * unit) + 16 * unit, *(one * (224 * unit) + 128 * unit for one in chroma)]
    return [one.clamp(unit, 255 * unit - 1) for one in codes]


def _upsampled(plane: Tensor, size: Sequence[int]) -> Tensor:
    height, width = size
    if plane.shape[-1] != width:
        following = F.pad(plane, (0, 1, 0, 0), mode="replicate")[..., 1:]
        plane = torch.stack([plane, (plane + following) / 2], dim=-1).flatten(-2)[..., :width]
    if plane.shape[-2] != height:
        rows = 2 * plane.shape[-2]
        plane = F.interpolate(plane, (rows, width), mode="bilinear", align_corners=False)[..., :height, :]
    return plane


def _halved(chroma: Tensor) -> Tensor:
    padded = F.pad(chroma, (1, 1, 0, 0), mode="replicate")
    across = (padded[..., :-2:2] + 2 * padded[..., 1:-1:2] + padded[..., 2::2]) / 4
    return (across[..., ::2, :] + across[..., 1::2, :]) / 2


# ------------------------------------------------------------------------------------------------ light


def display_samples(rgb: Tensor, tags: Tags) -> Tensor:
    """Take SDR as the photographs that nets know: its own curve, the primaries of Rec. 709, in [0, 1].

    The curve stays: it is part of the camera's response, which is estimated.
    """
    primaries = CODED_PRIMARIES[tags.primaries]
    if primaries.is_near(REC709):
        return rgb.clamp(0, 1)
    light = torch.from_numpy(CODED_CURVES[tags.transfer](rgb.clamp(0, 1).numpy()).astype(np.float32))
    return srgb_encode(_converted(light, conversion(primaries, REC709)).clamp(0, 1))


def light_of(rgb: Tensor, tags: Tags) -> Tensor:
    """Decode PQ or HLG: linear Rec. 709, 1 = diffuse white, below 0 where colours lie outside."""
    primaries = CODED_PRIMARIES[tags.primaries]
    if tags.transfer == PQ_CODE:
        light: Tensor = pq_curve(rgb)  # type: ignore[arg-type, assignment]  # acts on tensors too
    else:
        last = np.ascontiguousarray(rgb[0].permute(1, 2, 0).numpy())
        light = torch.from_numpy(hlg_curve(primaries)(last)).permute(2, 0, 1)[None]
    return _converted(light / DIFFUSE_WHITE, conversion(primaries, REC709))


def absolute(hdr: Tensor, peak: float) -> Tensor:
    """Bring linear Rec. 709, 1 = diffuse white, to light in cd/m² with BT.2020's primaries, in 0 … peak."""
    return (_converted(hdr, conversion(REC709, REC2020)) * DIFFUSE_WHITE).clamp(0, peak)


def encode_light(light: Tensor, tags: Tags) -> Tensor:
    """Encode light in cd/m² with BT.2020's primaries, see `absolute`, as `HDR10` or `HLG` say."""
    if tags.transfer == PQ_CODE:
        encoded: Tensor = pq_encode(light)  # type: ignore[arg-type, assignment]
        return encoded
    weights = light.new_tensor(to_xyz(REC2020)[1]).view(1, 3, 1, 1)
    shown = ((light * weights).sum(dim=1, keepdim=True) / HLG_PEAK).clamp(min=1e-9)
    return torch.from_numpy(hlg_encode((light / HLG_PEAK * shown ** (1 / 1.2 - 1)).clamp(0, 1).numpy()))


def _converted(rgb: Tensor, matrix: np.ndarray) -> Tensor:
    if np.array_equal(matrix, np.eye(3)):
        return rgb
    return torch.einsum("oc,bchw->bohw", rgb.new_tensor(matrix), rgb)
