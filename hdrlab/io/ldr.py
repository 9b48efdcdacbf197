"""PNG and JPEG: 8 bits through Pillow, 16-bit PNG through OpenImageIO; whatever colours they declare."""

from __future__ import annotations

import errno
import io
import json
import os
import struct
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from hdrlab.errors import ImageError
from hdrlab.io import oiio
from hdrlab.io.colour_profiles import (
    SRGB,
    Encoding,
    Statement,
    build_profile,
    convert_samples,
    domain_of,
    from_code_points,
    from_exif,
    from_gamma,
    from_icc,
    with_range,
)
from hdrlab.io.image import Image, ImageInfo, check_size, open_regular, turn_upright
from hdrlab.io.jpeg_segments import count_scans
from hdrlab.ops.colour_spaces import Primaries

if TYPE_CHECKING:
    from PIL import ImageFile

# Tags of Exif.
_ORIENTATION, _TRANSFER, _WHITE, _PRIMARIES = 0x0112, 0x012D, 0x013E, 0x013F
_COLOUR_SPACE, _GAMMA = 0xA001, 0xA500
_EXIF_IFD, _INTEROP_IFD, _INTEROP_INDEX = 0x8769, 0xA005, 1
_GAIN_MAP_MARKS = (b"hdrgm:", b"urn:iso:std:iso:ts:21496:-1")
_MOST_SCANS = 100
_MOST_CHUNKS, _MOST_CHUNK = 10_000, 1 << 20
# What Pillow's parsers let through on damaged files, beside the OSError that they mean to raise.
PILLOW_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    RuntimeError,
    EOFError,
    struct.error,
    zlib.error,
)


def probe(path: Path) -> ImageInfo:
    """Reads the header only; the size is that of the upright image."""
    with _opened(path) as (image, bits, code_points):
        width, height = image.size
        if orientation_of(image) >= 5:
            width, height = height, width
        channels = 4 if image.mode == "CMYK" else 1 if image.mode in _GREY_MODES else 3
        domain = domain_of(statements(image, channels, bits, code_points))
        return ImageInfo(height, width, _format(image), domain)


def read(path: Path, max_pixels: int, *, keep_outside: bool = False) -> Image:
    """Reads a JPEG or PNG upright: as sRGB, uint8 or (16-bit PNG) uint16, or as light if it is PQ or HLG.

    Alpha is dropped, grey and palettes become RGB, CMYK is converted. What a PNG says of its colours counts
    in the order of its third edition: cICP, iCCP, sRGB, gAMA and cHRM; in a JPEG the profile comes before
    Exif. An Ultra HDR JPEG gives its 8-bit base image (metadata `gain_map`).
    """
    with _opened(path) as (image, bits, code_points):
        check_size(path, *image.size, max_pixels)
        _check_file_length(path, image, bits)
        orientation = orientation_of(image)
        samples = _read_png16(path) if bits == 16 else samples8(image)
        metadata = _metadata(image) | {"orientation": orientation}
        said = statements(image, samples.shape[2], bits, code_points)
        converted = convert_samples(turn_upright(samples, orientation), said, keep_outside=keep_outside)
        return converted.image(path, _format(image), metadata)


def write_jpeg(
    path: Path, pixels: NDArray[np.uint8], metadata: Mapping[str, Any], *, quality: int, colorspace: str
) -> None:
    """Writes uint8 pixels with 4:2:0 chroma and a profile; metadata as JSON in the comment."""
    from PIL import Image as PillowImage

    if pixels.dtype != np.uint8:
        raise ImageError(path, f"JPEG holds uint8, not {pixels.dtype.name}: write .png")
    if not 1 <= quality <= 100:
        raise ImageError(path, f"JPEG quality {quality} is not in 1..100")
    options: dict[str, Any] = {"comment": json.dumps(dict(metadata))} if metadata else {}
    if pixels.shape[2] == 3:
        options["icc_profile"] = build_profile(colorspace, "srgb")
    image = PillowImage.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    stream = io.BytesIO()  # Pillow passes over what a full disk does not take
    try:
        image.save(stream, "JPEG", quality=quality, **options)
    except ValueError as error:
        raise ImageError(path, f"cannot be written: {error}") from error
    path.write_bytes(stream.getbuffer())


