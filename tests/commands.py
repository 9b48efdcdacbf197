"""Command lines, carried out in this process."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import Any

from hdrlab.config.cli import Command, report
from hdrlab.config.options import expand_home
from hdrlab.config.paths import literal_paths
from hdrlab.config.positionals import with_keys


def call(command: Command[Any] | str, words: Iterable[object]) -> int:
    """Do what a command line asks, print what is wrong, and return the exit code.

    As ``Command.main`` does, but that Hydra composes once, not three times, and keeps no folder and no log:
    in a fraction of the time. What Hydra adds is tested by itself (``config/test_hydra.py``).
    """
    command = import_module(f"hdrlab.{command}").COMMAND if isinstance(command, str) else command
    try:
        overrides = with_keys(command, [expand_home(str(word)) for word in words])
        return int(command.run(command.compose(literal_paths(overrides, sweeping=False))))
    except Exception as error:
        return report(error)
