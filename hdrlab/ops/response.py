"""Response curves as tables on a uniform grid over [0, 1]: application, monotone repair, inversion.

A curve is a tensor [B, K] (K = 1024 in practice): sample k holds the response to the value k / (K − 1). One
curve serves all values of a sample, hence all its channels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hdrlab.ops.inverse_basis import InverseBasis, load_inverse_basis
from hdrlab.ops.response_curves import mean_response

__all__ = [
    "InverseBasis",
    "apply_response",
    "average_inverse",
    "invert_response",
    "load_inverse_basis",
    "make_monotone",
]


def apply_response(x: Tensor, curve: Tensor) -> Tensor:
    """Looks values up in response curves, linearly between the samples.

    Args:
        x: values [B, ...], nominally in [0, 1]; what lies outside takes the end of the curve.
        curve: Response curves [B, K] over a uniform grid on [0, 1].

    Returns:
        Responses of x's shape in the wider of both dtypes, at least float32, since half precision cannot
        address 1024 samples. The gradient with respect to x is (K − 1) times the step of the curve around x;
        it is zero outside [0, 1] and at 1.

    Raises:
        ValueError: the shapes do not fit.

    Source: SingleHDR (Liu et al., CVPR 2020), image formation and linearization; authors' interpolation.
    """
    if curve.ndim != 2 or x.ndim < 1 or x.shape[0] != curve.shape[0]:
        raise ValueError(
            f"apply_response needs x [B, ...] and one curve per sample [B, K]; got x {list(x.shape)} "
            f"and curve {list(curve.shape)}"
        )
    dtype = _working_dtype(x, curve)
    last = curve.shape[1] - 1
    table = curve.to(dtype)
    # Clamped first, so that values far outside neither overflow nor lose the fraction to rounding.
    position = x.to(dtype).reshape(len(x), -1).clamp(0, 1) * last
    below = position.detach().floor()
    index = below.long().clamp(0, last)  # NaN becomes an arbitrary integer, which must stay a legal index
    lower = table.gather(1, index)
    upper = table.gather(1, (index + 1).clamp(max=last))
    return ((below + 1 - position) * lower + (position - below) * upper).reshape(x.shape)


def make_monotone(curve: Tensor) -> Tensor:
    """Turns arbitrary sampled curves into increasing ones from 0 to 1.

    The most negative step, if there is one, is lifted to zero together with all others; the steps are then
    scaled to sum to 1 and summed up.

    Args:
        curve: Raw curves [..., K] of any range.

    Returns:
        Non-decreasing curves [..., K], at least float32, from 0 to 1 up to rounding (1e-6 in float32).

    Source: SingleHDR (Liu et al., CVPR 2020), monotonically increasing constraint; authors' form without ε.
    Different only for a raw curve that becomes flat (constant, or a falling straight line): it yields the
    straight line where the original divides by zero.
    """
    steps = curve.to(_working_dtype(curve)).diff(dim=-1)
    lifted = steps + torch.relu(-steps.amin(dim=-1, keepdim=True))
    lifted = torch.where(lifted.sum(dim=-1, keepdim=True) > 0, lifted, 1.0)
    rising = (lifted / lifted.sum(dim=-1, keepdim=True)).cumsum(dim=-1)
    return torch.nn.functional.pad(rising, (1, 0))


def invert_response(curve: Tensor) -> Tensor:
    """Inverts response curves by piecewise-linear interpolation on the same uniform grid.

    Args:
        curve: response curves [..., K] in [0, 1]; their ends are taken as 0 and 1. Falling parts are sorted.

    Returns:
        Inverse curves [..., K] in curve's dtype, in [0, 1] and from exactly 0 to exactly 1. A curve that is
        flat at an end has many inverses there; the outermost is taken, so the inverse jumps in its first or
        last step.

    Source: SingleHDR (Liu et al., CVPR 2020), authors' data preparation; the original yields NaN at the first
    sample of a curve that begins with two zeros.
    """
    response = curve.detach().to(torch.float64, copy=True)
    response[..., 0], response[..., -1] = 0, 1
    response, order = response.sort(dim=-1, stable=True)
    grid = torch.linspace(0, 1, curve.shape[-1], dtype=torch.float64, device=curve.device)
    value = grid[order]
    upper = torch.searchsorted(response, grid.expand_as(response).contiguous()).clamp(1, curve.shape[-1] - 1)
    left, right = response.gather(-1, upper - 1), response.gather(-1, upper)
    start, stop = value.gather(-1, upper - 1), value.gather(-1, upper)
    inverse = start + (stop - start) * (grid - left) / (right - left)
    inverse[..., 0], inverse[..., -1] = 0, 1
    return inverse.to(curve.dtype)


def average_inverse(like: Tensor) -> Tensor:
    """Return the average camera's inverse response, from 0 to 1, for each of the curves [B, 1024] given."""
    mean = invert_response(torch.from_numpy(mean_response().copy()))
    return mean.to(like).expand(len(like), -1)


def _working_dtype(*tensors: Tensor) -> torch.dtype:
    """The widest dtype of the tensors, but no less than float32."""
    dtype = torch.float32
    for tensor in tensors:
        dtype = torch.promote_types(dtype, tensor.dtype)
    return dtype
