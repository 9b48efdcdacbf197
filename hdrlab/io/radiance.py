"""Radiance images (.hdr): RGBE and XYZE pixels, flat or in either run-length coding.

Source: G. Ward, "Real Pixels", Graphics Gems II, 1991, and the file format notes of Radiance.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrlab.errors import ImageError, __version__
from hdrlab.io.image import Image, ImageInfo, as_rgb, check_density, check_size, open_regular
from hdrlab.ops.colour_spaces import REC709, SPACES, XYZ, Primaries, conversion, convert

_HEADER_LIMIT = 1 << 16
_RLE_WIDTHS = range(8, 1 << 15)
_RESOLUTION = re.compile(rb"([+-])([XY]) +(\d{1,18}) +([+-])([XY]) +(\d{1,18})\s*")
_RESERVED_KEYS = frozenset({"FORMAT", "EXPOSURE", "COLORCORR", "PRIMARIES", "PIXASPECT", "VIEW"})
_RUN = re.compile(rb"(.)\1\1\1\1{0,123}", re.DOTALL)  # as (.)\1{3,126}, twice as fast

# Value of mantissa 1 for each exponent byte; an exponent byte of 0 means black.
_UNIT: NDArray[np.float32] = np.ldexp(1.0, np.arange(256) - 136).astype(np.float32)
_UNIT[0] = 0.0
_BRIGHTEST = 255.0 * 2.0**119


@dataclass(frozen=True)
class _Header:
    """A parsed header; scanlines run along the second axis that the resolution line names."""

    num_scanlines: int
    length: int
    column_major: bool
    flip_x: bool
    flip_y: bool
    is_xyz: bool
    exposure: NDArray[np.float64]
    primaries: Primaries
    entries: dict[str, str]
    data_start: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the upright image."""
        if self.column_major:
            return self.num_scanlines, self.length
        return self.length, self.num_scanlines


def probe(path: Path) -> ImageInfo:
    """Reads the header only."""
    with open_regular(path) as file:
        width, height = _parse_header(path, file.read(_HEADER_LIMIT)).size
    return ImageInfo(height, width, "hdr", "linear")


def read(path: Path, max_pixels: int) -> Image:
    """Reads a Radiance image as true radiance: stored value divided by every EXPOSURE and COLORCORR.

    A mantissa m with exponent byte e stands for m · 2^(e−136), as in nearly all image libraries; Radiance
    itself adds half a step. PRIMARIES, without which Rec. 709 is meant, and XYZE pixels become Rec. 709.
    """
    with open_regular(path) as file:
        header = _parse_header(path, file.read(_HEADER_LIMIT))
        check_size(path, *header.size, max_pixels)
        check_density(path, *header.size, os.fstat(file.fileno()).st_size)
        file.seek(header.data_start)
        # No coding needs more than 8 bytes a pixel, so a long tail of rubbish is never read.
        data = file.read(header.num_scanlines * (8 * header.length + 4))
    rgbe = _decode(path, data, header)
    pixels = rgbe[..., :3] * _UNIT[rgbe[..., 3:]]
    if np.any(header.exposure != 1.0):
        with np.errstate(over="ignore"):
            pixels /= header.exposure.astype(np.float32)
    light = convert(pixels, conversion(XYZ if header.is_xyz else header.primaries))
    metadata = {**header.entries, "converted": light is not pixels}
    return Image(_upright(light, header), "linear", "hdr", path, metadata)


def write(path: Path, pixels: NDArray[np.float32], metadata: Mapping[str, Any], *, colorspace: str) -> None:
    """Writes [H, W, 1 or 3] linear pixels as run-length coded RGBE, each mantissa rounded to nearest.

    Negative values become 0, and values above 255 · 2^119 that number: RGBE holds neither.
    """
    if not np.isfinite(pixels).all():
        raise ImageError(path, "RGBE cannot hold NaN or infinity: clean the image or write .exr")
    height, width, _ = pixels.shape
    primaries = " ".join(f"{value:g}" for value in SPACES[colorspace])
    lines = ["#?RADIANCE", f"SOFTWARE=hdrlab {__version__}", f"PRIMARIES={primaries}"]
    for key, value in metadata.items():
        line = f"{key}={value}"
        if key.upper() in _RESERVED_KEYS or key.startswith("#") or not line.isprintable():
            raise ImageError(path, f"metadata entry {line!r} does not fit in a Radiance header")
        lines.append(line)
    lines.append("FORMAT=32-bit_rle_rgbe")  # readers that copy Bruce Walter's want the blank line behind it
    rgbe = _encode(as_rgb(pixels))
    with open(path, "wb") as file:
        file.write("\n".join([*lines, "", f"-Y {height} +X {width}", ""]).encode())
        if width not in _RLE_WIDTHS:
            file.write(rgbe.tobytes())
            return
        marker = bytes((2, 2, width >> 8, width & 255))
        for planes in rgbe.transpose(0, 2, 1):
            file.write(marker + b"".join(_compress(plane.tobytes()) for plane in planes))


