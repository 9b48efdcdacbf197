"""JPEG XL through OpenImageIO: whole-number samples are display-encoded or PQ and HLG, floats linear."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrlab.errors import ImageError
from hdrlab.io import oiio
from hdrlab.io.boxes import with_jpegxl_metadata
from hdrlab.io.colour_profiles import Statement, convert_samples, domain_of, from_code_points, from_icc
from hdrlab.io.exif import Exif
from hdrlab.io.image import Domain, Image, ImageInfo, check_density, replacing_image
from hdrlab.io.metadata import PhotoMetadata
from hdrlab.ops.colour_spaces import PQ_CODE, REC709, REC2020, conversion, convert, pq_encode

_DOMAINS: dict[str, Domain] = {"uint8": "display", "uint16": "display", "half": "linear", "float": "linear"}

_DISTANCE, _EFFORT = 0.3, 4  # of 1, just visible; of 10, 4 being ten times as fast as libjxl's own 7


def probe(path: Path) -> ImageInfo:
    """Reads the header only."""
    with oiio.opened(path, "jpegxl") as source:
        spec = source.spec()
        domain = domain_of(_statements(spec), _domain(path, spec))
        return ImageInfo(spec.height, spec.width, "jxl", domain)


def read(path: Path, max_pixels: int, *, keep_outside: bool = False) -> Image:
    """Reads the first frame: as sRGB, uint8 or uint16, or as light if it is PQ, HLG or floats."""
    with oiio.opened(path, "jpegxl") as source:
        spec = source.spec()
        oiio.check_spec(path, spec, max_pixels)
        check_density(path, spec.width, spec.height, path.stat().st_size)
        dtype = "float32" if _domain(path, spec) == "linear" else str(spec.format)
        samples = oiio.read_rows(path, source, range(3 if spec.nchannels >= 3 else 1), dtype)
    metadata = oiio.attributes(spec)
    for key in [key for key in metadata if key.startswith("ICCProfile")]:
        del metadata[key]
    return convert_samples(samples, _statements(spec), keep_outside=keep_outside).image(path, "jxl", metadata)


def write_jpegxl(
    path: Path,
    light: NDArray[np.float32],
    *,
    metadata: Mapping[str, Any] | None = None,
    photo: PhotoMetadata | None = None,
) -> None:
    """Write light as JPEG XL in 16 bits, perceptually quantised (PQ) in Rec. 2020; whole or not at all.

    Args:
        path: The file; its folder exists.
        light: Linear Rec. 709 [H, W, 3] in cd/m²; below 0 are colours outside of it. More than 10,000 is cut.
        metadata: What hdrlab says of the file, for its XMP.
        photo: What is known of the photograph; its Exif and XMP are kept.

    Raises:
        ImageError: The disk refuses.
    """
    samples = np.rint(pq_encode(convert(light, conversion(REC709, REC2020)).clip(min=0)) * 65535)
    attributes = {"CICP": (9, PQ_CODE, 0, 1), "jpegxl:distance": _DISTANCE, "jpegxl:effort": _EFFORT}
    photo = photo or PhotoMetadata(Exif())
    exif, packet = photo.exif_block(), photo.packet(metadata)
    with replacing_image(path) as temporary:
        try:
            oiio.write(temporary, "jpegxl", samples.astype(np.uint16), "uint16", attributes)
            temporary.write_bytes(with_jpegxl_metadata(temporary.read_bytes(), exif, packet))
        except ImageError as error:
            raise ImageError(path, error.reason) from error
        except ValueError as error:
            raise ImageError(path, f"cannot be written: {error}") from error


def _domain(path: Path, spec: Any) -> Domain:
    stored = str(spec.format)
    if stored not in _DOMAINS:
        raise ImageError(path, f"holds {stored} samples, which is unsupported")
    return _DOMAINS[stored]


def _statements(spec: Any) -> Iterator[Statement]:
    """What the header says; libjxl hands every encoding over as a profile too, but knows it by its points."""
    code_points = spec.getattribute("CICP")
    if code_points is not None:
        yield lambda: from_code_points(int(code_points[0]), int(code_points[1]))
    profile = spec.getattribute("ICCProfile")
    if profile is not None:
        yield lambda: from_icc(bytes(profile), 3 if spec.nchannels >= 3 else 1)
