"""The commands as a user starts them: their help, their speed, their exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from hdrlab.__main__ import COMMANDS, INSIDE
from hdrlab.config.menu import menu
from hdrlab.config.registry.stages import STAGES
from hdrlab.train import COMMAND

ROOT = Path(__file__).resolve().parents[2]


def python(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


MODULES = tuple(
    f"hdrlab.{name}"
    for name in sorted(COMMANDS.keys() - INSIDE.keys())
    if getattr(getattr(import_module(f"hdrlab.{name}"), "COMMAND", None), "required", ())
)
"""Those that print their menu where they are given nothing."""
MENUS = f"""
import runpy, sys
for module in {MODULES}:
    for sys.argv[1:] in ([], ["--help"]):
        try: runpy.run_module(module, run_name="__main__", alter_sys=True)
        except SystemExit as left: print("left with", left.code)
print([name for name in ("torch", "scipy", "PIL") if name in sys.modules])
"""


def test_the_menus_come_at_once(tmp_path: Path) -> None:
    """Without anything that takes a second to import."""
    asked = python("-c", MENUS, cwd=tmp_path)
    *menus, imported = asked.stdout.split("left with 0\n")
    assert (len(MODULES) >= 8, imported, asked.stderr) == (True, "[]\n", "")
    for number, text in enumerate(menus):
        assert f"usage: {MODULES[number // 2].replace('.', ' ')} " in text
    assert len(menus) == 2 * len(MODULES)
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
    code = (
        "import sys, hdrlab.train as t; t.COMMAND.compose(['stage=hal']); print('torch' in sys.modules)\n"
        "t.COMMAND.main(['stage=hal', 'stage.lr=fast'])"
    )
    asked = python("-c", code, cwd=tmp_path)
    assert (asked.returncode, asked.stdout) == (2, "False\n")
    assert asked.stderr == "error: stage.lr: got 'fast', must be a number above 0\n"
    assert not list(tmp_path.iterdir())


def test_the_composed_configuration_can_be_printed(tmp_path: Path) -> None:
    asked = python("-m", "hdrlab.train", "stage=hal", "--cfg", "job", "stage.lr=0.5", cwd=tmp_path)
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
