"""Sources of camera response curves: formulas built in, or the files of Columbia's CAVE laboratory.

Every curve is sampled over a uniform grid on [0, 1]. EMoR holds a basis of curves (`emor.txt`) and one of
inverse curves (`invemor.txt`), DoRF (`dorfCurves.txt`) measured ones, and a family of formulas stands in
where none of them is at hand. NumPy only, so that listing curves needs no torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hdrlab.errors import DataError

NUM_SAMPLES = 1024
NUM_TEST = 10

_EMOR_BLOCK = 257  # a header line and 256 lines of four numbers
_DORF_BLOCK = 6  # name, type, "I =", its samples, "B =", its samples
_ORTHONORMAL = 1e-4  # the published file reaches 1e-7; a truncated or edited one fails by far
_PRINTING = 1e-5  # what a few printed digits may cost, far less than a real fault
_WHERE = "obtain it from Columbia's CAVE laboratory (DoRF and EMoR), or use the built-in one with 'builtin'"
_MEAN_AT = (0, 1, 3, 9, 18, 32, 50, 74, 104, 139, 181, 229, 285, 348, 419, 498, 586, 681, 786, 900, 1023)
_MEAN = (
    0.0,
    0.00883,
    0.02024,
    0.04481,
    0.07414,
    0.11299,
    0.15723,
    0.2109,
    0.27308,
    0.34003,
    0.41164,
    0.48382,
    0.55584,
    0.62414,
    0.68828,
    0.74846,
    0.80537,
    0.85841,
    0.9084,
    0.95594,
    1.0,
)
"""The mean of EMoR's measured responses at some of its 1024 samples, "What is the space of camera response
functions?", Grossberg and Nayar, CVPR 2003."""

_Values = NDArray[np.float64]


