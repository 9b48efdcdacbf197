"""Pixel errors: PSNR in three domains, and distances of logarithms.

All return one value per image [B], and NaN where a mask is empty.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hdrlab.metrics.inputs import Array, as_images, as_tensor, pixel_mean
from hdrlab.ops.encoding import log_compress, mu_law_encode

PSNR_CAP = 100.0
"""What an infinite PSNR counts in a mean, in dB."""


def psnr(test: Array, reference: Array, peak: float = 1.0, mask: Array | None = None) -> Tensor:
    """Peak signal-to-noise ratio in dB, 10 · log10(peak² / mean squared error).

    Args:
        test: Images [B, C, H, W] of any domain.
        reference: The same shape and domain.
        peak: The value that counts as the largest signal.
        mask: Pixels to use, [B, 1, H, W], 0 or 1; None takes all.

    Returns:
        PSNR [B] in dB; infinite for equal images, see `mean_psnr`.

    Raises:
        ValueError: Shapes do not fit, or values are integers.
    """
    test, reference = as_images(test, reference)
    return 10 * torch.log10(peak**2 / pixel_mean((test - reference).square(), mask))


def mean_psnr(values: Array) -> Tensor:
    """Average PSNRs: what lies above 100 dB, infinite values included, counts as 100; NaN is left out.

    Args:
        values: PSNRs of any shape, in dB.

    Returns:
        Scalar in dB; NaN when nothing is left.
    """
    return as_tensor(values).clamp(max=PSNR_CAP).nanmean()


def psnr_mu(
    test: Array, reference: Array, peak: float | None = None, mu: float = 5000.0, mask: Array | None = None
) -> Tensor:
    """PSNR of μ-law compressed linear images, peak 1.

    Convention: both are divided by `peak`, by default the largest value of that reference, so that the
    reference fills [0, 1]; negative test values are 0, larger ones than the peak are not clipped.

    Args:
        test: Linear images [B, C, H, W], aligned to the reference's scale.
        reference: The same shape, domain and scale, ≥ 0.
        peak: The linear value that becomes 1; None takes the maximum of each reference.
        mu: Strength of the compression.
        mask: Pixels to use, [B, 1, H, W], 0 or 1; None takes all.

    Returns:
        PSNR [B] in dB.

    Raises:
        ValueError: Shapes do not fit, or values are integers.

    Source: Kalantari and Ramamoorthi, "Deep High Dynamic Range Imaging of Dynamic Scenes", 2017.
    """
    test, reference = as_images(test, reference)
    scale = reference.amax(dim=(1, 2, 3), keepdim=True) if peak is None else peak
    encoded = [mu_law_encode((x / scale).clamp(min=0), mu) for x in (test, reference)]
    return psnr(encoded[0], encoded[1], mask=mask)


def log_l1(test: Array, reference: Array, mask: Array | None = None) -> Tensor:
    """Mean |ℓ(test) − ℓ(reference)| with ℓ(x) = log(1 + 10x) / log 11.

    Args:
        test: Linear images [B, C, H, W], 1 = the clipping point; negative values are 0.
        reference: The same shape, domain and scale.
        mask: Pixels to use, [B, 1, H, W], 0 or 1; None takes all.

    Returns:
        Distance [B] ≥ 0.

    Raises:
        ValueError: Shapes do not fit, or values are integers.
    """
    test, reference = as_images(test, reference)
    return pixel_mean((log_compress(test.clamp(min=0)) - log_compress(reference.clamp(min=0))).abs(), mask)


def log_l2(test: Array, reference: Array, mask: Array | None = None) -> Tensor:
    """Mean squared difference of natural logarithms, log(x + 1/255).

    Args:
        test: Linear images [B, C, H, W], 1 = the clipping point; negative values are 0.
        reference: The same shape, domain and scale.
        mask: Pixels to use, [B, 1, H, W], 0 or 1; None takes all.

    Returns:
        Distance [B] ≥ 0.

    Raises:
        ValueError: Shapes do not fit, or values are integers.

    Source: SingleHDR, the value that its training code monitors.
    """
    test, reference = as_images(test, reference)
    logs = [torch.log(x.clamp(min=0) + 1 / 255) for x in (test, reference)]
    return pixel_mean((logs[0] - logs[1]).square(), mask)


def log10_rmse(test: Array, reference: Array, mask: Array | None = None, floor: float = 0.005) -> Tensor:
    """Root mean squared difference of decimal logarithms: 0.3 is a factor of 2.

    Args:
        test: Linear images [B, C, H, W], in cd/m² for the default floor.
        reference: The same shape, domain and scale.
        mask: Pixels to use, [B, 1, H, W], 0 or 1; None takes all.
        floor: Smaller values count as this one.

    Returns:
        Distance [B] ≥ 0.

    Raises:
        ValueError: Shapes do not fit, or values are integers.
    """
    test, reference = as_images(test, reference)
    logs = [torch.log10(x.clamp(min=floor)) for x in (test, reference)]
    return pixel_mean((logs[0] - logs[1]).square(), mask).sqrt()
