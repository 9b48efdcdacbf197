from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from hdrlab.inference.video.colour import (
    HDR10,
    HLG,
    SDR,
    Tags,
    absolute,
    display_samples,
    encode_light,
    light_of,
    to_planes,
    to_rgb,
)


def flat(*rgb: float) -> Tensor:
    return torch.tensor(rgb, dtype=torch.float32).view(1, 3, 1, 1).expand(1, 3, 4, 6).contiguous()


def codes(rgb: Tensor, bits: int, tags: Tags) -> list[int]:
    return [round(float(plane[0, 0, 1, 1])) for plane in to_planes(rgb, bits, tags)]


@pytest.mark.parametrize(
    ("rgb", "bits", "tags", "expected"),
    [
        ((1, 1, 1), 8, SDR, [235, 128, 128]),
        ((0, 0, 0), 10, HDR10, [64, 512, 512]),
        ((1, 0, 0), 8, SDR, [63, 102, 240]),  # 75 and 100 % bars of BT.709
        ((0, 0, 1), 8, SDR, [32, 240, 118]),
        ((1, 0, 0), 8, Tags(6, 1, 6), [81, 90, 240]),  # BT.601
        ((0, 1, 0), 10, HDR10, [658, 189, 100]),  # 64 + 876 · 0.678, 512 − 896 · 0.678 / 1.8814
    ],
)
def test_colours_get_the_codes_of_their_standard(
    rgb: tuple[float, ...], bits: int, tags: Tags, expected: list[int]
) -> None:
    assert codes(flat(*rgb), bits, tags) == expected


@pytest.mark.parametrize("tags", [SDR, HDR10, Tags(6, 1, 6), Tags(1, 1, 7)])
def test_planes_give_their_colours_back(tags: Tags) -> None:
    rgb = flat(0.7, 0.2, 0.4)
    assert to_rgb(to_planes(rgb, 10, tags), 10, tags).allclose(rgb, atol=1e-6)


def test_full_range_uses_all_codes() -> None:
    planes = [torch.full((1, 1, 2, 2), value) for value in (255.0, 128.0, 128.0)]
    assert to_rgb(planes, 8, Tags(is_full=True)).allclose(flat(1, 1, 1)[..., :2, :2], atol=1e-6)


def test_chroma_lies_on_the_left_of_its_pixels() -> None:
    chroma = torch.tensor([[128.0, 160.0, 160.0]]).view(1, 1, 1, 3)
    planes = [torch.full((1, 1, 2, 6), 128.0), chroma, torch.full_like(chroma, 128.0)]
    blue = to_rgb(planes, 8, SDR)[0, 2, 0]
    assert blue[1].item() == pytest.approx((blue[0] + blue[2]).item() / 2)
    assert blue[2].item() == pytest.approx(blue[3].item())


def test_diffuse_white_is_where_bt2408_puts_it() -> None:
    white = absolute(flat(1, 1, 1), 1000)
    assert white.allclose(torch.full_like(white, 203), rtol=1e-4)
    pq, hlg = (float(encode_light(white, tags)[0, 0, 0, 0]) for tags in (HDR10, HLG))
    assert pq == pytest.approx(0.581, abs=5e-4)
    assert hlg == pytest.approx(0.75, abs=2e-3)


@pytest.mark.parametrize("tags", [HDR10, HLG])
def test_light_survives_its_encoding(tags: Tags) -> None:
    light = flat(2.5, 0.3, 0.05)
    assert light_of(encode_light(absolute(light, 1000), tags), tags).allclose(light, rtol=2e-3, atol=1e-4)


def test_wide_primaries_of_sdr_become_rec709() -> None:
    samples = display_samples(flat(0.5, 0.5, 0.5), Tags(9, 14, 9))
    assert np.ptp(samples.numpy()) < 1e-3  # grey stays grey
    assert display_samples(flat(0.2, 0.7, 0.2), Tags(9, 14, 9))[0, 1, 0, 0] > 0.7  # and green is greener


def test_what_a_stream_does_not_say_is_guessed_by_its_height() -> None:
    assert Tags(2, 2, 2).completed(1080)[0] == SDR
    assert Tags(2, 2, 2).completed(480)[0].matrix == 6
    assert Tags(2, 16, 2).completed(480)[0].matrix == 9
    assert Tags(1, 1, 1).completed(480) == (SDR, None)
