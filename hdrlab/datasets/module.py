"""The one DataModule: training samples by counter, a fixed validation set."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as pl
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from hdrlab.datasets.order import CounterSampler

TIMEOUT = 60
"""Seconds after which a loader process that gives nothing counts as hung."""


ELSEWHERE = 1 << 40
"""How far from a sample the one is that stands for it: farther than any training counts."""


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
        spare: Training samples that others may stand for where they cannot be made.
        listed: File these are written to.
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
        spare: int = 0,
        listed: Path | None = None,
    ) -> None:
        super().__init__()
        self.training, self.validation = _Named(training, spare, listed), _Named(validation)
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
    """Samples that say what they are made of when they cannot be made; others may stand for a few of them.

    Args:
        samples: The samples.
        spare: How many may be replaced; each is written down, once for all loader processes and resumes.
        listed: File they are written to.
    """

    def __init__(
        self, samples: Dataset[dict[str, Tensor]], spare: int = 0, listed: Path | None = None
    ) -> None:
        self.samples, self.spare, self.listed = samples, spare, listed

    def __len__(self) -> int:
        return len(self.samples)  # type: ignore[arg-type]

    def __getitem__(self, counter: int) -> dict[str, Tensor]:
        try:
            return self.samples[counter]
        except MemoryError:
            raise  # no fault of the sample
        except Exception as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            said = f"sample {counter} ({describe(self.samples, counter)}): {reason}"
            if self.listed is None or self._note(counter, said) > self.spare:
                raise SampleError(said) from error
        return self[counter + ELSEWHERE]

    def _note(self, counter: int, said: str) -> int:
        """Write a sample down, unless it was before; return how many there are."""
        assert self.listed is not None
        lines = self.listed.read_text(encoding="utf-8").splitlines() if self.listed.is_file() else []
        if not any(line.startswith(f"sample {counter} (") for line in lines):
            lines.append(said)
            with self.listed.open("a", encoding="utf-8") as stream:
                stream.write(said + "\n")
            print(f"warning: {said}; another stands for it", file=sys.stderr, flush=True)
        return len(lines)


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
