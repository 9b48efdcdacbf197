"""Reading and writing of pictures: the format is known by its first bytes, or by the suffix when writing."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hdrlab.io import ldr, openexr, pfm, radiance, tiff
from hdrlab.io.image import (
    DEFAULT_MAX_PIXELS,
    Domain,
    Image,
    ImageError,
    ImageInfo,
    PathLike,
    check_size,
    open_regular,
    replacing,
)

HDR_SUFFIXES = frozenset({".exr", ".hdr", ".pic", ".rgbe", ".pfm", ".tif", ".tiff"})
LDR_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff"})

_FORMATS_BY_MAGIC: dict[bytes, ModuleType] = {
    b"#?": radiance,
    b"\x76\x2f\x31\x01": openexr,
    b"II*\0": tiff,
    b"MM\0*": tiff,
    b"II+\0": tiff,
    b"MM\0+": tiff,
    b"PF": pfm,
    b"Pf": pfm,
    b"\x89PNG\r\n\x1a\n": ldr,
    b"\xff\xd8\xff": ldr,
}
# Most are TIFF files in which a TIFF reader finds nothing but the thumbnail.
_CAMERA_RAW_SUFFIXES = frozenset({".dng", ".nef", ".cr2", ".cr3", ".arw", ".orf", ".rw2", ".pef", ".srw"})
_log = logging.getLogger(__name__)


def read_image(path: PathLike, *, max_pixels: int = DEFAULT_MAX_PIXELS, sanitize: bool = False) -> Image:
    """Reads a picture file; its first bytes, not its suffix, say which format it has.

    Args:
        path: A Radiance, OpenEXR, PFM, TIFF, PNG or JPEG file.
        max_pixels: Files that declare more are refused before anything is allocated.
        sanitize: Replace NaN and −Inf by 0 and +Inf by the largest finite value instead of refusing them.

    Returns:
        Upright RGB [H, W, 3]: float32 with domain "linear" (negative values kept), or uint8 or uint16 with
        domain "display".

    Raises:
        ImageError: Whatever is wrong with the file; never another exception.
    """
    path = Path(path)
    try:
        image: Image = _format_of(path).read(path, max_pixels)
    except MemoryError as error:
        raise ImageError(path, "does not fit in memory: lower max_pixels") from error
    return _check_finite(image, sanitize) if image.domain == "linear" else image


def probe_image(path: PathLike, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> ImageInfo:
    """Reads size, format and domain from the header only, in about a millisecond.

    Raises:
        ImageError: The header is damaged or declares more than `max_pixels`, or the format is unknown.
    """
    path = Path(path)
    info: ImageInfo = _format_of(path).probe(path)
    check_size(path, info.width, info.height, max_pixels)
    return info


def write_image(
    path: PathLike,
    image: Image | ArrayLike,
    *,
    half: bool = True,
    compression: str = "zip",
    quality: int = 95,
    metadata: Mapping[str, str | int | float] | None = None,
    layers: Mapping[str, NDArray[Any]] | None = None,
) -> None:
    """Writes a picture in the format of the suffix, whole or not at all.

    Args:
        path: Ends in .exr, .hdr, .pfm, .tif (linear) or .png, .jpg, .tif (display). The folder exists.
        image: An `Image`, or an array [H, W, 3], [H, W, 1] or [H, W]: floats are linear, uint8 and uint16
            display-encoded.
        half: OpenEXR: 16-bit floats, unless a finite value exceeds 65504; then the file keeps float32.
        compression: OpenEXR: one of `openexr.COMPRESSIONS`.
        quality: JPEG: 1..100.
        metadata: Header entries (not for .pfm).
        layers: OpenEXR: further [H, W], [H, W, 1] or [H, W, 3] arrays by name.

    Raises:
        ImageError: The pixels do not suit the format, an option is out of range, or the disk refuses.
    """
    path = Path(path)
    pixels = _pixels_of(path, image)
    entries, layers = metadata or {}, layers or {}
    _check_suits(path, pixels, entries, layers)
    with replacing(path) as temporary:
        try:
            match path.suffix.lower():
                case ".exr":
                    openexr.write(temporary, pixels, entries, layers, half=half, compression=compression)
                case ".pfm":
                    pfm.write(temporary, pixels)
                case ".tif" | ".tiff":
                    tiff.write(temporary, pixels, entries)
                case ".png":
                    ldr.write_png(temporary, pixels, entries)
                case ".jpg" | ".jpeg":
                    ldr.write_jpeg(temporary, pixels, entries, quality=quality)
                case _:
                    radiance.write(temporary, pixels, entries)
        except ImageError as error:
            raise ImageError(path, error.reason) from error


def _format_of(path: Path) -> ModuleType:
    if path.suffix.lower() in _CAMERA_RAW_SUFFIXES:
        raise ImageError(path, "is a camera raw file: develop it to a 16-bit TIFF or PNG first")
    with open_regular(path) as file:
        head = file.read(8)
    if not head:
        raise ImageError(path, "is empty")
    for magic, module in _FORMATS_BY_MAGIC.items():
        if head.startswith(magic):
            return module
    raise ImageError(path, "is not a Radiance, OpenEXR, PFM, TIFF, PNG or JPEG file")


def _check_finite(image: Image, sanitize: bool) -> Image:
    finite = np.isfinite(image.pixels)
    if finite.all():
        return image
    count = int(finite.size - np.count_nonzero(finite))
    y, x, channel = (int(i) for i in np.unravel_index(np.argmin(finite), finite.shape))
    found = f"{count} non-finite values, the first {image.pixels[y, x, channel]} at row {y}, column {x}"
    if not sanitize:
        raise ImageError(image.path, f"holds {found}, channel {channel}; sanitize=True replaces them")
    largest = np.max(image.pixels, where=finite, initial=0.0)
    _log.warning("%s: replaced %s", image.path, found)
    pixels = np.nan_to_num(image.pixels, nan=0.0, posinf=largest, neginf=0.0)
    return replace(image, pixels=pixels, metadata={**image.metadata, "sanitized": count})


def _pixels_of(path: Path, image: Image | ArrayLike) -> NDArray[Any]:
    """Any accepted picture -> [H, W, C] of float32, uint8 or uint16."""
    pixels = np.asarray(image)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.dtype.kind == "f" and pixels.dtype != np.float32:
        with np.errstate(over="ignore"):
            converted = pixels.astype(np.float32)
        if np.any(np.isinf(converted) & np.isfinite(pixels)):
            raise ImageError(path, "holds values that float32 cannot: scale the picture down")
        pixels = converted
    domain: Domain = "linear" if pixels.dtype == np.float32 else "display"
    return Image(pixels, domain, path=path).pixels


def _check_suits(
    path: Path, pixels: NDArray[Any], metadata: Mapping[str, Any], layers: Mapping[str, Any]
) -> None:
    suffix, linear = path.suffix.lower(), pixels.dtype == np.float32
    allowed = HDR_SUFFIXES if linear else LDR_SUFFIXES
    if suffix not in allowed:
        kind = "linear float" if linear else f"display-encoded {pixels.dtype.name}"
        raise ImageError(path, f"{kind} pixels are written as {', '.join(sorted(allowed))}")
    if layers and suffix != ".exr":
        raise ImageError(path, "layers need .exr")
    if metadata and suffix == ".pfm":
        raise ImageError(path, "PFM has no room for metadata: write .exr or .hdr")
    if unfit := [key for key, value in metadata.items() if not isinstance(value, (str, int, float))]:
        raise ImageError(path, f"metadata {', '.join(unfit)}: values are str, int or float")
