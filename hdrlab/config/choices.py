"""Where the YAML files lie, and what may be chosen from them."""

from __future__ import annotations

from pathlib import Path

_BESIDE = Path(__file__).resolve().parents[1] / "conf"
CONF = _BESIDE if _BESIDE.is_dir() else _BESIDE.parents[1] / "conf"  # in a wheel; in a checkout


def choices(group: str) -> list[str]:
    """List the names that ``group=NAME`` accepts."""
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))
