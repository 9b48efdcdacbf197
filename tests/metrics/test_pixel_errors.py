"""Pixel errors, curve error and what the metrics accept."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from hdrlab.metrics import curve_mse, log10_rmse, log_l1, log_l2, mean_psnr, psnr, psnr_mu, psnr_pu21

DISTANCES = (log_l1, log_l2, log10_rmse)


@pytest.mark.golden
def test_log_l2_matches_the_reference(goldens: Path) -> None:
    with np.load(goldens / "loss_hal.npz") as arrays:
        y, target = (arrays[name].transpose(0, 3, 1, 2) for name in ("y_final", "hdr_t"))
        assert log_l2(y, target).mean().item() == pytest.approx(float(arrays["log_l2_test"]), rel=1e-5)
        assert log_l1(y, target).tolist() == pytest.approx(arrays["l1_log"].ravel().tolist(), rel=1e-5)


def test_values_by_hand() -> None:
    zero, tenth, one = (torch.full((1, 1, 2, 2), value) for value in (0.0, 0.1, 1.0))
    assert psnr(one, tenth * 9).item() == pytest.approx(20, abs=1e-4)
    assert psnr(255 * one, 229.5 * one, peak=255).item() == pytest.approx(20, abs=1e-4)
    assert log_l1(zero, tenth).item() == pytest.approx(math.log(2) / math.log(11))
    assert log_l2(zero, one).item() == pytest.approx(math.log(256) ** 2)
    assert log10_rmse(tenth, one).item() == pytest.approx(1)
    assert log10_rmse(zero, 0.005 * one).item() == 0
    curves = torch.tensor([[0.0, 1.0], [0.5, 1.0]]), torch.tensor([[0.0, 0.0], [0.5, 1.0]])
    assert curve_mse(*curves).tolist() == [0.5, 0]


def test_psnr_mu_divides_by_the_largest_reference_value() -> None:
    reference = torch.tensor([0.0, 1.0, 2.0, 4.0]).view(1, 1, 2, 2)
    test = torch.tensor([-3.0, 1.0, 2.0, 2.0]).view(1, 1, 2, 2)  # negative counts as 0
    error = (1 - math.log(2501) / math.log(5001)) ** 2 / 4
    assert psnr_mu(test, reference).item() == pytest.approx(-10 * math.log10(error), abs=1e-3)
    torch.testing.assert_close(psnr_mu(7 * test, 7 * reference), psnr_mu(test, reference))
    assert psnr_mu(test, reference, peak=8.0) > psnr_mu(test, reference)


@pytest.mark.parametrize("metric", [*DISTANCES, psnr, psnr_mu])
def test_contract_of_every_pixel_error(metric: object) -> None:
    assert callable(metric)
    generator = torch.Generator().manual_seed(0)
    reference = torch.rand(3, 3, 8, 9, generator=generator) + 0.1
    test = reference + 0.05 * torch.rand(3, 3, 8, 9, generator=generator)
    scores = metric(test, reference)
    assert scores.shape == (3,)
    # One image's score does not depend on its company, on the form it comes in, or on its orientation.
    torch.testing.assert_close(metric(test.flip(0), reference.flip(0)), scores.flip(0))
    torch.testing.assert_close(metric(test.numpy(), reference.numpy()), scores)
    torch.testing.assert_close(metric(test.mT, reference.mT), scores)
    torch.testing.assert_close(metric(test[1], reference[1])[0], scores[1])
    hwc = (test[1].permute(1, 2, 0).numpy(), reference[1].permute(1, 2, 0).numpy())
    torch.testing.assert_close(metric(*hwc)[0], scores[1])
    assert metric(test.double(), reference).dtype == torch.float64
    mask = torch.zeros(3, 1, 8, 9)
    mask[:, :, 2:] = 1
    region = metric(test, reference, mask=mask)
    if metric is not psnr_mu:  # its peak is that of the whole reference
        torch.testing.assert_close(region, metric(test[:, :, 2:], reference[:, :, 2:]))
    best = torch.inf if metric in (psnr, psnr_mu) else 0
    assert metric(reference, reference).tolist() == [best] * 3


def test_means_of_psnr_cap_infinity_and_skip_empty_regions() -> None:
    assert mean_psnr(torch.tensor([20.0, torch.inf, torch.nan])).item() == pytest.approx(60)
    assert mean_psnr(np.array([150.0])).item() == 100


def test_wrong_input_is_refused_by_name() -> None:
    image = torch.rand(1, 3, 8, 9)
    with pytest.raises(ValueError, match="255"):
        psnr((image * 255).to(torch.uint8), image)
    with pytest.raises(ValueError, match="one size"):
        psnr(image, image[..., :8])
    with pytest.raises(ValueError, match="3 channels"):
        psnr_pu21(torch.rand(1, 4, 8, 8), torch.rand(1, 4, 8, 8))
    with pytest.raises(ValueError, match="mask"):
        psnr(image, image, mask=torch.ones(1, 1, 8, 8))
    with pytest.raises(ValueError, match="curves"):
        curve_mse(torch.rand(2, 4), torch.rand(1, 4))
