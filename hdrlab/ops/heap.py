"""What glibc's allocator does with the large blocks that nets take and free over and over."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4  # of glibc's malloc.h
_NEVER = 2**31 - 1
_MAPPED_FROM, _TRIMMED_FROM, _MAPPINGS = 2**25, 2**26, 65536
"""glibc's own limits, once large blocks were freed, and its number of mappings."""


@contextmanager
def kept_pages() -> Iterator[None]:
    """Keep freed blocks for the next ones of their size; give all of them back in the end.

    By default each block of 32 MB and more is mapped, cleared page by page and unmapped again, at a cost of
    up to half of the time of a net's layer. Other allocators than glibc's are left as they are.
    """
    # oneDNN keeps what it generates for each shape of a map, by default for 1024 of them, and its kernels in
    # half precision are large: tiles, whose shapes are many, took three times their budget. Read once.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
    libc = _glibc()
    if libc is None:
        yield
        return
    libc.mallopt(M_MMAP_MAX, 0)
    libc.mallopt(M_TRIM_THRESHOLD, _NEVER)
    try:
        yield
    finally:
        libc.mallopt(M_MMAP_MAX, _MAPPINGS)
        libc.mallopt(M_MMAP_THRESHOLD, _MAPPED_FROM)
        libc.mallopt(M_TRIM_THRESHOLD, _TRIMMED_FROM)
        libc.malloc_trim(0)


def give_back_idle() -> None:
    """Give back what is free for now: the next step's blocks have other sizes, and would lie beside it."""
    if (libc := _glibc()) is not None:
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    """Return glibc; None where there is another library, such as musl, which has no such limits."""
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None
