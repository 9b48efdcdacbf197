"""Compiled nets: in one piece, with the same names, results and gradients."""

from __future__ import annotations

import copy
import shutil
from typing import Any

import pytest
import torch
from torch import nn
from training import Lab, assert_same, checkpoint, numbers

from hdrlab.config.registry.tables import net_names
from hdrlab.errors import ConfigError
from hdrlab.nets import build_net
from hdrlab.nets.layers import Net

PRESETS = [(name, "default") for name in net_names()] + [
    ("dequantization", "official"),
    ("hallucination", "tf2"),
]
"""Every net, and what other presets put in the place of something."""


def gradients(net: Net, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    made = net(x)
    made.square().sum().backward()
    return made.detach(), [p.grad for p in net.parameters() if p.grad is not None]


@pytest.fixture(autouse=True)
def fresh() -> None:
    torch._dynamo.reset()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "preset"), PRESETS)
def test_a_net_compiles_in_one_piece(name: str, preset: str) -> None:
    torch.manual_seed(0)
    net = build_net(name, preset, width=0.0625)
    net.autocast = torch.bfloat16
    x = torch.rand(2, 9 if name == "refinement" else 3, 32, 32)
    twin = copy.deepcopy(net)
    expected, wanted = gradients(twin, x)
    net.compile(fullgraph=True, backend="aot_eager")  # an error where it would fall into several
    made, slopes = gradients(net, x)
    torch.testing.assert_close(made, expected, rtol=1e-5, atol=1e-5)
    for slope, other in zip(slopes, wanted, strict=True):
        torch.testing.assert_close(slope, other, rtol=1e-3, atol=1e-3 * float(other.abs().max()) + 1e-6)
    assert net.state_dict().keys() == twin.state_dict().keys()
    assert_same(dict(net.named_buffers()), dict(twin.named_buffers()))


@pytest.mark.slow
def test_training_is_compiled_and_validation_is_not(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("stage.max_steps=4", "trainer.val_every=2", "trainer.log_every_n_steps=1")
    plain = lab.train("deq", *words)
    graphs: list[bool] = []

    def backend(graph: torch.fx.GraphModule, inputs: Any) -> Any:
        graphs.append(torch.is_grad_enabled())
        return graph.forward

    compile = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda net: compile(net, fullgraph=True, backend=backend))
    compiled = lab.train("deq", "resume=never", "trainer.compile=true", *words)
    assert graphs == [True]
    for part in ("state_dict", "optimizer_states"):
        assert_same(checkpoint(plain / "last.ckpt")[part], checkpoint(compiled / "last.ckpt")[part], part)
    assert numbers(plain) == numbers(compiled)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(not shutil.which("g++"), reason="torch compiles for the CPU with g++")
@pytest.mark.parametrize("extra", ["trainer.precision=32", "trainer.precision=bf16", "trainer.ema=0.9"])
def test_compiled_training_on_the_cpu(lab: Lab, extra: str) -> None:
    words = ("stage.max_steps=4", "trainer.val_every=2", "trainer.log_every_n_steps=1", extra)
    plain, compiled = (
        lab.train("deq", f"trainer.compile={on}", "resume=never", *words) for on in ("false", "true")
    )
    losses = [[value for *_, value in numbers(run, "train/loss")] for run in (plain, compiled)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-2 if "bf16" in extra else 1e-4)
    names = [checkpoint(run / "last.ckpt")["state_dict"].keys() for run in (plain, compiled)]
    assert names[0] == names[1]


def test_a_missing_compiler_is_said(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ConfigError, match=r"trainer\.compile=true: torch needs a C\+\+ compiler"):
        lab.config("deq", "trainer.compile=true")
