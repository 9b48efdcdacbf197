"""What is measured of a reconstruction: names, conventions, and the figures of one result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdrlab.comparison.contest import ComparisonError, Floats, Judged, sized, why_unfit
from hdrlab.comparison.perceptual import Perceptual
from hdrlab.comparison.photographs import NamedPhotographs, Photograph
from hdrlab.metrics import (
    ANCHOR_LUMINANCE,
    CLIP_THRESHOLD,
    PEAK_LUMINANCE,
    PSNR_CAP,
    PU21_PEAK,
    DisplayMode,
    align_scale,
    alignment_mask,
    anchor_luminance,
    clipped_mask,
    crf_correct,
    log10_rmse,
    log_l1,
    ms_ssim_pu21,
    psnr,
    pu21_encode,
    ssim_pu21,
)
from hdrlab.ops.masks import highlight_mask
from hdrlab.ops.transfer import luminance, srgb_decode
from hdrlab.report.model import Column

MODES: tuple[DisplayMode, ...] = ("display", "wide")
VARIANTS = ("", "_corrected", "_unaligned")
REGIONS = ("clipped", "ramp", "rest")
"""Which part every picture."""
MASK = ("mask",)
"""Where pictures have masks of the user's, one more."""
MS_SSIM_LEAST_SIDE = 161
HEADLINE = (
    "psnr_pu21_display_corrected",
    "psnr_pu21_display",
    "psnr_pu21_wide@clipped",
    "rmse_log10@clipped",
    "ssim_pu21_display",
    "log_l1_aligned",
)
"""What the short tables show: each sees something else."""

_BASES = {
    "psnr_pu21": ("PU21-PSNR", "dB", f"R, G and B encoded one by one, peak {PU21_PEAK:.0f}"),
    "psnr_y_pu21": ("PU21-PSNR-Y", "dB", f"of luminance, peak {PU21_PEAK:.0f}"),
    "ssim_pu21": ("PU21-SSIM", "", f"of luminance, range {PU21_PEAK:.0f}, Gaussian window 11×11"),
    "ms_ssim_pu21": ("PU21-MS-SSIM", "", f"five scales of luminance, range {PU21_PEAK:.0f}"),
}
_SCALES = {
    "": "scale aligned on pixels that are not clipped",
    "_corrected": "scale aligned, then response corrected: 20 parameters fitted to the reference, an oracle",
    "_unaligned": "as the method left it, no scale fitted",
}
_PLACES = {
    "": "",
    "clipped": "; pixels whose largest channel is 249 or more",
    "ramp": "; unclipped pixels whose largest channel, linearised as sRGB, exceeds 0.88",
    "rest": "; all other pixels",
    "mask": "; the white pixels of data.masks",
}


def columns(extra: Sequence[Perceptual] = (), *, masked: bool = False) -> tuple[Column, ...]:
    """Return all columns of a comparison of reconstructions, the most telling first.

    Args:
        extra: Metrics of other packages.
        masked: Whether the pictures have masks of the user's.
    """
    made = {column.name: column for column in _columns((*REGIONS, *MASK) if masked else REGIONS)}
    made |= {column.name: column for metric in extra for column in metric.columns}
    return tuple(made[name] for name in dict.fromkeys((*HEADLINE, *made)))


def _columns(regions: tuple[str, ...]) -> Iterator[Column]:
    for mode in MODES:
        peak = f"{PEAK_LUMINANCE[mode]:.0f} cd/m²"
        shown = f"reference's median at {ANCHOR_LUMINANCE:.0f} cd/m², clipped at {peak}"
        for variant in VARIANTS:
            word = variant.replace("_", ", ")
            for base, (title, unit, said) in _BASES.items():
                for region in _regions(base, mode, variant, regions):
                    at = f"@{region}" if region else ""
                    convention = f"{said}; {shown}; {_SCALES[variant]}{_PLACES[region]}"
                    yield Column(f"{base}_{mode}{variant}{at}", f"{title} {mode}{word}", unit, convention)
    for region in ("", *regions):
        at, place = f"@{region}" if region else "", _PLACES[region]
        said = "mean |ℓ(test) − ℓ(reference)|, ℓ(x) = log(1 + 10x) / log 11, 1 = the photograph's white"
        yield Column(f"log_l1_aligned{at}", "Log-L1", "", f"{said}; {_SCALES['']}{place}", False)
        said = f"root mean squared difference of log10, reference's median at {ANCHOR_LUMINANCE:.0f} cd/m²"
        said += ", values below 0.005 cd/m² raised to it, nothing clipped above"
        yield Column(f"rmse_log10{at}", "RMSE log10", "", f"{said}; {_SCALES['']}{place}", False)


def _regions(base: str, mode: DisplayMode, variant: str, regions: tuple[str, ...]) -> tuple[str, ...]:
    """Say where a figure is measured; similarity is dear, and left out where it would tell nothing new."""
    if base.startswith("psnr"):
        return ("", *regions)
    if variant == "_unaligned" or (mode, variant) == ("wide", "_corrected"):
        return ()
    return ("", *regions) if (base, mode, variant) == ("ssim_pu21", "display", "") else ("",)


