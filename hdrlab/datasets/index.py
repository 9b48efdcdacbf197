"""A checked, indexed, fast form of a set of HDR pictures.

``build_index`` reads every picture once, resizes it, and writes a folder::

    index.json            what was made from what: splits, digests, statistics, settings
    pictures/<digest>.npy float32 [H, W, 3], scene-linear, memory-mapped by the loader
    journal.jsonl         while unfinished: what is done already, so that an interruption loses nothing

Imports no torch: what is wrong with the data is said before that.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrlab.datasets.resize import resize
from hdrlab.datasets.splits import Bad, DataError, Listed
from hdrlab.io import ImageError, read_image

VERSION = 1
NEGATIVE_SHARE = 0.01  # more negative samples than this are no rounding of a converter
MEAN_RANGE = (1e-8, 1e8)


@dataclass(frozen=True)
class Picture:
    """One line of an index.

    Attributes:
        file: Source path relative to its root.
        split: train, val or test.
        scene: Scene name.
        stamp: What tells that the source changed: its size and time, or the renderer's version.
        sha256: Digest of the source's bytes, or of the rendered samples.
        array: Path of the fast file, relative to the index.
        width: Width of the fast file in pixels.
        height: Height of the fast file in pixels.
        source_size: Width and height of the source in pixels.
        luminance: Minimum, median and maximum Rec. 709 luminance, relative.
        stops: Dynamic range, log2 of the 99.9th over the 1st percentile of luminance.
        negatives: Samples below 0, clipped to 0.
    """

    file: str
    split: str
    scene: str
    stamp: str
    sha256: str
    array: str
    width: int
    height: int
    source_size: tuple[int, int]
    luminance: tuple[float, float, float]
    stops: float
    negatives: int


@dataclass(frozen=True)
class Index:
    """A finished set of pictures.

    Attributes:
        folder: Where it lies.
        settings: How the fast files were made.
        pictures: All pictures in the order of their list.
    """

    folder: Path
    settings: Mapping[str, Any]
    pictures: tuple[Picture, ...]

    def split(self, name: str) -> list[Picture]:
        """Return the pictures of train, val or test."""
        return [picture for picture in self.pictures if picture.split == name]

    def load(self, picture: Picture) -> NDArray[np.float32]:
        """Map a picture's samples [H, W, 3] into memory, read-only."""
        return np.load(self.folder / picture.array, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]

    @property
    def fingerprint(self) -> str:
        """Digest of everything that training data depend on: pictures, splits, settings."""
        lines = [f"{p.file} {p.split} {p.scene} {p.sha256}" for p in self.pictures]
        text = json.dumps([lines, dict(self.settings)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


class Source:
    """Where pictures come from: a folder. Small and picklable, since worker processes read through it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def stamp(self, listed: Listed) -> str:
        """Return a word that changes when the picture does."""
        status = (self.root / listed.file).stat()
        return f"{status.st_size} {status.st_mtime_ns}"

    def read(self, listed: Listed) -> tuple[NDArray[np.float32], str]:
        """Return the linear samples [H, W, 3] and a SHA-256 of the source."""
        path = self.root / listed.file
        image = read_image(path)
        if image.domain != "linear":
            raise ImageError(path, "display-encoded integers; an HDR picture holds linear values")
        return np.asarray(image.pixels, np.float32), hashlib.sha256(path.read_bytes()).hexdigest()


Progress = Callable[[int, int, str], None]


def build_index(
    listed: Sequence[Listed],
    source: Source,
    folder: Path,
    *,
    short_side: int,
    resize_filter: str = "area",
    skip_bad: bool = False,
    workers: int = 2,
    progress: Progress | None = None,
) -> tuple[Index, list[Bad]]:
    """Check all pictures and write index and fast files, going on where an earlier call was interrupted.

    Args:
        listed: Pictures and their splits.
        source: Reads them.
        folder: Where the index goes; made if missing.
        short_side: Pictures are resized to this short side in pixels, up or down.
        resize_filter: ``area`` or ``bilinear``.
        skip_bad: Leave bad pictures out instead of failing.
        workers: Processes.
        progress: Called with (done, all, file) after each picture.

    Returns:
        The index, and the pictures left out.

    Raises:
        DataError: With one problem a kind of failure; nothing already done is lost.
    """
    settings = {"version": VERSION, "short_side": short_side, "resize_filter": resize_filter}
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    done = _done_before(folder, settings)
    results: dict[str, Picture | Bad] = {}
    missing: list[tuple[Listed, str]] = []
    for item in listed:
        stamp = source.stamp(item)
        before = done.get(item.file)
        if before and before.stamp == stamp and (folder / before.array).is_file():
            results[item.file] = Picture(**(asdict(before) | {"split": item.split, "scene": item.scene}))
        else:
            missing.append((item, stamp))
    with (folder / "journal.jsonl").open("a", encoding="utf-8") as journal, _pool(workers, missing) as pool:
        journal.write(json.dumps(settings) + "\n")
        jobs = [(source, item, stamp, folder, short_side, resize_filter) for item, stamp in missing]
        for number, made in enumerate(pool.map(_make_picture, jobs), len(results) + 1):
            results[made.file] = made
            if isinstance(made, Picture):
                journal.write(json.dumps(asdict(made)) + "\n")
                journal.flush()
            if progress:
                progress(number, len(listed), made.file)
    bad = [made for made in results.values() if isinstance(made, Bad)]
    ordered = tuple(made for item in listed if isinstance(made := results[item.file], Picture))
    if bad and (not skip_bad or not ordered):
        raise DataError(_bad_lines(source.root, bad, len(listed)), bad)
    _write_text(folder / "index.json", json.dumps({"settings": settings, "pictures": [asdict(p) for p in ordered]}))
    (folder / "journal.jsonl").unlink()
    return Index(folder, settings, ordered), bad


def open_index(folder: Path) -> Index:
    """Open a finished index.

    Raises:
        DataError: If it is damaged, of another version, or a fast file is gone.
    """
    path = folder / "index.json"
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        pictures = tuple(_picture(row) for row in stored["pictures"])
        settings = stored["settings"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise DataError([f"{path}: damaged ({error}); prepare the data set again"]) from error
    if settings.get("version") != VERSION:
        raise DataError([f"{path}: of version {settings.get('version')}, needs {VERSION}; prepare it again"])
    gone = [picture.array for picture in pictures if not (folder / picture.array).is_file()]
    if gone:
        raise DataError([f"{folder}: {len(gone)} fast files are gone, first {gone[0]}; prepare it again"])
    return Index(folder, settings, pictures)


def _make_picture(job: tuple[Source, Listed, str, Path, int, str]) -> Picture | Bad:
    source, listed, stamp, folder, short_side, resize_filter = job
    try:
        pixels, digest = source.read(listed)
    except ImageError as error:
        return Bad(listed.file, error.reason)
    reason = check_samples(pixels)
    if reason:
        return Bad(listed.file, reason)
    height, width = pixels.shape[:2]
    scale = max(short_side / height, short_side / width)
    small = resize(np.maximum(pixels, 0), round(height * scale), round(width * scale), method=resize_filter)
    array = f"pictures/{hashlib.sha256(listed.file.encode()).hexdigest()[:16]}.npy"
    _write_array(folder / array, small)
    y = np.maximum(pixels, 0) @ np.array([0.2126, 0.7152, 0.0722], np.float32)
    low, high = np.percentile(y, [1, 99.9])
    return Picture(
        file=listed.file,
        split=listed.split,
        scene=listed.scene,
        stamp=stamp,
        sha256=digest,
        array=array,
        width=small.shape[1],
        height=small.shape[0],
        source_size=(width, height),
        luminance=(float(y.min()), float(np.median(y)), float(y.max())),
        stops=float(np.log2(max(high, 1e-30) / max(low, 1e-30))),
        negatives=int((pixels < 0).sum()),
    )


def check_samples(pixels: NDArray[np.float32]) -> str | None:
    """Say what makes a picture useless for training, or None.

    Args:
        pixels: Linear samples [H, W, 3], finite.
    """
    highest, mean = float(pixels.max()), float(pixels.mean(dtype=np.float64))
    negative = float((pixels < 0).mean())
    if highest <= 0:
        return "all black"
    if float(pixels.min()) == highest:
        return "one constant value"
    if negative > NEGATIVE_SHARE:
        return f"more than {NEGATIVE_SHARE:.0%} of the samples are negative"
    if not MEAN_RANGE[0] < mean < MEAN_RANGE[1]:
        return f"mean outside {MEAN_RANGE[0]:g} to {MEAN_RANGE[1]:g}"
    if min(pixels.shape[:2]) < 32:
        return "smaller than 32 pixels"
    return None


def _bad_lines(root: Path, bad: Iterable[Bad], total: int) -> list[str]:
    kinds: dict[str, list[str]] = {}
    for item in bad:
        kinds.setdefault(item.reason, []).append(item.file)
    lines = []
    for reason, files in kinds.items():
        some = ", ".join(files[:3]) + (f" and {len(files) - 3} more" if len(files) > 3 else "")
        remedy = "data.skip_bad=true leaves them out" if len(files) < total else "give a folder of HDR pictures"
        lines.append(f"{root}: {len(files)} of {total} pictures: {reason} ({some}); {remedy}")
    return lines


@contextmanager
def _pool(workers: int, jobs: Sequence[Any]) -> Iterator[Any]:
    """Yield something with ``map``: worker processes, or this one where there is little to do."""
    if workers < 2 or len(jobs) < 8:
        yield _Here()
        return
    executor: Executor = ProcessPoolExecutor(min(workers, len(jobs)))
    try:
        yield executor
    finally:
        executor.shutdown(cancel_futures=True)


class _Here:
    map = staticmethod(map)


def _done_before(folder: Path, settings: Mapping[str, Any]) -> dict[str, Picture]:
    """Return what an earlier finished or interrupted call made with the same settings."""
    done: dict[str, Picture] = {}
    if (folder / "index.json").is_file():
        index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        if index.get("settings") == settings:
            done = {row["file"]: _picture(row) for row in index["pictures"]}
    journal = folder / "journal.jsonl"
    same = False
    for line in journal.read_text(encoding="utf-8").splitlines() if journal.is_file() else ():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:  # the line that was being written when the process was killed
            continue
        if "file" not in row:
            same = row == settings
        elif same:
            done[row["file"]] = _picture(row)
    return done


def _picture(row: Mapping[str, Any]) -> Picture:
    pairs = {name: tuple(row[name]) for name in ("source_size", "luminance")}
    return Picture(**(dict(row) | pairs))


def _write_array(path: Path, pixels: NDArray[np.float32]) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
    with temporary.open("wb") as stream:
        np.save(stream, pixels, allow_pickle=False)
    temporary.replace(path)


def _write_text(path: Path, text: str) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
