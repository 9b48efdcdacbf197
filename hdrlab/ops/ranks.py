"""Order statistics of more values than memory should hold. NumPy only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Parts = Callable[[], Iterable[NDArray[np.float32]]]
"""Yields the parts of the values, the same ones at each call."""

_HALF = 2**16


def ranked(parts: Parts, ranks: Callable[[int], Sequence[int]]) -> list[float]:
    """Return the values that stand at some ranks, exactly, by counting the bits of their order.

    Args:
        parts: The values, of any shapes and range, finite; yielded twice.
        ranks: From how many values there are to the ranks asked for, 0 being the least value's.
    """
    upper = sum((_counted(_ordered(part) >> 16) for part in parts()), np.zeros(_HALF, np.int64))
    ends = upper.cumsum()
    wanted = ranks(int(ends[-1]))
    tops = np.searchsorted(ends, wanted, side="right").tolist()
    lower = {top: np.zeros(_HALF, np.int64) for top in tops}
    for part in parts():
        bits = _ordered(part)
        top_bits = bits >> 16
        for top, counts in lower.items():
            counts += _counted(bits[top_bits == top] & (_HALF - 1))
    found = []
    for rank, top in zip(wanted, tops, strict=True):
        before = int(ends[top] - upper[top])
        low = int(np.searchsorted(lower[top].cumsum(), rank - before, side="right"))
        bits = np.array([top << 16 | low], np.uint32)
        bits = np.where(bits >> 31, bits ^ np.uint32(2**31), ~bits)
        found.append(float(bits.view(np.float32)[0]))
    return found


def percentiles(parts: Parts, shares: Sequence[float]) -> list[float]:
    """Return percentiles, as ``numpy.percentile`` does: linear between neighbours.

    Args:
        parts: See `ranked`; at least one value.
        shares: In per cent.
    """
    places: list[float] = []

    def neighbours(number: int) -> list[int]:
        places.extend((number - 1) * share / 100 for share in shares)
        return [rank for place in places for rank in (int(place), min(int(place) + 1, number - 1))]

    found = ranked(parts, neighbours)
    pairs = zip(places, found[::2], found[1::2], strict=True)
    return [low + (high - low) * (place % 1) for place, low, high in pairs]


def _ordered(values: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Return integers [N] in the order of the values."""
    bits = np.ascontiguousarray(values, np.float32).ravel().view(np.int32)
    return ((bits >> 31) | np.int32(-(2**31))).view(np.uint32) ^ bits.view(np.uint32)


def _counted(halves: NDArray[Any]) -> NDArray[np.int64]:
    return np.bincount(halves, minlength=_HALF)
