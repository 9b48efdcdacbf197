"""The comparison itself: every method on every picture, scored alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hdrlab.report.model import Method, Picture

Floats = NDArray[np.float32]
Row = dict[str, Any]


class ComparisonError(ValueError):
    """A comparison that cannot be made."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a method made of a picture.

    Attributes:
        pixels: The result; None where the method failed.
        curve: The inverse response curve it found, where it finds one.
        reason: Why it failed, if it did.
    """

    pixels: NDArray[Any] | None
    curve: Floats | None = None
    reason: str = ""


@dataclass(frozen=True, eq=False)
class Judged:
    """A scored result.

    Attributes:
        figures: By column; NaN where one does not apply.
        shown: The result as a report shows it; None where the method failed.
        reason: What is wrong with the result, if it cannot be scored.
    """

    figures: Mapping[str, float]
    shown: NDArray[Any] | None
    reason: str = ""


class Case(Protocol):
    """A picture that methods are compared on."""

    name: str
    scene: str
    usable: bool
    facts: Mapping[str, float]
    curves: Mapping[str, Floats]
    reference: Floats

    @property
    def input(self) -> NDArray[np.uint8] | None:
        """The photograph [H, W, 3], where the input is none of the reference itself."""

    def judge(self, pixels: NDArray[Any] | None) -> Judged:
        """Score a result; what is missing, misshapen or not finite counts as black."""


class Cases(Protocol):
    """The pictures, made one at a time."""

    @property
    def stems(self) -> Sequence[str]:
        """What other programs' results of each are called, without suffix; each unlike all others."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int, /) -> Case: ...


@dataclass(frozen=True, eq=False)
class Contender:
    """A method that takes part.

    Attributes:
        about: What a report says of it.
        run: From a case to what it makes of it.
    """

    about: Method
    run: Callable[[Any], Outcome]


@dataclass(frozen=True)
class Gallery:
    """Pictures kept in files for a report, which takes them one by one after all scores are known.

    Attributes:
        folder: Where they lie while they are needed.
        kept: Rows of the pictures by their names, in order.
    """

    folder: Path
    kept: dict[str, Row] = field(default_factory=dict)

    def keep(self, case: Case, judged: Mapping[str, Judged], curves: Mapping[str, Floats]) -> None:
        """Store a picture with the results of all methods."""
        place = self.folder / str(len(self.kept))
        place.mkdir()
        arrays = {f"{number}": one.shown for number, one in enumerate(judged.values())}
        arrays |= {"input": case.input, "reference": case.reference}
        for name, array in arrays.items():
            if array is not None:
                np.save(place / f"{name}.npy", array)
        figures = {name: one.figures for name, one in judged.items()}
        self.kept[case.name] = {"scene": case.scene, "place": place, "figures": figures, "curves": curves}

    def __iter__(self) -> Iterator[Picture]:
        for name, row in self.kept.items():
            results = {method: _load(row["place"], f"{n}") for n, method in enumerate(row["figures"])}
            ldr, reference = (_load(row["place"], which) for which in ("input", "reference"))
            yield Picture(name, row["scene"], ldr, reference, results, row["figures"], row["curves"])


def compare(
    cases: Cases,
    contenders: Sequence[Contender],
    gallery: Gallery,
    num_shown: int,
    progress: Callable[[int, int, str], None],
) -> list[Row]:
    """Run every method on every picture.

    Args:
        cases: The pictures, made one at a time.
        contenders: The methods.
        gallery: Takes pictures for a report, spread evenly over all.
        num_shown: How many.
        progress: Told (done, all, name) after each picture.

    Returns:
        A row a picture and method: picture, scene, method, usable, failed and why, the case's facts, the
        figures.
    """
    shown = {i * len(cases) // num_shown for i in range(num_shown)} if num_shown else set()
    rows: list[Row] = []
    for number in range(len(cases)):
        case = cases[number]
        judged, curves = {}, dict(case.curves)
        for contender in contenders:
            name = contender.about.name
            outcome = contender.run(case)
            judged[name] = case.judge(outcome.pixels)
            if outcome.curve is not None:
                curves[name] = outcome.curve
            own = {"picture": case.name, "scene": case.scene, "method": name, "usable": case.usable}
            failed = judged[name].shown is None
            said = {"failed": failed, "reason": outcome.reason or judged[name].reason}
            rows.append({**own, **said, **case.facts, **judged[name].figures})
        if number in shown:
            gallery.keep(case, judged, curves)
        progress(number + 1, len(cases), case.name)
    return rows


def why_unfit(pixels: NDArray[Any] | None, shape: tuple[int, ...]) -> str:
    """Say what keeps a result [H, W, 3] from being scored, or nothing."""
    if pixels is None:
        return "no result"
    if pixels.shape != shape:
        return f"{sized(pixels.shape)} pixels instead of {sized(shape)}"
    return "" if np.isfinite(pixels).all() else "values that are not finite"


def sized(shape: tuple[int, ...]) -> str:
    """Write a shape [H, W, 3] as width × height."""
    return f"{shape[1]}×{shape[0]}" if len(shape) == 3 else "×".join(map(str, shape))


def _load(place: Path, name: str) -> Any:
    file = place / f"{name}.npy"
    return np.load(file) if file.is_file() else None
