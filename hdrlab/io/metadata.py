"""Metadata of a photograph: read from any file, kept in every output that can hold it.

That is Exif with GPS, XMP and IPTC. What describes the old file and not the scene stays behind: orientation,
sizes, thumbnails, gain maps, and whatever lies behind the image.

Source: CIPA DC-008 (Exif), ISO 16684-1 (XMP), IPTC-IIM 4.2, PNG third edition, TIFF 6.0, OpenEXR's standard
attributes, Adobe's Photoshop File Formats Specification for image resources.
"""

from __future__ import annotations

import base64
import contextlib
import copy
import io
import json
import mmap
import os
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, Literal
from xml.etree.ElementTree import Element

from hdrlab.io.boxes import item_metadata, jpegxl_metadata
from hdrlab.io.exif import (
    ASCII,
    BYTE,
    DATE_TIME,
    DESCRIPTION,
    IPTC_TAG,
    MAKER_NOTE,
    ORDERS,
    RATIONAL,
    SHORT,
    UNDEFINED,
    USER_COMMENT,
    XMP_TAG,
    Directory,
    Exif,
    ExifError,
    Tag,
)
from hdrlab.io.image import PathLike, open_regular
from hdrlab.io.jpeg_segments import (
    APP0,
    APP1,
    APP13,
    COM,
    EXIF,
    MOST_BYTES,
    PHOTOSHOP,
    XMP,
    Segment,
    first_named,
    read_segments,
    with_segments,
)
from hdrlab.io.xmp import (
    XmpError,
    add_properties,
    empty_xmp,
    find_text,
    is_packet,
    pack_xmp,
    parse_xmp,
    properties,
    remove_properties,
)

ROUND = "is a panorama: its left and right edge are treated as neighbours"
Keeping = Literal["keep", "strip", "no_gps"]

HDRLAB = "https://github.com/hdrlab/hdrlab/1.0/"
GPANO = "http://ns.google.com/photos/1.0/panorama/"
_XMP_OF_THE_FILE = (
    HDRLAB,
    *("http://ns.adobe.com/hdr-gain-map/1.0/", "http://ns.apple.com/", "http://ns.adobe.com/xmp/note/"),
    *(f"http://ns.google.com/photos/1.0/{name}/" for name in ("container", "container/item", "camera")),
    *(f"http://ns.google.com/photos/1.0/{name}/" for name in ("depthmap", "image", "audio")),
)
_NAMES_OF_THE_FILE = frozenset({
    *("Orientation", "ImageWidth", "ImageLength", "PixelXDimension", "PixelYDimension"),
    *("Thumbnails", "ColorSpace", "ICCProfile", "ColorMode", "NativeDigest"),
})  # fmt: skip
_FRACTIONS = frozenset({0x829A, 0x829D, 0x920A, 0x9206})  # of attributes()
_PLACES = ("GPS", "Gps", "Latitude", "Longitude", "Altitude", "LocationShown", "LocationCreated")
_NAMES_OF_PLACES = frozenset({"City", "State", "Country", "CountryCode", "Location"})
_IPTC_PLACES = frozenset({26, 27, 90, 92, 95, 100, 101})
"""Data sets of IPTC's second record that name a place."""

_FUJI_RAW = b"FUJIFILMCCD-RAW"
_IPTC_RESOURCE = b"8BIM\x04\x04"
_PNG_TEXTS = {b"Copyright": 0x8298, b"Author": 0x013B}
_PNG_XMP = b"XML:com.adobe.xmp"
_PNG_IPTC = b"Raw profile type iptc"
_MOST_HEADER = 1 << 20  # bytes of an EXR or Radiance header that are looked at
_MOST_TEXT = 64 << 20