@lru_cache(maxsize=1)
def response_family() -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Sample the family of formulas; every curve of it rises strictly.

    Returns:
        Curves [N, 1024] from 0 to 1 (read-only) and their N names, kind by kind, parameters rising.
    """
    names, rows = zip(*_members(np.linspace(0.0, 1.0, NUM_SAMPLES)), strict=True)
    curves = np.stack([(row - row[0]) / (row[-1] - row[0]) for row in rows]).astype(np.float32)
    curves.setflags(write=False)
    return curves, names


@lru_cache(maxsize=1)
def mean_response() -> NDArray[np.float32]:
    """Return the average camera's response [1024] from 0 to 1, the mean of EMoR's to 3e-4 (read-only).

    Its inverse is what a photograph's linearization must beat: the same guess for every camera.
    """
    curve = interpolate_monotonically(_MEAN_AT, _MEAN, np.arange(NUM_SAMPLES)).astype(np.float32)
    curve.setflags(write=False)
    return curve


def interpolate_monotonically(knots: ArrayLike, values: ArrayLike, at: ArrayLike) -> _Values:
    """Interpolate by cubics that rise wherever the values do: SciPy's `PchipInterpolator`.

    Importing that takes as long as reconstructing a photograph of a megapixel.

    Args:
        knots: Rising positions [N], N ≥ 3.
        values: Values there [N].
        at: Positions between the first and the last knot [M].

    Returns:
        Values [M].

    Source: Fritsch and Butland, "… Local Monotone Piecewise Cubic Interpolants", SIAM J. Sci. Comput. 1984.
    """
    x, y, place = (np.asarray(one, np.float64) for one in (knots, values, at))
    step, slope = np.diff(x), np.diff(y) / np.diff(x)
    weight = np.stack([2 * step[1:] + step[:-1], step[1:] + 2 * step[:-1]])
    rising = slope[:-1] * slope[1:] > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        harmonic = weight.sum(0) / (weight[0] / slope[:-1] + weight[1] / slope[1:])
    tangent = np.concatenate([[0.0], np.where(rising, harmonic, 0.0), [0.0]])
    for end, (h0, h1), (s0, s1) in ((0, step[:2], slope[:2]), (-1, step[:-3:-1], slope[:-3:-1])):
        estimate = ((2 * h0 + h1) * s0 - h0 * s1) / (h0 + h1)
        if estimate * s0 <= 0:
            estimate = 0.0
        elif s0 * s1 < 0 and abs(estimate) > 3 * abs(s0):
            estimate = 3 * s0
        tangent[end] = estimate
    piece = np.clip(np.searchsorted(x, place, side="right") - 1, 0, len(step) - 1)
    h, t = step[piece], (place - x[piece]) / step[piece]
    low = y[piece] * (1 + 2 * t) * (1 - t) ** 2 + h * tangent[piece] * t * (1 - t) ** 2
    made: _Values = low + y[piece + 1] * t**2 * (3 - 2 * t) - h * tangent[piece + 1] * t**2 * (1 - t)
    return made


def family_test_indices(num_curves: int) -> NDArray[np.int64]:
    """Positions of the held-out curves: evenly spread, hence spread over the kinds of the family.

    Returns:
        Positions [N] of the held-out curves: evenly spread, hence spread over the kinds of the family.
    """
    return ((np.arange(NUM_TEST) + 0.5) * num_curves / NUM_TEST).astype(np.int64)


def read_emor(path: Path, num_components: int, *, inverse: bool = True) -> tuple[_Values, _Values]:
    """Read the mean and the first components of a basis of inverse responses, or of responses.

    Args:
        path: a file in the layout of `invemor.txt`, or of `emor.txt`.
        num_components: how many components to read; the published file has 25.
        inverse: whether it is `invemor.txt`.

    Returns:
        Mean curve [1024] from 0 to 1 and orthonormal components [1024, num_components] with zero ends.

    Raises:
        DataError: missing, not in this layout, or with values that no such basis has.

    Source: Grossberg and Nayar, "What is the space of camera response functions?", CVPR 2003.
    """
    lines = _read_lines(path)
    grid, first, name = ("B=", "g0=", "hinv") if inverse else ("E=", "f0=", "h")
    headers = [grid, first, *(f"{name}({i})=" for i in range(1, num_components + 1))]
    blocks = [_emor_block(path, lines, i * _EMOR_BLOCK, header) for i, header in enumerate(headers)]
    mean, components = blocks[1], np.stack(blocks[2:], axis=1)
    if not (abs(mean[0]) < _PRINTING and abs(mean[-1] - 1) < _PRINTING and np.all(np.diff(mean) > 0)):
        raise DataError(f"{path}: the mean curve {first[:-1]} must rise from 0 to 1")
    if np.abs(components[[0, -1]]).max() > _PRINTING:
        raise DataError(f"{path}: every component {name} must start and end at 0")
    error = np.abs(components.T @ components - np.eye(num_components)).max()
    if error > _ORTHONORMAL:
        raise DataError(f"{path}: the components {name} must be orthonormal; they miss it by {error:.2g}")
    return mean, components


def read_dorf(path: Path) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Read measured response curves: the samples `B` over a uniform grid.

    Args:
        path: a file in the layout of `dorfCurves.txt`, six lines a curve.

    Returns:
        Curves [N, 1024] as they are, non-decreasing within [0, 1] up to printed digits, and their N names.

    Raises:
        DataError: missing, not in this layout, or with a curve that is no response curve.

    Source: Grossberg and Nayar, "What is the space of camera response functions?", CVPR 2003.
    """
    lines = _read_lines(path)
    if not lines:
        raise DataError(f"{path}: is empty; {_WHERE}")
    starts = range(0, len(lines), _DORF_BLOCK)
    curves = np.stack([_dorf_curve(path, lines, start) for start in starts])
    return curves, tuple(lines[start] for start in starts)


