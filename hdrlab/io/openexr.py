"""OpenEXR images (.exr), through OpenImageIO; those with sub-sampled channels through OpenEXR."""

from __future__ import annotations

import importlib.util
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrlab.errors import ImageError
from hdrlab.io import oiio
from hdrlab.io.image import Image, ImageInfo, as_rgb, check_size
from hdrlab.ops.colour_spaces import (
    ACES2065_1,
    REC709,
    SPACES,
    XYZ,
    Primaries,
    conversion,
    convert,
    to_xyz,
)

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
BEAUTY_NAMES = (
    "composite",
    "combined",
    "beauty",
    "rgba",
    "rgb",
    "final",
    "main",
    "image",
    "default",
    "color",
    "colour",
)
"""Names of layers, the last component alone, that are the image itself; the first that is there counts."""

_TELLING = ("composite", "combined", "beauty")
"""Those of which a word among others is enough, as in rgb_beauty."""

VIEWS = frozenset({"left", "right", "center"})
"""Names of parts that are the same image for either eye; the first one counts."""

_KINDS = {
    "rgb": ("r", "g", "b"),
    "long": ("red", "green", "blue"),
    "yc": ("y", "ry", "by"),
    "xyz": ("x", "y", "z"),
}
"""Channels that make colours; "yc" is luminance and chroma, "xyz" CIE XYZ unless a layer's name precedes."""

_HALF_MAX = 65504.0
_MOST_PARTS, _MOST_LISTED = 1000, 20
_FREE_BYTES, _BYTES_PER_BYTE = 1 << 28, 8192  # DWA, the densest coding, shrinks a flat image about so much
_CHUNK_OVERHEAD = 12  # an offset of 8 bytes and a size of 4 are there even for a chunk of no bytes


@dataclass(frozen=True)
class _Layer:
    """Colour channels that belong together.

    Attributes:
        part: Number of the part they lie in.
        prefix: What stands before the names of the channels, without the dot.
        part_name: Name of the part, of those files that have several.
        channels: Their numbers: three of a kind, or one.
        kind: A key of `_KINDS`, or "grey".
    """

    part: int
    prefix: str
    part_name: str
    channels: tuple[int, ...]
    kind: str = "grey"

    @property
    def name(self) -> str:
        """What ``layer=`` calls it."""
        return self.prefix or self.part_name or {"grey": "Y", "long": "RGB"}.get(self.kind, self.kind.upper())

    @property
    def rank(self) -> int:
        """Place of its name among those that programs give to the image itself."""
        last = self.name.lower().rpartition(".")[2]
        if last in BEAUTY_NAMES:
            return BEAUTY_NAMES.index(last)
        words = re.split(r"[^a-z]+", last)
        named = [BEAUTY_NAMES.index(word) for word in words if word in _TELLING]
        return len(BEAUTY_NAMES) + min(named, default=len(BEAUTY_NAMES))


def probe(path: Path) -> ImageInfo:
    """Reads the header only; the size is that of the display window."""
    try:
        with oiio.opened(path, "openexr") as source:
            _select(path, source, None)
            spec = source.spec()
    except ImageError as error:
        spec = _sampled_spec(path, error)
    return ImageInfo(spec.full_height, spec.full_width, "exr", "linear")


def read(path: Path, max_pixels: int, *, layer: str | None = None) -> Image:
    """Reads the image among the layers and parts of a file: what a person would open.

    That is R, G, B without a prefix; else the layer called Combined, beauty or RGBA (see `BEAUTY_NAMES`);
    else the only one; else luminance and chroma (Y, RY, BY), or X, Y, Z without a prefix; else the only
    channel, replicated to RGB. The result is the display window; where no data lies it is 0. Alpha and
    further channels are dropped (metadata `channels_dropped`). Colours become Rec. 709 by the header's
    chromaticities and adoptedNeutral; whiteLuminance stays a metadata entry. Deep data are refused.

    Args:
        path: The file.
        max_pixels: More are refused.
        layer: A layer's or part's name, or the last component of one.
    """
    try:
        with oiio.opened(path, "openexr") as source:
            chosen, notes = _select(path, source, layer)
            spec = source.spec()
            check_size(path, spec.full_width, spec.full_height, max_pixels)
            oiio.check_spec(path, spec, max_pixels)
            _check_file_length(path, spec)
            channels = list(chosen.channels)
            data = oiio.read_rows(path, source, channels, _stored_type(path, spec, channels))
    except ImageError as error:
        spec, notes = _sampled_spec(path, error), ()
        check_size(path, spec.full_width, spec.full_height, max_pixels)
        oiio.check_spec(path, spec, max_pixels)
        _check_file_length(path, spec)
        layers = list(_layers(0, spec, False))
        chosen = _only_layer(path, [spec], layers) if layer is None else _named_layer(path, layers, layer)
        data = _read_sampled(path, spec, chosen.channels)
    names = spec.channelnames
    metadata = oiio.attributes(spec)
    metadata["channels"] = tuple(names[channel] for channel in chosen.channels)
    metadata["channels_dropped"] = tuple(name for name in names if name not in metadata["channels"])
    pixels = as_rgb(_place(data.astype(np.float32, copy=False), spec))
    if chosen.kind != "grey":
        converted = _to_rec709(path, pixels, chosen.kind, metadata)
        metadata["converted"], pixels = converted is not pixels, converted
    return Image(pixels, "linear", "exr", path, metadata, notes=notes)


