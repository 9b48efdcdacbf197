"""Sampled outputs of the published programs, and how far other arrays are from them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

FILE = Path(__file__).with_name("reference.npz")
SAMPLES = 256

Array = NDArray[np.generic]


def sampled(name: str, values: Array) -> NDArray[np.float32]:
    """Return at most 256 values of an array, at places that its name draws."""
    flat = values.ravel()
    count = min(SAMPLES, flat.size)
    places = np.random.default_rng(crc32(name.encode())).choice(flat.size, count, replace=False)
    return flat[places].astype(np.float32)


def totals(values: Array) -> NDArray[np.float64]:
    """Return largest magnitude, sum, Euclidean norm and number of values."""
    exact = values.astype(np.float64)
    return np.array([np.abs(exact).max(), exact.sum(), np.sqrt(np.square(exact).sum()), exact.size])


@dataclass
class Agreement:
    """How many values were compared, and the largest difference relative to its array's largest magnitude."""

    values: int = 0
    difference: float = 0.0
    seen: set[str] = field(default_factory=set)

    def add(self, name: str, off: float, values: int) -> None:
        self.seen.add(name)
        self.values += values
        self.difference = max(self.difference, off) if np.isfinite(off) else np.inf


class Reference:
    """The numbers in `reference.npz`."""

    def __init__(self, path: Path = FILE) -> None:
        with np.load(path, allow_pickle=False) as file:
            self._arrays = dict(file)
        self.programs: Mapping[str, str] = json.loads(str(self._arrays.pop("programs")))

    @property
    def names(self) -> set[str]:
        """All arrays that outputs can be compared with."""
        return {key.removeprefix("samples:") for key in self._arrays if key.startswith("samples:")}

    def given(self, name: str) -> NDArray[np.float32]:
        """Return an input that no recipe makes."""
        return self._arrays[f"input:{name}"].astype(np.float32)

    def compare(self, outputs: Mapping[str, Array]) -> Agreement:
        """Compare outputs in the reference's layout: sampled values, mean and norm."""
        agreement = Agreement()
        for name, ours in outputs.items():
            expected = self._arrays[f"samples:{name}"]
            largest, total, norm, size = self._arrays[f"totals:{name}"]
            assert ours.size == size, f"{name} has {ours.size} values, expected {size:.0f}"
            _, our_total, our_norm, _ = totals(ours)
            off = max(
                float(np.abs(sampled(name, ours) - expected).max()) / largest,
                abs(our_total - total) / (size * largest),
                abs(our_norm - norm) / norm,
            )
            agreement.add(name, off, len(expected) + 2)
        return agreement
