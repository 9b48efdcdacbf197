"""The program that measures overheads: how it judges, and that both of its sides compute the same."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from training import Lab


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[1] / "experiments"))
    return import_module("overhead")


def test_ratios_are_of_four_blocks_without_drift(program: Any) -> None:
    blocks = program.Blocks(2)
    assert {blocks.order[:4], blocks.order[4:]} <= {"ABBA", "BAAB"}
    blocks.order = "ABBABAAB"
    blocks.seconds = [(s, 2 * s) for s in (3, 1, 1, 1, 1, 5, 5, 1)]
    blocks.calibrations = [1.0, 1.0, 1.1, 1.0, 1.0, 1.0, 1.3, 1.0, 1.0]
    assert blocks.ratios(0) == ([2.0], 1)
    assert blocks.ratios(1) == ([2.0, 5.0], 0)
    assert blocks.next is None
    assert blocks.per_step("B") == 1 / program.BLOCK
    assert blocks.summary().startswith(
        "wall time 2.000 [2.000, 2.000], 1 of 2 dropped for drift; process time"
    )


@pytest.mark.slow
def test_both_sides_train_alike(program: Any, lab: Lab) -> None:
    words = lab.words("deq", f"paths.data={lab.work / 'data'}")
    rows = list(program.measure_step("deq", words, quads=1))
    assert [row[0] for row in rows] == [
        "step ÷ bare loop, deq",
        "both sides, deq",
        "checkpoint ÷ interval, deq",
    ]
    assert "bit-identical" in rows[1][2]
    ((name, _, told),) = program.measure_input("deq", words, quads=1, workers=0)
    assert name == "speed with real input ÷ cached, deq, 0 workers"
    assert "of 1 dropped" in told
