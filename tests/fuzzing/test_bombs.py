"""Small files that would take much memory or time, read at the package's own limits."""

from __future__ import annotations

import gzip
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from colour_files import tiff
from PIL import Image as PillowImage
from records import field, masked_crc

from fuzzing.harness import Reader
from hdrlab.io import write_image
from hdrlab.io.image import DEFAULT_MAX_PIXELS
from hdrlab.io.ultrahdr import write_ultrahdr

BOMBS: dict[str, tuple[str, str, Callable[[Path], bytes]]] = {}
"""Kind and name of each file, and what makes it."""

SIDE = 19_000
GIGABYTE = 1 << 30


def bomb(kind: str, name: str) -> Callable[[Callable[[Path], bytes]], Callable[[Path], bytes]]:
    def keep(make: Callable[[Path], bytes]) -> Callable[[Path], bytes]:
        BOMBS[make.__name__] = kind, name, make
        return make

    return keep


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    with Reader(pixels=DEFAULT_MAX_PIXELS) as one:
        yield one


# --------------------------------------------------------------------------------------------------- images


def _image(place: Path, suffix: str, **options: object) -> bytes:
    light = suffix in (".exr", ".hdr", ".pfm")
    write_image(place / f"plain{suffix}", np.zeros((16, 16, 3), np.float32 if light else np.uint8), **options)
    return (place / f"plain{suffix}").read_bytes()


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _deflated(size: int) -> bytes:
    """Zeros, packed as densely as can be."""
    packer, parts = zlib.compressobj(9), []
    for _ in range(size >> 20):
        parts.append(packer.compress(bytes(1 << 20)))
    return b"".join(parts) + packer.flush()


@bomb("radiance", "x.hdr")
def radiance_runs(_: Path) -> bytes:
    return b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 1 +X 400000000\n" + b"\1\1\1\xff" * 1000


@bomb("radiance", "x.hdr")
def radiance_header(_: Path) -> bytes:
    return b"#?RADIANCE\n" + b"EXPOSURE=1e-300\n" * 60_000 + b"FORMAT=32-bit_rle_rgbe\n\n-Y 1 +X 1\n\1\1\1\1"


@bomb("ultrahdr", "x.jpg")
def ultra_hdr_gain_map(place: Path) -> bytes:
    write_ultrahdr(place / "plain.jpg", np.ones((16, 16, 3), np.float32), np.zeros((16, 16, 3), np.uint8))
    data = (place / "plain.jpg").read_bytes()
    second = data.index(b"\xff\xd8\xff", 4)
    at = second + data[second:].index(b"\xff\xc0\0") + 5
    return data[:at] + struct.pack(">HH", SIDE, SIDE) + data[at + 4 :]


@bomb("ultrahdr", "x.jpg")
def ultra_hdr_base(place: Path) -> bytes:
    write_ultrahdr(place / "plain.jpg", np.ones((16, 16, 3), np.float32), np.zeros((16, 16, 3), np.uint8))
    data = (place / "plain.jpg").read_bytes()
    at = data.index(b"\xff\xc0\0") + 5
    return data[:at] + struct.pack(">HH", SIDE, SIDE) + data[at + 4 :]


@bomb("jpeg", "x.jpg")
def xmp_entities(place: Path) -> bytes:
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
    text = f'<!DOCTYPE x [<!ENTITY e0 "lol">{entities}]><x:xmpmeta xmlns:x="adobe:ns:meta/">&e9;</x:xmpmeta>'
    body = b"http://ns.adobe.com/xap/1.0/\0" + text.encode()
    data = _image(place, ".jpg")
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]


@bomb("jpeg", "x.jpg")
def jpeg_many_scans(place: Path) -> bytes:
    """A progressive image of a few thousand empty scans."""
    PillowImage.new("RGB", (1000, 1000)).save(place / "p.jpg", progressive=True)
    data = (place / "p.jpg").read_bytes()
    start = data.rindex(b"\xff\xda")
    return data[:start] + data[start:-2] * 3000 + data[-2:]


