"""Which picture belongs to which split: from a manifest, from published lists, or by name."""

from __future__ import annotations

import csv
import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from hdrlab.io import HDR_SUFFIXES

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Bad:
    """A picture that failed its check, and why."""

    file: str
    reason: str


class DataError(ValueError):
    """Data that cannot be used; ``problems`` holds one line each, ``bad`` the pictures concerned."""

    def __init__(self, problems: list[str], bad: Sequence[Bad] = ()) -> None:
        self.problems, self.bad = tuple(problems), tuple(bad)
        super().__init__("\n".join(problems))


@dataclass(frozen=True)
class Listed:
    """A picture that a data set is made of.

    Attributes:
        file: Path relative to the root, with forward slashes.
        split: train, val or test.
        scene: Pictures of one scene share this name; a scene is in one split only.
    """

    file: str
    split: str
    scene: str


def list_pictures(
    root: Path, manifest: Path | None = None, lists: tuple[Path, Path] | None = None
) -> list[Listed]:
    """List the pictures below a folder with their splits.

    Args:
        root: Folder of HDR pictures; subfolders are searched.
        manifest: CSV with the columns file and split, and optionally role (only rows with role hdr count)
            and scene.
        lists: Training and test list, text files with one relative path a line. The validation pictures are
            then the authors': ten of the test list.

    Raises:
        DataError: With all problems: paths that are missing, absolute or outside the root, files listed
            twice, unknown splits, scenes in two splits, no picture at all.

    Source:
        Validation pictures of the published lists: SingleHDR's reference program.
    """
    if manifest is not None:
        listed = _from_manifest(manifest)
    elif lists is not None:
        listed = _from_lists(*lists)
    else:
        listed = _by_name(root)
    problems = [*_path_problems(root, listed), *_split_problems(listed)]
    if problems:
        raise DataError(problems)
    return listed


def _from_manifest(manifest: Path) -> list[Listed]:
    with manifest.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream)
        columns = set(reader.fieldnames or ())
        if not {"file", "split"} <= columns:
            raise DataError([f"{manifest}: needs the columns file and split, has {', '.join(columns) or 'none'}"])
        rows = [row for row in reader if row.get("role") in (None, "hdr")]
    listed = [Listed(row["file"], row["split"], row.get("scene") or scene_of(row["file"])) for row in rows]
    wrong = [f"{manifest}: {x.file}: split {x.split!r} is none of train, val, test" for x in listed]
    wrong = [line for line, x in zip(wrong, listed, strict=True) if x.split not in SPLITS]
    if wrong or not listed:
        raise DataError(wrong or [f"{manifest}: lists no picture"])
    return listed


def _from_lists(train: Path, test: Path) -> list[Listed]:
    import numpy as np

    names = {split: _lines(path) for split, path in (("train", train), ("test", test))}
    shuffled = list(names["test"])
    np.random.RandomState(730).shuffle(shuffled)  # noqa: NPY002 - the published order needs this generator
    val = set(shuffled[:10])
    # Published lists name scenes their own way; a file is a scene here, since no list gives more.
    return [Listed(name, "train", name) for name in names["train"]] + [
        Listed(name, "val" if name in val else "test", name) for name in names["test"]
    ]


def _lines(path: Path) -> list[str]:
    lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    if not any(lines):
        raise DataError([f"{path}: lists no picture"])
    return [line for line in lines if line]


def _by_name(root: Path) -> list[Listed]:
    found = sorted(p for p in root.rglob("*") if p.suffix.lower() in HDR_SUFFIXES and p.is_file())
    if not found:
        raise DataError([f"{root}: no HDR picture in this folder ({', '.join(sorted(HDR_SUFFIXES))})"])
    files = [path.relative_to(root).as_posix() for path in found]
    scenes = sorted({scene_of(file) for file in files}, key=_digest)
    if len(scenes) < 2:
        raise DataError(
            [f"{root}: only one scene ({scenes[0]}); at least two are needed, one to train and one to validate"]
        )
    tenth = max(1, round(len(scenes) / 10))
    val, test = scenes[:tenth], scenes[tenth : 2 * tenth] if len(scenes) > 2 else []
    split = dict.fromkeys(scenes, "train") | dict.fromkeys(val, "val") | dict.fromkeys(test, "test")
    return [Listed(file, split[scene_of(file)], scene_of(file)) for file in files]


def scene_of(file: str) -> str:
    """Guess a picture's scene from its name: what is left without a trailing number or view mark.

    Args:
        file: Relative path, for example ``indoor/kitchen_y080.exr``, whose scene is ``indoor/kitchen``.
    """
    path = PurePosixPath(file)
    stem = re.sub(r"([_\-. ]+[a-zA-Z]?\d+|\(\d+\))+$", "", path.stem)
    return str(path.with_name(stem or path.stem))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _path_problems(root: Path, listed: list[Listed]) -> list[str]:
    problems = [f"{file}: listed {n} times" for file, n in Counter(x.file for x in listed).items() if n > 1]
    for item in listed:
        path = PurePosixPath(item.file)
        if path.is_absolute() or ".." in path.parts:
            problems.append(f"{item.file}: must be a path inside the data set's folder")
        elif not (root / path).is_file():
            problems.append(f"{item.file}: not found in {root}")
    return problems


def _split_problems(listed: list[Listed]) -> list[str]:
    splits: dict[str, set[str]] = {}
    for item in listed:
        splits.setdefault(item.scene, set()).add(item.split)
    problems = [
        f"scene {scene}: in the splits {' and '.join(sorted(found))}; a scene belongs to one"
        for scene, found in splits.items()
        if len(found) > 1
    ]
    problems += [f"no picture in the split {s}" for s in ("train", "val") if s not in set().union(*splits.values())]
    return problems
