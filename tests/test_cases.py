"""Cases that went wrong once: a folder of ``cases`` in the shared data each, a function each.

They are samples of kinds of faults, tried by the commands as a user gives them; tests that make their own
inputs cover the kinds.
"""

from __future__ import annotations

import csv
import gzip
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import OpenImageIO as oiio
import pytest
from commands import call
from forked import start
from numpy.typing import NDArray
from PIL import Image as PillowImage
from training import Lab

from hdrlab.errors import ImageError
from hdrlab.io import probe_image, read_hdr, read_image, read_photograph, samples_in_unit
from hdrlab.io.metadata import read_metadata


@dataclass(frozen=True)
class Bench:
    """What a check works with.

    Attributes:
        folder: The case.
        work: An empty folder.
        shared: The folder of all shared data.
        lab: Trains small nets in ``work``.
        capsys: Catches what commands print.
    """

    folder: Path
    work: Path
    shared: Path
    lab: Lab
    capsys: pytest.CaptureFixture[str]

    def run(self, command: str, *arguments: object, code: int = 0) -> str:
        """Carry a command out in this process, expect an exit code, and return what it printed."""
        self.capsys.readouterr()
        if any(str(one).startswith("hydra.") for one in arguments):
            with pytest.raises(SystemExit) as exited:
                import_module(f"hdrlab.{command}").COMMAND.main([*map(str, arguments)])
            left = exited.value.code
        else:
            left = call(command, arguments)
        printed = self.capsys.readouterr()
        text = printed.out + printed.err
        assert left == code, text
        assert "Traceback" not in text
        return text

    def reconstruct(self, names: str, *more: object, code: int = 0) -> str:
        """Reconstruct files of the case into ``work/out``."""
        common = (f"output={self.work / 'out'}", "device=cpu", "preview=false")
        return self.run("reconstruct", f"input={self.given(names)}", *common, *more, code=code)

    def tonemap(self, names: str, *more: object, code: int = 0) -> str:
        """Tone-map files of the case into ``work/out``."""
        common = (f"output={self.work / 'out'}", "operator=gamma")
        return self.run("tonemap", f"input={self.given(names)}", *common, *more, code=code)

    def given(self, names: str) -> str:
        files = [str(self.folder / name) for name in names.split()]
        return files[0] if len(files) == 1 else f"[{','.join(files)}]"

    def out(self, name: str) -> NDArray[Any]:
        """Pixels of an image in ``work/out``."""
        return read_image(self.work / "out" / name).pixels.astype(np.float32)


Check = Callable[[Bench], None]
CHECKS: dict[str, Check] = {}
SLOW = {
    *("checkpoint_raw_errors", "csv_formulas", "cut_output_counts_as_done", "evaluate_niqe_nan"),
    *("one_kill_before_the_first_list", "stale_tmp_outputs", "two_kills_in_the_save"),
}


def case(check: Check) -> Check:
    """Register the check of the folder of its name."""
    CHECKS[check.__name__] = check
    return check


@pytest.fixture
def cases(shared: Path) -> Path:
    folder = shared / "cases"
    if not folder.is_dir():
        pytest.skip(f"no cases at {folder}")
    return folder


def test_every_case_has_a_check(cases: Path) -> None:
    assert {folder.name for folder in cases.iterdir() if folder.is_dir()} == CHECKS.keys()


@contextmanager
def bounded(megabytes: int, seconds: float) -> Iterator[None]:
    """Check that what is done takes no more memory and time."""
    before, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    yield
    assert time.monotonic() - begun < seconds
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1000 * megabytes


# ------------------------------------------------------------------------------------------- colours


