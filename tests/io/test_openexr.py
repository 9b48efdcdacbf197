from __future__ import annotations

import os
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

from hdrlab.errors import ImageError
from hdrlab.io import probe_image, read_image, write_image
from hdrlab.io.openexr import COMPRESSIONS
from hdrlab.ops.colour_spaces import REC709, REC2020, XYZ, Primaries, conversion, convert, to_xyz, white_xyz

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


# ------------------------------------------------------------------------------- layers and colours


def layered(hdr: np.ndarray, *layers: str) -> Part:
    """One part with R, G, B in each layer, the n-th one n times as bright; "" has no prefix."""
    names = [f"{layer}.{channel}".lstrip(".") for layer in layers for channel in "RGB"]
    pixels = np.concatenate([hdr * (number + 1) for number in range(len(layers))], axis=2)
    return names, pixels, {}


@pytest.mark.parametrize(
    ("layers", "taken"),
    [
        (("AO", ""), 2),
        (("ViewLayer.AO", "ViewLayer.Combined", "ViewLayer.DiffCol"), 2),
        (("Composite.Combined", "ViewLayer.Combined"), 1),
        (("albedo", "beauty", "normal"), 2),
        (("diffuse", "rgb_beauty", "albedo"), 2),
        (("albedo", "normal", "RGBA"), 3),
        (("Ambient", "Main"), 2),
        (("only",), 1),
    ],
)
def test_the_image_among_layers(tmp_path: Path, hdr: np.ndarray, layers: Sequence[str], taken: int) -> None:
    image = read_image(save(tmp_path / "x.exr", layered(hdr, *layers)))
    np.testing.assert_array_equal(image.pixels, hdr * taken)
    assert bool(image.notes) == (len(layers) > 1)
    if image.notes:
        assert all((layer or "RGB") in image.notes[0] for layer in layers)
        assert "layer= chooses another" in image.notes[0]


def test_layers_without_an_image_among_them_are_listed(tmp_path: Path, hdr: np.ndarray) -> None:
    path = save(tmp_path / "x.exr", layered(hdr, "albedo", "normal"))
    with pytest.raises(ImageError, match="holds the layers albedo, normal: choose with layer="):
        read_image(path)
    np.testing.assert_array_equal(read_image(path, layer="normal").pixels, hdr * 2)


def test_a_layer_is_chosen_by_its_name_or_the_end_of_it(tmp_path: Path, hdr: np.ndarray) -> None:
    names, pixels, _ = layered(hdr, "ViewLayer.Combined", "ViewLayer.AO", "Other.AO", "Other.Mist")
    depth = hdr[..., :1] * 9
    path = save(tmp_path / "x.exr", ([*names, "ViewLayer.Depth.Z"], np.concatenate([pixels, depth], 2), {}))
    for layer, times in (("viewlayer.ao", 2), ("Other.AO", 3), ("mist", 4), ("Combined", 1)):
        image = read_image(path, layer=layer)
        np.testing.assert_array_equal(image.pixels, hdr * times)
        assert not image.notes
    np.testing.assert_array_equal(read_image(path, layer="Depth").pixels, depth.repeat(3, 2))
    listed = "Other.AO, Other.Mist, ViewLayer.AO, ViewLayer.Combined, ViewLayer.Depth"
    with pytest.raises(ImageError, match=f"layer=AO is several of its layers {listed}"):
        read_image(path, layer="AO")
    with pytest.raises(ImageError, match=f"layer=beauty is none of its layers {listed}"):
        read_image(path, layer="beauty")
    write_image(tmp_path / "x.hdr", hdr)
    with pytest.raises(ImageError, match="layer=AO: only OpenEXR files have layers"):
        read_image(tmp_path / "x.hdr", layer="AO")


