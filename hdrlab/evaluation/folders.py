"""Pictures as they lie in folders: what belongs together, and what is wrong with any before all is scored."""

from __future__ import annotations

import csv
import hashlib
import io
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hdrlab.comparison.photographs import Photograph
from hdrlab.comparison.tones import ToneCase
from hdrlab.config.schema import FolderConfig
from hdrlab.datasets.index import Progress, check_samples
from hdrlab.datasets.pairs import (
    PHOTO_SUFFIXES,
    SEVERAL,
    check_pair,
    files_below,
    read_pair,
    scenes_of,
    suffix_of,
)
from hdrlab.datasets.real import to_sample
from hdrlab.datasets.splits import Bad, DataError, read_text
from hdrlab.io import HDR_SUFFIXES, ImageError, read_image
from hdrlab.io.hdr_pictures import read_hdr
from hdrlab.io.image import as_rgb
from hdrlab.metrics import TMQI_MIN_SIDE, NiqeModel

MOST_LINES = 60
"""Of a list of problems; of more, the first are shown and the rest counted."""
MASK_SUFFIXES = frozenset({".png", ".tif", ".tiff"})
PHOTOGRAPH, SDR = "photograph", "SDR picture"


@dataclass(frozen=True)
class Item:
    """A picture to score on.

    Attributes:
        stem: Its path below its folder, without suffix.
        scene: What several may share.
        hdr: The HDR picture.
        display: The photograph, or the SDR picture; None where there is none.
        mask: Picture of the pixels that are scored apart.
        kept: Whether the user's list counts it; None without a list.
    """

    stem: str
    scene: str
    hdr: Path
    display: Path | None = None
    mask: Path | None = None
    kept: bool | None = None


class FolderPhotographs:
    """Photographs and references in folders, checked; each is read when it is asked for.

    Args:
        data: The data section, ``root`` turned into its folders.
        num: How many, spread evenly; None takes all.
        progress: Told (done, all, file) while they are checked.

    Raises:
        DataError: With everything that is wrong with any of them.
    """

    def __init__(self, data: FolderConfig, num: int | None, progress: Progress) -> None:
        assert data.photographs
        assert data.references
        places = Path(data.photographs), Path(data.references)
        found, bad = pair_up(
            places, (PHOTO_SUFFIXES, HDR_SUFFIXES), ("photograph", "reference"), data.pairing
        )
        items = [Item(stem, "", hdr, photo) for stem, photo, hdr in found]
        if data.masks:
            items, more = _with_masks(items, Path(data.masks))
            bad += more
        listed = _checked(items, bad, data, _read_photograph, num, progress)
        self.items, self.fingerprint, self.left_out = listed
        self.stems = [item.stem for item in self.items]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, number: int, /) -> Photograph:
        item = self.items[number]
        ldr, hdr, mask = _read_photograph(item)
        usable = bool(to_sample(ldr, hdr)["mask"].any()) if item.kept is None else item.kept
        return Photograph(item.stem, item.scene, ldr, np.maximum(hdr, 0), usable, mask=mask)


