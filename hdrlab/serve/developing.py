"""From the file that arrived to what the page shows and what can be taken away."""

from __future__ import annotations

import gzip
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from hdrlab.config.registry.tables import AVERAGE
from hdrlab.errors import __version__
from hdrlab.evaluation.report.images import CLIPPED, log_codes, opening_stops, shrink
from hdrlab.inference.expander import Expander
from hdrlab.inference.hdr_files import Developed, base_of, from_gain_map, from_hdr, write_outputs
from hdrlab.inference.reconstructor import Reconstructor
from hdrlab.inference.sdr_files import write_sdr
from hdrlab.io import Image, probe_image, read_hdr, read_photograph, write_image
from hdrlab.io.metadata import read_metadata
from hdrlab.io.ultrahdr import has_gain_map
from hdrlab.ops.colour import MIDDLE_GREY, log_average, luminance, srgb_levels, srgb_light
from hdrlab.serve.operators import Operators
from hdrlab.serve.pictures import Picture
from hdrlab.serve.queue import Advance
from hdrlab.weights.pretrained import shipped

PREVIEW_PIXELS = 1_000_000
TILE, DRAFT = 240, 400  # longer sides
SIZES = ("preview", "draft", "tile")
"""Of the light that operators are previewed on: what the page shows, and small copies that come first."""

CODES = 4095  # of the light that the viewer gets
CURVE_POINTS = 65
EXR, ULTRAHDR = "hdr.exr", "ultrahdr.jpg"
SHOWN_BY = "reinhard"
"""What an Ultra HDR file shows on ordinary displays where there is no photograph."""

FORMATS = {"png": ".png", "jpeg": ".jpg", "ultrahdr": "_ultrahdr.jpg"}
"""Of tone-mapped images, and what each adds to a file's name."""


@dataclass(frozen=True)
class Caps:
    """What is accepted.

    Attributes:
        file_bytes: Of a file.
        pixels: That it may declare.
    """

    file_bytes: int
    pixels: int


class Developer:
    """Makes of a file what the page shows.

    Args:
        caps: What is accepted.
        operators: Tone-map.
        weights: Of the nets, as `Reconstructor.load` takes them.
        memory: What tiles may take.
        device: Where nets compute.
    """

    def __init__(
        self, caps: Caps, operators: Operators, weights: str | None, memory: str, device: str
    ) -> None:
        self.caps, self.operators = caps, operators
        self._nets = {"weights": weights, "memory": memory, "device": device}
        self._develop: Callable[..., Developed] | None = None

    def load(self) -> None:
        """Load the nets; without any, the average camera's response stands in for them.

        Raises:
            HdrlabError: They cannot be used.
        """
        if self._nets["weights"] is None and not shipped():
            self._develop = Expander(AVERAGE).develop
        else:
            reconstructor = Reconstructor.load(**self._nets)  # type: ignore[arg-type]

            def develop(photo: Any, advance: Advance) -> Developed:
                return reconstructor.develop(photo, advance, layers=True, wide=True)

            self._develop = develop

    def check(self, picture: Picture) -> None:
        """Look at a file's header.

        Raises:
            ImageError: It is no picture, or a larger one than is accepted.
        """
        info = probe_image(picture.source, max_pixels=self.caps.pixels)
        picture.size = (info.width, info.height)

    def open(self, picture: Picture, advance: Advance) -> None:
        """Make everything of a picture; it is ready before its files are.

        Raises:
            ImageError: It cannot be read.
        """
        picture.state = "working"
        source, most = picture.source, self.caps.pixels
        photo = read_metadata(source).kept("keep")
        exr, ultrahdr = picture.folder / EXR, picture.folder / ULTRAHDR
        image = None
        if has_gain_map(source):
            developed = from_gain_map(source)
        elif probe_image(source, max_pixels=most).domain == "display":
            assert self._develop
            developed = self._develop(read_photograph(source, max_pixels=most, keep_outside=True), advance)
        else:
            image = read_hdr(source, max_pixels=most, sanitize=True)
            if "hdr" in image.metadata:
                developed, image = from_hdr(read_photograph(source, max_pixels=most, keep_outside=True)), None
        if image is not None:
            _show_scene(picture, image)
            picture.state = "ready"
            write_image(exr, image, metadata={"software": f"hdrlab {__version__}"}, photo=photo)
            shown = {SHOWN_BY: self.operators.show(SHOWN_BY, image.pixels, {})}
            write_sdr([ultrahdr], shown, ["ultrahdr"], source=image, quality=95, photo=photo)
        else:
            _show_developed(picture, developed)
            picture.state = "ready"
            developed = replace(developed, layers={})  # the nets' steps are for looking at
            write_outputs({"exr": exr}, developed, "relative", photo=photo)
            write_outputs({"ultrahdr": ultrahdr}, developed, "relative", photo=photo, base=base_of(source))

    def render(
        self, picture: Picture, operator: str, settings: dict[str, float], format: str, file: Path
    ) -> None:
        """Tone-map a picture in its full size and write it.

        Raises:
            ImageError: The disk refuses.
            OperatorError: The operator cannot show it.
        """
        light = read_hdr(picture.folder / EXR)
        shown = {operator: self.operators.show(operator, light.pixels, settings)}
        photo = read_metadata(picture.source).kept("keep")
        write_sdr([file], shown, [format], source=light, quality=95, photo=photo)


