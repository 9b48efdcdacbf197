"""The training of the compact hallucination on kept crops: how it widens the net, and that it goes on."""

from __future__ import annotations

from argparse import Namespace
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hdrlab.nets import build_net
from hdrlab.nets.compact import CompactHallucinationNet
from hdrlab.ops.response import apply_response, average_inverse
from hdrlab.weights.net_file import load_nets

SIDE = 32


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[1] / "experiments"))
    return import_module("compact_crops")


def sample(seed: int) -> dict[str, Tensor]:
    draws = torch.Generator().manual_seed(seed)
    scene = 3 * torch.rand(3, SIDE, SIDE, generator=draws)
    curve = torch.linspace(0, 1, 1024) ** 2.2
    photograph = (255 * scene.clamp(max=1) ** (1 / 2.2)).round() / 255
    return {"jpeg": photograph, "hdr": scene, "lin": scene.clamp(max=1), "inv_curve": curve}


def test_a_wider_net_is_the_same_function_and_can_learn(program: Any) -> None:
    torch.manual_seed(0)
    net = build_net("hallucination", "compact")
    torch.nn.init.normal_(net.get_parameter("last.weight"), std=0.1)
    wide = program.widen(net, 1.5)
    assert wide.options["width"] == 1.5
    image = torch.rand(2, 3, SIDE, 2 * SIDE)
    torch.testing.assert_close(wide(image), net(image), rtol=0, atol=1e-5)
    wide(image).square().sum().backward()
    old = len(net.get_parameter("first.weight"))
    for name in ("last.weight", "first.weight", "up.1.1.weight", "context.weight"):
        slopes = wide.get_parameter(name).grad
        assert slopes is not None
        assert float(slopes[:old, -1].abs().max()) > 0, name  # the old is about to read the new


def test_training_goes_on_where_it_was_stopped(
    program: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = [sample(seed) for seed in range(program.CHUNK)]
    average = average_inverse(kept[0]["inv_curve"][None])[0]
    columns = {
        "jpeg": [(one["jpeg"] * 255).byte() for one in kept],
        "hdr": [one["hdr"].half() for one in kept],
        "curve": [one["inv_curve"] for one in kept],
        "found": [average] * len(kept),
    }
    for name, column in columns.items():
        np.save(tmp_path / f"train_0_0000_{name}.npy", torch.stack(column).numpy())
    held = SimpleNamespace(dataset=[sample(1000)])
    monkeypatch.setattr(program, "VALIDATED", 1)
    monkeypatch.setattr(program, "photographs", lambda _: SimpleNamespace(val_dataloader=lambda: held))
    words = {"width": 1.0, "steps": 3, "every": 1, "batch": 4, "lr": 1e-4, "ema": 0.5, "seed": 0, "colour": 1}
    whole, parted = tmp_path / "whole.safetensors", tmp_path / "parted.safetensors"
    program.train(Namespace(crops=tmp_path, out=whole, **words))
    validate = program._validate

    def stop(name: str, *more: Any) -> float:
        if name == "step 2":
            raise KeyboardInterrupt
        return float(validate(name, *more))

    with monkeypatch.context() as patch:
        patch.setattr(program, "_validate", stop)
        with pytest.raises(KeyboardInterrupt):
            program.train(Namespace(crops=tmp_path, out=parted, **words))
    program.train(Namespace(crops=tmp_path, out=parted, **words))
    assert capsys.readouterr().out.count("step 3: log10 error") == 2
    states = [torch.load(out.with_suffix(".state"), weights_only=True) for out in (whole, parted)]
    for one, other in zip(*(state["net"].values() for state in states), strict=True):
        assert torch.equal(one, other)
    assert isinstance(load_nets(whole)["hallucination"], CompactHallucinationNet)


def test_the_loss_is_that_of_every_second_pixel(program: Any) -> None:
    torch.manual_seed(0)
    net = build_net("hallucination", "compact").train()
    assert isinstance(net, CompactHallucinationNet)
    torch.nn.init.normal_(net.get_parameter("last.weight"), std=0.1)
    batch = {name: value[None] for name, value in sample(0).items()}
    linear = apply_response(batch["jpeg"], batch["inv_curve"])
    whole, field = net(linear), net.field(linear)
    gain = program._before(program._before(field, 2), 3)
    torch.testing.assert_close(gain, whole[..., ::2, ::2], rtol=0, atol=1e-6)
    unclipped = ~program.clipped_mask(batch["jpeg"])
    scale = program.align_scale(linear, batch["hdr"], unclipped)
    few, scene = (image[..., ::2, ::2] for image in (linear, batch["hdr"]))
    alpha, hdr = program.highlight(net, few, gain)
    wanted = program.highlight_loss(hdr * scale, scene, alpha)
    loss = program.loss_of(net, batch, linear)
    assert float(loss.detach()) == pytest.approx(float(wanted.detach()), rel=0.02)  # in bfloat16
    loss.backward()
    slopes = net.get_parameter("enter.weight").grad
    assert slopes is not None
    assert float(slopes.abs().max()) > 0
