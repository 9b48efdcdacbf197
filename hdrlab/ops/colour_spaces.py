"""Colour spaces: primaries and white points, conversions between them, and the curves of files.

Everything linear in this package has Rec. 709 primaries and white D65 until it is written; what readers meet
is converted to that, colours outside it as negative values. Matrices are float64 [3, 3] and act on columns.
The module imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrlab.ops.colour import luminance, srgb_decode

Matrix = NDArray[np.float64]
Values = NDArray[Any]
Curve = Callable[[Values], Values]
"""From encoded values [..., 3], nominally in [0, 1], to linear ones of the same shape."""

XY = tuple[float, float]


@dataclass(frozen=True)
class Primaries:
    """CIE 1931 chromaticities (x, y) of an RGB space.

    Attributes:
        red: Of (1, 0, 0).
        green: Of (0, 1, 0).
        blue: Of (0, 0, 1).
        white: Of (1, 1, 1).
    """

    red: XY
    green: XY
    blue: XY
    white: XY

    @classmethod
    def of(cls, values: Any) -> Primaries:
        """Build from eight numbers: x and y of red, green, blue and white."""
        red, green, blue, white = [(float(x), float(y)) for x, y in np.reshape(values, (4, 2))]
        return cls(red, green, blue, white)

    def __iter__(self) -> Any:
        return iter((*self.red, *self.green, *self.blue, *self.white))

    def is_near(self, other: Primaries) -> bool:
        """Say whether all chromaticities agree to the digits in which files write them."""
        return bool(np.allclose(tuple(self), tuple(other), rtol=0, atol=5e-4))


D65: XY = (0.3127, 0.3290)
ACES_WHITE: XY = (0.32168, 0.33767)

REC709 = Primaries((0.640, 0.330), (0.300, 0.600), (0.150, 0.060), D65)
REC2020 = Primaries((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), D65)
P3 = Primaries((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), D65)
ADOBE_RGB = Primaries((0.640, 0.330), (0.210, 0.710), (0.150, 0.060), D65)
ACESCG = Primaries((0.713, 0.293), (0.165, 0.830), (0.128, 0.044), ACES_WHITE)
ACES2065_1 = Primaries((0.73470, 0.26530), (0.0, 1.0), (0.0001, -0.0770), ACES_WHITE)
XYZ = Primaries((1.0, 0.0), (0.0, 1.0), (0.0, 0.0), (1 / 3, 1 / 3))
"""CIE XYZ in the channels R, G and B; its white is a matter of form, the values mean what they are."""

SPACES = {
    "rec709": REC709,
    "rec2020": REC2020,
    "p3": P3,
    "acescg": ACESCG,
    "aces2065-1": ACES2065_1,
}
"""Spaces that images can be written in, by the names of ``colorspace=``."""

_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def white_xyz(white: XY) -> NDArray[np.float64]:
    """Return XYZ [3] of a white point, Y = 1."""
    x, y = white
    return np.array([x, y, 1 - x - y]) / y


def to_xyz(primaries: Primaries) -> Matrix:
    """Return the matrix [3, 3] from linear RGB to XYZ in which (1, 1, 1) has luminance 1.

    Raises:
        ValueError: The primaries lie on a line, or the white point is none.
    """
    columns = np.array([[x, y, 1 - x - y] for x, y in (primaries.red, primaries.green, primaries.blue)]).T
    if not np.isfinite(columns).all() or abs(np.linalg.det(columns)) < 1e-4 or not primaries.white[1] > 1e-3:
        raise ValueError(f"chromaticities {', '.join(f'{value:g}' for value in primaries)} make no space")
    return columns * np.linalg.solve(columns, white_xyz(primaries.white))


def adaptation(source: NDArray[np.float64], target: NDArray[np.float64]) -> Matrix:
    """Return the Bradford matrix that takes XYZ under one white, XYZ [3], to XYZ under another."""
    cones = (_BRADFORD @ target) / (_BRADFORD @ source)
    return np.asarray(np.linalg.solve(_BRADFORD, cones[:, None] * _BRADFORD))


def conversion(source: Primaries, target: Primaries = REC709, *, neutral: XY | None = None) -> Matrix:
    """Return the matrix [3, 3] from one linear RGB space to another, whites adapted by Bradford's method.

    XYZ values are not adapted, since they are measures; but for `neutral`.

    Args:
        source: Space of the values.
        target: Space wanted.
        neutral: What counts as white in the source instead of its white point.

    Raises:
        ValueError: The chromaticities of a space make none.
    """
    if neutral is None and source.is_near(target):
        return np.eye(3)
    there, back = to_xyz(source), np.linalg.inv(to_xyz(target))
    if neutral is None and (source.is_near(XYZ) or target.is_near(XYZ)):
        return back @ there
    return back @ adaptation(white_xyz(neutral or source.white), white_xyz(target.white)) @ there


def convert(pixels: Values, matrix: Matrix) -> Values:
    """Apply a matrix to linear pixels [..., 3] of float32 or float64; the identity gives them back."""
    if np.array_equal(matrix, np.eye(3)):
        return pixels
    converted: Values = pixels @ matrix.T.astype(pixels.dtype)
    return converted


# --------------------------------------------------------------------------------------------- curves

PQ_PEAK = 10_000.0
"""Luminance in cd/m² that the perceptual quantiser maps to 1."""

HLG_PEAK = 1000.0
"""Luminance in cd/m² of the display that hybrid log-gamma is shown on, BT.2100's nominal one."""

