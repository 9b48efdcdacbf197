"""Local functions of maps, computed strip by strip: the temporaries stay small and in the cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from hdrlab.ops.free_sizes import is_free

Local = Callable[..., tuple[Tensor, ...]]
"""From strips of maps to strips of maps."""

CELLS = 2**20
"""Numbers that the widest temporary of a strip may have on a CPU: 4 MB in float32."""

CELLS_ELSEWHERE = 2**27
"""The same on a GPU, which wants much work at once."""


def cells_at_once(like: Tensor) -> int:
    """Return how many numbers a temporary on the device of a tensor, of any shape and range, should have."""
    return CELLS if like.device.type == "cpu" else CELLS_ELSEWHERE


def in_strips(
    function: Local, sources: Sequence[Tensor], *, channels: int, halo: int = 0, multiple: int = 1
) -> tuple[Tensor, ...]:
    """Apply a local function to strips of rows, as if to the whole maps; no gradients.

    Maps may differ in resolution: each keeps its share of rows, and so do the results.

    Args:
        function: Takes rows of the sources and returns maps [B, C, h, w]; it may pad its borders, since a
            strip ends where the maps end or is wider than what is kept of it.
        sources: Maps [B, C, H, W] of any range, the first of the highest resolution.
        channels: Channels of the widest temporary, at the resolution of the first source.
        halo: Rows of the first source on either side that a row depends on, a multiple of `multiple`.
        multiple: Strips start on multiples of this, so that all maps have whole rows there.

    Returns:
        The function's maps [B, C', H, W] of all rows, in any unit.
    """
    assert halo % multiple == 0
    first = sources[0]
    if is_free(first):
        return function(*sources)
    size, width = first.shape[-2:]
    fitting = cells_at_once(first) // (len(first) * width * channels)
    side = multiple * max(1, max(fitting, 8 * halo) // multiple)
    if side >= size:
        return function(*sources)
    results: tuple[Tensor, ...] = ()
    for start in range(0, size, side):
        stop = min(start + side, size)
        outer_start, outer_stop = max(start - halo, 0), min(stop + halo, size)
        crops = [_rows(source, outer_start, outer_stop, size) for source in sources]
        for place, strip in enumerate(made := function(*crops)):
            height = strip.shape[-2]
            if not start:
                whole = (*strip.shape[:2], height * size // (outer_stop - outer_start), strip.shape[-1])
                layout = torch.channels_last if strip.stride(1) == 1 else torch.contiguous_format
                results += (torch.empty(whole, dtype=strip.dtype, device=strip.device, memory_format=layout),)
            inside = _rows(strip, start - outer_start, stop - outer_start, outer_stop - outer_start)
            _rows(results[place], start, stop, size).copy_(inside)
        del made
    return results


def _rows(maps: Tensor, start: int, stop: int, size: int) -> Tensor:
    """Cut out the rows that show rows start to stop of maps of that size."""
    height = maps.shape[-2]
    assert start * height % size == stop * height % size == 0
    return maps[..., start * height // size : stop * height // size, :]