@dataclass(frozen=True, eq=False)
class PhotoMetadata:
    """What is known of a photograph beside its pixels.

    Attributes:
        exif: Its Exif, all of it; empty where there is none.
        xmp: Its XMP packet, or None.
        iptc: Its IPTC records (IIM), as they are.
        notes: What could not be read.
    """

    exif: Exif
    xmp: Element | None = None
    iptc: bytes = b""
    notes: tuple[str, ...] = ()

    def kept(self, keeping: Keeping) -> PhotoMetadata:
        """Return what outputs get: all, nothing, or all but where it was taken.

        That is coordinates and names of places. Maker notes are left out with them: they may hold the place
        in a form of their own.
        """
        if keeping == "strip":
            return PhotoMetadata(Exif())
        if keeping == "keep":
            return self
        details = {tag: value for tag, value in self.exif.details.items() if tag != MAKER_NOTE}
        xmp = self.xmp
        if xmp is not None:
            xmp = copy.deepcopy(xmp)
            remove_properties(xmp, lambda name: _is_place(name.partition("}")[2]))
        exif = replace(self.exif, gps={}, details=details)
        return replace(self, exif=exif, xmp=xmp, iptc=_without_places(self.iptc))

    @property
    def is_panorama(self) -> bool:
        """Whether XMP says that it is equirectangular and goes all the way round."""
        if self.xmp is None or find_text(self.xmp, f"{{{GPANO}}}ProjectionType") != "equirectangular":
            return False
        widths = [
            find_text(self.xmp, f"{{{GPANO}}}{name}WidthPixels") for name in ("FullPano", "CroppedAreaImage")
        ]
        return widths[0] == widths[1] or None in widths

    def packet(self, own: Mapping[str, Any] | None = None) -> bytes:
        """Return the XMP packet for another file, empty where there is nothing to say.

        Args:
            own: What hdrlab says of that file, by name; it becomes properties of a namespace of hdrlab's.
        """
        xmp = empty_xmp() if self.xmp is None else copy.deepcopy(self.xmp)
        remove_properties(
            xmp,
            lambda name: (
                name[1:].startswith(_XMP_OF_THE_FILE) or name.partition("}")[2] in _NAMES_OF_THE_FILE
            ),
        )
        if own:
            xmp = xmp if any(properties(xmp)) else empty_xmp()  # others may have no place for them
            add_properties(xmp, HDRLAB, "hdrlab", {name: str(value) for name, value in own.items()})
        return pack_xmp(xmp) if any(properties(xmp)) else b""

    def exif_block(self, *, colours: bool = False, most: int | None = None) -> bytes:
        """Return the Exif for another file, empty where there is nothing to say.

        Args:
            colours: Whether it may say what the samples mean, as the photograph's did.
            most: Bytes that it may have; maker notes are left out first.
        """
        exif = self.exif.descriptive(colours=colours)
        if not (exif.main or exif.details or exif.gps):
            return b""
        packed = exif.pack()
        if most is not None and len(packed) > most:
            exif.details.pop(MAKER_NOTE, None)
            packed = exif.pack()
        return packed if most is None or len(packed) <= most else b""

    def segments(self, *, colours: bool = False) -> list[Segment]:
        """Return the segments of a JPEG that hold it; what is too long for one is left out."""
        exif = self.exif_block(colours=colours, most=MOST_BYTES - len(EXIF))
        contents = [(APP1, EXIF, exif), (APP1, XMP, self.packet()), (APP13, PHOTOSHOP, self._resource())]
        return [
            Segment(marker, name + content)
            for marker, name, content in contents
            if content and len(name + content) <= MOST_BYTES
        ]

    def _resource(self) -> bytes:
        """The IPTC records as an image resource of Photoshop's."""
        if not self.iptc:
            return b""
        size = struct.pack(">HI", 0, len(self.iptc))
        return _IPTC_RESOURCE + size + self.iptc + bytes(len(self.iptc) % 2)

    def attributes(self) -> dict[str, str | float]:
        """Return what OpenEXR has standard attributes for, and the three that its ``owner`` may stand for."""
        main, details, gps = self.exif.main, self.exif.details, self.exif.gps
        rights, artist, camera_owner = _text(main, 0x8298), _text(main, 0x013B), _text(details, 0xA430)
        found: dict[str, str | float | None] = {
            "capDate": _text(details, 0x9003) or _text(main, DATE_TIME),
            "owner": rights or artist or camera_owner,
            "copyright": rights,
            "artist": artist,
            "cameraOwner": camera_owner,
            "comments": _text(main, DESCRIPTION) or _comment(details.get(USER_COMMENT)),
            "cameraMake": _text(main, 0x010F),
            "cameraModel": _text(main, 0x0110),
            "lensMake": _text(details, 0xA433),
            "lensModel": _text(details, 0xA434),
            "expTime": _number(details, 0x829A),
            "aperture": _number(details, 0x829D),
            "isoSpeed": _number(details, 0x8827),
            "nominalFocalLength": _number(details, 0x920A),
            "focus": _number(details, 0x9206),
            "latitude": _degrees(gps, 1, 2, "S"),
            "longitude": _degrees(gps, 3, 4, "W"),
            "altitude": _altitude(gps),
            "utcOffset": _utc_offset(_text(details, 0x9011)),
        }
        return {name: value for name, value in found.items() if value not in (None, "")}

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any]) -> PhotoMetadata:
        """Make Exif of what `attributes` names, XMP of ``xmp``, and IPTC of ``iptc``, which is base64."""
        texts = {name: value for name, value in attributes.items() if isinstance(value, str) and value}
        if "owner" in texts and texts.keys().isdisjoint({"copyright", "artist", "cameraOwner"}):
            texts["copyright"] = texts["owner"]  # of another program's file
        numbers = {
            name: float(value) for name, value in attributes.items() if isinstance(value, (int, float))
        }
        main = {
            DATE_TIME: "capDate",
            0x8298: "copyright",
            0x013B: "artist",
            DESCRIPTION: "comments",
            0x010F: "cameraMake",
            0x0110: "cameraModel",
        }
        details = {0x9003: "capDate", 0xA433: "lensMake", 0xA434: "lensModel", 0xA430: "cameraOwner"}
        fractions = {0x829A: "expTime", 0x829D: "aperture", 0x920A: "nominalFocalLength", 0x9206: "focus"}
        exif = Exif(
            ">",
            {tag: Tag(ASCII, texts[name].encode() + b"\0") for tag, name in main.items() if name in texts},
            {tag: Tag(ASCII, texts[name].encode() + b"\0") for tag, name in details.items() if name in texts},
        )
        exif.details |= {tag: _rational(numbers[name]) for tag, name in fractions.items() if name in numbers}
        if 0 < numbers.get("isoSpeed", 0) < 65536:
            exif.details[0x8827] = Tag(SHORT, struct.pack(">H", round(numbers["isoSpeed"])))
        for tag, name, signs, most in ((1, "latitude", b"NS", 90), (3, "longitude", b"EW", 180)):
            if abs(numbers.get(name, most + 1)) <= most:
                exif.gps |= _sexagesimal(tag, numbers[name], signs)
        if "altitude" in numbers:
            below = bytes([numbers["altitude"] < 0])
            exif.gps |= {5: Tag(BYTE, below), 6: _rational(abs(numbers["altitude"]))}
        if abs(ahead := -numbers.get("utcOffset", 86400)) < 86400:
            hours, minutes = divmod(round(abs(ahead) / 60), 60)
            text = f"{'-' if ahead < 0 else '+'}{hours:02}:{minutes:02}"
            exif.details[0x9011] = Tag(ASCII, text.encode() + b"\0")
        xmp = None
        if is_packet(texts.get("xmp", "")):
            with contextlib.suppress(XmpError):
                xmp = parse_xmp(texts["xmp"].encode())
        iptc = b""
        with contextlib.suppress(ValueError):
            iptc = base64.b64decode(texts.get("iptc", ""), validate=True)
        return cls(exif, xmp, iptc)


