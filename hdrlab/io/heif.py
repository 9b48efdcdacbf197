"""HEIC through pillow-heif, AVIF through imagecodecs: 8, 10 and 12 bits, SDR and HDR (PQ, HLG).

Source: ISO/IEC 14496-12 (boxes), 23008-12 (HEIF), AV1 Image File Format.
"""

from __future__ import annotations

import importlib.util
import struct
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from hdrlab.errors import ImageError, install
from hdrlab.io.atomic import write_bytes
from hdrlab.io.boxes import add_items, read_boxes, read_meta
from hdrlab.io.colour_profiles import Statement, convert_samples, domain_of, from_code_points, from_icc
from hdrlab.io.exif import Exif
from hdrlab.io.image import Image, ImageInfo, check_density, check_size, open_regular
from hdrlab.io.metadata import PhotoMetadata
from hdrlab.ops.colour_spaces import HLG_CODE, PQ_CODE, REC709, REC2020, conversion, convert, pq_encode

_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_ANY_BRANDS = frozenset({b"mif1", b"msf1"})
# What the decoders raise on damaged files, beside errors of their own.
_DECODER_ERRORS = (OSError, RuntimeError, ValueError, SyntaxError, EOFError, LookupError, TypeError)
_MOST_AVIF = 65_535
_AVIF_SPEED = 8  # 10 is the fastest; 6, the library's default, takes ten times as long
_HEAD = 1 << 16
_UNDECLARED = "declares no colours (colr), so it is taken as sRGB, whatever its AV1 stream says of them"
_MOST_BOXES = 10_000


def brand_of(head: bytes) -> str:
    """Say whether a file that begins like this is "heic", "avif" or neither, ""."""
    if head[4:8] != b"ftyp":
        return ""
    brands = {
        head[place : place + 4] for place in (8, *range(16, min(len(head), int.from_bytes(head[:4])), 4))
    }
    if brands & _AVIF_BRANDS:
        return "avif"
    return "heic" if brands & (_HEIC_BRANDS | _ANY_BRANDS) else ""


def probe(path: Path) -> ImageInfo:
    """Reads the header only; the size is that of the upright image."""
    return _probe_avif(path) if _kind(path) == "avif" else _probe_heic(path)


def read(path: Path, max_pixels: int, *, keep_outside: bool = False) -> Image:
    """Reads the primary image upright: as sRGB, uint8 or uint16, or as light in cd/m² if it is PQ or HLG.

    Colours are those of the ICC profile, else of the code points (nclx); where these say PQ or HLG, they come
    first. Alpha is dropped.
    """
    reader = _read_avif if _kind(path) == "avif" else _read_heic
    return reader(path, max_pixels, keep_outside)


def _kind(path: Path) -> str:
    with open_regular(path) as file:
        return brand_of(file.read(_HEAD))


def require(package: str, path: Path, kind: str, extra: str) -> None:
    """Refuse a file whose reader is not installed.

    Raises:
        ImageError: It is not.
    """
    if importlib.util.find_spec(package) is None:
        raise ImageError(path, f"is {kind}, which needs an extra: {install(extra)}")


def _statements(profile: bytes, code_points: tuple[int, int], channels: int) -> Iterator[Statement]:
    is_hdr = code_points[1] in (PQ_CODE, HLG_CODE)
    if profile and not is_hdr:
        yield lambda: from_icc(profile, channels)
    yield lambda: from_code_points(*code_points)
    if profile and is_hdr:
        yield lambda: from_icc(profile, channels)


def _check_shape(path: Path, samples: NDArray[Any], width: int, height: int) -> None:
    if samples.shape[:2] != (height, width):
        found = f"{samples.shape[1]} × {samples.shape[0]}"
        raise ImageError(path, f"declares {width} × {height} pixels and holds {found}: it is damaged")


def _in_full(samples: NDArray[Any], bits: int) -> NDArray[Any]:
    """Samples of 9 to 15 bits -> the same share of 16 bits."""
    if samples.dtype == np.uint8 or bits >= 16:
        return samples
    scaled = np.rint(samples.astype(np.float32) * np.float32(65535 / ((1 << bits) - 1)))
    full: NDArray[np.uint16] = scaled.clip(0, 65535).astype(np.uint16)
    return full


# ------------------------------------------------------------------------------------------------ HEIC


def _open_heic(path: Path) -> Any:
    require("pillow_heif", path, "a HEIC file", "heic")
    import pillow_heif

    with open_regular(path):
        pass  # pillow-heif's messages for what is no file are its own
    try:
        image = pillow_heif.open_heif(path, convert_hdr_to_8bit=False)
        _ = image.size, image.info  # which a file without a primary image does not have
        return image
    except _DECODER_ERRORS as error:
        raise ImageError(path, f"is a damaged HEIC file: {error}") from error