def light_agrees(bench: Bench, *names: str, most: float = 0.01, levels: int = 1) -> None:
    """Compare light with that of want.exr, and what tone mapping makes of it, in levels of 255."""
    bench.tonemap(f"{' '.join(names)} want.exr")
    want = read_hdr(bench.folder / "want.exr").pixels
    for name in names:
        light = read_hdr(bench.folder / name).pixels
        assert light.shape == want.shape
        error = np.abs(light - want) / want.max(axis=2, keepdims=True)
        assert error.max() < most, f"{name}: {error.max():.3f}"
        shown = np.abs(bench.out(f"{Path(name).stem}.png") - bench.out("want.png"))
        assert shown.max() <= levels, f"{name}: {shown.max()} levels"


def photograph_agrees(bench: Bench, *names: str, largest: float) -> None:
    """Compare the samples of photographs with those of want.png, and what is reconstructed of them."""
    # By the same curve for all: what nets guess of it from slightly other codes is not what is asked here.
    bench.reconstruct(f"{' '.join(names)} want.png", "method=average")
    for name in names:
        shown, want = (samples_in_unit(read_photograph(bench.folder / one)) for one in (name, "want.png"))
        assert np.abs(shown - want).max() < largest, f"{name}: {np.abs(shown - want).max():.3f}"
        light, right = bench.out(f"{Path(name).stem}.exr"), bench.out("want.exr")
        error = np.median(np.abs(light - right) / right.max(axis=2, keepdims=True))
        assert error < 0.02, f"{name}: {error:.3f}"


@case
def exr_chromaticities_rec2020(bench: Bench) -> None:
    light_agrees(bench, "rec2020.exr", "p3.exr", "xyz.exr")


@case
def exr_layer_ao_before_combined(bench: Bench) -> None:
    light_agrees(bench, "blender.exr", "blender_ao.exr")
    printed = bench.tonemap("blender_ao.exr", "resume=never")
    assert "ViewLayer.AO, ViewLayer.Combined" in printed
    bench.tonemap("blender_ao.exr", "layer=AO")
    assert np.abs(bench.out("blender_ao.png") - bench.out("want.png")).max() > 100


@case
def hdr_primaries_prophoto(bench: Bench) -> None:
    light_agrees(bench, "prophoto.hdr", most=0.03, levels=4)


@case
def hdr_primaries_rec2020(bench: Bench) -> None:
    light_agrees(bench, "rec2020.hdr", most=0.02, levels=3)


@case
def hdr_tab_indented_exposure(bench: Bench) -> None:
    light_agrees(bench, "joined.hdr", levels=3)


@case
def tiff_float_icc_curve(bench: Bench) -> None:
    light_agrees(bench, "srgb_curve.tif", "prophoto_18.tif")


@case
def heic_nclx_p3(bench: Bench) -> None:
    pytest.importorskip("pillow_heif")
    photograph_agrees(bench, "p3_nclx.heic", largest=0.03)


@case
def icc16_png_p3(bench: Bench) -> None:
    photograph_agrees(bench, "p3_16.png", "p3_8.png", largest=0.012)


@case
def icc_named_linear_srgb_png(bench: Bench) -> None:
    photograph_agrees(bench, "linear_srgb_8.png", "linear_srgb_16.png", "linear_8.png", largest=0.012)


@case
def jpeg_dcf_adobe_rgb(bench: Bench) -> None:
    photograph_agrees(bench, "_DSC0001.jpg", largest=0.04)


@case
def png_cicp_p3(bench: Bench) -> None:
    photograph_agrees(bench, "cicp_p3.png", "cicp_linear_16.png", largest=0.012)


@case
def png_gama_linear(bench: Bench) -> None:
    photograph_agrees(bench, "gama_linear_16.png", largest=0.012)


# ----------------------------------------------------------------------------------------- Ultra HDR


def ultrahdr_agrees(bench: Bench, *names: str, share: float = 99, levels: float = 2) -> None:
    """Compare light with that of want.exr, but for what JPEG does at edges, and what tone mapping makes."""
    bench.tonemap(f"{' '.join(names)} want.exr")
    want = read_hdr(bench.folder / "want.exr").pixels
    for name in names:
        light = read_hdr(bench.folder / name).pixels
        assert light.shape == want.shape, name
        error = np.abs(light - want) / want.max(axis=2, keepdims=True)
        assert np.percentile(error, share) < 0.1, f"{name}: {np.percentile(error, share):.3f}"
        shown = np.abs(bench.out(f"{Path(name).stem}.png") - bench.out("want.png"))
        assert shown.mean() < levels, f"{name}: {shown.mean():.1f} levels"


