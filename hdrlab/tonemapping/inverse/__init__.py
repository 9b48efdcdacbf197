"""Classical expansion operators (inverse tone mapping) under one name each, NumPy in and out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrlab.config.registry.tables import EXPANSIONS, Expansion
from hdrlab.errors import OperatorError
from hdrlab.ops.colour import Pixels, srgb_light

__all__ = ["EXPANSIONS", "Expansion", "OperatorError", "expand_classically", "require_image"]


def expand_classically(name: str, photograph: NDArray[np.uint8]) -> Pixels:
    """Expand a photograph of any size.

    Args:
        name: A key of `EXPANSIONS`.
        photograph: Display-encoded values [H, W, 3] of 8 bits, taken as sRGB.

    Returns:
        Linear pixels [H, W, 3], float32, at least 0; 1 = the photograph's clipping point.

    Raises:
        OperatorError: The name is unknown, or the array is no photograph.
    """
    if name not in EXPANSIONS:
        raise OperatorError(f"expansion {name!r}: must be {' | '.join(EXPANSIONS)}")
    if (
        photograph.ndim != 3
        or photograph.shape[2] != 3
        or 0 in photograph.shape
        or photograph.dtype != np.uint8
    ):
        given = f"{photograph.dtype} {list(photograph.shape)}"
        raise OperatorError(f"{name} takes a photograph of 8 bits, uint8 [H, W, 3], not {given}")
    made = np.asarray(EXPANSIONS[name].apply(srgb_light()[photograph]), np.float32)
    require_image(name, made, photograph.shape)
    return made


def require_image(name: str, made: NDArray[Any], shape: tuple[int, ...]) -> None:
    """Refuse what a method gives that is no HDR image of the photograph's shape.

    Raises:
        OperatorError: It has another shape, or values that are below 0 or not finite.
    """
    if made.shape != shape:
        raise OperatorError(f"method {name} gives {list(made.shape)} for a photograph {list(shape)}")
    if not np.isfinite(made).all() or made.min() < 0:
        raise OperatorError(f"method {name} gives values below 0, or that are not finite")
