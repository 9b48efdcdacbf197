"""The one list of validation figures, so that dashboards and tables outlive new stages."""

from __future__ import annotations

METRICS = {
    "psnr_c": "dB, dequantized C against the unquantised L, peak 1",
    "psnr_i": "dB, the photograph I against L: doing nothing",
    "psnr_b": "dB, linearized B against the clipped scene H_c, peak 1",
    "psnr_l": "dB, L against H_c: doing nothing",
    "psnr_srgb": "dB, L undone by the sRGB curve against H_c: assuming a standard camera",
    "curve_mse": "mean squared error of the inverse response curve over its 1024 samples",
    "curve_mse_srgb": "the same for the sRGB curve: assuming a standard camera",
    "log_l1": "mean absolute error of log(1+10x)/log 11, result against the scene H_t",
    "log_l1_input": "the same for the clipped input: doing nothing",
    "log_l1_srgb": "the same for the photograph undone by the sRGB curve: a plain guess",
    "psnr_pu21": "dB, PU21-PSNR of the result, display anchoring, peak 256",
    "psnr_pu21_input": "the same for the clipped input: doing nothing",
    "psnr_pu21_srgb": "the same for the photograph undone by the sRGB curve: a plain guess",
    "psnr_clipped": "dB, PU21-PSNR in clipped pixels, wide anchoring, peak 256",
    "psnr_clipped_input": "the same for the clipped input: doing nothing",
    "l1_layer": "mean absolute error of a layer against the SDR picture's",
    "l1_layer_input": "the same for the HDR picture's layer: doing nothing",
    "tmqi": "TMQI of the tone-mapped picture, structure and naturalness, in [0, 1]",
    "tmqi_input": "the same for the encoded HDR picture, clipped and under a power: doing nothing",
    "tmqi_sdr": "the same for the SDR picture of the data: what the net learns from",
    "ssim_sdr": "SSIM of the tone-mapped picture to the SDR picture of the data",
    "ssim_sdr_input": "the same for the encoded HDR picture: doing nothing",
}

HIGHER_IS_BETTER = ("psnr", "tmqi", "ssim")
"""What names of figures begin with that a good picture raises; it lowers all others."""


def better(name: str) -> str:
    """Say which end of a figure or loss term is the good one, ``max`` or ``min``."""
    return "max" if name.startswith(HIGHER_IS_BETTER) else "min"
