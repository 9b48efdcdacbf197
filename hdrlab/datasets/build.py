"""From a data section of the configuration to its index, prepared on first use, and from that to samples.

Imports torch for samples only: what is wrong with the data is reported before that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hdrlab.camera.curves import ResponseCurves, load_response_curves
from hdrlab.config.registry.stages import DATA, SYNTH_KEYS, reads_tones
from hdrlab.config.schema.data import (
    DataConfig,
    HdrRealConfig,
    HdrSynthConfig,
    PreparableConfig,
    RealPairsConfig,
    SynthConfig,
    TinyConfig,
    TmoPairsConfig,
    TonePairsConfig,
)
from hdrlab.config.schema.iqatm import ToneConfig
from hdrlab.datasets.index import (
    Index,
    IndexedImage,
    Pair,
    Progress,
    Source,
    ToneImage,
    ToneRecords,
    build_index,
    open_index,
)
from hdrlab.datasets.pairing import list_pairs, list_tones
from hdrlab.datasets.sources import (
    PairSource,
    PluginImages,
    Rendered,
    RenderedTones,
    ToneSource,
    labels_version,
    write_labels,
)
from hdrlab.datasets.splits import Bad, Listed, list_images
from hdrlab.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor
    from torch.utils.data import Dataset

    from hdrlab.datasets.hdr_real import RealValidation
    from hdrlab.datasets.hdr_synth import SynthValidation
    from hdrlab.datasets.tmo_pairs import ToneValidation
    from hdrlab.datasets.varied import VariedValidation

    Validation = SynthValidation | VariedValidation | RealValidation | ToneValidation

NUM_VAL_EXPOSURES = 5  # as the authors validate


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
        keys: The batch keys that are to be read: the rendered scenes get SDR images for some of them only.
        progress: Called with (done, all, file) while images are read.
        splits: Those that must hold images.

    Raises:
        DataError: With every problem found.
    """
    if not isinstance(data, PreparableConfig):
        if reads_tones(keys) and data.name == TinyConfig().name:
            return _open_rendered_tones(cache, progress)
        source = Rendered() if DATA.origin(data.name) is None else PluginImages(data)
        folder = cache / f"{data.name}-{_digest_of(source.version, data)}"
        index = build_index(source.listed(), source, folder, **settings_of(data), progress=progress)[0]
        _require_images(index.images, splits, f"data={data.name}")
        return index
    assert data.root is not None
    root = Path(data.root)
    if (root / "index.json").is_file():
        index = open_index(root)
        _check_prepared(index, data)
    else:
        index, _ = make_data(data, root, cache / _cache_name(root, data), progress, splits=splits)
    _require_images(index.images, splits, f"data.root={root}")
    return index


def _require_images(images: Sequence[Listed | IndexedImage], splits: Collection[str], named: str) -> None:
    held = {image.split for image in images}
    if empty := [split for split in splits if split not in held and not (split == "all" and held)]:
        raise DataError([f"{named}: no usable image in the split {' or '.join(empty)}"])


def _open_rendered_tones(cache: Path, progress: Progress | None) -> Index:
    source = RenderedTones()
    folder = cache / f"tiny-tones-{source.version[:6]}{labels_version()[:6]}"
    index, _ = build_index(source.listed(), source, folder, progress=progress)
    write_labels(index)
    return index


def make_data(
    data: PreparableConfig,
    root: Path,
    folder: Path,
    progress: Progress | None = None,
    *,
    splits: Collection[str] = (),
) -> tuple[Index, list[Bad]]:
    """Check everything in a folder of images or pairs, and write index and fast files.

    Args:
        data: The data section.
        root: The images.
        folder: Where the index goes.
        progress: Called with (done, all, file) while images are read.
        splits: Those that must hold images, which is known before any is read.

    Returns:
        The index, and what was left out.

    Raises:
        DataError: With every problem found.
    """
    settings, named = settings_of(data), f"data.root={root}"
    if isinstance(data, HdrSynthConfig):
        listed = listed_of(data, root)
        _require_images(listed, splits, named)
        return build_index(
            listed, Source(root), folder, **settings, skip_bad=data.skip_bad, progress=progress
        )
    manifest = Path(data.manifest) if data.manifest else None
    if isinstance(data, TmoPairsConfig):
        unlabelled = Path(data.unlabelled) if data.unlabelled else None
        tones, bad = list_tones(root, manifest=manifest, make_sdr=data.make_sdr, unlabelled=unlabelled)
        if not bad:
            _require_images(tones, splits, named)
        made = build_index(
            tones, ToneSource(root), folder, **settings, found=bad, skip_bad=data.skip_bad, progress=progress
        )
        write_labels(made[0])
        return made
    assert isinstance(data, HdrRealConfig)
    pairs, bad = list_pairs(root, manifest=manifest, pairing=data.pairing, exposures=data.exposures)
    if not bad:
        _require_images(pairs, splits, named)
    source = PairSource(root)
    return build_index(
        pairs, source, folder, **settings, found=bad, skip_bad=data.skip_bad, progress=progress
    )


def open_curves(data: DataConfig) -> ResponseCurves | None:
    """Load the response curves of a data set that photographs are synthesised from; others have none.

    Raises:
        DataError: The file cannot be used.
    """
    return load_response_curves(data.curves) if isinstance(data, SynthConfig) else None


def listed_of(data: HdrSynthConfig, root: Path) -> list[Listed]:
    """List the images of a folder as the data section says: by manifest, by lists, or by name.

    Raises:
        DataError: With every problem found.
    """
    lists = (Path(data.lists.train), Path(data.lists.test)) if data.lists else None
    return list_images(root, Path(data.manifest) if data.manifest else None, lists)


