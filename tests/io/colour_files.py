"""Files whose samples mean something else than sRGB, made of the same colours."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrlab.ops.colour_spaces import REC709, Primaries, conversion, convert, to_xyz


def samples_in(light: NDArray[Any], primaries: Primaries, encode: Any, most: int) -> NDArray[Any]:
    """Linear Rec. 709 [H, W, 3] -> whole-number samples of another space."""
    converted = convert(light.astype(np.float64), conversion(REC709, primaries)).clip(0)
    kind = np.uint8 if most < 256 else np.uint16
    return np.rint(encode(converted).clip(0, 1) * most).astype(kind)


def png(samples: NDArray[Any], chunks: Mapping[bytes, bytes]) -> bytes:
    """Write a PNG with chunks of its own before the pixels."""
    height, width, channels = samples.shape
    bits = 8 * samples.dtype.itemsize
    rows = samples.astype(">u2" if bits == 16 else np.uint8).reshape(height, -1).view(np.uint8)
    header = struct.pack(">IIBBBBB", width, height, bits, {1: 0, 3: 2}[channels], 0, 0, 0)
    filtered = np.pad(rows, ((0, 0), (1, 0))).tobytes()
    parts = {b"IHDR": header, **chunks, b"IDAT": zlib.compress(filtered), b"IEND": b""}
    data = b"\x89PNG\r\n\x1a\n"
    for name, body in parts.items():
        data += struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    return data


def iccp(profile: bytes) -> bytes:
    """The content of a PNG's iCCP chunk."""
    return b"profile\0\0" + zlib.compress(profile)


def chrm(primaries: Primaries) -> bytes:
    """The content of a PNG's cHRM chunk."""
    values = (*primaries.white, *primaries.red, *primaries.green, *primaries.blue)
    return struct.pack(">8I", *(round(value * 100_000) for value in values))


Entry = tuple[int, tuple[Any, ...]] | dict[int, Any]
_CODES = {1: "B", 2: "c", 3: "H", 4: "I", 5: "II", 10: "ii", 12: "d"}


def tiff(entries: Mapping[int, Entry], strip: bytes = b"", order: str = "<") -> bytes:
    """Write a TIFF, or what Exif holds: type and values of each tag, or the tags of a directory it points to.

    Text is one byte string, a rational two numbers. With a strip, tag 273 gets its place.
    """
    data = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8)
    body, later = _directory({**entries, **({273: (4, (0,))} if strip else {})}, 8, order)
    if strip:
        place = 8 + len(body) + len(later)
        at = body.index(struct.pack(f"{order}HHII", 273, 4, 1, 0))
        body = body[: at + 8] + struct.pack(f"{order}I", place) + body[at + 12 :]
    return data + body + later + strip


def _directory(entries: Mapping[int, Entry], start: int, order: str) -> tuple[bytes, bytes]:
    """A directory that lies at `start`, and what follows it."""
    body, later = struct.pack(f"{order}H", len(entries)), b""
    end = start + 2 + 12 * len(entries) + 4
    for tag, entry in sorted(entries.items()):
        if isinstance(entry, dict):
            inner, more = _directory(entry, end + len(later), order)
            body += struct.pack(f"{order}HHII", tag, 4, 1, end + len(later))
            later += inner + more
            continue
        kind, values = entry
        code = _CODES[kind]
        packed = values[0] if kind == 2 else struct.pack(order + code[0] * len(values), *values)
        count = len(packed) if kind == 2 else len(values) // len(code)
        body += struct.pack(f"{order}HHI", tag, kind, count)
        if len(packed) > 4:
            body += struct.pack(f"{order}I", end + len(later))
            later += packed
        else:
            body += packed.ljust(4, b"\0")
    return body + bytes(4), later


