"""Images of a page: small JPEGs of light in codes that browsers turn back, to look at under any exposure."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hdrlab.evaluation.benchmark import Case, Floats, Pixels
from hdrlab.ops.colour import MIDDLE_GREY, log_average, luminance, srgb_levels, srgb_light

LONG_SIDE = 384
QUALITY = 87
CLIPPED = 249  # of 255: at and above it a channel counts as clipped
COMFORT = (0.08, 0.4)
"""Between these an image's median luminance, in shares of white, is seen without another exposure."""
MOST_STOPS = 12  # of the page's slider, either way
_PADDING = 3  # stops beyond it that copies keep


def page_image(
    case: Case, results: Mapping[str, Pixels | str], curves: Mapping[str, Floats]
) -> dict[str, Any]:
    """Return what a page shows of an image, as plain values.

    Args:
        case: The image.
        results: By method what it made: linear light [H, W, 3], float32, or a display image, uint8; or why it
            failed.
        curves: Inverse response curves [K], linear light at K even steps of the code, by method's name or any
            other, such as "true".

    Returns:
        Name, scene, white, the exposure in stops at which to open, layers with their copies ("input",
        "reference", "method:" with a name), the mask of what the photograph clips, failures, and curves.
    """
    white = white_of(case)
    layers = {} if case.input is None else {"input": copy_of(case.input, white)}
    layers["reference"] = copy_of(case.reference, white)
    for name, one in results.items():
        if not isinstance(one, str):
            layers[f"method:{name}"] = copy_of(_filled(one, case.reference.shape), white)
    return {
        "name": case.name,
        "scene": case.scene,
        "stops": opening_stops(case.reference, white),
        "layers": layers,
        "clipped": None if case.input is None else _mask(case.input.max(axis=2) >= CLIPPED),
        "failed": {name: one for name, one in results.items() if isinstance(one, str)},
        "curves": {name: curve.tolist() for name, curve in curves.items()},
    }


def copy_of(pixels: Pixels, white: float, long_side: int = LONG_SIDE) -> dict[str, Any]:
    """Make a copy of a display image (uint8) or of linear light (float32), [H, W, 3].

    Args:
        pixels: The image; values that are not finite become 0, as do negative ones.
        white: The light that is shown white.
        long_side: Of the copy at most, in pixels.

    Returns:
        ``src``, an address that holds a JPEG. For light also ``floor`` and ``span``: a code q of 255 stands
        for the light floor · (2^(q/255 · span) − 1) in shares of white; other codes are sRGB levels.
    """
    if pixels.dtype == np.uint8:
        return {"src": _jpeg(srgb_levels(shrink(srgb_light()[pixels], long_side)))}
    light = shrink(np.nan_to_num(pixels, posinf=0, neginf=0).clip(0), long_side)
    codes, floor, span = log_codes(light, white, 255)
    return {"src": _jpeg(codes.astype(np.uint8)), "floor": floor, "span": span}


def log_codes(light: NDArray[np.float32], white: float, greatest: int) -> tuple[Floats, float, float]:
    """Code light by its logarithm, as `viewer.js` decodes it.

    Args:
        light: Linear pixels [H, W, 3], finite and at least 0.
        white: The light that is shown white.
        greatest: The greatest code.

    Returns:
        Whole codes [H, W, 3] from 0 to ``greatest``, float32, and floor and span, see `copy_of`.
    """
    most = 2.0 ** (MOST_STOPS + _PADDING)
    relative = light.clip(None, most * white) / np.float32(white)
    lit = luminance(relative)
    lit = lit[lit > 0]
    floor = float(np.clip(np.percentile(lit, 1), 1 / most, 1)) if lit.size else 1.0
    span = max(1.0, float(np.log2(1 + relative.max() / floor)))
    return np.rint(greatest / span * np.log2(1 + relative / np.float32(floor))), floor, span


def white_of(case: Case) -> float:
    """Choose the light that is shown white without any correction of the exposure.

    It is the light at which the photograph clips, so that results look like the photograph; where there is no
    photograph, middle grey is placed at the image's log-average.
    """
    light = luminance(_thin(case.reference))
    if case.input is not None:
        levels = _thin(case.input)
        seen = luminance(srgb_light()[levels])
        fitting = (light > 0) & (levels.max(axis=2) < CLIPPED) & (seen > 0.01)
        if fitting.any():
            return float(np.median(light[fitting] / seen[fitting]))
    return log_average(light) / MIDDLE_GREY


def opening_stops(reference: Floats, white: float) -> float:
    """Return the exposure, in quarters of a stop, at which an image is neither too dark nor too bright."""
    light = luminance(_thin(reference))
    if not (light > 0).any():
        return 0.0
    middle = float(np.median(light[light > 0])) / white
    stops = np.log2(np.clip(middle, *COMFORT) / middle)
    return float(np.clip(np.round(4 * stops) / 4, -MOST_STOPS, MOST_STOPS))


def shrink(pixels: NDArray[np.float32], long_side: int) -> NDArray[np.float32]:
    """Average over boxes until no side of [H, W, 3] is longer than allowed; never enlarge."""
    height, width = pixels.shape[:2]
    factor = min(1.0, long_side / max(height, width))
    if factor == 1:
        return pixels
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    planes = [Image.fromarray(np.ascontiguousarray(pixels[..., c])) for c in range(3)]
    return np.stack([np.asarray(plane.resize(size, Image.Resampling.BOX)) for plane in planes], axis=2)


def _filled(pixels: Pixels, shape: tuple[int, ...]) -> Pixels:
    """Add black at the right and the bottom, where results of some programs are cropped."""
    edges = [(0, whole - own) for whole, own in zip(shape, pixels.shape, strict=True)]
    return cast("Pixels", np.pad(pixels, edges)) if any(after for _, after in edges) else pixels


def _thin(pixels: NDArray[Any]) -> NDArray[Any]:
    step = max(1, max(pixels.shape[:2]) // 256)
    return pixels[::step, ::step]


def _mask(clipped: NDArray[np.bool_]) -> str:
    factor = min(1.0, LONG_SIDE / max(clipped.shape))
    size = tuple(max(1, round(side * factor)) for side in reversed(clipped.shape))
    image = Image.fromarray(clipped.astype(np.uint8) * 255).resize(size, Image.Resampling.BOX)
    return _address(image.point([0] * 128 + [255] * 128, "1"), "PNG")


def _jpeg(codes: NDArray[np.uint8]) -> str:
    image = Image.fromarray(np.ascontiguousarray(codes))
    return _address(image, "JPEG", quality=QUALITY, subsampling=0, progressive=True)


def _address(image: Image.Image, form: str, **options: Any) -> str:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return f"data:image/{form.lower()};base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"