def is_round(photo: PhotoMetadata, shape: tuple[int, ...], asked: bool | None) -> bool:
    """Say whether an image [H, W, C] is to be treated as a panorama that goes all the way round.

    Args:
        photo: What is known of it.
        shape: Its size.
        asked: What the user says; None: what its XMP says, if it is twice as wide as high.
    """
    if asked is not None:
        return asked
    return photo.is_panorama and abs(shape[1] - 2 * shape[0]) <= 2


def read_metadata(path: PathLike) -> PhotoMetadata:
    """Read what a file says of its photograph; what is damaged is left out, with a note.

    Args:
        path: A JPEG, PNG, TIFF, HEIC, AVIF, JPEG XL, OpenEXR, Radiance or raw file (not CR3); others say
            nothing.

    Raises:
        ImageError: The file cannot be opened.
    """
    path = Path(path)
    with open_regular(path) as file:
        head = file.read(16)
        file.seek(0)
        parts = dict(_parts(head, file)) if head else {}
    if "attributes" in parts:
        return PhotoMetadata.from_attributes(parts["attributes"])
    notes = []
    exif, xmp = Exif(), None
    if block := parts.get("exif"):
        try:
            exif = block if isinstance(block, Exif) else Exif.parse(block)
        except ExifError as error:
            notes.append(f"its Exif is left out: {error}")
    for tag, text in parts.get("texts", {}).items():
        exif.main.setdefault(tag, Tag(ASCII, text.encode() + b"\0", exif.order))
    _restore_description(exif)
    packet = parts.get("xmp") or (exif.main[XMP_TAG].data if XMP_TAG in exif.main else b"")
    if packet:
        try:
            xmp = parse_xmp(packet)
        except XmpError as error:
            notes.append(f"its XMP is left out: {error}")
    iptc = parts.get("iptc") or (exif.main[IPTC_TAG].data if IPTC_TAG in exif.main else b"")
    return PhotoMetadata(exif, xmp, bytes(iptc), tuple(notes))


