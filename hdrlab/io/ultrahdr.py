"""Ultra HDR pictures: a JPEG that any viewer shows, and a gain map behind it that turns it into HDR.

A file is two JPEG pictures one after the other. The first, the base, names the second twice: in XMP as a
container item and in an MPF index. The second holds log2 of HDR over base, a gain for each pixel and channel,
and in its XMP how these are coded. Linear 1 is the base's white in both renditions.

Source: Ultra HDR Image Format v1.0 (Android), Adobe's Gain Map Specification 1.0, CIPA DC-007 (MPF).
"""

from __future__ import annotations

import io
import json
import math
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrlab.io.image import (
    DEFAULT_MAX_PIXELS,
    Image,
    ImageError,
    PathLike,
    check_size,
    open_regular,
    replacing,
)

OFFSET = 1 / 64  # of both renditions, as the format recommends: keeps the ratio of two dark values bounded
LEAST_STOPS = 1 / 16  # a gain map's range: decoders divide by it
MAX_SIDE = 65_500  # JPEG's limit
GAIN_MAP_QUALITY = 98
JPEG_ERROR = 6.0
"""Levels by which 99 % of a gain map's samples are off at most after JPEG, even those of white noise."""

_ROWS = 512
_XMP_MARK = b"http://ns.adobe.com/xap/1.0/\0"
_MPF_MARK = b"MPF\0"
_SOI, _SOS, _APP1, _APP2, _COM = 0xD8, 0xDA, 0xE1, 0xE2, 0xFE
_NAMESPACE = 'xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"'
_XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" {}</rdf:Description></rdf:RDF></x:xmpmeta>'
)
_CONTAINER = """ xmlns:Container="http://ns.google.com/photos/1.0/container/"
 xmlns:Item="http://ns.google.com/photos/1.0/container/item/"><Container:Directory><rdf:Seq>
<rdf:li rdf:parseType="Resource"><Container:Item Item:Semantic="Primary" Item:Mime="image/jpeg"/></rdf:li>
<rdf:li rdf:parseType="Resource"><Container:Item Item:Semantic="GainMap" Item:Mime="image/jpeg"
 Item:Length="{}"/></rdf:li></rdf:Seq></Container:Directory>"""


@dataclass(frozen=True)
class GainMapCoding:
    """How the samples of a gain map become gains; the names are those of the format.

    Attributes:
        GainMapMin: log2 of the gain that sample 0 stands for.
        GainMapMax: log2 of the gain that sample 255 stands for.
        Gamma: Exponent that the samples, scaled to [0, 1], were raised to.
        OffsetSDR: Added to the base before the division.
        OffsetHDR: Added to the HDR picture before the division.
        HDRCapacityMin: log2 of the display's headroom from which on the gain map shows.
        HDRCapacityMax: log2 of the headroom from which on it is applied in full.
    """

    GainMapMin: float
    GainMapMax: float
    Gamma: float = 1.0
    OffsetSDR: float = OFFSET
    OffsetHDR: float = OFFSET
    HDRCapacityMin: float = 0.0
    HDRCapacityMax: float = 1.0

    @property
    def tolerance(self) -> float:
        """Relative error, of the HDR value plus offset, that 8 bits and JPEG leave in 99 % of the values."""
        return math.expm1(math.log(2) * (self.GainMapMax - self.GainMapMin) * JPEG_ERROR / 255)


def write_ultrahdr(
    path: PathLike,
    hdr: NDArray[np.float32],
    base: NDArray[np.uint8],
    *,
    quality: int = 95,
    metadata: Mapping[str, Any] | None = None,
) -> GainMapCoding:
    """Write an HDR picture and its display-encoded rendition as one Ultra HDR JPEG, whole or not at all.

    Args:
        path: The file.
        hdr: Linear pixels [H, W, 3], at least 0, sRGB primaries; 1 = the base's white.
        base: The picture as ordinary viewers show it, sRGB [H, W, 3].
        quality: Of the base, 1..100; the gain map mends what it loses.
        metadata: Stored as JSON in the base's comment.

    Returns:
        How the gain map was coded.

    Raises:
        ImageError: The pixels do not suit the format, or the disk refuses.
    """
    path = Path(path)
    _check_suits(path, hdr, base, quality)
    comment = [(_COM, json.dumps(dict(metadata)).encode())] if metadata else []
    shown = _encode_jpeg(base, quality)
    # Against the base as a decoder sees it, so that the gain map mends the base's own JPEG errors.
    samples, coding = _gain_map(hdr, _decode_jpeg(path, shown))
    entries = " ".join(f'hdrgm:{name}="{value:.9g}"' for name, value in asdict(coding).items())
    said = _xmp(f"{_NAMESPACE} {entries}>")
    gain_map = _with_segments(_encode_jpeg(samples, GAIN_MAP_QUALITY), [(_APP1, said)])
    named = _xmp(_NAMESPACE + _CONTAINER.format(len(gain_map)))
    with replacing(path) as temporary:
        temporary.write_bytes(_joined(shown, [(_APP1, named), *comment], gain_map))
    return coding


