"""What is wrong is said, all of it, in words that help; nothing is computed or written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from training import Lab

from hdrlab.config.cli import Command
from hdrlab.errors import ConfigError
from hdrlab.evaluate import COMMAND as EVALUATE
from hdrlab.prepare import COMMAND as PREPARE
from hdrlab.train import COMMAND as TRAIN


def never(config: object) -> int:
    raise AssertionError("a wrong configuration was carried out")


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> object:
    """Run a wrong command line and return what is said, a line a problem."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HDRLAB_VGG16", raising=False)

    def run(line: str, command: Command = TRAIN) -> list[str]:  # type: ignore[type-arg]
        with pytest.raises(SystemExit) as left:
            replace(command, run=never).main(line.split())
        said = capsys.readouterr()
        assert left.value.code == 2
        assert not list(tmp_path.iterdir())
        return [text.removeprefix("error: ") for text in said.err.splitlines() if text.startswith("error: ")]

    return run


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("stage=hall", ["stage=hall: must be deq | hal", "did you mean hal?"]),
        (
            "stage=hal data=tinny logger=wandbb trainer=null experiment=nothing",
            [
                "did you mean tiny?",
                "did you mean wandb?",
                "trainer=null: must be ddp | fit | smoke",
                "experiment=nothing: must be",
            ],
        ),
        ("stage=null", ["stage=null: must be"]),
        ("trainer=smoke", ["stage: not set"]),
        ("stage", ["stage: not understood"]),
        (
            "stage=hal stage.losss.tv=1 sead=1 zebra=1 +stage.foo=1 ~stage.lr data.skip_bad=true "
            "logger.project=x stage.bn_momentum=1",
            [
                "stage.losss.tv: no such key; did you mean stage.loss.tv?",
                "sead: no such key; did you mean seed?",
                "zebra: no such key; the configuration has stage, data",
                "stage.foo: no such key; stage has name, max_steps",
                "~stage.lr: keys cannot be removed; set a value",
                "data.skip_bad: a key of data=hdr_synth",
                "logger.project: a key of logger=wandb only",
                "stage.bn_momentum: a key of stage=lin or stage=joint or stage=real_finetune only",
            ],
        ),
        (
            "stage=hal stage.lr=fast stage.loss=3 seed=true stage.max_steps=1.5 stage.patch=40 "
            "trainer.precision=8 preset=offical",
            [
                "stage.lr: got 'fast', must be a number above 0",
                "stage.loss: got 3, but is a section; set stage.loss.log_l1",
                "seed: got True, must be a whole number",
                "stage.max_steps: got 1.5, must be a whole number",
                "stage.patch: got 40, must be a whole number at least 32, a multiple of 32",
                "trainer.precision: got '8', must be 64 | 32 | bf16 | 16",
                "must be default | official | tf2 | compact; did you mean official?",
            ],
        ),
        (
            "-m stage=hal stage.lr=1e-3,0,inf,nan,null seed=-1",
            [
                "stage.lr: got 0.0, must be a number above 0",
                "stage.lr: got inf",
                "stage.lr: got nan",
                "stage.lr: not set, must be a number above 0",
                "seed: got -1, must be a whole number at least 0, at most 4294967295",
            ],
        ),
        ("stage=hal stage.lr=[1]", ["stage.lr: got [1], must be a number"]),
        ("stage=hal -m stage.lr=1e-3,0", ["stage.lr: got 0.0, must be a number above 0"]),
        (
            "stage=hal stage.patch=4096 data.val_crop=512",
            [
                "stage.patch=4096: must be at most data.short_side=384",
                "data.val_crop=512: must be at most data.short_side=384",
            ],
        ),
        (
            "stage=hal resume=maybe stage.init.hal=no.ckpt data.curves=no.txt",
            [
                "resume=maybe: no such file",
                "stage.init.hal=no.ckpt: no such file",
                "data.curves=no.txt: no such file",
            ],
        ),
        ("stage=hal paths.vgg16=no.pth", ["paths.vgg16=no.pth: no such file"]),
        ("stage=lin experiment=paper_hal", ["experiment=paper_hal is made for stage=hal, not for stage=lin"]),
        ("stage=lin stage.basis=no.txt", ["stage.basis=no.txt: no such file"]),
        ("stage=hal stage.perceptual.weights=no.pth", ["stage.perceptual.weights=no.pth: no such file"]),
        ("stage=hal stage.width=${oops}", ["stage.width: Interpolation key 'oops' not found"]),
        (
            "stage=deq stage.batch_size=3 trainer.devices=2 stage.loss.l2=0",
            ["stage.batch_size=3: must be a multiple of the 2", "stage.loss: every weight is 0"],
        ),
        (
            "stage=deq stage.batch_size=1 data.jpeg_quality=positional",
            ["needs stage.batch_size of at least 2"],
        ),
        ("stage=hal stage.lr=1e-3,1e-4", ["stage.lr=1e-3,1e-4: several values; add -m"]),
        ("stage=hal,deq", ["stage=hal,deq: several values; add -m"]),
        ("-m stage=hal,doq", ["stage=doq: must be"]),
        ("stage=deq data=hdr_synth", ["data.root: not set; the folder of HDR images"]),
        (
            "stage=deq data=hdr_synth data.root=gone data.manifest=a",
            ["data.root=gone: no such folder", "data.manifest=a: no such file"],
        ),
        ("stage=deq data=hdr_synth data.root=. data.lists.train=a", ["data.lists.test: not set"]),
        ("stage=tmo_ft data=tmo_pairs", ["data.root: not set; the folder of pairs"]),
        (
            "stage=tmo_ft data=tmo_pairs data.root=. data.unlabelled=b data.manifest=a",
            ["data.unlabelled=b: no such folder", "data.manifest=a: no such file"],
        ),
        (
            "stage=tmo_ft stage.tone.domain=gama",
            ["stage.tone.domain: got 'gama', must be gamma | linear | log | adaptive; did you mean gamma?"],
        ),
        (
            "stage=hal data=tmo_pairs data.root=.",
            ["stage=hal needs inv_curve, jpeg, lin, which data=tmo_pairs has not"],
        ),
        (
            "stage=tmo_high data=hdr_synth data.root=.",
            ["stage=tmo_high needs high, labelled, sdr_high, which data=hdr_synth has not"],
        ),
        (
            "stage=hal data=hdr_synth data.root=.",
            ["stage.perceptual.weights=auto: no VGG-16 file is configured"],
        ),
    ],
)
def test_a_mistake_is_named(refused, line: str, said: list[str]) -> None:  # type: ignore[no-untyped-def]
    told = "\n".join(refused(line))
    assert [one for one in said if one not in told] == []