class PhotographCase:
    """A photograph with everything about it that does not depend on a method.

    Args:
        photograph: The photograph.
        extra: Metrics of other packages.

    Raises:
        ComparisonError: The reference holds no light, or the sizes of both differ.
    """

    def __init__(self, photograph: Photograph, extra: Sequence[Perceptual] = ()) -> None:
        self.photograph, self.extra = photograph, extra
        self.name, self.scene, self.usable = photograph.name, photograph.scene, photograph.usable
        self.input: NDArray[np.uint8] = photograph.ldr
        self.reference = photograph.reference
        if self.input.shape != self.reference.shape:
            sizes = " and ".join(sized(one.shape) for one in (self.input, self.reference))
            raise ComparisonError(f"{self.name}: the photograph and its reference differ in size, {sizes}")
        if not (np.isfinite(self.reference).all() and self.reference.max() > 0):
            raise ComparisonError(f"{self.name}: the reference holds no light, or values that are not finite")
        ldr = _batch(photograph.ldr) / 255
        self.true = _batch(photograph.reference)
        clip = photograph.clip_point
        known = () if clip is None else (self.true, clip)
        self.unclipped = alignment_mask(ldr, *known)
        plain = srgb_decode(ldr)
        self.white = float(self._scale(plain)) if clip is None else clip
        self.displays = {mode: anchor_luminance(self.true, mode) for mode in MODES}
        self.targets = {mode: display(self.true) for mode, display in self.displays.items()}
        clipped, ramp = clipped_mask(ldr, CLIP_THRESHOLD), highlight_mask(plain) > 0
        self.regions: dict[str, Tensor | None] = {"": None, "clipped": clipped}
        self.regions |= {"ramp": ramp & ~clipped, "rest": ~(ramp | clipped)}
        if photograph.mask is not None:
            self.regions["mask"] = torch.from_numpy(photograph.mask)[None, None]
        shares = {f"share_{name}": float(self._mask(name).float().mean()) for name in REGIONS[:2]}
        self.facts: Mapping[str, float] = {
            "white_cd_m2": self.white * float(self.displays["wide"].factor),
            **shares,
        }
        curve = photograph.inverse_curve
        self.curves: Mapping[str, Floats] = {} if curve is None else {"true": curve}

    def judge(self, pixels: NDArray[Any] | None) -> Judged:
        """Score a result [H, W, 3], linear on any scale; what cannot be scored counts as black."""
        reason = why_unfit(pixels, self.reference.shape)
        test = torch.zeros_like(self.true) if reason else _batch(np.asarray(pixels, np.float32))
        scale = self._scale(test)
        aligned = test * scale
        figures = dict(self._displayed({"": aligned, "_corrected": aligned, "_unaligned": test}))
        factor = self.displays["wide"].factor.view(1, 1, 1, 1)
        for region, mask in self.regions.items():
            at = f"@{region}" if region else ""
            logs = log_l1(aligned / self.white, self.true / self.white, mask)
            figures[f"log_l1_aligned{at}"] = float(logs)
            figures[f"rmse_log10{at}"] = float(log10_rmse(aligned * factor, self.true * factor, mask))
        for metric in self.extra:
            figures |= metric.score(aligned * factor, self.true * factor)
        shown = None if reason else aligned[0].permute(1, 2, 0).contiguous().numpy()
        return Judged(figures | {"scale": float(scale)}, shown, reason)

    def _displayed(self, variants: Mapping[str, Tensor]) -> Iterator[tuple[str, float]]:
        for mode, display in self.displays.items():
            true = self.targets[mode]
            for variant, picture in variants.items():
                shown = display(picture)
                if variant == "_corrected" and picture.any():  # black stays black: nothing is to be corrected
                    shown = crf_correct(shown, true).clamp(max=display.peak)
                for base in _BASES:
                    for region in _regions(base, mode, variant, tuple(self.regions)[1:]):
                        at = f"@{region}" if region else ""
                        value = self._figure(base, mode, shown, self.regions[region])
                        yield f"{base}_{mode}{variant}{at}", value

    def _figure(self, base: str, mode: DisplayMode, shown: Tensor, mask: Tensor | None) -> float:
        true = self.targets[mode]
        if base == "psnr_pu21":
            value = psnr(pu21_encode(shown), self._encoded[mode], PU21_PEAK, mask)
        elif base == "psnr_y_pu21":
            value = psnr(pu21_encode(luminance(shown)), self._encoded_y[mode], PU21_PEAK, mask)
        elif base == "ssim_pu21":
            value = ssim_pu21(shown, true, mask)
        elif min(true.shape[-2:]) < MS_SSIM_LEAST_SIDE:
            return float("nan")
        else:
            value = ms_ssim_pu21(shown, true)
        return min(float(value), PSNR_CAP)

    @cached_property
    def _encoded(self) -> dict[DisplayMode, Tensor]:
        return {mode: pu21_encode(true) for mode, true in self.targets.items()}

    @cached_property
    def _encoded_y(self) -> dict[DisplayMode, Tensor]:
        return {mode: pu21_encode(luminance(true)) for mode, true in self.targets.items()}

    def _scale(self, test: Tensor) -> Tensor:
        return align_scale(test, self.true, self.unclipped)

    def _mask(self, region: str) -> Tensor:
        mask = self.regions[region]
        assert mask is not None
        return mask


class PhotographCases:
    """The cases of photographs, made one at a time."""

    def __init__(self, photographs: NamedPhotographs, extra: Sequence[Perceptual] = ()) -> None:
        self.photographs, self.extra = photographs, extra

    @property
    def stems(self) -> Sequence[str]:
        """What other programs' results of each are called, without suffix."""
        return self.photographs.stems

    def __len__(self) -> int:
        return len(self.photographs)

    def __getitem__(self, number: int, /) -> PhotographCase:
        return PhotographCase(self.photographs[number], self.extra)


def _batch(pixels: NDArray[Any]) -> Tensor:
    rows = np.ascontiguousarray(np.asarray(pixels, np.float32).transpose(2, 0, 1))
    return torch.from_numpy(rows)[None]
