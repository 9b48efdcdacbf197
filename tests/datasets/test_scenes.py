"""The embedded scenes: range, highlights, variety, names and determinism."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from hdrlab.datasets.scenes import KINDS, SPLIT_SIZES, iter_scenes, render_scene, scene_name
from hdrlab.datasets.scenes.paint import cell_random, fractal_tile, glare, sample
from hdrlab.datasets.scenes.trace import Box, Cone, Light, Scene, Sphere

ALL = [(split, index) for split, size in SPLIT_SIZES.items() for index in range(size)]
LUMINANCE = np.array([0.2126, 0.7152, 0.0722])

# Mean natural logarithm of the test scenes: a change of the pictures must be meant.
FINGERPRINTS = [-2.10869, -1.87086, -2.66587, -3.00955, -2.32363, -2.03102, -3.94642, -2.44329]


def assert_is_a_scene(image: np.ndarray, name: str) -> None:
    assert image.dtype == np.float32, name
    assert np.isfinite(image).all(), name
    assert image.min() >= 0.0, name
    assert image.mean() == pytest.approx(0.5, rel=1e-5), name
    low, middle, high = np.percentile(image @ LUMINANCE, [1.0, 50.0, 99.9])
    assert 12.0 <= np.log2(high / low) <= 20.0, f"{name}: {np.log2(high / low):.2f} stops"
    assert image.max() > 30.0 * middle, name
    patch = image[:, : len(image)]
    clipped = (0.5 * patch / patch.mean() > 1.0).any(axis=-1)
    assert 0.01 <= clipped.mean() <= 0.4, f"{name}: {clipped.mean():.3f} clipped"
    assert np.log2(patch[clipped].max(axis=-1)).std() > 0.4, f"{name}: flat highlights"


@pytest.fixture(scope="module")
def thumbnails() -> dict[str, list[np.ndarray]]:
    size = {"height": 48, "width": 64}
    return {split: [render_scene(split, k, **size) for k in range(len(KINDS))] for split in ("val", "test")}


@pytest.mark.parametrize("index", range(4))
def test_scenes_at_full_size(index: int) -> None:
    image = render_scene("val", index)
    assert image.shape == (384, 512, 3)
    assert_is_a_scene(image, scene_name("val", index))


@pytest.mark.slow
@pytest.mark.parametrize(("split", "index"), ALL)
def test_every_scene_at_full_size(split: str, index: int) -> None:
    assert_is_a_scene(render_scene(split, index), scene_name(split, index))


def test_rendering_again_gives_identical_bytes(thumbnails: dict[str, list[np.ndarray]]) -> None:
    for index in (0, 2, 3):
        again = render_scene("test", index, height=48, width=64)
        assert again.tobytes() == thumbnails["test"][index].tobytes()


def test_pictures_have_not_changed_unnoticed(thumbnails: dict[str, list[np.ndarray]]) -> None:
    found = [np.log(image + 1e-3).mean() for image in thumbnails["test"]]
    np.testing.assert_allclose(found, FINGERPRINTS, atol=2e-4)


def test_scenes_differ_within_and_between_splits(thumbnails: dict[str, list[np.ndarray]]) -> None:
    pictures = [np.log(image + 1e-3) for image in thumbnails["val"] + thumbnails["test"]]
    for k, picture in enumerate(pictures):
        for other in pictures[k + 1 :]:
            assert np.abs(picture - other).mean() > 0.1


def test_size_keeps_the_field_of_view(thumbnails: dict[str, list[np.ndarray]]) -> None:
    large = render_scene("val", 1, height=96, width=128).reshape(48, 2, 64, 2, 3).mean(axis=(1, 3))
    logs = [np.log(image + 1e-3).ravel() for image in (large, thumbnails["val"][1])]
    assert np.corrcoef(*logs)[0, 1] > 0.95


def test_names_are_unique_and_tell_the_kind() -> None:
    names = [scene_name(split, index) for split, index in ALL]
    assert len(set(names)) == len(ALL)
    assert scene_name("train", 3) == "street_night_00"
    assert scene_name("val", 3) == "street_night_04"
    assert {name.rsplit("_", 1)[0] for name in names} == set(KINDS)


def test_iter_scenes_names_what_it_renders() -> None:
    name, image = next(iter_scenes("test", height=24, width=32))
    assert name == scene_name("test", 0)
    np.testing.assert_array_equal(image, render_scene("test", 0, height=24, width=32))


def test_unknown_scenes_are_refused() -> None:
    with pytest.raises(ValueError, match="choose one of train, val, test"):
        render_scene("trian", 0)
    with pytest.raises(ValueError, match="0 to 7"):
        scene_name("val", 8)
    with pytest.raises(ValueError, match="outside"):
        scene_name("val", -1)


def test_needs_no_torch() -> None:
    code = "import sys, hdrlab.datasets.scenes; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_spans_are_the_chords_of_the_solids() -> None:
    origin, ahead = np.zeros((3, 1)), np.array([[0.0], [0.0], [1.0]])
    solids = [
        Box((0.0, 0.0, 5.0), (1.0, 1.0, 2.0)),
        Sphere((0.0, 0.0, 5.0), 2.0),
        Cone((0.0, -1.0, 5.0), 2.0, (2.5, 1.5)),
    ]
    tilted = ahead + np.array([[1e-9], [1e-9], [0.0]])  # off the axes, where a box has no slab to cross
    for solid in solids:
        near, far = solid.span(origin, tilted)
        assert (near[0], far[0]) == (pytest.approx(3.0, abs=1e-6), pytest.approx(7.0, abs=1e-6))
        assert solid.distance(origin, -tilted)[0] == np.inf


def test_light_falls_off_with_the_square_and_shadows_are_cast() -> None:
    floor = Box((0.0, -1.0, 0.0), (50.0, 1.0, 50.0), albedo=np.ones((3, 1)))
    down = np.array([[1e-9], [-1.0], [1e-9]])

    def brightness(height: float, *shapes: Box) -> float:
        light = Light((0.0, height, 0.0), np.ones((3, 1)), radius=0.0)
        scene = Scene([floor, *shapes], [light], lambda hit: np.zeros((3, 1)))
        return float(scene.trace(np.array([[0.0], [0.5], [0.0]]), down, 0.001)[0][0, 0])

    assert brightness(2.0) == pytest.approx(0.25, rel=1e-6)
    assert brightness(4.0) == pytest.approx(0.0625, rel=1e-6)
    assert brightness(4.0, Box((0.0, 2.0, 0.0), (0.5, 0.5, 0.5))) == 0.0


def test_glare_keeps_energy_and_spreads_a_point() -> None:
    image = np.zeros((3, 64, 96))
    image[:, 20, 30] = 1000.0
    seen = glare(image)
    assert seen.sum() == pytest.approx(3000.0, rel=1e-3)
    assert seen[0, 20, 30] < 1000.0
    assert seen[0, 20, 35] > seen[0, 20, 40] > 0.0


def test_noise_is_periodic_and_cells_are_uniform() -> None:
    tile = fractal_tile(np.random.default_rng(0), 1.5, 64)
    u, v = np.random.default_rng(1).random((2, 100))
    np.testing.assert_allclose(sample(tile, u, v), sample(tile, u - 3.0, v + 2.0), atol=1e-9)
    np.testing.assert_array_equal(sample(tile, np.arange(64) / 64, 0.0), tile[0])
    i, j = np.meshgrid(np.arange(-50.0, 50.0), np.arange(-50.0, 50.0))
    values = cell_random(i, j, 5)
    assert np.abs(np.histogram(values, 10, (0.0, 1.0))[0] / 1e4 - 0.1).max() < 0.02
    assert np.abs(np.corrcoef(values[:, 1:].ravel(), values[:, :-1].ravel())[0, 1]) < 0.03
