"""Structural similarity: SSIM and TMQI's variant of it, on one scale and on five."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from hdrlab.errors import ImageSizeError
from hdrlab.losses.reduction import (
    Form,
    full_precision,
    is_official,
    masked_mean,
    require_same_shape,
    sample_weights,
)
from hdrlab.ops.windows import WINDOW, LocalStatistics, local_statistics, ssim_map

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the five scales, the finest first."""

FLAT = 1e-3
"""The least standard deviation, and in the default form the least span that is stretched to [0, 1]: a quarter
of an 8-bit code, for images in [0, 1]."""

Measure = Callable[[LocalStatistics], Tensor]
"""Turns the statistics into a map of similarities."""


def ssim_loss(
    prediction: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    *,
    form: Form = "default",
    normalise: bool = False,
) -> Tensor:
    """One minus SSIM, the mean of the channels' values.

    Args:
        prediction: Images [B, C, H, W], nominally in [0, 1], H and W at least 11.
        target: The same shape and domain.
        mask: Weight ≥ 0 of each sample, [B] or [B, 1, 1, 1]; None uses all.
        form: `official` normalises the batch as a whole, `default` each sample by itself.
        normalise: Stretch both to [0, 1] first, as the layers with negative values need it.

    Returns:
        Scalar ≥ 0, (1/b) Σ mᵢ · (1 − SSIMᵢ), in [0, 2] where the mask is.

    Raises:
        ImageSizeError: The images are smaller than the window.
        ValueError: Shapes differ, or the mask does not hold one value per sample.

    Source: Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity", 2004;
        IQATM, training code.
    """
    return _similarity_loss(prediction, target, mask, form, ssim_map, normalise=normalise)


def multiscale_ssim_loss(
    prediction: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    *,
    form: Form = "default",
    normalise: bool = False,
) -> Tensor:
    """One minus IQATM's mean of SSIM over five scales, which is not MS-SSIM.

    A channel's value is the arithmetic mean of vᵢ^wᵢ, where vᵢ is the whole SSIM at scale i; MS-SSIM is their
    product, with the luminance at the coarsest scale only.

    Args:
        prediction: Images [B, C, H, W], nominally in [0, 1], H and W at least 161.
        target: The same shape and domain.
        mask: Weight ≥ 0 of each sample, [B] or [B, 1, 1, 1]; None uses all.
        form: `official` takes the power of the batch's mean, NaN where one is negative, and darkens the
            border of odd sizes when halving. `default` takes it per sample, of 1e-6 at least, and halves odd
            sizes without darkening.
        normalise: Stretch both to [0, 1] first, as the layers with negative values need it.

    Returns:
        Scalar ≥ 0, (1/b) Σ mᵢ · (1 − MSᵢ).

    Raises:
        ImageSizeError: The images are smaller than the window at the fifth scale.
        ValueError: Shapes differ, or the mask does not hold one value per sample.

    Source: IQATM, training code.
    """
    return _similarity_loss(
        prediction, target, mask, form, ssim_map, normalise=normalise, num_scales=len(SCALE_WEIGHTS)
    )


def tmqi_ssim_loss(
    prediction: Tensor,
    reference: Tensor,
    mask: Tensor | None = None,
    *,
    form: Form = "default",
    normalise: bool = False,
    scale255: bool = False,
) -> Tensor:
    """One minus the structural fidelity of TMQI, in IQATM's form: the reference needs no label.

    Args:
        prediction: Images [B, C, H, W], nominally in [0, 1], H and W at least 11.
        reference: The encoded HDR image that was mapped, the same shape and range.
        mask: Weight ≥ 0 of each sample, [B] or [B, 1, 1, 1]; None uses all.
        form: `official` stretches the local contrasts over the batch as a whole, `default` within each
            sample.
        normalise: Stretch both to [0, 1] first, as the layers with negative values need it.
        scale255: Read TMQI's constant C₂ = 10 on the scale of 8-bit codes, for which it was made; on [0, 1]
            it leaves of the structure term nothing but 1.

    Returns:
        Scalar ≥ 0, (1/b) Σ mᵢ · (1 − Sᵢ).

    Raises:
        ImageSizeError: The images are smaller than the window.
        ValueError: Shapes differ, or the mask does not hold one value per sample.

    Source: Yeganeh and Wang, "Objective Quality Assessment of Tone-Mapped Images", 2013, with the stretched
        contrast of IQATM's training code for its visibility.
    """
    measure = partial(_tmqi, form=form, scale255=scale255)
    return _similarity_loss(prediction, reference, mask, form, measure, normalise=normalise)


