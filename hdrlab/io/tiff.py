"""TIFF images (.tif), through OpenImageIO: float samples are linear, 8 and 16-bit ones display-encoded.

LogLuv files are decoded here, or by OpenCV if they have 24 bits, since OpenImageIO would give 8 bits of them.

Source: TIFF 6.0; G. Ward Larson, "LogLuv Encoding for Full-Gamut, High-Dynamic Range Images", 1998.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from hdrlab.errors import ImageError
from hdrlab.io import oiio
from hdrlab.io.colour_profiles import (
    Encoding,
    Statement,
    build_profile,
    convert_samples,
    domain_of,
    from_exif,
    from_icc,
    from_lab,
    from_primaries,
)
from hdrlab.io.heif import require
from hdrlab.io.image import (
    Domain,
    Image,
    ImageInfo,
    as_rgb,
    check_density,
    check_size,
    open_regular,
    turn_upright,
)
from hdrlab.ops.colour_spaces import REC709, XYZ, Primaries, conversion, convert, linear_curve, to_xyz

_DOMAINS: dict[str, Domain] = {
    "half": "linear",
    "float": "linear",
    "double": "linear",
    "uint8": "display",
    "uint16": "display",
}
_BITS = (8, 16, 32, 64)
_WHITE_IS_ZERO = 0
_INK, _CIELAB, _ICCLAB = 5, 8, 9
_PHOTOMETRICS = {
    0: "white is zero",
    1: "grey",
    2: "RGB",
    3: "palette",
    _INK: "CMYK",
    6: "YCbCr",
    _CIELAB: "CIELAB",
    _ICCLAB: "ICC's CIELAB",
}

# Tags.
_SUBFILE_TYPE, _WIDTH, _HEIGHT, _COMPRESSION, _PHOTOMETRIC, _ORIENTATION = 254, 256, 257, 259, 262, 274
_STRIP_OFFSETS, _ROWS_PER_STRIP, _STRIP_LENGTHS = 273, 278, 279
_TRANSFER, _WHITE, _PRIMARIES, _STONITS = 301, 318, 319, 37439
_EXIF_IFD, _COLOUR_SPACE, _GAMMA, _INTEROP_IFD, _INTEROP_INDEX = 34665, 40961, 42240, 40965, 1
_LOGL, _LOGLUV = 32844, 32845
_SGILOG, _SGILOG24 = 34676, 34677
_TYPES = {
    1: "B",
    2: "s",
    3: "H",
    4: "I",
    5: "II",
    7: "s",
    9: "i",
    10: "ii",
    11: "f",
    12: "d",
    13: "I",
    16: "Q",
}
_MOST_ENTRIES, _MOST_BYTES, _MOST_THUMBNAILS = 4096, 1 << 22, 8


def probe(path: Path) -> ImageInfo:
    """Reads the header only."""
    luv = _logluv_tags(path)
    if luv:
        width, height, orientation = luv[_WIDTH], luv[_HEIGHT], luv.get(_ORIENTATION, 1)
        domain: Domain = "linear"
    else:
        with oiio.opened(path, "tiff", raw_color=_is_raw_color(path)) as source:
            spec = _seek_image(source)
            width, height, orientation = spec.width, spec.height, _orientation(spec)
            domain = domain_of(_statements(path, spec, _profile(oiio.attributes(spec))), _domain(path, spec))
    size = (width, height) if orientation >= 5 else (height, width)
    return ImageInfo(*size, "tiff", domain)


def read(path: Path, max_pixels: int, *, keep_outside: bool = False) -> Image:
    """Reads the first page that is no thumbnail, upright; alpha and further samples are dropped.

    Colours are those of the ICC profile, else of Exif, else of the chromaticities in the header.
    """
    if luv := _logluv_tags(path):
        return _read_logluv(path, luv, max_pixels)
    with oiio.opened(path, "tiff", raw_color=_is_raw_color(path)) as source:
        spec = _seek_image(source)
        oiio.check_spec(path, spec, max_pixels)
        dtype = "float32" if _domain(path, spec) == "linear" else str(spec.format)
        samples = oiio.read_rows(path, source, range(_num_channels(spec)), dtype)
    if _photometric(spec) == _WHITE_IS_ZERO and samples.dtype == np.uint16:
        np.subtract(65535, samples, out=samples)  # which OpenImageIO does for 8 bits only
    metadata = oiio.attributes(spec)
    statements = _statements(path, spec, _profile(metadata))
    samples = turn_upright(samples, _orientation(spec))
    return convert_samples(samples, statements, keep_outside=keep_outside).image(path, "tiff", metadata)


def write(path: Path, pixels: NDArray[Any], *, colorspace: str) -> None:
    """Writes float32 (linear), uint8 or uint16 (display) losslessly."""
    # The predictor for floats would pack better, but tifffile alone cannot undo it.
    attributes: dict[str, Any] = {"compression": "zip", "tiff:predictor": 1}
    linear = pixels.dtype == np.float32
    if pixels.shape[2] == 3:
        attributes["ICCProfile"] = build_profile(colorspace, "linear" if linear else "srgb")
    oiio.write(path, "tiff", pixels, "float" if linear else pixels.dtype.name, attributes)
    oiio.require_whole(path, "tiff")


def _domain(path: Path, spec: Any) -> Domain:
    """The domain by sample type; what OpenImageIO is known to decode wrongly, or to crash on, is refused."""
    bits, stored = spec.get_int_attribute("oiio:BitsPerSample", 8), str(spec.format)
    photometric = _photometric(spec)
    if stored not in _DOMAINS or bits not in _BITS:
        raise ImageError(path, f"holds {bits}-bit {stored} samples: use float, uint8 or uint16")
    if photometric not in _PHOTOMETRICS:
        known = ", ".join(_PHOTOMETRICS.values())
        raise ImageError(path, f"has photometric interpretation {photometric}, known are {known}: use RGB")
    if photometric == _WHITE_IS_ZERO and _DOMAINS[stored] == "linear":
        raise ImageError(path, "holds floats of which 0 is white, which is unsupported: invert them")
    if photometric in (_INK, _CIELAB, _ICCLAB) and _DOMAINS[stored] == "linear":
        raise ImageError(path, f"holds floats of {_PHOTOMETRICS[photometric]}, which is unsupported: use RGB")
    if photometric == _INK and spec.nchannels < 4:
        raise ImageError(path, f"holds {spec.nchannels} inks, which is unsupported: use CMYK or RGB")
    if stored == "double" and spec.tile_width:
        raise ImageError(path, "holds tiles of 64-bit floats, which is unsupported: use strips or 32 bits")
    return _DOMAINS[stored]


def _is_raw_color(path: Path) -> bool:
    with open_regular(path) as file:
        return _read_tags(file, {_PHOTOMETRIC}).get(_PHOTOMETRIC) in (_INK, _CIELAB, _ICCLAB)


def _num_channels(spec: Any) -> int:
    """How many channels are colours: 1, 3 or, of inks, 4."""
    if _photometric(spec) == _INK:
        return 4
    return 3 if spec.nchannels >= 3 else 1


def _photometric(spec: Any) -> int:
    return int(spec.get_int_attribute("tiff:PhotometricInterpretation", 2))


def _orientation(spec: Any) -> int:
    return int(spec.get_int_attribute("Orientation", 1))


# ----------------------------------------------------------------------------------------- the colours


def _profile(metadata: dict[str, Any]) -> bytes:
    """Take the profile, which OpenImageIO hands over with what it makes of it, out of the metadata."""
    profile = metadata.pop("ICCProfile", b"")
    for key in [key for key in metadata if key.startswith("ICCProfile:")]:
        del metadata[key]
    return bytes(profile)


def _statements(path: Path, spec: Any, profile: bytes) -> Iterator[Statement]:
    photometric = _photometric(spec)
    if photometric in (_CIELAB, _ICCLAB):
        encode = _cielab if photometric == _CIELAB else _icc_lab
        yield lambda: from_lab(functools.partial(encode, 8 * spec.format.size()))
        return
    if profile:
        yield lambda: from_icc(profile, _num_channels(spec))
    if photometric != _INK:
        yield lambda: _from_tags(path, _domain(path, spec))


def _cielab(bits: int, samples: NDArray[Any]) -> NDArray[Any]:
    """Give L*, a* and b* of samples in [0, 1] as TIFF codes them: a* and b* as two's complement."""
    chroma = samples[..., 1:] * (255 if bits == 8 else 65535 / 256)
    return np.concatenate([samples[..., :1] * 100, np.where(chroma < 128, chroma, chroma - 256)], axis=-1)


