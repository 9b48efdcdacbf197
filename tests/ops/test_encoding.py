from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from hdrlab.ops.tone_range import (
    Domain,
    encode_hdr,
    normalise_minmax,
    normalise_percentile,
    tone_limits,
)

DOMAINS: tuple[Domain, ...] = ("gamma", "linear", "log")
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


def test_small_pictures_keep_their_brightest_sample_but_for_the_authors() -> None:
    hdr = torch.arange(300.0).view(1, 3, 10, 10)
    assert tone_limits(hdr)[1].item() == 299
    low, high = tone_limits(hdr, official=True)
    assert low.item() == high.item() == 0
    assert tone_limits(torch.arange(336.0).view(1, 3, 8, 14), official=True)[1].item() == 335


@pytest.mark.parametrize("domain", DOMAINS)
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
    assert x.aminmax() == (0, 1)
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


def test_the_logarithm_puts_black_at_its_offset() -> None:
    hdr = torch.tensor([0.0, 1, 100]).view(1, 3, 1, 1)
    x = encode_hdr(hdr, *tone_limits(hdr, "log"), "log").flatten()
    black = math.log(2.2e-16)
    assert x.tolist() == pytest.approx([0, -black / (math.log(100) - black), 1])


@pytest.mark.parametrize("domain", DOMAINS)
def test_a_window_is_encoded_as_in_its_picture(domain: Domain) -> None:
    hdr = hdr_noise(2, 3, 30, 40)
    limits = tone_limits(hdr, domain)
    window = encode_hdr(hdr[..., 5:9, 7:30], *limits, domain)
    assert torch.allclose(window, encode_hdr(hdr, *limits, domain)[..., 5:9, 7:30], atol=1e-7)


@pytest.mark.parametrize("value", [0.0, 1e-39, 0.1, 3e38])
@pytest.mark.parametrize("domain", DOMAINS)
def test_a_constant_picture_becomes_zero(domain: Domain, value: float) -> None:
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
