"""Comparison with reference outputs, which are NHWC."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Arrays = dict[str, NDArray[np.float32]]
Load = Callable[[str], Arrays]
TAG = "open-d"
"""Tag of the recipe that made the reference weights."""


def stored_weights(arrays: Arrays) -> Arrays:
    return {name[2:]: array for name, array in arrays.items() if name.startswith("w:")}


def to_torch(array: NDArray[np.float32]) -> Tensor:
    """Turn NHWC into NCHW; other ranks stay."""
    tensor = torch.from_numpy(np.array(array))
    return tensor.permute(0, 3, 1, 2).contiguous() if tensor.ndim == 4 else tensor


def assert_agrees(ours: Tensor, reference: NDArray[np.float32], tolerance: float = 1e-5) -> None:
    """Compare relative to the reference's absolute maximum."""
    expected = to_torch(reference)
    assert ours.shape == expected.shape
    error = (ours.detach().float() - expected).abs().max() / expected.abs().max()
    assert error <= tolerance, f"off by {error:.2e} of the maximum"
