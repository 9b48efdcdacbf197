from __future__ import annotations

import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage
from PIL import ImageCms

from hdrlab.errors import ImageError
from hdrlab.io import probe_image, read_image, write_image
from hdrlab.ops.colour import srgb_decode

EXIF_ORIENTATION = 0x0112


def as_pillow_reads(path: Path) -> np.ndarray:
    with PillowImage.open(path) as image:
        return np.array(image.convert("RGB"))


def gamma_profile(gamma: float, swap_red_and_green: bool = False) -> bytes:
    """A display profile with sRGB primaries and a plain gamma."""

    def s15(value: float) -> bytes:
        return struct.pack(">i", round(value * 65536))

    def xyz(*values: float) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(map(s15, values))

    red, green = xyz(0.43607, 0.22249, 0.01392), xyz(0.38515, 0.71687, 0.09708)
    if swap_red_and_green:
        red, green = green, red
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    name = b"Test gamma\0"
    description = b"desc\0\0\0\0" + struct.pack(">I", len(name)) + name + bytes(78 + 1)
    tags = {
        b"desc": description,
        b"cprt": b"text\0\0\0\0none\0\0\0\0",
        b"wtpt": xyz(0.9642, 1.0, 0.8249),
        b"rXYZ": red,
        b"gXYZ": green,
        b"bXYZ": xyz(0.14307, 0.06061, 0.71410),
        b"rTRC": curve,
        b"gTRC": curve,
        b"bTRC": curve,
    }
    table, body, offset = b"", b"", 128 + 4 + 12 * len(tags)
    for tag, value in tags.items():
        value += bytes(-len(value) % 4)
        table += struct.pack(">4sII", tag, offset + len(body), len(value))
        body += value
    size = offset + len(body)
    header = struct.pack(">I4sI4s4s4s", size, b"lcms", 0x02100000, b"mntr", b"RGB ", b"XYZ ")
    header += bytes(12) + b"acsp" + bytes(28) + s15(0.9642) + s15(1.0) + s15(0.8249)
    return header + bytes(128 - len(header)) + struct.pack(">I", len(tags)) + table + body


@pytest.mark.parametrize(
    ("suffix", "mode"),
    [(".jpg", "RGB"), (".jpg", "L"), *((".png", mode) for mode in ("RGB", "L", "P", "RGBA", "LA", "1"))],
)
def test_eight_bit_modes_become_rgb(tmp_path: Path, photo: np.ndarray, mode: str, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    PillowImage.fromarray(photo).convert(mode).save(path)
    loaded = read_image(path)
    assert (loaded.domain, loaded.dtype, loaded.shape) == ("display", np.uint8, (24, 40, 3))
    assert loaded.format == {".png": "png", ".jpg": "jpeg"}[suffix]
    np.testing.assert_array_equal(loaded.pixels, as_pillow_reads(path))
    assert ("alpha" in loaded.metadata) == ("A" in mode)


def test_alpha_does_not_touch_the_colours(tmp_path: Path, photo: np.ndarray) -> None:
    alpha = np.full((24, 40, 1), 3, np.uint8)
    PillowImage.fromarray(np.concatenate([photo, alpha], axis=2)).save(tmp_path / "x.png")
    np.testing.assert_array_equal(read_image(tmp_path / "x.png").pixels, photo)


@pytest.mark.parametrize("kind", [0, 2, 4, 6])
def test_sixteen_bit_png_keeps_its_bits(tmp_path: Path, photo: np.ndarray, kind: int) -> None:
    """PNG colour types 0, 2, 4, 6: grey, RGB, grey and alpha, RGB and alpha; made by hand."""
    colours = 1 if kind in (0, 4) else 3
    pixels = photo[..., :colours].astype(np.uint16) * 257 + 3
    alpha = np.full((24, 40, int(kind >= 4)), 777, np.uint16)
    rows = np.concatenate([pixels, alpha], axis=2).astype(">u2").reshape(24, -1).view(np.uint8)
    filtered = np.pad(rows, ((0, 0), (1, 0))).tobytes()
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", 40, 24, 16, kind, 0, 0, 0)),
        (b"IDAT", zlib.compress(filtered)),
        (b"IEND", b""),
    ]
    data = b"\x89PNG\r\n\x1a\n"
    for name, body in chunks:
        data += struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    path = tmp_path / "x.png"
    path.write_bytes(data)
    loaded = read_image(path)
    assert loaded.dtype == np.uint16
    np.testing.assert_array_equal(loaded.pixels, np.broadcast_to(pixels, (24, 40, 3)))
    assert ("alpha" in loaded.metadata) == (kind >= 4)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_exif_behind_the_pixels_of_a_png_counts(tmp_path: Path, photo: np.ndarray, dtype: str) -> None:
    path = tmp_path / "x.png"
    write_image(path, np.rot90(photo).astype(dtype))
    assert b"eXIf" not in path.read_bytes()
    exif = PillowImage.Exif()
    exif[EXIF_ORIENTATION] = 6
    content = b"eXIf" + exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))
    data = path.read_bytes()
    path.write_bytes(data[:-12] + chunk + data[-12:])
    np.testing.assert_array_equal(read_image(path).pixels, photo)
    assert probe_image(path).height == photo.shape[0]


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(
    tmp_path: Path, photo: np.ndarray, orientation: int, suffix: str
) -> None:
    path = tmp_path / f"x{suffix}"
    exif = PillowImage.Exif()
    exif[EXIF_ORIENTATION] = orientation
    PillowImage.fromarray(photo).save(path, exif=exif)
    from PIL import ImageOps

    with PillowImage.open(path) as image:
        expected = np.array(ImageOps.exif_transpose(image))
    loaded = read_image(path)
    np.testing.assert_array_equal(loaded.pixels, expected)
    assert loaded.metadata["orientation"] == orientation
    assert loaded.pixels.flags.c_contiguous
    info = probe_image(path)
    assert (info.height, info.width, info.domain) == (*expected.shape[:2], "display")


