"""Reader of TensorFlow's V2 checkpoints ("tensor bundles") that needs no TensorFlow.

A bundle is an index, in LevelDB's table format, and shards of raw tensors. The index maps each variable's
name to its type, shape and place; every block of it and every tensor carries a CRC-32C, which is checked.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrlab.nets.layers import WeightsError

FOOTER_BYTES = 48
MAGIC = 0xDB4775248B80FB57.to_bytes(8, "little")
BLOCK_TRAILER_BYTES = 5
STRING = 7
DTYPES = {
    1: "<f4", 2: "<f8", 3: "<i4", 4: "<u1", 5: "<i2", 6: "<i1", 9: "<i8", 10: "?", 17: "<u2", 19: "<f2",
    22: "<u4", 23: "<u8",
}  # fmt: skip
"""TensorFlow's numbers of the types we can hold."""


def read_tensorflow_checkpoint(path: str | Path) -> dict[str, NDArray[Any]]:
    """Read every numeric variable of a TensorFlow V2 checkpoint.

    Args:
        path: The folder that holds the file `checkpoint`, the prefix (`…/model.ckpt`), or one of the files.

    Returns:
        Arrays in TensorFlow's layout by variable name, without `:0`. Object-based checkpoints keep their full
        keys (`…/.ATTRIBUTES/VARIABLE_VALUE`); string tensors, such as their object graph, are left out.

    Raises:
        WeightsError: Files are missing, truncated, damaged, or of a kind that is not supported.
    """
    prefix = _find_prefix(Path(path))
    index = Path(f"{prefix}.index")
    if not index.is_file():
        raise WeightsError(f"no TensorFlow V2 checkpoint at {path}: {index} is no file")
    try:
        return dict(_read_tensors(prefix, dict(_read_table(index.read_bytes()))))
    except OSError as error:
        raise WeightsError(f"cannot read {error.filename or prefix}: {error.strerror}") from error
    except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
        raise WeightsError(f"{prefix} is no intact TensorFlow V2 checkpoint: {error}") from error


def _find_prefix(path: Path) -> Path:
    if path.name == "checkpoint" and path.is_file():
        path = path.parent
    if not path.is_dir():
        return path.with_name(re.sub(r"\.(index|data-\d+-of-\d+)$", "", path.name))
    state = path / "checkpoint"
    if state.is_file():
        match = re.search(r'^model_checkpoint_path: "(.+)"', state.read_text(errors="replace"), re.MULTILINE)
        # Often the absolute path of the machine that trained; the files lie beside it all the same.
        names = [re.split(r"[/\\]", match[1])[-1]] if match else []
    else:
        names = [file.stem for file in path.glob("*.index")]
    if len(names) != 1:
        raise WeightsError(f"{path} does not say which checkpoint to read: give the path of one .index file")
    return path / names[0]


def _read_tensors(prefix: Path, entries: dict[bytes, bytes]) -> Iterator[tuple[str, NDArray[Any]]]:
    header = _parse_message(entries.pop(b""))
    if header.get(2, [0])[0] != 0:
        raise ValueError("it is big-endian, which is not supported")
    num_shards = header[1][0]
    for key, value in entries.items():
        name, entry = key.decode(), _parse_message(value)
        dtype = entry.get(1, [0])[0]
        if dtype == STRING:
            continue
        if dtype not in DTYPES or 7 in entry:
            raise ValueError(f"{name} is partitioned or of an unsupported type ({dtype})")
        shard = Path(f"{prefix}.data-{entry.get(3, [0])[0]:05d}-of-{num_shards:05d}")
        raw = _read_range(shard, entry.get(4, [0])[0], entry.get(5, [0])[0])
        _check_crc(raw, entry[6][0], name)
        shape = [_parse_message(dim).get(1, [0])[0] for dim in _parse_message(entry[2][0]).get(2, [])]
        array = np.frombuffer(raw, DTYPES[dtype])
        if math.prod(shape) != array.size:
            raise ValueError(f"{name} holds {array.size} values, its shape {shape} wants another number")
        yield name, array.reshape(shape)


def _read_range(path: Path, start: int, size: int) -> bytes:
    if start + size > path.stat().st_size:  # before anything is allocated
        raise ValueError(f"{path.name} is truncated")
    with path.open("rb") as file:
        file.seek(start)
        return file.read(size)


