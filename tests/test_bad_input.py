"""What people give by mistake: every problem is named at once, nothing crashes, hangs or fills the memory."""

from __future__ import annotations

import json
import os
import random
import struct
import sys
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from commands import call
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageCms
from training import Lab

from hdrlab import evaluate, import_weights, prepare, reconstruct, train
from hdrlab.config.cli import Command
from hdrlab.datasets.index import Source, build_index, open_index
from hdrlab.datasets.splits import list_images
from hdrlab.errors import DataError, ImageError, RunError, WeightsError
from hdrlab.inference.jobs import plan_jobs
from hdrlab.io import probe_image, read_image, read_photograph, write_image
from hdrlab.nets import build_net
from hdrlab.runs import main as list_runs
from hdrlab.weights.net_file import load_nets, save_net

Said = tuple[int, str, list[str]]
Run = Callable[..., Said]
ODD = 'it\'s 100% "odd" [x] {x} $5 ü日'


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command and answers exit code, output, and error lines."""
    monkeypatch.setenv("COLUMNS", "400")

    def run(command: Command[Any], *words: str) -> Said:
        code = call(command, words)
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return code, said.out, [x for x in said.err.splitlines() if x.startswith("error: ")]

    return run


def quoted(path: Path) -> str:
    """A path as Hydra takes any."""
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'


def scene(seed: int, height: int = 64, width: int = 80) -> NDArray[np.float32]:
    return np.random.default_rng(seed).lognormal(0, 1, (height, width, 3)).astype(np.float32)


def shot(height: int = 32, width: int = 48) -> NDArray[np.uint8]:
    """A photograph whose corners differ."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([5 * x, 7 * y, 250 - 2 * x - 3 * y], -1).astype(np.uint8)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Three good HDR images of three scenes."""
    root = tmp_path / "images"
    root.mkdir()
    for number, name in enumerate(("hall", "park", "roof")):
        write_image(root / f"{name}.exr", scene(number), half=False)
    return root


def prepare_words(source: Path, root: Path, *more: str) -> tuple[str, ...]:
    return f"source={quoted(source)}", f"root={quoted(root)}", "data.short_side=64", *more


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nets")
    torch.manual_seed(0)
    for name in ("dequantization", "linearization", "hallucination"):
        save_net(build_net(name, width=1 / 16), folder / f"{name}.pt", {})
    return folder


# ------------------------------------------------------------------------------ what is no image at all


def write_no_images(folder: Path, suffix: str) -> list[str]:
    """Empty, only a magic number, a folder, a pipe, a link to itself; returns their names."""
    magic = {".hdr": b"#?RADIANCE\n", ".exr": b"\x76\x2f\x31\x01", ".jpg": b"\xff\xd8\xff"}[suffix]
    (folder / f"empty{suffix}").touch()
    (folder / f"magic{suffix}").write_bytes(magic)
    (folder / f"folder{suffix}").mkdir()
    os.mkfifo(folder / f"pipe{suffix}")
    (folder / f"loop{suffix}").symlink_to(folder / f"loop{suffix}")
    return [f"{name}{suffix}" for name in ("empty", "magic", "folder", "pipe", "loop")]


