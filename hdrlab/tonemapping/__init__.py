"""Classical tone-mapping operators under one name each, NumPy in and out."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrlab.operators import foreign, global_curves, local
from hdrlab.operators.foreign import OperatorError
from hdrlab.operators.light import Pixels, log_average, luminance, srgb_encode

__all__ = ["OPERATORS", "Operator", "OperatorError", "missing", "tone_map_classically"]

BRIGHTEST = 2.0**40  # times the log-average


@dataclass(frozen=True)
class Operator:
    """A tone-mapping operator.

    Attributes:
        apply: From linear pixels [H, W, 3], at least 0, not all 0 and in any unit, to display light: linear,
            1 = the display's white.
        summary: Who published it and what it is, in a few words.
        package: What it imports of an extra.
    """

    apply: Callable[[Pixels], NDArray[Any]]
    summary: str
    package: str | None = None


OPERATORS: Mapping[str, Operator] = {
    "gamma": Operator(global_curves.gamma, "linear light, 0.3 % clipped"),
    "log": Operator(global_curves.log, "Stockham 1972, logarithm"),
    "reinhard": Operator(global_curves.reinhard, "Reinhard 2002, global"),
    "reinhard_local": Operator(local.reinhard_local, "Reinhard 2002, local"),
    "drago": Operator(global_curves.drago, "Drago 2003, adaptive logarithm"),
    "durand": Operator(local.durand, "Durand 2002, bilateral filter"),
    "filmic": Operator(global_curves.filmic, "Hable 2010, filmic curve"),
    "opencv_reinhard": Operator(foreign.opencv_reinhard, "Reinhard 2005, OpenCV", "cv2"),
    "opencv_drago": Operator(foreign.opencv_drago, "Drago 2003, OpenCV", "cv2"),
    "opencv_mantiuk": Operator(foreign.opencv_mantiuk, "Mantiuk 2006, OpenCV", "cv2"),
    "colour_simple": Operator(foreign.colour_simple, "x / (1 + x), colour-hdri", "colour_hdri"),
    "colour_logarithmic": Operator(foreign.colour_logarithmic, "logarithm, colour-hdri", "colour_hdri"),
    "colour_exponential": Operator(foreign.colour_exponential, "exponential, colour-hdri", "colour_hdri"),
    "colour_exponentiation": Operator(foreign.colour_exponentiation, "power, colour-hdri", "colour_hdri"),
    "colour_schlick1994": Operator(foreign.colour_schlick1994, "Schlick 1994, colour-hdri", "colour_hdri"),
    "colour_tumblin1999": Operator(foreign.colour_tumblin1999, "Tumblin 1999, colour-hdri", "colour_hdri"),
    "colour_reinhard2004": Operator(foreign.colour_reinhard2004, "Reinhard 2005, colour-hdri", "colour_hdri"),
    "colour_filmic": Operator(foreign.colour_filmic, "Hable 2010, colour-hdri", "colour_hdri"),
}
"""Of colour-hdri's operators those are left out that are curves of others here: gamma, normalisation and
logarithmic mapping."""


def missing(name: str) -> str | None:
    """Say in one line what an operator lacks, or return None if it can be used.

    Raises:
        OperatorError: There is no such operator.
    """
    package = _require(name).package
    if package is None or importlib.util.find_spec(package) is not None:
        return None
    return f"{name} needs an extra: pip install 'hdrlab[operators]'"


def tone_map_classically(name: str, hdr: NDArray[Any]) -> Pixels:
    """Tone-map a picture of any size and unit; exposures, where an operator has one, come from the picture.

    Args:
        name: A key of `OPERATORS`.
        hdr: Linear pixels [H, W, 3] with Rec. 709 primaries, at least 0.

    Returns:
        Display-encoded sRGB [H, W, 3] in [0, 1], float32. Black where the picture holds no light at all.

    Raises:
        OperatorError: The name is unknown, an extra is missing, the array is no such picture, or the operator
            cannot show it.
    """
    if reason := missing(name):
        raise OperatorError(reason)
    if hdr.ndim != 3 or hdr.shape[2] != 3 or 0 in hdr.shape or hdr.dtype.kind != "f":
        raise OperatorError(f"{name} takes floats [H, W, 3], not {hdr.dtype} {list(hdr.shape)}")
    peak = hdr.max()
    if not np.isfinite(peak) or not hdr.min() >= 0:
        raise OperatorError(f"{name} takes finite values from 0 on: clean the picture first")
    if peak == 0:
        return np.zeros(hdr.shape, np.float32)
    shown = OPERATORS[name].apply(_in_unit(hdr))
    if not np.isfinite(shown).all():
        raise OperatorError(
            f"{name} gives values that are not finite for this picture: take another operator"
        )
    return srgb_encode(np.clip(shown, 0, 1, dtype=np.float32))


def _in_unit(hdr: NDArray[Any]) -> Pixels:
    """Scale a picture to [0, 1], so that no unit overflows in a square or vanishes in a sum.

    What is brighter than any scene, say a broken pixel, is clipped, or it would leave nothing of the others.
    """
    with np.errstate(over="ignore"):
        clipped = np.minimum(hdr, log_average(luminance(hdr)) * BRIGHTEST)
    return np.asarray(clipped / clipped.max(), np.float32)


def _require(name: str) -> Operator:
    if name not in OPERATORS:
        raise OperatorError(f"operator {name!r}: must be {' | '.join(OPERATORS)}")
    return OPERATORS[name]
