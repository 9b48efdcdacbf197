"""Tables as CSV files, safe to open in a spreadsheet."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from typing import Any

from hdrlab.errors import printable
from hdrlab.io.atomic import PathLike, writing_text

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the start of a formula."""


def write_rows(rows: Iterable[Mapping[str, Any]], path: PathLike) -> None:
    """Write rows as CSV; texts that a spreadsheet would take for formulas get an apostrophe before them.

    Args:
        rows: Values by column; one that a row lacks stays empty.
        path: The file; a former one is replaced.

    Raises:
        OSError: It cannot be written.
    """
    rows = list(rows)
    names = dict.fromkeys(name for row in rows for name in row)
    with writing_text(path) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(map(csv_cell, names))
        writer.writerows([csv_cell(row.get(name, "")) for name in names] for row in rows)


def csv_cell(value: Any) -> Any:
    """Return a value as a cell of a CSV file: floats with nine digits, texts that are no formulas."""
    if isinstance(value, float):
        return f"{value:.9g}"
    if isinstance(value, str):
        formula = value.startswith(FORMULA) and not _is_number(value)
        return f"'{printable(value)}" if formula else printable(value)
    return value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.isascii() and text == text.strip()
