"""SSIM and MS-SSIM of encoded images; one value per image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hdrlab.metrics.inputs import Array, as_images, pixel_mean
from hdrlab.metrics.sizes import require_side
from hdrlab.ops.windows import WINDOW, contrast_map, local_statistics, ssim_map

MS_SSIM_MIN_SIDE = 161
"""The shortest side of which four halvings leave more than a window."""

_EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def ssim(test: Array, reference: Array, peak: float = 1.0, mask: Array | None = None) -> Tensor:
    """Structural similarity, Gaussian window 11×11 with σ = 1.5, borders mirrored.

    Args:
        test: Encoded images [B, C, H, W], both sides ≥ 6.
        reference: The same shape and domain.
        peak: Range of the values.
        mask: Window centres to use, [B, 1, H, W], 0 or 1; None takes all.

    Returns:
        SSIM [B], 1 for equal images; NaN where a mask is empty.

    Raises:
        ImageSizeError: A side is too short.
        ValueError: Shapes do not fit, or values are integers.

    Source: Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity", 2004.
    """
    test, reference = as_images(test, reference)
    require_side(test, WINDOW // 2 + 1, "SSIM")
    return pixel_mean(mirrored_ssim(test, reference, peak), mask)


def ms_ssim(test: Array, reference: Array, peak: float = 1.0) -> Tensor:
    """Structural similarity over five scales, windows as in `ssim`; negative parts count as 0.

    Contrast and structure are compared at the four finer scales in windows within the image, all of SSIM at
    the coarsest one with borders mirrored.

    Args:
        test: Encoded images [B, C, H, W], both sides > 160.
        reference: The same shape and domain.
        peak: Range of the values.

    Returns:
        MS-SSIM [B] in [0, 1], 1 for equal images.

    Raises:
        ImageSizeError: A side is too short.
        ValueError: Shapes do not fit, or values are integers.

    Source: Wang et al., "Multi-scale Structural Similarity for Image Quality Assessment", 2003.
    """
    test, reference = as_images(test, reference)
    require_side(test, MS_SSIM_MIN_SIDE, "MS-SSIM")
    scales = []
    for _ in _EXPONENTS[:-1]:
        scales.append(contrast_map(local_statistics(test, reference), peak).mean(dim=(1, 2, 3)))
        test, reference = (F.avg_pool2d(x, 2) for x in (test, reference))
    scales.append(mirrored_ssim(test, reference, peak).mean(dim=(1, 2, 3)))
    values = torch.stack(scales, dim=1).clamp(min=0)
    return (values ** values.new_tensor(_EXPONENTS)).prod(dim=1)


def mirrored_ssim(test: Tensor, reference: Tensor, peak: float) -> Tensor:
    """Return SSIM in the window around each pixel of images [B, C, H, W], borders mirrored; see `ssim`."""
    padded = (F.pad(x, [WINDOW // 2] * 4, mode="reflect") for x in (test, reference))
    return ssim_map(local_statistics(*padded), peak)
