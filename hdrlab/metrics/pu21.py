"""The PU21 encoding of absolute luminance, and PSNR and SSIM in it.

Values are absolute: a 1 means 1 cd/m². `hdrlab.metrics.photometry` brings relative images there.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from hdrlab.metrics.inputs import Array, as_images, as_tensor
from hdrlab.metrics.pixel import psnr
from hdrlab.metrics.ssim import ms_ssim, ssim
from hdrlab.ops.colour import luminance

PU21Variant = Literal["banding", "banding_glare", "peaks", "peaks_glare"]

PU21_PEAK = 256.0
"""Signal peak of the metrics: about the code of 100 cd/m², the convention of the authors' code.

With the code of 1,000 or of 10,000 cd/m² as the peak the same images score 4.30 or 7.33 dB higher.
"""

_LOWEST, _HIGHEST = 0.005, 10_000.0
_PARAMETERS: dict[str, tuple[float, ...]] = {
    "banding": (
        1.070275272, 0.4088273932, 0.153224308, 0.2520326168, 1.063512885, 1.14115047, 521.4527484,
    ),
    "banding_glare": (
        0.353487901, 0.3734658629, 8.277049286e-05, 0.9062562627, 0.09150303166, 0.9099517204, 596.3148142,
    ),
    "peaks": (
        1.043882782, 0.6459495343, 0.3194584211, 0.374025247, 1.114783422, 1.095360363, 384.9217577,
    ),
    "peaks_glare": (
        816.885024, 1479.463946, 0.001253215609, 0.9329636822, 0.06746643971, 1.573435413, 419.6006374,
    ),
}  # fmt: skip


def pu21_encode(luminance_cd: Array, variant: PU21Variant = "banding_glare") -> Tensor:
    """Encode absolute values so that equal steps are about equally visible.

    Args:
        luminance_cd: Luminance, or one colour channel, in cd/m², any shape; clamped to [0.005, 10000].
        variant: What the encoding was fitted to.

    Returns:
        PU21 values of the same shape, 0 to about 595 (`banding_glare`).

    Raises:
        ValueError: The variant is unknown, or values are integers.

    Source: Mantiuk and Azimi, "PU21: A novel perceptually uniform encoding for adapting existing quality
    metrics for HDR", 2021.
    """
    p1, p2, p3, p4, p5, p6, p7 = _parameters(variant)
    powered = as_tensor(luminance_cd).clamp(_LOWEST, _HIGHEST) ** p4
    return (p7 * (((p1 + p2 * powered) / (1 + p3 * powered)) ** p5 - p6)).clamp(min=0)


def pu21_decode(encoded: Array, variant: PU21Variant = "banding_glare") -> Tensor:
    """Invert `pu21_encode`.

    Args:
        encoded: PU21 values from 0 to about 595, any shape.
        variant: The one that was used to encode.

    Returns:
        Absolute values of the same shape in cd/m².

    Raises:
        ValueError: The variant is unknown, or values are integers.
    """
    p1, p2, p3, p4, p5, p6, p7 = _parameters(variant)
    root = (as_tensor(encoded) / p7 + p6).clamp(min=0) ** (1 / p5)
    return ((root - p1).clamp(min=0) / (p2 - p3 * root)) ** (1 / p4)


def psnr_pu21(test: Array, reference: Array, mask: Array | None = None) -> Tensor:
    """PSNR of the PU21-encoded channels, peak 256.

    Args:
        test: Absolute linear RGB [B, 3, H, W] in cd/m².
        reference: The same shape and domain.
        mask: Pixels to use, [B, 1, H, W], 0 or 1; None takes all.

    Returns:
        PSNR [B] in dB; infinite for equal images, NaN where a mask is empty.

    Raises:
        ValueError: Shapes do not fit, or values are integers.
    """
    test, reference = as_images(test, reference)
    return psnr(pu21_encode(test), pu21_encode(reference), peak=PU21_PEAK, mask=mask)


def psnr_pu21_y(test: Array, reference: Array, mask: Array | None = None) -> Tensor:
    """PSNR of the PU21-encoded luminance, peak 256.

    Args:
        test: Absolute linear RGB [B, 3, H, W] in cd/m².
        reference: The same shape and domain.
        mask: Pixels to use, [B, 1, H, W], 0 or 1; None takes all.

    Returns:
        PSNR [B] in dB, as in `psnr_pu21`.
    """
    encoded_test, encoded_reference = _encode_luminance(test, reference)
    return psnr(encoded_test, encoded_reference, peak=PU21_PEAK, mask=mask)


def ssim_pu21(test: Array, reference: Array, mask: Array | None = None) -> Tensor:
    """SSIM of the PU21-encoded luminance: range 256, Gaussian window 11×11 with σ = 1.5, borders mirrored.

    Args:
        test: Absolute linear RGB [B, 3, H, W] in cd/m², both sides ≥ 6.
        reference: The same shape and domain.
        mask: Window centres to use, [B, 1, H, W], 0 or 1; None takes all.

    Returns:
        SSIM [B], 1 for equal images; NaN where a mask is empty.

    Raises:
        ImageSizeError: A side is too short.
        ValueError: Shapes do not fit, or values are integers.
    """
    return ssim(*_encode_luminance(test, reference), PU21_PEAK, mask)


def ms_ssim_pu21(test: Array, reference: Array) -> Tensor:
    """Multi-scale SSIM (five scales) of the PU21-encoded luminance, windows as in `ssim_pu21`.

    Args:
        test: Absolute linear RGB [B, 3, H, W] in cd/m², both sides > 160.
        reference: The same shape and domain.

    Returns:
        MS-SSIM [B] in [0, 1], 1 for equal images.

    Raises:
        ImageSizeError: A side is too short.
        ValueError: Shapes do not fit, or values are integers.
    """
    return ms_ssim(*_encode_luminance(test, reference), PU21_PEAK)


def _encode_luminance(test: Array, reference: Array) -> tuple[Tensor, Tensor]:
    test, reference = as_images(test, reference)
    return pu21_encode(luminance(test)), pu21_encode(luminance(reference))


def _parameters(variant: str) -> tuple[float, ...]:
    if variant not in _PARAMETERS:
        raise ValueError(f"PU21 variant {variant!r} is unknown: use one of {', '.join(_PARAMETERS)}")
    return _PARAMETERS[variant]