def _icc_lab(bits: int, samples: NDArray[Any]) -> NDArray[Any]:
    """Give them as ICC.1 codes them: a* and b* with 128 added."""
    lightness, chroma = (1.0, 255.0) if bits == 8 else (65535 / 65280, 65535 / 256)
    return np.concatenate([samples[..., :1] * (100 * lightness), samples[..., 1:] * chroma - 128], axis=-1)


def _from_tags(path: Path, domain: Domain) -> Encoding | None:
    with open_regular(path) as file:
        tags = _read_tags(file, {_TRANSFER, _PRIMARIES, _WHITE, _EXIF_IFD})
        details = _read_tags(file, {_COLOUR_SPACE, _GAMMA, _INTEROP_IFD}, tags.get(_EXIF_IFD))
        interop = _read_tags(file, {_INTEROP_INDEX}, details.get(_INTEROP_IFD))
    chromaticities = tags.get(_PRIMARIES), tags.get(_WHITE)
    if domain == "display":
        return from_exif(
            details.get(_COLOUR_SPACE),
            interop.get(_INTEROP_INDEX),
            chromaticities,
            details.get(_GAMMA),
            tags.get(_TRANSFER),
        )
    if None in chromaticities:
        return None
    return from_primaries("primaries of the header", linear_curve, _primaries(chromaticities))