@case
def uhdr_adobe_metadata(bench: Bench) -> None:
    ultrahdr_agrees(bench, "elements.jpg", "per_channel.jpg")


@case
def uhdr_iso_and_little_endian(bench: Bench) -> None:
    ultrahdr_agrees(bench, "iso_only.jpg", "mpf_little_endian.jpg")


@case
def uhdr_orientation(bench: Bench) -> None:
    ultrahdr_agrees(bench, "portrait_6.jpg")


@case
def uhdr_p3_base(bench: Bench) -> None:
    ultrahdr_agrees(bench, "p3.jpg")


@case
def uhdr_quarter_gain_map(bench: Bench) -> None:
    # A small gain map of one channel blurs the lights, whose peak the operator makes white.
    ultrahdr_agrees(bench, "quarter_rgb.jpg", share=90, levels=3)
    ultrahdr_agrees(bench, "quarter_grey.jpg", share=90, levels=50)


# --------------------------------------------------------------------------- files, folders, messages


@case
def jpeg_12_bits_message(bench: Bench) -> None:
    for name, bits in (("twelve_bits.jpg", 12), ("lossless_16.jpg", 16)):
        printed = bench.reconstruct(name, code=1)
        assert f"{bits}-bit samples, which is unsupported: use 8 bits, PNG or TIFF" in printed
        assert "damaged" not in printed
        with pytest.raises(ImageError, match=f"{bits}-bit samples"):
            probe_image(bench.folder / name)


@case
def cli_file_names(bench: Bench) -> None:
    names = ("IMG_0001 (1).jpg", "a,b.jpg", "epoch=3.jpg", "photo[1].jpg")
    for name in names:
        printed = bench.run(
            "reconstruct", f"input={bench.folder / name}", f"output={bench.work / 'out'}", "device=cpu"
        )
        assert "1 written" in printed
    assert {path.name for path in (bench.work / "out").glob("*.exr")} == {
        Path(name).with_suffix(".exr").name for name in names
    }


@case
def folder_sidecars(bench: Bench) -> None:
    passed = "passed over: 1 no images (.aae), 1 no images (.mov), 1 no images (.txt), 1 no images (.xmp)"
    for printed in (bench.reconstruct("photos"), bench.tonemap("hdr")):
        assert passed in printed
        assert "1 written" in printed
        assert "failed" not in printed


@case
def folder_thumbs_db(bench: Bench) -> None:
    for printed in (bench.reconstruct("photos"), bench.tonemap("hdr")):
        assert "passed over: 1 no images (.db), 1 no images (.ini)" in printed
        assert "1 written" in printed


@case
def hdr_written_format_not_last(bench: Bench) -> None:
    bench.reconstruct("photo.png", "formats=[hdr]")
    header = (bench.work / "out" / "photo.hdr").read_bytes().partition(b"\n\n")[0].decode()
    assert header.endswith("\nFORMAT=32-bit_rle_rgbe")
    assert "scale=relative" in header


@case
def exif_not_handed_on(bench: Bench) -> None:
    # The camera's exposure time and aperture are pairs of whole numbers, which Exif has as fractions.
    bench.reconstruct("camera.jpg", "formats=[exr,tiff,ultrahdr]")
    out = bench.work / "out"
    for name in ("camera.exr", "camera.tif", "camera_ultrahdr.jpg"):
        photo = read_metadata(out / name)
        said = photo.attributes()
        assert said["expTime"] == pytest.approx(1 / 125), name
        assert said["aperture"] == pytest.approx(2.8), name
        assert (said["isoSpeed"], said["capDate"]) == (400, "2024:05:06 07:08:09"), name
        assert said["owner"] == "A. Photographer", name
        assert photo.exif.main.keys().isdisjoint({0x0112}) or photo.exif.main[0x0112].numbers() == (1,), name