def read_ultrahdr(path: PathLike, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Image:
    """Read the HDR rendition of an Ultra HDR JPEG as `write_ultrahdr` writes it: one coding for all channels.

    Returns:
        Linear pixels [H, W, 3], 1 = the base's white; the metadata hold the gain map's coding.

    Raises:
        ImageError: The file is damaged, or no Ultra HDR picture.
    """
    path = Path(path)
    with open_regular(path) as file:
        data = file.read()
    start = _gain_map_start(path, data)
    coding = _read_coding(path, data[start:])
    base, samples = (_decode_jpeg(path, part, max_pixels) for part in (data[:start], data[start:]))
    if base.shape[:2] != samples.shape[:2]:
        raise ImageError(path, f"its gain map is {samples.shape[:2]}, its base {base.shape[:2]}: unsupported")
    return Image(_apply(base, samples, coding), "linear", "ultrahdr", path, asdict(coding))


def check_ultrahdr(path: PathLike, hdr: NDArray[np.float32]) -> None:
    """Read a file back and compare it with the picture it was made from.

    Args:
        path: The file.
        hdr: The picture [H, W, 3] that was given to `write_ultrahdr`.

    Raises:
        ImageError: It cannot be read, or over 1 % of its values are off by more than its coding explains.
    """
    stored = read_ultrahdr(path)
    coding = GainMapCoding(**stored.metadata)
    if stored.shape != hdr.shape:
        raise ImageError(path, f"read back as {stored.shape}, written as {hdr.shape}")
    off = sum(
        int(np.count_nonzero(np.abs(read - wanted) > coding.tolerance * (wanted + OFFSET)))
        for read, wanted in zip(_strips(stored.pixels), _strips(hdr), strict=True)
    )
    if off > hdr.size / 100:
        share = off / hdr.size
        raise ImageError(path, f"read back, {share:.0%} of its values are off by over {coding.tolerance:.1%}")


# ------------------------------------------------------------------------------------------- the gain map


def _gain_map(hdr: NDArray[np.float32], base: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], GainMapCoding]:
    """Return log2 gains as samples [H, W, 3], and their coding, whose range is that of the picture."""
    gains = np.empty(hdr.shape, np.float32)
    for gain, light, shown in zip(_strips(gains), _strips(hdr), _strips(base), strict=True):
        np.log2((light + OFFSET) / (_LINEAR[shown] + OFFSET), out=gain)
    low = float(gains.min())
    high = max(float(gains.max()), low + LEAST_STOPS)
    # The headroom that the picture asks for; one stop at least, since a display must exceed the least.
    coding = GainMapCoding(low, high, HDRCapacityMax=max(math.log2(max(float(hdr.max()), 1.0)), 1.0))
    gains -= low
    gains *= 255 / (high - low)
    return np.rint(gains, out=gains).astype(np.uint8), coding


def _apply(base: NDArray[np.uint8], samples: NDArray[np.uint8], coding: GainMapCoding) -> NDArray[np.float32]:
    levels = (np.arange(256) / 255) ** (1 / coding.Gamma)
    stops = coding.GainMapMin + (coding.GainMapMax - coding.GainMapMin) * levels
    gain = np.exp2(stops).astype(np.float32)
    light = (_LINEAR + np.float32(coding.OffsetSDR))[base]
    for part, codes in zip(_strips(light), _strips(samples), strict=True):
        part *= gain[codes]
    light -= np.float32(coding.OffsetHDR)
    np.maximum(light, 0, out=light)
    return light


def _srgb_levels() -> NDArray[np.float32]:
    level = np.arange(256) / 255
    return np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4).astype(np.float32)


_LINEAR = _srgb_levels()
"""Linear light of each 8-bit sRGB level (IEC 61966-2-1)."""


