"""Images as they lie in folders: what belongs together, and what is wrong with any before all is scored."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hdrlab.config.schema.data import FolderConfig
from hdrlab.datasets.hdr_real import to_sample
from hdrlab.datasets.index import Progress, check_samples
from hdrlab.datasets.pairing import (
    PHOTO_SUFFIXES,
    SEVERAL,
    by_stem,
    check_pair,
    files_below,
    pair_up,
    read_pair,
    scenes_of,
)
from hdrlab.datasets.splits import Bad, read_text
from hdrlab.errors import DataError, ImageError
from hdrlab.evaluation.photographs import Photograph
from hdrlab.evaluation.sdr_metrics import ToneCase
from hdrlab.io import HDR_SUFFIXES, read_hdr, read_image
from hdrlab.io.image import as_rgb
from hdrlab.metrics import TMQI_MIN_SIDE, NiqeModel
from hdrlab.metrics.external import ExternalMetric

MOST_LINES = 60
"""Of a list of problems; of more, the first are shown and the rest counted."""
MASK_SUFFIXES = frozenset({".png", ".tif", ".tiff"})
PHOTOGRAPH, SDR = "photograph", "SDR image"


@dataclass(frozen=True)
class Item:
    """An image to score on.

    Attributes:
        stem: Its path below its folder, without suffix.
        scene: What several may share.
        hdr: The HDR image.
        display: The photograph, or the SDR image; None where there is none.
        mask: Image of the pixels that are scored apart.
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
        progress: Called with (done, all, file) while they are checked.

    Raises:
        DataError: With everything that is wrong with any of them.
    """

    def __init__(self, data: FolderConfig, num: int | None, progress: Progress) -> None:
        assert data.photographs
        assert data.references
        places = data.photographs, data.references
        found, bad = pairs_of(places, ("photograph", "reference"), data.pairing)
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
    """HDR images in a folder, with SDR images where there are some; each is read when it is asked for.

    Args:
        data: The data section, ``root`` turned into its folders.
        num: How many, spread evenly; None takes all.
        model: NIQE's, where it is to be computed.
        progress: Called with (done, all, file) while they are checked.
        rounded: Whether results are rounded to 8 bits before they are scored.
        extra: Metrics of plug-ins.

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
        extra: Sequence[ExternalMetric] = (),
    ) -> None:
        assert data.hdr
        if data.sdr:
            found, bad = pairs_of((data.sdr, data.hdr), (SDR, "HDR image"), data.pairing)
            items = [Item(stem, "", hdr, sdr) for stem, sdr, hdr in found]
        else:
            groups = files_of(Path(data.hdr), HDR_SUFFIXES)
            if not groups:
                raise DataError([f"data.hdr={data.hdr}: no HDR image ({', '.join(sorted(HDR_SUFFIXES))})"])
            items = [Item(stem, "", files[0]) for stem, files in groups.items() if len(files) == 1]
            bad = [Bad(str(f), SEVERAL) for files in groups.values() if len(files) > 1 for f in files]
        listed = _checked(items, bad, data, _read_tone, num, progress)
        self.items, self.fingerprint, self.left_out = listed
        self.all_labelled, self.model, self.rounded = data.sdr is not None, model, rounded
        self.extra = extra
        self.stems = [item.stem for item in self.items]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, number: int, /) -> ToneCase:
        item = self.items[number]
        sdr, hdr = _read_tone(item)
        label = None if sdr is None else _batch(sdr) / 255
        light = _batch(np.maximum(hdr, 0))
        return ToneCase(
            item.stem, item.scene, light, label, self.model, rounded=self.rounded, extra=self.extra
        )


# ------------------------------------------------------------------------------------------ pairing


def files_of(folder: Path, suffixes: Collection[str]) -> dict[str, list[Path]]:
    """Group the files of a folder, in order, by their relative paths without suffix.

    Raises:
        DataError: Names are no text.
    """
    stems = by_stem(files_below(folder), suffixes)
    return {stem: [folder / file for file in files] for stem, files in stems.items()}


