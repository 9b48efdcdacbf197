"""Portable float maps (.pfm): a text header, then float32 rows from the bottom up.

Source: P. Debevec, "PFM Portable FloatMap Image Format". The sign of the scale gives the byte order; its size
is a unit that files hardly ever mean, so it is kept as metadata and not applied.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hdrlab.errors import ImageError
from hdrlab.io.image import Image, ImageInfo, as_rgb, check_size, open_regular

_HEADER = re.compile(rb"P([Ff])\s+(\d{1,18})\s+(\d{1,18})\s+([+-]?[0-9.eE+-]{1,32})(?:\r\n|\s)")
_HEADER_LIMIT = 512


def probe(path: Path) -> ImageInfo:
    """Reads the header only."""
    with open_regular(path) as file:
        width, height, *_ = _parse_header(path, file.read(_HEADER_LIMIT))
    return ImageInfo(height, width, "pfm", "linear")


def read(path: Path, max_pixels: int) -> Image:
    """Reads a colour (PF) or grey (Pf) float map of either byte order."""
    with open_regular(path) as file:
        width, height, channels, scale, start = _parse_header(path, file.read(_HEADER_LIMIT))
        check_size(path, width, height, max_pixels)
        needed, held = 4 * width * height * channels, os.fstat(file.fileno()).st_size - start
        if held < needed:
            raise ImageError(
                path, f"is truncated: {width} × {height} pixels take {needed} bytes, it has {held}"
            )
        file.seek(start)
        values = np.frombuffer(file.read(needed), "<f4" if scale < 0 else ">f4")
    if values.size * 4 < needed:
        raise ImageError(path, "became shorter while it was read")
    pixels = values.reshape(height, width, channels)[::-1].astype(np.float32)
    return Image(as_rgb(pixels), "linear", "pfm", path, {"scale": abs(scale)})


def write(path: Path, pixels: NDArray[np.float32]) -> None:
    """Writes [H, W, 1 or 3] linear pixels, little endian."""
    height, width, channels = pixels.shape
    with open(path, "wb") as file:
        file.write(f"{'PF' if channels == 3 else 'Pf'}\n{width} {height}\n-1.0\n".encode())
        file.write(pixels[::-1].astype("<f4").tobytes())


def _parse_header(path: Path, data: bytes) -> tuple[int, int, int, float, int]:
    """-> width, height, channels, scale, first byte of the pixels."""
    header = _HEADER.match(data)
    if header is None:
        raise ImageError(path, "has no PFM header of the form 'PF 640 480 -1.0'")
    try:
        scale = float(header[4])
    except ValueError:
        scale = 0.0
    if not 0.0 < abs(scale) < np.inf:
        raise ImageError(
            path, f"PFM scale {header[4]!r} must be a number other than 0: its sign is the byte order"
        )
    return int(header[2]), int(header[3]), 3 if header[1] == b"F" else 1, scale, header.end()
