"""Tone-mapping operators compared: their pictures, what is measured of them, and who takes part."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePath
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdrlab.comparison.contest import ComparisonError, Contender, Floats, Judged, Outcome, why_unfit
from hdrlab.comparison.gates import Gate, passed, scene
from hdrlab.comparison.photographs import without_folder
from hdrlab.config.schema import TinyConfig, TmoPairsConfig
from hdrlab.datasets.index import Index, TonePicture
from hdrlab.datasets.tone import ToneValidation, usable
from hdrlab.losses import ssim_loss
from hdrlab.metrics import TMQI_MIN_SIDE, NiqeModel, PictureSizeError, fsitm, niqe, tmqi, tmqi2_structure
from hdrlab.metrics.niqe import NIQE_BLOCK
from hdrlab.operators import OPERATORS, OperatorError, tone_map_classically
from hdrlab.report.model import Column, Method

BASELINE = "gamma"
"""Linear light under the display's encoding: the operator that does nothing but expose."""

KEYS = ("hdr", "sdr", "labelled", "mask")

COLUMNS = (
    Column(
        "tmqi", "TMQI", "", "quality Q from structure and naturalness, in [0, 1]; compare within one program"
    ),
    Column("ssim_sdr", "SSIM to SDR", "", "SSIM to the SDR picture of the data, where there is one"),
    Column("fsitm", "FSITM", "", "local phase that agrees with the HDR picture's, mean of R, G and B"),
    Column("tmqi_s", "TMQI S", "", "structural fidelity of TMQI"),
    Column("tmqi_n", "TMQI N", "", "naturalness of TMQI"),
    Column("tmqi2_s", "TMQI-II S", "", "structural fidelity of TMQI-II; its naturalness is not computed"),
    Column("fsitm_tmqi", "FSITM-TMQI", "", "mean of FSITM (R, G, B) and TMQI"),
)
HEADLINE = ("tmqi", "ssim_sdr", "fsitm", "tmqi2_s", "niqe")


def columns(niqe_file: str | None = None) -> tuple[Column, ...]:
    """Return what is measured; with the user's model, NIQE too."""
    if niqe_file is None:
        return COLUMNS
    said = f"distance from the statistics of pristine pictures by {niqe_file}; of pictures that are flat or "
    said += f"smaller than two blocks of {NIQE_BLOCK} pixels, failures among them, there is none"
    return (*COLUMNS, Column("niqe", "NIQE", "", said, higher_is_better=False))


