"""From the words of a command line to a checked configuration, in well under a second.

Hydra composes; what it would answer to a wrong word is replaced by one line per problem, all of
them at once. Nothing here imports torch.
"""

from __future__ import annotations

import errno
import re
import sys
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar, cast

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, IntervalSweep, Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hdrlab.config.check import ConfigError, find_key, nearest
from hdrlab.config.folder import CONF, choices
from hdrlab.config.menu import key_lines
from hdrlab.config.trust import value_problems, word_problems

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
"""What a disk answers that is full, over quota or a limit on files, read-only or broken."""

Config = TypeVar("Config", bound="DataclassInstance")


@dataclass(frozen=True)
class Command(Generic[Config]):
    """One of the project's commands.

    Attributes:
        config_name: File in ``conf/`` that the command composes.
        schema: Schema class of the whole configuration.
        check: Turns plain values into a schema object, or raises ConfigError.
        run: Does the work; its exit code is the command's.
        menu: The text of ``--help``.
        required: Keys without which the menu is printed instead.
        sweep: Carries out words that stand for several jobs; None where a command has no sweeps.
    """

    config_name: str
    schema: type[Config]
    check: Callable[[Mapping[str, Any]], Config]
    run: Callable[[Config], int]
    menu: Callable[[], str]
    required: tuple[str, ...]
    sweep: Callable[[Sequence[str]], int] | None = None

    def main(self, argv: Sequence[str] | None = None) -> NoReturn:
        """Carry out the command line and exit: 0 done, 1 failed, 2 wrong use, or what ``run`` says."""
        words = [_at_home(word) for word in (sys.argv[1:] if argv is None else argv)]
        try:
            _check_trust(words)
            if _asks_help(words):
                print(self._help(words))
                raise SystemExit(0)
            arguments = _arguments(words)
            overrides = list(arguments.overrides)
            sweep = self._sweep_of(overrides, asked=arguments.multirun)
            if arguments.cfg or arguments.info:
                self.check_words(overrides, sweeping=sweep is not None)
                raise SystemExit(self._print_by_hydra(words))
            if sweep is None:
                self.check_words(overrides, sweeping=False)
                config = self.compose(overrides)
        except ConfigError as error:
            _refuse(error, self.menu() if self._lacks_choice(words) else None)
        raise SystemExit(self._carry_out(partial(sweep, overrides) if sweep else partial(self.run, config)))

    def _carry_out(self, work: Callable[[], int]) -> int:
        try:
            return work()
        except (ValueError, RuntimeError, MemoryError, OSError) as error:
            ours = type(error).__module__.startswith("hdrlab.")
            broken = isinstance(error, OSError) and error.errno in DISK_ERRORS
            if not (ours or broken or isinstance(error, MemoryError)):
                raise  # ours are what a user can cause; any other is a mistake of the program
            _print_problems(getattr(error, "problems", (str(error) or "memory ran out",)))
            return int(getattr(error, "exit_code", 2 if isinstance(error, ValueError) else 1))

    def compose(self, overrides: Sequence[str]) -> Config:
        """Compose and check a configuration.

        Raises:
            ConfigError: With every problem found.
        """
        if problems := [*word_problems(overrides), *_renamed(overrides)]:
            raise ConfigError(problems)
        values = _plain(_compose(self.config_name, overrides))
        if problems := list(value_problems(values)):
            raise ConfigError(problems)
        return self.check(values)

    def _help(self, words: Sequence[str]) -> str:
        """The menu; with a choice made, every key of it and its meaning."""
        overrides = [word for word in words if not word.startswith("-")]
        if not overrides:
            return self.menu()
        self.check_words(overrides, sweeping=False)
        return "\n".join(key_lines(self.schema, asdict(self.compose(overrides))))

    # ------------------------------------------------------------------------------------ the words

    def _lacks_choice(self, words: Sequence[str]) -> bool:
        keys = [word.lstrip("+").partition("=")[0] for word in words]
        given = {key if (CONF / key.partition(".")[0]).is_dir() else key.partition(".")[0] for key in keys}
        return not given & {*self.required, "experiment"}

    def check_words(self, overrides: Sequence[str], *, sweeping: bool) -> None:
        """Judge the words one by one: what is unknown or impossible whatever the others say.

        Args:
            overrides: The words, ``key=value``.
            sweeping: Whether one may name several values. Each of them is judged, with the first of the
                others; of an interval its ends.

        Raises:
            ConfigError: With every problem found.
        """
        problems: list[str] = []
        parsed = [p for p in (_parse(word, problems) for word in overrides) if p is not None]
        empty = [o for o in parsed if not elements(o)]
        problems += [f"{o.input_line}: stands for no value at all" for o in empty]
        parsed = [o for o in parsed if o not in empty]
        groups = [o for o in parsed if self._is_group(o)]
        for override in groups:
            problems += _unknown_choices(override)
        problems += [
            f"{o.input_line}: several values; add -m to run one after the other"
            for o in parsed
            if o.is_sweep_override() and not sweeping
        ]
        if self._lacks_choice(overrides):
            problems.append(f"{self.required[0]}: not set; {self.required[0]}=NAME chooses what to do")
        if problems:
            raise ConfigError(problems)
        base = _compose(self.config_name, [f"{o.key_or_group}={elements(o)[0]}" for o in groups])
        plain = _plain(base, resolve=False)
        good = [_first(o) for o in groups]
        for override in parsed:
            if override in groups or override.key_or_group.startswith("hydra"):
                continue
            problem = find_key(self.schema, plain, override.key_or_group)
            if problem is None and override.is_delete():
                problem = f"{override.input_line}: keys cannot be removed; set a value"
            if problem:
                problems.append(problem)
            else:
                good.append(_first(override))
        known = [o for o in parsed if o.is_sweep_override() and _first(o) in good]
        self._check_values(good, known, problems)

    def _check_values(self, good: list[str], swept: list[Override], problems: list[str]) -> None:
        """Judge the values together; those of a sweep each once, the rest of the sweep at its first."""
        trials = [good] + [[*good, f"{o.key_or_group}={value}"] for o in swept for value in elements(o)[1:]]
        for trial in trials:
            try:
                self.compose(trial)
            except ConfigError as error:
                problems += error.problems
        if problems:
            raise ConfigError(dict.fromkeys(problems))

    @staticmethod
    def _is_group(override: Override) -> bool:
        return (CONF / override.key_or_group).is_dir()

    # ------------------------------------------------------------------------------- sweeps and printing

    def _sweep_of(self, overrides: Sequence[str], *, asked: bool) -> Callable[[Sequence[str]], int] | None:
        """Return what carries out a sweep, if the words ask for one: with -m, or by naming a search space."""
        named = any(re.match(r"\+*sweep[.=]", word) for word in overrides)
        if asked and self.sweep is None:
            raise ConfigError(["-m: this command has no sweeps; they are hdrlab.train's"])
        return self.sweep if asked or named else None

    def _print_by_hydra(self, words: Sequence[str]) -> int:
        """Let Hydra print the configuration; it wants the options in one place."""
        overrides = _arguments(words).overrides
        sys.argv[1:] = [word for word in words if word not in overrides] + overrides
        hydra.main(version_base="1.3", config_path=str(CONF), config_name=self.config_name)(lambda _: None)()
        return 0