def _read_table(table: bytes) -> Iterator[tuple[bytes, bytes]]:
    footer = table[-FOOTER_BYTES:]
    if len(footer) < FOOTER_BYTES or not footer.endswith(MAGIC):
        raise ValueError("its index is truncated or of another format")
    at = 0
    for _ in range(2):  # skip the handle of the meta index
        _, at = _parse_varint(footer, at)
    for _, handle in _read_block(table, footer[at:]):
        yield from _read_block(table, handle)


def _read_block(table: bytes, handle: bytes) -> Iterator[tuple[bytes, bytes]]:
    start, at = _parse_varint(handle, 0)
    size, _ = _parse_varint(handle, at)
    block, trailer = table[start : start + size + 1], table[start + size + 1 :][:4]
    _check_crc(block, int.from_bytes(trailer, "little"), "a block of the index")
    if block[-1] != 0:
        raise ValueError("its index is compressed, which is not supported")
    block = block[:-1]
    num_restarts = int.from_bytes(block[-4:], "little")
    block = block[: len(block) - 4 * (num_restarts + 1)]
    key, at = b"", 0
    while at < len(block):
        shared, at = _parse_varint(block, at)
        unshared, at = _parse_varint(block, at)
        value_size, at = _parse_varint(block, at)
        key = key[:shared] + block[at : at + unshared]
        at += unshared
        yield key, block[at : at + value_size]
        at += value_size


def _parse_varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number in its index does not end")


def _parse_message(data: bytes) -> dict[int, list[Any]]:
    """Split a protocol-buffer message into the values of each field: numbers, or bytes where nested."""
    fields: dict[int, list[Any]] = {}
    at = 0
    while at < len(data):
        tag, at = _parse_varint(data, at)
        value: int | bytes
        if tag & 7 == 0:
            value, at = _parse_varint(data, at)
        elif tag & 7 == 2:
            size, at = _parse_varint(data, at)
            value, at = data[at : at + size], at + size
        elif tag & 7 in (1, 5):
            size = 8 if tag & 7 == 1 else 4
            value, at = int.from_bytes(data[at : at + size], "little"), at + size
        else:
            raise ValueError("an entry of its index cannot be parsed")
        fields.setdefault(tag >> 3, []).append(value)
    return fields


def _check_crc(data: bytes, masked: int, what: str) -> None:
    crc = crc32c(data)
    # Stored rotated by 15 bits plus a constant, so that a CRC of data holding CRCs stays a good check.
    if ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF != masked:
        raise ValueError(f"the checksum of {what} does not match, so the file is damaged")


def crc32c(data: bytes) -> int:
    """Compute the CRC-32C (Castagnoli) of a byte string, vectorised: 0.4 s for 100 MB.

    The CRC is linear over GF(2), so the first half of a message may be advanced over the length of the second
    and XORed onto it; halving leaves one word after log₂ n rounds.

    Args:
        data: Any bytes.

    Returns:
        The checksum, 32 bits.
    """
    words = np.frombuffer(bytes(-len(data) % 4) + data, "<u4") if data else np.zeros(1, np.uint32)
    while words.size > 1:
        log_half = (words.size - 1).bit_length() - 1
        left, right = words[: -(1 << log_half)], words[-(1 << log_half) :].copy()
        right[right.size - left.size :] ^= _advance(left, log_half + 2)
        words = right
    start = np.array([0xFFFFFFFF], np.uint32)
    for bit in range(len(data).bit_length()):
        if len(data) >> bit & 1:
            start = _advance(start, bit)
    return int(_advance(words, 2)[0] ^ start[0]) ^ 0xFFFFFFFF


def _advance(states: NDArray[np.uint32], log_bytes: int) -> NDArray[np.uint32]:
    """Pass CRC states over 2^log_bytes zero bytes."""
    tables = _advance_tables(log_bytes)
    out: NDArray[np.uint32] = tables[0][states & 0xFF]
    for i in (1, 2, 3):
        out ^= tables[i][states >> (8 * i) & 0xFF]
    return out


@lru_cache(maxsize=64)
def _advance_tables(log_bytes: int) -> NDArray[np.uint32]:
    """Tabulate the step for each value of each of the four bytes, [4, 256]."""
    bits = np.uint32(1) << np.arange(32, dtype=np.uint32)
    if log_bytes == 0:
        for _ in range(8):
            bits = np.where(bits & 1, bits >> 1 ^ 0x82F63B78, bits >> 1).astype(np.uint32)
    else:
        bits = _advance(_advance(bits, log_bytes - 1), log_bytes - 1)
    tables = np.zeros((4, 256), np.uint32)
    for bit in range(8):
        tables[:, 1 << bit : 2 << bit] = tables[:, : 1 << bit] ^ bits[bit::8, None]
    return tables
