"""Pickled files from anywhere: read whole or refused, nothing run, no more memory taken than they are long.

Pickles are programs. PyTorch's are left to its restricted reader; those inside ``.npy`` files are read here,
by Python's unpickler with what it may do cut down to building dictionaries of arrays.
"""

from __future__ import annotations

import lzma
import mmap
import pickle
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor

from hdrlab.errors import HdrlabError, WeightsError

DAMAGE = (
    OSError, RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError,
    ArithmeticError, EOFError, MemoryError, struct.error, zlib.error, zipfile.BadZipFile,
    lzma.LZMAError, pickle.UnpicklingError, SafetensorError,
)  # fmt: skip
"""What reading damaged or hostile bytes raises."""

_LONGEST = 500
"""Of a reason that a library gives, which may repeat what is in the file."""


def load_safely(
    path: Path, error: type[HdrlabError] = WeightsError, remedy: str = "", *, old: bool = False
) -> dict[str, Any]:
    """Read a dictionary that ``torch.save`` wrote, onto the CPU.

    Args:
        path: The file.
        error: What to raise.
        remedy: What to do about a file that cannot be read, for the message.
        old: Whether the form from before PyTorch 1.6 will do, which published weights have: it carries no
            checksums.

    Raises:
        HdrlabError: Of the type asked for, with path and reason: damaged, foreign, or no dictionary.
    """
    try:
        if not old or zipfile.is_zipfile(path):
            _check_records(path)
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except DAMAGE as reason:
        raise error(f"{path}: cannot be read ({_reason(reason)}){remedy}") from reason
    if not isinstance(stored, dict):
        raise error(f"{path}: holds no weights of hdrlab, but a {type(stored).__name__}")
    return stored


def _reason(error: BaseException) -> str:
    """Say in one sentence what PyTorch found, without its advice to run what is in the file."""
    text = str(error).partition("WeightsUnpickler error: ")[2] or str(error)
    lines = [line for line in text.splitlines() if line and not line.startswith("Weights only load failed")]
    return lines[0].partition(". ")[0][:_LONGEST] if lines else type(error).__name__


def require_weights(
    path: Path, weights: object, error: type[HdrlabError] = WeightsError
) -> Mapping[str, Tensor]:
    """Refuse weights, of any shape, that are not dense tensors of finite real numbers, by name.

    Raises:
        HdrlabError: Of the type asked for, naming the first that is not.
    """
    if not isinstance(weights, dict):
        raise error(f"{path}: holds no plain tensors as weights")
    for name, value in weights.items():
        if not isinstance(name, str) or not _is_plain(value):
            raise error(f"{path}: holds no plain tensors as weights ({name!s:.80})")
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise error(f"{path}: {name:.80} holds NaN or infinite values")
    return weights


def _is_plain(value: object) -> bool:
    """Say whether a value is a real tensor in memory that holds as many numbers as its shape says."""
    if type(value) is not Tensor or value.device.type != "cpu" or value.layout is not torch.strided:
        return False
    if value.is_quantized or value.is_nested or value.is_complex():
        return False
    return value.untyped_storage().nbytes() >= value.numel() * value.element_size()


def _check_records(path: Path) -> None:
    """Compare the checksums of a file's records: PyTorch lets a flipped bit pass.

    Raises:
        ValueError: They differ, or the records are packed, as PyTorch never does, to who knows what size.
        OSError: The file cannot be read.
        zipfile.BadZipFile: It is no such file.
    """
    with zipfile.ZipFile(path) as archive:
        records = archive.infolist()
        packed = any(record.compress_type != zipfile.ZIP_STORED for record in records)
        if packed or sum(record.file_size for record in records) > path.stat().st_size:
            raise ValueError("its records are packed or overlap")
        damaged = archive.testzip()
    if damaged:
        raise ValueError(f"the checksum of its record {damaged} does not match")


# ----------------------------------------------------------------------------------- pickles in .npy files


class PickledArray:
    """Stands for a NumPy array inside a pickle, and for NumPy's function that makes an empty one."""

    state: tuple[Any, ...] = ()

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state

    def decode(self, most: int) -> NDArray[np.float32]:
        """Return a plain array of floats, of the shape and of any values that the file holds.

        Args:
            most: How many numbers it may hold.

        Raises:
            ValueError: It holds more, or no floats.
        """
        _, shape, dtype, fortran, data = self.state
        if dtype.code not in ("f2", "f4", "f8"):
            raise ValueError(f"an array is of type {dtype.code!r}, not of floats")
        raw = data.encode("latin1") if isinstance(data, str) else data
        flat = np.frombuffer(raw, np.dtype(dtype.byte_order + dtype.code))
        if flat.size > most:
            raise ValueError(f"an array holds {flat.size} numbers, more than the {most} of any layer")
        return flat.reshape(shape, order="F" if fortran else "C").astype(np.float32)


