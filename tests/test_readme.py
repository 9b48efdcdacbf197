"""What the README shows runs as it stands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hdrlab.train import COMMAND

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
HERE = (
    "https://github.com/hdrlab/hdrlab/blob/main/",
    "https://raw.githubusercontent.com/hdrlab/hdrlab/main/",
)
TRAININGS = re.findall(r"^python -m hdrlab\.train (.*?)(?:\s+#.*)?$", README, re.MULTILINE)


def test_there_is_something_to_try() -> None:
    assert len(PYTHON) >= 2
    assert len(TRAININGS) >= 8


@pytest.mark.slow
@pytest.mark.parametrize("lines", PYTHON, ids=lambda lines: lines.split()[1])
def test_python_lines_run(lines: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    photo = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    Image.fromarray(photo).save("photo.jpg")
    exec(compile(lines.replace("max_steps=300", "max_steps=1"), "README.md", "exec"), {})


@pytest.mark.parametrize("line", TRAININGS)
def test_trainings_compose(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "hdr").mkdir()
    (tmp_path / "vgg16.npy").touch()
    arguments = [one.replace("~", str(tmp_path)) for one in shlex.split(line) if one not in ("-m", "--help")]
    config = COMMAND.compose([re.sub(r"(=[^,=]+),.*", r"\1", one) for one in arguments])
    assert config.stage.name


def test_it_fits_a_narrow_screen() -> None:
    assert [line for line in README.splitlines() if len(line) > 80 and not line.startswith("[")] == []


def test_its_links_work_from_anywhere() -> None:
    targets = re.findall(r"^\[\w+\]: (\S+)$", README, re.MULTILINE)
    assert targets
    assert not re.findall(r"\]\((?!https://)", README)
    for target in targets:
        assert target.startswith(HERE), target
        assert (ROOT / re.sub(r"^https://[^/]+/hdrlab/hdrlab/(blob/)?main/", "", target)).is_file(), target
    used = {*re.findall(r"\]\[(\w+)\]", README)}
    assert used == {*re.findall(r"^\[(\w+)\]: ", README, re.MULTILINE)}


def test_its_picture_is_small() -> None:
    assert (ROOT / "docs" / "pictures" / "front.jpg").stat().st_size <= 150_000
