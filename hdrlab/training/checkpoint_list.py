"""The list of a run folder's checkpoints, by which a resume knows what is whole.

::

    last.ckpt         the newest
    previous.ckpt     the one before
    best.ckpt         the best by the validation loss
    checkpoints.json  step, size and SHA-256 of each

A checkpoint counts only if the list says so: a file that was cut short, damaged or put there by hand is not
gone on from. The list is renewed before the files are: while they are moved, or if a kill comes then, it
holds digests of files that are not there (yet), and may name the same file twice.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from hdrlab.errors import CheckpointError
from hdrlab.io.atomic import digest, write_text

LAST, PREVIOUS, BEST = "last.ckpt", "previous.ckpt", "best.ckpt"
FILE = "checkpoints.json"


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
        CheckpointError: It is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        return []
    kinds = {one.name: {"str": str, "int": int}[str(one.type)] for one in fields(Entry)}
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        entries = [Entry(**row) for row in stored]
    except (ValueError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{path}: damaged ({error})") from error
    if not all(isinstance(getattr(one, name), kind) for one in entries for name, kind in kinds.items()):
        raise CheckpointError(f"{path}: damaged (a value of the wrong type)")
    return entries


def write_manifest(folder: Path, entries: Sequence[Entry]) -> None:
    """Replace the list of a run folder."""
    write_text(folder / FILE, json.dumps([asdict(one) for one in entries], indent=2))


def entry_of(path: Path, listed: Sequence[Entry]) -> Entry | None:
    """Return the entry of a checkpoint, by its digest; None where it is not whole, or is not there."""
    if not path.is_file():
        return None
    found = digest(path)
    return next((one for one in listed if one.sha256 == found), None)


def find_last(folder: Path) -> tuple[Path | None, list[str]]:
    """Find the newest checkpoint of a run that is whole.

    Returns:
        Its path, None where the run has none yet; and what is wrong with newer ones.

    Raises:
        CheckpointError: There are checkpoints, and none can be gone on from.
    """
    try:
        listed = sorted(read_manifest(folder), key=lambda one: -one.step)
    except CheckpointError as error:
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
        message = "; ".join(problems or [f"{folder / LAST}: is gone"])
        stored = {one.sha256 for one in listed if one.file == BEST}
        whole = best.is_file() and (not listed or digest(best) in stored)
        choice = f", or resume={best} to go on from the best" if whole else ""
        raise CheckpointError(
            f"{message}; the run cannot be continued: set resume=never to start anew{choice}"
        )
    return None, []


def _unlisted(path: Path) -> str:
    return f"{path}: is not as it was written (cut short, damaged or replaced)"


def check_listed(path: Path) -> None:
    """Check that a checkpoint of a run folder is what was written there.

    Raises:
        CheckpointError: It is not.
    """
    listed = [one for one in read_manifest(path.parent) if one.file == path.name]
    if entry_of(path, listed) is None:
        raise CheckpointError(f"{_unlisted(path)}; resume=never trains another")
