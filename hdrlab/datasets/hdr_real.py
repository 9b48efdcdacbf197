"""HDR-Real: photographs of real cameras with their HDR images, patch by patch.

A sample holds ``jpeg``, the photograph's values over 255; ``hdr``, the HDR image in its own units, at least
0 (of exposure stacks, 1 is the photograph's clipping point); and ``mask``, 0 where more than half of the
pixels are nearly black or white. Bringing both to one scale is the loss's business.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from hdrlab.camera.sampling import camera_generator
from hdrlab.datasets.index import Index, Pair
from hdrlab.datasets.sampler import sample_index
from hdrlab.datasets.sources import CELL, count_extremes
from hdrlab.datasets.splits import some
from hdrlab.errors import DataError

STRIDE = 64
"""Step of the grid of patches in pixels, as published."""

_AUGMENT_STREAM = 0  # of the counter-based generators


def pairs_of(index: Index, split: str) -> list[Pair]:
    """Return the pairs of train, val or test."""
    return [image for image in index.split(split) if isinstance(image, Pair)]


def usable_patches(index: Index, pairs: Sequence[Pair], patch: int) -> NDArray[np.int32]:
    """List the patches on a grid of 64 pixels that are neither mostly black nor mostly white.

    Args:
        index: Holds the counts of badly exposed pixels.
        pairs: The pairs to look at.
        patch: Side of the patches in pixels, a multiple of 32.

    Returns:
        Rows [N, 4]: position of the pair, image within it, top and left in pixels. Kept are patches with
        #(grey ≥ 249) + #(grey ≤ 6) ≤ patch² / 2.

    Raises:
        DataError: Images are smaller than a patch, or no patch can be used.

    Source:
        SingleHDR, conversion of HDR-Real to records.
    """
    small = [
        f"{pair.file} {pair.width}×{pair.height}" for pair in pairs if min(pair.width, pair.height) < patch
    ]
    if small:
        raise DataError(
            [
                f"stage.patch={patch}: {len(small)} of {len(pairs)} training images are smaller "
                f"({some(small)}); lower stage.patch"
            ]
        )
    rows = [
        np.insert(_usable(index.open_array(pair.cells), patch), 0, number, axis=1)
        for number, pair in enumerate(pairs)
    ]
    places = np.concatenate(rows).astype(np.int32)
    if not len(places):
        raise DataError([f"{index.folder}: every training patch is mostly black or mostly white"])
    return places


def _usable(cells: NDArray[np.uint16], patch: int) -> NDArray[np.int64]:
    """Return [M, 3] images, tops and lefts of the usable patches of counts [N, H // 32, W // 32]."""
    side, step = patch // CELL, STRIDE // CELL
    sums = np.pad(cells.astype(np.int64).cumsum(1).cumsum(2), ((0, 0), (1, 0), (1, 0)))
    counts = sums[:, side:, side:] - sums[:, :-side, side:] - sums[:, side:, :-side] + sums[:, :-side, :-side]
    return np.argwhere(2 * counts[:, ::step, ::step] <= patch * patch) * (1, STRIDE, STRIDE)


def cut_pair(
    index: Index, pair: Pair, number: int, rows: slice, columns: slice
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Cut the same window from both images of a pair.

    Returns:
        JPEG values [h, w, 3], and linear values [h, w, 3] in the units of the sample.
    """
    window = number, rows, columns
    return index.open_array(pair.jpeg)[window], index.load(pair)[window] * np.float32(pair.scale)


def to_sample(ldr: NDArray[np.uint8], hdr: NDArray[np.float32]) -> dict[str, Tensor]:
    """Turn a window [H, W, 3] of both images into the batch's keys, without the batch dimension."""
    extremes = int(count_extremes(np.ascontiguousarray(ldr)[None]).sum(dtype=np.int64))
    jpeg, linear = (torch.from_numpy(np.ascontiguousarray(x.transpose(2, 0, 1))) for x in (ldr, hdr))
    usable = 2 * extremes <= ldr.shape[0] * ldr.shape[1]
    return {"jpeg": jpeg.float() / 255, "hdr": linear, "mask": torch.full((1, 1, 1), float(usable))}


class RealTraining(Dataset[dict[str, Tensor]]):
    """Training patches by global counter, endless: full permutations of all usable patches.

    Args:
        index: The pairs.
        patch: Side of the samples in pixels, a multiple of 32.
        seed: The run's seed.

    Raises:
        DataError: As `usable_patches`.

    Source:
        SingleHDR, fine-tuning on HDR-Real: mirrored with probability ½, rotated by k · 90°.
    """

    def __init__(self, index: Index, *, patch: int, seed: int) -> None:
        self.index, self.patch, self.seed = index, patch, seed
        self.pairs = pairs_of(index, "train")
        self.places = usable_patches(index, self.pairs, patch)

    def __len__(self) -> int:
        return len(self.places)

    @property
    def epoch(self) -> int:
        """Samples of an epoch: each patch once."""
        return len(self)

    def __getitem__(self, counter: int) -> dict[str, Tensor]:
        place, number, top, left = self.places[sample_index(counter, len(self), self.seed)].tolist()
        window = slice(top, top + self.patch), slice(left, left + self.patch)
        ldr, hdr = cut_pair(self.index, self.pairs[place], number, *window)
        draws = camera_generator(self.seed, counter, _AUGMENT_STREAM)
        mirrored, turns = draws.random() < 0.5, int(draws.integers(4))
        if mirrored:
            ldr, hdr = ldr[:, ::-1], hdr[:, ::-1]
        return to_sample(np.rot90(ldr, turns), np.rot90(hdr, turns))

    def describe(self, counter: int) -> str:
        """Say what a sample is made of."""
        place, number, top, left = self.places[sample_index(counter, len(self), self.seed)].tolist()
        return f"{self.pairs[place].file}, image {number}, from row {top}, column {left}"


class RealValidation(Dataset[dict[str, Tensor]]):
    """A fixed set of photographs from a split with their HDR images, spread evenly over it.

    Args:
        index: The pairs.
        split: train, val or test.
        num: Photographs; None takes all.
        crop: Side of a central crop in pixels; None takes whole photographs, cut at the border to multiples
            of 32.

    Raises:
        DataError: Images are smaller than the crop.
    """

    def __init__(self, index: Index, split: str, *, num: int | None = None, crop: int | None = None) -> None:
        self.index, self.crop = index, crop
        photos = [(pair, number) for pair in pairs_of(index, split) for number in range(pair.num)]
        num = min(num or len(photos), len(photos))
        self.photos = [photos[i * len(photos) // num] for i in range(num)]
        small = [pair.file for pair, _ in self.photos if min(pair.width, pair.height) < (crop or 0)]
        if small:
            raise DataError([f"data.val_crop={crop}: larger than {some(small)} of the split {split}"])

    def __len__(self) -> int:
        return len(self.photos)

    def image(self, number: int) -> Pair:
        """Return the pair a photograph belongs to."""
        return self.photos[number][0]

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        pair, within = self.photos[number]
        window = (_middle(size, self.crop or size // CELL * CELL) for size in (pair.height, pair.width))
        return to_sample(*cut_pair(self.index, pair, within, *window))


def _middle(size: int, kept: int) -> slice:
    start = (size - kept) // 2
    return slice(start, start + kept)
