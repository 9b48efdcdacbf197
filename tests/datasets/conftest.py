"""Small HDR images on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from photographs import scene

from hdrlab.io import write_image


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
