"""Colour differences: hue in IPT and ΔE in ICtCp, both with a power of 0.43 for the response of the cones."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from hdrlab.losses.reduction import (
    Form,
    full_precision,
    is_official,
    masked_mean,
    per_sample_mean,
    require_same_shape,
)

Gamut = Literal["709", "nikon_d2x", "601", "2020", "p3", "alexa"]
"""Primaries and white of an RGB image: those of a standard, or of a camera's own RGB."""

Matrix = tuple[tuple[float, float, float], ...]

TO_XYZ: dict[Gamut, Matrix] = {
    "709": ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505)),
    "nikon_d2x": ((0.4024, 0.4610, 0.0871), (0.1904, 0.7646, 0.0450), (-0.0249, 0.1264, 0.9873)),
    "601": ((0.607, 0.174, 0.200), (0.299, 0.587, 0.114), (0.0, 0.066, 1.116)),
    "2020": ((0.6370, 0.1446, 0.1689), (0.2627, 0.6780, 0.0593), (0.0, 0.0281, 1.0610)),
    "p3": ((0.4866, 0.2657, 0.1892), (0.2290, 0.6917, 0.0793), (0.0, 0.0451, 1.0439)),
    "alexa": (
        (0.638008, 0.214704, 0.097744),
        (0.291954, 0.823841, -0.115795),
        (0.002798, -0.067034, 1.153294),
    ),
}
"""From linear RGB to CIE XYZ. `nikon_d2x` is the camera of the Fairchild HDR survey."""

IPT_CONES: Matrix = ((0.4002, 0.7076, -0.0808), (-0.2263, 1.1653, 0.0457), (0.0, 0.0, 0.9182))
ITP_CONES: Matrix = ((0.3592, 0.6976, -0.0358), (-0.1922, 1.1004, 0.0755), (0.0070, 0.0749, 0.8434))
"""From XYZ to the cones' L, M, S."""

PT: Matrix = ((4.4550, -4.8510, 0.3960), (0.8056, 0.3572, -1.1628))
"""From L′, M′, S′ to IPT's red-green P and yellow-blue T."""

ITP: Matrix = ((0.5, 0.5, 0.0), (0.80685, -1.6617, 0.85485), (4.3780, -4.2455, -0.1325))
"""From L′, M′, S′ to I, ½ Ct, Cp."""

GREY = 0.01
"""Chroma √(P² + T²) below which a colour has no hue worth the name: a few 8-bit codes from grey."""


def hue_loss(
    prediction: Tensor,
    reference: Tensor,
    mask: Tensor | None = None,
    *,
    form: Form = "default",
    gamut: Gamut = "709",
    linearise: bool | None = None,
) -> Tensor:
    """Mean absolute difference of the hue angles in IPT: the reference needs no label.

    Args:
        prediction: Tone-mapped RGB [B, 3, H, W] with Rec. 709 primaries, display-encoded, in [0, 1].
        reference: The HDR image that was mapped, the same shape, range and encoding.
        mask: Weight ≥ 0 of each sample, [B] or [B, 1, 1, 1]; None uses all.
        form: `official` takes atan(P / T), which jumps where T changes its sign and gives greys the hue of
            their noise. `default` takes the angle between the colours, at most π, and 0 where one is grey.
        gamut: Primaries of the reference; the authors' data have `nikon_d2x`.
        linearise: Undo an encoding by the power of 1/2.2; None does so in the default form only. Images
            that are linear already need False.

    Returns:
        Scalar in radians, at least 0.

    Raises:
        ValueError: Shapes differ, a name is unknown, or the mask does not hold one value per sample.

    Source: Ebner and Fairchild, "Development and Testing of a Color Space (IPT) with Improved Hue
        Uniformity", 1998; IQATM, training code.
    """
    require_same_shape(prediction, reference)
    prediction, reference = full_precision(prediction, reference)
    official = is_official(form)
    linearise = not official if linearise is None else linearise
    a = _transform(_cones(prediction, "709", IPT_CONES, linearise), PT)
    b = _transform(_cones(reference, gamut, IPT_CONES, linearise), PT)
    difference = _official_hue(a) - _official_hue(b) if official else _angle(a, b)
    return masked_mean(per_sample_mean(difference.abs()), mask)


