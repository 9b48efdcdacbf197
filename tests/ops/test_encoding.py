"""Encodings of linear values, mean normalisation, and stretching to a range."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hdrlab.ops.colour import luminance, srgb_encode
from hdrlab.ops.encoding import (
    Domain,
    encode_hdr,
    log_compress,
    mean_normalise,
    mu_law_decode,
    mu_law_encode,
    normalise_minmax,
    normalise_percentile,
    pq_decode,
    pq_encode,
    tone_limits,
)

UNIT = torch.linspace(0, 1, 4097, dtype=torch.float64)


@pytest.mark.parametrize(
    ("encode", "decode"),
    [
        (mu_law_encode, mu_law_decode),
        (lambda x: pq_encode(1e4 * x), lambda v: pq_decode(v) / 1e4),
    ],
)
def test_encodings_invert_and_rise(
    encode: Callable[[Tensor], Tensor], decode: Callable[[Tensor], Tensor]
) -> None:
    encoded = encode(UNIT)
    torch.testing.assert_close(decode(encoded), UNIT, atol=1e-7, rtol=0)
    assert (encoded.diff() > 0).all()
    assert encoded[0].item() == pytest.approx(0, abs=1e-6)
    assert encoded[-1].item() == pytest.approx(1)


@pytest.mark.parametrize(
    ("function", "x", "expected"),
    [
        (log_compress, 0.1, 0.289065),  # log 2 / log 11
        (mu_law_encode, 0.01, 0.461630),  # log 51 / log 5001
        (pq_encode, 100.0, 0.508078),
    ],
)
def test_known_values(function: Callable[[Tensor], Tensor], x: float, expected: float) -> None:
    actual = function(torch.tensor(x, dtype=torch.float64))
    assert actual.item() == pytest.approx(expected, abs=1e-4)


def test_gradients_are_finite_at_the_ends() -> None:
    x = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(log_compress, x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_is_kept(dtype: torch.dtype) -> None:
    x = torch.rand(2, 3, 4, 4, dtype=dtype)
    for function in (log_compress, mean_normalise):
        assert function(x).dtype == dtype


def test_mean_normalise_is_per_sample_and_forgets_the_scale() -> None:
    x = torch.rand(2, 3, 4, 4) + 0.1
    scales = torch.tensor([3.0, 700.0]).view(2, 1, 1, 1)
    torch.testing.assert_close(mean_normalise(scales * x), mean_normalise(x), rtol=1e-4, atol=0)
    assert mean_normalise(torch.zeros(1, 3, 2, 2)).sum() == 0


# ------------------------------------------------------------------------------- stretching to a range

DOMAINS: tuple[Domain, ...] = ("gamma", "linear", "log", "adaptive")
LEVELS = torch.randperm(3000, generator=torch.Generator().manual_seed(0)).float()
"""0 … 2999 in disorder; the rank of the bright end is 9, at the ends of the logarithm 3."""


def hdr_noise(*shape: int, stops: float = 21) -> Tensor:
    return torch.exp2(stops * torch.rand(shape, generator=torch.Generator().manual_seed(1)))


@pytest.mark.golden
def test_range_and_encoding_are_the_authors(iqatm_goldens: Path) -> None:
    with np.load(iqatm_goldens / "utils.npz") as file:
        golden = {name: torch.from_numpy(file[name]) for name in file.files}
    hdr = golden["hdr"].permute(2, 0, 1)[None]
    for official in (False, True):
        low, high = tone_limits(hdr, official=official)
        assert low.item() == hdr.min()
        assert high.item() == golden["cut_number_threshold"]
    x_lin = encode_hdr(hdr, low, high, "linear")[0].permute(1, 2, 0)
    assert torch.equal(x_lin[:64, :64], golden["hdr_norm_crop64"])
    x = encode_hdr(hdr, low, high)[0].permute(1, 2, 0)
    assert torch.allclose(x, golden["hdr_gamma"], rtol=0, atol=1e-6)


@pytest.mark.golden
def test_stretching_is_the_authors(iqatm_goldens: Path) -> None:
    with np.load(iqatm_goldens / "utils.npz") as file:
        sdr, expected = torch.from_numpy(file["sdr_u8"]), torch.from_numpy(file["sdr_norm_crop64"])
    assert torch.equal(normalise_minmax(sdr[None].float())[0, :64, :64], expected)


def test_limits_count_the_brightest_samples_of_all_channels() -> None:
    low, high = tone_limits(LEVELS.view(1, 3, 20, 50))
    assert (low.item(), high.item()) == (0, 2991)
    assert low.shape == high.shape == (1, 1, 1, 1)


def test_limits_of_the_logarithm_leave_out_both_ends() -> None:
    low, high = tone_limits(LEVELS.view(1, 3, 20, 50), "log")
    assert (low.item(), high.item()) == (2, 2997)


def test_limits_of_a_sample_do_not_depend_on_the_batch() -> None:
    hdr = torch.stack([LEVELS.view(3, 20, 50), 7 + 5 * LEVELS.view(3, 20, 50)])
    low, high = tone_limits(hdr)
    assert low.flatten().tolist() == [0, 7]
    assert high.flatten().tolist() == [2991, 7 + 5 * 2991]


def test_small_images_keep_their_brightest_sample_but_for_the_authors() -> None:
    hdr = torch.arange(300.0).view(1, 3, 10, 10)
    assert tone_limits(hdr)[1].item() == 299
    low, high = tone_limits(hdr, official=True)
    assert low.item() == high.item() == 0
    assert tone_limits(torch.arange(336.0).view(1, 3, 8, 14), official=True)[1].item() == 335


@pytest.mark.parametrize("domain", DOMAINS[:3])
def test_a_few_stars_on_black_are_not_clipped_away(domain: Domain) -> None:
    hdr = torch.zeros(1, 3, 40, 50)
    hdr[0, :, 3, 4] = 7
    low, high = tone_limits(hdr, domain)
    assert (low.item(), high.item()) == (0, 7)
    assert encode_hdr(hdr, low, high, domain)[0, :, 3, 4].tolist() == [1, 1, 1]


@pytest.mark.parametrize("domain", DOMAINS)
def test_encoded_values_fill_the_unit_range_in_order(domain: Domain) -> None:
    hdr = hdr_noise(2, 3, 30, 40).double()
    low, high = tone_limits(hdr, domain)
    x = encode_hdr(hdr, low, high, domain)
    assert x.dtype == torch.float64
    assert [end.item() for end in x.aminmax()] == pytest.approx([0, 1], abs=0.01)
    for sample, encoded in zip(hdr.flatten(1), x.flatten(1), strict=True):
        assert (encoded[sample.argsort()].diff() >= 0).all()


def test_encodings_follow_their_formulas() -> None:
    hdr = torch.tensor([1.0, 2, 4, 8, 16, 32]).view(1, 3, 1, 2)
    low, high = torch.full((1, 1, 1, 1), 2.0), torch.full((1, 1, 1, 1), 16.0)
    shares = [0, 0, 2 / 14, 6 / 14, 1, 1]
    assert encode_hdr(hdr, low, high, "linear").flatten().tolist() == pytest.approx(shares)
    gamma = [share**0.4545 for share in shares]
    assert encode_hdr(hdr, low, high).flatten().tolist() == pytest.approx(gamma)
    logs = [0, 0, 1 / 3, 2 / 3, 1, 1]
    assert encode_hdr(hdr, low, high, "log").flatten().tolist() == pytest.approx(logs)


def test_the_adaptive_curve_is_about_the_log_average_and_minds_no_black() -> None:
    hdr = torch.tensor([1.0, 100.0, 10000.0]).repeat_interleave(9).view(1, 1, 3, 9).expand(-1, 3, -1, -1)
    low, high = tone_limits(hdr, "adaptive")
    assert (low.item(), high.item()) == pytest.approx((100, 10000))
    x = encode_hdr(hdr, low, high, "adaptive")
    exposed = np.array([0.0018, 0.18, 18])
    shown = srgb_encode(exposed * (1 + exposed / 18**2) / (1 + exposed))
    assert x[0, 0, :, 0].tolist() == pytest.approx(shown.tolist(), abs=1e-5)
    framed = F.pad(hdr, (0, 0, 0, 3))
    assert torch.allclose(encode_hdr(framed, *tone_limits(framed, "adaptive"), "adaptive")[..., :3, :], x)
    dimmer = hdr / 1e6
    assert torch.allclose(encode_hdr(dimmer, *tone_limits(dimmer, "adaptive"), "adaptive"), x)


def test_the_adaptive_curve_exposes_for_a_level() -> None:
    draws = torch.Generator().manual_seed(0)
    dark, bright = torch.rand(2, 3, 40, 60, generator=draws) ** 4, torch.rand(2, 3, 40, 60, generator=draws)
    for hdr in (dark, bright, dark * 1e6):
        limits = tone_limits(hdr, "adaptive", level=0.45)
        mean = luminance(encode_hdr(hdr, *limits, "adaptive")).mean((1, 2, 3))
        torch.testing.assert_close(mean, torch.full_like(mean, 0.45), atol=2e-3, rtol=0)
    alone = tone_limits(dark[1:], "adaptive", level=0.45)[0]
    torch.testing.assert_close(alone, tone_limits(dark, "adaptive", level=0.45)[0][1:])
    grey = tone_limits(dark, "adaptive")[0]
    for level, stops in ((1e-6, -2), (0.9999, 2)):
        torch.testing.assert_close(
            tone_limits(dark, "adaptive", level=level)[0], grey / 2**stops, rtol=2e-3, atol=0
        )


def test_the_logarithm_puts_black_at_its_offset() -> None:
    hdr = torch.tensor([0.0, 1, 100]).view(1, 3, 1, 1)
    x = encode_hdr(hdr, *tone_limits(hdr, "log"), "log").flatten()
    black = math.log(2.2e-16)
    assert x.tolist() == pytest.approx([0, -black / (math.log(100) - black), 1])


@pytest.mark.parametrize("domain", DOMAINS)
def test_a_window_is_encoded_as_in_its_image(domain: Domain) -> None:
    hdr = hdr_noise(2, 3, 30, 40)
    limits = tone_limits(hdr, domain)
    window = encode_hdr(hdr[..., 5:9, 7:30], *limits, domain)
    assert torch.allclose(window, encode_hdr(hdr, *limits, domain)[..., 5:9, 7:30], atol=1e-7)


@pytest.mark.parametrize("value", [0.0, 1e-39, 0.1, 3e38])
@pytest.mark.parametrize("domain", DOMAINS[:3])
def test_a_constant_image_becomes_zero(domain: Domain, value: float) -> None:
    hdr = torch.full((1, 3, 20, 20), value)
    low, high = tone_limits(hdr, domain)
    assert torch.equal(low, high)
    assert torch.equal(encode_hdr(hdr, low, high, domain), torch.zeros_like(hdr))


def test_stretching_works_on_each_sample() -> None:
    x = torch.tensor([[1.0, 2, 5], [-3, -3, -1], [4, 4, 4]]).view(3, 1, 1, 3)
    assert normalise_minmax(x).flatten(1).tolist() == [[0, 0.25, 1], [0, 0, 1], [0, 0, 0]]


def test_odd_pixels_do_not_set_the_range_of_percentiles() -> None:
    x = LEVELS.view(1, 3, 20, 50).clone()
    x[x >= 2998], x[x < 2] = 1e6, -1e6
    out = normalise_percentile(x)
    inside = (x >= 2) & (x <= 2997)
    assert torch.allclose(out[inside], (x[inside] - 2) / 2995)
    assert (out[x > 2997] == 1).all()
    assert (out[x < 2] == 0).all()


def test_percentiles_fall_back_to_the_range_and_to_zero() -> None:
    x = torch.full((2, 3, 20, 50), 0.25)
    x[0, 0, 0, 0] = 0.75
    out = normalise_percentile(x)
    assert out[0, 0, 0, 0] == 1
    assert out.sum() == 1
    assert torch.equal(normalise_percentile(x[:, :, :2], clipped=0), normalise_minmax(x[:, :, :2]))


def test_wrong_arguments_are_refused() -> None:
    x = torch.rand(1, 3, 4, 4)
    with pytest.raises(ValueError, match="unknown domain 'pq'"):
        tone_limits(x, "pq")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="choose one of gamma, linear, log"):
        encode_hdr(x, *tone_limits(x), "pq")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"clipped=0\.5"):
        normalise_percentile(x, 0.5)