@bomb("jpeg", "x.jpg")
def jpeg_segments(place: Path) -> bytes:
    data = _image(place, ".jpg")
    return data[:2] + b"\xff\xe2\0\2" * 20_000 + data[2:]


def _exr_with(data: bytes, name: bytes, body: bytes) -> bytes:
    at = data.index(name)
    size_at = at + len(name)
    (size,) = struct.unpack_from("<i", data, size_at)
    return data[:size_at] + struct.pack("<i", len(body)) + body + data[size_at + 4 + size :]


@bomb("openexr", "x.exr")
def exr_display_window(place: Path) -> bytes:
    box = struct.pack("<4i", 0, 0, SIDE, SIDE)
    return _exr_with(_image(place, ".exr"), b"displayWindow\0box2i\0", box)


@bomb("openexr", "x.exr")
def exr_data_window(place: Path) -> bytes:
    box = struct.pack("<4i", 0, 0, SIDE, SIDE)
    return _exr_with(_image(place, ".exr"), b"dataWindow\0box2i\0", box)


@bomb("openexr", "x.exr")
def exr_tiles(place: Path) -> bytes:
    """One tile of two thousand million pixels' side, and an image of sixteen."""
    data = bytearray(_image(place, ".exr"))
    data[5] |= 2
    end = data.index(b"\0", data.index(b"screenWindowWidth\0float\0") + 28)
    tiles = b"tiles\0tiledesc\0" + struct.pack("<iIIB", 9, 1 << 30, 1 << 30, 0)
    return bytes(data[:end] + tiles + data[end:])


@bomb("openexr", "x.exr")
def exr_deep(place: Path) -> bytes:
    data = bytearray(_image(place, ".exr"))
    data[5] |= 8
    end = data.index(b"\0", data.index(b"screenWindowWidth\0float\0") + 28)
    kind = (
        b"type\0string\0"
        + struct.pack("<i", 12)
        + b"deepscanline"
        + b"version\0int\0"
        + struct.pack("<ii", 4, 1)
    )
    most = b"maxSamplesPerPixel\0int\0" + struct.pack("<ii", 4, (1 << 31) - 1)
    return bytes(data[:end] + kind + most + data[end:])


@bomb("openexr", "x.exr")
def exr_attribute(place: Path) -> bytes:
    data = _image(place, ".exr")
    return data[:8] + b"comments\0string\0" + struct.pack("<i", (1 << 31) - 1) + data[8:]


@bomb("tiff", "x.tif")
def tiff_strip(_: Path) -> bytes:
    sides = {256: (4, (16,)), 257: (4, (16,)), 258: (3, (8,)), 259: (3, (1,)), 262: (3, (1,)), 277: (3, (1,))}
    return tiff({**sides, 278: (4, (0xFFFFFFFF,)), 279: (4, (0xFFFFFFFF,))}, bytes(256))


@bomb("tiff", "x.tif")
def tiff_deflated_strip(_: Path) -> bytes:
    strip = _deflated(GIGABYTE)
    sides = {256: (4, (16,)), 257: (4, (16,)), 258: (3, (8,)), 259: (3, (8,)), 262: (3, (1,)), 277: (3, (1,))}
    return tiff({**sides, 278: (4, (16,)), 279: (4, (len(strip),))}, strip)


@bomb("tiff", "x.tif")
def tiff_loop(place: Path) -> bytes:
    """A directory that is followed by itself."""
    data = bytearray(_image(place, ".tif"))
    (at,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, at)
    struct.pack_into("<I", data, at + 2 + 12 * count, at)
    return bytes(data)


@bomb("tiff", "x.tif")
def tiff_pages(place: Path) -> bytes:
    made = io.BytesIO()
    with tifffile.TiffWriter(made) as file:
        for _ in range(3000):
            file.write(np.zeros((1, 1), np.uint8))
    return made.getvalue()


