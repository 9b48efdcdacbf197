"""The bilateral grid against the filter's definition."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from hdrlab.ops.bilateral_grid import cross_bilateral


def by_definition(
    values: NDArray[np.float32], guide: NDArray[np.float32], sigma_space: float, sigma_range: float
) -> NDArray[np.float64]:
    y, x = np.mgrid[: values.shape[0], : values.shape[1]]
    wanted = np.empty(values.shape)
    for row, column in np.ndindex(values.shape):
        near = ((y - row) ** 2 + (x - column) ** 2) / sigma_space**2
        alike = (guide - guide[row, column]) ** 2 / sigma_range**2
        weights = np.exp(-(near + alike) / 2)
        wanted[row, column] = (weights * values).sum() / weights.sum()
    return wanted


def test_it_smooths_noise_and_keeps_an_edge() -> None:
    noise = np.random.default_rng(1).normal(0, 0.1, (40, 48))
    values = (np.where(np.arange(48) < 24, 0.0, 3.0) + noise).astype(np.float32)
    made = cross_bilateral(values, values, 4.0, 0.5)
    error = np.abs(made - by_definition(values, values, 4.0, 0.5))
    assert error.max() < 0.1
    assert error.mean() < 0.015
    assert made[:, :24].std() < 0.04  # the noise of 0.1 is gone, the edge of 3 is not
    assert made[:, 24:].mean() - made[:, :24].mean() == pytest.approx(3, abs=0.02)


def test_the_edges_are_those_of_the_guide() -> None:
    y, x = np.mgrid[0:40, 0:40]
    guide = 0.3 + 0.5 * (x > 20) + 0.02 * np.random.default_rng(3).random((40, 40))
    values = (y / 40 + (x > 20)).astype(np.float32)
    made = cross_bilateral(values, guide.astype(np.float32), 4.0, 0.15)
    wanted = by_definition(values, guide.astype(np.float32), 4.0, 0.15)
    assert np.abs(made - wanted)[4:-4, 4:-4].max() < 0.02
    assert made.dtype == np.float32