def _heic_statements(image: Any) -> Iterator[Statement]:
    points = image.info.get("nclx_profile") or {}
    code_points = tuple(int(points.get(key, 2)) for key in ("color_primaries", "transfer_characteristics"))
    channels = 1 if image.mode.startswith("L") else 3
    return _statements(image.info.get("icc_profile") or b"", (code_points[0], code_points[1]), channels)


def _probe_heic(path: Path) -> ImageInfo:
    image = _open_heic(path)
    return ImageInfo(image.size[1], image.size[0], "heic", domain_of(_heic_statements(image)))


def _read_heic(path: Path, max_pixels: int, keep_outside: bool) -> Image:
    # Opening reads the header only. The decoder turns the image upright itself.
    image = _open_heic(path)
    width, height = image.size
    check_size(path, width, height, max_pixels)
    check_density(path, width, height, path.stat().st_size)
    try:
        samples = np.atleast_3d(np.asarray(image))
    except _DECODER_ERRORS as error:
        raise ImageError(path, f"is a damaged HEIC file: {error}") from error
    _check_shape(path, samples, width, height)
    samples = samples[..., :1] if samples.shape[2] < 3 else samples[..., :3]
    if samples.dtype == np.uint16:
        bits = image.info.get("bit_depth", 16)
        samples = _in_full(samples >> (16 - bits), bits)
    converted = convert_samples(samples, _heic_statements(image), keep_outside=keep_outside)
    return converted.image(path, "heic", {"bits": image.info.get("bit_depth", 8)})


# ------------------------------------------------------------------------------------------------ AVIF


def _probe_avif(path: Path) -> ImageInfo:
    with open_regular(path) as file:
        properties = _properties(path, file)
    width, height = _avif_size(path, properties)
    if properties.get(b"irot", b"\0")[0] & 1:
        width, height = height, width
    return ImageInfo(height, width, "avif", domain_of(_avif_statements(properties)))


def _read_avif(path: Path, max_pixels: int, keep_outside: bool) -> Image:
    require("imagecodecs", path, "an AVIF file", "codecs")
    import imagecodecs

    with open_regular(path) as file:
        properties = _properties(path, file)
        width, height = _avif_size(path, properties)
        check_size(path, width, height, max_pixels)
        file.seek(0)
        data = file.read()
    check_density(path, width, height, len(data))
    try:
        samples = np.atleast_3d(imagecodecs.avif_decode(data, index=0, numthreads=1))
    except _DECODER_ERRORS as error:
        raise ImageError(path, f"is a damaged AVIF file: {error}") from error
    _check_shape(path, samples, width, height)
    samples = samples[..., :1] if samples.shape[2] < 3 else samples[..., :3]
    bits = _avif_bits(properties)
    statements = _avif_statements(properties)
    upright = np.ascontiguousarray(_turn(_in_full(samples, bits), properties))
    image = convert_samples(upright, statements, keep_outside=keep_outside).image(
        path, "avif", {"bits": bits}
    )
    if properties.keys() & {b"nclx", b"prof"}:
        return image
    return replace(image, notes=(*image.notes, _UNDECLARED))


def write_pq_avif(
    path: Path,
    light: NDArray[np.float32],
    *,
    level: int = 95,
    metadata: Mapping[str, Any] | None = None,
    photo: PhotoMetadata | None = None,
) -> None:
    """Write light as AVIF in 10 bits, perceptually quantised (PQ) in Rec. 2020; whole or not at all.

    Args:
        path: The file; its folder exists.
        light: Linear Rec. 709 [H, W, 3] in cd/m²; below 0 are colours outside of it. More than 10,000 is cut.
        level: Quality, 1..100.
        metadata: What hdrlab says of the file, for its XMP.
        photo: What is known of the photograph; its Exif and XMP are kept.

    Raises:
        ImageError: imagecodecs is missing, the image is too large for AVIF, or the disk refuses.
    """
    encoded = pq_encode(convert(light, conversion(REC709, REC2020)).clip(min=0))
    _write_avif(path, encoded, (_PRIMARIES_CODES["rec2020"], PQ_CODE, 9), level, metadata, photo)


def write_avif(
    path: Path,
    encoded: NDArray[np.float32],
    *,
    level: int = 95,
    colorspace: str = "rec709",
    metadata: Mapping[str, Any] | None = None,
    photo: PhotoMetadata | None = None,
) -> None:
    """Write a display-encoded image as AVIF in 10 bits with the sRGB curve; whole or not at all.

    Args:
        path: The file; its folder exists.
        encoded: Values [H, W, 3] in [0, 1].
        level: Quality, 1..100.
        colorspace: Its primaries: rec709, p3 or rec2020.
        metadata: As for `write_pq_avif`.
        photo: Likewise.

    Raises:
        ImageError: As there.
    """
    primaries = _PRIMARIES_CODES[colorspace]
    matrix = 9 if colorspace == "rec2020" else 1
    _write_avif(path, encoded, (primaries, _SRGB_CODE, matrix), level, metadata, photo)


