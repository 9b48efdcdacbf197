"""Gain maps: how an SDR image becomes the HDR image that belongs to it.

A gain map holds, for each place and perhaps channel, log2 of the ratio of the two; its metadata say how.

Source: ISO 21496-1:2025; Ultra HDR Image Format v1.1 (Android); Adobe's Gain Map Specification 1.0.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hdrlab.io.xmp import XmpError, parse_xmp, properties
from hdrlab.ops.colour import srgb_decode
from hdrlab.ops.resize import resize

OFFSET = 1 / 64  # of both images, as the formats recommend: keeps the ratio of two dark values bounded
LEAST_STOPS = 1 / 16  # a gain map's range: decoders divide by it
MOST_STOPS = 64.0  # what metadata may declare; a float holds no more
HDRGM = "http://ns.adobe.com/hdr-gain-map/1.0/"

_APPLE_TYPE = "{http://ns.apple.com/pixeldatainfo/1.0/}AuxiliaryImageType"
_APPLE_GAIN_MAP = "urn:com:apple:photo:2020:aux:hdrgainmap"
_APPLE_HEADROOM = "{http://ns.apple.com/HDRGainMap/1.0/}HDRGainMapHeadroom"
_ROWS = 512
_MULTICHANNEL, _USE_BASE_SPACE, _COMMON_DENOMINATOR, _BACKWARD = 0x80, 0x40, 0x08, 0x04

Three = tuple[float, float, float]


class GainMapError(ValueError):
    """Metadata of a gain map that cannot be used; the text says why."""


@dataclass(frozen=True)
class GainMapCoding:
    """How the samples of a gain map become gains; the names are Adobe's, one value for each channel.

    Attributes:
        GainMapMin: log2 of the gain that sample 0 stands for.
        GainMapMax: log2 of the gain that the largest sample stands for.
        Gamma: Exponent that the samples, scaled to [0, 1], were raised to.
        OffsetSDR: Added to the base before it is multiplied.
        OffsetHDR: Subtracted from the product.
        HDRCapacityMin: log2 of the display's headroom from which on the gain map shows.
        HDRCapacityMax: log2 of the headroom from which on it is applied in full.
        BaseRenditionIsHDR: Whether the base is the HDR image, and the gain map leads to the SDR image.
        use_base_space: Whether gains are of the base's primaries, not of the gain map's own profile.
    """

    GainMapMin: Three = (0.0, 0.0, 0.0)
    GainMapMax: Three = (1.0, 1.0, 1.0)
    Gamma: Three = (1.0, 1.0, 1.0)
    OffsetSDR: Three = (OFFSET, OFFSET, OFFSET)
    OffsetHDR: Three = (OFFSET, OFFSET, OFFSET)
    HDRCapacityMin: float = 0.0
    HDRCapacityMax: float = 1.0
    BaseRenditionIsHDR: bool = False
    use_base_space: bool = True

    def __post_init__(self) -> None:
        """Check that decoding gives numbers.

        Raises:
            GainMapError: It would not.
        """
        stops = (*self.GainMapMin, *self.GainMapMax, self.HDRCapacityMin, self.HDRCapacityMax)
        offsets = (*self.OffsetSDR, *self.OffsetHDR)
        if not all(abs(value) <= MOST_STOPS for value in (*stops, *offsets)):  # NaN is refused with them
            raise GainMapError(f"values beyond ±{MOST_STOPS:g}")
        if not all(1 / MOST_STOPS <= value <= MOST_STOPS for value in self.Gamma):
            raise GainMapError(f"a gamma outside of 1/{MOST_STOPS:g} to {MOST_STOPS:g}")

    @property
    def num_channels(self) -> int:
        """1 where all channels have the same values, else 3."""
        three = (self.GainMapMin, self.GainMapMax, self.Gamma, self.OffsetSDR, self.OffsetHDR)
        return 1 if all(len(set(values)) == 1 for values in three) else 3

    def gains(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what the base is multiplied by, of samples [..., 1 or 3] in [0, 1]."""
        low, high, gamma = (
            np.array(values, np.float32) for values in (self.GainMapMin, self.GainMapMax, self.Gamma)
        )
        if np.any(gamma != 1):
            samples = np.power(samples.clip(0, None), np.float32(1) / gamma, dtype=np.float32)
        gains: NDArray[np.float32] = np.exp2(low + (high - low) * samples)
        return gains


