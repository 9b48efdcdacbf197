from __future__ import annotations

import itertools
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hdrlab.errors import ImageError
from hdrlab.io import probe_image, read_image, write_image
from hdrlab.ops.colour_spaces import REC2020, SPACES, Primaries, conversion, convert

GREY = bytes((128, 128, 128, 129))  # 128 · 2^(129 − 136) = 1.0
HEADER = b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n"


def save(folder: Path, data: bytes, resolution: bytes = b"-Y 1 +X 2", header: bytes = HEADER) -> Path:
    path = folder / "image.hdr"
    path.write_bytes(header + b"\n" + resolution + b"\n" + data)
    return path


def rgbe_of(values: np.ndarray) -> bytes:
    """[H, W] whole numbers below 256 -> flat pixels (v, 0, 0) · 2^0."""
    pixels = np.zeros((*values.shape, 4), np.uint8)
    pixels[..., 0], pixels[..., 3] = values, 136
    return pixels.tobytes()


def test_a_mantissa_stands_for_its_value_without_half_a_step(tmp_path: Path) -> None:
    path = save(tmp_path, bytes((255, 128, 1, 136)) + bytes((7, 7, 7, 0)))
    image = read_image(path)
    assert (image.domain, image.format, image.dtype) == ("linear", "hdr", np.float32)
    np.testing.assert_array_equal(image.pixels, [[[255, 128, 1], [0, 0, 0]]])


@pytest.mark.parametrize("signs", list(itertools.product("+-", "+-")))
@pytest.mark.parametrize("order", ["YX", "XY"])
def test_all_eight_orientations(tmp_path: Path, order: str, signs: tuple[str, str]) -> None:
    upright = np.arange(6).reshape(2, 3) + 10
    sign = dict(zip(order, signs, strict=True))
    stored = upright[::-1] if sign["Y"] == "+" else upright
    stored = stored[:, ::-1] if sign["X"] == "-" else stored
    stored = stored.T if order == "XY" else stored
    size = {"Y": 2, "X": 3}
    resolution = " ".join(f"{sign[axis]}{axis} {size[axis]}" for axis in order)
    path = save(tmp_path, rgbe_of(stored), resolution.encode())
    np.testing.assert_array_equal(read_image(path).pixels[..., 0], upright)
    info = probe_image(path)
    assert (info.height, info.width) == (2, 3)


def test_new_run_length_coding(tmp_path: Path) -> None:
    red = bytes((128 + 6, 9, 4, 1, 2, 3, 4))  # a run of 6, then 4 literals
    constant = bytes((128 + 10, 0))
    exponent = bytes((128 + 10, 136))
    path = save(tmp_path, bytes((2, 2, 0, 10)) + red + constant + constant + exponent, b"-Y 1 +X 10")
    np.testing.assert_array_equal(read_image(path).pixels[0, :, 0], [9] * 6 + [1, 2, 3, 4])


def test_old_run_length_coding_joins_consecutive_runs(tmp_path: Path) -> None:
    pixel = bytes((5, 0, 0, 136))
    # Digits 4 and 1, low first: 4 + 1 · 256 = 260 repeats of the pixel before.
    data = pixel + bytes((1, 1, 1, 4)) + bytes((1, 1, 1, 1)) + bytes((6, 0, 0, 136))
    path = save(tmp_path, data * 2, b"-Y 2 +X 262")
    np.testing.assert_array_equal(read_image(path).pixels[..., 0], [[5] * 261 + [6]] * 2)


def test_run_digits_start_anew_after_a_literal(tmp_path: Path) -> None:
    one, two, run = bytes((1, 0, 0, 136)), bytes((2, 0, 0, 136)), bytes((1, 1, 1, 2))
    path = save(tmp_path, one + run + two + run, b"-Y 1 +X 6")
    np.testing.assert_array_equal(read_image(path).pixels[0, :, 0], [1, 1, 1, 2, 2, 2])


def test_exposures_multiply_and_are_divided_out(tmp_path: Path) -> None:
    header = HEADER + b"EXPOSURE=2\nEXPOSURE= 4.0\nCOLORCORR= 1 2 0.5\n"
    image = read_image(save(tmp_path, GREY * 2, header=header))
    np.testing.assert_allclose(image.pixels[0, 0], [1 / 8, 1 / 16, 1 / 4])


def test_xyze_white_becomes_equal_rgb(tmp_path: Path) -> None:
    header = b"#?RADIANCE\nFORMAT=32-bit_rle_xyze\n"
    d65 = np.rint(np.array([0.95047, 1.0, 1.08883]) * 128).astype(np.uint8)
    image = read_image(save(tmp_path, bytes((*d65, 129)) * 2, header=header))
    np.testing.assert_allclose(image.pixels[0, 0], 1.0, atol=0.02)


