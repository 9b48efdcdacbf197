"""TMQI: how much of an HDR image's structure a tone-mapped one keeps, and how natural it looks.

All values are computed in float64. Compare scores of one program only: versions differ in details.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from hdrlab.metrics.inputs import Array, as_images
from hdrlab.metrics.sizes import require_side
from hdrlab.ops.colour import luminance
from hdrlab.ops.windows import Window, gaussian_window, quick_moments, window_moments

TMQI_MIN_SIDE = 161
"""The shortest side of which four halvings leave a window's 11 pixels."""

Moments = Callable[[Tensor, Tensor, Window], tuple[Tensor, Tensor]]
"""Means [2, …], and variances and covariance [3, …], of two maps in windows."""

_WINDOW = gaussian_window()
_FREQUENCIES = (16.0, 8.0, 4.0, 2.0, 1.0)  # of the levels, in cycles per degree
_EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_C1, _C2 = 0.01, 10.0
_FULL_SCALE = 2.0**32 - 1
_BLOCK = 11
_BRIGHTNESS_MEAN, _BRIGHTNESS_SPREAD = 115.94, 27.99
_CONTRAST_SCALE, _BETA_A, _BETA_B = 64.29, 4.4, 10.1
_WEIGHT_S, _POWER_S, _POWER_N = 0.8012, 0.3046, 0.7088


class Tmqi(NamedTuple):
    """Scores of tone-mapped images; higher is better.

    Attributes:
        q: Overall quality [B] in [0, 1].
        s: Structural fidelity [B] in [0, 1].
        n: Naturalness [B] in [0, 1].
        levels: Structural fidelity of the five levels, fine to coarse, [B, 5] in [-1, 1].
    """

    q: Tensor
    s: Tensor
    n: Tensor
    levels: Tensor


def tmqi(hdr: Array, sdr: Array) -> Tmqi:
    """Score tone-mapped images by their structure and their naturalness.

    A constant HDR image counts as one without contrast: only a constant SDR image keeps its structure. A
    level that is negative on average, as in a negative image, counts as 0 in S; `levels` keeps its sign.
    HDR images whose luminance spans 2³³ or more keep the fraction of the scale, which would round to 0.

    Args:
        hdr: Linear RGB [B, 3, H, W] ≥ 0 in any unit, both sides at least 161; the scores depend on the unit
            only as far as the scale to 32 bits is rounded.
        sdr: Display-encoded images of the same shape in [0, 1]; not rounded to 8 bits.

    Returns:
        Scores, float64; NaN where an image is not finite.

    Raises:
        ImageSizeError: A side is too short for five levels.
        ValueError: Shapes do not fit, or values are integers.

    Source: Yeganeh and Wang, "Objective Quality Assessment of Tone-Mapped Images", 2013. Border blocks of
    the naturalness are filled with zeros and count with the pixels they hold, as in the authors' program.
    """
    hdr, sdr = as_images(hdr, sdr)
    require_side(hdr, TMQI_MIN_SIDE, "TMQI")
    weights = (0.2126, 0.7152, 0.0722)
    return _score(_scale_to_32_bits(_weigh(hdr, weights)), 255 * _weigh(sdr, weights), window_moments)


def trainable_tmqi(hdr: Tensor, sdr: Tensor) -> Tensor:
    """Score tone-mapped images as `tmqi` does, fast, with gradients for the SDR images.

    Args:
        hdr: Linear RGB [B, 3, H, W] ≥ 0 in any unit, both sides at least 161.
        sdr: Display-encoded images of the same shape in [0, 1].

    Returns:
        Overall quality [B]. Where N or a level of S is below 0.001 it is flat: the gradients of their powers
        are infinite at 0.

    Raises:
        ImageSizeError: A side is too short for five levels.
    """
    require_side(hdr, TMQI_MIN_SIDE, "TMQI")
    with torch.no_grad():
        hdr_y = _scale_to_32_bits(luminance(hdr.float()))
    return _score(hdr_y, 255 * luminance(sdr.float()), quick_moments, least=1e-3).q


def _score(hdr_y: Tensor, luma: Tensor, moments: Moments, least: float = 0.0) -> Tmqi:
    levels = _fidelity_levels(hdr_y, luma, moments)
    s, n = (levels.clamp(min=least) ** levels.new_tensor(_EXPONENTS)).prod(dim=1), _naturalness(luma)
    q = _WEIGHT_S * s**_POWER_S + (1 - _WEIGHT_S) * n.clamp(min=least) ** _POWER_N
    return Tmqi(q, s, n, levels)