class FolderTones:
    """HDR pictures in a folder, with SDR pictures where there are some; each is read when it is asked for.

    Args:
        data: The data section, ``root`` turned into its folders.
        num: How many, spread evenly; None takes all.
        model: NIQE's, where it is to be computed.
        progress: Told (done, all, file) while they are checked.
        rounded: Whether results are rounded to 8 bits before they are scored.

    Raises:
        DataError: With everything that is wrong with any of them.
    """

    def __init__(
        self,
        data: FolderConfig,
        num: int | None,
        model: NiqeModel | None,
        progress: Progress,
        *,
        rounded: bool = False,
    ) -> None:
        assert data.hdr
        if data.sdr:
            places = Path(data.sdr), Path(data.hdr)
            found, bad = pair_up(places, (PHOTO_SUFFIXES, HDR_SUFFIXES), (SDR, "HDR picture"), data.pairing)
            items = [Item(stem, "", hdr, sdr) for stem, sdr, hdr in found]
        else:
            groups = by_stem(Path(data.hdr), HDR_SUFFIXES)
            if not groups:
                raise DataError([f"data.hdr={data.hdr}: no HDR picture ({', '.join(sorted(HDR_SUFFIXES))})"])
            items = [Item(stem, "", files[0]) for stem, files in groups.items() if len(files) == 1]
            bad = [Bad(str(f), SEVERAL) for files in groups.values() if len(files) > 1 for f in files]
        listed = _checked(items, bad, data, _read_tone, num, progress)
        self.items, self.fingerprint, self.left_out = listed
        self.all_labelled, self.model, self.rounded = data.sdr is not None, model, rounded
        self.stems = [item.stem for item in self.items]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, number: int, /) -> ToneCase:
        item = self.items[number]
        sdr, hdr = _read_tone(item)
        label = None if sdr is None else _batch(sdr) / 255
        light = _batch(np.maximum(hdr, 0))
        return ToneCase(item.stem, item.scene, light, label, self.model, rounded=self.rounded)


# ------------------------------------------------------------------------------------------ pairing


def by_stem(folder: Path, suffixes: Collection[str]) -> dict[str, list[Path]]:
    """Group the files of a folder, in order, by their paths without suffix.

    Raises:
        DataError: Names are no text.
    """
    found: dict[str, list[Path]] = defaultdict(list)
    for file in files_below(folder):
        if suffix_of(file) in suffixes:
            found[str(PurePosixPath(file).with_suffix(""))].append(folder / file)
    return found


def pair_up(
    places: tuple[Path, Path],
    suffixes: tuple[Collection[str], Collection[str]],
    kinds: tuple[str, str],
    pairing: str,
) -> tuple[list[tuple[str, Path, Path]], list[Bad]]:
    """Find the pairs of two folders.

    Args:
        places: The folders; they may be one.
        suffixes: Of the files on either side.
        kinds: What either side is called in messages.
        pairing: ``stem``, ``order``, or ``auto``: stems if at least one is on both sides, else order.

    Returns:
        The stem of the first, and both files, by pair; and what has no partner.

    Raises:
        DataError: A folder holds nothing of its kind, or sorted order is asked for of unequal numbers.
    """
    sides = [by_stem(place, of) for place, of in zip(places, suffixes, strict=True)]
    empty = [
        f"{place}: no {kind} in this folder ({', '.join(sorted(of))})"
        for place, of, kind, side in zip(places, suffixes, kinds, sides, strict=True)
        if not side
    ]
    if empty:
        raise DataError(empty)
    first, second = sides
    bad = [
        Bad(str(file), SEVERAL)
        for own, other in ((first, second), (second, first))
        for stem, files in own.items()
        if len(files) > 1 and (stem in other or pairing == "order")
        for file in files
    ]
    if pairing == "stem" or (pairing == "auto" and first.keys() & second.keys()):
        for own, other, kind in ((first, second, kinds[1]), (second, first, kinds[0])):
            lonely = sorted(own.keys() - other.keys())
            bad += [Bad(str(file), f"no {kind} of this name") for stem in lonely for file in own[stem]]
        both = sorted(first.keys() & second.keys())
        return [
            (stem, first[stem][0], second[stem][0])
            for stem in both
            if len(first[stem]) == len(second[stem]) == 1
        ], bad
    files = [[(stem, file) for stem, found in side.items() for file in found] for side in sides]
    if len(files[0]) != len(files[1]):
        said = f"{len(files[0])} {kinds[0]}s and {len(files[1])} {kinds[1]}s, and no name is on both sides"
        raise DataError([f"{places[0]}: {said}: they cannot be paired by sorted order"])
    return [(stem, one, other) for (stem, one), (_, other) in zip(*files, strict=True)], bad


