"""The stages of the whole chain: what they start from, where gradients go, what guards them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from training import Lab, checkpoint, slow

from hdrlab.errors import CheckpointError, RunError
from hdrlab.io.atomic import digest
from hdrlab.metrics import alignment_mask
from hdrlab.stages.joint import JointStage
from hdrlab.stages.real_finetune import PATIENCE, RealFinetuneStage, clipping_point
from hdrlab.training import build as training_build
from hdrlab.training.checkpoints import load_stage
from hdrlab.training.slots import starting_points

SIDE = 32


def a_batch() -> dict[str, Tensor]:
    draws = torch.Generator().manual_seed(0)
    hdr = 2 * torch.rand((2, 3, SIDE, SIDE), generator=draws)
    lin = hdr.clamp(max=1)
    grid = torch.linspace(0, 1, 1024)
    return {
        "hdr": hdr,
        "lin": lin,
        "ldr": lin**0.5,
        "jpeg": (lin**0.5 * 255).round() / 255,
        "inv_curve": (grid**2).expand(2, 1024),
        "mask": torch.ones(2, 1, 1, 1),
    }


def fresh(lab: Lab, name: str, *more: str) -> JointStage | RealFinetuneStage:
    stage = training_build.build_stage(lab.config(name, *more))
    assert isinstance(stage, (JointStage, RealFinetuneStage))
    return stage


def dequantization_gradient(stage: JointStage | RealFinetuneStage, term: str) -> float:
    batch = a_batch()
    stage.zero_grad()
    stage.losses(batch, stage(batch))[term].backward()  # type: ignore[no-untyped-call]
    return sum(float(p.grad.abs().sum()) for p in stage.dequantization.parameters() if p.grad is not None)


def test_gradients_cross_the_stage_borders_unless_the_teacher_forces(lab: Lab) -> None:
    assert dequantization_gradient(fresh(lab, "joint"), "log_l1") > 0
    forced = fresh(lab, "joint", "stage.mode=teacher_forcing")
    assert dequantization_gradient(forced, "log_l1") == 0
    assert dequantization_gradient(forced, "deq") > 0


def test_teacher_forcing_gives_each_net_its_true_input(lab: Lab) -> None:
    stage, batch = fresh(lab, "joint", "stage.mode=teacher_forcing"), a_batch()
    curve = stage(batch)["curve"]
    batch["jpeg"] = torch.zeros_like(batch["jpeg"])
    assert torch.equal(stage(batch)["curve"], curve)
    assert not torch.equal(stage.eval()(batch)["curve"], stage.eval()(a_batch())["curve"])  # chained again


@pytest.mark.slow
def test_joint_takes_over_the_slots_and_says_which(lab: Lab) -> None:
    slots = {name: lab.runs / "slots" / "hdr_synth" / f"{name}.ckpt" for name in ("deq", "lin", "hal")}
    for name in slots:
        lab.trained(name)
    config = lab.config("joint", *(f"stage.init.{name}=null" for name in slots))
    assert starting_points(config) == slots
    stage = training_build.build_stage(config, slots)
    given: dict[str, Tensor] = {}
    for slot in slots.values():
        given |= checkpoint(slot)["state_dict"]
    assert given.keys() == stage.state_dict().keys()
    assert all(torch.equal(value, given[name]) for name, value in stage.state_dict().items())

    run = lab.train("joint", *(f"stage.init.{name}=null" for name in slots))
    inputs = checkpoint(run / "last.ckpt")["hdrlab"]["inputs"]
    assert inputs == {f"stage.init.{name}": digest(slot) for name, slot in slots.items()}


def test_an_empty_slot_names_the_command_that_fills_it(lab: Lab) -> None:
    config = lab.config("joint", "stage.init.lin=null")
    with pytest.raises(RunError, match=r"from lin, not published yet; .*train stage=lin data=hdr_synth"):
        starting_points(config)
    assert starting_points(lab.config("joint", "stage.init.lin=null", "trainer=smoke")) == {}


def test_a_checkpoint_of_another_stage_or_preset_is_refused(lab: Lab) -> None:
    lin = lab.starts("lin")
    with pytest.raises(CheckpointError, match="stage=lin preset=default, not of stage=deq"):
        training_build.build_stage(lab.config("joint"), {"deq": lin})
    with pytest.raises(CheckpointError, match="preset=default, not of stage=lin preset=official"):
        training_build.build_stage(lab.config("joint", "preset=official"), {"lin": lin})
    with pytest.raises(CheckpointError, match="must be"):
        training_build.build_stage(lab.config("joint", "stage.width=0.125"), {"lin": lin})


def test_finetuning_starts_with_what_joint_scored(lab: Lab) -> None:
    joint = lab.starts("joint")
    stage = training_build.build_stage(lab.config("real_finetune"), {"joint": joint}).eval()
    batch = a_batch()
    with torch.inference_mode():
        outputs, before = stage(batch), load_stage(joint)(batch)
    assert torch.equal(outputs["refined"], before["hdr"])


@pytest.mark.parametrize(("batch_norm", "moves"), [("frozen", False), slow("train", True)])
def test_batch_norms_stay_as_joint_left_them_unless_told(lab: Lab, batch_norm: str, moves: bool) -> None:
    config = lab.config("real_finetune", f"stage.batch_norm={batch_norm}")
    before = training_build.build_stage(config, {"joint": lab.starts("joint")}).state_dict()
    run = lab.train("real_finetune", f"stage.batch_norm={batch_norm}")
    after = checkpoint(run / "last.ckpt")["state_dict"]
    statistics = [name for name in before if name.endswith(("running_mean", "running_var"))]
    assert statistics
    assert any(not torch.equal(before[name], after[name]) for name in statistics) is moves


def test_a_collapse_stops_the_training_with_a_reason(lab: Lab) -> None:
    stage, batch = fresh(lab, "real_finetune"), a_batch()
    assert isinstance(stage, RealFinetuneStage)
    outputs = stage(batch)
    flat = {**outputs, "refined": torch.zeros_like(outputs["refined"])}
    for _ in range(PATIENCE - 1):
        stage.losses(batch, flat)
    stage.losses(batch, outputs)  # one good step starts the count anew
    for _ in range(PATIENCE - 1):
        stage.losses(batch, flat)
    with pytest.raises(RunError, match=r"collapsed; lower stage\.lr"):
        stage.losses(batch, flat)


@pytest.mark.parametrize("normalise", ["mean", "aligned"])
def test_the_scales_of_result_and_pair_do_not_matter(lab: Lab, normalise: str) -> None:
    stage, batch = fresh(lab, "real_finetune", f"stage.normalise={normalise}"), a_batch()
    assert isinstance(stage, RealFinetuneStage)
    result, scene = stage.on_a_scale(batch["hdr"] ** 1.1, batch)
    scaled, other = stage.on_a_scale(7 * batch["hdr"] ** 1.1, {**batch, "hdr": 0.01 * batch["hdr"]})
    torch.testing.assert_close(scaled, result, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(other, scene, rtol=1e-3, atol=1e-4)


def test_the_aligned_form_is_not_ruled_by_a_sun(lab: Lab) -> None:
    stage, batch = fresh(lab, "real_finetune", "stage.normalise=aligned"), a_batch()
    assert isinstance(stage, RealFinetuneStage)
    sun = batch["hdr"].clone()
    sun[:, :, 4, 4], batch["jpeg"][:, :, 4, 4] = 1e4, 1
    kept = alignment_mask(batch["jpeg"]).expand_as(sun)
    with_sun = stage.on_a_scale(sun, {**batch, "hdr": sun})[1][kept]
    torch.testing.assert_close(with_sun, stage.on_a_scale(batch["hdr"], batch)[1][kept])


def test_the_clipping_point_is_found() -> None:
    scene = torch.linspace(0, 5, 10_000).view(1, 1, 100, 100).expand(1, 3, 100, 100)
    assert float(clipping_point(scene, scene[:, :1] < 2)) == pytest.approx(2, rel=0.02)
    assert float(clipping_point(scene, torch.zeros(1, 1, 100, 100, dtype=torch.bool))) > 4.9


@pytest.mark.slow
def test_a_run_starts_anew_when_its_slot_holds_something_else(lab: Lab, tmp_path: Path) -> None:
    first = lab.train("joint")
    assert lab.train("joint") == first
    other = tmp_path / "other.ckpt"
    stored = checkpoint(lab.starts("lin"))
    stored["state_dict"]["linearization.head.bias"] += 1e-3
    torch.save(stored, other)
    assert lab.train("joint", f"stage.init.lin={other}") != first
