"""Builds what a run is made of: data, stage, trainer."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.strategies.launchers.subprocess_script import _SubprocessScriptLauncher

from hdrlab.config.registry import guarded
from hdrlab.config.registry.stages import STAGES
from hdrlab.config.schema.commands import TrainConfig
from hdrlab.datasets.datamodule import HDRDataModule
from hdrlab.datasets.index import Index
from hdrlab.errors import ConfigError, TrainingError
from hdrlab.stages import stage_class
from hdrlab.stages.base import Stage
from hdrlab.training.checkpoint_callback import Checkpoints, check_length
from hdrlab.training.checkpoints import (
    check_fits,
    check_resumes,
    header,
    load_weights,
    read_checkpoint,
    start_from_net,
)
from hdrlab.training.distributed import own_rank
from hdrlab.training.extensions import schedule
from hdrlab.training.inputs import Inputs
from hdrlab.training.run_folder import Run
from hdrlab.training.signals import Interruption
from hdrlab.training.trainer import build_trainer
from hdrlab.weights.net_file import NET_SUFFIXES

_OTHERS_GONE = ("Connection closed by peer", "Connection reset by peer", "Timed out waiting", "[gloo")
"""What torch says where another process is gone."""

GRACE = 10
"""Seconds that other processes of a run have to end by themselves."""


class OutOfMemory(MemoryError):
    """A run that did not fit into memory."""


def build_data(config: TrainConfig, index: Index | None = None, folder: Path | None = None) -> HDRDataModule:
    """Make the DataModule of a run; samples that cannot be made are listed in its folder."""
    return HDRDataModule(
        replace(config.data, val_images=config.val_images),
        stage=config.stage,
        seed=config.seed,
        cache=Path(config.paths.data) / "cache",
        index=index,
        preset=config.preset,
        bad_samples=config.trainer.bad_samples,
        listed=folder and folder / "bad_samples.txt",
    )


def build_stage(config: TrainConfig, starts: Mapping[str, Path] | None = None) -> Stage:
    """Make the stage with fresh weights, the same for the same seed, or with those it starts from.

    Args:
        config: The configuration.
        starts: Checkpoints, or files of one net, by the stage they are of, see
            ``hdrlab.training.slots.starting_points``.

    Raises:
        CheckpointError: If a checkpoint is of another stage or preset, or does not fit.
    """
    pl.seed_everything(config.seed, verbose=False)
    name = config.stage.name
    make = stage_class(name) if STAGES.origin(name) is None else guarded("stage", name, stage_class(name))
    stage: Stage = make(config.stage, config.preset)
    for name, path in (starts or {}).items():
        if path.suffix in NET_SUFFIXES:
            start_from_net(stage, path)
            continue
        stored = read_checkpoint(path)
        check_fits(stored, name, config, path)
        load_weights(stage, stored["state_dict"], path, whole=name == config.stage.name)
    # Before Lightning does: what it loads to go on from would be rounded.
    return stage.double() if config.trainer.precision == "64" else stage


def carry_out(inputs: Inputs, run: Run, interruption: Interruption) -> None:
    """Train in a run folder, and write there that it is done.

    Raises:
        TrainingError: It broke off, or its result is of no use.
    """
    config, first = inputs.config, own_rank() == 0
    data = build_data(config, inputs.index, run.folder)
    stage = build_stage(config, inputs.starts)
    stage.header = header(config, inputs.index, inputs.digests)
    if config.scheduler is not None:
        stage.scheduler = partial(schedule, config.scheduler)
    trainer = build_trainer(config, run, data, interruption)
    if first:
        begun = f"resuming {run.resume_from}" if run.resume_from else "a new run"
        print(f"{run.folder}: {begun}", flush=True)
        for name, path in inputs.starts.items():
            print(f"{name} starts from {path}")
        if config.stage.vgg16 == "random":
            print("perceptual loss on random VGG-16 weights: set paths.vgg16 to a file for the paper's loss")
    scores = fit(trainer, stage, data, run.resume_from)
    if first:
        run.mark_finished(trainer.global_step, scores, config.max_steps)
        for profile in sorted(run.folder.glob("*-profile.txt")):
            print(f"profile: {profile}")
        for panel in sorted((run.folder / "panels").glob("*.png"))[-1:]:
            print(f"panel: {panel}")


def fit(trainer: pl.Trainer, stage: Stage, data: HDRDataModule, resume_from: Path | None) -> dict[str, float]:
    """Train to the end.

    Returns:
        The scores of the last validation.

    Raises:
        OutOfMemory: Naming the keys that lower the need.
        CheckpointError: The checkpoint to resume from is damaged, or of something else.
        TrainingError: Too many steps were not finite, nothing could be saved, or a loader process died.
        SampleError: A sample could not be made.
        Interrupted: A signal asked to stop.
        RunError: The run has already come further than it is asked to.
        ConfigError: Lightning refuses what the configuration adds.
    """
    if resume_from:
        stored = read_checkpoint(resume_from)  # a clear error now instead of a trace later
        check_resumes(stored, stage, resume_from)
        check_length(stored, trainer.max_steps, resume_from)
    for logger in trainer.loggers:
        logger.log_hyperparams(stage.header)
    try:
        trainer.fit(stage, data, ckpt_path=str(resume_from) if resume_from else None, weights_only=True)
    except MisconfigurationException as error:
        _end_others(trainer)
        raise ConfigError([f"trainer, scheduler or callbacks: {error}"]) from error
    except (MemoryError, RuntimeError) as error:
        _end_others(trainer)
        message = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
        if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "allocate memory" in str(error):
            raise OutOfMemory(
                f"memory ran out; lower stage.batch_size (now {data.batch_size}), stage.patch "
                f"(now {data.patch}) or data.workers (now {data.config.workers}), compute a step in parts "
                f"(trainer.accumulate_grad_batches, now {trainer.accumulate_grad_batches}), or take "
                "trainer.precision=bf16"
            ) from error
        where = f"step {trainer.global_step + 1} of {stage.name}"
        if "DataLoader" in str(error):
            raise TrainingError(
                f"{where}: a loader process died or hung ({message}); memory or a slow disk may be the "
                "reason: lower data.workers; the same command goes on from the last checkpoint"
            ) from error
        if isinstance(error, torch.distributed.DistError) or any(w in message for w in _OTHERS_GONE):
            raise TrainingError(
                f"{where}: another process of this training died or hung ({message}); its messages are "
                "above; the same command goes on from the last checkpoint"
            ) from error
        if message.startswith("Early stopping conditioned on metric"):
            raise ConfigError([f"callbacks: {message}"]) from error
        raise
    except BaseException:
        _end_others(trainer)
        raise
    (kept,) = (one for one in trainer.callbacks if isinstance(one, Checkpoints))  # type: ignore[attr-defined]
    return kept.check_end(trainer)


def _end_others(trainer: pl.Trainer) -> None:
    """End the processes that Lightning has started for this run, also one that hangs."""
    if isinstance(trainer.strategy.launcher, _SubprocessScriptLauncher):
        for process in trainer.strategy.launcher.procs:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=GRACE)
            process.kill()
            process.wait()
