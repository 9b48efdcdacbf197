"""What makes a resume exact: checkpoints between steps, and randomness that follows from the step alone."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Timer

from hdrlab.errors import RunError, TrainingError
from hdrlab.training.checkpoint_list import BEST, LAST, read_manifest
from hdrlab.training.checkpoints import CheckpointFiles
from hdrlab.training.signals import Interrupted, Interruption

SAVE_ATTEMPTS = 3


class Checkpoints(pl.Callback):
    """Saves the run: after every validation, every so many steps if asked for, and when it is asked to stop.

    A validation comes before the first step, so that a stage which starts from others is never published
    worse than it started; after the last one; and first of all where one was broken off. Everything that
    Lightning counts is set from the optimiser step, so a run goes on with the very next one.

    Args:
        folder: The run folder.
        files: Writes them.
        interruption: Says when to stop.
        every: Steps between checkpoints beside those of the validations; None makes none.
    """

    def __init__(
        self, folder: Path, files: CheckpointFiles, interruption: Interruption, every: int | None = None
    ) -> None:
        self.folder, self.files, self.interruption, self.every = folder, files, interruption, every
        self.best = math.inf
        self.scores: dict[str, float] = {}
        self.owes_validation = True
        self.validated_step = self.saved_step = -1
        self.failures = 0

    def state_dict(self) -> dict[str, Any]:
        """Return the best and the last validation, and whether that of this step is missing."""
        return {
            "best": self.best,
            "scores": self.scores,
            "validated_step": self.validated_step,
            "owes_validation": self.owes_validation,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on comparing with the best validation loss of before."""
        self.best = state_dict["best"]
        self.scores = state_dict.get("scores", {})
        self.validated_step = state_dict.get("validated_step", -1)
        self.owes_validation = state_dict.get("owes_validation", False)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count on from the step that is reached, and make up for a validation that is missing."""
        self.interruption.begin()
        loop, step = trainer.fit_loop.epoch_loop, trainer.global_step
        loop.restarting = False
        for name in vars(loop.batch_progress.total):
            setattr(loop.batch_progress.total, name, step * trainer.accumulate_grad_batches)
        loop._batches_that_stepped = step
        if step:
            self.saved_step = step
        if self.owes_validation:
            loop._batches_that_stepped -= 1  # Lightning counts it after a validation
            trainer.validating = True
            loop.val_loop.run()
            trainer.training = True
            loop._batches_that_stepped += 1

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Save between two steps, when all that belongs to the one before is logged; stop if asked to."""
        if batch_idx % trainer.accumulate_grad_batches:
            return
        code = self._asked_to_stop(trainer)
        due = self.every is not None and trainer.global_step % self.every == 0
        if (due or code is not None) and self.saved_step != trainer.global_step:
            self._save(trainer, best=False)
        if code is not None:
            self._stop(trainer, code)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Ask for a validation after the last step, whether the interval divides the run's length or not."""
        if trainer.global_step == trainer.max_steps:
            trainer.should_stop = True

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Break off a validation if asked to, but not the last: no later step would make up for that."""
        if trainer.global_step == trainer.max_steps or trainer.sanity_checking:
            return
        code = self._asked_to_stop(trainer)
        if code is None:
            return
        if trainer.global_step and self.saved_step != trainer.global_step:
            self.owes_validation = True
            self._save(trainer, best=False)
        self._stop(trainer, code)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save, as the best one too where it is that."""
        if trainer.sanity_checking:
            return
        self.files.finish()  # the best one may still be on its way
        self.scores = {name: float(value) for name, value in trainer.callback_metrics.items()}
        loss = self.scores.get("val/loss", math.inf)
        is_kept = (self.folder / BEST).is_file() and any(
            one.file == BEST for one in read_manifest(self.folder)
        )
        improved = loss < self.best or not is_kept
        if loss < self.best:  # which NaN is not
            self.best = loss
        self.validated_step, self.owes_validation = trainer.global_step, False
        self._save(trainer, best=improved)

    def check_end(self, trainer: pl.Trainer) -> dict[str, float]:
        """Check what became of a training that Lightning has ended, and return what `check_result` does.

        Raises:
            TrainingError: Its time was up, or no step was made; or as there.
        """
        step, length = trainer.global_step, trainer.max_steps
        timers = [one for one in trainer.callbacks if isinstance(one, Timer)]  # type: ignore[attr-defined]
        left = [seconds for one in timers if (seconds := one.time_remaining()) is not None]
        if step < length and min(left, default=1) <= 0:
            raise TrainingError(
                f"{self.folder}: trainer.max_time is used up at step {step} of {length}, so nothing is "
                "published; with more of it the same command goes on there"
            )
        if not step:
            raise TrainingError(f"{self.folder}: not one step was made; raise trainer.limit_train_batches")
        return self.check_result()

    def check_result(self) -> dict[str, float]:
        """Return the scores of the last validation.

        Raises:
            TrainingError: Its loss is no finite number: what was trained is of no use. Or no image counted.
        """
        if "val/loss" not in self.scores:
            raise TrainingError(
                f"{self.folder}: trained to the end, but no validation has found an image that its stage "
                "scores, so nothing is published; raise the number of validation images "
                "(trainer.val_images, else data.val_images) or of their batches (trainer.limit_val_batches, "
                "overfit_batches)"
            )
        loss = self.scores.get("val/loss", math.nan)
        if not math.isfinite(loss):
            raise TrainingError(
                f"{self.folder}: trained to the end, but the validation loss is {loss}; nothing is "
                "published. A lower stage.lr or trainer.gradient_clip_val=1 may help"
            )
        return {name: value for name, value in self.scores.items() if math.isfinite(value)}

    def _asked_to_stop(self, trainer: pl.Trainer) -> int | None:
        """Return the exit code asked for by a signal to any of the ranks."""
        return _largest(trainer, self.interruption.code or 0) or None

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """See to it that the last checkpoint is on the disk.

        Raises:
            TrainingError: It is not.
        """
        self.files.finish()
        self._judge(trainer, bearable=0)

    def _stop(self, trainer: pl.Trainer, code: int) -> NoReturn:
        """End the training when its last checkpoint is on the disk."""
        self.files.finish()
        self._judge(trainer, bearable=0)
        raise Interrupted(code)

    def _save(self, trainer: pl.Trainer, *, best: bool) -> None:
        """Begin to save. A disk that is full for a while costs checkpoints, not the run."""
        trainer.save_checkpoint(self.folder / LAST, storage_options={"best": best})
        self.saved_step = trainer.global_step
        self._judge(trainer, bearable=SAVE_ATTEMPTS - 1)

    def _judge(self, trainer: pl.Trainer, *, bearable: int) -> None:
        """Look at what became of the checkpoints so far.

        Raises:
            TrainingError: The run is no longer sound, or more could not be written, one after the other, than
                are bearable.
        """
        error = self.files.take_error()
        failed = _largest(trainer, 0 if error is None else 1 if isinstance(error, OSError) else 2)
        self.failures = self.failures + 1 if failed else 0
        message = f"{self.folder / LAST}: not saved ({error}); the one before is kept"
        if failed == 2 or self.failures > bearable:
            raise TrainingError(f"{message}, and the same command goes on from it")
        if failed and trainer.is_global_zero:
            print(f"warning: {message}", file=sys.stderr, flush=True)


