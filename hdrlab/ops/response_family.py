"""The built-in camera response curves: a family of formulas, sampled like the measured curves of DoRF.

It stands in where `dorfCurves.txt` is not at hand. Every curve rises strictly from 0 to 1 over a uniform
grid of linear sensor values. NumPy only, so that listing curves needs no torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

NUM_SAMPLES = 1024
NUM_TEST = 10

_Values = NDArray[np.float64]


@lru_cache(maxsize=1)
def response_family() -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Samples the whole family.

    Returns:
        Curves [N, 1024] from 0 to 1 (read-only) and their N names, kind by kind, parameters rising.
    """
    names, rows = zip(*_members(np.linspace(0.0, 1.0, NUM_SAMPLES)), strict=True)
    curves = np.stack([(row - row[0]) / (row[-1] - row[0]) for row in rows]).astype(np.float32)
    curves.setflags(write=False)
    return curves, names


def family_test_indices(num_curves: int) -> NDArray[np.int64]:
    """Positions of the held-out curves: evenly spread, hence spread over the kinds of the family."""
    return ((np.arange(NUM_TEST) + 0.5) * num_curves / NUM_TEST).astype(np.int64)


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
    """S-curve on encoded values as in picture styles; negative amounts flatten the middle."""
    return v + amount * (v * v * (3 - 2 * v) - v)


def _shoulder(v: _Values, knee: float) -> _Values:
    """Keeps encoded values below the knee and rolls the rest off towards 1, with continuous slope."""
    room = 1 - knee
    return np.where(v < knee, v, knee + room * -np.expm1(-(np.maximum(v, knee) - knee) / room))
