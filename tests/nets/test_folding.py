"""Nets made ready for inference compute what they did, with fewer operations."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from hdrlab.nets import NETS, Net, build_net
from hdrlab.ops import strips

VARIANTS: list[tuple[str, str, dict[str, Any]]] = [
    *((*name.split("/"), {}) for name in NETS),
    ("hallucination", "default", {"upsampling": "transposed"}),
    ("linearization", "official", {"features": ("edges", "histograms")}),
]

GFLOP_PER_MEGAPIXEL = {
    ("dequantization", "default"): 145,
    ("linearization", "default"): 193,
    ("linearization", "official"): 145,
    ("hallucination", "default"): 825,
    ("refinement", "default"): 144.5,
}
"""Billions of multiplications and additions for a million pixels of 64×64 images, at full width."""


def shaken(name: str, preset: str, width: float, **options: Any) -> Net:
    """A net in which every weight and statistic matters, of either sign."""
    torch.manual_seed(0)
    net = build_net(name, preset, width=width, **options).eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias, std=0.3)
        elif isinstance(module, nn.Conv2d) and module.bias is not None:
            nn.init.normal_(module.weight, std=module.weight[0].numel() ** -0.5)
            nn.init.normal_(module.bias, std=0.1)
    return net


@pytest.mark.parametrize(("name", "preset", "options"), VARIANTS)
@torch.no_grad()
def test_folded_nets_in_strips_compute_the_same(
    name: str, preset: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    net = shaken(name, preset, 0.0625, **options).double()
    x = torch.rand(1, 9 if name == "refinement" else 3, 96, 32, dtype=torch.float64)
    monkeypatch.setattr(strips, "CELLS", 2**40)
    expected = net(x)
    folded = copy.deepcopy(net).fold()
    assert (folded(x) - expected).abs().max() < 1e-13 * expected.abs().max()
    monkeypatch.setattr(strips, "CELLS", 1)
    for made in (net(x), folded(x)):
        assert (made - expected).abs().max() < 1e-13 * expected.abs().max()


@pytest.mark.parametrize(("name", "preset"), GFLOP_PER_MEGAPIXEL)
def test_nets_do_no_more_work_than_they_need(name: str, preset: str) -> None:
    net = build_net(name, preset).eval()
    x = torch.rand(1, 9 if name == "refinement" else 3, 64, 64)
    with FlopCounterMode(display=False) as counter:
        net(x)
    found = counter.get_total_flops() / x[0, 0].numel() / 1e3
    assert found == pytest.approx(GFLOP_PER_MEGAPIXEL[name, preset], rel=0.01)
