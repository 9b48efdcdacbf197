"""The options of a command line, and the process in which Hydra reads them."""

from __future__ import annotations

import os
import re
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from hydra._internal.utils import get_args_parser

from hdrlab.errors import ConfigError


def parse_options(arguments: Sequence[str]) -> Namespace:
    """Sort options from overrides; an option may stand between them, as in ``stage=hal -m stage.lr=1,2``.

    Raises:
        ConfigError: There is no such option.
    """
    options, unknown = get_args_parser().parse_known_intermixed_args(list(arguments))
    if unknown := [one for one in unknown if one.startswith("-")]:
        raise ConfigError(
            f"{one}: no such option; keys are written key=value, without dashes" for one in unknown
        )
    return options


def option_problems(options: Namespace) -> Iterator[str]:
    """Say which options of Hydra are refused, and what to use instead."""
    if options.config_path:
        yield "--config-path: hdrlab's configuration lies in conf/; --config-dir=FOLDER adds yours to it"
    if options.experimental_rerun:
        yield "--experimental-rerun: reads a pickle, which could run code; give the overrides again"
    if options.config_dir and not os.path.isdir(options.config_dir):
        yield f"--config-dir={options.config_dir}: no such folder"
    if options.resolve and options.cfg is None:
        yield "--resolve: goes with --cfg"


def as_arguments(options: Namespace) -> list[str]:
    """Write options and overrides in the order that Hydra's own parser takes."""
    printing = options.cfg is not None or options.info is not None
    flags = {
        "--hydra-help": options.hydra_help,
        "--resolve": options.resolve,
        "--shell-completion": options.shell_completion,
        "--multirun": options.multirun and not printing,
    }
    values = {
        "--config-name": options.config_name,
        "--config-dir": options.config_dir,
        "--cfg": options.cfg,
        "--package": options.package,
        "--info": options.info,
    }
    named = [f"{name}={value}" for name, value in values.items() if value is not None]
    return [*(name for name, given in flags.items() if given), *named, *options.overrides]


def expand_home(argument: str) -> str:
    """Put the home folder for a tilde: no shell does so behind a dotted key, and Hydra stumbles over it."""
    key, equals, value = argument.partition("=")
    return key + equals + re.sub(r"(^\[?|[,:] *)~/", lambda found: f"{found[1]}{Path.home()}/", value)


@contextmanager
def command_line(arguments: Sequence[str]) -> Iterator[None]:
    """Let Hydra read these as the command line, and Lightning, which starts further processes by it."""
    before, sys.argv[1:] = sys.argv[1:], list(arguments)
    try:
        yield
    finally:
        sys.argv[1:] = before


def completed_line() -> dict[str, str]:
    """Return what the shell wants completed as Hydra knows it, which knows ``python FILE`` alone."""
    line = os.environ.get("COMP_LINE")
    return {} if line is None else {"COMP_LINE": re.sub(r"^\s*python3? +-m ", "", line)}


@contextmanager
def environment(**values: str) -> Iterator[None]:
    """Set variables; afterwards all are as they were, also what Hydra's callbacks set and a failure left."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


class WithoutHydrasLine:
    """A stream, but for the line that Hydra writes where a job has failed: the error is told already."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, but for that line."""
        return len(text) if text.startswith("Error executing job with") else self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
