"""HDR images in, SDR images out: the command as a user starts it, in this process."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import call
from memory import MEGABYTE, peak_below
from numpy.typing import NDArray
from PIL import Image as PillowImage

from hdrlab import tonemap
from hdrlab.config.registry.tables import EVERY_OPERATOR
from hdrlab.errors import WeightsError, install
from hdrlab.inference.load import TONE_MAPPING, _left_in_groups, find_weights, free_memory
from hdrlab.inference.preview import preview
from hdrlab.inference.sdr_files import output_files, write_sdr
from hdrlab.inference.tone_mapper import ToneMapper
from hdrlab.io import read_image, read_photograph, samples_in_unit, write_image
from hdrlab.io.ultrahdr import write_ultrahdr
from hdrlab.nets import SYSTEMS, build_net
from hdrlab.ops.colour import srgb_encode
from hdrlab.pipeline.iqatm import ToneInput, tone_map
from hdrlab.tonemapping import OPERATORS, tone_map_classically
from hdrlab.weights import load_variables
from hdrlab.weights.net_file import load_nets, save_net
from hdrlab.weights.pretrained import SHIPPED

NETS = SYSTEMS["IQATM"]
ROOT = Path(__file__).resolve().parents[1]


def write_nets(folder: Path, preset: str = "default", names: tuple[str, ...] = NETS, seed: int = 5) -> Path:
    folder.mkdir(parents=True)
    torch.manual_seed(seed)
    for name in names:
        save_net(build_net(name, preset), folder / f"{name}.pt", {})
    return folder


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_nets(tmp_path_factory.mktemp("weights") / "default")


def scene(height: int = 37, width: int = 50) -> NDArray[np.float32]:
    """Smooth, each corner different, with a lamp far above the rest."""
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    lamp = 400 * np.exp(-80 * ((x - 0.6) ** 2 + (y - 0.3) ** 2))
    return (np.stack([0.1 + x, 0.2 + y, 1.3 - x], -1) * 7 + lamp[..., None]).astype(np.float32)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "hdr" / "lamp.pfm"  # float32, to the bit
    path.parent.mkdir()
    write_image(path, scene())
    return path


def command(*words: object) -> int:
    return call(tonemap.COMMAND, ["precision=32", *words, "device=cpu"])


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def levels(encoded: NDArray[np.float32], most: int = 255) -> NDArray[Any]:
    return np.rint(encoded * most).astype(np.uint8 if most == 255 else np.uint16)


def learned(hdr: NDArray[np.float32], nets: Path, **options: Any) -> NDArray[np.float32]:
    batch = torch.from_numpy(hdr).permute(2, 0, 1)[None]
    return tone_map(batch, load_nets(nets), **options)[0].permute(1, 2, 0).numpy()


# --------------------------------------------------------------------------------------- what is computed


def test_the_names_are_those_of_the_operators() -> None:
    assert list(EVERY_OPERATOR) == ["iqatm", *OPERATORS]


def test_a_classical_operator_needs_no_nets(image: Path, tmp_path: Path) -> None:
    assert command(f"input={image}", f"output={tmp_path / 'out'}", "operator=drago") == 0
    assert names(tmp_path / "out") == {"lamp.png", "tonemap.jsonl"}
    made = read_image(tmp_path / "out" / "lamp.png")
    assert np.array_equal(made.pixels, levels(tone_map_classically("drago", scene())))
    with PillowImage.open(tmp_path / "out" / "lamp.png") as stored:
        assert json.loads(stored.info["Comment"])["operator"] == "drago"


@pytest.mark.parametrize(("preset", "used"), [("default", "default"), ("official", "official")])
def test_the_learned_operator_is_the_default_where_nets_are_named(
    preset: str, used: Any, image: Path, tmp_path: Path
) -> None:
    folder = write_nets(tmp_path / preset, preset)
    assert command(f"input={image}", f"output={tmp_path / 'out'}", f"checkpoint={folder}") == 0
    made = read_image(tmp_path / "out" / "lamp.png").pixels
    wanted = learned(scene(), folder, procedure=used)
    assert made.shape == ((37, 50, 3) if used == "default" else (32, 48, 3))
    assert np.abs(made.astype(int) - levels(wanted)).max() <= 1
    words = ["procedure=default", "normalize=percentile", "format=png16"]
    assert command(f"input={image}", f"output={tmp_path / 'more'}", f"checkpoint={folder}", *words) == 0
    made = read_image(tmp_path / "more" / "lamp.png").pixels
    assert made.dtype == np.uint16
    wanted = learned(scene(), folder, procedure="default", normalize="percentile")
    assert np.abs(made.astype(int) - levels(wanted, 65535)).max() <= 20


@pytest.mark.golden
def test_the_command_writes_what_the_authors_program_writes(iqatm_goldens: Path, tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    with np.load(iqatm_goldens / "weights.npz") as file:
        variables = dict(file)
    for name in NETS:
        net = build_net(name, "official")
        load_variables(net, variables)
        save_net(net, folder / f"{name}.pt", {})
    with np.load(iqatm_goldens / "e2e.npz") as file:
        for name in ("sceneA", "sceneB"):
            write_image(tmp_path / f"{name}.pfm", file[f"hdr_{name}"])
        wanted = {name: file[f"uint8_{name}"].astype(int) for name in ("sceneA", "sceneB")}
    assert command(f"input={tmp_path}/*.pfm", f"output={tmp_path / 'out'}", f"checkpoint={folder}") == 0
    for name, pixels in wanted.items():
        off = np.abs(read_image(tmp_path / "out" / f"{name}.png").pixels - pixels)
        assert off.max() <= 1
        assert np.count_nonzero(off) < 1e-3 * off.size


def test_several_operators_name_their_files(image: Path, nets: Path, tmp_path: Path) -> None:
    words = [f"checkpoint={nets}", "operator=[iqatm,log,reinhard]", "format=jpeg", "quality=97", "sheet=true"]
    assert command(f"input={image}", f"output={tmp_path / 'out'}", *words) == 0
    stems = ("lamp_iqatm.jpg", "lamp_log.jpg", "lamp_reinhard.jpg", "lamp_sheet.png", "tonemap.jsonl")
    assert names(tmp_path / "out") == set(stems)
    made = read_image(tmp_path / "out" / "lamp_log.jpg").pixels.astype(int)
    assert np.abs(made - levels(tone_map_classically("log", scene()))).mean() < 3
    sheet = read_image(tmp_path / "out" / "lamp_sheet.png").pixels
    assert sheet.shape[1] > 3 * 320  # small images are enlarged, or there were no room for captions
    assert len(np.unique(sheet.reshape(-1, 3), axis=0)) > 500


def test_operators_are_steered_by_keys(
    image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"input={image}", "operator=[reinhard,drago]", "sheet=true"]
    made = {}
    for name, keys in {"plain": [], "steered": ["exposure=1", "bias=0.7", "saturation=0"]}.items():
        assert command(*words, f"output={tmp_path / name}", *keys) == 0
        files = [tmp_path / name / f"{image.stem}_{one}.png" for one in ("reinhard", "drago")]
        made[name] = [np.asarray(PillowImage.open(file), np.float64) for file in files]
    for plain, steered in zip(made["plain"], made["steered"], strict=True):
        assert steered.mean() > plain.mean() + 5
        assert np.ptp(steered, axis=2).max() <= 1
    # The same with other settings is made again; what none of the operators has is refused.
    assert command(*words, f"output={tmp_path / 'plain'}", "key=0.5") == 0
    assert "1 written" in capsys.readouterr().out.splitlines()[-1]
    assert command(*words, f"output={tmp_path / 'plain'}", "clipped=0.1") == 2
    assert "clipped: reinhard and drago cannot use it; it is for gamma" in capsys.readouterr().err


def test_the_help_of_an_operator_lists_its_own_keys(capsys: pytest.CaptureFixture[str]) -> None:
    keys = []
    for words in (["operator=drago", "--help"], ["operator=drago", "--help", "all"]):
        with pytest.raises(SystemExit) as left:
            tonemap.COMMAND.main(words)
        assert left.value.code == 0
        text = capsys.readouterr().out
        keys.append({line.split(" = ")[0].strip() for line in text.splitlines() if " = " in line})
        assert ("hdrlab tonemap operator=drago --help all" in text) == ("all" not in words)
    few, every = keys
    assert {"exposure", "saturation", "bias", "key", "format"} <= few
    assert {"shard", "paths.runs", *few} <= every
    assert "shard" not in few
    assert not {"white", "sharpening", "checkpoint", "normalize"} & every


def test_photographs_among_hdr_images_are_passed_over(
    image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    PillowImage.new("RGB", (9, 8), "teal").save(image.parent / "snap.jpg")
    words = ["operator=reinhard", f"output={tmp_path / 'out'}"]
    assert command(f"input={image.parent}", *words) == 0
    said = capsys.readouterr()
    assert "1 written" in said.out
    assert "passed over: 1 of the other kind" in said.err
    assert command(f"input={image.parent / '*.jpg'}", *words) == 1
    assert "error: no image of the kind that this command takes" in capsys.readouterr().err
    assert command(f"input={image.parent / 'snap.jpg'}", *words) == 1  # named by the user
    assert "snap.jpg: is an SDR image" in capsys.readouterr().err


def test_one_image_in_every_format(image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    formats = ["png16", "jpeg", "tiff", "exr", "ultrahdr"]
    if importlib.util.find_spec("imagecodecs"):
        formats.append("avif")
    words = [f"input={image}", "operator=drago", f"output={tmp_path}"]
    assert command(*words, f"format=[{','.join(formats)}]", "colorspace=p3", "quality=99") == 0
    names = ["png", "jpg", "tif", "exr", "_ultrahdr.jpg", "avif"][: len(formats)]
    files = [tmp_path / f"{image.stem}{'' if '.' in one else '.'}{one}" for one in names]
    assert sorted(tmp_path.glob(f"{image.stem}*")) == sorted(files)
    first, *others = (read_photograph(file) if file.suffix != ".exr" else read_image(file) for file in files)
    wanted = samples_in_unit(first)
    for file, other in zip(files[1:], others, strict=True):
        shown = srgb_encode(other.pixels) if other.domain == "linear" else samples_in_unit(other)
        assert np.abs(shown - wanted).mean() < 0.01, file
    assert command(*words, "format=[png,png16]") == 2
    assert "format: png and png16 would have one name; take one of them" in capsys.readouterr().err


def test_quality_is_jpegs(image: Path, tmp_path: Path) -> None:
    sizes = []
    for quality in (30, 98):
        output = tmp_path / str(quality)
        words = ["operator=log", "format=jpeg", f"quality={quality}"]
        assert command(f"input={image}", f"output={output}", *words) == 0
        sizes.append((output / "lamp.jpg").stat().st_size)
    assert sizes[0] < 0.75 * sizes[1]


def test_what_nets_were_trained_to_see_is_what_they_see(image: Path, tmp_path: Path) -> None:
    from hdrlab.train import COMMAND

    said = COMMAND.compose(["stage=tmo_ft", "stage.tone.domain=log", "stage.tone.pyramid=gaussian"])
    from hdrlab.stages.tmo_ft import TmoFtStage

    torch.manual_seed(7)
    stage = TmoFtStage(said.stage, "default")
    slot = tmp_path / "runs" / "slots" / "tiny" / "tmo_ft.ckpt"
    slot.parent.mkdir(parents=True)
    stored = {"state_dict": stage.state_dict(), "hyper_parameters": dict(stage.hparams)}
    stage.on_save_checkpoint(stored)
    torch.save(stored, slot)
    made = ToneMapper.load(weights="tiny", device="cpu", runs=tmp_path / "runs")
    trained_with = ToneInput(domain="log", pyramid="gaussian")
    output = tmp_path / "out"
    words = ["slots=tiny", f"paths.runs={tmp_path / 'runs'}"]
    assert command(f"input={image}", f"output={output}", *words) == 0
    wanted = learned(scene(), slot, tone=trained_with)
    shown = read_image(output / "lamp.png").pixels.astype(int)
    assert np.abs(shown - levels(wanted)).max() <= 1
    assert np.abs(shown - levels(learned(scene(), slot))).max() > 5
    renamed = shutil.copy(slot, tmp_path / "renamed.pt")
    assert ToneMapper.load(weights=renamed, device="cpu").fingerprint == made.fingerprint
    stored["hyper_parameters"]["tone"]["sigma_color"] = 0.1
    torch.save(stored, renamed)
    assert ToneMapper.load(weights=renamed, device="cpu").fingerprint != made.fingerprint


# ------------------------------------------------------------------------------------- what goes in and out


def test_a_mixed_folder_gives_all_that_can_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, output = tmp_path / "hdr", tmp_path / "out"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.exr", "b.hdr", "c.tif", "sub/d.pfm"):
        write_image(folder / name, scene())
    write_ultrahdr(folder / "e_ultrahdr.jpg", scene() / 7, preview(scene()), shrink=1, channels=3)
    (folder / "cut.exr").write_bytes((folder / "a.exr").read_bytes()[:900])
    broken = scene()
    broken[3, 4, 1], broken[5, 5, :2] = np.nan, np.inf
    write_image(folder / "nan.exr", broken)
    PillowImage.fromarray(preview(scene())).save(folder / "photo.jpg")
    (folder / "raw.NEF").write_bytes(b"II*\0")
    (folder / "notes.txt").write_text("no image")
    for beside in ("a_preview.jpg", "a_sheet.png", "a_curve.csv", "reconstruct.jsonl"):
        (folder / beside).write_bytes(b"what hdrlab.reconstruct writes beside them")
    assert command(f"input={folder}", f"output={output}", "operator=reinhard") == 1
    made = {"a.png", "b.png", "c.png", "sub/d.png", "e_ultrahdr.png"}
    assert names(output) == made | {"tonemap.jsonl"}
    said = capsys.readouterr()
    errors = dict(
        line.removeprefix("error: ").split(": ", 1)
        for line in said.err.splitlines()
        if line.startswith("error: ")
    )
    assert set(errors) == {"cut.exr", "nan.exr", "raw.NEF"}
    assert "holds 3 non-finite values, the first nan at row 3, column 4" in errors["nan.exr"]
    assert "sanitize=true" in errors["nan.exr"]
    assert "photo.jpg: passed over: is an SDR image, display-encoded uint8: nothing to tone-map" in said.err
    assert "is a camera raw photograph: nothing to tone-map" in errors["raw.NEF"]
    assert said.out == f"5 written to {output}, 2 passed over, 3 failed\n"
    first = read_image(output / "a.png").pixels.astype(int)
    for name in made:
        assert np.abs(read_image(output / name).pixels - first).max() < 12, name


def test_what_lies_beside_images_counts_if_it_is_named(image: Path, tmp_path: Path, capsys: Any) -> None:
    beside = image.with_name("lamp_preview.jpg")
    PillowImage.fromarray(preview(scene())).save(beside)
    assert command(f"input={beside}", f"output={tmp_path / 'out'}", "operator=log") == 1
    assert "is an SDR image" in capsys.readouterr().err
    image.unlink()
    assert command(f"input={image.parent}", f"output={tmp_path / 'out'}", "operator=log") == 2
    assert "no image" in capsys.readouterr().err


def test_images_are_repaired_only_if_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = scene()
    broken[3, 4] = np.nan
    broken[5, 5] = np.inf
    broken[:2, :, 2] = -1
    write_image(tmp_path / "a.exr", broken)
    words = [f"input={tmp_path / 'a.exr'}", f"output={tmp_path / 'out'}", "operator=reinhard"]
    assert command(*words) == 1
    assert not (tmp_path / "out" / "a.png").exists()
    capsys.readouterr()
    assert command(*words, "sanitize=true") == 0
    said = capsys.readouterr()
    assert "note: a.exr: 100 of 5550 values are below 0 and were taken as 0" in said.err
    assert said.out == f"1 written to {tmp_path / 'out'}\n"
    made = read_image(tmp_path / "out" / "a.png").pixels
    assert not made[3, 4].any()
    assert made[5, 5].min() == made.max()


HOSTILE = {
    "black": np.zeros((20, 30, 3), np.float32),
    "grey": np.full((20, 30, 3), 1e-4, np.float32),
    "one": np.full((1, 1, 3), 3, np.float32),
    "small": scene(8, 8),
    "narrow": scene(64, 3),
    "stops": np.exp2(-21 * np.linspace(0, 1, 48 * 32, dtype=np.float32)).reshape(32, 48, 1).repeat(3, 2),
    "stars": np.where(np.random.default_rng(0).random((40, 40, 1)) > 0.999, 5, 0).astype("f").repeat(3, 2),
    "huge": scene() * np.float32(1e30),
}


@pytest.mark.slow
def test_no_image_crashes_or_turns_black(
    nets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "hdr").mkdir()
    for name, hdr in HOSTILE.items():
        write_image(tmp_path / "hdr" / f"{name}.tif", hdr)
    own = [name for name, operator in OPERATORS.items() if operator.package is None]
    words = [f"operator=[iqatm,{','.join(own)}]", f"checkpoint={nets}", "sheet=true"]
    assert command(f"input={tmp_path / 'hdr'}", f"output={tmp_path / 'out'}", *words) == 0
    said = capsys.readouterr().err
    assert [line for line in said.splitlines() if line.startswith(("note", "error"))] == [
        "note: black.tif: holds no light, so it comes out black"
    ]
    for name in HOSTILE:
        for operator in ("iqatm", *own):
            shown = read_image(tmp_path / "out" / f"{name}_{operator}.png").pixels
            assert shown.shape == HOSTILE[name].shape
            assert shown.any() == (name != "black"), (name, operator)


def test_an_image_that_an_operator_turns_black_fails(
    image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    dark = replace(OPERATORS["log"], target=lambda hdr: hdr * np.float32(1e-9))
    monkeypatch.setitem(OPERATORS._rows, "log", dark)
    assert command(f"input={image}", f"output={tmp_path / 'out'}", "operator=[reinhard,log]") == 1
    assert "error: lamp.pfm: log: comes out black; take another operator" in capsys.readouterr().err
    assert names(tmp_path / "out") == {"tonemap.jsonl"}


def test_what_the_nets_cannot_take_is_a_line(
    nets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_image(tmp_path / "a.exr", scene(7, 30))
    words = [f"input={tmp_path / 'a.exr'}", f"output={tmp_path / 'out'}", f"checkpoint={nets}"]
    assert command(*words, "procedure=official") == 1
    assert "iqatm: 7×30 pixels: the official procedure needs 8×8" in capsys.readouterr().err

    def full(*_: Any, **__: Any) -> Any:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    monkeypatch.setattr("hdrlab.pipeline.iqatm.tone_map", full)
    assert command(*words) == 1
    assert "iqatm: does not fit into memory, and the nets see an image as a whole" in capsys.readouterr().err
    monkeypatch.setattr("hdrlab.inference.tone_mapper.free_memory", lambda: 1_000.0)
    assert command(*words) == 1
    assert "iqatm: needs 0.0 GB of memory, 0.0 GB are free, and the nets see" in capsys.readouterr().err


LIMITED = """
import re, resource, sys
from pathlib import Path
import hdrlab.inference.sdr_files, hdrlab.pipeline.iqatm
from hdrlab import tonemap
taken = 1024 * int(re.search(r"VmSize:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
resource.setrlimit(resource.RLIMIT_AS, (taken + 500_000_000, resource.RLIM_INFINITY))
tonemap.COMMAND.main(["a.exr", "out", "operator=fattal"])
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits the process's memory as Linux does")
def test_an_image_that_memory_does_not_hold_is_refused_with_amounts(tmp_path: Path) -> None:
    write_image(tmp_path / "a.exr", np.full((4000, 4000, 3), 0.5, np.float32))
    line, env = [sys.executable, "-c", LIMITED], {**os.environ, "PYTHONPATH": str(ROOT)}
    env["MALLOC_ARENA_MAX"] = "1"  # or each thread reserves addresses
    done = subprocess.run(line, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    said = (
        r"fattal: needs 0\.3 GB of memory beside the image, 0\.[0-2] GB are free; take \w+, which needs least"
    )
    assert re.search(said, done.stderr), done.stderr
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("format", "megabytes"), [("jpeg", 25), ("exr", 52)])
def test_writing_a_large_image_takes_little_beside_it(format: str, megabytes: int, tmp_path: Path) -> None:
    shown = np.full((1500, 1500, 3), 0.5, np.float32)  # 27 MB
    write_image(tmp_path / "a.exr", shown[:8, :8])
    source, files = read_image(tmp_path / "a.exr"), [tmp_path / f"b.{format}"]
    with peak_below(megabytes * MEGABYTE):
        write_sdr(files, {"gamma": shown}, [format], source=source, quality=90)
    assert read_image(files[0]).shape == shown.shape


def test_what_a_container_has_left_counts(tmp_path: Path) -> None:
    files = {
        "mine": "4:cpu,memory:/docker/7\n3:freezer:/\n0::/a/b\n",
        "memory/memory.limit_in_bytes": "9223372036854771712\n",
        "memory/memory.usage_in_bytes": "5\n",
        "a/memory.max": "6000\n",
        "a/memory.current": "5000\n",
        "a/memory.stat": "anon 3000\ninactive_file 400\n",
        "a/b/memory.max": "max\n",
        "a/b/memory.current": "5\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    left = [*_left_in_groups(str(tmp_path / "mine"), str(tmp_path))]
    assert min(left) == 1400
    (tmp_path / "memory/memory.limit_in_bytes").write_text("105\n")
    assert min(_left_in_groups(str(tmp_path / "mine"), str(tmp_path))) == 100
    assert 0 < free_memory() < 1e15 or sys.platform != "linux"


# ------------------------------------------------------------------------------------- half-done and wrong


def test_a_half_done_folder_is_gone_on_with(
    nets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, output = tmp_path / "hdr", tmp_path / "out"
    folder.mkdir()
    for name in "abc":
        write_image(folder / f"{name}.hdr", scene())
    words = [f"input={folder}", f"output={output}", f"checkpoint={nets}"]
    apply, calls = ToneMapper.__call__, []

    def killed(self: ToneMapper, hdr: Any, **more: Any) -> NDArray[np.float32]:
        calls.append(hdr)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return apply(self, hdr, **more)

    with monkeypatch.context() as patch:
        patch.setattr(ToneMapper, "__call__", killed)
        with pytest.raises(KeyboardInterrupt):
            command(*words)
    assert names(output) == {"a.png", "tonemap.jsonl"}
    capsys.readouterr()
    assert command(*words) == 0
    assert capsys.readouterr().out == f"2 written to {output}, 1 there already\n"
    assert command(*words) == 0
    assert capsys.readouterr().out == f"0 written to {output}, 3 there already\n"
    other = write_nets(tmp_path / "other", seed=9)
    for more in ("normalize=none", "format=png16", "resume=never", "resume=auto", f"checkpoint={other}"):
        words.append(more)
        assert command(*words) == 0
        kept = f"0 written to {output}, 3 there already\n"
        assert capsys.readouterr().out == (kept if more == "resume=auto" else f"3 written to {output}\n"), (
            more
        )


def test_without_a_choice_an_image_is_tone_mapped_all_the_same(image: Path, tmp_path: Path) -> None:
    for folder, more in (("plain", ()), ("named", ("operator=reinhard",))):
        assert command(f"input={image}", f"output={tmp_path / folder}", *more) == 0
    plain, named = (read_image(tmp_path / folder / "lamp.png").pixels for folder in ("plain", "named"))
    assert np.array_equal(plain, named)


def test_slots_are_taken_where_no_checkpoint_is_given(
    image: Path, nets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs"
    words = [f"input={image}", f"output={tmp_path / 'out'}", "operator=iqatm"]
    assert command(*words, f"paths.runs={runs}", "slots=tiny") == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "stage=tmo_bottom, then tmo_high and tmo_ft" in said
    assert "operator=reinhard" in said
    assert find_weights(None, TONE_MAPPING, runs) == [SHIPPED / "compact" / "tone"]
    for data in ("tiny", "tmo_pairs"):
        (runs / "slots" / data).mkdir(parents=True)
        (runs / "slots" / data / "tmo_ft.ckpt").touch()
    assert find_weights("tmo_pairs", TONE_MAPPING, runs) == [runs / "slots" / "tmo_pairs" / "tmo_ft.ckpt"]
    with pytest.raises(WeightsError, match="hdr_real holds no tmo_ft"):
        find_weights("hdr_real", TONE_MAPPING, runs)
    two = write_nets(tmp_path / "two", names=NETS[:2])
    assert command(*words, f"checkpoint={two}") == 2
    assert "no tmo_merge net" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_what_is_wrong_is_said_at_once(
    image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"input={image}", f"output={tmp_path / 'out'}"]
    wrong = ["operator=[rheinhard,iqatm]", "format=gif", "quality=101", "checkpoint=nowhere"]
    assert command(*words, *wrong) == 2
    said = capsys.readouterr().err
    assert "operator: got 'rheinhard', must be iqatm | gamma | log | reinhard" in said
    assert "did you mean reinhard?" in said
    assert "format: got 'gif', must be png | png16 | jpeg | jpg" in said
    assert "quality: got 101" in said
    assert "checkpoint=nowhere: no such file or folder" in said
    assert command(*words, "operator=[log,log,drago]", f"checkpoint={tmp_path}") == 2
    said = capsys.readouterr().err
    assert "operator=log: named twice" in said
    assert "checkpoint: only iqatm has nets" in said
    assert command(*words, "operator=log", "sheet=true") == 2
    assert "sheet=true: nothing to compare" in capsys.readouterr().err
    assert command(*words[:1], f"output={image.parent}", "operator=log") == 2
    assert "give another folder" in capsys.readouterr().err
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert command(*words, "operator=[opencv_drago,log,colour_filmic]") == 2
    said = capsys.readouterr().err
    assert [line.split()[1] for line in said.splitlines()] == ["opencv_drago", "colour_filmic"]
    assert said.count(install("operators")) == 2
    assert not (tmp_path / "out").exists()


def test_files_are_named_by_their_operators(tmp_path: Path, capsys: Any) -> None:
    assert [file.name for file in output_files(Path("/x/a"), ["log"], ["png16"], sheet=False)] == ["a.png"]
    several = output_files(Path("/x/a"), ["log", "drago"], ["jpeg"], sheet=True)
    assert [file.name for file in several] == ["a_log.jpg", "a_drago.jpg", "a_sheet.png"]
    for name in ("a", "a_opencv"):  # a_opencv_drago.png might be either's
        write_image(tmp_path / f"{name}.pfm", scene(8, 8))
    words = [f"input={tmp_path}", f"output={tmp_path / 'out'}", "operator=[drago,opencv_drago]"]
    assert command(*words) == 2
    said = f"both be written to {tmp_path / 'out' / 'a_opencv_drago.png'}: do one after the other"
    assert said in capsys.readouterr().err


def test_classical_operators_come_without_torch(image: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from hdrlab.tonemap import COMMAND\n"
        "try: COMMAND.main(sys.argv[1:])\n"
        "finally: print('torch' in sys.modules)"
    )
    words = [f"input={image}", f"output={tmp_path / 'out'}", "operator=[drago,durand]", "sheet=true"]
    root = Path(tonemap.__file__).parents[1]
    asked = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True, cwd=root
    )
    assert asked.stdout.splitlines() == [f"1 written to {tmp_path / 'out'}", "False"]


def round_scene() -> NDArray[np.float32]:
    """Goes all the way round, with a sun on its edge."""
    y, x = np.mgrid[0:48, 0:96] / 48
    sun = 500 * np.exp(-40 * ((1 - np.cos(np.pi * x)) + (y - 0.4) ** 2))
    return (1 + 0.5 * np.sin(np.pi * x) * np.cos(5 * y) + sun)[..., None].repeat(3, 2).astype(np.float32)


def change_by_rolling(mapper: ToneMapper, hdr: NDArray[np.float32], **options: bool) -> NDArray[np.float32]:
    shown = mapper(hdr, **options)
    assert shown.shape == hdr.shape
    rolled = mapper(np.roll(hdr, 32, axis=1), **options)
    return np.abs(np.roll(rolled, -32, axis=1) - shown)


@pytest.mark.parametrize("operator", ["reinhard_local", "durand", "drago"])
def test_a_panorama_does_not_depend_on_where_it_was_cut(operator: str) -> None:
    mapper = ToneMapper.load(operator)
    assert change_by_rolling(mapper, round_scene(), panorama=True).max() < 0.02


def test_nets_see_over_the_edge_of_a_panorama(nets: Path) -> None:
    """They see further than this small image goes, so that only the edge itself can be judged."""
    mapper = ToneMapper.load("iqatm", nets, device="cpu", normalize="none")
    edge = [
        change_by_rolling(mapper, round_scene(), panorama=one)[:, [0, -1]].mean() for one in (True, False)
    ]
    assert edge[0] < edge[1] / 2
