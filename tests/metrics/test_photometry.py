"""Alignment, clipped pixels and the photometric anchor."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from hdrlab.metrics import align_scale, alignment_mask, anchor_luminance, clipped_mask, log_l1, psnr_pu21
from hdrlab.ops.colour import luminance


@pytest.fixture
def reference() -> Tensor:
    return torch.exp(torch.randn(2, 3, 15, 16, generator=torch.Generator().manual_seed(1)))


def test_alignment_forgets_the_scale(reference: Tensor) -> None:
    test = reference * (1 + 0.1 * torch.rand(reference.shape, generator=torch.Generator().manual_seed(2)))

    def score(scale: float) -> Tensor:
        scaled = scale * test
        return log_l1(align_scale(scaled, reference).view(-1, 1, 1, 1) * scaled, reference)

    torch.testing.assert_close(score(0.001), score(1.0))
    torch.testing.assert_close(score(5000.0), score(1.0))
    torch.testing.assert_close(align_scale(4 * reference, reference), torch.full((2,), 0.25))


def test_alignment_is_the_least_squares_fit_on_the_mask(reference: Tensor) -> None:
    test = reference.clone()
    test[:, :, 0] = torch.inf
    mask = torch.ones(2, 1, 15, 16, dtype=torch.bool)
    mask[:, :, 0] = False
    torch.testing.assert_close(align_scale(3 * test, reference, mask), torch.full((2,), 1 / 3))
    p, g = torch.tensor([1.0, 2.0]).view(1, 1, 1, 2), torch.tensor([3.0, 1.0]).view(1, 1, 1, 2)
    assert align_scale(p, g).item() == pytest.approx(5 / 5)
    assert align_scale(0 * p, g).item() == 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_clipping_starts_at_code_249(dtype: type) -> None:
    codes = np.arange(256)
    for ldr in ((codes / 255).astype(dtype), (codes.astype(dtype) * dtype(1 / 255)).astype(dtype)):
        image = np.zeros((1, 3, 1, 256), dtype)
        image[:, 1] = ldr
        assert clipped_mask(image).flatten().tolist() == [code >= 249 for code in codes]


def test_alignment_mask_uses_the_known_clipping_point() -> None:
    ldr = torch.tensor([1.0, 0.6, 0.5]).expand(1, 3, 1, 3)
    reference = torch.tensor([4.0, 1.5, 0.2]).expand(1, 3, 1, 3)
    assert alignment_mask(ldr).flatten().tolist() == [False, True, True]
    assert alignment_mask(ldr, reference, 1.0).flatten().tolist() == [False, False, True]
    with pytest.raises(ValueError, match="together"):
        alignment_mask(ldr, reference)


def test_anchor_places_the_median(reference: Tensor) -> None:
    shown = anchor_luminance(reference, "wide")(reference)
    medians = [float(np.median(luminance(x[None]).numpy())) for x in shown]
    assert medians == pytest.approx([20, 20], rel=1e-5)
    torch.testing.assert_close(anchor_luminance(8 * reference).factor * 8, anchor_luminance(reference).factor)


def test_anchored_scores_forget_the_unit_of_the_reference(reference: Tensor) -> None:
    def score(unit: float) -> Tensor:
        display = anchor_luminance(unit * reference)
        return psnr_pu21(display(1.1 * unit * reference), display(unit * reference))

    torch.testing.assert_close(score(1.0), score(300.0), rtol=1e-4, atol=0)


def test_display_modes_clip() -> None:
    grey = torch.ones(1, 3, 1, 4)
    image = torch.tensor([-1.0, 1.0, 75.0, 5000.0]).expand(1, 3, 1, 4)
    shown = {mode: anchor_luminance(grey, mode)(image)[0, 0, 0].tolist() for mode in ("display", "wide")}
    assert shown["display"] == pytest.approx([0, 20, 1000, 1000])
    assert shown["wide"] == pytest.approx([0, 20, 1500, 10000])
    with pytest.raises(ValueError, match="wide"):
        anchor_luminance(grey, "cinema")  # type: ignore[arg-type]


def test_anchor_of_dark_images() -> None:
    night = torch.zeros(2, 3, 1, 5)
    night[0, ..., 3:] = torch.tensor([1.0, 3.0])
    display = anchor_luminance(night)
    assert display.factor[0].item() == pytest.approx(10)
    assert display(night)[1].isnan().all()