class ToneCase:
    """An HDR picture, with its SDR picture where it has one.

    Args:
        name: Unlike that of any other.
        scene: What several pictures may share.
        hdr: Linear light [1, 3, H, W], at least 0.
        sdr: Display-encoded SDR picture, same shape, in [0, 1]; None where there is none.
        model: NIQE's, which is computed with one only.
        whole: Height and width of the picture before it was cut to multiples of 8.
        rounded: Whether results are rounded to 8 bits before they are scored, as files of others are.
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
    ) -> None:
        self.name, self.scene, self.hdr, self.sdr, self.model = name, scene, hdr, sdr, model
        self.rounded = rounded
        self.whole = whole or (hdr.shape[-2], hdr.shape[-1])
        self.reference: Floats = hdr[0].permute(1, 2, 0).contiguous().numpy()
        self.facts: Mapping[str, float] = {}
        self.curves: Mapping[str, Floats] = {}

    def judge(self, pixels: NDArray[Any] | None) -> Judged:
        """Score a display-encoded result [H, W, 3] in [0, 1]; what cannot be scored counts as black.

        A result that is cropped at the right and the bottom is compared with that part of the picture.
        """
        shape = None if pixels is None or not self._fits(pixels) else pixels.shape
        reason = why_unfit(pixels, shape or self.reference.shape)
        shown = torch.zeros_like(self.hdr)
        if not reason:
            rows = np.ascontiguousarray(pixels, np.float32)
            shown = torch.from_numpy(rows).permute(2, 0, 1)[None].clamp(0, 1)
            shown = (255 * shown).round() / 255 if self.rounded else shown
        hdr = self.hdr[..., : shown.shape[-2], : shown.shape[-1]]
        quality, phase = tmqi(hdr, shown), fsitm(hdr, shown).mean
        figures = {
            "tmqi": quality.q,
            "tmqi_s": quality.s,
            "tmqi_n": quality.n,
            "tmqi2_s": tmqi2_structure(hdr, shown),
            "fsitm": phase,
            "fsitm_tmqi": (phase + quality.q) / 2,
            "ssim_sdr": self._likeness(shown),
        }
        if self.model is not None:
            figures["niqe"] = _niqe(shown, self.model)
        eight = np.rint(255 * shown[0].permute(1, 2, 0).numpy()).astype(np.uint8)
        plain = {name: float(value) for name, value in figures.items()}
        return Judged(plain, None if reason else eight, reason)

    def _fits(self, pixels: NDArray[Any]) -> bool:
        missing = [whole - own for whole, own in zip(self.reference.shape, pixels.shape, strict=False)]
        return pixels.ndim == 3 and missing[2] == 0 and all(0 <= one < 8 for one in missing)

    def _likeness(self, shown: Tensor) -> Tensor | float:
        if self.sdr is None:
            return float("nan")
        return 1 - ssim_loss(shown, self.sdr[..., : shown.shape[-2], : shown.shape[-1]])


def _niqe(shown: Tensor, model: NiqeModel) -> Tensor | float:
    try:
        return niqe(shown, model)
    except PictureSizeError:
        return float("nan")


class ToneCases:
    """The pictures of a split, whole, made one at a time.

    Args:
        data: The data section; its crop for validations and its encoding do not apply.
        index: Its index.
        split: train, val, test or all.
        num: How many, spread evenly; None takes all.
        model: NIQE's, where it is to be computed.
        rounded: Whether results are rounded to 8 bits before they are scored.

    Raises:
        ComparisonError: Pictures are smaller than the metrics need.
        DataError: There are none, or none with whole pictures.
    """

    def __init__(
        self,
        data: TinyConfig | TmoPairsConfig,
        index: Index,
        split: str,
        num: int | None = None,
        model: NiqeModel | None = None,
        *,
        rounded: bool = False,
    ) -> None:
        tone = replace(data.tone, domain="gamma", sdr_range="full")
        self.taken = ToneValidation(index, tone, split, num=num, keys=KEYS)
        self.model, self.rounded = model, rounded
        small = [p.file for p in usable(index, split, KEYS) if min(p.width, p.height) < TMQI_MIN_SIDE]
        if small:
            said = f"TMQI needs pictures of at least {TMQI_MIN_SIDE} pixels a side"
            raise ComparisonError(f"{said}; smaller: {', '.join(small[:3])}{' …' if len(small) > 3 else ''}")

        self.all_labelled = all(not isinstance(p, TonePicture) or p.sdr for p in usable(index, split, KEYS))
        files = [
            str(PurePath(picture.file).with_suffix(""))
            if isinstance(picture, TonePicture)
            else f"{picture.file}_{within:03d}"
            for picture, within in self.taken.places
        ]
        self.stems = without_folder(files, "hdr")

    def __len__(self) -> int:
        return len(self.taken)

    def __getitem__(self, number: int, /) -> ToneCase:
        picture, sample = self.taken.picture(number), self.taken[number]
        sdr = sample["sdr"][None] if sample["labelled"].any() else None
        return ToneCase(
            self.stems[number],
            picture.scene,
            sample["hdr"][None],
            sdr,
            self.model,
            (picture.height, picture.width),
            rounded=self.rounded,
        )


def classical(names: Sequence[str]) -> list[Contender]:
    """Return the operators of these names; the one that does nothing is always the first."""
    return [_operator(name) for name in dict.fromkeys((BASELINE, *names))]


def _operator(name: str) -> Contender:
    kind = "baseline" if name == BASELINE else "classical"
    about = Method(name, name.replace("_", " "), kind, OPERATORS[name].summary)  # type: ignore[arg-type]
    return Contender(about, lambda case: _run(lambda hdr: tone_map_classically(name, hdr), case))


def label() -> Contender:
    """Return the SDR pictures of the data: what nets learn from."""
    about = Method("sdr", "SDR of the data", "oracle", "the SDR pictures of the data, which nets learn from")
    return Contender(about, lambda case: Outcome(case.sdr[0].permute(1, 2, 0).numpy()))


def learned(name: str, operator: Callable[[Floats], Floats], files: Sequence[str]) -> Contender:
    """Return a learned operator."""
    about = Method(name, name, "trained", ", ".join(files))
    return Contender(about, lambda case: _run(operator, case))


def _run(operator: Callable[[Floats], Floats], case: ToneCase) -> Outcome:
    try:
        return Outcome(operator(case.reference))
    except OperatorError as error:
        return Outcome(None, reason=str(error).splitlines()[0])


def check_figures() -> list[Gate]:
    """Check the figures before they are used.

    Returns:
        The checks, all passed.

    Raises:
        ComparisonError: One failed: scores would mean nothing.
    """
    hdr = torch.from_numpy(scene()).permute(2, 0, 1)[None].repeat(1, 1, 2, 2)
    shown = tone_map_classically("reinhard", hdr[0].permute(1, 2, 0).numpy())
    label = torch.from_numpy(shown).permute(2, 0, 1)[None]
    figures, other, black = (
        ToneCase("check", "check", hdr * unit, label).judge(made).figures
        for unit, made in ((1, shown), (64, shown), (1, np.zeros_like(shown)))
    )
    change = max(abs(figures[name] - other[name]) for name in figures)
    likeness, lead = figures["ssim_sdr"], figures["tmqi"] - black["tmqi"]
    gates = [
        ("A picture is like itself", abs(likeness - 1) < 1e-4, f"SSIM {likeness:.6f}"),
        ("Scores do not depend on the HDR picture's unit", change < 1e-4, f"largest change {change:.1e}"),
        ("A tone-mapped picture beats black", lead > 0.1, f"TMQI higher by {lead:.2f}"),
    ]
    return passed(gates)
