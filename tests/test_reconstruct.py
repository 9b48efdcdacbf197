from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import OpenImageIO as oiio
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageCms
from training import Lab

from hdrlab import chain, reconstruct
from hdrlab.io import ImageError, read_image, write_image
from hdrlab.io.photographs import read_photograph
from hdrlab.io.ultrahdr import OFFSET, read_ultrahdr
from hdrlab.net_files import load_nets, save_net
from hdrlab.nets import build_net
from hdrlab.pipeline import reconstruct as whole
from hdrlab.preview import preview
from hdrlab.procedure import reconstruct_any_size

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
    with pytest.raises(SystemExit) as left:
        reconstruct.COMMAND.main([*map(str, words), "device=cpu"])
    assert isinstance(left.value.code, int)
    return left.value.code


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def expected(pixels: NDArray[Any], nets: Path | list[Path], procedure: Any = "default") -> Any:
    ldr = torch.from_numpy(pixels.astype(np.float32) / np.iinfo(pixels.dtype).max).permute(2, 0, 1)[None]
    loaded = load_nets(nets)
    with torch.no_grad():
        return reconstruct_any_size(ldr, lambda fitted: whole(fitted, loaded), procedure)


def hwc(picture: torch.Tensor) -> NDArray[np.float32]:
    return picture[0].permute(1, 2, 0).numpy()


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
    PillowImage.fromarray(photograph(300, 420)).save(tmp_path / "a.png")
    develop = chain.Chain.develop
    monkeypatch.setattr(
        chain.Chain,
        "develop",
        lambda self, path, advance, **more: develop(
            self, path, lambda done, total: tiles.append(total), **more
        ),
    )
    made = []
    for memory in ("2GB", "120MB"):
        words = [
            f"input={tmp_path / 'a.png'}",
            f"output={tmp_path / memory}",
            f"checkpoint={nets}",
            "formats=tiff",
        ]
        assert command(*words, f"memory={memory}") == 0
        made.append((tiles[-1], read_image(tmp_path / memory / "a.tif").pixels))
    assert made[0][0] == 4
    assert made[1][0] > 4
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
    assert "holds no refinement net" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_a_linear_picture_needs_two_nets_only(photo: Path, tmp_path: Path) -> None:
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
    for name, picture in {"C": wanted.dequantized, "B": wanted.linear, "A": wanted.hdr}.items():
        made = np.stack([layers[f"{name}.{c}"] for c in "RGB"], -1)
        np.testing.assert_allclose(made, hwc(picture), rtol=2e-3, atol=1e-4)
    np.testing.assert_allclose(layers["alpha.Y"], wanted.alpha[0, 0], atol=2e-3)
    np.testing.assert_allclose(layers["R"], layers["A.R"] * said["scaleFactor"], rtol=2e-3, atol=1e-4)
    curve = wanted.curve[0].numpy()
    np.testing.assert_allclose(json.loads(said["inverseResponse"]), curve, rtol=1e-5, atol=1e-6)
    with (tmp_path / "lamp_curve.csv").open(newline="") as stream:
        rows = [(float(row["encoded"]), float(row["linear"])) for row in csv.DictReader(stream)]
    np.testing.assert_allclose(rows, np.stack([np.linspace(0, 1, 1024), curve], -1), rtol=1e-5, atol=1e-6)


# ------------------------------------------------------------------------------------- what goes in and out


def test_a_phones_picture_comes_out_upright(nets: Path, tmp_path: Path) -> None:
    upright = photograph(131, 87)
    exif = PillowImage.Exif()
    exif[0x0112] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    turned = PillowImage.fromarray(np.ascontiguousarray(np.rot90(upright)))
    turned.save(tmp_path / "IMG 1.JPG", quality=98, exif=exif, icc_profile=profile)
    assert (
        command(f"input={tmp_path}", f"output={tmp_path / 'out'}", f"checkpoint={nets}", "formats=hdr") == 0
    )
    assert names(tmp_path / "out") == {"IMG 1.hdr", "IMG 1_preview.png", "reconstruct.jsonl"}
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
    (folder / "notes.txt").write_text("no picture")
    write_image(folder / "deep.png", pixels.astype(np.uint16) * 257)
    PillowImage.fromarray(pixels).convert("CMYK").save(folder / "sub" / "print.jpg")
    PillowImage.fromarray(pixels[:8]).save(folder / "low.png")
    write_image(folder / "light.exr", pixels.astype(np.float32))
    assert command(f"input={folder}", f"output={output}", f"checkpoint={nets}", "preview=false") == 1
    assert names(output) == {"good.exr", "deep.exr", "sub/print.exr", "reconstruct.jsonl"}
    said = capsys.readouterr()
    errors = [line for line in said.err.splitlines() if line.startswith("error: ")]
    assert [line.split(": ")[1] for line in errors] == ["cut.jpg", "light.exr", "low.png", "notes.txt"]
    assert "50 × 8 pixels; 16 × 16 is the least" in errors[2]
    assert "is not a Radiance" in errors[3]
    assert said.out == f"3 written to {output}, 4 failed\n"
    deep = read_image(output / "deep.exr").pixels
    np.testing.assert_allclose(deep, hwc(expected(pixels, nets).result), rtol=2e-3, atol=1e-4)


