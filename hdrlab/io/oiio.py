"""The few steps of OpenImageIO that the format modules share, with every error brought to light."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrlab.errors import ImageError
from hdrlab.io.image import check_size, is_utf8

# Rows decoded at a time: a file that breaks off early has then cost little memory, whatever it declares.
_STRIP = 512
_STEP = 1 << 20

TIME_CODE = "smpte:TimeCode"
"""The entry of OpenEXR's ``timeCode``, by OpenImageIO's name."""


@contextmanager
def opened(path: Path, expected_format: str, *, raw_color: bool = False) -> Iterator[Any]:
    """Opens a file with OpenImageIO's reader for `expected_format` and yields its ImageInput.

    Args:
        path: The file.
        expected_format: OpenImageIO's name.
        raw_color: Whether samples that are no RGB (inks, CIELAB) come as they are.
    """
    import OpenImageIO as oiio

    config = oiio.ImageSpec()
    config.attribute("oiio:UnassociatedAlpha", 1)  # or colours come back multiplied by alpha
    config.attribute("oiio:RawColor", int(raw_color))
    try:
        with named_in_utf8(path) as name:
            source = oiio.ImageInput.open(name, config)
            if source is None:
                raise ImageError(path, first_line(oiio.geterror()) or "is damaged")
            try:
                if source.format_name() != expected_format:
                    raise ImageError(path, f"begins like {expected_format} but holds no such image")
                yield source
            finally:
                source.close()
    except UnicodeError as error:
        raise ImageError(path, "a name in its header is not valid UTF-8") from error


def check_spec(path: Path, spec: Any, max_pixels: int) -> None:
    """Refuses a header whose image or tiles are empty or above `max_pixels`."""
    check_size(path, spec.width, spec.height, max_pixels)
    if spec.tile_width or spec.tile_height:
        check_size(path, spec.tile_width, spec.tile_height, max_pixels)


def attributes(spec: Any) -> dict[str, Any]:
    """The header entries, without those that are not valid UTF-8."""
    entries = {}
    for attribute in spec.extra_attribs:
        with suppress(UnicodeError):
            entries[attribute.name] = attribute.value
    return entries


def read_rows(path: Path, source: Any, channels: Sequence[int], dtype: str) -> NDArray[Any]:
    """Decodes the given channels of the current part -> [H, W, len(channels)] of numpy type `dtype`."""
    spec = source.spec()
    left, top = spec.x, spec.y
    right, bottom = left + spec.width, top + spec.height
    pixels = np.empty((spec.height, spec.width, len(channels)), dtype)
    wanted = {"float16": "half", "float32": "float", "float64": "double"}.get(dtype, dtype)
    consecutive = list(channels) == list(range(channels[0], channels[0] + len(channels)))
    spans = [list(channels)] if consecutive else [[channel] for channel in channels]
    step = spec.tile_height or _STRIP
    for y in range(top, bottom, step):
        end = min(y + step, bottom)
        for index, span in enumerate(spans):
            first, last = span[0], span[-1] + 1
            if spec.tile_width:
                block = source.read_tiles(left, right, y, end, spec.z, spec.z + 1, first, last, wanted)
            else:
                block = source.read_scanlines(y, end, spec.z, first, last, wanted)
            if block is None or source.has_error:
                reason = first_line(source.geterror()) or "cannot be decoded"
                raise ImageError(path, f"rows {y - top} to {end - top - 1} of {spec.height}: {reason}")
            target = slice(None) if consecutive else slice(index, index + 1)
            pixels[y - top : end - top, :, target] = block.reshape(end - y, spec.width, len(span))
    return pixels


def write(
    path: Path,
    file_format: str,
    pixels: NDArray[Any],
    stored_type: str,
    attributes: Mapping[str, Any],
    channel_names: Sequence[str] = (),
) -> None:
    """Writes [H, W, C] as `stored_type` (half, float, uint8, uint16) in OpenImageIO's `file_format`.

    Attributes are text, numbers, fractions, bytes (empty ones are left out) and tuples of integers or floats;
    `TIME_CODE` is a time code's number.
    """
    import OpenImageIO as oiio

    height, width, channels = pixels.shape
    spec = oiio.ImageSpec(width, height, channels, stored_type)
    try:
        if channel_names:
            spec.channelnames = tuple(channel_names)
        # Without an entry OpenImageIO writes the time: the same image would not give the same file.
        for key, value in {"DateTime": "", **attributes}.items():
            if isinstance(value, bytes):
                if value:
                    spec.attribute(key, f"uint8[{len(value)}]", np.frombuffer(value, np.uint8))
            elif isinstance(value, tuple):
                kind = "int" if all(isinstance(one, int) for one in value) else "float"
                spec.attribute(key, f"{kind}[{len(value)}]", value)
            elif isinstance(value, Fraction):
                spec.attribute(key, "rational", (value.numerator, value.denominator))
            elif key == TIME_CODE and isinstance(value, int):
                spec.attribute(key, "timecode", (value, 0))
            else:
                spec.attribute(key, value)
        target = oiio.ImageOutput.create(file_format)
        if target is None:
            raise ImageError(path, f"cannot be written: this build of OpenImageIO has no {file_format}")
        with named_in_utf8(path) as name:
            done = target.open(name, spec) and target.write_image(np.ascontiguousarray(pixels))
            # Closing flushes, so only then is it known whether everything arrived.
            done = target.close() and done
    except UnicodeError as error:
        raise ImageError(path, "a metadata entry is not valid Unicode") from error
    if not done:
        _raise_what_the_disk_says(path)
        raise ImageError(path, f"cannot be written: {first_line(target.geterror())}")


def require_whole(path: Path, file_format: str) -> None:
    """Decode an image that was just written: what closing could not flush, OpenImageIO reports as success.

    Raises:
        OSError: It is not whole.
    """
    try:
        with opened(path, file_format) as source:
            spec = source.spec()
            bottom = spec.y + spec.height
            for y in range(spec.y, bottom, _STRIP):
                end = min(y + _STRIP, bottom)
                rows = source.read_scanlines(y, end, 0, 0, spec.nchannels, str(spec.format))
                if rows is None or source.has_error:
                    raise ImageError(path, first_line(source.geterror()))
    except ImageError as error:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error


def _raise_what_the_disk_says(path: Path) -> None:
    """Write to a file that a library has failed to write: its own message seldom says that the disk is full.

    Raises:
        OSError: The disk refuses.
    """
    with path.open("ab") as file:
        file.write(bytes(_STEP))
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def named_in_utf8(path: Path) -> Iterator[str]:
    """Yield a name of a file that libraries take: its own, or by a link where that is no UTF-8."""
    if is_utf8(str(path)):
        yield str(path)
        return
    with tempfile.TemporaryDirectory() as folder:
        is_there = path.exists()
        link = Path(folder, "link" + (path.suffix if is_utf8(path.suffix) else ""))
        link.symlink_to(path.absolute() if is_there else path.parent.absolute())
        yield str(link if is_there else link / path.name)


def first_line(message: str) -> str:
    """OpenImageIO joins one message per failed chunk; the first says it."""
    return message.strip().split("\n")[0]