def _primaries(chromaticities: tuple[Any, Any]) -> Primaries:
    try:
        return Primaries.of([value for part in chromaticities for value in part])
    except (TypeError, ValueError):
        return REC709


def _read_tags(file: BinaryIO, wanted: Collection[int], offset: Any = 0) -> dict[int, Any]:
    """Read some tags of a directory: numbers, or tuples of them, or bytes; what is damaged is left out.

    Args:
        file: A TIFF or BigTIFF file.
        wanted: Numbers of the tags.
        offset: Where the directory lies; 0: the first one that is no thumbnail's; None: nowhere.
    """
    file.seek(0)
    head = file.read(16)
    order = "<" if head[:2] == b"II" else ">"
    big = head[2:4] in (b"+\0", b"\0+")
    if offset == 0 and len(head) == 16:
        (offset,) = struct.unpack_from(f"{order}Q" if big else f"{order}I", head, 8 if big else 4)
        offset = _behind_thumbnails(file, order, big, offset)
    if not isinstance(offset, int):
        return {}
    return _read_directory(file, order, big, offset, wanted)[0]


def _behind_thumbnails(file: BinaryIO, order: str, big: bool, first: int) -> int:
    """Return where the first directory lies that is not of reduced resolution; the first one without such."""
    offset = first
    for _ in range(_MOST_THUMBNAILS + 1):
        tags, following = _read_directory(file, order, big, offset, {_SUBFILE_TYPE})
        kind = tags.get(_SUBFILE_TYPE, 0)
        if not (isinstance(kind, int) and kind & 1):
            return offset
        if not following:
            break
        offset = following
    return first


def _read_directory(
    file: BinaryIO, order: str, big: bool, offset: int, wanted: Collection[int]
) -> tuple[dict[int, Any], int]:
    """Read some tags of a directory, and where the next one lies, 0 for nowhere."""
    entry, counter = (f"{order}HHQ8s", "Q") if big else (f"{order}HHI4s", "H")
    tags: dict[int, Any] = {}
    following = 0
    try:
        file.seek(offset)
        (count,) = struct.unpack(order + counter, file.read(struct.calcsize(order + counter)))
        listed = file.read(struct.calcsize(entry) * min(count, _MOST_ENTRIES))
        link = file.read(8 if big else 4)
        for tag, kind, number, value in struct.iter_unpack(entry, listed):
            if tag in wanted and kind in _TYPES:
                tags[tag] = _value(file, order, kind, number, value)
        (following,) = struct.unpack(f"{order}Q" if big else f"{order}I", link)
    except (struct.error, OSError, OverflowError, ValueError):
        pass
    return tags, following


