"""Whatever the bytes are, reading gives an image or an ImageError: no crash, no hang, no runaway memory."""

from __future__ import annotations

import random
import struct
import subprocess
import sys
import textwrap
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzzing.mutations import damage
from fuzzing.seeds import images
from hypothesis import given, settings
from hypothesis import strategies as st

from hdrlab.errors import ImageError
from hdrlab.io import probe_image, read_image, write_image
from hdrlab.io.ultrahdr import read_ultrahdr

MAGIC = (
    b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 9 +X 9\n\2\2\0\x09",
    b"\x76\x2f\x31\x01\2\0\0\0",
    b"II*\0\x08\0\0\0",
    b"MM\0+\0\x08\0\0",
    b"PF\n",
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    b"\xff\xd8\xff\xe0",
    b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf\0\0\0\x40meta",
    b"\0\0\0\x18ftypheic\0\0\0\0mif1heic\0\0\0\x40meta",
    b"\xff\x0a",
)
Check = Callable[[Path], None]
PIXEL_LIMIT = 4_000_000
CASES = 400  # of each reader, every day
MANY = 10_000  # for the long tests
FORMATS = {
    "radiance": (b"#?",),
    "openexr": (b"\x76\x2f\x31\x01",),
    "tiff": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    "pfm": (b"PF", b"Pf"),
    "png": (b"\x89PNG\r\n\x1a\n",),
    "jpeg": (b"\xff\xd8\xff",),
    "avif": (b"\0\0\0\x20ftypavif", b"\0\0\0\x1cftypavif"),
    "heic": (b"\0\0\0\x1cftyphe", b"\0\0\0\x18ftyphe", b"\0\0\0\x20ftyphe"),
    "jxl": (b"\0\0\0\x0cJXL \r\n\x87\n", b"\xff\x0a"),
}
"""The readers, and what their files begin with."""


@pytest.fixture(scope="session")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """One valid file of each kind that the readers tell apart."""
    return [seed.data for seed in images(tmp_path_factory.mktemp("seeds"))]


def check(path: Path) -> None:
    """Reads and probes; any exception but ImageError fails the test."""
    loaded = attempt(read_image, path, max_pixels=PIXEL_LIMIT, sanitize=True)
    info = attempt(probe_image, path, max_pixels=PIXEL_LIMIT)
    if isinstance(loaded, ImageError):
        assert (loaded.path, bool(loaded.reason)) == (path, True)
        return
    assert loaded.shape[2] == 3
    assert loaded.dtype.name in (("float32",) if loaded.domain == "linear" else ("uint8", "uint16"))
    assert (info.height, info.width, info.domain) == (*loaded.shape[:2], loaded.domain)


def attempt(function: Callable[..., Any], path: Path, **options: Any) -> Any:
    """What the function returns, or the ImageError that it raises."""
    try:
        return function(path, **options)
    except ImageError as error:
        return error


def fuzz(
    seeds: list[bytes], magic: tuple[bytes, ...], path: Path, seed: int, cases: int, read: Check = check
) -> None:
    """Has damaged files read until so many that still begin as their format does have reached its reader."""
    rng = random.Random(seed)
    seeds = [data for data in seeds if data.startswith(magic)]
    assert seeds
    reached = 0
    while reached < cases:
        data = damage(rng.choice(seeds), rng)
        reached += data.startswith(magic)
        path.write_bytes(data)
        start = time.monotonic()
        try:
            read(path)
        except BaseException as error:
            error.add_note(f"case {reached} of seed {seed}: {data[:80]!r}")
            raise
        assert time.monotonic() - start < 20, f"case {reached} of seed {seed} takes too long"


def check_ultrahdr(path: Path) -> None:
    loaded = attempt(read_ultrahdr, path, max_pixels=PIXEL_LIMIT)
    if isinstance(loaded, ImageError):
        assert (loaded.path, bool(loaded.reason)) == (path, True)
    else:
        assert (loaded.dtype, loaded.domain, loaded.shape[2]) == (np.float32, "linear", 3)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("reader", FORMATS)
def test_mutated_files(seeds: list[bytes], tmp_path: Path, reader: str) -> None:
    fuzz(seeds, FORMATS[reader], tmp_path / "x.bin", 1, CASES)


@pytest.mark.filterwarnings("ignore")
def test_mutated_ultra_hdr_files(seeds: list[bytes], tmp_path: Path) -> None:
    ultra = [data for data in seeds if b"hdrgm:" in data]
    fuzz(ultra, FORMATS["jpeg"], tmp_path / "x.bin", 1, CASES, check_ultrahdr)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(2, 4))
