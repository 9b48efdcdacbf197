"""The program that checks a GPU, as a module, and a small plan for it."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from training import TONE_STAGES, Lab

from hdrlab.config.registry.stages import STAGES

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module ``experiments/gpu_check.py``."""
    monkeypatch.syspath_prepend(str(EXPERIMENTS))
    return import_module("gpu_check")


@pytest.fixture
def plan_of(program: Any, lab: Lab, tmp_path: Path) -> Callable[..., Any]:
    """Makes plans of seconds on the images made from formulas."""

    def made(device: str, **more: Any) -> Any:
        return program.Plan(
            device=device,
            work=tmp_path,
            data=lambda stage: [*lab.data(stage), f"paths.data={tmp_path / 'data'}"],
            width=0.0625,
            sizes={name: (2, 192) if name in TONE_STAGES else (4, 64) for name in STAGES},
            side=32,
            steps=9,
            workers=0,
            **more,
        )

    return made
