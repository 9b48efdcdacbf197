"""A photographer's folder through the commands: colours by numbers, counts, exit codes, metadata."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import call
from numpy.typing import NDArray
from photographers_folder import LIGHT, PATCH, Made, make

from hdrlab.io import read_image, write_image

pytestmark = pytest.mark.slow
MISSING = "exiftool is not installed (package libimage-exiftool-perl)"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Made]:
    folder = tmp_path_factory.mktemp("photos")
    return folder, make(folder)


def run(capsys: pytest.CaptureFixture[str], command: str, *arguments: object) -> tuple[int, str]:
    code = call(command, [*arguments, "device=cpu"])
    printed = capsys.readouterr()
    return code, printed.out + printed.err


def patches(path: Path) -> NDArray[np.float64]:
    """Median of each patch [4, 6, 3]; the size tells whether the image is upright."""
    pixels = read_image(path).pixels.astype(np.float64)
    assert pixels.shape == LIGHT.shape, path.name
    grid = pixels.reshape(4, PATCH, 6, PATCH, 3)[:, 3:-3, :, 3:-3]
    return np.median(grid, axis=(1, 3))


def written(out: Path, name: str, suffix: str) -> Path:
    """The output for a name; cut short, or with its suffix where several have its stem."""
    stem = Path(name).with_suffix("")
    plain = (out / stem).with_name(stem.name + suffix)
    if plain.is_file():
        return plain
    (found,) = (out / stem.parent).glob(f"{stem.name[:60]}*{suffix}")
    return found


def test_every_photograph_is_reconstructed_alike(
    folder: tuple[Path, Made], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, made = folder
    code, printed = run(capsys, "reconstruct", f"input={photos}", f"output={tmp_path}", "preview=false")
    assert code == 1
    failed = made.broken
    done = len(made.photographs) + len(made.hdr_photographs)
    light = {*made.hdr} - {*made.hdr_photographs}  # no photographs, and nobody named them
    passed_over = len(made.companions) + len(made.raw) + len(light)
    last = printed.splitlines()[0] if printed.startswith(str(done)) else printed.splitlines()[-1]
    assert f"{done} written to {tmp_path}, {passed_over} passed over, {len(failed)} failed" in printed, last
    for name in failed:
        assert f"error: {name}: " in printed
    assert "1 raw files beside the camera's own image, which was taken" in printed
    right = patches(written(tmp_path, "cutout.png", ".exr"))
    brightest = right.max(axis=2, keepdims=True)
    for name in made.photographs:
        error = np.abs(patches(written(tmp_path, name, ".exr")) - right) / brightest
        assert error.max() < 0.08, f"{name}: {error.max():.3f}"
    for name in made.hdr_photographs:
        light = patches(written(tmp_path, name, ".exr"))
        error = np.abs(light - LIGHT[PATCH // 2 :: PATCH, PATCH // 2 :: PATCH]) / light.max(2, keepdims=True)
        assert np.median(error) < 0.02, f"{name}: {np.median(error):.3f}"
        assert error.max() < 0.12, f"{name}: {error.max():.3f}"


def test_every_hdr_image_is_tone_mapped_alike(
    folder: tuple[Path, Made], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, made = folder
    words = (f"input={photos}", f"output={tmp_path}", "operator=gamma")
    code, printed = run(capsys, "tonemap", *words)
    assert code == 1
    passed_over = len(made.companions) + len(made.raw) + len(made.photographs)
    counts = f"{len(made.hdr)} written to {tmp_path}, {passed_over} passed over, {len(made.broken)} failed"
    assert counts in printed
    right = patches(tmp_path / "render.png")
    for name in made.hdr:
        error = np.abs(patches(written(tmp_path, name, ".png")) - right)
        assert error.max() < 12, f"{name}: {error.max():.0f} levels"
    _, again = run(capsys, "tonemap", *words)
    assert f"0 written to {tmp_path}, {len(made.hdr)} there already" in again


def exiftool(*files: Path) -> dict[str, dict[str, Any]]:
    """What exiftool says of files, numbers as such, by their names."""
    asked = subprocess.run(["exiftool", "-json", "-n", *map(str, files)], capture_output=True, check=True)
    return {Path(one["SourceFile"]).name: one for one in json.loads(asked.stdout)}


@pytest.mark.skipif(shutil.which("exiftool") is None, reason=MISSING)
def test_exiftool_finds_what_the_camera_said(
    folder: tuple[Path, Made], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = folder[0] / "IMG_106.jpeg"
    words = (f"input={photo}", "formats=[exr,hdr,tiff,ultrahdr]")
    for keeping in ("keep", "no_gps", "strip"):
        code, printed = run(
            capsys, "reconstruct", *words, f"output={tmp_path / keeping}", f"metadata={keeping}"
        )
        assert code == 0, printed
    files = [tmp_path / "keep" / f"IMG_106{ending}" for ending in (".tif", "_ultrahdr.jpg", "_preview.jpg")]
    for name, said in exiftool(*files).items():
        assert "Warning" not in said, f"{name}: {said.get('Warning')}"
        assert said["ExposureTime"] == pytest.approx(1 / 250), name
        assert said["Copyright"] == "© A. Photographer", name
        assert said["GPSLatitude"] == pytest.approx(48.5), name
        assert said.get("Orientation", 1) == 1, name
        assert (said["ImageWidth"], said["ImageHeight"]) == (LIGHT.shape[1], LIGHT.shape[0]), name
    for name, said in exiftool(*(tmp_path / "no_gps").glob("IMG*")).items():
        assert not [key for key in said if "GPS" in key or key in ("Latitude", "Longitude")], name
        assert said.get("Copyright", said.get("Owner")) or name.endswith(".hdr"), name
    for name, said in exiftool(*(tmp_path / "strip").glob("IMG*")).items():
        assert not {"Copyright", "ExposureTime", "GPSLatitude", "Owner", "Model"} & said.keys(), name
    exr = exiftool(tmp_path / "keep" / "IMG_106.exr")["IMG_106.exr"]
    assert exr["Owner"] == "© A. Photographer"
    header = (tmp_path / "keep" / "IMG_106.hdr").read_bytes().partition(b"\n\n")[0].decode()
    assert "latitude=48.5" in header


def test_a_wide_space_holds_what_srgb_cuts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wide = np.zeros((32, 48, 3), np.float32)
    wide[:, :, 1] = 0.6  # the green of Rec. 2020
    write_image(tmp_path / "green.exr", wide, colorspace="rec2020")
    for space in ("rec2020", "rec709"):
        out = tmp_path / space
        words = (f"input={tmp_path / 'green.exr'}", f"output={out}", "operator=gamma", f"colorspace={space}")
        assert run(capsys, "tonemap", *words)[0] == 0
        image = read_image(out / "green.png", keep_outside=True)
        assert (image.outside is not None) == (space == "rec2020")
