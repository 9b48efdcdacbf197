"""Boxes, of which AVIF, HEIC and JPEG XL files consist, and the metadata that lie in them.

Source: ISO/IEC 14496-12 (boxes, items), 23008-12 (Exif and XMP as items), 18181-2 (JPEG XL's container).
"""

from __future__ import annotations

import importlib.util
import itertools
import struct
from collections.abc import Iterator
from typing import BinaryIO

_MOST_BOXES = 10_000
_XMP_TYPE = b"application/rdf+xml\0"
_ONE_PLACE = bytes.fromhex("00000000 4400 0001")
"""How a box ``iloc`` begins that says of one item, in 4 bytes each, where it lies and how long it is."""

_BARE = b"\xff\x0a"
_MOST_METADATA, _MOST_META = 1 << 22, 1 << 26


def read_boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield type and content of the boxes that lie one after the other.

    Raises:
        ValueError: One passes the end.
    """
    place = 0
    for _ in range(_MOST_BOXES):
        if place + 8 > len(data):
            return
        size, kind = struct.unpack_from(">I4s", data, place)
        start = 8
        if size == 1:
            size, start = int.from_bytes(data[place + 8 : place + 16]), 16
        if size == 0:
            size = len(data) - place
        if size < start or place + size > len(data):
            raise ValueError("a box that passes the end")
        yield kind, data[place + start : place + size]
        place += size


def read_meta(file: BinaryIO) -> bytes:
    """Return the content of the box ``meta`` of an AVIF or HEIC file.

    Raises:
        ValueError: There is none.
    """
    place = 0
    for _ in range(_MOST_BOXES):
        file.seek(place)
        head = file.read(16)
        if len(head) < 8:
            break
        size, kind = struct.unpack(">I4s", head[:8])
        start = 8
        if size == 1:
            size, start = int.from_bytes(head[8:16]), 16
        if kind == b"meta":
            file.seek(place + start)
            return file.read(min(size - start, _MOST_META) if size else _MOST_META)
        if size < start:
            break
        place += size
    raise ValueError("no meta box")


def pack_box(kind: bytes, content: bytes) -> bytes:
    """Return the bytes of a box of less than 4 GB."""
    return struct.pack(">I4s", len(content) + 8, kind) + content


# --------------------------------------------------------------------------------------- AVIF and HEIC


def item_metadata(file: BinaryIO) -> tuple[bytes, bytes]:
    """Find Exif, as a TIFF header and what follows, and the XMP packet of an AVIF or HEIC file; b"" without.

    Raises:
        ValueError: The file is damaged.
    """
    try:
        meta = dict(read_boxes(read_meta(file)[4:]))
        kinds = dict(_item_kinds(meta[b"iinf"]))
        found = dict[bytes, bytes]()
        for number, is_inside, extents in _item_places(meta[b"iloc"]):
            kind = kinds.get(number, b"")
            if kind and sum(length for _, length in extents) <= _MOST_METADATA:
                parts = (_extent(file, meta, is_inside, *extent) for extent in extents)
                found.setdefault(kind, b"".join(parts))
    except (LookupError, struct.error) as error:
        raise ValueError("items that cannot be read") from error
    exif = found.get(b"Exif", b"")
    return exif[4 + int.from_bytes(exif[:4]) :], found.get(b"mime", b"")


def _item_kinds(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield number and type of the items that are Exif or XMP (box ``iinf``)."""
    for _, item in read_boxes(content[6 if content[0] == 0 else 8 :]):
        width = 2 if item[0] == 2 else 4
        kind, rest = item[6 + width : 10 + width], item[10 + width :]
        is_xmp = kind == b"mime" and rest.partition(b"\0")[2].startswith(_XMP_TYPE.rstrip(b"\0"))
        if is_xmp or kind == b"Exif":
            yield int.from_bytes(item[4 : 4 + width]), kind


def _item_places(content: bytes) -> Iterator[tuple[int, bool, list[tuple[int, int]]]]:
    """Yield of each item its number, whether it lies in the box ``idat``, and its extents (box ``iloc``)."""
    version, widths, place = content[0], content[4:6].hex(), 6
    of_offset, of_length, of_base, of_index = (int(width, 16) for width in widths)

    def take(width: int) -> int:
        nonlocal place
        place += width
        if place > len(content):
            raise LookupError
        return int.from_bytes(content[place - width : place])

    of_number = 4 if version == 2 else 2
    for _ in range(min(take(of_number), _MOST_BOXES)):
        number = take(of_number)
        construction = take(2) if version else 0
        take(2)  # data reference
        base, extents = take(of_base), []
        for _ in range(take(2)):
            take(of_index if version else 0)
            extents.append((base + take(of_offset), take(of_length)))
        yield number, construction & 15 == 1, extents


