"""Shows how far the reading of images is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from hdrlab.datasets import index


@contextmanager
def reading(what: str) -> Iterator[index.Progress]:
    """Yield a function (done, all, file) that moves a bar; nothing is shown where nothing is read.

    Args:
        what: What is being read, in front of the bar.
    """
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, visible=False)

        def moved(done: int, total: int, file: str) -> None:
            bar.update(task, completed=done, total=total, visible=True)

        yield moved
