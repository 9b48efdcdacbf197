"""Pickles that would run something, or take more memory than their file has bytes."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from memory import MEGABYTE, peak_below

from hdrlab.errors import WeightsError
from hdrlab.weights.safe_load import DAMAGE, PickledArray, load_pickled_npy, load_safely, require_weights


def npy(path: Path, pickled: bytes) -> Path:
    """A `.npy` file whose array of one object is this pickle's."""
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
        file.write(pickled)
    return path


def refused(path: Path) -> str:
    with pytest.raises(DAMAGE) as caught:
        load_pickled_npy(path)
    return str(caught.value)


TEXT = b"X" + struct.pack("<I", 1000) + 1000 * b"x"
BOMBS = {
    "memo": b"\x80\x02Nr\xff\xff\xff\x03.",
    "bytearray": b"\x80\x05\x96" + struct.pack("<Q", 2**32) + b".",
    "bytes": b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b".",
    "frame": b"\x80\x04\x95" + struct.pack("<Q", 2**40) + b".",
    "encoded over and over": b"\x80\x02c_codecs\nencode\nq\x00"
    + TEXT
    + b"q\x01X\x06\0\0\0latin1q\x02]("
    + 200_000 * b"h\x00h\x01h\x02\x86R"
    + b"e.",
    "nested keys": b"\x80\x02}" + b"N" + 1000 * b"\x85" + b"Ns.",
    "nested keys at once": b"\x80\x02}(" + b"N" + 1000 * b"\x85" + b"Nu.",
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_pickle_cannot_ask_for_much(tmp_path: Path, name: str) -> None:
    path = npy(tmp_path / "bomb.npy", BOMBS[name])
    with peak_below(100 * MEGABYTE):
        message = refused(path)
    # Deep enough, hashing these would overflow the stack: the message tells that none was hashed.
    assert ("keys other than text" in message) == name.startswith("nested")


def test_an_array_may_not_be_larger_than_what_is_looked_for(tmp_path: Path) -> None:
    held = np.array({"a": np.zeros(1000, np.float16), "b": np.zeros(3, np.int64)}, object)
    np.save(tmp_path / "a.npy", held, allow_pickle=True)
    layers = load_pickled_npy(tmp_path / "a.npy")
    assert isinstance(layers["a"], PickledArray)
    assert layers["a"].decode(1000).dtype == np.float32
    with pytest.raises(ValueError, match="1000 numbers, more than the 999"):
        layers["a"].decode(999)
    with pytest.raises(ValueError, match="'i8', not of floats"):
        layers["b"].decode(3)


@pytest.mark.parametrize(
    "wanted", ["posix\nsystem", "builtins\neval", "numpy\nload", "numpy.core.multiarray\nzeros"]
)
def test_no_name_but_those_of_arrays_is_known(tmp_path: Path, wanted: str) -> None:
    text = refused(npy(tmp_path / "a.npy", b"\x80\x02c" + wanted.encode() + b"\nN\x85R."))
    assert wanted.replace("\n", ".") in text


def test_what_a_pickle_of_arrays_does_not_contain_is_refused(tmp_path: Path) -> None:
    for pickled in (pickle.dumps({1: 2}), pickle.dumps({1, 2}), b"\x80\x02P1\n.", b"(i__main__\nlist\n."):
        refused(npy(tmp_path / "a.npy", pickled))
    assert "header" in refused_header(tmp_path / "b.npy", b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**31))
    assert "plain numbers" in refused_header(tmp_path / "c.npy", b"\x93NUMPY\x01\x00\x02\x00{}")


def refused_header(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return refused(path)


def test_the_message_gives_pytorchs_reason_and_not_its_advice(tmp_path: Path) -> None:
    torch.save({"a": pickle.PickleBuffer}, tmp_path / "a.pt")
    with pytest.raises(WeightsError, match=r"a\.pt: cannot be read \(.*PickleBuffer") as caught:
        load_safely(tmp_path / "a.pt")
    assert "weights_only" not in str(caught.value)
    torch.save([1], tmp_path / "b.pt")
    with pytest.raises(WeightsError, match=r"b\.pt: holds no weights of hdrlab, but a list"):
        load_safely(tmp_path / "b.pt")
    torch.save({"a": 1}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert load_safely(tmp_path / "old.pt", old=True) == {"a": 1}
    with pytest.raises(WeightsError, match="not a zip file"):
        load_safely(tmp_path / "old.pt")


def test_weights_are_plain_tensors_of_finite_numbers(tmp_path: Path) -> None:
    good = {"view": torch.zeros(3, 2).T, "count": torch.tensor(1), "half": torch.ones(2).half()}
    assert require_weights(tmp_path / "net.pt", good) == good
    for odd in (
        torch.zeros(1).expand(2),
        torch.zeros(2).to_sparse(),
        torch.zeros(2, device="meta"),
        [0.0],
        torch.ones(2, dtype=torch.complex64),
    ):
        with pytest.raises(WeightsError, match=r"net\.pt: holds no plain tensors as weights \(odd"):
            require_weights(tmp_path / "net.pt", {**good, "odd": odd})
    for value in (torch.nan, -torch.inf):
        with pytest.raises(WeightsError, match=r"net\.pt: odd holds NaN or infinite"):
            require_weights(tmp_path / "net.pt", {**good, "odd": torch.tensor([1, value]).bfloat16()})
