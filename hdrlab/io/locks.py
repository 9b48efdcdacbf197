"""Locks on bytes of open files, on POSIX and Windows alike; the end of a process frees what it holds.

On Windows a locked byte can neither be read nor written by others. So what is locked lies beyond the end of
every file; it need not exist.
"""

from __future__ import annotations

import os
import sys
import time

NOFOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
"""Flags of `os.open` that neither follow a link nor wait for a pipe; Windows has no such files."""

BINARY: int = getattr(os, "O_BINARY", 0)
"""Flag of `os.open` without which Windows changes line ends."""

OPEN_FILES_MOVE = sys.platform != "win32"
"""Whether a file can be renamed or removed while it is open."""

_WHOLE = 2**30

if sys.platform == "win32":
    import msvcrt

    def lock(handle: int, place: int = _WHOLE, *, wait: bool = False) -> None:
        """Take a lock; see the other."""
        while True:
            os.lseek(handle, _within(place), os.SEEK_SET)
            try:
                msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
            except OSError as error:
                if not wait:
                    raise BlockingIOError(error.errno, error.strerror) from error
                time.sleep(0.05)
            else:
                return

    def unlock(handle: int, place: int = _WHOLE) -> None:
        """Give a lock back."""
        os.lseek(handle, _within(place), os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_UNLCK, 1)

    def _within(place: int) -> int:
        return _WHOLE + place % _WHOLE  # its files end at 2 GB for this call

else:
    import fcntl

    def lock(handle: int, place: int = _WHOLE, *, wait: bool = False) -> None:
        """Take the lock of a place in an open file.

        Args:
            handle: Descriptor of the file, open for writing.
            place: The byte; several may be held by different processes.
            wait: Whether to wait for whoever holds it.

        Raises:
            BlockingIOError: Another process holds it.
            OSError: The file system has no locks.
        """
        if place == _WHOLE:  # shared with the processes that inherit the descriptor
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            return
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB), 1, place)
        except PermissionError as error:  # which some systems answer instead
            raise BlockingIOError(error.errno, error.strerror) from error

    def unlock(handle: int, place: int = _WHOLE) -> None:
        """Give a lock back."""
        if place == _WHOLE:
            fcntl.flock(handle, fcntl.LOCK_UN)
        else:
            fcntl.lockf(handle, fcntl.LOCK_UN, 1, place)
