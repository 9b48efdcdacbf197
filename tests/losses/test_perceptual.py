"""The perceptual loss of tone mapping: reference outputs, and the unlabelled sample."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from iqatm import vgg16_of_the_reference
from torch import Tensor

from hdrlab.losses import tone_perceptual_loss
from hdrlab.nets.vgg16 import FIRST_CONVOLUTIONS


@pytest.mark.golden
def test_features_value_and_gradient_match_the_reference(iqatm_goldens: Path) -> None:
    with np.load(iqatm_goldens / "perceptual.npz") as arrays:
        golden = dict(arrays)
    # One feature is so nearly the same in both images that single precision may get its sign wrong.
    features = vgg16_of_the_reference().double()
    output, target = (torch.from_numpy(golden[k]).permute(0, 3, 1, 2).double() for k in ("o", "t"))
    for layer, maps in zip(FIRST_CONVOLUTIONS, features(output), strict=True):
        assert maps.permute(0, 2, 3, 1).shape == tuple(golden[f"feat_{layer}_shape"])
        means = maps.mean(dim=(0, 2, 3)).numpy()
        np.testing.assert_allclose(means, golden[f"feat_{layer}_ch_mean"], rtol=0, atol=2e-5)
        probe = maps.permute(0, 2, 3, 1)[0, :6, :6, :8].numpy()
        np.testing.assert_allclose(probe, golden[f"feat_{layer}_probe"], rtol=0, atol=2e-5)
    output.requires_grad_()
    loss = tone_perceptual_loss(features, output, target)
    assert loss.item() == pytest.approx(golden["lp"].item(), rel=2e-5)
    (grad,) = torch.autograd.grad(loss, output)
    expected = torch.from_numpy(golden["grad_lp_o"]).permute(0, 3, 1, 2)
    torch.testing.assert_close(grad.float(), expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


def test_a_third_of_the_sum_without_compression() -> None:
    x, target = torch.zeros(2, 3, 4, 4), torch.ones(2, 3, 4, 4)

    def features(x: Tensor) -> list[Tensor]:
        return [x, 5 * x]

    assert tone_perceptual_loss(features, x, target).item() == pytest.approx(2)
    assert tone_perceptual_loss(features, x + 0.5, target).item() == pytest.approx(1)


def test_unlabelled_samples_have_no_influence() -> None:
    x = torch.rand(2, 3, 4, 4, requires_grad=True)
    target = torch.stack([torch.zeros(3, 4, 4), torch.ones(3, 4, 4)])
    loss = tone_perceptual_loss(lambda v: [v.square()], x, target, torch.tensor([0.0, 1.0]).view(2, 1, 1, 1))
    (grad,) = torch.autograd.grad(loss, x)
    assert grad[0].count_nonzero() == 0
    assert grad[1].count_nonzero() > 0
    assert tone_perceptual_loss(lambda v: [v], x, target, torch.zeros(2)).item() == 0
