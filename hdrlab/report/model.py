"""What a comparison found, as a report shows it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["hdr", "sdr"]
MethodKind = Literal["trained", "results", "classical", "baseline", "oracle"]
Pixels = NDArray[np.float32] | NDArray[np.uint8]


class ReportError(ValueError):
    """A report that cannot be written as it is; the text says what is wrong."""


@dataclass(frozen=True)
class Column:
    """A figure.

    Attributes:
        name: As in the CSV; what follows an ``@`` is the region it is measured on.
        title: Short, for the head of a table.
        unit: Such as "dB"; empty where there is none.
        convention: How it is measured, in a sentence or two.
        higher_is_better: Whether a larger figure is the better one.
    """

    name: str
    title: str
    unit: str
    convention: str
    higher_is_better: bool = True

    @property
    def region(self) -> str:
        """Where in the picture it is measured; empty for the whole picture."""
        return self.name.partition("@")[2]


@dataclass(frozen=True)
class Score:
    """One method in one column over all pictures.

    Attributes:
        mean: Mean over the pictures.
        median: Median over the pictures.
        std: Standard deviation over the pictures.
        low: Lower end of the 95 % interval of the mean.
        high: Upper end.
        num: Number of pictures.
        scenes: Number of scenes.
        failures: Pictures without a usable result, scored as black.
    """

    mean: float
    median: float
    std: float
    low: float
    high: float
    num: int
    scenes: int
    failures: int = 0


@dataclass(frozen=True)
class Difference:
    """One method against the method that does nothing, picture by picture, in one column.

    Attributes:
        mean: Mean of the method's figure less the other's.
        low: Lower end of its 95 % interval.
        high: Upper end.
        wins: Share of the pictures, 0 to 1, on which the method is the better one.
        significant: Whether the interval excludes 0.
    """

    mean: float
    low: float
    high: float
    wins: float
    significant: bool


@dataclass(frozen=True)
class Method:
    """A way from the input to the result.

    Attributes:
        name: As in the CSV.
        title: Short, for tables and buttons.
        kind: Learnt, files of another program, a published formula, what does nothing, or what knows the
            reference.
        description: A sentence or two.
    """

    name: str
    title: str
    kind: MethodKind
    description: str = ""


@dataclass(frozen=True)
class Picture:
    """One picture: what went in, what came out, and what should have.

    Attributes:
        name: Unlike that of any other picture.
        scene: What it shows; several pictures may share a scene.
        ldr: The photograph, sRGB [H, W, 3]; None where the input is the reference itself.
        reference: Linear light [H, W, 3], at least 0; None where there is none.
        results: By method's name. In a report of kind "hdr" linear light [H, W, 3] on the reference's scale,
            in one of kind "sdr" a display picture, uint8 [H, W, 3]; None where the method failed.
        figures: By method's name, then column's name; NaN or left out where a figure does not apply.
        curves: Inverse response curves [K], linear light at K even steps of the code, by method's name or any
            other, such as "true".
    """

    name: str
    scene: str
    ldr: NDArray[np.uint8] | None
    reference: NDArray[np.float32] | None
    results: Mapping[str, Pixels | None]
    figures: Mapping[str, Mapping[str, float]]
    curves: Mapping[str, NDArray[np.floating[Any]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """A comparison.

    Attributes:
        title: Heading of the page.
        kind: "hdr" for reconstruction, "sdr" for tone mapping.
        said: What was measured how: settings, versions, the photometric anchor.
        columns: Figures, the most telling first.
        methods: Methods in the order of the table.
        scores: By method's name, then column's name.
        differences: The same; the method that all others are compared with is left out.
        gates: Sanity checks made before scoring: name, whether it passed, and what was seen.
        pictures: Taken one by one, so that a generator never holds more than one in memory.
        baseline: Name of the method that the differences are against; None if there is none.
    """

    title: str
    kind: Kind
    said: Mapping[str, str]
    columns: Sequence[Column]
    methods: Sequence[Method]
    scores: Mapping[str, Mapping[str, Score]]
    differences: Mapping[str, Mapping[str, Difference]]
    gates: Sequence[tuple[str, bool, str]]
    pictures: Iterable[Picture]
    baseline: str | None = None

    @property
    def against(self) -> Method | None:
        """The method that the differences are against: the one named, else the first that does nothing."""
        named = [method for method in self.methods if method.name == self.baseline]
        return next(iter(named or [m for m in self.methods if m.kind == "baseline"]), None)
