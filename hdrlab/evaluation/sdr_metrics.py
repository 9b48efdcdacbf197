"""What is measured of a tone-mapped image, and the images that operators are compared on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdrlab.config.schema.data import TinyConfig, TonePairsConfig
from hdrlab.config.schema.iqatm import ToneConfig
from hdrlab.datasets.index import Index, ToneImage
from hdrlab.datasets.tmo_pairs import ToneValidation, usable
from hdrlab.errors import EvaluationError, ImageSizeError
from hdrlab.evaluation.benchmark import Floats, Pixels, unfit
from hdrlab.evaluation.photographs import without_folder
from hdrlab.losses import chroma_loss, hue_loss
from hdrlab.metrics import TMQI_MIN_SIDE, NiqeModel, fsitm, niqe, tmqi, tmqi2_structure
from hdrlab.metrics.external import ExternalMetric
from hdrlab.metrics.names import Metric
from hdrlab.metrics.niqe import NIQE_BLOCK
from hdrlab.ops.windows import local_statistics, ssim_map

BASELINE = "gamma"
"""Linear light under the display's encoding: the operator that does nothing but expose."""

KEYS = ("hdr", "sdr", "labelled", "mask")

METRICS = (
    Metric(
        "tmqi", "TMQI", "", "quality Q from structure and naturalness, in [0, 1]; compare within one program"
    ),
    Metric("ssim_sdr", "SSIM to SDR", "", "SSIM to the SDR image of the data, where there is one"),
    Metric("fsitm", "FSITM", "", "local phase that agrees with the HDR image's, mean of R, G and B"),
    Metric(
        "hue_sdr",
        "hue error",
        "rad",
        "mean absolute difference of hue in IPT to the SDR image of the data, 0 where either is grey",
        higher_is_better=False,
    ),
    Metric(
        "chroma_sdr",
        "chroma error",
        "",
        "mean absolute difference of chroma √(P² + T²) in IPT to the SDR image of the data: its saturation",
        higher_is_better=False,
    ),
    Metric("tmqi_s", "TMQI S", "", "structural fidelity of TMQI"),
    Metric("tmqi_n", "TMQI N", "", "naturalness of TMQI"),
    Metric("tmqi2_s", "TMQI-II S", "", "structural fidelity of TMQI-II; its naturalness is not computed"),
    Metric("fsitm_tmqi", "FSITM-TMQI", "", "mean of FSITM (R, G, B) and TMQI"),
)
HEADLINE = ("tmqi", "ssim_sdr", "fsitm", "tmqi2_s", "niqe")


def metrics(niqe_file: str | None = None) -> tuple[Metric, ...]:
    """Return what is measured; with the user's model, NIQE too."""
    if niqe_file is None:
        return METRICS
    text = f"distance from the statistics of pristine images by {niqe_file}; of images that are flat or "
    text += f"smaller than two blocks of {NIQE_BLOCK} pixels, failures among them, there is none"
    return (*METRICS, Metric("niqe", "NIQE", "", text, higher_is_better=False))


