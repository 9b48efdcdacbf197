"""OpenEXR files of several layers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def write_layers(path: Path, layers: Mapping[str, NDArray[np.float32]]) -> None:
    """Write R, G, B of each layer, and nothing without a prefix."""
    import OpenImageIO as oiio

    pixels = np.concatenate(list(layers.values()), axis=2)
    spec = oiio.ImageSpec(pixels.shape[1], pixels.shape[0], pixels.shape[2], "float")
    spec.channelnames = tuple(f"{name}.{channel}" for name in layers for channel in "RGB")
    target = oiio.ImageOutput.create("openexr")
    assert target.open(str(path), spec)
    assert target.write_image(np.ascontiguousarray(pixels))
    assert target.close()