def _extent(file: BinaryIO, meta: dict[bytes, bytes], is_inside: bool, start: int, length: int) -> bytes:
    if is_inside:
        return meta[b"idat"][start : start + length]
    file.seek(start)
    return file.read(length)


def add_items(data: bytes, exif: bytes, xmp: bytes) -> bytes:
    """Add Exif and XMP to an AVIF file of one image, as libavif writes it.

    Args:
        data: The file.
        exif: TIFF header and directories; nothing is added where it is empty.
        xmp: A packet, likewise.

    Returns:
        The file; image data stay byte for byte, behind the longer index.

    Raises:
        ValueError: The file is laid out in another way.
    """
    items = [(b"Exif", b"", bytes(4) + exif)] if exif else []
    items += [(b"mime", _XMP_TYPE, xmp)] if xmp else []
    if not items:
        return data
    boxes = dict(read_boxes(data))
    meta = dict(read_boxes(boxes.get(b"meta", b"")[4:]))
    head, image, _, _, start, length = struct.unpack(">8sHHHII", meta.get(b"iloc", b"").ljust(22, b"\0"))
    if [*boxes] != [b"ftyp", b"meta", b"mdat"] or head != _ONE_PLACE or start + length != len(data):
        raise ValueError("an AVIF file of unknown layout")
    numbers = range(image, image + 1 + len(items))
    sizes = [length, *(len(content) for _, _, content in items)]
    kinds = (
        pack_box(b"infe", struct.pack(">IHH", 2 << 24, number, 0) + kind + b"\0" + content_type)
        for number, (kind, content_type, _) in zip(numbers[1:], items, strict=True)
    )
    meta[b"iinf"] = struct.pack(">IH", 0, len(numbers)) + meta[b"iinf"][6:] + b"".join(kinds)
    links = (pack_box(b"cdsc", struct.pack(">HHH", number, 1, image)) for number in numbers[1:])
    meta[b"iref"] = bytes(4) + b"".join(links)

    def index(first: int) -> bytes:
        """Pack the meta box of a file whose image begins at a place, the items right behind it."""
        places = itertools.accumulate(sizes[:-1], initial=first)
        entries = (
            struct.pack(">HHHII", number, 0, 1, place, size)
            for number, place, size in zip(numbers, places, sizes, strict=True)
        )
        meta[b"iloc"] = _ONE_PLACE[:6] + struct.pack(">H", len(numbers)) + b"".join(entries)
        return bytes(4) + b"".join(pack_box(kind, content) for kind, content in meta.items())

    boxes[b"meta"] = index(start + len(index(start)) - len(boxes[b"meta"]))
    boxes[b"mdat"] += b"".join(content for _, _, content in items)
    return b"".join(pack_box(kind, content) for kind, content in boxes.items())


# --------------------------------------------------------------------------------------------- JPEG XL


def jpegxl_metadata(data: bytes) -> tuple[bytes, bytes]:
    """Find Exif, as a TIFF header and what follows, and the XMP packet of a JPEG XL file; b"" without.

    Packed boxes (Brotli) are read where imagecodecs is installed.

    Raises:
        ValueError: The file is damaged.
    """
    found = dict[bytes, bytes]()
    for kind, content in () if data.startswith(_BARE) else read_boxes(data):
        if kind == b"brob" and importlib.util.find_spec("imagecodecs"):
            kind, content = content[:4], _unpacked(content[4:])
        if kind in (b"Exif", b"xml "):
            found.setdefault(kind, content)
    exif = found.get(b"Exif", b"")
    return exif[4 + int.from_bytes(exif[:4]) :], found.get(b"xml ", b"")


def _unpacked(packed: bytes) -> bytes:
    import imagecodecs

    try:
        return bytes(imagecodecs.brotli_decode(packed, out=_MOST_METADATA))
    except (RuntimeError, ValueError, MemoryError):
        return b""


def with_jpegxl_metadata(data: bytes, exif: bytes, xmp: bytes) -> bytes:
    """Replace the metadata of a JPEG XL file that has a container.

    Args:
        data: The file.
        exif: TIFF header and directories; empty for none.
        xmp: A packet, likewise.

    Raises:
        ValueError: It has none.
    """
    kept = [(kind, content) for kind, content in read_boxes(data) if kind not in (b"Exif", b"xml ", b"brob")]
    if not kept or kept[0][0] != b"JXL ":
        raise ValueError("a JPEG XL file without a container")
    kept += [(b"Exif", bytes(4) + exif)] if exif else []
    kept += [(b"xml ", xmp)] if xmp else []
    return b"".join(pack_box(kind, content) for kind, content in kept)
