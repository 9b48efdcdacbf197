"""Scale: alignment of a test image to its reference, clipped pixels, and the photometric anchor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from hdrlab.metrics.inputs import Array, as_images, as_weights
from hdrlab.ops.colour import luminance

DisplayMode = Literal["display", "wide"]

PEAK_LUMINANCE: dict[str, float] = {"display": 1_000.0, "wide": 10_000.0}
"""Where each display mode clips, in cd/m²."""

ANCHOR_LUMINANCE = 20.0
"""The luminance in cd/m² at which the reference's median is placed."""

CLIP_THRESHOLD = 249 / 255
"""The code from which a pixel of an 8-bit image counts as clipped."""


def clipped_mask(ldr: Array, threshold: float = CLIP_THRESHOLD) -> Tensor:
    """Mark the pixels whose largest channel reaches the threshold.

    Args:
        ldr: Display-encoded images [B, 3, H, W] in [0, 1], in steps of 1/255.
        threshold: The smallest clipped value.

    Returns:
        Boolean mask [B, 1, H, W].

    Raises:
        ValueError: The shape is not that of images, or values are integers.
    """
    (ldr,) = as_images(ldr)
    return ldr.amax(dim=1, keepdim=True) >= threshold


def alignment_mask(ldr: Array, reference: Array | None = None, clip_point: float | None = None) -> Tensor:
    """Mark the pixels that may rule the scale: those the input did not clip.

    Args:
        ldr: Display-encoded input [B, 3, H, W] in [0, 1].
        reference: Linear reference of the same shape; with `clip_point` it finds the clipped pixels whose
            code JPEG has lowered below the threshold.
        clip_point: The reference value at which the camera clipped, where that is known.

    Returns:
        Boolean mask [B, 1, H, W].

    Raises:
        ValueError: Shapes do not fit, values are integers, or only one of reference and clip_point is given.
    """
    unclipped = ~clipped_mask(ldr)
    if reference is None and clip_point is None:
        return unclipped
    if reference is None or clip_point is None:
        raise ValueError("reference and clip_point are given together or not at all")
    (reference, _) = as_images(reference, ldr)
    return unclipped & (reference.amax(dim=1, keepdim=True) < clip_point)


def align_scale(test: Array, reference: Array, mask: Array | None = None) -> Tensor:
    """Find the factor that brings test images closest to their references, Σ test·reference / Σ test².

    Args:
        test: Linear images [B, C, H, W].
        reference: The same shape and domain.
        mask: Pixels to fit on, [B, 1, H, W], 0 or 1; None takes all.

    Returns:
        Factor [B] to multiply the test images by, in any unit; 1 where these are black.

    Raises:
        ValueError: Shapes do not fit, or values are integers.
    """
    test, reference = as_images(test, reference)
    if mask is not None:
        keep = as_weights(mask, test) > 0
        test, reference = torch.where(keep, test, 0), torch.where(keep, reference, 0)
    product = (test * reference).sum(dim=(1, 2, 3), dtype=torch.float64)
    square = test.square().sum(dim=(1, 2, 3), dtype=torch.float64)
    return torch.where(square == 0, 1, product / square).to(test.dtype)


@dataclass(frozen=True)
class Display:
    """Brings relative images to absolute luminance, as one display shows all of them.

    Attributes:
        factor: cd/m² per unit of the images, [B].
        peak: Where the display clips, in cd/m².
    """

    factor: Tensor
    peak: float

    def __call__(self, image: Array) -> Tensor:
        """Scale and clip.

        Args:
            image: Linear images [B, C, H, W] in the unit of the reference that set the factor.

        Returns:
            Absolute images [B, C, H, W] in cd/m², from 0 to the peak.

        Raises:
            ValueError: The shape is not that of images, or values are integers.
        """
        (image,) = as_images(image)
        return (image * self.factor.to(image).view(-1, 1, 1, 1)).clamp(0, self.peak)


def anchor_luminance(
    reference: Array, mode: DisplayMode = "display", median_cd: float = ANCHOR_LUMINANCE
) -> Display:
    """Set a display so that the median luminance of each reference lies at a number of cd/m².

    Where more than half of an image is black, the median is that of the other pixels.

    Args:
        reference: Linear RGB [B, 3, H, W], in any unit.
        mode: `display` clips at 1,000 cd/m², `wide` at 10,000.
        median_cd: The median's place in cd/m².

    Returns:
        The display for reference and test alike; NaN is all it shows where a reference is black.

    Raises:
        ValueError: The mode is unknown, the shape is not that of RGB images, or values are integers.
    """
    if mode not in PEAK_LUMINANCE:
        raise ValueError(f"display mode {mode!r} is unknown: use one of {', '.join(PEAK_LUMINANCE)}")
    (reference,) = as_images(reference)
    medians = torch.stack([_median_luminance(values) for values in luminance(reference).flatten(start_dim=1)])
    return Display(median_cd / medians, PEAK_LUMINANCE[mode])


def _median_luminance(values: Tensor) -> Tensor:
    """Return the median of [N] values, or that of the positive ones where it is 0."""
    median = _middle(values)
    return _middle(values[values > 0]) if median <= 0 else median


def _middle(values: Tensor) -> Tensor:
    # torch.median returns the lower of two middle values, and of the negated values the upper one.
    return (values.median() - (-values).median()) / 2
