"""Image pyramids: the bilateral filter, halving, doubling, and the two layers that tone mapping works on."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from hdrlab.ops.free_sizes import in_graph
from hdrlab.ops.strips import in_strips

Pyramid = Literal["bilateral", "gaussian"]

LEVELS = 3
"""Halvings between an image and its bottom layer."""

_RADIUS = 2
_NEIGHBOURS = [
    (down, right)
    for down, right in itertools.product(range(-_RADIUS, _RADIUS + 1), repeat=2)
    if 0 < down**2 + right**2 <= _RADIUS**2
]


def bilateral_filter(x: Tensor, *, sigma_color: float = 75.0, sigma_space: float = 75.0) -> Tensor:
    """Average each pixel with the 12 others of a disc of radius 2, the less the more they differ in colour.

    Args:
        x: Images [B, C, H, W] of any size and range.
        sigma_color: Deviation of the colour weight, > 0, in the unit of `x`. The 75 of the authors is meant
            for values up to 255: on [0, 1] the filter is a plain mean of the disc.
        sigma_space: Deviation of the distance weight in pixels, > 0.

    Returns:
        Smoothed images of the same shape; a constant image comes back bit by bit.

    Raises:
        ValueError: A deviation is not positive.

    Source: Tomasi and Manduchi, "Bilateral Filtering for Gray and Color Images", 1998, as OpenCV computes it
    for a diameter of 5: differences summed over the channels, border mirrored without its outermost pixel.
    """
    if not (sigma_color > 0 and sigma_space > 0):
        raise ValueError(f"sigma_color={sigma_color}, sigma_space={sigma_space}: both must be above 0")
    height, width = x.shape[-2:]
    padded = _mirror(_mirror(x, -2), -1)
    # Averaging differences instead of values keeps flat parts exact and the detail layer free of rounding.
    change, weights = torch.zeros_like(x), torch.ones_like(x[:, :1])
    for down, right in _NEIGHBOURS:
        rows, columns = _RADIUS + down, _RADIUS + right
        step = padded[..., rows : rows + height, columns : columns + width] - x
        distance = step.abs().sum(dim=1, keepdim=True) / sigma_color
        weight = torch.exp((distance.square() + (down**2 + right**2) / sigma_space**2) / -2)
        change += weight * step
        weights += weight
    return x + change / weights


def pyramid_down(x: Tensor) -> Tensor:
    """Smooth with [1 4 6 4 1] / 16 in both directions and keep the even rows and columns.

    Args:
        x: Maps [B, C, H, W] in any unit.

    Returns:
        Maps [B, C, ⌈H / 2⌉, ⌈W / 2⌉] in the same unit.

    Source: Burt and Adelson, "The Laplacian Pyramid as a Compact Image Code", 1983; border as in OpenCV's
    pyrDown, mirrored without its outermost pixel.
    """
    return _down(_down(x, -2), -1)


def pyramid_up(x: Tensor) -> Tensor:
    """Double height and width: zeros between the pixels, then [1 4 6 4 1] / 8 in both directions.

    Args:
        x: Maps [B, C, H, W] in any unit.

    Returns:
        Maps [B, C, 2H, 2W] in the same unit.

    Source: Burt and Adelson, 1983; border as in OpenCV's pyrUp.
    """
    return _up(_up(x, -2), -1)


def area_halve(x: Tensor) -> Tensor:
    """Average blocks of 2 × 2 pixels.

    Args:
        x: Maps [B, C, H, W] in any unit; H and W are even.

    Returns:
        Maps [B, C, H / 2, W / 2] in the same unit.

    Raises:
        ValueError: A side is odd.
    """
    _require_multiple(x, 2)
    return F.avg_pool2d(x, 2)


def decompose(
    x: Tensor,
    *,
    pyramid: Pyramid = "bilateral",
    sigma_color: float = 75.0,
    fuse_middle: bool = False,
    levels: int = LEVELS,
) -> tuple[Tensor, Tensor]:
    """Split images into a layer of detail and a small layer of brightness and colour.

    Without the middle bands the layers do not add up to the image: the nets are to make up the rest.

    Args:
        x: Encoded images [B, 3, H, W] in [0, 1]; H and W are multiples of 2^levels.
        pyramid: `bilateral` takes the detail from a bilateral filter (IQATM); `gaussian` is a Laplacian
            pyramid (DRLTM).
        sigma_color: Colour deviation of the bilateral filter.
        fuse_middle: Whether to add the bands between the two layers to the detail.
        levels: Number of halvings, at least 1.

    Returns:
        Detail [B, 3, H, W], about 0, and bottom [B, 3, H / 2^levels, W / 2^levels].

    Raises:
        ValueError: A size, the pyramid or a number is illegal.

    Source: IQATM, the authors' program; DRLTM for `gaussian`.
    """
    if pyramid not in get_args(Pyramid) or levels < 1:
        raise ValueError(f"pyramid={pyramid!r}, levels={levels}: bilateral or gaussian, with 1 level or more")
    _require_multiple(x, 2**levels)
    if pyramid == "bilateral":
        split = partial(_split, sigma_color=sigma_color)
        # Without gradients nothing is kept, and the filter's maps need not leave the cache.
        high, bottom = (
            split(x) if torch.is_grad_enabled() else in_strips(split, [x], channels=24, halo=2, multiple=2)
        )
    else:
        bottom = pyramid_down(x)
        high = x - pyramid_up(bottom)
    for level in range(1, levels):
        upper, bottom = bottom, pyramid_down(bottom)
        if fuse_middle:
            band = upper - pyramid_up(bottom)
            for _ in range(level):
                band = pyramid_up(band) if pyramid == "gaussian" else _double_filtered(band, sigma_color)
            high = high + band
    return high, bottom


def _split(x: Tensor, sigma_color: float) -> tuple[Tensor, Tensor]:
    """Return what the bilateral filter takes from images, and half of what it leaves."""
    base = bilateral_filter(x, sigma_color=sigma_color)
    return x - base, area_halve(base)


def expand(bottom: Tensor, levels: int = LEVELS) -> Tensor:
    """Bring a bottom layer back to the size of its image.

    Args:
        bottom: Maps [B, C, H, W] in any unit.
        levels: Number of doublings.

    Returns:
        Maps [B, C, H · 2^levels, W · 2^levels] in the same unit.
    """
    for _ in range(levels):
        bottom = pyramid_up(bottom)
    return bottom


def _double_filtered(band: Tensor, sigma_color: float) -> Tensor:
    """Double as the authors do for bilateral bands: by repetition, then a bilateral filter."""
    return bilateral_filter(F.interpolate(band, scale_factor=2, mode="nearest"), sigma_color=sigma_color)


def _down(x: Tensor, dim: int) -> Tensor:
    padded, size = _mirror(x, dim).movedim(dim, 0), x.shape[dim]
    first, second, third, fourth, fifth = (padded[place : place + size : 2] for place in range(5))
    return ((first + fifth + 4 * (second + fourth) + 6 * third) / 16).movedim(0, dim)


def _up(x: Tensor, dim: int) -> Tensor:
    size = x.shape[dim]
    before = torch.cat([x.narrow(dim, min(1, size - 1), 1), x.narrow(dim, 0, size - 1)], dim)
    after = torch.cat([x.narrow(dim, min(1, size - 1), size - 1), x.narrow(dim, size - 1, 1)], dim)
    even, odd = (before + 6 * x + after) / 8, (x + after) / 2
    return torch.stack([even, odd], dim).flatten(dim - 1, dim)


def _mirror(x: Tensor, dim: int) -> Tensor:
    """Extend a dimension by 2 cells at both ends, mirrored without the outermost; short ones swing on."""
    size = x.shape[dim]
    period = in_graph(max(2 * size - 2, 1))
    places = torch.arange(-_RADIUS, size + _RADIUS, device=x.device) % period
    return x.index_select(dim, torch.minimum(places, period - places))


def _require_multiple(x: Tensor, multiple: int) -> None:
    height, width = x.shape[-2:]
    if height % multiple or width % multiple or not height * width:
        raise ValueError(
            f"height and width must be multiples of {multiple}, got {height}×{width}: pad or crop"
        )
