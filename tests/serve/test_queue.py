"""One worker: order, how long it takes, and ending early."""

from __future__ import annotations

import threading

import pytest

from hdrlab.errors import ResourceError
from hdrlab.serve.queue import Advance, Queue


def test_what_waits_longer_takes_longer() -> None:
    queue, go = Queue(3, seconds_per_pixel=2.0), threading.Event()
    first, second, third = (queue.put(lambda _: bool(go.wait(10)), pixels) for pixels in (30, 10, 5))
    ahead, seconds = queue.place(third)
    assert ahead == 2
    assert seconds == pytest.approx(2 * 45, abs=5)
    assert queue.place(second)[1] == pytest.approx(2 * 40, abs=5)
    with pytest.raises(ResourceError, match="3 pictures are in the queue"):
        queue.put(lambda _: None, 1)
    go.set()
    third.future.result(10)
    assert first.is_done
    assert queue.place(third)[0] == 0
    queue.close()


def test_what_was_measured_replaces_the_guess() -> None:
    queue = Queue(9, seconds_per_pixel=1000.0)
    for _ in range(30):
        queue.put(lambda _: None, 1).future.result(10)
    go = threading.Event()
    task = queue.put(lambda _: bool(go.wait(10)), 1)
    assert queue.place(task)[1] < 10
    go.set()
    queue.close()


def test_what_fails_does_not_stop_the_next() -> None:
    queue = Queue(2)

    def fail(_: Advance) -> None:
        raise RuntimeError("a mistake")

    failing = queue.put(fail, 1)
    assert queue.put(lambda _: None, 1).future.result(10) is None
    assert isinstance(failing.future.exception(10), RuntimeError)
    queue.close()


def test_closing_does_not_wait_for_what_has_not_begun() -> None:
    queue, begun, done = Queue(9), threading.Event(), []

    def work(advance: Advance) -> None:
        begun.set()
        for tile in range(10_000):
            threading.Event().wait(0.001)
            advance(tile, 10_000)
        done.append("first")

    queue.put(work, 1)
    queue.put(lambda _: done.append("second"), 1)
    begun.wait(10)
    queue.close()
    assert done == []
