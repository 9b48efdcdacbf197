"""The moving average of a training's weights, which is better than the last step's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor

Tensors = tuple[Tensor, ...] | list[Tensor]


class Averages(WeightAveraging):
    """Keeps an exponential moving average of weights and batch-norm statistics; validates and saves that.

    A checkpoint's ``state_dict`` holds the averages, ready for use; the weights that the training goes on
    from lie beside it as ``current_model_state``, and a resume takes up both.

    Args:
        decay: Share that the average keeps of itself in a step, in (0, 1).
    """

    def __init__(self, decay: float) -> None:
        super().__init__(use_buffers=True, multi_avg_fn=moving_average(decay))
        self.exchanged = False

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Make the averages where and in what precision the training will be; the model comes there later."""
        self._device = trainer.strategy.root_device
        super().setup(trainer, pl_module, stage)
        if self._average_model is not None:
            trainer.precision_plugin.convert_module(self._average_model)

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Give the averages to the stage, and keep its weights meanwhile."""
        super().on_validation_epoch_start(trainer, pl_module)
        self.exchanged = True

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Give the weights back."""
        super().on_validation_epoch_end(trainer, pl_module)
        self.exchanged = False

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Save both, and right too where a validation is broken off."""
        super().on_save_checkpoint(trainer, pl_module, checkpoint)
        if self.exchanged:
            own, average = checkpoint["state_dict"], checkpoint["current_model_state"]
            checkpoint |= {"state_dict": average, "current_model_state": own}


def moving_average(decay: float) -> Callable[[Tensors, Tensors, Tensor | int], None]:
    """Return the update of the averages, as ``torch.optim.swa_utils.AveragedModel`` calls it.

    In the first steps the average follows faster, so that in a short training it is not mostly made of
    the fresh weights: at step n it keeps (1 + n) / (10 + n), at most ``decay``.

    Args:
        decay: Share that the average keeps of itself in a step.
    """

    @torch.no_grad()
    def update(averages: Tensors, current: Tensors, count: Tensor | int) -> None:
        """Move averages towards the current values, all of one dtype."""
        if averages[0].is_floating_point():
            # Unlike a sum of shares this leaves what never changes exactly as it is.
            torch._foreach_lerp_(averages, current, max(1 - decay, 9 / (10 + int(count))))
        else:
            torch._foreach_copy_(averages, current)  # counters

    return update
