"""Weights of nets: read from TensorFlow and VGG-16 files, mapped onto our nets, stored one net a file."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hdrlab.errors import WeightsError
    from hdrlab.io.tensorflow.checkpoint import read_tensorflow_checkpoint
    from hdrlab.weights.names import OBJECT_SUFFIX, LoadReport, load_variables, variable_shapes
    from hdrlab.weights.vgg16 import load_vgg16

_HOMES = {
    "OBJECT_SUFFIX": "hdrlab.weights.names",
    "LoadReport": "hdrlab.weights.names",
    "WeightsError": "hdrlab.errors",
    "load_variables": "hdrlab.weights.names",
    "load_vgg16": "hdrlab.weights.vgg16",
    "read_tensorflow_checkpoint": "hdrlab.io.tensorflow.checkpoint",
    "variable_shapes": "hdrlab.weights.names",
}

__all__ = [
    "OBJECT_SUFFIX",
    "LoadReport",
    "WeightsError",
    "load_variables",
    "load_vgg16",
    "read_tensorflow_checkpoint",
    "variable_shapes",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is asked for: what ships can be looked at without torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
