"""One process a run folder: the lock that a training holds, and who holds it."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from filelock import FileLock, Timeout

from hdrlab.errors import RunError

OWNER = "run.lock.txt"
"""Who trains in a run folder, for a message to the next."""


def lock_run(folder: Path) -> FileLock:
    """Take a run folder for this process; the system gives it back whatever way the process ends.

    Raises:
        RunError: Another process has it.
    """
    owner = folder / OWNER
    lock = FileLock(folder / "run.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        who = owner.read_text(encoding="utf-8") if owner.is_file() else "just started"
        message = f"{folder}: another process trains here ({who})"
        raise RunError(f"{message}; wait for it, or set resume=never for a run of its own") from error
    owner.write_text(f"process {os.getpid()} on {platform.node()}", encoding="utf-8")
    return lock


def is_locked(folder: Path) -> bool:
    """Say whether a process trains in a run folder."""
    if not (folder / OWNER).is_file():  # which a training leaves behind only where it was killed
        return False
    lock = FileLock(folder / "run.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except OSError:  # a folder that only others may write
        return False
    lock.release()
    return False
