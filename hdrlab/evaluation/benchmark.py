"""The comparison itself: every method on every image, scored alike, into one table of rows."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from hdrlab.errors import HdrlabError
from hdrlab.io.image import printable
from hdrlab.metrics.names import Metric

Floats = NDArray[np.float32]
Pixels = NDArray[np.float32] | NDArray[np.uint8]
Row = dict[str, Any]
Made = tuple[Pixels, Floats | None]
"""What a method makes of an image: pixels [H, W, 3], and the inverse response curve where it finds one."""

Task = Literal["reconstruct", "tonemap"]
MethodKind = Literal["trained", "results", "classical", "baseline", "oracle"]
BYTES_PER_PIXEL = 400
"""What scoring takes at its peak, measured with all metrics of reconstructions."""


class Case(Protocol):
    """An image that methods are compared on, with everything about it that depends on no method."""

    name: str
    scene: str
    usable: bool
    facts: Mapping[str, float]
    curves: Mapping[str, Floats]
    reference: Floats

    @property
    def input(self) -> NDArray[np.uint8] | None:
        """The photograph [H, W, 3], where the input is none of the reference itself."""

    def unfit(self, pixels: NDArray[Any]) -> str:
        """Say what keeps a result from being scored, or nothing."""

    def judge(self, pixels: NDArray[Any] | None) -> tuple[dict[str, float], Pixels]:
        """Score a result that is not unfit, black for None: scores by name, and the result as it is shown."""


@dataclass(frozen=True, eq=False)
class Method:
    """A way from the input to the result.

    Attributes:
        name: As in the CSV.
        title: Short, for tables and buttons.
        kind: Learnt, files of another program, a published formula, what does nothing, or what knows the
            reference.
        description: A sentence or two.
        run: From a case to what it makes of it; raises `HdrlabError` where it fails.
    """

    name: str
    title: str
    kind: MethodKind
    description: str
    run: Callable[[Any], Made]


@dataclass(frozen=True, eq=False)
class Benchmark:
    """A comparison, ready to be run.

    Attributes:
        title: Heading of tables.
        task: What the methods do.
        baseline: Name of the method that does nothing.
        methods: In the order of tables.
        metrics: What is measured, the most telling first.
        headline: Names of the metrics in short tables.
        stems: What other programs' results of each image are called, without suffix.
        case: Makes an image by its number.
        fingerprint: Of the data.
        notes: Remarks on the images and on what is measured.
        parallel: Whether images may be scored at the same time.
    """

    title: str
    task: Task
    baseline: str
    methods: Sequence[Method]
    metrics: Sequence[Metric]
    headline: Sequence[str]
    stems: Sequence[str]
    case: Callable[[int], Case]
    fingerprint: str
    notes: Mapping[str, str] = field(default_factory=dict)
    parallel: bool = True


Show = Callable[[Case, Mapping[str, Pixels | str], Mapping[str, Floats]], Any]
"""Keeps an image for a report: the case, by method the result or why it failed, and response curves."""


def run(
    benchmark: Benchmark,
    show: Show,
    num_shown: int,
    memory: float,
    progress: Callable[[int, int, str], None],
) -> tuple[list[Row], list[Any]]:
    """Run every method on every image, several images at a time on a CPU of several cores.

    Threads share the work: nearly all of it is done in code that leaves the interpreter to the others.

    Args:
        benchmark: What to run.
        show: Called with some images, spread evenly over all.
        num_shown: How many.
        memory: Bytes that the images in work may take together; one that needs more is done alone.
        progress: Called with (done, all, name) after each image.

    Returns:
        A row an image and method: image, scene, method, usable, failed and why, the case's facts, the
        scores; and what `show` returned.
    """
    total = len(benchmark.stems)
    shown = {i * total // num_shown for i in range(num_shown)} if num_shown else set()
    budget = _Budget(memory)

    def one(number: int) -> tuple[list[Row], Any]:
        with budget.opened(partial(benchmark.case, number)) as case:
            return _judge_all(case, benchmark.methods, show if number in shown else None)

    rows: list[Row] = []
    kept = []
    threads = min(torch.get_num_threads(), total) if benchmark.parallel else 1
    for number, (made, image) in enumerate(_in_order(one, total, threads)):
        rows += made
        kept += [image] if number in shown else []
        progress(number + 1, total, benchmark.stems[number])
    return rows, kept


def _judge_all(case: Case, methods: Sequence[Method], show: Show | None) -> tuple[list[Row], Any]:
    rows, results, curves = [], {}, dict(case.curves)
    for method in methods:
        pixels, reason = None, ""
        try:
            pixels, curve = method.run(case)
            if curve is not None:
                curves[method.name] = curve
            reason = case.unfit(pixels)
        except HdrlabError as error:
            reason = printable(str(error).splitlines()[0])
        scores, result = case.judge(None if reason else pixels)
        own = {"image": case.name, "scene": case.scene, "method": method.name, "usable": case.usable}
        rows.append({**own, "failed": bool(reason), "reason": reason, **case.facts, **scores})
        results[method.name] = reason or result
    return rows, show(case, results, curves) if show else None


def _in_order(one: Callable[[int], Any], total: int, threads: int) -> Iterator[Any]:
    """Yield what a function makes of 0 … total − 1, in order; each thread computes on a core of its own."""
    if threads < 2:
        yield from map(one, range(total))
        return
    pool = ThreadPoolExecutor(threads, "image", initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield from pool.map(one, range(total))
    finally:
        pool.shutdown(cancel_futures=True)


class _Budget:
    """Bytes that several threads share; an image that wants more than there is waits until it is alone."""

    def __init__(self, total: float) -> None:
        self.total = self.free = total
        self.opening, self.changed = threading.Lock(), threading.Condition()

    @contextmanager
    def opened(self, make: Callable[[], Case]) -> Iterator[Case]:
        """Make a case, one at a time, and hold the bytes that scoring it takes."""
        with self.opening:
            case = make()
            size = min(case.reference.size // 3 * BYTES_PER_PIXEL, self.total)
            with self.changed:
                self.changed.wait_for(lambda: self.free >= size)
                self.free -= size
        try:
            yield case
        finally:
            with self.changed:
                self.free += size
                self.changed.notify_all()


def unfit(pixels: NDArray[Any], shape: tuple[int, ...]) -> str:
    """Say what keeps a result [H, W, 3] from being scored, or nothing."""
    if pixels.shape != shape:
        return f"{sized(pixels.shape)} pixels instead of {sized(shape)}"
    return "" if np.isfinite(pixels).all() else "values that are not finite"


def sized(shape: tuple[int, ...]) -> str:
    """Write a shape [H, W, 3] as width × height."""
    return f"{shape[1]}×{shape[0]}" if len(shape) == 3 else "×".join(map(str, shape))
