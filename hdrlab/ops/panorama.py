"""Panoramas that go all the way round: column 0 follows on the last one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def wrap(pixels: NDArray[Any], left: int, right: int) -> NDArray[Any]:
    """Continue an image [H, W, C] round its left and right edge.

    Args:
        pixels: The image [H, W, C] in any unit.
        left: Columns to add on the left, at most W.
        right: Columns to add on the right, at most W.

    Returns:
        [H, left + W + right, C] in the same unit.
    """
    return np.pad(pixels, ((0, 0), (left, right), (0, 0)), mode="wrap")


def unwrap(pixels: NDArray[np.float32], margin: int) -> NDArray[np.float32]:
    """Take back the columns that `wrap` added on either side, without a seam where the edges meet.

    What was made of a column at one edge and of the same column beyond the other differ, since what lies
    further away differs: near the edges the two fade into each other, half and half at the edge itself.

    Args:
        pixels: What was made of the continued image, [H, margin + W + margin, C], in any unit.
        margin: Columns that were added on either side, at most W.

    Returns:
        [H, W, C] in the same unit.
    """
    width, fade = pixels.shape[1] - 2 * margin, margin // 2
    result = pixels[:, margin : margin + width].copy()
    other = ((1 - (np.arange(fade, dtype=np.float32) + 0.5) / max(fade, 1)) / 2)[None, :, None]
    left, right = result[:, :fade], result[:, width - fade :]
    left += other * (pixels[:, margin + width :][:, :fade] - left)
    right += other[:, ::-1] * (pixels[:, margin - fade : margin] - right)
    return result


def wrap_twice(pixels: NDArray[Any]) -> tuple[NDArray[Any], slice]:
    """Continue an image [H, W, C] by half its width at either edge, so that every column is there twice.

    Means, percentiles and other statistics of all pixels stay what they are.

    Returns:
        [H, 2 W, C] in the same unit, and the columns of the image itself.
    """
    width = pixels.shape[1]
    left = width // 2
    return wrap(pixels, left, width - left), slice(left, left + width)
