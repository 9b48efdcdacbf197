"""Readers of the response-curve files of Columbia's CAVE laboratory.

EMoR (`invemor.txt`) holds a basis of inverse curves, DoRF (`dorfCurves.txt`) measured curves.
NumPy only. Whatever is wrong with a file is said when it is read, with the file, the curve and the line.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hdrlab.ops.response_family import NUM_SAMPLES

_Values = NDArray[np.float64]

_EMOR_BLOCK = 257  # a header line and 256 lines of four numbers
_DORF_BLOCK = 6  # name, type, "I =", its samples, "B =", its samples
_ORTHONORMAL = 1e-4  # the published file reaches 1e-7; a truncated or edited one fails by far
_PRINTING = 1e-5  # what a few printed digits may cost, far less than a real fault
_WHERE = "obtain it from Columbia's CAVE laboratory (DoRF and EMoR), or use the built-in one with 'builtin'"


class CurveFileError(ValueError):
    """A file of response curves is missing or its content cannot be used."""


def read_emor(path: Path, num_components: int) -> tuple[_Values, _Values]:
    """Reads the mean and the first components of an inverse-response basis.

    Args:
        path: a file in the layout of `invemor.txt`.
        num_components: how many components to read; the published file has 25.

    Returns:
        Mean curve [1024] from 0 to 1 and orthonormal components [1024, num_components] with zero ends.

    Raises:
        CurveFileError: missing, not in this layout, or with values that no such basis has.

    Source: Grossberg and Nayar, "What is the space of camera response functions?", CVPR 2003.
    """
    lines = _read_lines(path)
    headers = ["B=", "g0=", *(f"hinv({i})=" for i in range(1, num_components + 1))]
    blocks = [_emor_block(path, lines, i * _EMOR_BLOCK, header) for i, header in enumerate(headers)]
    mean, components = blocks[1], np.stack(blocks[2:], axis=1)
    if not (abs(mean[0]) < _PRINTING and abs(mean[-1] - 1) < _PRINTING and np.all(np.diff(mean) > 0)):
        raise CurveFileError(f"{path}: the mean curve g0 must rise from 0 to 1")
    if np.abs(components[[0, -1]]).max() > _PRINTING:
        raise CurveFileError(f"{path}: every component hinv must start and end at 0")
    error = np.abs(components.T @ components - np.eye(num_components)).max()
    if error > _ORTHONORMAL:
        raise CurveFileError(f"{path}: the components hinv must be orthonormal; they miss it by {error:.2g}")
    return mean, components


def read_dorf(path: Path) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Reads measured response curves: the samples `B` over a uniform grid.

    Args:
        path: a file in the layout of `dorfCurves.txt`, six lines a curve.

    Returns:
        Curves [N, 1024] as they are, non-decreasing within [0, 1] up to printed digits, and their N names.

    Raises:
        CurveFileError: missing, not in this layout, or with a curve that is no response curve.

    Source: Grossberg and Nayar, "What is the space of camera response functions?", CVPR 2003.
    """
    lines = _read_lines(path)
    if not lines:
        raise CurveFileError(f"{path}: is empty; {_WHERE}")
    starts = range(0, len(lines), _DORF_BLOCK)
    curves = np.stack([_dorf_curve(path, lines, start) for start in starts])
    return curves, tuple(lines[start] for start in starts)


def _read_lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="latin-1")
    except OSError as error:
        raise CurveFileError(f"{path}: cannot be read ({error.strerror}); {_WHERE}") from error
    return [line.strip() for line in text.rstrip().split("\n")] if text.strip() else []


def _emor_block(path: Path, lines: list[str], start: int, header: str) -> _Values:
    found = lines[start].replace(" ", "") if start < len(lines) else "the end of the file"
    if found != header:
        raise CurveFileError(
            f"{path}, line {start + 1}: expected the header '{header}', found '{found[:40]}'"
        )
    rows = lines[start + 1 : start + _EMOR_BLOCK]
    return _numbers(" ".join(rows), f"{path}, block '{header}' from line {start + 2}")


def _dorf_curve(path: Path, lines: list[str], start: int) -> NDArray[np.float32]:
    block = lines[start : start + _DORF_BLOCK]
    if len(block) < _DORF_BLOCK or block[4].replace(" ", "") != "B=":
        raise CurveFileError(
            f"{path}, line {start + 1}, curve '{block[0][:60]}': expected six lines with 'B =' as the fifth"
        )
    where = f"{path}, line {start + 6}, curve '{block[0]}'"
    curve = _numbers(block[5], where)
    if curve.min() < -_PRINTING or curve.max() > 1 + _PRINTING:
        raise CurveFileError(f"{where}: values must lie in [0, 1]; found {curve.min():g} … {curve.max():g}")
    falls = np.flatnonzero(np.diff(curve) < -_PRINTING)
    if falls.size:
        raise CurveFileError(f"{where}: the curve must not fall; it does after sample {falls[0]}")
    if curve[-1] <= curve[0]:
        raise CurveFileError(f"{where}: the curve is constant")
    return curve.clip(0, 1).astype(np.float32)


def _numbers(text: str, where: str) -> _Values:
    try:
        values = np.array(text.split(), dtype=np.float64)
    except ValueError as error:
        raise CurveFileError(f"{where}: not a list of numbers ({error})") from error
    if values.size != NUM_SAMPLES:
        raise CurveFileError(f"{where}: has {values.size} samples, expected {NUM_SAMPLES}")
    if not np.isfinite(values).all():
        raise CurveFileError(f"{where}: sample {np.flatnonzero(~np.isfinite(values))[0]} is not finite")
    return values
