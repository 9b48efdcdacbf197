"""Imports point one way, which keeps nets, losses and metrics usable on their own; circles fail."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "hdrlab"

LAYERS = (
    {"errors"},
    {"config"},
    {"ops"},
    {"io", "nets", "losses", "metrics", "camera", "tonemapping"},
    {"weights", "pipeline"},
    {"datasets", "stages"},
    {"training"},
    {"inference"},
    {"evaluation"},
    {"serve"},
    {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "errors"},
)
"""Rooms from the ground up: each may import from those below it, never from its neighbours."""

RANK = {room: rank for rank, layer in enumerate(LAYERS) for room in layer}
PURE = {"ops"} | LAYERS[3] | {"weights", "pipeline"}
"""Take plain numbers and tensors: they know names of parts, else neither configuration nor frameworks."""
PARTS = ("config.registry", "config.registry.tables")

FRAMES = {"pytorch_lightning", "lightning", "hydra", "omegaconf", "wandb"}
TORCH = {"torch", "pytorch_lightning", "torchvision", "torchmetrics"}
FOREIGN = {
    **dict.fromkeys(PURE, FRAMES),
    "errors": FRAMES | TORCH,
    "config": TORCH | {"numpy"},
    "io": FRAMES | TORCH,
    "tonemapping": FRAMES | TORCH,
    "datasets": {"hydra", "omegaconf", "wandb"},
    "stages": {"hydra", "omegaconf", "wandb"},
}
"""What of other packages a room may not import."""

WITHOUT_TORCH = (
    *(f"hdrlab.{path.stem}" for path in sorted(PACKAGE.glob("*.py")) if path.stem != "__init__"),
    *(
        "hdrlab",
        "hdrlab.serve",
        "hdrlab.config.plugins",
        "hdrlab.config.validate",
        "hdrlab.io",
        "hdrlab.camera.curves",
        "hdrlab.datasets.build",
    ),
)
"""Modules that find mistakes before torch is imported."""

MOST_ROOMS = 30
"""Folders and loose files of hdrlab/, ``__init__`` and ``__main__`` among them, and hydra_plugins."""


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and full name of everything a file imports, inside functions and for types too."""
    package = path.relative_to(PACKAGE.parent).with_suffix("").parts[:-1]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def wrong(room: str, name: str) -> bool:
    first, *rest = name.split(".")
    if first != "hdrlab":
        return first in FOREIGN.get(room, set())
    if room == "__init__" or not rest or rest[0] == room:
        return False
    if room in PURE and rest[0] == "config":
        return not {".".join(rest), ".".join(rest[:-1])} & set(PARTS)
    return rest[0] not in RANK or RANK[rest[0]] >= RANK[room]


def files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("room", sorted(RANK))
def test_imports_point_one_way(room: str) -> None:
    found = [
        f"{path.relative_to(PACKAGE.parent)}:{line} imports {name}"
        for path in files()
        if room_of(path) == room
        for line, name in imports(path)
        if wrong(room, name)
    ]
    assert not found, "\n".join(found)


def test_no_module_imports_itself_through_others() -> None:
    modules = {".".join(p.relative_to(PACKAGE.parent).with_suffix("").parts): p for p in files()}
    edges = {
        module: {
            target
            for _, name in imports(path)
            for target in (name, name.rpartition(".")[0])
            if target in modules and target != module
        }
        for module, path in modules.items()
    }
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " → ".join([*trail[trail.index(module) :], module])
        if module not in done:
            for target in edges[module]:
                visit(target, (*trail, module))
            done.add(module)

    for module in modules:
        visit(module, ())


def test_every_room_has_its_place() -> None:
    rooms = {room_of(path) for path in files()}
    assert rooms == {*RANK, "__init__"}
    assert len({*rooms, "hydra_plugins"}) <= MOST_ROOMS


def test_a_wrong_direction_is_seen() -> None:
    assert wrong("nets", "hdrlab.config.schema")
    assert wrong("stages", "hdrlab.datasets.hdr_synth.Camera")
    assert wrong("metrics", "hdrlab.losses.l2_loss")
    assert wrong("losses", "pytorch_lightning")
    assert wrong("config", "torch.nn")
    assert wrong("io", "hdrlab.__version__")
    assert wrong("weights", "hdrlab.config.registry.stages.STAGES")
    assert not wrong("weights", "hdrlab.config.registry.tables.NETS")
    assert not wrong("nets", "torch.nn")
    assert not wrong("stages", "hdrlab.losses.l2_loss")


def test_what_finds_mistakes_comes_without_torch() -> None:
    code = f"import sys, {', '.join(WITHOUT_TORCH)}; print(sorted(set(sys.modules) & {TORCH!r}))"
    asked = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent
    )
    assert asked.stdout.strip() == "[]"
