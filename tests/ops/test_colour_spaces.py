from __future__ import annotations

import numpy as np
import pytest

from hdrlab.ops.colour_spaces import (
    ACES2065_1,
    D65,
    P3,
    REC709,
    REC2020,
    SPACES,
    XYZ,
    Primaries,
    conversion,
    convert,
    hlg_curve,
    pq_curve,
    pq_encode,
    split_gamut,
    to_xyz,
    white_xyz,
    with_outside,
)

# Names of the spaces in OpenColorIO's built-in configuration.
OCIO = {
    "rec2020": "Linear Rec.2020",
    "p3": "Linear P3-D65",
    "acescg": "ACEScg",
    "aces2065-1": "ACES2065-1",
}


@pytest.fixture(scope="module")
def light() -> np.ndarray:
    return np.random.default_rng(0).random((6, 7, 3), np.float32) * 3


@pytest.mark.parametrize("name", OCIO)
def test_conversions_agree_with_opencolorio(light: np.ndarray, name: str) -> None:
    import OpenImageIO as oiio

    rec709 = "Linear Rec.709 (sRGB)"
    for source, target, matrix in (
        (OCIO[name], rec709, conversion(SPACES[name])),
        (rec709, OCIO[name], conversion(REC709, SPACES[name])),
    ):
        expected = oiio.ImageBufAlgo.colorconvert(oiio.ImageBuf(light), source, target).get_pixels()
        np.testing.assert_allclose(convert(light, matrix), expected, atol=2e-6)


def test_white_stays_white_and_primaries_have_their_chromaticities() -> None:
    for space in SPACES.values():
        np.testing.assert_allclose(conversion(space) @ np.ones(3), 1, atol=1e-12)
        red = to_xyz(space)[:, 0]
        np.testing.assert_allclose(red[:2] / red.sum(), space.red, atol=1e-12)


def test_rec_709s_luminance_is_the_one_used_everywhere() -> None:
    np.testing.assert_allclose(to_xyz(REC709)[1], (0.212656, 0.715158, 0.072186), atol=2e-5)


def test_the_same_space_gives_the_same_array(light: np.ndarray) -> None:
    nearly = Primaries.of(np.array(tuple(REC709), np.float32))
    assert convert(light, conversion(nearly)) is light


def test_xyz_is_not_adapted_unless_a_neutral_is_named() -> None:
    d65 = white_xyz(D65)
    np.testing.assert_allclose(conversion(XYZ) @ d65, 1, atol=1e-3)
    np.testing.assert_allclose(conversion(XYZ, neutral=(1 / 3, 1 / 3)) @ np.ones(3), 1, atol=1e-9)


def test_a_neutral_becomes_white() -> None:
    seen = np.linalg.solve(to_xyz(REC709), white_xyz((0.4476, 0.4074)))
    np.testing.assert_allclose(conversion(REC709, neutral=(0.4476, 0.4074)) @ seen, 1, atol=1e-9)


@pytest.mark.parametrize(
    "values",
    [(0.3, 0.3) * 4, (0.64, 0.33, 0.3, 0.6, 0.15, 0.06, 0.3, 0.0), (np.nan,) * 8],
)
def test_chromaticities_that_make_no_space(values: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="make no space"):
        conversion(Primaries.of(values))


def test_pq_has_the_values_of_its_standard() -> None:
    # ITU-R BT.2408, table 1: signal of reference white, and of 1000 and 4000 cd/m².
    np.testing.assert_allclose(pq_encode(np.array([203.0, 1000.0, 4000.0])), [0.58, 0.75, 0.90], atol=0.005)
    light = np.array([0, 0.01, 1, 203, 10_000])
    np.testing.assert_allclose(pq_curve(pq_encode(light)), light, rtol=1e-9, atol=1e-5)


def test_hlg_has_the_values_of_its_standard() -> None:
    # BT.2408: 75 % is reference white, 203 cd/m² on a display of 1000.
    shown = hlg_curve(REC2020)(np.array([[[0.75] * 3, [1.0] * 3, [0.0] * 3]]))
    np.testing.assert_allclose(shown[0, :, 0], [203, 1000, 0], rtol=2e-3)
    saturated = hlg_curve(REC2020)(np.array([[[1.0, 0, 0]]]))
    np.testing.assert_allclose(saturated, [[[1000 * 0.2627**0.2, 0, 0]]], rtol=1e-3)


def test_what_was_cut_comes_back_brighter_by_what_the_image_became() -> None:
    wide = convert(np.array([[[0.9, 0.1, 0.05], [0.2, 0.2, 0.2]]], np.float32), conversion(P3))
    inside, outside = split_gamut(wide, 1.0)
    assert outside.any()
    np.testing.assert_allclose(with_outside(inside * 3, inside, outside), wide * 3, rtol=1e-5)
    np.testing.assert_array_equal(with_outside(inside * 3, inside, outside)[0, 1], inside[0, 1] * 3)
    black = np.zeros_like(inside)
    np.testing.assert_array_equal(with_outside(black, black, outside), 0)


def test_the_names_are_those_of_the_commands() -> None:
    from typing import get_args, get_type_hints

    from hdrlab.config.schema.commands import ReconstructConfig, TonemapConfig

    def choices(schema: type) -> tuple[str, ...]:
        return get_args(get_type_hints(schema)["colorspace"])

    assert choices(ReconstructConfig) == tuple(SPACES)
    assert set(choices(TonemapConfig)) <= set(SPACES)
    assert ACES2065_1 is SPACES["aces2065-1"]
