from __future__ import annotations

import itertools
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hdrlab.errors import ResourceError, WeightsError
from hdrlab.nets import build_net
from hdrlab.pipeline import tiling
from hdrlab.pipeline.singlehdr import Reconstruction, dequantize, hallucinate, reconstruct, refine
from hdrlab.pipeline.tiling import RULES, TileRule, plan_tiles, reconstruct_tiled, result_tiled

FOUR = ("dequantization", "linearization", "hallucination", "refinement")
FIELDS = ("dequantized", "curve", "linear", "alpha", "hdr", "refined")

# Tiles are computed by matrix products of other shapes than the whole image, whose last bits then depend on
# the processor's linear algebra. A seam shows six orders of magnitude above that.
ROUNDING = 2e-15


def make_nets(preset: str, width: float, dtype: torch.dtype) -> dict[str, nn.Module]:
    """Nets in which every weight and statistic matters."""
    torch.manual_seed(0)
    nets: dict[str, nn.Module] = {}
    for name in FOUR:
        net = build_net(name, preset, width=width).eval().requires_grad_(False)
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.normal_(0, 0.3)
                module.running_var.uniform_(0.5, 2)
            elif isinstance(module, nn.Conv2d) and module.bias is not None:
                module.bias.normal_(0, 0.05)
        if name == "refinement":
            nn.init.normal_(net.get_parameter("convs.18.weight"), std=0.1)
        nets[name] = net.to(dtype)
    return nets


def image(height: int, width: int, dtype: torch.dtype) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(1, 3, height, width, generator=generator, dtype=torch.float64).to(dtype)


def off_by(a: Reconstruction, b: Reconstruction) -> dict[str, float]:
    pairs = {field: (getattr(a, field), getattr(b, field)) for field in FIELDS}
    return {field: float((x - y).abs().max() / y.abs().max()) for field, (x, y) in pairs.items()}


def one_net(name: str, net: nn.Module, whole: Reconstruction, ldr: Tensor, tile: int) -> Tensor:
    """Run one net tile by tile on the images that the whole chain made."""
    out = torch.empty_like(ldr)
    plan = plan_tiles(name, ldr, tile, 0)
    step: Any
    if name == "dequantization":
        step, sources = (lambda x: (dequantize(net, x),)), [ldr]
    elif name == "hallucination":
        step, sources = (lambda x: hallucinate(net, x)[1:]), [whole.linear]
    else:
        step, sources = (lambda *x: (refine(net, *x),)), [whole.hdr, whole.linear, whole.dequantized]
    tiling._run_tiles(step, sources, [out], plan, ldr.device, lambda: None)
    return out


@pytest.mark.parametrize(
    ("preset", "size"), [("default", (32, 544)), ("official", (544, 32)), ("tf2", (32, 544))]
)
def test_tiles_leave_no_seams(preset: str, size: tuple[int, int]) -> None:
    nets = make_nets(preset, 0.1, torch.float64)
    ldr = image(*size, torch.float64)
    whole = reconstruct(ldr, nets)
    errors = off_by(reconstruct_tiled(ldr, nets, tile=96), whole)
    assert max(errors.values()) < 1e-12, errors
    assert errors["curve"] < ROUNDING
    ends = {"dequantization": whole.dequantized, "hallucination": whole.hdr, "refinement": whole.refined}
    for name, end in ends.items():
        assert end is not None
        assert (one_net(name, nets[name], whole, ldr, 96) - end).abs().max() < ROUNDING * end.abs().max(), (
            name
        )


def test_tiles_leave_no_seams_in_single_precision() -> None:
    nets = make_nets("default", 0.1, torch.float32)
    ldr = image(64, 640, torch.float32)
    errors = off_by(reconstruct_tiled(ldr, nets, tile=160), reconstruct(ldr, nets))
    assert max(errors.values()) < 1e-5, errors


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("dequantization", TileRule(64, 16, 1)),
        ("hallucination", TileRule(96, 32, 1)),
        ("refinement", TileRule(64, 16, 1)),
    ],
)
def test_a_smaller_halo_would_be_seen(name: str, rule: TileRule, monkeypatch: pytest.MonkeyPatch) -> None:
    nets = make_nets("default", 0.1, torch.float64)
    ldr = image(32, 544, torch.float64)
    whole = reconstruct(ldr, nets)
    end = {"dequantization": whole.dequantized, "hallucination": whole.hdr, "refinement": whole.refined}[name]
    assert end is not None
    monkeypatch.setitem(RULES, name, rule)
    assert (one_net(name, nets[name], whole, ldr, 96) - end).abs().max() > 1e-9


