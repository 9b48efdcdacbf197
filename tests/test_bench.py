"""The program that compares checkouts for speed: what it asks for is there."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[1] / "experiments"))
    return import_module("bench")


@pytest.mark.slow
def test_this_checkout_computes_every_case(
    program: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "PHOTO", (64, 96))
    monkeypatch.setattr(program, "SCENE", (64, 96))
    program.write_weights(tmp_path)
    for name, case in program.cases(tmp_path, 64).items():
        if "bf16" not in name:  # which takes minutes where it is emulated
            assert np.isfinite(case()).all(), name
