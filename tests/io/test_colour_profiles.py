"""Colours by what files declare: every depth, every way of declaring, and what is embedded."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from colour_files import (
    chrm,
    gamma,
    iccp,
    matrix_profile,
    parametric,
    png,
    profile,
    s15,
    samples_in,
    table,
    tiff,
)
from PIL import Image as PillowImage
from PIL import ImageCms

from hdrlab.errors import ImageError
from hdrlab.io import probe_image, read_hdr, read_image, read_photograph, write_image
from hdrlab.io.colour_profiles import ProfileError, build_profile, from_icc, to_light
from hdrlab.io.jpeg_segments import APP0, APP2, ICC, Segment, read_segments, with_segments
from hdrlab.ops.colour import srgb_decode, srgb_encode
from hdrlab.ops.colour_spaces import (
    ADOBE_RGB,
    D65,
    P3,
    REC709,
    REC2020,
    SPACES,
    Primaries,
    adaptation,
    conversion,
    convert,
    pq_encode,
    to_xyz,
    white_xyz,
)

PROPHOTO = Primaries((0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001), (0.34567, 0.35850))
SRGB_CURVE = parametric(3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
LINEAR = b"curv\0\0\0\0" + bytes(4)
MOST = {8: 255, 16: 65535}


@pytest.fixture(scope="session")
def light() -> np.ndarray:
    """Linear Rec. 709 [24, 40, 3] within sRGB, some colours on its border."""
    pixels = np.random.default_rng(5).random((24, 40, 3))
    pixels[0, :6] = (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1), (0, 0, 0), (0.5, 0.5, 0.5)
    return pixels


def shows(path: Path, light: np.ndarray, bits: int) -> None:
    """Compare a photograph's samples; 8 bits of another curve or space are coarse in the dark."""
    loaded = read_photograph(path)
    assert (loaded.domain, loaded.dtype.itemsize * 8) == ("display", bits)
    error = np.abs(loaded.pixels / MOST[bits] - srgb_encode(light))
    most, typical = (0.13, 0.012) if bits == 8 else (0.004, 0.0005)
    assert error.max() < most, f"{error.max():.4f}"
    assert np.quantile(error, 0.9) < typical, f"{np.quantile(error, 0.9):.4f}"
    assert probe_image(path).domain == "display"


CURVES: dict[str, tuple[bytes, Callable[[Any], Any]]] = {
    "a power": (gamma(2.2), lambda x: x ** (256 / round(2.2 * 256))),
    "linear": (LINEAR, lambda x: x),
    "a table": (table(np.linspace(0, 1, 1024) ** 1.8), lambda x: x ** (1 / 1.8)),
    "sRGB's formula": (SRGB_CURVE, srgb_encode),
    "a power as formula": (parametric(0, 2.0), np.sqrt),
}


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize("primaries", [P3, ADOBE_RGB, REC2020])
@pytest.mark.parametrize(("suffix", "bits"), [(".png", 8), (".png", 16), (".tif", 8), (".tif", 16)])
def test_profiles_at_every_depth(
    tmp_path: Path, light: np.ndarray, suffix: str, bits: int, primaries: Primaries, curve: str
) -> None:
    stored, encode = CURVES[curve]
    samples = samples_in(light, primaries, encode, MOST[bits])
    icc = matrix_profile(primaries, stored, "sRGB by name only")
    path = tmp_path / f"x{suffix}"
    if suffix == ".png":
        path.write_bytes(png(samples, {b"iCCP": iccp(icc)}))
    else:
        tifffile.imwrite(path, samples, photometric="rgb", iccprofile=icc)
    shows(path, light, bits)


def test_eight_bits_agree_with_little_cms(photo: np.ndarray, tmp_path: Path) -> None:
    for primaries, curve in ((P3, SRGB_CURVE), (ADOBE_RGB, gamma(2.2)), (REC2020, gamma(1.8))):
        icc = matrix_profile(primaries, curve)
        PillowImage.fromarray(photo).save(tmp_path / "x.png", icc_profile=icc)
        expected = ImageCms.profileToProfile(
            PillowImage.fromarray(photo),
            ImageCms.ImageCmsProfile(io.BytesIO(icc)),
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
        )
        difference = np.abs(read_image(tmp_path / "x.png").pixels.astype(int) - np.array(expected))
        assert difference.max() <= 2


