"""Which inputs move: clips by their suffix, sequences by a pattern, or a folder that is said to be one."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hdrlab.config.paths import existing
from hdrlab.config.schema.commands import CLIP_SUFFIXES, FRAME_NUMBER
from hdrlab.errors import RunError
from hdrlab.inference.jobs import IMAGE_SUFFIXES

_LAST_NUMBER = re.compile(r"(\d+)(?=\D*$)")


@dataclass(frozen=True)
class ClipSource:
    """A clip's file, or the files of a sequence.

    Attributes:
        path: The file, or the folder of a sequence.
        stem: What outputs are called.
        files: Of a sequence, by their numbers.
        missing: How many numbers between its first and its last have no file.
    """

    path: Path
    stem: str
    files: tuple[Path, ...] = ()
    missing: int = 0


def clip_sources(inputs: Sequence[str], *, sequence: bool) -> tuple[list[ClipSource], list[str]]:
    """Part what moves from what does not.

    Args:
        inputs: Files, folders and patterns. A clip is known by its suffix; ``frame.%04d.exr`` and
            ``frame.####.png`` are sequences.
        sequence: Whether folders and other patterns are sequences too.

    Returns:
        Clips and sequences, and the other inputs.

    Raises:
        RunError: A sequence has no frames.
    """
    clips, others = list[ClipSource](), list[str]()
    for given in map(existing, inputs):
        path = Path(os.path.abspath(given))
        there = os.path.lexists(given)
        if not there and FRAME_NUMBER.search(path.name):
            clips.append(_numbered(path))
        elif os.path.isfile(given) and path.suffix.lower() in CLIP_SUFFIXES:
            clips.append(ClipSource(path, path.stem))
        elif sequence and (os.path.isdir(given) or not there):
            clips.append(_listed(path))
        elif not there and Path(given).suffix.lower() in CLIP_SUFFIXES and glob.has_magic(given):
            clips += [
                ClipSource(Path(os.path.abspath(one)), Path(one).stem) for one in sorted(glob.glob(given))
            ]
        else:
            others.append(given)
    return clips, others


def _numbered(path: Path) -> ClipSource:
    mark = FRAME_NUMBER.search(path.name)
    assert mark is not None
    before, after = path.name[: mark.start()], path.name[mark.end() :]
    frame = re.compile(re.escape(before) + r"(\d+)" + re.escape(after))
    names = os.listdir(path.parent) if path.parent.is_dir() else []
    found = [(int(match[1]), path.parent / name) for name in names if (match := frame.fullmatch(name))]
    if not found:
        raise RunError([f"input={path}: no file matches this pattern"])
    stem = before.rstrip("._- ") or path.parent.name
    return _sequence(path.parent, stem, found)


def _listed(path: Path) -> ClipSource:
    """Take the images of a folder, or those that match a pattern, by the last number in their names."""
    matches = path.iterdir() if path.is_dir() else map(Path, glob.glob(str(path)))
    images = [one for one in matches if one.suffix.lower() in IMAGE_SUFFIXES and not one.name.startswith(".")]
    numbered = {one: found for one in images if (found := _LAST_NUMBER.search(one.stem))}
    series: dict[tuple[str, str], list[Path]] = {}
    for one, found in numbered.items():
        series.setdefault((one.stem[: found.start()], one.suffix.lower()), []).append(one)
    if not series:
        raise RunError([f"input={path}: no numbered frames here; name the clip, or frame.%04d.png"])
    if len(series) > 1:
        names = ", ".join(f"{before}####{suffix}" for before, suffix in sorted(series)[:4])
        raise RunError([f"input={path}: holds several sequences; take one of {names}"])
    (((before, _), frames),) = series.items()
    folder = path if path.is_dir() else frames[0].parent
    stem = before.rstrip("._- ") or folder.name
    return _sequence(folder, stem, [(int(numbered[one][0]), one) for one in frames])


def _sequence(folder: Path, stem: str, frames: Iterable[tuple[int, Path]]) -> ClipSource:
    numbers, files = zip(*sorted(frames), strict=True)
    missing = numbers[-1] - numbers[0] + 1 - len({*numbers})
    return ClipSource(folder, stem, files, missing)
