"""Statistics in Gaussian windows that slide over images, and SSIM, which is made of them.

There are two ways to the moments: `local_statistics` by convolution, fast and with gradients, for encoded
images; `window_moments` by sums of deviations, for float64 values of any size.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

WINDOW, SIGMA = 11, 1.5
"""Width of SSIM's window and its standard deviation, in pixels."""

Window = tuple[float, ...]
"""Weights along one axis, of sum 1; a window is their outer product."""


class LocalStatistics(NamedTuple):
    """Gaussian-weighted moments of two images a and b around each pixel, [B, C, H − 10, W − 10] each."""

    mean_a: Tensor
    mean_b: Tensor
    var_a: Tensor
    var_b: Tensor
    cov: Tensor


@lru_cache
def gaussian_window(size: int = WINDOW, sigma: float = SIGMA) -> Window:
    """Return the weights of a Gaussian along one axis.

    Args:
        size: Number of weights, odd.
        sigma: Standard deviation in samples.

    Returns:
        Weights of sum 1.
    """
    weights = [math.exp(-0.5 * ((i - size // 2) / sigma) ** 2) for i in range(size)]
    return tuple(weight / sum(weights) for weight in weights)


def local_statistics(a: Tensor, b: Tensor) -> LocalStatistics:
    """Compute means, variances and covariance in an 11×11 Gaussian window, where it lies within the image.

    Args:
        a: Images [B, C, H, W], H and W at least 11.
        b: The same shape.

    Returns:
        Maps [B, C, H − 10, W − 10]; variances are at least 0.
    """
    # E[x²] − E[x]² loses the digits that the mean takes up. It may be any mean: the gradient is the same.
    centres = [x.mean(dim=(2, 3), keepdim=True).detach() for x in (a, b)]
    a, b = (x - centre for x, centre in zip((a, b), centres, strict=True))
    mean_a, mean_b, square_a, square_b, product = _blur(torch.stack([a, b, a * a, b * b, a * b]))
    return LocalStatistics(
        mean_a + centres[0],
        mean_b + centres[1],
        (square_a - mean_a.square()).clamp(min=0),
        (square_b - mean_b.square()).clamp(min=0),
        product - mean_a * mean_b,
    )


def ssim_map(local: LocalStatistics, peak: float = 1.0) -> Tensor:
    """Return SSIM in each window, in [-1, 1] and of the shape of the statistics.

    Args:
        local: From `local_statistics`.
        peak: Range of the images' values.

    Source: Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity", 2004.
    """
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    luminance = (2 * local.mean_a * local.mean_b + c1) / (local.mean_a.square() + local.mean_b.square() + c1)
    return luminance * (2 * local.cov + c2) / (local.var_a + local.var_b + c2)


def contrast_map(local: LocalStatistics, peak: float = 1.0) -> Tensor:
    """Return SSIM without its comparison of means, [..., H', W'] in [-1, 1]; arguments as in `ssim_map`."""
    c2 = (0.03 * peak) ** 2
    return (2 * local.cov + c2) / (local.var_a + local.var_b + c2)


def _blur(maps: Tensor, window: Window | None = None) -> Tensor:
    weights = torch.tensor(window or gaussian_window(), dtype=torch.float64).to(maps)
    # A group for each map: fast on the CPU, and on CUDA a kernel that does not round to TF32.
    x = maps.flatten(end_dim=-3).unsqueeze(0)
    groups = x.shape[1]
    with torch.autocast(x.device.type, enabled=False):
        x = F.conv2d(x, weights.view(1, 1, -1, 1).expand(groups, 1, -1, 1), groups=groups)
        x = F.conv2d(x, weights.view(1, 1, 1, -1).expand(groups, 1, 1, -1), groups=groups)
    return x.view(*maps.shape[:-2], *x.shape[-2:])


def window_mean(x: Tensor, window: Window) -> Tensor:
    """Average over every window that lies inside the image.

    Args:
        x: Maps [..., H, W] of any domain, both sides at least the window's.
        window: Weights along one axis, K of them.

    Returns:
        Means [..., H − K + 1, W − K + 1] in the unit of the maps.
    """
    for dim in (-1, -2):
        x = _mean_along(x, window, dim)
    return x


def window_moments(x: Tensor, y: Tensor, window: Window) -> tuple[Tensor, Tensor]:
    """Find means, variances and covariance in every window that lies inside the images.

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


def quick_moments(x: Tensor, y: Tensor, window: Window) -> tuple[Tensor, Tensor]:
    """Find what `window_moments` does, of maps of its shape and range, in float64; y alone has gradients.

    Variances lose digits where a window is flat and bright, and are then 0 at least.
    """
    x, y = x.double(), y.double()
    with torch.no_grad():
        mean_x, square_x = _blur(torch.stack([x, x * x]), window)
    mean_y, square_y, product = _blur(torch.stack([y, y * y, x * y]), window)
    variances = ((square_x - mean_x.square()).clamp(min=0), (square_y - mean_y.square()).clamp(min=0))
    return torch.stack([mean_x, mean_y]), torch.stack([*variances, product - mean_x * mean_y])


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
