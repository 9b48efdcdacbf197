"""Builds what a run is made of: data, stage, trainer."""

from __future__ import annotations

import contextlib
import logging
import subprocess
import sys
import warnings
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from pytorch_lightning.callbacks import RichProgressBar
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.strategies.launchers.subprocess_script import _SubprocessScriptLauncher

from hdrlab.camera import ResponseCurves
from hdrlab.config.schema import TrainConfig
from hdrlab.config.stages import STAGES
from hdrlab.datasets.index import Index
from hdrlab.datasets.module import HdrData
from hdrlab.datasets.sets import training_set, validation_set
from hdrlab.runs import Run
from hdrlab.stages.base import Stage
from hdrlab.training.averaging import Averages
from hdrlab.training.callbacks import Lines, Panels
from hdrlab.training.checkpoints import (
    CheckpointFiles,
    check_fits,
    check_resumes,
    load_weights,
    perceptual_source,
    read_checkpoint,
    stage_class,
)
from hdrlab.training.compilation import Compiled
from hdrlab.training.guards import Guard, TrainingFailed
from hdrlab.training.interruption import Interruption
from hdrlab.training.loggers import build_loggers
from hdrlab.training.precision import precision_plugin
from hdrlab.training.ranks import own_rank, shared_store, started_together
from hdrlab.training.resuming import Checkpoints, Reseeding

_OTHERS_GONE = ("Connection closed by peer", "Connection reset by peer", "Timed out waiting", "[gloo")
"""What torch says where another process is gone."""

GRACE = 10
"""Seconds that other processes of a run have to end by themselves."""


class OutOfMemory(MemoryError):
    """A run that did not fit into memory."""


def build_data(
    config: TrainConfig, index: Index, curves: ResponseCurves | None, folder: Path | None = None
) -> HdrData:
    """Make the DataModule of a run; samples that cannot be made are listed in its folder."""
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
        spare=config.trainer.bad_samples,
        listed=folder and folder / "bad_samples.txt",
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
    # Before Lightning does: what it loads to go on from would be rounded.
    return stage.double() if config.trainer.precision == "64" else stage


def build_trainer(config: TrainConfig, run: Run, data: HdrData, interruption: Interruption) -> pl.Trainer:
    """Make the trainer of a run, with its loggers and callbacks."""
    _quieten()
    trainer = config.trainer
    files = CheckpointFiles()
    panels = [Panels(run.folder, config.callbacks.panels)] if config.callbacks.panels else []
    callbacks: list[pl.Callback] = [
        *panels,  # drawn before the checkpoint that counts on them
        Checkpoints(run.folder, files, interruption, trainer.save_every),
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
        strategy=_strategy(config),
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
        plugins=[files, precision_plugin(trainer), *_environment()],
        enable_checkpointing=False,
        enable_progress_bar=bar,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=run.folder,
    )


class _Processes(DDPStrategy):
    """Several processes that meet afresh when torchrun starts them again."""

    def setup_distributed(self) -> None:
        """Connect. torch would take addresses of an earlier try for those of this one; Lightning joins in."""
        if started_together():
            torch.distributed.init_process_group(
                self._get_process_group_backend(),
                store=shared_store(),
                rank=own_rank(),
                world_size=self.num_processes * self.num_nodes,
                timeout=self._timeout,
            )
        super().setup_distributed()


def _strategy(config: TrainConfig) -> str | DDPStrategy:
    """Choose how several processes work together; a rank that is not heard of for a while ends all."""
    if config.trainer.devices * config.trainer.num_nodes == 1:
        return "auto"
    return _Processes(timeout=timedelta(seconds=config.trainer.timeout))


def _environment() -> list[SLURMEnvironment]:
    """Under SLURM, keep Lightning from requeueing a job that saves and exits by itself."""
    return [SLURMEnvironment(auto_requeue=False)] if SLURMEnvironment.detect() else []


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
        _end_others(trainer)
        said = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
        if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "allocate memory" in str(error):
            raise OutOfMemory(
                f"memory ran out; lower stage.batch_size (now {data.batch_size}), stage.patch "
                f"(now {stage.config.patch}) or data.workers (now {data.workers}), compute a step in parts "
                f"(trainer.accumulate, now {data.accumulate}), or take trainer.precision=bf16"
            ) from error
        where = f"step {trainer.global_step + 1} of {stage.name}"
        if "DataLoader" in str(error):
            raise TrainingFailed(
                f"{where}: a loader process died or hung ({said}); memory or a slow disk may be the reason: "
                "lower data.workers; the same command goes on from the last checkpoint"
            ) from error
        if isinstance(error, torch.distributed.DistError) or any(w in said for w in _OTHERS_GONE):
            raise TrainingFailed(
                f"{where}: another process of this training died or hung ({said}); what it said is above; "
                "the same command goes on from the last checkpoint"
            ) from error
        raise
    except BaseException:
        _end_others(trainer)
        raise


def _end_others(trainer: pl.Trainer) -> None:
    """End the processes that Lightning has started for this run, also one that hangs."""
    if isinstance(trainer.strategy.launcher, _SubprocessScriptLauncher):
        for process in trainer.strategy.launcher.procs:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=GRACE)
            process.kill()
            process.wait()
