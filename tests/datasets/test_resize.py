"""Resizing against exact averages and against torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hdrlab.ops.resize import _area, _linear, resize

Floats = NDArray[np.float32]


@pytest.fixture
def image() -> Floats:
    return np.random.default_rng(0).lognormal(0, 2, (48, 60, 3)).astype(np.float32)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_area_is_the_box_average(image: Floats, factor: int) -> None:
    height, width = 48 // factor, 60 // factor
    boxes = image.reshape(height, factor, width, factor, 3).astype(np.float64)
    np.testing.assert_allclose(resize(image, height, width), boxes.mean((1, 3)), rtol=1e-6)


@pytest.mark.parametrize("size", [(47, 59), (31, 37), (17, 60), (48, 7), (1, 1)])
def test_area_keeps_the_energy(image: Floats, size: tuple[int, int]) -> None:
    small = resize(image, *size)
    assert small.shape == (*size, 3)
    assert small.dtype == np.float32
    np.testing.assert_allclose(
        small.mean((0, 1), dtype=np.float64), image.mean((0, 1), dtype=np.float64), rtol=1e-6
    )


@pytest.mark.parametrize("size", [(48, 60), (96, 120), (61, 77), (20, 31), (12, 15)])
def test_bilinear_is_torchs(image: Floats, size: tuple[int, int]) -> None:
    tensor = torch.from_numpy(image.transpose(2, 0, 1)[None]).double()
    expected = torch.nn.functional.interpolate(tensor, size, mode="bilinear", align_corners=False)
    found = resize(image, *size, method="bilinear")
    np.testing.assert_allclose(found, expected[0].permute(1, 2, 0).numpy(), rtol=2e-5, atol=1e-5)


def test_area_enlarges_linearly(image: Floats) -> None:
    np.testing.assert_array_equal(resize(image, 70, 90), resize(image, 70, 90, method="bilinear"))


@pytest.mark.parametrize("method", ["area", "bilinear"])
@pytest.mark.parametrize("size", [(30, 41), (48, 60), (75, 99)])
def test_window_is_a_crop_of_the_whole(image: Floats, method: str, size: tuple[int, int]) -> None:
    whole = resize(image, *size, method=method)
    window = slice(5, 28), slice(9, 41)
    np.testing.assert_array_equal(resize(image, *size, method=method, window=window), whole[window])


@pytest.mark.parametrize("method", ["area", "bilinear"])
@pytest.mark.parametrize("size", [(29, 43), (80, 81)])
def test_constant_stays_constant(method: str, size: tuple[int, int]) -> None:
    found = resize(np.full((48, 60, 3), 0.7, np.float32), *size, method=method)
    np.testing.assert_allclose(found, 0.7, rtol=1e-6)


@pytest.mark.parametrize(("method", "height"), [("area", 31), ("area", 61), ("bilinear", 20)])
def test_buffers_hold_the_bits_of_the_plain_sum(image: Floats, method: str, height: int) -> None:
    positions, step = np.arange(height), 48 / height
    taps, weights = (_area if method == "area" and height < 48 else _linear)(positions, step)
    expected = np.zeros((height, 60, 3), np.float32)
    for tap, weight in zip(taps.clip(0, 47).T, weights.T.astype(np.float32), strict=True):
        expected += weight[:, None, None] * image[tap]
    np.testing.assert_array_equal(resize(image, height, 60, method=method), expected)
    turned = resize(image.swapaxes(0, 1), 60, height, method=method)
    np.testing.assert_array_equal(turned.swapaxes(0, 1), expected)
