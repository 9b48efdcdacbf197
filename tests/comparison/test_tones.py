"""Tone mapping compared: figures of one result, cropped and failed ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from hdrlab.comparison.contest import Outcome
from hdrlab.comparison.gates import scene
from hdrlab.comparison.tones import BASELINE, COLUMNS, ToneCase, classical, columns, learned
from hdrlab.metrics import NiqeModel, fsitm, niqe, tmqi, tmqi2_structure
from hdrlab.operators import OperatorError, tone_map_classically


@pytest.fixture(scope="module")
def case() -> ToneCase:
    hdr = torch.from_numpy(np.tile(scene(), (2, 2, 1))).permute(2, 0, 1)[None]
    label = tone_map_classically("drago", hdr[0].permute(1, 2, 0).numpy())
    return ToneCase("a", "s", hdr, torch.from_numpy(label).permute(2, 0, 1)[None])


def test_figures_are_those_of_the_metrics(case: ToneCase) -> None:
    shown = tone_map_classically("reinhard", case.reference)
    figures, sdr = case.judge(shown).figures, torch.from_numpy(shown).permute(2, 0, 1)[None]
    assert set(figures) == {column.name for column in COLUMNS}
    assert figures["tmqi"] == pytest.approx(tmqi(case.hdr, sdr).q.item())
    assert figures["fsitm"] == pytest.approx(fsitm(case.hdr, sdr).mean.item())
    assert figures["tmqi2_s"] == pytest.approx(tmqi2_structure(case.hdr, sdr).item())
    assert figures["fsitm_tmqi"] == pytest.approx((figures["fsitm"] + figures["tmqi"]) / 2)
    assert 0.3 < figures["ssim_sdr"] < 1
    assert case.sdr is not None
    assert case.judge(case.sdr[0].permute(1, 2, 0).numpy()).figures["ssim_sdr"] == pytest.approx(1, abs=1e-5)


def test_without_a_label_there_is_no_likeness(case: ToneCase) -> None:
    shown = tone_map_classically("log", case.reference)
    assert math.isnan(ToneCase("a", "s", case.hdr, None).judge(shown).figures["ssim_sdr"])


def test_a_result_cropped_to_multiples_of_8_is_compared_with_its_part(case: ToneCase) -> None:
    shown = tone_map_classically("reinhard", case.reference)
    cropped = case.judge(shown[:-5, :-3])
    assert cropped.shown is not None
    assert cropped.shown.shape == (187, 285, 3)
    assert cropped.figures["tmqi"] == pytest.approx(case.judge(shown).figures["tmqi"], abs=0.02)


def test_failures_count_as_black(case: ToneCase) -> None:
    def refuse(hdr: object) -> np.ndarray:  # type: ignore[type-arg]
        raise OperatorError("does not fit into memory")

    black = case.judge(np.zeros_like(case.reference)).figures
    outcome = learned("net", refuse, ["x"]).run(case)
    for wrong in (outcome.pixels, np.full_like(case.reference, np.nan), case.reference[:100]):
        judged = case.judge(wrong)
        assert judged.shown is None
        np.testing.assert_equal(dict(judged.figures), dict(black))


def test_the_operator_that_does_nothing_always_takes_part(case: ToneCase) -> None:
    contenders = classical(["drago", "log"])
    assert [one.about.name for one in contenders] == [BASELINE, "drago", "log"]
    assert [one.about.kind for one in contenders] == ["baseline", "classical", "classical"]
    outcome: Outcome = contenders[1].run(case)
    assert outcome.pixels is not None
    np.testing.assert_array_equal(outcome.pixels, tone_map_classically("drago", case.reference))


def test_niqe_is_measured_with_a_model_only(case: ToneCase) -> None:
    model = NiqeModel(torch.ones(36, dtype=torch.float64), torch.eye(36, dtype=torch.float64))
    own = ToneCase("a", "s", case.hdr, case.sdr, model)
    shown = tone_map_classically("drago", case.reference)
    figures = own.judge(shown).figures
    assert set(figures) == {column.name for column in columns("model.mat")}
    assert [c.higher_is_better for c in columns("model.mat") if c.name == "niqe"] == [False]
    assert figures["niqe"] == pytest.approx(float(niqe(torch.from_numpy(shown).movedim(-1, 0)[None], model)))
    # A black picture has no local statistics; the other columns hold its failure against it.
    assert math.isnan(own.judge(None).figures["niqe"])
