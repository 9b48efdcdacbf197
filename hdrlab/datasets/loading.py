"""How loader processes are run: their settings, and what signals do to them."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

TIMEOUT = 60
"""Seconds after which a loader process that gives nothing counts as hung."""


def loader_settings(workers: int, *, pin_memory: bool) -> dict[str, Any]:
    """Return the arguments of a ``DataLoader`` beside its samples.

    Args:
        workers: Loader processes; 0 loads in this one.
        pin_memory: Whether batches go to a GPU.
    """
    return {
        "num_workers": workers,
        "persistent_workers": workers > 0,
        "timeout": TIMEOUT if workers else 0,
        "worker_init_fn": _leave_signals_to_the_run,
        "pin_memory": pin_memory,
    }


def _leave_signals_to_the_run(worker: int) -> None:
    """Let a loader process serve its run to the end of the step, though a signal went to all of a job.

    One that its run ends, or forgets, must not live on: it goes some time after SIGTERM.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGUSR1"):
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, _go_later)


def _go_later(number: int, frame: FrameType | None) -> None:
    signal.alarm(TIMEOUT)
