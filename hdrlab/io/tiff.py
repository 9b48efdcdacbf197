"""TIFF pictures (.tif), through OpenImageIO: float samples are linear, 8 and 16-bit ones display-encoded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrlab.io import oiio
from hdrlab.io.image import Domain, Image, ImageError, ImageInfo, as_rgb, turn_upright
from hdrlab.io.ldr import convert_to_srgb

_DOMAINS: dict[str, Domain] = {
    "half": "linear",
    "float": "linear",
    "double": "linear",
    "uint8": "display",
    "uint16": "display",
}
_BITS = (8, 16, 32, 64)
_PHOTOMETRICS = {0: "white is zero", 1: "grey", 2: "RGB", 3: "palette", 6: "YCbCr"}


def probe(path: Path) -> ImageInfo:
    """Reads the header only."""
    with oiio.opened(path, "tiff") as source:
        spec = source.spec()
        domain = _domain(path, spec)
        size = (spec.width, spec.height) if _orientation(spec) >= 5 else (spec.height, spec.width)
        return ImageInfo(*size, "tiff", domain)


def read(path: Path, max_pixels: int) -> Image:
    """Reads the first page; alpha and further samples are dropped, orientation and ICC profile applied."""
    with oiio.opened(path, "tiff") as source:
        spec = source.spec()
        oiio.check_spec(path, spec, max_pixels)
        domain = _domain(path, spec)
        num_channels = 3 if spec.nchannels >= 3 else 1
        dtype = "float32" if domain == "linear" else str(spec.format)
        pixels = oiio.read_rows(path, source, range(num_channels), dtype)
    metadata = oiio.attributes(spec)
    profile = metadata.pop("ICCProfile", None)
    if domain == "linear":
        pixels = as_rgb(pixels)
    else:
        pixels, note = convert_to_srgb(pixels, None if profile is None else bytes(profile))
        metadata |= {"icc_profile": note} if note else {}
    return Image(turn_upright(pixels, _orientation(spec)), domain, "tiff", path, metadata)


def write(path: Path, pixels: NDArray[Any], metadata: Mapping[str, Any]) -> None:
    """Writes float32 (linear), uint8 or uint16 (display) losslessly; metadata as JSON in ImageDescription."""
    # The predictor for floats would pack better, but tifffile alone cannot undo it.
    attributes: dict[str, Any] = {"compression": "zip", "tiff:predictor": 1}
    if metadata:
        attributes["ImageDescription"] = json.dumps(dict(metadata))
    stored = "float" if pixels.dtype == np.float32 else pixels.dtype.name
    oiio.write(path, "tiff", pixels, stored, attributes)


def _domain(path: Path, spec: Any) -> Domain:
    """The domain by sample type; what OpenImageIO is known to decode wrongly, or to crash on, is refused."""
    bits, stored = spec.get_int_attribute("oiio:BitsPerSample", 8), str(spec.format)
    photometric = spec.get_int_attribute("tiff:PhotometricInterpretation", 2)
    if stored not in _DOMAINS or bits not in _BITS:
        raise ImageError(path, f"holds {bits}-bit {stored} samples: use float, uint8 or uint16")
    if photometric not in _PHOTOMETRICS:
        known = ", ".join(_PHOTOMETRICS.values())
        raise ImageError(path, f"has photometric interpretation {photometric}, known are {known}: use RGB")
    if stored == "double" and spec.tile_width:
        raise ImageError(path, "holds tiles of 64-bit floats, which is unsupported: use strips or 32 bits")
    return _DOMAINS[stored]


def _orientation(spec: Any) -> int:
    return int(spec.get_int_attribute("Orientation", 1))