def test_the_image_among_parts(tmp_path: Path, hdr: np.ndarray) -> None:
    def part(name: str, times: int, channels: Sequence[str] = ("R", "G", "B")) -> Part:
        return channels, hdr[..., : len(channels)] * times, {"oiio:subimagename": name}

    path = save(tmp_path / "x.exr", part("albedo", 2), part("beauty", 3), part("depth", 4, ["Z"]))
    image = read_image(path)
    np.testing.assert_array_equal(image.pixels, hdr * 3)
    assert "albedo, beauty" in image.notes[0]
    np.testing.assert_array_equal(read_image(path, layer="albedo").pixels, hdr * 2)
    np.testing.assert_array_equal(read_image(path, layer="depth").pixels, hdr[..., :1].repeat(3, 2) * 4)
    path = save(tmp_path / "x.exr", part("left", 2), part("right", 3))
    np.testing.assert_array_equal(read_image(path).pixels, hdr * 2)
    path = save(tmp_path / "x.exr", part("a", 2, ["diffuse.R", "diffuse.G", "diffuse.B"]), part("b", 3))
    np.testing.assert_array_equal(read_image(path).pixels, hdr * 3)
    combined = [f"ViewLayer.Combined.{channel}" for channel in "RGB"]
    path = save(tmp_path / "x.exr", part("AO", 2), part("ViewLayer", 3, combined))
    np.testing.assert_array_equal(read_image(path).pixels, hdr * 3)
    path = save(tmp_path / "x.exr", part("albedo", 2), part("specular", 3))
    with pytest.raises(ImageError, match="holds the layers albedo, specular: choose with layer="):
        read_image(path)


def test_names_of_channels_written_out(tmp_path: Path, hdr: np.ndarray) -> None:
    names = ["beauty.blue", "beauty.green", "beauty.red", "N.X", "N.Y", "N.Z"]
    path = save(tmp_path / "x.exr", (names, np.concatenate([hdr[..., ::-1], hdr * 2], 2), {}))
    np.testing.assert_array_equal(read_image(path).pixels, hdr)
    with pytest.raises(ImageError, match="layer=N is none of its layers beauty"):
        read_image(path, layer="N")


SPACES_READ = {
    "rec2020": Primaries((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), (0.3127, 0.3290)),
    "aces2065-1": Primaries((0.7347, 0.2653), (0.0, 1.0), (0.0001, -0.0770), (0.32168, 0.33767)),
    "prophoto": Primaries((0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001), (0.3457, 0.3585)),
    "xyz": Primaries((1.0, 0.0), (0.0, 1.0), (0.0, 0.0), (1 / 3, 1 / 3)),
}


@pytest.mark.parametrize("space", SPACES_READ)
def test_chromaticities_are_applied(tmp_path: Path, hdr: np.ndarray, space: str) -> None:
    openexr = pytest.importorskip("OpenEXR")
    primaries = SPACES_READ[space]
    wide = convert(hdr.astype(np.float64), np.linalg.inv(conversion(primaries))).astype(np.float32)
    with openexr.File({"chromaticities": tuple(primaries), "whiteLuminance": 80.0}, {"RGB": wide}) as file:
        file.write(str(tmp_path / "x.exr"))
    image = read_image(tmp_path / "x.exr")
    error = np.abs(image.pixels - hdr) / hdr.max(axis=2, keepdims=True).clip(1e-3)
    assert error.max() < 1e-3
    assert image.metadata["whiteLuminance"] == 80.0


def test_an_aces_container_is_in_aces2065(tmp_path: Path, hdr: np.ndarray) -> None:
    openexr = pytest.importorskip("OpenEXR")
    wide = convert(hdr.astype(np.float64), conversion(REC709, SPACES_READ["aces2065-1"])).astype(np.float32)
    with openexr.File({"acesImageContainerFlag": 1}, {"RGB": wide}) as file:
        file.write(str(tmp_path / "x.exr"))
    np.testing.assert_allclose(read_image(tmp_path / "x.exr").pixels, hdr, rtol=1e-3, atol=1e-3)


def test_an_adopted_neutral_becomes_white(tmp_path: Path) -> None:
    openexr = pytest.importorskip("OpenEXR")
    neutral = (0.4476, 0.4074)
    lamp = np.linalg.solve(to_xyz(REC709), white_xyz(neutral)).astype(np.float32)
    pixels = np.broadcast_to(lamp, (4, 4, 3)).copy()
    with openexr.File({"adoptedNeutral": np.array(neutral, np.float32)}, {"RGB": pixels}) as file:
        file.write(str(tmp_path / "x.exr"))
    np.testing.assert_allclose(read_image(tmp_path / "x.exr").pixels, 1, atol=1e-4)