DIFFUSE_WHITE = 203.0
"""Luminance in cd/m² of HDR reference white (ITU-R BT.2408): what SDR shows as its white."""

_PQ_M1, _PQ_M2 = 2610 / 16384, 128 * 2523 / 4096
_PQ_C1, _PQ_C2, _PQ_C3 = 3424 / 4096, 32 * 2413 / 4096, 32 * 2392 / 4096
_HLG_A = 0.17883277
_HLG_B, _HLG_C = 1 - 4 * _HLG_A, 0.5 - _HLG_A * np.log(4 * _HLG_A)


def gamma_curve(exponent: float) -> Curve:
    """Return the curve V → V^exponent, odd about 0."""

    def decode(encoded: Values) -> Values:
        return np.copysign(np.abs(encoded) ** exponent, encoded)

    return linear_curve if exponent == 1 else decode


def linear_curve(encoded: Values) -> Values:
    """Give values of any shape and range back."""
    return encoded


def rec709_curve(encoded: Values) -> Values:
    """Invert the camera curve of Rec. 709 and Rec. 2020: encoded values of any shape, [0, 1] to [0, 1]."""
    alpha, beta = 1.099296826809442, 0.018053968510807
    size = np.abs(encoded)
    power = ((size + (alpha - 1)) / alpha) ** (1 / 0.45)
    return np.copysign(np.where(size < 4.5 * beta, size / 4.5, power), encoded).astype(encoded.dtype)


def smpte240_curve(encoded: Values) -> Values:
    """Invert the camera curve of SMPTE 240M: encoded values of any shape, [0, 1] to [0, 1]."""
    power = ((encoded.clip(min=0) + 0.1115) / 1.1115) ** (1 / 0.45)
    return np.where(encoded < 0.0913, encoded / 4, power).astype(encoded.dtype)


def log_curve(decades: float) -> Curve:
    """Return the inverse of a logarithm over so many decades; 0 is black."""

    def decode(encoded: Values) -> Values:
        return np.where(encoded > 0, 10.0 ** (decades * (encoded - 1)), 0).astype(encoded.dtype)

    return decode


def dci_curve(encoded: Values) -> Values:
    """Invert the curve of SMPTE 428 (digital cinema): encoded values of any shape, [0, 1] to linear light."""
    return (encoded.clip(min=0) ** 2.6 * (52.37 / 48)).astype(encoded.dtype)


def pq_curve(encoded: Values) -> Values:
    """Turn perceptually quantised values in [0, 1], of any shape, into light in cd/m².

    Source: SMPTE ST 2084; ITU-R BT.2100, table 4.
    """
    root = encoded.clip(0, 1) ** (1 / _PQ_M2)
    return PQ_PEAK * ((root - _PQ_C1).clip(min=0) / (_PQ_C2 - _PQ_C3 * root)) ** (1 / _PQ_M1)


def pq_encode(light: Values) -> Values:
    """Invert `pq_curve`: light in cd/m², cut to 0..10,000, to values in [0, 1]."""
    powered = (light / PQ_PEAK).clip(0, 1) ** _PQ_M1
    encoded: Values = ((_PQ_C1 + _PQ_C2 * powered) / (1 + _PQ_C3 * powered)) ** _PQ_M2
    return encoded


