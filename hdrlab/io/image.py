"""What an image is once it is in memory, and the one error that reading or writing it can raise."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from hdrlab.errors import ImageError
from hdrlab.io import atomic

Domain = Literal["linear", "display"]
PathLike = str | os.PathLike[str]

DEFAULT_MAX_PIXELS = 400_000_000
FREE_PIXELS = 1 << 20
PIXELS_PER_BYTE = 1024
"""What a file may declare beyond `FREE_PIXELS`; deflate, which PNG uses, shrinks at most 1032-fold."""


@dataclass(frozen=True, eq=False)
class Image:
    """An image in memory; `numpy.asarray(image)` gives its pixels.

    Attributes:
        pixels: [H, W, C] RGB, or C = 1. float32 light with Rec. 709 primaries when `domain` is "linear",
            below 0 where a colour lies outside these; sRGB in uint8 or uint16 when it is "display".
        domain: "linear" or "display", see `pixels`.
        format: The file format it came from ("exr", "hdr", "pfm", "tiff", "png", "jpeg", "heic", "avif",
            "jxl", "raw").
        path: The file it came from.
        metadata: Header entries, and what reading changed (alpha, sanitized, ...). ``colour`` names the space
            of the file; ``whiteLuminance`` is the luminance in cd/m² of the linear value 1, where known;
            ``hdr`` is "PQ" or "HLG" in a photograph that is HDR already; ``converted`` says whether the light
            of a file had other primaries.
        outside: Light [H, W, 3] that `pixels` had to cut, linear Rec. 709, where it was asked for and there
            is any; see `hdrlab.ops.colour_spaces.with_outside`.
        notes: What a user should know of how the file was read.
    """

    pixels: NDArray[Any]
    domain: Domain
    format: str = ""
    path: Path | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    outside: NDArray[np.floating[Any]] | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        types = {"linear": ("float32",), "display": ("uint8", "uint16")}
        if self.domain not in types:
            raise ImageError(self.path, f"domain {self.domain!r} is neither 'linear' nor 'display'")
        allowed, found = types[self.domain], self.pixels.dtype.name
        if found not in allowed:
            raise ImageError(self.path, f"{self.domain} pixels are {' or '.join(allowed)}, these are {found}")
        if self.pixels.ndim != 3 or self.pixels.shape[2] not in (1, 3) or 0 in self.pixels.shape:
            raise ImageError(self.path, f"pixels are [H, W, 3] or [H, W, 1], not {list(self.pixels.shape)}")

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.pixels, dtype=dtype, copy=copy)

    @property
    def shape(self) -> tuple[int, ...]:
        """Height, width, channels."""
        return self.pixels.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the pixels: float32, uint8 or uint16."""
        return self.pixels.dtype


@dataclass(frozen=True)
class ImageInfo:
    """What an image file's header says.

    Attributes:
        height: Rows of the image as `read_image` returns it (turned upright, display window).
        width: Its columns.
        format: As in `Image`.
        domain: As in `Image`.
    """

    height: int
    width: int
    format: str
    domain: Domain


def check_size(path: PathLike, width: int, height: int, max_pixels: int) -> None:
    """Refuses a size that is not positive or above `max_pixels`, before anything is allocated for it."""
    if width < 1 or height < 1:
        raise ImageError(path, f"its header declares {width} × {height} pixels")
    if width * height > max_pixels:
        raise ImageError(
            path,
            f"its header declares {width} × {height} pixels, the limit is {max_pixels}: "
            "raise max_pixels if the file is genuine",
        )


def check_density(path: PathLike, width: int, height: int, length: int) -> None:
    """Refuse a file that packs more pixels into its bytes than any image of a real scene."""
    if width * height > FREE_PIXELS + PIXELS_PER_BYTE * length:
        found = f"declares {width} × {height} pixels in {length} bytes"
        raise ImageError(path, f"{found}: it is truncated or no image")


def as_rgb(pixels: NDArray[Any]) -> NDArray[Any]:
    """[H, W, 1] or [H, W, 3] -> [H, W, 3], grey replicated."""
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels


def turn_upright(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Applies an Exif (or TIFF) orientation 1..8 to [H, W, C]; any other number counts as 1."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def printable(text: str) -> str:
    """Write line breaks and bytes that are no text, which names of files may hold, as escapes."""
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)


def _check_name(path: PathLike) -> None:
    if "\0" in os.fspath(path):
        raise ImageError(path, "has a null byte in its name")


def is_utf8(name: str) -> bool:
    """Say whether a name of a file has a form in UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


@contextmanager
def open_regular(path: PathLike) -> Iterator[BinaryIO]:
    """Opens a regular file for reading; anything else (a folder, a pipe) is an error at once."""
    _check_name(path)
    try:
        with open(path, "rb", opener=_open_regular) as file:
            yield file
    except OSError as error:
        raise ImageError(path, error.strerror or str(error)) from error


def _open_regular(path: str, flags: int) -> int:
    # Without O_NONBLOCK, opening a named pipe would wait for a writer.
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "is not a regular file")


@contextmanager
def replacing_image(path: Path) -> Iterator[Path]:
    """Yield a temporary path as `hdrlab.io.atomic.replacing` does, and tell of the disk as of the image."""
    try:
        with atomic.replacing(path) as temporary:
            yield temporary
    except OSError as error:
        raise ImageError(path, f"cannot be written: {error.strerror or error}") from error
