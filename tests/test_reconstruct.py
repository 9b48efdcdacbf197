from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import OpenImageIO as oiio
import pytest
import torch
from commands import call
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageCms
from training import Lab

from hdrlab import __version__, reconstruct
from hdrlab.errors import ImageError, ResourceError, WeightsError, install
from hdrlab.inference import reconstructor
from hdrlab.inference.load import CHAIN, LINEAR_CHAIN, find_weights, pick_device
from hdrlab.inference.preview import preview
from hdrlab.io import read_image, read_photograph, write_image
from hdrlab.io.gain_maps import OFFSET
from hdrlab.io.metadata import HDRLAB, read_metadata
from hdrlab.io.ultrahdr import read_ultrahdr, write_ultrahdr
from hdrlab.io.xmp import find_text
from hdrlab.nets import build_net
from hdrlab.ops.colour_spaces import REC709, REC2020, conversion, convert, pq_curve
from hdrlab.pipeline.resizing import reconstruct_any_size
from hdrlab.pipeline.singlehdr import reconstruct as whole
from hdrlab.weights.net_file import load_nets, save_net

FOUR = ("dequantization", "linearization", "hallucination", "refinement")
WEIGHTS = np.array((0.212656, 0.715158, 0.072186), np.float32)


def write_nets(folder: Path, preset: str = "default", names: tuple[str, ...] = FOUR[:3]) -> Path:
    """Tiny nets whose every step shows."""
    folder.mkdir(parents=True)
    torch.manual_seed(3)
    for name in names:
        net = build_net(name, preset, width=1 / 16)
        with torch.no_grad():
            for parameter in net.parameters():
                if parameter.ndim == 1:
                    parameter.add_(0.05)
        save_net(net, folder / f"{name}.pt", {})
    return folder


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_nets(tmp_path_factory.mktemp("weights") / "default")


def photograph(height: int = 37, width: int = 50) -> NDArray[np.uint8]:
    """Smooth, each corner different, clipped around a lamp."""
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    lamp = 400 * np.exp(-40 * ((x - 0.6) ** 2 + (y - 0.3) ** 2))
    return (
        np.stack([200 * x, 150 * y, 180 - 100 * x], -1).__add__(lamp[..., None]).clip(0, 255).astype(np.uint8)
    )


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photos" / "lamp.png"
    path.parent.mkdir()
    PillowImage.fromarray(photograph()).save(path)
    return path


def command(*words: object) -> int:
    return call(reconstruct.COMMAND, ["precision=32", *words, "device=cpu"])


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def expected(pixels: NDArray[Any], nets: Path | list[Path], procedure: Any = "default") -> Any:
    ldr = torch.from_numpy(pixels.astype(np.float32) / np.iinfo(pixels.dtype).max).permute(2, 0, 1)[None]
    loaded = load_nets(nets)
    with torch.no_grad():
        return reconstruct_any_size(ldr, lambda fitted: whole(fitted, loaded), procedure)


def hwc(image: torch.Tensor) -> NDArray[np.float32]:
    return image[0].permute(1, 2, 0).numpy()


def channels(path: Path) -> tuple[dict[str, NDArray[np.float32]], dict[str, Any]]:
    source = oiio.ImageInput.open(str(path))
    spec, pixels = source.spec(), source.read_image("float")
    source.close()
    said = {attribute.name: attribute.value for attribute in spec.extra_attribs}
    return {name: pixels[..., i] for i, name in enumerate(spec.channelnames)}, said | {
        "type": str(spec.format)
    }


# --------------------------------------------------------------------------------------- what is computed


@pytest.mark.parametrize(
    ("preset", "used"), [("default", "default"), ("official", "official"), ("tf2", "default")]
)
def test_the_file_holds_what_the_nets_give(preset: str, used: str, photo: Path, tmp_path: Path) -> None:
    folder = write_nets(tmp_path / preset, preset, FOUR)
    assert command(f"input={photo}", f"output={tmp_path / 'out'}", f"checkpoint={folder}") == 0
    made = read_image(tmp_path / "out" / "lamp.exr")
    wanted = hwc(expected(photograph(), folder, used).result)
    assert made.shape == (37, 50, 3)
    np.testing.assert_allclose(made.pixels, wanted, rtol=2e-3, atol=1e-4)
    assert (made.metadata["preset"], made.metadata["procedure"]) == (preset, used)
    assert made.metadata["nets"].endswith("refinement")


