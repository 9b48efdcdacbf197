"""Images in and out: what a file declares of its colours decides, and what is written declares its own.

`hdrlab.io.imageio_plugin.register()` teaches `imageio` to read and write .exr, .hdr and .pfm faithfully.
"""

from hdrlab.errors import ImageError
from hdrlab.io.files import (
    HDR_SUFFIXES,
    LDR_SUFFIXES,
    probe_image,
    read_hdr,
    read_image,
    read_photograph,
    samples_in_unit,
    write_image,
)
from hdrlab.io.image import DEFAULT_MAX_PIXELS, Image, ImageInfo

__all__ = [
    "DEFAULT_MAX_PIXELS",
    "HDR_SUFFIXES",
    "LDR_SUFFIXES",
    "Image",
    "ImageError",
    "ImageInfo",
    "probe_image",
    "read_hdr",
    "read_image",
    "read_photograph",
    "samples_in_unit",
    "write_image",
]
