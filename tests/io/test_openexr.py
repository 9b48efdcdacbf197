from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import OpenImageIO as oiio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hdrlab.io import ImageError, probe_image, read_image, write_image
from hdrlab.io.openexr import COMPRESSIONS

LOSSY = {"b44", "b44a", "dwaa", "dwab"}
Part = tuple[Sequence[str], np.ndarray, Mapping[str, Any]]


def save(path: Path, *parts: Part) -> Path:
    """Writes parts (channel names, pixels, attributes of the spec) with OpenImageIO itself."""
    specs = []
    for names, pixels, fields in parts:
        height, width, channels = pixels.shape
        spec = oiio.ImageSpec(width, height, channels, {"f": "float", "u": "uint32"}[pixels.dtype.kind])
        spec.channelnames = tuple(names)
        for field, value in fields.items():
            if hasattr(spec, field):
                setattr(spec, field, value)
            else:
                spec.attribute(field, value)
        specs.append(spec)
    target = oiio.ImageOutput.create(str(path))
    assert target.open(str(path), specs) if len(specs) > 1 else target.open(str(path), specs[0])
    for index, (spec, (_, pixels, _)) in enumerate(zip(specs, parts, strict=True)):
        assert index == 0 or target.open(str(path), spec, "AppendSubimage")
        assert target.write_image(pixels), target.geterror()
    assert target.close()
    return path


