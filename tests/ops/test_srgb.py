"""The sRGB curve and luminance, of arrays and of tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from hdrlab.ops.colour import (
    expose,
    log_average,
    luminance,
    srgb_decode,
    srgb_encode,
    srgb_levels,
    srgb_light,
    with_luminance,
)

UNIT = torch.linspace(0, 1, 4097, dtype=torch.float64)
CURVES = [srgb_encode, srgb_decode]


def test_the_curve_inverts_and_rises() -> None:
    encoded = srgb_encode(UNIT)
    torch.testing.assert_close(srgb_decode(encoded), UNIT, atol=1e-7, rtol=0)
    assert (encoded.diff() > 0).all()
    assert encoded[[0, -1]].tolist() == pytest.approx([0, 1])


@pytest.mark.parametrize(
    ("curve", "x", "expected"),
    [(srgb_encode, 0.18, 0.461356), (srgb_encode, 0.001, 0.01292), (srgb_decode, 0.5, 0.214041)],
)
def test_known_values(curve: Callable[[Any], Any], x: float, expected: float) -> None:
    assert curve(torch.tensor(x, dtype=torch.float64)).item() == pytest.approx(expected, abs=1e-6)
    assert float(curve(np.array(x))) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("curve", CURVES)
def test_gradients_are_finite_at_the_ends(curve: Callable[[Any], Any]) -> None:
    x = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(curve, x)


@pytest.mark.parametrize("function", [*CURVES, luminance])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_arrays_and_tensors_give_the_same_in_their_own_dtype(
    function: Callable[[Any], Any], dtype: str
) -> None:
    pixels = np.random.default_rng(0).uniform(-0.1, 1.5, (5, 7, 3)).astype(dtype)
    made = function(pixels)
    planes = function(torch.from_numpy(pixels).permute(2, 0, 1)[None])
    assert made.dtype == dtype
    assert planes.dtype == getattr(torch, dtype)
    np.testing.assert_allclose(made.reshape(5, 7, -1), planes[0].permute(1, 2, 0), rtol=1e-5, atol=1e-6)


def test_values_outside_and_not_finite_follow_the_formula() -> None:
    odd = np.array([-1, np.inf, np.nan], np.float32)
    np.testing.assert_array_equal(srgb_encode(odd), np.array([-12.92, np.inf, np.nan], np.float32))


def test_eight_bits_go_there_and_back() -> None:
    light = srgb_light()
    assert light.dtype == np.float32
    assert np.array_equal(srgb_levels(light), np.arange(256))
    assert srgb_levels(np.array([-1.0, 0.0, 7.0])).tolist() == [0, 0, 255]


def test_luminance_weighs_red_first() -> None:
    weights = pytest.approx([0.212656, 0.715158, 0.072186])
    assert luminance(torch.eye(3).view(1, 3, 1, 3)).flatten().tolist() == weights
    assert luminance(np.eye(3, dtype=np.float32)).tolist() == weights
    for wrong in (torch.rand(1, 4, 2, 2), torch.rand(3, 2, 2), np.zeros((2, 2, 4))):
        with pytest.raises(ValueError, match="RGB"):
            luminance(wrong)


def test_the_log_average_leaves_black_out_and_follows_the_unit() -> None:
    light = np.array([[1, 100, 0, 0]], np.float32)
    assert log_average(light) == pytest.approx(10)
    assert log_average(light * 7) == pytest.approx(70)
    assert log_average(np.zeros((2, 2), np.float32)) == 1


def test_an_image_takes_another_luminance_and_keeps_its_colours() -> None:
    pixels = np.array([[[1, 2, 4], [0, 0, 0]]], np.float32)
    light = luminance(pixels)
    np.testing.assert_allclose(with_luminance(pixels, light, light / 2), pixels / 2, rtol=1e-6)
    assert log_average(luminance(expose(pixels, 0.18))) == pytest.approx(0.18)
