from __future__ import annotations

from pathlib import Path

import imageio.v2 as imageio2
import imageio.v3 as imageio
import numpy as np
import pytest

import hdrlab.io as hio
from hdrlab.io.imageio_plugin import register

SUFFIXES = (".exr", ".hdr", ".pfm")
register()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_imread_and_imwrite_keep_linear_floats(tmp_path: Path, hdr: np.ndarray, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    imageio.imwrite(path, hdr)
    pixels = imageio.imread(path)
    assert pixels.dtype == np.float32
    np.testing.assert_array_equal(pixels, hio.read_image(path).pixels)
    assert np.all(np.abs(pixels - hdr) <= hdr.max(axis=2, keepdims=True) / 256)
    assert imageio.improps(path).shape == (24, 40, 3)
    assert imageio.imread(path, index=...).shape == (1, 24, 40, 3)
    assert len(list(imageio.imiter(path))) == 1
    np.testing.assert_array_equal(np.asarray(imageio2.imread(path)), pixels)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_bytes_in_and_out(hdr: np.ndarray, suffix: str) -> None:
    encoded = imageio.imwrite("<bytes>", hdr, extension=suffix)
    assert isinstance(encoded, bytes)
    pixels = imageio.imread(encoded, extension=suffix)
    assert np.all(np.abs(pixels - hdr) <= hdr.max(axis=2, keepdims=True) / 256)


def test_options_reach_the_reader_and_the_writer(tmp_path: Path, hdr: np.ndarray) -> None:
    path = tmp_path / "x.exr"
    imageio.imwrite(path, np.where(hdr > 1, np.nan, hdr), half=False, metadata={"scene": "a"})
    with pytest.raises(hio.ImageError, match="non-finite"):
        imageio.imread(path)
    assert np.isfinite(imageio.imread(path, sanitize=True)).all()
    assert imageio.immeta(path)["scene"] == "a"


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif", ".gif", ".webp"])
def test_other_formats_are_left_alone(tmp_path: Path, photo: np.ndarray, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    imageio.imwrite(path, photo)
    assert imageio.imread(path).dtype == np.uint8


def test_a_display_image_with_a_linear_suffix_goes_to_another_plugin(
    tmp_path: Path, photo: np.ndarray
) -> None:
    hio.write_image(tmp_path / "x.png", photo)
    path = (tmp_path / "x.png").rename(tmp_path / "x.exr")
    # Which one that is depends on what is installed: PyAV's gives a stack of frames.
    np.testing.assert_array_equal(imageio.imread(path).reshape(photo.shape), photo)


def test_errors_say_what_is_wrong(tmp_path: Path, hdr: np.ndarray, photo: np.ndarray) -> None:
    path = tmp_path / "x.exr"
    with pytest.raises(hio.ImageError, match="display-encoded uint8"):
        imageio.imwrite(path, photo)
    hio.write_image(path, hdr)
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(hio.ImageError, match="rows 0 to"):
        imageio.imread(path)
    with pytest.raises(ValueError, match="index 1"):
        imageio.imread(path, index=1)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(hio.ImageError):
        imageio.imread(path)


def test_exposure_counts_as_applied(tmp_path: Path) -> None:
    path = tmp_path / "x.hdr"
    path.write_bytes(b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\nEXPOSURE=2\n\n-Y 1 +X 1\n\x80\x80\x80\x81")
    assert imageio.imread(path).max() == 0.5
    assert "EXPOSURE" not in imageio.immeta(path)
    assert imageio.immeta(path, exclude_applied=False)["EXPOSURE"] == "2"


def test_it_comes_first_for_its_suffixes_and_only_once() -> None:
    from imageio.config import extension_list, known_extensions

    for suffix in SUFFIXES:
        assert known_extensions[suffix][0].priority[0] == "hdrlab"
    before = len(extension_list), [len(known_extensions[suffix]) for suffix in SUFFIXES]
    register()
    assert (len(extension_list), [len(known_extensions[suffix]) for suffix in SUFFIXES]) == before
