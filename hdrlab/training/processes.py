"""Commands that call others: the called end with their caller, and nobody else is at work in its folder."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hdrlab.errors import RunError

SWEEP = "HDRLAB_SWEEP"
"""Environment variable that names the folder of the sweep which a process is a job of."""

PR_SET_PDEATHSIG = 1  # of Linux' prctl.h


def die_with_parent() -> None:
    """Let Linux end a command whose caller was killed: it would train on beside the next call's.

    To be called in the new process, before the command (``preexec_fn``).
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def tied(*descriptors: int) -> dict[str, Any]:
    """Return what `subprocess` needs to tie a command to its caller: by ``**tied(lock)``.

    Args:
        *descriptors: What the command inherits, so that a lock is held as long as it lives.
    """
    if os.name != "posix":
        return {}
    return {"pass_fds": descriptors, "preexec_fn": die_with_parent}


@contextmanager
def alone(path: Path, patience: float = 0) -> Iterator[int]:
    """Hold a lock file, whose descriptor called commands inherit (``pass_fds``) to hold it as well.

    Args:
        path: The file; its folder is what is locked.
        patience: Seconds to wait for a call that is ending.

    Raises:
        RunError: Another call has it.
    """
    place = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        end = time.monotonic() + patience
        while not _locked(place):
            if time.monotonic() >= end:
                raise RunError(f"{path.parent}: another call is at work here; wait for it or end it")
            time.sleep(0.1)
        yield place
    finally:
        os.close(place)


def _locked(place: int) -> bool:
    from hdrlab.io import locks  # with it comes what reads images, which --help does without

    try:
        locks.lock(place)
    except BlockingIOError:
        return False
    return True
