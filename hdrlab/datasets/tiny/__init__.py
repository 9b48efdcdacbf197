"""HDR scenes painted by our own code: the embedded data, so that everything runs before any download."""

from __future__ import annotations

from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from hdrlab.datasets.tiny.indoors import lamp_room, window_room
from hdrlab.datasets.tiny.outdoors import landscape
from hdrlab.datasets.tiny.paint import FOCAL, Radiance, glare

SPLIT_SIZES = {"train": 32, "val": 8, "test": 8}
KINDS = {"landscape": landscape, "lamp_room": lamp_room, "window_room": window_room}
ROWS = 32
"""Rows painted at once, so that little memory is taken."""


def scene_name(split: str, index: int) -> str:
    """Return a name such as ``lamp_room_03`` that no other scene of any split has.

    Raises:
        ValueError: The split or the index does not exist.
    """
    number = _number(split, index)
    return f"{list(KINDS)[number % len(KINDS)]}_{number // len(KINDS):02d}"


def render_scene(split: str, index: int, *, height: int = 384, width: int = 512) -> NDArray[np.float32]:
    """Render one scene; the same arguments always give the same image.

    Args:
        split: train, val or test; each has scenes of its own.
        index: 0 to ``SPLIT_SIZES[split]`` − 1.
        height: Rows of the image.
        width: Columns; the horizontal field of view does not depend on it.

    Returns:
        Scene-linear Rec. 709 RGB [H, W, 3], finite and ≥ 0, relative radiance of mean 0.5; 12 to 20 stops lie
        between the 1st and the 99.9th percentile of luminance.

    Raises:
        ValueError: The split or the index does not exist.
    """
    kind = list(KINDS.values())[_number(split, index) % len(KINDS)]
    rng = np.random.Generator(np.random.Philox(crc32(f"{split}/{index}".encode())))
    image = glare(_photograph(*kind(rng), height, width))
    image *= 0.5 / image.mean()
    return np.ascontiguousarray(image.transpose(1, 2, 0), dtype=np.float32)


def _photograph(radiance: Radiance, pitch: float, height: int, width: int) -> NDArray[np.float64]:
    """Take a scene's image [3, height, width] with a pinhole camera, each pixel the mean of four rays."""
    image = np.empty((3, height, width))
    right = ((np.arange(2 * width) + 0.5) / 2 - 0.5 * width) / (FOCAL * width)
    for top in range(0, height, ROWS):
        rows = np.arange(2 * top, 2 * min(top + ROWS, height))
        up = (0.5 * height - (rows + 0.5) / 2)[:, None] / (FOCAL * width)
        tilted = up * np.cos(pitch) + np.sin(pitch), np.cos(pitch) - up * np.sin(pitch)
        rays = np.stack(np.broadcast_arrays(right, *tilted)).reshape(3, -1)
        seen = radiance(rays / np.linalg.norm(rays, axis=0))
        image[:, top : top + ROWS] = seen.reshape(3, len(rows) // 2, 2, width, 2).mean(axis=(2, 4))
    return image


def _number(split: str, index: int) -> int:
    """Count a scene over all splits."""
    if split not in SPLIT_SIZES:
        raise ValueError(
            f"no split {split!r} among the rendered scenes: choose one of {', '.join(SPLIT_SIZES)}"
        )
    if not 0 <= index < SPLIT_SIZES[split]:
        raise ValueError(
            f"scene {index} is outside split {split!r}: its scenes are 0 to {SPLIT_SIZES[split] - 1}"
        )
    splits = list(SPLIT_SIZES)
    return sum(SPLIT_SIZES[earlier] for earlier in splits[: splits.index(split)]) + index
