"""Transfer functions between linear and encoded values, luminance, and the mean normalisation.

Every function is pure, works element by element (or per sample where it says so) and keeps the dtype.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

LUMINANCE_WEIGHTS = (0.212656, 0.715158, 0.072186)
"""Weights of linear RGB with Rec. 709 primaries and white D65."""

PQ_PEAK = 10_000.0
"""Luminance in cd/m² that the perceptual quantiser maps to 1."""

_PQ_M, _PQ_N, _PQ_C1, _PQ_C2, _PQ_C3 = 78.8438, 0.1593, 0.8359, 18.8516, 18.6875


def mu_law_encode(x_lin: Tensor, mu: float = 5000.0) -> Tensor:
    """Compress linear values by the μ-law, log(1 + μx) / log(1 + μ).

    Args:
        x_lin: Linear values ≥ 0 of any shape; 0 and 1 are fixed points.
        mu: Strength of the compression, > 0.

    Returns:
        Encoded values of the same shape.

    Source: Kalantari and Ramamoorthi, "Deep High Dynamic Range Imaging of Dynamic Scenes", 2017.
    """
    return torch.log1p(mu * x_lin) / math.log1p(mu)


def mu_law_decode(x_log: Tensor, mu: float = 5000.0) -> Tensor:
    """Invert `mu_law_encode`.

    Args:
        x_log: Encoded values of any shape.
        mu: The strength that was used to encode.

    Returns:
        Linear values of the same shape.
    """
    return torch.expm1(x_log * math.log1p(mu)) / mu


def log_compress(x_lin: Tensor) -> Tensor:
    """Compress linear values to ℓ(x) = log(1 + 10x) / log 11, the domain of the hallucination losses.

    Args:
        x_lin: Linear values ≥ 0 of any shape, 1 = the clipping point.

    Returns:
        Compressed values of the same shape; 0 and 1 are fixed points.

    Source: SingleHDR, section 3.3. It is the μ-law with μ = 10.
    """
    return mu_law_encode(x_lin, mu=10.0)


def srgb_encode(x_lin: Tensor) -> Tensor:
    """Encode linear values with the sRGB curve.

    Args:
        x_lin: Linear values of any shape, nominally in [0, 1]; values outside follow the same formula.

    Returns:
        Display-encoded values of the same shape.

    Source: IEC 61966-2-1.
    """
    # The clamp keeps the power's infinite slope at 0 out of the gradient of the linear branch.
    power = 1.055 * x_lin.clamp(min=0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(x_lin <= 0.0031308, 12.92 * x_lin, power)


def srgb_decode(x_srgb: Tensor) -> Tensor:
    """Linearise values that were encoded with the sRGB curve.

    Args:
        x_srgb: Display-encoded values of any shape, nominally in [0, 1].

    Returns:
        Linear values of the same shape.

    Source: IEC 61966-2-1.
    """
    power = ((x_srgb.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4
    return torch.where(x_srgb <= 0.04045, x_srgb / 12.92, power)


def pq_encode(luminance_cd: Tensor) -> Tensor:
    """Encode absolute luminance with the perceptual quantiser.

    Args:
        luminance_cd: Luminance ≥ 0 in cd/m², any shape.

    Returns:
        Encoded values of the same shape, 1 at 10,000 cd/m².

    Source: SMPTE ST 2084, with the constants rounded to four decimals as Hanji et al. 2022 use them.
    """
    powered = (luminance_cd / PQ_PEAK) ** _PQ_N
    return ((_PQ_C1 + _PQ_C2 * powered) / (1 + _PQ_C3 * powered)) ** _PQ_M


def pq_decode(x_pq: Tensor) -> Tensor:
    """Invert `pq_encode`.

    Args:
        x_pq: Encoded values in [0, 1], any shape.

    Returns:
        Luminance in cd/m², same shape.
    """
    root = x_pq ** (1 / _PQ_M)
    return PQ_PEAK * ((root - _PQ_C1).clamp(min=0) / (_PQ_C2 - _PQ_C3 * root)) ** (1 / _PQ_N)


def luminance(rgb_lin: Tensor) -> Tensor:
    """Weigh linear RGB to luminance.

    Args:
        rgb_lin: Linear RGB [B, 3, H, W], in any unit.

    Returns:
        Luminance [B, 1, H, W] in the same unit.

    Raises:
        ValueError: The channel axis does not have size 3.
    """
    if rgb_lin.ndim != 4 or rgb_lin.shape[1] != 3:
        raise ValueError(f"luminance needs RGB pictures [B, 3, H, W], not {list(rgb_lin.shape)}")
    weights = rgb_lin.new_tensor(LUMINANCE_WEIGHTS).view(1, 3, 1, 1)
    return (rgb_lin * weights).sum(dim=1, keepdim=True)


def mean_normalise(hdr: Tensor) -> Tensor:
    """Scale each sample so that its mean is 0.5, which takes the unknown exposure out of a comparison.

    Args:
        hdr: Linear pictures [B, C, H, W] ≥ 0.

    Returns:
        0.5 · hdr / (mean + 1e-6) per sample, same shape.

    Source: SingleHDR, training on HDR-Real.
    """
    return 0.5 * hdr / (hdr.mean(dim=(1, 2, 3), keepdim=True) + 1e-6)
