"""The one way in which the package writes files: whole, checked and durable, or not at all.

A file is written under a temporary name in its own folder, synced, and then takes its final name in one step.
A temporary file is locked while its process lives, so that what killed processes left behind can be
distinguished from what others are writing.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import re
import shutil
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from hdrlab.io import locks

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

PathLike = str | os.PathLike[str]

_TEMPORARY = re.compile(r"\.[0-9a-f]{32}\.tmp")


@contextmanager
def replacing(path: PathLike) -> Iterator[Path]:
    """Yield a temporary path that becomes ``path`` when the block ends, and vanishes when it fails.

    For libraries that want a name; whether they wrote all they meant to is theirs to say. See `writing`.

    Args:
        path: The file; a former one is replaced. Its folder exists.

    Raises:
        OSError: The disk refuses, or ``path`` is a link or no file; with ``path`` as its ``filename``.
    """
    path = Path(path)
    temporary, lock = _create(path)
    with contextlib.ExitStack() as held:
        held.callback(os.close, lock)
        try:
            yield temporary
            _sync(temporary)
            if not locks.OPEN_FILES_MOVE:
                held.close()
            os.replace(temporary, path)
            sync_folder(path.parent)
        except OSError as error:
            raise _of(path, error, temporary) from error
        finally:
            if not locks.OPEN_FILES_MOVE:
                held.close()
            temporary.unlink(missing_ok=True)


@contextmanager
def writing(path: PathLike) -> Iterator[BinaryIO]:
    """Yield a binary stream whose content becomes ``path``, once the disk has given it back unchanged.

    Args:
        path: The file; a former one is replaced. Its folder exists.

    Raises:
        OSError: As `replacing`; also if what is read back is not what was written.
    """
    with replacing(path) as temporary, filling(temporary) as stream:
        yield cast("BinaryIO", stream)


@contextmanager
def filling(temporary: Path) -> Iterator[DigestingWriter]:
    """Yield a binary stream to a file that `replacing` gave; in the end it is read back and compared.

    Raises:
        OSError: The disk refuses, or does not give back what was written.
    """
    with temporary.open("wb") as file:
        stream = DigestingWriter(file)
        try:
            yield stream
        except Exception as error:
            # Libraries report a failed write as what they like, or as the next thing that fails.
            raise (stream.error or error) from error
    if digest(temporary) != stream.digest.hexdigest():
        raise OSError(errno.EIO, "the disk does not give back what was written", str(temporary))


@contextmanager
def writing_text(path: PathLike) -> Iterator[io.TextIOWrapper]:
    """Yield a UTF-8 stream as `writing` does; line ends are written as they are given."""
    with writing(path) as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
        try:
            yield text
            text.flush()
        finally:
            with contextlib.suppress(OSError):  # closing flushes again where writing has failed
                text.detach()


@contextmanager
def appending_text(path: PathLike) -> Iterator[io.TextIOWrapper]:
    """Yield a UTF-8 stream to the end of a file of lines, of which a kill may cut off the last.

    Args:
        path: The file; made where there is none.

    Raises:
        OSError: The disk refuses, or ``path`` is a link or no file.
    """
    check_replaceable(Path(path))
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | locks.NOFOLLOW | locks.BINARY, 0o666)
    with open(handle, "a", newline="", encoding="utf-8") as stream:
        yield stream


def write_bytes(path: PathLike, content: ReadableBuffer) -> None:
    """Write a file as `writing` does."""
    with writing(path) as stream:
        stream.write(content)


def write_text(path: PathLike, text: str) -> None:
    """Write a UTF-8 file as `writing` does."""
    write_bytes(path, text.encode())


def link(source: Path, target: Path) -> None:
    """Give a file a second place at once, replacing what is there; a copy where there are no hard links."""
    with replacing(target) as temporary:
        temporary.unlink()
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)


def digest(path: PathLike) -> str:
    """Return the SHA-256 of a file."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sync_folder(folder: Path) -> None:
    """See to it that new names in a folder outlast a power failure, where the system offers that."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def remove_stale(folder: PathLike) -> None:
    """Remove the temporary files that killed processes left in a folder and those below it.

    Those that a living process writes stay, as do links and whatever else only has such a name.
    """
    for place, _, names in os.walk(folder):
        for name in filter(_TEMPORARY.fullmatch, names):
            with contextlib.suppress(OSError):
                _remove_unlocked(os.path.join(place, name))


def _create(path: Path) -> tuple[Path, int]:
    """Make an empty temporary file beside ``path`` and lock it; return it and the lock's descriptor."""
    if "\0" in str(path):
        raise OSError(errno.EINVAL, "a null byte in its name", str(path))
    check_replaceable(path)
    while True:
        # Not the final name with an addition: that one may be as long as the file system allows. Not its
        # suffix: what a killed process leaves behind must not look like an image.
        temporary = path.parent / f".{uuid.uuid4().hex}.tmp"
        try:
            lock = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR | locks.BINARY, 0o666)
        except OSError as error:
            raise _of(path, error, temporary) from error
        try:
            locks.lock(lock)
        except BlockingIOError:
            pass  # another process saw it before it was locked, and is removing it
        except OSError:
            return temporary, lock  # a file system without locks, where nobody can take it for a leftover
        else:
            if os.fstat(lock).st_nlink:
                return temporary, lock
        os.close(lock)


def check_replaceable(path: Path) -> None:
    """Refuse to write in place of a link, a folder or a special file.

    Raises:
        OSError: It is one of these.
    """
    try:
        mode = path.lstat().st_mode
    except OSError:
        return  # there is nothing, or writing will say what is wrong
    if not stat.S_ISREG(mode):
        kinds = {stat.S_IFLNK: "a symbolic link", stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe"}
        kind = kinds.get(stat.S_IFMT(mode), "a special file")
        raise OSError(errno.EEXIST, f"{kind} has this name, and is neither followed nor replaced", str(path))


def _sync(temporary: Path) -> None:
    # By its name: a library may have put another file in the place of the one that was made for it.
    handle = os.open(temporary, os.O_RDONLY if locks.OPEN_FILES_MOVE else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _of(path: Path, error: OSError, temporary: Path) -> OSError:
    """Return an error of a temporary file as one of the file that was asked for."""
    if error.filename not in (None, str(temporary)):
        return error
    return OSError(error.errno, error.strerror or str(error), str(path))


def _remove_unlocked(path: str) -> None:
    handle = os.open(path, os.O_RDWR | locks.NOFOLLOW)
    with contextlib.ExitStack() as held:
        held.callback(os.close, handle)
        if stat.S_ISREG(os.fstat(handle).st_mode):
            locks.lock(handle)  # fails where its process lives
            if not locks.OPEN_FILES_MOVE:
                held.close()
            os.unlink(path)


class DigestingWriter(io.BufferedIOBase):
    """Passes what is written to a stream on.

    Attributes:
        digest: SHA-256 of it.
        error: What the disk answered when it refused.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self.digest = stream, hashlib.sha256()
        self.error: OSError | None = None

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, data: ReadableBuffer) -> int:
        """Write bytes and return how many."""
        self.digest.update(data)
        try:
            return self._stream.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        """Hand on what the stream holds back."""
        if not self._stream.closed:  # it is when this object is collected
            self._stream.flush()