def _seek_image(source: Any) -> Any:
    """Pass over the thumbnails that precede the image, if one follows them; return its header."""
    for number in range(_MOST_THUMBNAILS + 1):
        if not source.seek_subimage(number, 0):
            break
        if not source.spec().get_int_attribute("tiff:subfiletype", 0) & 1:
            return source.spec()
    source.geterror()
    source.seek_subimage(0, 0)
    return source.spec()


def _value(file: BinaryIO, order: str, kind: int, number: int, value: bytes) -> Any:
    code = _TYPES[kind]
    size = struct.calcsize(order + code) * number
    if size > _MOST_BYTES:
        raise ValueError("larger than any tag read here")
    if size > len(value):
        file.seek(int.from_bytes(value, "little" if order == "<" else "big"))
        value = file.read(size)
        if len(value) < size:
            raise ValueError("beyond the end of the file")
    value = value[:size]
    if code == "s":
        return value
    numbers = struct.unpack(order + code[0] * (number * len(code)), value)
    if len(code) == 2:
        numbers = tuple(a / b if b else 0.0 for a, b in zip(numbers[::2], numbers[1::2], strict=True))
    return numbers[0] if len(numbers) == 1 else numbers


# ---------------------------------------------------------------------------------------------- LogLuv


def _logluv_tags(path: Path) -> dict[int, Any]:
    """The tags of a LogLuv file; of any other one none."""
    wanted = {
        _WIDTH,
        _HEIGHT,
        _COMPRESSION,
        _PHOTOMETRIC,
        _ORIENTATION,
        _STRIP_OFFSETS,
        _ROWS_PER_STRIP,
        _STRIP_LENGTHS,
        _WHITE,
        _STONITS,
    }
    with open_regular(path) as file:
        if _read_tags(file, {_PHOTOMETRIC}).get(_PHOTOMETRIC) not in (_LOGL, _LOGLUV):
            return {}
        tags = _read_tags(file, wanted)
    if not all(isinstance(tags.get(tag), int) for tag in (_WIDTH, _HEIGHT)):
        raise ImageError(path, "is a damaged TIFF: it has no size")
    packed = tags.get(_COMPRESSION) in (_SGILOG, _SGILOG24)
    if not packed or _STRIP_OFFSETS not in tags or _STRIP_LENGTHS not in tags:
        raise ImageError(path, "is LogLuv without its compression or in tiles, which is unsupported")
    return tags


def _read_logluv(path: Path, tags: Mapping[int, Any], max_pixels: int) -> Image:
    width, height = tags[_WIDTH], tags[_HEIGHT]
    check_size(path, width, height, max_pixels)
    check_density(path, width, height, path.stat().st_size)
    num_planes = 4 if tags[_PHOTOMETRIC] == _LOGLUV else 2
    if tags[_COMPRESSION] == _SGILOG24:
        pixels = _by_opencv(path, width, height)
    elif num_planes == 4:
        pixels = _light(_words(path, tags, 4))
    else:
        pixels = as_rgb(_luminance(_words(path, tags, 2))[..., None])
    metadata: dict[str, Any] = {"colour": "LogLuv", "converted": num_planes == 4}
    if num_planes == 4:
        white = tags.get(_WHITE)
        neutral = (float(white[0]), float(white[1])) if isinstance(white, tuple) and len(white) == 2 else None
        try:
            pixels = convert(pixels, conversion(XYZ, REC709, neutral=neutral))
        except ValueError as error:
            raise ImageError(path, f"its white point is {white}") from error
    if isinstance(stonits := tags.get(_STONITS), float) and 0 < stonits < np.inf:
        metadata["whiteLuminance"] = stonits
    upright = turn_upright(pixels, tags.get(_ORIENTATION, 1))
    return Image(upright, "linear", "tiff", path, metadata)


