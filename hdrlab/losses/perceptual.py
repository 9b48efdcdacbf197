"""Perceptual loss on the feature maps of a frozen net."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from hdrlab.losses.reduction import full_precision, masked_mean, per_sample_mean, require_same_shape
from hdrlab.ops.transfer import log_compress


def perceptual_loss(
    features: Callable[[Tensor], Sequence[Tensor]],
    hdr: Tensor,
    target_hdr: Tensor,
    mask: Tensor | None = None,
) -> Tensor:
    """Mean absolute difference of the feature maps of the log-compressed pictures, summed over the maps.

    Args:
        features: Maps RGB pictures [B, 3, H, W], nominally in [0, 1], to feature maps; pool1 to pool3 of
            VGG-16 for SingleHDR. Gradients pass through it, but not into the target.
        hdr: Linear pictures [B, 3, H, W] ≥ 0, 1 = the clipping point.
        target_hdr: The same shape, domain and scale.
        mask: Weight of each sample, [B] or [B, 1, 1, 1]; None uses all.

    Returns:
        Scalar (1/b) Σ mᵢ · Σₖ meanᵢ |poolₖ(ℓ(hdr)) − poolₖ(ℓ(target_hdr))|.

    Raises:
        ValueError: Shapes differ, or the mask does not hold one value per sample.

    Source: SingleHDR, section 3.3.
    """
    require_same_shape(hdr, target_hdr)
    hdr, target_hdr = full_precision(hdr, target_hdr)
    # Features of inputs on a scale of 255 reach values that half precision cannot hold.
    with torch.autocast(hdr.device.type, enabled=False):
        with torch.no_grad():
            target_maps = features(log_compress(target_hdr))
        maps = features(log_compress(hdr))
        distances = [per_sample_mean((a - b).abs()) for a, b in zip(maps, target_maps, strict=True)]
        return masked_mean(torch.stack(distances).sum(dim=0), mask)
