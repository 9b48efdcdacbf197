"""The classical operators: published formulas by hand, and images that no operator was made for."""

from __future__ import annotations

import math
import re
import tracemalloc
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hdrlab.errors import OperatorError, install
from hdrlab.ops.colour import log_average, luminance, srgb_encode
from hdrlab.tonemapping import OPERATORS, missing, tone_map_classically
from hdrlab.tonemapping.display import into_gamut
from hdrlab.tonemapping.film import agx, bt2390, bt2446, neutral
from hdrlab.tonemapping.global_curves import drago, filmic, gamma, log, reinhard
from hdrlab.tonemapping.gradient import fattal, mertens
from hdrlab.tonemapping.local import durand, reinhard_local
from hdrlab.tonemapping.vision import ferradans, mantiuk08

OWN = [name for name, operator in OPERATORS.items() if operator.package is None]
GLOBAL = ["gamma", "log", "reinhard", "drago", "filmic", "aces", "agx", "neutral", "bt2390", "bt2446"]
LOCAL = ["reinhard_local", "durand", "fattal", "mertens", "mantiuk08", "ferradans"]


def grey(*values: float) -> NDArray[np.float32]:
    """One row of grey pixels."""
    return np.repeat(np.array([values], np.float32)[..., None], 3, axis=2)


