"""Reader of TensorFlow's V2 checkpoints ("tensor bundles") that needs no TensorFlow.

A bundle is an index, in LevelDB's table format, and shards of raw tensors. The index maps each variable's
name to its type, shape and place; every block of it and every tensor carries a CRC-32C, which is checked.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrlab.errors import WeightsError
from hdrlab.io.magic import begins_like
from hdrlab.io.tensorflow.protobuf import check_crc, parse_message, parse_varint

FOOTER_BYTES = 48
MAGIC = 0xDB4775248B80FB57.to_bytes(8, "little")
STRING = 7
DTYPES = {
    1: "<f4", 2: "<f8", 3: "<i4", 4: "<u1", 5: "<i2", 6: "<i1", 9: "<i8", 10: "?", 17: "<u2", 19: "<f2",
    22: "<u4", 23: "<u8",
}  # fmt: skip
"""TensorFlow's numbers of the types we can hold."""

NAMES_PER_INDEX = 16
"""How many times as long as an index all names in it may be: of TensorFlow's own about 1."""


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
    prefix = find_prefix(Path(path))
    index = Path(f"{prefix}.index")
    if not index.is_file():
        raise WeightsError(f"no TensorFlow V2 checkpoint at {path}: {index} is no file")
    try:
        return dict(_read_tensors(prefix, dict(_read_table(index.read_bytes()))))
    except OSError as error:
        raise WeightsError(f"cannot read {error.filename or prefix}: {error.strerror}") from error
    except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
        if (found := begins_like(index)).startswith(("it is", "it begins like")):
            raise WeightsError(f"{index} is no index of a TensorFlow checkpoint: {found}") from error
        raise WeightsError(f"{prefix} is no intact TensorFlow V2 checkpoint: {error}") from error


def find_prefix(path: Path) -> Path:
    """Return the path that a checkpoint's files share.

    Args:
        path: As in `read_tensorflow_checkpoint`; the files need not exist. Of a folder, the checkpoint that
            its file `checkpoint` names; without such a file, that of the highest step.

    Raises:
        WeightsError: A folder holds several checkpoints and does not say which one is meant.
    """
    if path.name == "checkpoint" and path.is_file():
        path = path.parent
    if not path.is_dir():
        return path.with_name(re.sub(r"\.(index|meta|data-\d+-of-\d+)$", "", path.name))
    state = path / "checkpoint"
    if state.is_file():
        match = re.search(
            r'^model_checkpoint_path: "(.+)"',
            state.read_text(encoding="utf-8", errors="replace"),
            re.MULTILINE,
        )
        # Often the absolute path of the machine that trained; the files lie beside it all the same.
        names = [re.split(r"[/\\]", match[1])[-1]] if match else []
    else:
        names = _newest([file.stem for file in path.glob("*.index") if not file.name.startswith(".")])
    if len(names) != 1:
        raise WeightsError(f"{path} does not say which checkpoint to read: give the path of one .index file")
    return path / names[0]


def _newest(names: list[str]) -> list[str]:
    """Keep the last of a training's checkpoints, which end in -STEP; leave names of several kinds alone."""
    if len(names) < 2 or len({re.sub(r"-\d+$", "-", name) for name in names}) > 1:
        return names
    return [max(names, key=lambda name: int(name.rpartition("-")[2] or 0))]


def _read_tensors(prefix: Path, entries: dict[bytes, bytes]) -> Iterator[tuple[str, NDArray[Any]]]:
    header = parse_message(entries.pop(b""))
    if header.get(2, [0])[0] != 0:
        raise ValueError("it is big-endian, which is not supported")
    num_shards = header[1][0]
    places = []
    sizes: dict[Path, int] = {}
    for key, value in entries.items():
        name, entry = key.decode(), parse_message(value)
        dtype = entry.get(1, [0])[0]
        if dtype == STRING:
            continue
        if dtype not in DTYPES or 7 in entry:
            raise ValueError(f"{name} is partitioned or of an unsupported type ({dtype})")
        shard = Path(f"{prefix}.data-{entry.get(3, [0])[0]:05d}-of-{num_shards:05d}")
        start, size = entry.get(4, [0])[0], entry.get(5, [0])[0]
        places.append((name, entry, shard, start, size))
        sizes[shard] = sizes.get(shard, 0) + size
    for shard, size in sizes.items():  # before anything is allocated
        if size > shard.stat().st_size:
            raise ValueError(f"{shard.name} is truncated, or variables share a part of it")
    for name, entry, shard, start, size in places:
        raw = _read_range(shard, start, size)
        check_crc(raw, entry[6][0], name)
        shape = [parse_message(dim).get(1, [0])[0] for dim in parse_message(entry[2][0]).get(2, [])]
        array = np.frombuffer(raw, DTYPES[entry[1][0]])
        if math.prod(shape) != array.size:
            raise ValueError(f"{name} holds {array.size} values, its shape {shape} wants another number")
        yield name, array.reshape(shape)


def _read_range(path: Path, start: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        raw = file.read(size)
    if len(raw) < size:
        raise ValueError(f"{path.name} is truncated")
    return raw


def _read_table(table: bytes) -> Iterator[tuple[bytes, bytes]]:
    footer = table[-FOOTER_BYTES:]
    if len(footer) < FOOTER_BYTES or not footer.endswith(MAGIC):
        raise ValueError("its index is truncated or of another format")
    at = 0
    for _ in range(2):  # skip the handle of the meta index
        _, at = parse_varint(footer, at)
    room, names = len(table), NAMES_PER_INDEX * len(table)
    for _, handle in _read_block(table, footer[at:]):
        # A block is read once, and names repeat beginnings of others: both could make much out of little.
        room -= parse_varint(handle, parse_varint(handle, 0)[1])[0]
        if room < 0:
            raise ValueError("blocks of its index overlap")
        for name, value in _read_block(table, handle):
            names -= len(name)
            if names < 0:
                raise ValueError("names in its index are longer than any variable's")
            yield name, value


def _read_block(table: bytes, handle: bytes) -> Iterator[tuple[bytes, bytes]]:
    start, at = parse_varint(handle, 0)
    size, _ = parse_varint(handle, at)
    block, trailer = table[start : start + size + 1], table[start + size + 1 :][:4]
    check_crc(block, int.from_bytes(trailer, "little"), "a block of the index")
    if block[-1] != 0:
        raise ValueError("its index is compressed, which is not supported")
    block = block[:-1]
    num_restarts = int.from_bytes(block[-4:], "little")
    block = block[: len(block) - 4 * (num_restarts + 1)]
    key, at = b"", 0
    while at < len(block):
        shared, at = parse_varint(block, at)
        unshared, at = parse_varint(block, at)
        value_size, at = parse_varint(block, at)
        key = key[:shared] + block[at : at + unshared]
        at += unshared
        yield key, block[at : at + value_size]
        at += value_size