@case
def panorama_seam(bench: Bench) -> None:
    bench.reconstruct("pano.png rolled.png", "panorama=true")
    whole, rolled = bench.out("pano.exr"), bench.out("rolled.exr")
    jump = np.abs(whole[:, 0] - whole[:, -1]).max()
    neighbours = np.abs(np.diff(rolled, axis=1)).max()
    assert jump <= 1.1 * neighbours, f"{jump:.3f} over the edge, {neighbours:.3f} elsewhere"


# ------------------------------------------------------------------------------------------- outputs


@case
def cut_output_counts_as_done(bench: Bench) -> None:
    photo = bench.work / "p0.png"
    PillowImage.linear_gradient("L").resize((40, 30)).convert("RGB").save(photo)
    words = (f"input={photo}", f"output={bench.work / 'out'}", "formats=[exr,ultrahdr]", "device=cpu")
    bench.run("reconstruct", *words)
    assert "0 written" in bench.run("reconstruct", *words)
    for name in ("p0.exr", "p0_ultrahdr.jpg", "p0_preview.jpg"):
        file = bench.work / "out" / name
        whole = file.read_bytes()
        os.truncate(file, 7)
        assert "1 written" in bench.run("reconstruct", *words)
        assert len(file.read_bytes()) == len(whole)
    bench.tonemap("../exr_chromaticities_rec2020/want.exr")
    os.truncate(bench.work / "out" / "want.png", 7)
    assert "1 written" in bench.tonemap("../exr_chromaticities_rec2020/want.exr")