def chroma_loss(
    prediction: Tensor, target: Tensor, mask: Tensor | None = None, *, linearise: bool = True
) -> Tensor:
    """Mean absolute difference of the chroma √(P² + T²) in IPT: how far saturation is from the target's.

    Args:
        prediction: RGB images [B, 3, H, W] with Rec. 709 primaries, display-encoded, in [0, 1].
        target: The same shape and domain.
        mask: Weight ≥ 0 of each sample, [B] or [B, 1, 1, 1]; None uses all.
        linearise: Undo an encoding by the power of 1/2.2.

    Returns:
        Scalar ≥ 0.

    Raises:
        ValueError: Shapes differ, or the mask does not hold one value per sample.

    Source: Ebner and Fairchild, 1998, as `hue_loss`.
    """
    require_same_shape(prediction, target)
    a, b = (
        (_transform(_cones(x, "709", IPT_CONES, linearise), PT).square().sum(dim=1) + 1e-12).sqrt()
        for x in full_precision(prediction, target)
    )
    return masked_mean(per_sample_mean((a - b).abs()), mask)


def delta_e_itp_loss(
    prediction: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    *,
    form: Form = "default",
    linearise: bool | None = None,
) -> Tensor:
    """Mean colour difference ΔE-ITP without its factor of 720.

    Args:
        prediction: RGB images [B, 3, H, W] with Rec. 709 primaries, display-encoded, in [0, 1].
        target: The same shape and domain.
        mask: Weight ≥ 0 of each sample, [B] or [B, 1, 1, 1]; None uses all.
        form: `official` has a gradient of NaN where both are equal, `default` of 0.
        linearise: Undo an encoding by the power of 1/2.2; None does so in the default form only. Images
            that are linear already need False.

    Returns:
        Scalar ≥ 0.

    Raises:
        ValueError: Shapes differ, or the mask does not hold one value per sample.

    Source: ITU-R BT.2124, with the power of IQATM's training code instead of the perceptual quantiser.
    """
    require_same_shape(prediction, target)
    prediction, target = full_precision(prediction, target)
    official = is_official(form)
    linearise = not official if linearise is None else linearise
    a, b = (_transform(_cones(x, "709", ITP_CONES, linearise), ITP) for x in (prediction, target))
    square = (a - b).square().sum(dim=1)
    return masked_mean(per_sample_mean((square if official else square + 1e-12).sqrt()), mask)


def _cones(rgb: Tensor, gamut: Gamut, to_cones: Matrix, linearise: bool) -> Tensor:
    """Return the cones' responses L′, M′, S′ to RGB images [B, 3, H, W]."""
    if gamut not in TO_XYZ:
        raise ValueError(f"gamut {gamut!r} is unknown: choose one of {', '.join(get_args(Gamut))}")
    rgb_lin = rgb.clamp(min=0) ** 2.2 if linearise else rgb
    xyz = _transform(rgb_lin, TO_XYZ[gamut]).clamp(min=1e-6)
    # Saturated blue stimulates L less than nothing, and the power of a negative number is NaN.
    return (_transform(xyz, to_cones).clamp(min=1e-14) ** 0.43).clamp(min=1e-6)


def _transform(colours: Tensor, matrix: Matrix) -> Tensor:
    # Written out, since a product of matrices may be rounded to TF32 or half precision.
    first, second, third = colours.unbind(dim=1)
    return torch.stack([a * first + b * second + c * third for a, b, c in matrix], dim=1)


def _official_hue(pt: Tensor) -> Tensor:
    return torch.atan(pt[:, 0] / (pt[:, 1] + 1e-6))


def _angle(a: Tensor, b: Tensor) -> Tensor:
    """Return the signed angles between vectors [B, 2, H, W]; 0, without a gradient, where one is short."""
    grey = torch.minimum(a.square().sum(dim=1), b.square().sum(dim=1)) < GREY**2
    cross = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    dot = (a * b).sum(dim=1)
    return torch.atan2(torch.where(grey, 0, cross), torch.where(grey, 1, dot))
