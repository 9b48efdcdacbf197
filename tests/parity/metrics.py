"""Metrics beside published values and values worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import norm
from torch import Tensor

from hdrlab.metrics import (
    align_scale,
    curve_mse,
    fsitm,
    log10_rmse,
    log_l1,
    log_l2,
    ms_ssim,
    psnr,
    psnr_mu,
    psnr_pu21,
    psnr_pu21_y,
    pu21_encode,
    ssim,
    tmqi,
)
from hdrlab.metrics.hdrvdp import stretch

Pair = tuple[float, float]

PU21 = {
    0.005: 0.0, 0.01: 0.372232, 0.1: 5.717074, 1: 36.543911, 10: 123.647484, 100: 256.383897,
    203: 303.800226, 1000: 420.096921, 4000: 527.493901, 10000: 595.393920,
}  # fmt: skip
"""Luminance in cd/m² and its code of PU21, variant banding_glare."""

TMQI_THRESHOLDS = (1.32361, 0.932203, 1.128013, 1.731693, 2.893676)
"""Deviation that is seen half of the time at each of TMQI's five scales."""


@dataclass(frozen=True)
class Check:
    """One line of the table: hdrlab's value beside the expected one, and the largest difference allowed."""

    what: str
    source: str
    pairs: Callable[[], list[Pair]]
    tolerance: float

    def largest_difference(self) -> tuple[int, float]:
        """Return how many values were compared, and the largest difference."""
        pairs = self.pairs()
        return len(pairs), max(abs(ours - expected) for ours, expected in pairs)


def flat(*values: float, side: int = 16) -> Tensor:
    """Return one image [1, C, side, side], each channel of one value."""
    return torch.tensor(values, dtype=torch.float64).view(1, -1, 1, 1).expand(1, -1, side, side)


def _pu21() -> list[Pair]:
    codes = pu21_encode(torch.tensor(list(PU21), dtype=torch.float64)).tolist()
    return list(zip(codes, PU21.values(), strict=True))


def _psnr() -> list[Pair]:
    return [
        (psnr(flat(1.0), flat(0.9)).item(), 20.0),
        (psnr(flat(255.0), flat(229.5), peak=255).item(), 20.0),
        (psnr(flat(0.0), flat(1.0)).item(), 0.0),
    ]


def _logarithms() -> list[Pair]:
    return [
        (log_l1(flat(0.0), flat(0.1)).item(), math.log(2) / math.log(11)),
        (log_l2(flat(0.0), flat(1.0)).item(), math.log(256) ** 2),
        (log10_rmse(flat(0.1), flat(1.0)).item(), 1.0),
    ]


def _psnr_mu() -> list[Pair]:
    reference = torch.tensor([0.0, 1.0, 2.0, 4.0], dtype=torch.float64).view(1, 1, 2, 2)
    error = (1 - math.log(2501) / math.log(5001)) ** 2 / 4
    return [(psnr_mu(reference.clamp(max=2), reference).item(), -10 * math.log10(error))]


def _psnr_pu21() -> list[Pair]:
    reference, test = flat(100.0, 100.0, 100.0), flat(10.0, 100.0, 100.0)
    step = PU21[100] - PU21[10]
    grey = flat(10.0, 10.0, 10.0)
    return [
        (psnr_pu21(test, reference).item(), 10 * math.log10(256**2 / (step**2 / 3))),
        (psnr_pu21(grey, reference).item(), 20 * math.log10(256 / step)),
        (psnr_pu21_y(grey, reference).item(), 20 * math.log10(256 / step)),
    ]


def _ssim() -> list[Pair]:
    def brightness(a: float, b: float) -> float:
        return (2 * a * b + 1e-4) / (a * a + b * b + 1e-4)

    a, b = flat(0.2, side=176), flat(0.6, side=176)
    return [
        (ssim(a, b).item(), brightness(0.2, 0.6)),
        (ssim(a, a).item(), 1.0),
        (ms_ssim(a, b).item(), brightness(0.2, 0.6) ** 0.1333),
        (ms_ssim(a, a).item(), 1.0),
    ]


