"""Losses on pixels: absolute and squared error, log-domain L1 and total variation."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor

from hdrlab.losses.reduction import (
    full_precision,
    masked_mean,
    per_sample_mean,
    require_same_shape,
    sample_weights,
)
from hdrlab.ops.encoding import log_compress

WHITEST = 400.0
"""Brightest value, in clipping points, that highlights are compared up to."""
_FLOOR = 1e-3
_STEPS = (1, 8)
"""Distances in pixels over which changes are compared: the farther one tells bands in a smooth sky."""


def l1_loss(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean absolute error, in whatever domain both images share.

    Args:
        prediction: Images [B, C, H, W] of any domain.
        target: The same shape and domain.
        mask: Weight ≥ 0 of each sample, [B] or [B, 1, 1, 1]; None uses all.

    Returns:
        Scalar ≥ 0, (1/b) Σ mᵢ · meanᵢ |prediction − target|.

    Raises:
        ValueError: Shapes differ, or the mask does not hold one value per sample.

    Source: IQATM, all three trainings.
    """
    require_same_shape(prediction, target)
    prediction, target = full_precision(prediction, target)
    return masked_mean(per_sample_mean((prediction - target).abs()), mask)


def l2_loss(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean squared error, in whatever domain both images share.

    Args:
        prediction: Images [B, C, H, W] of any domain.
        target: The same shape and domain.
        mask: Weight ≥ 0 of each sample, [B] or [B, 1, 1, 1]; None uses all.

    Returns:
        Scalar ≥ 0, (1/b) Σ mᵢ · meanᵢ (prediction − target)².

    Raises:
        ValueError: Shapes differ, or the mask does not hold one value per sample.

    Source: SingleHDR, sections 3.1 (dequantization) and 3.2 (linearization).
    """
    require_same_shape(prediction, target)
    prediction, target = full_precision(prediction, target)
    return masked_mean(per_sample_mean((prediction - target).square()), mask)


def log_l1_loss(hdr: Tensor, target_hdr: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean absolute error of the log-compressed images.

    Args:
        hdr: Linear images [B, C, H, W] ≥ 0, 1 = the clipping point.
        target_hdr: The same shape, domain and scale.
        mask: Weight ≥ 0 of each sample, [B] or [B, 1, 1, 1]; None uses all.

    Returns:
        Scalar ≥ 0, (1/b) Σ mᵢ · meanᵢ |ℓ(hdr) − ℓ(target_hdr)|.

    Raises:
        ValueError: Shapes differ, or the mask does not hold one value per sample.

    Source: SingleHDR, section 3.3, with the absolute difference of the training code.
    """
    hdr, target_hdr = full_precision(hdr, target_hdr)
    return l1_loss(log_compress(hdr), log_compress(target_hdr), mask)


def total_variation_loss(hdr: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean absolute forward difference of the log-compressed images, along both axes.

    As in the reference, the variation is that of the whole batch, masked samples included, and the mask
    only scales it; the last row and column count in the mean with a difference of 0.

    Args:
        hdr: Linear images [B, C, H, W] ≥ 0, 1 = the clipping point.
        mask: Weight ≥ 0 of each sample, [B] or [B, 1, 1, 1]; None uses all.

    Returns:
        Scalar ≥ 0, mean(m) · mean (|∂yℓ(hdr)| + |∂xℓ(hdr)|).

    Raises:
        ValueError: The mask does not hold one value per sample.

    Source: SingleHDR, section 3.3, and its training code.
    """
    (hdr,) = full_precision(hdr)
    compressed = log_compress(hdr)
    variation = (compressed.diff(dim=2).abs().sum() + compressed.diff(dim=3).abs().sum()) / compressed.numel()
    return variation if mask is None else variation * sample_weights(mask, hdr).mean()


def highlight_loss(
    hdr: Tensor, target_hdr: Tensor, alpha: Tensor, mask: Tensor | None = None, bend: float = 1.0
) -> Tensor:
    """Huber error of the natural logarithm in clipped pixels, and of its changes over 1 and 8 pixels.

    Args:
        hdr: Linear images [B, C, H, W] > 0, 1 = the clipping point.
        target_hdr: The same shape, domain and scale; what is above 400 counts as 400, or suns rule it.
        alpha: Weight of each pixel [B, 1, H, W] in [0, 1].
        mask: Weight ≥ 0 of each sample, [B] or [B, 1, 1, 1]; None uses all.
        bend: Where the error turns from squared to absolute.

    Returns:
        Scalar; a sample without clipped pixels counts 0.

    Raises:
        ValueError: Shapes differ, or the mask does not hold one value per sample.
    """
    require_same_shape(hdr, target_hdr)
    hdr, target_hdr = full_precision(hdr, target_hdr)
    error = torch.log(hdr + _FLOOR) - torch.log(target_hdr.clamp(max=WHITEST) + _FLOOR)
    area = alpha.sum(dim=(1, 2, 3)) * hdr.shape[1] + 1e-3 * hdr[0].numel()
    total = (alpha * _huber(error, bend)).sum(dim=(1, 2, 3))
    for axis, step in product((2, 3), _STEPS):
        length = error.shape[axis] - step
        if length < 1:
            continue
        both = alpha.narrow(axis, 0, length) * alpha.narrow(axis, step, length)
        change = error.narrow(axis, step, length) - error.narrow(axis, 0, length)
        total = total + (both * _huber(change, bend)).sum(dim=(1, 2, 3))
    return masked_mean(total / area, mask)


def _huber(error: Tensor, bend: float) -> Tensor:
    return torch.nn.functional.huber_loss(error, torch.zeros_like(error), reduction="none", delta=bend)
