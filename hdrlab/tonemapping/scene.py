"""What a global operator must know of the whole image, so that it can show any part of it."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrlab.ops.colour import luminance

STRIP = 2**20
"""Samples that are worked on at once: 4 MB in float32, which stay in the cache."""


@dataclass(frozen=True)
class Scene:
    """An image in numbers, all in its own unit.

    Attributes:
        average: Log-average of the luminance over what holds light; 1 where nothing does.
        brightest: Greatest luminance.
        peak: Greatest sample.
    """

    average: float
    brightest: float
    peak: float

    @classmethod
    def of(cls, hdr: NDArray[Any], convert: Callable[[NDArray[Any]], NDArray[Any]] | None = None) -> Scene:
        """Measure an image strip by strip.

        Args:
            hdr: Linear pixels [H, W, 3], at least 0.
            convert: What is to be done to its pixels first.
        """
        total, lit, brightest, peak = 0.0, 0, 0.0, 0.0
        for rows in strips(hdr.shape[0], hdr.shape[1]):
            part = convert(hdr[rows]) if convert else hdr[rows]
            light = luminance(part)
            brightest, peak = max(brightest, float(light.max())), max(peak, float(part.max()))
            shining = light[light > 0]
            total += float(np.log(shining).sum(dtype=np.float64))
            lit += shining.size
        return cls(math.exp(total / lit) if lit else 1.0, brightest, peak)

    def scaled(self, factor: float) -> Scene:
        """Return the same scene in another unit."""
        return Scene(self.average * factor, self.brightest * factor, self.peak * factor)


def strips(height: int, width: int, samples: int = STRIP) -> Iterator[slice]:
    """Divide the rows of an image into parts of about so many samples."""
    rows = max(1, samples // (3 * width))
    for start in range(0, height, rows):
        yield slice(start, min(start + rows, height))


def available_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