def test_reconstruct_names_each_file_that_is_no_image(run: Run, nets: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    PillowImage.fromarray(shot()).save(folder / "good.png")
    write_no_images(folder, ".jpg")
    words = [f"input={folder}", f"output={tmp_path / 'out'}", f"checkpoint={nets}", "device=cpu"]
    code, out, errors = run(reconstruct.COMMAND, *words, "preview=false")
    assert (code, out) == (1, f"1 written to {tmp_path / 'out'}, 4 failed\n")
    reasons = dict(line.removeprefix("error: ").split(": ", 1) for line in errors)
    assert reasons.keys() == {"empty.jpg", "magic.jpg", "pipe.jpg", "loop.jpg"}
    assert reasons["empty.jpg"] == "is empty"
    assert reasons["pipe.jpg"] == "is not a regular file"
    assert "damaged JPEG" in reasons["magic.jpg"]


@pytest.mark.parametrize("suffix", [".hdr", ".exr"])
def test_prepare_names_each_file_that_is_no_image(
    run: Run, images: Path, tmp_path: Path, suffix: str
) -> None:
    names = write_no_images(images, suffix)
    code, out, errors = run(prepare.COMMAND, *prepare_words(images, tmp_path / "ready"))
    assert code == 2
    assert all("2 of 5 images" in line or "1 of 5 images" in line for line in errors)
    assert all(name in out for name in ("empty", "magic"))
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("file,split\nhall.exr,train\npark.exr,val\n" + "".join(f"{n},test\n" for n in names))
    words = prepare_words(images, tmp_path / "ready", f"data.manifest={manifest}")
    code, _, errors = run(prepare.COMMAND, *words)
    assert code == 2
    found = f"3 of 7 listed images not found (folder{suffix}, pipe{suffix}, loop{suffix})"
    assert errors == [f"error: {images}: {found}"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.ckpt.index", b""),
        ("model.ckpt.index", None),
        ("vgg16.npy", b""),
        ("vgg16.npy", None),
        ("vgg16.npy", b"\x93NUMPY"),
        ("vgg16.pth", b"PK\x03\x04"),
        ("vgg16.h5", b"\x89HDF\r\n\x1a\n"),
        ("vgg16.safetensors", bytes(7)),
        ("vgg16.safetensors", b"\xff" * 7 + b"\x7f{"),
    ],
)
def test_import_weights_names_what_holds_no_weights(
    run: Run, tmp_path: Path, name: str, content: bytes | None
) -> None:
    source = tmp_path / name
    os.mkfifo(source) if content is None else source.write_bytes(content)
    code, _, errors = run(import_weights.COMMAND, f"source={source}", f"output={tmp_path / 'out'}")
    assert code == 2
    assert len(errors) == 1
    assert name.removesuffix(".index") in errors[0]
    assert not (tmp_path / "out").exists()


# ------------------------------------------------------------------------------------------- HDR images


def test_prepare_says_all_that_is_wrong_with_radiance_files(run: Run, images: Path, tmp_path: Path) -> None:
    head, grey = b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n", bytes((128, 128, 128, 129))
    for name, content in {
        "cut": head + b"\n-Y 40 +X 40\n" + grey * 900,
        "nothing": head + b"\n-Y 0 +X 40\n",
        "negative": head + b"\n-Y -40 +X 40\n" + grey * 1600,
        "huge": head + b"\n-Y 1000000000 +X 1000000000\n" + grey,
        "nameless": b"#?RADIANCE\n\n-Y 40 +X 40\n" + grey * 1600,
        "long": head + b"#" * 1_000_000 + b"\n\n-Y 40 +X 40\n" + grey * 1600,
    }.items():
        (images / f"{name}.hdr").write_bytes(content)
    code, out, errors = run(prepare.COMMAND, *prepare_words(images, tmp_path / "ready"))
    assert code == 2
    lines = {line.split("│")[1].strip(): line for line in out.splitlines() if ".hdr" in line}
    for name, reason in {
        "cut": "is truncated in scanline 22 of 40",
        "nothing": "declares 40 × 0 pixels",
        "negative": "resolution line b'-Y -40 +X 40' is not of the form '-Y 480 +X 640'",
        "huge": "1000000000 × 1000000000 pixels, the limit is 400000000",
        "nameless": "its header has no FORMAT",
        "long": "has no complete Radiance header in its first 65536 bytes",
    }.items():
        assert reason in lines[f"{name}.hdr"]
        assert any(f"({name}.hdr)" in line for line in errors)


@pytest.mark.parametrize(("value", "word"), [(np.nan, "nan"), (np.inf, "inf"), (-np.inf, "-inf")])
def test_values_that_are_not_finite_are_counted_and_placed(
    run: Run, images: Path, tmp_path: Path, value: float, word: str
) -> None:
    pixels = scene(1)
    pixels[3, 5, 1] = pixels[40, 2:4, 0] = value
    write_image(images / "park.exr", pixels)
    code, _, errors = run(prepare.COMMAND, *prepare_words(images, tmp_path / "ready"))
    assert code == 2
    found = f"holds 3 non-finite values, the first {word} at row 3, column 5, channel 1"
    assert f"1 of 3 images: {found} (park.exr); data.skip_bad=true leaves them out" in errors[0]