@pytest.mark.parametrize("exponents", [(1.0, 2.0, 3.0)])
def test_each_channel_has_its_own_curve(tmp_path: Path, exponents: tuple[float, ...]) -> None:
    icc = matrix_profile(
        REC709, gamma(1), rTRC=gamma(exponents[0]), gTRC=gamma(exponents[1]), bTRC=gamma(exponents[2])
    )
    samples = np.full((4, 4, 3), 32768, np.uint16)
    (tmp_path / "x.png").write_bytes(png(samples, {b"iCCP": iccp(icc)}))
    shown = read_image(tmp_path / "x.png").pixels[0, 0] / 65535
    np.testing.assert_allclose(srgb_decode(shown), [0.5, 0.25, 0.125], atol=1e-3)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_profiles(tmp_path: Path, dtype: Any) -> None:
    icc = profile({b"kTRC": gamma(1.0), b"wtpt": b"XYZ \0\0\0\0" + s15(0.9642, 1, 0.8249)}, b"GRAY")
    most = np.iinfo(dtype).max
    samples = np.rint(np.linspace(0, 1, 64).reshape(8, 8, 1) * most).astype(dtype)
    (tmp_path / "x.png").write_bytes(png(samples, {b"iCCP": iccp(icc)}))
    shown = read_image(tmp_path / "x.png").pixels
    assert shown.shape == (8, 8, 3)
    np.testing.assert_allclose(srgb_decode(shown / most), samples.repeat(3, 2) / most, atol=0.02)


