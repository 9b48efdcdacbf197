"""Reading and writing of images: the format is known by its first bytes, or by the suffix when writing."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hdrlab.errors import ImageError, ImageKindError
from hdrlab.io import heif, jpegxl, ldr, openexr, pfm, radiance, raw, tiff
from hdrlab.io.exif import Exif
from hdrlab.io.image import (
    DEFAULT_MAX_PIXELS,
    Domain,
    Image,
    ImageInfo,
    PathLike,
    as_rgb,
    check_size,
    open_regular,
    replacing_image,
)
from hdrlab.io.metadata import PhotoMetadata, embed, header_entries
from hdrlab.io.ultrahdr import has_gain_map, read_ultrahdr
from hdrlab.io.xmp import is_fit
from hdrlab.ops.colour_spaces import SPACES, split_gamut

HDR_SUFFIXES = frozenset({".exr", ".hdr", ".pic", ".rgbe", ".pfm", ".tif", ".tiff"})
LDR_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff"})
"""Suffixes that are written; more formats are read."""

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
    b"\0\0\0\x0cJXL \r\n\x87\n": jpegxl,
    b"\xff\x0a": jpegxl,
}
_HOLD_LIGHT_ONLY = (radiance, pfm)
_KNOWN = "Radiance, OpenEXR, PFM, TIFF, PNG, JPEG, HEIC, AVIF or JPEG XL"
_IS_SDR = "nothing to tone-map; hdrlab.reconstruct makes an HDR image of it first"
_log = logging.getLogger(__name__)


def read_image(
    path: PathLike,
    *,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    sanitize: bool = False,
    layer: str | None = None,
    keep_outside: bool = False,
) -> Image:
    """Reads an image file; its first bytes, not its suffix, say which format it has.

    Colours are what the file declares (profile, code points, chromaticities), converted to Rec. 709.

    Args:
        path: A Radiance, OpenEXR, PFM, TIFF, PNG, JPEG or JPEG XL file; HEIC with the extra ``heic``, AVIF
            with ``codecs``, camera raw, which the suffix tells, with ``raw``.
        max_pixels: Files that declare more are refused before anything is allocated.
        sanitize: Replace NaN and −Inf by 0 and +Inf by the largest finite value instead of refusing them.
        layer: OpenEXR: name of the layer or part to read; None: the image itself.
        keep_outside: Whether to keep, as `Image.outside`, the light that sRGB samples cannot hold.

    Returns:
        Upright RGB [H, W, 3]: float32 with domain "linear" (negative values kept), or sRGB in uint8 or uint16
        with domain "display". PQ and HLG are linear, in cd/m².

    Raises:
        ImageError: Whatever is wrong with the file; never another exception.
    """
    path = Path(path)
    module = _format_of(path)
    options: dict[str, Any] = {}
    if module is openexr:
        options["layer"] = layer
    elif layer is not None:
        raise ImageError(path, f"layer={layer}: only OpenEXR files have layers")
    elif module not in _HOLD_LIGHT_ONLY:
        options["keep_outside"] = keep_outside
    try:
        image: Image = module.read(path, max_pixels, **options)
    except MemoryError as error:
        raise ImageError(path, "does not fit into memory; make it smaller") from error
    return _check_finite(image, sanitize) if image.domain == "linear" else image


def read_photograph(
    path: PathLike, *, max_pixels: int = DEFAULT_MAX_PIXELS, keep_outside: bool = False
) -> Image:
    """Reads a photograph, for nets.

    Args:
        path: As `read_image` takes it.
        max_pixels: Files that declare more are refused.
        keep_outside: Whether to keep, as `Image.outside`, the light that sRGB cannot hold.

    Returns:
        sRGB [H, W, 3], uint8 or uint16; or, of a photograph that is HDR already (metadata ``hdr``), light of
        at least 0 in cd/m², float32, domain "linear".

    Raises:
        ImageError: Whatever is wrong with the file, the package that reads it is missing, or it holds linear
            light.
    """
    image = read_image(path, max_pixels=max_pixels, keep_outside=keep_outside)
    if image.domain == "display":
        return image
    if "hdr" not in image.metadata:
        raise ImageKindError(
            path, "holds linear light already: a photograph is a JPEG, PNG, HEIC or raw file"
        )
    return _without_negative(image, keep_outside)


def read_hdr(
    path: PathLike,
    *,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    sanitize: bool = False,
    layer: str | None = None,
    keep_outside: bool = False,
) -> Image:
    """Reads light, to be shown: every linear format, PQ and HLG, and Ultra HDR through its gain map.

    Args:
        path: As `read_image` takes it.
        max_pixels: Files that declare more are refused.
        sanitize: Replace values that are not finite instead of refusing them, see `read_image`.
        layer: OpenEXR: name of the layer or part to read; None: the image itself.
        keep_outside: Whether to keep what lies below 0, colours outside Rec. 709, as `Image.outside`.

    Returns:
        RGB [H, W, 3], at least 0, in the file's unit; the metadata's ``negative`` counts what was clipped.

    Raises:
        ImageError: Whatever is wrong with the file, or it is a photograph: display-encoded.
    """
    path = Path(path)
    if path.suffix.lower() in raw.SUFFIXES:
        raise ImageError(path, f"is a camera raw photograph: {_IS_SDR}")
    image = read_image(path, max_pixels=max_pixels, sanitize=sanitize, layer=layer)
    if "gain_map" in image.metadata or (image.format == "jpeg" and has_gain_map(path)):
        image = read_ultrahdr(path, max_pixels=max_pixels)
    if image.domain == "display":
        raise ImageKindError(path, f"is an SDR image, display-encoded {image.dtype.name}: {_IS_SDR}")
    return _without_negative(image, keep_outside)


def samples_in_unit(image: Image) -> NDArray[np.float32]:
    """Returns a photograph's samples [H, W, 3] as float32 in [0, 1]."""
    return image.pixels.astype(np.float32) / np.float32(np.iinfo(image.pixels.dtype).max)


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
    metadata: Mapping[str, str | int | float | Fraction] | None = None,
    layers: Mapping[str, NDArray[Any]] | None = None,
    colorspace: str = "rec709",
    photo: PhotoMetadata | None = None,
) -> None:
    """Writes an image in the format of the suffix, whole or not at all.

    Args:
        path: Ends in .exr, .hdr, .pfm, .tif (linear) or .png, .jpg, .tif (display). The folder exists.
        image: An `Image`, or an array [H, W, 3], [H, W, 1] or [H, W]: floats are linear, uint8 and uint16
            display-encoded.
        half: OpenEXR: 16-bit floats, unless a finite value exceeds 65504; then the file keeps float32.
        compression: OpenEXR: one of `openexr.COMPRESSIONS`.
        quality: JPEG: 1..100.
        metadata: Header entries (not for .pfm); in a TIFF properties of hdrlab's in its XMP.
        layers: OpenEXR: further linear arrays [H, W], [H, W, 1] or [H, W, 3] by name.
        colorspace: Primaries of the pixels, a key of `SPACES`; the file says so: OpenEXR by its
            chromaticities, Radiance by PRIMARIES, the others by a profile, PFM not at all.
        photo: What is known of the photograph: kept in every format that can hold it.

    Raises:
        ImageError: The pixels do not suit the format, an option is out of range, or the disk refuses.
    """
    path = Path(path)
    pixels = _pixels_of(path, image)
    suffix, layers = path.suffix.lower(), layers or {}
    entries = {**(header_entries(photo, suffix) if photo else {}), **(metadata or {})}
    _check_suits(path, pixels, entries, layers, colorspace)
    with replacing_image(path) as temporary:
        try:
            match suffix:
                case ".exr":
                    openexr.write(
                        temporary,
                        pixels,
                        entries,
                        layers,
                        half=half,
                        compression=compression,
                        colorspace=colorspace,
                    )
                case ".pfm":
                    pfm.write(temporary, pixels)
                case ".tif" | ".tiff":
                    tiff.write(temporary, pixels, colorspace=colorspace)
                case ".png":
                    ldr.write_png(temporary, pixels, entries, colorspace=colorspace)
                case ".jpg" | ".jpeg":
                    ldr.write_jpeg(temporary, pixels, entries, quality=quality, colorspace=colorspace)
                case _:
                    radiance.write(temporary, pixels, entries, colorspace=colorspace)
            if photo or entries:
                embed(temporary, suffix, photo or PhotoMetadata(Exif()), entries)
        except ImageError as error:
            raise ImageError(path, error.reason) from error


