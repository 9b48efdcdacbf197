"""The one DataModule: training samples by counter, a fixed validation set."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from hdrlab.datasets.order import CounterSampler


class HdrData(pl.LightningDataModule):
    """Feeds a training.

    The order of samples follows from the step alone, so a resumed run goes on with the sample that was next.

    Args:
        training: Samples by global counter.
        validation: The fixed validation samples.
        batch_size: Samples a step, over all ranks together.
        steps: Steps of the whole run.
        workers: Loader processes; 0 loads in the main one.
    """

    def __init__(
        self,
        training: Dataset[dict[str, Tensor]],
        validation: Dataset[dict[str, Tensor]],
        *,
        batch_size: int,
        steps: int,
        workers: int,
    ) -> None:
        super().__init__()
        self.training, self.validation = training, validation
        self.batch_size, self.steps, self.workers = batch_size, steps, workers

    def train_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Load from the step the trainer stands at to the end of the run."""
        assert self.trainer is not None
        sampler = CounterSampler(
            self.batch_size,
            self.steps,
            start=self.trainer.global_step,
            rank=self.trainer.global_rank,
            ranks=self.trainer.world_size,
        )
        return DataLoader(self.training, batch_sampler=sampler, **self._loading())

    def val_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Load the validation set one by one: a picture at a time is what every memory can hold."""
        return DataLoader(self.validation, batch_size=1, **self._loading())

    def _loading(self) -> dict[str, Any]:
        return {
            "num_workers": self.workers,
            "persistent_workers": self.workers > 0,
            "pin_memory": self.trainer is not None and self.trainer.accelerator.name() == "cuda",
        }
