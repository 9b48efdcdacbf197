"""Nets in other programs: a graph makes the same of images of any size, and says what it is."""

from __future__ import annotations

import base64
import functools
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from commands import call
from PIL import Image
from torch import nn

from hdrlab import Reconstructor, ToneMapper, build_net, export, read_image
from hdrlab.errors import ResourceError
from hdrlab.inference import doctor, exports, load
from hdrlab.inference.graphs import Graph, to_onnx, trace
from hdrlab.inference.onnx_chain import OnnxChain
from hdrlab.inference.onnx_nets import NetGraph
from hdrlab.inference.sessions import open_session
from hdrlab.nets.compact import shrink
from hdrlab.ops.encoding import normalise_percentile
from hdrlab.ops.free_sizes import area_max, area_mean, as_size, crop, in_graph
from hdrlab.pipeline.iqatm import crop_to_layers
from hdrlab.pipeline.resizing import Procedure
from hdrlab.weights.net_file import save_net

ROOT = Path(__file__).resolve().parents[1]
DOCS = (ROOT / "docs" / "onnx.md").read_text(encoding="utf-8")
SIZES = ((2, 3), (7, 45), (64, 96), (401, 90))


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", DOCS, re.DOTALL)
    return str(found)


def photograph(height: int, width: int) -> np.ndarray[Any, Any]:
    return exports.scene(height, width, "reconstruct")


class Sizes(Graph):
    """What depends on the size of an image, in one small graph."""

    inputs, outputs = ("photograph",), ("made",)
    example = torch.zeros(1, 101, 127, 3)

    def forward(self, photograph: torch.Tensor) -> torch.Tensor:
        x = photograph.permute(0, 3, 1, 2)
        fitted = [Procedure(name, *x.shape[-2:]) for name in ("default", "official")]
        there_and_back = [sizes.undo(sizes.fit(x)) for sizes in fitted]
        small, layers = (
            shrink(there_and_back[0], 60),
            crop_to_layers(Procedure("default", *x.shape[-2:]).fit(x)),
        )
        summary = [small, layers, normalise_percentile(x, 0.1), crop(x, 2, 2)]
        levels = torch.cat([one.flatten(1).sort(dim=1).values.mean(dim=1) for one in summary])
        return torch.cat([torch.cat(there_and_back, dim=1).mean(dim=(0, 2, 3)), levels])


