"""The few steps of OpenImageIO that the format modules share, with every error brought to light."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrlab.io.image import ImageError, check_size

# Rows decoded at a time: a file that breaks off early has then cost little memory, whatever it declares.
_STRIP = 512


@contextmanager
def opened(path: Path, expected_format: str) -> Iterator[Any]:
    """Opens a file with OpenImageIO's reader for `expected_format` and yields its ImageInput."""
    import OpenImageIO as oiio

    config = oiio.ImageSpec()
    config.attribute("oiio:UnassociatedAlpha", 1)  # or colours come back multiplied by alpha
    try:
        source = oiio.ImageInput.open(_utf8(path), config)
        if source is None:
            raise ImageError(path, first_line(oiio.geterror()) or "is damaged")
        try:
            if source.format_name() != expected_format:
                raise ImageError(path, f"begins like {expected_format} but holds no such picture")
            yield source
        finally:
            source.close()
    except UnicodeError as error:
        raise ImageError(path, "its name or a name in its header is not valid UTF-8") from error


def check_spec(path: Path, spec: Any, max_pixels: int) -> None:
    """Refuses a header whose picture or tiles are empty or above `max_pixels`."""
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
    """Writes [H, W, C] as `stored_type` (half, float, uint8, uint16) in OpenImageIO's `file_format`."""
    import OpenImageIO as oiio

    height, width, channels = pixels.shape
    spec = oiio.ImageSpec(width, height, channels, stored_type)
    try:
        if channel_names:
            spec.channelnames = tuple(channel_names)
        # Without an entry OpenImageIO writes the time: the same picture would not give the same file.
        for key, value in {"DateTime": "", **attributes}.items():
            spec.attribute(key, value)
        target = oiio.ImageOutput.create(file_format)
        assert target is not None, file_format
        done = target.open(_utf8(path), spec) and target.write_image(np.ascontiguousarray(pixels))
    except UnicodeError as error:
        raise ImageError(path, "its name or a metadata entry is not valid Unicode") from error
    # Closing flushes, so only now is it known whether everything arrived.
    if not (target.close() and done):
        raise ImageError(path, f"cannot be written: {first_line(target.geterror())}")


def _utf8(path: Path) -> str:
    """The name as OpenImageIO takes it; bytes that Python could not decode raise UnicodeEncodeError."""
    return str(path).encode().decode()


def first_line(message: str) -> str:
    """OpenImageIO joins one message per failed chunk; the first says it."""
    return message.strip().split("\n")[0]
