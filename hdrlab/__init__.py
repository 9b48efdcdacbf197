"""HDR imaging: reconstruct scenes from photographs and tone map them for displays.

::

    import hdrlab

    hdr = hdrlab.Reconstructor.load()(photo)             # uint8 [H, W, 3] → scene-linear float32 [H, W, 3]
    shown = hdrlab.ToneMapper.load("reinhard")(hdr)      # → display-encoded float32 [H, W, 3]
    net = hdrlab.build_net("hallucination", weights="weights/official")

Everything here is imported when it is first used: torch and its seconds come with what needs it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hdrlab.errors import __version__

if TYPE_CHECKING:
    from hdrlab.inference.reconstructor import Reconstructor
    from hdrlab.inference.tone_mapper import ToneMapper
    from hdrlab.io import read_image, write_image
    from hdrlab.weights.net_file import build_net

__all__ = ["Reconstructor", "ToneMapper", "__version__", "build_net", "read_image", "write_image"]

_MODULES = {
    "Reconstructor": "hdrlab.inference.reconstructor",
    "ToneMapper": "hdrlab.inference.tone_mapper",
    "build_net": "hdrlab.weights.net_file",
    "read_image": "hdrlab.io",
    "write_image": "hdrlab.io",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES])
