"""Up-sampling by 2, in the conventions of the frameworks whose weights the nets load."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


def upsample_bilinear(x: Tensor) -> Tensor:
    """Double height and width bilinearly about half-pixel centres (weights ¼ and ¾, edge repeated).

    Args:
        x: Maps [B, C, H, W] in any unit.

    Returns:
        Maps [B, C, 2H, 2W] in the same unit.
    """
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def upsample_bilinear_legacy(x: Tensor) -> Tensor:
    """Double height and width bilinearly with the source coordinate dst / 2, as TensorFlow 1 does.

    Even cells copy the source, odd ones average it with the next (the last with itself), so that the result
    lies a quarter of a source pixel off `upsample_bilinear`.

    Args:
        x: Maps [B, C, H, W] in any unit.

    Returns:
        Maps [B, C, 2H, 2W] in the same unit.
    """
    height, width = x.shape[-2:]
    # With one repeated cell, corners aligned on 2n + 1 samples make the step exactly ½.
    padded = F.pad(x, (0, 1, 0, 1), mode="replicate")
    size = (2 * height + 1, 2 * width + 1)
    return F.interpolate(padded, size=size, mode="bilinear", align_corners=True)[..., :-1, :-1]


class DoubledKernel(NamedTuple):
    """A 3×3 kernel [K, C] for maps that were doubled by repetition, in the form that works on the small maps.

    Attributes:
        sums: What a cell itself counts for: the sum of the taps [K, C].
        down: What its differences to the cells above and below count for [2K, C].
        right: The same to the left and to the right [2K, C].
        corners: The same of differences of differences [4K, C].
    """

    sums: Tensor
    down: Tensor
    right: Tensor
    corners: Tensor


def doubled_kernel(weight: Tensor) -> DoubledKernel:
    """Bring a kernel [K, C, 3, 3] of any range to the form that `convolve_doubled` takes; gradients pass."""
    above, below = weight[:, :, 0].sum(2), weight[:, :, 2].sum(2)
    left, right = weight[..., 0].sum(2), weight[..., 2].sum(2)
    corners = [sign * weight[:, :, p, q] for p, q, sign in ((0, 0, 1), (0, 2, -1), (2, 0, -1), (2, 2, 1))]
    return DoubledKernel(
        weight.sum((2, 3)), torch.cat([-above, below]), torch.cat([-left, right]), torch.cat(corners)
    )


def convolve_doubled(x: Tensor, kernel: DoubledKernel, bias: Tensor | None = None) -> Tensor:
    """Convolve what `x` becomes when it is doubled by repetition and mirrored by one cell, by a 3×3 kernel.

    All of its values lie between a cell and its neighbours, so that the convolution is one of the small maps
    and of their differences: 9 products a cell in place of 36. Mirroring the doubled maps repeats the border
    of the small ones, where differences are hence 0.

    Args:
        x: Maps [B, C, H, W] of any range.
        kernel: From `doubled_kernel`.
        bias: [K] of any range, added to the result.

    Returns:
        Maps [B, K, 2H, 2W] of any range, channels last.
    """
    cells = x.permute(0, 2, 3, 1)
    down = _differences(cells, 1)
    right = _differences(cells, 2)
    corners = _differences(right, 1)
    parts = (
        F.linear(cells, kernel.sums, bias),
        F.linear(down, kernel.down),
        F.linear(right, kernel.right),
        F.linear(corners, kernel.corners),
    )
    doubled: Tensor = _Interleave.apply(*parts)  # type: ignore[no-untyped-call]
    return doubled.permute(0, 3, 1, 2)


def _differences(cells: Tensor, dim: int) -> Tensor:
    """Differences along a dimension, between neighbours and beyond the ends, where they are 0."""
    padding = [0] * (2 * (cells.ndim - dim))
    padding[-2:] = 1, 1
    return F.pad(cells.diff(dim=dim), padding)


class _Interleave(torch.autograd.Function):
    """Sums the parts of `convolve_doubled` for each of the four cells that one becomes."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, down: Tensor, right: Tensor, corners: Tensor) -> Tensor:
        """Take maps [B, H, W, K], [B, H + 1, W, 2K], [B, H, W + 1, 2K] and [B, H + 1, W + 1, 4K]."""
        batch, height, width, channels = own.shape
        doubled = own.new_empty(batch, 2 * height, 2 * width, channels)
        for p in range(2):
            upper = own + down[:, p : p + height, :, _part(p, channels)]
            for q in range(2):
                left = right[:, :, q : q + width, _part(q, channels)]
                corner = corners[:, p : p + height, q : q + width, _part(2 * p + q, channels)]
                doubled[:, p::2, q::2] = (left + corner).add_(upper)
        return doubled

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, ...]:
        """Give each part the slopes of all cells that it was added to."""
        batch, height, width, channels = slopes[0].shape
        height, width = height // 2, width // 2
        four = slopes[0].reshape(batch, height, 2, width, 2, channels)
        down = four.new_zeros(batch, height + 1, width, 2 * channels)
        right = four.new_zeros(batch, height, width + 1, 2 * channels)
        corners = four.new_zeros(batch, height + 1, width + 1, 4 * channels)
        for p in range(2):
            rows, columns = four[:, :, p].sum(3), four[:, :, :, :, p].sum(2)
            down[:, p : p + height, :, _part(p, channels)] = rows
            right[:, :, p : p + width, _part(p, channels)] = columns
            for q in range(2):
                place = corners[:, p : p + height, q : q + width, _part(2 * p + q, channels)]
                place.copy_(four[:, :, p, :, q])
        return four.sum((2, 4)), down, right, corners


def _part(number: int, channels: int) -> slice:
    return slice(number * channels, (number + 1) * channels)
