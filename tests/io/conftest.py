"""Small images that the reader and writer tests share."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray


@pytest.fixture(scope="session")
def hdr() -> NDArray[np.float32]:
    """[24, 40, 3] linear, about 14 stops, with flat parts, black and a strongly coloured pixel."""
    rng = np.random.default_rng(7)
    pixels = np.exp2(rng.uniform(-8, 6, (24, 40, 3))).astype(np.float32)
    pixels[:6] = 0.5
    pixels[6, :5] = 0.0
    pixels[7, 0] = (1000.0, 1.0, 0.001)
    return pixels


@pytest.fixture(scope="session")
def photo() -> NDArray[np.uint8]:
    """[24, 40, 3] display-encoded, smooth, each corner different."""
    y, x = np.mgrid[0:24, 0:40]
    return np.stack([x * 6, y * 10, 255 - x * 3 - y * 5], axis=2).astype(np.uint8)
