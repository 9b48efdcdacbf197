"""Tone mapping compared: scores of one result, cropped and failed ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scenes import scene

from hdrlab.errors import OperatorError
from hdrlab.evaluation.benchmark import Benchmark, run
from hdrlab.evaluation.methods import operators, tone_mapper
from hdrlab.evaluation.sdr_metrics import BASELINE, METRICS, ToneCase, metrics
from hdrlab.inference.tone_mapper import ToneMapper
from hdrlab.losses import chroma_loss, hue_loss
from hdrlab.metrics import NiqeModel, fsitm, niqe, tmqi, tmqi2_structure
from hdrlab.tonemapping import tone_map_classically


@pytest.fixture(scope="module")
def case() -> ToneCase:
    hdr = torch.from_numpy(np.tile(scene(), (2, 2, 1))).permute(2, 0, 1)[None]
    label = tone_map_classically("drago", hdr[0].permute(1, 2, 0).numpy())
    return ToneCase("a", "s", hdr, torch.from_numpy(label).permute(2, 0, 1)[None])


def test_scores_are_those_of_the_metrics(case: ToneCase) -> None:
    shown = tone_map_classically("reinhard", case.reference)
    scores, sdr = case.judge(shown)[0], torch.from_numpy(shown).permute(2, 0, 1)[None]
    assert set(scores) == {column.name for column in METRICS}
    assert scores["tmqi"] == pytest.approx(tmqi(case.hdr, sdr).q.item())
    assert scores["fsitm"] == pytest.approx(fsitm(case.hdr, sdr).mean.item())
    assert scores["tmqi2_s"] == pytest.approx(tmqi2_structure(case.hdr, sdr).item())
    assert scores["fsitm_tmqi"] == pytest.approx((scores["fsitm"] + scores["tmqi"]) / 2)
    assert 0.3 < scores["ssim_sdr"] < 1
    label = torch.as_tensor(case.sdr)
    assert scores["hue_sdr"] == pytest.approx(hue_loss(sdr, label).item())
    assert scores["chroma_sdr"] == pytest.approx(chroma_loss(sdr, label).item())
    assert case.sdr is not None
    assert case.judge(case.sdr[0].permute(1, 2, 0).numpy())[0]["ssim_sdr"] == pytest.approx(1, abs=1e-5)


def test_without_a_label_there_is_no_likeness(case: ToneCase) -> None:
    shown = tone_map_classically("log", case.reference)
    scores = ToneCase("a", "s", case.hdr, None).judge(shown)[0]
    assert all(math.isnan(scores[name]) for name in ("ssim_sdr", "hue_sdr", "chroma_sdr"))


def test_a_result_cropped_to_multiples_of_8_is_compared_with_its_part(case: ToneCase) -> None:
    shown = tone_map_classically("reinhard", case.reference)
    assert not case.unfit(shown[:-5, :-3])
    assert case.unfit(shown[:-8])
    scores, eight = case.judge(shown[:-5, :-3])
    assert eight.shape == (187, 285, 3)
    assert scores["tmqi"] == pytest.approx(case.judge(shown)[0]["tmqi"], abs=0.02)


def test_an_image_is_like_itself_and_units_do_not_matter(case: ToneCase) -> None:
    shown = tone_map_classically("reinhard", case.reference)
    label = torch.from_numpy(shown).permute(2, 0, 1)[None]
    own, other = (ToneCase("a", "s", case.hdr * unit, label).judge(shown)[0] for unit in (1, 64))
    assert own["ssim_sdr"] == pytest.approx(1, abs=1e-4)
    assert own == pytest.approx(other, abs=1e-4)
    assert own["tmqi"] > case.judge(None)[0]["tmqi"] + 0.1


def test_failures_count_as_black(case: ToneCase) -> None:
    def refuse(hdr: object) -> np.ndarray:  # type: ignore[type-arg]
        raise OperatorError("does not fit into memory")

    method = tone_mapper("net", ToneMapper("net", refuse), ["x"])
    benchmark = Benchmark(
        "t", "tonemap", "gamma", [method], METRICS, ("tmqi",), ["a"], lambda number: case, "f"
    )
    (row,), _ = run(benchmark, lambda *given: None, 0, 1e9, lambda *moved: None)
    assert (row["failed"], row["reason"]) == (True, "does not fit into memory")
    black = case.judge(np.zeros_like(case.reference))[0]
    np.testing.assert_equal({name: row[name] for name in black}, black)
    for wrong in (np.full_like(case.reference, np.nan), case.reference[:100]):
        assert case.unfit(wrong)


def test_the_operator_that_does_nothing_always_takes_part(case: ToneCase) -> None:
    methods = operators(["drago", "log"])
    assert [one.name for one in methods] == [BASELINE, "drago", "log"]
    assert [one.kind for one in methods] == ["baseline", "classical", "classical"]
    np.testing.assert_array_equal(methods[1].run(case)[0], tone_map_classically("drago", case.reference))


def test_niqe_is_measured_with_a_model_only(case: ToneCase) -> None:
    model = NiqeModel(torch.ones(36, dtype=torch.float64), torch.eye(36, dtype=torch.float64))
    own = ToneCase("a", "s", case.hdr, case.sdr, model)
    shown = tone_map_classically("drago", case.reference)
    scores = own.judge(shown)[0]
    assert set(scores) == {column.name for column in metrics("model.mat")}
    assert [c.higher_is_better for c in metrics("model.mat") if c.name == "niqe"] == [False]
    assert scores["niqe"] == pytest.approx(float(niqe(torch.from_numpy(shown).movedim(-1, 0)[None], model)))
    # A black image has no local statistics; the other columns hold its failure against it.
    assert math.isnan(own.judge(None)[0]["niqe"])
