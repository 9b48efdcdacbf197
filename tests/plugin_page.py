"""The modules that docs/plugins.md shows, as files to try."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "plugins.md").read_text(encoding="utf-8")
MODULES = dict(re.findall(r"```python\n# (\w+\.py)\n(.*?)```", PAGE, re.DOTALL))
LINES = re.findall(r"^hdrlab (.*)$", PAGE, re.MULTILINE)
EVENING = re.findall(r"```yaml\n# mine/experiment/evening\.yaml.*?\n(.*?)```", PAGE, re.DOTALL)[0]
SMALL = (
    *("trainer.max_steps=2", "stage.patch=32", "stage.batch_size=2", "stage.width=0.1"),
    *("data.short_side=64", "data.val_crop=64", "data.workers=0", "data.val_images=1"),
    *("callbacks.progress=none", "callbacks.panels=0"),
)


def write_modules(folder: Path) -> None:
    for name, text in MODULES.items():
        (folder / name).write_text(text, encoding="utf-8")
