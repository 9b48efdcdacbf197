"""What tutorials and answers tell a reader to type runs as it stands, in the order of the page."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from pages import ROOT, blocks
from PIL import Image

import hdrlab
from hdrlab.datasets.tiny import render_scene
from hdrlab.ops.colour import srgb_levels

pytestmark = pytest.mark.slow
PAGES = sorted(
    path for folder in ("tutorials", "howto") for path in (ROOT / "docs" / folder).glob("*.md")
    if any(block.language in ("bash", "python") for block in blocks(path))
)  # fmt: skip
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where what is made on first use is kept, for all pages."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def reader(tmp_path: Path, rendered: Path) -> Mapping[str, str]:
    """The environment of a reader who has installed hdrlab and has some images at hand."""
    scene = render_scene("test", 2, height=96, width=128)
    exposed = scene / np.quantile(scene.max(axis=2), 0.8)
    hdrlab.write_image(tmp_path / "scene.exr", exposed)
    (tmp_path / "photos").mkdir()
    for name in ("photo.jpg", "room.jpg", "photos/a.jpg", "photos/b.jpg"):
        Image.fromarray(srgb_levels(exposed)).save(tmp_path / name, quality=92)
    _write_ultrahdr(tmp_path)
    (tmp_path / "data").symlink_to(rendered)
    program = tmp_path / "bin" / "hdrlab"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m hdrlab "$@"\n')
    program.chmod(0o755)
    path = os.pathsep.join([str(program.parent), str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}


def _write_ultrahdr(folder: Path) -> None:
    line = [
        sys.executable,
        "-m",
        "hdrlab",
        "reconstruct",
        "photo.jpg",
        "made",
        "formats=ultrahdr",
        "method=average",
    ]
    subprocess.run(
        line, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True, capture_output=True
    )
    (folder / "made" / "photo_ultrahdr.jpg").rename(folder / "ultra.jpg")


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_runs(page: Path, reader: Mapping[str, str], tmp_path: Path) -> None:
    for block in blocks(page):
        if block.language == "python":
            (tmp_path / "edges.py").write_text(block.text)  # the name that the researcher's tutorial gives
        if block.language == "python" and "__main__" not in block.text:
            run([sys.executable, "edges.py"], reader, tmp_path)
        elif block.language == "bash":
            run(["bash", "-euo", "pipefail", "-c", block.text], reader, tmp_path)


def run(line: list[str], reader: Mapping[str, str], folder: Path) -> None:
    done = subprocess.run(line, cwd=folder, env=reader, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{line[-1]}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(
    path: Path, reader: Mapping[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        cell.source = cell.source.replace("STEPS = 200", "STEPS = 2")
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_outputs_are_stored(path: Path) -> None:
    for cell in nbformat.read(path, as_version=4).cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
