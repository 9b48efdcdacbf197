from __future__ import annotations

import pytest
import torch

from hdrlab.metrics.steadiness import FLOOR, flicker


def test_flicker_is_the_change_in_stops() -> None:
    before = torch.full((1, 3, 4, 4), 0.5 - FLOOR)
    after = torch.full((1, 3, 4, 4), 1.0 - FLOOR)
    assert flicker(before, after).item() == pytest.approx(1, abs=1e-4)
    assert flicker(after, before).item() == pytest.approx(1, abs=1e-4)


def test_what_the_scene_does_itself_is_no_flicker() -> None:
    before = torch.rand(1, 3, 8, 8) + 1
    assert flicker(before, before * 2**0.25, change=0.25).item() < 0.003


def test_only_the_mask_counts() -> None:
    before = torch.ones(1, 3, 4, 4)
    after = before.clone()
    after[..., :2] = 8
    assert flicker(before, after, mask=torch.arange(4).expand(1, 1, 4, 4) >= 2).item() == 0