def test_every_format_holds_the_same_light(photo: Path, nets: Path, tmp_path: Path) -> None:
    words = [f"checkpoint={nets}", "formats=[exr,hdr,tiff,ultrahdr]", "preview=true"]
    assert command(f"input={photo}", f"output={tmp_path / 'out'}", *words) == 0
    wanted = hwc(expected(photograph(), nets).result)
    assert names(tmp_path / "out") == {
        *("lamp.exr", "lamp.hdr", "lamp.tif", "lamp_ultrahdr.jpg", "lamp_preview.png", "reconstruct.jsonl")
    }
    for suffix, tolerance in ((".exr", 1e-3), (".hdr", 5e-3), (".tif", 1e-5)):
        made = read_image(tmp_path / "out" / f"lamp{suffix}").pixels
        assert np.abs(made - wanted).max() <= tolerance * wanted.max(), suffix
    assert channels(tmp_path / "out" / "lamp.exr")[1]["compression"] == "zip"
    assert channels(tmp_path / "out" / "lamp.exr")[1]["type"] == "half"
    read = read_ultrahdr(tmp_path / "out" / "lamp_ultrahdr.jpg").pixels
    assert np.percentile(np.abs(np.log2((read + OFFSET) / (wanted + OFFSET))), 99) < 0.1
    shown = read_image(tmp_path / "out" / "lamp_preview.png").pixels
    assert (shown.shape, shown.dtype) == ((37, 50, 3), np.uint8)
    assert 60 < shown.mean() < 200


@pytest.mark.parametrize("scale", ["relative", "diffuse_white", "median"])
def test_the_file_says_what_1_means(scale: str, photo: Path, nets: Path, tmp_path: Path) -> None:
    words = [f"checkpoint={nets}", "formats=[exr,hdr,tiff,ultrahdr]", f"scale={scale}"]
    assert command(f"input={photo}", f"output={tmp_path}", *words) == 0
    relative = hwc(expected(photograph(), nets).result)
    factor = {"relative": 1, "diffuse_white": 203, "median": 0.18 / np.median(relative @ WEIGHTS)}[scale]
    image = read_image(tmp_path / "lamp.exr")
    np.testing.assert_allclose(image.pixels, relative * factor, rtol=2e-3, atol=1e-3 * factor)
    assert image.metadata["scale"] == scale
    assert image.metadata["scaleFactor"] == pytest.approx(factor, rel=1e-4)
    assert image.metadata.get("whiteLuminance") == (1.0 if scale == "diffuse_white" else None)
    assert read_image(tmp_path / "lamp.hdr").metadata["scale"] == scale
    assert json.loads(read_image(tmp_path / "lamp.tif").metadata["ImageDescription"])["scale"] == scale
    base = read_image(tmp_path / "lamp_ultrahdr.jpg")
    assert json.loads(base.metadata["comment"])["scale"] == "relative"
    assert read_ultrahdr(tmp_path / "lamp_ultrahdr.jpg").pixels.max() == pytest.approx(
        relative.max(), rel=0.1
    )


def test_values_beyond_half_precision_are_kept(tmp_path: Path) -> None:
    from hdrlab.hdr_outputs import Developed, write_outputs

    hdr = np.full((16, 16, 3), 500, np.float32)
    made = Developed(hdr, photograph(16, 16), np.linspace(0, 1, 1024, dtype=np.float32))
    write_outputs(tmp_path / "a", made, ["exr"], "diffuse_white", with_preview=False)
    assert np.all(read_image(tmp_path / "a.exr").pixels == np.float32(101_500))
    hdr[3, 4, 1] = np.nan
    with pytest.raises(ImageError, match="not finite"):
        write_outputs(tmp_path / "b", made, ["exr"], "relative", with_preview=False)


@pytest.mark.parametrize(
    ("suffix", "package", "extra"), [(".heic", "pillow_heif", "heic"), (".NEF", "rawpy", "raw")]
)
def test_an_extra_that_is_missing_is_named(
    suffix: str, package: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"\0\0\0\x18ftypheic" + bytes(20))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImageError, match=rf"needs an extra: pip install 'hdrlab\[{extra}\]'"):
        read_photograph(path)