def hlg_scene_light(encoded: Values) -> Values:
    """Turn hybrid log-gamma values into scene light in [0, 1].

    Source: ITU-R BT.2100, table 5.
    """
    low, high = encoded.clip(0, 0.5), encoded.clip(0.5, 1)
    return np.where(encoded <= 0.5, low**2 / 3, (np.exp((high - _HLG_C) / _HLG_A) + _HLG_B) / 12)


def hlg_encode(scene: Values) -> Values:
    """Invert `hlg_scene_light`: scene light in [0, 1] to values in [0, 1]."""
    logarithm = _HLG_A * np.log(12 * scene.clip(min=1 / 12) - _HLG_B) + _HLG_C
    encoded: Values = np.where(scene <= 1 / 12, np.sqrt(3 * scene.clip(min=0)), logarithm)
    return encoded.astype(scene.dtype)


def hlg_curve(primaries: Primaries) -> Curve:
    """Return the curve from hybrid log-gamma to light in cd/m² on a display of 1000 cd/m².

    Its system gamma of 1.2 acts on the luminance, for which it needs the primaries.

    Source: ITU-R BT.2100, table 5.
    """
    weights = to_xyz(primaries)[1]

    def decode(encoded: Values) -> Values:
        scene = hlg_scene_light(encoded).astype(encoded.dtype)
        shown = (scene @ weights.astype(scene.dtype)).clip(min=0) ** 0.2
        light: Values = HLG_PEAK * shown[..., None] * scene
        return light

    return decode


# --------------------------------------------------------------------------------------- code points

CODED_PRIMARIES = {
    1: REC709,
    4: Primaries((0.67, 0.33), (0.21, 0.71), (0.14, 0.08), (0.310, 0.316)),
    5: Primaries((0.64, 0.33), (0.29, 0.60), (0.15, 0.06), D65),
    6: Primaries((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), D65),
    7: Primaries((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), D65),
    8: Primaries((0.681, 0.319), (0.243, 0.692), (0.145, 0.049), (0.310, 0.316)),
    9: REC2020,
    10: XYZ,
    11: Primaries(P3.red, P3.green, P3.blue, (0.314, 0.351)),
    12: P3,
    22: Primaries((0.630, 0.340), (0.295, 0.605), (0.155, 0.077), D65),
}
"""Primaries by their code points; 2 is unspecified, others are reserved. Source: ITU-T H.273, table 2."""

PQ_CODE, HLG_CODE = 16, 18
CODED_CURVES: dict[int, Curve] = {
    **dict.fromkeys((1, 6, 11, 12, 14, 15), rec709_curve),
    4: gamma_curve(2.2),
    5: gamma_curve(2.8),
    7: smpte240_curve,
    8: linear_curve,
    9: log_curve(2.0),
    10: log_curve(2.5),
    13: srgb_decode,
    PQ_CODE: pq_curve,
    17: dci_curve,
}
"""Curves by their code points, but for hybrid log-gamma's. Source: ITU-T H.273, table 3."""


# ------------------------------------------------------------------------------------ outside a space


def split_gamut(light: NDArray[np.float32], most: float = np.inf) -> tuple[NDArray[Any], NDArray[Any]]:
    """Split linear pixels [H, W, 3] into what lies in 0..most and the rest, for `with_outside`."""
    inside = light.clip(0, most)
    return inside, light - inside


def with_outside(
    result: NDArray[np.float32], inside: NDArray[np.float32], outside: NDArray[Any]
) -> NDArray[np.float32]:
    """Give a result the colours back that lay outside the space it was made in.

    What was cut is scaled as the luminance was: an image that was merely made brighter comes out as if
    nothing had been cut, and pixels that lay inside stay as they are.

    Args:
        result: What was made of `inside`, linear Rec. 709 [H, W, 3].
        inside: What it was made of, linear Rec. 709 [H, W, 3].
        outside: What had been taken off, linear Rec. 709 [H, W, 3].

    Returns:
        Linear Rec. 709 [H, W, 3]; values may be negative.
    """
    before = luminance(inside)
    gain = np.divide(luminance(result), before, out=np.zeros_like(before), where=before > 0)
    whole: NDArray[np.float32] = result + outside.astype(np.float32) * gain[..., None]
    return whole
