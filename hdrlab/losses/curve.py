"""Loss on inverse response curves."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from hdrlab.losses.reduction import full_precision, masked_mean, per_sample_mean, require_same_shape

_UNCLIPPED = 0.97

CurveReduction = Literal["per_sample", "authors_broadcast"]


def curve_loss(
    pred_curve: Tensor,
    true_curve: Tensor,
    mask: Tensor | None = None,
    reduction: CurveReduction = "per_sample",
) -> Tensor:
    """Mean squared error of inverse response curves.

    Args:
        pred_curve: Curves [B, K] from 0 to 1.
        true_curve: The same shape and domain.
        mask: Weight ≥ 0 of each sample, [B] or [B, 1, 1, 1]; None uses all.
        reduction: `per_sample` masks each curve by its own weight. `authors_broadcast` repeats the
            accidental broadcast of the reference code, in which every unmasked sample is charged with the
            mean error of the whole batch, masked samples included: mean(m) · mean(e).

    Returns:
        Scalar ≥ 0.

    Raises:
        ValueError: Shapes differ, the mask does not hold one value per sample, or the reduction is unknown.

    Source: SingleHDR, section 3.2; `authors_broadcast` for parity with its training code only.
    """
    require_same_shape(pred_curve, true_curve)
    pred_curve, true_curve = full_precision(pred_curve, true_curve)
    errors = per_sample_mean((pred_curve - true_curve).square())
    match reduction:
        case "per_sample":
            return masked_mean(errors, mask)
        case "authors_broadcast":
            return masked_mean(errors.mean().expand_as(errors), mask)
        case _:
            raise ValueError(
                f"curve reduction {reduction!r} is unknown: use 'per_sample' or 'authors_broadcast'"
            )


def curve_log_error(pred_curve: Tensor, true_curve: Tensor, image: Tensor, floor: float = 0.005) -> Tensor:
    """Mean squared error of the curves' logarithms over an image's levels, after the best common factor.

    It judges a response as the eye does, shadows as much as lights, and leaves out the scale, which no
    photograph tells. Clipped values do not count.

    Args:
        pred_curve: Inverse curves [B, K] from 0 to 1.
        true_curve: The same shape and domain.
        image: Display-encoded images [B, C, H, W] in [0, 1], whose levels weigh the samples.
        floor: Linear value that is added before the logarithm.

    Returns:
        Error [B] ≥ 0.

    Raises:
        ValueError: The curves' shapes differ.
    """
    require_same_shape(pred_curve, true_curve)
    pred_curve, true_curve = full_precision(pred_curve, true_curve)
    batch, samples = pred_curve.shape
    with torch.no_grad():
        known = image[..., ::2, ::2].flatten(1).clamp(0, 1).nan_to_num(0)  # a NaN shows in the curve
        level = (known * (samples - 1)).round().long()
        level += torch.arange(batch, device=image.device)[:, None] * samples
        weight = torch.bincount(level.flatten(), minlength=batch * samples).view(batch, samples)
        weight[:, int(_UNCLIPPED * samples) :] = 0
        weight = weight / weight.sum(1, keepdim=True).clamp(min=1)
    error = torch.log(pred_curve + floor) - torch.log(true_curve + floor)
    shift = (weight * error).sum(1, keepdim=True)
    return (weight * (error - shift).square()).sum(1)
