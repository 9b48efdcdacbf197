"""Writing a report: the page around the tables and, image by image, the data of the viewer."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from hdrlab.errors import EvaluationError
from hdrlab.evaluation.benchmark import Benchmark, Row
from hdrlab.evaluation.report import tables
from hdrlab.evaluation.report.images import LONG_SIDE, MOST_STOPS
from hdrlab.evaluation.summary import Results
from hdrlab.io.atomic import writing_text


def write_report(
    benchmark: Benchmark,
    results: Results,
    rows: Sequence[Row],
    images: Sequence[Mapping[str, Any]],
    notes: Mapping[str, str],
    path: Path,
) -> None:
    """Write a report as one HTML file, which needs no other file, no server and no network.

    Args:
        benchmark: What was compared.
        results: What came out.
        rows: Scores of each image.
        images: Those to show, from `page_image`; a dozen with nine results each take about 6 MB.
        notes: What was measured how: settings, versions, the photometric anchor.
        path: The file; it appears when it is complete.

    Raises:
        EvaluationError: The file cannot be written.
    """
    try:
        with writing_text(path) as file:
            file.writelines(_page(benchmark, results, rows, images, notes))
    except OSError as error:
        raise EvaluationError(f"{path} cannot be written: {error.strerror or error}") from error


def _page(
    benchmark: Benchmark,
    results: Results,
    rows: Sequence[Row],
    images: Sequence[Mapping[str, Any]],
    notes: Mapping[str, str],
) -> Iterator[str]:
    fragments = tables.fragments(benchmark, results, notes)
    parts = {
        "scores": "Scores",
        "images": "Images",
        "failures": f"Failures ({fragments['num_failures']})",
        "measured": "How it was measured",
    }
    template, values = framed(
        "page.html",
        benchmark.title,
        "Parts of the page",
        parts,
        ("viewer.css", "page.css"),
        ("viewer.js", "page.js"),
    )
    values |= {
        "long_side": f"{LONG_SIDE}",
        "most": f"{MOST_STOPS}",
        "report": to_json(_heading(benchmark, results)),
        **fragments,
    }
    before, after = template.split("$images")
    yield Template(before).substitute(values)
    names = {metric.name for metric in benchmark.metrics}
    for image in images:
        scores = {
            row["method"]: {name: row[name] for name in names}
            for row in rows
            if row["image"] == image["name"]
        }
        text = to_json({**image, "scores": scores})
        yield f'<script type="application/json" class="image">{text}</script>\n'
    yield Template(after).substitute(values)


def framed(
    content: str,
    title: str,
    label: str,
    parts: Mapping[str, str],
    styles: Sequence[str],
    scripts: Sequence[str],
) -> tuple[str, dict[str, str]]:
    """Return the template of a page, and the values of what all pages have.

    Args:
        content: The file with what the page shows.
        title: Its title.
        label: What its links to parts of it are, for who hears the page.
        parts: Their texts, by the parts' names in ``content``.
        styles: Files of styles.
        scripts: Files of scripts, the only ones that it lets run.
    """
    script = "".join(map(asset, scripts))
    values = {
        "title": escape(title),
        "label": label,
        "parts": "".join(f'<a href="#{escape(name)}">{escape(text)}</a>' for name, text in parts.items()),
        "style": "".join(map(asset, styles)),
        "digest": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
        "script": script,
    }
    return asset("frame.html").replace("$content", asset(content)), values


def asset(name: str) -> str:
    """Return a file of this package as text."""
    return files("hdrlab.evaluation.report").joinpath(name).read_text(encoding="utf-8")


def _heading(benchmark: Benchmark, results: Results) -> dict[str, Any]:
    measured = tables.measured(benchmark, results)
    return {
        "task": benchmark.task,
        "metrics": [
            {
                "name": metric.name,
                "title": metric.title,
                "unit": metric.unit,
                "region": tables.region_title(metric.region),
                "hint": tables.hint(metric),
                "higher": metric.higher_is_better,
            }
            for metric in measured
        ],
        "methods": [
            {"name": method.name, "title": method.title, "kind": method.kind} for method in benchmark.methods
        ],
    }


def to_json(value: object) -> str:
    """Write JSON that can stand inside a script element whatever its strings say.

    Numbers that JSON does not know become the strings that JavaScript's ``Number`` understands.
    """
    text = json.dumps(_plain(value), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float | np.floating):
        return _number(float(value))
    return value


def _number(value: float) -> float | str:
    if math.isfinite(value):
        return float(f"{value:.7g}")
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
