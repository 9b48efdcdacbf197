"""The classical operators: published formulas by hand, and pictures that no operator was made for."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hdrlab.operators import OPERATORS, OperatorError, missing, tone_map_classically
from hdrlab.operators.global_curves import drago, filmic, gamma, log, reinhard
from hdrlab.operators.light import log_average, luminance, srgb_encode
from hdrlab.operators.local import bilateral_filter, durand, reinhard_local

OWN = [name for name, operator in OPERATORS.items() if operator.package is None]
GLOBAL = ["gamma", "log", "reinhard", "drago", "filmic"]
LOCAL = ["reinhard_local", "durand"]


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


def test_the_log_average_leaves_black_out_and_follows_the_unit() -> None:
    light = luminance(grey(1, 100, 0, 0))
    assert log_average(light) == pytest.approx(10)
    assert log_average(light * 7) == pytest.approx(70)
    assert log_average(np.zeros((2, 2), np.float32)) == 1
    weights = luminance(np.eye(3, dtype=np.float32)[None])[0]
    np.testing.assert_allclose(weights, (0.2126, 0.7152, 0.0722), atol=1e-4)


def test_the_encoding_is_srgb() -> None:
    made = srgb_encode(np.array((0, 0.002, 0.18, 0.5, 1), np.float32))
    np.testing.assert_allclose(made, (0, 0.02584, 0.461356, 0.735357, 1), atol=1e-5)


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


def test_reinhard_local_is_equation_9_where_the_picture_is_flat() -> None:
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
    # Dodging and burning: each side as if it were the whole picture, within a few per cent next to the edge.
    np.testing.assert_allclose(made[:27], light[30, 0] / (1 + light[30, 0]), rtol=0.05)
    np.testing.assert_allclose(made[33:], light[30, -1] / (1 + light[30, -1]), rtol=0.05)
    spot = np.ones((60, 60, 3), np.float32)
    spot[30, 30] = 1.5
    contrast = reinhard_local(spot, key=2)[30, 30, 0] / reinhard_local(spot, key=2)[0, 0, 0]
    flat = reinhard(spot, key=2)
    assert contrast > flat[30, 30, 0] / flat[0, 0, 0]


def test_the_grid_filters_as_the_bilateral_filter_does() -> None:
    rng = np.random.default_rng(1)
    values = np.where(np.arange(48) < 24, 0.0, 3.0) + rng.normal(0, 0.1, (40, 48))
    sigma_space, sigma_range = 4.0, 0.5
    y, x = np.mgrid[0:40, 0:48]
    wanted = np.empty_like(values)
    for row in range(40):
        for column in range(48):
            near = np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * sigma_space**2))
            weights = near * np.exp(-((values - values[row, column]) ** 2) / (2 * sigma_range**2))
            wanted[row, column] = (weights * values).sum() / weights.sum()
    made = bilateral_filter(values.astype(np.float32), sigma_space, sigma_range)
    assert np.abs(made - wanted).max() < 0.1
    assert np.abs(made - wanted).mean() < 0.015
    assert made[:, :24].std() < 0.04  # the noise of 0.1 is gone, the edge of 3 is not
    assert made[:, 24:].mean() - made[:, :24].mean() == pytest.approx(3, abs=0.02)


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


# -------------------------------------------------------------------------------------- what all keep to


@pytest.mark.parametrize("name", OPERATORS)
def test_any_picture_gives_display_values(name: str) -> None:
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


def test_what_is_no_picture_is_refused() -> None:
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
        OperatorError, match=r"opencv_drago needs an extra: pip install 'hdrlab\[operators\]'"
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
    with pytest.raises(OperatorError, match=r"OpenCV cannot show this picture: fabs\(dprod\) > 0"):
        tone_map_classically("opencv_mantiuk", scene())


@pytest.mark.parametrize(
    ("name", "called", "average"),
    [
        ("colour_simple", "simple", 0.18),
        ("colour_tumblin1999", "Tumblin1999", 50),
        ("colour_filmic", "filmic", 0.18),
    ],
)
def test_colour_gets_an_exposed_picture_without_black(
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
    with pytest.raises(OperatorError, match="not finite for this picture"):
        tone_map_classically("colour_simple", scene())
