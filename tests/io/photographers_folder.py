"""A folder as a photographer has it: one scene in many formats, under odd names, among companions."""

from __future__ import annotations

import os
import struct
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from colour_files import chrm, iccp, png, samples_in
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL.TiffImagePlugin import IFDRational

from hdrlab.io import write_image
from hdrlab.io.colour_profiles import build_profile
from hdrlab.io.ultrahdr import Base, write_ultrahdr
from hdrlab.ops.colour import srgb_encode
from hdrlab.ops.colour_spaces import (
    ADOBE_RGB,
    P3,
    REC709,
    REC2020,
    XYZ,
    conversion,
    convert,
    pq_encode,
)

PATCH = 16
_TURNS: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    1: lambda image: image,
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.swapaxes(0, 1),
    6: lambda image: np.rot90(image),
    7: lambda image: np.rot90(image, 2).swapaxes(0, 1),
    8: lambda image: np.rot90(image, -1),
}
"""How a camera that is held in an orientation stores an upright image."""


def chart() -> NDArray[np.float32]:
    """Linear Rec. 709 patches [64, 96, 3], all different, none clipped."""
    colours = np.random.default_rng(3).uniform(0.03, 0.7, (4, 6, 3))
    colours[0] *= np.eye(3).repeat(2, 0) * 0.8 + 0.2  # saturated ones
    return colours.repeat(PATCH, 0).repeat(PATCH, 1).astype(np.float32)


CHART = chart()
LIGHT = CHART * np.float32(4)
"""The same scene as HDR files hold it; 1 is diffuse white."""


