"""The rows of a run's ``metrics.csv``, read without torch."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path


def read_metrics(path: Path) -> dict[int, dict[str, float]]:
    """Read a metrics file: its numbers by name, by step."""
    scores: dict[int, dict[str, float]] = {}
    for step, name, value in rows(path):
        scores.setdefault(int(step), {})[name] = float(value)
    return scores


def rows(path: Path) -> Iterator[list[str]]:
    """Yield the rows of a metrics file; one that was not written to its end is none."""
    if not path.is_file():
        return
    with path.open(newline="", encoding="utf-8", errors="replace") as stream:
        for line in stream:
            row = _fields(line)
            if line.endswith("\n") and len(row) == 3 and _is_step(row[0]) and _is_number(row[2]):
                yield row


def _fields(line: str) -> list[str]:
    try:
        return next(csv.reader([line.rstrip("\n")]), [])
    except csv.Error:  # longer than any row is, or null bytes
        return []


def _is_step(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