def load_pickled_npy(path: Path) -> Any:
    """Read the object that `numpy.save` pickled, for example a dictionary of layers.

    Args:
        path: A `.npy` file of one object.

    Returns:
        Dictionaries with text as keys, lists, tuples, numbers and text; arrays as `PickledArray`.

    Raises:
        ValueError, or another of `DAMAGE`: It holds anything else, or is damaged.
    """
    with path.open("rb") as file:
        if b"'|O'" not in _read_npy_header(file):
            raise ValueError("it holds plain numbers instead of a dictionary of layers")
        start = file.tell()
        # A map gives no more than it has, whatever length a pickle declares.
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            content.seek(start)
            return _ArrayUnpickler(content, encoding="latin1").load().state[4][0]


def _read_npy_header(file: IO[bytes]) -> bytes:
    """Skip to the data. NumPy's own parser meets damaged headers with exceptions of the tokenizer."""
    version = file.read(8)[6]
    length = int.from_bytes(file.read(2 if version == 1 else 4), "little")
    if length > 2**16:
        raise ValueError("its header does not end")
    return file.read(length)


class _PickledDtype:
    """Stands for a NumPy dtype inside a pickle."""

    byte_order = "<"

    def __init__(self, code: str, *_: Any) -> None:
        self.code = code

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.byte_order = state[1]


class _Encode:
    """Stands for `_codecs.encode`, by which Python 3 writes bytes into protocol 2.

    Args:
        most: Bytes it may make in all, lest a text be encoded over and over.
    """

    def __init__(self, most: int) -> None:
        self.most = most

    def __call__(self, text: str, encoding: str) -> bytes:
        self.most -= len(text)
        if encoding != "latin1" or self.most < 0:
            raise pickle.UnpicklingError("it encodes text as NumPy does not")
        return text.encode("latin1")


class _Opcodes(dict[int, Any]):
    """What the unpickler does at each opcode that NumPy's pickles of numbers have."""

    def __missing__(self, code: int) -> Any:
        raise pickle.UnpicklingError(f"opcode {code:#04x} has no place in a pickle of arrays")


def _with_text_as_keys(load: Any, keys: slice) -> Any:
    """Let an opcode fill a dictionary whose keys, a slice of the stack, are text alone."""

    def checked(unpickler: Any) -> None:
        # Hashing a key that is nested deeply enough would overflow the stack.
        if not all(type(key) is str for key in unpickler.stack[keys]):
            raise pickle.UnpicklingError("a dictionary in it has keys other than text")
        load(unpickler)

    return checked


_CODES = (
    "PROTO FRAME STOP GLOBAL STACK_GLOBAL REDUCE BUILD MARK MEMOIZE BINPUT LONG_BINPUT BINGET LONG_BINGET "
    "EMPTY_TUPLE TUPLE1 TUPLE2 TUPLE3 TUPLE EMPTY_LIST APPEND APPENDS EMPTY_DICT SETITEM SETITEMS NONE "
    "NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT SHORT_BINSTRING BINSTRING SHORT_BINUNICODE "
    "BINUNICODE BINUNICODE8 SHORT_BINBYTES BINBYTES BINBYTES8"
)


_LOAD = pickle._Unpickler.dispatch
_SETITEM, _SETITEMS = pickle.SETITEM[0], pickle.SETITEMS[0]


class _ArrayUnpickler(pickle._Unpickler):  # the fast one reserves a memo as long as the file wants it
    dispatch = _Opcodes(
        {code: _LOAD[code] for code in (getattr(pickle, name)[0] for name in _CODES.split())}
    ) | {
        _SETITEM: _with_text_as_keys(_LOAD[_SETITEM], slice(-2, -1)),
        _SETITEMS: _with_text_as_keys(_LOAD[_SETITEMS], slice(None, None, 2)),
    }

    def __init__(self, content: mmap.mmap, **options: Any) -> None:
        super().__init__(content, **options)
        self.encode = _Encode(len(content))

    def find_class(self, module: str, name: str) -> Any:
        """Return something inert in place of what a pickle of arrays names."""
        if (module, name) == ("_codecs", "encode"):
            return self.encode
        known = {"dtype": _PickledDtype, "ndarray": PickledArray, "_reconstruct": PickledArray}
        if module not in ("numpy", "numpy.core.multiarray", "numpy._core.multiarray") or name not in known:
            raise pickle.UnpicklingError(f"it wants {module}.{name}, and only NumPy arrays are allowed")
        return known[name]