def _with_masks(items: Sequence[Item], folder: Path) -> tuple[list[Item], list[Bad]]:
    masks = by_stem(folder, MASK_SUFFIXES)
    bad = [Bad(str(item.display), "no mask of this name") for item in items if item.stem not in masks]
    bad += [Bad(str(f), SEVERAL) for files in masks.values() if len(files) > 1 for f in files]
    return [replace(item, mask=masks[item.stem][0]) for item in items if item.stem in masks], bad


def _with_lists(items: Sequence[Item], data: FolderConfig) -> list[Item]:
    """Add scenes, guessed from names unless a list tells them, and what the user's list keeps."""
    guessed = scenes_of([f"{item.stem}{item.hdr.suffix}" for item in items], "")
    scenes = dict(zip((item.stem for item in items), guessed, strict=True))
    if data.scenes:
        scenes = _column(Path(data.scenes), "scene", scenes)
    made = [replace(item, scene=scenes[item.stem]) for item in items]
    return _with_kept(made, Path(data.keep)) if data.keep else made


def _column(path: Path, name: str, stems: Collection[str]) -> dict[str, str]:
    """Read one value a picture from a table whose column ``file`` names it, with or without suffix.

    Raises:
        DataError: The columns are missing, or pictures are.
    """
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""), restval="", skipinitialspace=True)
    try:
        rows = list(reader)
    except csv.Error as error:
        raise DataError([f"{path}: no table of comma-separated values ({error})"]) from error
    if not rows or not {"file", name} <= rows[0].keys():
        raise DataError([f"{path}: needs the columns file and {name}"])
    found = {row["file"].strip(): row[name].strip() for row in rows}
    found |= {str(PurePosixPath(file).with_suffix("")): value for file, value in found.items()}
    # Lists often name the photograph below the data set's root.
    found |= {stem.partition("/")[2]: value for stem, value in found.items() if stem.startswith("LDR_in/")}
    missing = [stem for stem in stems if not found.get(stem)]
    if missing:
        shown = ", ".join(missing[:3]) + " …" * (len(missing) > 3)
        raise DataError([f"{path}: no {name} for {len(missing)} of {len(stems)} pictures ({shown})"])
    return {stem: found[stem] for stem in stems}


def _with_kept(items: Sequence[Item], path: Path) -> list[Item]:
    """Read a published mask: a row a picture in sorted order, running number and 0 or 1; or a column keep."""
    lines = [line.split(",") for line in read_text(path).split() if line]
    if lines and "file" in lines[0]:
        kept = _column(path, "keep", [item.stem for item in items])
    else:
        if any(len(line) != 2 or line[0] != str(number) for number, line in enumerate(lines)):
            raise DataError([f"{path}: needs rows of a running number from 0 and 0 or 1"])
        if len(lines) != len(items):
            raise DataError([f"{path}: {len(lines)} rows for {len(items)} pictures"])
        ordered = sorted(items, key=lambda item: str(item.display or item.hdr))
        kept = {item.stem: line[1] for item, line in zip(ordered, lines, strict=True)}
    if wrong := [value for value in kept.values() if value not in ("0", "1")]:
        raise DataError([f"{path}: {wrong[0]!r} is neither 0 nor 1"])
    return [replace(item, kept=kept[item.stem] == "1") for item in items]


# ------------------------------------------------------------------------------------------ checking