@contextmanager
def largest_file(num_bytes: int) -> Iterator[None]:
    """Refuse to let files grow beyond a size, in the middle of a write, as a disk does that fills up."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@case
def png_full_disk(bench: Bench) -> None:
    noise = np.random.default_rng(1).uniform(0, 1, (200, 300, 3)).astype(np.float32)
    source = bench.work / "b.exr"
    oiio_write(source, noise)
    words = (f"input={source}", f"output={bench.work / 'out'}")
    for more, name in (
        (("operator=reinhard",), "b.png"),
        (("operator=[reinhard,gamma]", "sheet=true"), "b_sheet.png"),
    ):
        with largest_file(20_480):
            printed = bench.run("tonemap", *words, *more, code=1)
        assert "cannot be written: " in printed
        assert not (bench.work / "out" / name).exists()
        assert "1 written" in bench.run("tonemap", *words, *more)
        assert (bench.work / "out" / name).stat().st_size > 20_480


def oiio_write(path: Path, pixels: NDArray[np.float32]) -> None:
    target = oiio.ImageOutput.create(str(path))
    assert target.open(str(path), oiio.ImageSpec(pixels.shape[1], pixels.shape[0], 3, "float"))
    target.write_image(pixels)
    target.close()


@case
def stale_tmp_outputs(bench: Bench) -> None:
    photo = bench.work / "p.png"
    PillowImage.linear_gradient("L").resize((600, 400)).convert("RGB").save(photo)
    for attempt in range(8):  # the run may be over before it is seen writing
        out = bench.work / f"out{attempt}"
        words = (f"input={photo}", f"output={out}", "device=cpu", "formats=[exr,hdr,tiff]")
        line = [sys.executable, "-m", "hdrlab.reconstruct", *words]
        begun = subprocess.Popen(line, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while not any(out.glob(".*.tmp")) and begun.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.0005)
        begun.send_signal(signal.SIGKILL)
        if begun.wait() != 0 and any(out.glob(".*.tmp")):
            break
    assert any(out.glob(".*.tmp")), "never killed while it wrote"
    bench.run("reconstruct", *words)
    assert not any(out.glob(".*"))


@case
def symlink_in_output(bench: Bench) -> None:
    photo, out, elsewhere = bench.work / "p0.png", bench.work / "out", bench.work / "elsewhere"
    PillowImage.new("RGB", (30, 20), "orange").save(photo)
    elsewhere.mkdir()
    out.mkdir()
    words = (f"input={photo}", f"output={out}", "device=cpu", "layers=true")
    (elsewhere / "precious").write_text("kept")
    (elsewhere / "log").write_text("kept")
    (out / "p0_curve.csv").symlink_to(elsewhere / "precious")
    bench.run("reconstruct", *words, code=1)
    (out / "p0_curve.csv").unlink()
    (out / "reconstruct.jsonl").unlink()
    (out / "reconstruct.jsonl").symlink_to(elsewhere / "log")
    bench.run("reconstruct", *words, code=2)
    (out / "reconstruct.jsonl").unlink()
    os.mkfifo(out / "reconstruct.jsonl")
    bench.run("reconstruct", *words, code=2)
    (out / "reconstruct.jsonl").unlink()
    (bench.work / "in" / "sub").mkdir(parents=True)
    photo.rename(bench.work / "in" / "sub" / "p0.png")
    (out / "sub").symlink_to(elsewhere)
    bench.run("reconstruct", f"input={bench.work / 'in'}", f"output={out}", "device=cpu", code=1)
    assert {path.name: path.read_text() for path in elsewhere.iterdir()} == {
        "precious": "kept",
        "log": "kept",
    }


# -------------------------------------------------------------------------------- small files, large claims


@case
def radiance_run_bomb(bench: Bench) -> None:
    with bounded(100, 10):  # it took 30 and more
        printed = bench.tonemap("r200M.hdr", code=1)
    assert "200000000 × 1 pixels in 73 bytes" in printed


@case
def vgg_npy_memo_bomb(bench: Bench) -> None:
    with bounded(300, 20):  # importing torch
        printed = bench.run(
            "import_weights", f"source={bench.folder / 'vgg16.npy'}", f"output={bench.work / 'o'}", code=2
        )
    assert "vgg16.npy" in printed


@case
def tf_bundle_bombs(bench: Bench) -> None:
    bundle = bench.work / "model.ckpt.index"
    bundle.write_bytes(gzip.decompress((bench.folder / "prefix.index.gz").read_bytes()))
    (bench.work / "model.ckpt.data-00000-of-00001").write_bytes(bytes(100))
    with bounded(300, 20):
        bench.run("import_weights", f"source={bundle}", f"output={bench.work / 'o'}", code=2)
    records = bench.work / "records"
    records.mkdir()
    shutil.copyfile(bench.folder / "ints.tfrecord", records / "ints.tfrecord")
    with bounded(300, 20):
        bench.run("prepare", f"source={records}", f"root={bench.work / 'root'}", "data=hdr_real", code=2)


# ------------------------------------------------------------------------------------------- weights


@case
def checkpoint_raw_errors(bench: Bench) -> None:
    import torch

    def crafted(change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        stored = torch.load(whole, weights_only=True)
        change(stored)
        return stored

    def weight(value: Callable[[Any], Any], rename: Any = None) -> Callable[[dict[str, Any]], None]:
        def change(stored: dict[str, Any]) -> None:
            weights = stored["state_dict"]
            name = next(name for name, one in weights.items() if one.is_floating_point() and one.ndim)
            weights[rename if rename is not None else name] = value(weights.pop(name))

        return change

    whole = bench.lab.starts("deq")
    photo = bench.work / "p.png"
    PillowImage.new("RGB", (30, 20), "orange").save(photo)
    changes = {
        "meta": weight(lambda one: one.to("meta")),
        "sparse": weight(lambda one: one.to_sparse()),
        "number": weight(lambda one: one, 7),
        "complex": weight(lambda one: one.to(torch.complex64)),
        "nan": weight(lambda one: one * torch.nan),
        "stage": lambda stored: stored["hdrlab"]["config"].update(stage=[1]),
        "preset": lambda stored: stored["hdrlab"].update(preset="xx"),
    }
    for name, change in changes.items():
        file = bench.work / f"{name}.ckpt"
        torch.save(crafted(change), file)
        words = (f"output={bench.work / 'o'}", "device=cpu", "stages=deq_lin")
        printed = bench.run("reconstruct", f"input={photo}", f"checkpoint={file}", *words, code=2)
        assert f"{name}.ckpt" in printed, printed


def copy_bundle(bench: Bench, folder: Path) -> Path:
    """Copy the authors' kind of checkpoint; return its prefix."""
    source = bench.shared / "goldens" / "singlehdr" / "open" / "tf1_checkpoint_deq_lin"
    folder.mkdir(parents=True)
    (index,) = source.glob("*.index")
    for file in source.glob(f"{index.stem}.*"):
        shutil.copyfile(file, folder / file.name.replace(index.stem, "model.ckpt"))
    return folder / "model.ckpt"


