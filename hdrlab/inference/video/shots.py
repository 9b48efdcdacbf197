"""Where one shot ends and the next begins."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

_SIZE = (27, 48)
_SHIFTS = (2, 3)
"""Rows and columns by which pans and shakes may move a small frame."""

_LEAST, _TIMES, _AROUND, _FLASH = 0.06, 3.0, 6, 0.5
"""A cut differs by so much of the range, and by so many times what changes around it; after a flash the
picture is back, but for less than this share of the difference."""


class CutFinder:
    """Compares each frame with the two before it; of the frames themselves it keeps two, small.

    Frames are compared at 48 × 27, the best of some shifts, less what is common to all of the frame:
    exposure.
    """

    def __init__(self) -> None:
        self._last: list[Tensor] = []
        self.to_last: list[float] = []
        self.to_last_but_one: list[float] = []

    def add(self, frame: Tensor) -> None:
        """Take the next frame, [1, 3, h, w] in [0, 1]."""
        small = F.adaptive_avg_pool2d(frame, _SIZE)
        distances = [_distance(small, other) for other in reversed(self._last)]
        self.to_last.append(distances[0] if distances else 0.0)
        self.to_last_but_one.append(distances[1] if len(distances) > 1 else self.to_last[-1])
        self._last = [*self._last[-1:], small]

    def cuts(self) -> list[int]:
        """Return the numbers of the frames with which shots begin, the first of all among them."""
        return [0, *find_cuts(self.to_last, self.to_last_but_one)]


def find_cuts(to_last: Sequence[float], to_last_but_one: Sequence[float]) -> Iterable[int]:
    """Yield the frames that differ from the one before by more than motion and flashes do."""
    total = len(to_last)
    for frame in range(1, total):
        change = to_last[frame]
        around = [
            to_last[i] for i in range(frame - _AROUND, frame + _AROUND + 1) if 0 < i < total and i != frame
        ]
        usual = sorted(around)[len(around) // 2] if around else 0.0
        after = to_last_but_one[frame + 1] if frame + 1 < total else change
        before = to_last_but_one[frame] if frame > 1 else change
        if change > max(_LEAST, _TIMES * usual) and min(before, after) > _FLASH * change:
            yield frame


def _distance(one: Tensor, other: Tensor) -> float:
    rows, columns = _SHIFTS
    height, width = one.shape[-2:]
    inside = one[..., rows : height - rows, columns : width - columns]
    shifted = torch.cat(
        [
            other[..., y : y + height - 2 * rows, x : x + width - 2 * columns]
            for y in range(2 * rows + 1)
            for x in range(2 * columns + 1)
        ]
    )
    difference = inside - shifted
    common = difference.mean(dim=(1, 2, 3), keepdim=True) * 0.5
    return float((difference - common).abs().mean(dim=(1, 2, 3)).min())
