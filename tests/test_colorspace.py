"""Colours through the commands: wide spaces, photographs that are HDR already, layers of OpenEXR files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import call
from PIL import Image as PillowImage

from hdrlab import reconstruct, tonemap
from hdrlab.config.cli import Command
from hdrlab.io import read_image, read_photograph, write_image
from hdrlab.io.colour_profiles import build_profile
from hdrlab.io.ultrahdr import read_ultrahdr
from hdrlab.nets import build_net
from hdrlab.ops.colour_spaces import P3, REC709, REC2020, SPACES, conversion, convert, pq_encode
from hdrlab.weights.net_file import save_net

sys.path.insert(0, str(Path(__file__).parent / "io"))
from colour_files import png, samples_in


def run(command: Command[Any], *words: str) -> int:
    return call(command, words)


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nets")
    torch.manual_seed(0)
    for name in ("dequantization", "linearization", "hallucination"):
        save_net(build_net(name, width=1 / 16), folder / f"{name}.pt", {})
    return folder


@pytest.fixture
def wide_photo(tmp_path: Path) -> Path:
    """A photograph in Display P3: grey, but for a corner whose red sRGB does not have."""
    samples = np.full((32, 40, 3), 120, np.uint8)
    samples[:16, :20] = 200, 20, 20
    path = tmp_path / "photo.png"
    PillowImage.fromarray(samples).save(path, icc_profile=build_profile("p3", "srgb"))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("space", ["rec2020", "p3", "acescg", "aces2065-1"])
def test_reconstruct_keeps_colours_that_the_space_holds(
    nets: Path, wide_photo: Path, tmp_path: Path, space: str
) -> None:
    for name in ("rec709", space):
        words = [f"input={wide_photo}", f"output={tmp_path / name}", f"checkpoint={nets}", "preview=false"]
        assert run(reconstruct.COMMAND, *words, "formats=[exr,hdr,tiff]", f"colorspace={name}") == 0
    narrow = read_image(tmp_path / "rec709" / "photo.exr").pixels
    assert narrow.min() >= 0
    for suffix, tolerance in ((".exr", 3e-3), (".hdr", 0.03), (".tif", 1e-3)):
        light = read_image(tmp_path / space / f"photo{suffix}").pixels
        scale = narrow.max(axis=2, keepdims=True)
        assert (np.abs(light - narrow)[:, 20:] / scale[:, 20:]).max() < tolerance  # grey is the same
        assert light[4, 4].min() < -0.002 * light[4, 4].max(), "red was cut to sRGB"


def test_tonemap_keeps_colours_that_the_space_holds(tmp_path: Path) -> None:
    light = np.full((32, 40, 3), 0.3, np.float32)
    light[:, :20] *= np.linspace(0.1, 3, 20, dtype=np.float32)[:, None]
    light[20:, 30:] = 0.9, 0.02, 0.02
    write_image(tmp_path / "x.exr", light, half=False, colorspace="rec2020")
    shown = {}
    for space in ("rec709", "p3", "rec2020"):
        words = [f"input={tmp_path / 'x.exr'}", f"output={tmp_path / space}", "operator=drago"]
        assert run(tonemap.COMMAND, *words, "format=png16", f"colorspace={space}") == 0
        shown[space] = read_photograph(tmp_path / space / "x.png", keep_outside=True)
        with PillowImage.open(tmp_path / space / "x.png") as image:
            assert image.info["icc_profile"] == build_profile(space, "srgb")
    assert shown["rec709"].outside is None
    for space in ("p3", "rec2020"):
        difference = np.abs(shown[space].pixels.astype(int) - shown["rec709"].pixels)
        assert difference[:, :20].max() < 65535 * 0.002  # grey is the same
        assert shown[space].outside is not None
        assert shown[space].outside[25, 35].min() < -0.005


def test_a_photograph_in_pq_is_converted_as_it_is(
    nets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    light = np.linspace(1, 2000, 32 * 40 * 3).reshape(32, 40, 3)
    samples = samples_in(light, REC2020, pq_encode, 65535)
    (tmp_path / "hdr.png").write_bytes(png(samples, {b"cICP": bytes((9, 16, 0, 1))}))
    for scale, unit in (("relative", 203.0), ("diffuse_white", 1.0)):
        words = [f"input={tmp_path / 'hdr.png'}", f"output={tmp_path / scale}", f"checkpoint={nets}"]
        words += ["formats=[exr,hdr,tiff,ultrahdr]", f"scale={scale}", "layers=true"]
        assert run(reconstruct.COMMAND, *words) == 0
        assert "hdr.png: is HDR already (PQ)" in capsys.readouterr().err
        for suffix, tolerance in ((".exr", 2e-3), (".hdr", 0.02), (".tif", 1e-3)):
            image = read_image(tmp_path / scale / f"hdr{suffix}")
            error = np.abs(image.pixels * unit - light) / light.max(axis=2, keepdims=True)
            assert error.max() < tolerance, suffix
        assert read_image(tmp_path / scale / "hdr.exr").metadata["whiteLuminance"] == pytest.approx(unit)
    words = [f"input={tmp_path / 'hdr.png'}", f"output={tmp_path / 'shown'}", "operator=reinhard"]
    assert run(tonemap.COMMAND, *words) == 0
    assert read_image(tmp_path / "shown" / "hdr.png").pixels.max() > 150


def test_a_wide_photograph_in_pq_keeps_its_colours_in_every_hdr_format(nets: Path, tmp_path: Path) -> None:
    pytest.importorskip("imagecodecs")
    colours = np.random.default_rng(0).uniform(5, 160, (4, 5, 3))
    colours[0] *= (0.03, 1, 0.03)  # of P3, outside Rec. 709
    colours[1] *= 4  # brighter than diffuse white
    in_p3 = colours.repeat(8, 0).repeat(8, 1)
    light = convert(in_p3, conversion(P3, REC709))
    samples = samples_in(light, REC2020, pq_encode, 65535)
    (tmp_path / "hdr.png").write_bytes(png(samples, {b"cICP": bytes((9, 16, 0, 1))}))
    words = [f"input={tmp_path / 'hdr.png'}", f"output={tmp_path / 'out'}", f"checkpoint={nets}"]
    words += ["formats=[ultrahdr,avif,jxl]", "gain_map=full", "channels=3", "preview=false"]
    assert run(reconstruct.COMMAND, *words) == 0
    read = {
        "ultrahdr": read_ultrahdr(tmp_path / "out/hdr_ultrahdr.jpg").pixels * 203,
        "avif": read_image(tmp_path / "out/hdr.avif").pixels,
        "jxl": read_image(tmp_path / "out/hdr.jxl").pixels,
    }
    for name, found in read.items():
        error = np.abs(convert(found, conversion(REC709, P3)) - in_p3) / in_p3.max(axis=2, keepdims=True)
        assert np.percentile(error[4::8, 4::8], 95) < 0.06, name


def test_tonemap_takes_the_layer_that_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from io_layers import write_layers

    image = np.linspace(0.1, 2, 32 * 40 * 3, dtype=np.float32).reshape(32, 40, 3)
    write_layers(tmp_path / "x.exr", {"View.AO": image[::-1], "View.Combined": image})
    words = [f"input={tmp_path / 'x.exr'}", "operator=reinhard"]
    assert run(tonemap.COMMAND, *words, f"output={tmp_path / 'a'}") == 0
    assert "holds the layers View.AO, View.Combined; took View.Combined" in capsys.readouterr().err
    assert run(tonemap.COMMAND, *words, f"output={tmp_path / 'b'}", "layer=ao") == 0
    first, second = (read_image(tmp_path / name / "x.png").pixels.astype(int) for name in "ab")
    assert np.abs(first - second[::-1]).max() <= 1
    assert run(tonemap.COMMAND, *words, f"output={tmp_path / 'c'}", "layer=mist") == 1
    assert "layer=mist is none of its layers View.AO, View.Combined" in capsys.readouterr().err


def test_wide_data_is_no_damage(tmp_path: Path) -> None:
    """Colours outside Rec. 709 are negative there, which else speaks of a broken converter."""
    from hdrlab.datasets.index import Source
    from hdrlab.datasets.splits import Listed

    light = np.random.default_rng(0).random((40, 40, 3), np.float32)
    for space in ("rec709", "aces2065-1"):
        write_image(tmp_path / f"{space}.exr", light, half=False, colorspace=space)
    wide = convert(light, conversion(SPACES["aces2065-1"], REC709))
    assert (wide < 0).mean() > 0.05
    source = Source(tmp_path)
    samples, _ = source.read(Listed("aces2065-1.exr", "train", "a"))
    np.testing.assert_allclose(samples, wide.clip(0), atol=1e-4)
