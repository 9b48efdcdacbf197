"""Camera raw: DNG files of known light, developed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from colour_files import tiff

from hdrlab.errors import ImageError
from hdrlab.io import probe_image, read_hdr, read_photograph
from hdrlab.io.image import turn_upright
from hdrlab.io.metadata import read_metadata
from hdrlab.ops.colour import srgb_decode
from hdrlab.ops.colour_spaces import REC709, REC2020, Primaries, conversion, convert, to_xyz

pytest.importorskip("rawpy")
PATCH, BLACK, WHITE = 24, 512, 15_872
NEUTRAL = np.array([0.5, 1.0, 0.65])
"""What the camera sees of a grey: the white balance is to undo it."""


def chart() -> np.ndarray:
    """Light [72, 96, 3] in patches, all different, within Rec. 709."""
    colours = np.random.default_rng(5).uniform(0.05, 0.9, (3, 4, 3))
    return colours.repeat(PATCH, 0).repeat(PATCH, 1)


def fractions(values: Any) -> tuple[int, ...]:
    return tuple(int(part) for value in np.ravel(values) for part in (round(float(value) * 10_000), 10_000))


def dng(
    light: np.ndarray, *, primaries: Primaries = REC709, orientation: int = 1, linear: bool = False
) -> bytes:
    """Light [H, W, 3] as a sensor with the given primaries sees it: through a Bayer mosaic, or `linear`."""
    height, width, _ = light.shape
    levels = np.rint(BLACK + light * NEUTRAL * (WHITE - BLACK)).clip(0, WHITE).astype("<u2")
    if not linear:
        mosaic = levels[..., 1].copy()
        mosaic[::2, ::2], mosaic[1::2, 1::2] = levels[::2, ::2, 0], levels[1::2, 1::2, 2]
        levels = mosaic[..., None]
    channels = levels.shape[2]
    to_camera = np.diag(NEUTRAL) @ np.linalg.inv(to_xyz(primaries))
    tags: dict[int, Any] = {
        254: (4, (0,)),
        256: (4, (width,)),
        257: (4, (height,)),
        258: (3, (16,) * channels),
        259: (3, (1,)),
        262: (3, (34892 if linear else 32803,)),
        271: (2, (b"Maker\0",)),
        272: (2, (b"Camera\0",)),
        274: (3, (orientation,)),
        277: (3, (channels,)),
        278: (4, (height,)),
        279: (4, (levels.nbytes,)),
        284: (3, (1,)),
        33432: (2, (b"me\0",)),
        50706: (1, (1, 4, 0, 0)),
        50707: (1, (1, 1, 0, 0)),
        50708: (2, (b"Maker Camera\0",)),
        50714: (4, (BLACK,) * channels),
        50717: (4, (WHITE,) * channels),
        50721: (10, fractions(to_camera)),
        50728: (5, fractions(NEUTRAL)),
        50778: (3, (21,)),
    }
    if not linear:
        tags |= {33421: (3, (2, 2)), 33422: (1, (0, 1, 1, 2))}
    return tiff(tags, levels.tobytes())


def centres(pixels: np.ndarray) -> np.ndarray:
    """The middle of each patch, where no neighbour shines in."""
    return pixels[PATCH // 2 :: PATCH, PATCH // 2 :: PATCH]


@pytest.mark.parametrize("linear", [False, True])
def test_colours_are_those_of_the_scene(linear: bool, tmp_path: Path) -> None:
    (tmp_path / "a.dng").write_bytes(dng(chart() * 0.9, linear=linear))
    image = read_photograph(tmp_path / "a.dng")
    info = probe_image(tmp_path / "a.dng")
    assert (image.format, image.pixels.dtype) == ("raw", np.uint16)
    assert (info.height, info.width) == image.shape[:2] == (72, 96)
    light = srgb_decode(image.pixels / np.float32(65535))
    np.testing.assert_allclose(centres(light), centres(chart() * 0.9), rtol=0.02, atol=0.005)


def test_wide_colours_are_kept_if_asked_for(tmp_path: Path) -> None:
    """Of a sensor as wide as Rec. 2020 whose patches lie outside Rec. 709."""
    numbers = np.arange(12).reshape(3, 4).repeat(PATCH, 0).repeat(PATCH, 1)
    wide = chart() * (numbers[..., None] % 3 == np.arange(3)) + 0.02
    (tmp_path / "a.dng").write_bytes(dng(wide, primaries=REC2020))
    image = read_photograph(tmp_path / "a.dng", keep_outside=True)
    assert image.outside is not None
    light = srgb_decode(image.pixels / np.float32(65535)) + image.outside.astype(np.float32)
    found = convert(light, conversion(REC709, REC2020))
    np.testing.assert_allclose(centres(found), centres(wide), rtol=0.03, atol=0.02)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_it_comes_out_upright(orientation: int, tmp_path: Path) -> None:
    (tmp_path / "a.dng").write_bytes(dng(chart(), orientation=orientation))
    image = read_photograph(tmp_path / "a.dng")
    wanted = turn_upright(chart(), orientation)
    info = probe_image(tmp_path / "a.dng")
    assert (info.height, info.width) == image.shape[:2] == wanted.shape[:2]
    light = srgb_decode(image.pixels / np.float32(65535))
    np.testing.assert_allclose(centres(light), centres(wanted), rtol=0.02, atol=0.005)


def test_metadata_and_errors(tmp_path: Path) -> None:
    whole = dng(chart())
    (tmp_path / "a.dng").write_bytes(whole)
    assert read_metadata(tmp_path / "a.dng").attributes()["owner"] == "me"
    with pytest.raises(ImageError, match=r"camera raw photograph: .*hdrlab.reconstruct"):
        read_hdr(tmp_path / "a.dng")
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.dng")
    Path(odd).write_bytes(whole)
    assert read_photograph(odd).shape == (probe_image(odd).height, probe_image(odd).width, 3)
    (tmp_path / "cut.dng").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ImageError):
        read_photograph(tmp_path / "cut.dng")
    with pytest.raises(ImageError, match="the limit is 100"):
        read_photograph(tmp_path / "a.dng", max_pixels=100)
