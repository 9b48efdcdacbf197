"""The list of a run folder's checkpoints, by which a resume knows what is whole.

::

    last.ckpt         the newest
    previous.ckpt     the one before
    best.ckpt         the best by the validation loss
    checkpoints.json  step, size and SHA-256 of each

A checkpoint counts only if the list says so: a file that was cut short, damaged or put there by hand is not
gone on from.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

LAST, PREVIOUS, BEST = "last.ckpt", "previous.ckpt", "best.ckpt"
FILE = "checkpoints.json"
PART = ".part"


class ManifestError(ValueError):
    """A list of checkpoints, or a checkpoint, that is not what was written."""


@dataclass(frozen=True)
class Entry:
    """A checkpoint as it was written.

    Attributes:
        file: Name in the run folder.
        step: Optimiser steps done.
        bytes: Size.
        sha256: Digest of the content.
    """

    file: str
    step: int
    bytes: int
    sha256: str


def read_manifest(folder: Path) -> list[Entry]:
    """Read the list of a run folder; an empty one where there is none.

    Raises:
        ManifestError: It is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        return []
    kinds = {one.name: {"str": str, "int": int}[str(one.type)] for one in fields(Entry)}
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        entries = [Entry(**row) for row in stored]
    except (ValueError, TypeError) as error:
        raise ManifestError(f"{path}: damaged ({error})") from error
    if not all(isinstance(getattr(one, name), kind) for one in entries for name, kind in kinds.items()):
        raise ManifestError(f"{path}: damaged (a value of the wrong type)")
    return entries


def write_manifest(folder: Path, entries: Sequence[Entry]) -> None:
    """Replace the list of a run folder."""
    write_text(folder / FILE, json.dumps([asdict(one) for one in entries], indent=2))


def find_last(folder: Path) -> tuple[Path | None, list[str]]:
    """Find the newest checkpoint of a run that is whole.

    Returns:
        Its path, None where the run has none yet; and what is wrong with newer ones.

    Raises:
        ManifestError: There are checkpoints, and none can be gone on from.
    """
    try:
        listed = sorted(read_manifest(folder), key=lambda one: -one.step)
    except ManifestError as error:
        listed, problems = [], [str(error)]
    else:
        problems = []
    files = [folder / name for name in (LAST, PREVIOUS) if (folder / name).is_file()]
    if files[:1] == [folder / LAST] and not (folder / FILE).is_file():
        return files[0], []  # the first was just written when the run was killed; reading it checks the rest
    digests = {path: digest(path) for path in files}
    for entry in listed:
        for path in files:
            if digests[path] == entry.sha256:
                return path, problems + [_unlisted(p) for p in files if p.name == LAST and p != path]
    problems += [_unlisted(path) for path in files]
    best = folder / BEST
    if files or listed or best.is_file():
        said = "; ".join(problems or [f"{folder / LAST}: is gone"])
        stored = {one.sha256 for one in listed if one.file == BEST}
        whole = best.is_file() and (not listed or digest(best) in stored)
        choice = f", or resume={best} to go on from the best" if whole else ""
        raise ManifestError(f"{said}; the run cannot be continued: set resume=never to start anew{choice}")
    return None, []


def _unlisted(path: Path) -> str:
    return f"{path}: is not as it was written (cut short, damaged or replaced)"


def check_listed(path: Path) -> None:
    """Check that a checkpoint of a run folder is what was written there.

    Raises:
        ManifestError: It is not.
    """
    entries = {one.file: one for one in read_manifest(path.parent)}
    if path.name not in entries or digest(path) != entries[path.name].sha256:
        raise ManifestError(f"{_unlisted(path)}; resume=never trains another")


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all, also where the power fails."""
    part = path.with_name(path.name + PART)
    with part.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(path)
    sync_folder(path.parent)


def link(source: Path, target: Path) -> None:
    """Put a file at a second place at once, without a copy where the file system can."""
    part = target.with_name(target.name + PART)
    part.unlink(missing_ok=True)
    try:
        os.link(source, part)
    except OSError:  # no hard links on this file system
        shutil.copyfile(source, part)
    part.replace(target)
    part.unlink(missing_ok=True)  # left where both were one file already


def sync_folder(folder: Path) -> None:
    """See to it that new names in a folder outlast a power failure, where the system offers that."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def remove_parts(folder: Path) -> None:
    """Remove what an interrupted write left."""
    for part in folder.glob(f"*{PART}"):
        part.unlink(missing_ok=True)
