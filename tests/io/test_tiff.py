from __future__ import annotations

import itertools
import re
import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from colour_files import gamma, logluv_file, matrix_profile, profile, s15
from PIL import Image as PillowImage
from PIL import ImageCms

from hdrlab.errors import ImageError, install
from hdrlab.io import probe_image, read_image, write_image
from hdrlab.ops.colour import srgb_encode
from hdrlab.ops.colour_spaces import D65, P3, REC709, adaptation, to_xyz, white_xyz


@pytest.mark.parametrize(
    ("dtype", "options"),
    [
        *itertools.product(
            ["float16", "float32", "float64"],
            [{}, {"byteorder": ">"}, {"bigtiff": True}, {"compression": "zlib"}],
        ),
        ("float16", {"tile": (16, 16)}),
        ("float32", {"tile": (16, 16)}),
    ],
)
def test_float_samples_are_linear(tmp_path: Path, hdr: np.ndarray, dtype: str, options: dict) -> None:
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, hdr.astype(dtype), photometric="rgb", **options)
    loaded = read_image(path)
    assert (loaded.domain, loaded.format) == ("linear", "tiff")
    np.testing.assert_array_equal(loaded.pixels, hdr.astype(dtype).astype(np.float32))
    info = probe_image(path)
    assert (info.height, info.width, info.domain) == (24, 40, "linear")


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_whole_number_samples_are_display_encoded(tmp_path: Path, photo: np.ndarray, dtype: str) -> None:
    pixels = photo.astype(dtype) * (257 if dtype == "uint16" else 1)
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, pixels, photometric="rgb")
    loaded = read_image(path)
    assert (loaded.domain, loaded.dtype) == ("display", np.dtype(dtype))
    np.testing.assert_array_equal(loaded.pixels, pixels)


