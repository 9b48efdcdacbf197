"""Photographs with their HDR pictures: finding the pairs below a folder, and checking each. Imports no torch.

Three layouts are known, and a folder may hold several::

    …/LDR_in/*.jpg  …/HDR_gt/*.hdr          the published set; paired by stem or by sorted order
    …/SCENE/ldr.jpg  …/SCENE/hdr.hdr        exposure stacks; with exp_NN.jpg and times.csv further pairs
    …/*.tfrecords                           the published record files; each holds many pairs of patches
"""

from __future__ import annotations

import csv
import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrlab.datasets.index import Pair, Picture, Source, check_samples, describe, write_array
from hdrlab.datasets.splits import (
    Bad,
    DataError,
    Listed,
    check_listed,
    read_manifest,
    require_utf8,
    scene_of,
    split_scenes,
)
from hdrlab.datasets.tfrecord import RECORD_SUFFIXES, read_pairs
from hdrlab.io import HDR_SUFFIXES, ImageError, read_image

PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})
CELL = 32
"""Badly exposed pixels are counted in cells of this side, of which patches and the patch grid are made."""
DARKEST, BRIGHTEST = 6, 249
NUM_BLOCKS = 20
LEAST_LIKENESS = 0.2
SEVERAL = "several files of this name, with different suffixes"

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class ListedPair(Listed):
    """A photograph, ``file``, and its HDR picture.

    Attributes:
        hdr: Path of the HDR picture relative to the root; for a record file that file itself.
        scale: Factor on the HDR picture that makes 1 the clipping point of this photograph.
    """

    hdr: str
    scale: float = 1.0


# ------------------------------------------------------------------------------------------ finding


def list_pairs(
    root: Path, *, manifest: Path | None = None, pairing: str = "auto", exposures: str = "ldr"
) -> tuple[list[ListedPair], list[Bad]]:
    """Find the pairs below a folder, with their splits.

    Args:
        root: The folder; subfolders are searched.
        manifest: CSV with the columns file (the photograph or the record file) and split, and optionally
            scene and role, of which only ldr and stack-ldr count, or with exposures=all ldr and
            stack-exposure. Pairs that it does not list are left out.
        pairing: How ``LDR_in`` and ``HDR_gt`` belong together: ``stem``, ``order``, or ``auto``: by stem if
            at least one stem is in both, else by sorted order, as the authors do.
        exposures: What of a stack is used: ``ldr``, the photograph ``ldr.jpg`` that the HDR picture is scaled
            to; or ``all``, every exposure of ``times.csv``, the HDR picture scaled by the exposure ratio.

    Returns:
        The pairs by name, and whatever has no partner.

    Raises:
        DataError: There is nothing of the known layouts, or the manifest or the splits are wrong.
    """
    found: list[ListedPair] = []
    bad: list[Bad] = []
    files = files_below(root)
    for pairs, problems in (
        _records(files),
        _stacks(root, files, exposures),
        _folders(files, pairing),
    ):
        found += pairs
        bad += problems
    if not found and not bad:
        raise DataError(
            [
                f"{root}: no pairs of photographs and HDR pictures; needs LDR_in/*.jpg with HDR_gt/*.hdr, "
                "SCENE/ldr.jpg with SCENE/hdr.hdr, or *.tfrecords (data/hdr_real.md)"
            ]
        )
    if manifest is not None:
        found, unknown = _by_manifest(root, found, manifest, exposures, {item.file for item in bad})
        bad += unknown
    elif found:
        scenes = {pair.scene for pair in found}
        # Where most pairs are bad, they are what is to be said, not that one scene is left.
        split = dict.fromkeys(scenes, "train") if bad and len(scenes) == 1 else split_scenes(scenes, root)
        found = [replace(pair, split=split[pair.scene]) for pair in found]
    return sorted(found, key=lambda pair: pair.file), bad


def files_below(root: Path) -> list[str]:
    """List the files below a folder by their relative paths, sorted, without hidden ones.

    Raises:
        DataError: Their names are no text.
    """
    # Archives made on a Mac hold a ._name beside each name.
    paths = (path for path in root.rglob("*") if not path.name.startswith(".") and path.is_file())
    files = sorted(path.relative_to(root).as_posix() for path in paths)
    require_utf8(root, files)
    return files


Found = tuple[list[ListedPair], list[Bad]]


def _records(files: Sequence[str]) -> Found:
    records = [file for file in files if suffix_of(file) in RECORD_SUFFIXES]
    return [ListedPair(file, "", file, file) for file in records], []


