"""Pictures in and out: Radiance, OpenEXR, PFM, TIFF, PNG and JPEG.

Importing this package also teaches `imageio` to read and write .exr, .hdr and .pfm faithfully.
"""

from hdrlab.io.files import HDR_SUFFIXES, LDR_SUFFIXES, probe_image, read_image, write_image
from hdrlab.io.image import DEFAULT_MAX_PIXELS, Image, ImageError, ImageInfo
from hdrlab.io.imageio_plugin import register as _register_imageio_plugin

__all__ = [
    "DEFAULT_MAX_PIXELS",
    "HDR_SUFFIXES",
    "LDR_SUFFIXES",
    "Image",
    "ImageError",
    "ImageInfo",
    "probe_image",
    "read_image",
    "write_image",
]

_register_imageio_plugin()
