"""Damage to files: of any bytes, and of the parts of a format with lengths and checksums made right again."""

from __future__ import annotations

import gzip
import io
import json
import random
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable

from records import framed, masked_crc, varint

Mutation = Callable[[bytes, random.Random], bytes]
Parts = list[tuple[bytes, bytes]]

WORDS = (
    b"\xff\xff\xff\x7f",
    bytes(4),
    b"\xff" * 4,
    b"\0\0\1\0",
    b"\0\0\0\x40",
    b"\0\1\0\0",
    b"\x7f\xff\xff\xff",
)
NUMBERS = (
    "0",
    "-1",
    "1",
    "65536",
    "4294967295",
    "9" * 30,
    "1e308",
    "nan",
    "inf",
    "-inf",
    "0.0001",
    "",
    "x",
    "1e-320",
)
TOKENS = (
    "null",
    "true",
    "[]",
    "{}",
    '""',
    '"\\ud800"',
    "[" * 3000,
    '{"a":' * 3000,
    "!!python/object:os.system",
    "&a [*a]",
    "../" * 9,
)


def damage(data: bytes, rng: random.Random) -> bytes:
    """Flip, overwrite, delete, insert, copy or cut bytes, mostly near the start, where the headers are."""
    result = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        if not result:
            break
        at = rng.randrange(min(len(result), rng.choice((64, 400, len(result)))))
        match rng.randrange(10):
            case 0 | 1 | 2 | 3 | 4:
                result[at] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))
            case 5:
                word = rng.choice(WORDS)
                result[at : at + 4] = word
            case 6:
                del result[at : at + rng.randrange(1, 40)]
            case 7:
                result[at:at] = rng.randbytes(rng.randrange(1, 20))
            case 8:
                source = rng.randrange(len(result))
                result[at : at + 8] = result[source : source + 8]
            case _:
                del result[at:]
    return bytes(result)


def damage_text(data: bytes, rng: random.Random) -> bytes:
    """Put odd numbers, words and nesting in place of numbers and words."""
    text = data.decode("latin1")
    for _ in range(rng.choice((1, 1, 2, 4))):
        found = list(
            re.finditer(rng.choice((r"-?\d+(\.\d+)?", r"[A-Za-z_]+", r'"[^"]*"', r"[,:\n=]")), text[:20000])
        )
        if not found:
            return damage(data, rng)
        place = rng.choice(found)
        new = rng.choice((rng.choice(NUMBERS), rng.choice(TOKENS), place[0] * 2, rng.choice(found)[0], ""))
        text = text[: place.start()] + new + text[place.end() :]
    return text.encode("latin1")


def mutate(kind: str, data: bytes, rng: random.Random) -> bytes:
    """Damage a file of a kind, by its structure where it has one, and now and then anywhere.

    Args:
        kind: A key of `readers.READERS`.
        data: The file, valid.
        rng: Decides.
    """
    structured = MUTATIONS.get(kind, damage)
    if rng.random() < 0.7:
        try:
            data = structured(data, rng)
        except (struct.error, IndexError, ValueError, zlib.error, zipfile.BadZipFile, OSError):
            return damage(data, rng)
        return data if rng.random() < 0.9 else damage(data, rng)
    return damage(data, rng)


# ------------------------------------------------------------------------------------- lists of named parts


def _shuffled(parts: Parts, rng: random.Random, content: Callable[[bytes, bytes], bytes]) -> Parts:
    """Damage, double, drop, swap or empty one or a few of a file's parts."""
    parts = list(parts)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        at = rng.randrange(len(parts))
        name, body = parts[at]
        match rng.randrange(9):
            case 0:
                parts.insert(rng.randrange(len(parts) + 1), parts[at])
            case 1 if len(parts) > 1:
                del parts[at]
            case 2:
                other = rng.randrange(len(parts))
                parts[at], parts[other] = parts[other], parts[at]
            case 3:
                parts[at] = (name, rng.choice((b"", body[: rng.randrange(len(body) + 1)], body * 2)))
            case _:
                parts[at] = (name, content(name, body))
    return parts


# ------------------------------------------------------------------------------------------------------ PNG

_PNG = b"\x89PNG\r\n\x1a\n"