@case
def import_macosx_folder(bench: Bench) -> None:
    downloads = bench.work / "downloads"
    copy_bundle(bench, downloads / "ckpt")
    companions = downloads / "__MACOSX" / "ckpt"
    companions.mkdir(parents=True)
    for name in ("._model.ckpt.index", "._model.ckpt.data-00000-of-00001"):
        shutil.copyfile(bench.folder / "._model.ckpt.index", companions / name)
    words = (f"source={downloads}", f"output={bench.work / 'nets'}")
    bench.run("import_weights", *words, f"basis={bench.shared / 'crf' / 'invemor.txt'}")
    assert {path.stem for path in (bench.work / "nets").iterdir()} >= {"dequantization", "linearization"}


@case
def import_messages(bench: Bench) -> None:
    nets = f"output={bench.work / 'nets'}"
    for name in ("vgg16.npy", "vgg16-397923af.pth"):
        printed = bench.run("import_weights", f"source={bench.folder / name}", nets, code=2)
        assert "web page" in printed
        assert "is none of" not in printed
    prefix = copy_bundle(bench, bench.work / "ckpt")
    prefix.with_name("model.ckpt.meta").write_bytes(b"graph")
    basis = f"basis={bench.shared / 'crf' / 'invemor.txt'}"
    bench.run("import_weights", f"source={prefix}.meta", nets, basis)
    assert (bench.work / "nets" / "dequantization.pt").is_file()


# ---------------------------------------------------------------------------------------- evaluation


@case
def evaluate_niqe_nan(bench: Bench) -> None:
    folder, output = bench.folder, bench.work / "out"
    places = (f"data.hdr={folder / 'hdr'}", f"results.mine={folder / 'mine'}", f"niqe={folder / 'niqe.npz'}")
    words = ("task=tonemap", "data=folder", "operators=[gamma]", f"output={output}", "report=false")
    printed = bench.run("evaluate", *words, *places, f"paths.data={bench.work / 'data'}")
    with next(output.rglob("images.csv")).open(newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["method"] == "mine"]
    undefined = [row for row in rows if row["niqe"] in ("", "nan")]
    assert len(undefined) == 2
    assert "n = 1" in printed
    assert "undefined" in printed


@case
def csv_formulas(bench: Bench) -> None:
    names = ("=cmd()|x", "@SUM(1)", "+1+1", "-2")
    hdr = bench.work / "hdr"
    hdr.mkdir()
    rng = np.random.default_rng(2)
    for name in names:
        oiio_write(hdr / f"{name}.exr", rng.uniform(0, 4, (200, 220, 3)).astype(np.float32))
    data = (f"paths.data={bench.work / 'data'}",)
    words = ("task=tonemap", "data=folder", f"data.hdr={hdr}", "operators=[gamma,log]", "report=false")
    bench.run("evaluate", *words, *data, f"output={bench.work / 'scores'}")
    taken = bench.work / "taken"
    bench.run("synthesize", "data=hdr_synth", f"data.root={hdr}", *data, f"output={taken}", "split=train")
    tables = [*(bench.work / "scores").rglob("*.csv"), *taken.glob("*.csv")]
    assert len(tables) >= 2
    cells = [cell for table in tables for row in csv.reader(table.open(encoding="utf-8")) for cell in row]
    assert any("cmd()" in cell for cell in cells)
    assert not [cell for cell in cells if cell[:1] in "=@+-" and cell and not is_number(cell)]


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


