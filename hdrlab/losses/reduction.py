"""How losses are reduced: one mean per sample, then the masked mean over the batch."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Form = Literal["official", "default"]
"""Whether a tone-mapping loss gives the authors' numbers, weaknesses included, or the mended ones."""


def masked_mean(per_sample: Tensor, mask: Tensor | None = None) -> Tensor:
    """Average values of samples, the masked ones counting as 0: (1/b) Σ mᵢ·vᵢ.

    The division is by the batch size, not by the number of unmasked samples, so that a batch with few
    usable samples also takes a small step.

    Args:
        per_sample: One value per sample [B], in any unit.
        mask: Weight ≥ 0 of each sample, [B] or [B, 1, 1, 1], 1 = use, 0 = ignore; None uses all.

    Returns:
        Scalar in the unit of the values.

    Raises:
        ValueError: The mask does not hold one value per sample.

    Source: SingleHDR, training code: over- and underexposed patches are masked.
    """
    return per_sample.mean() if mask is None else (per_sample * sample_weights(mask, per_sample)).mean()


def sample_weights(mask: Tensor, like: Tensor) -> Tensor:
    """Return a mask as weights [B] in the dtype of `like`, whose first axis counts the samples.

    Raises:
        ValueError: The mask does not hold one value per sample.
    """
    if mask.numel() != like.shape[0]:
        raise ValueError(
            f"the mask has shape {list(mask.shape)}, but a batch of {like.shape[0]} needs "
            f"one value per sample: [{like.shape[0]}] or [{like.shape[0]}, 1, 1, 1]"
        )
    return mask.reshape(-1).to(like.dtype)


def per_sample_mean(values: Tensor) -> Tensor:
    """Average everything but the first axis: [B, …] → [B]."""
    return values.flatten(start_dim=1).mean(dim=1)


def full_precision(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Lift half precision to float32, since squares, logarithms and means of it over- or underflow."""
    return tuple(t.float() if t.dtype in (torch.float16, torch.bfloat16) else t for t in tensors)


def require_same_shape(prediction: Tensor, target: Tensor) -> None:
    """Refuse tensors that would be broadcast against each other.

    Raises:
        ValueError: The shapes differ.
    """
    if prediction.shape != target.shape:
        raise ValueError(
            f"prediction {list(prediction.shape)} and target {list(target.shape)} must have the same shape"
        )


def is_official(form: Form) -> bool:
    """Tell whether a loss is to give the authors' numbers.

    Raises:
        ValueError: The form is unknown.
    """
    if form not in ("official", "default"):
        raise ValueError(f"loss form {form!r} is unknown: use 'official' or 'default'")
    return form == "official"
