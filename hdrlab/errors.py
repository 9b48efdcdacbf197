"""Everything that a user can cause, as exceptions; a command prints any of them as lines and ends."""

from __future__ import annotations

import os
import re
import shlex
import signal
import sys
import sysconfig
import traceback
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, NoReturn

__version__ = "0.1.0"
"""hdrlab's; it stands here because everything may import it, and importing it costs nothing."""

_ENDLESS = re.compile(r"(\S{4096})\S+")
"""A word longer than any path: what a message would repeat of a damaged file."""


def install(extra: str) -> str:
    """Return the line that installs the packages of an extra, beside a checkout and a wheel alike."""
    from importlib.metadata import PackageNotFoundError, requires

    try:
        declared = requires("hdrlab") or []
    except PackageNotFoundError:
        declared = []
    of_extra = re.compile(rf"(.+?) *; *extra *== *['\"]{extra}['\"]")
    packages = [found[1] for one in declared if (found := of_extra.fullmatch(one))]
    return f"pip install {shlex.join(packages or [f'hdrlab[{extra}]'])}"


def end_unread() -> NoReturn:
    """End a command with 1 whose reader has closed the pipe; nor is what the buffer still holds an error."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise SystemExit(1)


class HdrlabError(ValueError):
    """What a user can cause: the text says what is wrong, what is allowed, and what to do.

    Attributes:
        problems: One line each.
        exit_code: What a command ends with.
    """

    exit_code: ClassVar[int] = 2

    # Exceptions come back from other processes rebuilt from their text alone.
    def __init__(self, problems: str | Iterable[str]) -> None:
        lines = problems.split("\n") if isinstance(problems, str) else problems
        self.problems = tuple(_ENDLESS.sub(r"\1…", printable(line)) for line in lines)
        super().__init__("\n".join(self.problems))


class ConfigError(HdrlabError):
    """A command line or a configuration that cannot be used."""


class DataError(HdrlabError):
    """Data, or a file of response curves, that cannot be used.

    Attributes:
        bad: The images concerned.
    """

    def __init__(self, problems: str | Iterable[str], bad: Sequence[Any] = ()) -> None:
        super().__init__(problems)
        self.bad = tuple(bad)


class ImageError(HdrlabError):
    """An image file that cannot be read or written.

    Attributes:
        path: The file.
        reason: What is wrong with it and, where there is one, the remedy.
    """

    def __init__(self, path: str | os.PathLike[str] | None, reason: str = "") -> None:
        super().__init__(": ".join(str(part) for part in (path, reason) if part))
        self.path, self.reason = path, reason


class ImageKindError(ImageError):
    """An image of the other kind: display-encoded where light is wanted, or light where a photograph is."""


class ImageSizeError(HdrlabError):
    """An image that is too small for what is asked; the message names both sizes."""


class WeightsError(HdrlabError):
    """Weights that cannot be read or do not fit a net, or nets that do not make a system."""


class CheckpointError(HdrlabError):
    """A checkpoint, or the list of a run's checkpoints, that cannot be used."""


class RunError(HdrlabError):
    """A run that cannot be started or continued as asked."""


class OperatorError(HdrlabError):
    """An operator that does not exist or is not installed, or an image that it cannot work on."""


class EvaluationError(HdrlabError):
    """An evaluation that cannot be made as asked."""


class ResourceError(HdrlabError):
    """A device, an arithmetic or an amount of memory that is not there."""


class PluginError(HdrlabError):
    """A plug-in that cannot be loaded, clashes with another, is missing, or failed at work."""


class TrainingError(HdrlabError):
    """A training that broke off by no mistake in its command line; it can be continued."""

    exit_code: ClassVar[int] = 1


def end_interrupted() -> NoReturn:
    """End as Ctrl-C does, with one line: by the signal itself, so that a loop of the shell ends too."""
    print("interrupted", file=sys.stderr)
    if os.name == "posix":
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    raise SystemExit(130)


def printable(text: str) -> str:
    """Write line breaks and bytes that are no text, which names of files may hold, as escapes."""
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)


def blamed(error: BaseException) -> str:
    """Say what an error in a user's own code is, with the line of that code which raised it."""
    text = f"{type(error).__name__}: {error}".rstrip(": ").splitlines()[0]
    if isinstance(error, SyntaxError) and error.filename:
        line = f"{error.filename}:{error.lineno}", (error.text or "").strip()
        return f"SyntaxError: {error.msg}, {': '.join(filter(None, line))}"
    own = (os.path.dirname(os.path.abspath(__file__)) + os.sep, "<frozen")
    frames = [one for one in traceback.extract_tb(error.__traceback__) if not one.filename.startswith(own)]
    libraries = tuple(sysconfig.get_paths()[name] for name in ("stdlib", "purelib", "platlib"))
    theirs = [one for one in frames if not one.filename.startswith(libraries)] or frames
    return f"{text}, {theirs[-1].filename}:{theirs[-1].lineno}: {theirs[-1].line}" if theirs else text
