"""The commands as a user starts them: their help, their speed, their exit codes."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from hdrlab.config.menu import menu
from hdrlab.config.registry.stages import STAGES
from hdrlab.train import COMMAND

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 2.0  # of a processor; promised is one, slow machines get more


def run(module: str, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *words],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "module",
    [
        *("hdrlab.train", "hdrlab.evaluate", "hdrlab.prepare", "hdrlab.import_weights"),
        *("hdrlab.reconstruct", "hdrlab.tonemap", "hdrlab.synthesize", "hdrlab.reproduce"),
    ],
)
@pytest.mark.parametrize("words", [(), ("--help",)])
def test_the_menu_comes_at_once(module: str, words: tuple[str, ...], tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    asked = run(module, *words, cwd=tmp_path)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < SECONDS
    assert asked.returncode == 0
    assert f"usage: {module.replace('.', ' ')} " in asked.stdout
    assert not list(tmp_path.iterdir())


def test_the_menu_lists_every_choice() -> None:
    text = menu(COMMAND)
    assert all(f"  {name} " in text and row.summary in text for name, row in STAGES.items())
    assert "hdr_synth" in text
    assert "tiny" in text
    assert "  folder " not in text  # for evaluations only
    assert "cpu_hal" in text
    assert "lr_batch" in text
    assert max(map(len, text.splitlines())) <= 118


def test_help_with_a_stage_lists_its_keys(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        COMMAND.main(["stage=hal", "stage.width=0.5", "--help"])
    said = capsys.readouterr().out
    assert left.value.code == 0
    assert "  stage.width = 0.5\n      factor on the nets' channel counts; 1 is the paper's net" in said
    assert "  stage.loss.tv = 0.1\n" in said
    assert "  trainer.precision = 32\n" in said
    assert "  stage.bn_momentum = " not in said


def test_a_tilde_is_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "images").mkdir()
    with pytest.raises(SystemExit) as left:
        COMMAND.main(["stage=deq", "data=hdr_synth", "data.root=~/images", "--help"])
    assert left.value.code == 0
    assert f"  data.root = {tmp_path / 'images'}\n" in capsys.readouterr().out


def test_a_mistake_costs_no_torch_no_traceback_and_no_file(tmp_path: Path) -> None:
    asked = run("hdrlab.train", "stage=hal", "stage.lr=fast", cwd=tmp_path)
    assert asked.returncode == 2
    assert asked.stderr == "error: stage.lr: got 'fast', must be a number above 0\n"
    assert not list(tmp_path.iterdir())
    code = "import sys, hdrlab.train as t; t.COMMAND.compose(['stage=hal']); print('torch' in sys.modules)"
    asked = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert asked.stdout == "False\n"


def test_the_composed_configuration_can_be_printed(tmp_path: Path) -> None:
    asked = run("hdrlab.train", "stage=hal", "--cfg", "job", "stage.lr=0.5", cwd=tmp_path)
    assert asked.returncode == 0
    assert "  lr: 0.5\n" in asked.stdout
    assert "logger:\n  name: csv\n" in asked.stdout
    assert not list(tmp_path.iterdir())


def test_a_key_of_a_group_is_no_choice_of_it_but_a_named_result_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from hdrlab.evaluate import COMMAND as EVALUATE

    with pytest.raises(SystemExit) as left:
        COMMAND.main(["stage.lr=0.1"])
    assert left.value.code == 2
    assert "error: stage: not set" in capsys.readouterr().err
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a").mkdir()
    for words in (["results.one=~/a", "results.two=~/a"], ["results={one: ~/a, two: ~/a}"]):
        with pytest.raises(SystemExit) as left:
            EVALUATE.main([*words, "--help"])
        assert left.value.code == 0
        assert f"results = one: {tmp_path / 'a'}, two: {tmp_path / 'a'}" in capsys.readouterr().out
    with pytest.raises(SystemExit) as left:
        EVALUATE.main(["results.one=~/none"])
    assert left.value.code == 2
    assert f"results.one={tmp_path / 'none'}: no such folder" in capsys.readouterr().err
