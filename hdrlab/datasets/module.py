"""The one DataModule: training samples by counter, a fixed validation set."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

import pytorch_lightning as pl
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from hdrlab.datasets.order import CounterSampler

TIMEOUT = 60
"""Seconds after which a loader process that gives nothing counts as hung."""


class SampleError(ValueError):
    """A training sample that could not be made."""

    exit_code = 1

    def __init__(self, said: str) -> None:
        # What a loader process raises comes back wrapped into its whole trace.
        super().__init__(said.rpartition(f"{type(self).__name__}: ")[2].strip())


class HdrData(pl.LightningDataModule):
    """Feeds a training.

    The order of samples follows from the step alone, so a resumed run goes on with the sample that was next.

    Args:
        training: Samples by global counter.
        validation: The fixed validation samples.
        batch_size: Samples a step, over all ranks together.
        steps: Steps of the whole run.
        workers: Loader processes; 0 loads in the main one.
        accumulate: Parts a step is computed in, one after the other.
    """

    def __init__(
        self,
        training: Dataset[dict[str, Tensor]],
        validation: Dataset[dict[str, Tensor]],
        *,
        batch_size: int,
        steps: int,
        workers: int,
        accumulate: int = 1,
    ) -> None:
        super().__init__()
        self.training, self.validation = _Named(training), _Named(validation)
        self.batch_size, self.steps, self.workers, self.accumulate = batch_size, steps, workers, accumulate

    def describe(self, counter: int) -> str:
        """Say what a training sample is made of, for messages."""
        return describe(self.training.samples, counter)

    def train_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Load from the step the trainer stands at to the end of the run."""
        assert self.trainer is not None
        sampler = CounterSampler(
            self.batch_size,
            self.steps,
            start=self.trainer.global_step,
            rank=self.trainer.global_rank,
            ranks=self.trainer.world_size,
            parts=self.accumulate,
        )
        return DataLoader(self.training, batch_sampler=sampler, **self._loading())

    def val_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Load the validation set one by one: a picture at a time is what every memory can hold."""
        return DataLoader(self.validation, batch_size=1, **self._loading())

    def _loading(self) -> dict[str, Any]:
        return {
            "num_workers": self.workers,
            "persistent_workers": self.workers > 0,
            "timeout": TIMEOUT if self.workers else 0,
            "worker_init_fn": _leave_signals_to_the_run,
            "pin_memory": self.trainer is not None and self.trainer.accelerator.name() == "cuda",
        }


class _Named(Dataset[dict[str, Tensor]]):
    """Samples that say what they are made of when they cannot be made."""

    def __init__(self, samples: Dataset[dict[str, Tensor]]) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)  # type: ignore[arg-type]

    def __getitem__(self, counter: int) -> dict[str, Tensor]:
        try:
            return self.samples[counter]
        except Exception as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise SampleError(f"sample {counter} ({describe(self.samples, counter)}): {reason}") from error


def describe(samples: Any, counter: int) -> str:
    """Say what a sample is made of: of a training set by its counter, of a validation set by its number."""
    return str(samples.describe(counter) if hasattr(samples, "describe") else samples.picture(counter).file)


def _leave_signals_to_the_run(worker: int) -> None:
    """Let a loader process serve its run to the end of the step, though a signal went to all of a job.

    One that its run ends, or forgets, must not live on: it goes some time after SIGTERM.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGUSR1"):
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, _go_later)


def _go_later(number: int, frame: FrameType | None) -> None:
    signal.alarm(TIMEOUT)
