"""Many pictures in, files out: what is to be done, what is done already, and what could not be done."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn
from rich.progress import TimeRemainingColumn as Remaining

from hdrlab.io import ImageError
from hdrlab.io.image import printable

LONGEST_STEM = 200  # bytes; file systems take 255, and endings such as _preview.png follow


class BatchError(ValueError):
    """Inputs that give no plan; ``problems`` holds one line each."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(map(printable, problems))
        super().__init__("\n".join(self.problems))


@dataclass(frozen=True)
class Job:
    """One picture to work on.

    Attributes:
        source: Its file.
        name: What messages call it: its path below the input.
        target: What its outputs are called, without an ending; an absolute path below the output folder.
    """

    source: Path
    name: str
    target: Path


def plan_jobs(inputs: Sequence[str], output: Path) -> list[Job]:
    """Find the pictures and name their outputs.

    Folders are searched with all that is in them, but for hidden files and an output folder among it.
    Outputs lie as the inputs do. Files that differ in nothing but their suffix keep it in their outputs'
    names: ``a.jpg`` and ``a.png`` become ``a_jpg`` and ``a_png``.

    Args:
        inputs: Files, folders and glob patterns; a name that exists is never taken for a pattern.
        output: The folder to write.

    Returns:
        A job for each file, in order of their names.

    Raises:
        BatchError: An input gives nothing, or outputs would lie beside their photographs or on one another.
    """
    output = Path(os.path.abspath(output))
    found: dict[Path, Path] = {}
    problems: list[str] = []
    for given in inputs:
        files = dict(_files(given, output))
        if not files:
            said = "no picture in this folder" if os.path.isdir(given) else "no such file or folder"
            problems.append(f"input={given}: {said}")
        found |= files
    same = Counter(str(below.with_suffix("")).casefold() for below in found.values())
    jobs = []
    for file, below in sorted(found.items()):
        suffix = f"_{below.suffix[1:]}" if same[str(below.with_suffix("")).casefold()] > 1 else ""
        jobs.append(Job(file, str(below), output / below.parent / (_short(below.stem) + suffix)))
    if any(job.target.parent == job.source.parent for job in jobs):
        problems.append(f"output={output}: holds the photographs themselves; give another folder")
    if problems := problems or list(_collisions(jobs)):
        raise BatchError(problems)
    return jobs


def _files(given: str, output: Path) -> Iterator[tuple[Path, Path]]:
    """Yield the absolute path of each file and its path below the input; not those below an output in it."""
    path = Path(os.path.abspath(given))
    if os.path.isdir(path):  # the methods of Path raise where a name is too long
        found, root = [*path.rglob("*")], path
    elif os.path.exists(path):
        found, root = [path], path.parent
    else:
        fixed = [part for part in path.parents if not glob.has_magic(str(part))]
        found, root = [Path(name) for name in glob.glob(str(path), recursive=True)], fixed[0]
    for file in found:
        below = file.relative_to(root)
        hidden = any(part.startswith(".") for part in below.parts)
        ours = output != root and output.is_relative_to(root) and file.is_relative_to(output)
        if not hidden and not ours and not file.is_dir():
            yield file, below


def _short(stem: str) -> str:
    encoded = stem.encode("utf-8", "surrogateescape")
    if len(encoded) <= LONGEST_STEM:
        return stem
    cut = encoded[:LONGEST_STEM].decode("utf-8", "ignore")
    return f"{cut}~{hashlib.sha256(encoded).hexdigest()[:8]}"


def _collisions(jobs: Iterable[Job]) -> Iterator[str]:
    places: dict[str, Path] = {}
    for job in jobs:
        other = places.setdefault(str(job.target).casefold(), job.source)
        if other != job.source:
            yield f"{other} and {job.source} would both be written to {job.target}.*: do one after the other"