def scene(height: int = 40, width: int = 60) -> NDArray[np.float32]:
    rng = np.random.default_rng(0)
    bright = np.where(np.arange(width) > width // 2, 1000, 1)
    return (np.exp2(rng.normal(0, 1, (height, width, 3))) * bright[:, None]).astype(np.float32)


def available(name: str) -> str:
    if reason := missing(name):
        pytest.skip(reason)
    return name


# -------------------------------------------------------------------------------------------- known values


def test_reinhard_is_equation_4() -> None:
    # The log-average of 1, 10, 100 is 10, so L is 0.018, 0.18, 1.8, and L_white is 1.8.
    wanted = [0.018 * (1 + 0.018 / 3.24) / 1.018, 0.18 * (1 + 0.18 / 3.24) / 1.18, 1.0]
    np.testing.assert_allclose(reinhard(grey(1, 10, 100))[0, :, 0], wanted, rtol=1e-5)
    # A key of 0.5 makes 0.05, 0.5, 5.
    wanted = [0.05 * (1 + 0.05 / 25) / 1.05, 0.5 * (1 + 0.5 / 25) / 1.5, 1.0]
    np.testing.assert_allclose(reinhard(grey(1, 10, 100), key=0.5)[0, :, 0], wanted, rtol=1e-5)


def test_drago_is_equation_4() -> None:
    # L is 0.1, 1, 10; the exponent log 0.85 / log 0.5 is 0.234465.
    wanted = [
        math.log(1 + light) / math.log(2 + 8 * (light / 10) ** 0.234465) / math.log10(11)
        for light in (0.1, 1.0, 10.0)
    ]
    assert wanted[2] == pytest.approx(1)
    np.testing.assert_allclose(drago(grey(1, 10, 100))[0, :, 0], wanted, rtol=1e-5)
    assert drago(grey(1, 10, 100), bias=0.7)[0, 1, 0] > wanted[1]


def test_filmic_is_hables_curve() -> None:
    # 0.36 on the curve: (0.36 · (0.054 + 0.05) + 0.004) / (0.36 · (0.054 + 0.5) + 0.06) − 1 / 15 = 0.09305;
    # its white, 11.2: 0.72513.
    assert filmic(grey(5))[0, 0, 0] == pytest.approx(0.09305 / 0.72513, abs=1e-4)
    assert filmic(grey(5), white=0.36)[0, 0, 0] == pytest.approx(1, abs=1e-6)


def test_log_and_gamma_are_what_they_say() -> None:
    wanted = [math.log(1.1) / math.log(11), math.log(2) / math.log(11), 1]
    np.testing.assert_allclose(log(grey(1, 10, 100))[0, :, 0], wanted, rtol=1e-5)
    ramp = np.arange(1, 1001, dtype=np.float32).reshape(10, 100, 1).repeat(3, axis=2)
    # Nine of 3000 samples are 0.3 %: those of 998, 999 and 1000.
    np.testing.assert_allclose(gamma(ramp), ramp / 998, rtol=1e-6)
    assert gamma(ramp, clipped=0)[-1, -1, 0] == 1


def test_colours_keep_their_ratios() -> None:
    hdr = scene()
    for operator in (log, reinhard, drago, reinhard_local, durand):
        ratio = operator(hdr) / hdr
        np.testing.assert_allclose(ratio, ratio[..., :1].repeat(3, axis=2), rtol=1e-5)


# ------------------------------------------------------------------------------------------------- local


def test_reinhard_local_is_equation_9_where_the_image_is_flat() -> None:
    made = reinhard_local(grey(*[3] * 50).repeat(50, axis=0))
    np.testing.assert_allclose(made, 0.18 / 1.18, rtol=1e-5)


def gaussian_mean(light: NDArray[np.float64], radius: float) -> NDArray[np.float64]:
    """V of a Gaussian exp(−r² / radius²), equations 5 and 6, the border repeated."""
    reach = 24
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    weights = np.exp(-(x**2 + y**2) / radius**2)
    padded = np.pad(light, reach, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, weights.shape)
    return np.einsum("hwyx,yx->hw", windows, weights / weights.sum())


def test_reinhard_local_is_equations_5_to_9() -> None:
    hdr = scene(16, 24)
    light = luminance(hdr).astype(np.float64)
    light *= 0.18 / log_average(luminance(hdr))
    alpha = 1 / (2 * math.sqrt(2))
    scales = [1.6**number for number in range(8)]
    centres = [gaussian_mean(light, alpha * scale) for scale in scales]
    surrounds = [gaussian_mean(light, 1.6 * alpha * scale) for scale in scales]
    chosen = np.zeros(light.shape, int)
    for place in np.ndindex(light.shape):
        for number, scale in enumerate(scales):
            centre, surround = centres[number][place], surrounds[number][place]
            if abs((centre - surround) / (2**8 * 0.18 / scale**2 + centre)) >= 0.05:
                break
            chosen[place] = number
    local = np.take_along_axis(np.stack(centres), chosen[None], axis=0)[0]
    assert len(np.unique(chosen)) > 3
    made = reinhard_local(hdr) / hdr
    wanted = (light / (1 + local)) / luminance(hdr)
    assert np.quantile(np.abs(made[..., 0] / wanted - 1), 0.95) < 0.01  # a scale flips where it is a tie


def test_reinhard_local_settles_on_one_side_of_an_edge() -> None:
    hdr = np.ones((60, 60, 3), np.float32)
    hdr[:, 30:] = 200
    light = luminance(hdr) * (0.18 / log_average(luminance(hdr)))
    made = reinhard_local(hdr)[30, :, 0]
    # Dodging and burning: each side as if it were the whole image, within a few per cent next to the edge.
    np.testing.assert_allclose(made[:27], light[30, 0] / (1 + light[30, 0]), rtol=0.05)
    np.testing.assert_allclose(made[33:], light[30, -1] / (1 + light[30, -1]), rtol=0.05)
    spot = np.ones((60, 60, 3), np.float32)
    spot[30, 30] = 1.5
    contrast = reinhard_local(spot, key=2)[30, 30, 0] / reinhard_local(spot, key=2)[0, 0, 0]
    flat = reinhard(spot, key=2)
    assert contrast > flat[30, 30, 0] / flat[0, 0, 0]


def test_durand_compresses_the_base_and_keeps_the_details() -> None:
    rng = np.random.default_rng(2)
    texture = np.exp2(rng.normal(0, 0.2, (100, 100)))
    light = np.where(np.arange(100) < 50, 1e-4, 1.0) * texture
    hdr = light.astype(np.float32)[..., None].repeat(3, axis=2)
    made = durand(hdr)[..., 0]
    for side in (np.s_[:, 5:45], np.s_[:, 55:95]):
        assert np.log2(made[side]).std() == pytest.approx(0.2, abs=0.02)
    assert made[:, 55:95].mean() / made[:, 5:45].mean() == pytest.approx(100, rel=0.15)
    low = durand(np.ones((9, 9, 3), np.float32) + 0.5 * (np.arange(9) > 4)[:, None])
    assert low.max() / low.min() == pytest.approx(1.5, rel=1e-3)


def test_fattal_leaves_an_image_whose_gradients_are_left() -> None:
    hdr = scene(33, 47)
    light = luminance(hdr)
    low, high = np.percentile(light, (0.1, 99.5))
    wanted = ((light - low) / (high - low)).clip(0)
    np.testing.assert_allclose(luminance(fattal(hdr, strength=1, chroma=1)), wanted, rtol=2e-3, atol=2e-4)


def test_fattal_compresses_the_step_and_keeps_the_texture() -> None:
    rng = np.random.default_rng(2)
    light = np.where(np.arange(256) < 128, 1e-3, 1.0) * np.exp2(rng.normal(0, 0.2, (256, 256)))
    made = luminance(fattal(light.astype(np.float32)[..., None].repeat(3, axis=2))) + 1e-3
    dark, bright = made[:, 20:100], made[:, 150:230]
    assert 2 < np.median(bright) / np.median(dark) < 50  # 1000 in the scene
    assert np.log2(dark).std() > 0.2


def test_mertens_shows_what_no_exposure_shows() -> None:
    hdr = scene(64, 64)  # a thousandfold step: either side is black or clipped in any one exposure
    shown = srgb_encode(mertens(hdr))
    for side in (shown[:, :28], shown[:, 36:]):
        assert 0.1 < side.mean() < 0.9
        assert side.std() > 0.1
    flat = np.full((40, 40, 3), 0.3, np.float32) * np.array((1, 0.8, 0.5), np.float32)
    np.testing.assert_allclose(mertens(flat), mertens(flat)[:1, :1].repeat(40, 0).repeat(40, 1), atol=1e-5)


def test_mertens_fuses_as_opencv_does(monkeypatch: pytest.MonkeyPatch) -> None:
    cv2 = pytest.importorskip("cv2")
    exposures: list[NDArray[np.uint8]] = []

    def photograph(linear: NDArray[np.float32]) -> NDArray[np.float32]:
        exposures.append(np.rint(srgb_encode(linear) * 255).astype(np.uint8))
        return (exposures[-1] / 255).astype(np.float32)

    monkeypatch.setattr("hdrlab.tonemapping.gradient.srgb_encode", photograph)
    mine = srgb_encode(mertens(scene(65, 97)))
    theirs = cv2.createMergeMertens(1, 1, 1).process(exposures[: len(exposures) // 2]).clip(0, 1)
    assert np.abs(mine - theirs).mean() < 0.01
    assert np.corrcoef(mine.ravel(), theirs.ravel())[0, 1] > 0.98


WAVES = ((7, 11), (20, 30), (24, 32), (24, 96), (40, 60), (48, 64), (72, 32), (72, 96), (90, 120))


def waves() -> NDArray[np.float32]:
    """Five decades of grey, whose mean and median are those that ferradans scales to."""
    y, x = np.mgrid[:96, :128]
    wide = 2.5 * np.sin(x / 128 * 2 * np.pi) * np.cos(y / 96 * 2 * np.pi)
    hdr = (10 ** (wide + 0.15 * np.sin(x * 1.1) * np.sin(y * 0.9)))[..., None].repeat(3, axis=2)
    return (hdr / np.sqrt(hdr.mean() * np.median(hdr))).astype(np.float32)


def test_mantiuk08_is_what_pfstools_shows() -> None:
    # pfstmo_mantiuk08 of pfstools 2.1.0, -d g=2.2:l=199.6:b=0.4:k=0:a=0
    wanted = (0.524, 0.355, 0.229, 0.226, 0.166, 0.218, 0.221, 0.214, 0.113)
    made = mantiuk08(waves())[..., 1] ** (1 / 2.2)
    np.testing.assert_allclose([made[place] for place in WAVES], wanted, atol=0.005)
    more = mantiuk08(waves(), enhancement=1.5)[..., 1]
    assert np.log(more + 1e-3).std() > np.log(mantiuk08(waves())[..., 1] + 1e-3).std()


@pytest.mark.parametrize("name", [name for name in OWN if name != "gamma"])
def test_no_single_pixel_changes_the_others(name: str) -> None:
    calm = tone_map_classically(name, waves())
    for value in (1e-9, 1e6):
        hdr = waves()
        hdr[10, 10] = value
        assert abs(np.median(tone_map_classically(name, hdr)) - np.median(calm)) < 0.03


def test_ferradans_is_what_pfstools_shows() -> None:
    # pfstmo_ferradans11 of pfstools 2.1.0, --rho -2 --inv_alpha 5; its images are periodic.
    wanted = (0.391, 0.175, 0.071, 0.068, 0.028, 0.059, 0.063, 0.056, 0.007)
    made = ferradans(waves())[..., 1]
    np.testing.assert_allclose([made[place] for place in WAVES], wanted, atol=0.025)
    assert ferradans(waves(), rho=-3).mean() > made.mean()


# -------------------------------------------------------------------------------------- what all keep to


@pytest.mark.parametrize("name", OPERATORS)
def test_any_image_gives_display_values(name: str) -> None:
    available(name)
    stops = np.exp2(-21 * np.linspace(0, 1, 64, dtype=np.float32))
    masked = scene()
    masked[:15] = 0
    lamp = np.zeros((20, 30, 3), np.float32)
    lamp[3, 4] = 1
    firefly = scene()
    firefly[5, 5] = 3e38
    blue = np.zeros((20, 20, 3), np.float32)
    blue[..., 2] = np.linspace(0, 1, 20)
    hostile = {
        "21 stops": grey(*stops).repeat(8, axis=0),
        "masked": masked,
        "one pixel alight": lamp,
        "brighter than light": firefly,
        "blue": blue,
        "tiny unit": scene() * np.float32(1e-38),
        "huge unit": scene() * np.float32(1e33),
        "1 × 1": grey(5),
        "1 × 1, a colour": np.array([[[3, 0, 1]]], np.float32),
        "8 × 8": scene(8, 8),
        "one row": scene(1, 50),
        "two columns": scene(50, 2),
        "one grey": np.full((12, 12, 3), 1e-9, np.float32),
    }
    for said, hdr in hostile.items():
        shown = tone_map_classically(name, hdr)
        assert (shown.shape, shown.dtype) == (hdr.shape, np.float32), said
        assert shown.min() >= 0, said
        assert 0.1 < shown.max() <= 1, said
        if said in ("masked", "21 stops", "tiny unit", "huge unit", "8 × 8", "one row", "one grey"):
            assert np.quantile(shown[hdr.max(axis=-1) > 0], 0.75) > 0.15, said
        assert np.all(shown[hdr.max(axis=-1) == 0] < 1e-6), said


@pytest.mark.parametrize("name", OWN)
def test_strips_show_what_the_whole_image_shows(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hdr = scene(300, 31)
    hdr[:4] = 0
    whole = tone_map_classically(name, hdr, {"exposure": 0.5})
    monkeypatch.setattr("hdrlab.tonemapping.rows.STRIP", 3 * 31 * 80)
    np.testing.assert_allclose(tone_map_classically(name, hdr, {"exposure": 0.5}), whole, atol=1e-5)


def test_a_large_image_costs_little_more_than_itself() -> None:
    hdr = np.full((1500, 2000, 3), 0.5, np.float32)
    hdr[:700] = 3
    tone_map_classically("reinhard", hdr[:100])
    tracemalloc.start()
    tone_map_classically("reinhard", hdr)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < hdr.nbytes + 60e6  # the result, and strips


@pytest.mark.parametrize("name", OPERATORS)
def test_no_light_is_black(name: str) -> None:
    assert not tone_map_classically(available(name), np.zeros((5, 7, 3), np.float32)).any()


@pytest.mark.parametrize("name", OPERATORS)
def test_the_unit_does_not_matter(name: str) -> None:
    available(name)
    wanted = tone_map_classically(name, scene())
    assert np.array_equal(tone_map_classically(name, scene() * np.float32(2.0**20)), wanted)
    for factor in (1e-20, 0.37, 1e12):
        np.testing.assert_allclose(
            tone_map_classically(name, scene() * np.float32(factor)), wanted, atol=1e-4
        )
    np.testing.assert_allclose(tone_map_classically(name, scene().astype(np.float64)), wanted, atol=1e-4)


@pytest.mark.parametrize("name", [*GLOBAL, *(name for name in OPERATORS if name.startswith("colour_"))])
def test_a_global_operator_never_turns_brighter_into_darker(name: str) -> None:
    available(name)
    ramp = grey(*np.exp2(np.linspace(-15, 6, 500)), 0)
    shown = tone_map_classically(name, ramp)[0, :, 0]
    assert np.all(np.diff(shown[:-1]) >= -1e-6)
    assert shown[499] > 0.9
    assert shown[0] < 0.25
    shuffled = np.random.default_rng(0).permutation(ramp, axis=1)
    np.testing.assert_allclose(
        np.sort(tone_map_classically(name, shuffled)[0, :, 0])[1:], shown[:-1], atol=1e-5
    )


@pytest.mark.parametrize("name", GLOBAL + LOCAL)
def test_the_input_is_left_as_it_was(name: str) -> None:
    hdr = scene()
    tone_map_classically(name, hdr)
    assert np.array_equal(hdr, scene())


# ------------------------------------------------------------------------------------------- what is wrong


def test_what_is_no_image_is_refused() -> None:
    with pytest.raises(OperatorError, match=r"operator 'rheinhard': must be gamma \| log"):
        tone_map_classically("rheinhard", scene())
    with pytest.raises(OperatorError, match="must be gamma"):
        missing("none")
    with pytest.raises(OperatorError, match=r"log takes floats \[H, W, 3\], not uint8 \[2, 2, 3\]"):
        tone_map_classically("log", np.zeros((2, 2, 3), np.uint8))
    for shape in ((4, 4), (4, 4, 1), (0, 4, 3)):
        with pytest.raises(OperatorError, match="takes floats"):
            tone_map_classically("log", np.zeros(shape, np.float32))
    for value in (-1, np.nan, np.inf):
        hdr = scene()
        hdr[2, 3, 1] = value
        with pytest.raises(OperatorError, match="finite values from 0 on"):
            tone_map_classically("log", hdr)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert [name for name in OPERATORS if missing(name) is None] == OWN
    with pytest.raises(
        OperatorError, match=re.escape(f"opencv_drago needs an extra: {install('operators')}")
    ):
        tone_map_classically("opencv_drago", scene())


# -------------------------------------------------------------------------- the extras, played by stand-ins


def play(monkeypatch: pytest.MonkeyPatch, package: str, **functions: Any) -> None:
    monkeypatch.setitem(__import__("sys").modules, package, SimpleNamespace(**functions))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: SimpleNamespace())


def test_opencv_gets_what_it_can_divide_by(monkeypatch: pytest.MonkeyPatch) -> None:
    class Tonemap:
        def __init__(self, gamma: float) -> None:
            assert gamma == 1

        def process(self, bgr: NDArray[np.float32]) -> NDArray[np.float32]:
            assert bgr.dtype == np.float32
            assert min(bgr.shape[:2]) >= 8
            assert (bgr.min(), bgr.max()) == (0, 1)
            assert bgr.sum(axis=-1).min() > 0
            return bgr

    play(monkeypatch, "cv2", createTonemapDrago=Tonemap, error=RuntimeError)
    hdr = scene(5, 30)
    hdr[1] = 0
    shown = tone_map_classically("opencv_drago", hdr)
    wanted = srgb_encode(hdr / hdr.max())
    np.testing.assert_allclose(shown, wanted, atol=1e-6)  # upright, RGB, and cut to its size again
    assert tone_map_classically("opencv_drago", grey(3, 3)) == pytest.approx(1)


def test_what_opencv_refuses_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    class Error(Exception):
        err = "fabs(dprod) > 0"

    def process(bgr: NDArray[np.float32]) -> NDArray[np.float32]:
        raise Error

    play(monkeypatch, "cv2", createTonemapMantiuk=lambda gamma: SimpleNamespace(process=process), error=Error)
    with pytest.raises(OperatorError, match=r"OpenCV cannot show this image: fabs\(dprod\) > 0"):
        tone_map_classically("opencv_mantiuk", scene())


@pytest.mark.parametrize(
    ("name", "called", "average"),
    [
        ("colour_simple", "simple", 0.18),
        ("colour_tumblin1999", "Tumblin1999", 50),
        ("colour_filmic", "filmic", 0.18),
    ],
)
def test_colour_gets_an_exposed_image_without_black(
    name: str, called: str, average: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    def operator(hdr: NDArray[Any]) -> NDArray[Any]:
        assert hdr.min() > 0
        assert log_average(luminance(hdr)) == pytest.approx(average, rel=1e-4)
        return np.full(hdr.shape, 0.5)

    play(monkeypatch, "colour_hdri", **{f"tonemapping_operator_{called}": operator})
    hdr = scene()
    hdr[:3] = 0
    shown = tone_map_classically(name, hdr)
    assert not shown[:3].any()
    np.testing.assert_allclose(shown[3:], 0.735357, atol=1e-5)


@pytest.mark.parametrize("name", ["colour_exponential", "colour_exponentiation", "colour_schlick1994"])
def test_curves_of_colour_show_the_average_as_middle_grey(name: str) -> None:
    shown = tone_map_classically(available(name), grey(1, 10, 100, 10))
    assert shown[0, 1, 0] == pytest.approx(0.461, abs=0.002)


def test_values_that_are_not_finite_are_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, "colour_hdri", tonemapping_operator_simple=lambda hdr: hdr * np.nan)
    with pytest.raises(OperatorError, match="not finite for this image"):
        tone_map_classically("colour_simple", scene())


# --------------------------------------------------------------------------- film, games, broadcasting


def test_neutral_is_khronos_curve() -> None:
    # Grey 1 at the key: less 0.04 is 0.96, above the knee 0.76: 1 − 0.24² / (0.96 + 0.24 − 0.76) = 0.869091;
    # a grey does not change by going grey.
    assert neutral(grey(3), key=1)[0, 0, 0] == pytest.approx(0.869091, abs=1e-5)
    # Red 0.5: no grey part, so no offset, and below the knee: as it is.
    red = np.array([[[0.5, 0, 0]]], np.float32)
    key = float(luminance(red)[0, 0])
    np.testing.assert_allclose(neutral(red, key=key), red, rtol=1e-5)
    # Red 2 bleaches: 1 − 0.0576 / 1.48 = 0.961081; 1 − 1 / (0.15 · 1.038919 + 1) = 0.134827 of it is grey.
    made = neutral(4 * red, key=4 * key)[0, 0]
    np.testing.assert_allclose(made, (0.961081, 0.129579, 0.129579), atol=1e-5)


def test_agx_is_its_sigmoid() -> None:
    # Middle grey is 10 of 16.5 stops: x = 0.606061 gives 0.457853 by the polynomial, to the 2.2: 0.1793.
    encoded = np.polyval((15.5, -40.14, 31.96, -6.868, 0.4298, 0.1191, -0.00232), 10 / 16.5)
    np.testing.assert_allclose(agx(grey(7))[0, 0], encoded**2.2, rtol=2e-3)
    blue = np.zeros((1, 2, 3), np.float32)
    blue[0, :, 2] = 0.01, 1000
    dim, bright = agx(blue)[0]
    assert bright[0] / bright[2] > 3 * dim[0] / dim[2]  # lights bleach


def test_aces_is_opencolorios() -> None:
    oiio = pytest.importorskip("OpenImageIO")
    hdr = scene(6, 8)
    buffer = oiio.ImageBuf(oiio.ImageSpec(8, 6, 3, "float"))
    buffer.set_pixels(oiio.ROI(), hdr * np.float32(0.18 / log_average(luminance(hdr))))
    config = oiio.ColorConfig("ocio://default")
    view = "ACES 2.0 - SDR 100 nits (Rec.709)"
    shown = oiio.ImageBufAlgo.ociodisplay(
        buffer, "sRGB - Display", view, "lin_rec709_scene", colorconfig="ocio://default"
    )
    assert view in [config.getViewNameByIndex("sRGB - Display", i) for i in range(4)]
    np.testing.assert_allclose(tone_map_classically("aces", hdr), shown.get_pixels("float"), atol=1e-4)


def test_bt2390_is_the_reports_curve_and_keeps_hues() -> None:
    def pq(light: float) -> float:
        powered = (light / 10000) ** (2610 / 16384)
        return float(((3424 / 4096 + 2413 / 128 * powered) / (1 + 2392 / 128 * powered)) ** (2523 / 32))

    hdr = grey(0.02, 1, 100)  # the log-average is 1.2599; the peak 14.287 times diffuse white, at 0.18
    scale = 0.18 / (0.02 * 1 * 100) ** (1 / 3)
    peak, ceiling = pq(203 * 100 * scale), pq(203)
    knee = 1.5 * ceiling / peak - 0.5
    assert pq(203 * scale) / peak < knee
    np.testing.assert_allclose(bt2390(hdr)[0, :2, 0], (0.02 * scale, scale), rtol=1e-3)  # below the knee
    assert bt2390(hdr)[0, 2, 0] == pytest.approx(1, abs=1e-3)
    ratio = bt2390(scene()) / scene()
    np.testing.assert_allclose(ratio, ratio[..., :1].repeat(3, axis=2), rtol=1e-4)


def test_bt2446_is_method_a() -> None:
    # 36.54 cd/m² of 1000: E' 0.25197, ρ 13.2598, Y'p 0.54486, Y'c 0.58682, ρ_SDR 5.69696, Y'SDR 0.37812.
    assert bt2446(grey(1, 10, 100))[0, 1, 0] == pytest.approx(0.37812**2.4, abs=2e-4)
    peak = bt2446(grey(1, 1, 1e6))  # beyond 10,000 cd/m²
    assert peak[0, 2] == pytest.approx(1, abs=1e-3)
    grass = bt2446(scene() * np.array((0.5, 1, 0.2), np.float32))
    assert np.isfinite(grass).all()


# ------------------------------------------------------------------------------------- what can be steered


def test_the_keys_of_the_command_are_the_keywords_of_the_operators() -> None:
    offered = {(name, key) for name, operator in OPERATORS.items() for key in operator.parameters}
    taken = {(name, key) for name, operator in OPERATORS.items() for key in operator.defaults}
    assert offered <= taken
    left = {key for _, key in taken - offered}
    assert left == {
        *("threshold", "num_scales", "extent", "sigma", "chroma", "black", "inverse_reach"),
        *("contrast_weight", "saturation_weight"),
    }  # constants of the papers


@pytest.mark.parametrize("name", [name for name in OPERATORS if OPERATORS[name].package is None])
def test_a_stop_is_brighter_and_defaults_change_nothing(name: str) -> None:
    plain = tone_map_classically(name, scene())
    same = {"exposure": 0.0, "contrast": 1.0, "saturation": 1.0, "gamma": 1.0}
    assert np.array_equal(tone_map_classically(name, scene(), same), plain)
    for settings in ({"exposure": 1.0}, {"gamma": 1.5}):
        assert tone_map_classically(name, scene(), settings).mean() > plain.mean() + 0.02
    colours = tone_map_classically(name, scene(), {"saturation": 0.0})
    assert np.ptp(colours, axis=2).max() < 1e-4
    assert np.ptp(plain, axis=2).max() > 0.1
    steep, flat = (tone_map_classically(name, scene(), {"contrast": c}) for c in (1.5, 0.7))
    assert steep.std() > flat.std()


def test_a_setting_that_an_operator_has_not_is_refused() -> None:
    with pytest.raises(OperatorError, match="drago has no white; it has bias, key, exposure, contrast"):
        tone_map_classically("drago", scene(), {"white": 2})
    assert (
        tone_map_classically("drago", scene(), {"bias": 0.6}).mean()
        > tone_map_classically("drago", scene()).mean()
    )


def test_colours_beyond_the_display_keep_luminance_and_hue() -> None:
    flame = np.array([[[2.4, 0.5, 0.1], [0.2, 0.1, 0.4], [3.0, 3.0, 2.5], [0.9, 0.3, -0.2]]], np.float32)
    shown = into_gamut(flame)[0]
    assert shown.min() >= 0
    assert shown.max() <= 1
    assert np.array_equal(shown[1], flame[0, 1])
    np.testing.assert_allclose(shown[2], 1)
    for index in (0, 3):
        grey_of = luminance(flame)[0, index]
        assert luminance(shown[None])[0, index] == pytest.approx(grey_of, abs=1e-5)
        direction = (shown[index] - grey_of) / (flame[0, index] - grey_of)
        np.testing.assert_allclose(direction, direction[0], rtol=1e-4)
    assert shown[0].max() == pytest.approx(1, abs=1e-5)
