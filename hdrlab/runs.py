"""List run folders and published checkpoints: ``python -m hdrlab.runs``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import yaml  # type: ignore[import-untyped]

from hdrlab.training.run_folder import UNREADABLE


def _table(runs: Path) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("run", "data", "steps", "state", title=escape(str(runs)))
    for path in sorted(runs.glob("*/*/config.yaml"), key=lambda p: p.stat().st_mtime):
        finished = path.with_name("finished.json")
        started = path.with_name("last.ckpt").is_file()
        state = "finished" if finished.is_file() else "can be resumed" if started else "no checkpoint yet"
        run = f"{path.parent.parent.name}/{path.parent.name}"
        table.add_row(escape(run), *map(escape, _data_and_steps(path)), state)
    slots = Table("checkpoint", "from run", "step", "data fingerprint", title="published")
    for path in sorted(runs.glob("slots/*/*.json")):
        name = f"{path.parent.name}/{path.stem}"
        slots.add_row(*map(escape, (name, *_origin(path))))
    Console().print(table, slots, sep="\n")


def _data_and_steps(path: Path) -> tuple[str, str]:
    """Read a run's stored configuration as plain text: nothing in it is filled in or made."""
    try:
        stored = yaml.safe_load(path.read_text(encoding="utf-8"))
        name, planned = str(stored["data"]["name"]), str(stored["stage"]["max_steps"])
    except UNREADABLE:
        return "config.yaml is damaged", ""
    if (path.with_name("finished.json")).is_file():
        planned = ""
    return name, " of ".join(filter(None, (_steps_made(path.parent), planned)))


def _steps_made(folder: Path) -> str:
    """Return the steps of the newest checkpoint, nothing where there is none."""
    try:
        stored = json.loads((folder / "checkpoints.json").read_text(encoding="utf-8"))
        return str(max(int(entry["step"]) for entry in stored))
    except UNREADABLE:
        return ""


def _origin(path: Path) -> tuple[str, str, str]:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return str(stored["run"]), str(stored["step"]), str(stored["data_fingerprint"])[:8]
    except UNREADABLE:
        return "manifest is damaged", "", ""


def main() -> None:
    """List the runs and published checkpoints of a folder, ``runs`` unless another is named."""
    arguments = sys.argv[1:]
    if len(arguments) > 1 or any(word.startswith("-") for word in arguments):
        print("List run folders and published checkpoints.\n\nusage: python -m hdrlab.runs [FOLDER]")
        raise SystemExit(0 if arguments in (["-h"], ["--help"]) else 2)
    folder = Path(arguments[0].removeprefix("paths.runs=") if arguments else "runs")
    if not folder.is_dir():
        print(f"error: {folder}: no such folder; train a stage first, or name another", file=sys.stderr)
        raise SystemExit(2)
    _table(folder)


if __name__ == "__main__":
    main()