def _members(x: _Values) -> Iterator[tuple[str, _Values]]:
    """Names and curves, not yet normalised to 0 … 1."""
    for g in np.linspace(1.0, 2.8, 25):
        yield f"gamma(g={g:.3f})", x ** (1 / g)
    yield "srgb", _offset_gamma(x, 2.4, 0.055)
    yield "rec709", _offset_gamma(x, 1 / 0.45, 0.099)
    for g, a in product((1.6, 1.8, 2.0, 2.2, 2.4, 2.6), (0.03, 0.07, 0.12, 0.18)):
        yield f"offset_gamma(g={g},a={a})", _offset_gamma(x, g, a)
    for c in np.geomspace(1.0, 200.0, 20):
        yield f"log(c={c:.2f})", np.log1p(c * x)
    for k in np.linspace(0.5, 6.0, 16):
        yield f"saturating(k={k:.2f})", -np.expm1(-k * x)
    for n, m, e in product((1.1, 1.3, 1.5, 1.7), (0.08, 0.12, 0.18, 0.27, 0.4, 0.6), (0.01, 0.03)):
        yield f"film(n={n},m={m},flare={e})", _film(x + e, n, m)
    for g, c in product((1.8, 2.0, 2.2, 2.4), (-0.4, -0.2, 0.15, 0.3, 0.45, 0.6, 0.75)):
        yield f"contrast(g={g},c={c})", _contrast(_offset_gamma(x, g, 0.055), c)
    for g, t, s in product((1.8, 2.0, 2.2, 2.4), (0.5, 0.6, 0.7, 0.8), (1.25, 2.0)):
        yield f"shoulder(g={g},knee={t},gain={s})", _shoulder(_offset_gamma(s * x, g, 0.055), t)


def _offset_gamma(x: _Values, gamma: float, offset: float) -> _Values:
    """Power law with a linear start that meets it with equal slope: sRGB and Rec. 709 are members."""
    power = 1 / gamma
    joint = (offset / ((1 + offset) * (1 - power))) ** gamma
    slope = (1 + offset) * power * joint ** (power - 1)
    curve: _Values = np.where(x < joint, slope * x, (1 + offset) * np.maximum(x, joint) ** power - offset)
    return curve


def _film(x: _Values, slope: float, middle: float) -> _Values:
    """Logistic in log exposure, with toe and shoulder; the flare in x keeps the toe from being flat."""
    return 1 / (1 + (middle / x) ** slope)


def _contrast(v: _Values, amount: float) -> _Values:
    """S-curve on encoded values as in image styles; negative amounts flatten the middle."""
    return v + amount * (v * v * (3 - 2 * v) - v)


def _shoulder(v: _Values, knee: float) -> _Values:
    """Keeps encoded values below the knee and rolls the rest off towards 1, with continuous slope."""
    room = 1 - knee
    return np.where(v < knee, v, knee + room * -np.expm1(-(np.maximum(v, knee) - knee) / room))


def _read_lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="latin-1")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); {_WHERE}") from error
    return [line.strip() for line in text.rstrip().split("\n")] if text.strip() else []


def _emor_block(path: Path, lines: list[str], start: int, header: str) -> _Values:
    found = lines[start].replace(" ", "") if start < len(lines) else "the end of the file"
    if found != header:
        raise DataError(f"{path}, line {start + 1}: expected the header '{header}', found '{found[:40]}'")
    rows = lines[start + 1 : start + _EMOR_BLOCK]
    return _numbers(" ".join(rows), f"{path}, block '{header}' from line {start + 2}")


def _dorf_curve(path: Path, lines: list[str], start: int) -> NDArray[np.float32]:
    block = lines[start : start + _DORF_BLOCK]
    if len(block) < _DORF_BLOCK or block[4].replace(" ", "") != "B=":
        raise DataError(
            f"{path}, line {start + 1}, curve '{block[0][:60]}': expected six lines with 'B =' as the fifth"
        )
    where = f"{path}, line {start + 6}, curve '{block[0]}'"
    curve = _numbers(block[5], where)
    if curve.min() < -_PRINTING or curve.max() > 1 + _PRINTING:
        raise DataError(f"{where}: values must lie in [0, 1]; found {curve.min():g} … {curve.max():g}")
    falls = np.flatnonzero(np.diff(curve) < -_PRINTING)
    if falls.size:
        raise DataError(f"{where}: the curve must not fall; it does after sample {falls[0]}")
    if curve[-1] <= curve[0]:
        raise DataError(f"{where}: the curve is constant")
    return curve.clip(0, 1).astype(np.float32)


def _numbers(text: str, where: str) -> _Values:
    try:
        values = np.array(text.split(), dtype=np.float64)
    except ValueError as error:
        raise DataError(f"{where}: not a list of numbers ({error})") from error
    if values.size != NUM_SAMPLES:
        raise DataError(f"{where}: has {values.size} samples, expected {NUM_SAMPLES}")
    if not np.isfinite(values).all():
        raise DataError(f"{where}: sample {np.flatnonzero(~np.isfinite(values))[0]} is not finite")
    return values
