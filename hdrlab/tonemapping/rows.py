"""Images read and shown row by row, so that no operator holds more of one than it must."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec

import numpy as np
from numpy.typing import NDArray

from hdrlab.ops.colour import Pixels, luminance
from hdrlab.ops.panorama import wrap_twice

P = ParamSpec("P")
STRIP = 2**20
"""Samples that are worked on at once: 4 MB in float32, which stay in the cache."""


class Source:
    """An image whose rows are brought to a unit when they are asked for: ``source[rows]``.

    Args:
        hdr: Linear pixels [H, W, 3], at least 0, in any unit.
        white: What becomes 1; brighter pixels are clipped. None: the pixels are taken as they are.
        panorama: Whether it is continued round its edges, see `hdrlab.ops.panorama.wrap_twice`.

    Attributes:
        height: Its rows.
        width: Its columns, those by which it is continued among them.
        columns: Those of the image itself.
    """

    def __init__(self, hdr: NDArray[Any], white: float | None = None, *, panorama: bool = False) -> None:
        self._hdr, self._white, self._panorama = hdr, white, panorama
        self.height, width = hdr.shape[:2]
        self.width, self.columns = (
            (2 * width, slice(width // 2, width // 2 + width)) if panorama else (width, slice(width))
        )

    def __getitem__(self, rows: slice) -> Pixels:
        """Return rows [h, W, 3] as linear float32."""
        part = self._hdr[rows]
        if self._white is not None:
            part = part / self._hdr.dtype.type(self._white)
            np.minimum(part, 1, out=part)
        if self._panorama:
            part, _ = wrap_twice(part)
        return np.asarray(part, np.float32)

    def light(self, rows: slice) -> Pixels:
        """Return the luminance [h, W] of rows, linear, at least 0."""
        return luminance(self[rows])

    def lit(self) -> Iterator[Pixels]:
        """Yield the luminance, above 0, of all pixels that are not black, in parts [N]."""
        for rows in self.strips():
            light = self.light(rows)
            yield light[light > 0]

    def strips(self, least: int = 1) -> Iterator[slice]:
        """Divide the rows into parts, see `strips`."""
        return strips(self.height, self.width, least=least)


@dataclass(frozen=True)
class Shown:
    """An image as an operator shows it.

    Attributes:
        rows: Makes rows of it: display light [h, W, 3], linear, 1 = the display's white.
        least: Rows that are worth asking for at once. Parts begin at multiples of it.
        store: An array of the image's shape that may take the result: what `rows` reads of it are the
            rows that it is asked for.
    """

    rows: Callable[[slice], Pixels]
    least: int = 1
    store: Pixels | None = None


def by_rows(prepare: Callable[Concatenate[Source, P], Shown]) -> Callable[Concatenate[Pixels, P], Pixels]:
    """Make an operator, which takes pixels to pixels, of a function that shows an image by rows.

    `show_by_rows` finds the function again.
    """

    def operator(hdr: Pixels, /, *args: P.args, **kwargs: P.kwargs) -> Pixels:
        source = Source(hdr)
        shown = prepare(source, *args, **kwargs)
        return np.concatenate([shown.rows(rows) for rows in source.strips(shown.least)])

    functools.update_wrapper(operator, prepare)
    # What readers see is what it takes and gives, not what the function within does.
    source, *settings = inspect.signature(prepare).parameters.values()
    seen = [source.replace(name="hdr", annotation="Pixels"), *settings]
    operator.__signature__ = inspect.Signature(seen, return_annotation="Pixels")  # type: ignore[attr-defined]
    operator.__annotations__ = {one.name: one.annotation for one in seen} | {"return": "Pixels"}
    operator.prepare = prepare  # type: ignore[attr-defined]
    return operator


def show_by_rows(apply: Callable[..., Any], source: Source, **settings: Any) -> Shown:
    """Let an operator show an image; one that is not made by `by_rows` shows it as a whole at once."""
    if prepare := getattr(apply, "prepare", None):
        shown: Shown = prepare(source, **settings)
        return shown
    whole = np.asarray(apply(source[:], **settings), np.float32)
    return Shown(lambda rows: whole[rows], store=whole)


def strips(height: int, width: int, *, parts: int = 1, least: int = 1) -> Iterator[slice]:
    """Divide the rows of an image into parts of about `STRIP` samples, or a fraction of that.

    Args:
        height: Of the image.
        width: Of the image.
        parts: How many are worked on at once.
        least: Each part but the last has a multiple of so many rows.
    """
    step = max(1, STRIP // parts // (3 * width * least)) * least
    for start in range(0, height, step):
        yield slice(start, min(start + step, height))


def with_halo(rows: slice, height: int, halo: int) -> tuple[slice, slice]:
    """Widen rows by those they depend on; a multiple of `halo` stays one.

    Returns:
        The wider rows, and where the others lie among them.
    """
    start, stop = max(rows.start // halo - 1, 0) * halo, min(rows.stop + halo, height)
    return slice(start, stop), slice(rows.start - start, rows.stop - start)


def available_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
