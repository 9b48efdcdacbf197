"""Statistics in Gaussian windows that slide over a picture."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

Window = tuple[float, ...]
"""Weights along one axis, of sum 1; a window is their outer product."""


def gaussian_window(size: int, sigma: float) -> Window:
    """Return the weights of a Gaussian along one axis.

    Args:
        size: Number of weights, odd.
        sigma: Standard deviation in samples.

    Returns:
        Weights of sum 1.
    """
    weights = [math.exp(-0.5 * ((i - size // 2) / sigma) ** 2) for i in range(size)]
    return tuple(weight / sum(weights) for weight in weights)


def window_mean(x: Tensor, window: Window) -> Tensor:
    """Average over every window that lies inside the picture.

    Args:
        x: Maps [..., H, W] of any domain, both sides at least the window's.
        window: Weights along one axis, K of them.

    Returns:
        Means [..., H − K + 1, W − K + 1].
    """
    for dim in (-1, -2):
        x = _mean_along(x, window, dim)
    return x


def window_moments(x: Tensor, y: Tensor, window: Window) -> tuple[Tensor, Tensor]:
    """Find means, variances and covariance in every window that lies inside the pictures.

    Deviations are summed, never squares subtracted: a flat patch of 4·10⁹ has the variance 0. A window's
    variance is the mean of its rows' variances and the variance of its rows' means, so that each axis is
    gone over by itself.

    Args:
        x: Maps [..., H, W] of any domain, both sides at least the window's.
        y: Maps of the same shape.
        window: Weights along one axis, K of them.

    Returns:
        Means [2, ..., H − K + 1, W − K + 1] of x and y; and their moments [3, ...]: variance of x, variance
        of y, covariance.
    """
    means = torch.stack([x, y])
    moments = x.new_zeros(3, *x.shape)
    for dim in (-1, -2):
        moments = _mean_along(moments, window, dim)
        values, means = means, _mean_along(means, window, dim)
        for weight, neighbour in _neighbours(values, window, dim):
            deviation = neighbour - means
            moments[:2].addcmul_(deviation, deviation, value=weight)
            moments[2].addcmul_(deviation[0], deviation[1], value=weight)
    return means, moments


def _mean_along(x: Tensor, window: Window, dim: int) -> Tensor:
    """Average along one axis."""
    neighbours = _neighbours(x, window, dim)
    weight, neighbour = next(neighbours)
    mean = weight * neighbour
    for weight, neighbour in neighbours:
        mean.add_(neighbour, alpha=weight)
    return mean


def _neighbours(x: Tensor, window: Window, dim: int) -> Iterator[tuple[float, Tensor]]:
    """Yield each weight with the samples it applies to."""
    size = x.shape[dim] - len(window) + 1
    return ((weight, x.narrow(dim, offset, size)) for offset, weight in enumerate(window))
