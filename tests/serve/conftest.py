"""Servers of the page inside the test's process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
from serving import Client, Serve, jpeg

from hdrlab.io import write_image
from hdrlab.serve.app import Settings, create_app


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts servers that end with the test."""
    with ExitStack() as open_ones:

        def start(**settings: Any) -> Client:
            app = create_app(Settings(**settings))
            return open_ones.enter_context(Client(app, base_url="http://localhost:8210"))

        yield start


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """A server with the default settings, for tests that leave nothing behind in it."""
    with Client(create_app(Settings()), base_url="http://localhost:8210") as one:
        yield one


@pytest.fixture(scope="session")
def photograph() -> bytes:
    """A JPEG of 96 × 64 pixels with a clipped disc."""
    return jpeg(96, 64)


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An OpenEXR file of 96 × 64 pixels, 14 stops from end to end."""
    path = tmp_path_factory.mktemp("scene") / "scene.exr"
    stops = np.linspace(-9, 5, 96, dtype=np.float32)[None, :, None]
    write_image(path, np.broadcast_to(np.exp2(stops), (64, 96, 3)) * np.float32((1, 0.8, 0.6)))
    return path.read_bytes()
