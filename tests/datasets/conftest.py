"""Small HDR images on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from hdrlab.io import write_image

Floats = NDArray[np.float32]


def scene(seed: int, height: int = 48, width: int = 64) -> Floats:
    """An image [H, W, 3] with a smooth part, texture and a lamp."""
    draws = np.random.default_rng(seed)
    ramp = np.linspace(0.05, 1, height * width).reshape(height, width, 1)
    image = (ramp * draws.uniform(0.2, 1, 3) + draws.random((height, width, 3)) / 8).astype(np.float32)
    image[4:8, 4:8] = 30
    return image


@pytest.fixture
def images(tmp_path: Path) -> Callable[..., Path]:
    """Writes good images by name into a folder of the test, and returns it."""

    def write(*files: str, **options: int) -> Path:
        root = tmp_path / "images"
        for number, file in enumerate(files):
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            write_image(root / file, scene(number, **options))
        return root

    return write
