"""Losses on pixels: absolute and squared error, log-domain L1 and total variation."""

from __future__ import annotations

from torch import Tensor

from hdrlab.losses.reduction import (
    full_precision,
    masked_mean,
    per_sample_mean,
    require_same_shape,
    sample_weights,
)
from hdrlab.ops.transfer import log_compress


def l1_loss(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean absolute error, in whatever domain both pictures share.

    Args:
        prediction: Pictures [B, C, H, W].
        target: The same shape and domain.
        mask: Weight of each sample, [B] or [B, 1, 1, 1]; None uses all.

    Returns:
        Scalar (1/b) Σ mᵢ · meanᵢ |prediction − target|.

    Raises:
        ValueError: Shapes differ, or the mask does not hold one value per sample.

    Source: IQATM, all three trainings.
    """
    require_same_shape(prediction, target)
    prediction, target = full_precision(prediction, target)
    return masked_mean(per_sample_mean((prediction - target).abs()), mask)


def l2_loss(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean squared error, in whatever domain both pictures share.

    Args:
        prediction: Pictures [B, C, H, W].
        target: The same shape and domain.
        mask: Weight of each sample, [B] or [B, 1, 1, 1]; None uses all.

    Returns:
        Scalar (1/b) Σ mᵢ · meanᵢ (prediction − target)².

    Raises:
        ValueError: Shapes differ, or the mask does not hold one value per sample.

    Source: SingleHDR, sections 3.1 (dequantization) and 3.2 (linearization).
    """
    require_same_shape(prediction, target)
    prediction, target = full_precision(prediction, target)
    return masked_mean(per_sample_mean((prediction - target).square()), mask)


def log_l1_loss(hdr: Tensor, target_hdr: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean absolute error of the log-compressed pictures.

    Args:
        hdr: Linear pictures [B, C, H, W] ≥ 0, 1 = the clipping point.
        target_hdr: The same shape, domain and scale.
        mask: Weight of each sample, [B] or [B, 1, 1, 1]; None uses all.

    Returns:
        Scalar (1/b) Σ mᵢ · meanᵢ |ℓ(hdr) − ℓ(target_hdr)|.

    Raises:
        ValueError: Shapes differ, or the mask does not hold one value per sample.

    Source: SingleHDR, section 3.3, with the absolute difference of the training code.
    """
    hdr, target_hdr = full_precision(hdr, target_hdr)
    return l1_loss(log_compress(hdr), log_compress(target_hdr), mask)


def total_variation_loss(hdr: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean absolute forward difference of the log-compressed pictures, along both axes.

    As in the reference, the variation is that of the whole batch, masked samples included, and the mask
    only scales it; the last row and column count in the mean with a difference of 0.

    Args:
        hdr: Linear pictures [B, C, H, W] ≥ 0, 1 = the clipping point.
        mask: Weight of each sample, [B] or [B, 1, 1, 1]; None uses all.

    Returns:
        Scalar mean(m) · mean (|∂yℓ(hdr)| + |∂xℓ(hdr)|).

    Raises:
        ValueError: The mask does not hold one value per sample.

    Source: SingleHDR, section 3.3, and its training code.
    """
    (hdr,) = full_precision(hdr)
    compressed = log_compress(hdr)
    variation = (compressed.diff(dim=2).abs().sum() + compressed.diff(dim=3).abs().sum()) / compressed.numel()
    return variation if mask is None else variation * sample_weights(mask, hdr).mean()