def has_known_magic(path: Path) -> bool:
    """Say whether a file begins like an image that `read_image` knows."""
    try:
        return bool(_format_of(path))
    except ImageError:
        return False


def _format_of(path: Path) -> ModuleType:
    if path.suffix.lower() in raw.SUFFIXES:
        return raw
    with open_regular(path) as file:
        head = file.read(64)
    if not head:
        raise ImageError(path, "is empty")
    for magic, module in _FORMATS_BY_MAGIC.items():
        if head.startswith(magic):
            return module
    if heif.brand_of(head):
        return heif
    raise ImageError(path, f"is not a {_KNOWN} file")


def _without_negative(image: Image, keep_outside: bool) -> Image:
    negative = int(np.count_nonzero(image.pixels < 0))
    pixels, outside = as_rgb(image.pixels), None
    if negative:
        pixels, outside = split_gamut(pixels)
    kept = outside if keep_outside else None
    return replace(image, pixels=pixels, outside=kept, metadata={**image.metadata, "negative": negative})


def _check_finite(image: Image, sanitize: bool) -> Image:
    finite = np.isfinite(image.pixels)
    if finite.all():
        return image
    count = int(finite.size - np.count_nonzero(finite))
    y, x, channel = (int(i) for i in np.unravel_index(np.argmin(finite), finite.shape))
    found = f"{count} non-finite values, the first {image.pixels[y, x, channel]} at row {y}, column {x}"
    if not sanitize:
        raise ImageError(image.path, f"holds {found}, channel {channel}; sanitize=true replaces them")
    largest = np.max(image.pixels, where=finite, initial=0.0)
    _log.warning("%s: replaced %s", image.path, found)
    pixels = np.nan_to_num(image.pixels, nan=0.0, posinf=largest, neginf=0.0)
    return replace(image, pixels=pixels, metadata={**image.metadata, "sanitized": count})


