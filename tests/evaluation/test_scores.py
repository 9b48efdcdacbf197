"""Scores keep their numbers: those of scores.json, which the first release computed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scenes import scene

from hdrlab.evaluation.hdr_metrics import PhotographCase
from hdrlab.evaluation.photographs import Photograph
from hdrlab.evaluation.sdr_metrics import ToneCase
from hdrlab.metrics import NiqeModel

GOLDEN = json.loads(Path(__file__).with_name("scores.json").read_text(encoding="utf-8"))
HDR = np.tile(scene(), (2, 2, 1))
LABEL = (HDR / (1 + HDR)) ** (1 / 2.2)
WAVES = 1 + 0.1 * np.sin(np.arange(HDR.shape[1]))[None, :, None]

RECONSTRUCTIONS = {
    "clipped": np.minimum(HDR, 2),
    "curved": HDR ** np.float32(0.8) * np.float32(3),
    "tinted": HDR * WAVES * (1.1, 1, 0.8),
    "black": None,
}
TONES = {
    "label": LABEL,
    "dark": (HDR / (4 + HDR)) ** (1 / 2.2),
    "cut": np.clip(HDR / 3, 0, 1)[:-5, :-3],
    "black": None,
}


@pytest.fixture(scope="module")
def photograph() -> PhotographCase:
    ldr = np.rint(255 * np.clip(HDR / 2, 0, 1) ** (1 / 2.2)).astype(np.uint8)
    mask = np.zeros(HDR.shape[:2], bool)
    mask[40:90, 100:200] = True
    return PhotographCase(Photograph("a", "s", ldr, HDR, clip_point=2.0, mask=mask))


@pytest.fixture(scope="module")
def tone() -> ToneCase:
    light, label = (torch.from_numpy(x.astype(np.float32)).permute(2, 0, 1)[None] for x in (HDR, LABEL))
    model = NiqeModel(torch.ones(36, dtype=torch.float64), torch.eye(36, dtype=torch.float64))
    return ToneCase("a", "s", light, label, model)


def same(scores: dict[str, float], golden: dict[str, float]) -> None:
    """Compare but for rounding: kernels differ between processors."""
    assert scores.keys() >= golden.keys()
    for name, value in golden.items():
        # Above 75 dB there is rounding alone. Of SSIM float32 had cost the first release up to 3e-5, which
        # its own program shows in float64; now it costs 1e-7.
        relative = 0.05 if value > 75 else 5e-5 if "ssim_pu21" in name else 2e-5
        assert scores[name] == pytest.approx(value, rel=relative, abs=2e-6, nan_ok=True), name


def pixels(image: NDArray[np.floating] | None) -> NDArray[np.float32] | None:
    return None if image is None else image.astype(np.float32)


@pytest.mark.parametrize("result", RECONSTRUCTIONS)
def test_scores_of_reconstructions(photograph: PhotographCase, result: str) -> None:
    same(photograph.judge(pixels(RECONSTRUCTIONS[result]))[0], GOLDEN["reconstruct"][result])
    same(dict(photograph.facts), GOLDEN["facts"])


@pytest.mark.parametrize("result", TONES)
def test_scores_of_tone_mappings(tone: ToneCase, result: str) -> None:
    same(tone.judge(pixels(TONES[result]))[0], GOLDEN["tonemap"][result])
