"""The moving average of weights: what it is, that it is what is judged and published, and that it resumes."""

from __future__ import annotations

import signal
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from forked import kill_self, start, with_callback
from torch import Tensor
from training import Lab, assert_same, checkpoint, numbers, slow

from hdrlab.errors import ConfigError
from hdrlab.training import build as training_build
from hdrlab.training.checkpoints import load_stage
from hdrlab.training.ema import moving_average
from hdrlab.training.slots import slot_of

LONG = ("stage.max_steps=6", "trainer.val_every=3", "trainer.log_every_n_steps=1", "stage.lr=1e-2")
EMA = ("trainer.ema=0.5", *LONG)  # above what the first steps are limited to: 0.1 to 0.4


class Diary(pl.Callback):
    """Keeps the weights after every step."""

    def __init__(self) -> None:
        self.weights: list[dict[str, Tensor]] = []

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        self.weights.append({name: value.clone() for name, value in pl_module.state_dict().items()})


@pytest.fixture
def diary(monkeypatch: pytest.MonkeyPatch) -> Diary:
    made, build = Diary(), training_build.build_trainer

    def build_with_diary(*args: Any) -> pl.Trainer:
        trainer = build(*args)
        trainer.callbacks.append(made)  # type: ignore[attr-defined]
        return trainer

    monkeypatch.setattr(training_build, "build_trainer", build_with_diary)
    return made


def averaged(weights: list[dict[str, Tensor]], decay: float) -> dict[str, Tensor]:
    average = {name: value.double() for name, value in weights[0].items()}
    for step, current in enumerate(weights[1:], start=1):
        keep = min(decay, (1 + step) / (10 + step))
        average = {name: keep * value + (1 - keep) * current[name] for name, value in average.items()}
    return average


def test_an_average_moves_by_its_share_and_what_stands_still_stays() -> None:
    update = moving_average(0.75)
    average, same = torch.tensor([1.0, 3.0]), torch.tensor([0.1])
    update([average, same], [torch.tensor([2.0, 1.0]), torch.tensor([0.1])], torch.tensor(1000))
    assert average.tolist() == [1.25, 2.5]
    assert torch.equal(same, torch.tensor([0.1]))
    update([average], [torch.tensor([0.0, 0.0])], 1)  # early: keeps 2 / 11
    assert average.tolist() == pytest.approx([1.25 * 2 / 11, 2.5 * 2 / 11])
    counter = torch.tensor(3)
    update([counter], [torch.tensor(7)], 5)
    assert counter == 7


@pytest.mark.parametrize("precision", ["32", "64"])
def test_checkpoints_hold_the_averages_and_training_goes_on_from_its_own_weights(
    lab: Lab, diary: Diary, precision: str
) -> None:
    run = lab.train("lin", *EMA, f"trainer.precision={precision}")
    stored = checkpoint(run / "last.ckpt")
    expected = averaged(diary.weights, 0.5)
    assert any(name.endswith("running_var") for name in expected)
    for name, value in stored["state_dict"].items():
        if value.is_floating_point():
            torch.testing.assert_close(value.double(), expected[name], rtol=1e-5, atol=1e-7)
        assert value.dtype == diary.weights[0][name].dtype
    for constant in ("linearization.basis_mean", "linearization.basis_components"):
        assert torch.equal(stored["state_dict"][constant], diary.weights[0][constant])
    assert_same(dict(stored["current_model_state"]), diary.weights[-1])

    plain = lab.train("lin", *LONG, f"trainer.precision={precision}")
    assert plain != run
    assert_same(dict(checkpoint(plain / "last.ckpt")["state_dict"]), diary.weights[5])
    assert numbers(plain, "train/") == numbers(run, "train/")
    assert numbers(plain, "val/") != numbers(run, "val/")


class Death(pl.Callback):
    """Sends this process a signal: in step 5, or in the validation after step 3."""

    def __init__(self, number: int) -> None:
        self.number = number

    def on_before_backward(self, trainer: pl.Trainer, *args: Any) -> None:
        if self.number == signal.SIGKILL and trainer.global_step == 4:
            trainer.strategy.checkpoint_io.finish()  # type: ignore[attr-defined]  # written beside training
            kill_self(self.number)

    def on_validation_batch_start(self, trainer: pl.Trainer, *args: Any) -> None:
        if self.number == signal.SIGTERM and trainer.global_step == 3:
            kill_self(self.number)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [slow(signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 75)])
def test_an_interrupted_run_with_averages_resumes_exactly(lab: Lab, number: int, code: int) -> None:
    whole = Lab(lab.prepared, lab.work / "whole").train("lin", *EMA)
    log = lab.work / "log"
    stopped = start(lab.words("lin", *EMA), log, with_callback(Death(number)))
    assert stopped.wait() == code, log.read_text()
    assert checkpoint(lab.newest("lin") / "last.ckpt")["global_step"] == 3
    resumed = lab.train("lin", *EMA)
    for name in ("last.ckpt", "best.ckpt"):
        one, other = checkpoint(whole / name), checkpoint(resumed / name)
        for part in (
            "state_dict",
            "current_model_state",
            "averaging_state",
            "optimizer_states",
            "global_step",
        ):
            assert_same(one[part], other[part], f"{name} {part}")
    assert numbers(resumed) == numbers(whole)


def test_what_is_published_is_what_was_judged(lab: Lab) -> None:
    run = lab.train("deq", *EMA)
    slot = slot_of(lab.runs, "hdr_synth", "deq")
    best = min(value for *_, value in numbers(run, "val/loss"))
    assert best < numbers(run, "val/loss")[0][2]
    weights = checkpoint(slot)["state_dict"]
    assert_same(dict(load_stage(slot).state_dict()), dict(weights))
    assert not all(torch.equal(weights[k], v) for k, v in checkpoint(slot)["current_model_state"].items())
    # A run that starts from it begins with its validation.
    again = lab.train("deq", "trainer=smoke", f"stage.init.deq={slot}")
    assert numbers(again, "val/loss")[0][2] == best


def test_half_precision_and_averages_go_together(lab: Lab, diary: Diary) -> None:
    run = lab.train("deq", *EMA, "trainer.precision=bf16")
    expected = averaged(diary.weights, 0.5)
    for name, value in checkpoint(run / "last.ckpt")["state_dict"].items():
        torch.testing.assert_close(value.double(), expected[name], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("decay", ["0", "1", "yes"])
def test_a_decay_that_is_none_is_refused(lab: Lab, decay: str) -> None:
    with pytest.raises(
        ConfigError, match=r"trainer\.ema: got .*, must be a number above 0, at most 0\.999999"
    ):
        lab.config("deq", f"trainer.ema={decay}")
