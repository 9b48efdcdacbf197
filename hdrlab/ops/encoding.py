"""Encodings of linear values other than sRGB, and the stretching of images to a range.

Every function is pure, works element by element (or per sample where it says so) and keeps the dtype.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from hdrlab.ops.colour import MIDDLE_GREY, luminance, srgb_encode
from hdrlab.ops.free_sizes import as_size, every, in_graph, is_free, is_symbol

Domain = Literal["gamma", "linear", "log", "adaptive"]

PQ_PEAK = 10_000.0
"""Luminance in cd/m² that the perceptual quantiser maps to 1."""

_PQ_M, _PQ_N, _PQ_C1, _PQ_C2, _PQ_C3 = 78.8438, 0.1593, 0.8359, 18.8516, 18.6875

ENCODING_EXPONENT = 0.4545
"""From linear to display-encoded values: 1 / 2.2, as the authors round it."""

_CLIPPED = 0.003  # share of the samples, at the bright end: IQATM
_CLIPPED_LOG = 0.001  # at both ends: DRLTM
_LOG_OFFSET = 2.2e-16
_STOPS, _HALVINGS, _ENOUGH = 2.0, 12, 2**17  # of the search for an exposure: its reach, its steps, its pixels


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


def mean_normalise(hdr: Tensor) -> Tensor:
    """Scale each sample so that its mean is 0.5, which takes the unknown exposure out of a comparison.

    Args:
        hdr: Linear images [B, C, H, W] ≥ 0.

    Returns:
        0.5 · hdr / (mean + 1e-6) per sample, same shape.

    Source: SingleHDR, training on HDR-Real.
    """
    return 0.5 * hdr / (hdr.mean(dim=(1, 2, 3), keepdim=True) + 1e-6)


def tone_limits(
    hdr: Tensor, domain: Domain = "gamma", *, official: bool = False, level: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Find the range of values of each image that is to be shown, its channels taken together.

    It leaves out the brightest 0.3 % of the samples; for `log` 0.1 % at either end. Where nothing would then
    be left between the limits (a few stars on black), nothing is left out.

    Args:
        hdr: Linear images [B, 3, H, W] in any unit, finite.
        domain: The encoding that follows.
        official: Whether to count as the authors do, whose rank is 0 below 334 samples: low and high are then
            equal. Elsewhere their limits are the same.
        level: For `adaptive`: the mean luminance that encoded images are to have, in (0, 1), as far as two
            stops more or less reach; 0 leaves the log-average at middle grey.

    Returns:
        Low and high [B, 1, 1, 1] in the unit of `hdr`; equal for constant images, else low < high. For
        `adaptive` low is what becomes middle grey, the log-average of the luminance of what holds light
        unless there is a `level`, and high at least that.

    Raises:
        ValueError: The domain is unknown.

    Source: IQATM, the authors' program; for `log` DRLTM's.
    """
    _require_domain(domain)
    if domain == "adaptive":
        grey, high = _log_average(hdr), _range(hdr, 0, _CLIPPED)[1]
        if level:
            grey = _exposed_for(level, hdr, grey, high)
        return grey, torch.maximum(high, grey)
    low, high = _range(hdr, _CLIPPED_LOG, _CLIPPED_LOG) if domain == "log" else _range(hdr, 0, _CLIPPED)
    if official:
        _, channels, height, width = hdr.shape
        few = in_graph(channels * height * width, torch.float64).to(hdr.device) * _CLIPPED < 1
        high = torch.where(few, low, high)
    return low, high


def clip_to(x: Tensor, low: Tensor, high: Tensor, domain: Domain = "gamma") -> Tensor:
    """Clip linear values of any shape to what `encode_hdr` tells apart, by the limits of `tone_limits`."""
    return torch.minimum(x.clamp(min=0), high) if domain == "adaptive" else x.clamp(low, high)


def encode_hdr(hdr: Tensor, low: Tensor, high: Tensor, domain: Domain = "gamma") -> Tensor:
    """Clip linear values to a range, stretch it to [0, 1] and encode; each value by itself.

    Args:
        hdr: Linear images [B, 3, H, W] or windows of them, in any unit, finite; for `log` at least 0.
        low: What becomes 0 [B, 1, 1, 1], same unit.
        high: What becomes 1 [B, 1, 1, 1], same unit.
        domain: `gamma` takes the power 0.4545, `linear` nothing, `log` the logarithm before it stretches;
            `adaptive` takes Reinhard's global curve and the sRGB encoding of each channel, the log-average at
            middle grey and white at high; black pixels do not disturb it.

    Returns:
        Encoded values in [0, 1], same shape; zeros where low and high are equal, but for `adaptive`.

    Raises:
        ValueError: The domain is unknown.

    Source: IQATM, the authors' program; for `log` DRLTM's; for `adaptive`
        Reinhard et al., "Photographic Tone Reproduction for Digital Images", 2002.
    """
    _require_domain(domain)
    x = clip_to(hdr, low, high, domain)
    if domain == "adaptive":
        exposed, white = MIDDLE_GREY * (x / low), (MIDDLE_GREY * (high / low)).clamp(min=1)
        return srgb_encode((exposed * (1 + exposed / white**2) / (1 + exposed)).clamp(max=1))
    if domain == "log":
        return _stretch(_log(x), _log(low), _log(high))
    x = _stretch(x, low, high)
    return x**ENCODING_EXPONENT if domain == "gamma" else x


