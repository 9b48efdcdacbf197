"""Padding in TensorFlow's convention, whose weights the nets load."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def pad_same(x: Tensor, kernel: int, stride: int, value: float = 0.0) -> Tensor:
    """Pad as TensorFlow's SAME rule does, where the odd cell goes to the bottom and the right.

    Args:
        x: Maps [B, C, H, W] of any size and range.
        kernel: Side of the kernel that follows.
        stride: Its stride.
        value: What the border is filled with; -inf before a maximum.

    Returns:
        Padded maps [B, C, H', W'] of any range; an unpadded kernel over them yields
        ceil(H / stride) × ceil(W / stride) pixels.
    """
    above, below, left, right = same_margins(x, kernel, stride)
    return F.pad(x, (left, right, above, below), value=value)


def same_margins(x: Tensor, kernel: int, stride: int) -> tuple[int, int, int, int]:
    """Return by how many cells the same rule pads maps above, below, to the left and to the right.

    Args:
        x: Maps [B, C, H, W] of any range.
        kernel: Side of the kernel in pixels.
        stride: Its stride in pixels.
    """
    return *_same_padding(x.shape[-2], kernel, stride), *_same_padding(x.shape[-1], kernel, stride)


def _same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2