@pytest.mark.parametrize("share", [0.009, 0.011])
def test_negative_values_are_set_to_0_or_refused_above_one_percent(
    run: Run, images: Path, tmp_path: Path, share: float
) -> None:
    pixels = scene(1)
    count = int(share * pixels.size)
    pixels.reshape(-1)[:count] = -0.25
    write_image(images / "park.exr", pixels, half=False)
    code, out, errors = run(prepare.COMMAND, *prepare_words(images, tmp_path / "ready"))
    if share > 0.01:
        assert code == 2
        assert "more than 1% of the samples are negative (park.exr)" in errors[0]
        return
    assert code == 0
    assert "1 images held negative samples, which were set to 0" in out
    index = open_index(tmp_path / "ready")
    (park,) = (image for image in index.images if image.file == "park.exr")
    assert park.negatives == count
    np.testing.assert_array_equal(index.load(park), pixels.clip(0))


def test_images_without_content_are_flagged_when_prepared(run: Run, images: Path, tmp_path: Path) -> None:
    for name, pixels in {
        "black": np.zeros((64, 64, 3), np.float32),
        "flat": np.full((64, 64, 3), 0.5, np.float32),
        "dim": scene(1) * np.float32(1e-12),
        "glaring": scene(1) * np.float32(1e12),
    }.items():
        write_image(images / f"{name}.pfm", pixels)
    code, _, errors = run(prepare.COMMAND, *prepare_words(images, tmp_path / "ready"))
    assert code == 2
    for names, reason in {
        "black.pfm": "all black",
        "flat.pfm": "one constant value",
        "dim.pfm, glaring.pfm": "mean outside 1e-08 to 1e+08",
    }.items():
        assert any(f"{reason} ({names})" in line for line in errors)
    assert len(errors) == 3


@pytest.mark.parametrize("suffix", [".exr", ".hdr", ".pfm", ".tif"])
def test_values_beyond_half_precision_stay_finite(
    run: Run, images: Path, tmp_path: Path, suffix: str
) -> None:
    pixels = scene(1)
    pixels[10:14, 20:24] = (2.0**17, 2.0**20, 2.0**17)
    write_image(images / f"bright{suffix}", pixels)
    assert read_image(images / f"bright{suffix}").pixels.max() == 2.0**20
    assert run(prepare.COMMAND, *prepare_words(images, tmp_path / "ready"))[0] == 0
    index = open_index(tmp_path / "ready")
    (bright,) = (image for image in index.images if image.file.startswith("bright"))
    samples = index.load(bright)
    assert (samples.dtype, samples.max()) == (np.float32, 2.0**20)
    assert np.isfinite(samples).all()


