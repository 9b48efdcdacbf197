"""What the server keeps of each picture, and for how long."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, Literal

from hdrlab.errors import ResourceError
from hdrlab.io import locks, raw
from hdrlab.serve.queue import Task

State = Literal["arriving", "waiting", "working", "ready", "failed"]
LONGEST_NAME = 120
PREFIX, LOCK = "hdrlab-serve-", ".lock"


@dataclass(eq=False)
class Picture:
    """A picture that somebody sent.

    Attributes:
        key: Its name in addresses, which nobody can guess: whoever knows it may have the picture.
        name: What its file was called.
        folder: Where its files are.
        state: How far it has come.
        reason: Why it failed.
        size: Width and height.
        facts: What the page shows of it, plain values.
        renderings: State of each file that was asked for, by its name: "waiting", "ready", or why it failed.
        tasks: The work on it: first that on the picture itself.
        used: When somebody last asked for it, in seconds of the monotonic clock.
    """

    key: str
    name: str
    folder: Path
    state: State = "arriving"
    reason: str = ""
    size: tuple[int, int] = (0, 0)
    facts: dict[str, Any] = field(default_factory=dict)
    renderings: dict[str, str] = field(default_factory=dict)
    tasks: list[Task] = field(default_factory=list)
    is_gone: bool = False
    used: float = field(default_factory=time.monotonic)

    @property
    def source(self) -> Path:
        """The file as it came. Only camera raw is known by its suffix, so that no other is kept."""
        suffix = Path(self.name).suffix.lower()
        return self.folder / f"source{suffix if suffix in raw.SUFFIXES else ''}"

    @property
    def stem(self) -> str:
        """What files made of it are called, without ending."""
        return Path(self.name).stem or "picture"


class Pictures:
    """All pictures, in a folder that goes with the server.

    Args:
        most: How many are kept at a time.
        seconds: How long one is kept that nobody asks for.
    """

    def __init__(self, most: int, seconds: float) -> None:
        self.most, self.seconds = most, seconds
        self._kept: dict[str, Picture] = {}
        self._lock = Lock()
        _remove_leftovers()
        self._folder = tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True)
        self._held = os.open(Path(self._folder.name, LOCK), os.O_CREAT | os.O_WRONLY)
        locks.lock(self._held, wait=True)

    def add(self, name: str) -> Picture:
        """Make room for a picture.

        Raises:
            ResourceError: As many as may be are kept.
        """
        key = secrets.token_urlsafe(18)
        with self._lock:
            if len(self._kept) >= self.most:
                message = "delete some, or wait until they are deleted"
                raise ResourceError(f"{self.most} pictures are kept already; {message}")
            picture = self._kept[key] = Picture(key, tidy(name), Path(self._folder.name, key))
        picture.folder.mkdir()
        return picture

    def find(self, key: str, *, touch: bool = True) -> Picture | None:
        """Return a picture if it is there, and keep it from now on as long as a new one."""
        picture = self._kept.get(key)
        if picture and touch:
            picture.used = time.monotonic()
        return picture

    def seconds_left(self, picture: Picture) -> float:
        """Return in how many seconds a picture is deleted if nobody asks for it."""
        return max(0.0, picture.used + self.seconds - time.monotonic())

    def remove(self, picture: Picture) -> None:
        """Delete a picture and all that was made of it."""
        picture.is_gone = True
        with self._lock:
            self._kept.pop(picture.key, None)
        shutil.rmtree(picture.folder, ignore_errors=True)

    def expired(self) -> list[Picture]:
        """List the pictures whose time is over."""
        return [one for one in [*self._kept.values()] if not self.seconds_left(one)]

    def close(self) -> None:
        """Delete everything."""
        self._kept.clear()
        os.close(self._held)  # Windows removes no open file
        self._folder.cleanup()


def _remove_leftovers() -> None:
    """Delete the folders of servers that were killed: nobody holds their locks any more."""
    for lock in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/{LOCK}"):
        with suppress(OSError):
            with lock.open("rb+") as file:
                locks.lock(file.fileno())
            shutil.rmtree(lock.parent, ignore_errors=True)


def tidy(name: str) -> str:
    """Return a file's name without folders and signs that no file should have."""
    last = name.replace("\\", "/").rpartition("/")[2]
    printable = "".join(sign for sign in last if sign.isprintable()).strip(". ")
    path = Path(printable or "picture")
    return f"{path.stem[:LONGEST_NAME]}{path.suffix[:12]}"
