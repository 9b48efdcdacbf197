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


def example(features: dict[str, bytes], kind: int = 1) -> bytes:
    entries = b"".join(
        field(1, field(1, name.encode()) + field(2, field(kind, field(1, value))))
        for name, value in features.items()
    )
    return field(1, entries)


def framed(record: bytes, crc: bytes | None = None) -> bytes:
    length = len(record).to_bytes(8, "little")
    return length + masked_crc(length) + record + (crc or masked_crc(record))


def write_records(path: Path, records: list[bytes], *, zipped: bool = False) -> None:
    data = b"".join(framed(record) for record in records)
    path.write_bytes(gzip.compress(data, 1) if zipped else data)


def pair_example(ldr: np.ndarray, hdr: np.ndarray) -> bytes:
    return example({"ref_HDR": hdr.astype("<f4").tobytes(), "ref_LDR": ldr.astype("<f4").tobytes()})
