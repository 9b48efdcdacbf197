"""Stages and data in the hands of a plain ``pl.Trainer``, as in a notebook."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from commands import call
from torch.utils.data import DataLoader
from training import START, TONE_SIDE, TONE_STAGES, Lab, assert_same, checkpoint, long_stages_slow, numbers

import hdrlab
from hdrlab import Reconstructor, ToneMapper, build_net, stages
from hdrlab.config.registry.stages import STAGES
from hdrlab.datasets import HDRDataModule
from hdrlab.errors import ConfigError
from hdrlab.stages import DeqStage, HalStage, LinStage, Stage, TmoFtStage, stage_class
from hdrlab.training.checkpoints import load_stage
from hdrlab.weights.net_file import load_nets

SMALL = 0.0625


def small(name: str, **keys: Any) -> Stage:
    no_vgg: dict[str, Any] = (
        {"loss": {"perceptual": 0}} if hasattr(STAGES[name].schema(), "perceptual") else {}
    )
    torch.manual_seed(0)
    return stage_class(name)(width=SMALL, **no_vgg, **keys)


def images(lab: Lab, name: str, **keys: Any) -> HDRDataModule:
    patch, common = TONE_SIDE if name in TONE_STAGES else 32, {"val_images": 2, "workers": 0}
    sizes = {"patch": patch, "batch_size": 2} | keys
    if name in TONE_STAGES:
        return HDRDataModule("tmo_pairs", root=str(lab.prepared / "tones"), **sizes, **common)
    return HDRDataModule("hdr_synth", root=lab.prepared, short_side=64, **sizes, **common)


def trainer(folder: Path, steps: int = 2, **more: Any) -> pl.Trainer:
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    options = {"max_steps": steps, "accelerator": "cpu", "default_root_dir": folder, **quiet, **more}
    return pl.Trainer(**options)


def test_a_validation_that_scores_nothing_says_so(lab: Lab, tmp_path: Path) -> None:
    data = images(lab, "deq", stage="deq")
    data.setup("validate")
    batches = [{**batch, "mask": torch.zeros_like(batch["mask"])} for batch in data.val_dataloader()]
    with pytest.warns(UserWarning, match="no val image was scored"):
        (scores,) = trainer(tmp_path).validate(
            small("deq"), DataLoader(batches, batch_size=None), verbose=False
        )
    assert scores == {}


@long_stages_slow
def test_a_stage_fits_tests_predicts_and_comes_back(lab: Lab, tmp_path: Path, name: str) -> None:
    stage, data, plain = small(name, lr=1e-3), images(lab, name), trainer(tmp_path)
    plain.fit(stage, data)
    assert plain.global_step == 2
    assert "val/loss" in plain.callback_metrics
    assert stage.config.lr == 1e-3
    file = Path(plain.checkpoint_callback.best_model_path)  # type: ignore[union-attr]
    back = type(stage).load_from_checkpoint(file)
    assert back.config == stage.config
    assert_same(dict(back.state_dict()), dict(stage.state_dict()))
    assert_same(dict(load_stage(file).state_dict()), dict(stage.state_dict()))
    (tested,) = plain.test(back, images(lab, name), verbose=False)
    assert {key.removeprefix("test/") for key in tested} >= {own for own, _ in stage.COMPARED}
    outputs = plain.predict(back, images(lab, name))
    assert outputs is not None
    assert all(isinstance(value, torch.Tensor) for value in outputs[0].values())
    for net in load_nets(file).values():
        own = getattr(stage, net.name)
        assert_same(dict(net.state_dict()), dict(own.state_dict()))
        assert_same(dict(build_net(net.name, weights=file).state_dict()), dict(own.state_dict()))


@pytest.mark.slow
def test_the_commands_take_a_plain_trainers_checkpoint(
    lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    from hdrlab import evaluate, reconstruct

    plain = trainer(tmp_path)
    plain.fit(small("joint"), images(lab, "joint"))
    file = plain.checkpoint_callback.best_model_path  # type: ignore[union-attr]
    Image.new("RGB", (32, 32), (120, 90, 60)).save(tmp_path / "a.png")
    words = [f"input={tmp_path / 'a.png'}", f"output={tmp_path / 'out'}", "device=cpu"]
    places = [f"paths.data={tmp_path / 'data'}", f"output={tmp_path / 'o'}"]
    for command, more in ((reconstruct, words), (evaluate, [*lab.data(), *places, "report=false"])):
        assert call(command.COMMAND, [f"checkpoint={file}", *more]) == 0, capsys.readouterr().err
    assert Reconstructor.load(file, device="cpu")(tmp_path / "a.png").shape == (32, 32, 3)


def test_a_run_starts_from_a_plain_trainers_checkpoint(lab: Lab) -> None:
    plain, file = trainer(lab.work), lab.work / "start.ckpt"
    plain.fit(small("deq"), images(lab, "deq"))
    plain.save_checkpoint(file)
    run = lab.train("deq", f"stage.init.deq={file}", "trainer=smoke")
    assert numbers(run, "train/loss")


def test_runs_come_back_in_lightnings_way(lab: Lab) -> None:
    file = lab.trained("lin") / "last.ckpt"
    stored = checkpoint(file)
    back = LinStage.load_from_checkpoint(file)
    assert back.header["data"]["name"] == "hdr_synth"
    assert_same(dict(back.state_dict()), stored["state_dict"])
    assert LinStage.load_from_checkpoint(file, lr=1.0).config.lr == 1
    with pytest.raises(ConfigError, match="a checkpoint of stage lin, which DeqStage cannot load"):
        DeqStage.load_from_checkpoint(file)


def test_files_are_needed_to_start_but_not_to_come_back(lab: Lab, shared: Path, tmp_path: Path) -> None:
    basis = tmp_path / "invemor.txt"
    basis.write_bytes((shared / "crf" / "invemor.txt").read_bytes())
    plain = trainer(tmp_path)
    plain.fit(small("lin", basis=str(basis)), images(lab, "lin"))
    file = Path(plain.checkpoint_callback.best_model_path)  # type: ignore[union-attr]
    basis.unlink()
    back = LinStage.load_from_checkpoint(file)
    assert back.linearization.basis_name == checkpoint(file)["hdrlab"]["nets"]["linearization"]["basis"]
    assert back.linearization.basis_name != "builtin"


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"lrr": 1}, "lrr: no such key; did you mean lr"),
        ({"lr": -1}, "lr: got -1.0, must be a number above 0"),
        ({"loss": {"tw": 1}}, "loss.tw: no such key"),
        ({"upsampling": "resiz"}, "did you mean resize"),
    ],
)
def test_a_wrong_keyword_is_answered(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        HalStage(**keys)


def test_a_stage_that_cannot_train_says_so_before_it_does(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HDRLAB_VGG16", raising=False)
    for stage, data, said in (
        (HalStage(width=SMALL), images(lab, "hal"), "no VGG-16 file is configured"),
        (
            HalStage(width=SMALL, perceptual={"weights": "nowhere"}),
            images(lab, "hal"),
            "nowhere: no such file",
        ),
        (small("tmo_ft"), images(lab, "tmo_ft", patch=64), "needs at least 192|at least 192"),
        (small("hal"), images(lab, "tmo_ft"), "data=tmo_pairs has no"),
        (small("deq"), images(lab, "deq", batch_size=3), "must be a multiple of 1 devices × accumulate"),
    ):
        with pytest.raises(ConfigError, match=said):
            trainer(tmp_path, accumulate_grad_batches=2).fit(stage, data)


def test_rehearsals_take_random_features_and_say_so(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HDRLAB_VGG16", raising=False)
    data = images(lab, "hal")
    data.name = "tiny"
    with pytest.warns(UserWarning, match="random VGG-16 weights: set HDRLAB_VGG16"):
        trainer(tmp_path, 1, limit_val_batches=0).fit(HalStage(width=SMALL), data)


def test_data_can_be_looked_at_without_a_trainer(lab: Lab) -> None:
    data = HDRDataModule(
        "hdr_synth", root=lab.prepared, short_side=64, stage="hal", patch=32, batch_size=3, workers=0
    )
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    assert set(STAGES["hal"].batch_keys) <= set(batch)
    assert batch["hdr"].shape == (3, 3, 32, 32)
    assert len(data.train_dataloader()) == 3  # four images have eight squares
    assert "exposure" in data.describe(0)
    assert len(data.test_dataloader()) == 6
    with pytest.raises(ConfigError, match="nothing says what a batch must hold; name a stage"):
        images(lab, "hal").setup("fit")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"data": "tinny"}, "data=tinny: must be tiny | .*did you mean tiny"),
        ({"stage": "hall"}, "did you mean hal"),
        ({"rot": "x"}, "data.rot: no such key"),
        ({"data": "hdr_synth"}, "data.root: not set; the folder of HDR images"),
        ({"data": "hdr_synth", "root": "/nowhere"}, "data.root=/nowhere: no such folder"),
        ({"data": "folder"}, "data=folder: must be tiny"),
    ],
)
def test_wrong_data_are_answered(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        HDRDataModule(**wrong)


def test_epochs_end_where_every_image_was_drawn(lab: Lab, tmp_path: Path) -> None:
    stage, data = small("deq"), images(lab, "deq")
    plain = trainer(tmp_path, -1, max_epochs=2)
    plain.fit(stage, data)
    assert plain.global_step == 2 * 4  # four images have eight squares, two a step
    assert plain.current_epoch == 2


def test_a_plain_run_resumes_with_the_sample_that_was_next(lab: Lab, tmp_path: Path) -> None:
    whole, first = small("deq"), small("deq")
    trainer(tmp_path / "whole", 6, limit_val_batches=0).fit(whole, images(lab, "deq"))
    half = trainer(tmp_path / "half", 3, limit_val_batches=0)
    half.fit(first, images(lab, "deq"))
    half.save_checkpoint(tmp_path / "half.ckpt")
    resumed = small("deq")
    trainer(tmp_path / "half", 6, limit_val_batches=0).fit(
        resumed, images(lab, "deq"), ckpt_path=tmp_path / "half.ckpt"
    )
    assert_same(dict(resumed.state_dict()), dict(whole.state_dict()))


def test_what_a_stage_cannot_take_is_answered_in_a_sentence(lab: Lab) -> None:
    stage = stage_class("deq")(width=0.0625)
    with pytest.raises(ConfigError, match=r"a batch is a dict of tensors \(jpeg, .*\), not a Tensor;"):
        stage(torch.rand(1, 3, 33, 47))
    path = lab.trained("deq") / "last.ckpt"
    with pytest.raises(ConfigError, match="a checkpoint of stage deq, which HalStage cannot load"):
        stage_class("hal").load_from_checkpoint(path)


def test_every_stage_is_found_in_its_room() -> None:
    for name in STAGES:
        cls = stage_class(name)
        assert getattr(stages, cls.__name__) is cls
        assert cls.__name__ in stages.__all__
    assert not hasattr(stages, "NoStage")


def test_how_images_are_seen_is_the_stages_own(tmp_path: Path) -> None:
    linear = TmoFtStage(width=SMALL, tone={"domain": "linear"})
    assert linear.is_linear
    assert linear.colour["linearise"] is False
    stored: dict[str, Any] = {"state_dict": linear.state_dict(), "hyper_parameters": dict(linear.hparams)}
    linear.on_save_checkpoint(stored)
    stored["pytorch-lightning_version"] = pl.__version__
    torch.save(stored, tmp_path / "linear.ckpt")
    back = TmoFtStage.load_from_checkpoint(tmp_path / "linear.ckpt")
    assert back.is_linear
    made = ToneMapper.load(weights=tmp_path / "linear.ckpt", device="cpu")
    stored["hyper_parameters"]["tone"]["domain"] = "gamma"
    torch.save(stored, tmp_path / "gamma.ckpt")
    assert ToneMapper.load(weights=tmp_path / "gamma.ckpt", device="cpu").fingerprint != made.fingerprint


def test_a_script_needs_no_guard_around_its_lines(tmp_path: Path) -> None:
    """Processes that read images must not run the caller's script again."""
    script = tmp_path / "script.py"
    script.write_text(
        "print('once')\n"
        "from hdrlab.datasets import index\n"
        "with index._pool(2, range(9)) as pool: print(sum(pool.map(abs, range(9))))\n"
    )
    root = str(Path(hdrlab.__file__).parents[1])
    asked = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=True, env={"PYTHONPATH": root}
    )
    assert asked.stdout == "once\n36\n"


@pytest.mark.slow
@pytest.mark.parametrize("name", START)
def test_stages_that_start_from_others_fit_from_fresh_nets_too(lab: Lab, tmp_path: Path, name: str) -> None:
    plain = trainer(tmp_path, 1)
    plain.fit(small(name), images(lab, name))
    assert plain.global_step == 1
