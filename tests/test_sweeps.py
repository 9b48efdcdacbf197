"""Sweeps: what they refuse, what they go on with, what they find."""

from __future__ import annotations

import csv
import json
import math
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from training import Lab, numbers

from hdrlab.config.check import ConfigError
from hdrlab.config.command import parse
from hdrlab.config.schema import SlurmConfig, TrainConfig, TrainerConfig
from hdrlab.processes import Busy, alone
from hdrlab.runs import open_run
from hdrlab.sweeps import drive, launchers
from hdrlab.sweeps.launchers import Local, Slurm
from hdrlab.sweeps.plot import draw
from hdrlab.sweeps.record import FAILED, FINISHED, Job, Record, SweepError, figure
from hdrlab.sweeps.space import Axis, make_axis, suggest
from hdrlab.train import COMMAND, gather

ROOT = Path(__file__).resolve().parents[1]
LOG_LR = "stage.lr=tag(log,interval(1e-5,1e-2))"


@dataclass
class Done:
    """A job that ended when it was started."""

    code: int
    reason: str = ""
    cluster_id: None = None

    def poll(self) -> int:
        return self.code

    def stop(self, number: int) -> bool:
        return True


class Inside:
    """Carries jobs out in this process and remembers them; unless asked to, trains nothing."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.trains = False
        self.before: Callable[[int], int | None] = lambda number: None

    def start(self, name: str, words: Sequence[str], log: Path, trainer: TrainerConfig) -> Done:
        self.asked.append(list(words))
        code = self.before(len(self.asked))
        log.write_text("some lines\nerror: the reason\n")
        if code is None:
            config = COMMAND.compose(words)
            code = COMMAND.run(config) if self.trains else pretend(config)
        return Done(code)

    def find(self, cluster_id: str, trainer: TrainerConfig) -> None:
        return None


def pretend(config: TrainConfig) -> int:
    """Leave what a training leaves for a sweep; the best learning rate is 1e-3."""
    material = gather(config)
    run = open_run(material.config, material.index.fingerprint, material.inputs)
    loss = 0.01 + abs(math.log10(config.stage.lr / 1e-3))
    figures = {"loss": loss, "psnr_c": -loss}
    rows = [f"{step},val/{name},{value + step}" for step in (0, 3) for name, value in figures.items()]
    (run.folder / "metrics.csv").write_text("\n".join(["step,metric,value", *rows]) + "\n")
    run.mark_finished(material.config.trainer.max_steps, {})
    run.release()
    return 0


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch) -> Inside:
    launcher = Inside()
    monkeypatch.setattr(drive, "_launcher", lambda *args: launcher)
    monkeypatch.setattr(drive, "POLL_SECONDS", 0)
    return launcher


def sweep(lab: Lab, *words: str, stage: str = "deq") -> int:
    return drive.sweep(COMMAND, lab.words(stage, "callbacks.panels=0", *words))


def only_sweep(lab: Lab) -> Path:
    (folder,) = (lab.runs / "sweeps").iterdir()
    return folder


def stored(folder: Path) -> list[dict[str, Any]]:
    jobs: list[dict[str, Any]] = json.loads((folder / "sweep.json").read_text())["jobs"]
    return jobs


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "jobs.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


# ------------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("-m stage=deq", "nothing is varied; name several values, for example stage.lr=1e-3,1e-4"),
        ("-m stage=deq stage.lr=1e-3,fast", "stage.lr: got 'fast', must be a number above 0"),
        ("-m stage=deq stage.lrr=1,2", "stage.lrr: no such key; did you mean stage.lr?"),
        ("-m stage=deq,dog", "stage=dog: must be"),
        ("-m stage=deq seed=range(5,2)", "seed=range(5,2): stands for no value at all"),
        ("-m stage=deq stage.lr=1e-3,1e-4,1e-3", "stage.lr=0.001: named twice"),
        ("-m stage=deq stage.lr=1e-3,1e-4 stage.lr=1,2", "stage.lr: varied twice"),
        ("-m stage=deq stage.lr=interval(1e-4,1e-3)", "stage.lr: a grid takes no interval"),
        ("sweep=tpe stage=deq stage.lr=interval(1e-3,1e-4)", "interval(0.001,0.0001) is empty"),
        ("sweep=tpe stage=deq stage.lr=interval(0,1)", "stage.lr: got 0.0, must be a number above 0"),
        (
            "sweep=tpe stage=deq stage.batch_size=interval(1.5,8)",
            "stage.batch_size: got 1.5, must be a whole",
        ),
        ("sweep=tpe stage=hal stage.loss.tv=tag(log,interval(0,1))", "on a log scale must begin above 0"),
        ("-m stage=deq seed=range(200)", "200 jobs, more than sweep.jobs=100 allows"),
        ("-m stage=deq seed=1,2 sweep.jobs=0", "sweep.jobs: got 0, must be a whole number at least 1"),
        ("-m stage=deq seed=1,2 sweep.paralel=2", "sweep.paralel: no such key; did you mean sweep.parallel?"),
        ("-m stage=deq seed=1,2 sweep=gird", "sweep=gird: must be"),
        (
            "-m stage=deq seed=1,2 hydra/launcher=joblib",
            "a sweep starts its jobs itself; set sweep.parallel=2",
        ),
        ("-m stage=deq seed=1,2 resume=never", "resume=never: a sweep goes on by itself"),
        ("-m stage=deq seed=1,2 logger=none", "logger=none: a sweep judges by what is logged"),
        ("-m stage=deq seed=1,2 sweep.objective=val/psnr", "sweep.objective=val/psnr: must be val/loss or"),
        ("-m stage=hal stage.loss.tv=0,1", "stage.loss.tv: changes what val/loss means"),
        (
            "-m stage=deq seed=1,2 'sweep.slurm.options=[long]'",
            "sweep.slurm.options=long: must be name=value",
        ),
        ('-m stage=deq seed=1,2 sweep.space=["stage.lr=a,b"]', "stage.lr: got 'a'"),
    ],
)
def test_a_mistake_is_named_before_any_work(
    line: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        COMMAND.main([word.strip("'") for word in line.split()])
    assert left.value.code == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_all_mistakes_come_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("optuna")
    with pytest.raises(SystemExit):
        COMMAND.main(["sweep=tpe", "stage=deq", "stage.lr=interval(2,1)", "stage.patch=40", "stage.wdth=1,2"])
    said = capsys.readouterr().err.splitlines()
    assert [line.split(":")[1].strip() for line in said] == ["stage.lr", "stage.wdth", "stage.patch"]


@pytest.mark.parametrize(("package", "word"), [("optuna", "sweep=lr"), ("submitit", "sweep.launcher=slurm")])
def test_a_missing_package_is_named(package: str, word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    find = drive.importlib.util.find_spec
    monkeypatch.setattr(
        drive.importlib.util, "find_spec", lambda name: None if name == package else find(name)
    )
    with pytest.raises(ConfigError, match=rf"{package} is missing; pip install 'hdrlab\[sweep\]'"):
        drive.make_plan(COMMAND, ["stage=deq", "seed=1,2", word])


def test_jobs_that_would_be_one_run_are_refused(lab: Lab) -> None:
    with pytest.raises(ConfigError, match=r"stage.max_steps: does not change what is trained"):
        sweep(lab, "stage.max_steps=2,3")
    assert not (lab.runs / "sweeps").exists()


def test_an_impossible_combination_is_found_before_any_work(lab: Lab) -> None:
    with pytest.raises(ConfigError, match=r"stage.batch_size=1: must be a multiple of the 2 devices"):
        sweep(lab, "stage.batch_size=1,2", "trainer.devices=1,2", "trainer.num_nodes=1")
    assert not lab.runs.exists()


def test_other_commands_have_no_sweeps(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from hdrlab.evaluate import COMMAND as EVALUATE

    with pytest.raises(SystemExit) as left:
        EVALUATE.main(["-m", f"checkpoint={tmp_path}", "split=val,test"])
    assert left.value.code == 2
    assert "-m: this command has no sweeps" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------- a grid


def test_a_grid_runs_every_job_publishes_nothing_and_ranks_them(
    lab: Lab, inside: Inside, capsys: pytest.CaptureFixture[str]
) -> None:
    inside.trains = True
    assert sweep(lab, "stage.lr=1e-3,1e-2", "seed=1,2") == 0
    folder = only_sweep(lab)
    jobs = table(folder)
    assert [(job["stage.lr"], job["seed"]) for job in jobs] == [
        ("0.001", "1"),
        ("0.001", "2"),
        ("0.01", "1"),
        ("0.01", "2"),
    ]
    for job in jobs:
        losses = numbers(Path(job["run"]), "val/loss")
        step, _, value = min(losses, key=lambda row: row[2])
        assert (float(job["val/loss"]), int(job["step"])) == (value, step)
    assert len({job["run"] for job in jobs}) == 4
    assert not (lab.runs / "slots").exists()
    said = capsys.readouterr().out
    best = min(jobs, key=lambda job: float(job["val/loss"]))
    assert f"│ best │ {best['job']} " in said
    assert f"| best | {best['job']} |" in (folder / "summary.md").read_text()
    assert (folder / "sweep.png").stat().st_size > 5000
    line = said.split(f"to publish job {best['job']}: python -m hdrlab.train ")[1].splitlines()[0]
    assert COMMAND.run(COMMAND.compose(shlex.split(line))) == 0
    assert f"{best['run']}: finished at step 3" in capsys.readouterr().out
    slot = lab.runs / "slots" / "hdr_synth" / "deq.ckpt"
    assert slot.read_bytes() == (Path(best["run"]) / "best.ckpt").read_bytes()


def test_a_finished_job_is_not_run_again_and_a_failed_one_is(
    lab: Lab, inside: Inside, capsys: pytest.CaptureFixture[str]
) -> None:
    inside.before = lambda number: 1 if number == 2 else None
    words = ("stage.lr=1e-3,1e-2,1e-1",)
    assert sweep(lab, *words) == 1
    assert len(inside.asked) == 3
    assert [job["state"] for job in table(only_sweep(lab))] == [FINISHED, FAILED, FINISHED]
    assert table(only_sweep(lab))[1]["reason"] == "ended with 1: the reason"
    assert "│ failed │ 2 " in capsys.readouterr().out
    assert sweep(lab, *words) == 0
    assert [words[-2] for words in inside.asked[3:]] == ["stage.lr=0.01"]
    assert [job["state"] for job in table(only_sweep(lab))] == [FINISHED] * 3
    assert sweep(lab, *words) == 0
    assert len(inside.asked) == 4


def test_a_job_whose_run_folder_is_gone_is_run_again(lab: Lab, inside: Inside) -> None:
    sweep(lab, "seed=1,2")
    Path(table(only_sweep(lab))[0]["run"]).rename(lab.work / "away")
    assert sweep(lab, "seed=1,2") == 0
    assert inside.asked[2:] == inside.asked[:1]


def test_smoke_jobs_that_are_done_stay_done(lab: Lab, inside: Inside) -> None:
    assert sweep(lab, "seed=1,2", "trainer=smoke") == 0
    assert sweep(lab, "seed=1,2", "trainer=smoke") == 0
    assert len(inside.asked) == 2


def test_several_stages_can_be_swept(lab: Lab, inside: Inside) -> None:
    assert sweep(lab, "stage=deq,lin") == 0
    assert only_sweep(lab).name.startswith("deq+lin-grid-")
    assert {Path(job["run"]).parent.name for job in table(only_sweep(lab))} == {"deq", "lin"}


def test_other_words_are_another_sweep(lab: Lab, inside: Inside) -> None:
    sweep(lab, "seed=1,2")
    sweep(lab, "seed=1,2", "callbacks.progress=lines", "sweep.parallel=1")  # changes no result
    assert len(list((lab.runs / "sweeps").iterdir())) == 1
    sweep(lab, "seed=1,2", "sweep.objective=val/psnr_c")
    assert len(list((lab.runs / "sweeps").iterdir())) == 2
    assert len(inside.asked) == 2


def test_a_higher_figure_can_be_the_better_one(lab: Lab, inside: Inside) -> None:
    sweep(lab, "stage.lr=1e-4,1e-2", "sweep.objective=val/psnr_c")
    jobs = table(only_sweep(lab))
    best = max(jobs, key=lambda job: float(job["val/psnr_c"]))
    assert f"| best | {best['job']} |" in (only_sweep(lab) / "summary.md").read_text()


def test_a_figure_that_the_stage_has_not_is_named(lab: Lab, inside: Inside) -> None:
    with pytest.raises(SweepError, match=r"sweep.objective=val/tmqi: .* has val/loss, "):
        sweep(lab, "seed=1,2", "sweep.objective=val/tmqi")
    assert len(inside.asked) == 1


def test_a_signal_ends_the_sweep_and_it_goes_on(lab: Lab, inside: Inside) -> None:
    def interrupted(number: int) -> int | None:
        if number != 2:
            return None
        os.kill(os.getpid(), signal.SIGTERM)
        return 75

    inside.before = interrupted
    assert sweep(lab, "seed=1,2,3") == 75
    assert [job["state"] for job in stored(only_sweep(lab))] == ["finished", "interrupted", "waiting"]
    assert sweep(lab, "seed=1,2,3") == 0
    assert [words[-2] for words in inside.asked] == ["seed=1", "seed=2", "seed=2", "seed=3"]


def test_a_damaged_record_is_named(lab: Lab, inside: Inside) -> None:
    sweep(lab, "seed=1,2")
    path = only_sweep(lab) / "sweep.json"
    path.write_text(path.read_text()[:50])
    with pytest.raises(SweepError, match=r"sweep.json: damaged .* delete it to begin the sweep anew"):
        sweep(lab, "seed=1,2")


def test_the_figure_is_that_of_the_kept_checkpoint(tmp_path: Path) -> None:
    rows = [(1, "val/loss", 3.0), (1, "val/psnr_c", 9.0), (2, "val/loss", 1.0), (2, "val/psnr_c", 7.0)]
    lines = ["step,metric,value", *(f"{step},{name},{value}" for step, name, value in rows)]
    (tmp_path / "metrics.csv").write_text("\n".join(lines) + "\n")
    assert figure(tmp_path, "val/loss") == (1.0, 2)
    assert figure(tmp_path, "val/psnr_c") == (7.0, 2)


# ------------------------------------------------------------------------------------------------- search


def lr_axis() -> Axis:
    return make_axis(parse(LOG_LR), whole=False)


def test_axes_are_what_the_words_say() -> None:
    assert lr_axis() == Axis("stage.lr", ("1e-05", "0.01"), interval=True, log=True)
    assert make_axis(parse("seed=range(1,4)"), whole=True) == Axis("seed", ("1", "2", "3"))
    assert make_axis(parse("stage.batch_size=interval(2,8)"), whole=True).ends == (2, 8)
    assert "demo_hal" in make_axis(parse("experiment=glob(demo_*)"), whole=False).values


def search(
    result: Callable[[float], float | None], jobs: int, seed: int = 0, startup: int = 4
) -> list[float]:
    pytest.importorskip("optuna")
    done: list[tuple[Any, float | None]] = []
    for _ in range(jobs):
        values = suggest([lr_axis()], done, higher=False, startup=startup, seed=seed)
        assert values is not None
        done.append((values, result(float(values["stage.lr"]))))
    return [float(values["stage.lr"]) for values, _ in done]


def test_tpe_looks_where_it_was_good_and_repeats_itself() -> None:
    def result(lr: float) -> float:
        return abs(math.log10(lr / 3e-4))

    found = search(result, 16)
    assert found == search(result, 16)
    assert all(1e-5 <= lr <= 1e-2 for lr in found)
    tries = [search(result, 16, seed=seed) for seed in range(8)]
    assert len({tuple(rates) for rates in tries}) == 8
    early = [result(lr) for rates in tries for lr in rates[:4]]
    late = [result(lr) for rates in tries for lr in rates[-4:]]
    assert sum(late) < 0.6 * sum(early)


def test_tpe_is_better_than_chance_with_eight_jobs() -> None:
    def miss(startup: int, seed: int) -> float:
        best = 10 ** (-4.5 + 2 * (seed % 20) / 20)
        found = search(lambda lr: math.log10(lr / best) ** 2, 8, seed, startup)
        return min(abs(math.log10(lr / best)) for lr in found)

    searched, drawn = (sum(miss(startup, seed) for seed in range(60)) for startup in (3, 8))
    assert searched < 0.85 * drawn


def test_tpe_keeps_away_from_where_jobs_failed() -> None:
    tries = [search(lambda lr: None if lr > 1e-3 else 1.0, 16, seed=seed) for seed in range(8)]
    early = [lr > 1e-3 for rates in tries for lr in rates[:4]]
    late = [lr > 1e-3 for rates in tries for lr in rates[-4:]]
    assert sum(late) < 0.6 * sum(early)


def test_tpe_ends_when_a_small_space_is_exhausted() -> None:
    pytest.importorskip("optuna")
    axes = [Axis("a", ("x", "y", "z")), Axis("b", ("1", "3"), interval=True, whole=True)]
    done: list[tuple[Any, float | None]] = []
    while (values := suggest(axes, done, higher=True, startup=2, seed=0)) is not None:
        done.append((values, 1.0))
    assert len({tuple(sorted(values.items())) for values, _ in done}) == len(done) == 9


def test_a_search_goes_on_where_it_was_interrupted(lab: Lab, inside: Inside) -> None:
    optuna = pytest.importorskip("optuna")
    words = ("sweep=lr", "sweep.startup=2")
    inside.before = lambda number: 130 if number == 2 else None
    assert sweep(lab, *words, "sweep.jobs=2") == 1
    inside.before = lambda number: None
    assert sweep(lab, *words, "sweep.jobs=4") == 0
    assert len(inside.asked) == 5
    assert inside.asked[1] == inside.asked[2]
    rates = [job["values"]["stage.lr"] for job in stored(only_sweep(lab))]
    assert len(set(rates)) == 4
    storage = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(only_sweep(lab) / "optuna.log"))
    )
    study = optuna.load_study(study_name=only_sweep(lab).name, storage=storage)
    assert study.best_value == min(job["result"] for job in stored(only_sweep(lab)))
    assert (only_sweep(lab) / "sweep.png").is_file()


def test_the_command_line_wins_over_the_search_space(lab: Lab, inside: Inside) -> None:
    pytest.importorskip("optuna")
    assert sweep(lab, "sweep=lr", "stage.lr=0.001,0.002", "sweep.jobs=8") == 0
    assert sorted(job["values"]["stage.lr"] for job in stored(only_sweep(lab))) == ["0.001", "0.002"]


# --------------------------------------------------------------------------------------------- processes


def start(words: Sequence[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "hdrlab.train", *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def read_until(process: subprocess.Popen[str], said: str) -> list[str]:
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if said in line:
            return lines
    raise AssertionError("".join(lines))


def wait_for(there: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not there():
        assert time.monotonic() < end
        time.sleep(0.05)


LONG = ("stage.max_steps=60", "trainer.val_every=20", "stage.lr=1e-3,1e-4", "seed=1,2")


def test_a_killed_grid_goes_on_with_the_job_it_was_killed_in(lab: Lab, inside: Inside) -> None:
    """The third of four jobs is killed with its sweep; both go on, the finished ones are left alone."""
    words = ["-m", *lab.words("deq", *LONG)]
    for values in (("stage.lr=1e-3", "seed=1"), ("stage.lr=1e-3", "seed=2")):
        pretend(lab.config("deq", *LONG[:2], *values))  # as if trained before
    done = sorted(lab.runs.glob("deq/*/metrics.csv"))
    first = start(words)
    try:
        read_until(first, "job 3/4  stage.lr=0.0001  seed=1: log ")
        wait_for(lambda: len(list(lab.runs.glob("deq/*/last.ckpt"))) == 1)
    finally:
        first.kill()
        first.communicate()
    before = {path: path.stat().st_mtime_ns for path in done}
    (third,) = [path.parent for path in lab.runs.glob("deq/*/last.ckpt")]
    assert not (third / "finished.json").exists()
    second = start(words)
    said = second.communicate(timeout=240)[0]
    assert second.returncode == 0, said
    assert "2 finished, 2 waiting" in said
    assert "job 1/4" not in said
    assert "job 2/4" not in said
    assert {path: path.stat().st_mtime_ns for path in done} == before
    assert [job["state"] for job in table(only_sweep(lab))] == [FINISHED] * 4
    assert table(only_sweep(lab))[2]["run"] == str(third)
    assert f"{third}: resuming {third / 'last.ckpt'}" in (only_sweep(lab) / "logs" / "003.txt").read_text()


def test_a_signal_reaches_the_job_and_the_sweep_ends_with_its_code(lab: Lab) -> None:
    sweep_ = start(["-m", *lab.words("deq", *LONG)])
    try:
        read_until(sweep_, "job 1/4")
        wait_for(lambda: len(list(lab.runs.glob("deq/*/last.ckpt"))) == 1)
        begun = time.monotonic()
        sweep_.send_signal(signal.SIGTERM)
        said = sweep_.communicate(timeout=60)[0]
    finally:
        sweep_.kill()
    assert sweep_.returncode == 75
    assert time.monotonic() - begun < 30
    assert "SIGTERM: 1 interrupted, 3 waiting; the same command goes on" in said
    with alone(only_sweep(lab) / "lock"):
        pass  # nothing is left running


def test_a_sweep_is_carried_out_by_one_call_at_a_time(
    lab: Lab, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep(lab, "seed=1,2")
    monkeypatch.setattr(drive, "PATIENCE_SECONDS", 0)
    with (
        alone(only_sweep(lab) / "lock"),
        pytest.raises(Busy, match=f"{only_sweep(lab)}: another call is at work here"),
    ):
        sweep(lab, "seed=1,2")


def test_jobs_at_the_same_time_share_cores_and_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
    four = Local(0, 4)
    assert [four._shares(place, 1) for place in range(4)] == [
        {"OMP_NUM_THREADS": "4", "CUDA_VISIBLE_DEVICES": str(gpu)} for gpu in range(4)
    ]
    assert [four._shares(place, 2)["CUDA_VISIBLE_DEVICES"] for place in (0, 1, 2)] == ["0,1", "2,3", "0,1"]
    assert Local(0, 1)._shares(0, 1) == {}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert Local(0, 4)._shares(3, 1) == {"OMP_NUM_THREADS": "4"}


def test_places_are_given_again_when_a_job_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lab: Lab
) -> None:
    code = "import os, time; print(os.environ['CUDA_VISIBLE_DEVICES'], flush=True); time.sleep({})"
    monkeypatch.setattr(launchers, "command_line", lambda words: [sys.executable, "-c", code.format(*words)])
    trainer = lab.config("deq").trainer
    lock = os.open(tmp_path / "lock", os.O_CREAT | os.O_RDWR)
    launcher = Local(lock, 2, ["a", "b"])
    logs = [tmp_path / f"{number}.txt" for number in range(3)]
    short, long = launcher.start("x", ["1"], logs[0], trainer), launcher.start("y", ["60"], logs[1], trainer)
    wait_for(lambda: short.poll() is not None)
    again = launcher.start("z", ["0"], logs[2], trainer)
    wait_for(lambda: again.poll() is not None)
    long.stop(signal.SIGKILL)
    wait_for(lambda: long.poll() is not None)
    os.close(lock)
    assert [log.read_text().strip() for log in logs] == ["a", "b", "a"]


@pytest.mark.slow
def test_two_jobs_at_the_same_time_do_not_collide(lab: Lab) -> None:
    words = lab.words("deq", "stage.lr=1e-3,1e-4", "sweep.parallel=2")
    sweep_ = start(["-m", *words])
    said = sweep_.communicate(timeout=240)[0]
    assert sweep_.returncode == 0, said
    lines = [line.split(":")[0] + (": log" if ": log" in line else "") for line in said.splitlines()]
    assert lines.index("job 2/2  stage.lr=0.0001: log") < lines.index("job 1/2  stage.lr=0.001")
    assert len({job["run"] for job in table(only_sweep(lab))}) == 2


# ---------------------------------------------------------------------------------------------- the report


def made(folder: Path, axes: Sequence[Axis], method: str, results: Sequence[float | None]) -> Record:
    jobs = []
    for number, result in enumerate(results, 1):
        values = {axis.key: axis.values[number % len(axis.values)] for axis in axes}
        jobs.append(Job(number, values, FAILED if result is None else FINISHED, result))
    return Record(folder, {"method": method, "axes": [axis.key for axis in axes]}, jobs)


@pytest.mark.parametrize("method", ["grid", "tpe"])
@pytest.mark.parametrize(
    "axes",
    [
        [Axis("stage.lr", ("0.001", "0.01"))],
        [Axis("stage", ("deq", "lin"))],
        [Axis("stage.lr", ("0.001", "0.01")), Axis("seed", ("1", "2", "3"))],
        [
            Axis("a", ("0.001", "0.01")),
            Axis("b", ("1", "2", "3")),
            Axis("c", ("x", "y")),
            Axis("d", ("1", "2")),
        ],
    ],
)
@pytest.mark.parametrize("results", [(1.0,), (1.0, None, 300.0), (-1.0, 0.0, 2.0, 2.0)])
def test_every_kind_of_sweep_can_be_drawn(
    tmp_path: Path, method: str, axes: list[Axis], results: tuple[float | None, ...]
) -> None:
    path = draw(made(tmp_path, axes, method, results), axes, "val/loss", higher=False)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert not list(tmp_path.glob("*part*"))


# ------------------------------------------------------------------------------------------------ a cluster

SBATCH = """#!/bin/bash
# Stands for SLURM: runs a submitted job in the background of this machine.
job=$((1000 + $(ls {folder} | wc -l)))
touch {folder}/$job
export SLURM_JOB_ID=$job SLURM_PROCID=0 SLURM_NTASKS=1 SLURM_JOB_NUM_NODES=1 SLURM_NODEID=0 SLURM_LOCALID=0
grep ^#SBATCH $1 > {folder}/$job.asked
setsid bash $1 > {folder}/$job.out 2>&1 < /dev/null &
echo $! > {folder}/$job.pid
echo Submitted batch job $job
"""
SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do case $1 in --unbuffered) shift;; *) shift 2;; esac; done
exec "$@"
"""


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    pytest.importorskip("submitit")
    folder, programs = tmp_path / "cluster", tmp_path / "programs"
    folder.mkdir()
    programs.mkdir()
    for name, text in (("sbatch", SBATCH), ("srun", SRUN), ("sacct", "#!/bin/bash\n")):
        (programs / name).write_text(text.format(folder=folder) if name == "sbatch" else text)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return folder


