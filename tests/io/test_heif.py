"""HEIC, AVIF and JPEG XL: their colours, their bits, what is HDR, and which way up."""

from __future__ import annotations

import io
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from colour_files import matrix_profile, parametric, samples_in
from PIL import Image as PillowImage

from hdrlab.errors import ImageError, install
from hdrlab.io import probe_image, read_hdr, read_image, read_photograph
from hdrlab.io.heif import brand_of
from hdrlab.ops.colour import srgb_encode
from hdrlab.ops.colour_spaces import P3, REC709, REC2020, pq_encode

SRGB_CURVE = parametric(3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
MOST = {8: 255, 10: 1023, 12: 4095, 16: 65535}


@pytest.fixture(scope="session")
def smooth() -> np.ndarray:
    """Linear Rec. 709 [48, 64, 3], each corner different."""
    y, x = np.mgrid[0:48, 0:64] / 64
    return np.stack([0.05 + 0.9 * x, 0.05 + 0.9 * y, 0.9 - 0.6 * x], axis=2)


def as_avif(samples: np.ndarray, bits: int, primaries: int, transfer: int) -> bytes:
    codecs = pytest.importorskip("imagecodecs")
    data = codecs.avif_encode(
        samples,
        level=100,
        speed=10,
        bitspersample=bits,
        pixelformat="444",
        primaries=primaries,
        transfer=transfer,
        matrix=1,
    )
    return bytes(data)


def as_heic(samples: np.ndarray, bits: int, primaries: int, transfer: int, icc: bytes = b"") -> bytes:
    pillow_heif = pytest.importorskip("pillow_heif")
    height, width, _ = samples.shape
    mode = "RGB" if bits == 8 else "RGB;16"
    shifted = samples if bits == 8 else samples.astype(np.uint16) << (16 - bits)
    image = pillow_heif.from_bytes(mode=mode, size=(width, height), data=shifted.tobytes())
    if icc:
        image.info["icc_profile"], image.info["icc_profile_type"] = icc, "prof"
    stream = io.BytesIO()
    points = {"color_primaries": primaries, "transfer_characteristics": transfer, "matrix_coefficients": 1}
    image.save(stream, quality=-1, chroma="444", bit_depth=bits, **({} if icc else points))
    return stream.getvalue()


def as_jxl(samples: np.ndarray, bits: int, primaries: int, transfer: int) -> bytes:
    import OpenImageIO as oiio

    height, width, channels = samples.shape
    full = samples if bits == 8 else np.rint(samples * (65535 / MOST[bits])).astype(np.uint16)
    spec = oiio.ImageSpec(width, height, channels, str(full.dtype))
    spec.attribute("CICP", "int[4]", (primaries, transfer, 0, 1))
    path = Path(as_jxl.folder) / "w.jxl"  # type: ignore[attr-defined]
    target = oiio.ImageOutput.create("jpegxl")
    assert target.open(str(path), spec)
    assert target.write_image(full)
    assert target.close()
    return path.read_bytes()


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path) -> None:
    as_jxl.folder = tmp_path  # type: ignore[attr-defined]


WRITERS = {"heic": as_heic, "avif": as_avif, "jxl": as_jxl}


@pytest.mark.parametrize("bits", [8, 10, 12])
@pytest.mark.parametrize(
    ("primaries", "code"), [(REC709, 1), (P3, 12), (REC2020, 9)], ids=["709", "P3", "2020"]
)
@pytest.mark.parametrize("kind", WRITERS)
def test_code_points_and_bits(
    tmp_path: Path, smooth: np.ndarray, kind: str, primaries: Any, code: int, bits: int
) -> None:
    samples = samples_in(smooth, primaries, srgb_encode, MOST[bits])
    path = tmp_path / "x.bin"
    path.write_bytes(WRITERS[kind](samples, bits, code, 13))
    loaded = read_photograph(path)
    assert (loaded.format, loaded.domain, loaded.shape) == (kind, "display", (48, 64, 3))
    assert loaded.dtype == (np.uint8 if bits == 8 else np.uint16)
    error = np.abs(loaded.pixels / np.iinfo(loaded.dtype).max - srgb_encode(smooth))
    assert error.max() < (0.03 if bits == 8 else 0.012), error.max()
    assert error.mean() < 1.2 / MOST[bits], error.mean() * MOST[bits]
    info = probe_image(path)
    assert (info.width, info.height, info.domain, info.format) == (64, 48, "display", kind)


@pytest.mark.parametrize("kind", WRITERS)
def test_pq_is_light_in_candelas(tmp_path: Path, smooth: np.ndarray, kind: str) -> None:
    light = smooth * 1500
    samples = samples_in(light, REC2020, pq_encode, 1023)
    path = tmp_path / "x.bin"
    path.write_bytes(WRITERS[kind](samples, 10, 9, 16))
    for loaded in (read_image(path), read_hdr(path), read_photograph(path)):
        assert (loaded.domain, loaded.metadata["hdr"]) == ("linear", "PQ")
        error = np.abs(loaded.pixels - light) / light.max(axis=2, keepdims=True)
        assert np.quantile(error, 0.99) < 0.05
        assert np.median(error) < 0.01
    assert probe_image(path).domain == "linear"


@pytest.mark.parametrize("kind", WRITERS)
def test_hlg_is_light_in_candelas(tmp_path: Path, kind: str) -> None:
    samples = np.full((32, 32, 3), round(0.75 * 1023), np.uint16)
    path = tmp_path / "x.bin"
    path.write_bytes(WRITERS[kind](samples, 10, 9, 18))
    loaded = read_hdr(path)
    np.testing.assert_allclose(loaded.pixels, 203, rtol=0.02)
    assert loaded.metadata["hdr"] == "HLG"


