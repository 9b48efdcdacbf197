"""The order of samples: permutations without memory, and each step's share of the counters."""

from __future__ import annotations

import itertools
import time

import pytest

from hdrlab.datasets.sampler import CounterSampler, sample_index, shuffled


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 16, 17, 100, 257, 1000])
@pytest.mark.parametrize("key", [b"a", b"b"])
def test_shuffled_is_a_permutation(size: int, key: bytes) -> None:
    assert sorted(shuffled(i, size, key) for i in range(size)) == list(range(size))


def test_shuffled_mixes() -> None:
    size = 4000
    order = [shuffled(i, size, b"key") for i in range(size)]
    assert order != [shuffled(i, size, b"other") for i in range(size)]
    first_half = sum(value < size // 2 for value in order[: size // 2])
    assert abs(first_half - size / 4) < 5 * (size / 16) ** 0.5
    neighbours = sum(abs(a - b) == 1 for a, b in itertools.pairwise(order))
    assert neighbours < 20


def test_epochs_are_full_permutations_in_different_orders() -> None:
    size = 60
    drawn = [sample_index(counter, size, seed=3) for counter in range(3 * size)]
    epochs = [tuple(drawn[i * size : (i + 1) * size]) for i in range(3)]
    assert all(sorted(epoch) == list(range(size)) for epoch in epochs)
    assert len(set(epochs)) == 3
    assert epochs[0] != tuple(sample_index(counter, size, seed=4) for counter in range(size))


def test_large_index_space_is_never_laid_out() -> None:
    size = 1006 * 191 * 600
    began = time.perf_counter()
    drawn = {sample_index(counter, size, seed=0) for counter in range(2000)}
    assert time.perf_counter() - began < 20
    assert len(drawn) == 2000
    assert 0 <= min(drawn) < size // 10
    assert size * 9 // 10 < max(drawn) < size


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_ranks_share_each_step(ranks: int) -> None:
    samplers = [CounterSampler(8, steps=5, rank=rank, ranks=ranks) for rank in range(ranks)]
    share = 8 // ranks
    for step in range(5):
        dealt = [list(sampler)[share * step : share * (step + 1)] for sampler in samplers]
        assert [counter for one in dealt for counter in one] == list(range(8 * step, 8 * step + 8))
    assert {len(sampler) for sampler in samplers} == {5 * 8 // ranks}


def test_resumed_sampler_goes_on_with_the_next_step() -> None:
    whole, resumed = CounterSampler(4, steps=6), CounterSampler(4, steps=6, start=4)
    assert list(resumed) == list(whole)[4 * 4 :]
    assert len(resumed) == 6 * 4


def test_each_epoch_goes_on_where_the_one_before_ended() -> None:
    step = 7
    epochs = CounterSampler(4, steps=3, start=lambda: step)
    assert list(epochs) == list(range(4 * 7, 4 * 9))
    step = 9
    assert list(epochs) == list(range(4 * 9, 4 * 12))
