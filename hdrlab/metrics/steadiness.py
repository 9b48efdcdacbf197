"""How steady moving pictures are: what changes from frame to frame beside what the scene itself does."""

from __future__ import annotations

from torch import Tensor

from hdrlab.metrics.inputs import Array, as_images, pixel_mean
from hdrlab.ops.colour import luminance

FLOOR = 0.01
"""Added to the luminance, 1 being the clipping point: below it change is not seen."""


def flicker(before: Array, after: Array, change: float = 0.0, mask: Array | None = None) -> Tensor:
    """Measure by how much the luminance of a static scene changes from one frame to the next.

    Args:
        before: A frame [B, 3, H, W] or [H, W, 3], linear, 1 = the clipping point.
        after: The next one; or the one before, carried along the true motion, which makes it a warping error.
        change: Stops by which the scene, or its exposure, did become brighter.
        mask: Where to measure, [B, 1, H, W] or [H, W]; None: everywhere.

    Returns:
        Mean of |Δ log2 luminance − change| [B], in stops.

    Raises:
        ValueError: The shapes do not fit.
    """
    first, second = as_images(before, after)
    difference = (luminance(second) + FLOOR).log2() - (luminance(first) * 2**change + FLOOR).log2()
    return pixel_mean(difference.abs(), mask)
