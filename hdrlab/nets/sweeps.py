"""Nets whose norms look at a whole image, computed strip by strip: one sweep over the image for each norm."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from hdrlab.ops.strips import cells_at_once

Run = Callable[..., Tensor]
"""From strips of one image's maps [1, C, h, w] to a strip of others, in the same resolution."""


class Moments:
    """Mean and variance of each channel of an image, gathered strip by strip in float64."""

    def __init__(self, eps: float) -> None:
        self.eps, self.count = eps, 0
        self.shift = self.sums = self.squares = torch.zeros(0)

    def add(self, strip: Tensor) -> None:
        """Take the maps [1, C, h, w] in."""
        values = _at_least_float32(strip)
        if not self.count:  # squares of large values would lose the variance
            self.shift = values.mean((2, 3), keepdim=True)
            self.sums, self.squares = (
                self.shift.new_zeros(strip.shape[1], dtype=torch.float64) for _ in range(2)
            )
        values = values - self.shift
        self.count += strip.shape[2] * strip.shape[3]
        self.sums += values.sum((0, 2, 3))
        self.squares += values.square_().sum((0, 2, 3))

    def normalise(self, maps: Tensor) -> Tensor:
        """Bring maps [1, C, h, w] to the mean 0 and the variance 1 of the whole image; float32 at least."""
        maps = _at_least_float32(maps)
        mean = self.sums / self.count
        scale = (self.squares / self.count - mean.square() + self.eps).rsqrt().view(1, -1, 1, 1)
        offset = -(mean.view(1, -1, 1, 1) + self.shift) * scale
        return torch.addcmul(offset.to(maps), maps, scale.to(maps))


def sweep(
    run: Run,
    sources: Sequence[Tensor],
    *,
    halo: int,
    channels: int,
    moments: Moments | None = None,
    target: Tensor | None = None,
    keep: bool = True,
) -> Tensor:
    """Run a function over strips of rows, as if over the whole images; no gradients.

    Args:
        run: What is computed; it pads its own borders, which are the images' or lie in the halo.
        sources: What it is given strips of, [1, C, H, W].
        halo: Rows on either side that a row depends on.
        channels: Channels of its widest map.
        moments: What the strips' results are added to.
        target: Where the results go: maps of their own, or the first source, whose rows are then replaced
            as soon as nothing depends on them; None: new maps.
        keep: Whether results are kept at all.

    Returns:
        The results [1, C, H, W], channels last; nothing where they are not kept.
    """
    height, width = sources[0].shape[-2:]
    side = max(cells_at_once(sources[0]) // (channels * width), 8 * halo, 1)
    above = sources[0][..., :0, :]
    for start in range(0, height, side):
        stop = min(start + side, height)
        first, last = max(start - halo, 0), min(stop + halo, height)
        crops = [source[..., first:last, :] for source in sources]
        if target is sources[0]:
            crops[0] = torch.cat([above, sources[0][..., start:last, :]], dim=2)
            above = sources[0][..., max(stop - halo, 0) : stop, :].clone()
        made = run(*crops)[..., start - first : stop - first, :]
        if moments is not None:
            moments.add(made)
        if not keep:
            continue
        if target is None:
            shape = (*made.shape[:2], height, width)
            target = torch.empty(
                shape, dtype=made.dtype, device=made.device, memory_format=torch.channels_last
            )
        target[..., start:stop, :] = made
    return sources[0][..., :0, :] if target is None else target


def _at_least_float32(maps: Tensor) -> Tensor:
    return maps if maps.dtype == torch.float64 else maps.float()
