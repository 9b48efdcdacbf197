"""What is measured of a reconstruction: names, conventions, and the scores of one result."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdrlab.errors import EvaluationError
from hdrlab.evaluation.benchmark import Floats, Pixels, Row, sized, unfit
from hdrlab.evaluation.photographs import Photograph
from hdrlab.metrics import (
    ANCHOR_LUMINANCE,
    CLIP_THRESHOLD,
    MS_SSIM_MIN_SIDE,
    PEAK_LUMINANCE,
    PSNR_CAP,
    PU21_PEAK,
    DisplayMode,
    ResponseCorrection,
    align_scale,
    alignment_mask,
    anchor_luminance,
    clipped_mask,
    ms_ssim,
    pu21_encode,
)
from hdrlab.metrics.external import ExternalMetric
from hdrlab.metrics.inputs import pixel_mean
from hdrlab.metrics.names import Metric
from hdrlab.metrics.ssim import mirrored_ssim
from hdrlab.ops.colour import luminance, srgb_decode
from hdrlab.ops.encoding import log_compress
from hdrlab.ops.masks import highlight_mask

BASELINE = "srgb"
"""The method that does nothing, which every other one is compared with."""
MODES: tuple[DisplayMode, ...] = ("display", "wide")
VARIANTS = ("", "_corrected", "_unaligned")
REGIONS = ("clipped", "ramp", "rest")
"""Which part every image."""
MASK = ("mask",)
"""Where images have masks of the user's, one more."""
FLOOR = 0.005
"""Smaller values count as this one in errors of logarithms, in cd/m²."""
HARM = 0.5
"""How many decibels below doing nothing, response corrected, an image counts as harmed."""
HEADLINE = (
    "psnr_pu21_display_corrected",
    "psnr_pu21_display",
    "harmed",
    "rmse_log10@clipped",
    "rmse_log10_y@clipped",
    "rmse_log10_c@clipped",
    "psnr_pu21_wide@clipped",
    "ssim_pu21_display",
    "log_l1_aligned",
)
"""What the short tables show, and all that is measured by default: each sees something else."""

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
_LOGS = {
    "log_l1_aligned": (
        "Log-L1",
        "mean |ℓ(test) − ℓ(reference)|, ℓ(x) = log(1 + 10x) / log 11, 1 = the photograph's white",
    ),
    "rmse_log10": ("RMSE log10", "root mean squared difference of log10 of R, G and B"),
    "rmse_log10_y": ("RMSE log10 luminance", "root mean squared difference of log10 of luminance"),
    "rmse_log10_c": (
        "RMSE log10 colour",
        "root mean squared difference of log10 of R, G and B, each divided by luminance",
    ),
}
_CD = (
    f"; reference's median at {ANCHOR_LUMINANCE:.0f} cd/m², values below {FLOOR} cd/m² raised to it, "
    "nothing clipped above"
)


class _Recipe(NamedTuple):
    """How a metric is made: of what, under which display, of which variant of the result, and where."""

    base: str
    mode: DisplayMode | None
    variant: str
    region: str


def metrics(
    extra: Sequence[ExternalMetric] = (), *, masked: bool = False, everything: bool = False
) -> tuple[Metric, ...]:
    """Return what is measured of reconstructions, the most telling first.

    Args:
        extra: Metrics of other packages.
        masked: Whether the images have masks of the user's.
        everything: All metrics, not the headline and its whole images and masks alone.
    """
    made = {metric.name: metric for metric, _ in _all((*REGIONS, *MASK) if masked else REGIONS)}
    made |= {metric.name: metric for one in extra for metric in one.metrics}
    names = dict.fromkeys((*HEADLINE, *made))
    if not everything:
        whole = {name.partition("@")[0] for name in HEADLINE}
        wanted = {*HEADLINE, *whole, *(f"{name}@mask" for name in whole), *_names(extra)}
        names = {name: None for name in names if name in wanted}
    return tuple(made[name] for name in names)


def _names(extra: Sequence[ExternalMetric]) -> Iterator[str]:
    return (metric.name for one in extra for metric in one.metrics)


def _all(regions: tuple[str, ...]) -> Iterator[tuple[Metric, _Recipe | None]]:
    for mode in MODES:
        peak = f"{PEAK_LUMINANCE[mode]:.0f} cd/m²"
        shown = f"reference's median at {ANCHOR_LUMINANCE:.0f} cd/m², clipped at {peak}"
        for variant in VARIANTS:
            word = variant.replace("_", ", ")
            for base, (title, unit, text) in _BASES.items():
                for region in _regions(base, mode, variant, regions):
                    convention = f"{text}; {shown}; {_SCALES[variant]}{_PLACES[region]}"
                    name = f"{base}_{mode}{variant}{_at(region)}"
                    metric = Metric(name, f"{title} {mode}{word}", unit, convention)
                    yield metric, _Recipe(base, mode, variant, region)
    for region in ("", *regions):
        for base, (title, text) in _LOGS.items():
            convention = f"{text}{_CD if base.startswith('rmse') else ''}; {_SCALES['']}{_PLACES[region]}"
            metric = Metric(f"{base}{_at(region)}", title, "", convention, higher_is_better=False)
            yield metric, _Recipe(base, None, "", region)
    text = f"share of images whose PU21-PSNR display, corrected, is more than {HARM} dB below doing nothing"
    text += "; 100 or 0 for each image"
    yield Metric("harmed", "Harmed", "%", text, higher_is_better=False), None