class Manifest:
    """What a folder of outputs holds: a line of JSON a picture, added when all its files are written.

    Args:
        path: The manifest; its folder exists.
        settings: Digest of everything that changes the outputs. Lines of other settings do not count.
        fresh: Whether to disregard what is there.
    """

    def __init__(self, path: Path, settings: str, *, fresh: bool = False) -> None:
        self._path, self._settings = path, settings
        self._known: dict[str, dict[str, Any]] = {}
        self._torn = False
        if path.is_file() and not fresh:
            text = path.read_text(encoding="utf-8", errors="replace")
            self._torn = not text.endswith("\n")  # the line that a kill cut off
            for entry in filter(None, map(_entry, text.splitlines())):
                self._known[entry["target"]] = entry

    def has(self, job: Job) -> bool:
        """Say whether a picture's outputs are there, made with these settings from this very file."""
        entry = self._known.get(self._key(job))
        return (
            entry is not None
            and entry["settings"] == self._settings
            and entry["stamp"] == _stamp(job.source)
            and all((self._path.parent / file).is_file() for file in entry["files"])
        )

    def add(self, job: Job, files: Iterable[Path]) -> None:
        """Note that a picture is done.

        Raises:
            ImageError: The disk refuses.
        """
        entry = {
            "target": self._key(job),
            "stamp": _stamp(job.source),
            "settings": self._settings,
            "files": [file.relative_to(self._path.parent).as_posix() for file in files],
        }
        try:
            with self._path.open("a", encoding="utf-8") as stream:
                stream.write("\n" * self._torn + json.dumps(entry) + "\n")
        except OSError as error:
            raise ImageError(self._path, f"cannot be written: {error.strerror or error}") from error
        self._torn = False

    def _key(self, job: Job) -> str:
        return job.target.relative_to(self._path.parent).as_posix()


def _entry(line: str) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return (
        entry
        if isinstance(entry, dict) and {"target", "stamp", "settings", "files"} <= entry.keys()
        else None
    )


def _stamp(source: Path) -> list[int]:
    try:
        status = source.stat()
    except OSError:
        return []  # reading it will say what is wrong
    return [status.st_size, status.st_mtime_ns]


Advance = Callable[[int, int], None]
"""Told the finished parts of the present picture, and all of them."""


@dataclass
class Outcome:
    """How a batch ended.

    Attributes:
        done: Pictures written.
        kept: Pictures that an earlier call had written.
        failed: The reason for each picture that could not be done, by its name.
    """

    done: int = 0
    kept: int = 0
    failed: dict[str, str] = field(default_factory=dict)

    def report(self, output: Path) -> int:
        """Print a line a failure and one for all, and return the exit code: 1 if anything failed."""
        for name, reason in self.failed.items():
            print(printable(f"error: {name}: {reason}"), file=sys.stderr)
        parts = [f"{self.done} written to {output}"]
        parts += [f"{self.kept} there already"] * bool(self.kept)
        parts += [f"{len(self.failed)} failed"] * bool(self.failed)
        print(", ".join(parts))
        return 1 if self.failed else 0


def run_batch(jobs: Sequence[Job], manifest: Manifest, work: Callable[[Job, Advance], list[Path]]) -> Outcome:
    """Work on every picture that is not done yet; one that fails does not stop the others.

    Args:
        jobs: The pictures.
        manifest: Of the output folder.
        work: Makes one picture's outputs and returns them. It may fail with ImageError or MemoryError.

    Returns:
        How it ended.
    """
    outcome = Outcome()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        Remaining(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        overall = bar.add_task("pictures", total=len(jobs))
        parts = bar.add_task("", total=None)

        def advance(done: int, total: int) -> None:
            bar.update(parts, completed=done, total=total)

        for job in jobs:
            bar.reset(parts, description=escape(job.name), total=None)
            if manifest.has(job):
                outcome.kept += 1
            else:
                try:
                    manifest.add(job, work(job, advance))
                    outcome.done += 1
                except ImageError as error:
                    outcome.failed[job.name] = error.reason.splitlines()[0]
                except MemoryError as error:
                    outcome.failed[job.name] = str(error) or "memory ran out"
            bar.advance(overall)
    return outcome