def tmqi2_structure(hdr: Array, sdr: Array) -> Tensor:
    """Structural fidelity of TMQI-II, which judges HDR contrast relative to the local mean; one scale.

    Args:
        hdr: Linear RGB [B, 3, H, W] ≥ 0 in any unit, both sides at least 11.
        sdr: Display-encoded images of the same shape in [0, 1]; not rounded to 8 bits.

    Returns:
        TMQI-II S [B], float64, in [-1, 1]; NaN where the HDR image is constant or an image is not finite.

    Raises:
        ImageSizeError: A side is shorter than the window.
        ValueError: Shapes do not fit, or values are integers.

    Source: Ma, Yeganeh, Zeng and Wang, "High Dynamic Range Image Compression by Optimizing Tone Mapped Image
    Quality Index", 2015. The naturalness of that paper is not computed, hence no overall score.
    """
    hdr, sdr = as_images(hdr, sdr)
    require_side(hdr, len(_WINDOW), "TMQI-II")
    weights = (0.213, 0.715, 0.072)
    means, moments = window_moments(
        _scale_to_32_bits(_weigh(hdr, weights)), 255 * _weigh(sdr, weights), _WINDOW
    )
    contrast = moments[0].sqrt() / means[0]
    visible = [_visibility(contrast, 0.06), _visibility(moments[1].sqrt(), 2.6303)]
    # Where all of a window is the image's minimum, it has no relative contrast.
    keep = means[0] != 0
    fidelity = torch.where(keep, _fidelity(visible[0], visible[1], moments), 0)
    return fidelity.sum(dim=(1, 2, 3)) / keep.sum(dim=(1, 2, 3))


def _weigh(images: Tensor, weights: tuple[float, ...]) -> Tensor:
    """Reduce images to float64 [B, 1, H, W]; of grey ones all three channels are the same."""
    channels = images.double().expand(-1, 3, -1, -1)
    return (channels * channels.new_tensor(weights).view(3, 1, 1)).sum(dim=1, keepdim=True)


def _scale_to_32_bits(y: Tensor) -> Tensor:
    """Shift and scale luminance to about 0 … 2³² − 1, by a rounded factor as the authors do."""
    low, high = y.amin(dim=(2, 3), keepdim=True), y.amax(dim=(2, 3), keepdim=True)
    factor = _FULL_SCALE / (high - low)
    factor = torch.where(factor < 0.5, factor, factor.round())
    return torch.where(high == low, 0, factor) * (y - low)


def _fidelity_levels(hdr_y: Tensor, sdr_y: Tensor, of: Moments) -> Tensor:
    """Return the mean structural fidelity of five levels, [B, 5]."""
    levels = []
    for frequency in _FREQUENCIES:
        _, moments = of(hdr_y, sdr_y, _WINDOW)
        threshold = 128 / (1.4 * _contrast_sensitivity(frequency))
        visible = _visibility(_root(moments[:2]), threshold)
        levels.append(_fidelity(visible[0], visible[1], moments).mean(dim=(1, 2, 3)))
        # The mean of what a border cell has is that of the edge mirrored.
        hdr_y, sdr_y = (F.avg_pool2d(y, 2, ceil_mode=True) for y in (hdr_y, sdr_y))
    return torch.stack(levels, dim=1)


def _contrast_sensitivity(frequency: float) -> float:
    """Return the eye's contrast sensitivity at a number of cycles per degree (Mannos and Sakrison, 1974)."""
    return 260 * (0.0192 + 0.114 * frequency) * math.exp(-((0.114 * frequency) ** 1.1))


def _visibility(deviation: Tensor, threshold: float) -> Tensor:
    """Return the probability that contrast is seen, a normal distribution about its threshold."""
    seen: Tensor = torch.special.ndtr((deviation - threshold) * (3 / threshold))
    return seen


def _fidelity(visible_h: Tensor, visible_l: Tensor, moments: Tensor) -> Tensor:
    """Compare contrast and structure in each window."""
    contrast = (2 * visible_h * visible_l + _C1) / (visible_h.square() + visible_l.square() + _C1)
    return contrast * (moments[2] + _C2) / (_root(moments[0] * moments[1]) + _C2)


def _root(x: Tensor) -> Tensor:
    """Return the square root of values ≥ 0, with a gradient of 0 at 0."""
    return torch.where(x == 0, 0, torch.where(x == 0, 1, x).sqrt())


def _naturalness(y: Tensor) -> Tensor:
    """Compare brightness and contrast of [B, 1, H, W] in 0 … 255 with those of natural images."""
    brightness = torch.exp(-0.5 * ((y.mean(dim=(1, 2, 3)) - _BRIGHTNESS_MEAN) / _BRIGHTNESS_SPREAD) ** 2)
    mode = (_BETA_A - 1) / (_BETA_A + _BETA_B - 2)
    share = (_block_deviation(y) / _CONTRAST_SCALE).clamp(0, 1)
    contrast = (share / mode) ** (_BETA_A - 1) * ((1 - share) / (1 - mode)) ** (_BETA_B - 1)
    return brightness * contrast


def _block_deviation(y: Tensor) -> Tensor:
    """Average over pixels the standard deviation of the 11×11 block each lies in."""
    height, width = y.shape[-2:]
    padded = F.pad(y, (0, -width % _BLOCK, 0, -height % _BLOCK))
    blocks = padded.unfold(-2, _BLOCK, _BLOCK).unfold(-2, _BLOCK, _BLOCK)
    deviation = blocks.flatten(start_dim=-2).std(dim=-1)
    for dim in (-1, -2):
        deviation = deviation.repeat_interleave(_BLOCK, dim)
    return deviation[..., :height, :width].mean(dim=(1, 2, 3))