@pytest.mark.parametrize("bits", [8, 16])
def test_profiles_with_tables_go_through_little_cms(
    tmp_path: Path, photo: np.ndarray, bits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table of 2³ entries that swaps red and green, in Lab as the profile connection space."""
    import importlib.util

    corners = np.stack(np.meshgrid((0, 1), (0, 1), (0, 1), indexing="ij"), -1).reshape(-1, 3)
    lab = ImageCms.profileToProfile(
        PillowImage.fromarray((corners[None, :, [1, 0, 2]] * 255).astype(np.uint8)),
        ImageCms.createProfile("sRGB"),
        ImageCms.createProfile("LAB"),
        outputMode="LAB",
    )
    values = np.array(lab).reshape(-1, 3) ^ np.array([0, 128, 128], np.uint8)  # Pillow's a and b are signed
    ramp = np.linspace(0, 255, 256).astype(np.uint8).tobytes() * 3
    mft1 = b"mft1\0\0\0\0" + bytes((3, 3, 2, 0)) + s15(1, 0, 0, 0, 1, 0, 0, 0, 1)
    mft1 += ramp + values.tobytes() + ramp
    icc = profile({b"A2B0": mft1, b"wtpt": b"XYZ \0\0\0\0" + s15(0.9642, 1, 0.8249)}, connection=b"Lab ")
    white = np.full((4, 4, 3), MOST[bits], np.uint8 if bits == 8 else np.uint16)
    red = white * np.array([1, 0, 0], white.dtype)
    for has_codecs in (True, False):
        if not has_codecs:
            monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        for samples, wanted in ((white, (1, 1, 1)), (red, (0, 1, 0))):
            (tmp_path / "x.png").write_bytes(png(samples, {b"iCCP": iccp(icc)}))
            loaded = read_image(tmp_path / "x.png")
            assert loaded.dtype == samples.dtype
            np.testing.assert_allclose(loaded.pixels[0, 0] / MOST[bits], wanted, atol=0.05)
            assert bool(loaded.notes) == (bits == 16 and not has_codecs)


def test_a_profile_of_another_kind_is_noted(tmp_path: Path, photo: np.ndarray) -> None:
    icc = profile({b"kTRC": gamma(1.0)}, b"GRAY")
    PillowImage.fromarray(photo).save(tmp_path / "x.png", icc_profile=icc)
    loaded = read_image(tmp_path / "x.png")
    np.testing.assert_array_equal(loaded.pixels, photo)
    assert "a profile for GRAY on samples of 3 channels, which was not applied" in loaded.notes[0]


def test_a_profile_of_which_a_part_is_missing_is_noted(tmp_path: Path, photo: np.ndarray) -> None:
    PillowImage.fromarray(photo).save(tmp_path / "x.jpg")
    data, icc = (tmp_path / "x.jpg").read_bytes(), matrix_profile(P3, gamma(2.2))
    own = [one for one in read_segments(data) if one.marker == APP0]
    first = Segment(APP2, ICC + bytes((1, 2)) + icc[:300])
    (tmp_path / "x.jpg").write_bytes(with_segments(data, [*own, first]))
    (tmp_path / "x.png").write_bytes(png(photo, {b"iCCP": b"p\0\0" + b"no zlib stream"}))
    for name in ("x.jpg", "x.png"):
        assert "holds a damaged profile, which was not applied" in read_image(tmp_path / name).notes


# ----------------------------------------------------------------------------------------------- PNG


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(
    ("codes", "primaries", "encode"),
    [
        ((12, 13), P3, srgb_encode),
        ((9, 8), REC2020, lambda x: x),
        ((9, 13), REC2020, srgb_encode),
        ((1, 4), REC709, lambda x: x ** (1 / 2.2)),
        ((1, 1), REC709, lambda x: np.where(x < 0.01805, 4.5 * x, 1.0993 * x**0.45 - 0.0993)),
        ((2, 8), REC709, lambda x: x),
        ((12, 2), P3, srgb_encode),
    ],
)
def test_code_points_come_first(
    tmp_path: Path, light: np.ndarray, bits: int, codes: tuple[int, int], primaries: Primaries, encode: Any
) -> None:
    samples = samples_in(light, primaries, encode, MOST[bits])
    misleading = {b"iCCP": iccp(matrix_profile(ADOBE_RGB, gamma(3))), b"gAMA": struct.pack(">I", 30_000)}
    path = tmp_path / "x.png"
    path.write_bytes(png(samples, {b"cICP": bytes((*codes, 0, 1)), **misleading}))
    shows(path, light, bits)


@pytest.mark.parametrize("bits", [8, 16])
def test_narrow_range(tmp_path: Path, light: np.ndarray, bits: int) -> None:
    unit = 1 << (bits - 8)
    full = srgb_encode(light)
    samples = np.rint((16 + 219 * full) * unit).astype(np.uint8 if bits == 8 else np.uint16)
    (tmp_path / "x.png").write_bytes(png(samples, {b"cICP": bytes((1, 13, 0, 0))}))
    shows(tmp_path / "x.png", light, bits)


@pytest.mark.parametrize("codes", [(2, 2), (99, 13), (12, 99)])
def test_code_points_without_a_meaning_leave_it_to_what_follows(
    tmp_path: Path, light: np.ndarray, codes: tuple[int, int]
) -> None:
    samples = samples_in(light, P3, srgb_encode, 65535)
    chunks = {b"cICP": bytes((*codes, 0, 1)), b"iCCP": iccp(matrix_profile(P3, SRGB_CURVE))}
    (tmp_path / "x.png").write_bytes(png(samples, chunks))
    shows(tmp_path / "x.png", light, 16)


def test_an_srgb_chunk_goes_before_gamma(tmp_path: Path, light: np.ndarray) -> None:
    samples = samples_in(light, REC709, srgb_encode, 65535)
    chunks = {b"sRGB": b"\0", b"gAMA": struct.pack(">I", 100_000), b"cHRM": chrm(P3)}
    (tmp_path / "x.png").write_bytes(png(samples, chunks))
    shows(tmp_path / "x.png", light, 16)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(
    ("chunks", "primaries", "encode"),
    [
        ({b"gAMA": struct.pack(">I", 100_000)}, REC709, lambda x: x),
        ({b"gAMA": struct.pack(">I", 55_556)}, REC709, lambda x: x**0.55556),
        ({b"gAMA": struct.pack(">I", 45_455)}, REC709, srgb_encode),
        ({b"gAMA": struct.pack(">I", 45_455), b"cHRM": chrm(ADOBE_RGB)}, ADOBE_RGB, lambda x: x**0.45455),
        ({b"cHRM": chrm(P3)}, P3, srgb_encode),
        ({b"gAMA": struct.pack(">I", 100_000), b"cHRM": chrm(REC2020)}, REC2020, lambda x: x),
    ],
)
def test_gamma_and_chromaticities(
    tmp_path: Path, light: np.ndarray, bits: int, chunks: Any, primaries: Primaries, encode: Any
) -> None:
    samples = samples_in(light, primaries, encode, MOST[bits])
    (tmp_path / "x.png").write_bytes(png(samples, chunks))
    shows(tmp_path / "x.png", light, bits)


def test_a_gamma_of_0_and_a_white_that_is_none_are_noted(tmp_path: Path, photo: np.ndarray) -> None:
    for chunks in ({b"gAMA": bytes(4)}, {b"cHRM": bytes(32)}):
        (tmp_path / "x.png").write_bytes(png(photo, chunks))
        loaded = read_image(tmp_path / "x.png")
        np.testing.assert_array_equal(loaded.pixels, photo)
        assert len(loaded.notes) == 1


@pytest.mark.parametrize("bits", [8, 16])
def test_pq_is_light_in_candelas(tmp_path: Path, bits: int) -> None:
    light = np.linspace(5, 4000, 24 * 40 * 3).reshape(24, 40, 3)
    samples = samples_in(light, REC2020, pq_encode, MOST[bits])
    path = tmp_path / "x.png"
    path.write_bytes(png(samples, {b"cICP": bytes((9, 16, 0, 1))}))
    for loaded in (read_image(path), read_photograph(path), read_hdr(path)):
        assert (loaded.domain, loaded.dtype) == ("linear", np.float32)
        np.testing.assert_allclose(loaded.pixels, light, rtol=0.12 if bits == 8 else 1e-3)
        assert (loaded.metadata["hdr"], loaded.metadata["whiteLuminance"]) == ("PQ", 1.0)
    assert probe_image(path).domain == "linear"


def test_hlg_is_light_in_candelas(tmp_path: Path) -> None:
    samples = np.full((4, 4, 3), round(0.75 * 65535), np.uint16)
    path = tmp_path / "x.png"
    path.write_bytes(png(samples, {b"cICP": bytes((9, 18, 0, 1))}))
    loaded = read_hdr(path)
    np.testing.assert_allclose(loaded.pixels, 203, rtol=2e-3)
    assert loaded.metadata["hdr"] == "HLG"


def test_a_profile_of_version_4_4_may_hold_code_points(tmp_path: Path) -> None:
    icc = matrix_profile(REC2020, gamma(2.2), cicp=b"cicp\0\0\0\0" + bytes((9, 16, 0, 1)))
    samples = np.full((4, 4, 3), round(float(pq_encode(np.array(203.0))) * 65535), np.uint16)
    (tmp_path / "x.png").write_bytes(png(samples, {b"iCCP": iccp(icc)}))
    np.testing.assert_allclose(read_hdr(tmp_path / "x.png").pixels, 203, rtol=1e-3)


# --------------------------------------------------------------------------------------- JPEG, by Exif


def rationals(*values: float) -> tuple[int, tuple[int, ...]]:
    return 5, tuple(number for value in values for number in (round(value * 10_000), 10_000))


ADOBE_TAGS = {318: rationals(0.3127, 0.329), 319: rationals(0.64, 0.33, 0.21, 0.71, 0.15, 0.06)}


def exif_of(space: int | None = None, index: bytes = b"", gamma: float = 0, **more: Any) -> dict[int, Any]:
    """Exif's tags: ColorSpace, InteroperabilityIndex, Gamma, and further ones of the first directory."""
    details: dict[int, Any] = {} if space is None else {0xA001: (3, (space,))}
    details |= {0xA005: {1: (2, (index + b"\0",))}} if index else {}
    details |= {0xA500: rationals(gamma)} if gamma else {}
    return {34665: details, **more.get("tags", {})}


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    "exif",
    [
        exif_of(65535, b"R03"),
        exif_of(2),
        exif_of(None, b"R03"),
        exif_of(65535, b"R03", tags=ADOBE_TAGS),
        exif_of(65535, gamma=2.2, tags=ADOBE_TAGS),
    ],
    ids=["R03", "2", "R03 alone", "R03 and primaries", "primaries"],
)
def test_adobe_rgb_by_exif(tmp_path: Path, exif: dict[int, Any], order: str) -> None:
    y, x = np.mgrid[0:48, 0:80] / 80
    light = np.stack([0.1 + 0.8 * x, 0.1 + 0.8 * y, 0.5 - 0.4 * x], axis=2)
    samples = samples_in(light, ADOBE_RGB, lambda v: v ** (1 / 2.2), 255)
    options = {"quality": 100, "subsampling": 0, "exif": b"Exif\0\0" + tiff(exif, order=order)}
    PillowImage.fromarray(samples).save(tmp_path / "x.jpg", **options)
    shows(tmp_path / "x.jpg", light, 8)
    size = {256: (4, (80,)), 257: (4, (48,)), 258: (3, (8, 8, 8)), 259: (3, (1,)), 262: (3, (2,))}
    size |= {277: (3, (3,)), 278: (4, (48,)), 279: (4, (samples.size,)), 284: (3, (1,))}
    (tmp_path / "x.tif").write_bytes(tiff(exif | size, samples.tobytes(), order))
    shows(tmp_path / "x.tif", light, 8)


