"""Checks of the figures themselves, made before any score: one that fails stops the comparison."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from hdrlab.comparison.contest import ComparisonError, Floats
from hdrlab.comparison.figures import PhotographCase
from hdrlab.comparison.perceptual import Perceptual
from hdrlab.comparison.photographs import Photograph
from hdrlab.metrics import PSNR_CAP, anchor_luminance, crf_correct, psnr_pu21, pu21_encode
from hdrlab.ops.transfer import luminance

Gate = tuple[str, bool, str]
"""Name, whether it passed, what was seen."""

PU21_VALUES = {
    0.005: 0.0,
    0.01: 0.372232,
    0.1: 5.717074,
    1: 36.543911,
    10: 123.647484,
    100: 256.383897,
    203: 303.800226,
    1000: 420.096921,
    4000: 527.493901,
    10000: 595.393920,
}
"""Published PU21 codes (banding_glare) by luminance in cd/m²."""

_SIDE = 96


def check_figures(extra: Sequence[Perceptual] = ()) -> list[Gate]:
    """Make all checks.

    Args:
        extra: Metrics of other packages, which are checked too.

    Returns:
        The checks, all passed.

    Raises:
        ComparisonError: One failed: scores would mean nothing.
    """
    own = [_pu21_values(), *_identity_and_scale(), _tone_curve()]
    return passed([*own, *(_perfect(metric) for metric in extra)])


def passed(gates: list[Gate]) -> list[Gate]:
    """Return checks that have all passed.

    Raises:
        ComparisonError: One failed.
    """
    if failed := [f"{name}: {seen}" for name, good, seen in gates if not good]:
        raise ComparisonError(f"no score can be trusted here, a check failed: {'; '.join(failed)}")
    return gates


def scene() -> Floats:
    """Return a coloured scene [96, 144, 3] of soft light, fine texture and lamps; linear, median about 1."""
    draws = np.random.default_rng(0)
    y, x = np.mgrid[0:_SIDE, 0 : 3 * _SIDE // 2] / _SIDE
    waves = np.zeros((*x.shape, 3))
    for spread, sizes, channels in ((1.1, 3, 1), (0.35, 12, 1), (0.35, 4, 3)):
        for _ in range(6):
            angle, phase = draws.uniform(0, 2 * np.pi, 2)
            wave = np.sin(2 * np.pi * sizes * (x * np.cos(angle) + y * np.sin(angle)) + phase)
            waves += wave[..., None] * draws.normal(0, spread / 2, (1, 1, channels))
    lamps = sum(8 * np.exp(-400 * ((x - a) ** 2 + (y - b) ** 2)) for a, b in draws.uniform(0, 1, (3, 2)))
    return np.asarray(np.exp(waves) * (1 + np.asarray(lamps)[..., None]), np.float32)


def _pu21_values() -> Gate:
    made = pu21_encode(torch.tensor(list(PU21_VALUES), dtype=torch.float64))
    error = float((made - torch.tensor(list(PU21_VALUES.values()), dtype=torch.float64)).abs().max())
    return (
        "PU21 encodes as published",
        error < 1e-5,
        f"largest error {error:.1e} of {len(PU21_VALUES)} values",
    )


def _identity_and_scale() -> Iterator[Gate]:
    hdr = scene()
    clip = float(np.quantile(hdr, 0.95))
    ldr = np.rint(255 * np.clip(hdr / clip, 0, 1) ** (1 / 2.2)).astype(np.uint8)
    case = PhotographCase(Photograph("check", "check", ldr, hdr, clip_point=clip))
    same = case.judge(hdr).figures
    perfect = {"psnr": PSNR_CAP, "ssim": 1.0, "log_l1": 0.0, "rmse": 0.0}
    # The correction is a fit, which finds the identity up to rounding only.
    exact = {name: value for name, value in same.items() if "_corrected" not in name}
    wrong = [n for n, v in exact.items() for k, p in perfect.items() if n.startswith(k) and abs(v - p) > 1e-4]
    corrected = same["psnr_pu21_wide_corrected"]
    seen = f"off: {', '.join(wrong)}" if wrong else f"100 dB, SSIM 1, error 0; corrected {corrected:.1f} dB"
    yield "A perfect result scores perfectly", not wrong and corrected > 60, seen
    plain = np.minimum(hdr, clip)
    scores = [case.judge(np.asarray(plain * factor, np.float32)).figures for factor in (1, 0.0137)]
    kept = [name for name in scores[0] if name != "scale" and "_unaligned" not in name]
    error = max((abs(scores[0][n] - scores[1][n]) for n in kept if not np.isnan(scores[0][n])), default=1.0)
    yield "Scores do not depend on a result's scale", error < 1e-2, f"largest change {error:.1e}"


def _perfect(metric: Perceptual) -> Gate:
    picture, title = 20 * torch.from_numpy(scene()).permute(2, 0, 1)[None], metric.columns[0].title
    if metric.perfect is None:
        picture = picture.repeat(1, 1, 3, 3)  # room for the scales that the eye's channels need
        same, other = (metric.score(test, picture) for test in (picture, picture.clamp(max=40)))
        seen = ", ".join(f"{name} {same[name]:.4f} and {other[name]:.4f}" for name in same)
        return f"Equal pictures beat clipped ones in {title}", all(same[n] > other[n] for n in same), seen
    figures = metric.score(picture, picture)
    seen = ", ".join(f"{name} {value:.4f}" for name, value in figures.items())
    good = all(abs(value - metric.perfect) < 1e-3 for value in figures.values())
    return f"Equal pictures give {metric.perfect:g} in {title}", good, seen


def _tone_curve() -> Gate:
    """Correct a clipped picture and one under a tone curve, which turns their order (Hanji et al. 2022)."""
    hdr = torch.from_numpy(scene()).double().permute(2, 0, 1)[None]
    reference = anchor_luminance(hdr)(hdr)
    y = luminance(reference)
    toned = reference * _naka_rushton(y) / y
    clipped = reference.clamp(max=float(y.quantile(0.95)))
    before = [float(psnr_pu21(one, reference)) for one in (clipped, toned)]
    after = [float(psnr_pu21(crf_correct(one, reference), reference)) for one in (clipped, toned)]
    seen = (
        f"clipped {before[0]:.1f} dB, tone curve {before[1]:.1f}; corrected {after[0]:.1f} and {after[1]:.1f}"
    )
    turned = before[1] < before[0] and after[1] > max(40, after[0])
    return "Correction removes a tone curve and no clipping", turned, seen


def _naka_rushton(luminance_cd: Tensor) -> Tensor:
    powered = luminance_cd.sqrt()
    return 1000 * powered / (powered + math.sqrt(300))
