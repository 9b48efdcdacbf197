"""What a global operator must know of the whole image, so that it can show any part of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrlab.ops.colour import Pixels, greatest_sample
from hdrlab.ops.ranks import ranked
from hdrlab.tonemapping.rows import Source

BLINDING = 0.0005
"""Share of the lit pixels that count as the brightest of the others: a broken pixel would darken all of
them."""


@dataclass(frozen=True)
class Scene:
    """An image in numbers, all in its own unit.

    Attributes:
        average: Log-average of the luminance over what holds light; 1 where nothing does.
        brightest: Greatest luminance, but for the share `BLINDING` of what holds light.
        peak: Greatest sample, but for the same share.
    """

    average: float
    brightest: float
    peak: float

    @classmethod
    def of(cls, hdr: NDArray[Any] | Source) -> Scene:
        """Measure an image strip by strip.

        Args:
            hdr: Linear pixels [H, W, 3], at least 0.
        """
        source = hdr if isinstance(hdr, Source) else Source(hdr)

        def peaks() -> Iterator[Pixels]:
            for rows in source.strips():
                peak = greatest_sample(source[rows])
                yield peak[peak > 0]

        return cls(log_average_of(source), *(_brightest(parts) for parts in (source.lit, peaks)))

    def scaled(self, factor: float) -> Scene:
        """Return the same scene in another unit."""
        return Scene(self.average * factor, self.brightest * factor, self.peak * factor)


def log_average_of(source: Source) -> float:
    """Return the geometric mean of what holds light, see `hdrlab.ops.colour.log_average`."""
    total, number = 0.0, 0
    for lit in source.lit():
        total += float(np.log(lit).sum(dtype=np.float64))
        number += lit.size
    return math.exp(total / number) if number else 1.0


def _brightest(parts: Callable[[], Iterator[Pixels]]) -> float:
    found = ranked(parts, lambda number: [number - 1 - int(number * BLINDING)] if number else [])
    return found[0] if found else 0.0
