"""Which files belong together: photographs and HDR images, HDR images and SDR images. Imports no torch.

For photographs with their HDR images three layouts are known, and a folder may hold several::

    …/LDR_in/*.jpg  …/HDR_gt/*.hdr          the published set; paired by stem or by sorted order
    …/SCENE/ldr.jpg  …/SCENE/hdr.hdr        exposure stacks; with exp_NN.jpg and times.csv further pairs
    …/*.tfrecords                           the published record files; each holds many pairs of patches

For HDR images with their SDR images also three; of those a folder holds, the first is used::

    …/hdr/NAME.hdr  …/sdr/NAME.jpg          the published set; paired by stem
    …/dual_.tfrecord  …/ft_.tfrecord        the published record files; each holds many pairs of patches
    …/*.hdr                                 HDR images alone; their SDR images can be made
"""

from __future__ import annotations

import csv
import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from hdrlab.datasets.index import check_samples
from hdrlab.datasets.splits import (
    Bad,
    Listed,
    check_listed,
    read_manifest,
    require_utf8,
    scene_of,
    split_scenes,
)
from hdrlab.errors import DataError, ImageError
from hdrlab.io import HDR_SUFFIXES, read_image
from hdrlab.io.tensorflow.records import RECORD_SUFFIXES, count_records, read_tone_records

PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})
SEVERAL = "several files of this name, with different suffixes"
NUM_BLOCKS = 20
DARKEST, BRIGHTEST = 6, 249
LEAST_LIKENESS = 0.2
PATCHES_AN_IMAGE = 16
"""Of the published tone-mapping records; these must not be parted, or validation sees what was trained on."""

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
File = TypeVar("File", str, Path)


@dataclass(frozen=True)
class ListedPair(Listed):
    """A photograph, ``file``, and its HDR image.

    Attributes:
        hdr: Path of the HDR image relative to the root; for a record file that file itself.
        scale: Factor on the HDR image that makes 1 the clipping point of this photograph.
    """

    hdr: str
    scale: float = 1.0


@dataclass(frozen=True, kw_only=True)
class ListedTone(Listed):
    """An HDR image of a set.

    Attributes:
        hdr: Where it lies.
        sdr: Its SDR image; None where there is none.
        labelled: Whether an SDR image is to be made where there is none.
    """

    hdr: Path
    sdr: Path | None = None
    labelled: bool = True


@dataclass(frozen=True, kw_only=True)
class ListedRecords(Listed):
    """Some records of a file, ``file`` being that with ``#`` and the split.

    Attributes:
        path: The file.
        start: First record.
        stop: One after the last.
    """

    path: Path
    start: int
    stop: int


AnyListed = TypeVar("AnyListed", bound=Listed)

# -------------------------------------------------------------------------------- by name or by order


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


def suffix_of(file: str) -> str:
    """Return the last suffix of a path in small letters, with its dot."""
    return PurePosixPath(file).suffix.lower()


def by_stem(files: Iterable[str], suffixes: Collection[str], side: str = "") -> dict[str, list[str]]:
    """Group files, in order, by their paths without suffix.

    Args:
        files: Relative paths.
        suffixes: Of the files that count.
        side: Name of a folder that they must lie in, at any depth; it is left out of the stem.
    """
    stems: dict[str, list[str]] = defaultdict(list)
    for file in files:
        parts = list(PurePosixPath(file).with_suffix("").parts)
        if suffix_of(file) in suffixes and (not side or side in parts[:-1]):
            if side:
                parts.remove(side)
            stems["/".join(parts)].append(file)
    return stems


