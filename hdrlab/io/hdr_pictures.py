"""HDR pictures to be shown: every linear format, and Ultra HDR JPEGs through their gain maps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from hdrlab.io.files import read_image
from hdrlab.io.image import DEFAULT_MAX_PIXELS, Image, ImageError, PathLike, as_rgb
from hdrlab.io.photographs import RAW_SUFFIXES
from hdrlab.io.ultrahdr import read_ultrahdr

_IS_SDR = "nothing to tone-map; hdrlab.reconstruct makes an HDR picture of it first"


def read_hdr(path: PathLike, *, max_pixels: int = DEFAULT_MAX_PIXELS, sanitize: bool = False) -> Image:
    """Read a linear picture upright, values below 0 clipped.

    Args:
        path: Radiance, OpenEXR, PFM or float TIFF file, or Ultra HDR JPEG.
        max_pixels: Files that declare more are refused.
        sanitize: Replace values that are not finite instead of refusing them, see `read_image`.

    Returns:
        RGB [H, W, 3], at least 0, in the file's unit; the metadata's ``negative`` counts what was clipped.

    Raises:
        ImageError: Whatever is wrong with the file, or it is a photograph: display-encoded.
    """
    path = Path(path)
    if path.suffix.lower() in RAW_SUFFIXES:
        raise ImageError(path, f"is a camera raw photograph: {_IS_SDR}")
    image = read_image(path, max_pixels=max_pixels, sanitize=sanitize)
    if "gain_map" in image.metadata:
        image = read_ultrahdr(path, max_pixels=max_pixels)
    if image.domain == "display":
        raise ImageError(path, f"is an SDR picture, display-encoded {image.dtype.name}: {_IS_SDR}")
    negative = int(np.count_nonzero(image.pixels < 0))
    pixels = as_rgb(np.maximum(image.pixels, 0) if negative else image.pixels)
    return replace(image, pixels=pixels, metadata={**image.metadata, "negative": negative})
