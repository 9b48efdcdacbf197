"""The camera: from scene-linear images to 8-bit photographs; drawing parameters is apart from using them.

Names are resolved on first use, so that response curves can be listed without importing torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hdrlab.camera.curves import ResponseCurves, load_response_curves
    from hdrlab.camera.sampling import camera_generator, exposure_list, positional_qualities, sample_noise
    from hdrlab.camera.synthesis import CameraNoise, Synthesis, synthesize

__all__ = [
    "CameraNoise",
    "ResponseCurves",
    "Synthesis",
    "camera_generator",
    "exposure_list",
    "load_response_curves",
    "positional_qualities",
    "sample_noise",
    "synthesize",
]

_MODULES = {
    "curves": ("ResponseCurves", "load_response_curves"),
    "synthesis": ("CameraNoise", "Synthesis", "synthesize"),
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = next((module for module, names in _MODULES.items() if name in names), "sampling")
    return getattr(import_module(f"{__name__}.{module}"), name)
