"""Errors of response curves."""

from __future__ import annotations

from torch import Tensor

from hdrlab.metrics.inputs import Array, as_tensor


def curve_mse(pred_curve: Array, true_curve: Array) -> Tensor:
    """Mean squared error of inverse response curves over their samples.

    Args:
        pred_curve: Curves [B, K] from 0 to 1.
        true_curve: The same shape and domain.

    Returns:
        Error [B] ≥ 0.

    Raises:
        ValueError: Shapes differ, or are not [B, K].
    """
    pred, true = as_tensor(pred_curve), as_tensor(true_curve)
    if pred.shape != true.shape or pred.ndim != 2:
        raise ValueError(f"curves are [B, K] and of one shape, not {list(pred.shape)} and {list(true.shape)}")
    return (pred - true).square().mean(dim=1)
