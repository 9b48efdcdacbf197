"""What a comparison leaves behind: undefined scores are said, and no name becomes a formula."""

from __future__ import annotations

import csv
import json
import math
import re
from pathlib import Path

from rich.console import Console
from test_summary import benchmark, rows

import hdrlab
from hdrlab.evaluation.summary import summarise_rows
from hdrlab.evaluation.tables import screen_table, write_markdown, write_summary
from hdrlab.io.csv_files import write_rows

FORMULAS = ("=cmd()|x", "@SUM(1)", "+1+1", "-2", "-2+cmd()", "\tx", "plain", "a=b")


def test_names_are_no_formulas(tmp_path: Path) -> None:
    write_rows([{"image": name, "score": -0.5} for name in FORMULAS], tmp_path / "rows.csv")
    with (tmp_path / "rows.csv").open(newline="", encoding="utf-8") as stream:
        read = list(csv.DictReader(stream))
    assert [row["image"] for row in read] == [
        *("'=cmd()|x", "'@SUM(1)", "'+1+1", "-2", "'-2+cmd()", "'\\tx", "plain", "a=b")
    ]
    assert {row["score"] for row in read} == {"-0.5"}


def test_names_that_are_no_text_are_written(tmp_path: Path) -> None:
    write_rows([{"image": "b\udce9ton\nx"}], tmp_path / "rows.csv")
    assert (tmp_path / "rows.csv").read_text("utf-8") == "image\nb\\udce9ton\\nx\n"


def test_undefined_scores_are_said_in_their_row_and_counted_in_the_comparison(tmp_path: Path) -> None:
    made = rows(13, 12)
    for row in made:
        if row["method"] == "net" and row["image"] in ("3", "4"):
            row["psnr"] = math.nan
    results = summarise_rows(benchmark(), made)
    console = Console(width=100)
    with console.capture() as caught:
        console.print(screen_table(benchmark(), results, 100))
    said = " ".join(caught.get().split())
    assert "n = 10, undefined on 2" in said
    assert "n = 12 where no other is given" in said
    assert "2 undefined and lost, not significant" in said
    write_markdown(benchmark(), results, {}, [], tmp_path / "report.md")
    text = (tmp_path / "report.md").read_text("utf-8")
    assert "n = 12 |" in text
    assert "n = 10, undefined on 2 |" in text
    write_summary(benchmark(), results, results, {}, {}, tmp_path / "summary.json")
    stored = json.loads((tmp_path / "summary.json").read_text("utf-8"))
    assert stored["undefined"]["net"] == {"psnr": 2}
    assert stored["scores"]["net"]["psnr"]["num"] == 10
    assert stored["differences"]["net"]["srgb"]["psnr"]["lost"] == 2


def test_a_method_without_any_score_loses(tmp_path: Path) -> None:
    made = [{**row, "psnr": math.nan if row["method"] == "net" else row["psnr"]} for row in rows(9, 9)]
    results = summarise_rows(benchmark(), made)
    write_markdown(benchmark(), results, {}, [], tmp_path / "report.md")
    text = (tmp_path / "report.md").read_text("utf-8")
    assert "| Net | undefined on 8 |" in text
    assert "| Srgb | worse: undefined |" in text


def test_identical_methods_are_called_so(tmp_path: Path) -> None:
    results = summarise_rows(benchmark(), rows(9, 9))
    write_markdown(benchmark(), results, {}, [], tmp_path / "report.md")
    assert "- huo is identical to srgb." in (tmp_path / "report.md").read_text("utf-8")


def test_all_tables_are_written_where_formulas_are_looked_for() -> None:
    """But those whose texts are the package's own."""
    own = {"metrics_csv.py", "nan_guard.py", "hdr_files.py"}  # names of figures; "7: name"; numbers
    package = Path(hdrlab.__file__).parent
    files = [*package.rglob("*.py"), *(package.parent / "hydra_plugins").rglob("*.py")]
    writers = {
        path.name for path in files if re.search(r"csv\.(writer|DictWriter)\(", path.read_text("utf-8"))
    }
    assert writers == {*own, "csv_files.py"}
