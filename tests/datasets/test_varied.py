"""Photographs of varied cameras: the same by counter, scenes alike, the share that clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from hdrlab.camera.curves import load_response_curves
from hdrlab.datasets import varied
from hdrlab.datasets.index import Index, IndexedImage


class Scenes(Index):
    """Two scenes, one of them with nine images."""

    def __init__(self) -> None:
        names = ["lonely"] + [f"many{i}" for i in range(9)]
        images = [
            IndexedImage(n, "train", n[:4], "", "", n, 96, 64, (96, 64), (0, 1, 1), 8.0, 0) for n in names
        ]
        super().__init__(Path(), {}, tuple(images))

    def load(self, image: IndexedImage) -> np.ndarray:
        draws = np.random.default_rng(len(image.file))
        return np.exp(draws.normal(0, 1.5, (64, 96, 3))).astype(np.float32)


@pytest.fixture
def samples() -> varied.VariedTraining:
    return varied.VariedTraining(Scenes(), load_response_curves("builtin"), patch=64, seed=3)


def test_a_counter_makes_the_same_sample(samples: varied.VariedTraining) -> None:
    for one, other in zip(samples[5].values(), samples[5].values(), strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(samples[5]["jpeg"], samples[6]["jpeg"])


def test_scenes_are_drawn_evenly(samples: varied.VariedTraining) -> None:
    drawn = [samples.image(counter).scene for counter in range(200)]
    assert 0.35 < drawn.count("lone") / 200 < 0.65


def test_samples_hold_what_stages_read(samples: varied.VariedTraining) -> None:
    for counter in range(12):
        sample = samples[counter]
        assert sample["jpeg"].shape == sample["hdr"].shape == (3, 64, 64)
        assert all(bool(torch.isfinite(value).all()) for value in sample.values())
        assert torch.equal(sample["lin"], sample["hdr"].clamp(max=1))
        clipped = float((sample["hdr"].amax(0) >= 1).float().mean())
        assert 0 < clipped < 0.4


def test_an_exposure_clips_the_share_asked_for() -> None:
    scene = Scenes().load(Scenes().images[0])
    exposed = scene * varied.exposure_of(scene, 0.1)
    assert float((exposed[::2, ::2].max(axis=2) >= 1).mean()) == pytest.approx(0.1, abs=0.01)


def test_the_table_of_a_response_agrees_with_interpolation() -> None:
    response = load_response_curves("builtin").curves[40]
    x = np.linspace(0, 1, 4001, dtype=np.float32)[None, :, None].repeat(3, 2)
    exact = np.interp(x, np.linspace(0, 1, 1024), response)
    assert np.abs(varied.respond(x, response) - exact).max() < 0.002
