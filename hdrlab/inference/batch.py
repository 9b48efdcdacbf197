"""Many images in, files out: what is done already, what another process does, and what could not be done."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import stat
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hdrlab.errors import HdrlabError, ImageError, ImageKindError, PluginError, RunError, printable
from hdrlab.inference.jobs import Job, Plan
from hdrlab.io import locks, read_image
from hdrlab.io.atomic import check_replaceable, digest, remove_stale

if TYPE_CHECKING:
    from rich.progress import Progress

Advance = Callable[[int, int], None]
"""Called with the finished parts of the present image, and all of them."""

Work = Callable[[Job, Advance], Sequence[str]]
"""Makes one image's outputs, and returns what a user should know of it. It may fail with ImageError,
MemoryError or, from the disk, OSError."""


class Manifest:
    """What a folder of outputs holds: lines of JSON, added when an image is begun and when it is done.

    Several processes may use it at once: each holds a lock on the images that it works on.

    Args:
        path: The manifest, below the output folder; its folder exists.
        settings: Digest of everything that changes the outputs. Lines of other settings do not count as done.
        fresh: Whether to do all again.
        overwrite: Whether files that hdrlab did not write may be replaced.

    Raises:
        RunError: It cannot be opened, or is a link or no regular file.
    """

    def __init__(self, path: Path, settings: str, *, fresh: bool = False, overwrite: bool = False) -> None:
        self.path, self._settings, self._overwrite = path, settings, overwrite
        self._done: dict[str, dict[str, Any]] = {}
        self._own: set[str] = set()
        self._kept: dict[str, list[Any]] = {}
        self._rest, self._read = b"", 0
        self.damaged = 0
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | locks.NOFOLLOW | locks.BINARY
        try:
            check_replaceable(path)
            self._file = os.fdopen(os.open(path, flags, 0o666), "r+b", buffering=0)
            if not stat.S_ISREG(os.fstat(self._file.fileno()).st_mode):
                raise OSError(errno.EINVAL, "is not a regular file")
        except OSError as error:
            raise RunError([f"{path}: cannot be written: {error.strerror or error}"]) from error
        self.refresh()
        self._disregarded = dict(self._done) if fresh else {}
        self._torn = bool(self._rest)  # the line that a kill cut off
        self.damaged += self._torn

    @property
    def folder(self) -> Path:
        """The folder of outputs."""
        return self.path.parent

    def __enter__(self) -> Manifest:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def refresh(self) -> None:
        """Read what was added since it was read last, by whichever process."""
        # Not from where the file stands: writing to its end moves that place over what others have added.
        self._file.seek(self._read)
        added = self._file.read()
        self._read += len(added)
        *lines, self._rest = (self._rest + added).split(b"\n")
        for line in filter(None, lines):
            entry = _entry(line)
            if entry is None:
                self.damaged += 1
                continue
            self._own |= {*entry["files"]}
            if isinstance(entry["files"], dict):
                self._done[entry["target"]] = entry
                self._kept |= entry["files"]
            else:  # begun: what a stop has left of them is not known
                self._kept = {name: kept for name, kept in self._kept.items() if name not in entry["files"]}

    def has(self, job: Job) -> bool:
        """Say whether an image's outputs are as they were written, with these settings, from this file."""
        entry = self._done.get(self._name(job.target))
        if entry is None or entry is self._disregarded.get(entry["target"]):
            return False
        return (
            entry["settings"] == self._settings
            and entry["stamp"] == stamp_of(job.source)
            and all(_is_whole(self.folder / name, *kept) for name, kept in entry["files"].items())
        )

    @contextmanager
    def claimed(self, job: Job, *, wait: bool) -> Iterator[bool]:
        """Hold the right to work on an image, and yield whether it was free; its process's end frees it."""
        start = int.from_bytes(hashlib.sha256(os.fsencode(self._name(job.target))).digest()[:7])
        try:
            # Beyond the end of the file: a byte an image, which does not even exist.
            locks.lock(self._file.fileno(), start, wait=wait)
        except BlockingIOError:
            yield False
            return
        except OSError:
            pass  # a file system without locks
        self.refresh()
        try:
            yield True
        finally:
            with contextlib.suppress(OSError):
                locks.unlock(self._file.fileno(), start)

    def begin(self, job: Job) -> None:
        """Note which files an image is about to become.

        Raises:
            ImageError: One is there that is not hdrlab's, or not as hdrlab left it, or it lies behind a link,
                or the disk refuses.
        """
        for file in job.outputs:
            self._require_ours(file)
        self._append({"target": self._name(job.target), "files": [*map(self._name, job.outputs)]})

    def add(self, job: Job, stamp: list[int]) -> None:
        """Note that an image is done.

        Args:
            job: The image.
            stamp: Of its file, before it was read.

        Raises:
            ImageError: The disk refuses.
        """
        kept = {self._name(file): [file.stat().st_size, digest(file)] for file in job.outputs}
        name = self._name(job.target)
        self._append({"target": name, "stamp": stamp, "settings": self._settings, "files": kept})

    def _require_ours(self, file: Path) -> None:
        folder = self.folder
        for above in file.relative_to(folder).parents:
            if (folder / above).is_symlink() and above != Path():
                raise ImageError(
                    folder / above, "is a symbolic link, through which nothing is written: remove it"
                )
        if not os.path.lexists(file):
            return
        if self._overwrite and file.is_symlink():
            file.unlink()
            return
        name, way_out = self._name(file), "move it away, or overwrite=true replaces it"
        if not self._overwrite and name not in self._own:
            raise ImageError(file, f"was there already and is not hdrlab's; {way_out}")
        check_replaceable(file)
        changed = name in self._kept and not _is_whole(file, *self._kept[name])
        if not self._overwrite and changed and _is_readable(file):  # what is cut or damaged is made again
            raise ImageError(file, f"is not as hdrlab left it: somebody may have worked on it; {way_out}")

    def _append(self, entry: dict[str, Any]) -> None:
        line = b"\n" * self._torn + json.dumps(entry).encode() + b"\n"
        self._torn = False
        try:
            written = self._file.write(line)  # one call, which no other process's line can come between
            if written != len(line):
                self._torn = True
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if not os.fstat(self._file.fileno()).st_nlink:
                raise OSError(errno.ENOENT, "was removed, or its disk was")
            os.fsync(self._file.fileno())
        except OSError as error:
            raise ImageError(self.path, f"cannot be written: {error.strerror or error}") from error

    def _name(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()


def _entry(line: bytes) -> dict[str, Any] | None:
    """Return what a line says: of an image that is begun, or one that is done."""
    try:
        entry = json.loads(line)
        begun = isinstance(entry["target"], str) and all(isinstance(name, str) for name in entry["files"])
        if begun and isinstance(entry["files"], dict):
            begun = (
                all(isinstance(size, int) and isinstance(kept, str) for size, kept in entry["files"].values())
                and {"stamp", "settings"} <= entry.keys()
            )
    except (ValueError, TypeError, LookupError, RecursionError):
        return None
    return entry if begun else None


def stamp_of(source: Path) -> list[int]:
    """Return what changes when a file does."""
    try:
        status = source.stat()
    except OSError:
        return []  # reading it will say what is wrong
    return [status.st_size, status.st_mtime_ns]


def _is_whole(file: Path, size: int, sha256: str) -> bool:
    try:
        status = file.lstat()
        return stat.S_ISREG(status.st_mode) and status.st_size == size and digest(file) == sha256
    except OSError:
        return False


def _is_readable(file: Path) -> bool:
    """Say whether an image is sound; also where that cannot be found out, so that nothing is lost."""
    try:
        read_image(file, max_pixels=sys.maxsize, sanitize=True)
    except ImageError:
        return False
    except (HdrlabError, OSError, MemoryError):
        pass
    return True


OTHER_KIND = "of the other kind (SDR or HDR)"


@dataclass
class Outcome:
    """How a batch ended.

    Attributes:
        done: Images written.
        kept: Images that were there already.
        passed_over: Files that are no images, or have one beside them, by the reason.
        failed: The reason for each image that could not be done, by its name.
        notes: What a user should know of images that were done, a line each.
    """

    done: int = 0
    kept: int = 0
    passed_over: Counter[str] = field(default_factory=Counter)
    failed: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def report(self, output: str | Path) -> int:
        """Print notes, failures, and a line for all; return the exit code: 1 if an image failed."""
        for note in self.notes:
            print(printable(f"note: {note}"), file=sys.stderr)
        if self.passed_over:
            counted = ", ".join(f"{number} {reason}" for reason, number in sorted(self.passed_over.items()))
            print(printable(f"passed over: {counted}"), file=sys.stderr)
        for name, reason in self.failed.items():
            print(printable(f"error: {name}: {reason}"), file=sys.stderr)
        parts = [f"{self.done} written to {output}"]
        for number, what in (
            (self.kept, "there already"),
            (self.passed_over.total(), "passed over"),
            (len(self.failed), "failed"),
        ):
            parts += [f"{number} {what}"] if number else []
        print(printable(", ".join(parts)), flush=True)
        if OTHER_KIND in self.passed_over and not (self.done or self.kept or self.failed):
            print("error: no image of the kind that this command takes among them", file=sys.stderr)
            return 1
        return 1 if self.failed else 0


def make_output(folder: Path) -> None:
    """Make a folder of outputs.

    Raises:
        RunError: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError([f"output={folder}: cannot be made ({error.strerror or error})"]) from error


def run_batch(plan: Plan, manifest: Manifest, work: Work) -> Outcome:
    """Work on every image that is not done yet; one that fails does not stop the others.

    Images that another process works on are left to the end: by then it has done them, or died.

    Args:
        plan: The images.
        manifest: Of the output folder.
        work: Makes one image's outputs.

    Returns:
        How it ended.
    """
    remove_stale(manifest.folder)
    outcome = Outcome(passed_over=plan.passed_over, failed=dict(plan.unread))
    if manifest.damaged:
        outcome.notes.append(f"{manifest.path}: damaged lines, which do not count: {manifest.damaged}")
    with _watched(len(plan.jobs)) as watch:

        def attempt(job: Job, *, wait: bool) -> bool:
            """Do one image, unless another process does."""
            with manifest.claimed(job, wait=wait) as free:
                if free:
                    _do(job, manifest, work, outcome, watch)
                return free

        waiting = [job for job in plan.jobs if not attempt(job, wait=False)]
        for job in waiting:
            attempt(job, wait=True)
    return outcome


def _do(job: Job, manifest: Manifest, work: Work, outcome: Outcome, watch: _Watch) -> None:
    if manifest.has(job):
        outcome.kept += 1
        watch.end(job, "there already")
        return
    stamp = stamp_of(job.source)
    watch.begin(job)
    try:
        manifest.begin(job)
        _make_folder(job.target.parent, manifest.folder)
        notes = work(job, watch.advance)
        manifest.add(job, stamp)
    except ImageKindError as error:
        if job.listed:
            outcome.passed_over[OTHER_KIND] += 1
            watch.end(job, f"passed over: {error.reason.splitlines()[0]}")
            return
        failure = error.reason.splitlines()[0]
    except (ImageError, OSError, MemoryError, PluginError) as error:
        failure = reason_of(error, job.source)
    else:
        outcome.done += 1
        outcome.notes += [f"{job.name}: {note}" for note in notes]
        watch.end(job, "written")
        return
    outcome.failed[job.name] = failure
    watch.end(job, "failed")  # why, is told in the end


def reason_of(error: Exception, source: Path) -> str:
    """Say in a line why an image or clip could not be done, with the file concerned if it is another."""
    if isinstance(error, ImageError):
        elsewhere = f"{error.path}: " if error.path and Path(error.path) != source else ""
        return elsewhere + error.reason.splitlines()[0]
    if isinstance(error, OSError):
        return ": ".join(str(part) for part in (error.filename, error.strerror or error) if part)
    return str(error) or "memory ran out"


def _make_folder(folder: Path, output: Path) -> None:
    """Make a folder of outputs, but not the output folder anew where its disk has gone."""
    if not output.is_dir():
        raise ImageError(output, "is gone; was its disk removed?")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImageError(folder, f"cannot be made: {error.strerror or error}") from error


class _Watch:
    """What somebody sees of a batch: a line an image, for logs."""

    def __init__(self, total: int) -> None:
        self._total, self._number, self._worked = total, 0, 0
        self._start = self._begun = time.monotonic()

    def begin(self, job: Job) -> None:
        self._begun = time.monotonic()
        self._worked += 1

    def advance(self, done: int, total: int) -> None:
        """Count the parts of an image, which a log does not show."""

    def end(self, job: Job, how: str) -> None:
        self._number += 1
        line = f"{self._number}/{self._total} {job.name}: {how}"
        if how == "written" and self._total > 1:  # a single image's time is mostly the program's start
            line += f" in {_duration(time.monotonic() - self._begun)}"
        if self._worked and self._number < self._total:
            spent = time.monotonic() - self._start
            line += f", {_duration(spent / self._worked * (self._total - self._number))} left"
        print(printable(line), file=sys.stderr, flush=True)


class _Bars(_Watch):
    """The same for a terminal: bars of all images and of the present one's parts."""

    def __init__(self, total: int, progress: Progress) -> None:
        super().__init__(total)
        self._progress = progress
        self._all = progress.add_task("images", total=total)
        self._parts = progress.add_task("", total=None)

    def begin(self, job: Job) -> None:
        from rich.markup import escape

        self._progress.reset(self._parts, description=escape(printable(job.name)), total=None)

    def advance(self, done: int, total: int) -> None:
        self._progress.update(self._parts, completed=done, total=total)

    def end(self, job: Job, how: str) -> None:
        self._progress.advance(self._all)


@contextmanager
def _watched(total: int) -> Iterator[_Watch]:
    if not sys.stderr.isatty():
        yield _Watch(total)
        return
    # A tenth of a second, which a log does not need.
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        Remaining(),
    )
    with Progress(*columns, console=console) as progress:
        yield _Bars(total, progress)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
