"""Perceptual losses on the feature maps of a frozen net."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from hdrlab.losses.reduction import full_precision, masked_mean, per_sample_mean, require_same_shape
from hdrlab.ops.encoding import log_compress

Features = Callable[[Tensor], Sequence[Tensor]]
"""Maps RGB images [B, 3, H, W], nominally in [0, 1], to feature maps."""


def perceptual_loss(
    features: Features,
    hdr: Tensor,
    target_hdr: Tensor,
    mask: Tensor | None = None,
) -> Tensor:
    """Mean absolute difference of the feature maps of the log-compressed images, summed over the maps.

    Args:
        features: Gives pool1 to pool3 of VGG-16 for SingleHDR. Gradients pass through it, but not into the
            target.
        hdr: Linear images [B, 3, H, W] ≥ 0, 1 = the clipping point.
        target_hdr: The same shape, domain and scale.
        mask: Weight ≥ 0 of each sample, [B] or [B, 1, 1, 1]; None uses all.

    Returns:
        Scalar ≥ 0, (1/b) Σ mᵢ · Σₖ meanᵢ |poolₖ(ℓ(hdr)) − poolₖ(ℓ(target_hdr))|.

    Raises:
        ValueError: Shapes differ, or the mask does not hold one value per sample.

    Source: SingleHDR, section 3.3.
    """
    require_same_shape(hdr, target_hdr)
    hdr, target_hdr = full_precision(hdr, target_hdr)
    return _feature_distance(features, log_compress(hdr), log_compress(target_hdr), mask)


def tone_perceptual_loss(
    features: Features,
    sdr: Tensor,
    target_sdr: Tensor,
    mask: Tensor | None = None,
) -> Tensor:
    """Mean absolute difference of the feature maps, summed over the maps and divided by 3.

    Args:
        features: Gives conv1_1, conv2_1, … conv5_1 of VGG-16 for IQATM, whose code divides the sum of the
            five by 3. Gradients pass through it, but not into the target.
        sdr: Images or layers of them [B, 3, H, W], display-encoded, nominally in [0, 1].
        target_sdr: The same shape and domain.
        mask: Weight ≥ 0 of each sample, [B] or [B, 1, 1, 1]; None uses all.

    Returns:
        Scalar ≥ 0, (1/b) Σ mᵢ · ⅓ Σₖ meanᵢ |convₖ(sdr) − convₖ(target_sdr)|.

    Raises:
        ValueError: Shapes differ, or the mask does not hold one value per sample.

    Source: IQATM, all three trainings.
    """
    require_same_shape(sdr, target_sdr)
    sdr, target_sdr = full_precision(sdr, target_sdr)
    return _feature_distance(features, sdr, target_sdr, mask) / 3


def _feature_distance(features: Features, x: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
    # Features of inputs on a scale of 255 reach values that half precision cannot hold.
    with torch.autocast(x.device.type, enabled=False):
        with torch.no_grad():
            target_maps = features(target.detach())
        maps = features(x)
        distances = [per_sample_mean((a - b).abs()) for a, b in zip(maps, target_maps, strict=True)]
        return masked_mean(torch.stack(distances).sum(dim=0), mask)
