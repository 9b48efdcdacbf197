"""HDR pictures with their tone-mapped SDR pictures: finding the pairs below a folder, and checking each.

Three layouts are known; of those a folder holds, the first is used::

    …/hdr/NAME.hdr  …/sdr/NAME.jpg          the published set; paired by stem
    …/dual_.tfrecord  …/ft_.tfrecord        the published record files; each holds many pairs of patches
    …/*.hdr                                 HDR pictures alone; their SDR pictures can be made

Imports no torch.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrlab.datasets.index import (
    Index,
    Picture,
    Source,
    TonePicture,
    ToneRecords,
    appending,
    check_samples,
    describe,
    write_array,
    write_text,
)
from hdrlab.datasets.pairs import (
    PHOTO_SUFFIXES,
    SEVERAL,
    check_pair,
    files_below,
    read_pair,
    suffix_of,
    word_of,
)
from hdrlab.datasets.splits import Bad, DataError, Listed, check_listed, read_manifest, scene_of, split_scenes
from hdrlab.datasets.tfrecord import RECORD_SUFFIXES, ToneRecord, count_records, read_tone_records
from hdrlab.io import HDR_SUFFIXES, ImageError

SDR = "tone-mapped picture"
LABELS = "labels.csv"
PATCHES_A_PICTURE = 16
"""Of the published record files; these must not be parted, or validation sees what was trained on."""
RECORD_KEYS: Mapping[str, Mapping[str, str]] = {
    "dual": {"high": "train1", "bottom": "train2", "sdr_high": "label1", "sdr_bottom": "label2"},
    "ft": {"encoded": "train", "sdr": "label"},
}
"""Batch keys that record files hold, with the records' own names; ft records' layers follow from them."""

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class ListedTone(Listed):
    """An HDR picture of a set.

    Attributes:
        hdr: Where it lies.
        sdr: Its SDR picture; None where there is none.
        labelled: Whether an SDR picture is to be made where there is none.
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


# ------------------------------------------------------------------------------------------ finding


def list_tones(
    root: Path, *, manifest: Path | None = None, make_sdr: bool = False, unlabelled: Path | None = None
) -> tuple[list[Listed], list[Bad]]:
    """Find the HDR pictures below a folder that have an SDR picture or are to get one, with their splits.

    Args:
        root: The folder; subfolders are searched.
        manifest: CSV with the columns file (the HDR picture) and split, and optionally scene and role, of
            which only hdr counts. Pictures that it does not list are left out. Record files have none.
        make_sdr: Whether HDR pictures without an SDR picture count too.
        unlabelled: Folder of HDR pictures that train without one.

    Returns:
        What was found, and whatever has no partner.

    Raises:
        DataError: There is nothing of the known layouts, or the manifest or the splits are wrong.
    """
    files = [file for file in files_below(root) if not _is_below(root / file, unlabelled)]
    sides = {"hdr": HDR_SUFFIXES, "sdr": PHOTO_SUFFIXES}
    hdr, sdr = (_by_stem(files, side, suffixes) for side, suffixes in sides.items())
    more = _list_unlabelled(unlabelled) if unlabelled else []
    if not sdr and manifest is None and (records := _list_records(root, files)):
        return [*records, *more], []
    if not sdr:
        hdr = hdr or {file: [file] for file in files if suffix_of(file) in HDR_SUFFIXES}
        _check_alone(root, hdr, make_sdr)
    tones, bad = _match(root, hdr, sdr, make_sdr)
    if manifest is not None:
        tones, unknown = _by_manifest(root, tones, manifest, {item.file for item in bad})
        bad += unknown
    elif tones:
        scenes = {tone.scene for tone in tones}
        # Where most pairs are bad, they are what is to be said, not that one scene is left.
        split = dict.fromkeys(scenes, "train") if bad and len(scenes) == 1 else split_scenes(scenes, root)
        tones = [replace(tone, split=split[tone.scene]) for tone in tones]
    return [*sorted(tones, key=lambda tone: tone.file), *more], bad


def _is_below(path: Path, folder: Path | None) -> bool:
    return folder is not None and folder.resolve() in path.resolve().parents


