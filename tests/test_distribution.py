"""What is published, a wheel and a source distribution, holds what it must and nothing else."""

from __future__ import annotations

import email
import re
import subprocess
import sys
import tarfile
import zipfile
from email.message import Message
from pathlib import Path

import pytest
import yaml

import hdrlab

ROOT = Path(__file__).resolve().parents[1]
JUNK = re.compile(
    r"__pycache__|\.py[co]$|\.ipynb_checkpoints|(^|/)(\.venv|\.git|build|runs|cache|found)/|\.DS_Store"
)
MOST_WHEEL, MOST_SDIST = 12e6, 14e6
"""Bytes; the weights are 8 million of them."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that ``python -m build`` has filled: the wheel is made of the source distribution."""
    folder = tmp_path_factory.mktemp("dist")
    line = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(built / f"hdrlab-{hdrlab.__version__}-py3-none-any.whl")


@pytest.fixture(scope="module")
def sdist(built: Path) -> list[str]:
    name = f"hdrlab-{hdrlab.__version__}"
    with tarfile.open(built / f"{name}.tar.gz") as archive:
        return [one.name.removeprefix(f"{name}/") for one in archive.getmembers() if one.isfile()]


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    return email.message_from_bytes(wheel.read(f"hdrlab-{hdrlab.__version__}.dist-info/METADATA"))


@pytest.mark.slow
def test_nothing_else_is_built(built: Path) -> None:
    sizes = {path.suffix: path.stat().st_size for path in built.iterdir()}
    assert sizes.keys() == {".whl", ".gz"}
    assert sizes[".whl"] < MOST_WHEEL
    assert sizes[".gz"] < MOST_SDIST


@pytest.mark.slow
def test_the_wheel_holds_the_package(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    tops = {name.partition("/")[0] for name in names}
    assert tops == {"hdrlab", "hydra_plugins", f"hdrlab-{hdrlab.__version__}.dist-info"}
    assert not [name for name in names if JUNK.search(name) or name.endswith((".ipynb", "conftest.py"))]
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "hdrlab").rglob("*.py")}
    weights = {path.relative_to(ROOT).as_posix() for path in (ROOT / "hdrlab").rglob("*.safetensors")}
    assert len(weights) >= 6
    assert {*names} >= sources | weights
    for name in (
        "py.typed",
        "conf/train.yaml",
        "weights/shipped/compact/card.md",
        "evaluation/report/page.html",
    ):
        assert f"hdrlab/{name}" in names
    assert f"hdrlab-{hdrlab.__version__}.dist-info/licenses/LICENSE" in names


@pytest.mark.slow
def test_the_wheel_says_what_it_is(metadata: Message) -> None:
    assert metadata["Version"] == hdrlab.__version__
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert str(metadata.get_payload()).startswith("# hdrlab")
    extras = metadata.get_all("Provides-Extra")
    assert extras is not None
    assert {"docs", "codecs", "raw", "heic"} <= {*extras}
    urls = dict(line.split(", ") for line in metadata.get_all("Project-URL") or ())
    assert {"Homepage", "Documentation", "Source", "Issues", "Changelog"} <= urls.keys()


@pytest.mark.slow
def test_the_source_distribution_is_complete_and_clean(sdist: list[str]) -> None:
    assert not [name for name in sdist if JUNK.search(name)]
    for needed in (
        *("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "SECURITY.md"),
        *("Makefile", "constraints.txt", "docs/conf.py", "docs/index.md", "data/formats.md"),
        *("conf/train.yaml", "experiments/singlehdr.yaml", "tests/conftest.py", "hdrlab/py.typed"),
    ):
        assert needed in sdist


def test_the_version_stands_in_one_place() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert not re.search(r"^version = ", text, re.MULTILINE)
    assert 'path = "hdrlab/errors.py"' in text
    assert f"## {hdrlab.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_workflow_runs_what_people_run() -> None:
    """On three systems, with every version that the package names."""
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))["jobs"]
    matrix = jobs["run"]["strategy"]["matrix"]
    assert {one.partition("-")[0] for one in matrix["os"]} == {"ubuntu", "macos", "windows"}
    classifiers = re.findall(r"Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert matrix["python"] == classifiers
    assert ".ci/run" in [step.get("run") for step in jobs["run"]["steps"]]


def test_the_citation_can_be_read() -> None:
    said = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors", "license"} <= said.keys()