# ----------------------------------------------------------------------------------------- trainings


@case
def hydra_run_dir_ignored(bench: Bench) -> None:
    mine = bench.work / "mine"
    bench.run("train", *bench.lab.words("deq", f"hydra.run.dir={mine}"))
    assert (mine / "last.ckpt").is_file()


STEADY = ("stage.max_steps=6", "trainer.val_every=3", "trainer.save_every=2", "stage.lr=1e-20")


def kill_at(name: str, call: int) -> Callable[[], None]:
    """Kill the process at a step of its saves."""
    from hdrlab.training import checkpoints

    def change() -> None:
        plain, calls = getattr(checkpoints, name), []

        def deadly(*args: Any, **more: Any) -> Any:
            calls.append(args)
            if len(calls) == call:
                os.kill(os.getpid(), signal.SIGKILL)
            return plain(*args, **more)

        setattr(checkpoints, name, deadly)

    return change


def train_after(bench: Bench, *changes: Callable[[], None] | None, codes: tuple[int, ...]) -> str:
    """Give the same command again and again, each time with something that happens to it."""
    log = bench.work / "log"
    for change, code in zip(changes, codes, strict=True):
        log.write_text("")
        assert start(bench.lab.words("deq", *STEADY), log, change).wait() == code, log.read_text()
    return log.read_text()


@case
def one_kill_before_the_first_list(bench: Bench) -> None:
    train_after(bench, kill_at("write_manifest", 1), None, None, codes=(-9, 0, 0))
    assert [*bench.lab.runs.glob("slots/**/deq*")]


@case
def two_kills_in_the_save(bench: Bench) -> None:
    twice = (kill_at("write_manifest", 3), kill_at("write_manifest", 1), None)
    train_after(bench, *twice, codes=(-9, -9, 0))


@case
def torch_save_full_disk(bench: Bench) -> None:
    from hdrlab.training import checkpoints

    def fill_up() -> None:
        plain, calls = checkpoints.torch.save, []  # type: ignore[attr-defined]

        def filling(*args: Any, **more: Any) -> None:
            calls.append(args)
            with largest_file(10_000) if len(calls) == 2 else largest_file(1 << 40):
                plain(*args, **more)

        checkpoints.torch.save = filling  # type: ignore[attr-defined]

    printed = train_after(bench, fill_up, codes=(0,))
    assert "last.ckpt: not saved" in printed
    assert "Traceback" not in printed


@case
def unwritable_run_folder(bench: Bench) -> None:
    run = bench.lab.train("deq", *STEADY[:3])
    if shutil.which("chattr") is None or subprocess.run(["chattr", "+i", str(run)], check=False).returncode:
        pytest.skip("files cannot be made immutable here")
    try:
        longer = ("stage.max_steps=8", *STEADY[1:3])
        printed = bench.run("train", *bench.lab.words("deq", *longer), code=1)
    finally:
        subprocess.run(["chattr", "-i", str(run)], check=True)
    assert str(run) in printed
    bench.run("train", *bench.lab.words("deq", *longer))


# ------------------------------------------------------------------------------------------------ the walk


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in CHECKS]
)
def test_case(
    name: str, cases: Path, shared: Path, lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if not (cases / name).is_dir():
        pytest.skip(f"no case {name}")
    CHECKS[name](Bench(cases / name, tmp_path, shared, lab, capsys))