def write_png(path: Path, pixels: NDArray[Any], metadata: Mapping[str, Any], *, colorspace: str) -> None:
    """Writes uint8 or uint16 pixels with a profile; metadata as JSON in a comment, as in JPEG."""
    attributes: dict[str, Any] = {"Comment": json.dumps(dict(metadata))} if metadata else {}
    attributes["ICCProfile"] = build_profile(colorspace, "srgb") if pixels.shape[2] == 3 else b""
    oiio.write(path, "png", pixels, pixels.dtype.name, attributes)
    # OpenImageIO says sRGB beside any profile, and writes Exif and an offset that nobody asked for.
    colours = {b"sRGB", b"gAMA", b"cHRM"} if attributes["ICCProfile"] else set()
    _remove_chunks(path, {b"eXIf", b"oFFs", *colours})


def _remove_chunks(path: Path, kinds: Collection[bytes]) -> None:
    """Remove chunks from a PNG that was just written.

    Raises:
        OSError: It is not whole: OpenImageIO reports a full disk as success.
    """
    data = path.read_bytes()
    kept, place, kind = [data[:8]], 8, b""
    while kind != b"IEND":
        kind, end = data[place + 4 : place + 8], place + 12 + int.from_bytes(data[place : place + 4])
        if data[end - 4 : end] != zlib.crc32(memoryview(data)[place + 4 : end - 4]).to_bytes(4):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        if kind not in kinds:
            kept.append(data[place:end])
        place = end
    path.write_bytes(b"".join(kept))


# ----------------------------------------------------------------------------------------- the colours


def statements(
    image: ImageFile.ImageFile, channels: int, bits: int, code_points: bytes
) -> Iterator[Statement]:
    """What the file says of its colours, what counts most first."""
    if len(code_points) == 4:
        yield lambda: _from_cicp(code_points, bits)
    if "icc_profile" in image.info:  # None where Pillow could not put it together
        yield lambda: from_icc(image.info["icc_profile"] or b"", channels)
    if image.format == "JPEG":
        yield lambda: _from_exif(image.getexif())
        return
    if "srgb" in image.info:
        yield lambda: SRGB
    if "gamma" in image.info or "chromaticity" in image.info:
        yield lambda: _from_gama(image.info.get("gamma"), image.info.get("chromaticity"))


def _from_cicp(code_points: bytes, bits: int) -> Encoding | None:
    primaries, transfer, _, full_range = code_points
    encoding = from_code_points(primaries, transfer)
    return encoding if full_range or encoding is None else with_range(encoding, bits)


def _from_gama(gama: float | None, chrm: tuple[float, ...] | None) -> Encoding:
    # The chunk has the white first.
    primaries = None if chrm is None else Primaries.of((*chrm[2:8], *chrm[:2]))
    return from_gamma(None if gama is None else 1 / gama if gama else 0.0, primaries)


def _from_exif(exif: Any) -> Encoding | None:
    try:
        details = exif.get_ifd(_EXIF_IFD)
        interop = exif.get_ifd(_INTEROP_IFD) if _INTEROP_IFD in details else {}
    except PILLOW_ERRORS:
        return None  # damaged Exif says nothing
    return from_exif(
        details.get(_COLOUR_SPACE),
        interop.get(_INTEROP_INDEX),
        (exif.get(_PRIMARIES), exif.get(_WHITE)),
        details.get(_GAMMA),
        exif.get(_TRANSFER),
    )


# --------------------------------------------------------------------------------------- the decoders

_GREY_MODES = {"1", "L", "LA", "I", "I;16", "I;16B"}


@contextmanager
def _opened(path: Path) -> Iterator[tuple[ImageFile.ImageFile, int, bytes]]:
    """The image, its bits per sample and its cICP chunk; whatever goes wrong is an ImageError."""
    # Not through PIL.Image.open, which refuses large images of its own accord and reads any format.
    from PIL import JpegImagePlugin, PngImagePlugin

    with open_regular(path) as file:
        head = file.read(26)
        is_png = head.startswith(b"\x89PNG")
        try:
            if is_png:
                code_points = _chunk(file, b"cICP", behind=False)
                exif = _chunk(file, b"eXIf", behind=True)
                file.seek(0)
                image = PngImagePlugin.PngImageFile(file)
                if exif:  # Pillow would find what stands behind the pixels only after decoding them
                    image.info.setdefault("exif", b"Exif\0\0" + exif)
                yield image, head[24], code_points
            else:
                file.seek(0)
                yield JpegImagePlugin.JpegImageFile(file), 8, b""
        except ImageError:
            raise
        except PILLOW_ERRORS as error:
            if not is_png and (reason := _unsupported(file)):
                raise ImageError(path, reason) from error
            raise ImageError(path, f"is a damaged {'PNG' if is_png else 'JPEG'}: {error}") from error