def test_the_curve_needs_its_halo(monkeypatch: pytest.MonkeyPatch) -> None:
    nets = make_nets("default", 0.1, torch.float64)
    ldr = image(32, 256, torch.float64)
    whole = reconstruct(ldr, nets)
    monkeypatch.setitem(RULES, "linearization", TileRule(24, 8, 1))
    assert off_by(reconstruct_tiled(ldr, nets, tile=32), whole)["curve"] > 1e-11


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("memory", [2e7, 6e7, 1e12])
@pytest.mark.parametrize("step", RULES)
def test_planned_tiles_cover_the_image_once_and_fit_into_memory(step: str, memory: float, batch: int) -> None:
    ldr = torch.empty(batch, 3, 992, 1504)
    seen = torch.zeros(992, 1504)
    rule = RULES[step]
    for rows, columns in plan_tiles(step, ldr, None, memory):
        seen[rows.place, columns.place] += 1
        for span, size in ((rows, 992), (columns, 1504)):
            assert span.outer_start % rule.multiple == 0
            assert span.start - span.outer_start == min(rule.halo, span.start)
            assert span.outer_stop - span.stop == min(rule.halo, size - span.stop)
        area = (rows.outer_stop - rows.outer_start) * (columns.outer_stop - columns.outer_start)
        smallest = (32 + 2 * rule.halo) ** 2
        assert area * batch * rule.bytes_per_pixel <= max(memory, smallest * batch * rule.bytes_per_pixel)
    assert (seen == 1).all()


def test_an_image_that_fits_is_one_tile_and_less_memory_means_more_work() -> None:
    ldr = torch.empty(1, 3, 1024, 1024)
    plans = [plan_tiles("hallucination", ldr, None, memory) for memory in (1e12, 5e8, 3e8)]
    numbers = [len(plan) for plan in plans]
    assert numbers[0] == 1
    assert all(a < b for a, b in itertools.pairwise(numbers))


def test_double_precision_counts_twice() -> None:
    ldr = torch.empty(1, 3, 1024, 1024)
    half = plan_tiles("hallucination", ldr, None, 3e8)
    assert len(half) > 1
    assert plan_tiles("hallucination", ldr.double(), None, 6e8) == half


@pytest.mark.parametrize("tile", [0, 16, 100, -32])
def test_illegal_tile_sides_are_refused(tile: int) -> None:
    with pytest.raises(ResourceError, match="multiple of 32"):
        plan_tiles("hallucination", torch.empty(1, 3, 64, 64), tile, 1e9)


def test_nets_in_training_are_refused() -> None:
    nets = make_nets("default", 0.1, torch.float32)
    nets["linearization"].train()
    with pytest.raises(ResourceError, match="linearization: in training mode"):
        reconstruct_tiled(torch.rand(1, 3, 32, 32), nets)


def test_progress_ends_with_all_tiles_and_refinement_is_optional() -> None:
    nets = make_nets("default", 0.1, torch.float32)
    del nets["refinement"]
    told: list[tuple[int, int]] = []
    made = reconstruct_tiled(
        torch.rand(1, 3, 32, 64), nets, tile=32, progress=lambda *count: told.append(count)
    )
    assert told == [(n, 8) for n in range(1, 9)]
    assert made.refined is None
    assert not made.hdr.requires_grad
    with pytest.raises(WeightsError):
        reconstruct_tiled(torch.rand(1, 3, 32, 32), {"dequantization": nets["dequantization"]})


def test_a_batch_is_tiled_as_each_of_its_images() -> None:
    nets = make_nets("default", 0.1, torch.float64)
    ldr = torch.cat([image(32, 160, torch.float64), 0.3 * image(32, 160, torch.float64)])
    both = reconstruct_tiled(ldr, nets, tile=32)
    for number in range(2):
        alone = reconstruct_tiled(ldr[number : number + 1], nets, tile=32)
        assert (both.hdr[number] - alone.hdr[0]).abs().max() < 1e-12


@pytest.mark.parametrize("left_out", ["", "refinement"])
def test_the_result_alone_is_that_of_all_images(left_out: str) -> None:
    nets = make_nets("default", 0.1, torch.float32)
    nets.pop(left_out, None)
    ldr = image(64, 96, torch.float32)
    before, kept = ldr.clone(), reconstruct_tiled(ldr, nets)
    result, curve = result_tiled(ldr, nets)
    assert torch.equal(result, kept.result)
    assert torch.equal(curve, kept.curve)
    assert torch.equal(ldr, before)
    assert not torch.equal(kept.linear, kept.dequantized)


@pytest.mark.slow
@pytest.mark.parametrize("tile", [256, 512])
def test_large_tiles_leave_no_seams(tile: int) -> None:
    nets = make_nets("default", 0.1, torch.float32)
    ldr = image(1024, 1504, torch.float32)
    errors = off_by(reconstruct_tiled(ldr, nets, tile=tile), reconstruct(ldr, nets))
    assert max(errors.values()) < 1e-5, errors


@pytest.mark.slow
def test_large_tiles_leave_no_seams_in_double_precision() -> None:
    nets = make_nets("official", 0.0625, torch.float64)
    ldr = image(512, 768, torch.float64)
    errors = off_by(reconstruct_tiled(ldr, nets, tile=256), reconstruct(ldr, nets))
    assert max(errors.values()) < 1e-12, errors


@pytest.mark.slow
@torch.no_grad()
def test_a_net_of_full_width_leaves_no_seams() -> None:
    net = build_net("dequantization", "official").eval()
    ldr = image(512, 768, torch.float32)
    out = torch.empty_like(ldr)
    step = partial(tiling._alone, dequantize, net)
    tiling._run_tiles(step, [ldr], [out], plan_tiles("dequantization", ldr, 256, 0), ldr.device, lambda: None)
    assert (out - dequantize(net, ldr)).abs().max() < 1e-6