@pytest.mark.parametrize(
    "primaries",
    [
        REC2020,
        Primaries((0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001), (0.3457, 0.3585)),
        Primaries((0.640, 0.330), (0.290, 0.600), (0.150, 0.060), (0.333, 0.333)),  # Radiance's own
    ],
)
def test_primaries_are_applied(tmp_path: Path, primaries: Primaries) -> None:
    light = np.array([[[0.5, 0.4, 0.3], [0.2, 0.9, 0.4], [1.0, 1.0, 1.0]]])
    wide = convert(light, np.linalg.inv(conversion(primaries)))
    pixels = np.concatenate([np.rint(wide * 128), np.full((1, 3, 1), 129)], axis=2).astype(np.uint8)
    line = "PRIMARIES=" + " ".join(f"{value:.4f}" for value in primaries)
    path = save(tmp_path, pixels.tobytes(), b"-Y 1 +X 3", HEADER + line.encode() + b"\n")
    np.testing.assert_allclose(read_image(path).pixels, light, atol=0.02)


def test_corrections_of_colour_count_before_the_primaries(tmp_path: Path) -> None:
    header = HEADER + b"COLORCORR=1 2 1\nPRIMARIES=0.708 0.292 0.170 0.797 0.131 0.046 0.3127 0.3290\n"
    path = save(tmp_path, bytes((100, 200, 100, 129)) * 2, header=header)
    np.testing.assert_allclose(read_image(path).pixels, 100 / 128, rtol=1e-3)


def test_primaries_that_make_no_space_are_named(tmp_path: Path) -> None:
    for value, reason in (("1 2 3", "which is not 8 numbers"), ("0.3 " * 8, "cannot be used")):
        with pytest.raises(ImageError, match=reason):
            read_image(save(tmp_path, GREY * 2, header=HEADER + f"PRIMARIES={value}\n".encode()))


@pytest.mark.parametrize("blank", [b"\t", b" ", b"\t\t"])
def test_variables_of_images_that_went_into_it_are_passed_over(tmp_path: Path, blank: bytes) -> None:
    history = (b"EXPOSURE=4", b"FORMAT=32-bit_rle_xyze", b"COLORCORR=2 2 2", b"PRIMARIES=0 0 0 0 0 0 0 0")
    lines = b"".join(blank + line + b"\n" for line in history)
    header = b"#?RADIANCE\nleft.hdr:\n" + lines + b"EXPOSURE=2\nFORMAT=32-bit_rle_rgbe\n" + lines
    image = read_image(save(tmp_path, GREY * 2, header=header))
    np.testing.assert_array_equal(image.pixels, 0.5)


def test_the_format_comes_last_before_the_blank_line(tmp_path: Path, hdr: np.ndarray) -> None:
    for options in ({}, {"metadata": {"scale": "relative", "note": "a=b"}}, {"colorspace": "p3"}):
        write_image(tmp_path / "x.hdr", hdr, **options)
        header = (tmp_path / "x.hdr").read_bytes().partition(b"\n\n")[0].splitlines()
        assert header[0] == b"#?RADIANCE"
        assert header[-1] == b"FORMAT=32-bit_rle_rgbe"
        (primaries,) = (line for line in header if line.startswith(b"PRIMARIES="))
        named = [float(value) for value in primaries.partition(b"=")[2].split()]
        np.testing.assert_allclose(named, tuple(SPACES[options.get("colorspace", "rec709")]), atol=1e-5)


@pytest.mark.parametrize("resolution", [b"-Y 1 +X 200000000", b"-Y 10000 +X 20000"])
def test_runs_cannot_declare_more_than_an_image_holds(tmp_path: Path, resolution: bytes) -> None:
    run = b"".join(bytes((1, 1, 1, digit)) for digit in (255, 255, 255, 11))
    path = save(tmp_path, (GREY + run) * 20, resolution)
    start = time.monotonic()
    with pytest.raises(ImageError, match="truncated or no image"):
        read_image(path)
    assert time.monotonic() - start < 20  # 800 million pixels, if they were laid out


@pytest.mark.parametrize("resolution", [b"-Y 1 +X 2", b"-Y 1 +X 2\r"])
def test_carriage_returns_and_comments_in_the_header(tmp_path: Path, resolution: bytes) -> None:
    header = b"#?RGBE\r\n# by hand\r\nFORMAT=32-bit_rle_rgbe\r\nEXPOSURE=2\r\n\r"
    image = read_image(save(tmp_path, GREY * 2, resolution, header))
    np.testing.assert_array_equal(image.pixels, np.full((1, 2, 3), 0.5))


