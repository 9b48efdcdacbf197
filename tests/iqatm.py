"""The weights that IQATM's reference outputs were made with, drawn by their seeded recipe."""

from __future__ import annotations

from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray

from hdrlab.nets.vgg16 import FIRST_CONVOLUTIONS, VGG16, VGG16Features, preprocessing_tensors

NET_SCOPES = {"tmo_bottom": "bot_level", "tmo_high": "high_level", "tmo_merge": "ft_merger"}


def draw(name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Standard normal values of a variable."""
    return np.random.RandomState(crc32(f"open-1|{name}".encode())).standard_normal(shape)


def vgg16_of_the_reference() -> VGG16Features:
    weights = preprocessing_tensors("raw")
    for name, tensor in VGG16().state_dict().items():
        layer, kind = name.split(".")
        if kind == "bias":
            values = 0.05 * draw(f"vgg16/{layer}/bias", tuple(tensor.shape))
        else:
            cout, cin = tensor.shape[:2]
            kernel = np.sqrt(2 / (9 * cin)) * draw(f"vgg16/{layer}/kernel", (3, 3, cin, cout))
            values = kernel.transpose(3, 2, 0, 1)
        weights[name] = torch.from_numpy(values.astype(np.float32))
    return VGG16Features(weights, FIRST_CONVOLUTIONS)
