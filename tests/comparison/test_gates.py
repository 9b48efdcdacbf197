"""Checks before scoring: they pass, and each stops the comparison when what it looks at is broken."""

from __future__ import annotations

import pytest
import torch

from hdrlab.comparison import figures, gates, tones
from hdrlab.comparison.contest import ComparisonError


def test_all_checks_pass() -> None:
    made = gates.check_figures()
    assert len(made) == 4
    assert all(passed for _, passed, _ in made)
    assert all(passed for _, passed, _ in tones.check_figures())


def test_a_wrong_encoding_stops_the_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    right = gates.pu21_encode
    monkeypatch.setattr(gates, "pu21_encode", lambda x: right(x) * 1.001)
    with pytest.raises(ComparisonError, match=r"no score can be trusted .* PU21 encodes as published"):
        gates.check_figures()


def test_a_wrong_scale_stops_the_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "align_scale", lambda test, *rest: torch.ones(1))
    with pytest.raises(ComparisonError, match="Scores do not depend on a result's scale"):
        gates.check_figures()


def test_a_figure_that_is_not_perfect_for_the_truth_stops_it(monkeypatch: pytest.MonkeyPatch) -> None:
    right = figures.ssim_pu21
    monkeypatch.setattr(figures, "ssim_pu21", lambda *given: right(*given) * 0.99)
    with pytest.raises(ComparisonError, match=r"A perfect result scores perfectly: off: ssim_pu21_display"):
        gates.check_figures()


def test_a_correction_that_does_nothing_stops_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "crf_correct", lambda test, reference: test)
    with pytest.raises(ComparisonError, match="Correction removes a tone curve and no clipping"):
        gates.check_figures()
