"""Trainings in forked processes, which can be killed without losing the seconds that imports take."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from commands import call

from hdrlab.train import COMMAND
from hdrlab.training import build as training_build

Change = Callable[[], None]


@dataclass(frozen=True)
class Training:
    """A training in a process of its own.

    Attributes:
        pid: The process.
        log: File of what it prints.
    """

    pid: int
    log: Path

    def wait(self) -> int:
        """Wait for its end; return its exit code, or minus the signal that killed it."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def ended(self) -> bool:
        """Say whether it has ended, without taking its exit code."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def wait_for(self, seen: Callable[[], bool], seconds: float = 60) -> None:
        """Wait until something has happened in it."""
        deadline = time.monotonic() + seconds
        while not seen():
            assert not self.ended(), self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.01)


def start(words: list[str], log: Path, change: Change | None = None, *, by_hydra: bool = False) -> Training:
    """Start ``hdrlab.train`` with these words in a forked process.

    Args:
        words: The command line.
        log: File for what it prints; appended to.
        change: Called in the new process first; breaks what a test wants broken.
        by_hydra: Let Hydra make the run folder, as for a user, which takes longer.
    """
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return Training(pid, log)
    code = 99
    try:
        os.setpgid(0, 0)
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, 0)
        with log.open("a", buffering=1) as stream:
            os.dup2(stream.fileno(), 1)
            os.dup2(stream.fileno(), 2)
            sys.stdout = sys.stderr = stream
            try:
                if change:
                    change()
                if by_hydra:
                    COMMAND.main(words)
                code = call(COMMAND, words)
            except SystemExit as left:
                code = int(left.code or 0)
            except BaseException:
                traceback.print_exc()
            stream.flush()
    finally:
        os._exit(code)


def with_callback(callback: pl.Callback, *, first: bool = False) -> Change:
    """Return a change that gives every trainer one more callback."""

    def change() -> None:
        build = training_build.build_trainer

        def more(*args: Any) -> pl.Trainer:
            trainer = build(*args)
            trainer.callbacks.insert(0 if first else len(trainer.callbacks), callback)  # type: ignore[attr-defined]
            return trainer

        training_build.build_trainer = more

    return change


def kill_self(number: int = signal.SIGKILL) -> None:
    os.kill(os.getpid(), number)