@pytest.mark.parametrize("exif", [exif_of(1), exif_of(1, b"R98"), exif_of(65535, b"R98"), exif_of(65535)])
def test_other_exif_is_srgb(tmp_path: Path, photo: np.ndarray, exif: dict[int, Any]) -> None:
    PillowImage.fromarray(photo).save(tmp_path / "x.jpg", exif=b"Exif\0\0" + tiff(exif))
    PillowImage.fromarray(photo).save(tmp_path / "y.jpg")
    plain = read_image(tmp_path / "y.jpg").pixels
    np.testing.assert_array_equal(read_image(tmp_path / "x.jpg").pixels, plain)


@pytest.mark.parametrize("suffix", [".jpg", ".tif", "16.tif"])
@pytest.mark.parametrize("exponents", [(1.5,), (1.2, 1.6, 2.0)])
def test_transfer_functions(suffix: str, exponents: tuple[float, ...], tmp_path: Path) -> None:
    """Light of every level, as TIFF 6.0 and Exif have it; of all channels, or each."""
    most, kind = (65535, np.uint16) if suffix == "16.tif" else (255, np.uint8)
    light = np.random.default_rng(1).uniform(0.05, 0.9, (3, 5, 3)).repeat(16, 0).repeat(16, 1)
    samples = np.rint(light ** (1 / np.array(exponents)) * most).astype(kind)
    levels = np.linspace(0, 1, most + 1)
    table = np.rint(np.concatenate([levels**one for one in exponents]) * 65535).astype(int).tolist()
    path = tmp_path / f"x{suffix}"
    if suffix == ".jpg":
        exif = b"Exif\0\0" + tiff({301: (3, tuple(table)), **exif_of(65535)})
        PillowImage.fromarray(samples).save(path, exif=exif, quality=100, subsampling=0)
    else:
        tags = [(301, "H", len(table), table, False)]
        tifffile.imwrite(path, samples, photometric="rgb", extratags=tags)
    image = read_image(path)
    assert image.metadata["colour"] == "transfer function of the header"
    shown = srgb_decode(image.pixels / np.float32(most))
    np.testing.assert_allclose(shown[8::16, 8::16], light[8::16, 8::16], atol=0.02)


