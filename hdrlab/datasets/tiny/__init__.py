"""HDR scenes rendered by our own code: the embedded data, so that everything runs before any download."""

from __future__ import annotations

from collections.abc import Iterator
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from hdrlab.datasets.scenes.indoors import corridor, lamp_room, still_life, window_room
from hdrlab.datasets.scenes.outdoors import landscape, skyline, sunset_sea
from hdrlab.datasets.scenes.paint import glare
from hdrlab.datasets.scenes.street import street_night
from hdrlab.datasets.scenes.trace import photograph

SPLIT_SIZES = {"train": 32, "val": 8, "test": 8}

KINDS = {
    "landscape": landscape,
    "lamp_room": lamp_room,
    "window_room": window_room,
    "street_night": street_night,
    "sunset_sea": sunset_sea,
    "still_life": still_life,
    "corridor": corridor,
    "skyline": skyline,
}


def _check(split: str, index: int) -> None:
    if split not in SPLIT_SIZES:
        raise ValueError(
            f"no split {split!r} among the rendered scenes: choose one of {', '.join(SPLIT_SIZES)}"
        )
    if not 0 <= index < SPLIT_SIZES[split]:
        raise ValueError(
            f"scene {index} is outside split {split!r}: its scenes are 0 to {SPLIT_SIZES[split] - 1}"
        )


def scene_name(split: str, index: int) -> str:
    """A name such as ``street_night_03`` that no other scene of any split has.

    Raises:
        ValueError: The split or the index does not exist.
    """
    _check(split, index)
    names, splits = list(KINDS), list(SPLIT_SIZES)
    before = sum(SPLIT_SIZES[earlier] for earlier in splits[: splits.index(split)])
    return f"{names[index % len(names)]}_{(before + index) // len(names):02d}"


def render_scene(split: str, index: int, *, height: int = 384, width: int = 512) -> NDArray[np.float32]:
    """Render one scene; the same arguments always give the same picture.

    Args:
        split: train, val or test; each has scenes of its own.
        index: 0 to ``SPLIT_SIZES[split]`` − 1.
        height: Rows of the picture.
        width: Columns; the horizontal field of view does not depend on it.

    Returns:
        Scene-linear Rec. 709 RGB [H, W, 3], finite and ≥ 0, relative radiance of mean 0.5; 12 to 20 stops lie
        between the 1st and the 99.9th percentile of luminance.

    Raises:
        ValueError: The split or the index does not exist.
    """
    _check(split, index)
    rng = np.random.Generator(np.random.Philox(crc32(f"{split}/{index}".encode())))
    scene, camera = list(KINDS.values())[index % len(KINDS)](rng)
    image = glare(photograph(scene, camera, height, width))
    image *= 0.5 / image.mean()
    return np.ascontiguousarray(image.transpose(1, 2, 0), dtype=np.float32)


def iter_scenes(
    split: str, *, height: int = 384, width: int = 512
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """The names and pictures of a split, rendered one by one.

    Raises:
        ValueError: The split does not exist.
    """
    _check(split, 0)
    for index in range(SPLIT_SIZES[split]):
        yield scene_name(split, index), render_scene(split, index, height=height, width=width)
