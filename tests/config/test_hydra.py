"""What Hydra's pages promise holds: its options print, its folders are taken, its plug-ins run the jobs."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from training import Lab

from hdrlab.config.cli import output_dir
from hdrlab.config.schema.commands import TrainConfig
from hdrlab.errors import RunError, TrainingError
from hdrlab.train import COMMAND

ROOT = Path(__file__).resolve().parents[2]
Call = Callable[..., int]


@pytest.fixture(autouse=True)
def _own_handlers() -> Iterator[None]:
    """Take back the log handlers that Hydra leaves: they write to the output that one test captures."""
    before = list(logging.root.handlers)
    yield
    logging.root.handlers[:] = before


@pytest.fixture
def runs() -> list[tuple[TrainConfig, Path, str]]:
    """Every run: its configuration, its folder, its working directory."""
    return []


@pytest.fixture
def call(
    runs: list[tuple[TrainConfig, Path, str]], lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Call:
    """Carry out a command line that trains nothing, and return its exit code."""
    monkeypatch.chdir(tmp_path)

    def run(config: TrainConfig) -> int:
        folder = output_dir()
        assert folder is not None
        runs.append((config, folder, os.getcwd()))
        return 0

    def call(*arguments: str) -> int:
        command = replace(COMMAND, run=run, result=None)
        with pytest.raises(SystemExit) as left:
            command.main([*arguments, *lab.words("deq")])
        return int(left.value.code or 0)

    return call


def test_a_run_lies_in_the_folder_of_its_hash(call: Call, runs: list[Any], lab: Lab) -> None:
    assert call() == 0
    assert call("seed=1") == 0
    assert call("logger=none") == 0
    first, other, same = (folder for _, folder, _ in runs)
    assert first.parent == lab.runs / "deq"
    assert first.name.endswith("-1")
    assert first == same != other
    assert runs[0][2] == os.getcwd()


def test_the_users_run_folder_wins(call: Call, runs: list[Any], tmp_path: Path) -> None:
    assert call("hydra.run.dir=mine", "hydra.output_subdir=.hydra") == 0
    assert runs[0][1] == tmp_path / "mine"
    assert (tmp_path / "mine" / ".hydra" / "overrides.yaml").is_file()
    assert not (tmp_path / "runs").exists()


def test_a_job_may_work_in_its_folder(call: Call, runs: list[Any], tmp_path: Path) -> None:
    assert call("hydra.run.dir=mine", "hydra.job.chdir=true", "paths.vgg16=null") == 0
    config, folder, place = runs[0]
    assert place == str(folder) == str(tmp_path / "mine")
    assert config.paths.runs == str(tmp_path / "runs")
    assert os.getcwd() == str(tmp_path)


def test_the_users_sweep_folder_wins(call: Call, runs: list[Any], tmp_path: Path) -> None:
    assert call("-m", "seed=1,2", "hydra/launcher=basic", "hydra.sweep.dir=swept") == 0
    folders = [folder for _, folder, _ in runs]
    assert [folder.parent for folder in folders] == [tmp_path / "swept" / "deq"] * 2
    assert len(set(folders)) == 2
    assert [config.seed for config, _, _ in runs] == [1, 2]
    assert (tmp_path / "swept" / "multirun.yaml").is_file()
    runs.clear()
    assert call("-m", "seed=1,2", "hydra/launcher=basic", "hydra.sweep.subdir=${hydra.job.num}") == 0
    assert [folder.name for _, folder, _ in runs] == ["0", "1"]


@pytest.mark.parametrize(
    ("options", "printed"),
    [
        (["--cfg", "job"], "stage:\n  name: deq\n"),
        (["--cfg", "hydra"], "hydra:\n"),
        (["--cfg", "all"], "callbacks:\n"),
        (["--cfg", "job", "--package", "stage"], "# @package stage\n"),
        (["--cfg", "job", "--resolve"], "vgg16: null\n"),
        (["--cfg", "hydra", "--resolve"], "runs/STAGE/HASH-NUMBER"),
        (["-m", "--cfg", "job", "seed=1,2"], "seed: 1\n"),
        (["--hydra-help"], "https://hydra.cc"),
        (["~logger", "--cfg", "job"], "seed: 0\n"),
    ],
)
def test_hydras_options_print_and_run_nothing(
    call: Call,
    runs: list[Any],
    options: list[str],
    printed: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    assert call(*options) == 0
    assert printed in capsys.readouterr().out
    assert not runs
    assert not list(tmp_path.iterdir())


def test_hydra_tells_of_itself(lab: Lab, tmp_path: Path) -> None:
    asked = subprocess.run(
        [sys.executable, "-m", "hdrlab.train", "-m", "--info", "all", *lab.words("deq", "seed=1,2")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "ProcessLauncher" in asked.stdout
    assert "TPESweeper" in asked.stdout
    assert not list(tmp_path.iterdir())


def test_the_shell_is_told_what_may_follow(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COMP_LINE", "python -m hdrlab.train stage=h")
    with pytest.raises(SystemExit) as left:
        COMMAND.main(["--shell-completion", "query=bash"])
    assert left.value.code == 0
    assert capsys.readouterr().out == "stage=hal\n"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["+stage=hal", "--cfg", "job"], "+stage=hal: write stage=hal; stage is there to be chosen"),
        (["hydra/launcher=job_lib"], "hydra/launcher=job_lib: must be basic | "),
        (["hydra/sweeper=tpee"], "hydra/sweeper=tpee: must be basic | tpe; did you mean tpe?"),
        (["hydra.run.dirr=x"], "Could not override 'hydra.run.dirr'."),
        (["--resolve"], "--resolve: goes with --cfg"),
        (["--config-path=x"], "--config-path: hdrlab's configuration lies in conf/"),
        (["--config-dir=none"], "--config-dir=none: no such folder"),
        (["--experimental-rerun=x"], "--experimental-rerun: reads a pickle"),
        (["-m", "seed=interval(1,9)"], "seed: interval(1,9): a grid takes none"),
        (["-m", "seed=range(5,2)"], "seed=range(5,2): stands for no value at all"),
        (["-m", "seed=1,2,1"], "seed=1: named twice"),
        (["-m", "seed=1,2", "++seed=3,4"], "seed: varied twice"),
        (["-m", "hydra/sweeper=tpe", "seed=interval(9,1)"], "seed: interval(9,1) is empty"),
        (
            ["-m", "hydra/sweeper=tpe", "stage.lr=tag(log,interval(0,1))"],
            "stage.lr: interval(0,1) on a log scale must begin above 0",
        ),
    ],
)
def test_what_hydra_would_not_do_is_told_in_a_line(
    call: Call,
    runs: list[Any],
    arguments: list[str],
    line: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    assert call(*arguments) == 2
    assert f"error: {line}" in (told := capsys.readouterr().err)
    assert "Traceback" not in told
    assert not runs
    assert not list(tmp_path.iterdir())


def test_no_logger_is_no_logger(call: Call, runs: list[Any]) -> None:
    assert call("~logger") == 0
    assert runs[0][0].logger.name == "none"


def test_a_folder_of_the_users_adds_choices(call: Call, runs: list[Any], tmp_path: Path) -> None:
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    (tmp_path / "mine" / "experiment" / "slow.yaml").write_text(
        "# @package _global_\nexperiment:\n  name: slow\n  stage: deq\n  publish: false\nstage:\n  lr: 1e-9\n"
    )
    assert call("--config-dir=mine", "experiment=slow") == 0
    assert runs[0][0].stage.lr == 1e-9
    assert call("--config-dir=mine", "experiment=slo") == 2


def test_a_configuration_of_the_users_takes_the_place_of_ours(
    call: Call, runs: list[Any], tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "own.yaml").write_text("defaults: [train, _self_]\nseed: 77\n")
    assert call("--config-dir=mine", "--config-name=own") == 0
    assert runs[0][0].seed == 77


CALLBACK = """
import sys
from pathlib import Path
from hydra.experimental.callback import Callback