class ToneCase:
    """An HDR image, with its SDR image where it has one.

    Args:
        name: Unlike that of any other.
        scene: What several images may share.
        hdr: Linear light [1, 3, H, W], at least 0.
        sdr: Display-encoded SDR image, same shape, in [0, 1]; None where there is none.
        model: NIQE's, which is computed with one only.
        whole: Height and width of the image before it was cut to multiples of 8.
        rounded: Whether results are rounded to 8 bits before they are scored, as files of others are.
        extra: Metrics of plug-ins, of the result and the HDR image.
    """

    usable = True
    input: NDArray[np.uint8] | None = None

    def __init__(
        self,
        name: str,
        scene: str,
        hdr: Tensor,
        sdr: Tensor | None,
        model: NiqeModel | None = None,
        whole: tuple[int, int] | None = None,
        *,
        rounded: bool = False,
        extra: Sequence[ExternalMetric] = (),
    ) -> None:
        self.extra = extra
        self.name, self.scene, self.hdr, self.sdr, self.model = name, scene, hdr, sdr, model
        self.rounded = rounded
        self.whole = whole or (hdr.shape[-2], hdr.shape[-1])
        self.reference: Floats = hdr[0].permute(1, 2, 0).contiguous().numpy()
        self.facts: Mapping[str, float] = {}
        self.curves: Mapping[str, Floats] = {}

    def unfit(self, pixels: NDArray[Any]) -> str:
        """Say what keeps a result from being scored, or nothing."""
        return unfit(pixels, pixels.shape if self._fits(pixels) else self.reference.shape)

    @torch.inference_mode()
    def judge(self, pixels: NDArray[Any] | None) -> tuple[dict[str, float], Pixels]:
        """Score a display-encoded result [H, W, 3] in [0, 1], black for None; return it in 8 bits.

        A result that is cropped at the right and the bottom is compared with that part of the image.
        """
        shown = torch.zeros_like(self.hdr)
        if pixels is not None:
            rows = np.ascontiguousarray(pixels, np.float32)
            shown = torch.from_numpy(rows).permute(2, 0, 1)[None].clamp(0, 1)
            shown = (255 * shown).round() / 255 if self.rounded else shown
        hdr = self.hdr[..., : shown.shape[-2], : shown.shape[-1]]
        quality, phase = tmqi(hdr, shown), fsitm(hdr, shown).mean
        scores = {
            "tmqi": quality.q,
            "tmqi_s": quality.s,
            "tmqi_n": quality.n,
            "tmqi2_s": tmqi2_structure(hdr, shown),
            "fsitm": phase,
            "fsitm_tmqi": (phase + quality.q) / 2,
            **self._likeness(shown),
        }
        if self.model is not None:
            scores["niqe"] = _niqe(shown, self.model)
        for metric in self.extra:
            scores |= metric.score(shown, hdr)
        eight = np.rint(255 * shown[0].permute(1, 2, 0).numpy()).astype(np.uint8)
        return {name: float(value) for name, value in scores.items()}, eight

    def _fits(self, pixels: NDArray[Any]) -> bool:
        missing = [whole - own for whole, own in zip(self.reference.shape, pixels.shape, strict=False)]
        return pixels.ndim == 3 and missing[2] == 0 and all(0 <= one < 8 for one in missing)

    def _likeness(self, shown: Tensor) -> dict[str, Tensor | float]:
        """Compare with the SDR image of the data, in structure and colour; NaN where there is none."""
        if self.sdr is None:
            return dict.fromkeys(("ssim_sdr", "hue_sdr", "chroma_sdr"), float("nan"))
        label = self.sdr[..., : shown.shape[-2], : shown.shape[-1]]
        return {
            "ssim_sdr": ssim_map(local_statistics(shown, label)).mean(),
            "hue_sdr": hue_loss(shown, label),
            "chroma_sdr": chroma_loss(shown, label),
        }


def _niqe(shown: Tensor, model: NiqeModel) -> Tensor | float:
    try:
        return niqe(shown, model)
    except ImageSizeError:
        return float("nan")


class ToneCases:
    """The images of a split, whole, made one at a time.

    Args:
        data: The data section; its crop for validations and its encoding do not apply.
        index: Its index.
        split: train, val, test or all.
        num: How many, spread evenly; None takes all.
        model: NIQE's, where it is to be computed.
        rounded: Whether results are rounded to 8 bits before they are scored.
        extra: Metrics of plug-ins.

    Raises:
        EvaluationError: Images are smaller than the metrics need.
        DataError: There are none, or none with whole images.
    """

    def __init__(
        self,
        data: TinyConfig | TonePairsConfig,
        index: Index,
        split: str,
        num: int | None = None,
        model: NiqeModel | None = None,
        *,
        rounded: bool = False,
        extra: Sequence[ExternalMetric] = (),
    ) -> None:
        tone = ToneConfig(sdr_range="full")
        self.taken = ToneValidation(index, tone, split, num=num, keys=KEYS)
        self.model, self.rounded, self.extra = model, rounded, extra
        small = [p.file for p in usable(index, split, KEYS) if min(p.width, p.height) < TMQI_MIN_SIDE]
        if small:
            message = f"TMQI needs images of at least {TMQI_MIN_SIDE} pixels a side"
            raise EvaluationError(
                f"{message}; smaller: {', '.join(small[:3])}{' …' if len(small) > 3 else ''}"
            )

        self.all_labelled = all(not isinstance(p, ToneImage) or p.sdr for p in usable(index, split, KEYS))
        files = [
            str(PurePath(image.file).with_suffix(""))
            if isinstance(image, ToneImage)
            else f"{image.file}_{within:03d}"
            for image, within in self.taken.places
        ]
        self.stems = without_folder(files, "hdr")

    def __len__(self) -> int:
        return len(self.taken)

    def __getitem__(self, number: int, /) -> ToneCase:
        image, sample = self.taken.image(number), self.taken[number]
        sdr = sample["sdr"][None] if sample["labelled"].any() else None
        return ToneCase(
            self.stems[number],
            image.scene,
            sample["hdr"][None],
            sdr,
            self.model,
            (image.height, image.width),
            rounded=self.rounded,
            extra=self.extra,
        )
