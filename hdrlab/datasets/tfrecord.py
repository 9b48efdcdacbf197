"""Reader of TensorFlow's record files, plain or GZIP, that needs no TensorFlow.

A record is its length, the length's checksum, the data, the data's checksum; the checksums are masked
CRC-32C. The data of an example are a protocol-buffer map from feature names to lists of values.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, cast

import numpy as np
from numpy.typing import NDArray

from hdrlab.io import ImageError
from hdrlab.io.image import open_regular
from hdrlab.io.tensorflow import check_crc, parse_message

RECORD_SUFFIXES = frozenset({".tfrecord", ".tfrecords"})
PATCH_SIDE = 256
MAX_RECORD_BYTES = 2**26  # a pair has 1.6 MB; what declares more than this is no record of pairs
_GZIP_MAGIC = b"\x1f\x8b\x08"
_KINDS = {1: "bytes", 2: "float", 3: "int64"}


def read_records(path: Path) -> Iterator[bytes]:
    """Yield the records of a file in their order, each checked.

    Raises:
        ImageError: The file is empty, truncated or damaged, naming the record.
    """
    number = 0
    with open_regular(path) as file:
        zipped = file.read(3) == _GZIP_MAGIC
        file.seek(0)
        stream = cast("IO[bytes]", gzip.GzipFile(fileobj=file)) if zipped else file
        try:
            while (record := _read_record(stream)) is not None:
                yield record
                number += 1
        except (OSError, EOFError, ValueError, zlib.error) as error:
            raise ImageError(path, f"record {number}: {error}") from error
    if number == 0:
        raise ImageError(path, "is empty")


def _read_record(stream: IO[bytes]) -> bytes | None:
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
    check_crc(body[:-4], int.from_bytes(body[-4:], "little"), "its data")
    return body[:-4]


def read_features(record: bytes) -> dict[str, bytes | str]:
    """Split a ``tf.train.Example`` into its features.

    Args:
        record: As from `read_records`.

    Returns:
        The value of each feature of one byte string; of any other the name of its kind, such as ``float``.

    Raises:
        ValueError: The record is no example.
    """
    features: dict[str, bytes | str] = {}
    try:
        for entry in parse_message(parse_message(record)[1][0]).get(1, []):
            pair = parse_message(entry)
            ((kind, (values,)),) = parse_message(pair[2][0]).items()
            name = _KINDS.get(kind, "unknown")
            found = parse_message(values).get(1, []) if name == "bytes" else []
            features[pair[1][0].decode()] = found[0] if len(found) == 1 else name
    except (ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"is no tf.train.Example ({error})") from error
    return features


def read_pairs(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Read all pairs of a published HDR-Real record file.

    Args:
        path: A file like ``train_64_0000.tfrecords``, whose examples have the features ``ref_LDR`` and
            ``ref_HDR``: raw little-endian float32 [256, 256, 3] RGB, the LDR picture from 0 to 255.

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


def _patch(features: Mapping[str, bytes | str], name: str) -> NDArray[np.float32]:
    raw = features.get(name)
    if raw is None:
        raise ValueError(f"has no feature {name}, only {', '.join(features) or 'none'}")
    if isinstance(raw, str):
        raise ValueError(f"feature {name} is a list of kind {raw}, must be one byte string")
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
