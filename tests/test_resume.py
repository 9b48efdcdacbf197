"""What a run promises when it is killed, stopped, filled with NaN, or its disk and files are damaged."""

from __future__ import annotations

import errno
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from commands import call
from forked import Training, kill_self, start, with_callback
from training import Lab, assert_same, checkpoint, numbers, slow

from hdrlab.datasets import hdr_synth
from hdrlab.io.atomic import digest
from hdrlab.train import COMMAND
from hdrlab.training import checkpoint_list, checkpoints
from hdrlab.training.checkpoint_list import find_last, read_manifest
from hdrlab.training.checkpoints import read_checkpoint
from hdrlab.training.metrics_csv import MetricsFile

STEPS = 6
STEADY = (f"stage.max_steps={STEPS}", "trainer.val_every=3", "trainer.log_every_n_steps=1")


def assert_same_run(one: Path, other: Path) -> None:
    """Compare weights, optimiser, best checkpoint and every logged number, to the last bit."""
    for name in ("last.ckpt", "best.ckpt"):
        a, b = checkpoint(one / name), checkpoint(other / name)
        assert a["global_step"] == b["global_step"], name
        for part in ("state_dict", "optimizer_states", "callbacks"):
            assert_same(a[part], b[part], f"{name} {part}")
    assert (one / "metrics.csv").read_bytes() == (other / "metrics.csv").read_bytes()


class At(pl.Callback):
    """Does something at a moment of a training."""

    def __init__(self, hook: str, step: int, act: Callable[[], None]) -> None:
        def do(trainer: pl.Trainer, *args: Any, **more: Any) -> None:
            if trainer.global_step == step:
                act()

        setattr(self, hook, do)


@pytest.fixture
def elsewhere(lab: Lab) -> Lab:
    """A second place, for the run that nothing happens to."""
    return Lab(lab.prepared, lab.work / "whole")


def run_of(lab: Lab, stage: str) -> Path:
    (run,) = (lab.runs / stage).iterdir()
    return run


# ------------------------------------------------------------------------------------ P1: exact resume

PAIRWISE = [  # stage, workers, accumulate, save_every, where it is killed
    ("deq", 0, 1, "null", ("on_train_batch_start", 5)),
    *(
        slow(*row)
        for row in (
            ("tmo_bottom", 2, 1, "1", ("on_validation_end", 3)),
            ("lin", 2, 2, "2", ("on_train_batch_end", 3)),
            ("hal", 0, 2, "null", ("on_validation_start", 3)),
            ("joint", 2, 1, "1", ("on_before_optimizer_step", 4)),
            ("real_finetune", 0, 2, "4", ("on_train_batch_start", 5)),
            ("tmo_high", 0, 1, "1", ("on_before_backward", 2)),
            ("tmo_ft", 0, 2, "3", ("on_train_batch_end", 6)),
        )
    ),
]


@pytest.mark.parametrize(("stage", "workers", "accumulate", "every", "place"), PAIRWISE)
def test_a_killed_run_resumes_exactly(
    lab: Lab, elsewhere: Lab, stage: str, workers: int, accumulate: int, every: str, place: tuple[str, int]
) -> None:
    size = f"stage.batch_size={2 * accumulate}"
    words = (*STEADY, size, f"trainer.accumulate_grad_batches={accumulate}", f"trainer.save_every={every}")
    whole = elsewhere.train(stage, *words)
    words = (*words, f"data.workers={workers}")
    line, log = lab.words(stage, *words), lab.work / "log"
    killed = start(line, log, with_callback(At(*place, kill_self)), by_hydra=True)
    assert killed.wait() == -signal.SIGKILL
    assert start(line, log, by_hydra=True).wait() == 0, log.read_text()
    assert_same_run(run_of(lab, stage), whole)


