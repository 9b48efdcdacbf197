"""Operators of OpenCV and of colour-hdri, both optional: the extra ``operators``.

They take and return what the global ones do, see `hdrlab.tonemapping.global_curves`. Neither library expects
black pixels, and most of colour-hdri's operators depend on the unit: what is done about it stands below.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrlab.errors import OperatorError
from hdrlab.ops.colour import MIDDLE_GREY, Pixels, expose, log_average, luminance

# ------------------------------------------------------------------------------------------------- OpenCV

NEARLY_BLACK = 1e-6
LEAST_SIDE = 8
"""Mantiuk's operator builds a pyramid, for which smaller images are extended."""


def opencv_reinhard(hdr: Pixels) -> Pixels:
    """Reinhard and Devlin's photoreceptor operator.

    Source: Reinhard and Devlin, "Dynamic Range Reduction Inspired by Photoreceptor Physiology", 2005;
    OpenCV's defaults, without its gamma.
    """
    return _opencv("createTonemapReinhard", hdr)


def opencv_drago(hdr: Pixels) -> Pixels:
    """Drago's operator as OpenCV has it, its result stretched from black to white.

    Source: Drago et al., "Adaptive Logarithmic Mapping for Displaying High Contrast Scenes", 2003; OpenCV's
    defaults, without its gamma.
    """
    return _opencv("createTonemapDrago", hdr)


def opencv_mantiuk(hdr: Pixels) -> Pixels:
    """Mantiuk's compression of gradients in a pyramid.

    Source: Mantiuk et al., "A Perceptual Framework for Contrast Processing of High Dynamic Range Images",
    2006; OpenCV's defaults, without its gamma.
    """
    return _opencv("createTonemapMantiuk", hdr)


def _opencv(create: str, hdr: Pixels) -> Pixels:
    """Run an operator of OpenCV, whose first and last step is to stretch all samples to [0, 1].

    A pixel of which the first leaves nothing becomes NaN, which can undo the last. So the stretching is done
    here and such pixels are not quite black for OpenCV; one sample remains at 0, and it finds nothing to
    stretch. An image of one luminance, which has no range to reduce, is shown as it is.
    """
    import cv2

    light, low, high = luminance(hdr), hdr.min(), hdr.max()
    if light.min() == light.max():
        return np.asarray(hdr / high)
    stretched = (hdr - low) / (high - low)
    black = stretched.max(axis=-1) == 0
    stretched[black] = min(NEARLY_BLACK, stretched[stretched > 0].min())
    height, width, _ = hdr.shape
    margins = ((0, max(0, LEAST_SIDE - height)), (0, max(0, LEAST_SIDE - width)), (0, 0))
    padded = np.ascontiguousarray(np.pad(stretched[..., ::-1], margins, mode="edge"))
    padded.flat[np.argmin(padded)] = 0
    try:
        shown: Pixels = getattr(cv2, create)(1.0).process(padded)
    except cv2.error as error:
        raise OperatorError(f"OpenCV cannot show this image: {error.err}") from error
    shown = shown[:height, :width, ::-1]
    shown[black] = 0
    return shown


# ---------------------------------------------------------------------------------------------- colour-hdri


def colour_simple(hdr: Pixels) -> NDArray[Any]:
    """Each channel by x / (1 + x); the log-average comes to lie at middle grey before."""
    return _colour("simple", expose(hdr, MIDDLE_GREY))


def colour_logarithmic(hdr: Pixels) -> NDArray[Any]:
    """The luminance by log10(1 + L) / log10(1 + L_max), L = 1 at the log-average."""
    return _colour("logarithmic", expose(hdr, 1))


def colour_exponential(hdr: Pixels) -> NDArray[Any]:
    """The luminance by 1 − exp(−L / (k · log-average)), k = 5 for an average shown as middle grey."""
    return _colour("exponential", expose(hdr, 1), k=5)


def colour_exponentiation(hdr: Pixels) -> NDArray[Any]:
    """The luminance by (L / L_max)^p, p such that the log-average is shown as middle grey, at most 1."""
    p = math.log(MIDDLE_GREY) / math.log(_relative_average(hdr))
    return _colour("exponentiation_mapping", expose(hdr, 1), p=min(1.0, p))


def colour_schlick1994(hdr: Pixels) -> NDArray[Any]:
    """The luminance by Schlick's p L / (p L − L + L_max), the log-average shown as middle grey by p ≥ 1.

    Source: Schlick, "Quantization Techniques for Visualization of High Dynamic Range Images", 1994.
    """
    average = _relative_average(hdr)
    p = MIDDLE_GREY * (1 - average) / ((1 - MIDDLE_GREY) * average)
    return _colour("Schlick1994", expose(hdr, 1), p=max(1.0, p))


def colour_tumblin1999(hdr: Pixels) -> NDArray[Any]:
    """Tumblin's operator, which matches brightness; a log-average of 50 cd/m² is assumed.

    Source: Tumblin et al., "Two Methods for Display of High Contrast Images", 1999.
    """
    return _colour("Tumblin1999", expose(hdr, 50))


def colour_reinhard2004(hdr: Pixels) -> NDArray[Any]:
    """Reinhard and Devlin's operator with colour-hdri's defaults; the log-average lies at middle grey before.

    Source: Reinhard and Devlin, "Dynamic Range Reduction Inspired by Photoreceptor Physiology", 2005.
    """
    return _colour("Reinhard2004", expose(hdr, MIDDLE_GREY))


def colour_filmic(hdr: Pixels) -> NDArray[Any]:
    """Hable's filmic curve with the constants of his slides; the log-average lies at middle grey before.

    Source: Hable, "Uncharted 2: HDR Lighting", 2010.
    """
    return _colour("filmic", expose(hdr, MIDDLE_GREY))


def _relative_average(hdr: Pixels) -> float:
    """The log-average of the luminance as a share of its maximum, below 1 also for one grey."""
    light = luminance(hdr)
    return min(log_average(light) / float(light.max()), 1 - 1e-6)


def _colour(name: str, hdr: Pixels, **options: float) -> NDArray[Any]:
    """Run an operator of colour-hdri; black pixels, by which it divides, are grey for it and black again."""
    import colour_hdri

    black = luminance(hdr) == 0
    filled = np.where(black[..., None], np.float32(log_average(luminance(hdr))), hdr)
    operator: Callable[..., NDArray[Any]] = getattr(colour_hdri, f"tonemapping_operator_{name}")
    shown = operator(filled, **options)
    shown[black] = 0
    return shown
