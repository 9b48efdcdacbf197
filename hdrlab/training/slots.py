"""Slots: where the results of stages are published, and where the next stage finds them.

::

    runs/slots/<data>/    <stage>.ckpt and <stage>.json, its manifest
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

from hdrlab.config.registry.stages import STAGES
from hdrlab.config.schema.commands import TrainConfig
from hdrlab.config.schema.data import DataConfig
from hdrlab.config.schema.stage import StageConfig
from hdrlab.datasets.index import Index
from hdrlab.errors import RunError
from hdrlab.io.atomic import digest, replacing, write_text
from hdrlab.training.checkpoint_list import check_listed
from hdrlab.training.run_folder import Run, read_finished


def starting_points(config: TrainConfig) -> dict[str, Path]:
    """Find the checkpoints a stage starts from, by the stage they are of: named ones before the published.

    A smoke run starts from random nets where none is published.

    Raises:
        RunError: None is published of one, with the command that makes it.
    """
    row = STAGES[config.stage.name]
    named = {k: Path(path) for k, path in asdict(config.stage)["init"].items() if path is not None}
    if config.stage.name in named:
        return {config.stage.name: named[config.stage.name]}
    if getattr(config.stage, "start", "slots") == "nothing":
        return named
    missing: list[str] = []
    left_out = _left_out(config.stage)
    for choice in (tuple(name for name in names if name not in left_out) for names in row.starts_from):
        if not choice:
            continue
        found = {name: named.get(name) or _filled_slot(config, name) for name in choice}
        if all(found.values()):
            return {name: path for name, path in found.items() if path}
        missing = missing or [name for name, path in found.items() if not path]
    if missing and config.trainer.name != "smoke":
        data = _homes(config.data)[0]
        commands = "; ".join(f"python -m hdrlab.train stage={name} data={data} …" for name in missing)
        raise RunError(
            f"stage={config.stage.name} starts from {', '.join(missing)}, not published yet; train it: "
            f"{commands}; or name a checkpoint: stage.init.{missing[0]}=FILE"
            + "; or stage.start=nothing"
            * (config.stage.name == "tmo_ft")
        )
    return {}


def _left_out(stage: StageConfig) -> set[str]:
    """Name the stages that this one could start from, but is set not to."""
    named = {"joint": getattr(stage, "start", "") == "parts", "tmo_high": not getattr(stage, "high", True)}
    return {name for name, is_left_out in named.items() if is_left_out}


def _filled_slot(config: TrainConfig, stage: str) -> Path | None:
    slots = (slot_of(Path(config.paths.runs), data, stage) for data in _homes(config.data))
    return next((slot for slot in slots if slot.is_file()), None)


def _homes(data: DataConfig) -> tuple[str, ...]:
    """Name the data sets whose published checkpoints a stage on this one starts from."""
    return data.slots_of or (data.name,)


def publish(run: Run, config: TrainConfig, index: Index) -> str:
    """Publish a finished stage's checkpoint in its slot, with a manifest beside it, unless it is not to be.

    It is the best one, but the last where validation would choose by test images: with the published lists
    the authors validate on ten images of the test list.

    Args:
        run: The run it comes from.
        config: The run's configuration.
        index: The data.

    Returns:
        Where the result lies, for the user.

    Raises:
        CheckpointError: The checkpoint is not what the run has written.
    """
    tested = any(image.in_test_list for image in index.split("val"))
    checkpoint = run.folder / ("last.ckpt" if tested else "best.ckpt")
    ablation = config.experiment is not None and not config.experiment.publish
    if ablation or config.trainer.name == "smoke" or not config.publish:
        return f"result: {checkpoint}" + ("; an ablation's is not published" if ablation else "")
    check_listed(checkpoint)
    slot = slot_of(Path(config.paths.runs), config.data.name, config.stage.name)
    slot.parent.mkdir(parents=True, exist_ok=True)
    with replacing(slot) as part:
        shutil.copyfile(checkpoint, part)
    reached = read_finished(run.folder)
    origin = {"run": run.name, "data_fingerprint": index.fingerprint, "sha256": digest(slot)}
    manifest = {**reached, **origin}
    write_text(slot.with_suffix(".json"), json.dumps(manifest, indent=2, allow_nan=False))
    return f"published: {slot}"


def slot_of(runs: Path, data: str, stage: str) -> Path:
    """Return the path of a slot's checkpoint, whether it is filled or not."""
    return runs / "slots" / data / f"{stage}.ckpt"
