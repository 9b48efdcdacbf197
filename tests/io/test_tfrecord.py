"""Record files are read as TensorFlow writes them, and every damage is named."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from records import (
    example,
    field,
    framed,
    masked_crc,
    pair_example,
    tone_example,
    tone_maps,
    write_records,
)

from hdrlab.errors import ImageError
from hdrlab.io.tensorflow.records import (
    TONE_MAPS,
    ToneKind,
    count_records,
    read_features,
    read_pairs,
    read_records,
    read_tone_records,
)

RECORDS = [b"first", b"", bytes(range(256)) * 5]


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray]:
    draws = np.random.default_rng(3)
    ldr = draws.integers(0, 256, (256, 256, 3)).astype(np.float32)
    return ldr, draws.gamma(1, 2, (256, 256, 3)).astype(np.float32)


@pytest.mark.parametrize("zipped", [False, True])
def test_records_come_back_in_order(tmp_path: Path, zipped: bool) -> None:
    write_records(tmp_path / "a.tfrecords", RECORDS, zipped=zipped)
    assert list(read_records(tmp_path / "a.tfrecords")) == RECORDS


def test_the_checksum_is_the_published_one_masked(tmp_path: Path) -> None:
    # CRC-32C("123456789") is published as E3069283; rotated by 15 bits plus A282EAD8 it is this.
    path = tmp_path / "published.tfrecords"
    path.write_bytes(framed(b"123456789", crc=(0xC78AB0E5).to_bytes(4, "little")))
    assert list(read_records(path)) == [b"123456789"]


def test_pairs_are_read_plain_and_zipped(tmp_path: Path, pair: tuple[np.ndarray, np.ndarray]) -> None:
    ldr, hdr = pair
    for zipped in (False, True):
        path = tmp_path / f"train_64_{zipped:04d}.tfrecords"
        write_records(path, [pair_example(ldr, hdr), pair_example(255 - ldr, 2 * hdr)], zipped=zipped)
        read_ldr, read_hdr = read_pairs(path)
        assert read_ldr.dtype == np.uint8
        assert read_hdr.dtype == np.float32
        np.testing.assert_array_equal(read_ldr, np.stack([ldr, 255 - ldr]))
        np.testing.assert_array_equal(read_hdr, np.stack([hdr, 2 * hdr]))


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("kept", [4, 11, 14, 30, -1])
def test_truncation_is_named(tmp_path: Path, zipped: bool, kept: int) -> None:
    path = tmp_path / "cut.tfrecords"
    data = framed(b"a record of some length")[:kept]
    path.write_bytes(gzip.compress(data) if zipped else data)
    with pytest.raises(ImageError, match=r"cut\.tfrecords: record 0: is truncated"):
        list(read_records(path))


def test_a_cut_gzip_stream_is_named(tmp_path: Path) -> None:
    write_records(tmp_path / "a.tfrecords", [bytes(50), np.random.default_rng(0).bytes(5000)], zipped=True)
    data = (tmp_path / "a.tfrecords").read_bytes()
    (tmp_path / "b.tfrecords").write_bytes(data[: len(data) // 2])
    with pytest.raises(ImageError, match=r"b\.tfrecords: record \d"):
        list(read_records(tmp_path / "b.tfrecords"))
    (tmp_path / "c.tfrecords").write_bytes(data[:40] + b"\xff\xff\xff" + data[43:])
    with pytest.raises(ImageError, match=r"c\.tfrecords: record \d"):
        list(read_records(tmp_path / "c.tfrecords"))


@pytest.mark.parametrize(("at", "what"), [(2, "its length"), (15, "its data"), (-1, "its data")])
def test_a_flipped_bit_is_found(tmp_path: Path, at: int, what: str) -> None:
    good, damaged = framed(b"good"), bytearray(framed(b"damaged record"))
    damaged[at] ^= 4
    path = tmp_path / "flip.tfrecords"
    path.write_bytes(good + damaged)
    with pytest.raises(ImageError, match=f"record 1: the checksum of {what} does not match"):
        list(read_records(path))


def test_a_length_beyond_all_reason_is_refused_before_reading(tmp_path: Path) -> None:
    length = (2**40).to_bytes(8, "little")
    (tmp_path / "big.tfrecords").write_bytes(length + masked_crc(length) + b"data")
    with pytest.raises(ImageError, match=r"record 0: declares 1099511627776 bytes, the limit is"):
        list(read_records(tmp_path / "big.tfrecords"))


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    for name, data in {"a.tfrecords": b"", "b.tfrecords": gzip.compress(b"")}.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ImageError, match="is empty"):
            list(read_records(tmp_path / name))


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (example({"ref_HDR": b"x"}), "has no feature ref_LDR, only ref_HDR"),
        (example({}), "has no feature ref_LDR, only none"),
        (example({"ref_LDR": b"\0" * 12, "ref_HDR": b"x"}), "feature ref_LDR has 12 bytes, must have 786432"),
        (example({"ref_LDR": b"\0" * 4}, kind=2), "feature ref_LDR is a list of kind float"),
        (b"\xff\xff\xff no message", "is no tf.train.Example"),
        (field(1, field(1, b"\x0a")), "is no tf.train.Example"),
        (b"", "is no tf.train.Example"),
    ],
)
def test_wrong_features_are_named(tmp_path: Path, record: bytes, message: str) -> None:
    write_records(tmp_path / "a.tfrecords", [record])
    with pytest.raises(ImageError, match=f"record 0: .*{message}"):
        read_pairs(tmp_path / "a.tfrecords")


def test_wrong_values_are_named(tmp_path: Path, pair: tuple[np.ndarray, np.ndarray]) -> None:
    ldr, hdr = pair
    for wrong, message in ((ldr / 255, "whole numbers"), (ldr + 1, "whole numbers"), (ldr * np.nan, "whole")):
        write_records(tmp_path / "a.tfrecords", [pair_example(wrong, hdr)])
        with pytest.raises(ImageError, match=f"record 0: feature ref_LDR .*{message}"):
            read_pairs(tmp_path / "a.tfrecords")
    infinite = hdr.copy()
    infinite[3, 4, 1] = np.inf
    write_records(tmp_path / "a.tfrecords", [pair_example(ldr, hdr), pair_example(ldr, infinite)])
    with pytest.raises(ImageError, match="record 1: ref_HDR holds 1 non-finite values"):
        read_pairs(tmp_path / "a.tfrecords")


def test_lists_of_numbers_are_read_packed_and_single() -> None:
    floats, packed = np.array([1.5, -2, 3e-38], "<f4"), b"\x01\xac\x02" + b"\xff" * 9 + b"\x01"
    read = read_features(example({"x": floats.tobytes()}, kind=2))["x"]
    np.testing.assert_array_equal(read, floats)
    np.testing.assert_array_equal(read_features(example({"n": packed}, kind=3))["n"], [1, 300, -1])
    singles = {  # numbers with a tag each
        (2, b"".join(b"\x0d" + value.tobytes() for value in floats)): floats,
        (3, b"\x08\x01\x08\xac\x02"): [1, 300],
    }
    for (kind, data), expected in singles.items():
        record = field(1, field(1, field(1, b"x") + field(2, field(kind, data))))
        np.testing.assert_array_equal(read_features(record)["x"], expected)


def test_other_kinds_of_features_are_named() -> None:
    assert read_features(example({"label": b"\x01"}, kind=9)) == {"label": "unknown"}
    twice = field(1, field(1, field(1, b"x") + field(2, field(1, field(1, b"a") + field(1, b"b")))))
    assert read_features(twice) == {"x": "byte strings"}


def test_random_bytes_raise_nothing_else(tmp_path: Path) -> None:
    draws = np.random.default_rng(1)
    path = tmp_path / "noise.tfrecords"
    for length in range(1, 200):
        record = draws.bytes(length)
        write_records(path, [record])
        with pytest.raises(ImageError):
            read_pairs(path)
        path.write_bytes(record)
        with pytest.raises(ImageError):
            read_pairs(path)


# ------------------------------------------------------------------------------- tone-mapping records


@pytest.mark.golden
@pytest.mark.parametrize("kind", ["dual", "ft"])
def test_published_training_records_read_as_they_were_written(iqatm_goldens: Path, kind: ToneKind) -> None:
    expected = np.load(iqatm_goldens / "e2e.npz")
    path = iqatm_goldens / f"{kind}_.tfrecord"
    records = list(read_tone_records(path))
    assert len(records) == count_records(path) == 3
    for number, record in enumerate(records):
        assert (record.kind, record.name) == (kind, "")
        assert record.maps.keys() == TONE_MAPS[kind].keys()
        for name, values in record.maps.items():
            assert values.dtype == np.float32
            np.testing.assert_array_equal(values, expected[f"{kind}_{number}_{name}"])


@pytest.mark.golden
def test_published_test_records_read_as_they_were_written(iqatm_goldens: Path) -> None:
    expected = np.load(iqatm_goldens / "e2e.npz")
    records = {record.name: record for record in read_tone_records(iqatm_goldens / "test_.tfrecord")}
    assert records.keys() == {"sceneA", "sceneB"}
    for name, record in records.items():
        assert record.kind == "test"
        for ours, theirs in (("test0", "high"), ("test1", "bot")):
            np.testing.assert_array_equal(record.maps[ours], expected[f"rec_{theirs}_{name}"])


@pytest.mark.parametrize("zipped", [False, True])
def test_tone_records_written_by_hand_are_read(tmp_path: Path, zipped: bool) -> None:
    patches = [tone_maps("ft", number) for number in range(3)]
    write_records(tmp_path / "ft_.tfrecord", [tone_example(maps) for maps in patches], zipped=zipped)
    assert count_records(tmp_path / "ft_.tfrecord") == 3
    for record, maps in zip(read_tone_records(tmp_path / "ft_.tfrecord"), patches, strict=True):
        for name, values in record.maps.items():
            np.testing.assert_array_equal(values, maps[name])


def test_wrong_tone_records_are_named(tmp_path: Path) -> None:
    good = tone_maps("dual", 0)
    broken = good | {"label2": good["label2"] * np.nan}
    short = good | {"label1": good["label1"][:-1]}
    flat = good | {"train2": good["train2"][:3]}
    lacking = {name: values for name, values in good.items() if name != "label2"}
    for maps, message in (
        (broken, "record 1: label2 holds 48 non-finite values"),
        (short, "record 1: feature label1 has 2976 numbers, must have 32×32×3"),
        (flat, "record 1: bottom layer is 3×4, the other 32×32: must be 8 times that"),
        (lacking, "record 1: has the features train1, label1, train2, .*; dual_ needs train1, label1"),
        (tone_maps("ft", 0), "record 1: is of the kind ft, the first one dual"),
    ):
        write_records(tmp_path / "a.tfrecord", [tone_example(good), tone_example(maps)])
        with pytest.raises(ImageError, match=message):
            list(read_tone_records(tmp_path / "a.tfrecord"))


def test_a_number_in_place_of_a_byte_string_is_no_example() -> None:
    feature = b"\x0a\x02\x08\x05"  # field 1, a list of byte strings, whose only value is the number 5
    entry = b"\x0a\x01x" + b"\x12" + bytes([len(feature)]) + feature
    features = b"\x0a" + bytes([len(entry)]) + entry
    with pytest.raises(ValueError, match="a number in place of a byte string"):
        read_features(b"\x0a" + bytes([len(features)]) + features)
