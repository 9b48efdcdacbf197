"""CONTRIBUTING's list of the files between the command and the loss is short, connected and complete."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from test_imports import imports
from torch import Tensor
from training import Lab

from hdrlab.stages import HalStage
from hdrlab.stages.base import Batch, Outputs
from hdrlab.train import COMMAND

ROOT = Path(__file__).resolve().parents[1]
MOST_FILES, MOST_LINES = 12, 1800


class LossReached(Exception):
    """Ends a training at its first loss."""


@pytest.fixture(scope="module")
def listed() -> list[Path]:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.partition("## From the command to the loss")[2].partition("\n## ")[0]
    return [ROOT / name for name in re.findall(r"^\d+\. `(hdrlab/[\w/]+\.py)`", section, re.MULTILINE)]


def modules_of(path: Path) -> set[str]:
    """Name the modules that a file imports, or names in a string as the table of stages does."""
    imported = {part for _, name in imports(path) for part in (name, name.rpartition(".")[0])}
    return imported | set(re.findall(r'"(hdrlab[\w.]+):', path.read_text(encoding="utf-8")))


def test_the_way_is_short(listed: list[Path]) -> None:
    assert listed[0] == ROOT / "hdrlab" / "train.py"
    assert listed[-1] == ROOT / "hdrlab" / "stages" / "hal.py"
    lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in listed)
    assert len(listed) == len(set(listed)) <= MOST_FILES
    assert lines <= MOST_LINES


def test_each_file_is_reached_from_one_before_it(listed: list[Path]) -> None:
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in listed]
    names = [name.removesuffix(".__init__") for name in names]
    for number, name in enumerate(names[1:], 1):
        assert any(name in modules_of(path) for path in listed[:number]), f"nothing before {name} imports it"


def test_the_loss_is_called_by_listed_files(
    listed: list[Path], lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[Path] = []
    validate = HalStage.losses

    def losses(stage: HalStage, batch: Batch, outputs: Outputs) -> dict[str, Tensor]:
        if not stage.training:
            return validate(stage, batch, outputs)
        frame = sys._getframe()
        while frame := frame.f_back:  # type: ignore[assignment]
            called.append(Path(frame.f_code.co_filename))
        raise LossReached

    monkeypatch.setattr(HalStage, "losses", losses)
    with pytest.raises(LossReached):
        COMMAND.main(lab.words("hal"))
    ours = {path for path in called if path.is_relative_to(ROOT / "hdrlab")}
    assert {path.name for path in ours} >= {"train.py", "cli.py", "build.py", "base.py"}
    assert ours <= set(listed)