def preview_of(picture: Picture, size: str) -> NDArray[np.float32]:
    """Return a picture's light in one of `SIZES`."""
    preview: NDArray[np.float32] = np.load(picture.folder / f"{size}.npy", allow_pickle=False)
    return preview


def write_jpeg(file: Any, shown: NDArray[np.float32], quality: int = 90) -> None:
    """Write a display-encoded image [H, W, 3] in [0, 1] for the page."""
    levels = (shown * np.float32(255) + np.float32(0.5)).astype(np.uint8)
    PillowImage.fromarray(levels).save(file, "JPEG", quality=quality, subsampling=0)


def _show_developed(picture: Picture, developed: Developed) -> None:
    """Write what the page shows of a photograph and its light."""
    photograph = developed.photograph
    shown = srgb_levels(_small(srgb_light()[photograph]))
    clipped = photograph.max(axis=2, keepdims=True) >= CLIPPED
    alpha = developed.layers.get("alpha")
    notes = [*developed.notes]
    if developed.was_hdr:
        clipped = np.zeros_like(clipped)
    _write_mask(picture.folder / "clipped.png", clipped)
    if alpha is not None:
        _write_mask(picture.folder / "alpha.png", alpha[..., :1])
    PillowImage.fromarray(shown).save(picture.folder / "photograph.jpg", "JPEG", quality=93, subsampling=0)
    step = (len(developed.curve) - 1) // (CURVE_POINTS - 1) or 1
    picture.facts |= {
        "photograph": not developed.was_hdr or developed.ultrahdr is not None,
        "mask": alpha is not None,
        "curve": None if developed.was_hdr else [round(float(one), 5) for one in developed.curve[::step]],
        "clipped": float(clipped.mean()),
    }
    _show_light(picture, developed.hdr, 1.0, notes)


def _show_scene(picture: Picture, image: Image) -> None:
    """Write what the page shows of light that came as light."""
    replaced = image.metadata.get("sanitized", 0)
    notes = [*image.notes, *([f"{replaced} values that are not finite were replaced"] if replaced else [])]
    if negative := image.metadata.get("negative"):
        notes.append(f"{negative} values below 0 were taken as 0")
    white = log_average(luminance(image.pixels)) / MIDDLE_GREY
    picture.facts |= {"photograph": False, "mask": False, "curve": None, "clipped": 0.0}
    _show_light(picture, image.pixels, white, notes)


def _show_light(picture: Picture, hdr: NDArray[np.float32], white: float, notes: list[str]) -> None:
    preview = _small(hdr)
    height, width = preview.shape[:2]
    codes, floor, span = log_codes(preview, white, CODES)
    light = gzip.compress(codes.astype("<u2").tobytes(), 1)
    (picture.folder / "light.bin").write_bytes(light)
    tile = shrink(preview, TILE)
    for name, copy in (("preview", preview), ("draft", shrink(preview, DRAFT)), ("tile", tile)):
        np.save(picture.folder / f"{name}.npy", copy)
    bright = luminance(preview)
    picture.facts |= {
        "width": width,
        "height": height,
        "floor": floor,
        "span": span,
        "codes": CODES,
        "stops": opening_stops(preview, white),
        "range": _stops_between(bright),
        "notes": notes,
    }
    thumbnail = srgb_levels(tile / np.float32(white) * np.float32(2 ** picture.facts["stops"]))
    PillowImage.fromarray(thumbnail).save(picture.folder / "thumbnail.jpg", "JPEG", quality=88)


def _stops_between(light: NDArray[np.float32]) -> float:
    """Return the stops between the darkest and the brightest of an image, one in a thousand left out."""
    lit = light[light > 0]
    if not lit.size:
        return 0.0
    dark, bright = np.percentile(lit, (0.1, 99.9))
    return round(float(np.log2(bright / dark)), 1)


def _small(light: NDArray[np.float32]) -> NDArray[np.float32]:
    """Shrink an image [H, W, 3] to `PREVIEW_PIXELS`."""
    factor = math.sqrt(PREVIEW_PIXELS / (light.shape[0] * light.shape[1]))
    return np.ascontiguousarray(shrink(light, math.ceil(factor * max(light.shape[:2]))), np.float32)


def _write_mask(file: Path, mask: NDArray[Any]) -> None:
    """Write a mask [H, W, 1] in [0, 1] as grey levels."""
    whole = _small(np.repeat(mask.astype(np.float32), 3, axis=2))
    PillowImage.fromarray(np.rint(whole[..., 0] * 255).astype(np.uint8)).save(file, "PNG", compress_level=3)
