"""A small report of made-up methods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrlab.report import Column, Difference, Method, Picture, Report, Score

NASTY = "a\"b'</script><img src=x onerror=alert(1)>&amp;<!--.png"

COLUMNS = (
    Column("psnr", "PSNR", "dB", 'Peak "256" & <b>all</b> pixels.'),
    Column("error@clipped", "Error", "", "Of the clipped pixels.", higher_is_better=False),
)
METHODS = (
    Method("net", "Net <one>", "trained", "A net."),
    Method("srgb", "Do nothing", "baseline", "Inverse sRGB."),
    Method("broken", "Broken", "classical", "Fails on the second picture."),
    Method("true", "True response", "oracle", "Knows the reference."),
)


def light(seed: int, height: int = 60, width: int = 90) -> NDArray[np.float32]:
    """A dark picture with a bright disc, 20 stops between them."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    disc = np.hypot(y - height / 2, x - width * 0.7) < height / 5
    stops = -6 + 6 * x / width + rng.normal(0, 0.2, (height, width)) + 10 * disc
    return (np.exp2(stops)[..., None] * (1.0, 0.8, 0.6)).astype(np.float32)


def photograph(hdr: NDArray[np.float32], white: float = 1.0) -> NDArray[np.uint8]:
    shown = (hdr / white).clip(0, 1)
    encoded = np.where(shown <= 0.0031308, 12.92 * shown, 1.055 * shown ** (1 / 2.4) - 0.055)
    return np.rint(encoded * 255).astype(np.uint8)


def picture(number: int) -> Picture:
    hdr = light(number)
    results = {"net": hdr * 0.9, "srgb": hdr.clip(0, 1), "broken": None if number else hdr * 4, "true": hdr}
    figures = {
        "net": {"psnr": 30.0 + number, "error@clipped": 0.1},
        "srgb": {"psnr": 20.0 - number, "error@clipped": 0.4},
        "broken": {"psnr": float("nan"), "error@clipped": 0.5},
        "true": {"psnr": float("inf"), "error@clipped": 0.0},
    }
    curve = np.linspace(0, 1, 16, dtype=np.float32)
    return Picture(
        NASTY if number == 0 else f"picture_{number}",
        f"scene {number % 2}",
        photograph(hdr),
        hdr,
        results,
        figures,
        {"true": curve**2, "net": curve**1.8},
    )


def pictures(num: int = 3) -> Iterator[Picture]:
    yield from (picture(number) for number in range(num))


def report(**changes: Any) -> Report:
    def score(mean: float, failures: int = 0) -> Score:
        return Score(mean, mean, 1.0, mean - 0.5, mean + 0.5, 3, 2, failures)

    scores: Mapping[str, Mapping[str, Score]] = {
        "net": {"psnr": score(31.0), "error@clipped": score(0.1)},
        "srgb": {"psnr": score(19.0), "error@clipped": score(0.4)},
        "broken": {"psnr": score(9.0, failures=2)},
        "true": {"psnr": score(100.0)},
    }
    differences = {
        "net": {"psnr": Difference(12.0, 10.0, 14.0, 1.0, True)},
        "broken": {"psnr": Difference(-10.0, -21.0, 1.0, 0.25, False)},
    }
    base = Report(
        title="Test of </title> & more",
        kind="hdr",
        said={"Split": 'val.txt <"1">', "hdrlab": "0.1"},
        columns=COLUMNS,
        methods=METHODS,
        scores=scores,
        differences=differences,
        gates=[("PU21 values", True, "ten values")],
        pictures=pictures(),
    )
    return replace(base, **changes)


def toned() -> Report:
    """The same as a report of tone mapping: results are display pictures, and there is no photograph."""
    made = []
    for given in pictures():
        assert given.reference is not None
        shown = {name: photograph(given.reference, white) for name, white in (("net", 4.0), ("srgb", 1.0))}
        made.append(replace(given, ldr=None, results=shown, curves={}))
    return report(kind="sdr", pictures=made)