@pytest.mark.parametrize("reader", FORMATS)
def test_many_mutated_files(seeds: list[bytes], tmp_path: Path, reader: str, seed: int) -> None:
    fuzz(seeds, FORMATS[reader], tmp_path / "x.bin", seed, MANY)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_many_mutated_ultra_hdr_files(seeds: list[bytes], tmp_path: Path) -> None:
    ultra = [data for data in seeds if b"hdrgm:" in data]
    fuzz(ultra, FORMATS["jpeg"], tmp_path / "x.bin", 2, MANY, check_ultrahdr)


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=100, deadline=None)
@given(magic=st.sampled_from(MAGIC), rest=st.binary(max_size=300))
def test_any_bytes_behind_a_magic_number(
    tmp_path_factory: pytest.TempPathFactory, magic: bytes, rest: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.bin"
    path.write_bytes(magic + rest)
    check(path)


def test_every_truncation_of_every_format(seeds: list[bytes], tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    for data in seeds:
        for length in {*range(0, min(len(data), 64), 7), len(data) // 2, len(data) - 1}:
            path.write_bytes(data[:length])
            check(path)


# getrusage would report the parent's peak: a child inherits it. VmHWM is the process's own, in KiB.
PEAK = """
def peak():
    status = open("/proc/self/status").read()
    return int(status.partition("VmHWM:")[2].split()[0])

"""


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="reads a process's peak from Linux's /proc"
)
def test_a_small_file_that_declares_much_costs_little_memory(tmp_path: Path) -> None:
    """Resident memory, measured in a process of its own: 0.36 gigapixels declared, a few kilobytes held."""
    side = 19_000
    (tmp_path / "wide.hdr").write_bytes(
        b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 1000 +X 361000\n" + bytes(4096)
    )
    (tmp_path / "x.pfm").write_bytes(b"PF\n%d %d\n-1\n" % (side, side) + bytes(4096))
    small = np.zeros((16, 16, 3), np.uint8)
    write_image(tmp_path / "x.jpg", small)
    jpeg = (tmp_path / "x.jpg").read_bytes()
    sides = struct.pack(">HH", 16, 16)
    (tmp_path / "x.jpg").write_bytes(jpeg.replace(sides, struct.pack(">HH", side, side), 1))
    write_image(tmp_path / "x.png", small)
    png = bytearray((tmp_path / "x.png").read_bytes())
    png[16:24] = struct.pack(">II", side, side)
    png[29:33] = struct.pack(">I", zlib.crc32(png[12:29]))
    (tmp_path / "x.png").write_bytes(png)
    write_image(tmp_path / "x.exr", small.astype(np.float32))
    exr = (tmp_path / "x.exr").read_bytes()
    box, wide = struct.pack("<4i", 0, 0, 15, 15), struct.pack("<4i", 0, 0, side - 1, 15)
    (tmp_path / "x.exr").write_bytes(exr.replace(box, wide))
    code = """
        import sys, hdrlab.io
        for path in sys.argv[1:]:
            try:
                print(path, hdrlab.io.read_image(path).shape)
            except hdrlab.io.ImageError:
                pass
        print(peak() // 1024)
    """
    names = sorted(map(str, tmp_path.iterdir()))
    command = [sys.executable, "-c", PEAK + textwrap.dedent(code), *names]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert len(names) == 5
    assert int(done.stdout) < 250, "MiB; about 100 are libraries"


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="reads a process's peak from Linux's /proc"
)
def test_reading_costs_at_most_twice_the_size_of_the_pixels(tmp_path: Path) -> None:
    side = 1400
    rng = np.random.default_rng(0)
    write_image(tmp_path / "x.hdr", rng.random((side, side, 3), np.float32))
    write_image(tmp_path / "x.pfm", rng.random((side, side, 3), np.float32))
    write_image(tmp_path / "x.exr", rng.random((side, side, 3), np.float32), compression="zips")
    code = """
        import sys, hdrlab.io, OpenImageIO
        before = peak()
        size = hdrlab.io.read_image(sys.argv[1]).pixels.nbytes / 1024
        print((peak() - before) / size)
    """
    for suffix in ("hdr", "pfm", "exr"):
        command = [sys.executable, "-c", PEAK + textwrap.dedent(code), str(tmp_path / f"x.{suffix}")]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert float(done.stdout) < 2.6, suffix
