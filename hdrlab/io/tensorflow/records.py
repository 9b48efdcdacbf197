"""Reader of TensorFlow's record files, plain or GZIP, that needs no TensorFlow.

A record is its length, the length's checksum, the data, the data's checksum; the checksums are masked
CRC-32C. The data of an example are a protocol-buffer map from feature names to lists of values.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from os import SEEK_CUR
from pathlib import Path
from typing import IO, Any, BinaryIO, Literal, cast

import numpy as np
from numpy.typing import NDArray

from hdrlab.errors import ImageError
from hdrlab.io.image import open_regular
from hdrlab.io.tensorflow.protobuf import check_crc, parse_message, parse_varint

RECORD_SUFFIXES = frozenset({".tfrecord", ".tfrecords"})
PATCH_SIDE = 256
MAX_RECORD_BYTES = 2**28  # layers of an image of 12 megapixels; what declares more is no record of images
FREE_BYTES, BYTES_PER_BYTE = 1 << 24, 100
"""What a packed file may hold: some, and as many times its length; floats of images shrink a few times."""
MAX_INTEGER_BYTES = 2**10  # heights and widths are single numbers
_GZIP_MAGIC = b"\x1f\x8b\x08"
_KINDS = {1: "bytes", 2: "float", 3: "int64"}

Floats = NDArray[np.float32]
Feature = bytes | Floats | NDArray[np.int64] | str
"""A byte string, a list of numbers, or of anything else the name of its kind."""

ToneKind = Literal["dual", "ft", "test"]
TONE_MAPS: Mapping[ToneKind, Mapping[str, int]] = {
    "dual": {"train1": 1, "label1": 1, "train2": 2, "label2": 2},
    "ft": {"train": 1, "label": 1, "train1": 1, "train2": 2},
    "test": {"test0": 1, "test1": 2},
}
"""The maps of each kind of tone-mapping record, and whether their size is h1×w1 or h2×w2."""


@dataclass(frozen=True, eq=False)
class ToneRecord:
    """A published tone-mapping record.

    Attributes:
        kind: dual, the layers of an HDR and an SDR patch; ft, an encoded HDR patch with its layers, and its
            SDR patch; test, the layers of a whole HDR image.
        maps: Arrays [H, W, 3] by the names of `TONE_MAPS`, as stored.
        name: The image's name; of test records only.
    """

    kind: ToneKind
    maps: Mapping[str, Floats]
    name: str = ""


def read_records(path: Path) -> Iterator[memoryview]:
    """Yield the records of a file in their order, each checked.

    Raises:
        ImageError: The file is empty, truncated or damaged, naming the record.
    """
    number = 0
    with _opened(path) as stream:
        try:
            while (record := _read_record(stream)) is not None:
                yield record
                number += 1
        except (OSError, EOFError, ValueError, zlib.error) as error:
            raise ImageError(path, f"record {number}: {error}") from error
    if number == 0:
        raise ImageError(path, "is empty")


def count_records(path: Path) -> int:
    """Count the records of a file by their lengths alone; what is wrong with them, reading them will tell.

    Raises:
        ImageError: The file cannot be opened.
    """
    number = 0
    with _opened(path) as stream, suppress(OSError, EOFError, ValueError, OverflowError, zlib.error):
        while len(head := stream.read(12)) == 12:
            stream.seek(int.from_bytes(head[:8], "little") + 4, SEEK_CUR)
            number += 1
    return number


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    with open_regular(path) as file:
        zipped = file.read(3) == _GZIP_MAGIC
        file.seek(0)
        yield cast("IO[bytes]", _Unpacked(file, path.stat().st_size)) if zipped else file


class _Unpacked(gzip.GzipFile):
    """What a packed file holds, as long as it is no more than images of its size can be.

    Raises:
        ValueError: More is asked for, before any of it is made.
    """

    def __init__(self, file: BinaryIO, length: int) -> None:
        super().__init__(fileobj=file)
        self._most = FREE_BYTES + BYTES_PER_BYTE * length

    def read(self, size: int | None = -1) -> bytes:
        """Read as a file does."""
        if size is not None and size >= 0:
            self._check(super().seek(0, SEEK_CUR) + size)
        return super().read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go on to a place, unpacking what lies before it."""
        self._check(offset + (super().seek(0, SEEK_CUR) if whence == SEEK_CUR else 0))
        return super().seek(offset, whence)

    def _check(self, end: int) -> None:
        if end > self._most:
            raise ValueError(f"unpacks to more than {self._most} bytes, too many for a file of its size")


