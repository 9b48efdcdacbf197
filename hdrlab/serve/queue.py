"""One worker, and the work that waits for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock

from hdrlab.errors import ResourceError

Advance = Callable[[int, int], None]
"""Called with the finished parts of a piece of work, and all of them."""


class Cancelled(Exception):
    """Raised inside a piece of work that nobody wants any more."""


class Task:
    """A piece of work.

    Args:
        work: Does it.
        pixels: How many it is about, by which its duration is guessed.

    Attributes:
        share: What is done of it, in [0, 1].
        is_done: Whether it has ended, however.
    """

    def __init__(self, work: Callable[[Advance], None], pixels: int) -> None:
        self.work, self.pixels = work, pixels
        self.share, self.begun = 0.0, 0.0
        self.is_cancelled = self.is_done = False
        self.future: Future[None]

    def advance(self, done: int, total: int) -> None:
        """Take note of progress.

        Raises:
            Cancelled: It is not wanted any more.
        """
        if self.is_cancelled:
            raise Cancelled
        self.share = done / total


class Queue:
    """Tasks in the order in which they came, carried out one at a time.

    Args:
        most: How many may wait or be worked on.
        seconds_per_pixel: A first guess, replaced by what is measured.
    """

    def __init__(self, most: int, seconds_per_pixel: float = 1e-6) -> None:
        self.most, self._rate = most, seconds_per_pixel
        self._tasks: list[Task] = []
        self._lock = Lock()
        self._worker = ThreadPoolExecutor(1, "worker")

    def put(self, work: Callable[[Advance], None], pixels: int) -> Task:
        """Add a piece of work.

        Raises:
            ResourceError: Too many wait already.
        """
        task = Task(work, pixels)
        with self._lock:
            if len(self._tasks) >= self.most:
                raise ResourceError(f"{self.most} pictures are in the queue already; try again in a minute")
            self._tasks.append(task)
            task.future = self._worker.submit(self._carry_out, task)
        return task

    def cancel(self, task: Task) -> bool:
        """Take a task out, or let one that is being worked on end soon; say whether it never began."""
        task.is_cancelled = True
        never_began = task.future.cancel()
        if never_began:
            self._drop(task)
        return never_began

    def place(self, task: Task) -> tuple[int, float]:
        """Return how many tasks are before one, and in about how many seconds it is done."""
        with self._lock:
            before = self._tasks[: self._tasks.index(task)] if task in self._tasks else []
        return len(before), sum(map(self._seconds_left, [*before, task]))

    def close(self) -> None:
        """End as soon as the present task notices; nothing that waits is begun."""
        for task in [*self._tasks]:
            task.is_cancelled = True
        self._worker.shutdown(wait=True, cancel_futures=True)

    def _seconds_left(self, task: Task) -> float:
        if not task.begun:
            return task.pixels * self._rate
        spent = time.monotonic() - task.begun
        guess = spent / task.share if task.share > 0.1 else task.pixels * self._rate
        return max(guess - spent, 0.5)

    def _carry_out(self, task: Task) -> None:
        task.begun = time.monotonic()
        try:
            if not task.is_cancelled:
                task.work(task.advance)
                spent = time.monotonic() - task.begun
                self._rate += 0.5 * (spent / max(task.pixels, 1) - self._rate)
        except Cancelled:
            pass
        finally:
            self._drop(task)

    def _drop(self, task: Task) -> None:
        task.is_done = True
        with self._lock:
            if task in self._tasks:
                self._tasks.remove(task)