def test_chromaticities_that_make_no_space_are_refused(tmp_path: Path, hdr: np.ndarray) -> None:
    openexr = pytest.importorskip("OpenEXR")
    with openexr.File({"chromaticities": (0.3,) * 8}, {"RGB": hdr}) as file:
        file.write(str(tmp_path / "x.exr"))
    with pytest.raises(ImageError, match="its colours cannot be converted"):
        read_image(tmp_path / "x.exr")


def test_grey_stays_grey_in_every_space(tmp_path: Path, hdr: np.ndarray) -> None:
    openexr = pytest.importorskip("OpenEXR")
    header = {"chromaticities": tuple(SPACES_READ["prophoto"])}
    with openexr.File(header, {"Y": np.ascontiguousarray(hdr[..., 0])}) as file:
        file.write(str(tmp_path / "x.exr"))
    np.testing.assert_array_equal(read_image(tmp_path / "x.exr").pixels, hdr[..., :1].repeat(3, 2))


def test_a_small_file_with_a_large_window_or_many_channels_is_refused(tmp_path: Path) -> None:
    fields = {"full_width": 20_000, "full_height": 15_000}
    path = save(tmp_path / "x.exr", (["R", "G", "B"], np.zeros((8, 8, 3), np.float32), fields))
    with pytest.raises(ImageError, match="is truncated or no image"):
        read_image(path)
    fields = {"full_width": 4000, "full_height": 2000}
    path = save(tmp_path / "x.exr", (["R", "G", "B"], np.zeros((8, 8, 3), np.float32), fields))
    assert read_image(path).shape == (2000, 4000, 3)
    path.write_bytes(by_hand([(f"c{number:03}", 1) for number in range(400)], 8, 8, 12_000) + bytes(200_000))
    with pytest.raises(ImageError, match=r"exceeds the|truncated or no image"):
        read_image(path)


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


def to_chroma(light: np.ndarray, space: Primaries = REC709) -> np.ndarray:
    """R, G, B -> Y, RY, BY as OpenEXR defines them."""
    luminance = light @ to_xyz(space)[1]
    red, blue = (light[..., c] / luminance - 1 for c in (0, 2))
    return np.stack([luminance, red, blue], axis=2).astype(np.float32)


def smooth() -> np.ndarray:
    """Light [20, 24, 3] of several stops whose colours change slowly."""
    y, x = np.mgrid[0:20, 0:24] / 20
    colours = np.stack([1 + x, 1.5 + y - x, 2 - y], axis=2)
    return (colours * np.exp2(4 * np.sin(5 * x + 3 * y))[..., None]).astype(np.float32)


@pytest.mark.parametrize("space", [REC709, REC2020])
@pytest.mark.parametrize("sampling", [1, 2])
def test_luminance_and_chroma(sampling: int, space: Primaries, tmp_path: Path) -> None:
    openexr = pytest.importorskip("OpenEXR")
    light, path = smooth(), tmp_path / "x.exr"
    planes = to_chroma(convert(light, conversion(REC709, space)), space)
    channels = {"Y": openexr.Channel(np.ascontiguousarray(planes[..., 0]))}
    for c, name in ((1, "RY"), (2, "BY")):
        # OpenEXR's Python wants a full array, of which it takes the first numbers as the sub-sampled ones.
        full, kept = np.zeros(planes.shape[:2], np.float32), planes[::sampling, ::sampling, c]
        full.ravel()[: kept.size] = kept.ravel()
        channels[name] = openexr.Channel(full, sampling, sampling)
    header = {"compression": openexr.NO_COMPRESSION, "chromaticities": tuple(space)}
    openexr.File(header, channels).write(str(path))
    row = [planes[2, ::sampling, 2], planes[2, ::sampling, 1], planes[2, :, 0]]
    assert np.concatenate(row).tobytes() in path.read_bytes()  # the layout that the format prescribes
    image = read_image(path)
    assert probe_image(path).width == image.shape[1] == 24
    assert image.metadata["channels"] == ("Y", "RY", "BY")
    inner = np.s_[: 21 - sampling, : 25 - sampling]  # no chroma lies behind the last row and column
    tolerance = 0.02 if sampling > 1 else 1e-4
    np.testing.assert_allclose(image.pixels[inner], light[inner], rtol=tolerance, atol=1e-3)


