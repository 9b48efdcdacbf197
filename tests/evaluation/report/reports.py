"""A small report of made-up methods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrlab.evaluation.benchmark import Benchmark, Floats, Method, Pixels, Row, Task
from hdrlab.evaluation.report import page_image, write_report
from hdrlab.evaluation.summary import summarise_rows
from hdrlab.metrics.names import Metric
from hdrlab.ops.colour import srgb_levels

NASTY = "a\"b'</script><img src=x onerror=alert(1)>&amp;<!--.png"

METRICS = (
    Metric("psnr", "PSNR", "dB", 'Peak "256" & <b>all</b> pixels'),
    Metric("error@clipped", "Error", "", "Of the clipped pixels", higher_is_better=False),
)


def nothing(case: object) -> Any:
    raise AssertionError("not run here")


METHODS = (
    Method("net", "Net <one>", "trained", "A net.", nothing),
    Method("srgb", "Do nothing", "baseline", "Inverse sRGB.", nothing),
    Method("broken", "Broken", "classical", "Fails on the second image.", nothing),
    Method("true", "True response", "oracle", "Knows the reference.", nothing),
)
SCORES = {
    "net": lambda n: {"psnr": 30.0 + n**2, "error@clipped": 0.1},
    "srgb": lambda n: {"psnr": 20.0 - n, "error@clipped": 0.4},
    "broken": lambda n: {"psnr": 9.0 if n else np.nan, "error@clipped": 0.5},
    "true": lambda n: {"psnr": 100.0, "error@clipped": 0.0},
}


def light(seed: int, height: int = 60, width: int = 90) -> Floats:
    """A dark image with a bright disc, 20 stops between them."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    disc = np.hypot(y - height / 2, x - width * 0.7) < height / 5
    stops = -6 + 6 * x / width + rng.normal(0, 0.2, (height, width)) + 10 * disc
    return np.asarray(np.exp2(stops)[..., None] * (1.0, 0.8, 0.6), np.float32)


def photograph(hdr: Floats, white: float = 1.0) -> NDArray[np.uint8]:
    return srgb_levels(hdr / white)


class Shown:
    """An image of a report."""

    usable = True

    def __init__(self, number: int, name: str, hdr: Floats, ldr: NDArray[np.uint8] | None) -> None:
        self.name, self.scene, self.reference, self.input = name, f"scene {number % 2}", hdr, ldr
        self.facts: dict[str, float] = {}
        self.curves: dict[str, Floats] = {}

    def unfit(self, pixels: object) -> str:
        return ""

    def judge(self, pixels: object) -> Any:
        raise AssertionError("not judged here")


def image(number: int, name: str | None = None, **changes: Any) -> dict[str, Any]:
    hdr = light(number)
    results: dict[str, Pixels | str] = {
        "net": hdr * np.float32(0.9),
        "srgb": hdr.clip(0, 1),
        "broken": "out of <memory>" if number == 1 else hdr * 4,
        "true": hdr,
    }
    curve = np.linspace(0, 1, 16, dtype=np.float32)
    case = Shown(number, name or f"image_{number}", hdr, photograph(hdr))
    curves = {"true": curve**2, "net": np.asarray(curve**1.8, np.float32)}
    return {**page_image(case, results, curves), **changes}


def rows(methods: Sequence[Method], names: Sequence[str]) -> list[Row]:
    return [
        {
            "image": name,
            "scene": f"scene {number % 2}",
            "method": method.name,
            "usable": True,
            "failed": method.name == "broken" and number == 1,
            "reason": "out of <memory>" if method.name == "broken" and number == 1 else "",
            **SCORES.get(method.name, SCORES["net"])(number),
        }
        for number, name in enumerate(names)
        for method in methods
    ]


def written(path: Path, images: Sequence[dict[str, Any]] | None = None, **changes: Any) -> str:
    """Write a report, of three images unless others are given; return it as text."""
    images = [image(0, NASTY), image(1), image(2)] if images is None else images
    notes = changes.pop("notes", {"Split": 'val.txt <"1">', "hdrlab": "0.1"})
    task: Task = "reconstruct"
    base = Benchmark(
        "Test of </title> & more",
        task,
        "srgb",
        METHODS,
        METRICS,
        ("psnr",),
        [],
        lambda n: None,
        "f",  # type: ignore[arg-type, return-value]
    )
    benchmark = replace(base, **changes)
    scores = rows(benchmark.methods, [one["name"] for one in images])
    write_report(benchmark, summarise_rows(benchmark, scores), scores, images, notes, path)
    return path.read_text(encoding="utf-8")


def toned(path: Path) -> str:
    """The same as a report of tone mapping: results are display images, and there is no photograph."""
    images = []
    for number in range(3):
        hdr = light(number)
        shown: dict[str, Pixels | str] = {"net": photograph(hdr, 4.0), "srgb": photograph(hdr, 1.0)}
        images.append(page_image(Shown(number, f"{number}", hdr, None), shown, {}))
    return written(path, images, task="tonemap", methods=METHODS[:2])
