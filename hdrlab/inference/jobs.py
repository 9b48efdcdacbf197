"""Which images a command works on, and what their outputs are called."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from hdrlab.config.paths import existing
from hdrlab.errors import RunError
from hdrlab.io import HDR_SUFFIXES, LDR_SUFFIXES, raw
from hdrlab.io.files import has_known_magic

LONGEST_STEM = 200  # bytes; file systems take 255, and endings such as _preview.jpg follow
CAMERAS_OWN = frozenset({".jpg", ".jpeg", ".heic", ".heif", ".hif"})
"""What cameras write beside a raw file."""

IMAGE_SUFFIXES = frozenset(
    HDR_SUFFIXES | LDR_SUFFIXES | raw.SUFFIXES | CAMERAS_OWN
    | {".jpe", ".jfif", ".mpo", ".xyze", ".avif", ".jxl", ".webp", ".gif", ".bmp", ".jp2"}
)  # fmt: skip
"""What counts as an image in a folder, whether hdrlab reads it or says why not."""

NOBODYS_FOLDERS = frozenset({"__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found"})
"""Folders that systems make, lower case; what looks like an image there is a companion of one."""

PROGRAMS_FOLDERS = frozenset({".lrdata", ".cocatalog"})
"""Suffixes of folders in which programs keep previews."""


@dataclass(frozen=True)
class Job:
    """One image to work on.

    Attributes:
        source: Its file.
        name: What messages call it: its path below the input.
        target: What its outputs are called, without an ending; an absolute path below the output folder.
        outputs: The files that it becomes.
        listed: Whether a folder or pattern gave it, not its name.
    """

    source: Path
    name: str
    target: Path
    outputs: tuple[Path, ...] = ()
    listed: bool = False


@dataclass
class Plan:
    """What a command is to do.

    Attributes:
        jobs: The images, in order of their names.
        passed_over: Files in folders that are no images, or that have one beside them, counted by a reason.
        unread: Folders that cannot be listed, with the reason.
    """

    jobs: list[Job] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)
    unread: dict[str, str] = field(default_factory=dict)

    def deal(self, shard: int, num_shards: int) -> None:
        """Keep one share of the images: every ``num_shards``-th, from the ``shard``-th on, counted from 0."""
        self.jobs = self.jobs[shard::num_shards]


@dataclass(frozen=True)
class _Found:
    """A file, its path below the input, and whether a folder or pattern gave it."""

    file: Path
    below: Path
    listed: bool


def folder_beside(given: str, name: str) -> Path:
    """Return the folder of the outputs of an input where none is given, an absolute path.

    Args:
        given: A file, a folder or a glob pattern.
        name: ``hdr``, say.

    Returns:
        ``a/hdr`` for ``a/photo.jpg`` and ``a/*.jpg``; ``photos_hdr`` for a folder ``photos``.
    """
    path = Path(os.path.abspath(existing(given)))
    if os.path.isdir(path):
        return path.with_name(f"{path.name}_{name}")
    parents = (part for part in path.parents if os.path.lexists(path) or not glob.has_magic(str(part)))
    return next(parents) / name


def plan_jobs(
    inputs: Sequence[str],
    output: Path,
    outputs: Callable[[Path], Sequence[Path]],
    *,
    beside: tuple[str, ...] = (),
    journals: tuple[str, ...] = (),
    stem: str | None = None,
) -> Plan:
    """Find the images and name their outputs.

    Folders are searched with all that is in them, but for hidden files and an output folder among it.
    Outputs lie as the inputs do. Files that differ in nothing but their suffix keep it in their outputs'
    names: ``a.jpg`` and ``a.png`` become ``a_jpg`` and ``a_png``. Of a raw file and the image that the camera
    wrote beside it, the image is taken.

    Args:
        inputs: Files, folders and glob patterns; a name that exists is never taken for a pattern.
        output: The folder to write.
        outputs: Names the files that an image becomes, from the path of its outputs without ending.
        beside: Ends of names that are hdrlab's own; in folders they are not even counted.
        journals: Names of files that list hdrlab's own results: in folders these are passed over.
        stem: What the outputs of a single image are called, without ending.

    Returns:
        A job for each image, and what was left out.

    Raises:
        RunError: An input gives nothing, or outputs would lie beside their photographs or on one another.
    """
    output = Path(os.path.abspath(output))
    plan, found = Plan(), dict[Path, _Found]()
    problems: list[str] = []
    for given in map(existing, inputs):
        files = list(_files(given, output, plan, journals))
        images = [one for one in files if not one.listed or _is_image(one, beside, plan)]
        if not images:
            kind = "file matches this pattern" if glob.has_magic(given) else "such file or folder"
            what = "no image in this folder" if os.path.isdir(given) else f"no {kind}"
            problems.append(f"input={given}: {'no image among these files' if files else what}")
        found |= {one.file: one for one in images}
    if problems:
        raise RunError([*problems, *(f"{folder}: {reason}" for folder, reason in plan.unread.items())])
    plan.jobs = _jobs(_without_raw_twins(found, plan), output, outputs)
    if stem is not None:
        plan.jobs = [_named(plan.jobs, output, stem, outputs)]
    elif any(job.target.parent == job.source.parent for job in plan.jobs):
        raise RunError([f"output={output}: holds the images themselves; give another folder"])
    if problems := list(_collisions(plan.jobs)):
        raise RunError(problems)
    return plan


def _files(given: str, output: Path, plan: Plan, journals: Sequence[str]) -> Iterator[_Found]:
    """Yield the files of an input; not those below an output in it, nor in hidden folders."""
    path = Path(os.path.abspath(given))
    if os.path.isdir(path):  # the methods of Path raise where a name is too long
        found, root, listed = _below(path, output, plan, journals), path, True
    elif os.path.lexists(path):
        found, root, listed = iter([path]), path.parent, False
    else:
        fixed = [part for part in path.parents if not glob.has_magic(str(part))]
        matches = map(Path, glob.glob(str(path), recursive=True))
        found, root, listed = (one for one in matches if not one.is_dir()), fixed[0], True
    for file in found:
        yield _Found(file, file.relative_to(root), listed)


def _below(root: Path, output: Path, plan: Plan, journals: Sequence[str]) -> Iterator[Path]:
    def unread(error: OSError) -> None:
        plan.unread[str(error.filename)] = f"cannot be listed: {error.strerror or error}"

    results = set[Path]()
    for folder, folders, names in os.walk(root, onerror=unread):
        ours = output == Path(folder) and output != root
        folders[:] = [] if ours else sorted(name for name in folders if not name.startswith("."))
        for journal in {*names}.intersection(journals):
            results |= {Path(folder, name) for name in _written(Path(folder, journal))}
        for file in (Path(folder, name) for name in sorted(() if ours else names)):
            if file in results:
                plan.passed_over["made by hdrlab"] += 1
            else:
                yield file


def _written(journal: Path) -> set[str]:
    """Return the files that a journal lists, below its folder; damaged lines list none."""
    names = set[str]()
    try:
        lines = journal.read_bytes().splitlines()
    except OSError:
        return names
    for line in lines:
        try:
            names |= {*json.loads(line)["files"]}
        except (ValueError, TypeError, LookupError, RecursionError):
            continue
    return names


def _is_image(one: _Found, beside: tuple[str, ...], plan: Plan) -> bool:
    """Say whether a file that nobody named is an image, and count it if not."""
    name, suffix = one.file.name, one.file.suffix.lower()
    if name.endswith(beside):
        return False
    folders = [Path(part.lower()) for part in one.below.parts[:-1]]
    foreign = {str(folder) for folder in folders} & NOBODYS_FOLDERS
    foreign |= {folder.suffix for folder in folders} & PROGRAMS_FOLDERS
    kind = "hidden" if name.startswith(".") else suffix or "no suffix"
    if not (foreign or kind == "hidden") and (
        suffix in IMAGE_SUFFIXES or (not suffix and has_known_magic(one.file))
    ):
        return True
    plan.passed_over[f"no images ({next(iter(foreign), kind)})"] += 1
    return False


def _without_raw_twins(found: dict[Path, _Found], plan: Plan) -> list[_Found]:
    """Leave raw files out that a folder holds beside the camera's own image of the same name."""

    def stem(one: _Found) -> str:
        return _folded(one.file.with_suffix(""))

    own = {stem(one) for one in found.values() if one.file.suffix.lower() in CAMERAS_OWN}
    kept = []
    for _, one in sorted(found.items()):
        if one.listed and one.file.suffix.lower() in raw.SUFFIXES and stem(one) in own:
            plan.passed_over["raw files beside the camera's own image, which was taken"] += 1
        else:
            kept.append(one)
    return kept


def _jobs(found: Sequence[_Found], output: Path, outputs: Callable[[Path], Sequence[Path]]) -> list[Job]:
    same = Counter(_folded(one.below.with_suffix("")) for one in found)
    jobs, taken = list[Job](), dict[str, Path]()
    for one in found:
        suffix = f"_{one.below.suffix[1:]}" if same[_folded(one.below.with_suffix(""))] > 1 else ""
        target = output / one.below.parent / (_short(one.below.stem) + suffix)
        other = taken.setdefault(_folded(target), one.file)
        if other != one.file and other.parent == one.file.parent:  # a.jpg and A.jpg: one name for some disks
            target = target.with_name(f"{target.name}~{_digest(one.below.name)}")
        jobs.append(Job(one.file, str(one.below), target, tuple(outputs(target)), one.listed))
    return jobs


def _named(jobs: Sequence[Job], output: Path, stem: str, outputs: Callable[[Path], Sequence[Path]]) -> Job:
    """Give the only job's outputs a name of the user's."""
    if len(jobs) > 1:
        problem = f"stem={stem}: {len(jobs)} images cannot share a name; without it they keep their own"
        raise RunError([problem])
    if os.path.basename(stem) != stem or stem in ("", ".", ".."):
        raise RunError([f"stem={stem}: must be a name without folders; output= chooses the folder"])
    (job,) = jobs
    target = output / _short(stem)
    files = tuple(outputs(target))
    if job.source in files:
        raise RunError([f"stem={stem}: {job.source} itself would be written over; take another name"])
    return replace(job, target=target, outputs=files)


def _folded(path: Path) -> str:
    """Return a path such that those are equal which some file systems take for one."""
    return unicodedata.normalize("NFC", str(path)).casefold()


def _short(stem: str) -> str:
    encoded = os.fsencode(stem)
    if len(encoded) <= LONGEST_STEM:
        return stem
    cut = encoded[:LONGEST_STEM].decode("utf-8", "ignore")
    return f"{cut}~{_digest(stem)}"


def _digest(name: str) -> str:
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:8]


def _collisions(jobs: Iterable[Job]) -> Iterator[str]:
    places: dict[str, Path] = {}
    for job in jobs:
        for file in job.outputs:
            other = places.setdefault(_folded(file), job.source)
            if other != job.source:
                yield f"{other} and {job.source} would both be written to {file}: do one after the other"
                break
