"""The modules that docs/plugins.md shows, as files to try."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
from PIL import Image

from hdrlab import write_image

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "plugins.md").read_text(encoding="utf-8")
MODULES = dict(re.findall(r"```python\n# (\w+\.py)\n(.*?)```", PAGE, re.DOTALL))
LINES = re.findall(r"^hdrlab (.*)$", PAGE, re.MULTILINE)
EVENING = re.findall(r"```yaml\n# mine/experiment/evening\.yaml.*?\n(.*?)```", PAGE, re.DOTALL)[0]
SMALL = (
    *("trainer.max_steps=2", "stage.patch=32", "stage.batch_size=2", "stage.width=0.1"),
    *("data.short_side=64", "data.val_crop=64", "data.workers=0", "data.val_images=1"),
    *("callbacks.progress=none", "callbacks.panels=0"),
)
EVALUATION = ("report=false", "images=1", "data.short_side=64")
PAIRS = (
    "stage.patch=192",
    *("trainer=smoke", "stage.batch_size=1", "stage.width=0.1", "data.workers=0", "data.val_images=1"),
    *("callbacks.progress=none", "callbacks.panels=0"),
)


def write_modules(folder: Path) -> None:
    for name, text in MODULES.items():
        (folder / name).write_text(text, encoding="utf-8")


def write_shots(folder: Path) -> None:
    """The pairs that the page's third module reads."""
    (folder / "shots").mkdir()
    rng = np.random.default_rng(1)
    for name in "abc":
        cells = rng.uniform(0.01, 1, (13, 14, 3)) ** 2
        light = np.kron(cells, np.ones((16, 16, 1))).astype(np.float32)
        shown = (255 * (light * rng.uniform(0.9, 1, light.shape)) ** (1 / 2.2)).astype(np.uint8)
        write_image(folder / "shots" / f"{name}.exr", 3 * light)
        Image.fromarray(shown).save(folder / "shots" / f"{name}.jpg", quality=95)
        Image.fromarray(shown).save(folder / "shots" / f"{name}_graded.png")


def words_of(line: str) -> list[str]:
    """A line of the page, with what makes it quick."""
    name, *words = shlex.split(line)
    training = PAIRS if "plugins=[studio_pairs]" in words else SMALL
    return [name, *words, *{"train": training, "evaluate": EVALUATION}.get(name, ())]