def _largest(trainer: pl.Trainer, value: int) -> int:
    """Return the largest of the values of all ranks."""
    if trainer.world_size == 1:
        return value
    own = torch.tensor(float(value), device=trainer.strategy.root_device)
    return int(trainer.strategy.reduce(own, reduce_op="max"))


def check_length(stored: Mapping[str, Any], max_steps: int, path: Path) -> None:
    """Refuse to end a training where it was broken off: that step was never validated.

    Raises:
        RunError: It went as far as it is asked to, or further, and has no scores of that.
    """
    step = int(stored["global_step"])
    validated = stored.get("callbacks", {}).get("Checkpoints", {}).get("validated_step", -1)
    if step >= max_steps and validated != step:
        raise RunError(
            f"{path}: has come to step {step} and was broken off there; max_steps={max_steps} has to be "
            "more, or resume=never begins anew"
        )


def owes_validation(stored: Mapping[str, Any]) -> bool:
    """Say whether a checkpoint was saved while the validation of its step was broken off."""
    return bool(stored.get("callbacks", {}).get("Checkpoints", {}).get("owes_validation", False))


class Reseeding(pl.Callback):
    """Seeds torch's generators for every batch, so that what a net draws follows from the step alone.

    Args:
        seed: The run's seed.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Seed from run, step, part of an accumulated step, and rank."""
        part = batch_idx % trainer.accumulate_grad_batches
        place = (self.seed, trainer.global_step, part, trainer.global_rank)
        torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1, np.uint64)[0]))
