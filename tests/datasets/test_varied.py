"""Photographs of varied cameras: the same by counter, scenes alike, the share that clips."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import uniform_filter, zoom

from hdrlab.camera.curves import load_response_curves
from hdrlab.camera.sampling import camera_generator
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
    exposed = scene * varied.exposure_of(scene.transpose(2, 0, 1), 0.1)
    assert float((exposed[::2, ::2].max(axis=2) >= 1).mean()) == pytest.approx(0.1, abs=0.01)


def test_the_table_of_a_response_agrees_with_interpolation() -> None:
    response = load_response_curves("builtin").curves[40]
    x = np.linspace(0, 1, 4001, dtype=np.float32)[None, :, None].repeat(3, 2)
    exact = np.interp(x, np.linspace(0, 1, 1024), response)
    assert np.abs(varied.respond(x, response) - exact).max() < 0.002


def plainly(scene: np.ndarray, response: np.ndarray, draws: np.random.Generator) -> list[np.ndarray]:
    """Photograph a scene [H, W, 3] as one would write it down: light, noise, response, detail, JPEG."""
    gains = np.exp(draws.normal(0, 0.1, 3)).astype(np.float32)
    scene = scene * (gains / gains[1])
    saturation = np.float32(draws.uniform(0.7, 1.25))
    grey = scene.mean(axis=2, keepdims=True)
    scene = np.maximum(grey + saturation * (scene - grey), 0)
    if draws.random() < 0.5:
        coarse, (height, width) = draws.normal(0, 0.4, (3, 3)).astype(np.float32), scene.shape[:2]
        field = zoom(coarse, (height / 3, width / 3), order=1, mode="nearest", grid_mode=True)
        scene *= np.exp(field)[..., None]
    shot, read = np.exp(draws.uniform(np.log((0.001, 0.0002)), np.log((0.02, 0.004)))).astype(np.float32)
    grain = camera_generator(0, 0, 2).standard_normal((1024, 1024, 3), dtype=np.float32)
    top, left = (int(draws.integers(1024 - size + 1)) for size in scene.shape[:2])
    grain = grain[top : top + scene.shape[0], left : left + scene.shape[1]]
    noise = np.sqrt(shot**2 * np.minimum(scene, 1) + read**2) * grain
    table = np.interp(np.linspace(0, 1, 2**14 + 1) ** 2, np.linspace(0, 1, 1024), response)
    place = np.sqrt((scene + noise).clip(0, 1)) * np.float32(2**14) + np.float32(0.5)
    encoded = table.astype(np.float32)[place.astype(np.int32)]
    size, amount = ((3, 0.8), (31, 0.3))[int(draws.integers(2))]
    luma, amount = encoded.mean(axis=2), amount * draws.uniform(0.3, 1)
    detail = luma - uniform_filter(luma, size, mode="nearest")
    sharpened = np.clip(encoded + np.float32(amount) * detail[..., None], 0, 1)
    file = BytesIO()
    Image.fromarray((sharpened * 255 + 0.5).astype(np.uint8)).save(file, "JPEG", quality=83, subsampling=0)
    return [scene, noise, encoded, sharpened, np.asarray(Image.open(file))]


def test_planes_hold_the_bits_of_the_plain_way() -> None:
    response = load_response_curves("builtin").curves[7]
    for number in range(6):
        scene = Scenes().load(Scenes().images[number])[: 64 - number]
        expected = plainly(scene, response, camera_generator(1, number, 2))
        draws = camera_generator(1, number, 2)
        lit = varied.light(np.ascontiguousarray(scene.transpose(2, 0, 1)), draws)
        # Its field is made in another way, to the last bit but one.
        np.testing.assert_allclose(lit.transpose(1, 2, 0), expected[0], rtol=1e-6)
        lit = np.ascontiguousarray(expected[0].transpose(2, 0, 1))
        noise = varied.noise(lit, draws)
        encoded = varied.respond(lit + noise, response)
        sharpened = varied.sharpen(encoded, draws)
        photograph = varied.compress(sharpened, 83, halved=False)
        for ours, plain in zip((noise, encoded, sharpened), expected[1:], strict=False):
            np.testing.assert_array_equal(ours.transpose(1, 2, 0), plain)
        np.testing.assert_array_equal(photograph, expected[-1])
