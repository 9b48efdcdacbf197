"""The maps of linearization, made piece by piece: those of the formulas, and no more than are needed."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hdrlab.nets import features as module
from hdrlab.nets.features import FEATURES, Features
from hdrlab.ops.padding import pad_same, same_margins

SETS = [FEATURES, ("rgb", "histograms"), ("edges", "histograms"), ("histograms",), ("rgb", "edges")]


def image(height: int = 9, width: int = 12) -> Tensor:
    x = torch.rand(2, 3, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x.view(-1)[:17] = torch.arange(17) / 16  # where maps have their corners
    return x


def test_edges_are_those_of_sobel() -> None:
    dy = torch.tensor([[-1.0, -2.0, -1.0], [0.0, 0.0, 0.0], [1.0, 2.0, 1.0]], dtype=torch.float64)
    kernels = torch.stack([dy, dy.T]).unsqueeze(1).repeat(3, 1, 1, 1)
    x = image()
    expected = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), kernels, groups=3)
    assert (Features(("edges",))(x) - expected).abs().max() < 1e-15


@pytest.mark.parametrize("form", ["paper", "authors"])
@pytest.mark.parametrize("seen", SETS)
def test_all_maps_are_sums_of_those_that_are_computed(
    seen: tuple[str, ...], form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CELLS", 1000)
    x, features = image(), Features(seen, form).double()
    margins = same_margins(x, 7, 2)
    made = features.padded(x, margins)
    assert made.is_contiguous(memory_format=torch.channels_last)
    sums = torch.eye(made.shape[1], dtype=x.dtype) if features.sums is None else features.sums
    expected = pad_same(features(x), 7, 2)
    assert (torch.einsum("bghw,ga->bahw", made, sums) - expected).abs().max() < 1e-14
    for start, stop in ((0, 2), (1, 9), (10, made.shape[2]), (0, made.shape[2])):
        assert torch.equal(features.rows(module.mirror(x), margins, start, stop), made[:, :, start:stop])


def test_the_authors_form_computes_57_of_102_maps() -> None:
    sizes = {form: Features(form=form).padded(image(), (0, 0, 0, 0)).shape[1] for form in module.HISTOGRAMS}
    assert sizes == {"paper": 93, "authors": 57}
    assert Features(form="authors").channels == 102


@pytest.mark.parametrize("form", ["paper", "authors"])
def test_gradients_are_those_of_the_formulas(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CELLS", 1000)
    x, features = image().requires_grad_(), Features(form=form).double()
    margins = same_margins(x, 7, 2)
    made = features.padded(x, margins)
    plain = pad_same(features._maps(module.mirror(x), whole=False), 7, 2)
    slopes = torch.randn(made.shape, dtype=x.dtype)
    (ours,), (theirs,) = (torch.autograd.grad(maps, x, slopes) for maps in (made, plain))
    assert (ours - theirs).abs().max() < 1e-12