def _png(data: bytes, rng: random.Random) -> bytes:
    parts, at = [], 8
    while at + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        parts.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length

    def content(name: bytes, body: bytes) -> bytes:
        if name == b"IHDR":
            sides = struct.pack(">II", *(rng.choice((0, 1, 40, 24, 1 << 16, 1 << 31, 19000)) for _ in "wh"))
            rest = bytes(rng.choice((*body[8:], 0, 1, 2, 3, 4, 6, 8, 16)) for _ in range(5))
            return rng.choice((sides + body[8:], body[:8] + rest, damage(body, rng)))
        packed = {b"IDAT": 0, b"iCCP": body.find(b"\0") + 2, b"zTXt": body.find(b"\0") + 2}.get(name)
        if packed is not None and rng.random() < 0.7:
            inner = zlib.decompress(body[packed:])
            inner = rng.choice((damage(inner, rng), inner * 50, bytes(3_000_000)))
            return body[:packed] + zlib.compress(inner)
        return damage(body, rng)

    made = _PNG
    for name, body in _shuffled(parts, rng, content):
        crc = zlib.crc32(name + body) ^ (rng.random() < 0.03)
        made += struct.pack(">I", len(body)) + name + body + struct.pack(">I", crc)
    return made


# ----------------------------------------------------------------------------------------------------- JPEG


def _jpeg(data: bytes, rng: random.Random) -> bytes:
    """Damage segments of a JPEG, or of the second one that an Ultra HDR file holds."""
    start = 0
    second = data.find(b"\xff\xd8\xff", 4)
    if second > 0 and rng.random() < 0.4:
        start = second
    head, parts, at = data[:start], [], start + 2
    while data[at] == 0xFF and data[at + 1] != 0xDA:
        (length,) = struct.unpack_from(">H", data, at + 2)
        parts.append((data[at : at + 2], data[at + 4 : at + 2 + length]))
        at += 2 + length
    scan = data[at:]
    if rng.random() < 0.15:
        scan = damage(scan, rng)

    def content(name: bytes, body: bytes) -> bytes:
        if name[1] in (0xC0, 0xC2) and rng.random() < 0.6:
            sides = struct.pack(">HH", *(rng.choice((0, 1, 24, 40, 19000, 65535)) for _ in "hw"))
            return body[:1] + sides + body[5:]
        if b"http://ns.adobe.com/" in body[:40] and rng.random() < 0.8:
            return damage_text(body, rng)
        if body.startswith(b"Exif\0\0"):
            return body[:6] + _tiff(body[6:], rng)
        if body.startswith(b"MPF\0"):
            return body[:4] + _tiff(body[4:], rng)
        if body.startswith(b"ICC_PROFILE\0"):
            return body[:14] + _icc(body[14:], rng)
        return damage(body, rng)

    made = head + data[start : start + 2]
    for name, body in _shuffled(parts, rng, content):
        made += name + struct.pack(">H", min(len(body) + 2, 65535)) + body[:65533]
    return made + scan


def _icc(data: bytes, rng: random.Random) -> bytes:
    """Damage the table of tags or a tag of a profile."""
    count = struct.unpack_from(">I", data, 128)[0]
    if not 0 < count < 100:
        return damage(data, rng)
    result = bytearray(data)
    at = 132 + 12 * rng.randrange(count)
    _, place, length = struct.unpack_from(">4sII", data, at)
    match rng.randrange(5):
        case 0:
            struct.pack_into(">I", result, at + rng.choice((4, 8)), rng.choice((0, 4, len(data), 1 << 31)))
        case 1:
            struct.pack_into(">I", result, 128, rng.choice((0, 1, 1 << 16, 1 << 31)))
        case 2 if length > 12:
            result[place + 8 : place + 12] = rng.choice(WORDS)  # how many numbers a curve has
        case 3:
            result[rng.randrange(128)] = rng.randrange(256)
        case _:
            result[place : place + length] = damage(data[place : place + length], rng)
    return bytes(result)


# ----------------------------------------------------------------------------------------------------- TIFF


