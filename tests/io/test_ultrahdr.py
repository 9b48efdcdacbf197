from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as PillowImage

from hdrlab.io import ImageError, read_image
from hdrlab.io.ultrahdr import OFFSET, check_ultrahdr, read_ultrahdr, write_ultrahdr

Pair = tuple[NDArray[np.float32], NDArray[np.uint8]]
BRIGHTEST = 10_000 / 203  # libultrahdr, which OpenImageIO reads with, stops at 10,000 cd/m²


def encode(x_lin: NDArray[np.float32]) -> NDArray[np.uint8]:
    x_lin = x_lin.clip(0, 1)
    x_srgb = np.where(x_lin <= 0.0031308, 12.92 * x_lin, 1.055 * x_lin ** (1 / 2.4) - 0.055)
    return np.rint(255 * x_srgb).astype(np.uint8)


@pytest.fixture(scope="module")
def pair() -> Pair:
    """Waves and a coloured lamp of 40 times the white [48, 80, 3], and their clipped photograph."""
    y, x = np.mgrid[0:48, 0:80] / 48
    waves = np.stack([0.5 + 0.5 * np.sin(3 * x + c) * np.cos(4 * y + c) for c in range(3)], -1) ** 2
    lamp = 40 * np.exp(-60 * ((x - 0.5) ** 2 + (y - 0.5) ** 2))[..., None] * [1, 0.8, 0.4]
    hdr = (waves + lamp).astype(np.float32)
    return hdr, encode(hdr)


def stops_off(read: NDArray[np.float32], hdr: NDArray[np.float32]) -> NDArray[np.float32]:
    off: NDArray[np.float32] = np.abs(np.log2((read + OFFSET) / (hdr + OFFSET)))
    return off


def test_what_was_written_is_read(pair: Pair, tmp_path: Path) -> None:
    hdr, base = pair
    coding = write_ultrahdr(tmp_path / "a.jpg", hdr, base, metadata={"scale": "relative"})
    read = read_ultrahdr(tmp_path / "a.jpg")
    level = (coding.GainMapMax - coding.GainMapMin) / 255
    assert np.percentile(stops_off(read.pixels, hdr), 99) < 4 * level
    assert read.pixels.max() == pytest.approx(hdr.max(), rel=0.05)
    check_ultrahdr(tmp_path / "a.jpg", hdr)


def test_another_program_reads_the_same_light(pair: Pair, tmp_path: Path) -> None:
    import OpenImageIO as oiio

    hdr, base = pair
    write_ultrahdr(tmp_path / "a.jpg", hdr, base)
    source = oiio.ImageInput.open(str(tmp_path / "a.jpg"))
    assert str(source.spec().format) == "half"
    theirs = source.read_image("float")[..., :3]
    source.close()
    ours = read_ultrahdr(tmp_path / "a.jpg").pixels.clip(0, BRIGHTEST)
    assert ours.max() > 39
    assert stops_off(theirs, ours).max() < 0.04


def test_an_ordinary_viewer_sees_the_photograph(pair: Pair, tmp_path: Path) -> None:
    hdr, base = pair
    write_ultrahdr(tmp_path / "a.jpg", hdr, base)
    image = read_image(tmp_path / "a.jpg")
    assert image.metadata["gain_map"] == "ignored, this is the base picture"
    assert np.abs(image.pixels.astype(int) - base).mean() < 1.5
    with PillowImage.open(tmp_path / "a.jpg") as picture:
        assert picture.size == (80, 48)


def test_the_container_counts_its_bytes_right(pair: Pair, tmp_path: Path) -> None:
    hdr, base = pair
    coding = write_ultrahdr(tmp_path / "a.jpg", hdr, base)
    data = (tmp_path / "a.jpg").read_bytes()
    length = int(re.findall(rb'Item:Length="(\d+)"', data)[0])
    gain_map = data[-length:]
    assert gain_map.startswith(b"\xff\xd8\xff")
    assert data[-length - 2 : -length] == b"\xff\xd9"
    assert data[data.index(b"MPF\0") + 4 :].startswith(b"MM\0*")
    entries = data.index(b"0100") + 4 + 24 + 4
    sizes = [int.from_bytes(data[entries + 16 * i + 4 : entries + 16 * i + 8]) for i in range(2)]
    assert sizes == [len(data) - length, length]
    offset = int.from_bytes(data[entries + 24 : entries + 28])
    assert data.index(b"MPF\0") + 4 + offset == len(data) - length
    assert f'hdrgm:GainMapMax="{coding.GainMapMax:.9g}"'.encode() in gain_map


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0, 500.0])
def test_flat_pictures(value: float, tmp_path: Path) -> None:
    hdr = np.full((16, 24, 3), value, np.float32)
    write_ultrahdr(tmp_path / "a.jpg", hdr, encode(hdr))
    np.testing.assert_allclose(read_ultrahdr(tmp_path / "a.jpg").pixels, hdr, rtol=0.01, atol=0.001)
    check_ultrahdr(tmp_path / "a.jpg", hdr)


def test_noise_stays_within_what_is_promised(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    hdr = np.exp2(rng.uniform(-8, 6, (64, 64, 3))).astype(np.float32)
    write_ultrahdr(tmp_path / "a.jpg", hdr, rng.integers(0, 256, hdr.shape).astype(np.uint8), quality=80)
    check_ultrahdr(tmp_path / "a.jpg", hdr)


def test_the_check_sees_another_picture(pair: Pair, tmp_path: Path) -> None:
    hdr, base = pair
    write_ultrahdr(tmp_path / "a.jpg", hdr, base)
    with pytest.raises(ImageError, match="of its values are off"):
        check_ultrahdr(tmp_path / "a.jpg", hdr * np.float32(1.3))


def test_damaged_and_other_files_are_refused(pair: Pair, tmp_path: Path) -> None:
    hdr, base = pair
    write_ultrahdr(tmp_path / "a.jpg", hdr, base)
    data = (tmp_path / "a.jpg").read_bytes()
    PillowImage.fromarray(base).save(tmp_path / "plain.jpg")
    with pytest.raises(ImageError, match="is no Ultra HDR picture"):
        read_ultrahdr(tmp_path / "plain.jpg")
    for name, content in {
        "cut": data[: len(data) // 3],
        "early": data[:300],
        "late": data[:-800],
        "nothing": b"",
        "coding": data.replace(b"hdrgm:GainMapMax", b"hdrgm:GainMapXXX"),
        "number": re.sub(rb'(GainMapMax=")[^"]*', rb"\g<1>1-2", data),
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ImageError):
            read_ultrahdr(tmp_path / name)


def test_unfit_pictures_are_refused(pair: Pair, tmp_path: Path) -> None:
    hdr, base = pair
    for wrong_hdr, wrong_base, said in (
        (hdr - 1, base, "from 0 on"),
        (hdr * np.float32(np.inf), base, "finite"),
        (hdr, base[:-1], "as large as the picture"),
        (hdr, base.astype(np.uint16), "uint8"),
    ):
        with pytest.raises(ImageError, match=said):
            write_ultrahdr(tmp_path / "a.jpg", wrong_hdr, wrong_base)
    assert not list(tmp_path.iterdir())