def test_cmyk_jpeg_becomes_rgb(tmp_path: Path, photo: np.ndarray) -> None:
    path = tmp_path / "x.jpg"
    PillowImage.fromarray(photo).convert("CMYK").save(path, quality=95)
    assert np.abs(read_image(path).pixels.astype(int) - photo).max() < 30


def test_a_foreign_profile_is_converted_to_srgb(tmp_path: Path, photo: np.ndarray) -> None:
    for suffix in (".png", ".tif"):
        path = tmp_path / f"x{suffix}"
        PillowImage.fromarray(photo).save(path, icc_profile=gamma_profile(1.0))
        loaded = read_image(path)
        linear = photo / 255.0
        expected = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055) * 255
        assert np.abs(loaded.pixels - expected).max() < 3
        assert loaded.metadata["colour"] == "Test gamma (ICC profile)"
        swapped = gamma_profile(2.2, swap_red_and_green=True)
        PillowImage.fromarray(photo).save(path, icc_profile=swapped)
        assert np.abs(read_image(path).pixels[..., [1, 0, 2]].astype(int) - photo).max() < 12


def test_an_srgb_profile_leaves_the_pixels_alone(tmp_path: Path, photo: np.ndarray) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    PillowImage.fromarray(photo).save(tmp_path / "x.png", icc_profile=profile)
    loaded = read_image(tmp_path / "x.png")
    np.testing.assert_array_equal(loaded.pixels, photo)
    assert loaded.metadata["colour"] == "sRGB built-in (ICC profile)"


@pytest.mark.parametrize("profile", [b"rubbish", gamma_profile(1.0)[:200]])
def test_an_unusable_profile_is_ignored_and_noted(tmp_path: Path, photo: np.ndarray, profile: bytes) -> None:
    PillowImage.fromarray(photo).save(tmp_path / "x.png", icc_profile=profile)
    loaded = read_image(tmp_path / "x.png")
    np.testing.assert_array_equal(loaded.pixels, photo)
    assert loaded.notes == ("holds a damaged profile, which was not applied",)


def test_a_grey_jpeg_takes_the_curve_of_an_rgb_profile(tmp_path: Path, photo: np.ndarray) -> None:
    path = tmp_path / "x.jpg"
    PillowImage.fromarray(photo[..., 0]).save(path, icc_profile=gamma_profile(1.0), quality=100)
    light = read_image(path).pixels / 255
    assert np.abs(srgb_decode(light) - photo[..., :1] / 255).max() < 0.02


