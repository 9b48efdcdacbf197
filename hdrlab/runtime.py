"""Builds what a run is made of: data, stage, trainer, loggers, checkpoints."""

from __future__ import annotations

import logging
import os
import platform
import subprocess
import sys
import warnings
from collections.abc import Mapping
from dataclasses import asdict, fields
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import RichProgressBar
from pytorch_lightning.loggers import Logger, TensorBoardLogger, WandbLogger
from pytorch_lightning.plugins.io import TorchCheckpointIO

from hdrlab import __version__
from hdrlab.callbacks import Checkpoints, Lines, Panels
from hdrlab.camera import ResponseCurves
from hdrlab.config.check import build, perceptual_weights
from hdrlab.config.schema import TrainConfig, WandbConfig
from hdrlab.config.stages import STAGES
from hdrlab.datasets.index import Index
from hdrlab.datasets.module import HdrData
from hdrlab.datasets.sets import training_set, validation_set
from hdrlab.metrics_file import MetricsFile
from hdrlab.net_files import DAMAGE, check_records
from hdrlab.runs import Run
from hdrlab.stages.base import SCHEMA_VERSION, Stage

_PRECISION = {"64": "64-true", "32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}
_NET_KEYS = {"features", "monotone", "upsampling", "residual"}
"""Keys that change what a net computes and, unlike the width, not always the shape of its weights."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be used."""


class OutOfMemory(MemoryError):
    """A run that did not fit into memory."""


def build_data(config: TrainConfig, index: Index, curves: ResponseCurves | None) -> HdrData:
    """Make the DataModule of a run."""
    data, stage = config.data, config.stage
    keys = STAGES[stage.name].batch_keys
    training = training_set(
        data,
        index,
        curves,
        keys=keys,
        patch=stage.patch,
        batch_size=stage.batch_size,
        seed=config.seed,
        official=config.preset == "official",
    )
    validation = validation_set(data, index, curves, "val", keys, config.trainer.val_pictures)
    return HdrData(
        training,
        validation,
        batch_size=config.stage.batch_size,
        steps=config.trainer.max_steps,
        workers=data.workers,
    )


def perceptual_source(config: TrainConfig) -> str | None:
    """Return which VGG-16 weights a stage uses: a path, ``random``, or None where it uses none."""
    weights = perceptual_weights(config.stage)
    # The check has seen to it that random ones are allowed.
    return config.paths.vgg16 or "random" if weights == "auto" else weights


def build_stage(config: TrainConfig, starts: Mapping[str, Path] | None = None) -> Stage:
    """Make the stage with fresh weights, the same for the same seed, or with those it starts from.

    Args:
        config: The configuration.
        starts: Checkpoints by the stage they are of, see ``hdrlab.runs.starting_points``.

    Raises:
        CheckpointError: If a checkpoint is of another stage or preset, or does not fit.
    """
    pl.seed_everything(config.seed, verbose=False)
    stage: Stage = _stage_class(config.stage.name)(config.stage, config.preset)
    stage.open_files(perceptual_source(config))
    for name, path in (starts or {}).items():
        stored = read_checkpoint(path)
        _fits(stored["hdrlab"], name, config, path)
        load_weights(stage, stored["state_dict"], path, whole=name == config.stage.name)
    return stage


def _stage_class(name: str) -> Any:
    module, _, cls = STAGES[name].cls.partition(":")
    return getattr(import_module(module), cls)


# ------------------------------------------------------------------------------------------ checkpoints


def header(config: TrainConfig, index: Index, inputs: Mapping[str, str]) -> dict[str, Any]:
    """Return what a checkpoint says of itself, in plain types.

    Args:
        config: The full configuration.
        index: The pictures trained on.
        inputs: Digests of the files the run starts from, by key.
    """
    packages = ("torch", "pytorch-lightning", "numpy", "OpenImageIO", "pillow")
    own = {"hdrlab": __version__, "python": platform.python_version()}
    num_pictures = len(index.split("train"))
    return {
        "config": asdict(config),
        "data": {"name": config.data.name, "fingerprint": index.fingerprint, "pictures": num_pictures},
        "inputs": dict(inputs),
        "perceptual": perceptual_source(config),
        "git_commit": _git_commit(),
        "versions": own | {name: version(name) for name in packages},
    }


def _git_commit() -> str | None:
    folder = Path(__file__).resolve().parents[1]
    if not (folder / ".git").exists():
        return None
    asked = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, check=False, timeout=10
    )
    return asked.stdout.strip() or None


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint safely: tensors and plain types only.

    Raises:
        CheckpointError: With path and reason, if it is damaged, foreign or from a newer version.
    """
    try:
        check_records(path)
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except DAMAGE as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise CheckpointError(f"{path}: cannot be read ({reason})") from error
    if not isinstance(stored, dict) or "hdrlab" not in stored or "state_dict" not in stored:
        raise CheckpointError(f"{path}: not a checkpoint of hdrlab")
    said, weights = stored["hdrlab"], stored["state_dict"]
    kinds = {"schema_version": int, "stage": str, "preset": str, "config": dict}
    sound = isinstance(said, dict) and all(isinstance(said.get(k), kind) for k, kind in kinds.items())
    if not sound or not isinstance(weights, dict) or not all(map(torch.is_tensor, weights.values())):
        raise CheckpointError(f"{path}: damaged, or not a checkpoint of hdrlab")
    if said["schema_version"] > SCHEMA_VERSION:
        raise CheckpointError(f"{path}: written by a newer hdrlab; update to read it")
    return stored


def load_stage(path: Path) -> Stage:
    """Rebuild a trained stage from its checkpoint alone, ready for inference.

    Args:
        path: A checkpoint written by a run, or a slot's.

    Raises:
        CheckpointError: If it cannot be read or does not hold what it says.
    """
    stored = read_checkpoint(path)
    said = stored["hdrlab"]
    problems: list[str] = []
    if said["stage"] not in STAGES:
        raise CheckpointError(f"{path}: of the stage {said['stage']!r}, which this version does not know")
    values = dict(said["config"].get("stage") or {})
    if "basis" in values:
        values["basis"] = "builtin"  # the trained net carries its own; the file may be long gone
    config = build(STAGES[said["stage"]].schema, values, problems)
    if problems:
        raise CheckpointError(f"{path}: " + "; ".join(problems))
    stage: Stage = _stage_class(said["stage"])(config, said["preset"])
    stage.header = {k: v for k, v in said.items() if k not in ("schema_version", "stage", "preset", "step")}
    load_weights(stage, stored["state_dict"], path)
    return stage.eval()


def load_weights(
    stage: Stage, weights: Mapping[str, torch.Tensor], path: Path, *, whole: bool = True
) -> None:
    """Load weights into a stage, or say everything that does not fit.

    Args:
        stage: Receives them.
        weights: Tensors by name; a net has the same name in every stage.
        path: Where they come from, for the message.
        whole: Whether they must fill the whole stage, or only the nets they are of.

    Raises:
        CheckpointError: With every missing, unexpected and misshapen tensor.
    """
    nets = {name.partition(".")[0] for name in weights}
    own = {k: v for k, v in stage.state_dict().items() if whole or k.partition(".")[0] in nets}
    wrong = [f"missing {name}" for name in own.keys() - weights.keys()]
    wrong += [f"unexpected {name}" for name in weights.keys() - own.keys()]
    wrong += [
        f"{name} is {tuple(weights[name].shape)}, must be {tuple(own[name].shape)}"
        for name in own.keys() & weights.keys()
        if own[name].shape != weights[name].shape
    ]
    if wrong:
        raise CheckpointError(f"{path}: does not fit this stage: " + "; ".join(sorted(wrong)))
    stage.load_state_dict(dict(weights), strict=whole)


def _fits(said: Mapping[str, Any], stage: str, config: TrainConfig, path: Path) -> None:
    if said["stage"] != stage or said["preset"] != config.preset:
        raise CheckpointError(
            f"{path}: a checkpoint of stage={said['stage']} preset={said['preset']}, "
            f"not of stage={stage} preset={config.preset}"
        )
    told = said["config"]["stage"]
    keys = {one.name: one.metadata.get("absent") for one in fields(STAGES[stage].schema)}
    trained = {key: told.get(key, keys[key]) for key in _NET_KEYS & keys.keys() if hasattr(config.stage, key)}
    other = [f"stage.{key}={v}" for key, v in trained.items() if v != getattr(config.stage, key)]
    if other:
        raise CheckpointError(f"{path}: was trained with {', '.join(sorted(other))}; say so here too")


class AtomicCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint beside its place and moves it there when it is whole and on the disk."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Save; a kill or a full disk leaves the previous file as it was."""
        place = Path(path)
        part = place.with_name(place.name + ".part")
        try:
            with part.open("wb") as stream:
                torch.save(checkpoint, stream)
                stream.flush()
                os.fsync(stream.fileno())
            part.replace(place)
        finally:
            part.unlink(missing_ok=True)