def normalise_minmax(x: Tensor) -> Tensor:
    """Stretch each sample to [0, 1].

    Args:
        x: Values [B, ...] of any range, finite.

    Returns:
        Values of the same shape; zeros for a constant sample.
    """
    return _stretch(x, *_range(x, 0, 0))


def normalise_percentile(x: Tensor, clipped: float = 0.001) -> Tensor:
    """Stretch each sample to [0, 1] with some values clipped, so that a few odd pixels do not set the rest.

    Args:
        x: Values [B, ...] of any range, finite.
        clipped: Share of the values that is clipped at either end, in [0, 0.5); none is where this would
            leave no range.

    Returns:
        Values of the same shape; zeros for a constant sample.

    Raises:
        ValueError: The share is outside its range.
    """
    if not 0 <= clipped < 0.5:
        raise ValueError(f"clipped={clipped}: the share at either end must be in [0, 0.5), for example 0.001")
    low, high = _range(x, clipped, clipped)
    return _stretch(x.clamp(low, high), low, high)


def _range(x: Tensor, below: float, above: float) -> tuple[Tensor, Tensor]:
    """Return limits [B, 1, ...] that leave out shares of each sample, or all of its range if they meet."""
    samples = x.flatten(1)
    lowest, highest = samples.amin(dim=1), samples.amax(dim=1)
    # The k-th value from an end is itself the limit, so that k − 1 are left out.
    low = _from_end(samples, below, lowest, largest=False)
    high = _from_end(samples, above, highest, largest=True)
    open_range, shape = high > low, (-1, *(1,) * (x.ndim - 1))
    return (
        torch.where(open_range, low, lowest).view(shape),
        torch.where(open_range, high, highest).view(shape),
    )


def _from_end(samples: Tensor, share: float, end: Tensor, *, largest: bool) -> Tensor:
    """Return the value [B] at the place that is a share of all samples [B, N] from their end."""
    count = samples.shape[1]
    if is_symbol(count) and share:
        place = as_size((in_graph(count, torch.float64) * share).long().clamp(min=1))
        return samples.topk(place, dim=1, largest=largest).values[:, -1]
    rank = int(count * share)
    return samples.kthvalue(count + 1 - rank if largest else rank, dim=1).values if rank > 1 else end


def _stretch(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    return (x - low) / (high - low).clamp(min=torch.finfo(x.dtype).tiny)


def _exposed_for(level: float, hdr: Tensor, grey: Tensor, high: Tensor) -> Tensor:
    """Return what becomes middle grey [B, 1, 1, 1] where the mean of the encoded luminance is the level."""
    parts = hdr.shape[-2] * hdr.shape[-1] // _ENOUGH
    if is_free(hdr):
        step = as_size(in_graph(parts, torch.float64).sqrt().long().clamp(min=1))
    else:
        step = max(1, math.isqrt(parts))
    seen = every(hdr, step)
    darker, brighter = torch.full_like(grey, -_STOPS), torch.full_like(grey, _STOPS)
    for _ in range(_HALVINGS):
        stops = (darker + brighter) / 2
        low = grey / 2**stops
        mean = luminance(encode_hdr(seen, low, torch.maximum(high, low), "adaptive")).mean((1, 2, 3), True)
        darker, brighter = (
            torch.where(mean < level, stops, darker),
            torch.where(mean < level, brighter, stops),
        )
    return grey / 2 ** ((darker + brighter) / 2)


def _log_average(hdr: Tensor) -> Tensor:
    """Return the geometric mean of each image's luminance over what holds light [B, 1, 1, 1], above 0."""
    light = luminance(hdr).flatten(1)
    lit = light > 0
    total = torch.where(lit, torch.where(lit, light, 1).log(), 0).sum(dim=1, dtype=torch.float64)
    mean = (total / lit.sum(dim=1).clamp(min=1)).exp().to(hdr.dtype)
    return mean.clamp(min=torch.finfo(hdr.dtype).tiny).view(-1, 1, 1, 1)


def _log(x: Tensor) -> Tensor:
    # DRLTM's floor of −50 is below the logarithm of the offset.
    return torch.log(x.clamp(min=0) + _LOG_OFFSET)


def _require_domain(domain: str) -> None:
    if domain not in get_args(Domain):
        raise ValueError(f"unknown domain {domain!r}: choose one of {', '.join(get_args(Domain))}")
