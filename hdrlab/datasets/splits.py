"""Which image belongs to which split: from a manifest, from published lists, or by name."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from hdrlab.errors import DataError, ImageError
from hdrlab.io import HDR_SUFFIXES
from hdrlab.io.image import is_utf8, open_regular

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Bad:
    """An image that failed its check, and why."""

    file: str
    reason: str


@dataclass(frozen=True)
class Listed:
    """An image that a data set is made of.

    Attributes:
        file: Path relative to the root, with forward slashes.
        split: train, val or test.
        scene: Images of one scene share this name; a scene is in one split only.
        in_test_list: Whether its authors list it for testing, whatever its split.
    """

    file: str
    split: str
    scene: str
    in_test_list: bool = field(default=False, kw_only=True)


def list_images(
    root: Path, manifest: Path | None = None, lists: tuple[Path, Path] | None = None
) -> list[Listed]:
    """List the images below a folder with their splits.

    Args:
        root: Folder of HDR images; subfolders are searched.
        manifest: CSV with the columns file and split, and optionally role (only rows with role hdr count)
            and scene, which is guessed from the file's name where it is not given.
        lists: Training and test list, text files with one relative path a line. The validation images are
            then the authors': ten of the test list.

    Raises:
        DataError: With all problems: paths that are missing, absolute or outside the root, files listed
            twice, unknown splits, scenes in two splits, no image at all.

    Source:
        Validation images of the published lists: SingleHDR's reference program.
    """
    if manifest is not None:
        listed = read_manifest(manifest, roles=("hdr",))
    elif lists is not None:
        listed = _from_lists(*lists)
    else:
        listed = _by_name(root)
    check_listed(root, listed)
    return listed


def check_listed(root: Path, listed: Sequence[Listed]) -> None:
    """Check paths, splits and scenes of a list.

    Raises:
        DataError: With every problem found.
    """
    problems = [*_path_problems(root, listed), *_split_problems(listed)]
    if problems:
        raise DataError(problems)


def some(files: Sequence[str]) -> str:
    """Name the first three of some files, and how many more there are."""
    return ", ".join(files[:3]) + (f" and {len(files) - 3} more" if len(files) > 3 else "")


def read_manifest(manifest: Path, roles: Sequence[str]) -> list[Listed]:
    """Read the rows of a manifest whose role is one of these, or that have none.

    Raises:
        DataError: The file cannot be read as a manifest, or lists nothing.
    """
    reader = csv.DictReader(io.StringIO(read_text(manifest), newline=""), restval="", skipinitialspace=True)
    try:
        columns = reader.fieldnames or ()
        rows = [row for row in reader if row.get("role") in (None, "", *roles)]
    except csv.Error as error:
        raise DataError(
            [f"{manifest}, line {reader.reader.line_num}: no table of comma-separated values ({error})"]
        ) from error
    if not {"file", "split"} <= set(columns):
        raise DataError([f"{manifest}: needs the columns file and split, has {', '.join(columns) or 'none'}"])
    if not rows:
        raise DataError([f"{manifest}: lists no image"])
    files = [_relative(row["file"]) for row in rows]
    return [
        Listed(file, row["split"].strip(), row.get("scene") or scene_of(file))
        for file, row in zip(files, rows, strict=True)
    ]


def _from_lists(train: Path, test: Path) -> list[Listed]:
    import numpy as np

    training, testing = ([_relative(line) for line in _lines(path)] for path in (train, test))
    shuffled = list(testing)
    np.random.RandomState(730).shuffle(shuffled)
    val = set(shuffled[:10])
    # Published lists name scenes their own way; a file is a scene here, since no list gives more.
    return [Listed(name, "train", name) for name in training] + [
        Listed(name, "val" if name in val else "test", name, in_test_list=True) for name in testing
    ]


def _lines(path: Path) -> list[str]:
    lines = [line.strip() for line in read_text(path).splitlines()]
    if not any(lines):
        raise DataError([f"{path}: lists no image"])
    return [line for line in lines if line]


def read_text(path: Path) -> str:
    """Read a list or table.

    Raises:
        DataError: It is no regular file, or no text.
    """
    try:
        with open_regular(path) as file:
            return file.read().decode("utf-8-sig")
    except ImageError as error:
        raise DataError([str(error)]) from error
    except UnicodeDecodeError as error:
        raise DataError([f"{path}: not a text file in UTF-8"]) from error


def _relative(name: str) -> str:
    """Write one path in one way, so that ./a.hdr and a.hdr are the same image."""
    return PurePosixPath(name.strip()).as_posix()


def _by_name(root: Path) -> list[Listed]:
    # Archives made on a Mac hold a ._name beside each name.
    found = sorted(
        path
        for path in root.rglob("*")
        if path.suffix.lower() in HDR_SUFFIXES and not path.name.startswith(".") and path.is_file()
    )
    if not found:
        raise DataError([f"{root}: no HDR image in this folder ({', '.join(sorted(HDR_SUFFIXES))})"])
    files = [path.relative_to(root).as_posix() for path in found]
    require_utf8(root, files)
    split = split_scenes({scene_of(file) for file in files}, root)
    return [Listed(file, split[scene_of(file)], scene_of(file)) for file in files]


def require_utf8(root: Path, files: Iterable[str]) -> None:
    """Refuse names that are no text, as some systems' archives leave them: no list could name them.

    Args:
        root: Where the files lie, for the message.
        files: Their names, bytes that are no text as Python's surrogates.

    Raises:
        DataError: Naming all of them.
    """
    unfit = [file for file in files if not is_utf8(file)]
    if unfit:
        raise DataError(
            [f"{root}: {len(unfit)} names are not valid UTF-8 ({some(unfit)}); rename these files"]
        )


def split_scenes(names: Iterable[str], root: Path) -> dict[str, str]:
    """Divide scenes among train, val and test, 8 : 1 : 1, by their names alone.

    Args:
        names: The scenes.
        root: Where they lie, for the message.

    Raises:
        DataError: There is only one scene.
    """
    scenes = sorted(set(names), key=_digest)
    if len(scenes) < 2:
        raise DataError(
            [
                f"{root}: only one scene ({scenes[0]}): names that differ in a last number count as one; "
                "at least two are needed, to train and to validate; data.manifest=FILE.csv can say otherwise"
            ]
        )
    tenth = max(1, round(len(scenes) / 10))
    val, test = scenes[:tenth], scenes[tenth : 2 * tenth] if len(scenes) > 2 else []
    return dict.fromkeys(scenes, "train") | dict.fromkeys(val, "val") | dict.fromkeys(test, "test")


def scene_of(file: str) -> str:
    """Guess an image's scene from its name: what is left without a trailing number or view mark.

    Args:
        file: Relative path, for example ``indoor/kitchen_y080.exr``, whose scene is ``indoor/kitchen``.
    """
    path = PurePosixPath(file)
    stem = re.sub(r"([_\-. ]+[a-zA-Z]?\d+| *\(\d+\))+$", "", path.stem)
    return str(path.parent / (stem or path.stem))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _path_problems(root: Path, listed: Sequence[Listed]) -> list[str]:
    problems = [f"{file}: listed {n} times" for file, n in Counter(x.file for x in listed).items() if n > 1]
    missing = []
    for item in listed:
        path = PurePosixPath(item.file)
        if path.is_absolute() or ".." in path.parts:
            problems.append(f"{item.file}: must be a path inside the data set's folder")
        elif not os.path.isfile(root / path):  # Path.is_file raises where a name is too long
            missing.append(item.file)
    if missing:
        problems.append(f"{root}: {len(missing)} of {len(listed)} listed images not found ({some(missing)})")
    return problems


def _split_problems(listed: Sequence[Listed]) -> list[str]:
    problems = [
        f"{item.file}: split {item.split!r} is none of {', '.join(SPLITS)}"
        for item in listed
        if item.split not in SPLITS
    ]
    scenes: dict[str, set[str]] = {}
    for item in listed:
        scenes.setdefault(item.scene, set()).add(item.split)
    return problems + [
        f"scene {scene}: in the splits {' and '.join(sorted(found))}; a scene belongs to one (a column scene "
        "in the manifest overrules a guess from the names)"
        for scene, found in scenes.items()
        if len(found) > 1
    ]
