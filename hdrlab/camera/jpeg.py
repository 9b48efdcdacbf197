"""The 8-bit end of the camera: quantisation, JPEG, grey values."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

import numpy as np
import torch
from PIL import Image
from torch import Tensor

_CHROMA_HALVED = 2  # Pillow's number for 4:2:0


def quantise(ldr: Tensor) -> Tensor:
    """Rounds display-encoded values in [0, 1] to uint8, exact halves to the even neighbour."""
    return ldr.mul(255).round().clamp(0, 255).to(torch.uint8)


def compress_jpeg(image_u8: Tensor, qualities: Sequence[int]) -> Tensor:
    """Encodes images as baseline JPEG with halved chroma (4:2:0) and decodes them accurately.

    Args:
        image_u8: images [B, 3, H, W], uint8, RGB.
        qualities: one JPEG quality per image, 1 to 100.

    Returns:
        Decoded images [B, 3, H, W], uint8, on image_u8's device.

    Source: SingleHDR (Liu et al., CVPR 2020), image formation. The original decodes with a faster, less
    accurate transform than the usual one, which photographs are read with.
    """
    images = np.ascontiguousarray(image_u8.permute(0, 2, 3, 1).cpu().numpy())
    decoded = [_through_jpeg(image, quality) for image, quality in zip(images, qualities, strict=True)]
    return torch.from_numpy(np.stack(decoded)).permute(0, 3, 1, 2).contiguous().to(image_u8.device)


def gray_u8(image_u8: Tensor) -> Tensor:
    """Grey values [B, 1, H, W] of RGB images [B, 3, H, W], both uint8: floor(255.5 · luma).

    Source: the grey conversion of TensorFlow on 8-bit images, with which SingleHDR counts exposed pixels.
    """
    # TensorFlow multiplies by the reciprocal; dividing moves a few colours across an integer.
    red, green, blue = image_u8.float().mul(1 / 255).chunk(3, dim=1)
    luma: Tensor = 0.2989 * red + 0.5870 * green + 0.1140 * blue
    return luma.mul(255.5).to(torch.uint8)


def _through_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, format="JPEG", quality=quality, subsampling=_CHROMA_HALVED)
    with Image.open(buffer) as decoded:
        return np.asarray(decoded)