def pair_up(
    first: Mapping[str, Sequence[File]],
    second: Mapping[str, Sequence[File]],
    kinds: tuple[str, str],
    pairing: str = "auto",
) -> tuple[list[tuple[File, File]], list[Bad]]:
    """Pair the files of two sides.

    Args:
        first: Files of one side by what their names have in common with their partners', as from `by_stem`.
        second: Files of the other.
        kinds: What either side's are called in messages.
        pairing: ``stem``, ``order``, or ``auto``: by stem if at least one is on both sides, else by sorted
            order, as SingleHDR's authors do.

    Returns:
        Both files of each pair, and whatever has no partner.
    """
    if pairing == "stem" or (pairing == "auto" and first.keys() & second.keys()):
        return _pair_by_stem(first, second, f"{kinds[0]} of this name", f"{kinds[1]} of this name")
    one, other = (sorted(file for files in side.values() for file in files) for side in (first, second))
    if len(one) != len(other):
        counts = f"{len(one)} {kinds[0]}s and {len(other)} {kinds[1]}s"
        counts += "" if pairing == "order" else ", and no name is on both sides"
        reason = f"{counts}: cannot be paired by sorted order"
        return [], [Bad(str(Path((one or other)[0]).parent), reason)]
    return list(zip(one, other, strict=True)), []


def _pair_by_stem(
    first: Mapping[str, Sequence[File]],
    second: Mapping[str, Sequence[File]],
    first_missing: str,
    second_missing: str,
) -> tuple[list[tuple[File, File]], list[Bad]]:
    pairs: list[tuple[File, File]] = []
    bad: list[Bad] = []
    for stem in sorted(first.keys() | second.keys()):
        sides = first.get(stem, ()), second.get(stem, ())
        if not all(sides):
            missing = second_missing if sides[0] else first_missing
            bad += [Bad(str(file), f"no {missing}") for side in sides for file in side]
        elif len(sides[0]) == len(sides[1]) == 1:
            pairs.append((sides[0][0], sides[1][0]))
        else:
            bad += [Bad(str(file), SEVERAL) for side in sides for file in side if len(side) > 1]
    return pairs, bad


