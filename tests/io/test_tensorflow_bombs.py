"""Small TensorFlow files with right checksums that would take much memory or time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from memory import MEGABYTE, peak_below
from records import example, field, masked_crc, varint, write_records

from hdrlab.errors import ImageError, WeightsError
from hdrlab.io.tensorflow.checkpoint import MAGIC, read_tensorflow_checkpoint
from hdrlab.io.tensorflow.records import read_pairs

Rows = Sequence[tuple[int, bytes, bytes]]
"""How much of the former key each row shares, what its key adds, and its value."""

HEADER: Rows = [(0, b"", b"\x08\x01")]  # one shard


def block(rows: Rows) -> bytes:
    """A block of a table, as LevelDB writes it."""
    body = b"".join(varint(s) + varint(len(k)) + varint(len(v)) + k + v for s, k, v in rows)
    body += bytes(4) + (1).to_bytes(4, "little") + b"\0"
    return body + masked_crc(body)


def write_bundle(folder: Path, rows: Rows, shard: bytes, handles: int = 1) -> Path:
    """A checkpoint with one block of variables, to which its index points several times."""
    data = block(rows)
    handle = varint(0) + varint(len(data) - 5)
    index = block([(0, f"{i:05}".encode(), handle) for i in range(handles)])
    footer = varint(0) + varint(0) + varint(len(data)) + varint(len(index) - 5)
    table = data + index + footer + bytes(40 - len(footer)) + MAGIC
    (folder / "model.index").write_bytes(table)
    (folder / "model.data-00000-of-00001").write_bytes(shard)
    return folder / "model"


def variable(values: np.ndarray, offset: int = 0) -> bytes:
    """An entry of floats: type, shape, place, size and checksum."""
    raw = values.astype("<f4").tobytes()
    shape = b"".join(field(2, b"\x08" + varint(side)) for side in values.shape)
    place = b"\x20" + varint(offset) + b"\x28" + varint(len(raw))
    return b"\x08\x01" + field(2, shape) + place + b"\x35" + masked_crc(raw)


def test_a_sound_bundle_is_read(tmp_path: Path) -> None:
    first, second = np.arange(6.0).reshape(2, 3), np.ones(2)
    rows = [*HEADER, (0, b"net/a", variable(first)), (4, b"b", variable(second, offset=24))]
    shard = first.astype("<f4").tobytes() + second.astype("<f4").tobytes()
    read = read_tensorflow_checkpoint(write_bundle(tmp_path, rows, shard))
    assert list(read) == ["net/a", "net/b"]
    np.testing.assert_array_equal(read["net/a"], first)
    np.testing.assert_array_equal(read["net/b"], second)


@pytest.mark.parametrize(
    ("rows", "handles", "wrong"),
    [
        ([(12 * i, 12 * b"n", b"") for i in range(1000)], 1, "names in its index"),
        ([(0, f"v{i:04}".encode(), variable(np.zeros(1000))) for i in range(30)], 1, "share a part"),
        ([], 500, "overlap"),
    ],
    ids=["names", "variables", "blocks"],
)
def test_a_small_bundle_cannot_ask_for_much(tmp_path: Path, rows: Rows, handles: int, wrong: str) -> None:
    rows = [*HEADER, (0, b"a", variable(np.zeros(1000))), *rows]
    path = write_bundle(tmp_path, rows, bytes(4000), handles)
    with peak_below(MEGABYTE), pytest.raises(WeightsError, match=wrong):
        read_tensorflow_checkpoint(path)


@pytest.mark.parametrize(
    "record",
    [example({"n": 70_000 * b"\x81\x7f"}, kind=3), field(1, 70_000 * b"\x08\x01")],
    ids=["numbers", "parts"],
)
def test_a_small_record_cannot_ask_for_much(tmp_path: Path, record: bytes) -> None:
    write_records(tmp_path / "a.tfrecords", [record], zipped=True)
    with peak_below(2 * MEGABYTE), pytest.raises(ImageError, match="more"):
        read_pairs(tmp_path / "a.tfrecords")