ASKED = SlurmConfig("gpu", None, 60, 8, 1, "32GB", ("module load cuda || true",), ("qos=long",), 3)


def test_a_cluster_is_asked_for_what_was_said(cluster: Path, lab: Lab, tmp_path: Path) -> None:
    words = lab.words("deq", "trainer=smoke", "publish=false")
    trainer = lab.config("deq").trainer
    task = Slurm(tmp_path / "slurm", ASKED).start("deq-1", words, tmp_path / "1.txt", trainer)
    wait_for(lambda: task.poll() is not None)
    assert task.poll() == 0, (tmp_path / "1.txt").read_text()
    assert "-1: a new run" in (tmp_path / "1.txt").read_text()
    asked = set((cluster / f"{task.cluster_id}.asked").read_text().replace("#SBATCH --", "").split())
    assert {
        *("job-name=deq-1", "partition=gpu", "time=60", "cpus-per-task=8", "gpus-per-node=1", "mem=32GB"),
        *("qos=long", "signal=TERM@120", "nodes=1", "ntasks-per-node=1"),
    } <= asked


@pytest.mark.slow
def test_a_job_on_a_cluster_outlives_its_sweep_and_is_found_again(cluster: Path, lab: Lab) -> None:
    words = ["-m", *lab.words("deq", *LONG[:3], "sweep.launcher=slurm", "sweep.parallel=2")]
    first = start(words)
    read_until(first, "job 2/2")
    first.send_signal(signal.SIGINT)
    said = first.communicate(timeout=60)[0]
    assert first.returncode == 130
    assert "SIGINT: 2 running; the same command goes on" in said
    second = start(words)
    said = second.communicate(timeout=240)[0]
    assert second.returncode == 0, said
    assert "2 running" in said
    assert len(list(cluster.glob("*.asked"))) == 2  # none was submitted again
    assert [job["state"] for job in table(only_sweep(lab))] == [FINISHED] * 2


# -------------------------------------------------------------------------------------------- the real thing


@pytest.mark.slow
def test_tpe_finds_a_better_learning_rate_than_its_worst_start(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    small = ("stage.width=0.0625", "stage.patch=32", "stage.batch_size=2", "stage.max_steps=30")
    quiet = ("data.val_pictures=2", "data.val_crop=64", "callbacks.panels=0", "trainer.accelerator=cpu")
    places = (f"paths.runs={tmp_path / 'runs'}", f"paths.data={tmp_path / 'data'}")
    words = ["stage=deq", *small, *quiet, *places, "sweep=lr", "sweep.jobs=8", "sweep.startup=3"]
    searched = start(words)
    said = searched.communicate(timeout=600)[0]
    assert searched.returncode == 0, said
    (folder,) = (tmp_path / "runs" / "sweeps").iterdir()
    results = [float(job["val/loss"]) for job in table(folder)]
    assert len(results) == 8
    assert min(results[3:]) < 0.8 * max(results[:3])
    assert (folder / "sweep.png").read_bytes().startswith(b"\x89PNG")
