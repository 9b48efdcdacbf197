"""Writer of TensorFlow record files, for tests: a bitwise checksum and a protocol-buffer message by hand."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np


def masked_crc(data: bytes) -> bytes:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return (((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF).to_bytes(4, "little")


def _table(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ 0x82F63B78 * (byte & 1)
    return byte


TABLE = [_table(byte) for byte in range(256)]


def varint(number: int) -> bytes:
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def field(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def entries(features: dict[str, bytes], kind: int = 1) -> bytes:
    return b"".join(
        field(1, field(1, name.encode()) + field(2, field(kind, field(1, value))))
        for name, value in features.items()
    )


def example(features: dict[str, bytes], kind: int = 1) -> bytes:
    return field(1, entries(features, kind))


def framed(record: bytes, crc: bytes | None = None) -> bytes:
    length = len(record).to_bytes(8, "little")
    return length + masked_crc(length) + record + (crc or masked_crc(record))


def write_records(path: Path, records: list[bytes], *, zipped: bool = False) -> None:
    data = b"".join(framed(record) for record in records)
    path.write_bytes(gzip.compress(data, 1) if zipped else data)


def pair_example(ldr: np.ndarray, hdr: np.ndarray) -> bytes:
    return example({"ref_HDR": hdr.astype("<f4").tobytes(), "ref_LDR": ldr.astype("<f4").tobytes()})


def tone_maps(kind: str, seed: int, side: int = 32) -> dict[str, np.ndarray]:
    """The maps of a training record: random values of the shapes that its kind has."""
    draws = np.random.default_rng(seed)
    names = {"dual": ("train1", "label1", "train2", "label2"), "ft": ("train", "label", "train1", "train2")}
    sides = {name: side // 8 if name.endswith("2") else side for name in names[kind]}
    return {name: draws.random((n, n, 3), np.float32) for name, n in sides.items()}


def tone_example(maps: dict[str, np.ndarray]) -> bytes:
    """A record with lists of floats and whole numbers, its sizes those of the first layers."""
    floats = {name: maps[name].astype("<f4").tobytes() for name in maps}
    high, bottom = (next(v for k, v in maps.items() if k.endswith(digit)) for digit in "12")
    sizes = dict(zip(("h1", "w1", "h2", "w2"), high.shape[:2] + bottom.shape[:2], strict=True))
    numbers = {name: varint(size) for name, size in sizes.items()}
    return field(1, entries(floats, kind=2) + entries(numbers, kind=3))
