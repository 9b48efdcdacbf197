"""The program that checks a GPU, tried on the CPU."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

SCRIPT = Path(__file__).resolve().parents[2] / "experiments" / "gpu_check.py"


def test_it_asks_for_a_gpu_and_a_new_torch(program: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "finds no GPU on this machine" in program.refusal("cuda")
    monkeypatch.setattr(torch, "__version__", "2.9.1+cpu")
    assert program.refusal("cuda") == "torch 2.9.1+cpu: the check needs 2.11 or newer"
    assert program.refusal("cpu") is None


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_it_ends_in_a_line() -> None:
    ended = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1
    assert not ended.stdout


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(not shutil.which("g++"), reason="torch compiles for the CPU with g++")
def test_all_checks_pass_on_the_cpu(program: Any, plan_of: Callable[..., Any], tmp_path: Path) -> None:
    plan = plan_of("cpu", stages=("deq", "tmo_bottom"), compiled=("deq",))
    found = program.check(plan)
    assert not [one for one in found if one.passed is False]
    assert {one.check for one in found} >= {"parity", "training in bf16", "determinism", "kill and resume"}
    assert len([one for one in found if one.check == "parity"]) == len(program.NET_PRESETS)
    program.write_report(plan, found, tmp_path / "report.md")
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert f"torch: {torch.__version__}" in text
    assert text.count("\n| ") == len(found) + 1


def test_a_check_that_breaks_off_is_a_finding(program: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(plan: Any) -> Any:
        yield program.Finding("one", "", "", True)
        raise RuntimeError("out of luck")

    monkeypatch.setattr(program, "SECTIONS", (breaks, breaks))
    found = program.check(None)
    assert [one.passed for one in found] == [True, False, True, False]
    assert found[1].result == "broke off: RuntimeError: out of luck"