def _parse_header(path: Path, data: bytes) -> _Header:
    end = re.search(rb"\n\r?\n", data)
    if not data.startswith(b"#?") or end is None:
        raise ImageError(path, f"has no complete Radiance header in its first {_HEADER_LIMIT} bytes")
    entries, exposure, primaries = _parse_entries(path, data[: end.start()])
    layout = {"32-bit_rle_rgbe": False, "32-bit_rle_xyze": True}
    if entries.get("FORMAT") not in layout:
        found = f"says FORMAT={entries['FORMAT'][:40]}" if "FORMAT" in entries else "has no FORMAT"
        raise ImageError(path, f"its header {found}; known are {' and '.join(layout)}")
    line_end = data.find(b"\n", end.end())
    line = data[end.end() : line_end if line_end >= 0 else end.end()]
    resolution = _RESOLUTION.fullmatch(line)
    if resolution is None or resolution[2] == resolution[5]:
        raise ImageError(path, f"resolution line {line[:60]!r} is not of the form '-Y 480 +X 640'")
    signs = {resolution[2]: resolution[1], resolution[5]: resolution[4]}
    return _Header(
        num_scanlines=int(resolution[3]),
        length=int(resolution[6]),
        column_major=resolution[2] == b"X",
        flip_x=signs[b"X"] == b"-",
        flip_y=signs[b"Y"] == b"+",
        is_xyz=layout[entries["FORMAT"]],
        exposure=exposure,
        primaries=primaries,
        entries=entries,
        data_start=line_end + 1,
    )


def _parse_entries(path: Path, header: bytes) -> tuple[dict[str, str], NDArray[np.float64], Primaries]:
    """Header variables, what the stored values were multiplied by in each channel, and the primaries.

    Variables begin a line: those that a blank or tab precedes are the history of images that went into this.
    """
    entries: dict[str, str] = {}
    exposure = np.ones(3)
    primaries = REC709
    for line in header.decode("utf-8", "replace").split("\n")[1:]:
        key, equals, value = line.partition("=")
        value = value.strip()
        if not equals or key.startswith("#") or key[:1].isspace():
            continue
        entries[key] = value
        if key in ("EXPOSURE", "COLORCORR"):
            exposure *= _parse_numbers(path, key, value, 1 if key == "EXPOSURE" else 3, positive=True)
        elif key == "PRIMARIES":
            primaries = Primaries.of(_parse_numbers(path, key, value, 8))
    try:
        conversion(primaries)
    except ValueError as error:
        raise ImageError(path, f"its header's PRIMARIES cannot be used: {error}") from error
    return entries, exposure, primaries


def _parse_numbers(
    path: Path, key: str, value: str, count: int, *, positive: bool = False
) -> NDArray[np.float64]:
    try:
        numbers = np.array([float(word) for word in value.split()])
    except ValueError:
        numbers = np.zeros(0)
    if numbers.size != count or not np.isfinite(numbers).all() or (positive and not np.all(numbers > 0)):
        wanted = "a positive number" if positive else f"{count} numbers"
        raise ImageError(path, f"its header says {key}={value[:80]}, which is not {wanted}")
    return numbers


def _decode(path: Path, data: bytes, header: _Header) -> NDArray[np.uint8]:
    """-> [scanlines, length, 4] bytes in file order."""
    # The shortest scanline is one pixel, or one pixel and a run.
    if 4 * header.num_scanlines > len(data):
        raise ImageError(
            path, f"declares {header.num_scanlines} scanlines but ends before scanline {len(data) // 4}"
        )
    rgbe = np.empty((header.num_scanlines, header.length, 4), np.uint8)
    position = 0
    for index, scanline in enumerate(rgbe):
        marker = data[position : position + 4]
        try:
            if header.length in _RLE_WIDTHS and marker[:2] == b"\2\2" and marker[2] < 128:
                if int.from_bytes(marker[2:]) != header.length:
                    raise _ScanlineError("has a length of its own")
                position = _decode_planes(data, position + 4, scanline)
            else:
                position = _decode_pixels(data, position, scanline)
        except IndexError as error:
            raise ImageError(path, f"is truncated in scanline {index} of {header.num_scanlines}") from error
        except _ScanlineError as error:
            raise ImageError(path, f"scanline {index} of {header.num_scanlines} {error}") from error
    return rgbe


