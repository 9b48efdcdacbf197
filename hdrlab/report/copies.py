"""Small copies of pictures for a page: compact, and fine enough to look at under any exposure."""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hdrlab.report.model import Pixels

LONG_SIDE = 384
STEPS = 64
"""Codes a stop: neighbouring codes are 1.1 % apart, so that a copy is wrong by 1/128 of a stop at most."""

LUMINANCE = np.array((0.212656, 0.715158, 0.072186), np.float32)  # of linear RGB with Rec. 709 primaries
_RANGE = 2.0**-30


@dataclass(frozen=True)
class Copy:
    """A picture's copy, as text.

    Attributes:
        coding: "log": a code q is the linear light floor·(2^(q/STEPS) − 1); "srgb": an 8-bit sRGB level.
        floor: Light below which steps become even; 0 for sRGB.
        height: Rows.
        width: Columns.
        text: The packed codes in base64.
    """

    coding: Literal["log", "srgb"]
    floor: float
    height: int
    width: int
    text: str


def copy_of(pixels: Pixels, long_side: int = LONG_SIDE) -> Copy:
    """Make a copy of a display picture (uint8) or of linear light (float32), [H, W, 3].

    Values that are not finite become 0, as do negative ones.
    """
    if pixels.dtype == np.uint8:
        codes, floor = to_srgb(shrink(from_srgb(pixels), long_side)).astype(np.uint16), 0.0
    else:
        light = shrink(np.nan_to_num(pixels, posinf=0, neginf=0).clip(0), long_side)
        floor = _floor(light)
        codes = to_codes(light, floor)
    text = base64.b64encode(pack(codes)).decode("ascii")
    return Copy("log" if floor else "srgb", floor, codes.shape[0], codes.shape[1], text)


def to_codes(light: NDArray[np.float32], floor: float) -> NDArray[np.uint16]:
    """Encode linear light, at least 0, in `STEPS` codes a stop, linearly below the floor."""
    codes: NDArray[np.uint16] = np.rint(STEPS * np.log2(1 + light / np.float64(floor))).astype(np.uint16)
    return codes


def to_light(codes: NDArray[np.uint16], floor: float) -> NDArray[np.float64]:
    """Undo `to_codes`."""
    light: NDArray[np.float64] = floor * (np.exp2(codes / STEPS) - 1)
    return light


def pack(codes: NDArray[np.uint16]) -> bytes:
    """Pack codes [H, W, 3] without loss.

    Green, and red and blue less green, each less its prediction from the neighbours left, above, and above
    left; signs folded into the lowest bit; all low bytes, then all high bytes; deflated.

    Source: Weinberger et al., "The LOCO-I Lossless Image Compression Algorithm", 2000, equation 1: the
    predictor.
    """
    red, green, blue = np.moveaxis(codes.astype(np.int32), 2, 0)
    rest = np.stack([_unpredicted(plane) for plane in (green, red - green, blue - green)])
    folded = np.where(rest < 0, -2 * rest - 1, 2 * rest).astype("<u2")
    planes = np.ascontiguousarray(folded).view(np.uint8).reshape(-1, 2).T
    deflater = zlib.compressobj(strategy=zlib.Z_FILTERED)
    return deflater.compress(np.ascontiguousarray(planes).tobytes()) + deflater.flush()


def _unpredicted(plane: NDArray[np.int32]) -> NDArray[np.int32]:
    around = np.pad(plane, ((1, 0), (1, 0)))
    left, above, corner = around[1:, :-1], around[:-1, 1:], around[:-1, :-1]
    predicted = np.clip(left + above - corner, np.minimum(left, above), np.maximum(left, above))
    difference: NDArray[np.int32] = plane - predicted
    return difference


def shrink(pixels: NDArray[np.float32], long_side: int) -> NDArray[np.float32]:
    """Average over equal boxes until no side of [H, W, 3] is longer than allowed; never enlarge."""
    height, width = pixels.shape[:2]
    factor = min(1.0, long_side / max(height, width))
    if factor == 1:
        return pixels
    rows, columns = max(1, round(height * factor)), max(1, round(width * factor))
    planes = [_fewer_rows(_fewer_rows(pixels[..., c], rows).T, columns).T for c in range(3)]
    return np.stack(planes, axis=2).clip(0).astype(np.float32)


def _fewer_rows(plane: NDArray[Any], num: int) -> NDArray[np.float64]:
    edges = np.linspace(0, len(plane), num + 1)
    whole = np.minimum(edges.astype(int), len(plane) - 1)
    sums = np.zeros((len(plane) + 1, *plane.shape[1:]))
    np.cumsum(plane, axis=0, out=sums[1:])
    to_edges = sums[whole] + (edges - whole)[:, None] * plane[whole]
    means: NDArray[np.float64] = np.diff(to_edges, axis=0) * (num / len(plane))
    return means


def from_srgb(levels: NDArray[Any]) -> NDArray[np.float32]:
    """Linearise 8-bit sRGB levels to [0, 1]."""
    shown = np.arange(256) / 255
    table = np.where(shown <= 0.04045, shown / 12.92, ((shown + 0.055) / 1.055) ** 2.4)
    linear: NDArray[np.float32] = table.astype(np.float32)[levels]
    return linear


def to_srgb(linear: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Encode linear light in [0, 1] as 8-bit sRGB levels."""
    shown = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    levels: NDArray[np.uint8] = np.rint(shown.clip(0, 1) * 255).astype(np.uint8)
    return levels


def _floor(light: NDArray[np.float32]) -> float:
    """Choose a floor that lies three stops below all but the darkest hundredth of the pixels."""
    positive = light[light > 0]
    if not positive.size:
        return 1.0
    return float(max(np.percentile(positive, 1) / 8, positive.max() * _RANGE, np.finfo(np.float32).tiny))
