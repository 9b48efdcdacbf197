"""From a data section of the configuration to its index, prepared on first use. Imports no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrlab.camera.curves import ResponseCurves, load_response_curves
from hdrlab.config.schema import DataConfig, HdrRealConfig, HdrSynthConfig, SynthConfig, TmoPairsConfig
from hdrlab.config.stages import SYNTH_KEYS, reads_tones
from hdrlab.datasets import scenes
from hdrlab.datasets.index import (
    Index,
    Pair,
    Picture,
    Progress,
    Source,
    TonePicture,
    ToneRecords,
    build_index,
    make_index,
    open_index,
)
from hdrlab.datasets.pairs import PairSource, list_pairs
from hdrlab.datasets.splits import Bad, DataError, Listed, list_pictures
from hdrlab.datasets.tone_pairs import ToneSource, labels_version, list_tones, make_tone, write_labels


class Rendered(Source):
    """The scenes the project renders itself, read as if they were files."""

    def __init__(self) -> None:
        super().__init__(Path(scenes.__file__).parent)
        code = b"".join(path.read_bytes() for path in sorted(self.root.glob("*.py")))
        self.version = hashlib.sha256(code).hexdigest()[:16]

    def listed(self) -> list[Listed]:
        """List all scenes of all splits; each is a scene of its own."""
        return [
            Listed(f"{split}/{index}/{name}", split, f"{split}/{name}")
            for split, size in scenes.SPLIT_SIZES.items()
            for index in range(size)
            for name in [scenes.scene_name(split, index)]
        ]

    def stamp(self, listed: Listed) -> str:
        """Return the version of the renderer's code."""
        return self.version

    def read(self, listed: Listed) -> tuple[NDArray[np.float32], str]:
        """Render a scene [H, W, 3]."""
        split, index, _ = listed.file.split("/")
        pixels = scenes.render_scene(split, int(index))
        return pixels, hashlib.sha256(pixels.tobytes()).hexdigest()


class RenderedTones(Rendered):
    """The rendered scenes, each with an SDR picture made from it."""

    def stamp(self, listed: Listed) -> str:
        """Return the versions of the renderer's code and of that which makes SDR pictures."""
        return f"{self.version} {labels_version()}"

    def make(self, listed: Listed, stamp: str, folder: Path, settings: Mapping[str, Any]) -> Picture | Bad:
        """Render a scene, make its SDR picture and write the fast files."""
        return make_tone(listed, stamp, folder, self.read(listed)[0])


def open_data(
    data: DataConfig,
    cache: Path,
    keys: Collection[str] = SYNTH_KEYS,
    progress: Progress | None = None,
    *,
    splits: Collection[str] = ("train", "val"),
) -> Index:
    """Open the index of a data set, making it on first use.

    An unprepared folder is never written to: its index and fast files go below ``cache``.

    Args:
        data: The data section.
        cache: Folder for what is made on first use.
        keys: The batch keys that are to be read: the rendered scenes get SDR pictures for some of them only.
        progress: Called with (done, all, file) while pictures are read.
        splits: Those that must hold pictures.

    Raises:
        DataError: With every problem found.
    """
    if not isinstance(data, (HdrSynthConfig, HdrRealConfig, TmoPairsConfig)):
        assert isinstance(data, SynthConfig)
        if reads_tones(keys):
            return _open_rendered_tones(cache, progress)
        source = Rendered()
        folder = cache / f"tiny-{_digest_of(source.version, data)}"
        return build_index(source.listed(), source, folder, **_settings_of(data), progress=progress)[0]
    assert data.root is not None
    root = Path(data.root)
    if (root / "index.json").is_file():
        index = open_index(root)
        _check_prepared(index, data)
    else:
        index, _ = make_data(data, root, cache / _cache_name(root, data), progress)
    empty = [split for split in splits if not index.split(split)]
    if empty:
        raise DataError([f"data.root={root}: no usable picture in the split {' or '.join(empty)}"])
    return index


def _open_rendered_tones(cache: Path, progress: Progress | None) -> Index:
    source = RenderedTones()
    folder = cache / f"tiny-tones-{source.version[:6]}{labels_version()[:6]}"
    index, _ = make_index(source.listed(), source, folder, {}, progress=progress)
    write_labels(index)
    return index


