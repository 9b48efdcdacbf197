"""Which room may import which: the direction that keeps nets and metrics usable on their own."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "hdrlab"

OWN = {
    "config": {"config"},
    "ops": {"ops"},
    "io": {"io"},
    "nets": {"nets", "ops"},
    "losses": {"losses", "ops"},
    "metrics": {"metrics", "ops"},
    "camera": {"camera", "ops"},
    "operators": {"operators"},
    "expansion": {"expansion"},
    "report": {"report"},
    "datasets": {"datasets", "camera", "metrics", "operators", "ops", "io", "config"},
    "comparison": {
        *(
            "comparison",
            "metrics",
            "losses",
            "expansion",
            "operators",
            "report",
            "nets",
            "ops",
            "camera",
            "io",
        ),
        *(
            "datasets",
            "config",
            "chain",
            "tone_nets",
            "net_files",
            "pipeline",
            "procedure",
            "training",
            "tiles",
        ),
    },
    "sweeps": {"sweeps", "config", "runs", "training", "processes", "train", "metrics"},
    "training": {
        *("training", "stages", "datasets", "nets", "metrics", "camera", "io", "config"),
        *("runs", "net_files"),
    },
    "stages": {
        *("stages", "nets", "losses", "metrics", "ops", "config", "optim"),
        *("pipeline", "tone_mapping", "weights"),
    },
}
"""What of hdrlab a room may import, anywhere in a file."""

FRAME = {"pytorch_lightning", "lightning", "hydra", "omegaconf", "wandb"}
TORCH = {"torch", "pytorch_lightning", "torchvision", "torchmetrics"}
FOREIGN = {
    "config": TORCH,
    "ops": FRAME,
    "io": FRAME | TORCH,
    "nets": FRAME,
    "losses": FRAME,
    "metrics": FRAME,
    "camera": FRAME,
    "operators": FRAME | TORCH,
    "expansion": FRAME | TORCH,
    "report": FRAME | TORCH,
    "datasets": {"hydra", "omegaconf", "wandb"},
    "comparison": FRAME,
    "sweeps": TORCH | {"wandb"},
    "training": {"hydra", "omegaconf"},
    "stages": {"hydra", "omegaconf", "wandb"},
}
"""What of other packages it may not."""

LIGHT = (
    *("hdrlab.train", "hdrlab.evaluate", "hdrlab.prepare", "hdrlab.reconstruct", "hdrlab.runs"),
    *("hdrlab.import_weights", "hdrlab.tonemap", "hdrlab.photograph", "hdrlab.reproduce"),
    *(
        "hdrlab.config.check",
        "hdrlab.io",
        "hdrlab.camera.curves",
        "hdrlab.datasets.sources",
        "hdrlab.datasets.progress",
        "hdrlab.sweeps.drive",
    ),
)
"""Modules that say what is wrong before torch is imported."""


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and full name of everything a file imports, inside functions too."""
    package = path.relative_to(PACKAGE.parent).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def wrong(room: str, name: str) -> bool:
    first, *rest = name.split(".")
    if first == "hdrlab":
        return bool(rest) and rest[0] != "__version__" and rest[0] not in OWN[room]
    return first in FOREIGN[room]


@pytest.mark.parametrize("room", OWN)
def test_imports_point_one_way(room: str) -> None:
    files = sorted((PACKAGE / room).rglob("*.py"))
    assert files
    found = [
        f"{path.relative_to(PACKAGE.parent)}:{line} imports {name}"
        for path in files
        for line, name in imports(path)
        if wrong(room, name)
    ]
    assert not found, "\n".join(found)


def test_every_room_has_a_rule() -> None:
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert rooms == set(OWN) == set(FOREIGN)


def test_a_wrong_direction_is_seen() -> None:
    assert wrong("nets", "hdrlab.config.schema")
    assert wrong("stages", "hdrlab.datasets.synth.Camera")
    assert wrong("losses", "pytorch_lightning")
    assert wrong("config", "torch.nn")
    assert not wrong("nets", "torch.nn")
    assert not wrong("stages", "hdrlab.losses.l2_loss")


def test_what_finds_mistakes_comes_without_torch() -> None:
    code = f"import sys, {', '.join(LIGHT)}; print(sorted(set(sys.modules) & {TORCH!r}))"
    asked = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent
    )
    assert asked.stdout.strip() == "[]"
