"""The compact nets: their contracts, and that they cannot do much harm."""

from __future__ import annotations

import pytest
import torch

from hdrlab.nets import build_net
from hdrlab.nets.compact import HAL_SIDE, statistics
from hdrlab.ops.masks import highlight_mask
from hdrlab.ops.response_curves import mean_response
from hdrlab.pipeline.singlehdr import brighten, hallucinate, reconstruct
from hdrlab.pipeline.tiling import reconstruct_tiled, result_tiled

NETS = ("dequantization", "linearization", "hallucination")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def photograph(height: int = 64, width: int = 96) -> torch.Tensor:
    ramp = torch.linspace(0, 1, height * width).view(1, 1, height, width)
    return (ramp + 0.05 * torch.randn(2, 3, height, width)).clamp(0, 1)


def test_the_nets_are_small() -> None:
    counts = {name: sum(p.numel() for p in build_net(name, "compact").parameters()) for name in NETS}
    assert sum(counts.values()) < 6e6, counts


def test_fresh_dequantization_changes_nothing() -> None:
    x = photograph()
    assert torch.equal(build_net("dequantization", "compact")(x), x)


def test_dequantization_changes_little_whatever_its_weights() -> None:
    net, x = build_net("dequantization", "compact"), photograph()
    for p in net.parameters():
        torch.nn.init.normal_(p, std=5)
    assert float((net(x) - x).detach().abs().max()) <= 0.1 + 1e-6


@pytest.mark.parametrize("scale", [0.0, 1.0, 50.0])
def test_curves_rise_from_0_to_1(scale: float) -> None:
    net = build_net("linearization", "compact").eval()
    torch.nn.init.normal_(net.head[-1].weight, std=scale)
    curve = net(photograph())
    assert curve.shape == (2, 1024)
    assert float(curve.diff(dim=1).min()) >= 0
    torch.testing.assert_close(curve[:, [0, -1]], torch.tensor([[0.0, 1.0]] * 2), atol=1e-6, rtol=0)


def test_linearization_takes_flat_and_small_images() -> None:
    net = build_net("linearization", "compact").eval()
    for x in (torch.zeros(1, 3, 32, 32), torch.ones(1, 3, 64, 32), torch.full((1, 3, 9, 8), 0.5)):
        assert bool(torch.isfinite(net(x)).all())


def test_statistics_are_shares_and_blind_to_mirroring() -> None:
    x = photograph()
    counts, cells = statistics(x)
    assert bool((counts >= 0).all())
    assert float(counts.max()) <= 1
    turned, _ = statistics(x.flip(3))
    # Pairs and triples are the same ones but for the last columns, which have no right neighbours.
    assert float((counts - turned).abs().mean()) < 0.02
    assert cells.shape[-2:] == (6, 8)


def test_gains_are_at_least_one_and_well_exposed_pixels_stay() -> None:
    net = build_net("hallucination", "compact").eval()
    torch.nn.init.normal_(net.last.weight, std=1.0)
    x = photograph()
    alpha, hdr = hallucinate(net, x)
    assert bool((hdr >= x).all())
    exposed = (alpha == 0).expand_as(x)
    assert torch.equal(hdr[exposed], x[exposed])
    assert float(hdr.max()) > 1.2, "clipped pixels became brighter"


def test_a_channel_far_from_clipping_keeps_its_value() -> None:
    x = torch.tensor([1.0, 1.0, 0.5]).view(1, 3, 1, 1)
    out = brighten(x, torch.ones(1, 1, 1, 1), torch.ones_like(x))
    assert float(out[0, 2]) == 0.5
    assert float(out[0, 0]) == pytest.approx(4.4817, abs=1e-3)


def test_single_pixels_that_lag_behind_follow_their_neighbours() -> None:
    x = torch.ones(1, 3, 9, 9)
    x[..., 4, 4] = 0.9  # a ripple of JPEG's: clipped a little
    x[..., 2, 6] = 0.5  # not clipped: it stays
    made = brighten(x, highlight_mask(x), torch.ones_like(x))
    assert made[0, 0, 4, 4] / x[0, 0, 4, 4] == pytest.approx(4.4817, rel=1e-3)
    assert made[0, 0, 2, 6] == 0.5


def test_codes_just_below_white_are_as_bright_as_white() -> None:
    white, nearly = torch.ones(1, 3, 8, 8), torch.full((1, 3, 8, 8), 0.982)  # codes 255 and 254
    gain = torch.full_like(white, 0.8)
    steps = [brighten(x, highlight_mask(x), gain).mean() for x in (nearly, white)]
    assert steps[0] / steps[1] > 0.97, "a dark band where a sky clips little by little"


def test_what_shuffling_leaves_is_smoothed_away() -> None:
    net = build_net("hallucination", "compact").eval()
    torch.nn.init.zeros_(net.last.weight)
    checks = torch.tensor([0.0, 1.0, 1.0, 0.0])  # of one channel's four pixels
    net.last.bias.data.copy_(checks.repeat(3))
    field = net.field(photograph())[..., 1:-1, 1:-1]
    assert float((field - 0.5).abs().max()) < 1e-5


def test_a_net_that_gives_nothing_still_learns() -> None:
    net = build_net("hallucination", "compact").train()
    torch.nn.init.constant_(net.last.bias, -5.0)
    _, hdr = hallucinate(net, torch.ones(1, 3, 32, 32))
    hdr.sum().backward()
    assert float(net.last.bias.grad.abs().sum()) > 0


def test_large_images_are_looked_at_small() -> None:
    net = build_net("hallucination", "compact").eval()
    x = torch.rand(1, 3, 2 * HAL_SIDE, 3 * HAL_SIDE)
    assert max(net.field(x).shape[-2:]) == HAL_SIDE // 2
    assert net(x).shape == x.shape


def test_the_average_response_rises_from_0_to_1() -> None:
    curve = mean_response()
    assert curve[0] == 0
    assert curve[-1] == 1
    assert (curve[1:] > curve[:-1]).all()


@pytest.mark.parametrize("size", [(96, 160), (416, 448)])
def test_tiles_of_the_compact_chain_are_seamless(size: tuple[int, int]) -> None:
    nets = {name: build_net(name, "compact").eval() for name in NETS}
    torch.nn.init.normal_(nets["dequantization"].last.weight, std=0.1)
    torch.nn.init.normal_(nets["hallucination"].last.weight, std=0.3)
    ldr = photograph(*size)
    whole, tiled = reconstruct(ldr, nets), reconstruct_tiled(ldr, nets, tile=32)
    assert float((whole.hdr - whole.linear).amax()) > 0.1
    for name in ("dequantized", "curve", "linear", "alpha", "hdr"):
        torch.testing.assert_close(getattr(tiled, name), getattr(whole, name), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(result_tiled(ldr, nets)[0], whole.hdr, atol=1e-5, rtol=1e-5)
