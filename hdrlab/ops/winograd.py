"""3×3 convolutions with a quarter of the multiplications."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from hdrlab.ops.strips import cells_at_once

TILE = 4
"""Side of the tiles of the result."""
_SIDE = TILE + 2
_POINTS = (0.0, 2 / 3, -2 / 3, 3 / 2, -3 / 2)
"""Where polynomials are evaluated, beside infinity. Of the simple fractions these round least: over 128
channels the error in float32 is 9e-7 of the result; with the usual 0, ±1, ±2 it is 2e-6, directly 4e-7."""


def winograd_kernel(weight: Tensor) -> Tensor:
    """Bring a kernel [K, C, 3, 3] of any range to the form [36, C, K] that `convolve_winograd` takes."""
    _, of_kernel, _ = (torch.from_numpy(matrix).to(weight.device) for matrix in _transforms())
    spread = torch.einsum("ai,kcij,bj->abck", of_kernel, weight.double(), of_kernel)
    return spread.flatten(0, 1).to(weight.dtype).contiguous()


def convolve_winograd(x: Tensor, kernel: Tensor, bias: Tensor | None = None, slope: float = 1.0) -> Tensor:
    """Convolve zero-padded maps by a 3×3 kernel, in tiles of 4×4 of the result; no gradients.

    Pays for many channels: 36 products a tile in place of 144, and sums of the maps before and after them.

    Args:
        x: Maps [B, C, H, W] of any range, H and W multiples of 4.
        kernel: From `winograd_kernel`.
        bias: [K] of any range, added to the result.
        slope: Factor on negative values of the result, in [0, 1]: a leaky ReLU.

    Returns:
        Maps [B, K, H, W] of any range, channels last.

    Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016, F(4×4, 3×3); the
        points as Barabasz et al., "Error Analysis and Improving the Accuracy of Winograd Convolution for Deep
        Neural Networks", 2018, choose theirs: by error.
    """
    to_tile, of_maps = (_both_ways(matrix).to(x) for matrix in _transforms()[::2])
    batch, channels, height, width = x.shape
    rows, columns, outputs = height // TILE, width // TILE, kernel.shape[2]
    out = x.new_empty(batch, rows, TILE, columns, TILE, outputs)
    step = max(1, cells_at_once(x) // (_SIDE**2 * columns * max(channels, outputs)))
    # A strip's temporaries stay in the cache, and are the same memory for all.
    room = [x.new_empty(_SIDE**2 * min(step, rows) * columns * most) for most in (channels,) * 2 + (outputs,)]
    tiles_out = x.new_empty(TILE**2 * min(step, rows) * columns * outputs)
    for image, whole in zip(x.permute(0, 2, 3, 1), out, strict=True):
        for start in range(0, rows, step):
            count = min(step, rows - start)
            tiles = count * columns
            taken, spread, products = (
                one[: _SIDE**2 * tiles * most]
                for one, most in zip(room, (channels, channels, outputs), strict=True)
            )
            above, below = int(start == 0), int(start + count == rows)
            seen = image[TILE * start - 1 + above : TILE * (start + count) + 1 - below]
            seen = F.pad(seen, (0, 0, 1, 1, above, below))
            line, cell = seen.stride()[:2]
            overlapping = seen.as_strided(
                (_SIDE, _SIDE, count, columns, channels), (line, cell, TILE * line, TILE * cell, 1)
            )
            taken.view(overlapping.shape).copy_(overlapping)
            torch.mm(of_maps, taken.view(_SIDE**2, -1), out=spread.view(_SIDE**2, -1))
            torch.bmm(spread.view(-1, tiles, channels), kernel, out=products.view(-1, tiles, outputs))
            made = tiles_out[: TILE**2 * tiles * outputs].view(TILE**2, -1)
            torch.mm(to_tile, products.view(_SIDE**2, -1), out=made)
            made = made.view(TILE, TILE, count, columns, outputs).permute(2, 0, 3, 1, 4)
            strip = whole[start : start + count]
            torch.add(made, 0 if bias is None else bias, out=strip)
            if slope < 1:
                F.leaky_relu_(strip, slope) if slope else strip.relu_()
    return out.view(batch, height, width, outputs).permute(0, 3, 1, 2)


def _both_ways(matrix: NDArray[np.float64]) -> Tensor:
    """Return what applies a transform to rows and to columns of flattened tiles."""
    return torch.from_numpy(np.kron(matrix, matrix))


def _transforms() -> tuple[NDArray[np.float64], ...]:
    """Return the matrices of Toom and Cook: from products to results, of kernels, of maps.

    What is convolved are polynomials: both are evaluated at the points, multiplied there, and the result is
    interpolated. A correlation is the transpose of that.
    """
    points = np.array(_POINTS)
    evaluate = np.vander(points, increasing=True)
    to_tile = np.zeros((TILE, _SIDE))
    to_tile[:, :-1], to_tile[-1, -1] = evaluate[:, :TILE].T, 1
    others = [np.delete(points, place) for place in range(len(points))]
    scale = [np.prod(point - rest) for point, rest in zip(points, others, strict=True)]
    of_kernel = np.zeros((_SIDE, 3))
    of_kernel[:-1], of_kernel[-1, -1] = evaluate[:, :3] / np.array(scale)[:, None], 1
    of_maps = np.zeros((_SIDE, _SIDE))
    of_maps[:-1, :-1] = [np.poly(rest)[::-1] for rest in others]
    of_maps[-1] = np.poly(points)[::-1]
    return to_tile, of_kernel, of_maps
