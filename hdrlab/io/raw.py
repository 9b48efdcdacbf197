"""Camera raw files, developed by LibRaw."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrlab.errors import ImageError
from hdrlab.io.colour_profiles import SRGB, convert_samples, from_primaries
from hdrlab.io.heif import require
from hdrlab.io.image import Image, ImageInfo, check_size, open_regular
from hdrlab.io.oiio import named_in_utf8
from hdrlab.ops.colour import srgb_decode
from hdrlab.ops.colour_spaces import REC2020

SUFFIXES = frozenset({
    *(".dng", ".nef", ".nrw", ".cr2", ".cr3", ".crw", ".arw", ".sr2", ".srf", ".orf", ".rw2", ".rwl"),
    *(".raf", ".pef", ".srw", ".iiq", ".3fr", ".fff", ".erf", ".mef", ".mos", ".mrw", ".dcr", ".kdc"),
})  # fmt: skip
"""Most are TIFF files in which a TIFF reader finds nothing but the thumbnail."""
_DECODER_ERRORS = (OSError, RuntimeError, ValueError, SyntaxError, EOFError, LookupError)


def probe(path: Path) -> ImageInfo:
    """Reads the header only; the size is that of the upright image."""
    with _opened(path) as raw:
        width, height = raw.sizes.width, raw.sizes.height
        if raw.sizes.flip & 4:
            width, height = height, width
        return ImageInfo(height, width, "raw", "display")


def read(path: Path, max_pixels: int, *, keep_outside: bool = False) -> Image:
    """Develops a raw file to sRGB, uint16, by the camera's white balance.

    In a DNG the level that clips is the one that it declares. For others LibRaw lowers its own to the largest
    one that occurs, if that is above three quarters, since else highlights may come out magenta.
    """
    with _opened(path) as raw:
        import rawpy

        check_size(path, raw.sizes.width, raw.sizes.height, max_pixels)
        space = rawpy.ColorSpace.Rec2020 if keep_outside else rawpy.ColorSpace.sRGB
        try:
            samples: NDArray[Any] = raw.postprocess(
                use_camera_wb=True,
                no_auto_bright=True,
                **(_white_of_dng(raw) if path.suffix.lower() == ".dng" else {}),
                output_color=space,
                gamma=(2.4, 12.92),
                output_bps=16,
            )
        except (rawpy.LibRawError, *_DECODER_ERRORS) as error:
            raise ImageError(path, _refusal(error)) from error
    meant = from_primaries("Rec. 2020 as developed", srgb_decode, REC2020) if keep_outside else SRGB
    converted = convert_samples(np.ascontiguousarray(samples), [lambda: meant], keep_outside=keep_outside)
    return converted.image(path, "raw", {})


def _white_of_dng(raw: Any) -> dict[str, Any]:
    """Return the options by which what a DNG declares to be white becomes white."""
    import rawpy

    options: dict[str, Any] = {"adjust_maximum_thr": 0.0}
    if raw.raw_type == rawpy.RawType.Stack:  # three samples a pixel: LibRaw forgets black
        options["user_sat"] = raw.white_level - min(raw.black_level_per_channel[:3])
    return options


def _refusal(error: Exception) -> str:
    message = error.args[0] if error.args else error
    reason = message.decode("utf-8", "replace") if isinstance(message, bytes) else str(message)
    return f"is no camera raw file that LibRaw can develop: {reason}"


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    require("rawpy", path, "a camera raw file", "raw")
    import rawpy

    with open_regular(path):
        pass  # LibRaw's message for what is no file says only that it failed
    with named_in_utf8(path) as name:
        try:
            raw = rawpy.imread(name)
        except (rawpy.LibRawError, *_DECODER_ERRORS) as error:
            raise ImageError(path, _refusal(error)) from error
        with raw:
            yield raw