@pytest.mark.parametrize("table", [(5,), tuple(range(99)), tuple(range(255, -1, -1)), (0,) * 256])
def test_transfer_functions_that_are_none(table: tuple[int, ...], tmp_path: Path, photo: np.ndarray) -> None:
    tifffile.imwrite(
        tmp_path / "x.tif", photo, photometric="rgb", extratags=[(301, "H", len(table), table, False)]
    )
    np.testing.assert_array_equal(read_image(tmp_path / "x.tif").pixels, photo)


def test_a_profile_goes_before_exif(tmp_path: Path, photo: np.ndarray) -> None:
    icc = build_profile("rec709", "srgb")
    exif = b"Exif\0\0" + tiff(exif_of(65535, b"R03"))
    PillowImage.fromarray(photo).save(tmp_path / "x.jpg", exif=exif, icc_profile=icc)
    PillowImage.fromarray(photo).save(tmp_path / "y.jpg")
    plain = read_image(tmp_path / "y.jpg").pixels
    np.testing.assert_array_equal(read_image(tmp_path / "x.jpg").pixels, plain)


@pytest.mark.parametrize(
    ("frame", "said"), [(0xC1, "holds 12-bit"), (0xC2, "holds 12-bit"), (0xC3, "lossless")]
)
def test_a_sound_jpeg_that_is_not_read_is_not_called_damaged(
    tmp_path: Path, photo: np.ndarray, frame: int, said: str
) -> None:
    stream = io.BytesIO()
    PillowImage.fromarray(photo).save(stream, "JPEG")
    data = bytearray(stream.getvalue())
    at = data.index(b"\xff\xc0")
    data[at + 1], data[at + 4] = frame, 12
    (tmp_path / "x.jpg").write_bytes(data)
    for read in (read_image, probe_image):
        with pytest.raises(ImageError, match=rf"{said}.*unsupported: use 8 bits"):
            read(tmp_path / "x.jpg")


