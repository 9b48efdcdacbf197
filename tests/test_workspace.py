"""The page of a project as code: it is built here, never sent."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from hdrlab.config.registry.stages import STAGES

SCRIPT = Path(__file__).resolve().parents[1] / "experiments" / "wandb" / "workspace.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("workspace", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_has_every_stage_loss_and_figure(script: ModuleType) -> None:
    pytest.importorskip("wandb_workspaces", reason="needs pip install 'hdrlab[dashboards]'")
    workspace = script.build_workspace("us", "hdrlab")
    sections = {section.name: section.panels for section in workspace.sections}
    assert list(sections) == ["Stages", "Figures", "Losses", "Panels", "Runs"]
    assert {panel.title.partition(":")[0] for panel in sections["Stages"]} == {
        name for name in STAGES if script.figures_of(name)
    }
    lines = {panel.title: panel.y for panel in sections["Losses"]}
    assert lines["loss"] == ["train/loss", "val/loss"]
    assert {"l2", "curve", "perceptual", "tv", "structure"} <= set(lines)
    assert any(panel.y == ["val/psnr_c", "val/psnr_i"] for panel in sections["Figures"])
    assert sections["Panels"][0].media_keys == ["panel"]
    text = json.dumps(workspace._to_model().model_dump(by_alias=True), default=str)  # what would be sent
    assert "val/psnr_pu21.max" in text
    assert "val/curve_mse.min" in text


def test_the_names_are_those_that_runs_log(script: ModuleType) -> None:
    from hdrlab.metrics.names import METRICS
    from hdrlab.training.loggers import PANEL

    assert PANEL == "panel"
    assert {name for stage in STAGES for pair in script.figures_of(stage) for name in pair} <= set(METRICS)


@pytest.mark.slow
def test_a_missing_package_is_named() -> None:
    code = (
        "import runpy, sys; sys.modules['wandb_workspaces'] = None; sys.argv = ['workspace.py', 'us'];"
        f"runpy.run_path({str(SCRIPT)!r}, run_name='__main__')"
    )
    asked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert asked.returncode == 2
    assert asked.stderr.splitlines()[-1].endswith(
        "the package wandb-workspaces is missing: pip install 'hdrlab[dashboards]'"
    )
