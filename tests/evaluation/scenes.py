"""A scene to score on, the same everywhere."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SIDE = 96


def scene() -> NDArray[np.float32]:
    """Return a coloured scene [96, 144, 3] of soft light, fine texture and lamps; linear, median about 1."""
    draws = np.random.default_rng(0)
    y, x = np.mgrid[0:SIDE, 0 : 3 * SIDE // 2] / SIDE
    waves = np.zeros((*x.shape, 3))
    for spread, sizes, channels in ((1.1, 3, 1), (0.35, 12, 1), (0.35, 4, 3)):
        for _ in range(6):
            angle, phase = draws.uniform(0, 2 * np.pi, 2)
            wave = np.sin(2 * np.pi * sizes * (x * np.cos(angle) + y * np.sin(angle)) + phase)
            waves += wave[..., None] * draws.normal(0, spread / 2, (1, 1, channels))
    lamps = sum(8 * np.exp(-400 * ((x - a) ** 2 + (y - b) ** 2)) for a, b in draws.uniform(0, 1, (3, 2)))
    return np.asarray(np.exp(waves) * (1 + np.asarray(lamps)[..., None]), np.float32)
