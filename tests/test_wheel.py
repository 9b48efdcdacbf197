"""What is installed from a wheel works without the checkout: commands, weights, configuration, plug-ins."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image as PillowImage
from plugin_page import LINES, words_of, write_modules, write_shots

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.slow
SMALL = ("data.short_side=64", "data.val_crop=64")
Call = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked wheel, as pip lays it out."""
    folder = tmp_path_factory.mktemp("wheel")
    line = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", str(folder)]
    subprocess.run([*line, str(ROOT)], cwd=folder, check=True, capture_output=True)
    (wheel,) = folder.glob("hdrlab-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


@pytest.fixture
def call(installed: Path, tmp_path: Path) -> Call:
    env = {**os.environ, "PYTHONPATH": str(installed)}

    def call(*line: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *line], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
        )

    found = call("-c", "import hdrlab, hydra_plugins.hdrlab_sweeper as s; print(hdrlab.__file__, s.__file__)")
    assert all(Path(file).is_relative_to(installed) for file in found.stdout.split()), found
    return call


def test_it_holds_what_runs_and_nothing_else(installed: Path) -> None:
    assert {path.name.split("-")[0] for path in installed.iterdir()} == {"hdrlab", "hydra_plugins"}
    for needed in (
        "py.typed",
        "conf/train.yaml",
        "experiments/singlehdr.yaml",
        "weights/shipped/compact/card.md",
    ):
        assert (installed / "hdrlab" / needed).is_file()
    assert sum(path.stat().st_size for path in installed.rglob("*") if path.is_file()) < 25e6


def test_a_photograph_becomes_an_hdr_image(call: Call, tmp_path: Path) -> None:
    PillowImage.effect_noise((64, 48), 90).convert("RGB").save(tmp_path / "a.jpg")
    done = call("-m", "hdrlab", "reconstruct", "a.jpg")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "hdr" / "a.exr").is_file()


def test_an_experiment_of_the_users_own_trains(call: Call, tmp_path: Path) -> None:
    own = tmp_path / "mine" / "experiment" / "brief.yaml"
    own.parent.mkdir(parents=True)
    own.write_text(
        "# @package _global_\ndefaults:\n  - override /stage: deq\n  - override /trainer: smoke\n"
        "stage:\n  width: 0.125\n  patch: 32\n  batch_size: 2\n"
    )
    done = call("-m", "hdrlab.train", "--config-dir=mine", "experiment=brief", *SMALL)
    assert done.returncode == 0, done.stderr
    (config,) = (tmp_path / "runs" / "deq").glob("*/config.yaml")
    assert "width: 0.125" in config.read_text()
    asked = call("-m", "hdrlab.train", "--config-dir=mine", "experiment=brif")
    assert asked.returncode == 2
    assert "did you mean brief?" in asked.stderr


def test_plug_ins_work_from_a_wheel(call: Call, tmp_path: Path) -> None:
    write_modules(tmp_path)
    PillowImage.effect_noise((64, 48), 90).convert("RGB").save(tmp_path / "photo.jpg")
    assert call("-m", "hdrlab", "reconstruct", "photo.jpg").returncode == 0
    (tmp_path / "hdr" / "photo.exr").rename(tmp_path / "scene.exr")
    write_shots(tmp_path)
    for line in LINES:
        done = call("-m", "hdrlab", *words_of(line))
        assert done.returncode == 0, (line, done.stderr)
    assert (tmp_path / "sdr" / "scene_soft.png").is_file()
    assert (tmp_path / "runs" / "slots" / "lamps" / "whiten.ckpt").is_file()


def test_sweepers_and_launchers_are_found(call: Call) -> None:
    asked = call(
        "-m", "hdrlab.train", "stage=deq", "hydra/sweeper=tpe", "hydra/launcher=joblib", "--cfg", "hydra"
    )
    assert asked.returncode == 0, asked.stderr
    assert "hydra_plugins.hdrlab_sweeper" in asked.stdout
