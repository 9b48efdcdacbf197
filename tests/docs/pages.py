"""The documentation's pages, and what stands in their blocks of code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_COMMAND = re.compile(r"^(?:\$ )?((?:hdrlab|python -m hdrlab)[ .].*)")


class Block(NamedTuple):
    """A block of code: its language, and its text."""

    language: str
    text: str


def pages() -> list[Path]:
    """List the pages that a reader of the site or the repository finds."""
    folders = ("docs", "data", "experiments", "hdrlab/weights/shipped")
    return [ROOT / "README.md", *sorted(path for one in folders for path in (ROOT / one).rglob("*.md"))]


def blocks(path: Path) -> list[Block]:
    return [Block(*found) for found in _BLOCK.findall(path.read_text(encoding="utf-8"))]


def command_lines(path: Path) -> Iterator[str]:
    """Yield the lines of hdrlab's commands, joined where they are continued, without what follows a #."""
    for block in blocks(path):
        if block.language in ("", "bash", "console", "sh"):
            text = re.sub(r" *\\\n *", " ", block.text)
            for name, value in re.findall(r'^(\w+)="(.*)"$', text, re.MULTILINE):
                text = text.replace(f"${name}", value)
            for line in text.splitlines():
                if found := _COMMAND.match(line.strip()):
                    yield re.sub(r"\s+(#|\().*$", "", re.sub(r"\s+(&&|\|\|?)\s.*$", "", found[1]))
