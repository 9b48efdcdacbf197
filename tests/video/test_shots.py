from __future__ import annotations

import torch
from torch import Tensor

from hdrlab.inference.video.shots import CutFinder


def texture(seed: int, height: int = 54, width: int = 200) -> Tensor:
    rough = torch.rand(1, 3, height // 9, width // 10, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(rough, (height, width), mode="bilinear")


def cuts(frames: list[Tensor]) -> list[int]:
    finder = CutFinder()
    for frame in frames:
        finder.add(frame)
    return finder.cuts()


def test_cuts_between_moving_shots_are_found() -> None:
    first, second = texture(1), texture(2)
    pans = [image[..., 2 * i : 2 * i + 96] for image in (first, second) for i in range(12)]
    assert cuts(pans) == [0, 12]


def test_a_flash_is_no_cut() -> None:
    image = texture(3)[..., :96]
    assert cuts([*[image] * 8, (image + 0.6).clamp(0, 1), *[image] * 8]) == [0]


def test_exposure_that_drifts_is_no_cut() -> None:
    image = texture(4)[..., :96]
    assert cuts([image * 0.93**i for i in range(20)]) == [0]


def test_a_clip_of_one_frame_is_a_shot() -> None:
    assert cuts([texture(5)]) == [0]
