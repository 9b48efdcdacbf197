"""Classical expansion operators (inverse tone mapping) under one name each, NumPy in and out."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrlab.errors import OperatorError
from hdrlab.inverse_tonemapping import global_curves, local
from hdrlab.ops.colour import Pixels, srgb_light

__all__ = ["EXPANSIONS", "Expansion", "OperatorError", "expand_classically"]


@dataclass(frozen=True)
class Expansion:
    """An expansion operator.

    Attributes:
        apply: From linearised pixels [H, W, 3] in [0, 1] to linear ones, 1 = the photograph's clipping point.
        title: Who published it, for tables.
        summary: What it does, in a few words.
    """

    apply: Callable[..., Pixels]
    title: str
    summary: str

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The keywords of ``apply``, with their defaults."""
        _, *others = inspect.signature(self.apply).parameters.values()
        return {one.name: one.default for one in others}


EXPANSIONS: Mapping[str, Expansion] = {
    "srgb": Expansion(global_curves.srgb, "Do nothing", "the inverse sRGB curve alone"),
    "landis": Expansion(global_curves.landis, "Landis 2002", "lifts the upper half of the range by a power"),
    "akyuz": Expansion(global_curves.akyuz, "Akyüz 2007", "stretches the range linearly"),
    "masia": Expansion(global_curves.masia, "Masia 2017", "a power from the image's key"),
    "kovaleski": Expansion(local.kovaleski, "Kovaleski 2014", "lifts overexposed regions up to their edges"),
    "huo": Expansion(local.huo, "Huo 2014", "undoes the retina's local adaptation"),
}


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
    return EXPANSIONS[name].apply(srgb_light()[photograph])