def _strips(pixels: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Views of some rows at a time, so that what is computed from them stays small."""
    return (pixels[top : top + _ROWS] for top in range(0, len(pixels), _ROWS))


# ---------------------------------------------------------------------------------------------- the file


def _check_suits(path: Path, hdr: NDArray[Any], base: NDArray[Any], quality: int) -> None:
    if hdr.ndim != 3 or hdr.shape[2] != 3 or hdr.shape != base.shape or base.dtype != np.uint8:
        said = f"{base.dtype} {list(base.shape)} for a picture {list(hdr.shape)}"
        raise ImageError(path, f"the base must be uint8 and as large as the picture [H, W, 3], not {said}")
    if not np.isfinite(hdr).all() or hdr.min() < 0:
        raise ImageError(path, "Ultra HDR holds finite values from 0 on: clean the picture or write .exr")
    if max(hdr.shape) > MAX_SIDE:
        raise ImageError(path, f"JPEG holds at most {MAX_SIDE} rows and columns: write .exr")
    if not 1 <= quality <= 100:
        raise ImageError(path, f"JPEG quality {quality} is not in 1..100")


def _encode_jpeg(pixels: NDArray[np.uint8], quality: int) -> bytes:
    from PIL import Image as PillowImage

    stream = io.BytesIO()
    PillowImage.fromarray(pixels).save(stream, "JPEG", quality=quality, subsampling=0)
    return stream.getvalue()


def _decode_jpeg(path: Path, data: bytes, max_pixels: int = DEFAULT_MAX_PIXELS) -> NDArray[np.uint8]:
    from PIL import JpegImagePlugin

    try:
        picture = JpegImagePlugin.JpegImageFile(io.BytesIO(data))
        check_size(path, *picture.size, max_pixels)
        return np.array(picture if picture.mode == "RGB" else picture.convert("RGB"))
    except ImageError:
        raise
    except (OSError, SyntaxError, ValueError, LookupError, struct.error) as error:
        raise ImageError(path, f"is a damaged JPEG: {error}") from error


def _xmp(description: str) -> bytes:
    return _XMP_MARK + _XMP.format(description).encode()


def _with_segments(jpeg: bytes, segments: list[tuple[int, bytes]]) -> bytes:
    """Put segments after a JPEG's first one, JFIF's, whose place is right behind the start."""
    place = 4 + struct.unpack(">H", jpeg[4:6])[0]
    return jpeg[:place] + b"".join(_segment(*segment) for segment in segments) + jpeg[place:]


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def _joined(base: bytes, segments: list[tuple[int, bytes]], gain_map: bytes) -> bytes:
    """Lay out the file; the MPF index counts from behind its mark and includes its own length."""
    blank = _with_segments(base, [*segments, (_APP2, _mpf(0, 0, 0))])
    origin = blank.index(_MPF_MARK) + len(_MPF_MARK)
    index = _mpf(len(blank), len(gain_map), len(blank) - origin)
    return _with_segments(base, [*segments, (_APP2, index)]) + gain_map


def _mpf(base_length: int, gain_map_length: int, gain_map_offset: int) -> bytes:
    """An index of two pictures: big-endian TIFF with version, number of pictures and their entries."""
    directory = 8
    entries = directory + 2 + 3 * 12 + 4
    return (
        _MPF_MARK
        + struct.pack(">2sHI", b"MM", 42, directory)
        + struct.pack(">H", 3)
        + struct.pack(">HHI4s", 0xB000, 7, 4, b"0100")
        + struct.pack(">HHII", 0xB001, 4, 1, 2)
        + struct.pack(">HHII", 0xB002, 7, 32, entries)
        + struct.pack(">I", 0)
        + struct.pack(">IIIHH", 0x030000, base_length, 0, 0, 0)  # the representative picture
        + struct.pack(">IIIHH", 0, gain_map_length, gain_map_offset, 0, 0)
    )


def _segments(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield marker, place and content of a JPEG's segments before its pixels."""
    place = 2
    while data[place : place + 1] == b"\xff" and place + 4 <= len(data) and data[place + 1] != _SOS:
        length = int.from_bytes(data[place + 2 : place + 4])
        yield data[place + 1], place + 4, data[place + 4 : place + 2 + length]
        place += 2 + length


def _gain_map_start(path: Path, data: bytes) -> int:
    """Find the second picture through the MPF index."""
    if not data.startswith(b"\xff\xd8\xff"):
        raise ImageError(path, "is no JPEG")
    for marker, place, content in _segments(data):
        if marker != _APP2 or not content.startswith(_MPF_MARK + b"MM\0*"):
            continue
        place_of_entries = content.partition(struct.pack(">HHI", 0xB002, 7, 32))[2][:4]
        entries = len(_MPF_MARK) + int.from_bytes(place_of_entries)
        offset = content[entries + 24 : entries + 28]
        start = place + len(_MPF_MARK) + int.from_bytes(offset)
        if len(offset) == 4 and data.startswith(b"\xff\xd8\xff", start):
            return start
        raise ImageError(path, "is truncated or damaged: its gain map is not where its index says")
    raise ImageError(path, "is no Ultra HDR picture: it has no index of two pictures")


def _read_coding(path: Path, gain_map: bytes) -> GainMapCoding:
    for marker, _, content in _segments(gain_map):
        if marker != _APP1 or not content.startswith(_XMP_MARK):
            continue
        found = dict(re.findall(r'hdrgm:(\w+)="([-+.\deE]+)"', content.decode("utf-8", "replace")))
        known = {name: found[name] for name in GainMapCoding.__dataclass_fields__ if name in found}
        if not {"GainMapMin", "GainMapMax"} <= known.keys():
            break
        try:
            return GainMapCoding(**{name: float(value) for name, value in known.items()})
        except ValueError as error:
            raise ImageError(path, f"its gain map's metadata are damaged: {error}") from error
    raise ImageError(path, "its second picture has no metadata of a gain map common to all channels")
