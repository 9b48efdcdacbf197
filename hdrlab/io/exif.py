"""Exif: tags in the directories of a small TIFF file, kept as they are byte for byte.

Source: CIPA DC-008 (Exif 3.0); TIFF 6.0.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

Order = Literal["<", ">"]
Buffer = bytes | mmap.mmap
Directory = dict[int, "Tag"]

EXIF_POINTER, GPS_POINTER, INTEROP_POINTER = 0x8769, 0x8825, 0xA005
DESCRIPTION, DATE_TIME, XMP_TAG, IPTC_TAG = 0x010E, 0x0132, 0x02BC, 0x83BB
MAKER_NOTE, USER_COMMENT = 0x927C, 0x9286

DESCRIPTIVE = frozenset({
    *(0x010D, 0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x013C),  # name to host computer
    *(0x4746, 0x4749, 0x8298, 0x9C9B, 0x9C9C, 0x9C9D, 0x9C9E, 0x9C9F),  # ratings, copyright, Windows' own
})  # fmt: skip
"""Tags of the main directory that describe the photograph, not its pixels."""

ORDERS: Mapping[bytes, Order] = {
    b"II*\0": "<",
    b"MM\0*": ">",
    **dict.fromkeys((b"IIRO", b"IIRS", b"IIU\0"), "<"),
    b"MMOR": ">",
}
"""Byte order by how a file of directories begins: TIFF, and raw files of Olympus and Panasonic."""

COLOURS = frozenset({0x012D, 0x013E, 0x013F, 0x0211, 0x0214, 0xA001, 0xA500})
"""Tags that say what the samples mean."""

_ENDIANS = {"<": "le", ">": "be"}
_SIZES = frozenset({0xA002, 0xA003})
_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_UNITS = {**_BYTES, 5: 4, 10: 4}
_FORMS = {1: "B", 3: "H", 4: "I", 5: "I", 6: "b", 8: "h", 9: "i", 10: "i", 11: "f", 12: "d", 13: "I"}
_MOST_TAGS = 1000
_HEADER = 8
BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED = 1, 2, 3, 4, 5, 7


class ExifError(ValueError):
    """Exif that cannot be read."""


@dataclass(frozen=True)
class Tag:
    """The value of a tag.

    Attributes:
        kind: TIFF's type, 1 to 13.
        data: As in the file.
        order: Byte order of it.
    """

    kind: int
    data: bytes
    order: Order = ">"

    def numbers(self) -> tuple[float, ...]:
        """Return the numbers that it holds; nothing for texts, and for fractions by 0."""
        form = _FORMS.get(self.kind)
        if form is None:
            return ()
        count = len(self.data) // _UNITS[self.kind]
        values = struct.unpack_from(f"{self.order}{count}{form}", self.data)
        if self.kind not in (RATIONAL, 10):
            return values
        pairs = zip(values[::2], values[1::2], strict=False)
        return tuple(top / bottom for top, bottom in pairs if bottom)

    def text(self) -> str:
        """Return the text that it holds, up to its first null byte."""
        return self.data.partition(b"\0")[0].decode("utf-8", "replace").strip()

    def ordered(self, order: Order) -> Tag:
        """Return it in a byte order."""
        unit = _UNITS[self.kind]
        if order == self.order or unit == 1:
            return replace(self, order=order)
        parts = (self.data[place : place + unit] for place in range(0, len(self.data), unit))
        return Tag(self.kind, b"".join(part[::-1] for part in parts), order)


@dataclass
class Exif:
    """The directories of a photograph's Exif.

    Attributes:
        order: Byte order, which maker notes rely on.
        main: Tags of the first directory.
        details: Of the Exif directory.
        gps: Of the GPS directory.
        interop: Of the interoperability directory.
    """

    order: Order = ">"
    main: Directory = field(default_factory=dict)
    details: Directory = field(default_factory=dict)
    gps: Directory = field(default_factory=dict)
    interop: Directory = field(default_factory=dict)

    @classmethod
    def parse(cls, data: Buffer) -> Exif:
        """Read a TIFF header and what hangs on it; a second directory, with its thumbnail, is passed over.

        Raises:
            ExifError: It does not begin like TIFF.
        """
        order = ORDERS.get(bytes(data[:4]))
        if order is None or len(data) < _HEADER:
            raise ExifError("no TIFF header")
        main = read_directory(data, _number(data, 4, order, "I"), order)
        exif = cls(order, main)
        exif.details = _follow(data, main, EXIF_POINTER, order)
        exif.gps = _follow(data, main, GPS_POINTER, order)
        exif.interop = _follow(data, exif.details, INTEROP_POINTER, order)
        return exif

    def descriptive(self, *, colours: bool = False) -> Exif:
        """Return what describes the photograph: neither size nor orientation, thumbnail and layout.

        Args:
            colours: Whether to keep what says what the samples mean.
        """
        kept = COLOURS if colours else frozenset[int]()
        main = {tag: value for tag, value in self.main.items() if tag in DESCRIPTIVE | kept}
        unwanted = _SIZES | {INTEROP_POINTER} | (frozenset() if colours else COLOURS)
        details = {tag: value for tag, value in self.details.items() if tag not in unwanted}
        return Exif(self.order, main, details, self.gps, self.interop if colours else {})

    def colours(self) -> Exif:
        """Return what says what the samples mean."""
        main = {tag: value for tag, value in self.main.items() if tag in COLOURS}
        details = {tag: value for tag, value in self.details.items() if tag in COLOURS}
        return Exif(self.order, main, details, {}, self.interop)

    def in_order(self, order: Order) -> Exif:
        """Return it in a byte order; maker notes of another one are left out, which nobody could read."""
        if order == self.order:
            return self
        main, details, gps, interop = (
            {tag: value.ordered(order) for tag, value in one.items() if tag != MAKER_NOTE}
            for one in (self.main, self.details, self.gps, self.interop)
        )
        if (comment := details.get(USER_COMMENT)) and comment.data.startswith(b"UNICODE\0"):
            text = comment.data[8:].decode(f"utf-16-{_ENDIANS[self.order]}", "replace")
            wide = text.encode(f"utf-16-{_ENDIANS[order]}", "replace")
            details[USER_COMMENT] = replace(comment, data=comment.data[:8] + wide)
        return Exif(order, main, details, gps, interop)

    def pack(self) -> bytes:
        """Write it as a TIFF header and its directories."""
        header = (b"II*\0" if self.order == "<" else b"MM\0*") + struct.pack(f"{self.order}I", _HEADER)
        return header + self.pack_directories(_HEADER)

    def pack_directories(self, start: int, placed: Mapping[int, bytes] | None = None, next: int = 0) -> bytes:
        """Write the directories as they lie from a place of a file on, the main one first.

        Args:
            start: The place.
            placed: Further entries of the main directory as they are, whose values lie elsewhere in the file.
            next: Where the directory after the main one lies.
        """
        placed = placed or {}
        main, details = dict(self.main), dict(self.details)
        for tag in (EXIF_POINTER, GPS_POINTER):
            main.pop(tag, None)
        details.pop(INTEROP_POINTER, None)
        blank = Tag(LONG, bytes(4), self.order)
        main |= {EXIF_POINTER: blank} if details or self.interop else {}
        main |= {GPS_POINTER: blank} if self.gps else {}
        details |= {INTEROP_POINTER: blank} if self.interop else {}
        main = {tag: value for tag, value in main.items() if tag not in placed}
        place = start + _length(main) + 12 * len(placed)
        for above, tag, below in (
            (main, EXIF_POINTER, details),
            (main, GPS_POINTER, self.gps),
            (details, INTEROP_POINTER, self.interop),
        ):
            if tag in above:
                above[tag] = Tag(LONG, struct.pack(f"{self.order}I", place), self.order)
                place += _length(below)
        packed = _pack_directory(main, start, self.order, placed, next)
        for one in filter(None, (details, self.gps, self.interop)):
            packed += _pack_directory(one, start + len(packed), self.order)
        return packed


def _number(data: Buffer, place: int, order: Order, form: str) -> int:
    try:
        return int(struct.unpack_from(f"{order}{form}", data, place)[0])
    except struct.error:
        return 0


def read_directory(data: Buffer, start: int, order: Order) -> Directory:
    """Read the tags of a directory that are whole."""
    tags = Directory()
    count = min(_number(data, start, order, "H"), _MOST_TAGS) if start else 0
    for place in range(start + 2, start + 2 + 12 * count, 12):
        if place + 12 > len(data):
            break
        tag, kind, number = struct.unpack_from(f"{order}HHI", data, place)
        length = _BYTES.get(kind, 0) * number
        where = place + 8 if length <= 4 else _number(data, place + 8, order, "I")
        if length and where + length <= len(data):
            tags[tag] = Tag(kind, bytes(data[where : where + length]), order)
    return tags


def _follow(data: Buffer, above: Directory, pointer: int, order: Order) -> Directory:
    tag = above.get(pointer)
    places = tag.numbers() if tag else ()
    return read_directory(data, int(places[0]), order) if places else {}


def _length(directory: Directory) -> int:
    beyond = sum(len(tag.data) + len(tag.data) % 2 for tag in directory.values() if len(tag.data) > 4)
    return 2 + 12 * len(directory) + 4 + beyond


def _pack_directory(
    directory: Directory, start: int, order: Order, placed: Mapping[int, bytes] | None = None, next: int = 0
) -> bytes:
    """Write a directory and the values behind it.

    Args:
        directory: The tags.
        start: Where it lies in the file.
        order: Byte order.
        placed: Further entries as they are, whose values lie elsewhere in the file.
        next: Where the next directory lies.
    """
    entries, beyond = dict(placed or {}), b""
    behind = start + 2 + 12 * (len(directory) + len(entries)) + 4
    for number, tag in sorted(directory.items()):
        count, value = len(tag.data) // _BYTES[tag.kind], tag.data.ljust(4, b"\0")
        if len(value) > 4:
            value = struct.pack(f"{order}I", behind + len(beyond))
            beyond += tag.data + bytes(len(tag.data) % 2)
        entries[number] = struct.pack(f"{order}HHI", number, tag.kind, count) + value
    packed = b"".join(entry for _, entry in sorted(entries.items()))
    return struct.pack(f"{order}H", len(entries)) + packed + struct.pack(f"{order}I", next) + beyond
