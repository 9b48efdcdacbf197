"""How much memory a piece of code takes at the most, of what Python and NumPy allocate."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

MEGABYTE = 2**20


@contextmanager
def peak_below(limit: int) -> Iterator[None]:
    """Fail where more bytes than these are held at once."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()
