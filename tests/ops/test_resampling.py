from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from hdrlab.ops.padding import pad_same
from hdrlab.ops.upsampling import (
    convolve_doubled,
    doubled_kernel,
    upsample_bilinear,
    upsample_bilinear_legacy,
)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "before", "after"),
    [(8, 7, 2, 2, 3), (9, 7, 2, 3, 3), (8, 3, 2, 0, 1), (9, 3, 2, 1, 1), (8, 2, 2, 0, 0), (5, 1, 2, 0, 0)],
)
def test_same_padding_follows_tensorflow(
    size: int, kernel: int, stride: int, before: int, after: int
) -> None:
    padded = pad_same(torch.ones(1, 1, size, 6), kernel, stride, value=-2)
    column = padded[0, 0, :, padded.shape[-1] // 2]
    assert column.tolist() == [-2] * before + [1] * size + [-2] * after


def test_legacy_upsampling_copies_even_cells_and_averages_odd_ones() -> None:
    x = torch.rand(2, 3, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    out = upsample_bilinear_legacy(x)
    assert out.shape == (2, 3, 10, 8)
    assert torch.allclose(out[..., ::2, ::2], x)
    assert torch.allclose(out[..., 1:-1:2, ::2], (x[..., 1:, :] + x[..., :-1, :]) / 2)
    assert torch.allclose(out[..., -1, ::2], x[..., -1, :])
    assert torch.allclose(out[..., ::2, -1], x[..., -1])


def test_half_pixel_upsampling_weighs_a_quarter_and_three_quarters() -> None:
    out = upsample_bilinear(torch.tensor([0.0, 1.0, 3.0]).view(1, 1, 1, 3))[0, 0, 0]
    assert out.tolist() == [0, 0.25, 0.75, 1.5, 2.5, 3]


def test_gradients_are_right() -> None:
    x = torch.rand(1, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    for upsample in (upsample_bilinear, upsample_bilinear_legacy):
        assert torch.autograd.gradcheck(upsample, (x,))


@pytest.mark.parametrize("size", [(1, 1), (1, 4), (5, 3)])
def test_doubled_maps_are_convolved_without_making_them(size: tuple[int, int]) -> None:
    draw = {"dtype": torch.float64, "requires_grad": True}
    x, kernel, bias = (
        torch.randn(2, 3, *size, **draw),
        torch.randn(4, 3, 3, 3, **draw),
        torch.randn(4, **draw),
    )
    doubled = F.interpolate(x, scale_factor=2, mode="nearest")
    plain = F.conv2d(F.pad(doubled, (1, 1, 1, 1), mode="reflect"), kernel, bias)
    ours = convolve_doubled(x, doubled_kernel(kernel), bias)
    slopes = torch.randn(plain.shape, dtype=torch.float64)
    pairs = zip(*(torch.autograd.grad(y, (x, kernel, bias), slopes) for y in (ours, plain)), strict=True)
    for one, other in ((ours, plain), *pairs):
        assert (one - other).abs().max() < 1e-13 * other.abs().max()