def write(
    path: Path,
    pixels: NDArray[np.float32],
    metadata: Mapping[str, Any],
    layers: Mapping[str, NDArray[Any]],
    *,
    half: bool,
    compression: str,
    colorspace: str,
) -> None:
    """Writes linear pixels, their chromaticities, and `layers` as channels `<layer>.R` and so on.

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
            raise ImageError(path, f"layer {name!r} is {list(layer.shape)}, the image {list(pixels.shape)}")
        names += _channel_names(f"{name}.", layer)
        planes.append(layer)
    stacked = np.concatenate(planes, axis=2) if layers else pixels
    attributes = {key: _as_attribute(value) for key, value in metadata.items()}
    attributes["compression"] = compression
    attributes["chromaticities"] = tuple(SPACES[colorspace])
    stored = "half" if half and _fits_half(stacked) else "float"
    oiio.write(path, "openexr", stacked, stored, attributes, names)
    oiio.require_whole(path, "openexr")


def _fits_half(pixels: NDArray[np.float32]) -> bool:
    parts = (np.abs(pixels[row : row + 256]) for row in range(0, len(pixels), 256))
    return not any(np.any(np.isfinite(part) & (part > _HALF_MAX)) for part in parts)


def _as_attribute(value: Any) -> Any:
    """OpenEXR's integers have 32 bits; larger ones become text."""
    return str(value) if isinstance(value, int) and not -(2**31) <= value < 2**31 else value


def _channel_names(prefix: str, pixels: NDArray[Any]) -> list[str]:
    return [prefix + channel for channel in ("RGB" if pixels.shape[2] == 3 else "Y")]


def _to_rec709(
    path: Path, pixels: NDArray[np.float32], kind: str, metadata: Mapping[str, Any]
) -> NDArray[np.float32]:
    """Convert what the channels hold by the header's chromaticities and adoptedNeutral."""
    chromaticities, neutral = metadata.get("chromaticities"), metadata.get("adoptedNeutral")
    try:
        unsaid = ACES2065_1 if metadata.get("acesImageContainerFlag") == 1 else REC709
        source = unsaid if chromaticities is None else Primaries.of(chromaticities)
        white = None if neutral is None else (float(neutral[0]), float(neutral[1]))
        matrix = conversion(XYZ if kind == "xyz" else source, REC709, neutral=white)
        weights = to_xyz(source)[1].astype(np.float32)
    except (TypeError, ValueError, LookupError) as error:
        raise ImageError(path, f"its colours cannot be converted: {error}") from error
    light: NDArray[np.float32] = convert(_from_chroma(pixels, weights) if kind == "yc" else pixels, matrix)
    return light


