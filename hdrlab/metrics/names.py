"""Names of metrics: what a table says of one, and the one list of those that validations log."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """What a table says of a metric.

    Attributes:
        name: As in the CSV; what follows an ``@`` is the region it is measured on.
        title: Short, for the head of a table.
        unit: Such as "dB"; empty where there is none.
        convention: How it is measured, in a sentence or two.
        higher_is_better: Whether a larger score is the better one.
    """

    name: str
    title: str
    unit: str
    convention: str
    higher_is_better: bool = True

    @property
    def region(self) -> str:
        """Where in the image it is measured; empty for the whole image."""
        return self.name.partition("@")[2]

    @property
    def heading(self) -> str:
        """Title with region and unit, and an arrow towards the better scores."""
        region = f", {self.region}" if self.region else ""
        unit = f" ({self.unit})" if self.unit else ""
        return f"{self.title}{region}{unit} {'↑' if self.higher_is_better else '↓'}"


METRICS = {
    "psnr_c": "dB, dequantized C against the unquantised L, peak 1",
    "psnr_i": "dB, the photograph I against L: doing nothing",
    "psnr_b": "dB, linearized B against the clipped scene H_c, peak 1",
    "psnr_l": "dB, L against H_c: doing nothing",
    "psnr_srgb": "dB, L undone by the sRGB curve against H_c: assuming a standard camera",
    "curve_mse": "mean squared error of the inverse response curve over its 1024 samples",
    "curve_mse_srgb": "the same for the sRGB curve: assuming a standard camera",
    "curve_mse_average": "the same for the average camera's curve: one guess for all",
    "curve_log": "mean squared error of the inverse curve's logarithm at the image's levels, aligned",
    "curve_log_average": "the same for the average camera's curve: one guess for all",
    "log_l1": "mean absolute error of log(1+10x)/log 11, result against the scene H_t",
    "log_l1_input": "the same for the clipped input: doing nothing",
    "log_l1_srgb": "the same for the photograph undone by the sRGB curve: a plain guess",
    "psnr_pu21": "dB, PU21-PSNR of the result, display anchoring, peak 256",
    "psnr_pu21_input": "the same for the clipped input: doing nothing",
    "psnr_pu21_srgb": "the same for the photograph undone by the sRGB curve: a plain guess",
    "psnr_pu21_average": "the same for the average camera's curve: one guess for all",
    "psnr_aligned": "dB, PU21-PSNR of the result, its scale aligned on pixels that are not clipped",
    "psnr_aligned_average": "the same for the average camera's curve: one guess for all",
    "psnr_clipped": "dB, PU21-PSNR in clipped pixels, wide anchoring, peak 256",
    "psnr_clipped_input": "the same for the clipped input: doing nothing",
    "log10_clipped": "root mean squared error of log10 in clipped pixels",
    "log10_clipped_input": "the same for the clipped input: doing nothing",
    "log10_clipped_average": "the same for the average camera's curve: one guess for all",
    "l1_layer": "mean absolute error of a layer against the SDR image's",
    "l1_layer_input": "the same for the HDR image's layer: doing nothing",
    "tmqi": "TMQI of the tone-mapped image, structure and naturalness, in [0, 1]",
    "tmqi_input": "the same for the encoded HDR image, clipped and under a power: doing nothing",
    "tmqi_sdr": "the same for the SDR image of the data: what the net learns from",
    "ssim_sdr": "SSIM of the tone-mapped image to the SDR image of the data",
    "ssim_sdr_input": "the same for the encoded HDR image: doing nothing",
}

HIGHER_IS_BETTER = ("psnr", "tmqi", "ssim")
"""What names of metrics begin with that a good image raises; it lowers all others."""


def better(name: str) -> str:
    """Say which end of a metric or loss term is the good one, ``max`` or ``min``."""
    return "max" if name.startswith(HIGHER_IS_BETTER) else "min"
