"""The files that one tone-mapped image becomes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrlab.errors import __version__
from hdrlab.inference.contact_sheet import CELL, draw_sheet, fit_cell
from hdrlab.io import Image, write_image
from hdrlab.io.heif import write_avif
from hdrlab.io.metadata import PhotoMetadata
from hdrlab.io.ultrahdr import Base, write_ultrahdr
from hdrlab.ops.colour import MIDDLE_GREY, luminance, srgb_decode, srgb_encode, srgb_light
from hdrlab.ops.colour_spaces import (
    DIFFUSE_WHITE,
    PQ_PEAK,
    REC709,
    SPACES,
    conversion,
    convert,
    to_xyz,
    with_outside,
)
from hdrlab.tonemapping.display import into_gamut
from hdrlab.tonemapping.rows import strips

ENDINGS = {
    "png": ".png",
    "png16": ".png",
    "jpeg": ".jpg",
    "jpg": ".jpg",
    "tiff": ".tif",
    "avif": ".avif",
    "exr": ".exr",
    "ultrahdr": ".jpg",
}
"""Formats, and what each adds to an image's name; Ultra HDR beside others adds ``_ultrahdr`` too."""

DEPTHS: Mapping[str, type[np.unsignedinteger[Any]]] = {"png16": np.uint16, "tiff": np.uint16}
"""Formats of more than 8 bits."""

LEAST_CELL = 320  # pixels of a small image's longer side on a sheet, so that there is room for a caption


def output_files(
    target: Path, operators: Sequence[str], formats: Sequence[str], *, sheet: bool
) -> list[Path]:
    """Name the files of an image: those of each operator, which names them if there are several, and a sheet.

    Args:
        target: Path of the outputs without ending.
        operators: Names of the operators.
        formats: Keys of `ENDINGS`, each once.
        sheet: Whether there is a sheet; it comes last.
    """
    marks = [f"_{name}" for name in operators] if len(operators) > 1 else [""]
    endings = {one: ENDINGS[one] for one in formats}
    if "ultrahdr" in endings and len(endings) > 1:
        endings["ultrahdr"] = "_ultrahdr.jpg"
    names = [target.name + mark + ending for mark in marks for ending in endings.values()]
    return [target.with_name(name) for name in [*names, *([f"{target.name}_sheet.png"] if sheet else [])]]


def write_sdr(
    files: Sequence[Path],
    images: Mapping[str, NDArray[np.float32]],
    formats: Sequence[str],
    *,
    source: Image,
    quality: int,
    captions: Mapping[str, str] | None = None,
    colorspace: str = "rec709",
    photo: PhotoMetadata | None = None,
    shrink: int = 2,
    channels: int = 1,
) -> None:
    """Write the files of one image.

    Args:
        files: From `output_files`; their folder exists.
        images: Display-encoded pixels [H, W, 3] in [0, 1] by the operator that made them.
        formats: Keys of `ENDINGS`.
        source: The image that was tone-mapped.
        quality: Of JPEG, 1..100.
        captions: What the sheet says of each operator; None: no sheet.
        colorspace: A key of `hdrlab.ops.colour_spaces.SPACES`; the sheet stays sRGB.
        photo: What is known of the photograph.
        shrink: By how much the gain map of Ultra HDR is smaller than its base.
        channels: Of that gain map, 1 or 3.

    Raises:
        ImageError: The disk refuses.
    """
    remaining = iter(files)
    for name, image in images.items():
        entries: dict[str, Any] = {"software": f"hdrlab {__version__}", "operator": name}
        shown = _in_space(image, source, colorspace)
        for format, file in zip(formats, remaining, strict=False):
            if format == "ultrahdr":
                levels = _levels(shown, np.uint8)
                base, light = Base.of_pixels(levels, colorspace, quality), _for_display(source, levels)
                write_ultrahdr(
                    file, light, base, shrink=shrink, channels=channels, metadata=entries, photo=photo
                )
            elif format == "avif":
                write_avif(file, shown, level=quality, colorspace=colorspace, metadata=entries, photo=photo)
            else:
                depth = DEPTHS.get(format, np.uint8)
                pixels = _light(shown) if format == "exr" else _levels(shown, depth)
                write_image(
                    file, pixels, quality=quality, metadata=entries, colorspace=colorspace, photo=photo
                )
    if captions is not None:
        cells = [(captions[name], _cell(image)) for name, image in images.items()]
        columns = len(cells) if len(cells) < 4 else math.ceil(math.sqrt(len(cells)))
        rows = [cells[first : first + columns] for first in range(0, len(cells), columns)]
        write_image(files[-1], draw_sheet(rows))


def _for_display(source: Image, shown: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Bring light to a scale on which 1 is the white of an SDR rendition [H, W, 3].

    What was made for displays has its scale. Else middle tones are to be as bright as in the rendition, so
    that HDR differs where it should: in the lights. Nothing is brighter than what PQ holds.
    """
    light = source.pixels if source.outside is None else source.pixels + source.outside
    if "hdr" in source.metadata or source.format == "ultrahdr":
        scale = source.metadata.get("whiteLuminance", 1.0) / DIFFUSE_WHITE
    else:
        bright, base = luminance(source.pixels), luminance(srgb_light()[shown])
        middle = (bright > 0) & (base > MIDDLE_GREY / 4) & (base < 3 * MIDDLE_GREY)
        if not middle.any():
            middle = bright > 0
        scale = float(np.median(base[middle] / bright[middle])) if middle.any() else 1.0
    return np.minimum(light * np.float32(scale), np.float32(PQ_PEAK / DIFFUSE_WHITE)).astype(np.float32)


def _in_space(image: NDArray[np.float32], source: Image, colorspace: str) -> NDArray[np.float32]:
    """From sRGB in [0, 1] to another space, with the colours that the source holds outside Rec. 709."""
    if colorspace == "rec709":
        return image
    light = srgb_decode(image)
    if source.outside is not None:
        light = with_outside(light, source.pixels, source.outside)
    wide = convert(light, conversion(REC709, SPACES[colorspace]))
    return srgb_encode(into_gamut(wide, to_xyz(SPACES[colorspace])[1]))


def _light(image: NDArray[np.float32]) -> NDArray[np.float32]:
    light = np.empty_like(image)
    for rows in strips(*image.shape[:2]):
        light[rows] = srgb_decode(image[rows])
    return light


def _levels(image: NDArray[np.float32], kind: type[np.unsignedinteger[Any]]) -> NDArray[Any]:
    levels = np.empty(image.shape, kind)
    for rows in strips(*image.shape[:2]):  # so that large images are not held twice more
        levels[rows] = np.rint(image[rows] * np.float32(np.iinfo(kind).max))
    return levels


def _cell(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Bring an image to a cell's size: small ones enlarged by a whole number, so that pixels stay pixels."""
    longer = max(image.shape[:2])
    if longer < LEAST_CELL:
        times = math.ceil(LEAST_CELL / longer)
        image = image.repeat(times, axis=0).repeat(times, axis=1)[:CELL, :CELL]
    return _levels(fit_cell(image), np.uint8)
