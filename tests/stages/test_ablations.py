"""Each of the papers' ablations takes away what it says, and nothing else of the frame stumbles over it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from training import Lab, assert_same, checkpoint, slow

from hdrlab.errors import CheckpointError, RunError
from hdrlab.nets import build_net
from hdrlab.nets.hallucination import HallucinationNet
from hdrlab.nets.linearization import LinearizationNet
from hdrlab.pipeline.iqatm import merge_layers, tone_map
from hdrlab.pipeline.singlehdr import hallucinate
from hdrlab.stages.tmo_ft import TmoFtStage
from hdrlab.training import build as training_build
from hdrlab.training.checkpoints import load_stage
from hdrlab.training.run_hash import run_hash
from hdrlab.training.slots import starting_points
from hdrlab.weights.net_file import load_nets

CASES = [
    ("lin", "ablation_lin_no_edges"),
    ("lin", "ablation_lin_no_histograms"),
    ("lin", "ablation_lin_no_monotone"),
    ("hal", "ablation_hal_no_residual"),
    ("hal", "ablation_hal_plain_upsampling"),
    slow("tmo_ft", "ablation_tmo_no_high"),
    slow("tmo_ft", "ablation_tmo_no_merge"),
]


def small(width: float = 0.0625, **options: object) -> LinearizationNet:
    net = build_net("linearization", width=width, **options)
    assert isinstance(net, LinearizationNet)
    return net


@pytest.mark.parametrize(
    ("features", "kept"),
    [
        (("rgb", "histograms"), [*range(3), *range(9, 93)]),
        (("rgb", "edges"), [*range(9)]),
        (("rgb",), [*range(3)]),
    ],
)
def test_linearization_sees_what_it_is_told_to(features: tuple[str, ...], kept: list[int]) -> None:
    x = torch.rand(1, 3, 16, 16)
    net = small(features=features)
    assert torch.equal(net.features(x), small().features(x)[:, kept])
    assert net.conv1.in_channels == len(kept)
    assert net.eval()(x).shape == (1, 1024)


def test_without_the_monotone_step_a_curve_may_fall() -> None:
    x = torch.rand(1, 3, 16, 16)
    curves = {}
    for monotone in (True, False):
        net = small(monotone=monotone).eval()
        with torch.no_grad():
            net.head.bias.fill_(1.0)
        curves[monotone] = net(x).diff()
    assert bool((curves[True] >= 0).all())
    assert bool((curves[False] < 0).any())


def test_without_residual_the_net_replaces_what_is_clipped() -> None:
    linear = torch.linspace(0, 1, 32).expand(1, 3, 32, 32)
    _, added = hallucinate(build_net("hallucination", width=0.0625).eval(), linear)
    dark = build_net("hallucination", width=0.0625, residual=False).eval()
    assert isinstance(dark, HallucinationNet)
    with torch.no_grad():
        dark.fuse_input.bias.fill_(-1e6)  # type: ignore[union-attr]
        alpha, hdr = hallucinate(dark, linear)
    assert bool((added >= linear).all())
    torch.testing.assert_close(hdr, (1 - alpha) * linear)
    assert float(hdr[..., -1].amax()) == 0


def test_plain_up_sampling_has_no_resizing() -> None:
    net = build_net("hallucination", width=0.0625, upsampling="transposed")
    assert isinstance(net, HallucinationNet)
    kinds = {type(deconv.get_submodule("conv")) for deconv in net.deconvs}
    assert kinds == {nn.ConvTranspose2d}
    assert net(torch.rand(2, 3, 32, 64)).shape == (2, 3, 32, 64)


@pytest.mark.parametrize("name", ["tmo_high", "tmo_merge"])
def test_a_net_that_is_left_out_has_no_weights_and_changes_nothing(name: str) -> None:
    net = build_net(name, bypass=True)
    x = torch.rand(1, 3, 16, 16)
    assert not list(net.parameters())
    assert torch.equal(net(x), x)


def test_tone_mapping_works_without_the_nets_left_out() -> None:
    torch.manual_seed(0)
    left_out = {name: build_net(name, width=0.5, bypass=True) for name in ("tmo_high", "tmo_merge")}
    nets = {"tmo_bottom": build_net("tmo_bottom", width=0.5), **left_out}
    high, bottom = torch.rand(1, 3, 64, 64), torch.rand(1, 3, 8, 8)
    detail = merge_layers(high, bottom, nets) - merge_layers(torch.zeros_like(high), bottom, nets)
    torch.testing.assert_close(detail, high)
    shown = tone_map(10 * high, nets)
    assert 0 <= float(shown.min()) < float(shown.max()) <= 1


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "experiment"), CASES)
def test_an_ablated_net_is_rebuilt_from_its_checkpoint(
    lab: Lab, tmp_path: Path, stage: str, experiment: str
) -> None:
    config = lab.config(stage, f"experiment={experiment}")
    assert run_hash(config, "", {}) != run_hash(lab.config(stage), "", {})
    fresh = training_build.build_stage(config)
    stored: dict[str, Any] = {"state_dict": fresh.state_dict()}
    fresh.on_save_checkpoint(stored)
    torch.save(stored, tmp_path / "ablated.ckpt")
    for name, net in load_nets(tmp_path / "ablated.ckpt").items():
        built = getattr(fresh, name)
        assert net.options == {key: value for key, value in built.options.items() if key != "basis"}
        assert_same(dict(net.state_dict()), dict(built.state_dict()))


def test_an_ablation_takes_no_slot(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    lab.train("lin", "experiment=ablation_lin_no_edges")
    assert "best.ckpt; an ablation's is not published" in capsys.readouterr().out
    assert not (lab.runs / "slots").exists()


@pytest.mark.slow
def test_without_joint_finetuning_starts_from_the_three(lab: Lab) -> None:
    for name in ("deq", "lin", "hal", "joint"):
        slot = lab.runs / "slots" / "hdr_synth" / f"{name}.ckpt"
        slot.parent.mkdir(parents=True, exist_ok=True)
        slot.write_bytes(lab.starts(name).read_bytes())
    from_slots = "stage.init.joint=null"
    assert [*starting_points(lab.config("real_finetune", from_slots))] == ["joint"]
    apart = lab.config("real_finetune", from_slots, "experiment=ablation_no_joint")
    assert [*starting_points(apart)] == ["deq", "lin", "hal"]
    (lab.runs / "slots" / "hdr_synth" / "lin.ckpt").unlink()
    with pytest.raises(RunError, match="starts from lin, not published yet"):
        starting_points(apart)


@pytest.mark.slow
def test_without_the_high_branch_its_slot_is_not_asked_for(lab: Lab) -> None:
    empty = ("stage.init.tmo_high=null", "experiment=ablation_tmo_no_high")
    assert [*starting_points(lab.config("tmo_ft", *empty))] == ["tmo_bottom"]


@pytest.mark.slow
def test_without_label_free_terms_only_labels_teach(lab: Lab) -> None:
    stage = training_build.build_stage(lab.config("tmo_ft", "experiment=ablation_tmo_no_label_free"))
    assert isinstance(stage, TmoFtStage)
    assert stage.weights["hue"] == stage.weights["structure"] == 0
    assert stage.weights["l1"] > 0


@pytest.mark.slow
def test_a_chain_must_be_told_that_its_nets_are_ablated(lab: Lab) -> None:
    run = lab.train("lin", "stage.monotone=false", "trainer=smoke")
    with pytest.raises(CheckpointError, match=r"trained with stage\.monotone=False; say so"):
        training_build.build_stage(lab.config("joint"), {"lin": run / "last.ckpt"})
    told = lab.config("joint", "stage.monotone=false")
    training_build.build_stage(told, {"lin": run / "last.ckpt"})


def test_older_checkpoints_and_runs_are_those_of_the_whole_nets(lab: Lab, tmp_path: Path) -> None:
    stored = checkpoint(lab.trained("hal", "trainer=smoke") / "last.ckpt")
    for key in ("upsampling", "residual"):
        del stored["hdrlab"]["config"]["stage"][key]
    torch.save(stored, tmp_path / "older.ckpt")
    older = load_stage(tmp_path / "older.ckpt")
    assert older.config.residual is True  # type: ignore[attr-defined]
    training_build.build_stage(lab.config("hal"), {"hal": tmp_path / "older.ckpt"})
