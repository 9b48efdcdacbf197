"""Contact sheets: captioned images side by side in one image, to be looked at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from hdrlab.ops.colour import srgb_levels
from hdrlab.ops.resize import resize

CELL = 640  # pixels of a cell's longer side at most
GAP = 8
CAPTION = 30
INK, PAPER = (225, 225, 225), (24, 24, 24)

Levels = NDArray[np.uint8]
Cell = tuple[str, Levels]


def draw_sheet(rows: Sequence[Sequence[Cell]]) -> Levels:
    """Set images side by side, row below row, each below its caption.

    Args:
        rows: Caption and display-encoded pixels [H, W, 3] of each cell.

    Returns:
        The sheet [H, W, 3]; the cells of a column begin at the same place.
    """
    num_columns = max(map(len, rows))
    widths = [max(row[i][1].shape[1] for row in rows if i < len(row)) for i in range(num_columns)]
    heights = [max(levels.shape[0] for _, levels in row) for row in rows]
    size = (sum(widths) + GAP * (len(widths) + 1), sum(heights) + (CAPTION + GAP) * len(rows))
    sheet = Image.new("RGB", size, PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(17)
    top = 0
    for row, height in zip(rows, heights, strict=True):
        left = GAP
        for (caption, levels), width in zip(row, widths, strict=False):
            pen.text((left, top + 5), _fitting(caption, font, levels.shape[1]), INK, font)
            sheet.paste(Image.fromarray(levels), (left, top + CAPTION))
            left += width + GAP
        top += height + CAPTION + GAP
    return np.asarray(sheet)


def exposures_side_by_side(images: dict[str, NDArray[np.float32]], stops: Sequence[float]) -> Levels:
    """Show linear images of one size and unit next to each other, a row an exposure.

    Darker exposures show what lies above the clipping point: there a photograph turns to flat grey.

    Args:
        images: Linear pixels [H, W, 3] by caption; 1 = white at 0 stops.
        stops: Exposures.

    Returns:
        The sheet [H, W, 3], uint8.
    """
    small = {caption: fit_cell(image) for caption, image in images.items()}
    return draw_sheet(
        [
            [
                (
                    f"{caption}, {stop:+g} EV" if stop else caption,
                    srgb_levels(image * np.float32(2.0**stop)),
                )
                for caption, image in small.items()
            ]
            for stop in stops
        ]
    )


def fit_cell(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Shrink linear pixels [H, W, 3] to the size of a cell, if they are larger."""
    height, width = image.shape[:2]
    scale = CELL / max(height, width)
    if scale >= 1:
        return image
    return resize(image, max(1, round(height * scale)), max(1, round(width * scale)))


def _fitting(caption: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    while caption and font.getlength(caption) > width:
        caption = caption.removesuffix("…")[:-1] + "…" if len(caption) > 1 else ""
    return caption