@dataclass(frozen=True)
class AppleCoding:
    """How Apple's phones coded gain maps before ISO 21496-1: a share of the headroom, with the sRGB curve.

    Attributes:
        headroom: Luminance of the brightest HDR value; None: the maker notes say it.

    Source: Apple, "Applying Apple HDR effect to your photos".
    """

    headroom: float | None
    OffsetSDR: ClassVar[Three] = (0.0, 0.0, 0.0)
    OffsetHDR: ClassVar[Three] = (0.0, 0.0, 0.0)
    BaseRenditionIsHDR: ClassVar[bool] = False
    use_base_space: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the headroom.

        Raises:
            GainMapError: It is none.
        """
        if self.headroom is not None and not 1 <= self.headroom <= 2**MOST_STOPS:
            raise GainMapError(f"a headroom of {self.headroom:g}")

    def gains(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what the base is multiplied by, of samples [..., 1 or 3] in [0, 1]."""
        gains: NDArray[np.float32] = 1 + np.float32((self.headroom or 1) - 1) * srgb_decode(samples)
        return gains


def apple_headroom(maker_notes: Mapping[int, float]) -> float:
    """Compute the headroom from two of Apple's maker notes, 33 and 48, as Apple's page says."""
    first, second = maker_notes.get(33, 0.0), maker_notes.get(48, 0.0)
    if first < 1:
        stops = -20 * second + 1.8 if second <= 0.01 else -0.101 * second + 1.601
    else:
        stops = -70 * second + 3.0 if second <= 0.01 else -0.303 * second + 2.303
    return float(2 ** min(max(stops, 0.0), 8.0))


# ------------------------------------------------------------------------------------------- the metadata


def from_xmp(packet: bytes) -> GainMapCoding | AppleCoding | None:
    """Read Adobe's metadata, as attributes or as elements, for all channels or each.

    Returns:
        The coding, or None where the packet says nothing of a gain map's samples.

    Raises:
        GainMapError: It is damaged.
    """
    try:
        found = dict(properties(parse_xmp(packet)))
    except XmpError as error:
        raise GainMapError(str(error)) from error
    if found.get(_APPLE_TYPE) == [_APPLE_GAIN_MAP]:
        headroom = found.get(_APPLE_HEADROOM)
        return AppleCoding(_value("HDRCapacityMax", headroom) if headroom else None)
    own = {name.partition("}")[2]: texts for name, texts in found.items() if name.startswith(f"{{{HDRGM}}}")}
    if "GainMapMax" not in own:
        return None
    known = {one.name for one in fields(GainMapCoding)}
    return GainMapCoding(**{name: _value(name, texts) for name, texts in own.items() if name in known})


def _value(name: str, texts: Sequence[str]) -> Any:
    default = getattr(GainMapCoding, name)
    if isinstance(default, bool):
        return texts[0].strip().lower() == "true"
    try:
        numbers = tuple(float(text) for text in texts)
    except ValueError as error:
        raise GainMapError(f"{name}={','.join(texts)[:40]!r}, which is no number") from error
    if isinstance(default, tuple):
        if len(numbers) not in (1, 3):
            raise GainMapError(f"{name} for {len(numbers)} channels")
        return numbers * 3 if len(numbers) == 1 else numbers
    return numbers[0]


def to_xmp(coding: GainMapCoding) -> Mapping[str, str | Sequence[str]]:
    """Return Adobe's metadata: a text by name, or three of them."""
    values: dict[str, str | Sequence[str]] = {"Version": "1.0"}
    for name in ("GainMapMin", "GainMapMax", "Gamma", "OffsetSDR", "OffsetHDR"):
        three = [f"{value:.9g}" for value in getattr(coding, name)]
        values[name] = three[0] if coding.num_channels == 1 else three
    values |= {name: f"{getattr(coding, name):.9g}" for name in ("HDRCapacityMin", "HDRCapacityMax")}
    return values | {"BaseRenditionIsHDR": str(coding.BaseRenditionIsHDR)}


ISO_VERSION = struct.pack(">HH", 0, 0)
"""What the base says: the least version a reader must know, and the writer's."""


def from_iso(content: bytes) -> GainMapCoding:
    """Read the binary metadata of ISO 21496-1.

    Raises:
        GainMapError: They are damaged, or of a later version.
    """
    try:
        least, _, flags = struct.unpack_from(">HHB", content)
        if least:
            raise GainMapError(f"metadata of ISO 21496-1 in version {least}, known is 0")
        numbers = _Rationals(content, 5, common=bool(flags & _COMMON_DENOMINATOR))
        base, alternate = numbers.take("I"), numbers.take("I")
        channels = [
            [numbers.take(kind) for kind in "iiIii"] for _ in range(3 if flags & _MULTICHANNEL else 1)
        ]
    except (struct.error, ZeroDivisionError) as error:
        raise GainMapError("metadata of ISO 21496-1 that are damaged") from error
    low, high, gamma, of_base, of_alternate = zip(*(channels * 3)[:3], strict=True)
    is_hdr = bool(flags & _BACKWARD) or base > alternate
    return GainMapCoding(
        low,
        high,
        gamma,
        of_base,
        of_alternate,
        min(base, alternate),
        max(base, alternate),
        is_hdr,
        bool(flags & _USE_BASE_SPACE),
    )