@pytest.mark.parametrize(
    ("header", "resolution", "reason"),
    [
        (b"#?RADIANCE\n", b"-Y 1 +X 2", "has no FORMAT"),
        (b"#?RADIANCE\nFORMAT=jpeg\n", b"-Y 1 +X 2", "says FORMAT=jpeg"),
        (HEADER + b"EXPOSURE=0\n", b"-Y 1 +X 2", "EXPOSURE"),
        (HEADER + b"EXPOSURE=nan\n", b"-Y 1 +X 2", "EXPOSURE"),
        (HEADER + b"COLORCORR=1 2\n", b"-Y 1 +X 2", "COLORCORR"),
        (HEADER, b"-Y 1 +Y 2", "resolution line"),
        (HEADER, b"-Y -1 +X 2", "resolution line"),
        (HEADER, b"-Y 0 +X 2", "0 pixels"),
        (HEADER, b"-Y 1000000000 +X 1000000000", "the limit is"),
        (HEADER, b"-Y 19999 +X 20000", "truncated or no image"),
        (HEADER + b"#" * 1_000_000 + b"\n", b"-Y 1 +X 2", "header"),
    ],
)
def test_bad_headers_are_named(tmp_path: Path, header: bytes, resolution: bytes, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        read_image(save(tmp_path, GREY * 2, resolution, header))


@pytest.mark.parametrize(
    ("data", "width", "reason"),
    [
        (GREY * 5, 4, "truncated in scanline 1 of 2"),
        (bytes((2, 2, 0, 10)) + bytes((138, 0)) * 3 + b"\x0a\1\2", 10, "truncated in scanline 0"),
        (bytes((2, 2, 0, 10)) + bytes((139, 0)) * 4, 10, "scanline 0 of 2 has a run that passes its end"),
        (bytes((2, 2, 0, 10)) + bytes((0, 0)) * 4, 10, "run of length 0"),
        (bytes((2, 2, 0, 11)) + bytes((139, 0)) * 4, 10, "length of its own"),
        (bytes((1, 1, 1, 2)) * 2, 2, "begins with a run"),
        (GREY + bytes((1, 1, 1, 9)), 4, "passes its end"),
    ],
)
def test_damaged_scanlines_are_named(tmp_path: Path, data: bytes, width: int, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        read_image(save(tmp_path, data, b"-Y 2 +X %d" % width))


@settings(max_examples=60, deadline=None)
@given(
    arrays(
        np.float32,
        st.tuples(st.integers(1, 3), st.sampled_from([1, 7, 8, 9, 300]), st.just(3)),
        elements=st.floats(0, 2.0**100, width=32),
    )
)
def test_written_pixels_return_within_a_256th_of_their_largest_channel(
    tmp_path_factory: pytest.TempPathFactory, pixels: np.ndarray
) -> None:
    path = tmp_path_factory.mktemp("rgbe") / "x.hdr"
    write_image(path, pixels)
    again = read_image(path).pixels
    largest = pixels.max(axis=2, keepdims=True)
    normal = np.broadcast_to(largest > 1e-38, pixels.shape)
    assert np.all(np.abs(again - pixels)[normal] <= np.broadcast_to(largest / 256, pixels.shape)[normal])
    assert np.all(again[~normal] <= 1e-38)
    write_image(path, again)
    np.testing.assert_array_equal(read_image(path).pixels, again)


def test_a_channel_just_below_a_power_of_two_keeps_the_precision_of_the_others(tmp_path: Path) -> None:
    write_image(tmp_path / "x.hdr", np.array([[[1.9999, 1.0 + 1 / 128, 0.0]]], np.float32))
    np.testing.assert_array_equal(read_image(tmp_path / "x.hdr").pixels, [[[255 / 128, 129 / 128, 0.0]]])


def test_what_rgbe_cannot_hold(tmp_path: Path) -> None:
    path = tmp_path / "x.hdr"
    write_image(path, np.array([[[-1, 2, 3], [3e38, 0, 0]]], np.float32))
    np.testing.assert_array_equal(read_image(path).pixels, [[[0, 2, 3], [255 * 2.0**119, 0, 0]]])
    with pytest.raises(ImageError, match="NaN"):
        write_image(path, np.full((2, 2, 3), np.nan, np.float32))


def test_run_length_coding_shrinks_flat_areas(tmp_path: Path) -> None:
    write_image(tmp_path / "x.hdr", np.ones((64, 512, 3), np.float32))
    assert (tmp_path / "x.hdr").stat().st_size < 64 * 512 * 4 / 20


def test_metadata_goes_into_the_header(tmp_path: Path, hdr: np.ndarray) -> None:
    write_image(tmp_path / "x.hdr", hdr, metadata={"VIEWER": "Zoë", "steps": 3})
    metadata = read_image(tmp_path / "x.hdr").metadata
    assert (metadata["VIEWER"], metadata["steps"]) == ("Zoë", "3")
    with pytest.raises(ImageError, match="does not fit"):
        write_image(tmp_path / "x.hdr", hdr, metadata={"EXPOSURE": 2})
    with pytest.raises(ImageError, match="does not fit"):
        write_image(tmp_path / "x.hdr", hdr, metadata={"note": "two\nlines"})


def test_reading_a_training_image_is_quick(tmp_path: Path) -> None:
    path = tmp_path / "x.hdr"
    write_image(path, np.random.default_rng(0).gamma(1.0, 1.0, (384, 512, 3)).astype(np.float32))
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        read_image(path)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 1, "decoding has become slow: about 0.02 s is usual"


def test_agrees_with_openimageio_on_photographs(shared: Path) -> None:
    import OpenImageIO as oiio

    for path in sorted((shared / "data" / "open" / "hdr").glob("*.hdr"))[::8]:
        expected = oiio.ImageInput.open(str(path)).read_image("float")
        np.testing.assert_array_equal(read_image(path).pixels, expected, err_msg=path.name)