def tmqi_multiscale_loss(
    prediction: Tensor,
    reference: Tensor,
    mask: Tensor | None = None,
    *,
    form: Form = "default",
    normalise: bool = False,
    scale255: bool = False,
) -> Tensor:
    """One minus the mean of `tmqi_ssim_loss`'s similarity over five scales, as in `multiscale_ssim_loss`.

    Args:
        prediction: Images [B, C, H, W], nominally in [0, 1], H and W at least 161.
        reference: The encoded HDR image that was mapped, the same shape and range.
        mask: Weight ≥ 0 of each sample, [B] or [B, 1, 1, 1]; None uses all.
        form: As in `tmqi_ssim_loss` and `multiscale_ssim_loss`.
        normalise: Stretch both to [0, 1] first, as the layers with negative values need it.
        scale255: As in `tmqi_ssim_loss`.

    Returns:
        Scalar ≥ 0, (1/b) Σ mᵢ · (1 − MSᵢ).

    Raises:
        ImageSizeError: The images are smaller than the window at the fifth scale.
        ValueError: Shapes differ, or the mask does not hold one value per sample.

    Source: IQATM, training code.
    """
    measure = partial(_tmqi, form=form, scale255=scale255)
    return _similarity_loss(
        prediction, reference, mask, form, measure, normalise=normalise, num_scales=len(SCALE_WEIGHTS)
    )


def _tmqi(local: LocalStatistics, form: Form, scale255: bool) -> Tensor:
    c1, c2 = 0.01, 10 / 255**2 if scale255 else 10
    sd_a, sd_b = (var.clamp(min=FLAT**2).sqrt() for var in (local.var_a, local.var_b))
    visible_a, visible_b = (_stretch(sd, (2, 3), form) for sd in (sd_a, sd_b))
    visibility = (2 * visible_a * visible_b + c1) / (visible_a.square() + visible_b.square() + c1)
    return visibility * (local.cov + c2) / (sd_a * sd_b + c2)


def _stretch(x: Tensor, dims: tuple[int, ...], form: Form) -> Tensor:
    """Map each slice along `dims` to [1e-6, 1 + 1e-6]; where it is constant, the official form gives NaN."""
    low = x.amin(dims, keepdim=True)
    span = x.amax(dims, keepdim=True) - low
    return (x - low) / (span if is_official(form) else span.clamp(min=FLAT)) + 1e-6


def _similarity_loss(
    a: Tensor,
    b: Tensor,
    mask: Tensor | None,
    form: Form,
    measure: Measure,
    *,
    normalise: bool,
    num_scales: int = 1,
) -> Tensor:
    require_same_shape(a, b)
    _require_size(a, num_scales)
    a, b = full_precision(a, b)
    official, scale = is_official(form), 1.0
    if official and mask is not None:
        # The batch is measured as one image, which the masked samples must not be part of.
        weights = sample_weights(mask, a)
        if not weights.any():
            return 0 * a.sum()
        a, b, mask, scale = a[weights > 0], b[weights > 0], None, weights.mean().item()
    if normalise:
        dims = (0, 1, 2, 3) if official else (1, 2, 3)
        a, b = _stretch(a, dims, form), _stretch(b, dims, form)
    values = torch.stack(_scale_values(a, b, measure, num_scales, official))
    if num_scales > 1:
        powers = values.new_tensor(SCALE_WEIGHTS).view(-1, 1, 1)
        values = (values if official else values.clamp(min=1e-6)) ** powers
    return scale * masked_mean(1 - values.mean(dim=(0, 2)), mask)


def _scale_values(a: Tensor, b: Tensor, measure: Measure, num_scales: int, official: bool) -> list[Tensor]:
    """Return the channels' similarities [B, C] at each scale; [1, C] of the batch in the official form."""
    values = []
    for scale in range(num_scales):
        if scale:
            # At an odd border there are fewer than four pixels to a mean; the authors divide by four.
            a, b = (
                F.avg_pool2d(x, 2, ceil_mode=True, divisor_override=4 if official else None) for x in (a, b)
            )
        local = local_statistics(a, b)
        if official:
            local = LocalStatistics(*(x.transpose(0, 1).flatten(1, 2).unsqueeze(0) for x in local))
        values.append(measure(local).mean(dim=(2, 3)))
    return values


def _require_size(x: Tensor, num_scales: int) -> None:
    least = (WINDOW - 1) * 2 ** (num_scales - 1) + 1
    if x.ndim != 4 or min(x.shape[2:]) < least:
        raise ImageSizeError(
            f"similarity over {num_scales} scale(s) needs images of at least {least} × {least} pixels, "
            f"not {list(x.shape)} [B, C, H, W]: take larger patches, or give this term the weight 0"
        )