def test_sub_sampled_channels_off_the_display_window(tmp_path: Path, monkeypatch: Any) -> None:
    openexr = pytest.importorskip("OpenEXR")
    path, planes = tmp_path / "é.exr", np.full((4, 6), 0.5, np.float32)
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe"))
    header = {"compression": openexr.ZIP_COMPRESSION}
    header |= {"dataWindow": (np.int32([2, -2]), np.int32([7, 1]))}
    header |= {"displayWindow": (np.int32([0, 0]), np.int32([9, 3]))}
    channels = {"Y": openexr.Channel(planes)}
    channels |= {name: openexr.Channel(planes * 0, 2, 2) for name in ("RY", "BY")}
    openexr.File(header, channels).write(str(path))
    wanted = np.zeros((4, 10, 3), np.float32)
    wanted[:2, 2:8] = 0.5
    np.testing.assert_allclose(read_image(path).pixels, wanted, atol=1e-6)
    path.rename(odd)
    np.testing.assert_allclose(read_image(odd).pixels, wanted, atol=1e-6)
    odd.rename(path)
    whole = path.read_bytes()
    for kept in (len(whole) - 40, len(whole) // 2, 100):
        path.write_bytes(whole[:kept])
        with pytest.raises(ImageError, match=r"truncated|damaged|EXR"):
            read_image(path)
    path.write_bytes(whole.replace(b"BY\0", b"B\xcd\0"))
    with pytest.raises(ImageError, match="not valid UTF-8"):
        read_image(path)
    path.write_bytes(whole)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImageError, match=r"need an extra: pip install 'hdrlab\[exr\]'"):
        read_image(path)


@pytest.mark.parametrize("neutral", [None, (0.34567, 0.35850)])
def test_xyz(neutral: tuple[float, float] | None, tmp_path: Path, hdr: np.ndarray) -> None:
    openexr = pytest.importorskip("OpenEXR")
    matrix = np.linalg.inv(conversion(XYZ, REC709, neutral=neutral))
    planes = convert(hdr, matrix).astype(np.float32)
    channels = {name: np.ascontiguousarray(planes[..., c]) for c, name in enumerate("XYZ")}
    header = {} if neutral is None else {"adoptedNeutral": np.array(neutral, np.float32)}
    openexr.File(header, channels).write(str(tmp_path / "x.exr"))
    image = read_image(tmp_path / "x.exr")
    assert image.metadata["converted"]
    np.testing.assert_allclose(image.pixels, hdr, rtol=1e-3, atol=1e-6 * hdr.max())


def test_vectors_are_no_colours(tmp_path: Path, hdr: np.ndarray) -> None:
    """Normals beside the image, in a layer or a part of their own."""
    both = np.concatenate([hdr, hdr + 1], axis=2)
    path = save(tmp_path / "layer.exr", (["N.X", "N.Y", "N.Z", "R", "G", "B"], both, {}))
    np.testing.assert_array_equal(read_image(path).pixels, hdr + 1)
    parts = [
        (["X", "Y", "Z"], hdr, {"oiio:subimagename": "N"}),
        (["R", "G", "B"], hdr + 1, {"oiio:subimagename": "lit"}),
    ]
    np.testing.assert_array_equal(read_image(save(tmp_path / "part.exr", *parts)).pixels, hdr + 1)
    alone = save(tmp_path / "alone.exr", (["N.X", "N.Y", "N.Z"], hdr, {}))
    with pytest.raises(ImageError, match="has neither R, G, B nor a single channel"):
        read_image(alone)


def test_channels_that_are_no_image_are_listed(tmp_path: Path, hdr: np.ndarray) -> None:
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


def test_layers_lie_beside_the_image(tmp_path: Path, hdr: np.ndarray) -> None:
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
