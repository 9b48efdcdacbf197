"""Writing a report: the page around the tables and, picture by picture, the data of the viewer."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
import uuid
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrlab.report import copies, tables
from hdrlab.report.model import Picture, Pixels, Report, ReportError

CLIPPED = 249  # of 255: at and above it a channel counts as clipped
_KEY = 0.18


def write_report(report: Report, path: Path, *, long_side: int = copies.LONG_SIDE) -> None:
    """Write a report as one HTML file, which needs no other file, no server and no network.

    Args:
        report: What to show; its pictures are written one after the other.
        path: The file; it appears when it is complete.
        long_side: Of the pictures' copies in the page, in pixels. With the default a picture with seven
            results takes about 2 MB.

    Raises:
        ReportError: A result has the wrong form, or the file cannot be written.
    """
    part = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with part.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(_page(report, long_side))
        part.replace(path)
    except OSError as error:
        raise ReportError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)


def _page(report: Report, long_side: int) -> Iterator[str]:
    script = _asset("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    values = {
        "title": html.escape(report.title),
        "style": _asset("page.css"),
        "digest": digest,
        "script": script,
        "scale": f"{copies.STEPS}",
        "long_side": f"{long_side}",
        "report": to_json(_heading(report)),
        **tables.fragments(report),
    }
    before, after = _asset("page.html").split("$pictures")
    yield Template(before).substitute(values)
    for index, picture in enumerate(report.pictures):
        yield from _picture(report, picture, index, long_side)
    yield Template(after).substitute(values)


def _asset(name: str) -> str:
    return files("hdrlab.report").joinpath(name).read_text(encoding="utf-8")


def _heading(report: Report) -> dict[str, Any]:
    against = report.against
    return {
        "kind": report.kind,
        "steps": copies.STEPS,
        "clipped": CLIPPED,
        "against": against.name if against else None,
        "columns": [
            {
                "name": column.name,
                "title": column.title,
                "unit": column.unit,
                "region": tables.region_title(column.region),
                "higher": column.higher_is_better,
            }
            for column in report.columns
        ],
        "methods": [
            {"name": method.name, "title": method.title, "kind": method.kind} for method in report.methods
        ],
    }


def _picture(report: Report, picture: Picture, index: int, long_side: int) -> Iterator[str]:
    layers: dict[str, dict[str, Any]] = {}
    for number, (name, pixels) in enumerate(_layers(report, picture)):
        copy = copies.copy_of(pixels, long_side)
        layers[name] = {
            "block": f"copy-{index}-{number}",
            "coding": copy.coding,
            "floor": copy.floor,
            "height": copy.height,
            "width": copy.width,
        }
        yield f'<script type="application/octet-stream" id="copy-{index}-{number}">{copy.text}</script>\n'
    known = {method.name for method in report.methods}
    shown = {
        "name": picture.name,
        "scene": picture.scene,
        "white": white_of(picture),
        "layers": layers,
        "figures": {method: dict(row) for method, row in picture.figures.items() if method in known},
        "curves": {name: curve.tolist() for name, curve in picture.curves.items()},
    }
    yield f'<script type="application/json" class="picture">{to_json(shown)}</script>\n'


def _layers(report: Report, picture: Picture) -> Iterator[tuple[str, Pixels]]:
    """Yield what can be shown: "input", "reference", and "method:" with a name for each usable result."""
    size = next((p.shape for p in (picture.reference, picture.ldr) if p is not None), None)
    if picture.ldr is not None:
        yield "input", picture.ldr
    if picture.reference is not None:
        yield "reference", picture.reference
    for method in report.methods:
        result = picture.results.get(method.name)
        if result is None or result.shape != (size or result.shape):
            continue
        if (report.kind == "sdr") != (result.dtype == np.uint8):
            wanted = "uint8 display pixels" if report.kind == "sdr" else "linear light"
            raise ReportError(
                f"{picture.name}: the result of {method.name} is {result.dtype}; a report of kind "
                f"{report.kind!r} shows {wanted}"
            )
        yield f"method:{method.name}", result


def white_of(picture: Picture) -> float:
    """Choose the light that is shown white without any correction of the exposure.

    It is the light at which the photograph clips, so that results look like the photograph; where there is no
    photograph or no reference, middle grey is placed at the picture's log-average.
    """
    results = (pixels for pixels in picture.results.values() if pixels is not None)
    light = next((p for p in (picture.reference, *results) if p is not None and p.dtype != np.uint8), None)
    if light is None:
        return 1.0
    thin = _thin(np.nan_to_num(light, posinf=0, neginf=0)) @ copies.LUMINANCE
    usable = thin > 0
    if picture.ldr is not None and picture.ldr.shape == light.shape:
        levels = _thin(picture.ldr)
        seen = copies.from_srgb(levels) @ copies.LUMINANCE
        fitting = usable & (levels.max(2) < CLIPPED) & (seen > 0.01)
        if fitting.any():
            return float(np.median(thin[fitting] / seen[fitting]))
    return float(np.exp(np.log(thin[usable]).mean())) / _KEY if usable.any() else 1.0


def _thin(pixels: NDArray[Any]) -> NDArray[Any]:
    step = max(1, max(pixels.shape[:2]) // 256)
    return pixels[::step, ::step]


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