@bomb("tiff", "x.tif")
def tiff_counts(place: Path) -> bytes:
    """Every entry claims two thousand million values."""
    data = bytearray(_image(place, ".tif"))
    (at,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, at)
    for number in range(count):
        tag = struct.unpack_from("<H", data, at + 2 + 12 * number)[0]
        if tag not in (256, 257, 258, 259, 262, 273, 277, 278, 279):
            struct.pack_into("<I", data, at + 6 + 12 * number, 0x7FFFFFFF)
    return bytes(data)


@bomb("png", "x.png")
def png_header(place: Path) -> bytes:
    data = _image(place, ".png")
    return data[:8] + _chunk(b"IHDR", struct.pack(">II", SIDE, SIDE) + data[24:29]) + data[33:]


def _png_with(place: Path, *chunks: bytes) -> bytes:
    data = _image(place, ".png")
    return data[:33] + b"".join(chunks) + data[33:]


@bomb("png", "x.png")
def png_text(place: Path) -> bytes:
    return _png_with(place, _chunk(b"zTXt", b"Raw profile type exif\0\0" + _deflated(GIGABYTE)))


@bomb("png", "x.png")
def png_many_texts(place: Path) -> bytes:
    packed = _deflated(32 << 20)
    return _png_with(place, *(_chunk(b"zTXt", b"a%d\0\0" % n + packed) for n in range(40)))


@bomb("png", "x.png")
def png_xmp(place: Path) -> bytes:
    body = b"XML:com.adobe.xmp\0\1\0\0\0" + _deflated(GIGABYTE)
    return _png_with(place, _chunk(b"iTXt", body))


@bomb("png", "x.png")
def png_profile(place: Path) -> bytes:
    return _png_with(place, _chunk(b"iCCP", b"x\0\0" + _deflated(GIGABYTE)))


@bomb("png", "x.png")
def png_data(place: Path) -> bytes:
    """More behind the pixels than the header declares."""
    data = _image(place, ".png")
    return data[:33] + _chunk(b"IDAT", _deflated(GIGABYTE)) + _chunk(b"IEND", b"")


@bomb("pfm", "x.pfm")
def pfm_header(_: Path) -> bytes:
    return b"PF\n20000 20000\n-1\n" + bytes(4096)


@bomb("jxl", "x.jxl")
def jxl_size(_: Path) -> bytes:
    return b"\xff\x0a" + b"\xfe" * 8 + bytes(64)


@bomb("heic", "x.heic")
def heic_boxes(_: Path) -> bytes:
    """A hundred thousand boxes one in another."""
    data = b""
    for _ in range(2000):
        data = struct.pack(">I", len(data) + 12) + b"meta" + bytes(4) + data
    return b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + data


# -------------------------------------------------------------------------------------- records and archives


@bomb("tfrecord_gzip", "x.tfrecords")
def record_of_zeros(_: Path) -> bytes:
    head = struct.pack("<Q", 1 << 28)
    return gzip.compress(head + masked_crc(head) + bytes(1 << 28), 9)


@bomb("tfrecord_gzip", "x.tfrecords")
def records_without_end(_: Path) -> bytes:
    head = struct.pack("<Q", 1 << 27)
    member = gzip.compress(head + masked_crc(head) + bytes((1 << 27) + 4), 9)
    return member * 40


@bomb("tfrecord_gzip", "x.tfrecords")
def empty_members(_: Path) -> bytes:
    return gzip.compress(b"") * 50_000


@bomb("tfrecord", "x.tfrecords")
def empty_records(_: Path) -> bytes:
    head = bytes(8)
    return (head + masked_crc(head) + masked_crc(b"")) * 50_000


