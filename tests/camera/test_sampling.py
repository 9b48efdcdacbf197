"""Random camera parameters: reproducible by counter, in the stated ranges."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
import torch

from hdrlab.camera import camera_generator, exposure_list, positional_qualities, sample_noise


def _draw(index: int) -> tuple[float, float]:
    noise = sample_noise(camera_generator(7, index), (8, 8))
    assert noise is not None
    return noise.u_signal.sum().item(), noise.n_constant.sum().item()


def test_same_index_gives_the_same_camera_in_any_order_and_process() -> None:
    forward = [_draw(index) for index in range(4)]
    backward = [_draw(index) for index in reversed(range(4))][::-1]
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        elsewhere = list(pool.map(_draw, range(4)))
    assert forward == backward == elsewhere
    assert len(set(forward)) == 4


def test_streams_seeds_and_indices_are_apart() -> None:
    arguments = [(0, 0, 1), (1, 0, 1), (0, 1, 1), (0, 0, 0), (-1, 0, 1), (2**40, 0, 1), (0, 2**40, 1)]
    assert len({camera_generator(*each).random() for each in arguments}) == len(arguments)


def test_neighbouring_indices_are_uncorrelated() -> None:
    draws = np.array([camera_generator(0, index).standard_normal(200) for index in range(200)])
    correlation = (draws[:-1] * draws[1:]).mean()
    assert abs(correlation) < 0.02
    assert abs(draws[:, 0].mean()) < 0.25


def test_noise_modes() -> None:
    independent = sample_noise(camera_generator(0, 0), (64, 64))
    authors = sample_noise(camera_generator(0, 0), (64, 64), "authors")
    assert independent is not None
    assert authors is not None
    assert torch.equal(authors.u_signal, authors.u_constant)
    assert torch.equal(authors.n_signal, authors.n_constant)
    assert not torch.equal(independent.u_signal, independent.u_constant)
    both = torch.stack([independent.n_signal.flatten(), independent.n_constant.flatten()])
    assert both.corrcoef()[0, 1].abs() < 0.03
    assert independent.u_signal.shape == (1, 3, 1, 1)
    assert independent.n_signal.shape == (1, 3, 64, 64)
    assert independent.n_signal.dtype == torch.float32
    assert sample_noise(camera_generator(0, 0), (4, 4), "none") is None
    with pytest.raises(ValueError, match=r"'loud': use one of independent, authors, none"):
        sample_noise(camera_generator(0, 0), (4, 4), "loud")  # type: ignore[arg-type]


def test_exposures_are_even_in_stops() -> None:
    assert exposure_list(7).tolist() == [1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8]
    assert exposure_list(600).dtype == np.float32
    assert np.ptp(np.diff(np.log2(exposure_list(600)))) < 1e-6


@pytest.mark.parametrize(
    ("size", "qualities"),
    [
        (1, [90]),
        (8, [90, 91, 93, 94, 96, 97, 99, 100]),
        (16, [90, 91, 91, 92, 93, 93, 94, 95, 95, 96, 97, 97, 98, 99, 99, 100]),
        (5, [90, 92, 95, 98, 100]),
    ],
)
def test_positional_qualities(size: int, qualities: list[int]) -> None:
    assert positional_qualities(size) == qualities