def _from_chroma(pixels: NDArray[np.float32], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """From luminance Y, (R − Y) / Y and (B − Y) / Y to R, G, B."""
    light = np.empty_like(pixels)
    luminance = pixels[..., 0]
    light[..., 0] = (pixels[..., 1] + 1) * luminance
    light[..., 2] = (pixels[..., 2] + 1) * luminance
    light[..., 1] = (luminance - light[..., 0] * weights[0] - light[..., 2] * weights[2]) / weights[1]
    return light


def _select(path: Path, source: Any, wanted: str | None) -> tuple[_Layer, tuple[str, ...]]:
    """Seek the part of the layer to read; return the layer, and a note if there were several images."""
    parts: list[Any] = []
    while len(parts) < _MOST_PARTS and source.seek_subimage(len(parts), 0):
        parts.append(source.spec())
    source.geterror()  # the error of seeking past the last part
    layers = [layer for number, spec in enumerate(parts) for layer in _layers(number, spec, len(parts) > 1)]
    chosen = _only_layer(path, parts, layers) if wanted is None else _named_layer(path, layers, wanted)
    if parts[chosen.part].deep:
        raise ImageError(path, "holds deep data, which is unsupported: flatten it first")
    source.seek_subimage(chosen.part, 0)
    images = [layer for layer in layers if len(layer.channels) == 3]
    if wanted is not None or len(images) < 2:
        return chosen, ()
    return chosen, (f"holds the layers {_listed(images)}; took {chosen.name}, layer= chooses another",)


def _only_layer(path: Path, parts: Sequence[Any], layers: Sequence[_Layer]) -> _Layer:
    coloured = [layer for layer in layers if len(layer.channels) == 3]
    images = [layer for layer in coloured if layer.kind in ("rgb", "long")] or coloured
    plain = [layer for layer in images if not layer.prefix]
    for candidates in (plain, images):
        named = min(candidates, key=lambda layer: layer.rank, default=None)
        if named and named.rank < 2 * len(BEAUTY_NAMES):
            return named
    if candidates := plain or images:
        views = {layer.name.lower().rpartition(".")[2] for layer in candidates}
        if len(candidates) > 1 and not views <= VIEWS:
            raise ImageError(path, f"holds the layers {_listed(images)}: choose with layer=")
        return candidates[0]
    for number, spec in enumerate(parts):
        if channels := _grey_channel(spec.channelnames):
            return _Layer(number, "", "", tuple(channels))
    found = "; ".join(", ".join(spec.channelnames) for spec in parts)
    raise ImageError(path, f"has neither R, G, B nor a single channel, but {found[:200]}")


def _named_layer(path: Path, layers: Sequence[_Layer], wanted: str) -> _Layer:
    key = wanted.lower().strip(".")
    exact = [layer for layer in layers if key in (layer.name.lower(), layer.part_name.lower())]
    last = [layer for layer in layers if layer.name.lower().rpartition(".")[2] == key]
    if exact:
        return exact[0]
    if len(last) == 1:
        return last[0]
    problem = "is several of" if last else "is none of"
    raise ImageError(path, f"layer={wanted} {problem} its layers {_listed(layers) or '(it has none)'}")


def _listed(layers: Sequence[_Layer]) -> str:
    names = list(dict.fromkeys(layer.name for layer in layers))
    more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
    return ", ".join(names[:_MOST_LISTED]) + more


def _layers(part: int, spec: Any, named: bool) -> Iterator[_Layer]:
    """Find what could be an image: in each layer red, green and blue, else luminance or the only channel."""
    part_name = spec.get_string_attribute("oiio:subimagename") if named else ""
    grouped: dict[str, dict[str, int]] = {}
    for number, name in enumerate(spec.channelnames):
        prefix, _, base = name.rpartition(".")
        grouped.setdefault(prefix, {}).setdefault(base.lower(), number)
    for prefix, bases in grouped.items():
        for kind, wanted in _KINDS.items():
            is_vector = kind == "xyz" and prefix
            if all(base in bases for base in wanted) and not is_vector:
                yield _Layer(part, prefix, part_name, tuple(bases[base] for base in wanted), kind)
                break
        else:
            if "y" in bases and not {"x", "ry", "by"} & set(bases):
                yield _Layer(part, prefix, part_name, (bases["y"],))
                continue
            colour = [number for base, number in bases.items() if base not in ("a", "alpha")]
            if len(colour) == 1:
                yield _Layer(part, prefix, part_name, (colour[0],))


def _grey_channel(names: Sequence[str]) -> list[int]:
    lower = [name.lower() for name in names]
    colour = [number for number, name in enumerate(lower) if name not in ("a", "alpha")]
    if "y" in lower and not {"x", "ry", "by"} & set(lower):
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


def _sampled_spec(path: Path, error: ImageError) -> Any:
    """Read by OpenEXR itself the header of a file that OpenImageIO refuses for its sub-sampled channels.

    Raises:
        ImageError: It was refused for another reason, or OpenEXR is missing, or the file is damaged.
    """
    # OpenImageIO says so only where the file's suffix is .exr.
    if not any(text in error.reason for text in ("Subsampled", "find a format reader")):
        raise error
    if importlib.util.find_spec("OpenEXR") is None:
        what = "is damaged, or has sub-sampled channels, which need an extra"
        raise ImageError(path, f"{what}: pip install 'hdrlab[exr]'") from error
    import OpenImageIO

    header, _ = _open_sampled(path, header_only=True)
    try:
        names = [channel.name for channel in header["channels"]]
    except UnicodeError as unreadable:
        raise ImageError(path, "a name in its header is not valid UTF-8") from unreadable
    if all((channel.xSampling, channel.ySampling) == (1, 1) for channel in header["channels"]):
        raise error
    spec = OpenImageIO.ImageSpec(1, 1, len(names), "float")
    spec.channelnames = tuple(names)
    for prefix, window in (("", "dataWindow"), ("full_", "displayWindow")):
        (left, top), (right, bottom) = (tuple(map(int, corner)) for corner in header[window])
        extent = {"x": left, "y": top, "width": right - left + 1, "height": bottom - top + 1}
        for name, value in extent.items():
            setattr(spec, prefix + name, value)
    for name, value in header.items():
        if name in ("chromaticities", "adoptedNeutral"):
            numbers = tuple(map(float, np.ravel(value)))
            spec.attribute(name, f"float[{len(numbers)}]", numbers)
        elif isinstance(value, (str, float)):
            spec.attribute(name, value)
    return spec


def _read_sampled(path: Path, spec: Any, numbers: Sequence[int]) -> NDArray[np.float32]:
    """Read channels [H, W, len(numbers)], those that are sub-sampled interpolated linearly."""
    _, channels = _open_sampled(path, header_only=False)
    planes = []
    for number in numbers:
        channel = channels[spec.channelnames[number]]
        plane = np.asarray(channel.pixels, np.float32)
        for axis, (length, step) in enumerate(
            ((spec.height, channel.ySampling), (spec.width, channel.xSampling))
        ):
            plane = _interpolated(plane, axis, length, step)
        planes.append(plane)
    return np.stack(planes, axis=2)


def _interpolated(plane: NDArray[np.float32], axis: int, length: int, step: int) -> NDArray[np.float32]:
    """Interpolate samples that stand at every step-th place, the first at 0; the last one goes on."""
    if step == 1:
        return plane
    place = np.minimum(np.arange(length) / step, plane.shape[axis] - 1).astype(np.float32)
    below = place.astype(np.intp)
    share = np.expand_dims(place - below, 1 - axis)
    above = np.minimum(below + 1, plane.shape[axis] - 1)
    full: NDArray[np.float32] = plane.take(below, axis) * (1 - share) + plane.take(above, axis) * share
    return full


def _open_sampled(path: Path, *, header_only: bool) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    import OpenEXR

    try:
        with (
            oiio.named_in_utf8(path) as name,
            OpenEXR.File(name, separate_channels=True, header_only=header_only) as file,
        ):
            if len(file.parts) != 1:
                several = "has sub-sampled channels in several parts, which is unsupported"
                raise ImageError(path, several if file.parts else "is truncated or damaged")
            return dict(file.header()), dict(file.channels())  # closing empties them
    except (RuntimeError, ValueError, TypeError) as error:
        raise ImageError(path, f"is damaged: {oiio.first_line(str(error))}") from error


def _check_file_length(path: Path, spec: Any) -> None:
    compression = spec.get_string_attribute("compression").split(":")[0]
    chunks = math.ceil(spec.height / (spec.tile_height or COMPRESSIONS.get(compression, 256)))
    length = path.stat().st_size
    if length < chunks * _CHUNK_OVERHEAD:
        raise ImageError(path, f"is truncated: {spec.height} rows do not fit in {length} bytes")
    shown = 12 * spec.full_width * spec.full_height
    for declared in (spec.width * spec.height * spec.pixel_bytes(True), shown):
        if declared > _FREE_BYTES + _BYTES_PER_BYTE * length:
            raise ImageError(path, f"is truncated or no image: {length} bytes for {declared} of pixels")


def _place(data: NDArray[np.float32], spec: Any) -> NDArray[np.float32]:
    """Data window -> display window."""
    left, top = spec.x - spec.full_x, spec.y - spec.full_y
    if (left, top, spec.width, spec.height) == (0, 0, spec.full_width, spec.full_height):
        return data
    image = np.zeros((spec.full_height, spec.full_width, data.shape[2]), np.float32)
    rows = slice(max(top, 0), max(min(top + spec.height, spec.full_height), 0))
    columns = slice(max(left, 0), max(min(left + spec.width, spec.full_width), 0))
    visible = data[max(-top, 0) : max(rows.stop - top, 0), max(-left, 0) : max(columns.stop - left, 0)]
    image[rows, columns] = visible
    return image