# --------------------------------------------------------------------------------------------- trainer


def build_trainer(config: TrainConfig, run: Run) -> pl.Trainer:
    """Make the trainer of a run, with its loggers and callbacks."""
    _quieten()
    trainer = config.trainer
    callbacks: list[pl.Callback] = [Checkpoints(run.folder)]
    if config.callbacks.panels:
        callbacks.append(Panels(run.folder, config.callbacks.panels))
    shown = config.callbacks.progress
    bar = shown == "bar" or (shown == "auto" and sys.stdout.isatty())
    if bar:
        callbacks.append(RichProgressBar(leave=True))
    elif shown != "none":
        callbacks.append(Lines(max(1, trainer.max_steps // 30)))
    logger = build_logger(config, run)
    return pl.Trainer(
        accelerator=trainer.accelerator,
        devices=trainer.devices,
        num_nodes=trainer.num_nodes,
        precision=_PRECISION[trainer.precision],  # type: ignore[arg-type]
        max_steps=trainer.max_steps,
        val_check_interval=trainer.val_every or max(1, trainer.max_steps // 10),
        check_val_every_n_epoch=None,
        log_every_n_steps=trainer.log_every,
        num_sanity_val_steps=0,
        logger=logger or False,
        callbacks=callbacks,
        plugins=[AtomicCheckpoints()],
        enable_checkpointing=False,
        enable_progress_bar=bar,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=run.folder,
    )


def _quieten() -> None:
    """Silence what Lightning says of itself; what a user should know, the commands say."""
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for text in (
        "in eval mode",
        "isinstance.treespec",
        "val_check_interval",
        "many workers",
        "weights_only",
        "logging",
    ):
        warnings.filterwarnings("ignore", f".*{text}")


def build_logger(config: TrainConfig, run: Run) -> Logger | None:
    """Make the logger that the configuration names; all write into the run folder."""
    chosen = config.logger
    if chosen.name == "none":
        return None
    if chosen.name == "tensorboard":
        return TensorBoardLogger(run.folder.parent, name="", version=run.folder.name, sub_dir="tensorboard")
    if isinstance(chosen, WandbConfig):
        return WandbLogger(
            project=chosen.project,
            entity=chosen.entity,
            group=chosen.group or config.stage.name,
            name=run.name,
            save_dir=run.folder,
            offline=not chosen.online,
            config=asdict(config),
        )
    step = read_checkpoint(run.resume_from)["global_step"] if run.resume_from else 0
    return MetricsFile(run.folder / "metrics.csv", step)


def fit(trainer: pl.Trainer, stage: Stage, data: HdrData, resume_from: Path | None) -> None:
    """Train to the end.

    Raises:
        OutOfMemory: Naming the keys that lower the need.
        CheckpointError: If the checkpoint to resume from is damaged.
    """
    if resume_from:
        read_checkpoint(resume_from)  # a clear error now instead of a trace later
    try:
        trainer.fit(stage, data, ckpt_path=str(resume_from) if resume_from else None, weights_only=True)
    except (MemoryError, RuntimeError) as error:
        said = isinstance(error, (MemoryError, torch.OutOfMemoryError))
        if not said and "allocate memory" not in str(error):
            raise
        raise OutOfMemory(
            f"memory ran out; lower stage.batch_size (now {data.batch_size}), stage.patch "
            f"(now {stage.config.patch}) or data.workers (now {data.workers}), or take trainer.precision=bf16"
        ) from error
