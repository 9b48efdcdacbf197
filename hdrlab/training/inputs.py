"""What a training starts from: data, checkpoints of other stages, files; found before torch is imported."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from hdrlab.config.schema.commands import TrainConfig
from hdrlab.datasets.build import open_curves, open_data
from hdrlab.datasets.index import Index
from hdrlab.datasets.progress import reading
from hdrlab.io.atomic import digest
from hdrlab.training.slots import starting_points


@dataclass(frozen=True)
class Inputs:
    """What a training starts from.

    Attributes:
        config: The configuration, its length in steps.
        index: The images.
        starts: Checkpoints of other stages, by the stage.
        digests: Digests of the checkpoints and files, by key.
    """

    config: TrainConfig
    index: Index
    starts: Mapping[str, Path]
    digests: Mapping[str, str]


def gather(config: TrainConfig) -> Inputs:
    """Find what a training starts from.

    Raises:
        DataError: The data cannot be used.
        RunError: A checkpoint that it starts from is not published.
    """
    starts = starting_points(config)
    with reading(f"data={config.data.name}") as progress:
        cache = Path(config.paths.data) / "cache"
        index = open_data(config.data, cache, config.stage.batch_keys, progress)
    open_curves(config.data)  # what is wrong with them is reported before a folder is made
    digests = {key: digest(Path(path)) for key, path in config.input_files().items()}
    digests |= {f"stage.init.{name}": digest(path) for name, path in starts.items()}
    return Inputs(in_steps(config, index), index, starts, digests)


def in_steps(config: TrainConfig, index: Index) -> TrainConfig:
    """Turn epochs into steps, where a stage counts in these."""
    epochs = getattr(config.stage, "epochs", None)
    if epochs is None or config.trainer.max_steps is not None:
        return config
    from hdrlab.datasets.tmo_pairs import sample_ends, usable

    samples = sample_ends(usable(index, "train", config.stage.batch_keys))[-1]
    steps = math.ceil(epochs * samples / config.stage.batch_size)
    return replace(config, stage=replace(config.stage, max_steps=steps))