# -------------------------------------------------------------------------------------------- floats


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("curve", CURVES)
def test_float_tiffs_are_linearised_without_a_bound(tmp_path: Path, dtype: str, curve: str) -> None:
    stored, encode = CURVES[curve]
    light = np.exp2(np.random.default_rng(1).uniform(-6, 3, (16, 16, 3)))
    wide = convert(light, conversion(REC709, PROPHOTO))
    tolerance = 0.1 if curve == "a table" else 0.02  # it ends at 1 and is continued
    icc = matrix_profile(Primaries(PROPHOTO.red, PROPHOTO.green, PROPHOTO.blue, REC709.white), stored)
    wide = convert(
        light, conversion(REC709, Primaries(PROPHOTO.red, PROPHOTO.green, PROPHOTO.blue, REC709.white))
    )
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, encode(wide).astype(dtype), photometric="rgb", iccprofile=icc)
    loaded = read_hdr(path)
    error = np.abs(loaded.pixels - light) / light.max(axis=2, keepdims=True)
    assert error.max() < tolerance, error.max()


def test_float_tiffs_with_chromaticities_in_the_header(tmp_path: Path) -> None:
    light = np.random.default_rng(1).random((8, 8, 3))
    wide = convert(light, conversion(REC709, REC2020)).astype(np.float32)
    fractions = [
        round(value * 10_000) for pair in (REC2020.red, REC2020.green, REC2020.blue) for value in pair
    ]
    tags = [
        (318, 5, 2, (3127, 10_000, 3290, 10_000), True),
        (319, 5, 6, tuple(x for value in fractions for x in (value, 10_000)), True),
    ]
    for options in ({}, {"byteorder": ">"}, {"bigtiff": True}):
        tifffile.imwrite(tmp_path / "x.tif", wide, photometric="rgb", extratags=tags, **options)
        np.testing.assert_allclose(read_image(tmp_path / "x.tif").pixels, light, atol=1e-4)


