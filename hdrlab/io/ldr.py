"""Display-encoded pictures: JPEG and 8-bit PNG through Pillow, 16-bit PNG through OpenImageIO."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hdrlab.io import oiio
from hdrlab.io.image import Image, ImageError, ImageInfo, as_rgb, check_size, open_regular, turn_upright

if TYPE_CHECKING:
    from PIL import ImageFile

_EXIF_ORIENTATION = 0x0112
_GAIN_MAP_MARKS = (b"hdrgm:", b"urn:iso:std:iso:ts:21496:-1")
# What Pillow's parsers let through on damaged files, beside the OSError that they mean to raise.
_PILLOW_ERRORS = (
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
    """Reads the header only; the size is that of the upright picture."""
    with _opened(path) as (picture, _):
        width, height = picture.size
        if _orientation(picture) >= 5:
            width, height = height, width
        return ImageInfo(height, width, _format(picture), "display")


def read(path: Path, max_pixels: int) -> Image:
    """Reads a JPEG or PNG as upright sRGB, uint8 or (16-bit PNG) uint16.

    Alpha is dropped, grey and palettes become RGB, CMYK is converted, an embedded profile other than sRGB
    is applied (8 bits only). An Ultra HDR JPEG gives its 8-bit base picture (metadata `gain_map`).
    """
    with _opened(path) as (picture, bits):
        check_size(path, *picture.size, max_pixels)
        _check_file_length(path, picture, bits)
        orientation = _orientation(picture)
        samples = _read_png16(path) if bits == 16 else _samples8(picture)
        metadata = _metadata(picture) | {"orientation": orientation}
        pixels, note = convert_to_srgb(samples, picture.info.get("icc_profile"))
        if note:
            metadata["icc_profile"] = note
        return Image(turn_upright(pixels, orientation), "display", _format(picture), path, metadata)


def write_jpeg(path: Path, pixels: NDArray[np.uint8], metadata: Mapping[str, Any], *, quality: int) -> None:
    """Writes uint8 pixels with 4:2:0 chroma; metadata as JSON in the comment."""
    from PIL import Image as PillowImage

    if pixels.dtype != np.uint8:
        raise ImageError(path, f"JPEG holds uint8, not {pixels.dtype.name}: write .png")
    if not 1 <= quality <= 100:
        raise ImageError(path, f"JPEG quality {quality} is not in 1..100")
    options = {"comment": json.dumps(dict(metadata))} if metadata else {}
    picture = PillowImage.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    try:
        picture.save(path, "JPEG", quality=quality, **options)
    except ValueError as error:
        raise ImageError(path, f"cannot be written: {error}") from error


def write_png(path: Path, pixels: NDArray[Any], metadata: Mapping[str, Any]) -> None:
    """Writes uint8 or uint16 pixels; metadata as JSON in the description."""
    attributes = {"ImageDescription": json.dumps(dict(metadata))} if metadata else {}
    oiio.write(path, "png", pixels, pixels.dtype.name, attributes)


def convert_to_srgb(pixels: NDArray[Any], profile: bytes | None) -> tuple[NDArray[Any], str]:
    """Converts grey, RGB or CMYK samples to sRGB.

    Args:
        pixels: [H, W, 1, 3 or 4].
        profile: The embedded ICC profile; without one, grey and RGB count as sRGB and CMYK as plain ink.

    Returns:
        [H, W, 3] of the same type, and a note on what was done with the profile ("" without one).
    """
    if not profile:
        return _assume_srgb(pixels), ""
    from PIL import Image as PillowImage
    from PIL import ImageCms

    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        name = ImageCms.getProfileDescription(source).strip()
        if "srgb" in name.lower():
            return _assume_srgb(pixels), name
        if pixels.dtype != np.uint8:
            return _assume_srgb(pixels), f"{name}, not applied to {pixels.dtype.name}"
        mode = {1: "L", 3: "RGB", 4: "CMYK"}[pixels.shape[2]]
        converted = ImageCms.profileToProfile(
            PillowImage.fromarray(pixels.squeeze(2) if mode == "L" else pixels, mode),
            source,
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
        return _assume_srgb(pixels), f"unusable, ignored ({error})"
    return np.array(converted), f"{name}, converted to sRGB"


def _assume_srgb(pixels: NDArray[Any]) -> NDArray[Any]:
    if pixels.shape[2] != 4:
        return as_rgb(pixels)
    from PIL import Image as PillowImage

    return np.array(PillowImage.fromarray(pixels, "CMYK").convert("RGB"))


@contextmanager
def _opened(path: Path) -> Iterator[tuple[ImageFile.ImageFile, int]]:
    """Yields the picture, its pixels not yet decoded, and its bits per sample."""
    # The plugins directly: Image.open would try its own limit on pixels and, for Ultra HDR, its MPO reader.
    from PIL import JpegImagePlugin, PngImagePlugin

    with open_regular(path) as file:
        head = file.read(26)
        file.seek(0)
        is_png = head.startswith(b"\x89PNG")
        try:
            if is_png:
                yield PngImagePlugin.PngImageFile(file), head[24]
            else:
                yield JpegImagePlugin.JpegImageFile(file), 8
        except ImageError:
            raise
        except _PILLOW_ERRORS as error:
            raise ImageError(path, f"is a damaged {'PNG' if is_png else 'JPEG'}: {error}") from error


def _check_file_length(path: Path, picture: ImageFile.ImageFile, bits: int) -> None:
    """Refuses a size that no file of this length can hold: libjpeg would make up the rest in grey."""
    pixels = picture.width * picture.height
    # A JPEG spends at least a bit on each 8 × 8 block; deflate (PNG) shrinks at most 1032-fold.
    least = pixels // 512 if picture.format == "JPEG" else pixels * bits // 8 // 1032
    length = path.stat().st_size
    if length < least:
        width, height = picture.size
        raise ImageError(path, f"is truncated: {width} × {height} pixels do not fit in {length} bytes")


def _format(picture: ImageFile.ImageFile) -> str:
    return str(picture.format).lower()


def _orientation(picture: ImageFile.ImageFile) -> int:
    # In a PNG, looking for Exif that the header part lacks would decode the pixels.
    if picture.format == "PNG" and "exif" not in picture.info:
        return 1
    value = picture.getexif().get(_EXIF_ORIENTATION, 1)
    return value if value in range(1, 9) else 1


def _samples8(picture: ImageFile.ImageFile) -> NDArray[np.uint8]:
    """Decodes to [H, W, C]: grey, RGB or CMYK."""
    picture.load()
    mode = {"1": "L", "L": "L", "LA": "L", "CMYK": "CMYK"}.get(picture.mode, "RGB")
    converted = picture if picture.mode == mode else picture.convert(mode)
    return np.atleast_3d(np.array(converted))


def _read_png16(path: Path) -> NDArray[np.uint16]:
    with oiio.opened(path, "png") as source:
        channels = range(3 if source.spec().nchannels >= 3 else 1)
        return oiio.read_rows(path, source, channels, "uint16")


def _metadata(picture: ImageFile.ImageFile) -> dict[str, Any]:
    metadata = {
        str(key): value.decode("utf-8", "replace") if key == "comment" else value
        for key, value in picture.info.items()
        if key == "comment" or isinstance(value, (str, int, float))
    }
    if "A" in picture.getbands() or "transparency" in picture.info:
        metadata["alpha"] = "dropped"
    segments = [data for _, data in getattr(picture, "applist", [])]
    if any(mark in data for data in segments for mark in _GAIN_MAP_MARKS):
        metadata["gain_map"] = "ignored, this is the base picture"
    return metadata
