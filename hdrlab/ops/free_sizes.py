"""What depends on an image's size, in graphs that are traced once for images of any size.

While `torch.export` traces, sizes are symbols. A decision about them would hold for all images from then on,
so that here numbers are computed in the graph, and sizes made of them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def is_symbol(size: object) -> bool:
    """Say whether a size is a symbol."""
    return isinstance(size, torch.SymInt)


def is_free(x: Tensor) -> bool:
    """Say whether height or width of maps [B, C, H, W] are symbols."""
    return any(map(is_symbol, x.shape[-2:]))


def in_graph(size: float, dtype: torch.dtype = torch.int64) -> Tensor:
    """Return a size, free or not, as a number of the graph, []."""
    return torch.scalar_tensor(size, dtype=dtype)


def as_size(number: Tensor, least: int = 1, most: int | None = None) -> int:
    """Return a whole number of the graph [] as a size, of which nothing else is known than its limits."""
    size: int = number.item()  # type: ignore[assignment]
    torch._check(size >= least)  # type: ignore[no-untyped-call]
    if most is not None:
        torch._check(size <= most)  # type: ignore[no-untyped-call]
    return size


def round_up(size: int, multiple: int) -> int:
    """Return the first multiple that a size, free or not, is not above."""
    count = (size + multiple - 1) // multiple
    return multiple * (as_size(in_graph(count)) if is_symbol(size) else count)


def crop(x: Tensor, height: int, width: int) -> Tensor:
    """Return the first rows and columns of maps [B, C, H, W]."""
    if not is_free(x):
        return x[..., :height, :width]
    # A slice would ask whether it is all of them.
    rows, columns = (torch.arange(size, device=x.device) for size in (height, width))
    return x.index_select(-2, rows).index_select(-1, columns)


def every(x: Tensor, step: int) -> Tensor:
    """Return each step-th row and column of maps [B, C, H, W] of any range, from the first on."""
    if not is_free(x):
        return x[..., ::step, ::step]
    rows, columns = (torch.arange((size + step - 1) // step, device=x.device) * step for size in x.shape[-2:])
    return x.index_select(-2, rows).index_select(-1, columns)


def area_mean(x: Tensor, rows: int, columns: int) -> Tensor:
    """Average each new cell's area, as `torch.nn.functional.adaptive_avg_pool2d` does.

    Args:
        x: Maps [B, C, H, W].
        rows: Height of the result, at most H.
        columns: Width of the result, at most W.

    Returns:
        Maps [B, C, rows, columns].
    """
    if not is_free(x):
        return F.adaptive_avg_pool2d(x, (rows, columns))
    for dim, count in ((-2, rows), (-1, columns)):
        cells, start, stop = _areas(x.shape[dim], count, x.device)
        share = (cells < stop).to(x.dtype) / (stop - start)
        x = (_look_up(x, dim, cells) * (share if dim == -1 else share[..., None])).sum(dim=dim)
    return x


def area_max(x: Tensor, rows: int, columns: int) -> Tensor:
    """Return the maximum of each new cell's area, as `torch.nn.functional.adaptive_max_pool2d` does.

    Args:
        x: Maps [B, C, H, W].
        rows: Height of the result, at most H.
        columns: Width of the result, at most W.

    Returns:
        Maps [B, C, rows, columns].
    """
    if not is_free(x):
        return x if x.shape[-2:] == (rows, columns) else F.adaptive_max_pool2d(x, (rows, columns))
    for dim, count in ((-2, rows), (-1, columns)):
        cells, _, stop = _areas(x.shape[dim], count, x.device)
        x = _look_up(x, dim, torch.minimum(cells, stop - 1)).amax(dim=dim)
    return x


def shrink(x: Tensor, side: int, multiple: int = 1) -> Tensor:
    """Shrink images [B, C, H, W] of any range whose longer side exceeds `side`, by each new pixel's mean."""
    height, width = x.shape[-2:]
    if is_free(x):
        return area_mean(x, *_shrunk_size(height, width, side, multiple))
    factor = side / max(height, width)
    if factor >= 1:
        return x
    rows, columns = (max(multiple, round(size * factor / multiple) * multiple) for size in (height, width))
    return area_mean(x, rows, columns)


def _shrunk_size(height: int, width: int, side: int, multiple: int) -> list[int]:
    """Return the size that `shrink` makes of free ones, which are multiples of `multiple`."""
    sizes = torch.stack([in_graph(size, torch.float64) for size in (height, width)])
    factor = (side / sizes.amax(dim=0)).clamp(max=1)
    units = (sizes * factor / multiple).round().clamp(min=1).long()
    return [multiple * as_size(one, most=side // multiple) for one in units.unbind()]


def _areas(size: int, count: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Return the cells that may be each new one's [count, K], its first, and that behind its last."""
    places = torch.arange(count, device=device)[:, None]
    start, stop = places * size // count, ((places + 1) * size + count - 1) // count
    return start + torch.arange(size // count + 2, device=device), start, stop


def _look_up(x: Tensor, dim: int, cells: Tensor) -> Tensor:
    """Take cells [count, K] along a dimension, which becomes two."""
    index = cells.clamp(max=x.shape[dim] - 1).flatten()
    taken: Tensor = x.index_select(dim, index).unflatten(dim, cells.shape)  # type: ignore[no-untyped-call]
    return taken