def test_a_heic_picture_is_read_upright(tmp_path: Path) -> None:
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
    with pytest.raises(ImageError, match="cannot be developed"):
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
    develop = chain.Chain.develop

    def killed(self: chain.Chain, path: Path, *rest: Any, **more: Any) -> Any:
        if path.name == "b.png":
            raise KeyboardInterrupt
        return develop(self, path, *rest, **more)

    with monkeypatch.context() as patch:
        patch.setattr(chain.Chain, "develop", killed)
        with pytest.raises(KeyboardInterrupt):
            reconstruct.COMMAND.main([*words, "device=cpu"])
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
    assert "formats: got 'jpg', must be exr | hdr | tiff | ultrahdr" in said
    assert "memory=lots: must be a number with MB or GB" in said
    assert "checkpoint=nowhere: no such file or folder" in said
    assert command(f"input={photo}", output, "layers=true", "formats=hdr") == 2
    assert "only EXR holds layers" in capsys.readouterr().err
    assert command(f"input={photo}", output, "formats=[]") == 2
    assert "formats: empty" in capsys.readouterr().err
    assert command(f"input={tmp_path / '*.nothing'}", output) == 2
    assert "no such file or folder" in capsys.readouterr().err
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


def test_slots_are_taken_where_no_checkpoint_is_given(
    photo: Path, nets: Path, tmp_path: Path, capsys: Any
) -> None:
    runs = tmp_path / "runs"
    words = [f"input={photo}", f"output={tmp_path / 'out'}", f"paths.runs={runs}"]
    assert command(*words) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "python -m hdrlab.train stage=deq" in said
    assert "hdrlab.import_weights" in said
    for data, stages in (("tiny", ("deq", "lin", "hal", "joint")), ("hdr_synth", ("deq", "lin"))):
        for stage in stages:
            (runs / "slots" / data).mkdir(parents=True, exist_ok=True)
            (runs / "slots" / data / f"{stage}.ckpt").write_bytes(b"")
    assert chain.find_slots(runs, None) == [runs / "slots" / "tiny" / "joint.ckpt"]
    (runs / "slots" / "tiny" / "joint.ckpt").unlink()
    tiny = runs / "slots" / "tiny"
    assert chain.find_slots(runs, None) == [tiny / f"{stage}.ckpt" for stage in ("deq", "lin", "hal")]
    assert chain.find_slots(runs, "hdr_synth", linear_only=True)[1].name == "lin.ckpt"
    with pytest.raises(chain.ChainError, match="slots=hdr_synth or slots=tiny"):
        chain.find_slots(runs, None, linear_only=True)
    with pytest.raises(chain.ChainError, match="hdr_synth holds neither joint"):
        chain.find_slots(runs, "hdr_synth")


@pytest.mark.slow
def test_what_was_trained_is_used_from_its_slots(photo: Path, lab: Lab) -> None:
    for stage in ("deq", "lin", "hal"):
        lab.train(stage)
    assert command(f"input={photo}", f"output={lab.work / 'out'}", f"paths.runs={lab.runs}") == 0
    made = read_image(lab.work / "out" / "lamp.exr")
    slots = [lab.runs / "slots" / "hdr_synth" / f"{stage}.ckpt" for stage in ("deq", "lin", "hal")]
    np.testing.assert_allclose(made.pixels, hwc(expected(photograph(), slots).result), rtol=2e-3, atol=1e-4)


def test_a_device_that_is_not_there_is_said() -> None:
    if not torch.cuda.is_available():
        with pytest.raises(chain.ChainError, match="device=cuda: not on this machine"):
            chain.pick_device("cuda")
    assert chain.pick_device("auto").type in ("cpu", "cuda", "mps")


@pytest.mark.slow
@pytest.mark.timeout(1200)  # so small a budget makes small tiles with wide margins
def test_memory_stays_near_the_budget(nets: Path, tmp_path: Path) -> None:
    PillowImage.fromarray(photograph(1000, 1500)).save(tmp_path / "a.jpg")
    (tmp_path / "b").mkdir()
    PillowImage.fromarray(photograph(32, 32)).save(tmp_path / "b.png")
    code = (
        "import resource, sys; from hdrlab.reconstruct import COMMAND\n"
        "try: COMMAND.main(sys.argv[1:])\n"
        "finally: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    peaks = []
    for name in ("b.png", "a.jpg"):
        words = [
            f"input={tmp_path / name}",
            f"output={tmp_path / name[0]}",
            f"checkpoint={nets}",
            "memory=300MB",
        ]
        asked = subprocess.run(
            [sys.executable, "-c", code, *words, "device=cpu"], capture_output=True, text=True, check=True
        )
        peaks.append(int(asked.stdout.splitlines()[-1]) / 1e3)
    beyond = peaks[1] - peaks[0] - 1.5 * 100  # megabytes: a hundred bytes a pixel are the picture's own
    print(f"peak {peaks[1]:.0f} MB, {beyond:.0f} MB beyond the program and the picture")
    assert beyond < 300