def test_an_ultra_hdr_jpeg_gives_its_base_image(tmp_path: Path, photo: np.ndarray) -> None:
    base, gain = BytesIO(), BytesIO()
    xmp = b'<x:xmpmeta><rdf:Description hdrgm:Version="1.0"/></x:xmpmeta>'
    PillowImage.fromarray(photo).save(base, "JPEG", quality=95, xmp=xmp)
    PillowImage.fromarray(photo[::2, ::2, 0]).save(gain, "JPEG")
    path = tmp_path / "x.jpg"
    path.write_bytes(base.getvalue() + gain.getvalue())
    loaded = read_image(path)
    assert (loaded.dtype, loaded.shape, loaded.format) == (np.uint8, (24, 40, 3), "jpeg")
    assert "base image" in loaded.metadata["gain_map"]
    np.testing.assert_array_equal(loaded.pixels, as_pillow_reads(path))


@pytest.mark.parametrize(("suffix", "dtype"), [(".jpg", np.uint8), (".png", np.uint8), (".png", np.uint16)])
def test_truncation_is_found(tmp_path: Path, suffix: str, dtype: Any) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(dtype)
    path = tmp_path / f"x{suffix}"
    write_image(path, noise)
    whole = path.read_bytes()
    for share in (0.1, 0.5, 0.9):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(ImageError, match=r"x\.(jpg|png): "):
            read_image(path)


def test_decompression_bombs_are_refused_on_the_header(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    idat = zlib.compress(bytes(1000))
    body = struct.pack(">I", len(idat)) + b"IDAT" + idat + struct.pack(">I", zlib.crc32(b"IDAT" + idat))
    path = tmp_path / "x.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + body)
    for function in (read_image, probe_image):
        with pytest.raises(ImageError, match="60000 × 60000 pixels, the limit is"):
            function(path)


def test_a_jpeg_that_declares_more_than_it_can_hold_is_refused(tmp_path: Path, photo: np.ndarray) -> None:
    path = tmp_path / "x.jpg"
    write_image(path, photo)
    declared, more = struct.pack(">HH", 24, 40), struct.pack(">HH", 2400, 4000)
    path.write_bytes(path.read_bytes().replace(declared, more, 1))
    with pytest.raises(ImageError, match="4000 × 2400 pixels do not fit in"):
        read_image(path)


def test_a_flat_image_is_not_taken_for_a_truncated_one(tmp_path: Path) -> None:
    for name in ("x.jpg", "x.png"):
        write_image(tmp_path / name, np.full((2000, 2000, 1), 255, np.uint8), quality=1)
        assert read_image(tmp_path / name).pixels.min() == 255


def test_an_image_above_pillows_own_limit_is_read(
    tmp_path: Path, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_image(tmp_path / "x.png", photo)
    monkeypatch.setattr(PillowImage, "MAX_IMAGE_PIXELS", 100)
    assert read_image(tmp_path / "x.png").shape == (24, 40, 3)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_png_returns_every_bit(tmp_path: Path, dtype: Any, channels: int) -> None:
    pixels = np.random.default_rng(1).integers(0, np.iinfo(dtype).max + 1, (9, 11, channels)).astype(dtype)
    write_image(tmp_path / "x.png", pixels, metadata={"scene": "a"})
    loaded = read_image(tmp_path / "x.png")
    np.testing.assert_array_equal(loaded.pixels, np.broadcast_to(pixels, (9, 11, 3)))
    assert loaded.metadata["Comment"] == '{"scene": "a"}'


def test_jpeg_quality_and_comment(tmp_path: Path, photo: np.ndarray) -> None:
    sizes = []
    for quality in (10, 95):
        write_image(tmp_path / "x.jpg", photo, quality=quality, metadata={"scene": "a"})
        sizes.append((tmp_path / "x.jpg").stat().st_size)
    loaded = read_image(tmp_path / "x.jpg")
    assert sizes[0] < sizes[1]
    assert loaded.metadata["comment"] == '{"scene": "a"}'
    assert np.abs(loaded.pixels.astype(int) - photo).mean() < 3
    with pytest.raises(ImageError, match="quality 0"):
        write_image(tmp_path / "x.jpg", photo, quality=0)
    with pytest.raises(ImageError, match="uint8, not uint16"):
        write_image(tmp_path / "x.jpg", photo.astype(np.uint16))
