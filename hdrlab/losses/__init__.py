"""Loss terms as pure functions: masked per sample, divided by the batch size, never below float32."""

from __future__ import annotations

from hdrlab.losses.curve import CurveReduction, curve_loss
from hdrlab.losses.perceptual import perceptual_loss
from hdrlab.losses.pixel import l2_loss, log_l1_loss, total_variation_loss
from hdrlab.losses.reduction import masked_mean

__all__ = [
    "CurveReduction",
    "curve_loss",
    "l2_loss",
    "log_l1_loss",
    "masked_mean",
    "perceptual_loss",
    "total_variation_loss",
]
