"""Sources of images, each checked and turned into fast files: pairs, SDR images, rendered scenes.

Imports no torch but where SDR images are made.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrlab.config.registry import guarded
from hdrlab.config.registry.stages import DATA
from hdrlab.config.schema.data import PLUGIN_BASES, DataConfig, RealPairsConfig, SynthConfig
from hdrlab.config.schema.section import own_keys
from hdrlab.datasets import tiny
from hdrlab.datasets.index import (
    Index,
    IndexedImage,
    Pair,
    Source,
    ToneImage,
    ToneRecords,
    appending,
    check_samples,
    describe,
    write_array,
)
from hdrlab.datasets.pairing import (
    BRIGHTEST,
    DARKEST,
    Bytes,
    Floats,
    ListedPair,
    ListedRecords,
    ListedTone,
    check_pair,
    over_cells,
    read_pair,
)
from hdrlab.datasets.splits import Bad, Listed
from hdrlab.errors import DataError, ImageError, ImageSizeError, OperatorError
from hdrlab.io.csv_files import write_rows
from hdrlab.io.tensorflow.records import ToneRecord, read_pairs, read_tone_records

CELL = 32
"""Badly exposed pixels are counted in cells of this side, of which patches and the patch grid are made."""
SDR = "tone-mapped image"
LABELS = "labels.csv"
RECORD_KEYS: Mapping[str, Mapping[str, str]] = {
    "dual": {"high": "train1", "bottom": "train2", "sdr_high": "label1", "sdr_bottom": "label2"},
    "ft": {"encoded": "train", "sdr": "label"},
}
"""Batch keys that record files hold, with the records' own names; ft records' layers follow from them."""


class PairSource(Source):
    """Pairs in a folder, checked and turned into fast files."""

    NEEDED = "photographs with their HDR images (data/hdr_real.md)"

    def stamp(self, listed: Listed) -> str:
        """Return text that changes when the photograph, its HDR image or their exposure ratio does."""
        assert isinstance(listed, ListedPair)
        states = f"{self._state(listed.file)} {self._state(listed.hdr)}"
        return f"{states} {listed.scale:.9g} {listed.hdr}"

    def _state(self, file: str) -> str:
        status = (self.root / file).stat()
        return f"{status.st_size} {status.st_mtime_ns}"

    def make(
        self, listed: Listed, stamp: str, folder: Path, settings: Mapping[str, Any]
    ) -> IndexedImage | Bad:
        """Check a pair, or all pairs of a record file, and write the fast files."""
        assert isinstance(listed, ListedPair)
        try:
            ldr, hdr = self._read_pairs(listed)
        except ImageError as error:
            return Bad(self._name_of(listed, error), error.reason.partition("; sanitize")[0])
        digest = hashlib.sha256(f"{listed.scale:.9g}".encode())
        for file in dict.fromkeys((listed.file, listed.hdr)):
            digest.update((self.root / file).read_bytes())
        array = word_of(f"{listed.hdr} {self._state(listed.hdr)}")
        return make_pair(listed, stamp, folder, ldr, hdr, digest.hexdigest(), array, listed.scale)

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


def make_pair(
    listed: Listed,
    stamp: str,
    folder: Path,
    ldr: Bytes,
    hdr: Floats,
    digest: str,
    array: str,
    scale: float = 1.0,
) -> Pair | Bad:
    """Check photographs with their HDR images and write the fast files.

    Args:
        listed: The pair, or the record file.
        stamp: What tells that it changed.
        folder: The index's.
        ldr: JPEG values [N, H, W, 3].
        hdr: Linear values, same shape.
        digest: SHA-256 of what both were made from.
        array: Word in the name of the HDR image's fast file, which several photographs may share.
        scale: Factor on the HDR image that makes 1 the photograph's clipping point.
    """
    reason = next(filter(None, (check_pair(*pair) for pair in zip(ldr, hdr, strict=True))), None)
    if reason:
        return Bad(listed.file, reason)
    jpeg = f"images/{word_of(f'{listed.file} {stamp}')}"
    write_array(folder / f"images/{array}.npy", np.maximum(hdr, 0))
    write_array(folder / f"{jpeg}-jpeg.npy", ldr)
    write_array(folder / f"{jpeg}-cells.npy", count_extremes(ldr))
    height, width = ldr.shape[1:3]
    light = hdr * np.float32(scale)
    return Pair(
        **describe(listed, stamp, light, digest, f"images/{array}.npy", (width, height)),
        jpeg=f"{jpeg}-jpeg.npy",
        cells=f"{jpeg}-cells.npy",
        scale=scale,
        num=len(ldr),
    )


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
    cells = [over_cells(image, CELL).sum(axis=(1, 3), dtype=np.uint16) for image in extreme]
    return np.stack(cells)


def word_of(made_from: str) -> str:
    """Return a name for what is made from something, so that other things are never taken for it."""
    return hashlib.sha256(made_from.encode()).hexdigest()[:16]


# ------------------------------------------------------------------------- SDR images


class ToneSource(Source):
    """HDR images with their SDR images, checked and turned into fast files."""

    NEEDED = "HDR images with their SDR images (data/tmo_pairs.md)"

    def stamp(self, listed: Listed) -> str:
        """Return text that changes when the HDR image does, or what its SDR image is made of."""
        if isinstance(listed, ListedRecords):
            return f"{_state(listed.path)} {listed.start} {listed.stop}"
        assert isinstance(listed, ListedTone)
        made_from = labels_version() if listed.labelled else "unlabelled"
        return f"{_state(listed.hdr)} {_state(listed.sdr) if listed.sdr else made_from}"

    def make(
        self, listed: Listed, stamp: str, folder: Path, settings: Mapping[str, Any]
    ) -> IndexedImage | Bad:
        """Check an image or a part of a record file, and write the fast files."""
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
) -> ToneImage | Bad:
    """Check an HDR image, make its SDR image where it is to have one, and write the fast files.

    Args:
        listed: The image.
        stamp: What tells that it changed.
        folder: The index's.
        hdr: Linear values [H, W, 3].
        sdr: SDR image [H, W, 3], where there is one.
        labelled: Whether to make one where there is none.
    """
    reason = check_samples(hdr) if sdr is None else check_pair(sdr, hdr, SDR)
    if reason:
        return Bad(listed.file, reason)
    positive, tried, operator = np.maximum(hdr, 0), dict[str, float](), ""
    if sdr is None and labelled:
        try:
            sdr, tried = make_sdr(positive)
        except (OperatorError, ImageSizeError) as error:
            return Bad(listed.file, f"no SDR image can be made: {error}")
        operator = max(tried, key=tried.__getitem__)
    word = f"images/{word_of(f'{listed.file} {stamp}')}"
    write_array(folder / f"{word}.npy", positive)
    if sdr is not None:
        write_array(folder / f"{word}-sdr.npy", sdr)
    height, width = hdr.shape[:2]
    digest = _digest_of([positive] if sdr is None else [positive, sdr])
    return ToneImage(
        **describe(listed, stamp, hdr, digest, f"{word}.npy", (width, height)),
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

    from hdrlab.ops.encoding import tone_limits

    image = torch.from_numpy(np.ascontiguousarray(hdr.transpose(2, 0, 1)))[None]
    low, high = tone_limits(image)
    log_low, log_high = tone_limits(image, "log")
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
    word = f"images/{word_of(f'{listed.file} {stamp}')}"
    arrays = {key: f"{word}-{key}.npy" for key in keys}
    num, digest, thumbs = listed.stop - listed.start, hashlib.sha256(), []
    with ExitStack() as files:
        shapes = {key: (num, *first.maps[name].shape) for key, name in keys.items()}
        append = {key: files.enter_context(appending(folder / arrays[key], shapes[key])) for key in keys}
        for number, record in enumerate(_chained(first, records), listed.start):
            sizes = {values.shape[:2] for name, values in record.maps.items() if not name.endswith("2")}
            if sizes != {(side, side)} or side % 8:
                message = f"record {number}: its patches must be square, of one size and of multiples of 8"
                raise ImageError(listed.path, message)
            for key, name in keys.items():
                append[key](record.maps[name])
                digest.update(record.maps[name].data)
            thumbs.append(record.maps["train2"])
    light = np.maximum(np.stack(thumbs), 0) ** np.float32(2.2)
    if not light.any():
        return Bad(listed.file, "all black")
    array = next(iter(arrays.values()))
    return ToneRecords(
        # The thumbs are all there is of the images' light: relative, clipped and small.
        **describe(listed, stamp, light, digest.hexdigest(), array, (side, side)),
        kind=first.kind,
        arrays=arrays,
        num=num,
    )


def _chained(first: ToneRecord, rest: Iterator[ToneRecord]) -> Iterator[ToneRecord]:
    yield first
    yield from rest


# ------------------------------------------------------------------------------------- SDR images


def make_sdr(hdr: Floats) -> tuple[Bytes, dict[str, float]]:
    """Tone-map an image with every built-in operator and keep the result of the highest TMQI.

    Operators of other packages and plug-ins do not take part: the result must not depend on what is there.

    Args:
        hdr: Linear values [H, W, 3], at least 0.

    Returns:
        The SDR image [H, W, 3], and TMQI by operator, of the images rounded to 8 bits.

    Raises:
        OperatorError: An operator cannot show the image.
        ImageSizeError: It is too small for TMQI.
    """
    import torch

    from hdrlab.metrics.tmqi import tmqi
    from hdrlab.tonemapping import OPERATORS, tone_map_classically

    image = torch.from_numpy(hdr).movedim(-1, 0)[None]
    best, tried = np.zeros(0, np.uint8), dict[str, float]()
    for name, operator in OPERATORS.own.items():
        if operator.package is not None:
            continue
        shown = np.rint(255 * tone_map_classically(name, hdr)).astype(np.uint8)
        # Rounded, so that the last bits of a machine choose nothing: of equals the first remains.
        score = round(float(tmqi(image, torch.from_numpy(shown).movedim(-1, 0)[None] / 255).q), 6)
        if score > max(tried.values(), default=-1):
            best = shown
        tried[name] = score
    return best, tried


@lru_cache(maxsize=1)
def labels_version() -> str:
    """Return a word that changes when the code that makes SDR images does."""
    package = Path(__file__).parents[1]
    files = [*sorted((package / "tonemapping").glob("*.py")), package / "metrics" / "tmqi.py"]
    files += [package / "ops" / "colour.py", package / "ops" / "bilateral_grid.py"]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


def write_labels(index: Index) -> Path | None:
    """Write ``labels.csv`` into an index: for each SDR image made, its operator and every one's TMQI.

    Returns:
        The file, or None where none was made.
    """
    path = index.folder / LABELS
    made = [p for p in index.images if isinstance(p, ToneImage) and p.operator]
    if not made:
        path.unlink(missing_ok=True)
        return None
    rows = [
        {"file": p.file, "split": p.split, "operator": p.operator, "tmqi": p.tmqi[p.operator], **p.tmqi}
        for p in made
    ]
    write_rows(rows, path)
    return path


# -------------------------------------------------------------------- rendered scenes


class Rendered(Source):
    """The scenes the project renders itself, read as if they were files."""

    def __init__(self) -> None:
        super().__init__(Path(tiny.__file__).parent)
        code = b"".join(path.read_bytes() for path in sorted(self.root.glob("*.py")))
        self.version = hashlib.sha256(code).hexdigest()[:16]

    def listed(self) -> list[Listed]:
        """List all scenes of all splits; each is a scene of its own."""
        return [
            Listed(f"{split}/{index}/{name}", split, f"{split}/{name}")
            for split, size in tiny.SPLIT_SIZES.items()
            for index in range(size)
            for name in [tiny.scene_name(split, index)]
        ]

    def stamp(self, listed: Listed) -> str:
        """Return the version of the renderer's code."""
        return self.version

    def read(self, listed: Listed) -> tuple[NDArray[np.float32], str]:
        """Render a scene [H, W, 3]."""
        split, index, _ = listed.file.split("/")
        pixels = tiny.render_scene(split, int(index))
        return pixels, hashlib.sha256(pixels.tobytes()).hexdigest()