def _by_stem(files: Iterable[str], side: str, suffixes: Iterable[str]) -> dict[str, list[str]]:
    """Group the files in folders of a name by what is left of their paths without it and without suffix."""
    stems: dict[str, list[str]] = defaultdict(list)
    for file in files:
        parts = list(PurePosixPath(file).with_suffix("").parts)
        if side in parts[:-1] and suffix_of(file) in suffixes:
            parts.remove(side)
            stems["/".join(parts)].append(file)
    return stems


def _check_alone(root: Path, hdr: Mapping[str, Sequence[str]], make_sdr: bool) -> None:
    """Refuse HDR pictures without a single SDR picture, or a folder without either."""
    if not hdr:
        raise DataError(
            [
                f"{root}: no HDR pictures with SDR pictures; needs hdr/*.hdr with sdr/*.jpg by their names, "
                "dual_.tfrecord or ft_.tfrecord, or HDR pictures and data.make_sdr=true (data/tmo_pairs.md)"
            ]
        )
    if not make_sdr:
        raise DataError(
            [
                f"{root}: {len(hdr)} HDR pictures and no SDR pictures: lay these into sdr/ beside hdr/, by "
                "their names, or set data.make_sdr=true to make them"
            ]
        )


def _match(
    root: Path, hdr: Mapping[str, Sequence[str]], sdr: Mapping[str, Sequence[str]], make_sdr: bool
) -> tuple[list[ListedTone], list[Bad]]:
    tones, bad = [], []
    for stem in sorted(hdr.keys() | sdr.keys()):
        pictures, labels = hdr.get(stem, ()), sdr.get(stem, ())
        if len(pictures) == 1 and len(labels) < 2 and (labels or make_sdr):
            label = root / labels[0] if labels else None
            name = pictures[0]
            tones.append(ListedTone(name, "", scene_of(name), hdr=root / name, sdr=label))
        elif not pictures or not labels:
            missing = "SDR picture in sdr" if pictures else "HDR picture in hdr"
            bad += [Bad(file, f"no {missing} of the same name") for file in (*pictures, *labels)]
        else:
            bad += [Bad(file, SEVERAL) for file in (*pictures, *labels)]
    return tones, bad


def _by_manifest(
    root: Path, tones: Iterable[ListedTone], manifest: Path, reported: set[str]
) -> tuple[list[ListedTone], list[Bad]]:
    rows = read_manifest(manifest, roles=("hdr",))
    check_listed(root, rows)
    by_file = {tone.file: tone for tone in tones}
    kept = [replace(by_file[r.file], split=r.split, scene=r.scene) for r in rows if r.file in by_file]
    unknown = [row.file for row in rows if row.file not in by_file.keys() | reported]
    return kept, [Bad(file, "listed in the manifest, but no HDR picture of a pair") for file in unknown]


def _list_unlabelled(folder: Path) -> list[ListedTone]:
    files = [file for file in files_below(folder) if suffix_of(file) in HDR_SUFFIXES]
    if not files:
        raise DataError([f"data.unlabelled={folder}: no HDR picture in this folder"])
    names = {file: str(PurePosixPath("unlabelled", file)) for file in files}
    return [
        ListedTone(name, "train", scene_of(name), hdr=folder / file, labelled=False)
        for file, name in names.items()
    ]


