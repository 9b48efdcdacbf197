from __future__ import annotations

import os
import pickle
import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hdrlab.errors import ImageError
from hdrlab.io import HDR_SUFFIXES, LDR_SUFFIXES, Image, probe_image, read_image, write_image
from hdrlab.io.heif import write_pq_avif
from hdrlab.io.jpegxl import write_jpegxl
from hdrlab.io.ultrahdr import rewrite_ultrahdr, write_ultrahdr

LINEAR = (".exr", ".hdr", ".pfm", ".tif")
DISPLAY = (".png", ".jpg", ".tif")


@pytest.mark.parametrize("suffix", [".exr", ".hdr", ".pfm", ".tif", ".png", ".jpg"])
def test_names_that_are_no_utf8(tmp_path: Path, suffix: str) -> None:
    folder = tmp_path / os.fsdecode(b"d\xe9j\xe0")
    folder.mkdir()
    path = folder / os.fsdecode(b"caf\xe9" + suffix.encode())
    pixels = np.full((3, 4, 3), 128, np.uint16 if suffix == ".png" else np.uint8)
    pixels = pixels if suffix in (".png", ".jpg") else pixels.astype(np.float32)
    write_image(path, pixels)
    np.testing.assert_allclose(read_image(path).pixels, pixels, atol=1)
    assert probe_image(path).width == 4
    assert len(list(folder.iterdir())) == 1


@pytest.mark.parametrize("suffix", LINEAR)
def test_the_first_bytes_decide_the_format(tmp_path: Path, hdr: np.ndarray, suffix: str) -> None:
    write_image(tmp_path / f"x{suffix}", hdr)
    moved = (tmp_path / f"x{suffix}").rename(tmp_path / "x.jpg")
    image = read_image(moved)
    assert image.domain == "linear"
    np.testing.assert_allclose(image.pixels[:6], 0.5, rtol=1e-3)
    assert probe_image(moved).format == image.format


@pytest.mark.parametrize("function", [read_image, probe_image])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.exr", b""),
        ("unknown.hdr", b"hello, world"),
        ("magic.exr", b"\x76\x2f\x31\x01"),
        ("magic.hdr", b"#?RADIANCE\n"),
        ("magic.png", b"\x89PNG\r\n\x1a\n"),
        ("magic.jpg", b"\xff\xd8\xff"),
        ("magic.tif", b"II*\0"),
        ("magic.pfm", b"PF\n"),
    ],
)
def test_empty_and_foreign_files(tmp_path: Path, function: object, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ImageError) as caught:
        function(path)  # type: ignore[operator]
    assert caught.value.path == path
    assert caught.value.reason
    assert str(caught.value) == f"{path}: {caught.value.reason}"


def test_an_empty_file_and_an_unknown_one_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "x.exr"
    path.touch()
    with pytest.raises(ImageError, match="is empty"):
        read_image(path)
    path.write_text("hello")
    with pytest.raises(ImageError, match=r"is not a Radiance, .* HEIC, AVIF or JPEG XL file"):
        read_image(path)


@pytest.mark.parametrize("function", [read_image, probe_image])
def test_what_is_no_file_fails_at_once(tmp_path: Path, function: object) -> None:
    os.mkfifo(tmp_path / "pipe.hdr")
    (tmp_path / "loop.exr").symlink_to(tmp_path / "loop.exr")
    start = time.monotonic()
    for path in (tmp_path, tmp_path / "pipe.hdr", tmp_path / "absent.exr", tmp_path / "loop.exr", "a\0b", ""):
        with pytest.raises(ImageError):
            function(path)  # type: ignore[operator]
    assert time.monotonic() - start < 30


