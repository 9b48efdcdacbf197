"""How sure a mean is: bootstrap intervals over scenes, and paired differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000


@dataclass(frozen=True)
class Summary:
    """A mean over images and its 95 % interval over scenes.

    Attributes:
        mean: Mean over the images.
        median: Median over the images.
        std: Standard deviation over the images.
        low: Lower end of the interval of the mean.
        high: Upper end.
        num: Number of images.
        scenes: Number of scenes.
        positive: Share of images above 0; of differences, the win rate.
    """

    mean: float
    median: float
    std: float
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

    Images of one scene are no independent evidence. Of few scenes the interval is somewhat too narrow; of
    one it has no width, and nothing counts as a difference.

    Args:
        values: One score, or one paired difference, an image; NaN where it is not defined, which leaves the
            image out and is for the caller to say.
        scenes: The scene of each image.
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
    drawn = _draws(len(names), seed)
    means = (drawn @ np.bincount(of, numbers)) / (drawn @ np.bincount(of))
    low, high = np.quantile(means, [0.025, 0.975])
    return Summary(
        mean=float(numbers.mean()),
        median=float(np.median(numbers)),
        std=float(numbers.std(ddof=min(1, len(numbers) - 1))),
        low=float(low),
        high=float(high),
        num=len(numbers),
        scenes=len(names),
        positive=float((numbers > 0).mean()),
    )


@lru_cache(maxsize=4)
def _draws(num_scenes: int, seed: int) -> NDArray[np.float64]:
    """Return how often each scene is drawn in each resampling, [RESAMPLES, scenes]."""
    drawn = np.random.default_rng(seed).integers(num_scenes, size=(RESAMPLES, num_scenes))
    rows = np.arange(RESAMPLES)[:, None] * num_scenes
    counts = np.bincount((rows + drawn).ravel(), minlength=RESAMPLES * num_scenes)
    return counts.reshape(RESAMPLES, num_scenes).astype(np.float64)
