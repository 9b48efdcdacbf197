"""The files that one reconstruction becomes, and what a value of 1 means in them."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hdrlab.errors import ImageError, __version__
from hdrlab.inference.arrays import Photograph, to_photograph
from hdrlab.inference.contact_sheet import exposures_side_by_side
from hdrlab.inference.preview import preview
from hdrlab.io import Image, read_photograph, samples_in_unit, write_image
from hdrlab.io.atomic import writing_text
from hdrlab.io.heif import write_pq_avif
from hdrlab.io.jpegxl import write_jpegxl
from hdrlab.io.metadata import PhotoMetadata
from hdrlab.io.ultrahdr import Base, read_ultrahdr, rewrite_ultrahdr, write_ultrahdr
from hdrlab.ops.colour import MIDDLE_GREY, luminance, srgb_decode, srgb_levels, srgb_light
from hdrlab.ops.colour_spaces import (
    DIFFUSE_WHITE,
    REC709,
    SPACES,
    conversion,
    convert,
    split_gamut,
    with_outside,
)

if TYPE_CHECKING:
    from hdrlab.inference.arrays import ImageLike

SHEET_STOPS = (0, -2, -4)
PREVIEW_SIZE = 2048
SCALES = {
    "relative": "1 is {white}",
    "diffuse_white": f"cd/m2, {{white}} at {DIFFUSE_WHITE:g} (BT.2408's diffuse white)",
    "median": f"the median luminance is {MIDDLE_GREY}, middle grey",
}
LINEAR_LAYERS = ("B", "A")
"""Those of `Developed.layers` that are light."""
ENDINGS = {
    "exr": ".exr",
    "hdr": ".hdr",
    "tiff": ".tif",
    "ultrahdr": "_ultrahdr.jpg",
    "avif": ".avif",
    "jxl": ".jxl",
}
"""Formats, and what each adds to an image's name."""

WIDE = frozenset({"ultrahdr", "avif", "jxl"})
"""Those that hold colours outside Rec. 709 whatever ``colorspace=`` says."""


@dataclass(frozen=True, eq=False)
class Developed:
    """What the nets made of one photograph, or a photograph that was HDR already.

    Attributes:
        hdr: Linear pixels [H, W, 3], at least 0; 1 = the clipping point, or diffuse white if it was HDR.
        photograph: The photograph itself, 8-bit sRGB [H, W, 3].
        curve: Inverse response curve [1024].
        layers: Further images [H, W, 3 or 1] by name, on the scale of ``hdr``.
        metadata: What made it, plain types.
        wide: The same as ``hdr`` with colours outside Rec. 709, below 0 there; None: it has none, or they
            were not asked for.
        notes: What the user should know.
        was_hdr: Whether the photograph was HDR already and no net has seen it.
        ultrahdr: The photograph, if it is Ultra HDR and ``hdr`` what its own gain map says.
    """

    hdr: NDArray[np.float32]
    photograph: NDArray[np.uint8]
    curve: NDArray[np.float32]
    layers: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    wide: NDArray[np.float32] | None = None
    notes: tuple[str, ...] = ()
    was_hdr: bool = False
    ultrahdr: Path | None = None


def developed(
    photograph: Photograph,
    hdr: NDArray[np.float32],
    curve: NDArray[np.float32],
    metadata: Mapping[str, Any],
    layers: Mapping[str, NDArray[np.float32]] | None = None,
) -> Developed:
    """Keep what a photograph became, linear [H, W, 3], and give it its colours outside Rec. 709 back."""
    wide = None
    if photograph.outside is not None:
        wide = with_outside(hdr, srgb_decode(photograph.samples), photograph.outside)
    return Developed(hdr, photograph.in_8_bits(), curve, layers or {}, metadata, wide, photograph.notes)


def from_hdr(photograph: Image) -> Developed:
    """Take a photograph that is HDR already as it is: light in cd/m², diffuse white becomes 1."""
    unit, outside, kind = np.float32(1 / DIFFUSE_WHITE), photograph.outside, photograph.metadata["hdr"]
    hdr: NDArray[np.float32] = (photograph.pixels * unit).clip(min=0)
    wide: NDArray[np.float32] | None = None if outside is None else hdr + outside.astype(np.float32) * unit
    return Developed(
        hdr,
        srgb_levels(hdr),
        np.linspace(0, 1, 1024, dtype=np.float32),
        metadata={"source": f"HDR already ({kind})"},
        wide=wide,
        notes=(*photograph.notes, f"is HDR already ({kind}): converted as it is, without nets"),
        was_hdr=True,
    )


