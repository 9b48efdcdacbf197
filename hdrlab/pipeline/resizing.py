"""How a photograph of any size is brought to one that the nets take, and the result back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from hdrlab.nets.layers import require_choice, require_maps
from hdrlab.ops.free_sizes import crop, is_free, round_up
from hdrlab.pipeline.singlehdr import Reconstruction

ProcedureName = Literal["default", "official"]
PROCEDURES: tuple[ProcedureName, ...] = ("default", "official")

MULTIPLE = 32
OFFICIAL_MULTIPLE = 64
OFFICIAL_MARGIN = 32


@dataclass(frozen=True)
class Procedure:
    """The way there and back for images of one size.

    Attributes:
        name: `default` mirrors the right and bottom border up to multiples of 32. `official` is the authors'
            test program: bicubic resizing to multiples of 64, a mirrored margin of 32 pixels, and back.
        height: Height of the image.
        width: Width of the image.

    Raises:
        ValueError: The name is unknown.

    Source: SingleHDR, the authors' test program.
    """

    name: ProcedureName
    height: int
    width: int

    def __post_init__(self) -> None:
        require_choice("procedure", self.name, PROCEDURES)

    def fit(self, image: Tensor) -> Tensor:
        """Bring images [B, C, height, width] to a size the nets take; bicubic ones overshoot a little."""
        if self.name == "official":
            resized = resize_bicubic(image, *self._official_size())
            return pad_mirrored(resized, (OFFICIAL_MARGIN,) * 4, repeat_border=True)
        height, width = (round_up(size, MULTIPLE) for size in (self.height, self.width))
        return pad_mirrored(image, (0, height - self.height, 0, width - self.width))

    def undo(self, image: Tensor) -> Tensor:
        """Bring images of the size that `fit` returns back to [B, C, height, width].

        Bicubic resizing can go a little below 0: whoever needs radiances clamps.
        """
        if self.name == "official":
            margin = slice(OFFICIAL_MARGIN, -OFFICIAL_MARGIN)
            return resize_bicubic(image[..., margin, margin], self.height, self.width)
        return crop(image, self.height, self.width)

    def _official_size(self) -> tuple[int, int]:
        return round_up(self.height, OFFICIAL_MULTIPLE), round_up(self.width, OFFICIAL_MULTIPLE)


def reconstruct_any_size(
    ldr: Tensor, run: Callable[[Tensor], Reconstruction], procedure: ProcedureName = "default"
) -> Reconstruction:
    """Reconstruct images of any size.

    Args:
        ldr: Display-encoded photographs [B, 3, H, W], nominally in [0, 1].
        run: The chain with its nets: `hdrlab.pipeline.reconstruct` or `tiling.reconstruct_tiled`.
        procedure: A name of `PROCEDURES`.

    Returns:
        All images at the size of `ldr`; under `official` none of them below 0.

    Raises:
        ValueError: The procedure is unknown or the shape does not fit.
    """
    require_maps(ldr, 3)
    sizes = Procedure(procedure, *ldr.shape[-2:])
    done = run(sizes.fit(ldr))
    return done.map_images(lambda image: sizes.undo(image).clamp(min=0))


def resize_bicubic(image: Tensor, height: int, width: int) -> Tensor:
    """Resize as OpenCV's bicubic filter does: a = −0.75, half-pixel centres, borders repeated, no antialias.

    Args:
        image: [B, C, H, W]; returned as it is where the size is right already.
        height: New height.
        width: New width.

    Returns:
        [B, C, height, width] in the same unit, not clamped.
    """
    if not is_free(image) and image.shape[-2:] == (height, width):
        return image
    return F.interpolate(image, size=(height, width), mode="bicubic", align_corners=False)


def pad_mirrored(image: Tensor, margins: tuple[int, ...], repeat_border: bool = False) -> Tensor:
    """Extend images by their mirror image, or by their border where they are smaller than the margin.

    Args:
        image: [B, C, H, W] in any unit.
        margins: Pixels above, below, to the left and to the right.
        repeat_border: Whether the outermost pixel is repeated first (NumPy's `symmetric`) or not (`reflect`).

    Returns:
        [B, C, H + above + below, W + left + right] in the same unit.
    """
    above, below, left, right = margins
    for dim, before, after in ((-2, above, below), (-1, left, right)):
        size = image.shape[dim]
        places = _mirrored(size, before, after, repeat_border, image.device)
        if is_free(image):
            image = image.index_select(dim, places)
            continue
        # The margins alone are looked up: to look up every pixel of a large image takes seconds.
        first, last = (image.index_select(dim, some) for some in (places[:before], places[before + size :]))
        image = torch.cat([first, image, last], dim)
    return image


def _mirrored(size: int, before: int, after: int, repeat_border: bool, device: torch.device) -> Tensor:
    """Say for each place of the longer line which of the shorter one it shows."""
    places = torch.arange(-before, size + after, device=device)
    first = -1 - places if repeat_border else -places
    last = 2 * size - 1 - places if repeat_border else 2 * size - 2 - places
    mirrored = torch.where(places < 0, first, torch.where(places >= size, last, places))
    # What lies too far outside shows that the image is smaller than the margin.
    fits = (mirrored >= 0).all() & (mirrored < size).all()
    return torch.where(fits, mirrored, places.clamp(0, size - 1))
