"""Guards against steps that would spoil a training."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from hdrlab.errors import TrainingError
from hdrlab.io.atomic import appending_text


class Guard(pl.Callback):
    """Leaves out steps whose loss or gradient is not finite, and stops a run that has too many of them.

    Such a step changes neither weights nor optimiser nor running averages. What it was made of is written to
    ``bad_steps.csv`` in the run folder. With float16 the gradient scaler looks after gradients that overflow.

    Args:
        folder: The run folder.
        limit: Bad steps that are left out; the next one stops the run.
        describe: From a sample's counter to what it is made of.
    """

    def __init__(self, folder: Path, limit: int, describe: Callable[[int], str]) -> None:
        self.path, self.limit, self.describe = folder / "bad_steps.csv", limit, describe
        self.num_bad = 0
        self._losses: list[Tensor] = []
        self._buffers: list[Tensor] = []
        self._kept: list[Tensor] = []

    def state_dict(self) -> dict[str, Any]:
        """Return the number of bad steps so far."""
        return {"num_bad": self.num_bad}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting."""
        self.num_bad = state_dict["num_bad"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Find the running averages, which a forward pass changes by itself."""
        self._buffers = [b for b in pl_module.buffers() if b.is_floating_point()]
        self._kept = [torch.empty_like(buffer) for buffer in self._buffers]

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Keep them as they are before a step."""
        if batch_idx % trainer.accumulate_grad_batches == 0:
            self._losses = []
            if self._buffers:
                torch._foreach_copy_(self._kept, self._buffers)

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor) -> None:
        """Note a loss."""
        self._losses.append(loss.detach())

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Take the gradients from a bad step; an optimiser leaves alone what has none.

        Raises:
            TrainingError: There were too many.
        """
        watched = [torch.stack(self._losses).sum()]
        if getattr(trainer.precision_plugin, "scaler", None) is None:
            grads = [p.grad for p in pl_module.parameters() if p.grad is not None]
            watched.append(torch.nn.utils.get_total_norm(grads))
        bad = ~torch.isfinite(torch.stack([one.float() for one in watched])).all()
        if trainer.world_size > 1:
            bad = trainer.strategy.reduce(bad.float(), reduce_op="max") > 0
        if not bool(bad):
            return
        optimizer.zero_grad(set_to_none=True)
        if self._buffers:
            torch._foreach_copy_(self._buffers, self._kept)
        self.num_bad += 1
        if trainer.is_global_zero:
            self._write(trainer, float(watched[0]))
        if self.num_bad > self.limit:
            raise TrainingError(
                f"step {trainer.global_step + 1}: loss or gradient is not finite, as in {self.limit} steps "
                f"before; {self.path} names the samples. A lower stage.lr, trainer.gradient_clip_val=1 or "
                "trainer.precision=32 may help; trainer.bad_steps is how many are left out"
            )

    def _write(self, trainer: pl.Trainer, loss: float) -> None:
        step, batch = trainer.global_step, trainer.datamodule.batch_size  # type: ignore[attr-defined]
        samples = "; ".join(f"{k}: {self.describe(k)}" for k in range(step * batch, (step + 1) * batch))
        begun = self.path.is_file()
        with appending_text(self.path) as stream:
            writer = csv.writer(stream, lineterminator="\n")
            if not begun:
                writer.writerow(("step", "loss", "samples"))
            writer.writerow((step + 1, repr(loss), samples))
        print(
            f"warning: step {step + 1} left out: loss or gradient is not finite, see {self.path}",
            file=sys.stderr,
        )