def test_all_mistakes_are_named_at_once(refused) -> None:  # type: ignore[no-untyped-def]
    line = "stage=hal stage.lr=fast stage.pach=64 seed=-1 stage.patch=40 trainer.precision=8 data.val_crop=33"
    keys = [text.partition(":")[0] for text in refused(line)]
    assert sorted(keys) == sorted(
        ["stage.pach", "stage.lr", "seed", "stage.patch", "trainer.precision", "data.val_crop"]
    )


def test_nothing_is_said_twice(refused) -> None:  # type: ignore[no-untyped-def]
    said = refused("-m stage=deq stage.lr=1e-3,1e-4,0 seed=-1")
    assert len(said) == len(set(said)) == 2


@pytest.mark.parametrize(
    ("command", "line", "said"),
    [
        (EVALUATE, "split=test", "checkpoint: not set"),
        (EVALUATE, "checkpoint=no.ckpt", "checkpoint=no.ckpt: no such file"),
        (
            EVALUATE,
            "checkpoint=no.ckpt split=tset",
            "split: got 'tset', must be train | val | test | all; did you mean",
        ),
        (PREPARE, "source=gone root=x", "source=gone: no such folder"),
        (PREPARE, "source=. root=.", "root: must be another folder than source"),
        (PREPARE, "source=. root=x data=tiny", "data=tiny: nothing to prepare"),
    ],
)
def test_the_other_commands_check_too(refused, command, line: str, said: str) -> None:  # type: ignore[no-untyped-def]
    assert said in "\n".join(refused(line, command))


def test_without_a_choice_the_menu_follows(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        TRAIN.main(["seed=1"])
    said = capsys.readouterr().err
    assert "error: stage: not set" in said
    assert "restore clipped highlights" in said


def test_the_perceptual_loss_needs_a_file_on_real_images_only(lab: Lab, tmp_path: Path) -> None:
    real = [word for word in lab.words("hal") if "perceptual" not in word]
    with pytest.raises(ConfigError, match="no VGG-16 file is configured"):
        TRAIN.compose(real)
    for word in ("trainer=smoke", "stage.loss.perceptual=0", "stage.perceptual.weights=random"):
        TRAIN.compose([*real, word])
    TRAIN.compose(["stage=hal"])
    weights = tmp_path / "vgg16.npy"
    weights.touch()
    config = TRAIN.compose([*real, f"paths.vgg16={weights}"])
    assert config.stage.vgg16 == str(weights)
    assert TRAIN.compose(["stage=hal"]).stage.vgg16 == "random"
    with pytest.raises(ConfigError, match=r"paths\.vgg16=nowhere: no such file"):
        TRAIN.compose([*real, "paths.vgg16=nowhere"])


def test_numbers_that_read_as_words_are_taken(lab: Lab) -> None:
    assert lab.config("deq", "trainer.precision=32").trainer.precision == "32"
    assert lab.config("deq", "stage.lr=1").stage.lr == 1.0
    assert lab.config("deq", "+stage.lr=1e-5").stage.lr == 1e-5
