"""Norms over whole images, gathered strip by strip: the plain nets are the oracle."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from hdrlab.nets import build_net, sweeps, tone_mapping
from hdrlab.nets.sweeps import Moments, sweep


def image(dtype: torch.dtype = torch.float64, batch: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(batch, 3, 83, 72, generator=generator, dtype=torch.float64).to(dtype) * 0.5


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Choose how many rows of 72 pixels and 24 channels a strip has; 0: the image is taken as a whole."""

    def choose(rows: int) -> None:
        monkeypatch.setattr(sweeps, "cells_at_once", lambda like: 24 * 72 * rows)
        monkeypatch.setattr(tone_mapping, "cells_at_once", lambda like: 1 if rows else 2**40)

    return choose


@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-13), (torch.float32, 2e-6)])
@pytest.mark.parametrize("rows", [1, 9, 40])
@pytest.mark.parametrize("name", ["tmo_high", "tmo_merge"])
@torch.no_grad()
def test_strips_give_the_whole_images_result(
    name: str, rows: int, dtype: torch.dtype, error: float, cut: Callable[[int], None]
) -> None:
    torch.manual_seed(0)
    net, x = build_net(name).to(dtype), image(dtype)
    before = x.clone()
    cut(0)
    whole = net(x)
    cut(rows)
    assert ((net(x) - whole).abs().max() / whole.abs().max()).item() < error
    assert torch.equal(x, before)


@torch.no_grad()
def test_half_precision_keeps_its_digits_in_strips(cut: Callable[[int], None]) -> None:
    net, x = build_net("tmo_high"), image(torch.float32)
    full = net(x)
    net.autocast = torch.bfloat16
    cut(9)
    assert (net(x) - full).abs().max().item() < 0.01


def test_gradients_take_the_whole_image(cut: Callable[[int], None]) -> None:
    cut(9)
    net, x = build_net("tmo_merge"), image(torch.float32).requires_grad_()
    net(x).sum().backward()
    assert x.grad is not None


def test_moments_of_strips_are_those_of_the_image() -> None:
    maps = 1e4 + image(torch.float32, batch=1)  # whose squares have lost the variance
    moments = Moments(0.0)
    for strip in maps.split(20, dim=2):
        moments.add(strip)
    normal = moments.normalise(maps)
    assert normal.mean((2, 3)).abs().max().item() < 1e-2
    assert (normal.var((2, 3)) - 1).abs().max().item() < 1e-2


@pytest.mark.parametrize("rows", [1, 5, 100])
@torch.no_grad()
def test_a_sweep_may_replace_its_source(rows: int, cut: Callable[[int], None]) -> None:
    cut(rows)
    maps = image(batch=1)
    kernel = torch.randn(3, 3, 5, 5, dtype=torch.float64)

    def run(x: Tensor) -> Tensor:
        return torch.nn.functional.conv2d(x, kernel, padding=2)

    whole = run(maps)
    assert sweep(run, [maps], halo=2, channels=24, target=maps) is maps
    assert (maps - whole).abs().max().item() < 1e-12