def _restore_description(exif: Exif) -> None:
    """Take the photograph's description out of the JSON that hdrlab's first TIFFs have in its place."""
    text = _text(exif.main, DESCRIPTION)
    try:
        said = json.loads(text) if text.startswith("{") else None
    except (ValueError, RecursionError):
        return
    if not isinstance(said, dict) or not str(said.get("software")).startswith("hdrlab "):
        return
    del exif.main[DESCRIPTION]
    if own := str(said.get("comments", "")):
        exif.main[DESCRIPTION] = Tag(ASCII, own.encode("utf-8", "replace") + b"\0", exif.order)
        _restore_description(exif)  # of a TIFF made of such a TIFF


def _parts(head: bytes, file: BinaryIO) -> Iterator[tuple[str, Any]]:
    """Yield ``exif``, ``xmp`` and ``iptc`` as bytes, or ``attributes``, as far as the file has them."""
    if head.startswith(b"\xff\xd8\xff"):
        segments = read_segments(file.read())
        for name, mark in (("exif", EXIF), ("xmp", XMP)):
            if content := first_named(segments, mark):
                yield name, content
        if content := first_named(segments, PHOTOSHOP):
            yield "iptc", _iptc_of(content)
    elif head.startswith(b"\x89PNG"):
        yield from _png_parts(file)
    elif head.startswith(_FUJI_RAW):  # with the camera's JPEG in it
        file.seek(84)
        file.seek(int.from_bytes(file.read(4)))
        image = file.read(_MOST_HEADER)
        if image.startswith(b"\xff\xd8\xff"):
            yield from _parts(image, io.BytesIO(image))
    elif head[:4] in ORDERS:
        with contextlib.suppress(ValueError, OSError, ExifError):
            yield "exif", _parse_file(file)
    elif head[4:8] == b"ftyp":
        with contextlib.suppress(ValueError):  # reading the pixels says what is wrong
            exif, packet = item_metadata(file)
            yield "exif", exif.removeprefix(EXIF)
            yield "xmp", packet
    elif head.startswith(b"\0\0\0\x0cJXL "):
        with contextlib.suppress(ValueError):
            exif, packet = jpegxl_metadata(file.read())
            yield "exif", exif
            yield "xmp", packet
    elif head.startswith(b"\x76\x2f\x31\x01"):
        yield "attributes", _exr_attributes(file.read(_MOST_HEADER))
    elif head.startswith(b"#?"):
        lines = file.read(_MOST_HEADER).split(b"\n\n")[0].decode("utf-8", "replace").split("\n")
        yield "attributes", dict(_radiance_attributes(lines))


