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