def settings_of(data: DataConfig) -> dict[str, Any]:
    """Return what fast files depend on besides the images."""
    if isinstance(data, HdrRealConfig):
        return {"exposures": data.exposures}
    if isinstance(data, SynthConfig):
        return {"short_side": data.short_side, "resize_filter": data.resize_filter}
    return {}


def _cache_name(root: Path, data: DataConfig) -> str:
    return f"{root.resolve().name}-{_digest_of(str(root.resolve()), data)}"


def _digest_of(place: str, data: DataConfig) -> str:
    """Tell caches apart that are made differently: runs at the same time must not undo each other's."""
    settings = " ".join(str(value) for value in settings_of(data).values())
    if isinstance(data, TmoPairsConfig):
        settings = f"tones {data.make_sdr} {data.unlabelled and Path(data.unlabelled).resolve()}"
    return hashlib.sha256(f"{place} {settings}".encode()).hexdigest()[:12]


def _check_prepared(index: Index, data: PreparableConfig) -> None:
    kinds = {Pair: "hdr_real", ToneImage: "tmo_pairs", ToneRecords: "tmo_pairs"}
    made_for = next((kinds[type(image)] for image in index.images if type(image) in kinds), "hdr_synth")
    if data.name != made_for:
        raise DataError([f"data.root={index.folder}: was prepared for data={made_for}, not data={data.name}"])
    wrong = [
        f"data.{name}={value}: {index.folder} was prepared with {index.settings.get(name)}; "
        f"set data.{name}={index.settings.get(name)} or prepare it again"
        for name, value in settings_of(data).items()
        if index.settings.get(name) != value
    ]
    if data.manifest or getattr(data, "lists", None):
        wrong.append(f"data.manifest, data.lists: {index.folder} is prepared and has its splits already")
    if getattr(data, "unlabelled", None):
        message = "is prepared; prepare it again with these images, or name its source as data.root"
        wrong.append(f"data.unlabelled: {index.folder} {message}")
    if wrong:
        raise DataError(wrong)


def training_set(
    data: DataConfig,
    index: Index,
    curves: ResponseCurves | None,
    *,
    keys: Collection[str],
    patch: int,
    batch_size: int,
    seed: int,
    tone: ToneConfig | None = None,
    official: bool = False,
) -> Dataset[dict[str, Tensor]]:
    """Make the training samples of a data set, by global counter.

    Args:
        data: The data section.
        index: Its index.
        curves: Its response curves, where it has some.
        keys: The batch keys that are read; they choose between the services of a data set that has two.
        patch: Side of the samples in pixels.
        batch_size: Global batch.
        seed: The run's seed.
        tone: How images for tone mapping are seen; None: as by default.
        official: Whether windows for tone mapping are drawn as the authors do, in small images too.

    Raises:
        DataError: The images are smaller than a patch, or none can be used.
    """
    if reads_tones(keys):
        from hdrlab.datasets.tmo_pairs import SHARES, ToneTraining

        shares = (data.window_least, data.window_most) if isinstance(data, TonePairsConfig) else SHARES
        return ToneTraining(
            index, tone or ToneConfig(), patch=patch, seed=seed, keys=keys, official=official, shares=shares
        )
    if isinstance(data, RealPairsConfig):
        from hdrlab.datasets.hdr_real import RealTraining

        return RealTraining(index, patch=patch, seed=seed)
    assert isinstance(data, SynthConfig)
    assert curves is not None
    if data.camera == "varied":
        from hdrlab.datasets.varied import VariedTraining

        return VariedTraining(index, curves, patch=patch, seed=seed)
    from hdrlab.datasets.hdr_synth import Camera, SynthTraining

    return SynthTraining(
        index,
        Camera.of(curves, "train", data.exposures),
        patch=patch,
        batch_size=batch_size,
        seed=seed,
        noise=data.noise,
        positional_quality=data.jpeg_quality == "positional",
    )


def validation_set(
    data: DataConfig,
    index: Index,
    curves: ResponseCurves | None,
    split: str,
    keys: Collection[str],
    num: int | None = None,
    tone: ToneConfig | None = None,
) -> Validation:
    """Make the fixed photographs of a split, or its images for tone mapping.

    Args:
        data: The data section.
        index: Its index.
        curves: Its response curves, where it has some.
        split: train, val, test or all.
        keys: As for `training_set`.
        num: How many photographs; None takes all.
        tone: As for `training_set`.

    Raises:
        DataError: There are none, or they are smaller than ``data.val_crop``.
    """
    chosen = _validation_set(data, index, curves, split, keys, num, tone or ToneConfig())
    if not len(chosen):
        raise DataError([f"{index.folder}: no image in the split {split}"])
    return chosen


def _validation_set(
    data: DataConfig,
    index: Index,
    curves: ResponseCurves | None,
    split: str,
    keys: Collection[str],
    num: int | None,
    tone: ToneConfig,
) -> Validation:
    if reads_tones(keys):
        from hdrlab.datasets.tmo_pairs import ToneValidation

        return ToneValidation(index, tone, split, num=num, crop=data.val_crop, keys=keys)
    if isinstance(data, RealPairsConfig):
        from hdrlab.datasets.hdr_real import RealValidation

        return RealValidation(index, split, num=num, crop=data.val_crop)
    assert isinstance(data, SynthConfig)
    assert curves is not None
    if data.camera == "varied":
        from hdrlab.datasets.varied import VariedValidation

        return VariedValidation(index, curves, split, num=num)
    from hdrlab.datasets.hdr_synth import Camera, SynthValidation

    camera = Camera.of(curves, "test", NUM_VAL_EXPOSURES)
    return SynthValidation(index, camera, split, num=num, crop=data.val_crop, noise=data.noise)