class PluginImages(Source):
    """The images or pairs of a plug-in's data set, read as if they were files."""

    def __init__(self, data: DataConfig) -> None:
        super().__init__(Path())
        self.data = data
        # Of the camera, the windows and the loader: the images do not depend on them.
        common = own_keys(next(base for base in PLUGIN_BASES if isinstance(data, base)))
        own = {name: getattr(data, name) for name in own_keys(type(data)) if name not in common}
        text = f"{data.name} {sorted(own.items())} {DATA.version(data.name)}"
        self.version = hashlib.sha256(text.encode()).hexdigest()[:16]

    def listed(self) -> list[Listed]:
        """List the images of all splits; each is a scene of its own.

        Raises:
            DataError: There is none, or one of another split.
        """
        named = dict(guarded("data set", self.data.name, self.data.images)())
        if not named or (wrong := set(named.values()) - {"train", "val", "test"}):
            what = (
                f"splits {', '.join(map(str, wrong))}; there are train, val and test" if named else "no image"
            )
            raise DataError(f"data={self.data.name}: its images() names {what}")
        return [Listed(name, split, name) for name, split in named.items()]

    def stamp(self, listed: Listed) -> str:
        """Return a digest of the plug-in and its keys."""
        return self.version

    def read(self, listed: Listed) -> tuple[NDArray[np.float32], str]:
        """Read an image [H, W, 3]."""
        pixels = self._linear(listed, self._given(listed))
        return pixels, hashlib.sha256(pixels.tobytes()).hexdigest()

    def make(
        self, listed: Listed, stamp: str, folder: Path, settings: Mapping[str, Any]
    ) -> IndexedImage | Bad:
        """Read an image or a pair, check it and write its fast files."""
        if isinstance(self.data, SynthConfig):
            return super().make(listed, stamp, folder, settings)
        real = isinstance(self.data, RealPairsConfig)
        try:
            first, second = self._two(listed, "photograph, HDR image" if real else "HDR image, SDR image")
            hdr = self._linear(listed, second if real else first)
            eight = first if real else second
            if eight is None and not real:
                return make_tone(listed, stamp, folder, hdr, labelled=False)
            eight = self._eight_bits(listed, eight, hdr, "photograph" if real else SDR)
        except ImageError as error:
            return Bad(listed.file, error.reason)
        if not real:
            return make_tone(listed, stamp, folder, hdr, eight)
        digest = _digest_of([eight, hdr])
        return make_pair(
            listed, stamp, folder, eight[None], hdr[None], digest, word_of(f"{listed.file} {stamp} hdr")
        )

    def _given(self, listed: Listed) -> Any:
        return guarded("data set", self.data.name, self.data.read)(listed.file)

    def _two(self, listed: Listed, what: str) -> tuple[Any, Any]:
        given = self._given(listed)
        if not isinstance(given, (tuple, list)) or len(given) != 2:
            raise ImageError(listed.file, f"read() gives {type(given).__name__}; a pair is ({what})")
        return given[0], given[1]

    def _linear(self, listed: Listed, given: Any) -> Floats:
        pixels = np.ascontiguousarray(given, np.float32)
        if pixels.ndim != 3 or pixels.shape[2] != 3:
            raise ImageError(listed.file, f"read() gives {list(pixels.shape)}; an image is [H, W, 3]")
        return pixels

    def _eight_bits(self, listed: Listed, given: Any, hdr: Floats, kind: str) -> Bytes:
        values = np.ascontiguousarray(given)
        if values.dtype != np.uint8 or values.shape != hdr.shape:
            got = f"{values.dtype} {list(values.shape)}"
            message = f"read() gives a {kind} of {got}; it is uint8 {list(hdr.shape)} as its HDR image"
            raise ImageError(listed.file, message)
        return values


class RenderedTones(Rendered):
    """The rendered scenes, each with an SDR image made from it."""

    def stamp(self, listed: Listed) -> str:
        """Return the versions of the renderer's code and of that which makes SDR images."""
        return f"{self.version} {labels_version()}"

    def make(
        self, listed: Listed, stamp: str, folder: Path, settings: Mapping[str, Any]
    ) -> IndexedImage | Bad:
        """Render a scene, make its SDR image and write the fast files."""
        return make_tone(listed, stamp, folder, self.read(listed)[0])
