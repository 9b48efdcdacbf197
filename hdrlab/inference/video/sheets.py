"""The contact sheet of a clip: a row a shot, with its curve."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from hdrlab.inference.contact_sheet import INK, PAPER, draw_sheet
from hdrlab.ops.colour import srgb_levels

WIDTH, STOPS = 400, -3
_GRID = (70, 70, 70)


def shot_row(
    name: str, before: Tensor, after: Tensor, curve: Tensor | None, hdr: str | None
) -> NDArray[np.uint8]:
    """Draw a shot: its first frame as it was and as it is, at 0 and −3 stops, and its curve.

    Args:
        name: What it is called.
        before: The frame given, [1, 3, H, W]: display-encoded, or linear where ``hdr`` says so.
        after: What was made of it, linear, 1 = white.
        curve: The shot's inverse response [1, 1024], or None.
        hdr: What kind of HDR the given frame is; None: it is SDR.

    Returns:
        sRGB [h, w, 3].
    """
    height = max(2, round(WIDTH * before.shape[-2] / before.shape[-1]))
    small = [
        F.adaptive_avg_pool2d(one, (height, WIDTH))[0].permute(1, 2, 0).numpy() for one in (before, after)
    ]
    given = srgb_levels(small[0]) if hdr else np.rint(small[0].clip(0, 1) * 255).astype(np.uint8)
    cells = [(name, given), ("made, 0 EV", srgb_levels(small[1]))]
    cells.append((f"made, {STOPS} EV", srgb_levels(small[1] * np.float32(2.0**STOPS))))
    if curve is not None:
        cells.append(("response, inverse", _plot(curve[0].numpy(), height)))
    return draw_sheet([cells])


def shots_sheet(rows: Sequence[Path]) -> NDArray[np.uint8]:
    """Put rows of `shot_row` that were stored below one another."""
    images = [np.asarray(Image.open(row).convert("RGB")) for row in rows]
    width = max(image.shape[1] for image in images)
    return np.concatenate([np.pad(one, ((0, 0), (0, width - one.shape[1]), (0, 0))) for one in images])


def _plot(curve: NDArray[np.float32], side: int) -> NDArray[np.uint8]:
    """Draw linear light over encoded values, both from 0 to 1."""
    image = Image.new("RGB", (side, side), PAPER)
    pen, last = ImageDraw.Draw(image), side - 1
    for part in (0.25, 0.5, 0.75):
        pen.line((part * last, 0, part * last, last), _GRID)
        pen.line((0, part * last, last, part * last), _GRID)
    places = np.linspace(0, 1, len(curve))
    pen.line([(x * last, (1 - y) * last) for x, y in zip(places, curve.clip(0, 1), strict=True)], INK, 2)
    return np.asarray(image)
