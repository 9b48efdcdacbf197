"""The page as text: what it says, and that no name gets out of its place."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from reports import METHODS, METRICS, NASTY, image, toned, written

from hdrlab.errors import EvaluationError
from hdrlab.evaluation.report.page import to_json
from hdrlab.evaluation.report.tables import number


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


def shown(page: Reader) -> list[dict[str, Any]]:
    return [json.loads(s) for s in page.scripts if s.startswith('{"name"')]


def named(path: Path, name: str) -> Reader:
    """A page in which everything that a user names has one name."""
    methods = [replace(method, title=name, description=name) for method in METHODS]
    metrics = [replace(metric, title=name, convention=name, unit=name) for metric in METRICS]
    failed = {"broken": name}
    images = [image(0, name, scene=name, curves={name: [1.0, 1.0]}, failed=failed)]
    notes = {name: name}
    return Reader(written(path, images, title=name, methods=methods, metrics=metrics, notes=notes))


def test_names_stay_in_their_places(tmp_path: Path) -> None:
    page, plain = named(tmp_path / "a", NASTY), named(tmp_path / "b", "ordinary")
    assert [(tag, list(attrs)) for tag, attrs in page.tags] == [
        (tag, list(attrs)) for tag, attrs in plain.tags
    ]
    assert len(page.scripts) == len(plain.scripts)
    assert page.text.count(NASTY) == plain.text.count("ordinary")
    assert shown(page)[0]["name"] == NASTY


def test_values_that_json_does_not_know() -> None:
    text = to_json({"a": [float("nan"), float("inf"), -float("inf"), 0.1], "</script>": "<!--&\u2028"})
    assert "<" not in text
    assert "\u2028" not in text
    assert json.loads(text) == {"a": ["NaN", "Infinity", "-Infinity", 0.1], "</script>": "<!--&\u2028"}


def test_the_table_says_interval_number_failures_and_significance(tmp_path: Path) -> None:
    text = Reader(written(tmp_path / "page")).text
    for part in ("31.67", "31.00 to 32.00", "n 3 · 2 scenes", "1 failed", "wins 100 %", "not significant"):
        assert part in text
    assert "not significantly different: Net <one>" in text  # two scenes prove nothing
    assert "undefined on 1" in text  # one of Broken's


def test_failures_have_a_place(tmp_path: Path) -> None:
    text = Reader(written(tmp_path / "page")).text
    assert "Failures (1)" in text
    assert "Brokenimage_1out of <memory>" in text
    assert "None." in Reader(toned(tmp_path / "toned")).text


def test_identical_methods_are_called_identical(tmp_path: Path) -> None:
    twin = replace(METHODS[0], name="twin", title="Twin")
    text = Reader(written(tmp_path / "page", methods=[*METHODS, twin])).text
    assert "Twin is identical to Net <one>." in text
    assert "identical to" not in Reader(written(tmp_path / "page")).text


def test_every_number_explains_itself(tmp_path: Path) -> None:
    page = Reader(written(tmp_path / "page"))
    hints = [attrs.get("title") or "" for tag, attrs in page.tags if tag in ("th", "td")]
    assert any('Peak "256" & <b>all</b> pixels. Higher is better.' in hint for hint in hints)
    cells = [hint for hint in hints if hint.startswith("Net <one>, PSNR: mean 31.67 dB over 3 images of 2")]
    assert len(cells) == 1
    assert 'Peak "256"' in cells[0]
    assert 'Peak "256" & <b>all</b> pixels' in page.text
    assert 'val.txt <"1">' in page.text


def test_nothing_is_fetched_from_elsewhere(tmp_path: Path) -> None:
    page = Reader(written(tmp_path / "page"))
    for _, attrs in page.tags:
        assert not re.match(r"(https?:)?//", attrs.get("src") or attrs.get("href") or "")
    policy = next(attrs["content"] for tag, attrs in page.tags if "http-equiv" in attrs)
    assert policy is not None
    assert "default-src 'none'" in policy


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="cannot be written: No such file"):
        written(tmp_path / "missing" / "report.html")


def test_an_empty_report(tmp_path: Path) -> None:
    assert "None." in Reader(written(tmp_path / "page", [], metrics=(), notes={})).text


def test_tone_mapping_shows_display_images(tmp_path: Path) -> None:
    layers = shown(Reader(toned(tmp_path / "page")))[0]["layers"]
    assert {name: "span" in layer for name, layer in layers.items()} == {
        "reference": True,
        "method:net": False,
        "method:srgb": False,
    }


@pytest.mark.parametrize(
    ("value", "text"), [(1.25, "1.2"), (-3.0, "−3.0"), (float("nan"), "–"), (float("inf"), "∞")]
)
def test_numbers_for_readers(value: float, text: str) -> None:
    assert number(value, 1) == text
