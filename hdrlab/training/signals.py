"""Signals that ask a training to stop: it saves after the step it is in and says so by its exit code."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

INTERRUPTED = 75
"""Exit code of a training that was asked to stop and can be continued (EX_TEMPFAIL of sysexits.h)."""

CODES = {
    name: 130 if name == "SIGINT" else INTERRUPTED
    for name in ("SIGTERM", "SIGUSR1", "SIGINT")
    if hasattr(signal, name)
}
"""The signals that ask to stop, and the exit code that says so."""


class Interrupted(SystemExit):
    """The end of a command that was asked to stop; its code is the command's."""


@dataclass
class Interruption:
    """What a signal asked for.

    Before a training it ends the command at once: nothing is lost then, since all files are written whole or
    not at all. From `Interruption.begin` on the training looks at ``code`` after each step.

    Attributes:
        code: The exit code asked for, None while nobody asked.
    """

    code: int | None = None
    _training: bool = False

    def begin(self) -> None:
        """From now on only note signals: the training looks. Takes them back from whoever took them."""
        self._training = True
        for name in CODES:
            signal.signal(getattr(signal, name), self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        again = self.code is not None
        self.code = CODES[name]
        if not self._training or (again and name == "SIGINT"):
            raise Interrupted(self.code)
        if not again:
            more = "; once more stops at once" if name == "SIGINT" else ""
            print(f"{name}: saving after this step{more}", file=sys.stderr, flush=True)


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Watch for SIGTERM, SIGUSR1 and SIGINT while a training is prepared and carried out."""
    watch = Interruption()
    before = {name: signal.getsignal(getattr(signal, name)) for name in CODES}
    for name in CODES:
        signal.signal(getattr(signal, name), watch._on_signal)
    try:
        yield watch
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler or signal.SIG_DFL)