def _tiff(data: bytes, rng: random.Random) -> bytes:
    """Damage entries of a directory: type, count, value, order, and where the next directory lies."""
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    count_code, entry, offset = ("Q", 20, "Q") if big else ("H", 12, "I")
    result = bytearray(data)
    at = struct.unpack_from(order + offset, data, 8 if big else 4)[0]
    count = struct.unpack_from(order + count_code, data, at)[0]
    first = at + struct.calcsize(count_code)
    for _ in range(rng.choice((1, 1, 2, 4))):
        here = first + entry * rng.randrange(min(count, 60))
        width = struct.calcsize(offset)
        odd = rng.choice((0, 1, 2, 3, 255, 65535, len(data), len(data) - 4, 1 << 31, (1 << 32) - 1, at, 8))
        match rng.randrange(8):
            case 0:
                struct.pack_into(order + "H", result, here + 2, rng.choice((*range(19), 65535)))
            case 1:
                struct.pack_into(order + offset, result, here + 4, odd)
            case 2 | 3 | 4:
                struct.pack_into(order + offset, result, here + 4 + width, odd)
            case 5:
                struct.pack_into(order + offset, result, first + entry * count, odd)
            case 6:
                tag = rng.choice(
                    (254, 256, 257, 258, 259, 262, 273, 277, 278, 279, 322, 324, 325, 330, 34665, 34853)
                )
                struct.pack_into(order + "H", result, here, tag)
            case _:
                struct.pack_into(order + count_code, result, at, rng.choice((0, 1, 255, 65535)))
    return bytes(result)


# ------------------------------------------------------------------------------------------------------ EXR


def _exr(data: bytes, rng: random.Random) -> bytes:
    """Damage attributes of a header, or the table of its chunks and their sizes."""
    parts, at = [], 8
    while data[at]:
        name_end = data.index(b"\0", at) + 1
        kind_end = data.index(b"\0", name_end) + 1
        (size,) = struct.unpack_from("<i", data, kind_end)
        parts.append((data[at:kind_end], data[kind_end + 4 : kind_end + 4 + size]))
        at = kind_end + 4 + size
    rest = data[at:]
    if rng.random() < 0.3:
        table = bytearray(rest)
        where = 1 + rng.choice((0, 0, rng.randrange(max(1, min(len(rest) - 9, 400)))))
        struct.pack_into(
            "<Q", table, where, rng.choice((0, 1, len(data) - 4, 1 << 40, rng.randrange(len(data))))
        )
        rest = bytes(table)

    def content(name: bytes, body: bytes) -> bytes:
        if b"box2i" in name:
            sides = [rng.choice((0, -1, 23, 39, 1 << 20, (1 << 31) - 1, -(1 << 31), 19000)) for _ in range(4)]
            return struct.pack("<4i", *sides)
        if b"compression" in name or b"lineOrder" in name:
            return bytes([rng.randrange(12)])
        return damage(body, rng) if body else b"x"

    version = data[4:8]
    if rng.random() < 0.1:
        version = struct.pack("<I", rng.choice((2, 0x202, 0x402, 0x802, 0x1002, 3)))
    made = data[:4] + version
    for name, body in _shuffled(parts, rng, content):
        made += name + struct.pack("<i", len(body)) + body
    return made + rest


# ------------------------------------------------------------------------------------- Radiance, PFM, boxes


def _lines_then_bytes(data: bytes, rng: random.Random) -> bytes:
    """Damage the words of a header, or runs behind it."""
    head = data.find(b"\n\n") + 2 if b"\n\n" in data[:2000] else 0
    end = data.index(b"\n", head) + 1 if head else len(b"\n".join(data.split(b"\n", 3)[:3])) + 1
    header, body = data[:end], data[end:]
    if rng.random() < 0.6:
        return damage_text(header, rng) + body
    if rng.random() < 0.3:
        return header + b"\x02\x02" + struct.pack(">H", rng.choice((8, 40, 0x7FFF))) + b"\xff\1" * 40 + body
    return header + damage(body, rng)


_CONTAINERS = {b"meta": 4, b"iprp": 0, b"ipco": 0, b"dinf": 0, b"iinf": 6, b"stsd": 8} | dict.fromkeys(
    (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"udta"), 0
)


def _boxes(data: bytes, rng: random.Random) -> bytes:
    """Damage boxes of an ISO file, at any depth, with the sizes around them made right again."""
    parts = _split_boxes(data)
    if not parts:
        return damage(data, rng)

    def content(name: bytes, body: bytes) -> bytes:
        skip = _CONTAINERS.get(name)
        if skip is not None and len(body) > skip + 8 and rng.random() < 0.8:
            return body[:skip] + _boxes(body[skip:], rng)
        if name == b"ispe":
            return body[:4] + struct.pack(">II", *(rng.choice((0, 1, 24, 1 << 16, 1 << 31)) for _ in "wh"))
        return damage(body, rng) if body else b"x"

    made = b""
    for name, body in _shuffled(parts, rng, content):
        size = len(body) + 8 if rng.random() < 0.97 else rng.choice((0, 1, 7, 1 << 31))
        made += struct.pack(">I", size) + name + body
    return made