def run(content: bytes, image: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
    session = open_session(content)
    return list(session.run(None, {session.get_inputs()[0].name: image[None]}))


@pytest.mark.slow
def test_what_depends_on_sizes_does_so_in_a_graph_too() -> None:
    graph = Sizes()
    loaded = trace(graph).module()
    for size in SIZES:
        x = torch.from_numpy(photograph(*size))[None].float() / 255
        torch.testing.assert_close(loaded(x), graph(x), atol=1e-6, rtol=1e-5)


@pytest.mark.slow
def test_areas_are_those_of_adaptive_pooling() -> None:
    class Areas(Graph):
        inputs, example = ("x",), torch.zeros(1, 101, 127, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = x.permute(0, 3, 1, 2)
            rows, columns = (as_size(in_graph(size * 3 // 7)) for size in x.shape[-2:])
            return torch.cat([area_mean(x, rows, columns), area_max(x, rows, columns)])

    loaded = trace(Areas()).module()
    for height, width in ((9, 70), (64, 31)):
        x = torch.rand(1, 3, height, width)
        mean, most = loaded(x.permute(0, 2, 3, 1))
        size = height * 3 // 7, width * 3 // 7
        torch.testing.assert_close(mean, nn.functional.adaptive_avg_pool2d(x, size)[0])
        torch.testing.assert_close(most, nn.functional.adaptive_max_pool2d(x, size)[0], atol=0, rtol=0)


@pytest.mark.slow
def test_a_net_becomes_a_file_that_says_nothing_of_this_machine() -> None:
    torch.manual_seed(0)
    net = build_net("dequantization", "compact", width=0.25).eval()
    nn.init.normal_(net.last.weight)
    content = to_onnx(NetGraph(net, "forward"), {"licence": "mine"})
    assert os.fsencode(ROOT) not in content
    assert b".py" not in content
    model = onnx.load_from_string(content)
    onnx.checker.check_model(model, full_check=True)
    assert (model.producer_name, model.metadata_props[0].value) == ("hdrlab", "mine")
    for size in ((32, 96), (160, 64)):
        x = torch.rand(1, 3, *size)
        (made,) = open_session(content).run(None, {"maps": x.numpy()})
        assert float(np.abs(made - net(x).detach().numpy()).max()) < 1e-6


def test_a_graph_that_differs_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    system = exports.open_system("compact")
    monkeypatch.setattr(exports, "SIZES", ((32, 40),))
    with pytest.raises(ResourceError, match=r"differs from PyTorch by 0\.01"):
        exports.check(system, lambda image: [one * 1.01 for one in system.run(image)])


def command(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    line = [sys.executable, "-m", "hdrlab", "export", *arguments]
    return subprocess.run(line, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)


def test_what_is_wrong_is_said_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for wrong, said in (
        (("chain.txt",), "format=onnx writes a file that ends in .onnx"),
        (("chain.onnx", "format=torch_export"), "writes a file that ends in .pt2"),
        (("format=onx",), "did you mean onnx?"),
    ):
        assert call(export.COMMAND, wrong) == 2
        assert said in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "find_spec", lambda name: None if name == "onnxruntime" else find_spec(name))
    for asked in (
        lambda: Reconstructor.load("compact", backend="onnxruntime"),
        lambda: export.COMMAND.run(export.COMMAND.compose(["weights=compact"])),
    ):
        with pytest.raises(ResourceError, match=r"needs an extra: pip install .*onnx"):
            asked()
    assert doctor.EXTRAS["onnx"][0] == "onnxruntime"


def test_tone_mapping_nets_are_found_by_what_a_file_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "SIZES", ((97, 131),))
    shipped = ROOT / "hdrlab" / "weights" / "shipped" / "compact" / "tone"
    system = exports.open_system([shipped])
    assert (system.task, system.title) == ("tonemap", "tone_tonemap")
    assert system.metadata["licence"] == "MIT"
    exports.write_safetensors(exports.open_system("compact", "tonemap"), tmp_path / "nets")
    hdr = exports.scene(40, 56, "tonemap")
    shown, expected = (
        ToneMapper.load("iqatm", weights, device="cpu")(hdr) for weights in (tmp_path / "nets", None)
    )
    np.testing.assert_array_equal(shown, expected)  # with what they see, and at half precision as they came


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "graphs"), [("compact", 1), pytest.param("default", 2, marks=pytest.mark.slow)]
)
def test_onnxruntime_computes_nets_in_tiles(
    preset: str, graphs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    torch.manual_seed(0)
    names = "dequantization", "linearization"
    nets = {name: build_net(name, preset, width=0.0625).eval() for name in names}
    for parameter in nets["dequantization"].parameters():
        nn.init.normal_(parameter, std=0.1)
    photo, options = photograph(200, 260), {"stages": "deq_lin", "device": "cpu"}
    tiles: list[int] = []
    ours = Reconstructor(nets, precision="32", **options).develop(photo)
    theirs = Reconstructor(nets, backend="onnxruntime", memory="650MB", **options)
    made = theirs.develop(photo, lambda done, total: tiles.append(total))
    np.testing.assert_allclose(made.hdr, ours.hdr, atol=1e-5)
    assert not np.array_equal(made.hdr, ours.hdr), "it was torch that computed"
    assert tiles[0] > 3
    kept = {file: file.stat().st_mtime_ns for file in (tmp_path / "hdrlab" / "onnx").iterdir()}
    assert len(kept) == graphs
    Reconstructor(nets, backend="onnxruntime", **options)
    assert kept == {file: file.stat().st_mtime_ns for file in (tmp_path / "hdrlab" / "onnx").iterdir()}
    with pytest.raises(ResourceError, match="precision=bf16"):
        Reconstructor(nets, backend="onnxruntime", precision="bf16", **options)


def test_small_photographs_need_no_torch_and_large_ones_are_tiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def halved() -> bytes:
        made = [
            onnx.helper.make_node("Mul", ["samples", "half"], ["hdr"]),
            onnx.helper.make_node("Identity", ["half"], ["curve"]),
        ]
        maps, level = (
            [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name in names]
            for names, shape in ((("samples", "hdr"), [1, "h", "w", 3]), (("curve",), [1, 1]))
        )
        half = onnx.numpy_helper.from_array(np.full((1, 1), 0.5, np.float32), "half")
        graph = onnx.helper.make_graph(made, "halved", maps[:1], [maps[1], *level], [half])
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)
        onnx.helper.set_model_props(model, {"fingerprint": "f", "preset": "compact"})
        return bytes(model.SerializeToString())

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(OnnxChain, "_make", lambda self: halved())
    chain, photo = OnnxChain(None, "2GB", "cpu"), photograph(40, 50)
    developed = chain.develop(photo)
    np.testing.assert_array_equal(developed.hdr, photo.astype(np.float32) / 255 / 2)
    assert (chain.metadata, developed.curve.shape) == ({"preset": "compact"}, (1,))

    class Tiled:
        develop = staticmethod(lambda photo, progress, **asked: (photo, asked))

    chain.__dict__["_tiled"] = Tiled
    assert chain.develop(photo, layers=True) == (photo, {"layers": True, "wide": False, "panorama": False})
    chain._most = 1999
    assert chain.develop(photo)[0] is photo

    Image.fromarray(photo).save(tmp_path / "photo.png")
    words = "sys.argv[1:] = ['photo.png', 'hdr', 'backend=onnxruntime']; "
    blocked = "import sys; sys.modules.update(torch=None, rich=None, filelock=None); "
    blocked += words + "from hdrlab.reconstruct import COMMAND; "
    done = subprocess.run(
        [sys.executable, "-c", blocked + "COMMAND.main()"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "hdr" / "photo.exr").is_file()


@pytest.mark.parametrize(
    "asked", [{"stages": "deq_lin"}, {"precision": "bf16"}, {"memory": "900MB"}, {"refine": True}]
)
def test_what_one_graph_cannot_do_is_left_to_the_reconstructor(asked: dict[str, Any]) -> None:
    plain = {"stages": "all", "refine": None, "procedure": "auto", "memory": "2GB", "precision": "auto"}
    assert OnnxChain.suits("compact", **plain)
    assert not OnnxChain.suits("compact", **{**plain, **asked})
    assert not OnnxChain.suits("nets.ckpt", **plain)


# ------------------------------------------------------------------------------------- whole systems: slow


@pytest.mark.slow
def test_the_chain_in_one_graph_is_the_one_in_tiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    expected = Reconstructor.load(device="cpu", precision="32")
    chain = OnnxChain(None, "2GB", "cpu")
    assert (chain.fingerprint, chain.metadata) == (expected.fingerprint, expected.metadata)
    for size in ((33, 65), (700, 1100)):
        photo = photograph(*size).astype(np.uint16) * 257
        ours, theirs = chain.develop(photo), expected.develop(photo)
        np.testing.assert_allclose(ours.hdr, theirs.hdr, atol=1e-4, rtol=1e-4)
        np.testing.assert_allclose(ours.curve, theirs.curve, atol=1e-5)
        np.testing.assert_array_equal(ours.photograph, theirs.photograph)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both systems that come along, written by the command."""
    folder = tmp_path_factory.mktemp("exported")
    for task in ("reconstruct", "tonemap"):
        done = command(folder, "weights=compact", f"task={task}")
        assert done.returncode == 0, done.stderr
        assert f"compact_{task}.onnx: " in done.stdout
        assert re.search(r"time at 1200 × 800, .*: onnxruntime \d+\.\d\d s, PyTorch \d+\.\d\d s", done.stdout)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("size", [(2, 3), (33, 65), (640, 360), (700, 1100)])
def test_the_file_makes_what_hdrlab_makes(exported: Path, size: tuple[int, int]) -> None:
    photo = photograph(*size)
    expected = Reconstructor.load("compact", device="cpu", precision="32").develop(photo)
    hdr, curve = run((exported / "compact_reconstruct.onnx").read_bytes(), photo)
    np.testing.assert_allclose(hdr[0], expected.hdr, atol=1e-4, rtol=1e-4)
    np.testing.assert_allclose(curve[0], expected.curve, atol=1e-5)
    (shown,) = run((exported / "compact_tonemap.onnx").read_bytes(), hdr[0])
    np.testing.assert_allclose(
        shown[0], ToneMapper.load("iqatm", device="cpu", precision="32")(hdr[0]), atol=1e-4
    )


@pytest.mark.slow
def test_flat_images_are_shown_at_mid_grey(exported: Path) -> None:
    mapper = ToneMapper.load("iqatm", device="cpu")
    for level in (0.0, 3.0):
        hdr = np.full((40, 50, 3), level, np.float32)
        (shown,) = run((exported / "compact_tonemap.onnx").read_bytes(), hdr)
        np.testing.assert_allclose(shown[0], mapper.apply(hdr), atol=1e-6)


@pytest.mark.slow
def test_the_python_of_the_page_runs_without_torch(exported: Path, tmp_path: Path) -> None:
    for file in exported.iterdir():
        shutil.copy(file, tmp_path)
    Image.fromarray(photograph(90, 130)).save(tmp_path / "photo.jpg", quality=95)
    missing = "import sys; sys.modules['torch'] = sys.modules['hdrlab'] = None\n"
    done = subprocess.run(
        [sys.executable, "-c", missing + block("python")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "MIT"), done.stderr
    expected = Reconstructor.load("compact", device="cpu", precision="32")(tmp_path / "photo.jpg")
    np.testing.assert_allclose(read_image(tmp_path / "photo.pfm").pixels, expected, atol=1e-4, rtol=1e-4)
    assert Image.open(tmp_path / "shown.png").size == (130, 90)


@pytest.mark.slow
def test_the_cpp_of_the_page_compiles_and_makes_the_same(exported: Path, tmp_path: Path) -> None:
    compiler = shutil.which("g++")
    library = next(Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.*"), None)
    line = [
        str(compiler),
        "-std=c++17",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-isystem",
        "/usr/include/onnxruntime",
    ]
    header = [*line, "-x", "c++", "-include", "onnxruntime_cxx_api.h", "-fsyntax-only", os.devnull]
    if not (compiler and library) or subprocess.run(header, check=False, capture_output=True).returncode:
        pytest.skip("needs Linux, g++ and its headers: install libonnxruntime-dev, or CPATH=their folder")
    (tmp_path / "reconstruct.cpp").write_text(block("cpp"), encoding="utf-8")
    os.symlink(library, tmp_path / "libonnxruntime.so.1")
    linked = ["reconstruct.cpp", "libonnxruntime.so.1", "-Wl,-rpath,$ORIGIN", "-o", "reconstruct"]
    subprocess.run([*line, *linked], cwd=tmp_path, check=True)
    photo = photograph(90, 131)
    Image.fromarray(photo).save(tmp_path / "photo.ppm")
    shutil.copy(exported / "compact_reconstruct.onnx", tmp_path)
    words = ["./reconstruct", "photo.ppm", "photo.pfm"]
    subprocess.run(words, cwd=tmp_path, check=True)
    (hdr, _) = run((exported / "compact_reconstruct.onnx").read_bytes(), photo)
    np.testing.assert_allclose(read_image(tmp_path / "photo.pfm").pixels, hdr[0], atol=1e-6, rtol=1e-5)
    refused = subprocess.run(words[:2], cwd=tmp_path, check=False, capture_output=True, text=True)
    assert refused.returncode == 2
    assert "photo.ppm photo.pfm" in refused.stderr


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["default", "official", "tf2"])
def test_other_presets_are_exported_for_torch(
    preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    names = ("dequantization", "linearization", "hallucination", "refinement")
    for name in names:
        save_net(build_net(name, preset, width=0.0625).eval(), tmp_path / f"{name}.pt", {})
    monkeypatch.setattr(exports, "SIZES", ((45, 70), (96, 64)))
    checks = exports.write_torch_export(exports.open_system([tmp_path]), tmp_path / "chain.pt2")
    assert max(one.difference for one in checks) < 1e-4
    extra = {"hdrlab.json": ""}
    torch.export.load(tmp_path / "chain.pt2", extra_files=extra)
    assert json.loads(extra["hdrlab.json"])["preset"] == preset


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["default", "official"])
def test_tone_mapping_of_other_presets_is_exported(
    preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    torch.manual_seed(0)
    for name in ("tmo_bottom", "tmo_high", "tmo_merge"):
        save_net(build_net(name, preset, width=0.25).eval(), tmp_path / f"{name}.pt", {})
    monkeypatch.setattr(exports, "SIZES", ((45, 70), (96, 64)))
    checks = exports.write_onnx(exports.open_system([tmp_path]), tmp_path / "tone.onnx")
    assert max(one.difference for one in checks) < 1e-3


@pytest.fixture(scope="module")
def server(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, str]]:
    """A browser, and the page of docs/onnx.md served beside its files."""
    sys.path.insert(0, str(ROOT / "tests" / "evaluation" / "report"))
    from chromium import chromium, executable

    folder, program = (
        Path(os.environ.get("HDRLAB_ORT_WEB", "node_modules/onnxruntime-web/dist")),
        executable(),
    )
    if program is None or not folder.is_dir():
        pytest.skip(
            "needs Chromium and onnxruntime-web: npm install onnxruntime-web, or HDRLAB_ORT_WEB=its dist"
        )
    with chromium(program) as page:
        site = tmp_path_factory.mktemp("site")
        shutil.copy(exported / "compact_reconstruct.onnx", site)
        for name in re.findall(r"`(ort[-.][\w.-]+)`", DOCS):
            shutil.copy(folder / name, site)
        (site / "index.html").write_text(block("html"), encoding="utf-8")
        Image.fromarray(photograph(240, 320)).save(site / "photo.png")
        handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(site))
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
            threading.Thread(target=served.serve_forever, daemon=True).start()
            yield page, f"http://127.0.0.1:{served.server_address[1]}/"
            served.shutdown()


@pytest.mark.slow
def test_the_page_reconstructs_in_a_browser(server: tuple[Any, str]) -> None:
    page, address = server
    page.send("Page.navigate", url=address + "index.html")
    page.until("typeof reconstruct !== 'undefined'")
    page.run(
        "fetch('photo.png').then(file => file.blob()).then(createImageBitmap).then(reconstruct)"
        ".then(result => { made = result; show(); }); 0"
    )
    end = time.monotonic() + 200
    while not page.run("made !== undefined"):
        assert time.monotonic() < end, page.complaints()
        time.sleep(0.2)
    text = page.run(
        "(() => { const bytes = new Uint8Array(made.light.slice().buffer); let text = '';"
        " for (const byte of bytes) text += String.fromCharCode(byte); return btoa(text); })()"
    )
    light = np.frombuffer(base64.b64decode(text), np.float32).reshape(240, 320, 3)
    expected = Reconstructor.load("compact", device="cpu", precision="32")(photograph(240, 320))
    np.testing.assert_allclose(light, expected, atol=1e-4, rtol=1e-4)
    assert page.run("[canvas.width, canvas.height]") == [320, 240]
