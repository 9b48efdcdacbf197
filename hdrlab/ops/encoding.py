"""From linear HDR values in any unit to the encoded [0, 1] that the tone-mapping nets take; stretching."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

Domain = Literal["gamma", "linear", "log"]

ENCODING_EXPONENT = 0.4545
"""From linear to display-encoded values: 1 / 2.2, as the authors round it."""

_CLIPPED = 0.003  # share of the samples, at the bright end: IQATM
_CLIPPED_LOG = 0.001  # at both ends: DRLTM
_LOG_OFFSET = 2.2e-16


def tone_limits(hdr: Tensor, domain: Domain = "gamma", *, official: bool = False) -> tuple[Tensor, Tensor]:
    """Find the range of values of each picture that is to be shown, its channels taken together.

    It leaves out the brightest 0.3 % of the samples; for `log` 0.1 % at either end. Where nothing would then
    be left between the limits (a few stars on black), nothing is left out.

    Args:
        hdr: Linear pictures [B, 3, H, W] in any unit, finite.
        domain: The encoding that follows.
        official: Whether to count as the authors do, whose rank is 0 below 334 samples: low and high are then
            equal. Elsewhere their limits are the same.

    Returns:
        Low and high [B, 1, 1, 1] in the unit of `hdr`; equal for constant pictures, else low < high.

    Raises:
        ValueError: The domain is unknown.

    Source: IQATM, the authors' program; for `log` DRLTM's.
    """
    _require_domain(domain)
    low, high = _range(hdr, _CLIPPED_LOG, _CLIPPED_LOG) if domain == "log" else _range(hdr, 0, _CLIPPED)
    if official and int(hdr.shape[1:].numel() * _CLIPPED) == 0:
        high = low
    return low, high


def encode_hdr(hdr: Tensor, low: Tensor, high: Tensor, domain: Domain = "gamma") -> Tensor:
    """Clip linear values to a range, stretch it to [0, 1] and encode; each value by itself.

    Args:
        hdr: Linear pictures [B, 3, H, W] or windows of them, in any unit, finite; for `log` at least 0.
        low: What becomes 0 [B, 1, 1, 1], same unit.
        high: What becomes 1 [B, 1, 1, 1], same unit.
        domain: `gamma` takes the power 0.4545, `linear` nothing, `log` the logarithm before it stretches.

    Returns:
        Encoded values in [0, 1], same shape; zeros where low and high are equal.

    Raises:
        ValueError: The domain is unknown.

    Source: IQATM, the authors' program; for `log` DRLTM's.
    """
    _require_domain(domain)
    x = hdr.clamp(low, high)
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
    count = samples.shape[1]
    lowest, highest = samples.aminmax(dim=1)
    # The k-th value from an end is itself the limit, so that k − 1 are left out.
    low, high = lowest, highest
    if (rank := int(count * below)) > 1:
        low = samples.kthvalue(rank, dim=1).values
    if (rank := int(count * above)) > 1:
        high = samples.kthvalue(count + 1 - rank, dim=1).values
    open_range, shape = high > low, (-1, *(1,) * (x.ndim - 1))
    return (
        torch.where(open_range, low, lowest).view(shape),
        torch.where(open_range, high, highest).view(shape),
    )


def _stretch(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    return (x - low) / (high - low).clamp(min=torch.finfo(x.dtype).tiny)


def _log(x: Tensor) -> Tensor:
    # DRLTM's floor of −50 is below the logarithm of the offset.
    return torch.log(x.clamp(min=0) + _LOG_OFFSET)


def _require_domain(domain: str) -> None:
    if domain not in get_args(Domain):
        raise ValueError(f"unknown domain {domain!r}: choose one of {', '.join(get_args(Domain))}")