def s15(*values: float) -> bytes:
    """Numbers of an ICC profile."""
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def profile(tags: Mapping[bytes, bytes], space: bytes = b"RGB ", connection: bytes = b"XYZ ") -> bytes:
    """An ICC profile of version 2 or 4 with the tags given."""
    table, body, start = b"", b"", 128 + 4 + 12 * len(tags)
    for tag, value in tags.items():
        table += struct.pack(">4sII", tag, start + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    header = struct.pack(">I4sI4s4s4s", start + len(body), b"", 0x04200000, b"mntr", space, connection)
    header = header.ljust(36, b"\0") + b"acsp" + bytes(28) + s15(0.9642, 1, 0.8249)
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def matrix_profile(primaries: Primaries, curve: bytes, name: str = "test", **more: bytes) -> bytes:
    """An ICC profile of primaries (white D65) and one curve."""
    adapted = np.array([[1.0478, 0.0229, -0.0501], [0.0295, 0.9905, -0.0171], [-0.0092, 0.0150, 0.7522]])
    columns = (adapted @ to_xyz(primaries)).T
    text = name.encode() + b"\0"
    tags = {b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(79)}
    for colour, column in zip(b"rgb", columns, strict=True):
        tags[bytes([colour]) + b"XYZ"] = b"XYZ \0\0\0\0" + s15(*column)
        tags[bytes([colour]) + b"TRC"] = curve
    tags |= {b"wtpt": b"XYZ \0\0\0\0" + s15(0.9642, 1, 0.8249)}
    return profile(tags | {key.encode(): value for key, value in more.items()})


def gamma(exponent: float) -> bytes:
    """A curve of an ICC profile: a power."""
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(exponent * 256))


def table(values: NDArray[Any]) -> bytes:
    """A curve of an ICC profile: samples in [0, 1]."""
    return b"curv\0\0\0\0" + struct.pack(">I", len(values)) + np.rint(values * 65535).astype(">u2").tobytes()


def parametric(function: int, *numbers: float) -> bytes:
    """A curve of an ICC profile: a formula."""
    return b"para\0\0\0\0" + struct.pack(">HH", function, 0) + s15(*numbers)


def logluv(light: NDArray[Any], *, bits: int = 32, runs: bool = True) -> tuple[int, list[bytes]]:
    """Linear Rec. 709 [H, W, 3] -> photometric interpretation and rows of LogLuv (32 bits) or LogL (16)."""
    xyz = light @ to_xyz(REC709).T
    words = np.where(xyz[..., 1] > 0, 256 * (np.log2(np.maximum(xyz[..., 1], 1e-18)) + 64), 0).astype(
        np.uint32
    )
    if bits == 32:
        total = np.maximum(xyz @ (1, 15, 3), 1e-18)
        u, v = 4 * xyz[..., 0] / total, 9 * xyz[..., 1] / total
        words = words << 16 | (u * 410).astype(np.uint32) << 8 | (v * 410).astype(np.uint32)
    rows = []
    for row in words:
        data = b""
        for shift in range(bits - 8, -8, -8):
            plane = (row >> shift & 255).astype(np.uint8).tobytes()
            if runs and len(set(plane)) == 1:
                data += bytes((128 + len(plane) - 2, plane[0]))
            else:
                data += b"".join(bytes((len(part),)) + part for part in (plane[:7], plane[7:]))
        rows.append(data)
    return 32845 if bits == 32 else 32844, rows


def logluv_file(light: NDArray[Any], *, bits: int = 32, order: str = "<", **more: Any) -> bytes:
    height, width, _ = light.shape
    photometric, rows = logluv(light, bits=bits)
    tags = {256: (4, (width,)), 257: (4, (height,)), 258: (3, (16,)), 259: (3, (34676,))}
    tags |= {262: (3, (photometric,)), 277: (3, (3 if bits == 32 else 1,)), 278: (4, (height,))}
    tags |= {279: (4, (sum(map(len, rows)),))} | more.get("tags", {})
    return tiff(tags, b"".join(rows), order)