def test_tiles_come_from_the_memory_and_leave_no_trace(nets: Path, tmp_path: Path, monkeypatch: Any) -> None:
    tiles: list[int] = []
    PillowImage.fromarray(photograph(300, 1200)).save(tmp_path / "a.png")
    develop = reconstructor.Reconstructor.develop
    monkeypatch.setattr(
        reconstructor.Reconstructor,
        "develop",
        lambda self, path, advance, **more: develop(
            self, path, lambda done, total: tiles.append(total), **more
        ),
    )
    made = []
    for memory in ("2GB", "670MB"):
        words = [
            f"input={tmp_path / 'a.png'}",
            f"output={tmp_path / memory}",
            f"checkpoint={nets}",
            "formats=tiff",
        ]
        assert command(*words, f"memory={memory}") == 0
        made.append((tiles[-1], read_image(tmp_path / memory / "a.tif").pixels))
    assert 1 < made[0][0] < made[1][0]
    np.testing.assert_allclose(made[0][1], made[1][1], rtol=1e-5, atol=1e-6)


def test_refinement_is_used_where_there_is_one_unless_told_otherwise(
    photo: Path, nets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    four = write_nets(tmp_path / "four", names=FOUR)
    for refine, folder in (("null", four), ("true", four), ("false", four), ("null", nets)):
        output = tmp_path / f"{refine}_{folder.name}"
        assert command(f"input={photo}", f"output={output}", f"checkpoint={folder}", f"refine={refine}") == 0
    pixels = {path.name: read_image(path / "lamp.exr").pixels for path in tmp_path.glob("*_*/")}
    assert np.array_equal(pixels["null_four"], pixels["true_four"])
    assert not np.array_equal(pixels["null_four"], pixels["false_four"])
    capsys.readouterr()
    assert command(f"input={photo}", f"output={tmp_path / 'x'}", f"checkpoint={nets}", "refine=true") == 2
    assert "no refinement net among them" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_a_linear_image_needs_two_nets_only(photo: Path, tmp_path: Path) -> None:
    two = write_nets(tmp_path / "two", names=FOUR[:2])
    words = [f"output={tmp_path / 'out'}", "stages=deq_lin", "layers=true"]
    assert (
        command(f"input={photo}", *words, f"checkpoint=[{two}/dequantization.pt,{two}/linearization.pt]") == 0
    )
    layers, said = channels(tmp_path / "out" / "lamp.exr")
    assert set(layers) == {"R", "G", "B", *(f"{layer}.{c}" for layer in "BC" for c in "RGB")}
    assert np.array_equal(layers["R"], layers["B.R"])
    assert layers["R"].max() <= 1
    assert said["nets"] == "dequantization, linearization"


def test_layers_hold_every_step_and_the_curve(photo: Path, nets: Path, tmp_path: Path) -> None:
    assert (
        command(f"input={photo}", f"output={tmp_path}", f"checkpoint={nets}", "layers=true", "scale=median")
        == 0
    )
    layers, said = channels(tmp_path / "lamp.exr")
    wanted = expected(photograph(), nets)
    for name, image in {"C": wanted.dequantized, "B": wanted.linear, "A": wanted.hdr}.items():
        made = np.stack([layers[f"{name}.{c}"] for c in "RGB"], -1)
        np.testing.assert_allclose(made, hwc(image), rtol=2e-3, atol=1e-4)
    np.testing.assert_allclose(layers["alpha.Y"], wanted.alpha[0, 0], atol=2e-3)
    np.testing.assert_allclose(layers["R"], layers["A.R"] * said["scaleFactor"], rtol=2e-3, atol=1e-4)
    curve = wanted.curve[0].numpy()
    np.testing.assert_allclose(json.loads(said["inverseResponse"]), curve, rtol=1e-5, atol=1e-6)
    with (tmp_path / "lamp_curve.csv").open(newline="") as stream:
        rows = [(float(row["encoded"]), float(row["linear"])) for row in csv.DictReader(stream)]
    np.testing.assert_allclose(rows, np.stack([np.linspace(0, 1, 1024), curve], -1), rtol=1e-5, atol=1e-6)


# ------------------------------------------------------------------------------------- what goes in and out


def test_a_phones_image_comes_out_upright(nets: Path, tmp_path: Path) -> None:
    upright = photograph(131, 87)
    exif = PillowImage.Exif()
    exif[0x0112] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    turned = PillowImage.fromarray(np.ascontiguousarray(np.rot90(upright)))
    turned.save(tmp_path / "IMG 1.JPG", quality=98, exif=exif, icc_profile=profile)
    assert (
        command(f"input={tmp_path}", f"output={tmp_path / 'out'}", f"checkpoint={nets}", "formats=hdr") == 0
    )
    assert names(tmp_path / "out") == {"IMG 1.hdr", "IMG 1_preview.jpg", "reconstruct.jsonl"}
    made = read_image(tmp_path / "out" / "IMG 1.hdr").pixels
    assert made.shape == (131, 87, 3)
    np.testing.assert_allclose(made, hwc(expected(upright, nets).result), rtol=0.3, atol=0.05)


def test_a_mixed_folder_gives_all_that_can_be_read(
    nets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, output = tmp_path / "mixed", tmp_path / "out"
    (folder / "sub").mkdir(parents=True)
    pixels = photograph()
    PillowImage.fromarray(pixels).save(folder / "good.jpg")
    (folder / "cut.jpg").write_bytes((folder / "good.jpg").read_bytes()[:700])
    (folder / "notes.txt").write_text("no image")
    write_image(folder / "deep.png", pixels.astype(np.uint16) * 257)
    PillowImage.fromarray(pixels).convert("CMYK").save(folder / "sub" / "print.jpg")
    PillowImage.fromarray(pixels[:8]).save(folder / "low.png")
    write_image(folder / "light.exr", pixels.astype(np.float32))
    assert command(f"input={folder}", f"output={output}", f"checkpoint={nets}", "preview=false") == 1
    assert names(output) == {"good.exr", "deep.exr", "low.exr", "sub/print.exr", "reconstruct.jsonl"}
    said = capsys.readouterr()
    errors = [line for line in said.err.splitlines() if line.startswith("error: ")]
    assert [line.split(": ")[1] for line in errors] == ["cut.jpg"]
    assert "light.exr: passed over: holds linear light already" in said.err
    assert "passed over: 1 no images (.txt), 1 of the other kind (SDR or HDR)\n" in said.err
    assert said.out == f"4 written to {output}, 2 passed over, 1 failed\n"
    assert read_image(output / "low.exr").shape == (8, 50, 3)
    deep = read_image(output / "deep.exr").pixels
    np.testing.assert_allclose(deep, hwc(expected(pixels, nets).result), rtol=2e-3, atol=1e-4)


def test_every_format_holds_the_same_light(photo: Path, nets: Path, tmp_path: Path) -> None:
    words = [f"checkpoint={nets}", "formats=[exr,hdr,tiff,ultrahdr]", "preview=true"]
    words += ["gain_map=full", "channels=3"]
    assert command(f"input={photo}", f"output={tmp_path / 'out'}", *words) == 0
    wanted = hwc(expected(photograph(), nets).result)
    assert names(tmp_path / "out") == {
        *("lamp.exr", "lamp.hdr", "lamp.tif", "lamp_ultrahdr.jpg", "lamp_preview.jpg", "reconstruct.jsonl")
    }
    for suffix, tolerance in ((".exr", 1e-3), (".hdr", 5e-3), (".tif", 1e-5)):
        made = read_image(tmp_path / "out" / f"lamp{suffix}").pixels
        assert np.abs(made - wanted).max() <= tolerance * wanted.max(), suffix
    assert channels(tmp_path / "out" / "lamp.exr")[1]["compression"] == "zip"
    assert channels(tmp_path / "out" / "lamp.exr")[1]["type"] == "half"
    read = read_ultrahdr(tmp_path / "out" / "lamp_ultrahdr.jpg").pixels
    assert np.percentile(np.abs(np.log2((read + OFFSET) / (wanted + OFFSET))), 99) < 0.1
    shown = read_image(tmp_path / "out" / "lamp_preview.jpg").pixels
    assert (shown.shape, shown.dtype) == ((37, 50, 3), np.uint8)
    assert 60 < shown.mean() < 200


def test_avif_and_jpeg_xl_hold_the_light_in_pq(photo: Path, nets: Path, tmp_path: Path) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    words = [f"checkpoint={nets}", "formats=[avif,jxl]", "preview=false"]
    assert command(f"input={photo}", f"output={tmp_path}", *words) == 0
    wanted = hwc(expected(photograph(), nets).result)
    for kind in ("avif", "jxl"):
        image = read_image(tmp_path / f"lamp.{kind}")
        assert (image.metadata["hdr"], image.metadata.get("bits", 10)) == ("PQ", 10)
        made = image.pixels / 203
        assert np.percentile(np.abs(np.log2((made + OFFSET) / (wanted + OFFSET))), 99) < 0.15, kind
        said = read_metadata(tmp_path / f"lamp.{kind}")
        assert said.xmp is not None
        assert find_text(said.xmp, f"{{{HDRLAB}}}scale") == "diffuse_white"
        assert find_text(said.xmp, f"{{{HDRLAB}}}software") == f"hdrlab {__version__}"
        assert said.packet() == b"", "what hdrlab says of a file is handed on to others"
    with PillowImage.open(tmp_path / "lamp.avif") as other:
        assert other.size == (50, 37)
    samples = imagecodecs.jpegxl_decode((tmp_path / "lamp.jxl").read_bytes())
    assert (samples.shape, samples.dtype) == ((37, 50, 3), np.uint16)
    theirs = convert(pq_curve(samples / 65535), conversion(REC2020, REC709)) / 203
    assert np.percentile(np.abs(np.log2((theirs + OFFSET) / (wanted + OFFSET))), 99) < 0.15


def test_an_ultra_hdr_photograph_is_handed_on_or_reconstructed(
    nets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    y, x = np.mgrid[0:48, 0:64] / 48
    hdr = (np.stack([x, y, 1 - x / 2], -1) * 6).astype(np.float32)
    write_ultrahdr(tmp_path / "a.jpg", hdr, np.rint(255 * hdr.clip(0, 1)).astype(np.uint8), shrink=1)
    words = [f"input={tmp_path / 'a.jpg'}", f"checkpoint={nets}", "formats=[exr,ultrahdr]", "preview=false"]
    assert command(*words, f"output={tmp_path / 'use'}") == 0
    assert "is HDR already (Ultra HDR, by its own gain map)" in capsys.readouterr().err
    own = read_ultrahdr(tmp_path / "a.jpg").pixels
    np.testing.assert_allclose(read_ultrahdr(tmp_path / "use/a_ultrahdr.jpg").pixels, own, atol=1e-5)
    np.testing.assert_allclose(read_image(tmp_path / "use/a.exr").pixels, own, rtol=2e-3, atol=2e-3)
    assert command(*words, f"output={tmp_path / 'not'}", "gain_map=[ignore,quarter]", "channels=3") == 0
    assert "its gain map was not used (gain_map=ignore)" in capsys.readouterr().err
    data = (tmp_path / "not/a_ultrahdr.jpg").read_bytes()
    with PillowImage.open(io.BytesIO(data[data.rindex(b"\xff\xd8\xff") :])) as gain_map:
        assert (gain_map.size, gain_map.mode) == ((16, 12), "RGB")


def test_avif_without_its_library_is_refused_at_once(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(reconstruct, "find_spec", lambda name: None)
    assert command(f"input={photo}", f"output={tmp_path / 'out'}", "formats=[avif]") == 2
    assert f"formats=avif needs an extra: {install('codecs')}" in capsys.readouterr().err


def test_a_preview_has_a_size_to_look_at(nets: Path, tmp_path: Path) -> None:
    PillowImage.fromarray(photograph(64, 96)).save(tmp_path / "a.png")
    words = [f"input={tmp_path / 'a.png'}", f"checkpoint={nets}", "stages=deq_lin"]
    assert command(*words, f"output={tmp_path / 'full'}") == 0
    assert command(*words, f"output={tmp_path / 'small'}", "preview_size=48") == 0
    full, small = (read_image(tmp_path / name / "a_preview.jpg") for name in ("full", "small"))
    assert (full.shape, small.shape) == ((64, 96, 3), (32, 48, 3))
    halved = full.pixels.reshape(32, 2, 48, 2, 3).mean((1, 3))
    assert np.abs(small.pixels - halved).mean() < 4


@pytest.mark.parametrize("scale", ["relative", "diffuse_white", "median"])
def test_the_file_says_what_1_means(scale: str, photo: Path, nets: Path, tmp_path: Path) -> None:
    words = [f"checkpoint={nets}", "formats=[exr,hdr,tiff,ultrahdr]", f"scale={scale}"]
    words += ["channels=3", "gain_map=full"]
    assert command(f"input={photo}", f"output={tmp_path}", *words) == 0
    relative = hwc(expected(photograph(), nets).result)
    factor = {"relative": 1, "diffuse_white": 203, "median": 0.18 / np.median(relative @ WEIGHTS)}[scale]
    loaded = read_image(tmp_path / "lamp.exr")
    np.testing.assert_allclose(loaded.pixels, relative * factor, rtol=2e-3, atol=1e-3 * factor)
    assert loaded.metadata["scale"] == scale
    assert loaded.metadata["scaleFactor"] == pytest.approx(factor, rel=1e-4)
    assert loaded.metadata.get("whiteLuminance") == (1.0 if scale == "diffuse_white" else None)
    assert read_image(tmp_path / "lamp.hdr").metadata["scale"] == scale
    assert read_image(tmp_path / "lamp.tif").metadata["hdrlab:scale"] == scale
    base = read_image(tmp_path / "lamp_ultrahdr.jpg")
    assert json.loads(base.metadata["comment"])["scale"] == "relative"
    assert read_ultrahdr(tmp_path / "lamp_ultrahdr.jpg").pixels.max() == pytest.approx(
        relative.max(), rel=0.1
    )


def test_values_beyond_half_precision_are_kept(tmp_path: Path) -> None:
    from hdrlab.inference.hdr_files import Developed, output_files, write_outputs

    hdr = np.full((16, 16, 3), 500, np.float32)
    made = Developed(hdr, photograph(16, 16), np.linspace(0, 1, 1024, dtype=np.float32))
    write_outputs(output_files(tmp_path / "a", ["exr"]), made, "diffuse_white")
    assert np.all(read_image(tmp_path / "a.exr").pixels == np.float32(101_500))
    hdr[3, 4, 1] = np.nan
    with pytest.raises(ImageError, match="not finite"):
        write_outputs(output_files(tmp_path / "b", ["exr"]), made, "relative")


@pytest.mark.parametrize(
    ("suffix", "package", "extra"), [(".heic", "pillow_heif", "heic"), (".NEF", "rawpy", "raw")]
)
def test_an_extra_that_is_missing_is_named(
    suffix: str, package: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"\0\0\0\x18ftypheic" + bytes(20))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImageError, match=re.escape(f"needs an extra: {install(extra)}")):
        read_photograph(path)


def test_a_heic_image_is_read_upright(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif")
    exif = PillowImage.Exif()
    exif[0x0112] = 6
    turned = PillowImage.fromarray(np.ascontiguousarray(np.rot90(photograph(96, 64))))
    heif.from_pillow(turned).save(tmp_path / "a.heic", quality=95, exif=exif.tobytes())
    made = read_photograph(tmp_path / "a.heic").pixels
    assert np.abs(made.astype(int) - photograph(96, 64)).mean() < 5
    (tmp_path / "cut.heic").write_bytes((tmp_path / "a.heic").read_bytes()[:400])
    with pytest.raises(ImageError, match="damaged HEIC"):
        read_photograph(tmp_path / "cut.heic")


def test_a_file_that_is_no_raw_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("rawpy")
    (tmp_path / "a.dng").write_bytes(b"no raw file" * 100)
    with pytest.raises(ImageError, match="no camera raw file that LibRaw can develop"):
        read_photograph(tmp_path / "a.dng")


# ------------------------------------------------------------------------------------------------ preview


@pytest.mark.parametrize("factor", [1e-6, 1.0, 1e6])
def test_a_preview_is_never_black_and_does_not_depend_on_the_scale(factor: float) -> None:
    rng = np.random.default_rng(0)
    hdr = np.exp2(rng.normal(-3, 2, (60, 80, 3))).astype(np.float32)
    hdr[:2] = 0
    hdr[20:22, 30:32] = 5000
    shown = preview(hdr * np.float32(factor))
    assert 70 < np.median(shown) < 190
    assert shown[20, 30].min() > 240
    assert np.abs(shown.astype(int) - preview(hdr)).max() <= 1


def test_a_preview_of_no_light_is_black() -> None:
    assert not preview(np.zeros((16, 16, 3), np.float32)).any()


# ------------------------------------------------------------------------------------- half-done and wrong


def test_a_half_done_folder_is_gone_on_with(
    nets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, output = tmp_path / "photos", tmp_path / "out"
    folder.mkdir()
    for name in "abc":
        PillowImage.fromarray(photograph()).save(folder / f"{name}.png")
    words = [f"input={folder}", f"output={output}", f"checkpoint={nets}", "preview=false"]
    develop = reconstructor.Reconstructor.develop

    def killed(self: reconstructor.Reconstructor, path: Path, *rest: Any, **more: Any) -> Any:
        if path.path.name == "b.png":
            raise KeyboardInterrupt
        return develop(self, path, *rest, **more)

    with monkeypatch.context() as patch:
        patch.setattr(reconstructor.Reconstructor, "develop", killed)
        with pytest.raises(KeyboardInterrupt):
            command(*words)
    assert names(output) == {"a.exr", "reconstruct.jsonl"}
    first = (output / "a.exr").stat().st_mtime_ns
    capsys.readouterr()
    assert command(*words) == 0
    assert capsys.readouterr().out == f"2 written to {output}, 1 there already\n"
    assert (output / "a.exr").stat().st_mtime_ns == first
    assert command(*words) == 0
    assert capsys.readouterr().out == f"0 written to {output}, 3 there already\n"
    assert command(*words, "scale=median") == 0
    assert capsys.readouterr().out == f"3 written to {output}\n"
    assert command(*words, "scale=median", "resume=never") == 0
    assert capsys.readouterr().out == f"3 written to {output}\n"
    other = write_nets(tmp_path / "other", "tf2")
    assert command(*words[:2], f"checkpoint={other}", "preview=false", "scale=median") == 0
    assert capsys.readouterr().out == f"3 written to {output}\n"


def test_what_is_wrong_is_said_at_once(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = f"output={tmp_path / 'out'}"
    wrong = ["layers=true", "formats=[hdr,jpg]", "memory=lots", "checkpoint=nowhere"]
    assert command(f"input={photo}", output, *wrong) == 2
    said = capsys.readouterr().err
    assert "formats: got 'jpg', must be exr | hdr | tiff | ultrahdr | avif | jxl" in said
    assert "memory=lots: must be a number with MB or GB" in said
    assert "checkpoint=nowhere: no such file or folder" in said
    assert command(f"input={photo}", output, "layers=true", "formats=hdr") == 2
    assert "only EXR holds layers" in capsys.readouterr().err
    assert command(f"input={photo}", output, "gain_map=[full,half]") == 2
    assert "gain_map=[full,half]: at most one of use and ignore, and one of full" in capsys.readouterr().err
    assert command(f"input={photo}", output, "formats=[]") == 2
    assert "formats: empty" in capsys.readouterr().err
    assert command(f"input={tmp_path / '*.nothing'}", output) == 2
    assert "no file matches this pattern" in capsys.readouterr().err
    assert command(f"input={photo}", f"output={photo.parent}") == 2
    assert "give another folder" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_tilde_in_a_list_is_the_home_folder(
    photo: Path, nets: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    shutil.copy(photo, tmp_path / "b.png")
    words = ["input=[~/photos/lamp.png,~/b.png]", "output=~/out", f"checkpoint=[{nets}]", "preview=false"]
    assert command(*words) == 0
    assert names(tmp_path / "out") == {"lamp.exr", "b.exr", "reconstruct.jsonl"}


def test_slots_are_taken_where_they_are_named(photo: Path, tmp_path: Path, capsys: Any) -> None:
    runs = tmp_path / "runs"
    assert command(f"input={photo}", f"output={tmp_path / 'out'}", f"paths.runs={runs}", "slots=tiny") == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "python -m hdrlab.train stage=deq" in said
    assert "hdrlab.import_weights" in said
    for data, stages in (("tiny", ("deq", "lin", "hal", "joint")), ("hdr_synth", ("deq", "lin"))):
        for stage in stages:
            (runs / "slots" / data).mkdir(parents=True, exist_ok=True)
            (runs / "slots" / data / f"{stage}.ckpt").write_bytes(b"")
    tiny = runs / "slots" / "tiny"
    assert find_weights("tiny", CHAIN, runs) == [tiny / "joint.ckpt"]
    (tiny / "joint.ckpt").unlink()
    assert find_weights("tiny", CHAIN, runs) == [tiny / f"{stage}.ckpt" for stage in ("deq", "lin", "hal")]
    assert find_weights("hdr_synth", LINEAR_CHAIN, runs)[1].name == "lin.ckpt"
    with pytest.raises(WeightsError, match="hdr_synth holds neither joint"):
        find_weights("hdr_synth", CHAIN, runs)


def test_weights_come_with_the_package(photo: Path, tmp_path: Path, capsys: Any) -> None:
    words = [f"input={photo}", f"output={tmp_path / 'out'}", f"paths.runs={tmp_path}", "preview=false"]
    assert command(*words) == 0
    assert (tmp_path / "out" / "lamp.exr").is_file()
    assert find_weights(None, CHAIN, tmp_path) == find_weights("compact", CHAIN, tmp_path)
    assert command(*words, "weights=official") == 2
    assert "hdrlab.import_weights" in capsys.readouterr().err


@pytest.mark.slow
def test_what_was_trained_is_used_from_its_slots(photo: Path, lab: Lab) -> None:
    for stage in ("deq", "lin", "hal"):
        lab.trained(stage)
    words = [f"input={photo}", f"output={lab.work / 'out'}", f"paths.runs={lab.runs}", "slots=hdr_synth"]
    assert command(*words) == 0
    made = read_image(lab.work / "out" / "lamp.exr")
    slots = [lab.runs / "slots" / "hdr_synth" / f"{stage}.ckpt" for stage in ("deq", "lin", "hal")]
    np.testing.assert_allclose(made.pixels, hwc(expected(photograph(), slots).result), rtol=2e-3, atol=1e-4)


def test_a_device_that_is_not_there_is_said() -> None:
    if not torch.cuda.is_available():
        with pytest.raises(ResourceError, match="device=cuda: not on this machine"):
            pick_device("cuda")
    assert pick_device("auto").type in ("cpu", "cuda", "mps")


# Not getrusage: its peak begins with the parent's, which a child inherits. VmHWM is the process's own.
PEAK = """
import sys
def peak(): print(open('/proc/self/status').read().partition('VmHWM:')[2].split()[0])
"""
SMALL = [(1, 1), (1, 9), (9, 1), (2, 3), (15, 15), (1, 100)]


@pytest.mark.parametrize("preset", ["default", "official", "tf2", "compact"])
def test_no_photograph_is_too_small(preset: str, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for height, width in SMALL:
        PillowImage.fromarray(photograph(height, width)).save(tmp_path / "photos" / f"{height}x{width}.png")
    made = f"checkpoint={write_nets(tmp_path / 'nets', preset)}" if preset != "compact" else "weights=compact"
    words = (made, "sheet=true", "preview=true", "formats=[exr,ultrahdr]")
    assert command(f"input={tmp_path / 'photos'}", f"output={tmp_path / 'out'}", *words) == 0
    for height, width in SMALL:
        light = read_image(tmp_path / "out" / f"{height}x{width}.exr").pixels
        assert light.shape == (height, width, 3)
        assert np.isfinite(light).all()


@pytest.mark.slow
def test_a_long_strip_takes_seconds_with_the_least_memory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    PillowImage.fromarray(photograph(300, 20_000)).save(tmp_path / "strip.png")
    words = [f"input={tmp_path / 'strip.png'}", f"output={tmp_path / 'out'}", "device=cpu", "preview=false"]
    assert command(*words, "memory=300MB") == 2
    refused = re.search(r"memory=300MB: .* give at least (\d+)MB", capsys.readouterr().err)
    assert refused
    least = int(refused[1])
    begun = time.monotonic()
    code = f"{PEAK}\nfrom hdrlab.reconstruct import COMMAND\ntry: COMMAND.main(sys.argv[1:])\nfinally: peak()"
    given = [sys.executable, "-c", code, *words, f"memory={least}MB"]
    done = subprocess.run(given, capture_output=True, text=True, check=True)
    assert time.monotonic() - begun < 60
    assert int(done.stdout.splitlines()[-1]) / 1e3 - 100 * 6 < least, (
        "a hundred bytes a pixel are the image's"
    )


@pytest.mark.slow
@pytest.mark.timeout(1200)  # so small a budget makes small tiles with wide margins
def test_memory_stays_near_the_budget(nets: Path, tmp_path: Path) -> None:
    PillowImage.fromarray(photograph(1000, 1500)).save(tmp_path / "a.jpg")
    (tmp_path / "b").mkdir()
    PillowImage.fromarray(photograph(32, 32)).save(tmp_path / "b.png")
    code = f"{PEAK}\nfrom hdrlab.reconstruct import COMMAND\ntry: COMMAND.main(sys.argv[1:])\nfinally: peak()"
    peaks = []
    for name in ("b.png", "a.jpg"):
        words = [
            f"input={tmp_path / name}",
            f"output={tmp_path / name[0]}",
            f"checkpoint={nets}",
            "memory=700MB",
        ]
        asked = subprocess.run(
            [sys.executable, "-c", code, *words, "device=cpu"], capture_output=True, text=True, check=True
        )
        peaks.append(int(asked.stdout.splitlines()[-1]) / 1e3)
    without = peaks[1] - 1.5 * 100  # megabytes: a hundred bytes a pixel are the image's own
    print(f"peak {peaks[1]:.0f} MB, {without:.0f} MB without the image, {peaks[0]:.0f} MB for a tiny one")
    assert without < 700


# ---------------------------------------------------------------------------------------------- panoramas


GPANO = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:GPano="http://ns.google.com/photos/1.0/panorama/" '
    b'GPano:ProjectionType="equirectangular" GPano:FullPanoWidthPixels="128" '
    b'GPano:CroppedAreaImageWidthPixels="128"/></rdf:RDF></x:xmpmeta>'
)


def panorama(height: int = 64) -> NDArray[np.uint8]:
    """Goes all the way round, with a sun on its edge."""
    width = 2 * height
    y, x = np.mgrid[0:height, 0:width] / height
    turn = np.pi * x
    sky = np.stack([110 + 60 * np.sin(turn + c) * np.cos(3 * y) for c in range(3)], -1)
    sun = 300 * np.exp(-30 * ((1 - np.cos(turn)) + (y - 0.4) ** 2))
    return (sky + sun[..., None]).clip(0, 255).astype(np.uint8)


def seam(pixels: NDArray[Any]) -> float:
    """How much larger the step over the edge is than others near it."""
    light = np.log2(pixels.astype(np.float64) + 0.01)
    rolled = np.roll(light, light.shape[1] // 2, axis=1)
    steps = np.abs(np.diff(rolled, axis=1)).mean((0, 2))
    middle = light.shape[1] // 2
    return float(steps[middle - 1] / np.median(steps[middle - 9 : middle + 8]))


@pytest.mark.parametrize("procedure", ["default", "official"])
def test_a_panorama_does_not_depend_on_where_it_was_cut(procedure: str, nets: Path, tmp_path: Path) -> None:
    pixels = panorama()
    words = [f"checkpoint={nets}", "panorama=true", "preview=false", f"procedure={procedure}"]
    made = []
    for name, image in {"pano": pixels, "rolled": np.roll(pixels, 64, axis=1)}.items():
        PillowImage.fromarray(image).save(tmp_path / f"{name}.png")
        assert command(f"input={tmp_path / name}.png", f"output={tmp_path / 'out'}", *words) == 0
        made.append(read_image(tmp_path / "out" / f"{name}.exr").pixels)
    rolled_back = np.roll(made[1], -64, axis=1)
    np.testing.assert_allclose(made[0], rolled_back, rtol=0.05, atol=0.02 * made[0].max())
    assert seam(made[0]) < 2


def test_a_panorama_is_known_by_its_metadata(nets: Path, tmp_path: Path, capsys: Any) -> None:
    flat = panorama()[:, :120]
    PillowImage.fromarray(panorama()).save(tmp_path / "pano.jpg", quality=95, xmp=GPANO)
    PillowImage.fromarray(flat).save(tmp_path / "part.jpg", quality=95, xmp=GPANO)
    PillowImage.fromarray(panorama()).save(tmp_path / "wide.jpg", quality=95)
    words = [f"input={tmp_path}/*.jpg", f"checkpoint={nets}", "preview=false", "stages=deq_lin"]
    assert command(*words, f"output={tmp_path / 'out'}") == 0
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note: ")]
    assert told == ["note: pano.jpg: is a panorama: its left and right edge are treated as neighbours"]
    assert command(*words, f"output={tmp_path / 'flat'}", "panorama=false") == 0
    assert "is a panorama" not in capsys.readouterr().err
