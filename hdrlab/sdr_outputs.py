"""The files that one tone-mapped picture becomes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrlab import __version__
from hdrlab.io import ImageError, write_image
from hdrlab.sheets import CELL, draw_sheet, fit_cell

ENDINGS = {"png": ".png", "png16": ".png", "jpeg": ".jpg"}
"""Formats, and what each adds to a picture's name."""

LEAST_CELL = 320  # pixels of a small picture's longer side on a sheet, so that there is room for a caption


def output_files(target: Path, operators: Sequence[str], format: str, *, sheet: bool) -> list[Path]:
    """Name the files of one picture: one an operator, which names it if there are several, and the sheet.

    Args:
        target: Path of the outputs without ending.
        operators: Names of the operators.
        format: A key of `ENDINGS`.
        sheet: Whether there is a sheet; it comes last.
    """
    marks = [f"_{name}" for name in operators] if len(operators) > 1 else [""]
    names = [target.name + mark + ENDINGS[format] for mark in marks]
    return [target.with_name(name) for name in [*names, f"{target.name}_sheet.png"][: len(marks) + sheet]]


def write_sdr(
    target: Path,
    pictures: Mapping[str, NDArray[np.float32]],
    format: str,
    *,
    quality: int,
    captions: Mapping[str, str] | None = None,
) -> list[Path]:
    """Write the files of one picture.

    Args:
        target: Path of the outputs without ending; its folder is made.
        pictures: Display-encoded pixels [H, W, 3] in [0, 1] by the operator that made them.
        format: A key of `ENDINGS`.
        quality: Of JPEG, 1..100.
        captions: What the sheet says of each operator; None: no sheet.

    Returns:
        The files.

    Raises:
        ImageError: The disk refuses.
    """
    files = output_files(target, list(pictures), format, sheet=captions is not None)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImageError(target.parent, f"cannot be made: {error.strerror or error}") from error
    for file, (name, picture) in zip(files, pictures.items(), strict=False):
        said: dict[str, Any] = {"software": f"hdrlab {__version__}", "operator": name}
        levels = _levels(picture, np.uint16) if format == "png16" else _levels(picture, np.uint8)
        write_image(file, levels, quality=quality, metadata=said)
    if captions is not None:
        cells = [(captions[name], _cell(picture)) for name, picture in pictures.items()]
        columns = len(cells) if len(cells) < 4 else math.ceil(math.sqrt(len(cells)))
        rows = [cells[first : first + columns] for first in range(0, len(cells), columns)]
        write_image(files[-1], draw_sheet(rows))
    return files


def _levels(picture: NDArray[np.float32], kind: type[np.unsignedinteger[Any]]) -> NDArray[Any]:
    levels: NDArray[Any] = np.rint(picture * np.float32(np.iinfo(kind).max)).astype(kind)
    return levels


def _cell(picture: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Bring a picture to a cell's size: small ones enlarged by a whole number, so that pixels stay pixels."""
    longer = max(picture.shape[:2])
    if longer < LEAST_CELL:
        times = math.ceil(LEAST_CELL / longer)
        picture = picture.repeat(times, axis=0).repeat(times, axis=1)[:CELL, :CELL]
    return _levels(fit_cell(picture), np.uint8)
