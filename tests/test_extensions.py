"""Arguments of Lightning's trainer, callbacks, loggers and schedulers that a configuration adds."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from commands import call
from training import Lab, assert_same, checkpoint, numbers

from hdrlab.config.schema.trainer import trainer_arguments
from hdrlab.errors import ConfigError, TrainingError
from hdrlab.train import COMMAND

OWN = """
import pathlib
import pytorch_lightning as pl
from torch.optim.lr_scheduler import LambdaLR

pathlib.Path("imported").touch()

class Diary(pl.Callback):
    def __init__(self, file):
        self.file = file
    def on_train_batch_start(self, trainer, module, batch, number):
        with open(self.file, "a") as stream:
            rate = trainer.optimizers[0].param_groups[0]["lr"]
            print(f"{trainer.global_step} {rate:.6g} {trainer.limit_val_batches}", file=stream)

class Halving(LambdaLR):
    def __init__(self, optimizer, factor):
        super().__init__(optimizer, lambda step: factor**step)
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a module of the user's, as the working directory."""
    (tmp_path / "own_lab.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("own_lab", None)
    return tmp_path


def test_the_trainers_arguments_are_read_off_its_source() -> None:
    import inspect

    import pytorch_lightning as pl

    assert set(trainer_arguments()) == set(inspect.signature(pl.Trainer).parameters)


def test_objects_of_the_users_accompany_a_training(lab: Lab, own: Path) -> None:
    diary = ("callbacks.diary._target_=own_lab.Diary", "callbacks.diary.file=diary.txt")
    kept = (
        "callbacks.kept._target_=pytorch_lightning.callbacks.ModelCheckpoint",
        "callbacks.kept.dirpath=kept",
        "callbacks.kept.monitor=val/loss",
    )
    logger = ("logger.more._target_=pytorch_lightning.loggers.CSVLogger", "logger.more.save_dir=logged")
    rate = ("scheduler._target_=own_lab.Halving", "scheduler.factor=0.5", "stage.lr=1e-3")
    run = lab.train("deq", *diary, *kept, *logger, *rate, "trainer.limit_val_batches=1")
    assert (own / "diary.txt").read_text().splitlines() == ["0 0.001 1", "1 0.0005 1", "2 0.00025 1"]
    (other,) = (own / "kept").glob("*.ckpt")
    assert checkpoint(other)["state_dict"].keys() == checkpoint(run / "last.ckpt")["state_dict"].keys()
    assert list((own / "logged").rglob("metrics.csv"))
    assert numbers(run, "val/loss")
    stored = checkpoint(run / "last.ckpt")
    assert "own_lab" not in str(stored["hyper_parameters"])


def test_a_training_may_stop_early_and_is_finished_then(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    stop = (
        "callbacks.stop._target_=pytorch_lightning.callbacks.EarlyStopping",
        *("callbacks.stop.monitor=val/loss", "callbacks.stop.min_delta=1e9", "callbacks.stop.patience=1"),
    )
    words = ("stage.max_steps=8", "trainer.val_every=2", *stop)
    run = lab.train("deq", *words)
    reached = checkpoint(run / "last.ckpt")["global_step"]
    assert 0 < reached < 8
    assert lab.train("deq", *words) == run
    assert f"finished at step {reached};" in capsys.readouterr().out
    assert checkpoint(run / "last.ckpt")["global_step"] == reached


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["scheduler._target_=torch.optim.lr_scheduler.ReduceLROnPlateau"], "must include a monitor"),
        (
            ["scheduler._target_=torch.optim.lr_scheduler.LinearLR", "scheduler.interval=weekly"],
            'must be "step" or "epoch"',
        ),
        (
            [
                "callbacks.stop._target_=pytorch_lightning.callbacks.EarlyStopping",
                "callbacks.stop.monitor=val/nope",
            ],
            "val/nope",
        ),
        (["trainer.limit_val_batches=abc"], "trainer.limit_val_batches=abc"),
        (
            ["callbacks.size._target_=pytorch_lightning.callbacks.BatchSizeFinder"],
            "callbacks.size: stage.batch_size names a run, so nothing changes it on the way",
        ),
    ],
)
def test_what_lightning_refuses_is_one_line(
    words: list[str], said: str, lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(COMMAND, lab.words("deq", *words)) == 2
    (line,) = [one for one in capsys.readouterr().err.splitlines() if one.startswith("error: ")]
    assert said in line


def test_a_checkpoint_callback_keeps_its_own_files(lab: Lab, own: Path) -> None:
    kept = "pytorch_lightning.callbacks.ModelCheckpoint"
    lab.train("deq", f"callbacks.c._target_={kept}", "callbacks.c.save_last=true", "callbacks.c.dirpath=c")
    assert sorted(one.name for one in (own / "c").iterdir()) == ["epoch=0-step=3.ckpt", "last.ckpt"]


def test_a_sanity_check_changes_nothing(lab: Lab) -> None:
    checked = lab.train("deq", "trainer.num_sanity_val_steps=1")
    plain = Lab(lab.prepared, lab.work / "plain").train("deq")
    assert numbers(checked) == numbers(plain)
    for part in ("state_dict", "optimizer_states", "global_step"):
        one, other = (checkpoint(run / "best.ckpt")[part] for run in (checked, plain))
        assert_same(one, other, part)


def test_time_that_is_used_up_is_no_end(lab: Lab) -> None:
    with pytest.raises(TrainingError, match=r"max_time is used up at step 0 of 3, so nothing is published"):
        lab.train("deq", "trainer.max_time=00:00:00:00")
    run = lab.newest("deq")
    assert lab.train("deq", "trainer.max_time=00:01:00:00") == run
    assert checkpoint(run / "last.ckpt")["global_step"] == 3


def test_a_training_without_a_step_is_not_finished(lab: Lab) -> None:
    with pytest.raises(TrainingError, match="not one step was made"):
        lab.train("deq", "trainer.limit_train_batches=0")


def test_a_profile_lies_in_the_run_folder(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    run = lab.train("deq", "trainer.profiler=simple", "stage.max_steps=1")
    profile = run / "fit-profile.txt"
    assert "run_training_epoch" in profile.read_text(encoding="utf-8")
    assert f"profile: {profile}" in capsys.readouterr().out


def test_a_training_without_the_metric_of_a_sweep_is_done_all_the_same(
    lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        COMMAND.main(lab.words("deq", "stage.max_steps=1", "objective=val/psnr_b"))
    assert left.value.code == 0
    told = capsys.readouterr()
    assert "published: " in told.out
    assert "warning: objective=val/psnr_b: " in told.err
    assert "error" not in told.err.lower()


@pytest.mark.slow
def test_what_counts_names_the_run(lab: Lab) -> None:
    from hdrlab.training.run_hash import run_hash

    def name(*more: str) -> str:
        return run_hash(lab.config("deq", *more), "data", {})

    stop = "callbacks.stop._target_=pytorch_lightning.callbacks.EarlyStopping"
    rate = "scheduler._target_=torch.optim.lr_scheduler.StepLR"
    names = [
        name(),
        name(stop),
        name(rate),
        name("trainer.gradient_clip_val=1"),
        name("trainer.detect_anomaly=true"),
    ]
    assert len(set(names)) == len(names)
    more = (
        "callbacks.panels=3",
        "logger.more._target_=pytorch_lightning.loggers.CSVLogger",
        "trainer.max_time=9",
    )
    assert name(*more) == names[0]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["trainer.limit_val_batche=1"], "trainer.limit_val_batche: no such key; did you mean limit_val_b"),
        (["trainer.devises=1"], "trainer.devises: no such key; did you mean trainer.devices?"),
        (["trainer.plugins=1"], "trainer.plugins: cannot be set; hdrlab brings its own"),
        (["trainer.arguments.logger=true"], "trainer.logger: cannot be set; choose logger=NAME"),
        (["callbacks.panel=1"], "callbacks.panel: no such key; did you mean callbacks.panels?"),
        (["callbacks.mine.patience=1"], "callbacks.mine: has no class; set callbacks.mine._target_=package"),
        (["callbacks.mine._target_=Diary"], "callbacks.mine._target_=Diary: must be package.module.Class"),
        (["logger.mine._target_=nowhere.at.All"], "logger.mine._target_=nowhere.at.All: no package nowhere"),
        (["scheduler.gamma=1"], "scheduler: has no class; set scheduler._target_=package.module.Class"),
        (
            ["scheduler._target_=own_lab.Halving", "stage.schedule=cosine"],
            "scheduler: stage.schedule=cosine is one already",
        ),
    ],
)
def test_what_cannot_be_added_is_said_and_nothing_imported(
    lab: Lab, own: Path, words: list[str], line: str
) -> None:
    with pytest.raises(ConfigError) as wrong:
        COMMAND.compose(lab.words("deq", *words))
    assert any(problem.startswith(line) for problem in wrong.value.problems), wrong.value.problems
    assert not (own / "imported").exists()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["callbacks.mine._target_=own_lab.Missing"],
            "callbacks.mine._target_=own_lab.Missing: cannot be",
        ),
        (["callbacks.mine._target_=own_lab.Halving"], "callbacks.mine._target_=own_lab.Halving: is no pyt"),
        (["callbacks.mine._target_=own_lab.Diary"], "callbacks.mine: "),
        (["scheduler._target_=own_lab.Halving"], "scheduler: "),
        (["trainer.gradient_clip_algorithm=other"], "trainer: "),
    ],
)
def test_what_cannot_be_made_is_answered_in_a_line(
    lab: Lab, own: Path, words: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(COMMAND, lab.words("deq", *words)) == 2
    told = capsys.readouterr().err
    assert f"error: {line}" in told
    assert "Traceback" not in told


def test_a_configuration_file_that_the_user_names_may_add_them(lab: Lab, own: Path) -> None:
    (own / "mine" / "callbacks").mkdir(parents=True)
    (own / "mine" / "callbacks" / "diary.yaml").write_text(
        "defaults: [default]\ndiary: {_target_: own_lab.Diary, file: diary.txt}\n"
    )
    with pytest.raises(SystemExit) as left:
        COMMAND.main(["--config-dir=mine", *lab.words("deq"), "callbacks=diary"])
    assert left.value.code == 0
    assert (own / "diary.txt").is_file()


def test_what_raises_in_a_class_of_the_users_is_told_by_its_line(
    lab: Lab, own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (own / "own_lab.py").open("a") as stream:
        stream.write("\nclass Broken(pl.Callback):\n    def __init__(self):\n        self.no.where = 1\n")
    assert call(COMMAND, lab.words("deq", "callbacks.mine._target_=own_lab.Broken")) == 2
    told = capsys.readouterr().err
    assert "error: callbacks.mine: AttributeError: 'Broken' object has no attribute 'no'" in told
    assert "self.no.where = 1" in told
    assert "Traceback" not in told