def test_a_float_tiff_with_tables_is_noted(tmp_path: Path, hdr: np.ndarray) -> None:
    icc = profile({b"A2B0": b"mft1" + bytes(100)}, connection=b"Lab ")
    tifffile.imwrite(tmp_path / "x.tif", hdr, photometric="rgb", iccprofile=icc)
    loaded = read_image(tmp_path / "x.tif")
    np.testing.assert_array_equal(loaded.pixels, hdr)
    assert "tables" in loaded.notes[0]


# ------------------------------------------------------------------------------------ what is written


@pytest.mark.parametrize("curve", ["srgb", "linear"])
@pytest.mark.parametrize("space", SPACES)
def test_profiles_that_are_built_say_what_they_are(space: str, curve: Any) -> None:
    icc = build_profile(space, curve)
    opened = ImageCms.ImageCmsProfile(io.BytesIO(icc))  # Little CMS accepts it
    assert ImageCms.getProfileDescription(opened).strip()
    encoding = from_icc(icc, 3)
    samples = np.random.default_rng(0).random((5, 5, 3), np.float32)
    linear = srgb_decode(samples) if curve == "srgb" else samples
    expected = convert(linear, conversion(SPACES[space]))
    np.testing.assert_allclose(to_light(samples, encoding), expected, atol=2e-4)
    assert encoding.is_srgb == (space == "rec709" and curve == "srgb")


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("suffix", [".exr", ".tif", ".hdr"])
def test_light_returns_from_every_space(tmp_path: Path, hdr: np.ndarray, suffix: str, space: str) -> None:
    light = hdr.clip(1e-3)
    wide = convert(light, conversion(REC709, SPACES[space]))
    write_image(tmp_path / f"x{suffix}", wide, half=False, colorspace=space)
    again = read_image(tmp_path / f"x{suffix}").pixels
    error = np.abs(again - light) / light.max(axis=2, keepdims=True)
    assert error.max() < (0.02 if suffix == ".hdr" else 1e-3)


@pytest.mark.parametrize("space", ["rec709", "p3", "rec2020"])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg"])
def test_samples_return_from_every_space(tmp_path: Path, photo: np.ndarray, suffix: str, space: str) -> None:
    light = srgb_decode(photo / 255.0)
    samples = samples_in(light, SPACES[space], srgb_encode, 255)
    write_image(tmp_path / f"x{suffix}", samples, colorspace=space, quality=100)
    with PillowImage.open(tmp_path / f"x{suffix}") as image:
        assert image.info["icc_profile"] == build_profile(space, "srgb")
    difference = np.abs(read_image(tmp_path / f"x{suffix}").pixels.astype(int) - photo)
    assert difference.mean() < (2.5 if suffix == ".jpg" else 1)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_png_with_a_profile_says_nothing_else_of_its_colours(
    tmp_path: Path, photo: np.ndarray, dtype: str
) -> None:
    path = tmp_path / "x.png"
    write_image(path, photo.astype(dtype), colorspace="p3", metadata={"a": "b"})
    with PillowImage.open(path) as image:
        assert image.info.keys() & {"icc_profile", "srgb", "gamma", "chromaticity"} == {"icc_profile"}
    np.testing.assert_array_equal(as_rgb(path, dtype), photo)


def as_rgb(path: Path, dtype: str) -> np.ndarray:
    """What OpenImageIO reads of a file."""
    import OpenImageIO as oiio

    pixels: np.ndarray = oiio.ImageInput.open(str(path)).read_image(dtype)
    return pixels


def test_openexr_itself_finds_the_chromaticities(tmp_path: Path, hdr: np.ndarray) -> None:
    openexr = pytest.importorskip("OpenEXR")
    write_image(tmp_path / "x.exr", hdr, colorspace="acescg")
    with openexr.File(str(tmp_path / "x.exr")) as file:
        np.testing.assert_allclose(file.header()["chromaticities"], tuple(SPACES["acescg"]), atol=1e-6)


