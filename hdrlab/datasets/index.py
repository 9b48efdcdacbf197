"""A checked, indexed, fast form of a set of HDR images.

``build_index`` reads every image once, resizes it, and writes a folder::

    index.json            what was made from what: splits, digests, statistics, settings
    images/<digest>.npy float32 [H, W, 3], scene-linear, memory-mapped by the loader
    journal.jsonl         while unfinished: what is done already, so that an interruption loses nothing

Imports no torch: what is wrong with the data is reported before that.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrlab.datasets.splits import Bad, Listed, some
from hdrlab.errors import DataError, ImageError
from hdrlab.io import read_image
from hdrlab.io.atomic import appending_text, write_text, writing
from hdrlab.ops.colour import luminance
from hdrlab.ops.resize import resize

VERSION = 1
NEGATIVE_SHARE = 0.01  # more negative samples than this are no rounding of a converter
MEAN_RANGE = (1e-8, 1e8)
HEADER_BYTES = 128  # of a .npy file
DAMAGE = (ValueError, LookupError, TypeError, AttributeError, RecursionError)
"""What reading a damaged index meets."""


@dataclass(frozen=True)
class IndexedImage:
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
        stops: Dynamic range, log2 of the 99.9th over the 1st percentile of the luminance above 0.
        negatives: Samples below 0, clipped to 0.
        in_test_list: Whether its authors list it for testing, whatever its split.
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
    in_test_list: bool = field(default=False, kw_only=True)

    def fast_files(self) -> dict[str, int]:
        """Return the fast files by path, with the number of bytes of their samples."""
        return {self.array: 12 * self.width * self.height}


@dataclass(frozen=True)
class Pair(IndexedImage):
    """A photograph, ``file``, with its HDR image; or several of one size, from a record file.

    Attributes:
        jpeg: Path of the photographs' values, uint8 [num, H, W, 3]; ``array`` is the HDR images',
            [num, H, W, 3].
        cells: Path of the counts of badly exposed pixels, uint16 [num, H // 32, W // 32].
        scale: Factor on the HDR image that makes 1 the clipping point of this photograph.
        num: Photographs.
    """

    jpeg: str
    cells: str
    scale: float
    num: int

    def fast_files(self) -> dict[str, int]:
        """Return the fast files by path, with the number of bytes of their samples."""
        pixels = self.num * self.width * self.height
        return {
            self.array: 12 * pixels,
            self.jpeg: 3 * pixels,
            self.cells: 2 * self.num * (self.width // 32) * (self.height // 32),
        }


@dataclass(frozen=True)
class ToneImage(IndexedImage):
    """An HDR image at its own size, ``file``, with its SDR image where it has one.

    Attributes:
        limits: What becomes 0 and 1 when the whole image is encoded, in the units of its file.
        log_limits: The same for the logarithmic encoding.
        sdr: Path of the SDR image's values, uint8 [H, W, 3]; None where there is none.
        sdr_range: Its least and its greatest value.
        operator: What made the SDR image, if that was done here, else nothing.
        tmqi: TMQI of everything that was tried for it, by operator.
    """

    limits: tuple[float, float]
    log_limits: tuple[float, float]
    sdr: str | None
    sdr_range: tuple[int, int]
    operator: str
    tmqi: Mapping[str, float]

    def fast_files(self) -> dict[str, int]:
        """Return the fast files by path, with the number of bytes of their samples."""
        return super().fast_files() | ({self.sdr: 3 * self.width * self.height} if self.sdr else {})


@dataclass(frozen=True)
class ToneRecords(IndexedImage):
    """Patches of a published tone-mapping record file, as many as one split has of it.

    Attributes:
        kind: dual, layers of HDR and SDR patches; or ft, encoded HDR patches and SDR patches.
        arrays: Paths of their values, float32 [num, h, w, 3], by batch key.
        num: Patches.
    """

    kind: str
    arrays: Mapping[str, str]
    num: int

    def fast_files(self) -> dict[str, int]:
        """Return the fast files by path, with the number of bytes of their samples."""
        samples = 12 * self.num * self.width * self.height
        return {
            file: samples // 64 if name.endswith("bottom") else samples for name, file in self.arrays.items()
        }


@dataclass(frozen=True)
class Index:
    """A finished set of images.

    Attributes:
        folder: Where it lies.
        settings: How the fast files were made.
        images: All images in the order of their list.
    """

    folder: Path
    settings: Mapping[str, Any]
    images: tuple[IndexedImage, ...]

    def split(self, name: str) -> list[IndexedImage]:
        """Return the images of train, val or test, or of all three by ``all``."""
        return [image for image in self.images if name in (image.split, "all")]

    def load(self, image: IndexedImage) -> NDArray[np.float32]:
        """Map an image's linear samples [H, W, 3], of a pair [num, H, W, 3], into memory, read-only."""
        return self.open_array(image.array)

    def open_array(self, file: str) -> NDArray[Any]:
        """Map a fast file into memory, read-only: linear float32 [H, W, 3], or a pair's [num, H, W, 3]."""
        path = self.folder / file
        now = path.stat()
        return _mapped(path, (now.st_ino, now.st_mtime_ns, now.st_size))

    @property
    def fingerprint(self) -> str:
        """Digest of everything that training data depend on: images, splits, settings."""
        lines = [f"{p.file} {p.split} {p.scene} {p.sha256}" for p in self.images]
        text = json.dumps([lines, dict(self.settings)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


@lru_cache(maxsize=256)  # each holds a file descriptor, of which a process often has 1024
def _mapped(path: Path, stamp: tuple[int, ...]) -> NDArray[Any]:
    """Map a file as it is now: mapping one anew for each sample takes longer than noise and response."""
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))


class Source:
    """Where images come from: a folder. Small and picklable, since worker processes read through it."""

    NEEDED = "a folder of HDR images"

    def __init__(self, root: Path) -> None:
        self.root = root

    def stamp(self, listed: Listed) -> str:
        """Return a word that changes when the image does."""
        status = (self.root / listed.file).stat()
        return f"{status.st_size} {status.st_mtime_ns}"

    def read(self, listed: Listed) -> tuple[NDArray[np.float32], str]:
        """Return the linear samples [H, W, 3] and a SHA-256 of the source.

        Raises:
            ImageError: It cannot be read, or holds values that no light has.
            ImageError: It cannot be read, or holds values that no light has.
        """
        path = self.root / listed.file
        loaded = read_image(path)
        if loaded.domain != "linear":
            raise ImageError(path, "display-encoded integers; an HDR image holds linear values")
        pixels = np.asarray(loaded.pixels, np.float32)
        if loaded.metadata.get("converted"):
            pixels = pixels.clip(min=0)  # here they are colours outside Rec. 709 and no damage
        return pixels, hashlib.sha256(path.read_bytes()).hexdigest()

    def make(
        self, listed: Listed, stamp: str, folder: Path, settings: Mapping[str, Any]
    ) -> IndexedImage | Bad:
        """Check an image and write its fast files, or say what is wrong with it.

        Args:
            listed: The image.
            stamp: As `stamp` gives it.
            folder: The index's.
            settings: How fast files are made.
        """
        return _make_image(self, listed, stamp, folder, settings["short_side"], settings["resize_filter"])


Progress = Callable[[int, int, str], None]


def build_index(
    listed: Sequence[Listed],
    source: Source,
    folder: Path,
    *,
    found: Sequence[Bad] = (),
    skip_bad: bool = False,
    workers: int = 2,
    progress: Progress | None = None,
    **settings: Any,
) -> tuple[Index, list[Bad]]:
    """Check all images and write index and fast files, going on where an earlier call was interrupted.

    Args:
        listed: Images and their splits.
        source: Makes them.
        folder: Where the index goes; made if missing.
        found: What is known to be bad already, to be reported with the rest.
        skip_bad: Leave bad images out instead of failing.
        workers: Processes.
        progress: Called with (done, all, file) after each image.
        **settings: How the source makes them, plain values: of `Source` ``short_side``, to which images are
            resized, up or down, and ``resize_filter``, ``area`` or ``bilinear``.

    Returns:
        The index, and the images left out.

    Raises:
        DataError: With one problem a kind of failure; nothing already done is lost.
    """
    settings = {"version": VERSION, **settings}
    try:
        (folder / "images").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError([f"{folder}: cannot be made ({error.strerror or error}); choose another"]) from error
    former = _former(folder)
    done = _done_before(folder, settings, former)
    results: dict[str, IndexedImage | Bad] = {}
    missing: list[tuple[Listed, str]] = []
    for item in listed:
        stamp = source.stamp(item)
        before = done.get(item.file)
        if before and before.stamp == stamp and _is_whole(folder, before):
            results[item.file] = replace(before, split=item.split, scene=item.scene)
        else:
            missing.append((item, stamp))
    with appending_text(folder / "journal.jsonl") as journal, _pool(workers, missing) as pool:
        journal.write("\n" + json.dumps(settings) + "\n")  # the last line may be half a one
        jobs = [(source, item, stamp, folder, settings) for item, stamp in missing]
        made_in_turn = zip(missing, pool.map(_make, jobs), strict=True)
        for number, ((item, _), made) in enumerate(made_in_turn, len(results) + 1):
            results[item.file] = made
            if isinstance(made, IndexedImage):  # a bad one is read again next time: it may have been mended
                journal.write(json.dumps(asdict(made)) + "\n")
                journal.flush()
            if progress:
                progress(number, len(listed), item.file)
    bad = [*found, *(made for made in results.values() if isinstance(made, Bad))]
    ordered = tuple(
        replace(made, in_test_list=item.in_test_list)
        for item in listed
        if isinstance(made := results[item.file], IndexedImage)
    )
    if bad and (not skip_bad or not ordered):
        raise DataError(_bad_lines(source, bad, len(listed) + len(found)), bad)
    index = Index(folder, settings, ordered)
    _finish(index, former)
    return index, bad


def _finish(index: Index, former: Index | None) -> None:
    """Write an index in place of a former one, then remove the journal and the fast files nobody lists."""
    images = [asdict(image) for image in index.images]
    write_text(index.folder / "index.json", json.dumps({"settings": index.settings, "images": images}))
    (index.folder / "journal.jsonl").unlink(missing_ok=True)
    superseded = {file for image in former.images for file in image.fast_files()} if former else set()
    for file in superseded - {file for image in index.images for file in image.fast_files()}:
        (index.folder / file).unlink(missing_ok=True)


def open_index(folder: Path) -> Index:
    """Open a finished index.

    Raises:
        DataError: If it is missing, damaged, of another version, or a fast file is gone or cut short.
    """
    index = _read_index(folder)
    gone = [image.array for image in index.images if not _is_whole(folder, image)]
    if gone:
        raise DataError(
            [f"{folder}: {len(gone)} fast files are gone or cut short ({some(gone)}); prepare it again"]
        )
    return index


def _read_index(folder: Path) -> Index:
    path = folder / "index.json"
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        settings = dict(stored["settings"])
        if settings["version"] != VERSION:
            message = f"of version {settings['version']}, this hdrlab needs {VERSION}"
            raise DataError([f"{path}: {message}; prepare the data set again"])
        return Index(folder, settings, tuple(_image(row) for row in stored["images"]))
    except FileNotFoundError as error:
        raise DataError([f"{path}: no such file; prepare the data set first"]) from error
    except DAMAGE as error:
        raise DataError([f"{path}: damaged or no index ({error!r}); prepare the data set again"]) from error


def _is_whole(folder: Path, image: IndexedImage) -> bool:
    sizes = {folder / file: HEADER_BYTES + size for file, size in image.fast_files().items()}
    return all(os.path.isfile(path) and path.stat().st_size == size for path, size in sizes.items())


def _make(job: tuple[Source, Listed, str, Path, Mapping[str, Any]]) -> IndexedImage | Bad:
    source, listed, stamp, folder, settings = job
    return source.make(listed, stamp, folder, settings)


def _make_image(
    source: Source, listed: Listed, stamp: str, folder: Path, short_side: int, resize_filter: str
) -> IndexedImage | Bad:
    try:
        pixels, digest = source.read(listed)
    except ImageError as error:
        return Bad(listed.file, error.reason.partition("; sanitize")[0])
    reason = check_samples(pixels)
    if reason:
        return Bad(listed.file, reason)
    height, width = pixels.shape[:2]
    scale = max(short_side / height, short_side / width)
    positive = np.maximum(pixels, 0)
    small = resize(positive, round(height * scale), round(width * scale), method=resize_filter)
    # Made from another source or in another way it has another name: an older index stays true meanwhile.
    made_from = f"{listed.file} {stamp} {short_side} {resize_filter}"
    array = f"images/{hashlib.sha256(made_from.encode()).hexdigest()[:16]}.npy"
    write_array(folder / array, small)
    line = describe(listed, stamp, pixels, digest, array, (small.shape[1], small.shape[0]))
    return IndexedImage(**{**line, "source_size": (width, height)})


def describe(
    listed: Listed,
    stamp: str,
    pixels: NDArray[np.float32],
    sha256: str,
    array: str,
    size: tuple[int, int],
) -> dict[str, Any]:
    """Return the fields of `IndexedImage` by their names.

    Args:
        listed: The image.
        stamp: What tells that it changed.
        pixels: Linear samples [..., 3], not all black, to be measured.
        sha256: Digest of what it was made from.
        array: Path of its fast file.
        size: Width and height in pixels, of the fast file and of the source.
    """
    y = luminance(np.maximum(pixels, 0))
    low, high = np.percentile(y[y > 0], [1, 99.9])
    return {
        "file": listed.file,
        "split": listed.split,
        "scene": listed.scene,
        "stamp": stamp,
        "sha256": sha256,
        "array": array,
        "width": size[0],
        "height": size[1],
        "source_size": size,
        "luminance": (float(y.min()), float(np.median(y)), float(y.max())),
        "stops": float(np.log2(high / low)),
        "negatives": int((pixels < 0).sum()),
    }


def check_samples(pixels: NDArray[np.float32]) -> str | None:
    """Say what makes an image useless for training, or None.

    Args:
        pixels: Linear samples [H, W, 3], finite.
    """
    highest, mean = float(pixels.max()), float(pixels.mean(dtype=np.float64))
    negative = float((pixels < 0).mean())
    if highest <= 0:
        return "all black"
    if (pixels == pixels[0, 0]).all():
        return "one constant value"
    if negative > NEGATIVE_SHARE:
        return f"more than {NEGATIVE_SHARE:.0%} of the samples are negative"
    if not MEAN_RANGE[0] < mean < MEAN_RANGE[1]:
        return f"mean outside {MEAN_RANGE[0]:g} to {MEAN_RANGE[1]:g}"
    if min(pixels.shape[:2]) < 32:
        return "smaller than 32 pixels"
    return None


def _bad_lines(source: Source, bad: Sequence[Bad], total: int) -> list[str]:
    """Say one line a kind of failure; within one, places and counts may differ from image to image."""
    kinds: dict[str, list[Bad]] = {}
    for item in bad:
        kinds.setdefault(re.sub(r"\d+", "…", item.reason), []).append(item)
    remedy = "data.skip_bad=true leaves them out" if len(bad) < total else f"give {source.NEEDED}"
    lines = []
    for kind, items in kinds.items():
        reason = kind if len({item.reason for item in items}) > 1 else items[0].reason
        files = some([item.file for item in items])
        lines.append(f"{source.root}: {len(items)} of {total} images: {reason} ({files}); {remedy}")
    return lines


@contextmanager
def _pool(workers: int, jobs: Sequence[Any]) -> Iterator[Any]:
    """Yield something with ``map``: worker processes, or this one where there is little to do."""
    if workers < 2 or len(jobs) < 8:
        yield _Here()
        return
    # A fork would copy the locks of reading threads, held for ever.
    fresh = multiprocessing.get_context("spawn")
    executor: Executor = ProcessPoolExecutor(min(workers, len(jobs)), mp_context=fresh)
    try:
        with _without_main():
            for started in [executor.submit(os.getpid) for _ in range(workers)]:
                started.result()
        yield executor
    finally:
        executor.shutdown(cancel_futures=True)


@contextmanager
def _without_main() -> Iterator[None]:
    """Let new processes leave alone the caller's script, which they would run again before their work."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


class _Here:
    map = staticmethod(map)


def _former(folder: Path) -> Index | None:
    """Return the index that is to be replaced; an unreadable one counts as none."""
    try:
        return _read_index(folder)
    except DataError:
        return None


def _done_before(folder: Path, settings: Mapping[str, Any], former: Index | None) -> dict[str, IndexedImage]:
    """Return what an earlier finished or interrupted call made with the same settings."""
    done: dict[str, IndexedImage] = {}
    if former and former.settings == settings:
        done = {image.file: image for image in former.images}
    journal = folder / "journal.jsonl"
    same = False
    text = journal.read_text(encoding="utf-8", errors="replace") if journal.is_file() else ""
    for line in text.splitlines():
        try:
            row = dict(json.loads(line))
            if "file" not in row:
                same = row == settings
            elif same:
                done[row["file"]] = _image(row)
        except DAMAGE:  # the line that was being written when the process was killed
            continue
    return done


def _image(row: Mapping[str, Any]) -> IndexedImage:
    kinds: dict[str, type[IndexedImage]] = {"jpeg": Pair, "sdr": ToneImage, "arrays": ToneRecords}
    kind = next((kind for name, kind in kinds.items() if name in row), IndexedImage)
    # JSON knows no tuples.
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in {**row}.items()}
    image = kind(**values)
    for file, size in image.fast_files().items():
        # What an index lists is deleted when it is superseded: never let one point elsewhere.
        if not re.fullmatch(r"images/[\w.-]+\.npy", file) or not isinstance(size, int):
            raise ValueError(f"{file!r} is no fast file")
    return image


def write_array(path: Path, pixels: NDArray[Any]) -> None:
    """Write linear pixels [H, W, 3], float32, as a fast file."""
    with writing(path) as stream:
        np.save(stream, pixels, allow_pickle=False)


@contextmanager
def appending(path: Path, shape: Sequence[int]) -> Iterator[Callable[[NDArray[np.float32]], object]]:
    """Yield a function that appends to a fast file of known shape, float32; whole or not at all."""
    with writing(path) as stream:
        header = {"descr": "<f4", "fortran_order": False, "shape": tuple(shape)}
        np.lib.format.write_array_header_1_0(stream, header)
        yield lambda values: stream.write(values.astype("<f4", copy=False).tobytes())