@dataclass
class Made:
    """What was made.

    Attributes:
        photographs: Names of those that show the chart as sRGB sees it.
        hdr_photographs: Names of photographs that are HDR already.
        hdr: Names of HDR images, those photographs among them, with their value of diffuse white.
        broken: Names of images that cannot be read.
        companions: Names of files that are no images.
        raw: Names of raw files beside a camera's JPEG.
    """

    photographs: list[str] = field(default_factory=list)
    hdr_photographs: list[str] = field(default_factory=list)
    hdr: dict[str, float] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    companions: list[str] = field(default_factory=list)
    raw: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many files there are."""
        kinds = (self.photographs, self.hdr, self.broken, self.companions, self.raw)
        return sum(map(len, kinds))


def eight(primaries: Any = REC709, encode: Any = srgb_encode) -> NDArray[np.uint8]:
    """The chart in 8 bits of a space."""
    return samples_in(CHART, primaries, encode, 255)


def sixteen(primaries: Any = REC709, encode: Any = srgb_encode) -> NDArray[np.uint16]:
    """The chart in 16 bits of a space."""
    return samples_in(CHART, primaries, encode, 65535)


def gamma(exponent: float) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """The curve that a gamma inverts."""
    return lambda light: light ** (1 / exponent)


def exif(orientation: int = 1, *, adobe: bool = False) -> PillowImage.Exif:
    """What a camera says: exposure, owner, place."""
    said = PillowImage.Exif()
    said[0x0112], said[0x010F], said[0x0110] = orientation, "Maker", "Model X"
    said[0x8298] = "© A. Photographer".encode()
    details = said.get_ifd(0x8769)
    details[0x829A], details[0x829D] = IFDRational(1, 250), IFDRational(28, 10)
    details[0x8827], details[0x9003] = 400, "2024:05:06 07:08:09"
    details[0xA001] = 65535 if adobe else 1
    if adobe:
        details[0xA005] = {1: "R03"}
    place = said.get_ifd(0x8825)
    place[1], place[2] = "N", (IFDRational(48), IFDRational(30), IFDRational(0))
    place[3], place[4] = "E", (IFDRational(9), IFDRational(15), IFDRational(0))
    return said


def make(folder: Path) -> Made:
    """Fill a folder with some 60 files."""
    made = Made()
    _photographs(folder, made)
    _odd_names(folder, made)
    _hdr(folder, made)
    _others(folder, made)
    return made


def _jpeg(path: Path, pixels: NDArray[Any], **more: Any) -> str:
    PillowImage.fromarray(np.ascontiguousarray(pixels)).save(path, "JPEG", quality=97, subsampling=0, **more)
    return path.name


def _photographs(folder: Path, made: Made) -> None:
    p3 = build_profile("p3", "srgb")
    made.photographs += [
        _jpeg(folder / "DSC_0001.JPG", eight(), exif=exif()),
        _jpeg(folder / "_DSC0002.JPG", eight(ADOBE_RGB, gamma(563 / 256)), exif=exif(adobe=True)),
        *(
            _jpeg(folder / f"IMG_10{turn}.jpeg", _TURNS[turn](eight(P3)), icc_profile=p3, exif=exif(turn))
            for turn in range(1, 9)
        ),
        _jpeg(folder / "progressive.jpg", eight(), progressive=True),
    ]
    adobe_icc = build_profile("rec2020", "srgb")
    files = {
        "web_p3.png": png(eight(P3), {b"cICP": bytes((12, 13, 0, 1)), b"iCCP": iccp(adobe_icc)}),
        "scan_16.png": png(sixteen(P3), {b"iCCP": iccp(p3)}),
        "render_linear.png": png(sixteen(REC709, lambda light: light), {b"gAMA": struct.pack(">I", 100000)}),
        "old_mac.png": png(
            sixteen(REC2020, gamma(1.8)), {b"gAMA": struct.pack(">I", 55556), b"cHRM": chrm(REC2020)}
        ),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    tifffile.imwrite(
        folder / "export.tif", sixteen(REC2020), photometric="rgb", iccprofile=adobe_icc, metadata=None
    )
    PillowImage.fromarray(eight()).save(folder / "cutout.png")
    made.photographs += [*files, "export.tif", "cutout.png"]
    try:
        import pillow_heif
    except ImportError:
        return
    image = pillow_heif.from_bytes("RGB", (CHART.shape[1], CHART.shape[0]), eight(P3).tobytes())
    said = {"color_primaries": 12, "transfer_characteristics": 13, "matrix_coefficients": 6}
    image.save(folder / "IMG_0003.HEIC", quality=98, chroma=444, full_range_flag=1, **said)
    made.photographs.append("IMG_0003.HEIC")


def _odd_names(folder: Path, made: Made) -> None:
    names = (
        *("IMG_0001 (1).jpg", "photo[1].jpg", "100% #1 = a,b.jpg", 'it\'s {so} "odd"; $HOME.jpg'),
        *("Été à la plage.jpg", unicodedata.normalize("NFD", "Müller & Söhne.jpg"), "写真.jpg", "фото.jpg"),
        *("صورة.jpg", "🌅.jpg", "-dash.jpg", "é" * 110 + ".jpg", os.fsdecode(b"caf\xe9.jpg")),
        *("without_suffix", "UPPER.JPE"),
    )
    made.photographs += [_jpeg(folder / name, eight()) for name in names]
    below = folder / "2024-05 Urlaub"
    below.mkdir()
    _jpeg(below / "DSC_0001.JPG", eight())
    made.photographs.append("2024-05 Urlaub/DSC_0001.JPG")


def _hdr(folder: Path, made: Made) -> None:
    wide = convert(LIGHT, conversion(REC709, REC2020)).astype(np.float32)
    write_image(folder / "render.exr", LIGHT)
    write_image(folder / "render_2020.exr", wide, colorspace="rec2020")
    write_image(folder / "probe.hdr", wide, colorspace="rec2020")
    write_image(folder / "linear.tif", wide, colorspace="rec2020")
    write_image(folder / "plain.pfm", LIGHT)
    made.hdr |= dict.fromkeys(("render.exr", "render_2020.exr", "probe.hdr", "linear.tif", "plain.pfm"), 1.0)
    xyz = np.maximum(convert(LIGHT, conversion(REC709, XYZ)), 0)
    exponent = np.ceil(np.log2(xyz.max(axis=2, keepdims=True) * 1.0001)).astype(int)
    rgbe = np.concatenate([np.rint(np.ldexp(xyz, 8 - exponent)).clip(0, 255), exponent + 128], axis=2)
    head = (
        f"#?RADIANCE\n\tEXPOSURE=9\nEXPOSURE=1\nFORMAT=32-bit_rle_xyze\n\n-Y {len(xyz)} +X {xyz.shape[1]}\n"
    )
    (folder / "luminance.pic").write_bytes(head.encode() + rgbe.astype(np.uint8).tobytes())
    made.hdr["luminance.pic"] = 1.0
    white = samples_in(np.minimum(LIGHT, 1), P3, srgb_encode, 255)
    write_ultrahdr(folder / "PXL_2024.jpg", LIGHT, Base.of_pixels(white, "p3", 97), shrink=1, channels=3)
    write_ultrahdr(folder / "phone_half.jpg", LIGHT, Base.of_pixels(eight(P3), "p3", 97), shrink=2)
    pq = np.rint(pq_encode(wide * np.float32(203)) * 65535).astype(np.uint16)
    (folder / "screenshot_hdr.png").write_bytes(png(pq, {b"cICP": bytes((9, 16, 0, 1))}))
    made.hdr |= {"PXL_2024.jpg": 1.0, "phone_half.jpg": 1.0, "screenshot_hdr.png": 203.0}
    made.hdr_photographs += ["PXL_2024.jpg", "phone_half.jpg", "screenshot_hdr.png"]


def _others(folder: Path, made: Made) -> None:
    whole = (folder / "DSC_0001.JPG").read_bytes()
    (folder / "broken.jpg").write_bytes(whole[:1200])
    (folder / "empty.jpg").touch()
    made.broken += ["broken.jpg", "empty.jpg"]
    (folder / "DSC_0001.NEF").write_bytes(b"II*\0" + bytes(200))
    made.raw.append("DSC_0001.NEF")
    companions = (
        *("IMG_0003.AAE", "IMG_101.jpeg.xmp", "IMG_0003.MOV", "Thumbs.db", "desktop.ini", ".DS_Store"),
        *("._DSC_0001.JPG", "__MACOSX/._DSC_0001.JPG", "notes.txt"),
    )
    (folder / "__MACOSX").mkdir()
    for name in companions:
        (folder / name).write_bytes(b"something")
    made.companions += companions
