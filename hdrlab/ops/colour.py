"""Linear RGB with Rec. 709 primaries and white D65: the sRGB curve, luminance and its log-average.

Functions take NumPy arrays [..., 3] or tensors [B, 3, H, W], as the rest of the package does, and keep the
dtype. The module imports no torch, so that readers and classical operators stay light.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Values = TypeVar("Values", NDArray[Any], "Tensor")
Pixels = NDArray[np.float32]

LUMINANCE_WEIGHTS = (0.212656, 0.715158, 0.072186)
"""What red, green and blue contribute to luminance."""

MIDDLE_GREY = 0.18
"""Where exposures put the average: the reflectance of a grey card."""


def srgb_encode(x_lin: Values) -> Values:
    """Encode linear values with the sRGB curve.

    Args:
        x_lin: Linear values of any shape, nominally in [0, 1]; values outside follow the same formula.

    Returns:
        Display-encoded values of the same shape.

    Source: IEC 61966-2-1.
    """
    # The limit keeps the power's infinite slope at 0 out of the gradient of the linear branch.
    power = 1.055 * x_lin.clip(min=0.0031308) ** (1 / 2.4) - 0.055
    return _where(x_lin <= 0.0031308, 12.92 * x_lin, power)


def srgb_decode(x_srgb: Values) -> Values:
    """Linearise values that were encoded with the sRGB curve.

    Args:
        x_srgb: Display-encoded values of any shape, nominally in [0, 1].

    Returns:
        Linear values of the same shape.

    Source: IEC 61966-2-1.
    """
    power = ((x_srgb.clip(min=0.04045) + 0.055) / 1.055) ** 2.4
    return _where(x_srgb <= 0.04045, x_srgb / 12.92, power)


def srgb_light() -> Pixels:
    """Return the linear light of each 8-bit sRGB level, [256]: ``srgb_light()[photograph]`` decodes one."""
    return srgb_decode(np.arange(256) / 255).astype(np.float32)


def srgb_levels(x_lin: NDArray[Any]) -> NDArray[np.uint8]:
    """Encode linear values of any shape, cut to [0, 1], as 8-bit sRGB levels."""
    levels: NDArray[np.uint8] = np.rint(srgb_encode(x_lin.clip(0, 1)) * 255).astype(np.uint8)
    return levels


def luminance(rgb_lin: Values) -> Values:
    """Weigh linear RGB to luminance.

    Args:
        rgb_lin: An array [..., 3] or a tensor [B, 3, H, W], in any unit.

    Returns:
        Luminance [...] of an array, [B, 1, H, W] of a tensor, in the same unit.

    Raises:
        ValueError: The channel axis does not have size 3.
    """
    if isinstance(rgb_lin, np.ndarray):
        _require(rgb_lin.shape[-1] == 3, "[..., 3]", rgb_lin.shape)
        weights = np.array(LUMINANCE_WEIGHTS, np.promote_types(rgb_lin.dtype, np.float32))
        light: NDArray[Any] = rgb_lin @ weights
        return light
    _require(rgb_lin.ndim == 4 and rgb_lin.shape[1] == 3, "[B, 3, H, W]", rgb_lin.shape)
    return (rgb_lin * rgb_lin.new_tensor(LUMINANCE_WEIGHTS).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)


def least_sample(rgb: NDArray[Any]) -> NDArray[Any]:
    """Return the least channel [...] of pixels [..., 3] of any range: ``min(axis=-1)``, but faster."""
    return np.asarray(np.minimum(np.minimum(rgb[..., 0], rgb[..., 1]), rgb[..., 2]))


def greatest_sample(rgb: NDArray[Any]) -> NDArray[Any]:
    """Return the greatest channel [...] of pixels [..., 3] of any range, see `least_sample`."""
    return np.asarray(np.maximum(np.maximum(rgb[..., 0], rgb[..., 1]), rgb[..., 2]))


def log_average(light: Pixels) -> float:
    """Return the geometric mean of a luminance of any shape over what holds light; 1 where nothing does.

    Source: Reinhard et al., "Photographic Tone Reproduction for Digital Images", 2002, equation 1. Leaving
    black pixels out instead of adding a small number keeps it proportional to the unit, and independent of
    how much of an image is masked.
    """
    lit = light[light > 0]
    return float(np.exp(np.mean(np.log(lit), dtype=np.float64))) if lit.size else 1.0


def expose(rgb_lin: Pixels, average: float) -> Pixels:
    """Scale linear pixels [H, W, 3] so that the log-average of their luminance is the one given."""
    exposed: Pixels = rgb_lin * np.float32(average / log_average(luminance(rgb_lin)))
    return exposed


def with_luminance(rgb_lin: Pixels, light: Pixels, wanted: NDArray[Any]) -> Pixels:
    """Give linear pixels another luminance, their chromaticity kept; black ones stay black.

    Args:
        rgb_lin: Linear pixels [H, W, 3].
        light: Their luminance [H, W], in any unit.
        wanted: The luminance to give them [H, W], at least 0.

    Returns:
        Linear pixels [H, W, 3] in the unit of ``wanted``.
    """
    ratio: Pixels = np.divide(wanted, light, out=np.zeros_like(light), where=light > 0)
    return rgb_lin * ratio[..., None]


def _require(fits: bool, wanted: str, shape: tuple[int, ...]) -> None:
    if not fits:
        raise ValueError(f"luminance needs RGB {wanted}, not {list(shape)}")


def _where(condition: Values, first: Values, second: Values) -> Values:
    if isinstance(condition, (np.ndarray, np.generic)):  # what has no axes becomes a scalar
        return np.where(condition, first, second)
    return first.where(condition, second)