def pairs_of(
    places: tuple[str, str], kinds: tuple[str, str], pairing: str
) -> tuple[list[tuple[str, Path, Path]], list[Bad]]:
    """Find the pairs of a folder of images of 8 bits and one of HDR images; they may be one.

    Args:
        places: The folders.
        kinds: What either side is called in messages.
        pairing: As `hdrlab.datasets.pairing.pair_up` takes it.

    Returns:
        The stem of the first, and both files, by pair; and what has no partner.

    Raises:
        DataError: A folder holds nothing of its kind.
    """
    suffixes = PHOTO_SUFFIXES, HDR_SUFFIXES
    sides = [files_of(Path(place), of) for place, of in zip(places, suffixes, strict=True)]
    empty = [
        f"{place}: no {kind} in this folder ({', '.join(sorted(of))})"
        for place, of, kind, side in zip(places, suffixes, kinds, sides, strict=True)
        if not side
    ]
    if empty:
        raise DataError(empty)
    found, bad = pair_up(sides[0], sides[1], kinds, pairing)
    stem_of = {file: stem for stem, files in sides[0].items() for file in files}
    return [(stem_of[one], one, other) for one, other in found], bad


def _with_masks(items: Sequence[Item], folder: Path) -> tuple[list[Item], list[Bad]]:
    masks = files_of(folder, MASK_SUFFIXES)
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
    """Read one value an image from a table whose column ``file`` names it, with or without suffix.

    Raises:
        DataError: The columns are missing, or images are.
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
        raise DataError([f"{path}: no {name} for {len(missing)} of {len(stems)} images ({shown})"])
    return {stem: found[stem] for stem in stems}


def _with_kept(items: Sequence[Item], path: Path) -> list[Item]:
    """Read a published mask: a row an image in sorted order, running number and 0 or 1; or a column keep."""
    lines = [line.split(",") for line in read_text(path).split() if line]
    if lines and "file" in lines[0]:
        kept = _column(path, "keep", [item.stem for item in items])
    else:
        if any(len(line) != 2 or line[0] != str(number) for number, line in enumerate(lines)):
            raise DataError([f"{path}: needs rows of a running number from 0 and 0 or 1"])
        if len(lines) != len(items):
            raise DataError([f"{path}: {len(lines)} rows for {len(items)} images"])
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
    """Read all images that are to be scored; return the sound ones, their digest, and how many were not.

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
            problems.append(Bad(str(error.path or item.hdr), reason_of(error)))
        progress(number, len(taken), item.stem)
    lists = any(not one.file for one in problems)
    if problems and (lists or not (data.skip_bad and sound)):
        raise DataError(list(_problem_lines(problems, skippable=not lists)), problems)
    if not sound:
        raise DataError(["data: no image to score on"])
    return sound, digest.hexdigest(), len(problems)


def _problem_lines(bad: Sequence[Bad], *, skippable: bool) -> Iterator[str]:
    remedy = "; mend them, or data.skip_bad=true leaves these images out" if skippable else ""
    yield f"data: {len(bad)} problem{'s' * (len(bad) > 1)}{remedy}:"
    yield from ("  " + ": ".join(filter(None, (one.file, one.reason))) for one in bad[:MOST_LINES])
    if len(bad) > MOST_LINES:
        yield f"  and {len(bad) - MOST_LINES} more"


def _digest_of(item: Item) -> bytes:
    files = [file for file in (item.display, item.hdr, item.mask) if file is not None]
    parts = [f"{item.stem} {item.scene} {item.kept}".encode(), *(file.read_bytes() for file in files)]
    return b"".join(hashlib.sha256(part).digest() for part in parts)


def reason_of(error: ImageError) -> str:
    """Say what is wrong with a file, but for remedies that only Python users have."""
    return error.reason.partition("; sanitize")[0]


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
    """Read an HDR image and its SDR image, where there is one.

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


def notes_of(data: FolderConfig, left_out: int) -> Mapping[str, str]:
    """Return what a report must say of images in folders."""
    notes = {"scenes": f"of {data.scenes}" if data.scenes else "guessed from the images' names"}
    notes |= {"masks": data.masks} if data.masks else {}
    notes |= {"images that count": f"those with 1 in {data.keep}"} if data.keep else {}
    notes |= {"left out as unusable": f"{left_out} files"} if left_out else {}
    return notes
