from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from commands import call
from training import Lab, assert_same, checkpoint, formula, numbers, slow

from hdrlab.errors import CheckpointError
from hdrlab.io import Image, write_image
from hdrlab.io.atomic import digest
from hdrlab.stages.deq import DeqStage
from hdrlab.train import COMMAND
from hdrlab.training import build as training_build
from hdrlab.training.checkpoints import read_checkpoint

STEADY = ("trainer.val_every=3", "trainer.log_every_n_steps=1")


def assert_same_training(one: Path, other: Path) -> None:
    a, b = checkpoint(one / "last.ckpt"), checkpoint(other / "last.ckpt")
    assert a["global_step"] == b["global_step"]
    for part in ("state_dict", "optimizer_states"):
        assert_same(a[part], b[part], part)


@pytest.fixture
def whole(lab: Lab) -> Path:
    """A training of six steps without interruption."""
    return Lab(lab.prepared, lab.work / "whole").trained("lin", "stage.max_steps=6", *STEADY)


class Stop(RuntimeError):
    pass


class StopAt(pl.Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        if trainer.global_step == self.step:
            raise Stop


def test_the_same_seed_gives_the_same_losses_and_weights(lab: Lab) -> None:
    first = lab.trained("lin", *STEADY)
    second = lab.train("lin", "resume=never", *STEADY)
    assert first != second
    assert_same_training(first, second)
    assert numbers(first) == numbers(second)
    assert numbers(lab.train("lin", "seed=1", *STEADY)) != numbers(first)


def test_the_seed_chooses_the_fresh_weights(lab: Lab) -> None:
    zero, again, one = (
        training_build.build_stage(lab.config("deq", f"seed={n}")).state_dict() for n in (0, 0, 1)
    )
    assert_same(dict(zero), dict(again))
    assert not all(torch.equal(zero[key], one[key]) for key in zero)


def test_loader_processes_change_nothing(lab: Lab) -> None:
    here = lab.train("deq", *STEADY)
    there = lab.train("deq", "resume=never", "data.workers=2", *STEADY)
    assert_same_training(here, there)
    assert numbers(here) == numbers(there)


def test_a_longer_run_continues_where_the_shorter_one_ended(lab: Lab, whole: Path) -> None:
    short = lab.trained("lin", *STEADY)
    longer = lab.train("lin", "stage.max_steps=6", *STEADY)
    assert longer == short
    assert_same_training(longer, whole)
    assert numbers(longer) == numbers(whole)


@pytest.mark.parametrize("stop", [4, slow(5)])
def test_an_interrupted_run_resumes_exactly(
    lab: Lab, whole: Path, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    build = training_build.build_trainer

    def build_fragile(*args: Any) -> pl.Trainer:
        trainer = build(*args)
        trainer.callbacks.append(StopAt(stop))  # type: ignore[attr-defined]
        return trainer

    monkeypatch.setattr(training_build, "build_trainer", build_fragile)
    with pytest.raises(Stop):
        lab.train("lin", "stage.max_steps=6", *STEADY)
    monkeypatch.undo()
    assert checkpoint(lab.newest("lin") / "last.ckpt")["global_step"] == 3
    resumed = lab.train("lin", "stage.max_steps=6", *STEADY)
    assert_same_training(resumed, whole)
    assert numbers(resumed) == numbers(whole)


def test_an_interval_that_does_not_divide_the_length_ends_with_a_validation(lab: Lab, whole: Path) -> None:
    run = lab.train("lin", "stage.max_steps=5", "trainer.val_every=2", "trainer.log_every_n_steps=1")
    assert [step for step, *_ in numbers(run, "val/loss")] == [0, 2, 4, 5]
    assert checkpoint(run / "last.ckpt")["global_step"] == 5
    longer = lab.train("lin", "stage.max_steps=6", "trainer.val_every=4", "trainer.log_every_n_steps=1")
    assert_same_training(longer, whole)
    assert numbers(longer, "train/") == numbers(whole, "train/")
    assert [step for step, *_ in numbers(longer, "val/loss")] == [0, 2, 4, 5, 6]


def test_a_finished_run_is_not_done_again(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    run = lab.trained("deq")
    before = digest(run / "last.ckpt")
    capsys.readouterr()
    assert lab.train("deq") == run
    assert "finished at step 3; raise stage.max_steps or resume=never" in capsys.readouterr().out
    assert digest(run / "last.ckpt") == before


def test_a_run_publishes_its_best_checkpoint_with_a_manifest(lab: Lab) -> None:
    run = lab.train("deq", "stage.lr=0.5", "trainer.val_every=1")  # such steps only make it worse
    slot = lab.runs / "slots" / "hdr_synth" / "deq.ckpt"
    manifest = json.loads(slot.with_suffix(".json").read_text())
    assert checkpoint(slot)["hdrlab"]["step"] < checkpoint(run / "last.ckpt")["hdrlab"]["step"] == 3
    assert digest(slot) == manifest["sha256"] == digest(run / "best.ckpt")
    assert manifest["run"] == f"deq/{run.name}"
    assert manifest["step"] == 3
    assert {"val/loss", "val/psnr_c", "train/l2"} <= manifest["scores"].keys()
    assert manifest["data_fingerprint"] == checkpoint(slot)["hdrlab"]["data"]["fingerprint"]


@pytest.mark.slow
def test_a_stage_that_only_gets_worse_publishes_what_it_started_from(lab: Lab) -> None:
    parts = checkpoint(lab.starts("hal"))["state_dict"]
    run = lab.train("joint", "stage.lr=0.5", "trainer.val_every=1")
    losses = [value for _, _, value in numbers(run, "val/loss")]
    assert losses[0] < min(losses[1:])
    best = checkpoint(run / "best.ckpt")
    assert best["hdrlab"]["step"] == 0
    assert all(
        torch.equal(best["state_dict"][name], value.to(best["state_dict"][name].dtype))
        for name, value in parts.items()
    )


def test_a_smoke_run_takes_two_steps_and_publishes_nothing(lab: Lab) -> None:
    run = lab.train("deq", "trainer=smoke")
    assert checkpoint(run / "last.ckpt")["global_step"] == 2
    assert not (lab.runs / "slots").exists()
    assert lab.train("deq", "trainer=smoke") != run


def test_with_published_lists_the_last_checkpoint_is_published(lab: Lab, tmp_path: Path) -> None:
    root = tmp_path / "images"
    root.mkdir()
    names = [f"{number}.pfm" for number in range(4)]
    for number, name in enumerate(names):
        write_image(root / name, Image(formula(number), "linear"))
    for split, listed in (("train", names[:2]), ("test", names[2:])):
        (tmp_path / f"{split}.txt").write_text("\n".join(listed))
    lists = [f"data.lists.{split}={tmp_path / split}.txt" for split in ("train", "test")]
    run = lab.train("deq", f"data.root={root}", *lists, "stage.lr=0.5", "trainer.val_every=1")
    slot = lab.runs / "slots" / "hdr_synth" / "deq.ckpt"
    assert digest(run / "best.ckpt") != digest(run / "last.ckpt") == digest(slot)


def test_running_out_of_memory_names_the_keys_that_help(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def step(*args: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes")

    monkeypatch.setattr(DeqStage, "training_step", step)
    assert call(COMMAND, lab.words("deq")) == 1
    said = capsys.readouterr().err
    assert all(
        key in said for key in ("stage.batch_size (now 2)", "stage.patch (now 32)", "trainer.precision")
    )


def test_another_error_of_torch_is_not_taken_for_lack_of_memory(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step(*args: Any) -> None:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(DeqStage, "training_step", step)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        lab.train("deq")


def test_init_starts_from_a_checkpoint_of_the_same_stage(
    lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    last = lab.trained("deq") / "last.ckpt"
    stage = training_build.build_stage(lab.config("deq", "seed=7"), {"deq": last})
    assert_same(dict(stage.state_dict()), checkpoint(last)["state_dict"])
    for words, said in (
        (("stage=lin", f"stage.init.lin={last}"), "not of stage=lin"),
        ((f"stage.init.deq={last}", "stage.width=0.125"), "must be ("),
    ):
        assert call(COMMAND, lab.words("deq", *words)) == 2
        assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("logger", "written"),
    [("csv", "metrics.csv"), slow("tensorboard", "tensorboard/events.out.*")],
)
def test_loggers_write_into_the_run_folder_only(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logger: str, written: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    for name in ("cwd", "home", "tmp"):
        (elsewhere / name).mkdir(parents=True)
    monkeypatch.setenv("HOME", str(elsewhere / "home"))
    monkeypatch.chdir(elsewhere / "cwd")
    run = lab.train("deq", "trainer=smoke", f"logger={logger}", "callbacks.panels=1")
    assert list(run.glob(written))
    assert list((run / "panels").glob("step_0000002.png"))
    assert not list((elsewhere / "cwd").iterdir())
    assert {path.name for path in lab.work.iterdir()} <= {"runs", "data", "elsewhere"}


def test_progress_is_told_in_lines_where_there_is_no_terminal(
    lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    lab.train("deq", "callbacks.progress=auto")
    said = capsys.readouterr().out
    assert "step 3/3  loss " in said
    assert "val/psnr_c " in said


def test_a_flipped_bit_in_a_checkpoint_is_found(lab: Lab) -> None:
    path = lab.trained("deq") / "last.ckpt"
    largest = max(checkpoint(path)["state_dict"].values(), key=torch.numel)
    weights = bytes(largest.untyped_storage().tolist())
    content = path.read_bytes()
    assert weights in content
    damaged = bytearray(weights)
    damaged[100] ^= 4
    path.write_bytes(content.replace(weights, bytes(damaged)))
    with pytest.raises(CheckpointError, match="checksum"):
        read_checkpoint(path)
