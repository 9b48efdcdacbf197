"""Sweeps: each job a process that may die alone; the same command goes on with what is missing."""

from __future__ import annotations

import csv
import math
import os
import shlex
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from pretending import ORDERS, pretend
from training import Lab, slow

from hdrlab.config.registry import Origin, resolve
from hdrlab.config.registry.stages import STAGES
from hdrlab.errors import ConfigError, RunError
from hdrlab.train import COMMAND
from hdrlab.training import judging
from hdrlab.training.judging import at_best
from hdrlab.training.processes import SWEEP
from hydra_plugins import hdrlab_launcher
from hydra_plugins.hdrlab_launcher import ProcessLauncher
from hydra_plugins.hdrlab_report import Job, _draw

ROOT = Path(__file__).resolve().parents[1]
Sweep = Callable[..., int]


@pytest.fixture
def sweep(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Sweep:
    """Carry out a sweep whose jobs train nothing, and return its exit code."""
    Plugins.instance()  # which loads the plug-ins, again if they were imported before
    command = hdrlab_launcher.ProcessLauncher._command
    monkeypatch.setattr(
        hdrlab_launcher.ProcessLauncher,
        "_command",
        lambda self, job: ["pretending" if one == "hdrlab.train" else one for one in command(self, job)],
    )
    paths = [str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.setattr(hdrlab_launcher, "POLL_SECONDS", 0.02)

    def call(*arguments: str) -> int:
        with pytest.raises(SystemExit) as left:
            COMMAND.main([*lab.words("deq"), "hydra.launcher.n_jobs=2", *arguments])
        return int(left.value.code or 0)

    return call


def folder_of(lab: Lab) -> Path:
    (folder,) = (lab.runs / "sweeps").iterdir()
    return folder


def table(lab: Lab) -> list[dict[str, str]]:
    with (folder_of(lab) / "jobs.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def begun(lab: Lab) -> dict[str, int]:
    """How often each run has begun."""
    return {path.parent.name: len(path.read_text()) for path in lab.runs.glob("deq/*/begun")}


# ------------------------------------------------------------------------------------------------- grids


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [(), slow(("1", "2"))])
def test_a_grid_runs_every_job_and_ranks_them(
    sweep: Sweep, lab: Lab, capsys: pytest.CaptureFixture[str], seeds: tuple[str, ...]
) -> None:
    assert sweep("-m", "stage.lr=1e-2,2e-3", *(["seed=1,2"] if seeds else [])) == 0
    rows = table(lab)
    better = rows[: len(rows) // 2]
    assert {row["stage.lr"] for row in better} == {"0.002"}
    assert sorted(row["seed"] for row in better if seeds) == [*seeds]
    assert all(float(row["val/loss"]) == at_best(Path(row["run"]), "val/loss") for row in rows)
    assert len({row["run"] for row in rows}) == len(rows) == (4 if seeds else 2)
    assert not (lab.runs / "slots").exists()
    assert (folder_of(lab) / "sweep.png").stat().st_size > 5000
    assert "| 0.002 |" in (folder_of(lab) / "summary.md").read_text()
    told = capsys.readouterr().out
    best = told.split("to publish the best: python -m hdrlab.train ")[1].splitlines()[0]
    assert "stage.lr=0.002" in shlex.split(best)
    assert COMMAND.compose(shlex.split(best)).stage.lr == 0.002


@pytest.mark.slow
@pytest.mark.parametrize("place", ["", "my (own) sweep"])
def test_the_command_that_publishes_the_best_finds_its_run(
    lab: Lab,
    place: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    command = replace(COMMAND, run=pretend)
    where = [f"hydra.sweep.dir='{place}'"] if place else []
    with pytest.raises(SystemExit):
        command.main(["-m", *lab.words("deq", "stage.lr=1e-2,2e-3"), "hydra/launcher=basic", *where])
    best = capsys.readouterr().out.split("to publish the best: python -m hdrlab.train ")[1].splitlines()[0]
    assert ("hydra.run.dir=" in best) == bool(place)
    with pytest.raises(SystemExit) as left:
        command.main(shlex.split(best))
    assert left.value.code == 0
    runs = [*tmp_path.rglob("begun")]
    assert [path.read_text() for path in runs] == ["x", "x"]
    assert {path.parents[2] for path in runs} == {tmp_path / (place or "runs")}


@pytest.mark.slow
def test_a_job_that_dies_leaves_the_others_alone_and_is_run_again(
    sweep: Sweep, lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(ORDERS, "kill:0.01 fail:0.1")
    assert sweep("-m", "stage.lr=1e-3,1e-2,1e-1") == 1
    states = {row["stage.lr"]: row["state"] for row in table(lab)}
    assert states == {"0.001": "done", "0.01": "killed by SIGKILL", "0.1": "failed with 1: the reason"}
    assert "failed with 1: the reason" in capsys.readouterr().out
    monkeypatch.delenv(ORDERS)
    assert sweep("-m", "stage.lr=1e-3,1e-2,1e-1") == 0
    assert [row["state"] for row in table(lab)] == ["done"] * 3
    assert sorted(begun(lab).values()) == [1, 2, 2]
    assert sweep("-m", "stage.lr=1e-3,1e-2,1e-1,2e-1") == 0  # another sweep finds the runs too
    assert sorted(begun(lab).values()) == [1, 1, 2, 2]


@pytest.mark.slow
def test_a_signal_reaches_the_jobs_and_the_same_command_goes_on(
    sweep: Sweep, lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(ORDERS, "wait:0.01")

    def stop() -> None:
        end = time.monotonic() + 120
        while len(begun(lab)) < 2 and time.monotonic() < end:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    stopping = threading.Thread(target=stop)
    stopping.start()
    assert sweep("-m", "stage.lr=1e-3,1e-2") == 75
    stopping.join()
    assert "the same command goes on" in capsys.readouterr().out
    monkeypatch.delenv(ORDERS)
    assert sweep("-m", "stage.lr=1e-3,1e-2") == 0
    assert [row["state"] for row in table(lab)] == ["done"] * 2


@pytest.mark.slow
def test_a_metric_may_judge(sweep: Sweep, lab: Lab) -> None:
    assert sweep("-m", "stage.lr=1e-2,1e-3", "objective=val/psnr_c") == 0
    assert [row["stage.lr"] for row in table(lab)] == ["0.001", "0.01"]  # the higher is the better


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["stage.loss.l2=0.5,1"], "stage.loss.l2: changes what val/loss means; judge by a metric"),
        (["seed=1,2", "logger=none"], "logger=none: a sweep judges by what is logged"),
        (
            ["seed=1,2", "objective=val/psnr_d"],
            "objective=val/psnr_d: must be val/loss or val/METRIC; did you",
        ),
    ],
)
def test_what_cannot_be_judged_is_refused(
    sweep: Sweep, lab: Lab, arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep("-m", *arguments) == 2
    assert f"error: {line}" in capsys.readouterr().err
    assert not lab.runs.exists()


@pytest.mark.parametrize(
    "line", ["val/nope: must be val/loss or val/METRIC", "psnr_c: must be", "val/psnr_d: must be val/loss"]
)
def test_a_single_run_is_not_begun_with_a_metric_that_no_training_has(
    lab: Lab, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        COMMAND.main(lab.words("deq", f"objective={line.partition(':')[0]}"))
    assert left.value.code == 2
    assert f"error: objective={line}" in capsys.readouterr().err
    assert not lab.runs.exists()


def test_a_metric_of_a_plug_ins_stage_may_judge(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "stage_class", lambda name: SimpleNamespace(METRICS={"mine": "what it is"}))
    with pytest.raises(ConfigError, match="objective=val/mine: must be"):
        lab.config("deq", "objective=val/mine")
    monkeypatch.setitem(STAGES._origins, "deq", Origin("lab.py", "lab", "lab:DeqStage"))
    assert lab.config("deq", "objective=val/mine").objective == "val/mine"
    monkeypatch.setattr(judging, "stage_class", lambda name: resolve("nowhere_at_all:DeqStage"))
    with pytest.raises(ConfigError, match="nowhere_at_all"):
        lab.config("deq", "objective=val/mine")


def test_only_a_sweep_fails_without_its_metric(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "metrics.csv").write_text("step,metric,value\n1,val/loss,1\n")
    monkeypatch.setattr(judging, "output_dir", lambda: tmp_path)
    config = lab.config("deq", "objective=val/psnr_b")
    assert judging.judge(config) is None
    assert capsys.readouterr().err.startswith("warning: objective=val/psnr_b: ")
    monkeypatch.setenv(SWEEP, str(tmp_path))
    with pytest.raises(RunError, match="objective=val/psnr_b"):
        judging.judge(config)


def test_the_metric_is_that_of_the_kept_checkpoint(tmp_path: Path) -> None:
    rows = [(1, "val/loss", 3.0), (1, "val/psnr_c", 9.0), (2, "val/loss", 1.0), (2, "val/psnr_c", 7.0)]
    lines = ["step,metric,value", *(f"{step},{name},{value}" for step, name, value in rows)]
    (tmp_path / "metrics.csv").write_text("\n".join(lines) + "\n")
    assert at_best(tmp_path, "val/loss") == 1.0
    assert at_best(tmp_path, "val/psnr_c") == 7.0
    with pytest.raises(RunError, match=r"objective=val/tmqi: .* has val/loss, val/psnr_c"):
        at_best(tmp_path, "val/tmqi")


def test_jobs_at_the_same_time_share_cores_and_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
    four = ProcessLauncher(4, None)
    assert [four._share(place, 1) for place in range(4)] == [
        {"OMP_NUM_THREADS": "4", "CUDA_VISIBLE_DEVICES": str(gpu)} for gpu in range(4)
    ]
    assert [four._share(place, 2)["CUDA_VISIBLE_DEVICES"] for place in (0, 1, 2)] == ["0,1", "2,3", "0,1"]
    assert ProcessLauncher(1, None)._share(0, 1) == {}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert four._share(3, 1) == {"OMP_NUM_THREADS": "4"}


VALUES = (["0.001", "0.01", "0.1"], ["deq", "lin", "hal"], ["1", "2", "3"])
RESULTS = ((1.0, None, 300.0), (-1.0, 0.0, None), (2.0, 2.0, 2.0))


@pytest.mark.parametrize(
    ("values", "results"),
    [
        (one, other) if number == place else slow(one, other)
        for number, one in enumerate(VALUES)
        for place, other in enumerate(RESULTS)
    ],
)
def test_every_sweep_can_be_drawn(tmp_path: Path, values: list[str], results: Sequence[float | None]) -> None:
    jobs = [
        Job(tmp_path, number, [f"a={value}", f"b={number % 2}"], value=result)
        for number, (value, result) in enumerate(zip(values, results, strict=True))
    ]
    jobs.sort(key=lambda job: job.value is None)
    for keys in ([], ["a"], ["a", "b"]):
        _draw(tmp_path / "sweep.png", jobs, keys, "val/loss")
        assert (tmp_path / "sweep.png").read_bytes().startswith(b"\x89PNG")


# ---------------------------------------------------------------------------------------------- searches


@pytest.mark.slow
def test_a_search_goes_on_where_it_was_interrupted(sweep: Sweep, lab: Lab) -> None:
    pytest.importorskip("optuna")
    search = ("sweep=lr", "hydra.sweeper.n_startup_trials=2", "hydra.sweeper.n_jobs=2")
    assert sweep(*search, "hydra.sweeper.n_trials=2") == 0
    assert sweep(*search, "hydra.sweeper.n_trials=4") == 0
    rates = [float(row["stage.lr"]) for row in table(lab)]
    assert len(begun(lab)) == 4
    assert set(begun(lab).values()) == {1}
    assert all(1e-5 <= rate <= 1e-2 for rate in rates)
    assert (folder_of(lab) / "optuna.log").is_file()


@pytest.mark.slow
def test_the_command_line_wins_over_the_search_space(sweep: Sweep, lab: Lab) -> None:
    pytest.importorskip("optuna")
    assert sweep("sweep=lr", "stage.lr=0.001,0.002", "hydra.sweeper.n_trials=2") == 0
    assert {row["stage.lr"] for row in table(lab)} <= {"0.001", "0.002"}


def search(
    tmp_path: Path, result: Callable[[float], float | None], jobs: int, seed: int = 0, startup: int = 4
) -> list[float]:
    optuna = pytest.importorskip("optuna")
    from hydra_plugins.hdrlab_sweeper import ask, distribution, tell

    override = OverridesParser.create().parse_override("stage.lr=tag(log,interval(1e-5,1e-2))")
    study = optuna.create_study()
    rates = []
    for _ in range(jobs):
        trial = ask(study, {"stage.lr": distribution(override, whole=False)}, startup, seed)
        rates.append(trial.params["stage.lr"])
        tell(study, trial, result(rates[-1]))
    return rates


def test_tpe_looks_where_it_was_good_and_repeats_itself(tmp_path: Path) -> None:
    def result(lr: float) -> float:
        return abs(math.log10(lr / 3e-4))

    found = search(tmp_path, result, 16)
    assert found == search(tmp_path, result, 16)
    assert all(1e-5 <= lr <= 1e-2 for lr in found)
    tries = [search(tmp_path, result, 16, seed=seed) for seed in range(8)]
    assert len({tuple(rates) for rates in tries}) == 8
    early = [result(lr) for rates in tries for lr in rates[:4]]
    late = [result(lr) for rates in tries for lr in rates[-4:]]
    assert sum(late) < 0.6 * sum(early)


def test_tpe_keeps_away_from_where_jobs_failed(tmp_path: Path) -> None:
    tries = [search(tmp_path, lambda lr: None if lr > 1e-3 else 1.0, 16, seed=seed) for seed in range(8)]
    early = [lr > 1e-3 for rates in tries for lr in rates[:4]]
    late = [lr > 1e-3 for rates in tries for lr in rates[-4:]]
    assert sum(late) < 0.6 * sum(early)


def test_whole_numbers_stay_whole() -> None:
    pytest.importorskip("optuna")
    from hydra_plugins.hdrlab_sweeper import _as_override, distribution

    override = OverridesParser.create().parse_override("stage.batch_size=interval(2,8)")
    space: Any = distribution(override, whole=True)
    assert (space.low, space.high) == (2, 8)
    assert _as_override(override, 4) == "stage.batch_size=4"
    rate = OverridesParser.create().parse_override("stage.lr=interval(1e-4,2e-4)")
    assert _as_override(rate, 1.23456789e-4) == "stage.lr=0.0001235"
    assert _as_override(rate, 1.99999e-4) == "stage.lr=0.0002"


# ------------------------------------------------------------------------------------------- the real thing


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", "submitit_local", "basic", "process"])
def test_every_launcher_runs_a_sweep(lab: Lab, launcher: str, tmp_path: Path) -> None:
    if launcher in ("joblib", "submitit_local"):
        pytest.importorskip(launcher.partition("_")[0])
    with pytest.raises(SystemExit) as left:
        COMMAND.main(["-m", *lab.words("deq", "stage.lr=1e-3,1e-4"), f"hydra/launcher={launcher}"])
    assert left.value.code == 0
    assert [row["state"] for row in table(lab)] == ["done"] * 2
    assert all(float(row["seconds"]) > 0 for row in table(lab))
    assert all((Path(row["run"]) / "best.ckpt").is_file() for row in table(lab))
    assert not (lab.runs / "slots").exists()


@pytest.mark.slow
def test_tpe_finds_a_better_learning_rate_than_its_worst_start(lab: Lab) -> None:
    pytest.importorskip("optuna")
    settings = ("hydra.sweeper.n_trials=8", "hydra.sweeper.n_startup_trials=3")
    with pytest.raises(SystemExit) as left:
        COMMAND.main([*lab.words("deq", "stage.max_steps=30"), "sweep=lr", *settings])
    assert left.value.code == 0
    results = {int(row["job"]): float(row["val/loss"]) for row in table(lab)}
    assert min(results[job] for job in range(3, 8)) < max(results[job] for job in range(3))
