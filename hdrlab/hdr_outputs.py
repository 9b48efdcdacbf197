"""The files that one reconstruction becomes, and what a value of 1 means in them."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrlab import __version__
from hdrlab.io import ImageError, write_image
from hdrlab.io.ultrahdr import check_ultrahdr, write_ultrahdr
from hdrlab.preview import preview
from hdrlab.sheets import exposures_side_by_side

DIFFUSE_WHITE = 203.0  # cd/m², HDR reference white of ITU-R BT.2408
MIDDLE_GREY = 0.18
SHEET_STOPS = (0, -2, -4)
SCALES = {
    "relative": "1 is the photograph's clipping point",
    "diffuse_white": f"cd/m2, the photograph's clipping point at {DIFFUSE_WHITE:g} (BT.2408's diffuse white)",
    "median": f"the median luminance is {MIDDLE_GREY}, middle grey",
}
ENDINGS = {"exr": ".exr", "hdr": ".hdr", "tiff": ".tif", "ultrahdr": "_ultrahdr.jpg"}
"""Formats, and what each adds to a picture's name."""

_WEIGHTS = np.array((0.212656, 0.715158, 0.072186), np.float32)  # of linear RGB with Rec. 709 primaries


@dataclass(frozen=True, eq=False)
class Developed:
    """What the nets made of one photograph.

    Attributes:
        hdr: Linear pixels [H, W, 3], at least 0; 1 = the clipping point.
        photograph: The photograph itself, 8-bit sRGB [H, W, 3].
        curve: Inverse response curve [1024].
        layers: Further pictures [H, W, 3 or 1] by name, on the scale of ``hdr``.
        metadata: What made it, plain types.
    """

    hdr: NDArray[np.float32]
    photograph: NDArray[np.uint8]
    curve: NDArray[np.float32]
    layers: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)


def write_outputs(
    target: Path,
    developed: Developed,
    formats: Sequence[str],
    scale: str,
    *,
    with_preview: bool,
    with_sheet: bool = False,
) -> list[Path]:
    """Write the files of one picture.

    Layers go into the EXR file, as the nets gave them whatever the scale, with the curve in its header and
    in a CSV file. An Ultra HDR JPEG keeps 1 = the clipping point too: it is defined by its base's white.

    Args:
        target: Path of the outputs without ending; its folder is made.
        developed: The picture.
        formats: Keys of `ENDINGS`.
        scale: A key of `SCALES`.
        with_preview: Whether to write a tone-mapped PNG.
        with_sheet: Whether to write a PNG of the photograph beside the result in several exposures.

    Returns:
        The files.

    Raises:
        ImageError: The picture holds a value that is not finite, or the disk refuses.
    """
    if not np.isfinite(developed.hdr).all():
        raise ImageError(target, "the nets gave values that are not finite: are these weights sound?")
    _make_folder(target.parent)
    files = {name: target.with_name(target.name + ENDINGS[name]) for name in formats}
    if "ultrahdr" in files:
        _write_ultrahdr(files["ultrahdr"], developed, _said(developed, "relative", 1.0))
    written = list(files.values())
    if with_preview:
        written.append(target.with_name(target.name + "_preview.png"))
        write_image(written[-1], preview(developed.hdr))
    if with_sheet:
        pictures = {"photograph": _undone(developed.photograph), "reconstruction": developed.hdr}
        written.append(target.with_name(target.name + "_sheet.png"))
        write_image(written[-1], exposures_side_by_side(pictures, SHEET_STOPS))
    if developed.layers:
        written.append(target.with_name(target.name + "_curve.csv"))
        write_curve(written[-1], developed.curve)
    factor = scale_factor(developed.hdr, scale)
    said = _said(developed, scale, factor)
    scaled = developed.hdr if factor == 1 else developed.hdr * np.float32(factor)
    for name in {"exr", "hdr", "tiff"} & files.keys():
        if name == "exr" and developed.layers:
            curve = {"inverseResponse": json.dumps([float(f"{value:.7g}") for value in developed.curve])}
            write_image(files[name], scaled, metadata=said | curve, layers=developed.layers)
        else:
            write_image(files[name], scaled, metadata=said)
    return written


def scale_factor(hdr: NDArray[np.float32], scale: str) -> float:
    """Return what to multiply a picture by, 1 = the clipping point, to bring it to a scale.

    A picture without light keeps its scale.
    """
    if scale == "diffuse_white":
        return DIFFUSE_WHITE
    if scale == "relative":
        return 1.0
    light = hdr @ _WEIGHTS
    median = float(np.median(light)) or float(np.median(light[light > 0])) if light.any() else 0.0
    return MIDDLE_GREY / median if median else 1.0


def write_curve(path: Path, curve: NDArray[np.float32]) -> None:
    """Write an inverse response curve [K] as CSV: encoded value, linear value."""
    try:
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(("encoded", "linear"))
            for number, value in enumerate(curve):
                writer.writerow((f"{number / (len(curve) - 1):.7g}", f"{value:.7g}"))
    except OSError as error:
        raise ImageError(path, f"cannot be written: {error.strerror or error}") from error


def _undone(photograph: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Undo the sRGB curve of 8-bit values, so that the photograph can be shown in other exposures."""
    encoded = np.arange(256, dtype=np.float32) / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    return linear.astype(np.float32)[photograph]


def _said(developed: Developed, scale: str, factor: float) -> dict[str, Any]:
    """What the headers say. OpenEXR has a name of its own for the luminance of the value 1."""
    absolute = {"whiteLuminance": 1.0} if scale == "diffuse_white" else {}
    said = {"scale": scale, "scaleMeaning": SCALES[scale], "scaleFactor": factor, **absolute}
    return {"software": f"hdrlab {__version__}", **said, **developed.metadata}


def _write_ultrahdr(path: Path, developed: Developed, metadata: Mapping[str, Any]) -> None:
    write_ultrahdr(path, developed.hdr, developed.photograph, metadata=metadata)
    try:
        check_ultrahdr(path, developed.hdr)
    except ImageError:
        path.unlink(missing_ok=True)
        raise


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImageError(folder, f"cannot be made: {error.strerror or error}") from error