def _pixels_of(path: Path, image: Image | ArrayLike) -> NDArray[Any]:
    """Any accepted image -> [H, W, C] of float32, uint8 or uint16."""
    pixels = np.asarray(image)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.dtype.kind == "f" and pixels.dtype != np.float32:
        with np.errstate(over="ignore"):
            converted = pixels.astype(np.float32)
        if np.any(np.isinf(converted) & np.isfinite(pixels)):
            raise ImageError(path, "holds values that float32 cannot: scale the image down")
        pixels = converted
    domain: Domain = "linear" if pixels.dtype == np.float32 else "display"
    return Image(pixels, domain, path=path).pixels


def _check_suits(
    path: Path, pixels: NDArray[Any], metadata: Mapping[str, Any], layers: Mapping[str, Any], colorspace: str
) -> None:
    suffix, linear = path.suffix.lower(), pixels.dtype == np.float32
    allowed = HDR_SUFFIXES if linear else LDR_SUFFIXES
    if suffix not in allowed:
        kind = "linear float" if linear else f"display-encoded {pixels.dtype.name}"
        raise ImageError(path, f"{kind} pixels are written as {', '.join(sorted(allowed))}")
    if colorspace not in SPACES:
        raise ImageError(path, f"colorspace {colorspace!r} is not one of {', '.join(SPACES)}")
    if suffix == ".pfm" and colorspace != "rec709":
        raise ImageError(path, f"PFM cannot say that it is in {colorspace}: write .exr or .hdr")
    if layers and suffix != ".exr":
        raise ImageError(path, "layers need .exr")
    if metadata and suffix == ".pfm":
        raise ImageError(path, "PFM has no room for metadata: write .exr or .hdr")
    if unfit := [
        key for key, value in metadata.items() if not isinstance(value, (str, int, float, Fraction))
    ]:
        raise ImageError(path, f"metadata {', '.join(unfit)}: values are str, int or float")
    is_tiff = suffix in (".tif", ".tiff")
    if is_tiff and (unfit := [key for key, value in metadata.items() if not is_fit(key, str(value))]):
        held = "names of ASCII letters, digits and _.-, and texts without control characters"
        raise ImageError(path, f"metadata {', '.join(map(repr, unfit))}: XMP holds {held}")