def _split_boxes(data: bytes) -> Parts:
    parts, at = [], 0
    while at + 8 <= len(data):
        size = struct.unpack_from(">I", data, at)[0] or len(data) - at
        if size < 8:
            break
        parts.append((data[at + 4 : at + 8], data[at + 8 : at + size]))
        at += size
    return parts


_MASTERS = {bytes.fromhex(one) for one in ("18538067", "1654AE6B", "AE", "E0", "E1", "55B0", "1F43B675", "A0",
            "1549A966", "1C53BB6B", "BB", "114D9B74", "4DBB", "1254C367", "7373")}  # fmt: skip


def _ebml(data: bytes, rng: random.Random) -> bytes:
    """Damage elements of Matroska and WebM, at any depth, with the sizes around them made right again."""
    parts, at = [], 0
    while at < len(data):
        wide = 9 - data[at].bit_length()
        name, at = data[at : at + wide], at + wide
        if wide > 4 or at >= len(data) or (length := 9 - data[at].bit_length()) > 8:
            break
        size = int.from_bytes(data[at : at + length]) - (1 << 7 * length)
        at += length
        parts.append((name, data[at : at + size]))
        at += size
    if not parts:
        return damage(data, rng)

    def content(name: bytes, body: bytes) -> bytes:
        if name in _MASTERS and rng.random() < 0.9:
            return _ebml(body, rng)
        return damage(body, rng) if body else b"x"

    made = b""
    for name, body in _shuffled(parts, rng, content):
        size = len(body) if rng.random() < 0.97 else rng.choice((0, 1, 1 << 31, (1 << 56) - 2))
        made += name + (size + (1 << 56)).to_bytes(8) + body
    return made


def _frame(data: bytes, rng: random.Random) -> bytes:
    return (_png if data.startswith(_PNG) else _exr)(data, rng)


def _jxl(data: bytes, rng: random.Random) -> bytes:
    return _boxes(data, rng) if data.startswith(b"\0\0\0\x0cJXL ") else damage(data, rng)


# ------------------------------------------------------------------------------------- archives and records