@bomb("tfrecord", "x.tfrecords")
def features_in_features(_: Path) -> bytes:
    body = b""
    for _ in range(50_000):
        body = field(1, body) if len(body) < 100_000 else body
    return struct.pack("<Q", len(body)) + masked_crc(struct.pack("<Q", len(body))) + body + masked_crc(body)


def _npy(shape: str) -> bytes:
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header


def _archive(files: dict[str, bytes], how: int = zipfile.ZIP_DEFLATED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", how) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return made.getvalue()


@bomb("npz", "x.npz")
def npz_shape(_: Path) -> bytes:
    return _archive({"mu_prisparam.npy": _npy("(1000000000,)"), "cov_prisparam.npy": _npy("(36, 36)")})


@bomb("npz", "x.npz")
def npz_packed(_: Path) -> bytes:
    array = _npy("(25000000,)") + bytes(200_000_000)
    return _archive({"mu_prisparam.npy": array, "cov_prisparam.npy": array})


@bomb("mat", "x.mat")
def mat_packed(_: Path) -> bytes:
    packed = _deflated(GIGABYTE)
    return bytes(124) + b"\0\1IM" + struct.pack("<II", 15, len(packed)) + packed


@bomb("bundle_zip", "x.zip")
def zip_of_zeros(_: Path) -> bytes:
    return _archive({"m.index": bytes(200_000_000), "m.data-00000-of-00001": b""})


@bomb("bundle_zip", "x.zip")
def zip_that_overlaps(_: Path) -> bytes:
    """A record that a thousand names stand for."""
    data = bytearray(_archive({"a" * 8: bytes(1_000_000)}, zipfile.ZIP_STORED))
    start = data.index(b"PK\1\2")
    entry, end = data[start : data.index(b"PK\5\6")], data[data.index(b"PK\5\6") :]
    entries = b"".join(entry.replace(b"a" * 8, b"%08d" % n) for n in range(1000))
    struct.pack_into("<HHI", end, 8, 1000, 1000, len(entries))
    return bytes(data[:start] + entries + end)


@bomb("net", "x.pt")
def checkpoint_that_overlaps(place: Path) -> bytes:
    return zip_that_overlaps(place)


@bomb("safetensors", "x.safetensors")
def safetensors_header(_: Path) -> bytes:
    return struct.pack("<Q", 99_000_000) + b" " * 1000


@bomb("safetensors", "x.safetensors")
def safetensors_shapes(_: Path) -> bytes:
    said = {f"t{n}": {"dtype": "F32", "shape": [1 << 30], "data_offsets": [0, 1 << 32]} for n in range(1000)}
    header = json.dumps(said).encode()
    return struct.pack("<Q", len(header)) + header + bytes(16)


@bomb("vgg_safetensors", "x.safetensors")
def safetensors_that_share(_: Path) -> bytes:
    said = {f"t{n}": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]} for n in range(20_000)}
    header = json.dumps(said).encode()
    return struct.pack("<Q", len(header)) + header + bytes(16)


# ---------------------------------------------------------------------------------------------------- texts


@bomb("plan", "x.yaml")
def yaml_references(_: Path) -> bytes:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    return "\n".join(lines).encode()


@bomb("checkpoint_list", "checkpoints.json")
def json_nesting(_: Path) -> bytes:
    return b"[" * 1_000_000


@bomb("metrics", "x.csv")
def one_row_without_end(_: Path) -> bytes:
    return b"step,metric,value\n" + b"1," * 1_000_000 + b"\n" + b"9" * 10_000 + b",a,1\n"


@bomb("curves", "x.txt")
def curves_of_many_lines(_: Path) -> bytes:
    return b"\n" * 5_000_000


@pytest.mark.slow
@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_takes_little(reader: Reader, tmp_path: Path, name: str) -> None:
    kind, file, make = BOMBS[name]
    data = make(tmp_path)
    (tmp_path / file).write_bytes(data)
    assert not reader.check(kind, tmp_path / file)