def test_separate_planes_grey_and_alpha(tmp_path: Path, hdr: np.ndarray) -> None:
    path = tmp_path / "x.tif"
    planes = np.ascontiguousarray(hdr.transpose(2, 0, 1))
    tifffile.imwrite(path, planes, photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(read_image(path).pixels, hdr)
    tifffile.imwrite(path, hdr[..., 0])
    np.testing.assert_array_equal(read_image(path).pixels, np.repeat(hdr[..., :1], 3, axis=2))
    alpha = np.full((24, 40, 1), 0.25, np.float32)
    tifffile.imwrite(path, np.concatenate([hdr, alpha], 2), photometric="rgb", extrasamples=["unassalpha"])
    np.testing.assert_array_equal(read_image(path).pixels, hdr)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_white_may_be_zero(tmp_path: Path, photo: np.ndarray, dtype: str) -> None:
    grey = photo[..., 0].astype(dtype) * np.array(1 if dtype == "uint8" else 257, dtype)
    tifffile.imwrite(tmp_path / "x.tif", np.iinfo(dtype).max - grey, photometric="miniswhite")
    np.testing.assert_array_equal(read_image(tmp_path / "x.tif").pixels[..., 1], grey)


def test_floats_of_which_zero_is_white_are_refused(tmp_path: Path, hdr: np.ndarray) -> None:
    tifffile.imwrite(tmp_path / "x.tif", hdr[..., 0], photometric="miniswhite")
    with pytest.raises(ImageError, match="floats of which 0 is white, which is unsupported"):
        read_image(tmp_path / "x.tif")


@pytest.mark.parametrize("options", [{}, {"bigtiff": True}, {"byteorder": ">"}])
def test_a_thumbnail_before_the_image_is_passed_over(
    options: dict, tmp_path: Path, photo: np.ndarray
) -> None:
    icc = matrix_profile(P3, gamma(2.2))
    with tifffile.TiffWriter(tmp_path / "x.tif", **options) as file:
        file.write(photo[::4, ::4], photometric="rgb", subfiletype=1)
        file.write(photo, photometric="rgb", subfiletype=0, iccprofile=icc)
    image = read_image(tmp_path / "x.tif")
    assert image.shape == photo.shape
    assert (probe_image(tmp_path / "x.tif").height, image.metadata["colour"]) == (24, "test (ICC profile)")
    with tifffile.TiffWriter(tmp_path / "x.tif", **options) as file:
        file.write(photo[::4, ::4], photometric="rgb", subfiletype=1)
    assert read_image(tmp_path / "x.tif").shape == (6, 10, 3)


def test_orientation_is_applied(tmp_path: Path, photo: np.ndarray) -> None:
    path = tmp_path / "x.tif"
    exif = PillowImage.Exif()
    exif[0x0112] = 6
    PillowImage.fromarray(np.rot90(photo)).save(path, exif=exif)
    np.testing.assert_array_equal(read_image(path).pixels, photo)
    assert (probe_image(path).height, probe_image(path).width) == photo.shape[:2]


def test_other_sample_types_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    for dtype, options, reason in (
        (np.int16, {"photometric": "rgb"}, "16-bit int16 samples"),
        (np.float64, {"photometric": "rgb", "tile": (16, 16)}, "tiles of 64-bit floats"),
        (np.float32, {"photometric": "cielab"}, "floats of CIELAB"),
    ):
        tifffile.imwrite(path, np.zeros((16, 16, 3), dtype), **options)
        with pytest.raises(ImageError, match=reason):
            read_image(path)
    PillowImage.new("1", (4, 4)).save(path)
    with pytest.raises(ImageError, match="1-bit"):
        read_image(path)


LIGHT = np.random.default_rng(3).uniform(0.02, 0.8, (24, 40, 3))


@pytest.mark.parametrize("kind", ["cielab", "icclab"])
@pytest.mark.parametrize("bits", [8, 16])
def test_cielab(kind: str, bits: int, tmp_path: Path) -> None:
    """CIE's formula under D50, coded as TIFF 6.0 and ICC.1 say."""
    white = np.array([0.9642, 1, 0.8249])
    to_d50 = adaptation(white_xyz(D65), white) @ to_xyz(REC709)
    roots = np.cbrt(LIGHT @ to_d50.T / white)
    lightness = 116 * roots[..., 1] - 16
    chroma = [500, 200] * (roots[..., :2] - roots[..., 1:])
    if bits == 8:
        coded = np.round(chroma) + (128 if kind == "icclab" else 0)
        samples = np.dstack([np.round(lightness * 2.55), coded % 256]).astype(np.uint8)
    else:
        coded = np.round(256 * (chroma + (128 if kind == "icclab" else 0)))
        most = 65535 if kind == "cielab" else 65280
        samples = np.dstack([np.round(lightness / 100 * most), coded % 65536]).astype(np.uint16)
    tifffile.imwrite(tmp_path / "x.tif", samples, photometric=kind)
    shown = read_image(tmp_path / "x.tif").pixels
    assert shown.dtype == samples.dtype
    wanted = srgb_encode(LIGHT)
    np.testing.assert_allclose(shown / np.iinfo(shown.dtype).max, wanted, atol=0.03 if bits == 8 else 1e-3)
    assert probe_image(tmp_path / "x.tif").domain == "display"


def test_cielab_as_pillow_writes_it(tmp_path: Path, photo: np.ndarray) -> None:
    lab = ImageCms.profileToProfile(
        PillowImage.fromarray(photo),
        ImageCms.createProfile("sRGB"),
        ImageCms.createProfile("LAB"),
        outputMode="LAB",
    )
    lab.save(tmp_path / "x.tif")
    inner = (photo > 40).all(2)  # where 8 bits of Lab suffice
    assert np.abs(read_image(tmp_path / "x.tif").pixels.astype(int) - photo)[inner].max() < 12


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("with_profile", [False, True])
def test_inks(bits: int, with_profile: bool, tmp_path: Path) -> None:
    """Plain ink, or a profile by which cyan and magenta have changed places."""
    dtype, most = (np.uint8, 255) if bits == 8 else (np.uint16, 65535)
    wanted = np.array([[(1, 1, 1), (0, 1, 1), (1, 0, 0), (0, 0, 0)]])
    inks = np.array([[(0, 0, 0, 0), (1, 0, 0, 0), (0, 1, 1, 0), (0, 0, 0, 1)]])
    options = {}
    if with_profile:
        options["iccprofile"] = ink_profile([1, 0, 2])
        inks = inks[..., [1, 0, 2, 3]]
    tifffile.imwrite(tmp_path / "x.tif", (inks * most).astype(dtype), photometric="separated", **options)
    image = read_image(tmp_path / "x.tif")
    assert image.dtype == dtype
    np.testing.assert_allclose(image.pixels / most, wanted, atol=0.06)


def ink_profile(order: list[int]) -> bytes:
    """A table of 2⁴ entries, from CMYK to Lab of what plain ink leaves."""
    corners = np.stack(np.meshgrid(*[(0, 1)] * 4, indexing="ij"), -1).reshape(-1, 4)
    shown = (1 - corners[:, order]) * (1 - corners[:, 3:])
    lab = ImageCms.profileToProfile(
        PillowImage.fromarray((shown[None] * 255).astype(np.uint8)),
        ImageCms.createProfile("sRGB"),
        ImageCms.createProfile("LAB"),
        outputMode="LAB",
    )
    values = np.array(lab).reshape(-1, 3) ^ np.array([0, 128, 128], np.uint8)  # Pillow's a and b are signed
    ramp = np.arange(256).astype(np.uint8).tobytes()
    table = b"mft1\0\0\0\0" + bytes((4, 3, 2, 0)) + s15(1, 0, 0, 0, 1, 0, 0, 0, 1)
    table += ramp * 4 + values.tobytes() + ramp * 3
    white = b"XYZ \0\0\0\0" + s15(0.9642, 1, 0.8249)
    return profile({b"A2B0": table, b"wtpt": white}, space=b"CMYK", connection=b"Lab ")


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
@pytest.mark.parametrize("mode", ["RGB", "L", "P"])
def test_what_pillow_writes(tmp_path: Path, photo: np.ndarray, compression: str, mode: str) -> None:
    image = PillowImage.fromarray(photo).convert(mode)
    image.save(tmp_path / "x.tif", compression=compression)
    expected = np.array(image.convert("RGB"))
    # Pillow writes 255 into a 16-bit palette as 65280, which is not quite white.
    np.testing.assert_allclose(
        read_image(tmp_path / "x.tif").pixels.astype(int), expected, atol=int(mode == "P")
    )


def test_camera_raw_is_not_read_as_its_thumbnail(tmp_path: Path, photo: np.ndarray) -> None:
    tifffile.imwrite(tmp_path / "x.tif", photo)
    raw = (tmp_path / "x.tif").rename(tmp_path / "x.NEF")
    with pytest.raises(ImageError, match="camera raw"):
        read_image(raw)


def test_what_is_written_is_what_tifffile_reads(tmp_path: Path, hdr: np.ndarray, photo: np.ndarray) -> None:
    for pixels in (hdr, -hdr[..., :1] * 1e9, photo, photo.astype(np.uint16) * 257):
        path = tmp_path / "x.tif"
        write_image(path, pixels, metadata={"scene": "Zoë"})
        np.testing.assert_array_equal(tifffile.imread(path).reshape(pixels.shape), pixels)
        again = read_image(path)
        np.testing.assert_array_equal(again.pixels, np.broadcast_to(pixels, again.shape))
        assert again.metadata["hdrlab:scene"] == "Zoë"


def test_truncation_is_found(tmp_path: Path, hdr: np.ndarray) -> None:
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, hdr, photometric="rgb")
    whole = path.read_bytes()
    for length in (8, 100, len(whole) // 2, len(whole) - 4):
        path.write_bytes(whole[:length])
        with pytest.raises(ImageError):
            read_image(path)


@pytest.mark.parametrize("order", ["<", ">"])
def test_logluv_keeps_its_range(tmp_path: Path, order: str) -> None:
    light = np.exp2(np.random.default_rng(0).uniform(-12, 12, (9, 16, 1))) * np.array([0.9, 1.0, 0.8])
    light[0] = 0.5
    light[1, :3] = 0
    path = tmp_path / "x.tif"
    path.write_bytes(logluv_file(light, order=order, tags={37439: (12, (179.0,))}))
    image = read_image(path)
    assert (image.domain, image.shape, image.metadata["whiteLuminance"]) == ("linear", (9, 16, 3), 179.0)
    error = np.abs(image.pixels - light) / light.max(axis=2, keepdims=True).clip(1e-12)
    assert error.max() < 0.03  # steps of 0.3 % in luminance, of 1/410 in u' and v'
    assert probe_image(path).domain == "linear"


def test_logluv_in_one_channel_and_turned(tmp_path: Path) -> None:
    light = np.exp2(np.linspace(-9, 9, 12 * 16).reshape(12, 16, 1)).repeat(3, 2)
    path = tmp_path / "x.tif"
    path.write_bytes(logluv_file(light, bits=16, tags={274: (3, (6,))}))
    np.testing.assert_allclose(read_image(path).pixels, np.rot90(light, -1), rtol=0.01)
    assert (probe_image(path).height, probe_image(path).width) == (16, 12)


@pytest.mark.parametrize("bits", [24, 32])
def test_logluv_as_libtiff_writes_it(bits: int, tmp_path: Path) -> None:
    """Through OpenCV; negative values, of colours outside Rec. 709, among it."""
    cv2 = pytest.importorskip("cv2")
    rng = np.random.default_rng(0)
    light = np.exp2(rng.uniform(-6, 3, (9, 16, 1))) * rng.uniform(0.3, 1, (9, 16, 3))
    light[0] *= (1, 1, -0.1)
    path = tmp_path / "x.tif"
    coding = {32: cv2.IMWRITE_TIFF_COMPRESSION_SGILOG, 24: cv2.IMWRITE_TIFF_COMPRESSION_SGILOG24}[bits]
    stored = np.ascontiguousarray(light[..., ::-1], np.float32)
    assert cv2.imwrite(str(path), stored, [cv2.IMWRITE_TIFF_COMPRESSION, coding])
    read = read_image(path).pixels
    error = np.abs(read - light) / light.max(axis=2, keepdims=True)
    assert np.median(error) < {24: 0.02, 32: 0.01}[bits]
    assert error.max() < {24: 0.15, 32: 0.06}[bits]
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 3])
    with pytest.raises(ImageError):
        read_image(path)


def test_logluv_that_is_damaged_or_of_another_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = logluv_file(np.full((8, 16, 3), 0.5))
    path = tmp_path / "x.tif"
    for length in (len(whole) - 1, len(whole) - 60):
        path.write_bytes(whole[:length])
        with pytest.raises(ImageError, match="truncated in row"):
            read_image(path)
    path.write_bytes(whole.replace(struct.pack("<H", 34676), struct.pack("<H", 34677)))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImageError, match=re.escape(install("operators"))):
        read_image(path)
    width = struct.pack("<HHI", 256, 4, 1)
    path.write_bytes(whole.replace(width + struct.pack("<I", 16), width + struct.pack("<I", 10**7)))
    with pytest.raises(ImageError, match="no image"):
        read_image(path)
