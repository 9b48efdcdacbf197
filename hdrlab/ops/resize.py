"""Resizing of HDR images in NumPy: the same bits in every process, whatever the number of threads."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def resize(
    image: Floats, height: int, width: int, *, method: str = "area", window: tuple[slice, slice] | None = None
) -> Floats:
    """Resize an image, or compute a window of the resized image only.

    Args:
        image: Image [H, W, C], linear.
        height: Height of the whole result in pixels.
        width: Width of the whole result in pixels.
        method: ``area``, the mean over each new pixel's footprint when shrinking (linear interpolation when
            enlarging); or ``bilinear``, two taps always, which aliases when shrinking by more than 2.
        window: Rows and columns of the result that are wanted; all by default.

    Returns:
        The resized image, or its window, [H', W', C] in the same unit, float32.
    """
    rows, columns = window or (slice(0, height), slice(0, width))
    shrunk = _along(image, 0, height, rows, method)
    return np.ascontiguousarray(_along(shrunk, 1, width, columns, method))


def _along(image: Floats, axis: int, size: int, wanted: slice, method: str) -> Floats:
    """Resize one of the first two axes of an image to a size, and return what is wanted of it."""
    old = image.shape[axis]
    if old == size:
        return image[(slice(None),) * axis + (wanted,)]
    positions = np.arange(size)[wanted]
    taps, weights = (_area if method == "area" and size < old else _linear)(positions, old / size)
    taps = np.clip(taps, 0, old - 1)
    shape = list(image.shape)
    shape[axis] = len(positions)
    result, part = np.zeros(shape, np.float32), np.empty(shape, image.dtype)
    for tap, weight in zip(taps.T, weights.T.astype(np.float32), strict=True):
        np.take(image, tap, axis=axis, out=part, mode="clip")
        part *= np.expand_dims(weight, (1 - axis, 2))
        result += part
    return result


def _area(positions: NDArray[np.int64], step: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Overlap of each new pixel's footprint [p·step, (p+1)·step] with the old pixels, as a share."""
    start = positions * step
    taps = np.floor(start).astype(np.int64)[:, None] + np.arange(int(np.ceil(step)) + 1)
    overlap = np.minimum(taps + 1, (start + step)[:, None]) - np.maximum(taps, start[:, None])
    weights = np.maximum(overlap, 0)
    return taps, weights / weights.sum(1, keepdims=True)


def _linear(positions: NDArray[np.int64], step: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Linear interpolation at half-pixel centres, edges repeated."""
    centre = (positions + 0.5) * step - 0.5
    first = np.floor(centre).astype(np.int64)
    share = centre - first
    return np.stack([first, first + 1], 1), np.stack([1 - share, share], 1)