def _alignment() -> list[Pair]:
    test = torch.tensor([1.0, 2.0], dtype=torch.float64).view(1, 1, 1, 2)
    reference = torch.tensor([3.0, 5.0], dtype=torch.float64).view(1, 1, 1, 2)
    return [(align_scale(test, reference).item(), 13 / 5)]


def _curves() -> list[Pair]:
    ours = curve_mse(torch.tensor([[0.0, 1.0], [0.5, 1.0]]), torch.tensor([[0.0, 0.0], [0.5, 1.0]]))
    return list(zip(ours.tolist(), (0.5, 0.0), strict=True))


def _checkerboard(scale: int, side: int) -> Tensor:
    rows, columns = torch.meshgrid(*[torch.arange(side) // scale] * 2, indexing="ij")
    return 1 - 2 * ((rows + columns) % 2).double()


def _visibility() -> list[Pair]:
    """A checkerboard that one scale sees as such, against a flat HDR image: no covariance, contrast alone."""
    found = []
    for level, threshold in enumerate(TMQI_THRESHOLDS):
        sdr = (100 + 0.9 * threshold * _checkerboard(2**level, 352)).expand(1, 3, -1, -1) / 255
        seen_h, seen_l = norm.cdf(-3), norm.cdf(-0.3)
        expected = (2 * seen_h * seen_l + 0.01) / (seen_h**2 + seen_l**2 + 0.01)
        found.append((tmqi(torch.ones_like(sdr), sdr).levels[0, level].item(), float(expected)))
    return found


def _naturalness() -> list[Pair]:
    """The mean 115.94, and in each block of 61 and 60 pixels the deviation where the beta density peaks."""
    amplitude = 0.272 * 64.29 / math.sqrt((121 - 1 / 121) / 120)
    sdr = ((115.94 + amplitude * _checkerboard(1, 176)) / 255).expand(1, 3, -1, -1)
    return [(tmqi(sdr, sdr).n.item(), 1.0)]


def _fsitm() -> list[Pair]:
    """The codes are the logarithm of the HDR image: the same phases; and opposite ones in the negative."""
    codes = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 1, 65, 65))).double()
    codes[..., 0, 0], codes[..., 0, 1] = 0, 255
    codes = codes.expand(1, 3, -1, -1)
    hdr = torch.exp(codes / 20)
    same, opposite = fsitm(hdr, codes / 255), fsitm(hdr, 1 - codes / 255)
    return [(same.mean.item(), 1.0), (opposite.mean.item(), 0.0)]


def _stretch() -> list[Pair]:
    """Of 3000 values the third smallest becomes 1 and the third largest 999."""
    ours = stretch(np.arange(3000.0).reshape(10, 100, 3)).ravel()
    return [(float(ours[2]), 1.0), (float(ours[-3]), 999.0), (float(ours[0]), 1 - 2 * 998 / 2995)]


CHECKS = [
    Check("PU21 code", "published, Mantiuk and Azimi 2021", _pu21, 1e-5),
    Check("PU21-PSNR and PU21-PSNR-Y, dB", "by hand from the published codes", _psnr_pu21, 1e-5),
    Check("PSNR, dB", "by hand", _psnr, 1e-9),
    Check("μ-law PSNR, dB", "by hand", _psnr_mu, 1e-9),
    Check("log-L1, log-L2, log10 RMSE", "by hand", _logarithms, 1e-9),
    Check("SSIM and MS-SSIM of flat images", "by hand", _ssim, 1e-9),
    Check("scale of the alignment", "by hand", _alignment, 1e-9),
    Check("squared error of a curve", "by hand", _curves, 1e-9),
    Check("TMQI, visibility at five scales", "published thresholds, rest by hand", _visibility, 1e-4),
    Check("TMQI, naturalness at its peak", "published constants, rest by hand", _naturalness, 1e-9),
    Check("FSITM of an image and its negative", "by hand", _fsitm, 1e-9),
    Check("stretch before HDR-VDP-2", "by hand", _stretch, 1e-7),
]
