"""OpenEXR pictures (.exr), through OpenImageIO."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrlab.io import oiio
from hdrlab.io.image import Image, ImageError, ImageInfo, as_rgb, check_size

# Rows that each compression packs into one chunk.
COMPRESSIONS = {
    "none": 1,
    "rle": 1,
    "zips": 1,
    "zip": 16,
    "pxr24": 16,
    "piz": 32,
    "b44": 32,
    "b44a": 32,
    "dwaa": 32,
    "dwab": 256,
}
_HALF_MAX = 65504.0
_CHUNK_OVERHEAD = 12  # an offset of 8 bytes and a size of 4 are there even for a chunk of no bytes


def probe(path: Path) -> ImageInfo:
    """Reads the header only; the size is that of the display window."""
    with oiio.opened(path, "openexr") as source:
        _select_part(path, source)
        spec = source.spec()
        return ImageInfo(spec.full_height, spec.full_width, "exr", "linear")


def read(path: Path, max_pixels: int) -> Image:
    """Reads the first part that has RGB, else the first with one colour channel (replicated to RGB).

    The picture is the display window; where no data lies it is 0. Alpha and further channels are dropped
    (metadata `channels_dropped`). Deep data and sub-sampled chroma are refused.
    """
    with oiio.opened(path, "openexr") as source:
        channels = _select_part(path, source)
        spec = source.spec()
        check_size(path, spec.full_width, spec.full_height, max_pixels)
        oiio.check_spec(path, spec, max_pixels)
        _check_file_length(path, spec)
        data = oiio.read_rows(path, source, channels, _stored_type(path, spec, channels))
    names = spec.channelnames
    metadata = oiio.attributes(spec)
    metadata["channels"] = tuple(names[channel] for channel in channels)
    metadata["channels_dropped"] = tuple(name for name in names if name not in metadata["channels"])
    return Image(as_rgb(_place(data.astype(np.float32, copy=False), spec)), "linear", "exr", path, metadata)


def write(
    path: Path,
    pixels: NDArray[np.float32],
    metadata: Mapping[str, Any],
    layers: Mapping[str, NDArray[Any]],
    *,
    half: bool,
    compression: str,
) -> None:
    """Writes linear pixels, and `layers` beside them as channels `<layer>.R` and so on.

    Half precision is given up for the whole file when a finite value does not fit in it.
    """
    if compression not in COMPRESSIONS:
        raise ImageError(path, f"compression {compression!r} is not one of {', '.join(COMPRESSIONS)}")
    names, planes = _channel_names("", pixels), [pixels]
    for name, layer in layers.items():
        layer = np.asarray(layer, np.float32)
        if layer.ndim == 2:
            layer = layer[..., None]
        if layer.ndim != 3 or layer.shape[:2] != pixels.shape[:2] or layer.shape[2] not in (1, 3):
            raise ImageError(path, f"layer {name!r} is {list(layer.shape)}, the picture {list(pixels.shape)}")
        names += _channel_names(f"{name}.", layer)
        planes.append(layer)
    stacked = np.concatenate(planes, axis=2)
    fits_half = not np.any(np.isfinite(stacked) & (np.abs(stacked) > _HALF_MAX))
    attributes = {key: _as_attribute(value) for key, value in metadata.items()}
    attributes["compression"] = compression
    stored = "half" if half and fits_half else "float"
    oiio.write(path, "openexr", stacked, stored, attributes, names)


def _as_attribute(value: Any) -> Any:
    """OpenEXR's integers have 32 bits; larger ones become text."""
    return str(value) if isinstance(value, int) and not -(2**31) <= value < 2**31 else value


def _channel_names(prefix: str, pixels: NDArray[Any]) -> list[str]:
    return [prefix + channel for channel in ("RGB" if pixels.shape[2] == 3 else "Y")]


def _select_part(path: Path, source: Any) -> list[int]:
    """Seeks the part to read and returns the numbers of its one or three colour channels."""
    parts: list[Any] = []
    while source.seek_subimage(len(parts), 0):
        parts.append(source.spec())
    source.geterror()  # the error of seeking past the last part
    for choose in (_rgb_channels, _grey_channel):
        for number, spec in enumerate(parts):
            channels = choose(spec.channelnames)
            if not channels:
                continue
            if spec.deep:
                raise ImageError(path, "holds deep data, which is unsupported: flatten it first")
            source.seek_subimage(number, 0)
            return channels
    found = "; ".join(", ".join(spec.channelnames) for spec in parts)
    raise ImageError(path, f"has neither R, G, B nor a single channel, but {found[:200]}")


def _rgb_channels(names: Sequence[str]) -> list[int]:
    """R, G, B; failing that, those of the first layer that has all three."""
    index = {name.lower(): number for number, name in reversed(list(enumerate(names)))}
    layers = [name[:-1] for name in index if name.endswith(".r")]
    for prefix in ("", *sorted(layers, key=lambda layer: index[f"{layer}r"])):
        wanted = [prefix + channel for channel in "rgb"]
        if all(name in index for name in wanted):
            return [index[name] for name in wanted]
    return []


def _grey_channel(names: Sequence[str]) -> list[int]:
    lower = [name.lower() for name in names]
    colour = [number for number, name in enumerate(lower) if name not in ("a", "alpha")]
    if "y" in lower and not {"ry", "by"} & set(lower):
        return [lower.index("y")]
    return colour if len(colour) == 1 else []


def _stored_type(path: Path, spec: Any, channels: Sequence[int]) -> str:
    """The type to decode to: whole-number channels must not be scaled to [0, 1] on the way."""
    formats = spec.channelformats or [spec.format] * spec.nchannels
    kinds = {str(formats[channel]) for channel in channels}
    if "uint" not in kinds:
        return "float32"
    if len(kinds) > 1:
        raise ImageError(path, f"mixes the channel types {', '.join(sorted(kinds))}, which is unsupported")
    return "uint32"


def _check_file_length(path: Path, spec: Any) -> None:
    compression = spec.get_string_attribute("compression").split(":")[0]
    chunks = math.ceil(spec.height / (spec.tile_height or COMPRESSIONS.get(compression, 256)))
    if path.stat().st_size < chunks * _CHUNK_OVERHEAD:
        raise ImageError(path, f"is truncated: {spec.height} rows do not fit in {path.stat().st_size} bytes")


def _place(data: NDArray[np.float32], spec: Any) -> NDArray[np.float32]:
    """Data window -> display window."""
    left, top = spec.x - spec.full_x, spec.y - spec.full_y
    if (left, top, spec.width, spec.height) == (0, 0, spec.full_width, spec.full_height):
        return data
    picture = np.zeros((spec.full_height, spec.full_width, data.shape[2]), np.float32)
    rows = slice(max(top, 0), max(min(top + spec.height, spec.full_height), 0))
    columns = slice(max(left, 0), max(min(left + spec.width, spec.full_width), 0))
    visible = data[max(-top, 0) : max(rows.stop - top, 0), max(-left, 0) : max(columns.stop - left, 0)]
    picture[rows, columns] = visible
    return picture
