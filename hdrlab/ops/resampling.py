"""Padding and ×2 up-sampling, in the conventions of the frameworks whose weights the nets load."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def pad_same(x: Tensor, kernel: int, stride: int, value: float = 0.0) -> Tensor:
    """Pad as TensorFlow's SAME rule does, where the odd cell goes to the bottom and the right.

    Args:
        x: Maps [B, C, H, W] of any size.
        kernel: Side of the kernel that follows.
        stride: Its stride.
        value: What the border is filled with; -inf before a maximum.

    Returns:
        Padded maps; an unpadded kernel over them yields ceil(H / stride) × ceil(W / stride).
    """
    top, bottom = _same_padding(x.shape[-2], kernel, stride)
    left, right = _same_padding(x.shape[-1], kernel, stride)
    return F.pad(x, (left, right, top, bottom), value=value)


def _same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def upsample_bilinear(x: Tensor) -> Tensor:
    """Double height and width bilinearly about half-pixel centres (weights ¼ and ¾, edge repeated).

    Args:
        x: Maps [B, C, H, W].

    Returns:
        Maps [B, C, 2H, 2W].
    """
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def upsample_bilinear_legacy(x: Tensor) -> Tensor:
    """Double height and width bilinearly with the source coordinate dst / 2, as TensorFlow 1 does.

    Even cells copy the source, odd ones average it with the next (the last with itself), so that the result
    lies a quarter of a source pixel off `upsample_bilinear`.

    Args:
        x: Maps [B, C, H, W].

    Returns:
        Maps [B, C, 2H, 2W].
    """
    height, width = x.shape[-2:]
    # With one repeated cell, corners aligned on 2n + 1 samples make the step exactly ½.
    padded = F.pad(x, (0, 1, 0, 1), mode="replicate")
    size = (2 * height + 1, 2 * width + 1)
    return F.interpolate(padded, size=size, mode="bilinear", align_corners=True)[..., :-1, :-1]


def upsample_nearest(x: Tensor) -> Tensor:
    """Double height and width by repeating every cell.

    Args:
        x: Maps [B, C, H, W].

    Returns:
        Maps [B, C, 2H, 2W].
    """
    return F.interpolate(x, scale_factor=2, mode="nearest")