def _read_record(stream: IO[bytes]) -> memoryview | None:
    head = stream.read(12)
    if not head:
        return None
    length = int.from_bytes(head[:8], "little")
    if len(head) == 12:
        check_crc(head[:8], int.from_bytes(head[8:], "little"), "its length")
        if length > MAX_RECORD_BYTES:
            raise ValueError(f"declares {length} bytes, the limit is {MAX_RECORD_BYTES}")
    body = stream.read(length + 4) if len(head) == 12 else b""
    if len(body) < length + 4:
        raise ValueError("is truncated")
    record = memoryview(body)[:-4]
    check_crc(record, int.from_bytes(body[-4:], "little"), "its data")
    return record


def read_features(record: bytes | memoryview) -> dict[str, Feature]:
    """Split a ``tf.train.Example`` into its features.

    Args:
        record: As from `read_records`.

    Returns:
        The value of each feature by its name: of one byte string that; of numbers a float32 or int64 array;
        of any other the name of its kind.

    Raises:
        ValueError: The record is no example.
    """
    features: dict[str, Feature] = {}
    try:
        # Views of the record, so that what is nested in it is not copied at every level.
        for entry in parse_message(parse_message(memoryview(record))[1][0]).get(1, []):
            pair = parse_message(entry)
            ((kind, (values,)),) = parse_message(pair[2][0]).items()
            features[bytes(pair[1][0]).decode()] = _feature(_KINDS.get(kind, "unknown"), values)
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"is no tf.train.Example ({error})") from error
    return features


def _feature(kind: str, values: memoryview) -> Feature:
    """Turn the list inside a feature into its value."""
    if kind == "unknown":
        return kind
    found = parse_message(values).get(1, [])
    if kind == "bytes":
        if len(found) != 1:
            return "byte strings"
        if not isinstance(found[0], memoryview):
            raise ValueError("a number in place of a byte string")
        return bytes(found[0])
    # Numbers come packed into a byte string, but a reader has to take single ones too.
    if kind == "float":
        raw = b"".join(v if isinstance(v, memoryview) else v.to_bytes(4, "little") for v in found)
        return np.frombuffer(raw, "<f4").astype(np.float32, copy=False)
    numbers: list[int] = []
    for value in found:
        numbers += _unpacked(value) if isinstance(value, memoryview) else [value]
    return np.array(numbers, np.uint64).astype(np.int64)


def _unpacked(data: memoryview) -> list[int]:
    if len(data) > MAX_INTEGER_BYTES:
        raise ValueError("a list of more whole numbers than any record of images has")
    numbers, at = [], 0
    while at < len(data):
        value, at = parse_varint(data, at)
        numbers.append(value)
    return numbers