def test_spaces_that_do_not_exist_or_do_not_fit(tmp_path: Path, hdr: np.ndarray) -> None:
    with pytest.raises(ImageError, match="'adobe' is not one of rec709, rec2020"):
        write_image(tmp_path / "x.exr", hdr, colorspace="adobe")
    with pytest.raises(ImageError, match="PFM cannot say that it is in p3"):
        write_image(tmp_path / "x.pfm", hdr, colorspace="p3")


# ----------------------------------------------------------------------------- damage, and the rest


def test_damaged_profiles_are_one_kind_of_error() -> None:
    whole = matrix_profile(P3, SRGB_CURVE)
    rng = np.random.default_rng(0)
    for _ in range(3000):
        damaged = bytearray(whole[: rng.integers(0, len(whole) + 1)] if rng.random() < 0.3 else whole)
        for _ in range(rng.integers(1, 6)):
            if damaged:
                damaged[rng.integers(0, len(damaged))] = rng.integers(0, 256)
        try:
            encoding = from_icc(bytes(damaged), 3)
        except ProfileError:
            continue
        if not encoding.tables:
            with np.errstate(all="ignore"):
                to_light(np.ones((2, 2, 3), np.float32) / 2, encoding)


def test_wide_colours_are_kept_only_if_asked_for(tmp_path: Path) -> None:
    samples = np.zeros((8, 8, 3), np.uint8)
    samples[..., 0] = 255
    icc = matrix_profile(P3, SRGB_CURVE)
    PillowImage.fromarray(samples).save(tmp_path / "x.png", icc_profile=icc)
    assert read_photograph(tmp_path / "x.png").outside is None
    loaded = read_photograph(tmp_path / "x.png", keep_outside=True)
    np.testing.assert_array_equal(loaded.pixels[0, 0], (255, 0, 0))
    assert loaded.outside is not None
    whole = srgb_decode(loaded.pixels / 255.0) + loaded.outside
    np.testing.assert_allclose(convert(whole, conversion(REC709, P3))[0, 0], (1, 0, 0), atol=2e-3)
    PillowImage.fromarray(samples).save(tmp_path / "y.png")
    assert read_photograph(tmp_path / "y.png", keep_outside=True).outside is None


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("has_codecs", [True, False])
def test_profiles_with_tables_keep_wide_colours_if_asked_for(
    bits: int, has_codecs: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a table whose corners are those of P3."""
    corners = np.stack(np.meshgrid((0, 1), (0, 1), (0, 1), indexing="ij"), -1).reshape(-1, 3)
    d50 = np.array([0.9642, 1, 0.8249])
    xyz = corners @ (adaptation(white_xyz(D65), d50) @ to_xyz(P3)).T / d50
    roots = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    lab = np.stack([116 * roots[:, 1] - 16, *([500, 200] * (roots[:, :2] - roots[:, 1:])).T], axis=1)
    coded = np.rint(lab * (2.55, 1, 1) + (0, 128, 128)).clip(0, 255).astype(np.uint8)
    ramp = np.arange(256).astype(np.uint8).tobytes() * 3
    mft1 = b"mft1\0\0\0\0" + bytes((3, 3, 2, 0)) + s15(1, 0, 0, 0, 1, 0, 0, 0, 1)
    mft1 += ramp + coded.tobytes() + ramp
    icc = profile({b"A2B0": mft1, b"wtpt": b"XYZ \0\0\0\0" + s15(*d50)}, connection=b"Lab ")
    samples = (corners[None] * MOST[bits]).astype(np.uint8 if bits == 8 else np.uint16)
    (tmp_path / "x.png").write_bytes(png(samples, {b"iCCP": iccp(icc)}))
    if not has_codecs:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert read_image(tmp_path / "x.png").outside is None
    image = read_image(tmp_path / "x.png", keep_outside=True)
    assert image.dtype == samples.dtype
    light = srgb_decode(image.pixels / np.float32(MOST[bits])) + image.outside.astype(np.float32)
    np.testing.assert_allclose(convert(light, conversion(REC709, P3))[0], corners, atol=0.05)
