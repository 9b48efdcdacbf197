from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from hdrlab.errors import OperatorError
from hdrlab.tonemapping.inverse import EXPANSIONS, expand_classically
from hdrlab.tonemapping.inverse.global_curves import masia_exponent

GLOBAL = ("srgb", "landis", "akyuz", "masia")
HOSTILE = {
    "black": np.zeros((16, 16, 3), np.uint8),
    "white": np.full((16, 16, 3), 255, np.uint8),
    "grey": np.full((20, 33, 3), 118, np.uint8),
    "one red pixel": np.pad(np.full((1, 1, 1), 255, np.uint8), ((3, 12), (5, 10), (0, 2))),
    "noise": np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8),
    "a line": np.random.default_rng(1).integers(0, 256, (1, 40, 3), np.uint8),
}


def ramp() -> NDArray[np.uint8]:
    """Every code once, grey."""
    return np.repeat(np.arange(256, dtype=np.uint8).reshape(1, 256, 1), 3, axis=2)


def decoded(code: float) -> float:
    return float(((code / 255 + 0.055) / 1.055) ** 2.4)


@pytest.mark.parametrize("name", EXPANSIONS)
@pytest.mark.parametrize("kind", HOSTILE)
def test_any_image_gives_light_of_its_shape(name: str, kind: str) -> None:
    photograph = HOSTILE[kind]
    expanded = expand_classically(name, photograph)
    assert expanded.shape == photograph.shape
    assert expanded.dtype == np.float32
    assert np.isfinite(expanded).all()
    assert expanded.min() >= 0
    assert expanded[photograph == 0].max(initial=0) == 0


@pytest.mark.parametrize("name", GLOBAL)
def test_a_global_curve_rises_from_black_to_white(name: str) -> None:
    curve = expand_classically(name, ramp())[0, :, 1].astype(np.float64)
    assert curve[0] == 0
    assert np.all(np.diff(curve) >= 0)
    assert np.all(np.diff(curve[50:]) > 0)
    assert curve[-1] == pytest.approx(10 if name == "landis" else 1, rel=1e-5)


@pytest.mark.parametrize("name", EXPANSIONS)
def test_colours_keep_their_hue(name: str) -> None:
    photograph = HOSTILE["noise"]
    plain, expanded = expand_classically("srgb", photograph), expand_classically(name, photograph)
    lit = expanded.max(-1) > 0
    ratios = [pixels[lit] / pixels[lit].max(-1, keepdims=True) for pixels in (plain, expanded)]
    np.testing.assert_allclose(ratios[1], ratios[0], rtol=1e-4, atol=1e-7)


def test_doing_nothing_is_the_inverse_srgb_curve() -> None:
    curve = expand_classically("srgb", ramp())[0, :, 0]
    assert curve[[0, 10, 255]] == pytest.approx([0, 10 / 255 / 12.92, 1], rel=1e-6)
    assert curve[128] == pytest.approx(decoded(128), rel=1e-6)


def test_landis_leaves_the_lower_half_and_lifts_the_rest() -> None:
    curve = expand_classically("landis", ramp())[0, :, 0]
    light = decoded(225)
    assert curve[180] == pytest.approx(decoded(180), rel=1e-6)  # 0.456 is below the threshold
    assert curve[225] == pytest.approx(light * (1 + 9 * ((light - 0.5) / 0.5) ** 2), rel=1e-5)


def test_akyuz_takes_the_darkest_pixel_as_black() -> None:
    photograph = ramp()[:, 100:201]
    curve = expand_classically("akyuz", photograph)[0, :, 0]
    low, middle, high = decoded(100), decoded(150), decoded(200)
    assert curve[[0, 50, 100]] == pytest.approx([0, high * (middle - low) / (high - low), high], rel=1e-5)


def test_masia_takes_its_power_from_the_key() -> None:
    # Log-average 0.25 in the middle of 1/16 and 1, whose percentiles they are: the key is 0.5.
    light = np.repeat(np.array([1 / 16, 1], np.float32), 100).reshape(10, 20)
    expected = 2.4379 + 0.2319 * np.log(0.25) - 1.1228 * 0.5 + 0.0085 * 50
    assert masia_exponent(light) == pytest.approx(expected, rel=1e-6)
    dark = np.full((4, 4), 1e-4, np.float32)
    assert masia_exponent(dark) == 1  # 2.4379 − 2.14 − 0.56 would brighten by compressing
    photograph = ramp()[:, 1:]
    plain = expand_classically("srgb", photograph)[0, :, 1]
    curve = expand_classically("masia", photograph)[0, :, 1]
    np.testing.assert_allclose(curve, plain ** masia_exponent(plain[None]), rtol=1e-4)


def test_kovaleski_lifts_a_lamp_and_its_glow_but_not_what_an_edge_parts_from_it() -> None:
    photograph = np.full((96, 96, 3), 60, np.uint8)
    photograph[30:60, 30:60] = 255
    photograph[30:60, 60:66] = 245
    plain, expanded = expand_classically("srgb", photograph), expand_classically("kovaleski", photograph)
    gain = (expanded / plain)[..., 0]
    assert gain[45, 40] == pytest.approx(4, abs=0.4)
    assert 1.5 < gain[45, 62] < 4
    assert gain[45, 70] == pytest.approx(1, abs=1e-3)
    assert np.array_equal(expand_classically("kovaleski", photograph[70:]), plain[70:])


def test_huo_keeps_the_average_and_lifts_bright_surroundings() -> None:
    grey = expand_classically("huo", HOSTILE["grey"])
    np.testing.assert_allclose(grey, expand_classically("srgb", HOSTILE["grey"]), rtol=1e-4)
    photograph = np.full((64, 128, 3), 255, np.uint8)
    photograph[:, :64] = 60
    plain, expanded = expand_classically("srgb", photograph), expand_classically("huo", photograph)
    average, n = (decoded(60) * 1) ** 0.5, 0.86
    gain = (expanded / plain)[32, [57, 70], 0]
    expected = [((s**n + average**n) / (2 * average**n)) ** (1 / n) for s in (decoded(60), 1)]
    assert gain == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(
    "wrong", [np.zeros((4, 4, 3), np.float32), np.zeros((4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8)]
)
def test_what_is_no_photograph_is_refused(wrong: NDArray[np.uint8]) -> None:
    with pytest.raises(OperatorError, match=r"takes a photograph of 8 bits, uint8 \[H, W, 3\], not"):
        expand_classically("huo", wrong)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(OperatorError, match=r"expansion 'magic': must be srgb \| landis"):
        expand_classically("magic", HOSTILE["grey"])
