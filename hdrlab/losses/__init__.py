"""Loss terms as pure functions: masked per sample, divided by the batch size, never below float32."""

from __future__ import annotations

from hdrlab.errors import ImageSizeError
from hdrlab.losses.colour import Gamut, chroma_loss, delta_e_itp_loss, hue_loss
from hdrlab.losses.curve import CurveReduction, curve_log_error, curve_loss
from hdrlab.losses.perceptual import perceptual_loss, tone_perceptual_loss
from hdrlab.losses.pixel import highlight_loss, l1_loss, l2_loss, log_l1_loss, total_variation_loss
from hdrlab.losses.reduction import Form, masked_mean
from hdrlab.losses.similarity import multiscale_ssim_loss, ssim_loss, tmqi_multiscale_loss, tmqi_ssim_loss

__all__ = [
    "CurveReduction",
    "Form",
    "Gamut",
    "ImageSizeError",
    "chroma_loss",
    "curve_log_error",
    "curve_loss",
    "delta_e_itp_loss",
    "highlight_loss",
    "hue_loss",
    "l1_loss",
    "l2_loss",
    "log_l1_loss",
    "masked_mean",
    "multiscale_ssim_loss",
    "perceptual_loss",
    "ssim_loss",
    "tmqi_multiscale_loss",
    "tmqi_ssim_loss",
    "tone_perceptual_loss",
    "total_variation_loss",
]
