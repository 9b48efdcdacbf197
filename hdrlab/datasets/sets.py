"""From a data section and its index to the samples of a training and of a validation."""

from __future__ import annotations

from collections.abc import Collection
from typing import cast

from torch import Tensor
from torch.utils.data import Dataset

from hdrlab.camera import ResponseCurves
from hdrlab.camera.sampling import NoiseMode
from hdrlab.config.schema import DataConfig, HdrRealConfig, SynthConfig, TinyConfig, TmoPairsConfig
from hdrlab.config.stages import reads_tones
from hdrlab.datasets.index import Index
from hdrlab.datasets.real import RealTraining, RealValidation
from hdrlab.datasets.splits import DataError
from hdrlab.datasets.synth import Camera, SynthTraining, SynthValidation
from hdrlab.datasets.tone import ToneTraining, ToneValidation

NUM_VAL_EXPOSURES = 5  # as the authors validate


def training_set(
    data: DataConfig,
    index: Index,
    curves: ResponseCurves | None,
    *,
    keys: Collection[str],
    patch: int,
    batch_size: int,
    seed: int,
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
        official: Whether windows for tone mapping are drawn as the authors do, in small pictures too.

    Raises:
        DataError: The pictures are smaller than a patch, or none can be used.
    """
    if reads_tones(keys):
        assert isinstance(data, (TinyConfig, TmoPairsConfig))
        return ToneTraining(index, data.tone, patch=patch, seed=seed, keys=keys, official=official)
    if isinstance(data, HdrRealConfig):
        return RealTraining(index, patch=patch, seed=seed)
    assert isinstance(data, SynthConfig)
    assert curves is not None
    return SynthTraining(
        index,
        Camera.of(curves, "train", data.exposures),
        patch=patch,
        batch_size=batch_size,
        seed=seed,
        noise=cast("NoiseMode", data.noise),
        positional_quality=data.jpeg_quality == "positional",
    )


def validation_set(
    data: DataConfig,
    index: Index,
    curves: ResponseCurves | None,
    split: str,
    keys: Collection[str],
    num: int | None = None,
) -> SynthValidation | RealValidation | ToneValidation:
    """Make the fixed photographs of a split, or its pictures for tone mapping.

    Args:
        data: The data section.
        index: Its index.
        curves: Its response curves, where it has some.
        split: train, val, test or all.
        keys: As for `training_set`.
        num: How many photographs; None takes all.

    Raises:
        DataError: There are none, or they are smaller than ``data.val_crop``.
    """
    chosen = _validation_set(data, index, curves, split, keys, num)
    if not len(chosen):
        raise DataError([f"{index.folder}: no picture in the split {split}"])
    return chosen


def _validation_set(
    data: DataConfig,
    index: Index,
    curves: ResponseCurves | None,
    split: str,
    keys: Collection[str],
    num: int | None,
) -> SynthValidation | RealValidation | ToneValidation:
    if reads_tones(keys):
        assert isinstance(data, (TinyConfig, TmoPairsConfig))
        return ToneValidation(index, data.tone, split, num=num, crop=data.val_crop, keys=keys)
    if isinstance(data, HdrRealConfig):
        return RealValidation(index, split, num=num, crop=data.val_crop)
    assert isinstance(data, SynthConfig)
    assert curves is not None
    camera = Camera.of(curves, "test", NUM_VAL_EXPOSURES)
    noise = cast("NoiseMode", data.noise)
    return SynthValidation(index, camera, split, num=num, crop=data.val_crop, noise=noise)
