"""How sure a mean is: bootstrap intervals over scenes, and paired differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000


@dataclass(frozen=True)
class Summary:
    """A mean over pictures and its 95 % interval over scenes.

    Attributes:
        mean: Mean over the pictures.
        low: Lower end of the interval.
        high: Upper end.
        num: Number of pictures.
        scenes: Number of scenes.
        positive: Share of pictures above 0; of differences, the win rate.
    """

    mean: float
    low: float
    high: float
    num: int
    scenes: int
    positive: float

    @property
    def differs(self) -> bool:
        """Whether the interval excludes 0; a single scene proves nothing."""
        return self.scenes > 1 and (self.low > 0 or self.high < 0)


def summarise(values: Sequence[float], scenes: Sequence[str], seed: int = 0) -> Summary:
    """Average values and bootstrap the average over scenes.

    Pictures of one scene are no independent evidence. Of few scenes the interval is somewhat too narrow; of
    one it has no width, and nothing counts as a difference.

    Args:
        values: One figure, or one paired difference, a picture; NaN where the figure does not apply.
        scenes: The scene of each picture.
        seed: Seed of the resampling.

    Raises:
        ValueError: No value is left, or their number is not that of the scenes.

    Source:
        Efron and Tibshirani, An Introduction to the Bootstrap, 1993, percentile interval with whole clusters
        resampled.
    """
    kept = [(value, scene) for value, scene in zip(values, scenes, strict=True) if not np.isnan(value)]
    if not kept:
        raise ValueError("no value to average")
    numbers = np.array([value for value, _ in kept])
    names, of = np.unique([scene for _, scene in kept], return_inverse=True)
    sums, counts = np.bincount(of, numbers), np.bincount(of)
    drawn = np.random.default_rng(seed).integers(len(names), size=(RESAMPLES, len(names)))
    means: NDArray[np.float64] = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Summary(
        float(numbers.mean()), float(low), float(high), len(kept), len(names), float((numbers > 0).mean())
    )