def scenes_of(hdr: Sequence[str], place: str) -> list[str]:
    """Name each image's scene; where names are mere numbers, a twentieth of the sequence is taken for one.

    Neighbours in the published set are crops and exposures of one image, so they must not be parted.
    """
    named = [scene_of(file) for file in hdr]
    if len(set(named)) > 1 and not all(PurePosixPath(name).name.isdigit() for name in named):
        return named
    block = max(1, -(-len(hdr) // NUM_BLOCKS))
    return [str(PurePosixPath(place, f"block {i // block}")) for i in range(len(hdr))]


def _with_splits(
    root: Path,
    found: Sequence[AnyListed],
    bad: Sequence[Bad],
    manifest: Path | None,
    roles: Sequence[str],
    kind: str,
) -> tuple[list[AnyListed], list[Bad]]:
    """Give what was found its splits: a manifest's, which leaves out what it does not list, or by scenes."""
    if manifest is not None:
        rows = read_manifest(manifest, roles)
        check_listed(root, rows)
        by_file = {item.file: item for item in found}
        known = by_file.keys() | {item.file for item in bad}
        kept = [replace(by_file[r.file], split=r.split, scene=r.scene) for r in rows if r.file in by_file]
        reason = f"listed in the manifest, but no {kind} of a pair"
        return kept, [*bad, *(Bad(row.file, reason) for row in rows if row.file not in known)]
    scenes = {item.scene for item in found}
    # Where most pairs are bad, report them, not that one scene is left.
    few = not scenes or (bad and len(scenes) == 1)
    split = dict.fromkeys(scenes, "train") if few else split_scenes(scenes, root)
    return [replace(item, split=split[item.scene]) for item in found], [*bad]


# --------------------------------------------------------------------- photographs with their HDR images


def list_pairs(
    root: Path, *, manifest: Path | None = None, pairing: str = "auto", exposures: str = "ldr"
) -> tuple[list[ListedPair], list[Bad]]:
    """Find the photographs below a folder that have an HDR image, with their splits.

    Args:
        root: The folder; subfolders are searched.
        manifest: CSV with the columns file (the photograph or the record file) and split, and optionally
            scene and role, of which only ldr and stack-ldr count, or with exposures=all ldr and
            stack-exposure. Pairs that it does not list are left out.
        pairing: How ``LDR_in`` and ``HDR_gt`` belong together, as in `pair_up`.
        exposures: What of a stack is used: ``ldr``, the photograph ``ldr.jpg`` that the HDR image is scaled
            to; or ``all``, every exposure of ``times.csv``, the HDR image scaled by the exposure ratio.

    Returns:
        The pairs by name, and whatever has no partner.

    Raises:
        DataError: There is nothing of the known layouts, or the manifest or the splits are wrong.
    """
    files = files_below(root)
    found = [ListedPair(file, "", file, file) for file in files if suffix_of(file) in RECORD_SUFFIXES]
    bad: list[Bad] = []
    for pairs, problems in (_stacks(root, files, exposures), _published_pairs(files, pairing)):
        found += pairs
        bad += problems
    if not found and not bad:
        raise DataError(
            f"{root}: no pairs of photographs and HDR images; needs LDR_in/*.jpg with HDR_gt/*.hdr, "
            "SCENE/ldr.jpg with SCENE/hdr.hdr, or *.tfrecords (data/hdr_real.md)"
        )
    roles = ("ldr", "stack-ldr" if exposures == "ldr" else "stack-exposure")
    found, bad = _with_splits(root, found, bad, manifest, roles, "photograph")
    return sorted(found, key=lambda pair: pair.file), bad


def _published_pairs(files: Sequence[str], pairing: str) -> tuple[list[ListedPair], list[Bad]]:
    sides: dict[str, dict[str, list[str]]] = defaultdict(lambda: {"LDR_in": [], "HDR_gt": []})
    for file in files:
        parts = PurePosixPath(file).parts
        for side in {"LDR_in", "HDR_gt"} & set(parts[:-1]):
            sides["/".join(parts[: parts.index(side)])][side].append(file)
    pairs: list[ListedPair] = []
    bad: list[Bad] = []
    for place, both in sides.items():
        ldr = by_stem(both["LDR_in"], PHOTO_SUFFIXES, "LDR_in")
        hdr = by_stem(both["HDR_gt"], HDR_SUFFIXES, "HDR_gt")
        matched, problems = pair_up(ldr, hdr, ("photograph", "HDR image"), pairing)
        scenes = scenes_of([image for _, image in matched], place)
        pairs += [ListedPair(photo, "", s, hdr) for (photo, hdr), s in zip(matched, scenes, strict=True)]
        bad += problems
    return pairs, bad


def _stacks(root: Path, files: Sequence[str], exposures: str) -> tuple[list[ListedPair], list[Bad]]:
    ldr, hdr = (
        {stem[: -len(name)]: of for stem, of in by_stem(files, suffixes).items() if _name_of(stem) == name}
        for name, suffixes in (("ldr", PHOTO_SUFFIXES), ("hdr", HDR_SUFFIXES))
    )
    matched, bad = _pair_by_stem(ldr, hdr, "ldr.jpg beside it", "hdr.hdr beside it")
    pairs = []
    for photo, image in matched:
        folder = str(PurePosixPath(photo).parent)
        photos: Mapping[str, float] = {photo: 1.0}
        if exposures == "all":
            try:
                photos = _exposures(root, folder, photo)
            except ValueError as error:
                bad.append(Bad(str(PurePosixPath(folder, "times.csv")), str(error)))
                continue
        pairs += [ListedPair(file, "", folder, image, scale) for file, scale in photos.items()]
    return pairs, bad


def _name_of(stem: str) -> str:
    return stem.rpartition("/")[2]


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
    # Beyond these limits the HDR image, multiplied by a ratio, could leave the range of float32.
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


# ---------------------------------------------------------------------- HDR images with their SDR images


def list_tones(
    root: Path, *, manifest: Path | None = None, make_sdr: bool = False, unlabelled: Path | None = None
) -> tuple[list[Listed], list[Bad]]:
    """Find the HDR images below a folder that have an SDR image or are to get one, with their splits.

    Args:
        root: The folder; subfolders are searched.
        manifest: CSV with the columns file (the HDR image) and split, and optionally scene and role, of
            which only hdr counts. Images that it does not list are left out. Record files have none.
        make_sdr: Whether HDR images without an SDR image count too.
        unlabelled: Folder of HDR images that train without one.

    Returns:
        What was found, and whatever has no partner.

    Raises:
        DataError: There is nothing of the known layouts, or the manifest or the splits are wrong.
    """
    files = [file for file in files_below(root) if not _is_below(root / file, unlabelled)]
    hdr, sdr = by_stem(files, HDR_SUFFIXES, "hdr"), by_stem(files, PHOTO_SUFFIXES, "sdr")
    more = _list_unlabelled(unlabelled) if unlabelled else []
    if not sdr and manifest is None and (records := _list_records(root, files)):
        return [*records, *more], []
    if not sdr:
        hdr = hdr or {file: [file] for file in files if suffix_of(file) in HDR_SUFFIXES}
        _check_alone(root, hdr, make_sdr)
    alone = {stem: of for stem, of in hdr.items() if make_sdr and stem not in sdr and len(of) == 1}
    paired = {stem: of for stem, of in hdr.items() if stem not in alone}
    pairs, bad = pair_up(paired, sdr, ("HDR image in hdr", "SDR image in sdr"), "stem")
    labels: dict[str, Path | None] = {image: root / label for image, label in pairs}
    labels |= {image: None for (image,) in alone.values()}
    tones = [
        ListedTone(image, "", scene_of(image), hdr=root / image, sdr=label) for image, label in labels.items()
    ]
    tones, bad = _with_splits(root, tones, bad, manifest, ("hdr",), "HDR image")
    return [*sorted(tones, key=lambda tone: tone.file), *more], bad


def _is_below(path: Path, folder: Path | None) -> bool:
    return folder is not None and folder.resolve() in path.resolve().parents


def _check_alone(root: Path, hdr: Mapping[str, Sequence[str]], make_sdr: bool) -> None:
    """Refuse HDR images without a single SDR image, or a folder without either."""
    if not hdr:
        raise DataError(
            f"{root}: no HDR images with SDR images; needs hdr/*.hdr with sdr/*.jpg by their names, "
            "dual_.tfrecord or ft_.tfrecord, or HDR images and data.make_sdr=true (data/tmo_pairs.md)"
        )
    if not make_sdr:
        raise DataError(
            f"{root}: {len(hdr)} HDR images and no SDR images: lay these into sdr/ beside hdr/, by "
            "their names, or set data.make_sdr=true to make them"
        )


def _list_unlabelled(folder: Path) -> list[ListedTone]:
    files = [file for file in files_below(folder) if suffix_of(file) in HDR_SUFFIXES]
    if not files:
        raise DataError(f"data.unlabelled={folder}: no HDR image in this folder")
    names = {file: str(PurePosixPath("unlabelled", file)) for file in files}
    return [
        ListedTone(name, "train", scene_of(name), hdr=folder / file, labelled=False)
        for file, name in names.items()
    ]


def _list_records(root: Path, files: Iterable[str]) -> list[ListedRecords]:
    """List the records of each file in two parts: the last tenth of its images is for validation.

    Raises:
        DataError: Files cannot be read, or there are none but test records.
    """
    listed: list[ListedRecords] = []
    problems, tests = [], []
    for file in files:
        if suffix_of(file) not in RECORD_SUFFIXES:
            continue
        try:
            kind = next(read_tone_records(root / file)).kind
        except ImageError as error:
            problems.append(str(error))
            continue
        if kind == "test":
            tests.append(
                f"{root / file}: test records: layers of whole HDR images, without SDR images to train "
                "on; give the dual_ or ft_ records, or the images themselves"
            )
        else:
            listed += _parted(root, file)
    if problems or (tests and not listed):
        raise DataError(problems or tests)
    return listed


def _parted(root: Path, file: str) -> list[ListedRecords]:
    num = count_records(root / file)
    if num < 2:
        raise DataError(f"{root / file}: one record; at least two are needed, to train and to validate")
    block = PATCHES_AN_IMAGE if num >= 2 * PATCHES_AN_IMAGE else 1
    blocks = -(-num // block)
    middle = (blocks - max(1, blocks // 10)) * block
    parts = {"train": (0, middle), "val": (middle, num)}
    return [
        ListedRecords(f"{file}#{split}", split, file, path=root / file, start=start, stop=stop)
        for split, (start, stop) in parts.items()
    ]


# ------------------------------------------------------------------------------- whether they show the same


def read_pair(display: Path, image: Path, kind: str) -> tuple[Bytes, Floats]:
    """Read an 8-bit image and the HDR image of the same size.

    Args:
        display: The image of 8 bits.
        image: The HDR image.
        kind: What the first one is, for the messages.

    Returns:
        Values of 8 bits and linear values, both [H, W, 3].

    Raises:
        ImageError: A file cannot be used, or the two do not fit each other.
    """
    ldr, hdr = read_image(display), read_image(image)
    if ldr.domain != "display" or ldr.pixels.dtype != np.uint8:
        raise ImageError(display, f"holds {ldr.pixels.dtype}; a {kind} has 8 bits")
    if hdr.domain != "linear":
        raise ImageError(image, "display-encoded integers; an HDR image holds linear values")
    if ldr.shape[:2] != hdr.shape[:2]:
        turned = ldr.metadata.get("orientation", 1)
        note = "" if turned == 1 else f", once turned as its Exif orientation {turned} says"
        sizes = [f"{loaded.shape[1]}×{loaded.shape[0]}" for loaded in (ldr, hdr)]
        raise ImageError(display, f"is {sizes[0]} pixels{note}, its HDR image {sizes[1]}")
    return ldr.pixels, np.asarray(hdr.pixels, np.float32)


def check_pair(ldr: Bytes, hdr: Floats, kind: str = "photograph") -> str | None:
    """Say what makes a pair useless, or None.

    Args:
        ldr: Values of 8 bits [H, W, 3].
        hdr: Linear values [H, W, 3].
        kind: What the first one is, for the messages.
    """
    reason = check_samples(hdr)
    if reason:
        return f"HDR image: {reason}"
    if (ldr == ldr[0, 0]).all():
        return f"{kind}: {'one constant value' if ldr.any() else 'all black'}"
    found = likeness(ldr, hdr)
    if found is not None and found < LEAST_LIKENESS:
        return f"{kind} and HDR image do not show the same (rank correlation {found:.2f})"
    return None


def likeness(ldr: Bytes, hdr: Floats) -> float | None:
    """Correlate the ranks of brightness in a photograph and its HDR image, cell by cell.

    A camera's response rises, so ranks agree whatever it is; a wrong partner, or one turned by a half, is
    found out by this, where sizes agree.

    Args:
        ldr: Values of 8 bits [H, W, 3].
        hdr: Linear values [H, W, 3], of the same size.

    Returns:
        Spearman's correlation over the well exposed cells; None where there are fewer than 32 of them.
    """
    side = max(1, min(ldr.shape[:2]) // 16)
    grey = (x.mean(axis=2, dtype=np.float64) for x in (ldr, np.maximum(hdr, 0)))
    photo, scene = (over_cells(values, side).mean(axis=(1, 3)) for values in grey)
    seen = (photo > DARKEST) & (photo < BRIGHTEST)
    if seen.sum() < 32:
        return None
    ranks = [values[seen].argsort().argsort() for values in (photo, scene)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def over_cells(values: NDArray[Any], side: int) -> NDArray[Any]:
    """Cut [H, W] into square cells, [H // side, side, W // side, side]."""
    height, width = (size // side for size in values.shape)
    return values[: height * side, : width * side].reshape(height, side, width, side)