def _checked(
    items: Sequence[Item],
    bad: Sequence[Bad],
    data: FolderConfig,
    read: Callable[[Item], Any],
    num: int | None,
    progress: Progress,
) -> tuple[list[Item], str, int]:
    """Read all pictures that are to be scored; return the sound ones, their digest, and how many were not.

    Raises:
        DataError: With a line for each that is not, unless these are to be left out.
    """
    problems, sound, digest = list(bad), [], hashlib.sha256()
    try:
        items = _with_lists(items, data)
    except DataError as error:
        problems += [Bad("", problem) for problem in error.problems]
    num = min(num or len(items), len(items))
    taken = [items[i * len(items) // num] for i in range(num)]
    for number, item in enumerate(taken, 1):
        try:
            read(item)
            digest.update(_digest_of(item))
            sound.append(item)
        except ImageError as error:
            problems.append(Bad(str(error.path or item.hdr), error.reason.partition("; sanitize")[0]))
        progress(number, len(taken), item.stem)
    lists = any(not one.file for one in problems)
    if problems and (lists or not (data.skip_bad and sound)):
        raise DataError(list(_problem_lines(problems, skippable=not lists)), problems)
    if not sound:
        raise DataError(["data: no picture to score on"])
    return sound, digest.hexdigest(), len(problems)


def _problem_lines(bad: Sequence[Bad], *, skippable: bool) -> Iterator[str]:
    remedy = "; mend them, or data.skip_bad=true leaves these pictures out" if skippable else ""
    yield f"data: {len(bad)} problem{'s' * (len(bad) > 1)}{remedy}:"
    yield from ("  " + ": ".join(filter(None, (one.file, one.reason))) for one in bad[:MOST_LINES])
    if len(bad) > MOST_LINES:
        yield f"  and {len(bad) - MOST_LINES} more"


def _digest_of(item: Item) -> bytes:
    files = [file for file in (item.display, item.hdr, item.mask) if file is not None]
    words = [f"{item.stem} {item.scene} {item.kept}".encode(), *(file.read_bytes() for file in files)]
    return b"".join(hashlib.sha256(word).digest() for word in words)


def _read_photograph(
    item: Item,
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.bool_] | None]:
    """Read a photograph, its reference and its mask.

    Raises:
        ImageError: A file cannot be used, or they do not fit each other.
    """
    assert item.display is not None
    ldr, hdr = read_pair(item.display, item.hdr, PHOTOGRAPH)
    if reason := check_pair(ldr, hdr, PHOTOGRAPH):
        raise ImageError(item.display, reason)
    return ldr, as_rgb(hdr), None if item.mask is None else _read_mask(item.mask, ldr.shape)


def _read_mask(path: Path, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    pixels = read_image(path).pixels
    if pixels.shape[:2] != shape[:2]:
        sizes = f"{pixels.shape[1]}×{pixels.shape[0]} pixels, its photograph {shape[1]}×{shape[0]}"
        raise ImageError(path, f"mask is {sizes}")
    middle = 0.5 * (np.iinfo(pixels.dtype).max if pixels.dtype.kind == "u" else 1)
    white: NDArray[np.bool_] = pixels.max(axis=2) > middle
    if not white.any():
        raise ImageError(path, "mask without a white pixel")
    return white


def _read_tone(item: Item) -> tuple[NDArray[np.uint8] | None, NDArray[np.float32]]:
    """Read an HDR picture and its SDR picture, where there is one.

    Raises:
        ImageError: A file cannot be used, or they do not fit each other.
    """
    sdr, hdr = (None, None) if item.display is None else read_pair(item.display, item.hdr, SDR)
    if hdr is None:
        hdr = np.asarray(read_hdr(item.hdr).pixels, np.float32)
    reason = check_samples(hdr) if sdr is None else check_pair(sdr, hdr, SDR)
    if min(hdr.shape[:2]) < TMQI_MIN_SIDE:
        reason = f"smaller than {TMQI_MIN_SIDE} pixels a side, which TMQI needs"
    if reason:
        raise ImageError(item.hdr, reason)
    return sdr, as_rgb(hdr)


def _batch(pixels: NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1), np.float32))[None]


def said_of(data: FolderConfig, left_out: int) -> Mapping[str, str]:
    """Return what a report must say of pictures in folders."""
    said = {"scenes": f"of {data.scenes}" if data.scenes else "guessed from the pictures' names"}
    said |= {"masks": data.masks} if data.masks else {}
    said |= {"pictures that count": f"those with 1 in {data.keep}"} if data.keep else {}
    said |= {"left out as unusable": f"{left_out} files"} if left_out else {}
    return said
