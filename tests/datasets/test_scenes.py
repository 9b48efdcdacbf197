"""The embedded scenes: range, highlights, variety, names and determinism."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hdrlab.datasets.tiny import KINDS, SPLIT_SIZES, render_scene, scene_name
from hdrlab.datasets.tiny.indoors import Ball, Room, Window
from hdrlab.datasets.tiny.paint import cell_random, fractal_tile, glare, sample

ALL = [(split, index) for split, size in SPLIT_SIZES.items() for index in range(size)]
LUMINANCE = np.array([0.2126, 0.7152, 0.0722])

# Mean natural logarithm of the test scenes: a change of the images must be meant.
FINGERPRINTS = [-2.45693, -3.02079, -2.56226, -2.73687, -3.91083, -2.98538, -2.79286, -3.17293]


def assert_is_a_scene(loaded: np.ndarray, name: str) -> None:
    assert loaded.dtype == np.float32, name
    assert np.isfinite(loaded).all(), name
    assert loaded.min() >= 0.0, name
    assert loaded.mean() == pytest.approx(0.5, rel=1e-5), name
    low, middle, high = np.percentile(loaded @ LUMINANCE, [1.0, 50.0, 99.9])
    assert 12.0 <= np.log2(high / low) <= 20.0, f"{name}: {np.log2(high / low):.2f} stops"
    assert loaded.max() > 30.0 * middle, name
    patch = loaded[:, : len(loaded)]
    clipped = (0.5 * patch / patch.mean() > 1.0).any(axis=-1)
    assert 0.01 <= clipped.mean() <= 0.4, f"{name}: {clipped.mean():.3f} clipped"
    assert np.log2(patch[clipped].max(axis=-1)).std() > 0.4, f"{name}: flat highlights"


@pytest.fixture(scope="module")
def thumbnails() -> dict[str, list[np.ndarray]]:
    size = {"height": 48, "width": 64}
    return {split: [render_scene(split, k, **size) for k in range(8)] for split in ("val", "test")}


@pytest.mark.slow
@pytest.mark.parametrize("index", range(len(KINDS)))
def test_scenes_at_full_size(index: int) -> None:
    loaded = render_scene("val", index)
    assert loaded.shape == (384, 512, 3)
    assert_is_a_scene(loaded, scene_name("val", index))


@pytest.mark.slow
@pytest.mark.parametrize(("split", "index"), ALL)
def test_every_scene_at_full_size(split: str, index: int) -> None:
    assert_is_a_scene(render_scene(split, index), scene_name(split, index))


def test_rendering_again_gives_identical_bytes(thumbnails: dict[str, list[np.ndarray]]) -> None:
    for index in (0, 2, 3):
        again = render_scene("test", index, height=48, width=64)
        assert again.tobytes() == thumbnails["test"][index].tobytes()


def test_images_have_not_changed_unnoticed(thumbnails: dict[str, list[np.ndarray]]) -> None:
    found = [np.log(loaded + 1e-3).mean() for loaded in thumbnails["test"]]
    np.testing.assert_allclose(found, FINGERPRINTS, atol=2e-4)


def test_scenes_differ_within_and_between_splits(thumbnails: dict[str, list[np.ndarray]]) -> None:
    images = [np.log(loaded + 1e-3) for loaded in thumbnails["val"] + thumbnails["test"]]
    for k, image in enumerate(images):
        for other in images[k + 1 :]:
            assert np.abs(image - other).mean() > 0.1


def test_size_keeps_the_field_of_view(thumbnails: dict[str, list[np.ndarray]]) -> None:
    large = render_scene("val", 1, height=96, width=128).reshape(48, 2, 64, 2, 3).mean(axis=(1, 3))
    logs = [np.log(loaded + 1e-3).ravel() for loaded in (large, thumbnails["val"][1])]
    assert np.corrcoef(*logs)[0, 1] > 0.95


def test_names_are_unique_and_tell_the_kind() -> None:
    names = [scene_name(split, index) for split, index in ALL]
    assert len(set(names)) == len(ALL)
    assert scene_name("train", 4) == "lamp_room_01"
    assert scene_name("val", 3) == "window_room_11"
    assert {name.rsplit("_", 1)[0] for name in names} == set(KINDS)


def test_unknown_scenes_are_refused() -> None:
    with pytest.raises(ValueError, match="choose one of train, val, test"):
        render_scene("trian", 0)
    with pytest.raises(ValueError, match="0 to 7"):
        scene_name("val", 8)
    with pytest.raises(ValueError, match="outside"):
        scene_name("val", -1)


def test_light_falls_off_with_the_square_and_shadows_are_cast() -> None:
    up, floor = np.array([[0.0], [1.0], [0.0]]), np.array([[0.0], [-1.0], [1e-9]])
    white, dark = np.ones((3, 1)), np.zeros((3, 1))

    def brightness(height: float, *balls: Ball) -> float:
        """Of the floor below a lamp of the power 1 / 10,000 at a metre."""
        lamp = Ball(np.array([[0.0], [height - 1.0], [0.0]]), 0.01, white, light=1.0)
        room = Room(3.0, -1.0, 5.0, 5.0, np.zeros((2, 2)), [white] * 3, False, [*balls, lamp], dark)
        return float(room._lit(floor, up)[0, 0])

    assert brightness(1.0) == pytest.approx(1e-4, rel=1e-3)
    assert brightness(2.0) == pytest.approx(1e-4 / 4, rel=1e-3)
    assert brightness(2.0, Ball(np.array([[0.0], [0.0], [0.0]]), 0.2, white)) == 0.0
    assert brightness(2.0, Ball(np.array([[0.5], [0.0], [0.0]]), 0.2, white)) == brightness(2.0)


def test_what_is_seen_lies_where_it_should() -> None:
    """Straight ahead the back wall, a ball before it, and the window's view through the wall."""
    white = np.ones((3, 1))
    ahead = np.array([[1e-9, 0.5], [1e-9, 0.0], [1.0, 1.0]])
    ahead /= np.linalg.norm(ahead, axis=0)
    empty = Room(3.0, -1.0, 1.0, 5.0, np.zeros((2, 2)), [white * 0.5] * 3, False, [], white)
    lamp = Ball(np.array([[0.0], [0.0], [3.0]]), 0.3, white, light=50.0)
    lit = replace(empty, balls=[lamp]).radiance(ahead)
    assert lit[0, 0] == pytest.approx(50.0)
    assert lit[0, 1] < 2.0
    window = Window(0.0, 0.0, (0.5, 0.5), lambda d: np.full_like(d, 7.0), ahead[:, 1:], 0 * white)
    through = replace(empty, window=window).radiance(ahead + np.array([[0.05], [0.05], [0.0]]))
    assert through[0, 0] == pytest.approx(7.0)
    assert through[0, 1] < 2.0


def test_glare_keeps_energy_and_spreads_a_point() -> None:
    loaded = np.zeros((3, 64, 96))
    loaded[:, 20, 30] = 1000.0
    seen = glare(loaded)
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