def by_hand(channels: Sequence[tuple[str, int]], width: int, height: int, window: int) -> bytes:
    """An uncompressed half file of zeros: (name, sub-sampling) per channel; `window` is the declared side."""

    def attribute(name: str, kind: str, value: bytes) -> bytes:
        return name.encode() + b"\0" + kind.encode() + b"\0" + struct.pack("<i", len(value)) + value

    listed = b"".join(name.encode() + b"\0" + struct.pack("<iB3xii", 1, 0, s, s) for name, s in channels)
    box = struct.pack("<4i", 0, 0, window - 1, window - 1)
    header = b"\x76\x2f\x31\x01\2\0\0\0" + b"".join(
        (
            attribute("channels", "chlist", listed + b"\0"),
            attribute("compression", "compression", b"\0"),
            attribute("dataWindow", "box2i", box),
            attribute("displayWindow", "box2i", box),
            attribute("lineOrder", "lineOrder", b"\0"),
            attribute("pixelAspectRatio", "float", struct.pack("<f", 1.0)),
            attribute("screenWindowCenter", "v2f", bytes(8)),
            attribute("screenWindowWidth", "float", struct.pack("<f", 1.0)),
            b"\0",
        )
    )
    rows = [bytes(sum(2 * (width // s) for _, s in channels if y % s == 0)) for y in range(height)]
    chunks = [struct.pack("<ii", y, len(row)) + row for y, row in enumerate(rows)]
    starts = np.cumsum([len(header) + 8 * height, *map(len, chunks[:-1])]).astype("<u8")
    return header + starts.tobytes() + b"".join(chunks)


@settings(max_examples=30, deadline=None)
@given(
    arrays(
        np.float32,
        st.tuples(st.integers(1, 20), st.integers(1, 20), st.sampled_from([1, 3])),
        elements=st.floats(allow_nan=False, allow_infinity=False, width=32),
    )
)
def test_float_bits_return(tmp_path_factory: pytest.TempPathFactory, pixels: np.ndarray) -> None:
    path = tmp_path_factory.mktemp("exr") / "x.exr"
    write_image(path, pixels, half=False)
    again = read_image(path).pixels
    np.testing.assert_array_equal(again.view(np.uint32), np.broadcast_to(pixels, again.shape).view(np.uint32))


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_every_compression_returns_half_precision(tmp_path: Path, hdr: np.ndarray, compression: str) -> None:
    path = tmp_path / "x.exr"
    write_image(path, hdr, compression=compression)
    image = read_image(path)
    assert (image.domain, image.format) == ("linear", "exr")
    assert image.metadata["compression"].startswith(compression)
    if compression in LOSSY:
        # These spread the error of a whole block, so only the smooth part is near.
        np.testing.assert_allclose(image.pixels[:4], 0.5, rtol=0.05)
    else:
        np.testing.assert_array_equal(image.pixels, hdr.astype(np.float16).astype(np.float32))


def test_values_above_the_half_range_keep_float32(tmp_path: Path, hdr: np.ndarray) -> None:
    path = tmp_path / "x.exr"
    for brightest, exact in ((65504.0, False), (65505.0, True)):
        pixels = hdr.copy()
        pixels[0, 0, 0] = brightest
        write_image(path, pixels)
        again = read_image(path).pixels
        assert again.max() == brightest
        assert np.array_equal(again, pixels) is exact


def test_one_channel_becomes_grey(tmp_path: Path, hdr: np.ndarray) -> None:
    image = read_image(save(tmp_path / "x.exr", (["Z"], hdr[..., :1], {})))
    np.testing.assert_array_equal(image.pixels, np.broadcast_to(hdr[..., :1], hdr.shape))


def test_alpha_and_other_channels_are_dropped_and_named(tmp_path: Path, hdr: np.ndarray) -> None:
    wide = np.concatenate([hdr, hdr[..., :2] + 9], axis=2)
    image = read_image(save(tmp_path / "x.exr", (["R", "G", "B", "A", "Z"], wide, {})))
    np.testing.assert_array_equal(image.pixels, hdr)
    assert image.metadata["channels_dropped"] == ("A", "Z")


def test_channels_that_lie_apart_and_in_a_layer(tmp_path: Path, hdr: np.ndarray) -> None:
    names = ["Z", "light.B", "light.G", "light.M", "light.R"]
    wide = np.stack([hdr[..., 0] + 9, hdr[..., 2], hdr[..., 1], hdr[..., 0] + 5, hdr[..., 0]], axis=2)
    image = read_image(save(tmp_path / "x.exr", (names, wide, {})))
    np.testing.assert_array_equal(image.pixels, hdr)


def test_whole_number_channels_keep_their_numbers(tmp_path: Path) -> None:
    openexr = pytest.importorskip("OpenEXR")  # OpenImageIO writes no whole numbers
    numbers = np.arange(2 * 3 * 3, dtype=np.uint32).reshape(2, 3, 3) * 1000
    with openexr.File({}, {"RGB": numbers}) as file:
        file.write(str(tmp_path / "x.exr"))
    np.testing.assert_array_equal(read_image(tmp_path / "x.exr").pixels, numbers)


def test_the_first_part_with_colour_is_read(tmp_path: Path, hdr: np.ndarray) -> None:
    depth = (["Z"], hdr[..., :1], {"oiio:subimagename": "depth"})
    beauty = (["R", "G", "B"], hdr * 2, {"oiio:subimagename": "beauty"})
    path = save(tmp_path / "x.exr", depth, beauty)
    np.testing.assert_array_equal(read_image(path).pixels, hdr * 2)


def test_tiles(tmp_path: Path, hdr: np.ndarray) -> None:
    path = save(tmp_path / "x.exr", (["R", "G", "B"], hdr, {"tile_width": 16, "tile_height": 16}))
    np.testing.assert_array_equal(read_image(path).pixels, hdr)


@pytest.mark.parametrize(("x", "y"), [(5, 3), (-7, -2), (30, 10), (-50, 0), (0, 100)])
def test_the_data_window_lies_in_the_display_window(tmp_path: Path, hdr: np.ndarray, x: int, y: int) -> None:
    fields = {"x": x, "y": y, "full_x": 0, "full_y": 0, "full_width": 20, "full_height": 12}
    path = save(tmp_path / "x.exr", (["R", "G", "B"], hdr, fields))
    canvas = np.zeros((300, 300, 3), np.float32)
    canvas[100 + y : 124 + y, 100 + x : 140 + x] = hdr
    np.testing.assert_array_equal(read_image(path).pixels, canvas[100:112, 100:120])
    info = probe_image(path)
    assert (info.height, info.width) == (12, 20)


def test_a_display_window_that_starts_elsewhere(tmp_path: Path, hdr: np.ndarray) -> None:
    fields = {"x": 10, "y": 20, "full_x": 10, "full_y": 20, "full_width": 40, "full_height": 24}
    path = save(tmp_path / "x.exr", (["R", "G", "B"], hdr, fields))
    np.testing.assert_array_equal(read_image(path).pixels, hdr)


def test_deep_data_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.exr"
    spec = oiio.ImageSpec(4, 4, 1, "float")
    spec.channelnames, spec.deep = ("Z",), True
    data = oiio.DeepData()
    data.init(spec)
    target = oiio.ImageOutput.create(str(path))
    assert target.open(str(path), spec)
    assert target.write_deep_image(data)
    assert target.close()
    with pytest.raises(ImageError, match="deep data, which is unsupported"):
        read_image(path)


def test_sub_sampled_chroma_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.exr"
    path.write_bytes(by_hand([("BY", 2), ("RY", 2), ("Y", 1)], 8, 8, 8))
    with pytest.raises(ImageError, match="ubsampled channels are not supported"):
        read_image(path)


def test_channels_that_are_no_picture_are_listed(tmp_path: Path, hdr: np.ndarray) -> None:
    path = save(tmp_path / "x.exr", (["U", "V"], hdr[..., :2], {}))
    with pytest.raises(ImageError, match="U, V"):
        read_image(path)


def test_truncation_is_found_wherever_it_is(tmp_path: Path, hdr: np.ndarray) -> None:
    path = tmp_path / "x.exr"
    write_image(path, hdr, compression="zips")
    whole = path.read_bytes()
    for length in range(4, len(whole) - 1, 97):
        path.write_bytes(whole[:length])
        with pytest.raises(ImageError):
            read_image(path)


def test_a_size_that_the_file_cannot_hold_is_refused_before_decoding(tmp_path: Path) -> None:
    path = tmp_path / "x.exr"
    path.write_bytes(by_hand([("B", 1), ("G", 1), ("R", 1)], 8, 8, 5_000))
    with pytest.raises(ImageError, match="truncated: 5000 rows"):
        read_image(path)
    with pytest.raises(ImageError, match="the limit is 1000"):
        read_image(path, max_pixels=1000)


def test_layers_lie_beside_the_picture(tmp_path: Path, hdr: np.ndarray) -> None:
    path = tmp_path / "x.exr"
    write_image(path, hdr, half=False, layers={"mask": hdr[..., 0], "linear": hdr * 2})
    source = oiio.ImageInput.open(str(path))
    names, pixels = source.spec().channelnames, source.read_image("float")
    assert set(names) == {"R", "G", "B", "mask.Y", "linear.R", "linear.G", "linear.B"}
    np.testing.assert_array_equal(pixels[..., names.index("mask.Y")], hdr[..., 0])
    np.testing.assert_array_equal(pixels[..., names.index("linear.B")], hdr[..., 2] * 2)
    np.testing.assert_array_equal(read_image(path).pixels, hdr)
    with pytest.raises(ImageError, match="layer 'mask'"):
        write_image(path, hdr, layers={"mask": hdr[:3, :, 0]})


def test_metadata_keeps_its_types(tmp_path: Path, hdr: np.ndarray) -> None:
    write_image(tmp_path / "x.exr", hdr, metadata={"scene": "Zoë", "steps": 3, "gain": 1.5, "big": 2**40})
    metadata = read_image(tmp_path / "x.exr").metadata
    assert [metadata[key] for key in ("scene", "steps", "gain", "big")] == ["Zoë", 3, 1.5, str(2**40)]


def test_an_unknown_compression_is_refused(tmp_path: Path, hdr: np.ndarray) -> None:
    with pytest.raises(ImageError, match="'zstd' is not one of none, rle"):
        write_image(tmp_path / "x.exr", hdr, compression="zstd")
    assert not list(tmp_path.iterdir())


def test_agrees_with_the_openexr_library_on_photographs(shared: Path) -> None:
    openexr = pytest.importorskip("OpenEXR")
    for path in sorted((shared / "data" / "open" / "hdr").glob("*.exr"))[::6]:
        with openexr.File(str(path)) as file:
            expected = file.channels()["RGB"].pixels.astype(np.float32)
        np.testing.assert_array_equal(read_image(path).pixels, expected, err_msg=path.name)
