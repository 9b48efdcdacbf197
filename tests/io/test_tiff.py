from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image as PillowImage

from hdrlab.io import ImageError, probe_image, read_image, write_image


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
    image = read_image(path)
    assert (image.domain, image.format) == ("linear", "tiff")
    np.testing.assert_array_equal(image.pixels, hdr.astype(dtype).astype(np.float32))
    info = probe_image(path)
    assert (info.height, info.width, info.domain) == (24, 40, "linear")


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_whole_number_samples_are_display_encoded(tmp_path: Path, photo: np.ndarray, dtype: str) -> None:
    pixels = photo.astype(dtype) * (257 if dtype == "uint16" else 1)
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, pixels, photometric="rgb")
    image = read_image(path)
    assert (image.domain, image.dtype) == ("display", np.dtype(dtype))
    np.testing.assert_array_equal(image.pixels, pixels)


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
        (np.uint8, {"photometric": "cielab"}, "photometric interpretation 8"),
    ):
        tifffile.imwrite(path, np.zeros((16, 16, 3), dtype), **options)
        with pytest.raises(ImageError, match=reason):
            read_image(path)
    PillowImage.new("CMYK", (4, 4)).save(path)
    with pytest.raises(ImageError, match="photometric interpretation 5"):
        read_image(path)
    PillowImage.new("1", (4, 4)).save(path)
    with pytest.raises(ImageError, match="1-bit"):
        read_image(path)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
@pytest.mark.parametrize("mode", ["RGB", "L", "P"])
def test_what_pillow_writes(tmp_path: Path, photo: np.ndarray, compression: str, mode: str) -> None:
    picture = PillowImage.fromarray(photo).convert(mode)
    picture.save(tmp_path / "x.tif", compression=compression)
    expected = np.array(picture.convert("RGB"))
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
        assert again.metadata["ImageDescription"] == '{"scene": "Zo\\u00eb"}'


def test_truncation_is_found(tmp_path: Path, hdr: np.ndarray) -> None:
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, hdr, photometric="rgb")
    whole = path.read_bytes()
    for length in (8, 100, len(whole) // 2, len(whole) - 4):
        path.write_bytes(whole[:length])
        with pytest.raises(ImageError):
            read_image(path)