def open_photograph(photo: ImageLike, *, wide: bool) -> Photograph | Developed:
    """Take a photograph as `to_photograph` does; one that is HDR already (PQ, HLG) needs no method any more.

    Args:
        photo: As there.
        wide: Whether to keep a file's colours outside Rec. 709.

    Raises:
        ImageError: It is no photograph.
    """
    if isinstance(photo, (str, os.PathLike)):
        photo = read_photograph(photo, keep_outside=wide)
    if isinstance(photo, Image) and "hdr" in photo.metadata:
        return from_hdr(photo)
    return to_photograph(photo)


def from_gain_map(path: Path) -> Developed:
    """Take an Ultra HDR photograph as its own gain map says, 1 = its base's white.

    Raises:
        ImageError: It is damaged.
    """
    light = read_ultrahdr(path)
    inside, outside = split_gamut(light.pixels)
    unit, kind = np.float32(DIFFUSE_WHITE), {"hdr": "Ultra HDR, by its own gain map"}
    image = Image(
        inside * unit, "linear", light.format, path, kind, outside * unit if outside.any() else None
    )
    shown = np.rint(samples_in_unit(read_photograph(path)) * np.float32(255)).astype(np.uint8)
    return replace(from_hdr(image), photograph=shown, ultrahdr=path)


def base_of(path: Path) -> Base | None:
    """Return what an Ultra HDR image of a photograph shows to ordinary viewers, colours as in its file.

    Returns:
        The base; None where the photograph's sRGB rendition is all that there is to show.

    Raises:
        ImageError: It is damaged.
    """
    if (base := Base.of_photograph(path)) is not None:
        return base
    image = read_photograph(path, keep_outside=True)
    if image.outside is None:
        return None
    if image.domain == "linear":
        light = (image.pixels + image.outside) / np.float32(DIFFUSE_WHITE)
    else:
        light = srgb_decode(samples_in_unit(image)) + image.outside.astype(np.float32)
    return Base.of_pixels(srgb_levels(convert(light, conversion(REC709, SPACES["p3"]))), "p3")


def output_files(
    target: Path, formats: Sequence[str], *, preview: bool = False, sheet: bool = False, curve: bool = False
) -> dict[str, Path]:
    """Name the files of one image.

    Args:
        target: Path of the outputs without ending.
        formats: Keys of `ENDINGS`.
        preview: Whether there is a tone-mapped JPEG.
        sheet: Whether there is a PNG of the photograph beside the result in several exposures.
        curve: Whether there is a CSV file of the response curve.

    Returns:
        The files by format, and as ``preview``, ``sheet`` and ``curve``.
    """
    endings = {name: ENDINGS[name] for name in formats}
    beside = {
        "preview": (preview, "_preview.jpg"),
        "sheet": (sheet, "_sheet.png"),
        "curve": (curve, "_curve.csv"),
    }
    endings |= {name: ending for name, (wanted, ending) in beside.items() if wanted}
    return {name: target.with_name(target.name + ending) for name, ending in endings.items()}


