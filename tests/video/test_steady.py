from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from hdrlab import Reconstructor, ToneMapper
from hdrlab.inference.video.steady import (
    Maker,
    Scaled,
    SteadyReconstructor,
    SteadyToneMapper,
    changed,
    developed_alone,
    frame_pixels,
)
from hdrlab.ops.colour import luminance

SIZE = (128, 192)


def scene(shift: int = 0, width: int = 192) -> Tensor:
    """A lamp that is clipped before a wall with stripes, display-encoded."""
    y, x = np.mgrid[0 : SIZE[0], 0:width] / 128.0
    x = x - shift / 128
    wall = 0.25 + 0.15 * np.sin(20 * x) * np.cos(13 * y)
    lamp = 2 * np.exp(-18 * ((x - 0.8) ** 2 + (y - 0.4) ** 2))
    rgb = np.stack([wall + lamp, wall + 0.9 * lamp, 0.8 * wall + 0.7 * lamp]).astype(np.float32)
    return torch.from_numpy(rgb)[None]


def photographed(frame: Tensor, number: int, noise: float = 0.012) -> Tensor:
    generator = torch.Generator().manual_seed(number)
    noisy = frame + noise * torch.randn(frame.shape, generator=generator)
    return (noisy.clamp(0, 1) * 255).round() / 255


@pytest.fixture(scope="module")
def nets() -> Reconstructor:
    return Reconstructor.load("compact", device="cpu", precision="32")


def made(maker: Maker, frames: list[Tensor]) -> list[Tensor]:
    maker.begin(frames[::3])
    return [maker(frame) for frame in frames]


def flicker(frames: list[Tensor], where: Tensor) -> float:
    logs = [luminance(frame).clamp(min=1e-3).log() for frame in frames]
    return float(np.mean([(b - a).abs()[where].mean() for a, b in pairwise(logs)]))


def test_a_static_shot_hardly_flickers_more_than_it_did(nets: Reconstructor) -> None:
    frames = [photographed(scene(), number) for number in range(8)]
    clipped = scene().amax(dim=1, keepdim=True) > 0.97
    steady, alone = made(SteadyReconstructor(nets, 25), frames), made(developed_alone(nets.develop), frames)
    near = clipped & (scene().amin(dim=1, keepdim=True) < 1.2)  # where noise reaches the mask
    assert flicker(steady, near) < 0.6 * flicker(alone, near)
    curve = SteadyReconstructor(nets, 25)
    curve.begin(frames)
    assert curve.curve is not None
    inputs = [torch.from_numpy(np.interp(frame, np.linspace(0, 1, 1024), curve.curve[0])) for frame in frames]
    assert flicker(steady, ~clipped) <= 1.1 * flicker(inputs, ~clipped)
    assert steady[-1].max() > 1.5  # and the lamp is brighter than what was clipped


def test_what_appears_is_as_a_frame_alone_has_it(nets: Reconstructor) -> None:
    dark = torch.full((1, 3, *SIZE), 0.2)
    steady = SteadyReconstructor(nets, 25)
    steady.begin([scene()])
    for _ in range(6):
        steady(dark)
    after_dark = steady(scene())
    steady.begin([scene()])
    assert after_dark.allclose(steady(scene()), rtol=0.05, atol=0.02)


def test_a_lamp_takes_its_gain_along(nets: Reconstructor) -> None:
    frames = [photographed(scene(3 * number), number, 0.004) for number in range(7)]
    steady, alone = made(SteadyReconstructor(nets, 25), frames), made(developed_alone(nets.develop), frames)

    def unsteady(made: list[Tensor]) -> float:
        """Mean change of the logarithm where the lamp is clipped, along its motion."""
        changes = []
        for number, (before, after) in enumerate(pairwise(made)):
            clipped = scene(3 * number)[..., :-3].amax(dim=1, keepdim=True) > 1
            logs = (luminance(one).clamp(min=0.01).log() for one in (before[..., :-3], after[..., 3:]))
            changes.append(float((next(logs) - next(logs)).abs()[clipped].mean()))
        return float(np.mean(changes))

    assert unsteady(steady) < 0.7 * unsteady(alone)


def test_a_few_odd_frames_do_not_bend_the_curve(nets: Reconstructor) -> None:
    frames = [photographed(scene(), number) for number in range(7)]
    steady = SteadyReconstructor(nets, 25)
    steady.begin(frames)
    usual = steady.curve
    steady.begin([*frames, torch.zeros_like(frames[0]), torch.ones_like(frames[0])])
    assert usual is not None
    assert steady.curve is not None
    assert (usual - steady.curve).abs().max() < 0.03


@pytest.mark.parametrize(
    "open_maker",
    [
        lambda nets: SteadyReconstructor(nets, 25),
        lambda nets: SteadyToneMapper(ToneMapper.load("reinhard"), 25),
        lambda nets: SteadyToneMapper(ToneMapper.load("durand"), 25),
        lambda nets: Scaled(SteadyReconstructor(nets, 25), lambda pixels: float(np.median(pixels))),
    ],
)
def test_it_goes_on_to_the_bit_where_it_was_left(
    nets: Reconstructor, open_maker: Callable[[Reconstructor], Maker]
) -> None:
    frames = [photographed(scene(2 * number), number) for number in range(5)]
    whole = made(one := open_maker(nets), frames)
    first = open_maker(nets)
    first.begin(frames[::3])
    for frame in frames[:3]:
        first(frame)
    second = open_maker(nets)
    second.resume(first.state())
    for frame, expected in zip(frames[3:], whole[3:], strict=True):
        assert torch.equal(second(frame), expected)
    assert getattr(second, "factor", 1) == getattr(one, "factor", 1)


@pytest.mark.parametrize("operator", ["reinhard", "durand"])
def test_a_lamp_that_is_switched_on_does_not_darken_the_room_at_once(operator: str) -> None:
    room = 0.1 + 0.05 * torch.rand(1, 3, *SIZE, generator=torch.Generator().manual_seed(1))
    lit = room.clone()
    lit[..., 40:80, 60:120] = 60.0
    wall = torch.zeros(1, 1, *SIZE, dtype=torch.bool)
    wall[..., :24, :40] = True
    frames = [room] * 3 + [lit] * 3

    def jump(made: list[Tensor]) -> float:
        return flicker(made[2:4], wall)

    mapper = ToneMapper.load(operator)
    steady = made(SteadyToneMapper(mapper, 25), frames)
    alone = [torch.from_numpy(mapper(frame_pixels(frame))).permute(2, 0, 1)[None] for frame in frames]
    assert jump(steady) < 0.3 * jump(alone)
    assert all(frame.min() >= 0 and frame.max() <= 1 for frame in steady)


def test_the_first_frame_is_what_the_operator_makes_of_it() -> None:
    frame = scene() * 3
    for operator in ("reinhard", "drago", "durand"):
        mapper = ToneMapper.load(operator)
        maker = SteadyToneMapper(mapper, 25)
        maker.begin([])
        assert np.allclose(frame_pixels(maker(frame)), mapper(frame_pixels(frame)), atol=2e-3)


def test_noise_is_no_change_and_what_was_hidden_is() -> None:
    generator = torch.Generator().manual_seed(2)
    wall = torch.full((1, 3, 60, 60), 0.5)
    noisy = wall + 0.015 * torch.randn(wall.shape, generator=generator)
    noisy[..., :20, :20] = 0.7
    found = changed(wall, noisy)
    assert found[..., 30:, 30:].mean() < 0.1
    assert found[..., 4:16, 4:16].min() == 1