@pytest.mark.slow
def test_dropout_draws_the_same_after_a_resume(
    lab: Lab, elsewhere: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hdrlab.stages.deq import DeqStage

    plain = DeqStage.losses

    def noisy(self: DeqStage, batch: Any, outputs: Any) -> dict[str, torch.Tensor]:
        terms = plain(self, batch, outputs)
        return {name: term * (1 + torch.rand(())) for name, term in terms.items()} if self.training else terms

    monkeypatch.setattr(DeqStage, "losses", noisy)
    whole = elsewhere.train("deq", *STEADY)
    killed = start(
        lab.words("deq", *STEADY),
        lab.work / "log",
        with_callback(At("on_train_batch_start", 4, kill_self)),
    )
    assert killed.wait() == -signal.SIGKILL
    assert_same_run(lab.train("deq", *STEADY), whole)


def test_parts_of_a_step_make_the_whole_step(lab: Lab) -> None:
    words = ("stage.batch_size=4", "trainer.precision=64", "trainer.log_every_n_steps=1")
    losses = [
        numbers(lab.train("deq", *words, f"trainer.accumulate_grad_batches={parts}"), "train/loss")
        for parts in (1, 2, 4)
    ]
    for other in losses[1:]:
        for (step, _, value), (same, _, expected) in zip(other, losses[0], strict=True):
            assert step == same
            assert value == pytest.approx(expected, rel=1e-12)


# -------------------------------------------------------------------------------- P3, P4: saving is atomic


def break_at(moment: str) -> Callable[[], None]:
    """Kill the process at a moment of its second save."""

    def change() -> None:
        module, name = {
            "part written": (checkpoints, "Entry"),
            "before kept": (checkpoints, "link"),
            "before listed": (checkpoints, "write_manifest"),
        }[moment]
        plain, calls = getattr(module, name), []

        def broken(*args: Any) -> Any:
            calls.append(args)
            if len(calls) == 2:
                kill_self()
            return plain(*args)

        setattr(module, name, broken)

    return change


@pytest.mark.parametrize("moment", ["part written", slow("before kept"), slow("before listed")])
def test_a_kill_while_saving_leaves_a_checkpoint(lab: Lab, elsewhere: Lab, moment: str) -> None:
    whole = elsewhere.trained("deq", *STEADY)
    log = lab.work / "log"
    assert start(lab.words("deq", *STEADY), log, break_at(moment)).wait() == -signal.SIGKILL
    run = run_of(lab, "deq")
    found, _ = find_last(run)
    assert found is not None
    assert read_checkpoint(found)["global_step"] in (0, 3)
    assert start(lab.words("deq", *STEADY), log).wait() == 0, log.read_text()
    assert_same_run(run, whole)
    assert not list(run.glob(".*.tmp"))


def fail_writing(times: int, number: int) -> Callable[[], None]:
    """Let saving fail as a disk does, from the second save on."""

    def change() -> None:
        plain, calls = torch.save, []

        def broken(*args: Any, **more: Any) -> None:
            calls.append(args)
            if 2 <= len(calls) < 2 + times:
                raise OSError(number, os.strerror(number))
            plain(*args, **more)

        checkpoints.torch.save = broken  # type: ignore[attr-defined]

    return change


@pytest.mark.parametrize("number", [errno.ENOSPC, slow(errno.EIO)])
def test_a_disk_that_recovers_costs_no_run(lab: Lab, elsewhere: Lab, number: int) -> None:
    whole = elsewhere.trained("deq", *STEADY)
    log = lab.work / "log"
    assert start(lab.words("deq", *STEADY), log, fail_writing(1, number)).wait() == 0
    assert f"last.ckpt: not saved ([Errno {number}]" in log.read_text()
    run = run_of(lab, "deq")
    assert_same(checkpoint(run / "last.ckpt")["state_dict"], checkpoint(whole / "last.ckpt")["state_dict"])


@pytest.mark.slow
def test_a_disk_that_stays_full_ends_the_run_with_the_old_checkpoint(lab: Lab, elsewhere: Lab) -> None:
    words = (*STEADY[:1], "trainer.val_every=1", "trainer.log_every_n_steps=1")
    whole = elsewhere.train("deq", *words)
    log = lab.work / "log"
    assert start(lab.words("deq", *words), log, fail_writing(9, errno.ENOSPC)).wait() == 1
    assert "error: " in log.read_text()
    run = run_of(lab, "deq")
    assert checkpoint(run / "last.ckpt")["global_step"] == 0
    assert not (run / "finished.json").exists()
    assert start(lab.words("deq", *words), log).wait() == 0
    assert_same_run(run, whole)


def test_a_full_disk_under_the_log_is_said_in_a_line(lab: Lab, elsewhere: Lab) -> None:
    def change() -> None:
        plain = MetricsFile.log_metrics

        def broken(self: MetricsFile, metrics: dict[str, float], step: int | None = None) -> None:
            if step == 4:
                with self.path.open("a") as stream:
                    stream.write("5,train/lo")
                raise OSError(errno.ENOSPC, "No space left on device", str(self.path))
            plain(self, metrics, step)

        MetricsFile.log_metrics = broken  # type: ignore[method-assign]

    whole = elsewhere.trained("deq", *STEADY)
    log = lab.work / "log"
    assert start(lab.words("deq", *STEADY), log, change).wait() == 1
    assert log.read_text().splitlines()[-1].startswith("error: [Errno 28] No space left on device")
    assert start(lab.words("deq", *STEADY), log).wait() == 0
    assert_same_run(run_of(lab, "deq"), whole)


# ---------------------------------------------------------------------------------- P5: damage is found


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def swap(path: Path) -> None:
    path.write_bytes(b"PK\x03\x04 something else")


@pytest.mark.parametrize("damage", [flip, Path.unlink, *map(slow, (cut, empty, swap))])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    lab: Lab, elsewhere: Lab, capfd: pytest.CaptureFixture[str], damage: Callable[[Path], None]
) -> None:
    longer = (*STEADY[1:], "stage.max_steps=7")
    whole = elsewhere.trained("deq", *longer)
    run = lab.trained("deq", *STEADY)
    damage(run / "last.ckpt")
    lab.train("deq", *longer)
    said = capfd.readouterr()
    assert f"resuming {run / 'previous.ckpt'}" in said.out
    if damage is not Path.unlink:
        assert f"warning: {run / 'last.ckpt'}: is not as it was written" in said.err
    assert numbers(run, "train/") == numbers(whole, "train/")
    assert_same(checkpoint(run / "last.ckpt")["state_dict"], checkpoint(whole / "last.ckpt")["state_dict"])


