from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hdrlab.inference.video.motion import matched, motion, unseen, warp


def texture(height: int = 160, width: int = 240) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    scales = [torch.rand(1, 1, height // s, width // s, generator=generator) for s in (5, 10, 20, 40)]
    return sum(torch.nn.functional.interpolate(one, (height, width), mode="bicubic") for one in scales) / 4  # type: ignore[return-value]


@pytest.mark.parametrize(("right", "down"), [(3, 0), (-7, 5), (18, -11)])
def test_a_shift_is_found(right: int, down: int) -> None:
    image = texture()
    before, now = image[..., 30:130, 40:200], image[..., 30 - down : 130 - down, 40 - right : 200 - right]
    flow = motion(matched(before), matched(now))
    inner = flow[..., 8:-8, 8:-8]
    assert (inner[:, 0].median() * 160 / 2).item() == pytest.approx(-right, abs=0.3)
    assert (inner[:, 1].median() * 100 / 2).item() == pytest.approx(-down, abs=0.3)
    carried = warp(before, flow)
    assert (carried - now)[..., 24:-24, 24:-24].abs().mean() < 0.1 * (before - now).abs().mean()


def test_noise_does_not_move() -> None:
    image, generator = texture(), torch.Generator().manual_seed(1)
    noisy = [image + 0.02 * torch.randn(image.shape, generator=generator) for _ in range(2)]
    assert not motion(*map(matched, noisy)).any()


def test_what_stands_still_stays_to_the_bit() -> None:
    image = torch.rand(1, 3, 40, 60)
    flow = torch.zeros(1, 2, 10, 15)
    flow[..., :3, :3] = 0.1
    carried = warp(image, flow)
    assert torch.equal(carried[..., 20:, 30:], image[..., 20:, 30:])
    assert not torch.equal(carried[..., :8, :8], image[..., :8, :8])


def test_what_comes_into_the_frame_was_not_seen() -> None:
    flow = torch.zeros(1, 2, 10, 15)
    flow[:, 0] = 0.25  # an eighth of the width further right
    new = unseen(flow, (40, 80))[0, 0, 7].bool()
    assert new[70:].all()
    assert not new[:59].any()
