"""Ultra HDR images: a JPEG that any viewer shows, and behind it a gain map that turns it into HDR.

A file is JPEG images one after the other. The first, the base, names the others: in an MPF index, and in XMP
as container items. One of them holds a gain map, and in Adobe's XMP or in ISO 21496-1's binary form how it is
coded. Linear 1 is the base's white in both images.

Source: Ultra HDR Image Format v1.1 (Android), ISO 21496-1:2025, Adobe's Gain Map Specification 1.0, CIPA
DC-007 (MPF).
"""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from hdrlab.errors import ImageError
from hdrlab.io import ldr
from hdrlab.io.atomic import write_bytes
from hdrlab.io.colour_profiles import SRGB, Encoding, ProfileError, build_profile, from_icc, to_display
from hdrlab.io.exif import MAKER_NOTE, Exif, ExifError, read_directory
from hdrlab.io.gain_maps import (
    HDRGM,
    ISO_VERSION,
    AppleCoding,
    GainMapCoding,
    GainMapError,
    apple_headroom,
    apply_gain_map,
    from_iso,
    from_xmp,
    make_gain_map,
    to_iso,
    to_xmp,
)
from hdrlab.io.image import (
    DEFAULT_MAX_PIXELS,
    Image,
    PathLike,
    as_rgb,
    check_density,
    check_size,
    open_regular,
    turn_upright,
)
from hdrlab.io.jpeg_segments import (
    APP0,
    APP1,
    APP2,
    COM,
    EXIF,
    ICC,
    ISO_GAIN_MAP,
    MOST_BYTES,
    MPF,
    XMP,
    Segment,
    end_of_image,
    first_named,
    icc_profile,
    icc_segments,
    read_segments,
    with_segments,
)
from hdrlab.io.metadata import PhotoMetadata, joined_segments
from hdrlab.io.xmp import RDF, add_properties, empty_xmp, pack_xmp, parse_xmp
from hdrlab.ops.colour_spaces import DIFFUSE_WHITE, REC709, convert, to_xyz

MAX_SIDE = 65_500  # JPEG's limit
MOST_OF_BASE = 1.5
"""What the whole file may take of the base's size."""

SHRINK = {"full": 1, "half": 2, "quarter": 4}
"""By how much a gain map is smaller than its base."""

QUALITIES = (98, 95, 90, 85, 80, 70, 60, 50)
"""Of the gain map: the best that fits."""

_APP14 = 0xEE
_CONTAINER = "http://ns.google.com/photos/1.0/container/"
_ITEM = "http://ns.google.com/photos/1.0/container/item/"
_MOST_IMAGES = 16
_KINDS = {"II*\0": "<", "MM\0*": ">"}

Coding = GainMapCoding | AppleCoding


# ------------------------------------------------------------------------------------------------ reading


@dataclass(frozen=True, eq=False)
class _Parts:
    """The two images of a file, not decoded."""

    base: bytes
    gain_map: bytes
    coding: Coding


def has_gain_map(path: PathLike) -> bool:
    """Say whether a file is an Ultra HDR image, as far as its metadata tell.

    Raises:
        ImageError: It cannot be opened.
    """
    path = Path(path)
    with open_regular(path) as file:
        if file.read(3) != b"\xff\xd8\xff":
            return False
        file.seek(0)
        data = file.read()
    try:
        return bool(_find(path, data))
    except ImageError:
        return False