def read_pairs(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Read all pairs of a published HDR-Real record file.

    Args:
        path: A file like ``train_64_0000.tfrecords``, whose examples have the features ``ref_LDR`` and
            ``ref_HDR``: raw little-endian float32 [256, 256, 3] RGB, the LDR image from 0 to 255.

    Returns:
        JPEG values [N, 256, 256, 3], display-encoded, and HDR values [N, 256, 256, 3], linear, in the units
        of the file.

    Raises:
        ImageError: With the number of the record, and what is wrong with it.

    Source:
        SingleHDR, conversion of HDR-Real to records.
    """
    ldr, hdr = [], []
    for number, record in enumerate(read_records(path)):
        try:
            features = read_features(record)
            ldr.append(_to_bytes(_patch(features, "ref_LDR")))
            hdr.append(_patch(features, "ref_HDR"))
        except ValueError as error:
            raise ImageError(path, f"record {number}: {error}") from error
        bad = np.count_nonzero(~np.isfinite(hdr[-1]))
        if bad:
            raise ImageError(path, f"record {number}: ref_HDR holds {bad} non-finite values")
    return np.stack(ldr), np.stack(hdr)


def _patch(features: Mapping[str, Feature], name: str) -> NDArray[np.float32]:
    raw = _wanted(features, name, "bytes", "one byte string")
    wanted = PATCH_SIDE * PATCH_SIDE * 3 * 4
    if len(raw) != wanted:
        raise ValueError(
            f"feature {name} has {len(raw)} bytes, must have {wanted}: {PATCH_SIDE}×{PATCH_SIDE}×3 float32"
        )
    return np.frombuffer(raw, "<f4").astype(np.float32, copy=False).reshape(PATCH_SIDE, PATCH_SIDE, 3)


def _to_bytes(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Turn JPEG values that were stored as floats back into bytes."""
    whole = np.rint(np.nan_to_num(values, nan=-1)).clip(0, 255)
    if not np.array_equal(whole, values):
        raise ValueError("feature ref_LDR holds values that are no whole numbers from 0 to 255")
    return whole.astype(np.uint8)


def read_tone_records(path: Path) -> Iterator[ToneRecord]:
    """Yield the records of a published tone-mapping file, each checked.

    Args:
        path: A file like ``dual_.tfrecord``, ``ft_.tfrecord`` or ``test_.tfrecord``.

    Raises:
        ImageError: With the number of the record, and what is wrong with it.

    Source:
        IQATM, the authors' record generator.
    """
    first: ToneKind | None = None
    for number, record in enumerate(read_records(path)):
        try:
            tone = _tone_record(read_features(record))
            first = first or tone.kind
            if tone.kind != first:
                raise ValueError(f"is of the kind {tone.kind}, the first one {first}")
        except ValueError as error:
            raise ImageError(path, f"record {number}: {error}") from error
        yield tone


def _tone_record(features: Mapping[str, Feature]) -> ToneRecord:
    kind = next((kind for kind, maps in TONE_MAPS.items() if maps.keys() <= features.keys()), None)
    if kind is None:
        needed = "; ".join(f"{kind}_ needs {', '.join(maps)}" for kind, maps in TONE_MAPS.items())
        raise ValueError(f"has the features {', '.join(features) or 'none'}; {needed}")
    sizes = {which: (_number(features, f"h{which}"), _number(features, f"w{which}")) for which in (1, 2)}
    # A whole image's layer is rounded up; patches have multiples of 8.
    if sizes[2] != tuple(-(-side // 8) for side in sizes[1]):
        raise ValueError(f"bottom layer is {_by(sizes[2])}, the other {_by(sizes[1])}: must be 8 times that")
    maps = {name: _map(features, name, sizes[which]) for name, which in TONE_MAPS[kind].items()}
    name = _wanted(features, "name", "bytes", "one byte string") if kind == "test" else b""
    return ToneRecord(kind, maps, name.decode(errors="replace"))


def _number(features: Mapping[str, Feature], name: str) -> int:
    values = _wanted(features, name, "int64", "one whole number above 0")
    if values.size != 1 or values[0] < 1:
        raise ValueError(f"feature {name} is {values[:8].tolist()}, must be one whole number above 0")
    return int(values[0])


def _map(features: Mapping[str, Feature], name: str, size: tuple[int, int]) -> Floats:
    values = _wanted(features, name, "float", "a list of kind float")
    if values.size != size[0] * size[1] * 3:
        raise ValueError(f"feature {name} has {values.size} numbers, must have {_by(size)}×3")
    bad = np.count_nonzero(~np.isfinite(values))
    if bad:
        raise ValueError(f"{name} holds {bad} non-finite values")
    return cast("Floats", values.reshape(*size, 3))


def _by(size: tuple[int, ...]) -> str:
    return "×".join(map(str, size))


def _wanted(features: Mapping[str, Feature], name: str, kind: str, expected: str) -> Any:
    """Return a feature of the kind that is needed."""
    value = features.get(name)
    if value is None:
        raise ValueError(f"has no feature {name}, only {', '.join(features) or 'none'}")
    if isinstance(value, str):
        found = value
    else:
        found = "bytes" if isinstance(value, bytes) else value.dtype.name.removesuffix("32")
    if found != kind:
        raise ValueError(f"feature {name} is a list of kind {found}, must be {expected}")
    return value
