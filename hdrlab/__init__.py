"""HDR imaging: reconstruct scenes from photographs and tone map them for displays."""

__version__ = "0.1.0"