def _at(region: str) -> str:
    return f"@{region}" if region else ""


def _regions(base: str, mode: DisplayMode, variant: str, regions: tuple[str, ...]) -> tuple[str, ...]:
    """Say where a metric is measured; similarity is dear, and left out where it would tell nothing new."""
    if base.startswith("psnr"):
        return ("", *regions)
    if variant == "_unaligned" or (mode, variant) == ("wide", "_corrected"):
        return ()
    return ("", *regions) if (base, mode, variant) == ("ssim_pu21", "display", "") else ("",)


_RECIPES = {metric.name: recipe for metric, recipe in _all((*REGIONS, *MASK)) if recipe is not None}


def add_harm(rows: Sequence[Row]) -> None:
    """Say in the rows of a comparison which results are worse than doing nothing."""
    nothing = {row["image"]: row for row in rows if row["method"] == BASELINE}
    name = "psnr_pu21_display_corrected"
    for row in rows:
        row["harmed"] = 100.0 * (row[name] < nothing[row["image"]][name] - HARM)


class PhotographCase:
    """A photograph with everything about it that does not depend on a method.

    Args:
        photograph: The photograph.
        wanted: Names of the metrics to compute; None takes all.
        extra: Metrics of other packages.

    Raises:
        EvaluationError: The reference holds no light, or the sizes of both differ.
    """

    def __init__(
        self,
        photograph: Photograph,
        wanted: Collection[str] | None = None,
        extra: Sequence[ExternalMetric] = (),
    ) -> None:
        self.photograph, self.extra = photograph, extra
        self.name, self.scene, self.usable = photograph.name, photograph.scene, photograph.usable
        self.input: NDArray[np.uint8] = photograph.ldr
        self.reference = photograph.reference
        if self.input.shape != self.reference.shape:
            sizes = " and ".join(sized(one.shape) for one in (self.input, self.reference))
            raise EvaluationError(f"{self.name}: the photograph and its reference differ in size, {sizes}")
        if not (np.isfinite(self.reference).all() and self.reference.max() > 0):
            raise EvaluationError(f"{self.name}: the reference holds no light, or values that are not finite")
        ldr = _batch(photograph.ldr) / 255
        self.true = _batch(photograph.reference)
        clip = photograph.clip_point
        known = () if clip is None else (self.true, clip)
        self.unclipped = alignment_mask(ldr, *known)
        plain = srgb_decode(ldr)
        self.white = float(self._scale(plain)) if clip is None else clip
        self.displays = {mode: anchor_luminance(self.true, mode) for mode in MODES}
        self.factor = self.displays["wide"].factor.view(1, 1, 1, 1)
        clipped, ramp = clipped_mask(ldr, CLIP_THRESHOLD), highlight_mask(plain) > 0
        self.regions: dict[str, Tensor | None] = {"": None, "clipped": clipped}
        self.regions |= {"ramp": ramp & ~clipped, "rest": ~(ramp | clipped)}
        if photograph.mask is not None:
            self.regions["mask"] = torch.from_numpy(photograph.mask)[None, None]
        shares = {f"share_{name}": float(_some(self.regions[name]).float().mean()) for name in REGIONS[:2]}
        self.facts: Mapping[str, float] = {"white_cd_m2": self.white * float(self.factor), **shares}
        curve = photograph.inverse_curve
        self.curves: Mapping[str, Floats] = {} if curve is None else {"true": curve}
        self.views: dict[tuple[DisplayMode | None, str], dict[str, list[str]]] = defaultdict(
            lambda: defaultdict(list)
        )
        for name, recipe in _RECIPES.items():
            if recipe.region in self.regions and (wanted is None or name in wanted):
                self.views[recipe.mode, recipe.variant][recipe.base].append(recipe.region)

    def unfit(self, pixels: NDArray[Any]) -> str:
        """Say what keeps a result from being scored, or nothing."""
        return unfit(pixels, self.reference.shape)

    @torch.inference_mode()
    def judge(self, pixels: NDArray[Any] | None) -> tuple[dict[str, float], Pixels]:
        """Score a result [H, W, 3], linear on any scale, black for None; return it on the reference's."""
        test = torch.zeros_like(self.true) if pixels is None else _batch(pixels)
        scale = self._scale(test)
        aligned = test * scale
        scores = {"scale": float(scale)}
        for (mode, variant), bases in self.views.items():
            image = test if variant == "_unaligned" else aligned
            made = self._logs(image, bases) if mode is None else self._displayed(image, mode, variant, bases)
            scores |= made
        for metric in self.extra:
            scores |= metric.score(aligned * self.factor, self.true * self.factor)
        return scores, aligned[0].permute(1, 2, 0).contiguous().numpy()

    def _displayed(
        self, image: Tensor, mode: DisplayMode, variant: str, bases: Mapping[str, Sequence[str]]
    ) -> Iterator[tuple[str, float]]:
        """Measure a result as a display shows it, each map once for all regions."""
        display, target = self.displays[mode], self._target(mode)
        shown = display(image)
        if variant == "_corrected" and image.any():  # black stays black: nothing is to be corrected
            shown = self._correction(mode)(shown).clamp(max=display.peak)
        encoded_y = pu21_encode(luminance(shown)) if bases.keys() - {"psnr_pu21"} else shown
        for base, regions in bases.items():
            if base == "ms_ssim_pu21":
                small = min(shown.shape[-2:]) < MS_SSIM_MIN_SIDE
                values = [torch.nan if small else float(ms_ssim(encoded_y, target.y, PU21_PEAK))]
            elif base == "ssim_pu21":
                values = self._means(mirrored_ssim(encoded_y, target.y, PU21_PEAK), regions)
            else:
                pair = (pu21_encode(shown), target.rgb) if base == "psnr_pu21" else (encoded_y, target.y)
                errors = self._means((pair[0] - pair[1]).square(), regions)
                values = [float(10 * torch.log10(PU21_PEAK**2 / torch.tensor(e))) for e in errors]
            for region, value in zip(regions, values, strict=True):
                yield f"{base}_{mode}{variant}{_at(region)}", min(value, PSNR_CAP)

    def _logs(self, aligned: Tensor, bases: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, float]]:
        """Measure errors of logarithms of what is not clipped above."""
        maps = {}
        if "log_l1_aligned" in bases:
            maps["log_l1_aligned"] = (self._compressed(aligned) - self._true_compressed).abs()
        if bases.keys() - {"log_l1_aligned"}:
            error, error_y = (a - b for a, b in zip(self._log10(aligned), self._true_log10, strict=True))
            maps["rmse_log10"], maps["rmse_log10_y"] = error.square(), error_y.square()
            if "rmse_log10_c" in bases:
                maps["rmse_log10_c"] = (error - error_y).square()
        for base, regions in bases.items():
            for region, mean in zip(regions, self._means(maps[base], regions), strict=True):
                yield f"{base}{_at(region)}", mean**0.5 if base.startswith("rmse") else mean

    def _means(self, values: Tensor, regions: Sequence[str]) -> list[float]:
        return [float(pixel_mean(values, self.regions[region])) for region in regions]

    def _scale(self, test: Tensor) -> Tensor:
        return align_scale(test, self.true, self.unclipped)

    # What follows is of the reference, and made once.

    @cached_property
    def _targets(self) -> dict[DisplayMode, _Target]:
        return {}

    def _target(self, mode: DisplayMode) -> _Target:
        if mode not in self._targets:
            shown = self.displays[mode](self.true)
            self._targets[mode] = _Target(pu21_encode(shown), pu21_encode(luminance(shown)))
        return self._targets[mode]

    @cached_property
    def _corrections(self) -> dict[DisplayMode, ResponseCorrection]:
        return {}

    def _correction(self, mode: DisplayMode) -> ResponseCorrection:
        if mode not in self._corrections:
            self._corrections[mode] = ResponseCorrection(self.displays[mode](self.true))
        return self._corrections[mode]

    def _compressed(self, image: Tensor) -> Tensor:
        return log_compress((image / self.white).clamp(min=0))

    @cached_property
    def _true_compressed(self) -> Tensor:
        return self._compressed(self.true)

    def _log10(self, image: Tensor) -> tuple[Tensor, Tensor]:
        raised = (image * self.factor).clamp(min=FLOOR)
        return torch.log10(raised), torch.log10(luminance(raised))

    @cached_property
    def _true_log10(self) -> tuple[Tensor, Tensor]:
        return self._log10(self.true)


class _Target(NamedTuple):
    """The reference as a display shows it, encoded by PU21: R, G and B, and luminance."""

    rgb: Tensor
    y: Tensor


def _batch(pixels: NDArray[Any]) -> Tensor:
    rows = np.ascontiguousarray(np.asarray(pixels, np.float32).transpose(2, 0, 1))
    return torch.from_numpy(rows)[None]


def _some(mask: Tensor | None) -> Tensor:
    assert mask is not None
    return mask
