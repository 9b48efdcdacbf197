"""From the command line to a checked configuration, in well under a second, and on into Hydra.

Hydra composes and runs. What it would answer to a wrong override is replaced by one line per problem, all of
them at once, before anything starts. Nothing here imports torch.
"""

from __future__ import annotations

import errno
import sys
from argparse import Namespace
from collections.abc import Callable, Iterable, Sequence
from contextlib import chdir, redirect_stderr, suppress
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn, TextIO, cast

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, flag_override
from omegaconf.errors import OmegaConfBaseException

from hdrlab.config.choices import CONF
from hdrlab.config.composer import first_line, open_composer
from hdrlab.config.declaration import Declaration
from hdrlab.config.menu import key_lines, menu
from hdrlab.config.options import (
    WithoutHydrasLine,
    as_arguments,
    command_line,
    completed_line,
    environment,
    expand_home,
    parse_options,
)
from hdrlab.config.overrides import check_overrides, lacks_choice
from hdrlab.config.paths import literal_paths
from hdrlab.config.positionals import with_keys
from hdrlab.config.schema.section import Config, anchored, keys_of
from hdrlab.config.secrets import secret_arguments
from hdrlab.errors import ConfigError, end_interrupted, end_unread

DISK_ERRORS = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO),
    *(errno.EACCES, errno.EPERM, errno.ENOTDIR),
)
"""What a disk answers that is full, over quota or a limit on files, read-only, closed to us or broken."""