def test_a_folder_that_cannot_be_made_is_named(run: Run, images: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for root in (tmp_path / "file" / "ready", tmp_path / ("x" * 300) / "ready"):
        code, _, errors = run(prepare.COMMAND, *prepare_words(images, root))
        assert code == 2
        assert errors[0].startswith(f"error: {root}: cannot be made (")


# -------------------------------------------------------------------------------------------- photographs


@pytest.mark.parametrize("mode", ["RGB", "L", "LA", "RGBA", "P", "1", "I;16"])
def test_a_photograph_of_every_kind_becomes_rgb(tmp_path: Path, mode: str) -> None:
    image = PillowImage.fromarray(shot())
    image = image.convert("L").convert("I").convert("I;16") if mode == "I;16" else image.convert(mode)
    image.save(tmp_path / "a.png")
    made = read_photograph(tmp_path / "a.png").pixels
    assert made.shape == (32, 48, 3)
    if mode == "I;16":
        assert made.dtype == np.uint16
        np.testing.assert_array_equal(made[..., 1], np.array(image))
    else:
        np.testing.assert_array_equal(made, np.array(image.convert("RGB")))


def swapping_profile() -> bytes:
    """A display profile that is sRGB but for its primaries: what it calls red is green."""
    data: bytes = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    renamed = data.replace("sRGB".encode("utf-16-be"), "Test".encode("utf-16-be"))
    return renamed.replace(b"rXYZ", b"....").replace(b"gXYZ", b"rXYZ").replace(b"....", b"gXYZ")


def test_a_phones_image_comes_out_upright_and_in_srgb(run: Run, nets: Path, tmp_path: Path) -> None:
    folder, output = tmp_path / "photos", tmp_path / "out"
    folder.mkdir()
    upright, exif = shot(37, 51), PillowImage.Exif()
    exif[0x0112] = 6
    turned = PillowImage.fromarray(np.ascontiguousarray(np.rot90(upright)))
    jpeg: dict[str, Any] = {"quality": 100, "subsampling": 0}
    turned.save(folder / "IMG_1.JPG", exif=exif, icc_profile=swapping_profile(), **jpeg)
    PillowImage.fromarray(upright[..., [1, 0, 2]]).save(folder / "meant.png")
    words = [f"input={folder}", f"output={output}", f"checkpoint={nets}", "device=cpu", "formats=tiff"]
    assert run(reconstruct.COMMAND, *words, "preview=false")[0] == 0
    made, meant = (read_image(output / f"{name}.tif").pixels for name in ("IMG_1", "meant"))
    assert made.shape == (37, 51, 3)
    # All but pixels near white, where a level more or less of the JPEG switches the hallucination.
    assert np.mean(np.abs(made - meant) < 0.02) > 0.97
    assert np.mean(np.abs(made[..., [1, 0, 2]] - meant) < 0.02) < 0.5


def png_that_says(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(height * (3 * width + 1) if height < 100 else 100))
    listed = [(b"IHDR", header), *chunks, (b"IDAT", data), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in listed
    )


def bombs() -> Iterator[tuple[str, bytes]]:
    """Small files that would fill the memory."""
    packed = zlib.compress(bytes(200_000_000), 9)
    yield "sides.png", png_that_says(60_000, 60_000)
    yield "text.png", png_that_says(8, 8, (b"zTXt", b"note\0\0" + packed))
    yield "letter.png", png_that_says(8, 8, (b"iTXt", b"note\0\1\0\0\0" + packed))
    yield "profile.png", png_that_says(8, 8, (b"iCCP", b"profile\0\0" + packed))
    yield "sides.hdr", b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 60000 +X 60000\n" + bytes(300_000)
    yield "sides.pfm", b"PF\n60000 60000\n-1\n" + bytes(1000)


def test_decompression_bombs_cost_no_memory(tmp_path: Path) -> None:
    for name, content in bombs():
        (tmp_path / name).write_bytes(content)
        tracemalloc.start()
        with pytest.raises(ImageError) as caught:
            read_image(tmp_path / name)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert str(caught.value).startswith(f"{tmp_path / name}: ")
        assert peak < 5_000_000, f"{name} took {peak} bytes"


@pytest.mark.parametrize(
    ("tile", "said"),
    [(None, "claims a 10299 MB image from a"), ((16, 16), 'Incorrect count for "TileOffsets"')],
)
def test_a_tiff_bomb_is_refused_on_the_header(
    tmp_path: Path, tile: tuple[int, int] | None, said: str
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((32, 32, 3), np.uint8), photometric="rgb", tile=tile)
    data = bytearray(path.read_bytes())
    for tag in (256, 257):  # width and height, one long each
        place = data.index(struct.pack("<HHI", tag, 4, 1)) + 8
        data[place : place + 4] = struct.pack("<I", 60_000)
    path.write_bytes(data)
    for function in (read_image, probe_image):
        with pytest.raises(ImageError, match=f"a.tif: .*{said}"):
            function(path)


# ---------------------------------------------------------------------------------------- pairs and lists


def write_stack(folder: Path, seed: int) -> None:
    folder.mkdir(parents=True)
    hdr = scene(seed)
    write_image(folder / "hdr.hdr", hdr)
    write_image(folder / "ldr.jpg", np.rint(255 * hdr.clip(0, 1) ** (1 / 2.2)).astype(np.uint8))


def test_all_that_is_wrong_with_pairs_comes_in_one_table(run: Run, tmp_path: Path) -> None:
    root = tmp_path / "pairs"
    for number, name in enumerate(("attic", "barn", "cave", "dune", "east", "fort")):
        write_stack(root / name, number)
    write_image(root / "barn/hdr.hdr", scene(1, 64, 81))
    (root / "cave/hdr.hdr").unlink()
    (root / "dune/ldr.jpg").unlink()
    write_image(root / "east/ldr.png", shot())
    write_image(root / "fort/hdr.exr", scene(5))
    code, out, errors = run(prepare.COMMAND, "data=hdr_real", f"source={root}", f"root={tmp_path / 'ready'}")
    assert code == 2
    rows = dict(map(str.strip, line.split("│")[1:3]) for line in out.splitlines() if line.startswith("│"))
    several = "several files of this name, with different suffixes"
    assert rows == {
        "barn/ldr.jpg": "is 80×64 pixels, its HDR image 81×64",
        "cave/ldr.jpg": "no hdr.hdr beside it",
        "dune/hdr.hdr": "no ldr.jpg beside it",
        "east/ldr.jpg": several,
        "east/ldr.png": several,
        "fort/hdr.exr": several,
        "fort/hdr.hdr": several,
    }
    assert len(errors) == 4
    assert not (tmp_path / "ready" / "index.json").exists()


@pytest.mark.parametrize("exposure", ["1e300", "-1", "nan", "inf", "long", ""])
def test_exposures_that_would_overflow_are_refused(run: Run, tmp_path: Path, exposure: str) -> None:
    root = tmp_path / "pairs"
    for number, name in enumerate(("attic", "barn", "cave")):
        write_stack(root / name, number)
        (root / name / "exp_00.jpg").write_bytes((root / name / "ldr.jpg").read_bytes())
        write_image(root / name / "exp_01.jpg", shot(64, 80))
        (root / name / "times.csv").write_text("file,relative_exposure\nexp_00.jpg,1\nexp_01.jpg,4\n")
    (root / "cave/times.csv").write_text(f"file,relative_exposure\nexp_00.jpg,1\nexp_01.jpg,{exposure}\n")
    words = ["data=hdr_real", f"source={root}", f"root={tmp_path / 'ready'}", "data.exposures=all"]
    code, _, errors = run(prepare.COMMAND, *words)
    assert code == 2
    assert any("(cave/times.csv)" in line for line in errors)


def test_all_that_is_wrong_with_published_lists_is_said_at_once(
    run: Run, images: Path, tmp_path: Path
) -> None:
    (tmp_path / "outside.exr").write_bytes((images / "hall.exr").read_bytes())
    long = "x" * 300
    lists = {
        "train": ["hall.exr", "park.exr", "gone.exr", str(tmp_path / "outside.exr"), long, "nul\0.exr"],
        "test": ["roof.exr", "../outside.exr", "./park.exr"],
    }
    for name, lines in lists.items():
        (tmp_path / f"{name}.txt").write_text("\n".join(lines))
    words = [f"data.lists.{name}={tmp_path / name}.txt" for name in lists]
    code, _, errors = run(prepare.COMMAND, *prepare_words(images, tmp_path / "ready", *words))
    assert code == 2
    for part in (
        "park.exr: listed 2 times",
        "scene park.exr: in the splits train and val",
        f"{tmp_path / 'outside.exr'}: must be a path inside the data set's folder",
        "../outside.exr: must be a path inside the data set's folder",
        f"3 of 9 listed images not found (gone.exr, {long}, nul\\x00.exr)",
    ):
        assert any(part in line for line in errors), part
    assert len(errors) == 5
    assert not (tmp_path / "ready").exists()


NO_TEXT = ("absent", "folder", "pipe", "bytes", "empty")


def write_no_text(path: Path, kind: str) -> None:
    match kind:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "bytes":
            path.write_bytes(b"\xff\xfe\x80")
        case "empty":
            path.touch()


@pytest.mark.parametrize("kind", NO_TEXT)
def test_a_list_or_manifest_that_is_none_is_named(images: Path, tmp_path: Path, kind: str) -> None:
    path, good = tmp_path / "list", tmp_path / "good.txt"
    write_no_text(path, kind)
    good.write_text("hall.exr\n")
    for given in ({"manifest": path}, {"lists": (good, path)}, {"lists": (path, good)}):
        with pytest.raises(DataError, match=rf"^{path}: "):
            list_images(images, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("x" * 200_000 + ",train", "manifest.csv, line 2: no table of comma-separated values"),
        ("x" * 300 + ",train", f"1 of 1 listed images not found ({'x' * 300})"),
        ("nul\0.exr,train", "1 of 1 listed images not found (nul\\x00.exr)"),
        ('"two\nlines.exr",train', "1 of 1 listed images not found (two\\nlines.exr)"),
        (",train", "1 of 1 listed images not found (.)"),
        ("/,train", "/: must be a path inside the data set's folder"),
    ],
)
def test_odd_rows_of_a_manifest_are_named(images: Path, tmp_path: Path, row: str, said: str) -> None:
    path = tmp_path / "manifest.csv"
    path.write_text(f"file,split\n{row}\n")
    with pytest.raises(DataError) as caught:
        list_images(images, path)
    assert any(said in problem for problem in caught.value.problems)
    assert all("\n" not in problem for problem in caught.value.problems)