def _parse_file(file: BinaryIO) -> Exif:
    """Read the directories of a TIFF file, or of a raw file that is one, without its pixels."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return Exif.parse(data)


def _png_parts(file: BinaryIO) -> Iterator[tuple[str, Any]]:
    texts: dict[int, str] = {}
    for kind, content in _png_chunks(file):
        keyword, _, rest = content.partition(b"\0")
        if kind == b"eXIf":
            yield "exif", content
        elif kind == b"iTXt" and keyword == _PNG_XMP and len(rest) > 2:
            text = rest[2:].partition(b"\0")[2].partition(b"\0")[2]
            yield "xmp", _inflate(text) if rest[0] else text
        elif kind == b"zTXt" and keyword.startswith(b"Raw profile type "):
            profile = _raw_profile(_inflate(rest[1:]))
            match keyword.rpartition(b" ")[2]:
                case b"iptc":
                    yield "iptc", _iptc_of(profile) or profile
                case b"xmp":
                    yield "xmp", profile
                case b"exif" | b"APP1":
                    yield "exif", profile.removeprefix(EXIF)
        elif tag := _PNG_TEXTS.get(keyword):
            texts[tag] = _png_text(kind, rest)
    yield "texts", texts


def _png_text(kind: bytes, rest: bytes) -> str:
    """Read the text behind a keyword of the chunk tEXt, zTXt or iTXt."""
    if kind == b"tEXt":
        return rest.decode("latin-1")
    if kind == b"zTXt":
        return _inflate(rest[1:]).decode("latin-1")
    text = rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    return (_inflate(text) if rest[:1] == b"\1" else text).decode("utf-8", "replace")


def _png_chunks(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and content of the chunks that may hold metadata."""
    file.seek(8)
    while len(head := file.read(8)) == 8 and head[4:] != b"IEND":
        length = int.from_bytes(head[:4])
        if head[4:] in (b"eXIf", b"iTXt", b"tEXt", b"zTXt") and length < _MOST_TEXT:
            yield head[4:], file.read(length)
            file.seek(4, os.SEEK_CUR)
        else:
            file.seek(length + 4, os.SEEK_CUR)


def _inflate(data: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, _MOST_TEXT)
    except zlib.error:
        return b""


def _raw_profile(text: bytes) -> bytes:
    """Decode how ImageMagick writes profiles into text: a name, a length, hexadecimal digits."""
    digits = b"".join(text.strip().split(b"\n")[2:])
    try:
        return bytes.fromhex(digits.decode("ascii"))
    except ValueError:
        return b""


def _iptc_of(resources: bytes) -> bytes:
    """Find the IPTC records among Photoshop's image resources."""
    place = 0
    while resources[place : place + 4] == b"8BIM":
        name = place + 6
        if name >= len(resources):
            break
        data = name + 1 + resources[name] + (resources[name] + 1) % 2
        length = int.from_bytes(resources[data : data + 4])
        if resources.startswith(_IPTC_RESOURCE, place):
            return resources[data + 4 : data + 4 + length]
        place = data + 4 + length + length % 2
    return b""


def _is_place(name: str) -> bool:
    """Say whether a property of XMP tells where a photograph was taken."""
    return name in _NAMES_OF_PLACES or any(part in name for part in _PLACES)


def _without_places(records: bytes) -> bytes:
    """Return IPTC records without those that name a place; as far as they are whole."""
    kept, place = b"", 0
    while records[place : place + 1] == b"\x1c" and place + 5 <= len(records):
        record, data_set, length = struct.unpack_from(">BBH", records, place + 1)
        if length & 0x8000:  # longer than any name
            break
        end = place + 5 + length
        kept += b"" if record == 2 and data_set in _IPTC_PLACES else records[place:end]
        place = end
    return kept


