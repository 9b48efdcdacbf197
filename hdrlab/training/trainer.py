"""Lightning's trainer as a run wants it: loggers, callbacks, processes."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import Checkpoint, RichProgressBar
from pytorch_lightning.profilers import AdvancedProfiler, Profiler, SimpleProfiler
from pytorch_lightning.strategies import DDPStrategy

from hdrlab.config.schema.commands import TrainConfig
from hdrlab.datasets.datamodule import HDRDataModule
from hdrlab.errors import ConfigError
from hdrlab.training.callbacks import Clock, Lines, Panels
from hdrlab.training.checkpoint_callback import Checkpoints, Reseeding
from hdrlab.training.checkpoints import (
    CheckpointFiles,
)
from hdrlab.training.compile import Compiled
from hdrlab.training.distributed import own_rank, shared_store, started_together
from hdrlab.training.ema import Averages
from hdrlab.training.extensions import more_callbacks, more_loggers
from hdrlab.training.loggers import build_loggers
from hdrlab.training.nan_guard import Guard
from hdrlab.training.precision import precision_plugin
from hdrlab.training.run_folder import Run
from hdrlab.training.signals import Interruption

_PROFILERS: dict[Any, Callable[..., Profiler]] = {"simple": SimpleProfiler, "advanced": AdvancedProfiler}


def build_trainer(
    config: TrainConfig, run: Run, data: HDRDataModule, interruption: Interruption
) -> pl.Trainer:
    """Make the trainer of a run, with its loggers and callbacks.

    Raises:
        ConfigError: What the configuration adds cannot be made, or does not go with the rest.
    """
    _quieten()
    trainer = config.trainer
    files = CheckpointFiles()
    panels = [Panels(run.folder, config.callbacks.panels)] if config.callbacks.panels else []
    callbacks: list[pl.Callback] = [
        Clock(run.folder),
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
        callbacks.append(Lines(max(1, config.max_steps // 30)))
    added = more_callbacks(config)  # before ours, which save what they hold
    parts = trainer.accumulate_grad_batches
    arguments: dict[str, Any] = dict(  # noqa: C408 - reads as the call below
        accelerator=trainer.accelerator,
        devices=trainer.devices,
        num_nodes=trainer.num_nodes,
        strategy=_strategy(config),
        sync_batchnorm=trainer.sync_batchnorm,
        max_steps=config.max_steps,
        accumulate_grad_batches=parts,
        gradient_clip_val=trainer.gradient_clip_val or None,
        val_check_interval=parts * (trainer.val_every or max(1, config.max_steps // 10)),
        check_val_every_n_epoch=None,
        log_every_n_steps=trainer.log_every_n_steps,
        num_sanity_val_steps=0,
        logger=[*build_loggers(config, run), *more_loggers(config)],
        callbacks=[*added, *callbacks],
        plugins=[files, precision_plugin(trainer), *_environment()],
        enable_checkpointing=any(isinstance(one, Checkpoint) for one in added),
        enable_progress_bar=bar,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=run.folder,
    )
    given = dict(trainer.arguments or {})
    if given.get("profiler") in _PROFILERS:  # what it would print with Lightning's messages goes into a file
        given["profiler"] = _PROFILERS[given["profiler"]](dirpath=run.folder, filename="profile")
    try:
        return pl.Trainer(**{**arguments, **given})
    except (MisconfigurationException, TypeError, ValueError) as error:
        own = ", ".join(f"trainer.{name}={value}" for name, value in (trainer.arguments or {}).items())
        raise ConfigError([f"trainer: {error}" + (f" (with {own})" if own else "")]) from error


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