_PRIMARIES_CODES = {"rec709": 1, "rec2020": 9, "p3": 12}
_SRGB_CODE = 13


def _write_avif(
    path: Path,
    encoded: NDArray[np.float32],
    code_points: tuple[int, int, int],
    level: int,
    metadata: Mapping[str, Any] | None,
    photo: PhotoMetadata | None,
) -> None:
    require("imagecodecs", path, "an AVIF file", "codecs")
    import imagecodecs

    if max(encoded.shape) > _MOST_AVIF:
        raise ImageError(path, f"AVIF holds at most {_MOST_AVIF} rows and columns: write .exr")
    primaries, transfer, matrix = code_points
    try:
        data = imagecodecs.avif_encode(
            np.rint(encoded * 1023).astype(np.uint16),
            level=level,
            speed=_AVIF_SPEED,
            bitspersample=10,
            pixelformat="yuv444",
            primaries=primaries,
            transfer=transfer,
            matrix=matrix,
        )
        photo = photo or PhotoMetadata(Exif())
        write_bytes(path, add_items(bytes(data), photo.exif_block(), photo.packet(metadata)))
    except OSError as error:
        raise ImageError(path, f"cannot be written: {error.strerror or error}") from error
    except _DECODER_ERRORS as error:
        raise ImageError(path, f"cannot be written: {error}") from error


def _avif_size(path: Path, properties: dict[bytes, bytes]) -> tuple[int, int]:
    if len(extent := properties.get(b"ispe", b"")) < 12:
        raise ImageError(path, "is a damaged AVIF file: it has no size")
    width, height = struct.unpack(">II", extent[4:12])
    return width, height


def _avif_bits(properties: dict[bytes, bytes]) -> int:
    depths = properties.get(b"pixi", b"")[5:6]
    if depths and depths[0] in (8, 10, 12):
        return depths[0]
    flags = properties.get(b"av1C", b"\0\0\0\0")[2:3] or b"\0"
    if not flags[0] & 0x40:
        return 8
    return 12 if flags[0] & 0x20 else 10


def _avif_statements(properties: dict[bytes, bytes]) -> Iterator[Statement]:
    code_points = properties.get(b"nclx", b"")
    points = struct.unpack(">HH", code_points[:4]) if len(code_points) >= 4 else (2, 2)
    return _statements(properties.get(b"prof", b""), (points[0], points[1]), 3)


def _turn(samples: NDArray[Any], properties: dict[bytes, bytes]) -> NDArray[Any]:
    """Apply rotation (anticlockwise) and mirroring, in the order that MIAF prescribes."""
    samples = np.rot90(samples, properties.get(b"irot", b"\0")[0] & 3)
    if mirror := properties.get(b"imir", b""):
        samples = samples[:, ::-1] if mirror[0] & 1 else samples[::-1]
    return samples


def _properties(path: Path, file: BinaryIO) -> dict[bytes, bytes]:
    """Properties of the primary item by their box's type; those of ``colr`` by their colour type."""
    try:
        meta = read_meta(file)
        boxes = dict(read_boxes(meta[4:]))
        primary = boxes[b"pitm"]
        number = int.from_bytes(primary[4:8] if primary[0] else primary[4:6])
        shared = dict(read_boxes(boxes[b"iprp"]))
        listed = list(read_boxes(shared[b"ipco"]))
        found: dict[bytes, bytes] = {}
        for index in _associated(shared[b"ipma"], number):
            kind, content = listed[index - 1]
            found.setdefault(*((content[:4], content[4:]) if kind == b"colr" else (kind, content)))
    except (LookupError, struct.error, ValueError) as error:
        raise ImageError(path, "is a damaged AVIF file: its properties cannot be read") from error
    if b"rICC" in found:
        found.setdefault(b"prof", found[b"rICC"])
    return found


def _associated(data: bytes, item: int) -> list[int]:
    """Numbers of an item's properties, from 1 on, in the file's order (box ``ipma``)."""
    version, long = data[0], data[3] & 1
    (count,) = struct.unpack_from(">I", data, 4)
    place = 8
    for _ in range(min(count, _MOST_BOXES)):
        (number,) = struct.unpack_from(">I" if version else ">H", data, place)
        place += 4 if version else 2
        entries = data[place]
        place += 1
        width = 2 if long else 1
        if number == item:
            mask = 0x7FFF if long else 0x7F
            values = [
                int.from_bytes(data[place + width * n : place + width * (n + 1)]) & mask
                for n in range(entries)
            ]
            return [value for value in values if value]
        place += entries * width
    raise ValueError("no properties")