@pytest.mark.parametrize("suffix", [".exr", ".pfm", ".tif"])
def test_values_that_are_not_finite(
    tmp_path: Path, hdr: np.ndarray, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    pixels = hdr.copy()
    pixels[3, 5, 1], pixels[4, 0, 0], pixels[5, 0, 2] = np.nan, np.inf, -np.inf
    path = tmp_path / f"x{suffix}"
    write_image(path, pixels, half=False)
    with pytest.raises(ImageError, match="3 non-finite values, the first nan at row 3, column 5, channel 1"):
        read_image(path)
    image = read_image(path, sanitize=True)
    assert image.metadata["sanitized"] == 3
    assert str(path) in caplog.text
    expected = pixels.copy()
    expected[3, 5, 1] = expected[5, 0, 2] = 0.0
    expected[4, 0, 0] = hdr.max()
    np.testing.assert_array_equal(image.pixels, expected)


def test_an_image_without_any_finite_value_becomes_black(tmp_path: Path) -> None:
    write_image(tmp_path / "x.exr", np.full((2, 2, 3), np.inf, np.float32))
    np.testing.assert_array_equal(read_image(tmp_path / "x.exr", sanitize=True).pixels, 0)


@pytest.mark.parametrize("suffix", LINEAR + DISPLAY)
def test_the_pixel_limit_is_the_callers(
    tmp_path: Path, hdr: np.ndarray, photo: np.ndarray, suffix: str
) -> None:
    path = tmp_path / f"x{suffix}"
    write_image(path, hdr if suffix in LINEAR else photo)
    assert read_image(path, max_pixels=24 * 40).shape == (24, 40, 3)
    for function in (read_image, probe_image):
        with pytest.raises(ImageError, match="40 × 24 pixels, the limit is 959"):
            function(path, max_pixels=959)


@pytest.mark.parametrize("suffix", LINEAR + DISPLAY)
def test_names_with_odd_characters(tmp_path: Path, hdr: np.ndarray, photo: np.ndarray, suffix: str) -> None:
    for stem in ("a b", 'it\'s "quoted"', "100%d #1?", "日本-é", "x" * 250):
        path = tmp_path / f"{stem}{suffix}"
        write_image(path, hdr if suffix in LINEAR else photo)
        assert read_image(path).shape == (24, 40, 3)
        assert probe_image(str(path)).height == 24


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, hdr: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.hdr"
    write_image(path, hdr)
    before = path.read_bytes()
    with pytest.raises(ImageError, match="NaN"):
        write_image(path, hdr * np.nan)

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(ImageError, match=r"x\.hdr: cannot be written: No space left"):
        write_image(path, hdr * 2)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", LINEAR + DISPLAY)
def test_a_missing_folder_is_named(tmp_path: Path, hdr: np.ndarray, photo: np.ndarray, suffix: str) -> None:
    with pytest.raises(ImageError, match="cannot be written"):
        write_image(tmp_path / "absent" / f"x{suffix}", hdr if suffix in LINEAR else photo)


@pytest.mark.parametrize("suffix", LINEAR + DISPLAY)
def test_the_same_image_gives_the_same_file(
    tmp_path: Path, hdr: np.ndarray, photo: np.ndarray, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = []
    for zone in ("UTC+1", "UTC-7"):  # a time in the file would differ
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        write_image(tmp_path / f"x{suffix}", hdr if suffix in LINEAR else photo)
        files.append((tmp_path / f"x{suffix}").read_bytes())
    monkeypatch.undo()
    time.tzset()
    assert files[0] == files[1]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".xyz"])
def test_linear_pixels_do_not_go_into_display_formats(tmp_path: Path, hdr: np.ndarray, suffix: str) -> None:
    with pytest.raises(ImageError, match=r"linear float pixels are written as \.exr, \.hdr"):
        write_image(tmp_path / f"x{suffix}", hdr)


def test_display_pixels_do_not_go_into_linear_formats(tmp_path: Path, photo: np.ndarray) -> None:
    with pytest.raises(ImageError, match=r"display-encoded uint8 pixels are written as \.jpeg"):
        write_image(tmp_path / "x.exr", photo)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((3, 24, 40), np.float32),
        np.zeros((4,), np.float32),
        np.zeros((0, 4, 3), np.float32),
        np.zeros((4, 4, 3), np.int32),
        np.full((4, 4, 3), 1e300),
    ],
)
def test_pixels_of_the_wrong_kind_are_refused(tmp_path: Path, pixels: np.ndarray) -> None:
    with pytest.raises(ImageError):
        write_image(tmp_path / "x.exr", pixels)


def test_an_image_writes_as_its_pixels(tmp_path: Path, hdr: np.ndarray) -> None:
    for kind in (hdr, hdr.astype(np.float64), Image(hdr, "linear")):
        write_image(tmp_path / "x.exr", kind, half=False)
        np.testing.assert_array_equal(read_image(tmp_path / "x.exr").pixels, hdr)