class _ScanlineError(ValueError):
    """Damage inside one scanline; `_decode` adds which."""


def _decode_planes(data: bytes, position: int, scanline: NDArray[np.uint8]) -> int:
    """Fills a scanline whose four components are run-length coded one after the other."""
    length = len(scanline)
    parts = []
    for _ in range(4):
        filled = 0
        while filled < length:
            count = data[position]
            if count > 128:
                count -= 128
                parts.append(data[position + 1 : position + 2] * count)
                position += 2
            elif count:
                parts.append(data[position + 1 : position + 1 + count])
                position += count + 1
            else:
                raise _ScanlineError("has a run of length 0")
            filled += count
        if filled > length:
            raise _ScanlineError("has a run that passes its end")
    if position > len(data):
        raise IndexError
    scanline[:] = np.frombuffer(b"".join(parts), np.uint8).reshape(4, length).T
    return position


def _decode_pixels(data: bytes, position: int, scanline: NDArray[np.uint8]) -> int:
    """Fills a scanline of plain pixels, where (1, 1, 1, n) repeats the pixel before it n times."""
    length = len(scanline)
    available = np.frombuffer(data, np.uint8, min(length, (len(data) - position) // 4) * 4, position)
    pixels = available.reshape(-1, 4)
    runs = np.flatnonzero((pixels[:, :3] == 1).all(axis=1))
    if not runs.size:
        if len(pixels) < length:
            raise IndexError
        scanline[:] = pixels
        return position + 4 * length
    filled = source = shift = 0
    for run in runs:
        literal = min(int(run) - source, length - filled)
        scanline[filled : filled + literal] = pixels[source : source + literal]
        filled, source, shift = filled + literal, source + literal, 0 if literal else shift
        if filled == length:
            return position + 4 * source
        if not filled:
            raise _ScanlineError("begins with a run")
        # Runs that follow one another are the digits, low first, of one long run.
        count = int(pixels[run, 3]) << shift
        if count > length - filled:
            raise _ScanlineError("has a run that passes its end")
        scanline[filled : filled + count] = scanline[filled - 1]
        filled, source, shift = filled + count, source + 1, shift + 8
    literal = length - filled
    if len(pixels) - source < literal:
        raise IndexError
    scanline[filled:] = pixels[source : source + literal]
    return position + 4 * (source + literal)


def _upright(pixels: NDArray[np.float32], header: _Header) -> NDArray[np.float32]:
    if header.column_major:
        pixels = pixels.swapaxes(0, 1)
    if header.flip_x:
        pixels = pixels[:, ::-1]
    if header.flip_y:
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _encode(pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
    """[H, W, 3] linear -> [H, W, 4] RGBE; the largest mantissa of a pixel lies in 128..255."""
    pixels = np.clip(pixels, 0.0, _BRIGHTEST)
    brightest = pixels.max(axis=2, keepdims=True)
    exponent = np.frexp(brightest)[1]
    rgbe = np.empty((*pixels.shape[:2], 4), np.uint8)
    # 255 for 255.5 and above: the next exponent would cost the other channels a bit.
    rgbe[..., :3] = np.minimum(np.rint(np.ldexp(pixels, 8 - exponent)), 255)
    rgbe[..., 3:] = exponent + 128
    rgbe[(brightest == 0)[..., 0] | (exponent <= -128)[..., 0]] = 0
    return rgbe


def _compress(values: bytes) -> bytes:
    """Run-length codes one component of one scanline."""
    parts = []
    start = 0
    for run in _RUN.finditer(values):
        parts.append(_literals(values[start : run.start()]))
        parts.append(bytes((128 + run.end() - run.start(), values[run.start()])))
        start = run.end()
    parts.append(_literals(values[start:]))
    return b"".join(parts)


def _literals(values: bytes) -> bytes:
    chunks = (values[start : start + 128] for start in range(0, len(values), 128))
    return b"".join(bytes((len(chunk),)) + chunk for chunk in chunks)
