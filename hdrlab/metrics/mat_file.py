"""Reader of the real matrices in MATLAB's files; SciPy's ends the process on some damaged ones."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

_HEADER_BYTES = 128
_MATRIX, _COMPRESSED = 14, 15
_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CLASSES = {6: np.float64, 7: np.float32}
_COMPLEX = 0x800

Order = Literal["<", ">"]


def read_matrices(path: Path, most: int) -> dict[str, NDArray[np.floating]]:
    """Read the matrices of doubles or singles out of a MATLAB file, version 5 to 7.2.

    Args:
        path: The file.
        most: Bytes that a matrix may have; larger ones are passed over.

    Returns:
        Arrays by name, in MATLAB's order of indices.

    Raises:
        ValueError: It is no such file, or damaged; so do `struct.error` and `zlib.error` say.
        OSError: It cannot be read.
    """
    data = path.read_bytes()
    orders: dict[bytes, Order] = {b"IM": "<", b"MI": ">"}
    order = orders.get(data[126:128])
    if order is None:
        raise ValueError("no MATLAB file of version 5 to 7.2")
    found = {}
    for kind, element in _elements(data[_HEADER_BYTES:], order):
        if kind == _COMPRESSED:
            # The tag of the matrix, and its flags, dimensions and name beside the numbers.
            element = zlib.decompressobj().decompress(element, most + 1024)
            kind, size = struct.unpack_from(f"{order}II", element)
            element = element[8 : 8 + size]
        if kind == _MATRIX and (named := _matrix(element, order, most)):
            found[named[0]] = named[1]
    return found


def _elements(data: bytes, order: Order) -> Iterator[tuple[int, bytes]]:
    """Split what has tags of type and size into types and contents."""
    at = 0
    while at < len(data):
        kind, size = struct.unpack_from(f"{order}II", data, at)
        if kind >> 16:  # four bytes at most, in the place of the size
            yield kind & 0xFFFF, data[at + 4 : at + 4 + min(kind >> 16, 4)]
            at += 8
            continue
        if len(data) < at + 8 + size:
            raise ValueError("it is cut short")
        yield kind, data[at + 8 : at + 8 + size]
        at += 8 + size + (-size % 8 if kind != _COMPRESSED else 0)


def _matrix(element: bytes, order: Order, most: int) -> tuple[str, NDArray[np.floating]] | None:
    """Return name and values of a matrix, or None if it is no real one or larger than asked for."""
    parts = _elements(element, order)
    (_, flags), (_, sides), (_, name) = (next(parts, (0, b"")) for _ in range(3))
    (flag,) = struct.unpack_from(f"{order}I", flags)
    shape = struct.unpack(f"{order}{len(sides) // 4}i", sides)
    if flag & _COMPLEX or flag & 0xFF not in _CLASSES or not 0 < 8 * math.prod(shape) <= most:
        return None
    kind, numbers = next(parts, (0, b""))
    values = np.frombuffer(numbers, np.dtype(_TYPES[kind]).newbyteorder(order))
    return name.decode("ascii", "replace"), values.astype(_CLASSES[flag & 0xFF]).reshape(shape, order="F")