# ------------------------------------------------------------------------------------------------- names


NAMES = (
    "a b", "it's \"quoted\"", "100%d #1?", "日本-é", "x" * 240, "e=mc,2", "[red]", "${seed}", "new\nline",
    "back\\slash", "-dash", "~tilde", "semi;colon|&", "*",
)  # fmt: skip


@pytest.mark.slow
def test_odd_names_work_from_preparing_to_reconstructing(
    run: Run,
    nets: Path,
    lab: Lab,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source, ready, runs = (tmp_path / f"{word} {ODD}" / "[/b]" for word in ("source", "ready", "runs"))
    source.mkdir(parents=True)
    for number, name in enumerate(NAMES):
        write_image(source / f"{name}.exr", scene(number))
    code, out, _ = run(prepare.COMMAND, *prepare_words(source, ready))
    assert code == 0
    assert {image.file for image in open_index(ready).images} == {f"{name}.exr" for name in NAMES}
    places = [f"data.root={quoted(ready)}", f"paths.runs={quoted(runs)}"]
    code, out, _ = run(
        train.COMMAND, *lab.words("deq", *places, "trainer.log_every_n_steps=1", "callbacks.panels=1")
    )
    assert code == 0
    (folder,) = (runs / "deq").iterdir()
    assert f"{folder}: a new run" in out
    assert "train/loss" in (folder / "metrics.csv").read_text()
    assert list((folder / "panels").glob("*.png"))
    assert (runs / "slots" / "hdr_synth" / "deq.ckpt").is_file()
    assert run(train.COMMAND, *lab.words("deq", *places, "trainer=smoke", "logger=tensorboard"))[0] == 0
    assert list(runs.glob("deq/*/tensorboard/events.out.*"))
    monkeypatch.setattr(sys, "argv", ["runs", str(runs)])
    list_runs()
    assert f"deq/{folder.name}" in capsys.readouterr().out
    photos, output = tmp_path / f"photos {ODD}" / "[/b]", tmp_path / f"out {ODD}" / "[/b]"
    photos.mkdir(parents=True)
    for name in NAMES:
        PillowImage.fromarray(shot(16, 16)).save(photos / f"{name}.png")
    (photos / "no\nimage.jpg").write_text("text")
    words = [f"input={quoted(photos)}", f"output={quoted(output)}", f"checkpoint={nets}", "device=cpu"]
    code, out, errors = run(reconstruct.COMMAND, *words, "formats=[exr,hdr,tiff,ultrahdr]")
    assert (code, out) == (1, f"{len(NAMES)} written to {output}, 1 failed\n")
    assert len(errors) == 1
    assert errors[0].startswith("error: no\\nimage.jpg: is not a Radiance")
    for ending in (".exr", ".hdr", ".tif", "_ultrahdr.jpg", "_preview.jpg"):
        assert len([path for path in output.iterdir() if path.name.endswith(ending)]) == len(NAMES)
    assert read_image(output / f"{NAMES[1]}.exr").shape == (16, 16, 3)


@pytest.mark.parametrize("name", ["x" * 300, "nul\0", "two\nlines"])
def test_an_input_that_cannot_exist_is_named_in_one_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(RunError) as caught:
        plan_jobs([name, str(tmp_path)], tmp_path / "out", lambda target: [target])
    shown = name.replace("\n", "\\n").replace("\0", "\\x00")
    assert caught.value.problems == (
        f"input={shown}: no such file or folder",
        f"input={tmp_path}: no image in this folder",
    )
    with pytest.raises(WeightsError, match="no such file or folder"):
        load_nets(name)


@pytest.mark.parametrize("data", ["hdr_synth", "hdr_real"])
def test_names_that_are_no_text_are_listed(run: Run, tmp_path: Path, data: str) -> None:
    root = tmp_path / "[/b] images"
    for number, name in enumerate(("a", "b")):
        write_stack(root / name, number)
    os.rename(root / "a/hdr.hdr", os.fsdecode(bytes(root / "a") + b"/\xff\n.hdr"))
    code, _, errors = run(
        prepare.COMMAND, f"data={data}", f"source={quoted(root)}", f"root={tmp_path / 'ready'}"
    )
    assert code == 2
    assert errors == [f"error: {root}: 1 names are not valid UTF-8 (a/\\udcff\\n.hdr); rename these files"]


# ----------------------------------------------------------------------------------- an index of another


@pytest.mark.parametrize("file", ["../precious", "{}/precious", "images/../../precious", "images/x.txt"])
def test_an_index_reaches_no_file_outside_its_folder(images: Path, tmp_path: Path, file: str) -> None:
    precious, ready = tmp_path / "precious", tmp_path / "ready"
    precious.write_text("dear")
    build_index(list_images(images), Source(images), ready, short_side=64, resize_filter="area")
    stored = json.loads((ready / "index.json").read_text())
    stored["images"][0]["array"] = file.format(tmp_path)
    (ready / "index.json").write_text(json.dumps(stored))
    with pytest.raises(DataError, match="is no fast file"):
        open_index(ready)
    build_index(list_images(images), Source(images), ready, short_side=64, resize_filter="area")
    assert precious.read_text() == "dear"
    assert len(open_index(ready).images) == 3


def mutate_value(value: Any, rng: random.Random) -> Any:
    """Replaces one value somewhere inside, or takes a key away."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        rest = {name: inner for name, inner in value.items() if name != key}
        return rest if rng.random() < 0.05 else rest | {key: mutate_value(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.8:
        at = rng.randrange(len(value))
        return [*value[:at], mutate_value(value[at], rng), *value[at + 1 :]]
    return rng.choice(
        (None, 3, -1, 1e300, True, "x", "", "../x", "a\0b", "x" * 400, [], [1], ["abc"], {}, {"a": 1})
    )


def test_any_damaged_index_is_refused_or_made_again(images: Path, tmp_path: Path) -> None:
    ready, rng = tmp_path / "ready", random.Random(1)
    listed = list_images(images)
    build_index(listed, Source(images), ready, short_side=64, resize_filter="area")
    good = json.loads((ready / "index.json").read_text())
    refused = 0
    for _ in range(300):
        (ready / "index.json").write_text(json.dumps(mutate_value(good, rng)))
        try:
            open_index(ready)
        except DataError:
            refused += 1
    assert refused > 100
    journal = [json.dumps(row) for row in (good["settings"], *good["images"])]
    for _ in range(20):
        (ready / "index.json").unlink()
        damaged = [json.dumps(mutate_value(json.loads(line), rng)) for line in journal]
        (ready / "journal.jsonl").write_bytes("\n".join(damaged).encode() + b"\n\xff{")
        build_index(listed, Source(images), ready, short_side=64, resize_filter="area")
        assert len(open_index(ready).images) == 3


# ------------------------------------------------------------------------------------------- checkpoints


@pytest.fixture
def net_file(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save_net(build_net("dequantization", width=0.01), tmp_path / "a.pt", {})
    return tmp_path / "a.pt"


def rewritten(path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    stored = torch.load(path, weights_only=True)
    change(stored)
    torch.save(stored, path)
    return path


def refused(path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        load_nets(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("share", [0, 0.001, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_net_file_is_named(net_file: Path, share: float) -> None:
    content = net_file.read_bytes()
    net_file.write_bytes(content[: int(share * len(content))])
    assert "cannot be read" in refused(net_file)


def test_a_flipped_bit_is_found_wherever_it_changes_what_is_stored(net_file: Path) -> None:
    content = net_file.read_bytes()
    with zipfile.ZipFile(net_file) as archive:
        records = archive.infolist()
    rng = random.Random(0)
    for record in records:
        name, extra = struct.unpack_from("<HH", content, record.header_offset + 26)
        start = record.header_offset + 30 + name + extra
        for _ in range(5):
            damaged = bytearray(content)
            damaged[start + rng.randrange(record.file_size)] ^= 1 << rng.randrange(8)
            net_file.write_bytes(damaged)
            assert f"checksum of its record {record.filename}" in refused(net_file)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda stored: stored["hdrlab_net"].pop("sha256"), "header is damaged (sha256)"),
        (lambda stored: stored["hdrlab_net"].update(preset=3, options=[]), "damaged (preset, options)"),
        (lambda stored: stored["hdrlab_net"].update(schema_version="1"), "damaged (schema_version)"),
        (lambda stored: stored["hdrlab_net"].update(schema_version=99), "written by a newer hdrlab"),
        (lambda stored: stored["hdrlab_net"].update(net="linearisation"), "describes no net of hdrlab"),
        (lambda stored: stored["hdrlab_net"].update(net="refinement"), "do not fit refinement"),
        (lambda stored: stored["hdrlab_net"].update(preset="tf3"), "describes no net of hdrlab"),
        (lambda stored: stored["hdrlab_net"].update(options={"wide": 1}), "describes no net of hdrlab"),
        (lambda stored: stored["hdrlab_net"].update(options={"width": 1e4}), "do not fit dequantization"),
        (lambda stored: stored["hdrlab_net"].update(options={"width": 1e300}), "describes no net of hdrlab"),
        (lambda stored: stored.pop("state_dict"), "no plain tensors"),
        (lambda stored: stored.update(state_dict=[1]), "no plain tensors"),
        (lambda stored: stored["state_dict"].update({"convs.0.bias": 3}), "no plain tensors"),
        (lambda stored: stored["state_dict"].pop("convs.0.bias"), "convs.0.bias is missing"),
        (
            lambda stored: stored["state_dict"].update(more=torch.zeros(2)),
            "weights that dequantization has not: more",
        ),
        (lambda stored: stored["state_dict"]["convs.0.bias"].add_(1), "checksum of its weights"),
    ],
)
def test_a_net_file_of_another_kind_says_what_is_wrong(
    net_file: Path, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    assert said in refused(rewritten(net_file, change))


def test_a_small_net_file_that_declares_much_costs_no_memory(net_file: Path) -> None:
    side = 1 << 20
    vast = torch.zeros(1).expand(side, side)
    rewritten(net_file, lambda stored: stored["state_dict"].update({"convs.0.bias": vast}))
    assert "no plain tensors" in refused(net_file)
    with zipfile.ZipFile(net_file) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(net_file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in records.items():
            archive.writestr(name, content)
    assert "packed" in refused(net_file)


def test_any_damaged_net_file_is_refused(net_file: Path) -> None:
    """Damage in the pickle that lists the tensors, its checksum made right again."""
    with zipfile.ZipFile(net_file) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    (pickled,) = (name for name in records if name.endswith("data.pkl"))
    rng = random.Random(1)
    for _ in range(200):
        damaged = bytearray(records[pickled])
        for _ in range(rng.choice((1, 2, 8))):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        with zipfile.ZipFile(net_file, "w") as archive:
            for name, content in records.items():
                archive.writestr(name, bytes(damaged) if name == pickled else content)
        with suppress(WeightsError):
            load_nets(net_file)


@pytest.mark.parametrize("command", ["reconstruct", "evaluate"])
def test_the_commands_name_a_damaged_checkpoint(
    run: Run, lab: Lab, nets: Path, tmp_path: Path, command: str
) -> None:
    last = lab.trained("deq", "trainer=smoke") / "last.ckpt"
    content = last.read_bytes()
    for damaged in (b"", content[: len(content) // 2]):
        last.write_bytes(damaged)
        if command == "reconstruct":
            PillowImage.fromarray(shot()).save(tmp_path / "a.png")
            words = [f"input={tmp_path / 'a.png'}", f"output={tmp_path / 'out'}", f"checkpoint={last}"]
            code, _, errors = run(reconstruct.COMMAND, *words)
        else:
            code, _, errors = run(evaluate.COMMAND, f"checkpoint={last}", *lab.data())
        assert code == 2
        assert errors[0].startswith(f"error: {last}: cannot be read (")


# ------------------------------------------------------------------------------------------ curve tables


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.linspace(0, 1, 1000), "has 1000 samples, expected 1024"),
        (np.where(np.arange(1024) == 7, np.nan, np.linspace(0, 1, 1024)), "sample 7 is not finite"),
        (np.where(np.arange(1024) == 500, 0.9, np.linspace(0, 1, 1024)), "must not fall"),
    ],
)
def test_a_bad_table_of_curves_stops_a_training_before_it_begins(
    run: Run, lab: Lab, tmp_path: Path, values: NDArray[np.float64], said: str
) -> None:
    numbers = " ".join(map(str, values))
    (tmp_path / "dorf.txt").write_text(f"curve\ntype\nI =\n{numbers}\nB =\n{numbers}\n")
    code, _, errors = run(train.COMMAND, *lab.words("deq", f"data.curves={tmp_path / 'dorf.txt'}"))
    assert code == 2
    assert errors[0].startswith(f"error: {tmp_path / 'dorf.txt'}, line 6, curve 'curve': ")
    assert said in errors[0]
    assert not lab.runs.exists()
