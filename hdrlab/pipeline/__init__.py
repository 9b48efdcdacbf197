"""Both systems as functions of tensors: nets in, images out; whole or in tiles, of any size."""

from hdrlab.errors import WeightsError
from hdrlab.pipeline.singlehdr import (
    REQUIRED,
    Nets,
    Reconstruction,
    dequantize,
    hallucinate,
    reconstruct,
    refine,
    require_nets,
)

__all__ = [
    "REQUIRED",
    "Nets",
    "Reconstruction",
    "WeightsError",
    "dequantize",
    "hallucinate",
    "reconstruct",
    "refine",
    "require_nets",
]