def read_ultrahdr(path: PathLike, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Image:
    """Read the HDR image of an Ultra HDR JPEG, upright.

    Returns:
        Linear Rec. 709 [H, W, 3], 1 = the base's white; values below 0 are colours outside of Rec. 709. The
        metadata hold the gain map's coding.

    Raises:
        ImageError: The file is damaged, or no Ultra HDR image.
    """
    path = Path(path)
    with open_regular(path) as file:
        data = file.read()
    parts = _find(path, data)
    base, orientation, encoding = _decode(path, parts.base, max_pixels)
    samples, _, of_gain_map = _decode(path, parts.gain_map, max_pixels)
    if np.ptp(samples, axis=2).max() == 0:
        samples = samples[..., :1]
    coding = _with_headroom(parts.coding, parts.base)
    space = encoding.matrix
    light = _linear(base, encoding)
    if not coding.use_base_space and first_named(read_segments(parts.gain_map), ICC):
        light = convert(light, np.linalg.inv(of_gain_map.matrix) @ space)
        space = of_gain_map.matrix
    hdr = convert(apply_gain_map(light, samples, coding), space)
    metadata = {"whiteLuminance": DIFFUSE_WHITE, "colour": encoding.name, **asdict(coding)}
    return Image(turn_upright(hdr, orientation), "linear", "ultrahdr", path, metadata)


def _find(path: Path, data: bytes) -> _Parts:
    """Find the gain map among the images of a file.

    Raises:
        ImageError: There is none, or its metadata are damaged.
    """
    if not data.startswith(b"\xff\xd8\xff"):
        raise ImageError(path, "is no JPEG")
    end = end_of_image(data)
    places, misplaced = list(_places(data, end)), False
    damage = ""
    for start in dict.fromkeys(places):
        gain_map = data[start:]
        if not gain_map.startswith(b"\xff\xd8\xff"):
            misplaced = True
            continue
        try:
            coding = _coding(read_segments(gain_map))
        except GainMapError as error:
            damage = f"its gain map has {error}"
            continue
        if coding is not None:
            return _Parts(data[:end], gain_map, coding)
    if damage or misplaced:
        raise ImageError(path, damage or "is truncated or damaged: its gain map is not where its index says")
    raise ImageError(path, "is no Ultra HDR image: no gain map follows its base")


def _places(data: bytes, end: int) -> Iterator[int]:
    """Yield where the base says that other images begin, and where some do."""
    for segment in read_segments(data):
        if segment.is_named(MPF):
            yield from (
                segment.place + len(MPF) + offset for offset in _mpf_offsets(segment.content[len(MPF) :])
            )
    place = end
    for _ in range(_MOST_IMAGES):
        place = data.find(b"\xff\xd8\xff", place)
        if place < 0:
            return
        yield place
        place = max(end_of_image(data, place), place + 1)


def _mpf_offsets(index: bytes) -> list[int]:
    """Read from an MPF index, of either byte order, where its images but the first begin."""
    order = _KINDS.get(index[:4].decode("latin-1"))
    if order is None or len(index) < 8:
        return []
    (start,) = struct.unpack_from(f"{order}I", index, 4)
    tags = read_directory(index, start, "<" if order == "<" else ">")
    entries = tags[0xB002].data if 0xB002 in tags else b""
    found = [
        struct.unpack_from(f"{order}III", entries, at) for at in range(0, min(len(entries), 1024) - 15, 16)
    ]
    return [offset for _, _, offset in found if offset]


def _coding(segments: Sequence[Segment]) -> Coding | None:
    """Read how a gain map is coded: by the standard's metadata, or by Adobe's."""
    iso = first_named(segments, ISO_GAIN_MAP)
    packet = first_named(segments, XMP)
    if iso is not None and len(iso) > len(ISO_VERSION):
        try:
            return from_iso(iso)
        except GainMapError:
            if packet is None:
                raise
    return None if packet is None else from_xmp(packet)


def _with_headroom(coding: Coding, base: bytes) -> Coding:
    if not isinstance(coding, AppleCoding) or coding.headroom is not None:
        return coding
    numbers: dict[int, float] = {}
    if block := first_named(read_segments(base), EXIF):
        try:
            notes = Exif.parse(block).details.get(MAKER_NOTE)
        except ExifError:
            notes = None
        if notes is not None and notes.data.startswith(b"Apple iOS\0"):
            tags = read_directory(notes.data, 14, ">")
            numbers = {tag: value.numbers()[0] for tag, value in tags.items() if value.numbers()}
    return replace(coding, headroom=apple_headroom(numbers))


def _decode(path: Path, data: bytes, max_pixels: int) -> tuple[NDArray[np.uint8], int, Encoding]:
    """Decode a JPEG as it is stored: samples [H, W, 3], its orientation, and what the samples mean."""
    from PIL import JpegImagePlugin

    try:
        image = JpegImagePlugin.JpegImageFile(io.BytesIO(data))
        check_size(path, *image.size, max_pixels)
        check_density(path, *image.size, len(data))
        samples = ldr.samples8(image)
        orientation = ldr.orientation_of(image)
        said = ldr.statements(image, samples.shape[2], 8, b"")
        encoding = next((found for found in map(_stated, said) if found), SRGB)
        if samples.shape[2] == 4:
            raise ImageError(path, "its base holds ink (CMYK), which has no HDR image")
        if encoding.tables:
            samples, _, _ = to_display(samples, encoding)
            encoding = SRGB
    except ProfileError as error:
        raise ImageError(path, f"holds {error}") from error
    except ImageError:
        raise
    except ldr.PILLOW_ERRORS as error:
        raise ImageError(path, f"is a damaged JPEG: {error}") from error
    return as_rgb(samples), orientation, encoding


def _stated(state: Any) -> Encoding | None:
    try:
        encoding: Encoding | None = state()
    except ProfileError:
        return None
    return encoding


def _linear(samples: NDArray[np.uint8], encoding: Encoding) -> NDArray[np.float32]:
    """Turn samples into light of the file's primaries, 1 = white."""
    levels = np.arange(256) / 255
    table = encoding.curve(np.repeat(levels[:, None], 3, axis=1)).astype(np.float32)
    if encoding.hdr:
        table /= np.float32(DIFFUSE_WHITE)
    light = np.empty(samples.shape, np.float32)
    for channel in range(3):
        light[..., channel] = table[samples[..., channel], channel]
    return light


# ------------------------------------------------------------------------------------------------ writing


@dataclass(frozen=True, eq=False)
class Base:
    """What ordinary viewers are to see.

    Attributes:
        jpeg: An upright JPEG.
        has_profile: Whether the colours are said by a profile, not by Exif.
    """

    jpeg: bytes
    has_profile: bool = True

    @classmethod
    def of_pixels(cls, pixels: NDArray[np.uint8], colorspace: str = "rec709", quality: int = 95) -> Base:
        """Encode display-encoded pixels [H, W, 3] of a space of `hdrlab.ops.colour_spaces.SPACES`."""
        return cls(_encode(pixels, quality, build_profile(colorspace, "srgb")))

    @classmethod
    def of_photograph(cls, path: PathLike, max_pixels: int = DEFAULT_MAX_PIXELS) -> Base | None:
        """Take a photograph as it is: its own bytes if it is an upright JPEG, else its samples turned.

        Returns:
            The base, with the colours of the photograph; None where it is no JPEG that a base can be.

        Raises:
            ImageError: It is damaged.
        """
        path = Path(path)
        with open_regular(path) as file:
            if file.read(3) != b"\xff\xd8\xff":
                return None
            file.seek(0)
            data = file.read()
        data = data[: end_of_image(data)]
        samples, orientation, encoding = _decode(path, data, max_pixels)
        profile = _profile_of(data)
        if encoding.hdr or (encoding is SRGB and profile):
            return None  # HDR, or by a profile that cannot be applied exactly
        if orientation == 1:
            return cls(data, bool(profile))
        return cls(_encode(turn_upright(samples, orientation), 95, profile), bool(profile))


def _profile_of(data: bytes) -> bytes:
    from PIL import JpegImagePlugin

    profile = JpegImagePlugin.JpegImageFile(io.BytesIO(data)).info.get("icc_profile")
    try:
        return profile if profile and not from_icc(profile, 3).tables else b""
    except ProfileError:
        return b""


def write_ultrahdr(
    path: PathLike,
    hdr: NDArray[np.float32],
    base: NDArray[np.uint8] | Base,
    *,
    shrink: int = 2,
    channels: int = 1,
    quality: int = 95,
    metadata: Mapping[str, Any] | None = None,
    photo: PhotoMetadata | None = None,
) -> GainMapCoding:
    """Write an HDR image and its display-encoded rendition as one Ultra HDR JPEG, whole or not at all.

    Args:
        path: The file.
        hdr: Linear Rec. 709 [H, W, 3], 1 = the base's white; below 0 are colours outside of it.
        base: The image as ordinary viewers show it, sRGB [H, W, 3]; or a `Base`.
        shrink: By how much the gain map is smaller than the base: 1, 2 or 4.
        channels: Of the gain map: 1 for brightness only, 3.
        quality: Of the base, 1..100, where it is given as pixels.
        metadata: Stored as JSON in the base's comment.
        photo: What is known of the photograph, see `hdrlab.io.metadata`.

    Returns:
        How the gain map was coded.

    Raises:
        ImageError: The pixels do not suit the format, or the disk refuses.
    """
    path = Path(path)
    _check_suits(path, hdr, base, quality)
    whole = base if isinstance(base, Base) else Base.of_pixels(base, quality=quality)
    samples, _, encoding = _decode(path, whole.jpeg, DEFAULT_MAX_PIXELS)
    if samples.shape != hdr.shape:
        raise ImageError(path, f"the base has {list(samples.shape)} pixels, the image {list(hdr.shape)}")
    light = _linear(samples, encoding)
    same = np.array_equal(encoding.matrix, np.eye(3))
    inverse: NDArray[np.float64] = np.linalg.inv(encoding.matrix).astype(np.float64)
    native = hdr if same else convert(hdr, inverse).astype(np.float32)
    weights = (to_xyz(REC709) @ encoding.matrix)[1].astype(np.float32) if channels == 1 else None
    gain_map, coding = make_gain_map(native, light, shrink=shrink, weights=weights)
    photo = photo or PhotoMetadata(Exif())
    # A base of a few kilobytes is no larger than what the format needs beside the pixels: then the best.
    for quality in (*QUALITIES, QUALITIES[0]):
        packed = _joined(
            whole, photo, _comment(metadata), _coded_gain_map(_encode(gain_map, quality), coding)
        )
        if len(packed) <= MOST_OF_BASE * len(whole.jpeg):
            break
    _write(path, packed)
    return coding


def _write(path: Path, packed: bytes) -> None:
    try:
        write_bytes(path, packed)
    except OSError as error:
        raise ImageError(path, f"cannot be written: {error.strerror or error}") from error


def _comment(metadata: Mapping[str, Any] | None) -> bytes:
    return json.dumps(dict(metadata)).encode() if metadata else b""


def rewrite_ultrahdr(
    path: PathLike,
    source: PathLike,
    *,
    metadata: Mapping[str, Any] | None = None,
    photo: PhotoMetadata | None = None,
) -> bool:
    """Write an Ultra HDR photograph anew with its own gain map, upright, whole or not at all.

    Base and gain map keep their bytes where they are upright already; how the gain map is coded is said in
    XMP and by ISO 21496-1, whichever of them the photograph had.

    Args:
        path: The file.
        source: The photograph.
        metadata: Stored as JSON in the base's comment.
        photo: What is known of the photograph, see `hdrlab.io.metadata`.

    Returns:
        Whether it was written: not where the coding has no such form (Apple's older one), or the base's
        colours have none.

    Raises:
        ImageError: The photograph is damaged, or no Ultra HDR image, or the disk refuses.
    """
    path, source = Path(path), Path(source)
    base = Base.of_photograph(source)
    with open_regular(source) as file:
        parts = _find(source, file.read())
    if base is None or isinstance(parts.coding, AppleCoding):
        return False
    gain_map = parts.gain_map[: end_of_image(parts.gain_map)]
    samples, _, _ = _decode(source, gain_map, DEFAULT_MAX_PIXELS)
    _, orientation, _ = _decode(source, parts.base, DEFAULT_MAX_PIXELS)
    profile = icc_profile(read_segments(gain_map)) or b""
    if orientation != 1:
        grey = np.ptp(samples, axis=2).max() == 0
        gain_map = _encode(turn_upright(samples[..., :1] if grey else samples, orientation), 98)
    packed = _coded_gain_map(gain_map, parts.coding, icc_segments(profile))
    _write(path, _joined(base, photo or PhotoMetadata(Exif()), _comment(metadata), packed))
    return True


def _check_suits(path: Path, hdr: NDArray[Any], base: NDArray[Any] | Base, quality: int) -> None:
    if hdr.ndim != 3 or hdr.shape[2] != 3:
        raise ImageError(path, f"Ultra HDR holds [H, W, 3], not {list(hdr.shape)}")
    if not isinstance(base, Base) and (hdr.shape != base.shape or base.dtype != np.uint8):
        given = f"{base.dtype} {list(base.shape)} for an image {list(hdr.shape)}"
        raise ImageError(path, f"the base must be uint8 and as large as the image [H, W, 3], not {given}")
    if not np.isfinite(hdr).all():
        raise ImageError(path, "Ultra HDR holds finite values: clean the image or write .exr")
    if max(hdr.shape) > MAX_SIDE:
        raise ImageError(path, f"JPEG holds at most {MAX_SIDE} rows and columns: write .exr")
    if not 1 <= quality <= 100:
        raise ImageError(path, f"JPEG quality {quality} is not in 1..100")


def _encode(pixels: NDArray[np.uint8], quality: int, profile: bytes = b"") -> bytes:
    from PIL import Image as PillowImage

    image = PillowImage.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    settings: dict[str, Any] = {"quality": quality, "subsampling": 0, "icc_profile": profile or None}
    for optimize in (True, False):
        stream = io.BytesIO()
        try:
            image.save(stream, "JPEG", **settings, optimize=optimize)
            break
        except OSError:  # Pillow's buffer for the tables of an optimised file is too small for noise
            if not optimize:
                raise
    return stream.getvalue()


def _coded_gain_map(jpeg: bytes, coding: GainMapCoding, more: Sequence[Segment] = ()) -> bytes:
    """Say in a gain map, and in nothing else of its application segments, how it is coded."""
    root = empty_xmp()
    add_properties(root, HDRGM, "hdrgm", to_xmp(coding))
    own = [one for one in read_segments(jpeg) if one.marker in (APP0, _APP14)]
    said = [Segment(APP1, XMP + pack_xmp(root)), Segment(APP2, ISO_GAIN_MAP + to_iso(coding))]
    return with_segments(jpeg, [*own, *said, *more])


def _joined(base: Base, photo: PhotoMetadata, comment: bytes, gain_map: bytes) -> bytes:
    """Lay out the file; the MPF index counts from behind its mark, and its own length matters."""
    own = read_segments(base.jpeg)
    kept = [one for one in own if one.marker in (APP0, _APP14) or one.is_named(ICC)]
    said = [one for one in _segments_of(base, photo, own) if not one.is_named(XMP)]
    said.append(Segment(APP1, XMP + _container(photo.packet(), len(gain_map))))
    more = [Segment(APP2, ISO_GAIN_MAP + ISO_VERSION), Segment(APP2, MPF + _mpf(0, 0, 0))]
    more += [Segment(COM, comment)] if comment and len(comment) <= MOST_BYTES else []
    blank = with_segments(base.jpeg, [*joined_segments(kept, said), *more])
    origin = next(one.place for one in read_segments(blank) if one.is_named(MPF)) + len(MPF)
    more[1] = Segment(APP2, MPF + _mpf(len(blank), len(gain_map), len(blank) - origin))
    return with_segments(base.jpeg, [*joined_segments(kept, said), *more]) + gain_map


def _segments_of(base: Base, photo: PhotoMetadata, own: Sequence[Segment]) -> list[Segment]:
    """Return the segments of the photograph's metadata; what Exif alone says of the colours stays."""
    if base.has_profile:
        return photo.segments()
    block = first_named(own, EXIF)
    if block is None:
        return photo.segments()
    try:
        exif = Exif.parse(block).colours()
    except ExifError:
        return photo.segments()
    mine = photo.exif.descriptive()
    merged = Exif(
        exif.order,
        {**mine.in_order(exif.order).main, **exif.main},
        {**mine.in_order(exif.order).details, **exif.details},
        mine.in_order(exif.order).gps,
        exif.interop,
    )
    return replace(photo, exif=merged).segments(colours=True)


def _container(packet: bytes, length: int) -> bytes:
    """Add to a photograph's XMP that a gain map of some bytes follows; alone where both do not fit."""
    roots = [parse_xmp(packet)] if packet else []
    for root in (*roots, empty_xmp()):
        node = add_properties(root, HDRGM, "hdrgm", {"Version": "1.0"})
        ElementTree.register_namespace("Container", _CONTAINER)
        ElementTree.register_namespace("Item", _ITEM)
        directory = ElementTree.SubElement(node, f"{{{_CONTAINER}}}Directory")
        sequence = ElementTree.SubElement(directory, f"{{{RDF}}}Seq")
        for item in ({"Semantic": "Primary"}, {"Semantic": "GainMap", "Length": str(length)}):
            holder = ElementTree.SubElement(sequence, f"{{{RDF}}}li", {f"{{{RDF}}}parseType": "Resource"})
            said = {f"{{{_ITEM}}}{name}": value for name, value in (item | {"Mime": "image/jpeg"}).items()}
            ElementTree.SubElement(holder, f"{{{_CONTAINER}}}Item", said)
        packed = pack_xmp(root)
        if len(XMP + packed) <= MOST_BYTES:
            break
    return packed


def _mpf(base_length: int, gain_map_length: int, gain_map_offset: int) -> bytes:
    """An index of two images: big-endian TIFF with version, number of images and their entries."""
    directory = 8
    entries = directory + 2 + 3 * 12 + 4
    return (
        struct.pack(">2sHI", b"MM", 42, directory)
        + struct.pack(">H", 3)
        + struct.pack(">HHI4s", 0xB000, 7, 4, b"0100")
        + struct.pack(">HHII", 0xB001, 4, 1, 2)
        + struct.pack(">HHII", 0xB002, 7, 32, entries)
        + struct.pack(">I", 0)
        + struct.pack(">IIIHH", 0x030000, base_length, 0, 0, 0)  # the representative image
        + struct.pack(">IIIHH", 0, gain_map_length, gain_map_offset, 0, 0)
    )