def _list_records(root: Path, files: Iterable[str]) -> list[ListedRecords]:
    """List the records of each file in two parts: the last tenth of its pictures is for validation.

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
                f"{root / file}: test records: layers of whole HDR pictures, without SDR pictures to train "
                "on; give the dual_ or ft_ records, or the pictures themselves"
            )
        else:
            listed += _parted(root, file)
    if problems or (tests and not listed):
        raise DataError(problems or tests)
    return listed


def _parted(root: Path, file: str) -> list[ListedRecords]:
    num = count_records(root / file)
    if num < 2:
        raise DataError([f"{root / file}: one record; at least two are needed, to train and to validate"])
    block = PATCHES_A_PICTURE if num >= 2 * PATCHES_A_PICTURE else 1
    blocks = -(-num // block)
    middle = (blocks - max(1, blocks // 10)) * block
    parts = {"train": (0, middle), "val": (middle, num)}
    return [
        ListedRecords(f"{file}#{split}", split, file, path=root / file, start=start, stop=stop)
        for split, (start, stop) in parts.items()
    ]


# ----------------------------------------------------------------------------------------- checking


class ToneSource(Source):
    """HDR pictures with their SDR pictures, checked and turned into fast files."""

    NEEDED = "HDR pictures with their SDR pictures (data/tmo_pairs.md)"

    def stamp(self, listed: Listed) -> str:
        """Return words that change when the HDR picture does, or what its SDR picture is made of."""
        if isinstance(listed, ListedRecords):
            return f"{_state(listed.path)} {listed.start} {listed.stop}"
        assert isinstance(listed, ListedTone)
        made_from = labels_version() if listed.labelled else "unlabelled"
        return f"{_state(listed.hdr)} {_state(listed.sdr) if listed.sdr else made_from}"

    def make(self, listed: Listed, stamp: str, folder: Path, settings: Mapping[str, Any]) -> Picture | Bad:
        """Check a picture or a part of a record file, and write the fast files."""
        try:
            if isinstance(listed, ListedRecords):
                return make_records(listed, stamp, folder)
            assert isinstance(listed, ListedTone)
            if listed.sdr:
                sdr, hdr = read_pair(listed.sdr, listed.hdr, SDR)
                return make_tone(listed, stamp, folder, hdr, sdr)
            hdr, _ = self.read(replace(listed, file=str(listed.hdr)))
            return make_tone(listed, stamp, folder, hdr, labelled=listed.labelled)
        except ImageError as error:
            return Bad(self._name_of(listed, error), error.reason.partition("; sanitize")[0])

    def _name_of(self, listed: Listed, error: ImageError) -> str:
        sdr = getattr(listed, "sdr", None)
        return sdr.relative_to(self.root).as_posix() if sdr and error.path == sdr else listed.file


def _state(path: Path) -> str:
    status = path.stat()
    return f"{status.st_size} {status.st_mtime_ns}"


def make_tone(
    listed: Listed,
    stamp: str,
    folder: Path,
    hdr: Floats,
    sdr: Bytes | None = None,
    *,
    labelled: bool = True,
) -> TonePicture | Bad:
    """Check an HDR picture, make its SDR picture where it is to have one, and write the fast files.

    Args:
        listed: The picture.
        stamp: What tells that it changed.
        folder: The index's.
        hdr: Linear values [H, W, 3].
        sdr: SDR picture [H, W, 3], where there is one.
        labelled: Whether to make one where there is none.
    """
    from hdrlab.metrics.sizes import PictureSizeError
    from hdrlab.operators import OperatorError

    reason = check_samples(hdr) if sdr is None else check_pair(sdr, hdr, SDR)
    if reason:
        return Bad(listed.file, reason)
    positive, tried, operator = np.maximum(hdr, 0), dict[str, float](), ""
    if sdr is None and labelled:
        try:
            sdr, tried = make_sdr(positive)
        except (OperatorError, PictureSizeError) as error:
            return Bad(listed.file, f"no SDR picture can be made: {error}")
        operator = max(tried, key=tried.__getitem__)
    word = f"pictures/{word_of(f'{listed.file} {stamp}')}"
    write_array(folder / f"{word}.npy", positive)
    if sdr is not None:
        write_array(folder / f"{word}-sdr.npy", sdr)
    height, width = hdr.shape[:2]
    return TonePicture(
        file=listed.file,
        split=listed.split,
        scene=listed.scene,
        stamp=stamp,
        sha256=_digest_of([positive] if sdr is None else [positive, sdr]),
        array=f"{word}.npy",
        width=width,
        height=height,
        source_size=(width, height),
        **describe(hdr),
        **_limits_of(positive),
        sdr=None if sdr is None else f"{word}-sdr.npy",
        sdr_range=(0, 255) if sdr is None else (int(sdr.min()), int(sdr.max())),
        operator=operator,
        tmqi=tried,
    )


def _digest_of(arrays: Iterable[NDArray[Any]]) -> str:
    digest = hashlib.sha256()
    for values in arrays:
        digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()


def _limits_of(hdr: Floats) -> dict[str, Any]:
    import torch

    from hdrlab.ops.tone_range import tone_limits

    picture = torch.from_numpy(np.ascontiguousarray(hdr.transpose(2, 0, 1)))[None]
    low, high = tone_limits(picture)
    log_low, log_high = tone_limits(picture, "log")
    return {"limits": (low.item(), high.item()), "log_limits": (log_low.item(), log_high.item())}


def make_records(listed: ListedRecords, stamp: str, folder: Path) -> ToneRecords | Bad:
    """Check a part of a record file and write its fast files, one record in memory at a time.

    Raises:
        ImageError: With the number of the record, and what is wrong with it.
    """
    records = islice(read_tone_records(listed.path), listed.start, listed.stop)
    first = next(records)
    keys = RECORD_KEYS[first.kind]
    side = next(iter(first.maps.values())).shape[0]
    word = f"pictures/{word_of(f'{listed.file} {stamp}')}"
    arrays = {key: f"{word}-{key}.npy" for key in keys}
    num, digest, thumbs = listed.stop - listed.start, hashlib.sha256(), []
    with ExitStack() as files:
        shapes = {key: (num, *first.maps[name].shape) for key, name in keys.items()}
        append = {key: files.enter_context(appending(folder / arrays[key], shapes[key])) for key in keys}
        for number, record in enumerate(_chained(first, records), listed.start):
            sizes = {values.shape[:2] for name, values in record.maps.items() if not name.endswith("2")}
            if sizes != {(side, side)} or side % 8:
                said = f"record {number}: its patches must be square, of one size and of multiples of 8"
                raise ImageError(listed.path, said)
            for key, name in keys.items():
                append[key](record.maps[name])
                digest.update(record.maps[name].data)
            thumbs.append(record.maps["train2"])
    light = np.maximum(np.stack(thumbs), 0) ** np.float32(2.2)
    if not light.any():
        return Bad(listed.file, "all black")
    return ToneRecords(
        file=listed.file,
        split=listed.split,
        scene=listed.scene,
        stamp=stamp,
        sha256=digest.hexdigest(),
        array=next(iter(arrays.values())),
        width=side,
        height=side,
        source_size=(side, side),
        **describe(light),  # all there is of the pictures' light: relative, clipped and small
        kind=first.kind,
        arrays=arrays,
        num=num,
    )


def _chained(first: ToneRecord, rest: Iterator[ToneRecord]) -> Iterator[ToneRecord]:
    yield first
    yield from rest


# ------------------------------------------------------------------------------------- SDR pictures


def make_sdr(hdr: Floats) -> tuple[Bytes, dict[str, float]]:
    """Tone-map a picture with every built-in operator and keep the result of the highest TMQI.

    Operators of other packages do not take part: the result must not depend on what is installed.

    Args:
        hdr: Linear values [H, W, 3], at least 0.

    Returns:
        The SDR picture [H, W, 3], and TMQI by operator, of the pictures rounded to 8 bits.

    Raises:
        OperatorError: An operator cannot show the picture.
        PictureSizeError: It is too small for TMQI.
    """
    import torch

    from hdrlab.metrics.tmqi import tmqi
    from hdrlab.operators import OPERATORS, tone_map_classically

    picture = torch.from_numpy(hdr).movedim(-1, 0)[None]
    best, tried = np.zeros(0, np.uint8), dict[str, float]()
    for name, operator in OPERATORS.items():
        if operator.package is not None:
            continue
        shown = np.rint(255 * tone_map_classically(name, hdr)).astype(np.uint8)
        # Rounded, so that the last bits of a machine choose nothing: of equals the first remains.
        score = round(float(tmqi(picture, torch.from_numpy(shown).movedim(-1, 0)[None] / 255).q), 6)
        if score > max(tried.values(), default=-1):
            best = shown
        tried[name] = score
    return best, tried


@lru_cache(maxsize=1)
def labels_version() -> str:
    """Return a word that changes when the code that makes SDR pictures does."""
    package = Path(__file__).parents[1]
    files = [*sorted((package / "operators").glob("*.py")), package / "metrics" / "tmqi.py"]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


def write_labels(index: Index) -> Path | None:
    """Write ``labels.csv`` into an index: for each SDR picture made, its operator and every one's TMQI.

    Returns:
        The file, or None where none was made.
    """
    path = index.folder / LABELS
    made = [p for p in index.pictures if isinstance(p, TonePicture) and p.operator]
    if not made:
        path.unlink(missing_ok=True)
        return None
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", "split", "operator", "tmqi", *made[0].tmqi])
    for picture in made:
        scores = picture.tmqi
        row = [picture.file, picture.split, picture.operator, scores[picture.operator], *scores.values()]
        writer.writerow(row)
    write_text(path, text.getvalue())
    return path
