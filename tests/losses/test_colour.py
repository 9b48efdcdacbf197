"""Colour differences: reference outputs, hue as an angle, and gradients where formulas break."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from hdrlab.losses import chroma_loss, delta_e_itp_loss, hue_loss
from hdrlab.losses.colour import TO_XYZ

Loss = Callable[..., Tensor]

LOSSES: Mapping[str, Loss] = {
    "hue": hue_loss,
    "hue_encoded": partial(hue_loss, linearise=False),
    "hue_camera": partial(hue_loss, gamut="nikon_d2x"),
    "delta_e": delta_e_itp_loss,
    "delta_e_encoded": partial(delta_e_itp_loss, linearise=False),
}


def load(path: Path) -> dict[str, Tensor]:
    with np.load(path) as arrays:
        tensors = {name: torch.from_numpy(np.asarray(arrays[name])) for name in arrays.files}
    return {name: t.permute(0, 3, 1, 2) if t.ndim == 4 else t for name, t in tensors.items()}


def images(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    a, b = torch.rand(2, 2, 3, 5, 6, generator=torch.Generator().manual_seed(2), dtype=dtype)
    return 0.05 + 0.9 * a, 0.05 + 0.9 * b


def colour(*rgb: float) -> Tensor:
    return torch.tensor(rgb, dtype=torch.float64).view(1, 3, 1, 1)


@pytest.mark.golden
@pytest.mark.parametrize(
    ("loss", "other", "key", "tolerance"),
    [
        (partial(hue_loss, gamut="nikon_d2x"), "x", "hue_ipt_ox", 1e-3),
        (delta_e_itp_loss, "t", "deltaE_itp_ot", 1e-3),
    ],
)
def test_values_and_gradients_match_the_reference(
    iqatm_goldens: Path, loss: Loss, other: str, key: str, tolerance: float
) -> None:
    g = load(iqatm_goldens / "losses.npz")
    output = g["o"].clone().requires_grad_()
    value = loss(output, g[other], form="official")
    assert value.item() == pytest.approx(g[key].item(), abs=1e-6)
    (grad,) = torch.autograd.grad(value, output)
    for part, place in (("crop", grad[0, :, 60:84, 70:94]), ("corner", grad[-1, :, :16, :16])):
        expected = g[f"grad_{key}_{part}"]
        if expected.ndim == 3:
            expected = expected.permute(2, 0, 1)
        torch.testing.assert_close(place, expected, rtol=0, atol=tolerance * float(expected.abs().max()))
    assert grad.abs().sum().item() == pytest.approx(g[f"grad_{key}_l1norm"].item(), rel=1e-3)


@pytest.mark.golden
def test_gamuts_match_the_reference(iqatm_goldens: Path) -> None:
    g = load(iqatm_goldens / "losses.npz")
    rgb = g["o"][:1, :, :24, :28]
    names = {"nikon_d2x": "Fairchild_Nikon_D2x", "p3": "DCI-P3", "alexa": "Alexa"}
    for gamut, matrix in TO_XYZ.items():
        xyz = torch.einsum("ij,bjhw->bihw", torch.tensor(matrix), rgb).clamp(min=1e-6)
        torch.testing.assert_close(xyz, g[f"xyz_{names.get(gamut, gamut)}"], rtol=0, atol=1e-6)
    assert hue_loss(g["o"], g["t"], form="official").item() == pytest.approx(
        g["hue_ipt_ot_709"].item(), abs=1e-6
    )


@pytest.mark.golden
def test_saturated_blue_matches_the_reference(iqatm_goldens: Path) -> None:
    g = load(iqatm_goldens / "adam.npz")
    output = g["nikon_blue_o"].clone().requires_grad_()
    value = hue_loss(output, g["nikon_blue_x"], form="official", gamut="nikon_d2x")
    assert value.item() == pytest.approx(g["nikon_blue_hue_loss"].item(), abs=1e-6)
    (grad,) = torch.autograd.grad(value, output)
    torch.testing.assert_close(grad, g["nikon_blue_hue_grad_o"], rtol=0, atol=1e-6)
    assert hue_loss(g["nikon_blue_o"], g["nikon_blue_x"], gamut="nikon_d2x").isfinite()


def test_the_official_gradient_at_equality_is_the_authors() -> None:
    for level, expected in ((0.5, True), (0.0, False)):
        x = torch.full((1, 3, 2, 2), level, requires_grad=True)
        (grad,) = torch.autograd.grad(delta_e_itp_loss(x, x.detach(), form="official"), x)
        assert grad.isnan().all().item() is expected


def test_a_difference_along_intensity_by_hand() -> None:
    # White on any of these axes is I = L′ = M′ with hardly any Ct and Cp; ^0.43 of linear ½ and 1.
    value = delta_e_itp_loss(colour(1, 1, 1), colour(0.5, 0.5, 0.5), linearise=False).item()
    assert value == pytest.approx(1 - 0.5**0.43, rel=0.03)
    assert delta_e_itp_loss(colour(1, 1, 1), colour(0.5, 0.5, 0.5)).item() == pytest.approx(
        1 - 0.5 ** (0.43 * 2.2), rel=0.03
    )


def test_hue_ignores_intensity_and_takes_the_short_way_round() -> None:
    # Scaling linear light scales the cones alike.
    assert hue_loss(colour(0.8, 0.3, 0.2), colour(0.4, 0.15, 0.1)).item() == pytest.approx(0, abs=1e-9)
    steps = [
        colour(*(0.5 + 0.4 * math.cos(2 * math.pi * (i / 12 - c / 3)) for c in range(3))) for i in range(13)
    ]
    around = sum(hue_loss(a, b).item() for a, b in itertools.pairwise(steps))
    assert around == pytest.approx(2 * math.pi, rel=1e-6)
    opposite = hue_loss(steps[0], steps[6]).item()
    assert 2.5 < opposite <= math.pi


def test_grey_has_no_hue() -> None:
    red = colour(0.8, 0.3, 0.2)
    grey = colour(0.5, 0.5, 0.501).requires_grad_()
    value = hue_loss(grey, red)
    assert value.item() == 0
    assert torch.autograd.grad(value, grey)[0].count_nonzero() == 0
    assert hue_loss(colour(0.5, 0.5, 0.501), red, form="official").item() > 0.1


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    a, b = images(torch.float64)
    torch.manual_seed(0)  # directions of the check
    assert torch.autograd.gradcheck(LOSSES[name], (a.requires_grad_(), b), fast_mode=True)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("case", ["equal", "black", "nearly_black", "white", "blue", "negative"])
def test_values_and_gradients_are_finite_where_formulas_break(name: str, case: str) -> None:
    a, b = images()
    blue = torch.tensor([0.0, 0.0, 1.0]).view(1, 3, 1, 1).expand_as(a).clone()
    a, b = {
        "equal": (a, a.clone()),
        "black": (torch.zeros_like(a), b),
        "nearly_black": (1e-6 * a, b),
        "white": (torch.ones_like(a), b),
        "blue": (b, blue),
        "negative": (a - 1, b),
    }[case]
    a.requires_grad_()
    value = LOSSES[name](a, b)
    (grad,) = torch.autograd.grad(value, a)
    assert value.isfinite()
    assert grad.isfinite().all()
    assert grad.abs().max() < 100
    if case == "equal" and name != "hue_camera":
        assert value.item() < 2e-6
        assert grad.count_nonzero() == 0


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("form", ["official", "default"])
def test_masked_samples_have_no_influence(name: str, form: str) -> None:
    a, b = images(torch.float64)
    b[0] = 0  # as where there is no label
    a.requires_grad_()
    loss = partial(LOSSES[name], form=form)
    value = loss(a, b, torch.tensor([0.0, 1.0]).view(2, 1, 1, 1))
    assert value.item() == pytest.approx(loss(a[1:], b[1:]).item() / 2, rel=1e-9)
    assert torch.autograd.grad(value, a)[0][0].count_nonzero() == 0
    nothing = loss(a, b, torch.zeros(2))
    assert nothing.item() == 0
    assert torch.autograd.grad(nothing, a)[0].count_nonzero() == 0


def test_the_default_form_linearises_and_the_official_does_not() -> None:
    a, b = images()
    for loss in (hue_loss, delta_e_itp_loss):
        linear = loss(a**2.2, b**2.2, linearise=False).item()
        assert loss(a, b).item() == pytest.approx(linear, rel=1e-5)
        official = loss(a, b, form="official").item()
        assert official == loss(a, b, form="official", linearise=False).item()
        assert official != loss(a, b, form="official", linearise=True).item()


def test_half_precision_is_lifted() -> None:
    a, b = images()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert delta_e_itp_loss(a, b).item() == pytest.approx(
            delta_e_itp_loss(a.double(), b.double()).item(), abs=1e-6
        )
    assert hue_loss(a.half(), b.half()).dtype == torch.float32


def test_wrong_arguments_are_refused() -> None:
    a, b = images()
    with pytest.raises(ValueError, match="'rec709' is unknown: choose one of 709, nikon_d2x"):
        hue_loss(a, b, gamut="rec709")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="same shape"):
        delta_e_itp_loss(a, b[:, :1])
    with pytest.raises(ValueError, match="'official' or 'default'"):
        hue_loss(a, b, form="mended")  # type: ignore[arg-type]


def test_chroma_is_what_fades_and_hue_what_turns() -> None:
    colour = torch.tensor([0.7, 0.4, 0.3]).view(1, 3, 1, 1).expand(-1, -1, 4, 4)
    grey = colour.mean(dim=1, keepdim=True)
    half, none, turned = 0.5 * (colour + grey), grey.expand(-1, 3, -1, -1), colour.flip(1)
    assert chroma_loss(colour, colour) < 1e-6
    assert 0.02 < chroma_loss(half, colour) < chroma_loss(none, colour)
    assert hue_loss(half, colour) < 0.1 < 1 < hue_loss(turned, colour)
    torch.testing.assert_close(chroma_loss(none, colour), chroma_loss(colour, none))
