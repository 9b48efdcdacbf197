"""Print how far hdrlab is from the published programs and from known values: ``make parity``."""

from __future__ import annotations

import argparse
import platform
from collections.abc import Sequence
from pathlib import Path

import torch

from parity.cases import cases
from parity.metrics import CHECKS
from parity.reference import Reference

PAGE = Path(__file__).parents[2] / "docs" / "parity.md"
BEGIN, END = "<!-- made by: make parity WRITE=1 -->\n", "<!-- end -->\n"

NET_HEADS = ("net", "preset", "program", "values", "largest difference", "allowed", "")
METRIC_HEADS = ("metric", "expected values", "values", "largest difference", "allowed", "")


def net_rows(basis: Path | None = None) -> list[tuple[str, ...]]:
    """Compare all nets and procedures."""
    reference = Reference()
    rows = []
    with torch.no_grad():
        for case in cases(basis):
            found = case.compare(reference)
            verdict = "agrees" if found.difference <= case.tolerance else "DIFFERS"
            figures = (f"{found.values:,}", f"{found.difference:.0e}", f"{case.tolerance:.0e}")
            rows.append((case.what, case.preset, case.program, *figures, verdict))
    return rows


def metric_rows() -> list[tuple[str, ...]]:
    """Compare all metrics."""
    rows = []
    for check in CHECKS:
        values, difference = check.largest_difference()
        verdict = "agrees" if difference <= check.tolerance else "DIFFERS"
        rows.append(
            (check.what, check.source, f"{values}", f"{difference:.0e}", f"{check.tolerance:.0e}", verdict)
        )
    return rows


def as_markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    return "\n".join("| " + " | ".join(row) + " |" for row in (heads, ["---"] * len(heads), *rows)) + "\n"


def main() -> int:
    """Return 1 if anything differs by more than is allowed."""
    parser = argparse.ArgumentParser(prog="make parity", description=__doc__)
    parser.add_argument(
        "--emor", type=Path, help="EMoR's invemor.txt, for the linearization net's curves too"
    )
    parser.add_argument("--write", action="store_true", help=f"put the tables into {PAGE.name}")
    options = parser.parse_args()
    nets, metrics = net_rows(options.emor), metric_rows()
    made_by = f"torch {torch.__version__}, {platform.machine()}, Python {platform.python_version()}"
    programs = "".join(f"- {name}: {text}\n" for name, text in Reference().programs.items())
    text = "\n".join(
        [
            as_markdown(NET_HEADS, nets),
            as_markdown(METRIC_HEADS, metrics),
            f"Measured with {made_by}.\n",
            programs,
        ]
    )
    print(text)
    if options.write:
        page = PAGE.read_text(encoding="utf-8")
        before, rest = page.split(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}", encoding="utf-8")
    return int(any(row[-1] == "DIFFERS" for row in (*nets, *metrics)))


if __name__ == "__main__":
    raise SystemExit(main())
