from __future__ import annotations

import pytest
import torch

from hdrlab.ops.masks import highlight_mask


def test_the_ramp_starts_at_one_minus_width_and_takes_the_largest_channel() -> None:
    x = torch.tensor([[0.1, 0.88, 0.2], [0.94, 0.0, 0.5], [0.3, 0.3, 1.0], [1.5, 0.0, 0.0], [-1, -1, -1]])
    mask = highlight_mask(x.T.reshape(1, 3, 1, 5))
    assert mask.shape == (1, 1, 1, 5)
    assert torch.allclose(mask.flatten(), torch.tensor([0.0, 0.5, 1.0, 1.0, 0.0]), atol=1e-6)
    assert highlight_mask(x.T.reshape(1, 3, 1, 5), width=1.0)[0, 0, 0, 1] == pytest.approx(0.94)


def test_gradients_reach_the_image_inside_the_ramp_alone() -> None:
    x = torch.tensor([0.5, 0.95, 1.2]).repeat(3, 1).reshape(1, 3, 1, 3).requires_grad_()
    highlight_mask(x).sum().backward()
    assert x.grad is not None
    assert x.grad.sum(1).flatten().tolist() == pytest.approx([0, 1 / 0.12, 0])


@pytest.mark.parametrize("width", [0.0, -0.1, 1.5])
def test_an_illegal_width_is_refused(width: float) -> None:
    with pytest.raises(ValueError, match="width"):
        highlight_mask(torch.zeros(1, 3, 2, 2), width)
