"""What the metrics accept: tensors or NumPy arrays, one image or a batch, and a mask of pixels."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array: TypeAlias = Tensor | NDArray[Any]


def as_tensor(values: Array) -> Tensor:
    """Return values of any shape as a tensor of float32 or float64.

    Raises:
        ValueError: The values are integers, whose scale a metric cannot know.
    """
    tensor = torch.from_numpy(np.ascontiguousarray(values)) if isinstance(values, np.ndarray) else values
    if not tensor.is_floating_point():
        raise ValueError(
            f"metrics need floating-point values, not {tensor.dtype}: divide 8-bit codes by 255 first"
        )
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def as_images(*images: Array) -> tuple[Tensor, ...]:
    """Return images as tensors [B, C, H, W] of one shape and dtype.

    A single image may come as [C, H, W] or as [H, W, C], distinguished by the end that has 3 channels or 1.

    Raises:
        ValueError: The shapes differ or are none of these, or the values are integers.
    """
    tensors = [_as_batch(as_tensor(image)) for image in images]
    if len({t.shape for t in tensors}) > 1:
        raise ValueError(
            f"images of one size are compared, not {' and '.join(str(list(t.shape)) for t in tensors)}"
        )
    wide = any(t.dtype == torch.float64 for t in tensors)
    return tuple(t.double() if wide else t for t in tensors)


def pixel_mean(values: Tensor, mask: Array | None = None) -> Tensor:
    """Average [B, C, H, W] to [B] over the pixels of a mask.

    Args:
        values: Values [B, C, H, W].
        mask: Boolean, or weights ≥ 0, [B, 1, H, W], [B, C, H, W] or [H, W]; None takes all pixels. What a
            mask leaves out does not count, even where it is not finite.

    Returns:
        Means [B]; NaN where a mask is empty.

    Raises:
        ValueError: The mask does not fit the images.
    """
    if mask is None:
        return values.mean(dim=(1, 2, 3))
    weights = as_weights(mask, values)
    return torch.where(weights > 0, weights * values, 0).sum(dim=(1, 2, 3)) / weights.sum(dim=(1, 2, 3))


def as_weights(mask: Array, images: Tensor) -> Tensor:
    """Return a mask as weights of the images' shape and dtype.

    Raises:
        ValueError: The mask does not fit the images.
    """
    weights = torch.from_numpy(np.ascontiguousarray(mask)) if isinstance(mask, np.ndarray) else mask
    batch, _, height, width = images.shape
    if tuple(weights.shape) not in ((height, width), (batch, 1, height, width), tuple(images.shape)):
        raise ValueError(
            f"the mask has shape {list(weights.shape)}; these images need [{batch}, 1, {height}, {width}]"
        )
    return weights.to(images).expand_as(images)


def _as_batch(tensor: Tensor) -> Tensor:
    if tensor.ndim == 3:
        channels_last = tensor.shape[2] in (1, 3) and tensor.shape[0] not in (1, 3)
        tensor = (tensor.permute(2, 0, 1) if channels_last else tensor).unsqueeze(0)
    if tensor.ndim != 4 or tensor.shape[1] not in (1, 3):
        raise ValueError(
            f"images are [B, C, H, W], or a single [C, H, W] or [H, W, C], with 3 channels or 1; "
            f"not {list(tensor.shape)}"
        )
    return tensor
