"""The order of samples as a function of a counter, so that it needs no memory and can start anywhere."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

from torch.utils.data import DistributedSampler

_ROUNDS = 4


def shuffled(position: int, size: int, key: bytes) -> int:
    """Return where a keyed permutation of ``range(size)`` sends a position.

    A balanced Feistel network permutes the next power of four; values outside the range are sent round
    again (cycle walking) until they fall inside. Nothing of the range is ever stored, however large it is.

    Args:
        position: Position in the shuffled order, in [0, size).
        size: Length of the range.
        key: Names the permutation, for example seed and epoch.

    Source:
        Black and Rogaway, Ciphers with Arbitrary Finite Domains, CT-RSA 2002, section 3 and 4.
    """
    half = max(1, ((size - 1).bit_length() + 1) // 2)
    low = (1 << half) - 1
    value = position
    while True:
        left, right = value >> half, value & low
        for step in range(_ROUNDS):
            word = step.to_bytes(1, "little") + right.to_bytes(8, "little")
            mixed = int.from_bytes(hashlib.blake2b(word, key=key, digest_size=8).digest(), "little")
            left, right = right, left ^ (mixed & low)
        value = (left << half) | right
        if value < size:
            return value


def sample_index(counter: int, size: int, seed: int) -> int:
    """Return which sample of a set is drawn at a global counter: full permutations, one after the other.

    Args:
        counter: How many samples were drawn before this one since the training began.
        size: Number of samples in the set.
        seed: The run's seed.
    """
    epoch, position = divmod(counter, size)
    return shuffled(position, size, f"order:{seed}:{epoch}".encode())


class CounterSampler(DistributedSampler[int]):
    """Yields the global counters of each step's samples, this rank's share of them, in one part or several.

    Step s of a run draws the counters s·B … s·B+B−1, whatever the number of ranks and wherever the run
    was resumed. The length is that of the whole epoch, also after a resume: Lightning counts so.

    Args:
        batch_size: B, over all ranks together.
        steps: Steps of an epoch; most trainings are one.
        start: First step that is still to be done; of several epochs, what says so when one begins.
        rank: This process.
        ranks: Number of processes.
        parts: Parts a step is computed in, one after the other.
    """

    def __init__(
        self,
        batch_size: int,
        steps: int,
        start: int | Callable[[], int] = 0,
        rank: int = 0,
        ranks: int = 1,
        parts: int = 1,
    ) -> None:
        super().__init__(range(steps * batch_size), ranks, rank, shuffle=False)  # type: ignore[arg-type]
        self.batch_size, self.steps, self.start, self.parts = batch_size, steps, start, parts
        self.share = batch_size // (ranks * parts)
        """Samples of a part on a rank."""

    def __len__(self) -> int:
        return self.steps * self.parts * self.share

    def __iter__(self) -> Iterator[int]:
        first, last = (self.start, self.steps) if isinstance(self.start, int) else self._epoch(self.start())
        for step in range(first, last):
            for part in range(self.parts):
                begin = step * self.batch_size + (part * self.num_replicas + self.rank) * self.share
                yield from range(begin, begin + self.share)

    def _epoch(self, step: int) -> tuple[int, int]:
        return step, (step // self.steps + 1) * self.steps