def _words(path: Path, tags: Mapping[int, Any], num_planes: int) -> NDArray[np.uint32]:
    """Decode run lengths to words of 32 or 16 bits [H, W]."""
    width, height = tags[_WIDTH], tags[_HEIGHT]
    words = np.zeros((height, width), np.uint32)
    offsets, lengths = _several(tags[_STRIP_OFFSETS]), _several(tags[_STRIP_LENGTHS])
    rows = tags.get(_ROWS_PER_STRIP, height) or height
    if not all(isinstance(number, int) for number in (rows, *offsets, *lengths)):
        raise ImageError(path, "is a damaged TIFF: it does not say where its strips lie")
    with open_regular(path) as file:
        strips = zip(offsets, lengths, strict=False)
        for top, (offset, length) in zip(range(0, height, rows), strips, strict=False):
            file.seek(offset)
            data, place = file.read(min(length, 8 * width * rows * num_planes)), 0
            for y in range(top, min(top + rows, height)):
                try:
                    place = _decode_row(data, place, words[y], num_planes)
                except IndexError as error:
                    raise ImageError(path, f"is truncated in row {y} of {height}") from error
        if len(offsets) * rows < height:
            raise ImageError(path, f"is truncated: {height} rows do not lie in its strips")
    return words


def _by_opencv(path: Path, width: int, height: int) -> NDArray[np.float32]:
    """Decode LogLuv of 24 bits to XYZ [H, W, 3]."""
    require("cv2", path, "LogLuv of 24 bits", "operators")
    import cv2

    with open_regular(path) as file:
        data = file.read()
    if len(data) < 3 * width * height:
        raise ImageError(path, f"is truncated: {width} × {height} pixels do not fit in {len(data)} bytes")
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise ImageError(path, f"is a damaged TIFF: {error}") from error
    if decoded is None or decoded.shape != (height, width, 3):
        raise ImageError(path, "is a damaged TIFF: OpenCV cannot decode it")
    return convert(decoded[..., ::-1].astype(np.float32), to_xyz(REC709))


def _several(value: Any) -> tuple[int, ...]:
    return value if isinstance(value, tuple) else (value,)


def _decode_row(data: bytes, place: int, row: NDArray[np.uint32], num_planes: int) -> int:
    """Fill a row, whose bytes are run-length coded plane by plane, the high ones first."""
    width = len(row)
    for plane in range(num_planes):
        parts, filled = [], 0
        while filled < width:
            count = data[place]
            if count >= 128:
                count -= 126
                parts.append(data[place + 1 : place + 2] * count)
                place += 2
            else:
                parts.append(data[place + 1 : place + 1 + count])
                place += 1 + count
            filled += count
            if place > len(data) or not count:
                raise IndexError
        row |= np.frombuffer(b"".join(parts), np.uint8, width).astype(np.uint32) << (
            8 * (num_planes - 1 - plane)
        )
    return place


def _luminance(words: NDArray[Any]) -> NDArray[np.float32]:
    """From 16 bits, a sign and a logarithm of base 2 in steps of 1/256."""
    exponent = (words & 0x7FFF).astype(np.float32)
    size = np.exp2((exponent + np.float32(0.5)) / 256 - 64)
    return np.where(exponent > 0, np.where(words & 0x8000, -size, size), 0).astype(np.float32)


def _light(words: NDArray[np.uint32]) -> NDArray[np.float32]:
    """From 32 bits, luminance and two chromaticities (u', v') in steps of 1/410, to XYZ."""
    luminance = _luminance(words >> 16)
    u = ((words >> 8 & 255).astype(np.float32) + np.float32(0.5)) / 410
    v = ((words & 255).astype(np.float32) + np.float32(0.5)) / 410
    x = 9 * u / (4 * v) * luminance
    z = (12 - 3 * u - 20 * v) / (4 * v) * luminance
    return np.stack([x, luminance, z], axis=2)