def test_an_image_states_its_domain(hdr: np.ndarray, photo: np.ndarray) -> None:
    np.testing.assert_array_equal(np.asarray(Image(photo, "display")), photo)
    with pytest.raises(ImageError, match="linear pixels are float32, these are uint8"):
        Image(photo, "linear")
    with pytest.raises(ImageError, match="display pixels are uint8 or uint16"):
        Image(hdr, "display")


def test_errors_travel_between_processes() -> None:
    error = pickle.loads(pickle.dumps(ImageError("a.exr", "is empty")))
    assert (error.path, error.reason, str(error)) == ("a.exr", "is empty", "a.exr: is empty")
    assert str(ImageError("a message only")) == "a message only"


def test_layers_and_metadata_are_refused_where_they_do_not_fit(tmp_path: Path, hdr: np.ndarray) -> None:
    with pytest.raises(ImageError, match="layers need"):
        write_image(tmp_path / "x.hdr", hdr, layers={"mask": hdr})
    with pytest.raises(ImageError, match="metadata pose: values are"):
        write_image(tmp_path / "x.exr", hdr, metadata={"pose": [1, 2]})  # type: ignore[dict-item]


def test_suffixes_are_lower_case_with_their_dot() -> None:
    assert all(suffix == suffix.lower() and suffix[0] == "." for suffix in HDR_SUFFIXES | LDR_SUFFIXES)


def test_reading_after_a_fork(tmp_path: Path) -> None:
    """Data loader workers are forked from a process whose decoders already run threads."""
    path = tmp_path / "x.exr"
    write_image(path, np.random.default_rng(0).random((512, 512, 3), np.float32))
    read_image(path)
    child = os.fork()
    if child == 0:
        os._exit(0 if read_image(path).shape == (512, 512, 3) else 1)
    deadline = time.monotonic() + 20
    while (status := os.waitpid(child, os.WNOHANG)) == (0, 0):
        if time.monotonic() > deadline:
            os.kill(child, 9)
            os.waitpid(child, 0)
            pytest.fail("reading hangs in a forked process")
        time.sleep(0.02)
    assert status[1] == 0


@pytest.mark.parametrize("suffix", [".exr", ".hdr", ".pfm", ".tif", ".png", ".jpg"])
def test_a_disk_that_fills_up_is_named(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(1).uniform(0, 1, (120, 160, 3))
    pixels = (noise * 255).astype(np.uint8) if suffix in (".png", ".jpg") else noise.astype(np.float32)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(ImageError, match=r"cannot be written: (File too large|No space left on device)$"):
            write_image(tmp_path / f"x{suffix}", pixels)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["avif", "jxl", "ultrahdr", "handed on"])
def test_a_disk_that_fills_up_is_named_by_writers_of_their_own(tmp_path: Path, kind: str) -> None:
    pytest.importorskip("imagecodecs")
    light = np.random.default_rng(1).uniform(0, 900, (160, 200, 3)).astype(np.float32)
    shown = (light / 900 * 255).astype(np.uint8)
    write_ultrahdr(tmp_path / "source.jpg", light, shown)
    path = tmp_path / "x"
    writers: dict[str, Callable[[], object]] = {
        "avif": lambda: write_pq_avif(path, light),
        "jxl": lambda: write_jpegxl(path, light),
        "ultrahdr": lambda: write_ultrahdr(path, light, shown),
        "handed on": lambda: rewrite_ultrahdr(path, tmp_path / "source.jpg"),
    }
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(ImageError, match=r"cannot be written: (File too large|No space left on device)$"):
            writers[kind]()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [one.name for one in tmp_path.iterdir()] == ["source.jpg"]


def test_a_build_without_a_format_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import OpenImageIO as oiio

    class Output:
        @staticmethod
        def create(name: str) -> None:
            return None

    monkeypatch.setattr(oiio, "ImageOutput", Output)
    with pytest.raises(ImageError, match="this build of OpenImageIO has no jpegxl"):
        write_jpegxl(tmp_path / "x.jxl", np.ones((4, 4, 3), np.float32))
    assert not list(tmp_path.iterdir())