def _chunk(file: BinaryIO, name: bytes, *, behind: bool) -> bytes:
    """The content of a PNG chunk before the pixels, or behind them too; b"" without one."""
    place = 8
    for _ in range(_MOST_CHUNKS):
        file.seek(place)
        head = file.read(8)
        if len(head) < 8 or (head[4:] == b"IDAT" and not behind):
            break
        length = int.from_bytes(head[:4])
        if head[4:] == name:
            return file.read(min(length, _MOST_CHUNK))
        place += 12 + length
    return b""


_CODINGS = {
    **dict.fromkeys((0xC3, 0xCB), "lossless"),
    **dict.fromkeys((0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF), "hierarchical"),
    0xF7: "JPEG-LS",
}
_FRAMES = frozenset({0xC0, 0xC1, 0xC2, 0xC9, 0xCA, *_CODINGS})


def _unsupported(file: BinaryIO) -> str:
    """Say what a JPEG holds that is sound but that no decoder here reads; "" if nothing of the kind."""
    place = 2
    for _ in range(_MOST_CHUNKS):
        file.seek(place)
        head = file.read(5)
        if len(head) < 5 or head[0] != 0xFF or head[1] == 0xDA:
            break
        if head[1] in _FRAMES:
            coding, remedy = _CODINGS.get(head[1]), "which is unsupported: use 8 bits, PNG or TIFF"
            if coding:
                return f"is {coding}, with {head[4]}-bit samples, {remedy}"
            return f"holds {head[4]}-bit samples, {remedy}" if head[4] != 8 else ""
        place += 1 if head[1] == 0xFF else 2 + int.from_bytes(head[2:4])
    return ""


def _check_file_length(path: Path, image: ImageFile.ImageFile, bits: int) -> None:
    """Refuses a size that no file of this length can hold: libjpeg would make up the rest in grey."""
    pixels = image.width * image.height
    # A JPEG spends at least a bit on each 8 × 8 block; deflate (PNG) shrinks at most 1032-fold.
    least = pixels // 512 if image.format == "JPEG" else pixels * bits // 8 // 1032
    length = path.stat().st_size
    if length < least:
        width, height = image.size
        raise ImageError(path, f"is truncated: {width} × {height} pixels do not fit in {length} bytes")


def _format(image: ImageFile.ImageFile) -> str:
    return str(image.format).lower()


def orientation_of(image: ImageFile.ImageFile) -> int:
    """Return the Exif orientation, 1 where it says none."""
    # In a PNG, looking for Exif that the header part lacks would decode the pixels.
    if image.format == "PNG" and "exif" not in image.info:
        return 1
    value = image.getexif().get(_ORIENTATION, 1)
    return value if value in range(1, 9) else 1


def samples8(image: ImageFile.ImageFile) -> NDArray[np.uint8]:
    """Decodes to [H, W, C]: grey, RGB or CMYK."""
    _check_scans(image)
    image.load()
    mode = {"1": "L", "L": "L", "LA": "L", "CMYK": "CMYK"}.get(image.mode, "RGB")
    converted = image if image.mode == mode else image.convert(mode)
    return np.atleast_3d(np.array(converted))


def _check_scans(image: ImageFile.ImageFile) -> None:
    """Refuse a JPEG that goes over its pixels again and again: a few bytes cost as much as all of them."""
    if image.format == "JPEG" and image.fp is not None:
        place = image.fp.tell()
        image.fp.seek(0)
        scans = count_scans(image.fp.read())
        image.fp.seek(place)
        if scans > _MOST_SCANS:
            raise OSError(f"it is coded in {scans} scans, more than the {_MOST_SCANS} of any photograph")


def _read_png16(path: Path) -> NDArray[np.uint16]:
    with oiio.opened(path, "png") as source:
        channels = range(3 if source.spec().nchannels >= 3 else 1)
        return oiio.read_rows(path, source, channels, "uint16")


def _metadata(image: ImageFile.ImageFile) -> dict[str, Any]:
    metadata = {
        str(key): value.decode("utf-8", "replace") if key == "comment" else value
        for key, value in image.info.items()
        if key == "comment" or isinstance(value, (str, int, float))
    }
    if "A" in image.getbands() or "transparency" in image.info:
        metadata["alpha"] = "dropped"
    segments = [data for _, data in getattr(image, "applist", [])]
    if any(mark in data for data in segments for mark in _GAIN_MAP_MARKS):
        metadata["gain_map"] = "ignored, this is the base image"
    return metadata