@pytest.mark.parametrize("name", ["last.ckpt", "checkpoints.json"])
def test_nothing_starts_anew_over_damaged_checkpoints(
    lab: Lab, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    run = lab.trained("deq")
    best = run / "best.ckpt"
    content = best.read_bytes()
    best.unlink()
    best.write_bytes(content)  # a file of its own, not the last one's second name
    flip(run / name)
    (run / "previous.ckpt").unlink()
    assert call(COMMAND, lab.words("deq", "stage.max_steps=4")) == 2
    said = capsys.readouterr().err
    assert str(run / name) in said
    assert f"resume=never to start anew, or resume={best}" in said


def test_a_damaged_best_checkpoint_is_not_offered(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    run = lab.trained("deq")
    for name in ("last.ckpt", "previous.ckpt", "best.ckpt"):
        (run / name).write_bytes(b"junk")
    assert call(COMMAND, lab.words("deq", "stage.max_steps=4")) == 2
    assert capsys.readouterr().err.endswith("set resume=never to start anew\n")


def test_a_damaged_best_checkpoint_takes_no_slot(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    run = lab.trained("deq")
    slot = lab.runs / "slots" / "hdr_synth" / "deq.ckpt"
    before = digest(slot)
    flip(run / "best.ckpt")
    assert call(COMMAND, lab.words("deq")) == 2
    assert f"{run / 'best.ckpt'}: is not as it was written" in capsys.readouterr().err
    assert digest(slot) == before


def newer(stored: dict[str, Any]) -> None:
    stored["hdrlab"]["schema_version"] = 99


def weights_alone(stored: dict[str, Any]) -> None:
    del stored["optimizer_states"]


def other_net(stored: dict[str, Any]) -> None:
    name = next(iter(stored["state_dict"]))
    stored["state_dict"]["dequantization.more"] = stored["state_dict"].pop(name)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (newer, "written by a newer hdrlab"),
        (weights_alone, "holds weights alone; start from them: stage.init.deq="),
        (other_net, "does not fit this stage: missing dequantization."),
    ],
)
def test_a_checkpoint_that_cannot_be_gone_on_from_is_named(
    lab: Lab, capsys: pytest.CaptureFixture[str], change: Callable[..., None], said: str
) -> None:
    stored = checkpoint(lab.trained("deq") / "last.ckpt")
    change(stored)
    path = lab.work / "changed.ckpt"
    torch.save(stored, path)
    assert call(COMMAND, lab.words("deq", "stage.max_steps=4", f"resume={path}")) == 2
    printed = capsys.readouterr().err
    assert str(path) in printed
    assert said in printed


def test_a_checkpoint_of_another_stage_is_refused(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    path = lab.trained("lin") / "last.ckpt"
    assert call(COMMAND, lab.words("deq", f"resume={path}")) == 2
    assert "of stage=lin preset=default, and this run is of stage=deq" in capsys.readouterr().err


# -------------------------------------------------------------------------------------------- P6: signals


@pytest.mark.parametrize(
    ("number", "code", "place", "reached"),
    [
        (signal.SIGTERM, 75, ("on_before_backward", 3), 4),
        slow(signal.SIGUSR1, 75, ("on_validation_batch_start", 3), 3),
        slow(signal.SIGINT, 130, ("on_train_batch_start", 4), 5),
    ],
)
def test_a_signal_saves_the_step_and_the_run_goes_on_exactly(
    lab: Lab, elsewhere: Lab, number: int, code: int, place: tuple[str, int], reached: int
) -> None:
    words = (*STEADY, "data.workers=1")
    whole = elsewhere.train("lin", *STEADY)
    log = lab.work / "log"
    stopped = start(
        lab.words("lin", *words), log, with_callback(At(*place, lambda: os.killpg(os.getpgid(0), number)))
    )
    assert stopped.wait() == code, log.read_text()
    run = run_of(lab, "lin")
    assert checkpoint(run / "last.ckpt")["global_step"] == reached
    assert not (run / "finished.json").exists()
    assert not (lab.runs / "slots").exists()
    if number == signal.SIGTERM:  # its last step is not validated
        assert start(lab.words("lin", *words, f"stage.max_steps={reached}"), log).wait() == 2
        assert f"has come to step {reached} and was broken off there" in log.read_text()
    assert start(lab.words("lin", *words), log).wait() == 0, log.read_text()
    assert_same_run(run, whole)


def test_a_signal_before_the_training_ends_it_at_once(lab: Lab) -> None:
    from hdrlab.training import inputs

    def change() -> None:
        inputs.open_data = lambda *args, **more: kill_self(signal.SIGTERM)  # type: ignore[assignment]

    assert start(lab.words("deq"), lab.work / "log", change).wait() == 75


# ------------------------------------------------------------------------------- P7: not a number


def poison(counters: set[int]) -> Callable[[], None]:
    """Make some training samples NaN."""

    def change() -> None:
        plain = hdr_synth.SynthTraining.__getitem__

        def poisoned(self: hdr_synth.SynthTraining, counter: int) -> dict[str, torch.Tensor]:
            sample = plain(self, counter)
            return {k: v * float("nan") for k, v in sample.items()} if counter in counters else sample

        hdr_synth.SynthTraining.__getitem__ = poisoned  # type: ignore[method-assign]

    return change


def test_a_step_that_is_not_finite_is_left_out(lab: Lab) -> None:
    log = lab.work / "log"
    assert start(lab.words("lin", *STEADY), log, poison({5})).wait() == 0, log.read_text()
    run = run_of(lab, "lin")
    stored = checkpoint(run / "last.ckpt")
    assert stored["global_step"] == STEPS
    steps = {int(state["step"]) for state in stored["optimizer_states"][0]["state"].values()}
    assert steps == {STEPS - 1}
    assert all(bool(torch.isfinite(value).all()) for value in stored["state_dict"].values())
    said = (run / "bad_steps.csv").read_text()
    assert said.splitlines()[1].startswith("3,nan,")
    assert "4: " in said
    assert "5: " in said
    assert "square, curve" in said


def test_too_many_bad_steps_end_the_run(lab: Lab) -> None:
    log = lab.work / "log"
    words = lab.words("deq", *STEADY, "trainer.bad_steps=1")
    assert start(words, log, poison(set(range(4, 99)))).wait() == 1
    run = run_of(lab, "deq")
    assert f"{run / 'bad_steps.csv'} names the samples" in log.read_text()
    assert len((run / "bad_steps.csv").read_text().splitlines()) == 3
    last = checkpoint(run / "last.ckpt")
    assert last["global_step"] == 3
    assert all(bool(torch.isfinite(value).all()) for value in last["state_dict"].values())


def test_a_training_that_ends_in_nothing_useful_publishes_nothing(lab: Lab) -> None:
    log = lab.work / "log"
    words = lab.words("deq", *STEADY, "stage.lr=1e30")
    for _ in range(2):  # again: nothing is left to train, and still nothing to publish
        assert start(words, log).wait() == 1
        assert "trained to the end, but the validation loss is" in log.read_text().splitlines()[-1]
    assert not (lab.runs / "slots").exists()
    assert not (run_of(lab, "deq") / "finished.json").exists()


def test_a_kill_after_the_last_step_leaves_its_figures(lab: Lab, elsewhere: Lab) -> None:
    def change() -> None:
        from hdrlab.training.run_folder import Run

        Run.mark_finished = lambda *args: kill_self()  # type: ignore[method-assign]

    whole = elsewhere.trained("deq", *STEADY)
    log = lab.work / "log"
    assert start(lab.words("deq", *STEADY), log, change).wait() == -signal.SIGKILL
    assert start(lab.words("deq", *STEADY), log).wait() == 0
    assert (run_of(lab, "deq") / "finished.json").read_text() == (whole / "finished.json").read_text()


def test_weights_that_are_not_finite_are_never_saved(lab: Lab) -> None:
    class Spoil(pl.Callback):
        def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
            if trainer.global_step == 3:
                with torch.no_grad():
                    next(pl_module.parameters()).fill_(float("inf"))

    log = lab.work / "log"
    assert start(lab.words("deq", *STEADY), log, with_callback(Spoil())).wait() not in (0, -9)
    assert "last.ckpt: not written: state_dict." in log.read_text()
    assert checkpoint(run_of(lab, "deq") / "last.ckpt")["global_step"] == 0


# ------------------------------------------------------------------------------------------- P12: the log


def test_rows_of_a_validation_that_comes_again_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    rows = ["0,val/loss,5.0", "2,train/loss,4.0", "2,val/loss,3.0", "3,train/loss,2.0", "3,train/lo"]
    for validated, kept in ((True, rows[:3]), (False, rows[:2])):
        path.write_text("\n".join(["step,metric,value", *rows]))
        MetricsFile(path, 2, validated=validated)
        assert path.read_text().splitlines()[1:] == kept


# ------------------------------------------------------------------------------------------ P8: bad samples


@pytest.mark.parametrize("workers", [slow(0), 1])
def test_a_sample_that_cannot_be_made_is_named(lab: Lab, workers: int) -> None:
    def change() -> None:
        def broken(*args: Any, **more: Any) -> None:
            raise OSError("the disk gave nothing")

        hdr_synth.resize = broken  # type: ignore[assignment]

    log = lab.work / "log"
    assert start(lab.words("deq", f"data.workers={workers}"), log, change).wait() == 1
    last = log.read_text().splitlines()[-1]
    assert last.startswith("error: sample 0 (")
    assert last.endswith("the disk gave nothing")


def break_samples(counters: set[int]) -> Callable[[], None]:
    """Make some training samples fail."""

    def change() -> None:
        plain = hdr_synth.SynthTraining.__getitem__

        def broken(self: hdr_synth.SynthTraining, counter: int) -> dict[str, torch.Tensor]:
            if counter in counters:
                raise OSError("the disk gave nothing")
            return plain(self, counter)

        hdr_synth.SynthTraining.__getitem__ = broken  # type: ignore[method-assign]

    return change


@pytest.mark.slow
def test_a_few_bad_samples_may_be_replaced_and_are_listed(lab: Lab, elsewhere: Lab) -> None:
    words, log = (*STEADY, "trainer.bad_samples=2"), lab.work / "log"
    assert start(elsewhere.words("deq", *words), log, break_samples({3, 8})).wait() == 0, log.read_text()
    change = break_samples({3, 8})

    def change_and_kill() -> None:
        change()
        with_callback(At("on_train_batch_start", 4, kill_self))()

    killed = start(lab.words("deq", *words, "data.workers=1"), log, change_and_kill)
    assert killed.wait() == -signal.SIGKILL
    assert start(lab.words("deq", *words, "data.workers=1"), log, change).wait() == 0, log.read_text()
    assert_same_run(run_of(lab, "deq"), run_of(elsewhere, "deq"))
    listed = (run_of(lab, "deq") / "bad_samples.txt").read_text().splitlines()
    assert [line.partition(" (")[0] for line in listed] == ["sample 3", "sample 8"]
    assert all(line.endswith("the disk gave nothing") for line in listed)
    more = lab.words("deq", *words, "resume=never")
    assert start(more, log, break_samples({3, 8, 9})).wait() == 1
    assert log.read_text().splitlines()[-1].startswith("error: sample 9 (")


@pytest.mark.parametrize("fault", ["killed", slow("hung")])
def test_a_loader_process_that_dies_or_hangs_ends_the_run(lab: Lab, fault: str) -> None:
    def change() -> None:
        from hdrlab.datasets import loading

        loading.TIMEOUT = 3

        def broken(*args: Any, **more: Any) -> None:
            kill_self(signal.SIGKILL if fault == "killed" else signal.SIGSTOP)

        hdr_synth.resize = broken  # type: ignore[assignment]

    log = lab.work / "log"
    training = start(lab.words("deq", "data.workers=1"), log, change)
    assert training.wait() == 1, log.read_text()
    assert "error: step 1 of deq: a loader process died or hung" in log.read_text()
    if fault == "hung":
        os.killpg(training.pid, signal.SIGKILL)


# ------------------------------------------------------------------------------------------ P10: double start


def pause(seconds: float) -> Callable[[], None]:
    return with_callback(At("on_train_batch_start", 4, lambda: time.sleep(seconds)))


def paused(lab: Lab) -> Training:
    training = start(lab.words("deq", *STEADY), lab.work / "log", pause(60), by_hydra=True)
    training.wait_for(lambda: any(lab.runs.glob("deq/*/last.ckpt")))
    return training


def test_a_second_process_on_a_run_is_refused_and_a_dead_one_is_no_hindrance(lab: Lab) -> None:
    first = paused(lab)
    second = lab.work / "second"
    assert start(lab.words("deq", *STEADY), second, by_hydra=True).wait() == 2
    assert f"another process trains here (process {first.pid} on " in second.read_text()
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    assert start(lab.words("deq", *STEADY), second).wait() == 0, second.read_text()


# ---------------------------------------------------------------------------------------------- slow disks


@pytest.mark.slow
def test_a_slow_disk_changes_no_checkpoint(lab: Lab, elsewhere: Lab) -> None:
    def change() -> None:
        plain = checkpoints.CheckpointFiles._save

        def slow(*args: Any, **more: Any) -> None:
            time.sleep(0.7)
            plain(*args, **more)

        checkpoints.CheckpointFiles._save = slow  # type: ignore[method-assign]

    words = ("stage.lr=0.5", "trainer.val_every=1", "trainer.save_every=1")  # such steps only make it worse
    whole = elsewhere.train("deq", *words)
    assert start(lab.words("deq", *words), lab.work / "log", change).wait() == 0
    assert_same_run(run_of(lab, "deq"), whole)
    assert checkpoint(whole / "best.ckpt")["global_step"] < 3


# -------------------------------------------------------------------------------------------------- the list


def test_the_list_says_what_lies_there(lab: Lab) -> None:
    run = lab.trained("deq", *STEADY)
    listed = {one.file: one for one in read_manifest(run)}
    assert {name: one.step for name, one in listed.items()} == {
        "last.ckpt": 6,
        "previous.ckpt": 3,
        "best.ckpt": checkpoint(run / "best.ckpt")["global_step"],
    }
    for name, one in listed.items():
        assert (one.bytes, one.sha256) == ((run / name).stat().st_size, digest(run / name))


WRONG_TYPE = [{"file": "last.ckpt", "step": "x", "bytes": 1, "sha256": ""}]


@pytest.mark.parametrize("content", ["[]", "{", "[1]", '[{"file": 1}]', json.dumps(WRONG_TYPE)])
def test_a_damaged_list_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "last.ckpt").touch()
    (tmp_path / checkpoint_list.FILE).write_text(content)
    with pytest.raises(checkpoint_list.CheckpointError, match=r"checkpoints\.json|last\.ckpt"):
        find_last(tmp_path)
