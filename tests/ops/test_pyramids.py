from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hdrlab.ops.pyramids import (
    Pyramid,
    area_halve,
    bilateral_filter,
    decompose,
    expand,
    pyramid_down,
    pyramid_up,
)

PYRAMIDS: tuple[Pyramid, ...] = ("bilateral", "gaussian")


class Golden:
    """Arrays HWC of the reference, as [1, C, H, W]."""

    def __init__(self, path: Path) -> None:
        with np.load(path) as file:
            self.arrays = dict(file)

    def __getitem__(self, name: str) -> Tensor:
        return torch.from_numpy(self.arrays[name]).permute(2, 0, 1)[None].contiguous()

    def agrees(self, name: str, ours: Tensor, tolerance: float = 2e-6) -> None:
        expected = self[name]
        assert ours.shape == expected.shape
        assert (ours - expected).abs().max() <= tolerance, name


@pytest.fixture(scope="module")
def golden(iqatm_goldens: Path) -> Golden:
    return Golden(iqatm_goldens / "pyramid.npz")


def noise(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def mirrored(place: int, size: int) -> int:
    """The place that a border mirrored without its outermost pixel shows, however far beyond it is."""
    while size > 1 and not 0 <= place < size:
        place = -place if place < 0 else 2 * size - 2 - place
    return place if size > 1 else 0


@pytest.mark.golden
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", ["a", "b"])
def test_the_bilateral_pyramid_is_the_authors(golden: Golden, size: str, dtype: torch.dtype) -> None:
    x = golden[f"x_{size}"].to(dtype)
    base = bilateral_filter(x)
    first = area_halve(base)
    second = pyramid_down(first)
    third = pyramid_down(second)
    for name, level in [("bf", base), ("bpyr1", first), ("bpyr2", second), ("bpyr3", third)]:
        golden.agrees(f"{name}_{size}", level)
    golden.agrees(f"lap_bilateral1_{size}", first - pyramid_up(second))
    golden.agrees(f"lap_bilateral2_{size}", second - pyramid_up(third))
    high, bottom = decompose(x)
    assert high.dtype == bottom.dtype == dtype
    golden.agrees(f"dual_high_{size}", high)
    golden.agrees(f"dual_bot_{size}", bottom)
    fused, same_bottom = decompose(x, fuse_middle=True)
    golden.agrees(f"fused_bilateral_high_{size}", fused)
    assert torch.equal(same_bottom, bottom)


@pytest.mark.golden
@pytest.mark.parametrize("size", ["a", "b"])
def test_the_gaussian_pyramid_is_the_authors(golden: Golden, size: str) -> None:
    x = golden[f"x_{size}"]
    high, bottom = decompose(x, pyramid="gaussian")
    golden.agrees(f"lap_gauss0_{size}", high)
    golden.agrees(f"lap_gauss3_{size}", bottom)
    golden.agrees(f"fused_gauss_high_{size}", decompose(x, pyramid="gaussian", fuse_middle=True)[0])


@pytest.mark.golden
@pytest.mark.parametrize("size", ["a", "b"])
def test_expansion_is_the_authors(golden: Golden, size: str) -> None:
    for levels in (1, 2, 3):
        golden.agrees(f"expand{levels}_{size}", expand(golden[f"dual_bot_{size}"], levels))


@pytest.mark.golden
def test_edges_stay_where_values_reach_255(golden: Golden) -> None:
    # The reference interpolates its weights in a table, which shows at this range.
    golden.agrees("bf_255range_b", bilateral_filter(255 * golden["x_b"]), tolerance=2e-6 * 255)


@pytest.mark.golden
def test_odd_sizes_halve_as_in_the_reference(golden: Golden) -> None:
    golden.agrees("pyrdown_odd", pyramid_down(golden["x_a"][..., :33, :45]))


@pytest.mark.parametrize("size", [(1, 1), (1, 4), (2, 3), (3, 2), (7, 5)])
def test_the_bilateral_filter_follows_its_formula(size: tuple[int, int]) -> None:
    x = noise(1, 2, *size)
    out = bilateral_filter(x, sigma_color=0.3, sigma_space=1.5)
    for row, column in itertools.product(range(size[0]), range(size[1])):
        total, weights = torch.zeros(2, dtype=torch.float64), 0.0
        for down, right in itertools.product(range(-2, 3), repeat=2):
            if math.hypot(down, right) > 2:
                continue
            there = x[0, :, mirrored(row + down, size[0]), mirrored(column + right, size[1])]
            distance = float((there - x[0, :, row, column]).abs().sum())
            weight = math.exp(-(down**2 + right**2) / (2 * 1.5**2) - distance**2 / (2 * 0.3**2))
            total, weights = total + weight * there, weights + weight
        assert torch.allclose(out[0, :, row, column], total / weights, atol=1e-12)


def test_a_small_deviation_keeps_an_edge() -> None:
    step = torch.zeros(1, 3, 8, 8)
    step[..., 4:] = 1
    assert torch.allclose(bilateral_filter(step, sigma_color=0.1), step, atol=1e-6)
    assert (bilateral_filter(step) - step).abs().max() > 0.2


@pytest.mark.parametrize("value", [0.1, 0.25, 3e4])
def test_a_constant_has_no_detail(value: float) -> None:
    x = torch.full((1, 3, 16, 24), value)
    assert torch.equal(bilateral_filter(x), x)
    high, bottom = decompose(x)
    assert torch.count_nonzero(high) == 0
    assert torch.allclose(bottom, torch.full((1, 3, 2, 3), value))


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_halving_and_doubling_follow_their_formula(size: int) -> None:
    line = noise(1, 1, 1, size)
    taps = (1, 4, 6, 4, 1)
    halved = [
        sum(tap * float(line[..., mirrored(2 * i + k - 2, size)]) for k, tap in enumerate(taps)) / 16
        for i in range((size + 1) // 2)
    ]
    assert pyramid_down(line)[0, 0, 0].tolist() == pytest.approx(halved, abs=1e-12)
    stuffed = torch.stack([line, torch.zeros_like(line)], -1).flatten(-2)
    doubled = [
        sum(tap * float(stuffed[..., mirrored(i + k - 2, 2 * size)]) for k, tap in enumerate(taps)) / 8
        for i in range(2 * size)
    ]
    for row in pyramid_up(line)[0, 0]:
        assert row.tolist() == pytest.approx(doubled, abs=1e-12)


def test_rows_and_columns_are_treated_alike() -> None:
    x = noise(2, 3, 8, 16)
    for change in (bilateral_filter, pyramid_down, pyramid_up, area_halve, lambda x: decompose(x)[0]):
        assert torch.allclose(change(x.mT), change(x).mT, atol=1e-12)


def test_layers_of_the_full_gaussian_pyramid_add_up_to_the_image() -> None:
    x = noise(2, 3, 24, 40)
    high, bottom = decompose(x, pyramid="gaussian", fuse_middle=True)
    assert torch.allclose(high + expand(bottom), x, atol=1e-12)


@pytest.mark.parametrize("pyramid", PYRAMIDS)
def test_layers_of_a_single_image_do_not_depend_on_the_batch(pyramid: Pyramid) -> None:
    x = noise(3, 3, 16, 8)
    for whole, alone in zip(decompose(x, pyramid=pyramid), decompose(x[1:2], pyramid=pyramid), strict=True):
        assert torch.equal(whole[1:2], alone)


@pytest.mark.parametrize("levels", [1, 2])
def test_other_numbers_of_levels(levels: int) -> None:
    x = noise(1, 3, 4, 8)
    high, bottom = decompose(x, levels=levels)
    assert high.shape == x.shape
    assert expand(bottom, levels).shape == x.shape
    base = F.avg_pool2d(bilateral_filter(x), 2)
    assert torch.equal(bottom, base if levels == 1 else pyramid_down(base))


@pytest.mark.parametrize(
    "change",
    [
        lambda x: bilateral_filter(x, sigma_color=0.5),
        pyramid_down,
        pyramid_up,
        area_halve,
        lambda x: expand(x, 2),
        lambda x: decompose(x, sigma_color=0.5, fuse_middle=True, levels=2),
        lambda x: decompose(x, pyramid="gaussian", fuse_middle=True, levels=2),
    ],
)
def test_gradients_are_right(change: Callable[[Tensor], Tensor | tuple[Tensor, Tensor]]) -> None:
    torch.manual_seed(0)  # directions of the check
    assert torch.autograd.gradcheck(change, (noise(1, 2, 4, 4).requires_grad_(),), fast_mode=True)


def test_wrong_arguments_are_refused() -> None:
    x = torch.rand(1, 3, 12, 16)
    with pytest.raises(ValueError, match="multiples of 8, got 12×16"):
        decompose(x)
    with pytest.raises(ValueError, match="multiples of 2, got 3×4"):
        area_halve(x[..., :3, :4])
    with pytest.raises(ValueError, match="sigma_color=0"):
        bilateral_filter(x, sigma_color=0)
    with pytest.raises(ValueError, match="bilateral or gaussian"):
        decompose(x, pyramid="laplace")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="levels=0"):
        decompose(x, levels=0)
