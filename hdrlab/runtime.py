"""Builds what a run is made of: data, stage, trainer."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import RichProgressBar

from hdrlab.averaging import Averages
from hdrlab.callbacks import Lines, Panels
from hdrlab.camera import ResponseCurves
from hdrlab.checkpoints import (
    CheckpointFiles,
    check_fits,
    check_resumes,
    load_weights,
    perceptual_source,
    read_checkpoint,
    stage_class,
)
from hdrlab.compilation import Compiled
from hdrlab.config.schema import TrainConfig
from hdrlab.config.stages import STAGES
from hdrlab.datasets.index import Index
from hdrlab.datasets.module import HdrData
from hdrlab.datasets.sets import training_set, validation_set
from hdrlab.guards import Guard, TrainingFailed
from hdrlab.interruption import Interruption
from hdrlab.loggers import build_loggers
from hdrlab.precision import precision_plugin
from hdrlab.resuming import Checkpoints, Reseeding
from hdrlab.runs import Run
from hdrlab.stages.base import Stage


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
        accumulate=config.trainer.accumulate,
    )


def build_stage(config: TrainConfig, starts: Mapping[str, Path] | None = None) -> Stage:
    """Make the stage with fresh weights, the same for the same seed, or with those it starts from.

    Args:
        config: The configuration.
        starts: Checkpoints by the stage they are of, see ``hdrlab.runs.starting_points``.

    Raises:
        CheckpointError: If a checkpoint is of another stage or preset, or does not fit.
    """
    pl.seed_everything(config.seed, verbose=False)
    stage: Stage = stage_class(config.stage.name)(config.stage, config.preset)
    stage.open_files(perceptual_source(config))
    for name, path in (starts or {}).items():
        stored = read_checkpoint(path)
        check_fits(stored["hdrlab"], name, config, path)
        load_weights(stage, stored["state_dict"], path, whole=name == config.stage.name)
    return stage


def build_trainer(config: TrainConfig, run: Run, data: HdrData, interruption: Interruption) -> pl.Trainer:
    """Make the trainer of a run, with its loggers and callbacks."""
    _quieten()
    trainer = config.trainer
    panels = [Panels(run.folder, config.callbacks.panels)] if config.callbacks.panels else []
    callbacks: list[pl.Callback] = [
        *panels,  # drawn before the checkpoint that counts on them
        Checkpoints(run.folder, interruption, trainer.save_every),
        Guard(run.folder, trainer.bad_steps, data.describe),
        Reseeding(config.seed),
    ]
    if trainer.ema:
        callbacks.append(Averages(trainer.ema))
    if trainer.compile:
        callbacks.append(Compiled())
    shown = config.callbacks.progress
    bar = shown == "bar" or (shown == "auto" and sys.stdout.isatty())
    if bar:
        callbacks.append(RichProgressBar(leave=True))
    elif shown != "none":
        callbacks.append(Lines(max(1, trainer.max_steps // 30)))
    return pl.Trainer(
        accelerator=trainer.accelerator,
        devices=trainer.devices,
        num_nodes=trainer.num_nodes,
        sync_batchnorm=trainer.sync_batchnorm,
        max_steps=trainer.max_steps,
        accumulate_grad_batches=trainer.accumulate,
        gradient_clip_val=trainer.clip or None,
        val_check_interval=trainer.accumulate * (trainer.val_every or max(1, trainer.max_steps // 10)),
        check_val_every_n_epoch=None,
        log_every_n_steps=trainer.log_every,
        num_sanity_val_steps=0,
        logger=build_loggers(config, run),
        callbacks=callbacks,
        plugins=[CheckpointFiles(), precision_plugin(trainer)],
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


def fit(trainer: pl.Trainer, stage: Stage, data: HdrData, resume_from: Path | None) -> None:
    """Train to the end.

    Raises:
        OutOfMemory: Naming the keys that lower the need.
        CheckpointError: The checkpoint to resume from is damaged, or of something else.
        TrainingFailed: Too many steps were not finite, nothing could be saved, or a loader process died.
        SampleError: A sample could not be made.
        Interrupted: A signal asked to stop.
    """
    if resume_from:
        stored = read_checkpoint(resume_from)  # a clear error now instead of a trace later
        check_resumes(stored, stage, resume_from)
    for logger in trainer.loggers:
        logger.log_hyperparams(stage.header)
    try:
        trainer.fit(stage, data, ckpt_path=str(resume_from) if resume_from else None, weights_only=True)
    except (MemoryError, RuntimeError) as error:
        said = str(error)
        if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "allocate memory" in said:
            raise OutOfMemory(
                f"memory ran out; lower stage.batch_size (now {data.batch_size}), stage.patch "
                f"(now {stage.config.patch}) or data.workers (now {data.workers}), compute a step in parts "
                f"(trainer.accumulate, now {data.accumulate}), or take trainer.precision=bf16"
            ) from error
        if "DataLoader" in said:
            said = said.splitlines()[0].rstrip(".")
            raise TrainingFailed(
                f"step {trainer.global_step + 1} of {stage.name}: a loader process died or hung ({said}); "
                "memory or a slow disk may be the reason: lower data.workers; the same command goes on from "
                "the last checkpoint"
            ) from error
        raise