class Command(Declaration[Config]):
    """One of the project's commands: what its file declares, and how a command line is carried out."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Let launchers take it to other processes by its name."""
        return find_command, (self.name,)

    def main(self, argv: Sequence[str] | None = None) -> NoReturn:
        """Carry out a command line and exit: 0 done, 1 failed, 2 wrong use, or what ``run`` says."""
        try:
            with suppress(BrokenPipeError):  # a reader that has seen enough, as in --help | head
                self._main(argv)
        except KeyboardInterrupt:
            if argv is not None:  # within another program
                raise
            end_interrupted()
        end_unread()

    def _main(self, argv: Sequence[str] | None) -> NoReturn:
        given = sys.argv[1:] if argv is None else argv
        arguments = [expand_home(one) for one in given]
        try:
            if problems := list(secret_arguments(arguments)):
                raise ConfigError(problems)
            options = parse_options(arguments)
            everything = options.help and "all" in options.overrides
            if everything:
                options.overrides.remove("all")
            if everything and not options.overrides:
                print(menu(self, everything=True))
                raise SystemExit(0)
            overrides = with_keys(self, options.overrides)
            options.overrides = literal_paths(overrides, sweeping=options.multirun)
            if options.help or (self.required and not arguments):
                print(self._help(options, everything=everything))
                raise SystemExit(0)
            if options.hydra_help:
                options.overrides = []
            elif not options.shell_completion:
                with open_composer(options) as composer:
                    options.overrides, _ = check_overrides(self, options, composer)
        except ConfigError as error:
            _print_problems(error.problems)
            if "options" in locals() and lacks_choice(self, options.overrides):
                print("", menu(self), sep="\n", file=sys.stderr)
            raise SystemExit(2) from None
        raise SystemExit(self._hand_over(options))

    def compose(self, overrides: Sequence[str]) -> Config:
        """Compose and check a configuration.

        Raises:
            ConfigError: With every problem found.
        """
        options = parse_options(overrides)
        if problems := list(secret_arguments(overrides)):
            raise ConfigError(problems)
        with open_composer(options) as composer:
            _, config = check_overrides(self, options, composer)
        return cast("Config", config)

    def _help(self, options: Namespace, *, everything: bool = False) -> str:
        """The menu; with a choice made, its keys and their meaning: those people set first, or all."""
        if not options.overrides:
            return menu(self)
        given, chosen = {one.partition("=")[0] for one in options.overrides}, " ".join(options.overrides)
        keys = keys_of(self.schema)
        lacking = [name for name in self.required if keys[name].is_required and name not in given]
        options.overrides += [f"{name}={name.upper()}" for name in lacking if not keys[name].section]
        with open_composer(options) as composer:
            _, config = check_overrides(self, options, composer)
        values = asdict(cast("Any", config))
        only = {*self.first, *self.schema.further()} if self.first and not everything else None
        lines = [*key_lines(self.schema, values, only)]
        if only:
            lines += ["", f"  hdrlab {self.name} {chosen} --help all   (further keys)"]
        return "\n".join(lines)

    # -------------------------------------------------------------------------------------------- the run

    def _hand_over(self, options: Namespace) -> int:
        """Let Hydra print, run or sweep; return the exit code."""
        task = self._task(codes := list[int]())
        try:
            with (
                environment(HYDRA_FULL_ERROR="1", **completed_line()),
                command_line(as_arguments(options)),
                redirect_stderr(sys.stderr),  # which takes back what a failed task has put there
            ):
                hydra.main(version_base="1.3", config_path=str(CONF), config_name=self.name)(task)()
        except Exception as error:
            if not any(codes):  # else the task has told it
                codes.append(report(error))
        return max(codes, default=0)

    def _task(self, codes: list[int]) -> Callable[[DictConfig], float | None]:
        """Return what Hydra calls with each job's configuration."""

        def task(composed: DictConfig) -> float | None:
            place = cast("DictConfig", HydraConfig.get())
            with flag_override(place, ["readonly", "struct"], False):
                # So that processes which Lightning starts get the folder itself, not how it is found.
                place.run.dir = place.runtime.output_dir
            with chdir(place.runtime.cwd):  # where relative paths begin, whatever hydra.job.chdir says
                config = anchored(self.read(composed), bool(place.job.chdir))
            code = self.run(config)
            if place.mode != RunMode.MULTIRUN:
                codes.append(code)
            if code:  # launcher, sweeper and callbacks learn of errors by exceptions
                raise HydraException(f"{self.name}: ended with {code}")
            return self.result(config) if self.result else None

        def told(composed: DictConfig) -> float | None:
            """Tell what is wrong ourselves, before Hydra puts a line of its own above it."""
            try:
                return task(composed)
            except Exception as error:
                if HydraConfig.get().mode != RunMode.MULTIRUN:
                    codes.extend(() if any(codes) else (report(error),))  # or it has told it itself
                    sys.stderr = cast("TextIO", WithoutHydrasLine(sys.stderr))
                raise

        told.__module__ = f"hdrlab.{self.name}"  # by which Hydra names the job
        return told


def find_command(name: str) -> Command[Any]:
    """Return a command by its name."""
    return cast("Command[Any]", import_module(f"hdrlab.{name}").COMMAND)


def report(error: BaseException) -> int:
    """Print what a user can cause, a line each, and return the exit code.

    Raises:
        BaseException: The error itself, if it is a mistake of the program.
    """
    cause: BaseException | None = error
    while cause is not None:  # what a resolver raises comes wrapped
        broken = isinstance(cause, OSError) and cause.errno in DISK_ERRORS
        if type(cause).__module__.startswith("hdrlab.") or broken or isinstance(cause, MemoryError):
            _print_problems(getattr(cause, "problems", (str(cause) or "memory ran out",)))
            return int(getattr(cause, "exit_code", 2 if isinstance(cause, ValueError) else 1))
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, (HydraException, OmegaConfBaseException)):
        _print_problems([first_line(error)])
        return 2
    raise error


def output_dir() -> Path | None:
    """Return the folder that Hydra has made for the running job; None where no job runs."""
    if not HydraConfig.initialized():
        return None
    runtime = HydraConfig.get().runtime  # which outlives its jobs, the folder does not
    return None if OmegaConf.is_missing(runtime, "output_dir") else Path(runtime.output_dir)


def _print_problems(problems: Iterable[str]) -> None:
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