def _exr_attributes(data: bytes) -> dict[str, Any]:
    """Read the texts and numbers of an OpenEXR header; of several parts, the first one's."""
    found: dict[str, Any] = {}
    place = 8
    while place < len(data) and data[place]:
        name, _, rest = data[place : place + 512].partition(b"\0")
        kind = rest.partition(b"\0")[0]
        place += len(name) + len(kind) + 2
        size = int.from_bytes(data[place : place + 4], "little")
        value = data[place + 4 : place + 4 + size]
        place += 4 + size
        if kind == b"string":
            found[name.decode("latin-1")] = value.decode("utf-8", "replace")
        elif kind == b"float" and len(value) == 4:
            (found[name.decode("latin-1")],) = struct.unpack("<f", value)
    return found


def _radiance_attributes(lines: Sequence[str]) -> Iterator[tuple[str, str | float]]:
    names = {"CAPDATE": "capDate", "OWNER": "owner", "CAMERA": "cameraModel"}
    for line in lines:
        key, _, text = (part.strip() for part in line.partition("="))
        try:
            yield names.get(key, key), float(text)
        except ValueError:
            yield names.get(key, key), text


# ---------------------------------------------------------------------------------------------- writing


def header_entries(photo: PhotoMetadata, suffix: str) -> dict[str, str | float]:
    """Return what goes into the header of an .exr or .hdr file when it is written; nothing for others."""
    found = photo.attributes()
    if suffix == ".exr":
        packet = photo.packet().decode("utf-8", "replace")
        records = base64.b64encode(photo.iptc).decode()
        return found | ({"xmp": packet} if packet else {}) | ({"iptc": records} if records else {})
    if suffix in (".hdr", ".pic", ".rgbe"):
        own = {"capDate": "CAPDATE", "owner": "OWNER", "cameraModel": "CAMERA"}  # Radiance's names
        lines = {own.get(name, name): value for name, value in found.items()}
        return {name: _one_line(value) if isinstance(value, str) else value for name, value in lines.items()}
    return {}


def embed(path: Path, suffix: str, photo: PhotoMetadata, own: Mapping[str, Any]) -> None:
    """Put metadata into a JPEG, PNG or TIFF that was just written; nothing happens for other suffixes.

    Args:
        path: The file, perhaps under a temporary name.
        suffix: Of the name that it is to have.
        photo: What is known of the photograph.
        own: What hdrlab says of the file, for the XMP of a TIFF; the others have it already.
    """
    match suffix:
        case ".jpg" | ".jpeg":
            _embed_in_jpeg(path, photo)
        case ".png":
            _embed_in_png(path, photo)
        case ".tif" | ".tiff":
            _embed_in_tiff(path, photo, own)


def joined_segments(own: Sequence[Segment], added: Sequence[Segment]) -> list[Segment]:
    """Order segments: JFIF's first, then Exif, XMP and the like, then profile and the rest."""
    first = [one for one in own if one.marker == APP0]
    return [*first, *added, *(one for one in own if one.marker != APP0)]


def _embed_in_jpeg(path: Path, photo: PhotoMetadata) -> None:
    if not (added := photo.segments()):
        return
    data = path.read_bytes()
    own = [one for one in read_segments(data) if 0xE0 <= one.marker <= 0xEF or one.marker == COM]
    path.write_bytes(with_segments(data, joined_segments(own, added)))