def _stacks(root: Path, files: Sequence[str], exposures: str) -> Found:
    ldr, hdr = _by_folder(files, "ldr", PHOTO_SUFFIXES), _by_folder(files, "hdr", HDR_SUFFIXES)
    bad = [Bad(file, "no hdr.hdr beside it") for folder in ldr.keys() - hdr.keys() for file in ldr[folder]]
    bad += [Bad(file, "no ldr.jpg beside it") for folder in hdr.keys() - ldr.keys() for file in hdr[folder]]
    pairs = []
    for folder in ldr.keys() & hdr.keys():
        (photo, *other_photos), (picture, *other_pictures) = ldr[folder], hdr[folder]
        if other_photos or other_pictures:
            bad += [
                Bad(file, SEVERAL) for side in (ldr, hdr) for file in side[folder] if len(side[folder]) > 1
            ]
            continue
        photos: Mapping[str, float] = {photo: 1.0}
        if exposures == "all":
            try:
                photos = _exposures(root, folder, photo)
            except ValueError as error:
                bad.append(Bad(str(PurePosixPath(folder, "times.csv")), str(error)))
                continue
        pairs += [ListedPair(file, "", folder, picture, scale) for file, scale in photos.items()]
    return pairs, bad


def _by_folder(files: Iterable[str], stem: str, suffixes: Collection[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for file in files:
        if PurePosixPath(file).stem == stem and suffix_of(file) in suffixes:
            found[_folder(file)].append(file)
    return found


def _exposures(root: Path, folder: str, ldr: str) -> Mapping[str, float]:
    """Return all exposures of a stack with the ratio of their exposure to that of ``ldr.jpg``.

    Raises:
        ValueError: ``times.csv`` does not tell it.
    """
    times = root / folder / "times.csv"
    if not times.is_file():
        raise ValueError("missing; data.exposures=ldr does without it")
    try:
        with times.open(newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.DictReader(stream, restval=""))
    except csv.Error as error:
        raise ValueError(f"no table of comma-separated values ({error})") from error
    if not rows or not {"file", "relative_exposure"} <= rows[0].keys():
        raise ValueError("needs the columns file and relative_exposure")
    exposure = {row["file"]: float(row["relative_exposure"]) for row in rows}
    # Beyond these limits the HDR picture, multiplied by a ratio, could leave the range of float32.
    wrong = [name for name, value in exposure.items() if not 1e-9 < value < 1e9]
    wrong += [
        name
        for name in exposure
        if PurePosixPath(name).name != name or not os.path.isfile(root / folder / name)
    ]
    if wrong:
        raise ValueError(f"exposures that are missing or not within 1e-9 to 1e9: {', '.join(wrong)}")
    content = (root / ldr).read_bytes()
    same = [name for name in exposure if (root / folder / name).read_bytes() == content]
    if not same:
        raise ValueError("none of its exposures is ldr.jpg; data.exposures=ldr uses that one alone")
    return {str(PurePosixPath(folder, name)): value / exposure[same[0]] for name, value in exposure.items()}


def _folders(files: Sequence[str], pairing: str) -> Found:
    sides: dict[str, dict[str, list[str]]] = defaultdict(lambda: {"LDR_in": [], "HDR_gt": []})
    suffixes = {"LDR_in": PHOTO_SUFFIXES, "HDR_gt": HDR_SUFFIXES}
    for file in files:
        parts = PurePosixPath(file).parts
        for side in suffixes.keys() & set(parts[:-1]):
            if suffix_of(file) in suffixes[side]:
                sides["/".join(parts[: parts.index(side)])][side].append(file)
    pairs: list[ListedPair] = []
    bad: list[Bad] = []
    for place, both in sides.items():
        matched, problems = _match(both["LDR_in"], both["HDR_gt"], pairing, place)
        scenes = scenes_of([hdr for _, hdr in matched], place)
        pairs += [ListedPair(ldr, "", s, hdr) for (ldr, hdr), s in zip(matched, scenes, strict=True)]
        bad += problems
    return pairs, bad


def _match(
    ldr: list[str], hdr: list[str], pairing: str, place: str
) -> tuple[list[tuple[str, str]], list[Bad]]:
    stems = [_by_stem(ldr, "LDR_in"), _by_stem(hdr, "HDR_gt")]
    if pairing == "stem" or (pairing == "auto" and stems[0].keys() & stems[1].keys()):
        return _match_stems(*stems)
    if len(ldr) != len(hdr):
        said = f"{len(ldr)} photographs and {len(hdr)} HDR pictures: cannot be paired by sorted order"
        return [], [Bad(str(PurePosixPath(place, "LDR_in")), said)]
    return list(zip(sorted(ldr), sorted(hdr), strict=True)), []


def _by_stem(files: Iterable[str], side: str) -> dict[str, list[str]]:
    stems: dict[str, list[str]] = defaultdict(list)
    for file in files:
        parts = PurePosixPath(file).with_suffix("").parts
        stems["/".join(parts[parts.index(side) + 1 :])].append(file)
    return stems


def _match_stems(
    ldr: Mapping[str, list[str]], hdr: Mapping[str, list[str]]
) -> tuple[list[tuple[str, str]], list[Bad]]:
    pairs, bad = [], []
    for stem in sorted(ldr.keys() | hdr.keys()):
        photos, pictures = ldr.get(stem, []), hdr.get(stem, [])
        if len(photos) == len(pictures) == 1:
            pairs.append((photos[0], pictures[0]))
        elif not photos or not pictures:
            side = "HDR picture in HDR_gt" if photos else "photograph in LDR_in"
            bad += [Bad(file, f"no {side} of the same name") for file in photos + pictures]
        else:
            bad += [Bad(file, SEVERAL) for file in photos + pictures]
    return pairs, bad


def scenes_of(hdr: Sequence[str], place: str) -> list[str]:
    """Name each picture's scene; where names are mere numbers, a twentieth of the sequence is taken for one.

    Neighbours in the published set are crops and exposures of one picture, so they must not be parted.
    """
    named = [scene_of(file) for file in hdr]
    if len(set(named)) > 1 and not all(PurePosixPath(name).name.isdigit() for name in named):
        return named
    block = max(1, -(-len(hdr) // NUM_BLOCKS))
    return [str(PurePosixPath(place, f"block {i // block}")) for i in range(len(hdr))]


def _by_manifest(
    root: Path, pairs: Iterable[ListedPair], manifest: Path, exposures: str, reported: set[str]
) -> Found:
    photo = "stack-ldr" if exposures == "ldr" else "stack-exposure"
    rows = read_manifest(manifest, roles=("ldr", photo))
    check_listed(root, rows)
    by_file = {pair.file: pair for pair in pairs}
    kept = [replace(by_file[r.file], split=r.split, scene=r.scene) for r in rows if r.file in by_file]
    unknown = [row.file for row in rows if row.file not in by_file.keys() | reported]
    return kept, [Bad(file, "listed in the manifest, but no photograph of a pair") for file in unknown]


def suffix_of(file: str) -> str:
    """Return the last suffix of a path in small letters, with its dot."""
    return PurePosixPath(file).suffix.lower()


def _folder(file: str) -> str:
    return str(PurePosixPath(file).parent)


# ----------------------------------------------------------------------------------------- checking


class PairSource(Source):
    """Pairs in a folder, checked and turned into fast files."""

    NEEDED = "photographs with their HDR pictures (data/hdr_real.md)"

    def stamp(self, listed: Listed) -> str:
        """Return words that change when the photograph, its HDR picture or their exposure ratio does."""
        assert isinstance(listed, ListedPair)
        states = f"{self._state(listed.file)} {self._state(listed.hdr)}"
        return f"{states} {listed.scale:.9g} {listed.hdr}"

    def _state(self, file: str) -> str:
        status = (self.root / file).stat()
        return f"{status.st_size} {status.st_mtime_ns}"

    def make(self, listed: Listed, stamp: str, folder: Path, settings: Mapping[str, Any]) -> Picture | Bad:
        """Check a pair, or all pairs of a record file, and write the fast files."""
        assert isinstance(listed, ListedPair)
        try:
            ldr, hdr = self._read_pairs(listed)
        except ImageError as error:
            return Bad(self._name_of(listed, error), error.reason.partition("; sanitize")[0])
        reason = next(filter(None, (check_pair(*pair) for pair in zip(ldr, hdr, strict=True))), None)
        if reason:
            return Bad(listed.file, reason)
        digest = hashlib.sha256(f"{listed.scale:.9g}".encode())
        for file in dict.fromkeys((listed.file, listed.hdr)):
            digest.update((self.root / file).read_bytes())
        jpeg = f"pictures/{word_of(f'{listed.file} {stamp}')}"
        array = f"pictures/{word_of(f'{listed.hdr} {self._state(listed.hdr)}')}.npy"
        write_array(folder / array, np.maximum(hdr, 0))
        write_array(folder / f"{jpeg}-jpeg.npy", ldr)
        write_array(folder / f"{jpeg}-cells.npy", count_extremes(ldr))
        height, width = ldr.shape[1:3]
        return Pair(
            file=listed.file,
            split=listed.split,
            scene=listed.scene,
            stamp=stamp,
            sha256=digest.hexdigest(),
            array=array,
            width=width,
            height=height,
            source_size=(width, height),
            **describe(hdr * np.float32(listed.scale)),
            jpeg=f"{jpeg}-jpeg.npy",
            cells=f"{jpeg}-cells.npy",
            scale=listed.scale,
            num=len(ldr),
        )

    def _read_pairs(self, listed: ListedPair) -> tuple[Bytes, Floats]:
        """Read JPEG values and linear values, both [N, H, W, 3].

        Raises:
            ImageError: A file cannot be used, or the two do not fit each other.
        """
        photo = self.root / listed.file
        if listed.file == listed.hdr:
            return read_pairs(photo)
        ldr, hdr = read_pair(photo, self.root / listed.hdr, "photograph")
        return ldr[None], hdr[None]

    def _name_of(self, listed: ListedPair, error: ImageError) -> str:
        at_fault = Path(error.path) if error.path else self.root / listed.file
        return listed.hdr if at_fault == self.root / listed.hdr else listed.file


def read_pair(display: Path, picture: Path, kind: str) -> tuple[Bytes, Floats]:
    """Read an 8-bit picture and the HDR picture of the same size.

    Args:
        display: The picture of 8 bits.
        picture: The HDR picture.
        kind: What the first one is, for the messages.

    Returns:
        Values of 8 bits and linear values, both [H, W, 3].

    Raises:
        ImageError: A file cannot be used, or the two do not fit each other.
    """
    ldr, hdr = read_image(display), read_image(picture)
    if ldr.domain != "display" or ldr.pixels.dtype != np.uint8:
        raise ImageError(display, f"holds {ldr.pixels.dtype}; a {kind} has 8 bits")
    if hdr.domain != "linear":
        raise ImageError(picture, "display-encoded integers; an HDR picture holds linear values")
    if ldr.shape[:2] != hdr.shape[:2]:
        turned = ldr.metadata.get("orientation", 1)
        note = "" if turned == 1 else f", once turned as its Exif orientation {turned} says"
        sizes = [f"{image.shape[1]}×{image.shape[0]}" for image in (ldr, hdr)]
        raise ImageError(display, f"is {sizes[0]} pixels{note}, its HDR picture {sizes[1]}")
    return ldr.pixels, np.asarray(hdr.pixels, np.float32)


def check_pair(ldr: Bytes, hdr: Floats, kind: str = "photograph") -> str | None:
    """Say what makes a pair useless, or None.

    Args:
        ldr: JPEG values [H, W, 3].
        hdr: Linear values [H, W, 3].
        kind: What the first one is, for the messages.
    """
    reason = check_samples(hdr)
    if reason:
        return f"HDR picture: {reason}"
    if (ldr == ldr[0, 0]).all():
        return f"{kind}: {'one constant value' if ldr.any() else 'all black'}"
    found = likeness(ldr, hdr)
    if found is not None and found < LEAST_LIKENESS:
        return f"{kind} and HDR picture do not show the same (rank correlation {found:.2f})"
    return None


def likeness(ldr: Bytes, hdr: Floats) -> float | None:
    """Correlate the ranks of brightness in a photograph and its HDR picture, cell by cell.

    A camera's response rises, so ranks agree whatever it is; a wrong partner, or one turned by a half, is
    found out by this, where sizes agree.

    Args:
        ldr: JPEG values [H, W, 3].
        hdr: Linear values [H, W, 3], of the same size.

    Returns:
        Spearman's correlation over the well exposed cells; None where there are fewer than 32 of them.
    """
    side = max(1, min(ldr.shape[:2]) // 16)
    photo, scene = (_cells(x.mean(axis=2, dtype=np.float64), side) for x in (ldr, np.maximum(hdr, 0)))
    seen = (photo > DARKEST) & (photo < BRIGHTEST)
    if seen.sum() < 32:
        return None
    ranks = [values[seen].argsort().argsort() for values in (photo, scene)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def count_extremes(ldr: Bytes) -> NDArray[np.uint16]:
    """Count the pixels that are nearly white or nearly black.

    Args:
        ldr: JPEG values [N, H, W, 3].

    Returns:
        Counts [N, H // 32, W // 32] of pixels whose grey value, 0.299 R + 0.587 G + 0.114 B, is at least 249
        or at most 6.
    """
    grey = ldr @ np.array([299, 587, 114], np.int32)  # in thousandths, so that nothing is rounded
    extreme = (grey >= 1000 * BRIGHTEST) | (grey <= 1000 * DARKEST)
    cells = [_cells(picture.astype(np.uint16), CELL, np.sum) for picture in extreme]
    return np.stack(cells).astype(np.uint16)


def _cells(values: NDArray[Any], side: int, reduce: Callable[..., NDArray[Any]] = np.mean) -> NDArray[Any]:
    """Reduce [H, W] over square cells to [H // side, W // side]."""
    height, width = (size // side for size in values.shape)
    cut = values[: height * side, : width * side].reshape(height, side, width, side)
    return reduce(cut, axis=(1, 3))


def word_of(made_from: str) -> str:
    """Return a name for what is made from something, so that other things are never taken for it."""
    return hashlib.sha256(made_from.encode()).hexdigest()[:16]
