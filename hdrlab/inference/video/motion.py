"""Motion from frame to frame by block matching, and what is carried along it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

MATCHED_SIDE = 480
"""Longer side of the frames in which blocks are looked for."""

_LEVELS, _RADIUS, _BLOCK, _WINDOW = 4, 2, 4, 9
_STAYS = (0.85, 0.001)
"""What motion must leave of the difference made by standing still: this share, less an amount for noise."""


def matched(luma: Tensor) -> Tensor:
    """Shrink luma [1, 1, H, W], display-encoded, to the size in which blocks are looked for, and blur it.

    Without blur, noise alone would move: between pixels, where it is averaged, it fits better.
    """
    kernel = luma.new_tensor([1, 2, 1]).outer(luma.new_tensor([1, 2, 1])).view(1, 1, 3, 3) / 16
    factor = MATCHED_SIDE / max(luma.shape[-2:])
    if factor < 1:
        luma = _shrunk(luma, factor)
    return F.conv2d(F.pad(luma, (1, 1, 1, 1), mode="replicate"), kernel)


def _shrunk(luma: Tensor, factor: float) -> Tensor:
    height, width = (max(_BLOCK, round(side * factor)) for side in luma.shape[-2:])
    return F.adaptive_avg_pool2d(luma, (height, width))


def motion(previous: Tensor, current: Tensor) -> Tensor:
    """Find for each block where in the previous frame it was.

    Blocks of a coarse image are looked for first, those of finer ones about where these were; the last place
    is refined by a parabola through the differences. A block stands still unless moving explains it clearly
    better.

    Args:
        previous: From `matched`.
        current: Likewise, of that size.

    Returns:
        Displacements (x, y) [1, 2, h, w] in the unit of `torch.nn.functional.grid_sample`: 2 is the whole
        side.
    """
    pyramid = [(previous, current)]
    while len(pyramid) < _LEVELS and min(pyramid[-1][0].shape[-2:]) >= 4 * _BLOCK:
        pyramid.append(tuple(F.avg_pool2d(one, 2, ceil_mode=True) for one in pyramid[-1]))  # type: ignore[arg-type]
    flow = previous.new_zeros(1, 2, 1, 1)
    for number, (before, now) in enumerate(reversed(pyramid)):
        flow = _refined(before, now, flow, is_last=number == len(pyramid) - 1)
    still = _cost((current - previous).abs())
    moved = _cost((current - warp(previous, flow)).abs())
    return _median(flow * (moved < _STAYS[0] * still - _STAYS[1]))


def warp(image: Tensor, flow: Tensor) -> Tensor:
    """Fetch each pixel of an image [1, C, H, W] from where it was; what stands still is left to the bit."""
    if not flow.any():
        return image
    grid, dense = _places(flow, image.shape[-2:])
    fetched = F.grid_sample(image, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return torch.where(dense.abs().amax(dim=1, keepdim=True) > 0, fetched, image)


def unseen(flow: Tensor, size: Sequence[int]) -> Tensor:
    """Say which pixels of a frame [H, W] were outside the one before, or next to such blocks.

    Returns:
        1 there, 0 elsewhere, [1, 1, H, W].
    """
    grid, _ = _places(flow, flow.shape[-2:])
    outside = (grid.abs().amax(dim=-1) > 1).to(flow.dtype)[:, None]
    return F.interpolate(F.max_pool2d(outside, 3, 1, 1), (size[0], size[1]), mode="nearest")


def _places(flow: Tensor, size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return where the pixels of a frame were, [1, H, W, 2], and how far that is, [1, 2, H, W]."""
    height, width = size
    dense = F.interpolate(flow, (height, width), mode="bilinear", align_corners=False)
    identity = torch.eye(2, 3, dtype=flow.dtype, device=flow.device)[None]
    grid = F.affine_grid(identity, [1, 1, height, width], align_corners=False)
    return grid + dense.permute(0, 2, 3, 1), dense


def _refined(before: Tensor, now: Tensor, flow: Tensor, *, is_last: bool) -> Tensor:
    """Look for each block within `_RADIUS` pixels of where it is expected."""
    height, width = now.shape[-2:]
    around = F.pad(warp(before, flow), (_RADIUS,) * 4, mode="replicate")
    reach = range(-_RADIUS, _RADIUS + 1)
    costs = torch.cat(
        [
            _cost(
                (
                    now - around[..., _RADIUS + y : _RADIUS + y + height, _RADIUS + x : _RADIUS + x + width]
                ).abs()
            )
            for y in reach
            for x in reach
        ],
        dim=1,
    )
    best = costs.argmin(dim=1, keepdim=True)
    side = len(reach)
    y, x = best // side - _RADIUS, best % side - _RADIUS
    shift = torch.cat([x, y], dim=1).to(now.dtype)
    if is_last:
        shift = shift + torch.cat([_vertex(costs, best, x, 1), _vertex(costs, best, y, side)], dim=1)
    unit = shift.new_tensor([2 / width, 2 / height]).view(1, 2, 1, 1)
    flow = F.interpolate(flow, shift.shape[-2:], mode="bilinear", align_corners=False)
    return _median(flow + shift * unit)


def _vertex(costs: Tensor, best: Tensor, place: Tensor, step: int) -> Tensor:
    """Return where between two pixels the least cost lies along one axis, in (−0.5, 0.5)."""
    last = costs.shape[1] - 1
    left, middle, right = (costs.gather(1, (best + i * step).clamp(0, last)) for i in (-1, 0, 1))
    bend = left - 2 * middle + right
    vertex = 0.5 * (left - right) / bend.clamp(min=1e-6)
    return torch.where((place.abs() < _RADIUS) & (bend > 1e-6), vertex.clamp(-0.5, 0.5), 0.0)


def _cost(difference: Tensor) -> Tensor:
    return F.avg_pool2d(difference, _WINDOW, _BLOCK, _WINDOW // 2, count_include_pad=False)


def _median(flow: Tensor) -> Tensor:
    """Let each block move as the middle one of the nine about it, each axis for itself."""
    padded = F.pad(flow, (1, 1, 1, 1), mode="replicate")
    height, width = flow.shape[-2:]
    nine = [padded[..., y : y + height, x : x + width] for y in range(3) for x in range(3)]
    return torch.stack(nine).median(dim=0).values