def _check_trust(words: Sequence[str]) -> None:
    """Refuse secrets, and what would bring in configuration or code from elsewhere.

    Raises:
        ConfigError: With every such word.
    """
    if problems := list(word_problems(words)):
        raise ConfigError(problems)
    options = _arguments(words)
    foreign = ("config_path", "config_name", "config_dir", "experimental_rerun")
    if named := [f"--{name.replace('_', '-')}" for name in foreign if getattr(options, name)]:
        raise ConfigError(
            f"{name}: not an option of hdrlab, whose configuration lies in conf/" for name in named
        )


def _arguments(words: Sequence[str]) -> Namespace:
    """Sort options from the words; an option may stand between them, as in ``stage=hal -m stage.lr=1,2``."""
    return get_args_parser().parse_intermixed_args(words)


def _asks_help(words: Sequence[str]) -> bool:
    return not words or any(word in ("-h", "--help") for word in words)


def _compose(config_name: str, overrides: Sequence[str]) -> DictConfig:
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        try:
            # Keys were judged before; a leading + lets optional sections, null by default, be filled.
            return hydra.compose(config_name, [_additive(word) for word in overrides])
        except (HydraException, OmegaConfBaseException) as error:
            raise ConfigError([str(error).splitlines()[0]]) from error


def _plain(config: DictConfig, *, resolve: bool = True) -> dict[str, Any]:
    try:
        return cast("dict[str, Any]", OmegaConf.to_container(config, resolve=resolve))
    except OmegaConfBaseException as error:
        raise ConfigError([f"{error.full_key}: {str(error).splitlines()[0]}"]) from error


def _additive(word: str) -> str:
    is_group = (CONF / word.lstrip("+").partition("=")[0]).is_dir()
    return word.lstrip("+") if is_group else "++" + word.lstrip("+")


def _at_home(word: str) -> str:
    """Put the home folder for a tilde: no shell does so behind a dotted key, and Hydra stumbles over it."""
    key, equals, value = word.partition("=")
    return key + equals + re.sub(r"(^\[?|[,:] *)~/", lambda found: f"{found[1]}{Path.home()}/", value)


def parse(word: str) -> Override:
    """Read a word of a command line.

    Raises:
        ConfigError: If it is not understood.
    """
    try:
        return OverridesParser.create().parse_override(word)
    except HydraException as error:
        said = "not understood; write key=value, with quotes round blanks and commas"
        raise ConfigError([f"{word}: {said}"]) from error


def _parse(word: str, problems: list[str]) -> Override | None:
    try:
        return parse(word)
    except ConfigError as error:
        problems += error.problems
        return None


def elements(override: Override) -> list[str]:
    """List the values a word stands for, as they are written on a command line; of an interval its ends."""
    value: Any = override.value()
    if isinstance(value, IntervalSweep):
        return [f"{end:.15g}" for end in (value.start, value.end)]
    if isinstance(value, Glob):
        return list(value.filter(choices(override.key_or_group)))
    if override.is_sweep_override():
        return [str(element) for element in override.sweep_string_iterator()]
    return [override.get_value_element_as_str()]


def _first(override: Override) -> str:
    return f"{override.key_or_group}={elements(override)[0]}"


def _renamed(overrides: Sequence[str]) -> Iterator[str]:
    """Refuse another name for a choice: names lead to tables, files and folders."""
    for word in overrides:
        key = word.lstrip("+").partition("=")[0]
        group, dot, last = key.rpartition(".")
        if last == "name" and dot and (CONF / group).is_dir():
            yield f"{key}: cannot be set; {group}=NAME chooses {' | '.join(choices(group))}"


def _unknown_choices(override: Override) -> list[str]:
    group = override.key_or_group
    legal = choices(group)
    wrong = [name for name in elements(override) if name not in legal]
    return [f"{group}={name}: must be {' | '.join(legal)}{nearest(name, legal)}" for name in wrong]


def _refuse(error: ConfigError, menu: str | None) -> NoReturn:
    _print_problems(error.problems)
    if menu:
        print("", menu, sep="\n", file=sys.stderr)
    raise SystemExit(2)


def _print_problems(problems: Iterable[str]) -> None:
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
