"""Samples that say what they are made of when they cannot be made."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset

from hdrlab.io.atomic import appending_text

ELSEWHERE = 1 << 40
"""How far from a sample the one is that stands for it: farther than any training counts."""


class SampleError(ValueError):
    """A training sample that could not be made."""

    exit_code = 1

    def __init__(self, message: str) -> None:
        # What a loader process raises comes back wrapped into its whole trace.
        super().__init__(message.rpartition(f"{type(self).__name__}: ")[2].strip())


class CheckedSamples(Dataset[dict[str, Tensor]]):
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

    @property
    def epoch(self) -> int:
        """Samples of an epoch."""
        return int(self.samples.epoch)  # type: ignore[attr-defined]

    def __getitem__(self, counter: int) -> dict[str, Tensor]:
        try:
            return self.samples[counter]
        except MemoryError:
            raise  # no fault of the sample
        except Exception as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            message = f"sample {counter} ({describe(self.samples, counter)}): {reason}"
            if self.listed is None or self._note(counter, message) > self.spare:
                raise SampleError(message) from error
        return self[counter + ELSEWHERE]

    def _note(self, counter: int, message: str) -> int:
        """Write a sample down, unless it was before; return how many there are."""
        assert self.listed is not None
        lines = self.listed.read_text(encoding="utf-8").splitlines() if self.listed.is_file() else []
        if not any(line.startswith(f"sample {counter} (") for line in lines):
            lines.append(message)
            with appending_text(self.listed) as stream:
                stream.write(message + "\n")
            print(f"warning: {message}; another stands for it", file=sys.stderr, flush=True)
        return len(lines)


def describe(samples: Any, counter: int) -> str:
    """Say what a sample is made of: of a training set by its counter, of a validation set by its number."""
    return str(samples.describe(counter) if hasattr(samples, "describe") else samples.image(counter).file)
