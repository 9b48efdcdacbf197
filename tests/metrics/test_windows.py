"""Statistics in sliding windows: against sums over every window, and without cancellation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hdrlab.ops.windows import gaussian_window, window_mean, window_moments

WINDOW = gaussian_window()


def test_gaussian_window_by_hand() -> None:
    assert sum(WINDOW) == pytest.approx(1, abs=1e-15)
    assert WINDOW[::-1] == WINDOW
    assert WINDOW[8] / WINDOW[5] == pytest.approx(np.exp(-2))
    assert gaussian_window(3, 1e-3) == (0, 1, 0)


def test_moments_equal_sums_over_every_window() -> None:
    rng = np.random.default_rng(0)
    x, y = 4e9 * rng.random((2, 3, 1, 15, 19))
    weights = np.outer(WINDOW, WINDOW)
    windows = [np.lib.stride_tricks.sliding_window_view(v, (11, 11), axis=(2, 3)) for v in (x, y)]
    expected_means = [(v * weights).sum((-2, -1)) for v in windows]
    dx, dy = (v - m[..., None, None] for v, m in zip(windows, expected_means, strict=True))
    expected = np.stack([(weights * product).sum((-2, -1)) for product in (dx * dx, dy * dy, dx * dy)])
    means, moments = window_moments(torch.from_numpy(x), torch.from_numpy(y), WINDOW)
    np.testing.assert_allclose(means, np.stack(expected_means), rtol=1e-12)
    np.testing.assert_allclose(moments, expected, rtol=1e-12, atol=1e-12 * np.abs(expected).max())
    np.testing.assert_allclose(window_mean(torch.from_numpy(x), WINDOW), means[0], rtol=1e-14)


def test_small_contrast_on_large_values_is_not_cancelled() -> None:
    base, step = 4e9 + 1 / 3, 2.0**-10
    x = torch.full((1, 1, 11, 40), base, dtype=torch.float64)
    x[..., 20:] = 17.0
    x[..., ::2, :20] += step
    _, moments = window_moments(x, x, WINDOW)
    share = sum(WINDOW[::2])
    exact = step**2 * share * (1 - share)
    assert moments[0, 0, 0, 0, :10].tolist() == pytest.approx([exact] * 10, rel=1e-2)
    assert moments[:, 0, 0, 0, 20:].abs().max() < 1e-25
