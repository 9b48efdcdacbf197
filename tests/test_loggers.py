"""Where the numbers and panels of a run go, read as its user would."""

from __future__ import annotations

import io
import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from training import Lab, numbers
from wandb_files import history, of_kind, served

from hdrlab.errors import RunError
from hdrlab.metrics.names import METRICS, better
from hdrlab.train import COMMAND
from hdrlab.training.loggers import TensorBoard
from hdrlab.training.metrics_csv import MetricsFile, RunLogger
from hdrlab.training.metrics_rows import read_metrics

SHOWN = ("callbacks.panels=1", "trainer.val_every=1", "trainer.log_every_n_steps=1")


@pytest.fixture
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home and a working folder of their own, to see that nothing is written there."""
    for name in ("home", "cwd"):
        (tmp_path / "elsewhere" / name).mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "elsewhere" / "home"))
    monkeypatch.chdir(tmp_path / "elsewhere" / "cwd")
    for name in ("WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_ERROR_REPORTING"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)  # so what the logger sets goes with the test
    return tmp_path / "elsewhere"


def offline_file(run: Path) -> Path:
    """The only offline run of a run folder."""
    (found,) = (run / "wandb").glob("offline-run-*/*.wandb")
    return found


def by_step(run: Path) -> dict[int, dict[str, float]]:
    figures: dict[int, dict[str, float]] = {}
    for step, name, value in numbers(run):
        figures.setdefault(step, {})[name] = value
    return figures


def figures_of(rows: list[dict[str, object]]) -> dict[int, dict[str, object]]:
    """Numbers of wandb rows by step; each step must be there once."""
    steps = [row["step"] for row in rows]
    assert steps == sorted(set(steps)) == [row["_step"] for row in rows]
    return {row["step"]: {k: v for k, v in row.items() if k.startswith(("train/", "val/"))} for row in rows}


# ------------------------------------------------------------------------------------------ metrics.csv


def test_rows_behind_the_step_and_torn_rows_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    file = MetricsFile(path, -1)
    for step in range(4):
        file.log_metrics({"train/loss": 0.1 * step, "epoch": 0}, step - 1)
    with path.open("a") as stream:
        stream.write("2,val/loss,")
    file = MetricsFile(path, 2)
    file.log_metrics({"val/loss": 7.0}, 2)
    assert path.read_text() == (
        "step,metric,value\n0,train/loss,0.0\n1,train/loss,0.1\n2,train/loss,0.2\n3,val/loss,7.0\n"
    )
    assert read_metrics(path)[3] == {"val/loss": 7.0}
    assert not list(tmp_path.glob("*.part"))
    MetricsFile(path, -1)
    assert path.read_text() == "step,metric,value\n"


def test_every_figure_has_a_good_end() -> None:
    assert {name for name in METRICS if better(name) == "max"} == {
        name for name in METRICS if "PSNR" in METRICS[name] or name.startswith(("psnr", "tmqi", "ssim"))
    }
    assert better("loss") == better("log_l1") == better("curve_mse") == "min"


# ------------------------------------------------------------------------------------------ TensorBoard


@pytest.mark.slow
def test_tensorboard_shows_the_numbers_and_panels_of_the_run_folder(lab: Lab, apart: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    lab.train("deq", "logger=tensorboard", *SHOWN)
    run = lab.train("deq", "logger=tensorboard", *SHOWN, "stage.max_steps=4")
    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"images": 0})
    events.Reload()
    shown: dict[int, dict[str, float]] = {}
    for name in events.Tags()["scalars"]:
        for one in events.Scalars(name):
            shown.setdefault(one.step, {})[name] = one.value
    assert shown == {
        step: {name: pytest.approx(value, rel=1e-6) for name, value in figures.items()}
        for step, figures in by_step(run).items()
    }
    assert [one.step for one in events.Images("panel")] == [0, 1, 2, 3, 4]
    for one in events.Images("panel"):
        kept = Image.open(run / "panels" / f"step_{one.step:07d}.png").convert("RGB")
        image = Image.open(io.BytesIO(one.encoded_image_string)).convert("RGB")
        assert np.array_equal(image, kept)
    assert not list((apart / "cwd").iterdir())


@pytest.mark.parametrize("validated", [True, False])
def test_tensorboard_leaves_out_what_a_killed_run_logged_too_far(tmp_path: Path, validated: bool) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def log(folder: Path, start: int, value: float, *, again: bool) -> list[RunLogger]:
        """Train three steps from a checkpoint that was saved before or after its validation."""
        loggers = [MetricsFile(folder / "metrics.csv", start, validated=validated)]
        loggers += [TensorBoard(folder, start, validated=validated)]
        for step in range(max(0, start), start + 4):
            for logger in loggers:
                if step > start:
                    logger.log_metrics({"train/loss": value}, step - 1)
                if step > start or again:
                    logger.log_metrics({"val/loss": value}, step - 1)
        return loggers

    log(tmp_path, -1, 1.0, again=True)[1].save()  # killed: never closed
    for logger in log(tmp_path, 1, 2.0, again=not validated):
        logger.finalize("success")
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    trained, judged = ([(e.step, e.value) for e in events.Scalars(f"{k}/loss")] for k in ("train", "val"))
    assert trained == [(0, 1.0), (1, 1.0), (2, 2.0), (3, 2.0), (4, 2.0)]
    assert judged == [(0, 1.0), (1, 1.0 if validated else 2.0), (2, 2.0), (3, 2.0), (4, 2.0)]
    assert read_metrics(tmp_path / "metrics.csv") == {
        step: {"train/loss": trained[step][1], "val/loss": judged[step][1]} for step in range(5)
    }


# ------------------------------------------------------------------------------------------------ wandb


@pytest.mark.slow
def test_a_resumed_wandb_run_is_one_run_whole_and_can_be_sent(lab: Lab, apart: Path) -> None:
    words = ("logger=wandb", *SHOWN)
    run = lab.train("deq", *words)
    first = offline_file(run)
    with (run / "metrics.csv").open("a") as stream:
        stream.write("4,val/loss,0.5\n")  # logged behind the checkpoint that the next start goes on from
    lab.train("deq", *words, "stage.max_steps=5")
    second = offline_file(run)
    assert second.parent != first.parent
    assert second.name == first.name

    rows = history(second)
    assert figures_of(rows) == by_step(run)
    assert sorted(by_step(run)) == [0, 1, 2, 3, 4, 5]
    assert by_step(run)[4]["val/loss"] != 0.5
    for row in rows:
        panel = second.parent / "files" / row["panel/path"]
        assert panel.read_bytes() == (run / "panels" / f"step_{row['step']:07d}.png").read_bytes()

    assert not list((apart / "cwd").iterdir())
    assert not list((apart / "home").iterdir())
    with served() as server:
        sent = subprocess.run(
            [sys.executable, "-m", "wandb", "sync", str(second.parent)],
            env={**os.environ, "WANDB_BASE_URL": server.address, "WANDB_API_KEY": "0" * 40},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert sent.returncode == 0, sent.stderr
    assert server.runs == {second.stem.removeprefix("run-")}
    assert figures_of(server.rows) == by_step(run)
    assert len([name for name in server.files if name.startswith("media/images/panel")]) == 6


@pytest.mark.slow
def test_a_wandb_run_says_what_it_is(lab: Lab, apart: Path) -> None:
    run = lab.train("lin", "logger=wandb", "logger.artifacts=true", "logger.entity=us", "trainer=smoke")
    file = offline_file(run)
    (told,) = of_kind(file, "run")
    assert (told.project, told.entity, told.run_group) == ("hdrlab", "us", "lin")
    assert told.display_name == f"lin/{run.name}"
    assert re.fullmatch(r"lin-[a-z0-9_-]+", told.run_id)
    outcome = {
        one.key or "/".join(one.nested_key) for part in of_kind(file, "summary") for one in part.update
    }
    assert {"steps", "seconds", "best/step", "best/psnr_b"} <= outcome
    assert list(told.tags) == ["lin", "hdr_synth", "default"]
    config = {one.key: json.loads(one.value_json) for part in of_kind(file, "config") for one in part.update}
    assert config["stage"]["lr"] == lab.config("lin").stage.lr
    assert config["data"]["root"] == str(lab.prepared)
    assert set(config["origin"]) == {"data", "inputs", "perceptual", "git_commit", "versions"}
    assert len(config["origin"]["data"]["fingerprint"]) == 64
    kinds = {one.name: one for one in of_kind(file, "metric")}
    assert kinds["val/psnr_b"].step_metric == "step"
    assert kinds["val/psnr_b"].summary.max
    assert kinds["val/curve_mse"].summary.min
    assert kinds["val/l2"].summary.min
    assert of_kind(file, "environment")[-1].cpu_count > 0
    (artifact,) = of_kind(file, "artifact")
    assert artifact.type == "checkpoint"
    assert {Path(one.local_path) for one in artifact.manifest.contents} == {
        run / name for name in ("last.ckpt", "best.ckpt")
    }
    assert not list((run / "wandb").rglob("staging/*"))


@pytest.mark.slow
def test_each_job_of_a_sweep_is_a_run_of_its_own(
    lab: Lab, apart: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hdrlab.train import COMMAND

    monkeypatch.setattr(sys, "argv", ["train"])
    with pytest.raises(SystemExit) as left:
        COMMAND.main(["-m", *lab.words("deq", "logger=wandb", "stage.lr=1e-3,1e-4", "trainer=smoke")])
    assert left.value.code == 0
    rates = [
        json.loads(one.value_json)["lr"]
        for run in (lab.runs / "deq").iterdir()
        for part in of_kind(offline_file(run), "config")
        for one in part.update
        if one.key == "stage"
    ]
    assert sorted(rates) == [1e-4, 1e-3]


def test_online_without_a_key_is_said_in_one_line(
    lab: Lab, apart: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    with served() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.address)
        with pytest.raises(RunError, match="set WANDB_API_KEY in the environment") as said:
            lab.train("deq", "logger=wandb", "logger.online=true", "trainer=smoke")
    assert len(str(said.value).splitlines()) == 1


@pytest.mark.slow  # wandb itself asks again and again, for a minute and a half
def test_online_without_a_server_is_said_before_any_training(
    lab: Lab, apart: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef0123456789abcdef01234567")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{free.getsockname()[1]}")
    begun = time.monotonic()
    with pytest.raises(
        RunError, match=r"see that the server is reached, or leave logger\.online=false$"
    ) as said:
        lab.train("deq", "logger=wandb", "logger.online=true", "trainer=smoke")
    assert len(str(said.value).splitlines()) == 1
    assert time.monotonic() - begun < 200
    assert not list(lab.runs.glob("deq/*/*.ckpt"))


def test_no_logger_writes_no_numbers(lab: Lab) -> None:
    run = lab.train("deq", "logger=none", "trainer=smoke")
    assert not [path.name for path in run.iterdir() if path.suffix in (".csv", ".part") or path.is_dir()]


@pytest.mark.parametrize("without", ["logger=none", "~logger"])
def test_a_run_without_numbers_ends_well(lab: Lab, without: str) -> None:
    with pytest.raises(SystemExit) as left:
        COMMAND.main([*lab.words("deq", without), "trainer=smoke"])
    assert left.value.code == 0