class Watch(Callback):
    def on_job_start(self, config, **kwargs):
        Path("started").touch()
    def on_job_end(self, config, job_return, **kwargs):
        Path("ended").touch()
        print("ended", job_return.status.name, repr(job_return._return_value))
    def on_run_end(self, config, job_return, **kwargs):
        print("the watch", file=sys.stderr)
"""


def test_hydras_callbacks_are_called(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "watching.py").write_text(CALLBACK)
    monkeypatch.syspath_prepend(tmp_path / "code")
    assert call("+hydra.callbacks.watch._target_=watching.Watch") == 0
    assert (tmp_path / "started").is_file()
    assert (tmp_path / "ended").is_file()


@pytest.mark.parametrize(
    ("outcome", "returned", "code"),
    [
        (0, "COMPLETED None", 0),
        (3, "FAILED HydraException('train: ended with 3')", 3),
        (TrainingError("the reason"), "FAILED TrainingError('the reason')", 1),
    ],
)
def test_hydras_callbacks_are_told_how_it_ended(
    lab: Lab,
    outcome: int | Exception,
    returned: str,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "watching.py").write_text(CALLBACK)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)

    def run(config: TrainConfig) -> int:
        if isinstance(outcome, int):
            return outcome
        raise outcome

    watch = "+hydra.callbacks.watch._target_=watching.Watch"
    stream = sys.stderr
    with pytest.raises(SystemExit) as left:
        replace(COMMAND, run=run, result=None).main([watch, *lab.words("deq")])
    assert left.value.code == code
    assert sys.stderr is stream
    told = capsys.readouterr()
    assert told.out == f"ended {returned}\n"
    said = [line for line in told.err.splitlines() if line]
    assert said == ["error: the reason"] * isinstance(outcome, Exception) + ["the watch"]


@pytest.mark.parametrize("more", [(), ("-m", "seed=1,2", "hydra/launcher=basic")])
@pytest.mark.parametrize(("error", "code"), [(RunError("the reason"), 2), (TrainingError("the reason"), 1)])
def test_errors_are_lines_and_exit_codes(
    lab: Lab, error: Exception, code: int, more: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(config: TrainConfig) -> int:
        raise error

    with pytest.raises(SystemExit) as left:
        replace(COMMAND, run=fail).main([*more, *lab.words("deq")])
    assert left.value.code == code
    told = capsys.readouterr().err
    assert "error: the reason\n" in told
    assert "Traceback" not in told
    if not more:
        assert told.strip() == "error: the reason"


def test_a_mistake_of_the_program_is_a_traceback(lab: Lab) -> None:
    def fail(config: TrainConfig) -> int:
        raise KeyError("oops")

    with pytest.raises(KeyError):
        replace(COMMAND, run=fail).main(lab.words("deq"))
    assert "HYDRA_FULL_ERROR" not in os.environ
    assert "stage=deq" not in sys.argv


def test_an_argument_that_sets_nothing_new_needs_no_plus(call: Call, runs: list[Any]) -> None:
    assert call("+stage.lr=0.5", "++seed=3", "trainer.max_steps=2") == 0
    config = runs[0][0]
    assert (config.stage.lr, config.seed, config.max_steps) == (0.5, 3, 2)
