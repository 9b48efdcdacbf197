"""Each claim of the papers has a page that says where it stands and how sure it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hdrlab.evaluation.plans import plan_file, read_plan

FOLDER = Path(__file__).resolve().parents[2] / "experiments" / "claims"
PAGES = sorted(path for path in FOLDER.glob("*.md") if path.name != "README.md")
INDEX = (FOLDER / "README.md").read_text(encoding="utf-8")
STATUSES = ("verified", "recalled", "unknown")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_names_source_status_command_and_what_was_measured(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert re.search(r"(?m)^(\| source \||Source:) .*(CVPR 2020|IEEE Access 2021)", text)
    assert any(re.search(rf"\| (status \| )?{status}", text) for status in STATUSES)
    assert "## The command that tests it\n\n```\n" in text
    assert re.search(r"(?m)^## Measured (on open data|here)$", text)
    (row,) = (line for line in INDEX.splitlines() if f"({page.name})" in line)
    assert row.split("|")[2].strip() in STATUSES


@pytest.mark.parametrize("plan", ["singlehdr", "iqatm"])
def test_every_figure_that_a_plan_claims_stands_on_a_page(plan: str) -> None:
    texts = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    for claim in read_plan(plan_file(plan)).claims:
        if isinstance(claim.claimed, float):
            assert f"{claim.claimed:.2f} ± {claim.spread:.2f}" in texts, claim.what
