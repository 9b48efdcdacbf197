"""The page as text: what it says, and that no name gets out of its place."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reports import NASTY, light, photograph, picture, pictures, report, toned

from hdrlab.report import Picture, ReportError, write_report
from hdrlab.report.page import to_json, white_of
from hdrlab.report.tables import number


class Reader(HTMLParser):
    """Collects tags, text and scripts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside != "style":
            self.text += data


def written(tmp_path: Path, **changes: Any) -> str:
    path = tmp_path / "report.html"
    write_report(report(**changes), path)
    return path.read_text(encoding="utf-8")


def shown(page: Reader) -> list[dict[str, Any]]:
    return [json.loads(s) for s in page.scripts if s.startswith('{"name"')]


def named(tmp_path: Path, name: str) -> Reader:
    """A page in which everything that a user names has one name."""
    methods = [replace(m, title=name, description=name) for m in report().methods]
    columns = [replace(c, title=name, convention=name, unit=name) for c in report().columns]
    shown = [replace(picture(0), name=name, scene=name, curves={name: np.ones(3)})]
    return Reader(
        written(
            tmp_path,
            title=name,
            methods=methods,
            columns=columns,
            gates=[(name, False, name)],
            said={name: name},
            pictures=shown,
        )
    )


def test_names_stay_in_their_places(tmp_path: Path) -> None:
    page, plain = named(tmp_path, NASTY), named(tmp_path, "plain")
    assert [(tag, list(attrs)) for tag, attrs in page.tags] == [
        (tag, list(attrs)) for tag, attrs in plain.tags
    ]
    assert len(page.scripts) == len(plain.scripts)
    assert page.text.count(NASTY) == plain.text.count("plain")
    assert shown(page)[0]["name"] == NASTY


def test_values_that_json_does_not_know() -> None:
    text = to_json({"a": [float("nan"), float("inf"), -float("inf"), 0.1], "</script>": "<!--&\u2028"})
    assert "<" not in text
    assert "\u2028" not in text
    assert json.loads(text) == {"a": ["NaN", "Infinity", "-Infinity", 0.1], "</script>": "<!--&\u2028"}


def test_the_table_says_interval_number_failures_and_significance(tmp_path: Path) -> None:
    text = Reader(written(tmp_path)).text
    for part in ("31.00", "30.50 to 31.50", "n 3 · 2 scenes", "2 failed", "wins 100 %", "not significant"):
        assert part in text
    assert "better: Net <one>" in text
    assert "not significantly different: Broken" in text


def test_a_convention_is_a_tooltip_and_words(tmp_path: Path) -> None:
    page = Reader(written(tmp_path))
    hints = [attrs.get("title") or "" for tag, attrs in page.tags if tag == "th"]
    assert any('Peak "256" & <b>all</b> pixels.' in hint for hint in hints)
    assert 'Peak "256" & <b>all</b> pixels.' in page.text
    assert 'val.txt <"1">' in page.text


def test_a_failed_check_is_said_first(tmp_path: Path) -> None:
    text = Reader(written(tmp_path, gates=[("PU21", True, "fine"), ("Identity", False, "3 dB")])).text
    assert "1 of 2 sanity checks failed: Identity" in text
    assert "Do not trust these scores" in text
    assert text.index("Do not trust") < text.index("31.00")
    assert "sanity checks failed" not in Reader(written(tmp_path)).text


def test_nothing_is_fetched_from_elsewhere(tmp_path: Path) -> None:
    page = Reader(written(tmp_path))
    for _, attrs in page.tags:
        assert not re.match(r"(https?:)?//", attrs.get("src") or attrs.get("href") or "")
    policy = next(attrs["content"] for tag, attrs in page.tags if "http-equiv" in attrs)
    assert policy is not None
    assert "default-src 'none'" in policy


def test_pictures_are_taken_one_by_one(tmp_path: Path) -> None:
    sizes: list[int] = []

    def watched() -> Iterator[Picture]:
        for given in pictures(8):
            sizes.append(sum(path.stat().st_size for path in tmp_path.iterdir()))
            yield given

    written(tmp_path, pictures=watched())
    assert sizes[4] > sizes[0] + 100_000
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_what_cannot_be_shown_is_a_failure(tmp_path: Path) -> None:
    given = picture(0)
    results = {**given.results, "net": light(0, 20, 30), "stranger": light(0)}
    page = Reader(written(tmp_path, pictures=[replace(given, results=results)]))
    assert set(shown(page)[0]["layers"]) == {
        "input",
        "reference",
        *(f"method:{m}" for m in ("srgb", "broken", "true")),
    }


def test_results_of_the_wrong_kind_are_refused(tmp_path: Path) -> None:
    given = picture(0)
    with pytest.raises(ReportError, match="net is uint8; a report of kind 'hdr' shows linear light"):
        written(tmp_path, pictures=[replace(given, results={"net": photograph(light(0))})])
    with pytest.raises(ReportError, match="shows uint8 display pixels"):
        written(tmp_path, kind="sdr")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="cannot be written: No such file"):
        write_report(report(), tmp_path / "missing" / "report.html")


def test_an_empty_report(tmp_path: Path) -> None:
    text = written(
        tmp_path, columns=(), methods=(), scores={}, differences={}, gates=(), said={}, pictures=()
    )
    assert "No check was made." in text


def test_white_is_where_the_photograph_clips() -> None:
    hdr = light(0) * 37
    given = replace(picture(0), reference=hdr, ldr=photograph(hdr, white=74))
    assert white_of(given) == pytest.approx(74, rel=0.01)


def test_white_without_a_photograph_comes_from_the_light() -> None:
    grey = np.full((8, 8, 3), 9, np.float32)
    assert white_of(replace(picture(0), ldr=None, reference=grey)) == pytest.approx(50, rel=1e-4)
    assert white_of(replace(picture(0), ldr=None, reference=0 * grey)) == 1
    assert white_of(replace(picture(0), ldr=None, reference=None, results={})) == 1


def test_tone_mapping_shows_display_pictures(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_report(toned(), path)
    layers = shown(Reader(path.read_text(encoding="utf-8")))[0]["layers"]
    assert {name: layer["coding"] for name, layer in layers.items()} == {
        "reference": "log",
        "method:net": "srgb",
        "method:srgb": "srgb",
    }


@pytest.mark.parametrize(
    ("value", "text"), [(1.25, "1.2"), (-3.0, "−3.0"), (float("nan"), "–"), (float("inf"), "∞")]
)
def test_numbers_for_readers(value: float, text: str) -> None:
    assert number(value, 1) == text