def _embed_in_png(path: Path, photo: PhotoMetadata) -> None:
    chunks = b""
    if exif := photo.exif_block():
        chunks += _chunk(b"eXIf", exif)
    if packet := photo.packet():
        chunks += _chunk(b"iTXt", _PNG_XMP + bytes(5) + packet)
    if resource := photo._resource():
        text = b"\niptc\n%8d\n%s\n" % (len(resource), resource.hex().encode())
        chunks += _chunk(b"zTXt", _PNG_IPTC + bytes(2) + zlib.compress(text))
    if not chunks:
        return
    data = path.read_bytes()
    place = 8
    while data[place + 4 : place + 8] != b"IDAT":
        place += 12 + int.from_bytes(data[place : place + 4])
    path.write_bytes(b"".join((data[:place], chunks, data[place:])))


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _embed_in_tiff(path: Path, photo: PhotoMetadata, own: Mapping[str, Any]) -> None:
    """Append a first directory that has the old one's entries and the metadata."""
    with path.open("r+b") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        orders: Mapping[bytes, Any] = {b"II*\0": "<", b"MM\0*": ">"}
        order = orders.get(data[:4])
        if order is None:
            return  # BigTIFF, for what is beyond 4 GB
        (start,) = struct.unpack_from(f"{order}I", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, start)
        entries = [data[start + 2 + 12 * i : start + 14 + 12 * i] for i in range(count)]
        placed = {int(struct.unpack(f"{order}H", entry[:2])[0]): entry for entry in entries}
        placed.pop(DATE_TIME, None)  # OpenImageIO's, which is blank
        (following,) = struct.unpack_from(f"{order}I", data, start + 2 + 12 * count)
        data.close()
        exif = photo.exif.descriptive().in_order(order)
        packet = photo.packet(own)
        exif.main |= {XMP_TAG: Tag(1, packet, order)} if packet else {}
        exif.main |= {IPTC_TAG: Tag(UNDEFINED, photo.iptc, order)} if photo.iptc else {}
        end = file.seek(0, os.SEEK_END)
        file.write(bytes(end % 2))
        end += end % 2
        file.write(exif.pack_directories(end, placed, following))
        file.seek(4)
        file.write(struct.pack(f"{order}I", end))


# ------------------------------------------------------------------------------------------- conversions


def _text(directory: Directory, tag: int) -> str:
    return directory[tag].text() if tag in directory else ""


def _number(directory: Directory, tag: int) -> float | None:
    numbers = directory[tag].numbers() if tag in directory else ()
    if tag in _FRACTIONS and len(numbers) == 2:  # some programs write two whole numbers for a fraction
        numbers = (numbers[0] / numbers[1],) if numbers[1] else ()
    return float(numbers[0]) if numbers else None


def _comment(tag: Tag | None) -> str:
    """A comment of the user's: eight bytes name its alphabet."""
    if tag is None or len(tag.data) < 8:
        return ""
    wide = "utf-16-le" if tag.order == "<" else "utf-16-be"
    text = tag.data[8:].decode(wide if tag.data.startswith(b"UNICODE") else "utf-8", "replace")
    return text.strip("\0 ")


def _degrees(gps: Directory, sign: int, tag: int, negative: str) -> float | None:
    numbers = gps[tag].numbers() if tag in gps else ()
    if len(numbers) != 3:
        return None
    degrees = numbers[0] + numbers[1] / 60 + numbers[2] / 3600
    return -degrees if _text(gps, sign).upper() == negative else degrees


def _altitude(gps: Directory) -> float | None:
    metres = _number(gps, 6)
    return -metres if metres and _number(gps, 5) == 1 else metres


def _utc_offset(text: str) -> float | None:
    """OpenEXR counts the seconds from local time to UTC; Exif says how far local time is ahead of it."""
    try:
        hours, minutes = text[1:].split(":")
        seconds = 3600.0 * int(hours) + 60 * int(minutes)
    except ValueError:
        return None
    return seconds if text.startswith("-") else -seconds


def _rational(value: float) -> Tag:
    fraction = Fraction(min(max(value, 0.0), 1e6)).limit_denominator(1_000_000)
    return Tag(RATIONAL, struct.pack(">II", fraction.numerator, fraction.denominator))


def _sexagesimal(tag: int, degrees: float, signs: bytes) -> Directory:
    minutes, seconds = divmod(round(abs(degrees) * 3600 * 1000), 60_000)
    hours, minutes = divmod(minutes, 60)
    parts = struct.pack(">6I", hours, 1, minutes, 1, seconds, 1000)
    sign = signs[1:] if degrees < 0 else signs[:1]
    return {tag: Tag(ASCII, sign + b"\0"), tag + 1: Tag(RATIONAL, parts)}


def _one_line(text: str) -> str:
    return "".join(sign if sign.isprintable() else " " for sign in text)
