"""Image metrics as pure functions on tensors or arrays; one value per image.

A metric knows nothing of alignment or anchoring: these are functions of their own, applied before it.
"""

from __future__ import annotations

from hdrlab.errors import ImageSizeError, WeightsError
from hdrlab.metrics.fsitm import Fsitm, fsitm
from hdrlab.metrics.niqe import NiqeModel, fit_niqe, load_niqe_model, niqe, save_niqe_model
from hdrlab.metrics.photometry import (
    ANCHOR_LUMINANCE,
    CLIP_THRESHOLD,
    PEAK_LUMINANCE,
    Display,
    DisplayMode,
    align_scale,
    alignment_mask,
    anchor_luminance,
    clipped_mask,
)
from hdrlab.metrics.pixel import PSNR_CAP, log10_rmse, log_l1, log_l2, mean_psnr, psnr, psnr_mu
from hdrlab.metrics.pu21 import (
    PU21_PEAK,
    PU21Variant,
    ms_ssim_pu21,
    psnr_pu21,
    psnr_pu21_y,
    pu21_decode,
    pu21_encode,
    ssim_pu21,
)
from hdrlab.metrics.response_correction import ResponseCorrection, crf_correct
from hdrlab.metrics.response_curve import curve_mse
from hdrlab.metrics.ssim import MS_SSIM_MIN_SIDE, ms_ssim, ssim
from hdrlab.metrics.tmqi import TMQI_MIN_SIDE, Tmqi, tmqi, tmqi2_structure

__all__ = [
    "ANCHOR_LUMINANCE",
    "CLIP_THRESHOLD",
    "MS_SSIM_MIN_SIDE",
    "PEAK_LUMINANCE",
    "PSNR_CAP",
    "PU21_PEAK",
    "TMQI_MIN_SIDE",
    "Display",
    "DisplayMode",
    "Fsitm",
    "ImageSizeError",
    "NiqeModel",
    "PU21Variant",
    "ResponseCorrection",
    "Tmqi",
    "WeightsError",
    "align_scale",
    "alignment_mask",
    "anchor_luminance",
    "clipped_mask",
    "crf_correct",
    "curve_mse",
    "fit_niqe",
    "fsitm",
    "load_niqe_model",
    "log10_rmse",
    "log_l1",
    "log_l2",
    "mean_psnr",
    "ms_ssim",
    "ms_ssim_pu21",
    "niqe",
    "psnr",
    "psnr_mu",
    "psnr_pu21",
    "psnr_pu21_y",
    "pu21_decode",
    "pu21_encode",
    "save_niqe_model",
    "ssim",
    "ssim_pu21",
    "tmqi",
    "tmqi2_structure",
]
