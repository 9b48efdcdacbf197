"""Colours of one image with the luminance of another."""

from __future__ import annotations

import pytest
import torch

from hdrlab.ops.chromaticity import contrast_for, with_chromaticity
from hdrlab.ops.colour import luminance, srgb_decode, srgb_encode


def images() -> tuple[torch.Tensor, torch.Tensor]:
    a, b = torch.rand(2, 1, 3, 8, 9, generator=torch.Generator().manual_seed(5))
    return 0.05 + 0.4 * a, 1e4 * b**3


def test_ratios_are_the_hdr_image_s_and_luminance_is_kept() -> None:
    shown, hdr = images()
    made = srgb_decode(with_chromaticity(shown, hdr))
    light = srgb_decode(luminance(shown))
    fits = ((hdr / luminance(hdr)).amax(dim=1) * light[:, 0] < 0.99)[:, None].expand_as(made)
    assert 0.5 < fits.float().mean() < 1
    kept = fits[:, :1]
    torch.testing.assert_close(luminance(made)[kept], light[kept], atol=1e-5, rtol=1e-4)
    assert (luminance(made) <= light + 1e-5).all()
    torch.testing.assert_close(made[fits], (light * hdr / luminance(hdr))[fits], atol=1e-5, rtol=1e-4)
    half = srgb_decode(with_chromaticity(shown, hdr, 0.5))
    spread = [(x.amax(dim=1) / x.amin(dim=1).clamp(min=1e-6)).median() for x in (made, half)]
    assert spread[1] < spread[0]
    torch.testing.assert_close(
        with_chromaticity(shown, hdr, 0), luminance(shown).expand_as(shown), atol=1e-5, rtol=1e-5
    )


def test_contrast_is_an_exponent_below_middle_grey() -> None:
    shown, hdr = images()
    plain, made = (luminance(srgb_decode(with_chromaticity(shown, hdr, 0, one))) for one in (1.0, 1.3))
    torch.testing.assert_close(made, 0.18 * (plain / 0.18) ** 1.3, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("contrast", [0.85, 1.3, 1.6])
def test_contrast_leaves_white_to_what_is_white(contrast: float) -> None:
    ramp = srgb_encode(torch.linspace(0, 1, 401)).view(1, 1, 1, -1).repeat(1, 3, 1, 1)
    made = srgb_decode(with_chromaticity(ramp, torch.ones_like(ramp), contrast=contrast))[0, 0, 0].double()
    assert (made.diff() > 0).all()
    assert made[-1] == pytest.approx(1, abs=1e-6)
    assert made[72] == pytest.approx(0.18, abs=1e-5)  # middle grey stays
    slopes = made.diff()[[71, 72]] * 400
    assert slopes.tolist() == pytest.approx([contrast, contrast], rel=0.02)  # without a kink there


def test_what_does_not_fit_is_mixed_with_grey_and_keeps_its_order_of_channels() -> None:
    shown, hdr = (
        torch.full((1, 3, 1, 2), 0.95),
        torch.tensor([9.0, 2.0, 1.0]).view(1, 3, 1, 1).repeat(1, 1, 1, 2),
    )
    hdr[..., 1] = 0
    made = with_chromaticity(shown, hdr)
    red, green, blue = made[0, :, 0, 0].tolist()
    assert 1 >= red > green > blue > 0.7
    assert torch.allclose(made[..., 1], shown[..., 1], atol=1e-4)


def test_gradients_are_finite_in_black_and_white() -> None:
    shown = torch.tensor([0.0, 0.5, 1.0]).view(1, 1, 1, 3).repeat(1, 3, 1, 1).requires_grad_()
    hdr = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 1]]).T.view(1, 3, 1, 3)
    for contrast in (0.8, 1.0, 1.2):
        (gradient,) = torch.autograd.grad(with_chromaticity(shown, hdr, 1.0, contrast).sum(), shown)
        assert gradient.isfinite().all()


def test_an_exponent_gives_each_image_its_local_contrast() -> None:
    grain = torch.rand(3, 1, 120, 160, generator=torch.Generator().manual_seed(6)) - 0.5
    strengths = torch.tensor([0.18, 0.22, 0.0]).view(3, 1, 1, 1)  # weak, strong, none
    shown = (0.46 + strengths * grain).expand(3, 3, 120, 160)
    exponents = contrast_for(shown, 0.06)
    assert exponents.shape == (3, 1, 1, 1)
    assert 0.85 < float(exponents[1]) < 1 < float(exponents[0]) < 1.4
    assert float(exponents[2]) > 1.399, "nothing there to raise: the most that is allowed"
    made = luminance(with_chromaticity(shown, torch.ones_like(shown), contrast=exponents))
    blocks = made[..., :110, :154].unfold(2, 11, 11).unfold(3, 11, 11)
    deviation = blocks.flatten(4).std(dim=4, correction=0).mean(dim=(1, 2, 3))
    torch.testing.assert_close(deviation[:2], torch.full((2,), 0.06), atol=1e-3, rtol=0)
    assert contrast_for(shown[..., :3, :2], 0.06).isfinite().all()


def test_local_contrast_is_that_of_the_scene_whatever_its_pixels() -> None:
    grain = torch.rand(1, 1, 384, 512, generator=torch.Generator().manual_seed(7)) - 0.5
    shown = (0.46 + 0.2 * grain).expand(1, 3, 384, 512)
    larger = shown.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    torch.testing.assert_close(contrast_for(larger, 0.06), contrast_for(shown, 0.06), atol=2e-3, rtol=0)