def _zip(data: bytes, rng: random.Random) -> bytes:
    """Damage the records of an archive, their checksums made right again."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        how = {one.filename.encode(): one.compress_type for one in archive.infolist()}
        parts = [(name, archive.read(name.decode())) for name in how]

    def content(name: bytes, body: bytes) -> bytes:
        if name.endswith(b".npy"):
            return _npy(body, rng)
        if name.endswith(b".pkl"):
            return _pickle(body, rng)
        if name.endswith(b".index"):
            return _table(body, rng)
        return damage(body, rng) if body else b"x"

    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive, warnings.catch_warnings(action="ignore"):
        for name, body in _shuffled(parts, rng, content):
            kind = how.get(name, 0) if rng.random() < 0.95 else rng.choice((0, 8, 12, 14))
            archive.writestr(zipfile.ZipInfo(name.decode(errors="replace")), body, compress_type=kind)
    return made.getvalue()


def _pickle(data: bytes, rng: random.Random) -> bytes:
    """Damage a pickle anywhere, or put an opcode with a vast number into it."""
    if rng.random() < 0.5:
        return damage(data, rng)
    at = rng.randrange(len(data))
    number = struct.pack("<I", rng.choice((0, 1, 1 << 16, 1 << 26, (1 << 32) - 1)))
    opcode = rng.choice(
        (
            b"r",
            b"j",
            b"T",
            b"X",
            b"B",
            b"J",
            b"\x8b",
            b"q\xff",
            b"h\xff",
            b"(",
            b"t",
            b"R",
            b"b",
            b"\x85" * 99,
        )
    )
    return data[:at] + opcode + number + data[at:]


def _npy(data: bytes, rng: random.Random) -> bytes:
    """Damage the header of an array, its length made right again, or what follows."""
    length = struct.unpack_from("<H", data, 8)[0]
    header, body = data[10 : 10 + length], data[10 + length :]
    if b"|O" in header and rng.random() < 0.8:
        return data[: 10 + length] + _pickle(body, rng)
    if rng.random() < 0.7:
        header = damage_text(header, rng)[:60000]
    else:
        body = damage(body, rng)
    return data[:8] + struct.pack("<H", len(header)) + header + body


def _safetensors(data: bytes, rng: random.Random) -> bytes:
    length = struct.unpack_from("<Q", data)[0]
    header, body = damage_text(data[8 : 8 + length], rng), data[8 + length :]
    size = len(header) if rng.random() < 0.9 else rng.choice((0, 1 << 31, 1 << 63))
    return struct.pack("<Q", size) + header + body


def _records(data: bytes, rng: random.Random) -> bytes:
    """Damage the message of a record, its checksums made right again."""
    parts, at = [], 0
    while at < len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        parts.append((b"", data[at + 12 : at + 12 + length]))
        at += length + 16

    def content(_: bytes, body: bytes) -> bytes:
        if rng.random() < 0.3:
            return damage(body[-300:], rng) + varint(rng.randrange(1 << 40)) + body
        return damage(body, rng)

    made = b"".join(framed_quickly(body) for _, body in _shuffled(parts, rng, content))
    if rng.random() < 0.1:
        head = struct.pack("<Q", rng.choice((1 << 27, 1 << 29, 1 << 60)))
        made += head + masked_crc(head) + bytes(64)
    return made


def framed_quickly(body: bytes) -> bytes:
    """As `framed`, but a large body keeps a checksum that does not fit: computing it here takes a second."""
    if len(body) < 60_000:
        return framed(body)
    from hdrlab.io.tensorflow.protobuf import crc32c

    crc = crc32c(body)
    length = len(body).to_bytes(8, "little")
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    return length + masked_crc(length) + body + masked.to_bytes(4, "little")


def _gzip_records(data: bytes, rng: random.Random) -> bytes:
    inner = gzip.decompress(data)
    if rng.random() < 0.2:
        return gzip.compress(inner, 1) * rng.choice((2, 5)) + rng.choice((b"", b"\0" * 20, b"x"))
    return gzip.compress(_records(inner, rng), 1)


def _table(data: bytes, rng: random.Random) -> bytes:
    """Damage a block of a TensorFlow index, its checksum made right again, or the place of a block."""
    footer = data[-48:]
    start, size, at = *_handle(footer, 2), 0
    del at
    if rng.random() < 0.2:
        return data[:-48] + damage(footer[:20], rng).ljust(40, b"\0")[:40] + footer[40:]
    if rng.random() < 0.5:
        start, size = 0, start - 5
    block = data[start : start + size]
    block = damage(block, rng)[:size].ljust(size, b"\0")
    sealed = block + data[start + size : start + size + 1]
    return data[:start] + sealed + masked_crc(sealed) + data[start + size + 5 :]


def _handle(footer: bytes, number: int) -> tuple[int, int]:
    values, at = [], 0
    for _ in range(2 * number):
        value = shift = 0
        while True:
            byte = footer[at]
            value |= (byte & 0x7F) << shift
            shift, at = shift + 7, at + 1
            if byte < 128:
                break
        values.append(value)
    return values[-2], values[-1]


def _json_lines(data: bytes, rng: random.Random) -> bytes:
    text = damage_text(data, rng)
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return text if rng.random() < 0.7 else damage_text(data, rng)
    return text


MUTATIONS: dict[str, Mutation] = {
    "radiance": _lines_then_bytes,
    "openexr": _exr,
    "tiff": _tiff,
    "pfm": _lines_then_bytes,
    "png": _png,
    "jpeg": _jpeg,
    "ultrahdr": _jpeg,
    "avif": _boxes,
    "heic": _boxes,
    "jxl": _jxl,
    "mp4": _boxes,
    "mov": _boxes,
    "mkv": _ebml,
    "webm": _ebml,
    "sequence": _frame,
    "net": _zip,
    "checkpoint": _zip,
    "safetensors": _safetensors,
    "vgg_npy": _npy,
    "vgg_pth": _zip,
    "vgg_safetensors": _safetensors,
    "vgg_h5": damage,
    "npz": _zip,
    "mat": damage,
    "bundle": _table,
    "bundle_zip": _zip,
    "tfrecord": _records,
    "tfrecord_gzip": _gzip_records,
    "manifest": damage_text,
    "metrics": damage_text,
    "curves": damage_text,
    "basis": damage_text,
    "checkpoint_list": _json_lines,
    "finished": _json_lines,
    "journal": _json_lines,
    "outputs": _json_lines,
    "plan": damage_text,
    "index": _json_lines,
}