class _Rationals:
    """The numbers of ISO 21496-1: each with its denominator, or all with one."""

    def __init__(self, content: bytes, place: int, *, common: bool) -> None:
        self._content, self._place = content, place
        self._common = self._next("I") if common else None

    def _next(self, kind: str) -> int:
        (number,) = struct.unpack_from(f">{kind}", self._content, self._place)
        self._place += 4
        return int(number)

    def take(self, kind: str) -> float:
        number = self._next(kind)
        return number / (self._next("I") if self._common is None else self._common)


def to_iso(coding: GainMapCoding) -> bytes:
    """Return the binary metadata of ISO 21496-1."""
    single = coding.num_channels == 1
    flags = (0 if single else _MULTICHANNEL) | (_USE_BASE_SPACE if coding.use_base_space else 0)
    headroom = (coding.HDRCapacityMin, coding.HDRCapacityMax)
    values = [("I", value) for value in (headroom[::-1] if coding.BaseRenditionIsHDR else headroom)]
    kinds = {"GainMapMin": "i", "GainMapMax": "i", "Gamma": "I", "OffsetSDR": "i", "OffsetHDR": "i"}
    for channel in range(1 if single else 3):
        values += [(kind, getattr(coding, name)[channel]) for name, kind in kinds.items()]
    packed = (
        struct.pack(f">{kind}I", fraction.numerator, fraction.denominator)
        for kind, fraction in ((kind, Fraction(value).limit_denominator(1_000_000)) for kind, value in values)
    )
    return ISO_VERSION + bytes((flags,)) + b"".join(packed)


# ------------------------------------------------------------------------------------------- the pixels


def apply_gain_map(
    base: NDArray[np.float32], samples: NDArray[np.uint8], coding: GainMapCoding | AppleCoding
) -> NDArray[np.float32]:
    """Compute the HDR image.

    Args:
        base: Linear pixels [H, W, 3], 1 = white; may be changed.
        samples: The gain map [h, w, 1 or 3] of any size; brought to the base's by linear interpolation, or by
            the mean where it is larger.
        coding: What its samples mean.

    Returns:
        Linear pixels [H, W, 3] in the base's primaries, at least 0, on the base's scale.
    """
    if coding.BaseRenditionIsHDR:
        return base
    height, width, _ = base.shape
    unit = samples.astype(np.float32) / np.float32(255)
    for rows in _strips(height):
        light = base[rows]
        light += np.array(coding.OffsetSDR, np.float32)
        light *= coding.gains(resize(unit, height, width, window=(rows, slice(0, width))))
        light -= np.array(coding.OffsetHDR, np.float32)
        np.maximum(light, 0, out=light)
    return base


def make_gain_map(
    hdr: NDArray[np.float32],
    base: NDArray[np.float32],
    *,
    shrink: int,
    weights: NDArray[np.float32] | None,
) -> tuple[NDArray[np.uint8], GainMapCoding]:
    """Compute a gain map.

    Args:
        hdr: Linear pixels [H, W, 3], at least 0; 1 = the base's white.
        base: Linear pixels [H, W, 3] of the base as a decoder sees it, so that its own errors are mended.
        shrink: By how much the gain map is smaller than the base.
        weights: Luminance of each channel, for a gain map of one channel; None: three channels.

    Returns:
        Samples [ceil(H / shrink), ceil(W / shrink), 1 or 3], and their coding.
    """
    height, width, _ = base.shape
    gains = np.empty((height, width, 3 if weights is None else 1), np.float32)
    for rows in _strips(height):
        pair = (hdr[rows], base[rows])
        light, shown = pair if weights is None else (((one @ weights)[..., None]) for one in pair)
        np.log2((np.maximum(light, 0) + OFFSET) / (np.maximum(shown, 0) + OFFSET), out=gains[rows])
    if shrink > 1:
        gains = resize(gains, -(-height // shrink), -(-width // shrink))
    low = gains.min((0, 1))
    high = np.maximum(gains.max((0, 1)), low + LEAST_STOPS)
    # The headroom that the image asks for; one stop at least, since a display must exceed the least.
    capacity = max(math.log2(max(float(hdr.max()), 1.0)), 1.0)
    coding = GainMapCoding(_three(low), _three(high), HDRCapacityMax=float(f"{capacity:.6f}"))
    gains -= low
    gains *= 255 / (high - low)
    return np.rint(gains, out=gains).clip(0, 255).astype(np.uint8), coding


def _three(values: NDArray[np.float32]) -> Three:
    red, green, blue = (float(f"{value:.6f}") for value in np.broadcast_to(values, 3))
    return red, green, blue


def _strips(height: int) -> Iterator[slice]:
    """Some rows at a time, so that what is computed from them stays small."""
    return (slice(top, min(top + _ROWS, height)) for top in range(0, height, _ROWS))
