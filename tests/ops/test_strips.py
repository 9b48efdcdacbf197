"""Maps computed strip by strip are those of the whole."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hdrlab.ops import strips
from hdrlab.ops.strips import in_strips


@pytest.fixture
def heights(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Strips as low as they get; their heights as they are asked for."""
    monkeypatch.setattr(strips, "CELLS", 1)
    return []


@pytest.mark.parametrize("size", [8, 40, 41, 50])
def test_strips_of_convolved_maps_have_no_seams(heights: list[int], size: int) -> None:
    x = torch.randn(2, 3, size, 5, dtype=torch.float64)
    kernel = torch.randn(4, 3, 3, 3, dtype=torch.float64)

    def twice(x: Tensor) -> tuple[Tensor, ...]:
        heights.append(x.shape[-2])
        once = F.conv2d(x, kernel, padding=1)
        return F.conv2d(once, kernel[:, :1].expand(-1, 4, -1, -1), padding=1), once

    expected = twice(x)
    made = in_strips(twice, [x], channels=4, halo=2)
    assert len(heights) == 1 + -(-size // 16)
    for ours, plain in zip(made, expected, strict=True):
        assert (ours - plain).abs().max() < 1e-13


def test_maps_of_several_resolutions_keep_their_places(heights: list[int]) -> None:
    fine, coarse = torch.randn(1, 2, 96, 6), torch.randn(1, 3, 48, 3)

    def halves(fine: Tensor, coarse: Tensor) -> tuple[Tensor, ...]:
        heights.append(fine.shape[-2])
        wide = F.interpolate(coarse, scale_factor=2)
        return F.avg_pool2d(fine, 2), torch.cat([fine, wide], 1).contiguous(memory_format=torch.channels_last)

    expected = halves(fine, coarse)
    made = in_strips(halves, [fine, coarse], channels=5, halo=2, multiple=2)
    assert heights == [96, *[18], *[20] * 4, 18]
    assert all(map(torch.equal, made, expected))
    assert made[1].is_contiguous(memory_format=torch.channels_last)


def test_maps_that_fit_are_computed_at_once() -> None:
    x = torch.rand(1, 1, 64, 64)
    seen = []
    in_strips(lambda x: (seen.append(x) or x,), [x], channels=1)
    assert seen[0] is x