def write_outputs(
    files: Mapping[str, Path],
    developed: Developed,
    scale: str,
    *,
    colorspace: str = "rec709",
    preview_size: int = PREVIEW_SIZE,
    photo: PhotoMetadata | None = None,
    base: Base | None = None,
    shrink: int = 2,
    channels: int = 1,
) -> None:
    """Write the files of one image.

    Layers go into the EXR file, as the nets gave them whatever the scale, with the curve in its header; of
    these, the linear ones are in the file's space. An Ultra HDR JPEG keeps 1 = the clipping point too: it is
    defined by its base's white; an Ultra HDR photograph's own gain map is handed on as it is. AVIF and JPEG
    XL have this white at 203 cd/m².

    Args:
        files: From `output_files`; their folder exists.
        developed: The image.
        scale: A key of `SCALES`.
        colorspace: A key of `hdrlab.ops.colour_spaces.SPACES`, for EXR, HDR and TIFF.
        preview_size: Longer side of the preview in pixels at most.
        photo: What is known of the photograph.
        base: From `base_of`, for Ultra HDR.
        shrink: By how much the gain map of Ultra HDR is smaller than the base.
        channels: Of that gain map, 1 or 3.

    Raises:
        ImageError: The image holds a value that is not finite, or the disk refuses.
        OSError: The disk refuses.
    """
    if not np.isfinite(developed.hdr).all():
        raise ImageError(
            next(iter(files.values())), "the nets gave values that are not finite: are these weights sound?"
        )
    factor = scale_factor(developed.hdr, scale)
    metadata = _metadata_of(developed, scale, factor)
    wide = developed.hdr if developed.wide is None else developed.wide
    light = _in_space(developed.hdr if colorspace == "rec709" else wide, colorspace)
    scaled = light if factor == 1 else light * np.float32(factor)
    for name, file in files.items():
        match name:
            case "ultrahdr":
                shown, entries = base or developed.photograph, _metadata_of(developed, "relative", 1.0)
                source = developed.ultrahdr
                if source and rewrite_ultrahdr(file, source, metadata=entries, photo=photo):
                    continue
                write_ultrahdr(
                    file, wide, shown, shrink=shrink, channels=channels, metadata=entries, photo=photo
                )
            case "avif" | "jxl":
                write = write_pq_avif if name == "avif" else write_jpegxl
                entries = _metadata_of(developed, "diffuse_white", DIFFUSE_WHITE)
                write(file, wide * np.float32(DIFFUSE_WHITE), metadata=entries, photo=photo)
            case "preview":
                write_image(file, preview(developed.hdr, preview_size), photo=photo)
            case "sheet":
                images = {"photograph": srgb_light()[developed.photograph], "reconstruction": developed.hdr}
                write_image(file, exposures_side_by_side(images, SHEET_STOPS))
            case "curve":
                write_curve(file, developed.curve)
            case "exr" if developed.layers:
                curve = {"inverseResponse": json.dumps([float(f"{value:.7g}") for value in developed.curve])}
                layers = {
                    layer: _in_space(pixels, colorspace) if layer in LINEAR_LAYERS else pixels
                    for layer, pixels in developed.layers.items()
                }
                write_image(
                    file, scaled, metadata=metadata | curve, layers=layers, colorspace=colorspace, photo=photo
                )
            case _:
                write_image(file, scaled, metadata=metadata, colorspace=colorspace, photo=photo)


def _in_space(light: NDArray[np.float32], colorspace: str) -> NDArray[np.float32]:
    """From linear Rec. 709 [H, W, 3] to another space, what lies outside that one cut at 0."""
    converted: NDArray[np.float32] = convert(light, conversion(REC709, SPACES[colorspace])).clip(min=0)
    return converted


def scale_factor(hdr: NDArray[np.float32], scale: str) -> float:
    """Return what to multiply an image by, 1 = the clipping point, to bring it to a scale.

    An image without light keeps its scale.
    """
    if scale == "diffuse_white":
        return DIFFUSE_WHITE
    if scale == "relative":
        return 1.0
    light = luminance(hdr)
    median = float(np.median(light)) or float(np.median(light[light > 0])) if light.any() else 0.0
    return MIDDLE_GREY / median if median else 1.0


def write_curve(path: Path, curve: NDArray[np.float32]) -> None:
    """Write an inverse response curve [K] as CSV: encoded value, linear value."""
    with writing_text(path) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("encoded", "linear"))
        for number, value in enumerate(curve):
            writer.writerow((f"{number / (len(curve) - 1):.7g}", f"{value:.7g}"))


def _metadata_of(developed: Developed, scale: str, factor: float) -> dict[str, Any]:
    """What the headers say. OpenEXR has a name of its own for the luminance of the value 1."""
    is_absolute = developed.was_hdr or scale == "diffuse_white"
    absolute = {"whiteLuminance": DIFFUSE_WHITE / factor} if is_absolute else {}
    white = "diffuse white" if developed.was_hdr else "the photograph's clipping point"
    meaning = SCALES[scale].format(white=white)
    metadata = {"scale": scale, "scaleMeaning": meaning, "scaleFactor": factor, **absolute}
    return {"software": f"hdrlab {__version__}", **metadata, **developed.metadata}
