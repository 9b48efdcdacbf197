"""Convolutions of nets that are in use compute what they did in training."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from hdrlab.nets.layers import Conv3x3, convolve_leaky
from hdrlab.ops import strips
from hdrlab.ops.winograd import convolve_winograd, winograd_kernel


@pytest.mark.parametrize("cells", [1, 2**20])
@pytest.mark.parametrize("slope", [0.0, 0.1, 1.0])
def test_tiles_give_what_a_direct_convolution_gives(
    cells: int, slope: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    monkeypatch.setattr(strips, "CELLS", cells)
    x, weight, bias = (
        torch.randn(shape, dtype=torch.float64) for shape in ((2, 5, 12, 20), (7, 5, 3, 3), (7,))
    )
    expected = F.leaky_relu(F.conv2d(x, weight, bias, padding=1), slope)
    assert torch.allclose(convolve_winograd(x, winograd_kernel(weight), bias, slope), expected, atol=1e-12)


def test_float32_suffices() -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(1, 128, 32, 32).relu(), torch.randn(128, 128, 3, 3)
    exact = F.conv2d(x.double(), weight.double(), padding=1)
    error = convolve_winograd(x, winograd_kernel(weight)) - exact
    assert error.square().mean().sqrt() < 1.2e-6 * exact.square().mean().sqrt()


@torch.no_grad()
def test_they_are_used_where_they_pay_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    monkeypatch.setattr(
        "hdrlab.nets.layers.convolve_winograd", lambda x, *_: taken.append(x.shape) or torch.zeros(1)
    )
    conv = Conv3x3(64, 128)
    large, small, uneven = (torch.rand(1, 64, *size) for size in ((32, 16), (28, 16), (34, 32)))
    convolve_leaky(conv, large)
    assert not taken, "the weights may still change"
    conv.settle()
    for maps in (small, uneven, large):
        convolve_leaky(conv, maps)
    with torch.enable_grad():
        convolve_leaky(conv, large)
    with torch.autocast("cpu", torch.bfloat16):
        convolve_leaky(conv, large)
    assert taken == [large.shape]
    for few in (Conv3x3(64, 64), Conv3x3(32, 256)):
        few.settle()
        assert few.spread is None
    assert "spread" not in conv.state_dict()


@pytest.mark.parametrize("slope", [0.0, 0.2])
@pytest.mark.parametrize("biased", [True, False])
def test_a_relu_within_a_convolution_changes_no_bit(slope: float, biased: bool) -> None:
    torch.manual_seed(0)
    conv = torch.nn.Conv2d(6, 10, 3, stride=2, padding=2, dilation=2, groups=2, bias=biased)
    x = torch.randn(2, 6, 19, 24).contiguous(memory_format=torch.channels_last)
    made = []
    for compute in (lambda y: convolve_leaky(conv, y, slope), lambda y: F.leaky_relu(conv(y), slope)):
        conv.zero_grad()
        seen = x.clone().requires_grad_()
        out = compute(seen)
        out.square().sum().backward()
        made.append([out, seen.grad, *(weight.grad for weight in conv.parameters())])
    assert all(torch.equal(*pair) for pair in zip(*made, strict=True))
    with torch.no_grad():
        assert torch.equal(convolve_leaky(conv, x, slope), made[0][0])


def test_hooks_and_counters_see_convolutions() -> None:
    conv, seen = torch.nn.Conv2d(3, 4, 3), []
    with FlopCounterMode(display=False) as counter:
        convolve_leaky(conv, torch.rand(1, 3, 5, 5))
    assert counter.get_total_flops() == 2 * 9 * 4 * 3 * 9
    conv.register_forward_hook(lambda _, __, out: seen.append(out.min()))
    assert convolve_leaky(conv, torch.rand(1, 3, 5, 5) - 9).min() == 0 > seen[0]
