"""Photographs as cameras and phones store them, for nets: every LDR format, HEIC and camera raw."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrlab.io.files import read_image
from hdrlab.io.image import DEFAULT_MAX_PIXELS, Image, ImageError, PathLike, check_size, open_regular
from hdrlab.io.ldr import convert_to_srgb

RAW_SUFFIXES = frozenset(
    {".dng", ".nef", ".cr2", ".cr3", ".arw", ".orf", ".rw2", ".raf", ".pef", ".srw", ".iiq", ".3fr"}
)
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
# What the decoders raise on damaged files, beside errors of their own.
_DECODER_ERRORS = (OSError, RuntimeError, ValueError, SyntaxError, EOFError, LookupError)


def read_photograph(path: PathLike, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Image:
    """Read a photograph upright and display-encoded.

    Args:
        path: JPEG, PNG, 8 or 16-bit TIFF; HEIC with the extra ``heic``, camera raw with the extra ``raw``.
        max_pixels: Files that declare more are refused.

    Returns:
        sRGB [H, W, 3], uint8 or uint16.

    Raises:
        ImageError: Whatever is wrong with the file, or the package that reads it is missing.
    """
    path = Path(path)
    if path.suffix.lower() in RAW_SUFFIXES:
        return _read_raw(path, max_pixels)
    if _is_heif(path):
        return _read_heif(path, max_pixels)
    image = read_image(path, max_pixels=max_pixels)
    if image.domain == "linear":
        raise ImageError(path, "holds linear light already: a photograph is a JPEG, PNG, HEIC or raw file")
    return image


def samples_in_unit(image: Image) -> NDArray[np.float32]:
    """Return a photograph's samples [H, W, 3] as float32 in [0, 1]."""
    return image.pixels.astype(np.float32) / np.float32(np.iinfo(image.pixels.dtype).max)


def _is_heif(path: Path) -> bool:
    with open_regular(path) as file:
        head = file.read(12)
    return head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS


def _read_heif(path: Path, max_pixels: int) -> Image:
    _require("pillow_heif", path, "HEIC", "heic")
    import pillow_heif

    try:
        # Opening reads the header only. The decoder turns the picture upright itself.
        picture = pillow_heif.open_heif(path)
        check_size(path, picture.size[0], picture.size[1], max_pixels)
        samples = np.array(picture.to_pillow().convert("RGB"))
        pixels, note = convert_to_srgb(samples, picture.info.get("icc_profile"))
    except ImageError:
        raise
    except _DECODER_ERRORS as error:
        raise ImageError(path, f"is a damaged HEIC file: {error}") from error
    return Image(pixels, "display", "heic", path, {"icc_profile": note} if note else {})


def _read_raw(path: Path, max_pixels: int) -> Image:
    _require("rawpy", path, "camera raw", "raw")
    import rawpy

    with open_regular(path):
        pass  # LibRaw's message for what is no file says only that it failed
    try:
        with rawpy.imread(str(path)) as raw:
            check_size(path, raw.sizes.width, raw.sizes.height, max_pixels)
            # As the camera would: its white balance, and no stretch that depends on the content.
            pixels: NDArray[Any] = raw.postprocess(
                use_camera_wb=True,
                no_auto_bright=True,
                output_color=rawpy.ColorSpace.sRGB,
                gamma=(2.4, 12.92),
                output_bps=16,
            )
    except ImageError:
        raise
    except (rawpy.LibRawError, *_DECODER_ERRORS) as error:
        raise ImageError(path, f"cannot be developed: {error}") from error
    return Image(pixels, "display", "raw", path)


def _require(package: str, path: Path, kind: str, extra: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise ImageError(path, f"is a {kind} file, which needs an extra: pip install 'hdrlab[{extra}]'")
