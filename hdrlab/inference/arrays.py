"""What a caller hands over as an image, brought to pixels: arrays, tensors, Pillow's images, files."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hdrlab.errors import ImageError
from hdrlab.io import Image, read_hdr, read_photograph
from hdrlab.io.colour_profiles import convert_samples, from_icc
from hdrlab.io.image import as_rgb

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage
    from torch import Tensor

    ImageLike = NDArray[Any] | Tensor | PillowImage | Image | str | os.PathLike[str]

OVERSHOOT = 0.1
"""How far floats may leave [0, 1], as bicubic resizing lets them."""


@dataclass(frozen=True, eq=False)
class Photograph:
    """A photograph as the nets take it.

    Attributes:
        samples: Display-encoded float32 [H, W, 3], nominally in [0, 1].
        path: Its file, where it has one.
        outside: What the samples had to cut, as in `Image.outside`.
        notes: What a user should know of how it was read.
    """

    samples: NDArray[np.float32]
    path: Path | None = None
    outside: NDArray[Any] | None = None
    notes: tuple[str, ...] = ()

    def in_8_bits(self) -> NDArray[np.uint8]:
        """Return the levels [H, W, 3] of 8 bits."""
        levels = self.samples * np.float32(255)
        np.rint(levels, out=levels).clip(0, 255, out=levels)
        return levels.astype(np.uint8)


def to_photograph(photo: ImageLike) -> Photograph:
    """Take a display-encoded (sRGB) photograph.

    Args:
        photo: An array [H, W, 3], [H, W, 1] or [H, W] of uint8, uint16, or floats in [0, 1]; a tensor of such
            values, [3, H, W] or with one photograph in a batch too; an image of Pillow's, which is turned
            upright and brought to sRGB by its own profile; an `hdrlab.io.Image`; or the path of a file.

    Raises:
        ImageError: It is none of these, or its values are not those of a photograph.
    """
    if isinstance(photo, (str, os.PathLike)):
        photo = read_photograph(photo)
    if isinstance(photo, Image):
        if photo.domain == "linear":
            raise ImageError(photo.path, "holds linear light already; a photograph is display-encoded")
        return Photograph(_in_unit(as_rgb(photo.pixels)), photo.path, photo.outside, photo.notes)
    pixels = _pixels_of_pillow(photo) if hasattr(photo, "getbands") else _rgb(_array(photo), "a photograph")
    return Photograph(_in_unit(pixels))


def to_hdr(image: ImageLike) -> Image:
    """Take an HDR image.

    Args:
        image: An array [H, W, 3], [H, W, 1] or [H, W] of linear floats in any unit; a tensor of such values,
            [3, H, W] or one in a batch too; an `hdrlab.io.Image`; or the path of a file. Values below 0
            count as 0.

    Returns:
        A linear image [H, W, 3], float32, at least 0.

    Raises:
        ImageError: It is none of these, display-encoded, or holds values that are not finite.
    """
    if isinstance(image, (str, os.PathLike)):
        return read_hdr(image)
    if hasattr(image, "getbands"):
        raise ImageError(
            None, "is an image of Pillow's, display-encoded; Reconstructor makes an HDR image of it"
        )
    path = image.path if isinstance(image, Image) else None
    pixels = _rgb(np.asarray(image) if isinstance(image, Image) else _array(image), "an HDR image")
    if pixels.dtype.kind != "f":
        raise ImageError(path, f"holds {pixels.dtype} values, display-encoded; an HDR image holds floats")
    if broken := int(pixels.size - np.count_nonzero(np.isfinite(pixels))):
        raise ImageError(path, f"holds {broken} values that are NaN or infinite; replace them first")
    linear = np.maximum(pixels, 0) if pixels.min() < 0 else pixels
    if linear.max() > np.finfo(np.float32).max:
        raise ImageError(path, "holds values that float32 cannot; scale the image down")
    return Image(linear.astype(np.float32, copy=False), "linear", path=path)


def _array(values: Any) -> NDArray[Any]:
    """Return an array as it is, or a tensor's values with the channels last."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(values, torch.Tensor):
        if not hasattr(values, "__array__"):
            message = (
                "give an array [H, W, 3], a tensor [3, H, W], an image of Pillow's, or the path of a file"
            )
            raise ImageError(None, f"a {type(values).__name__} is no image; {message}")
        return np.asarray(values)
    tensor = values.detach().cpu()
    tensor = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
    if tensor.ndim == 4 and tensor.shape[0] == 1:
        tensor = tensor[0]
    if tensor.ndim == 3 and tensor.shape[0] in (1, 3):
        tensor = tensor.permute(1, 2, 0)
    array: NDArray[Any] = tensor.numpy()
    return array


def _rgb(pixels: NDArray[Any], what: str) -> NDArray[Any]:
    """Return pixels [H, W, 3], grey ones three times."""
    grey = pixels[..., None] if pixels.ndim == 2 else pixels
    if grey.ndim == 3 and grey.shape[2] in (1, 3) and 0 not in grey.shape:
        return as_rgb(grey)
    shape = list(pixels.shape)
    if len(shape) == 4:
        remedy = "take the images of a batch one by one"
    elif len(shape) == 3 and shape[2] == 4:
        remedy = "leave the fourth channel out: image[..., :3]"
    elif len(shape) == 3 and shape[0] in (1, 3):
        remedy = "put the channels last: image.transpose(1, 2, 0)"
    else:
        remedy = "RGB or grey, the channels last"
    raise ImageError(None, f"{what} is [H, W, 3] or [H, W], and this is {shape}; {remedy}")


def _in_unit(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """Bring samples of 8 or 16 bits to [0, 1]; floats must be there already."""
    if pixels.dtype in (np.uint8, np.uint16):
        return pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)
    if pixels.dtype.kind != "f":
        message = f"holds {pixels.dtype} values; a photograph is uint8, uint16, or floats in [0, 1]"
        raise ImageError(None, f"{message}: image.astype('uint8'), if they are 0 to 255")
    low, high = float(pixels.min()), float(pixels.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ImageError(None, "holds values that are NaN or infinite")
    if low < -OVERSHOOT or high > 1 + OVERSHOOT:
        message = f"holds floats from {low:.4g} to {high:.4g}; those of a photograph lie in [0, 1]"
        raise ImageError(None, f"{message}: divide by 255 or 65535, or give uint8 or uint16")
    return pixels.astype(np.float32, copy=False)


def _pixels_of_pillow(image: Any) -> NDArray[Any]:
    from PIL import ImageOps

    upright: PillowImage = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I;16"):
        return as_rgb(np.asarray(upright).astype(np.uint16)[..., None])
    if upright.mode in ("I", "F"):
        message = f"is an image of Pillow's mode {upright.mode}, whose range nobody knows"
        raise ImageError(None, f"{message}; give an array of uint8, uint16, or floats in [0, 1]")
    mode = {"1": "L", "L": "L", "LA": "L", "CMYK": "CMYK"}.get(upright.mode, "RGB")
    samples = np.atleast_3d(np.array(upright if upright.mode == mode else upright.convert(mode)))
    profile = image.info.get("icc_profile")
    statements = [lambda: from_icc(profile, samples.shape[2])] if profile else []
    return convert_samples(samples, statements).pixels