def test_a_profile_of_a_heic_file(tmp_path: Path, smooth: np.ndarray) -> None:
    samples = samples_in(smooth, P3, srgb_encode, 1023)
    path = tmp_path / "x.heic"
    path.write_bytes(as_heic(samples, 10, 1, 13, matrix_profile(P3, SRGB_CURVE, "any name")))
    loaded = read_photograph(path)
    assert loaded.metadata["colour"] == "any name (ICC profile)"
    assert np.abs(loaded.pixels / 65535 - srgb_encode(smooth)).max() < 0.012


def test_floats_of_jpeg_xl_are_light(tmp_path: Path, hdr: np.ndarray) -> None:
    import OpenImageIO as oiio

    spec = oiio.ImageSpec(40, 24, 3, "float")
    target = oiio.ImageOutput.create("jpegxl")
    assert target.open(str(tmp_path / "x.jxl"), spec)
    assert target.write_image(hdr)
    assert target.close()
    loaded = read_hdr(tmp_path / "x.jxl")
    np.testing.assert_allclose(loaded.pixels, hdr, rtol=0.02, atol=hdr.max() / 1e4)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_avif_is_turned_as_its_boxes_say(tmp_path: Path, photo: np.ndarray, orientation: int) -> None:
    """Pillow writes Exif's orientation as irot and imir."""
    pytest.importorskip("imagecodecs")
    from PIL import ImageOps, features

    if not features.check("avif"):
        pytest.skip("this Pillow writes no AVIF")
    exif = PillowImage.Exif()
    exif[0x0112] = orientation
    PillowImage.fromarray(photo).save(tmp_path / "x.avif", exif=exif, quality=100, subsampling="4:4:4")
    with PillowImage.open(tmp_path / "x.avif") as image:
        expected = np.array(ImageOps.exif_transpose(image))
    loaded = read_image(tmp_path / "x.avif")
    assert loaded.shape == expected.shape
    assert np.abs(loaded.pixels.astype(int) - expected).max() <= 3
    info = probe_image(tmp_path / "x.avif")
    assert (info.height, info.width) == expected.shape[:2]


def test_a_profile_of_an_avif_file(tmp_path: Path, smooth: np.ndarray) -> None:
    pytest.importorskip("imagecodecs")
    samples = samples_in(smooth, P3, srgb_encode, 255)
    icc = matrix_profile(P3, SRGB_CURVE)
    PillowImage.fromarray(samples).save(
        tmp_path / "x.avif", icc_profile=icc, quality=100, subsampling="4:4:4"
    )
    loaded = read_photograph(tmp_path / "x.avif")
    assert loaded.metadata["colour"] == "test (ICC profile)"
    assert np.abs(loaded.pixels / 255 - srgb_encode(smooth)).max() < 0.05


@pytest.mark.parametrize("kind", WRITERS)
def test_truncation_is_found(tmp_path: Path, smooth: np.ndarray, kind: str) -> None:
    samples = samples_in(smooth, REC709, srgb_encode, 255)
    whole = WRITERS[kind](samples, 8, 1, 13)
    path = tmp_path / "x.bin"
    for share in (0.02, 0.1, 0.3, 0.6, 0.9):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(ImageError):
            read_image(path)


def test_declared_sizes_are_refused_before_decoding(tmp_path: Path, smooth: np.ndarray) -> None:
    whole = as_avif(samples_in(smooth, REC709, srgb_encode, 255), 8, 1, 13)
    path = tmp_path / "x.avif"
    extent = struct.pack(">II", 64, 48)
    path.write_bytes(whole.replace(extent, struct.pack(">II", 60_000, 60_000)))
    with pytest.raises(ImageError, match="60000 × 60000 pixels, the limit is"):
        read_image(path)
    path.write_bytes(whole.replace(extent, struct.pack(">II", 15_000, 15_000)))
    with pytest.raises(ImageError, match="truncated or no image"):
        read_image(path)


def test_brands() -> None:
    def head(*brands: bytes) -> bytes:
        return (
            struct.pack(">I", 8 + 4 * len(brands) + 4) + b"ftyp" + brands[0] + bytes(4) + b"".join(brands[1:])
        )

    assert brand_of(head(b"avif", b"mif1")) == "avif"
    assert brand_of(head(b"mif1", b"avif")) == "avif"
    assert brand_of(head(b"heic", b"mif1")) == "heic"
    assert brand_of(head(b"mif1", b"heic")) == "heic"
    assert brand_of(head(b"isom", b"mp42")) == ""
    assert brand_of(b"") == ""


def test_missing_extras_are_named(
    tmp_path: Path, smooth: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    samples = samples_in(smooth, REC709, srgb_encode, 255)
    for kind, extra in (("heic", "heic"), ("avif", "codecs")):
        (tmp_path / f"x.{kind}").write_bytes(WRITERS[kind](samples, 8, 1, 13))
        with monkeypatch.context() as patch:
            patch.setattr(importlib.util, "find_spec", lambda name: None)
            with pytest.raises(ImageError, match=re.escape(install(extra))):
                read_image(tmp_path / f"x.{kind}")


def test_an_avif_that_declares_no_colours_says_so(tmp_path: Path) -> None:
    codecs = pytest.importorskip("imagecodecs")
    data = codecs.avif_encode(
        np.full((16, 16, 3), 700, np.uint16), bitspersample=10, primaries=9, transfer=16
    )
    (tmp_path / "declared.avif").write_bytes(data)
    assert read_image(tmp_path / "declared.avif").domain == "linear"
    (tmp_path / "silent.avif").write_bytes(data.replace(b"colr", b"free"))
    image = read_image(tmp_path / "silent.avif")
    assert image.domain == "display"
    assert any("declares no colours (colr), so it is taken as sRGB" in note for note in image.notes)