def make_data(
    data: HdrSynthConfig | HdrRealConfig | TmoPairsConfig,
    root: Path,
    folder: Path,
    progress: Progress | None = None,
) -> tuple[Index, list[Bad]]:
    """Check everything in a folder of pictures or pairs, and write index and fast files.

    Args:
        data: The data section.
        root: The pictures.
        folder: Where the index goes.
        progress: Called with (done, all, file) while pictures are read.

    Returns:
        The index, and what was left out.

    Raises:
        DataError: With every problem found.
    """
    settings = _settings_of(data)
    if isinstance(data, HdrSynthConfig):
        listed = listed_of(data, root)
        return build_index(
            listed, Source(root), folder, **settings, skip_bad=data.skip_bad, progress=progress
        )
    manifest = Path(data.manifest) if data.manifest else None
    if isinstance(data, TmoPairsConfig):
        unlabelled = Path(data.unlabelled) if data.unlabelled else None
        tones, bad = list_tones(root, manifest=manifest, make_sdr=data.make_sdr, unlabelled=unlabelled)
        made = make_index(
            tones, ToneSource(root), folder, settings, found=bad, skip_bad=data.skip_bad, progress=progress
        )
        write_labels(made[0])
        return made
    pairs, bad = list_pairs(root, manifest=manifest, pairing=data.pairing, exposures=data.exposures)
    source = PairSource(root)
    return make_index(pairs, source, folder, settings, found=bad, skip_bad=data.skip_bad, progress=progress)


def open_curves(data: DataConfig) -> ResponseCurves | None:
    """Load the response curves of a data set that photographs are synthesised from; others have none.

    Raises:
        CurveFileError: The file cannot be used.
    """
    return load_response_curves(data.curves) if isinstance(data, SynthConfig) else None


def listed_of(data: HdrSynthConfig, root: Path) -> list[Listed]:
    """List the pictures of a folder as the data section says: by manifest, by lists, or by name.

    Raises:
        DataError: With every problem found.
    """
    lists = (Path(data.lists.train), Path(data.lists.test)) if data.lists else None
    return list_pictures(root, Path(data.manifest) if data.manifest else None, lists)


def _settings_of(data: DataConfig) -> dict[str, Any]:
    """Return what fast files depend on besides the pictures."""
    if isinstance(data, HdrRealConfig):
        return {"exposures": data.exposures}
    if isinstance(data, TmoPairsConfig):
        return {}
    assert isinstance(data, SynthConfig)
    return {"short_side": data.short_side, "resize_filter": data.resize_filter}


def _cache_name(root: Path, data: DataConfig) -> str:
    return f"{root.resolve().name}-{_digest_of(str(root.resolve()), data)}"


def _digest_of(place: str, data: DataConfig) -> str:
    """Tell caches apart that are made differently: runs at the same time must not undo each other's."""
    settings = " ".join(str(value) for value in _settings_of(data).values())
    if isinstance(data, TmoPairsConfig):
        settings = f"tones {data.make_sdr} {data.unlabelled and Path(data.unlabelled).resolve()}"
    return hashlib.sha256(f"{place} {settings}".encode()).hexdigest()[:12]


def _check_prepared(index: Index, data: HdrSynthConfig | HdrRealConfig | TmoPairsConfig) -> None:
    kinds = {Pair: "hdr_real", TonePicture: "tmo_pairs", ToneRecords: "tmo_pairs"}
    made_for = next(
        (kinds[type(picture)] for picture in index.pictures if type(picture) in kinds), "hdr_synth"
    )
    if data.name != made_for:
        raise DataError([f"data.root={index.folder}: was prepared for data={made_for}, not data={data.name}"])
    wrong = [
        f"data.{name}={value}: {index.folder} was prepared with {index.settings.get(name)}; "
        f"set data.{name}={index.settings.get(name)} or prepare it again"
        for name, value in _settings_of(data).items()
        if index.settings.get(name) != value
    ]
    if data.manifest or getattr(data, "lists", None):
        wrong.append(f"data.manifest, data.lists: {index.folder} is prepared and has its splits already")
    if getattr(data, "unlabelled", None):
        said = "is prepared; prepare it again with these pictures, or name its source as data.root"
        wrong.append(f"data.unlabelled: {index.folder} {said}")
    if wrong:
        raise DataError(wrong)
