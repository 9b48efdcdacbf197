"""Judges the overrides of a command line, all of them at once, before Hydra and torch see them."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Sequence
from typing import Any

from hydra.core.override_parser.types import Glob, IntervalSweep, Override
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from hdrlab.config.choices import CONF
from hdrlab.config.composer import Composer, elements, first_value, parse, plain_values, with_values
from hdrlab.config.declaration import Declaration
from hdrlab.config.options import option_problems
from hdrlab.config.schema.section import Config
from hdrlab.config.validate import find_key
from hdrlab.errors import ConfigError


def check_overrides(
    command: Declaration[Config], options: Namespace, composer: Composer
) -> tuple[list[str], Config | None]:
    """Judge the overrides one by one, then their values together: all that can be known beforehand.

    Of a sweep each value is judged once, with the first of the others; of an interval its ends.

    Args:
        command: The command that is called.
        options: Its command line.
        composer: Composes.

    Returns:
        The overrides as Hydra takes them, and the configuration that they make; of a sweep its first, None
        where it is only to be printed.

    Raises:
        ConfigError: With every problem found.
    """
    problems = list(option_problems(options))
    parsed = [one for one in (_parse(text, problems) for text in options.overrides) if one]
    printing = options.cfg is not None or options.info is not None
    groups = [one for one in parsed if composer.choices(one.key_or_group)]
    for one in parsed:
        problems += composer.group_problems(one) if one in groups else ()
        if not one.is_delete() and not elements(one, composer):
            problems.append(f"{one.input_line}: stands for no value at all")
    if not printing and lacks_choice(command, options.overrides):
        problems.append(f"{command.required[0]}: not set; {command.required[0]}=NAME chooses what to do")
    if problems:
        raise ConfigError([*composer.problems, *problems])
    ours = [one for one in parsed if one not in groups and not _is_hydras(one)]
    config_name = options.config_name or command.name
    base = composer.compose(
        config_name,
        [first_value(one, composer) for one in parsed if one not in ours],
        full=True,
    )
    sweeping = options.multirun or base.hydra.mode == RunMode.MULTIRUN
    for one in composer.sweeper_params(base, parsed) if sweeping else ():
        (groups if composer.choices(one.key_or_group) else ours).append(one)
    swept = [one for one in (*groups, *ours) if one.is_sweep_override()]
    if not (sweeping or printing):
        problems += [f"{one.input_line}: several values; add -m to run one after the other" for one in swept]
    problems += _sweep_problems(base, swept)
    values = plain_values(base, resolve=False)
    if command.judged and (swept or not printing):
        problems += command.judged(values, [*ours, *groups])
    known = []
    for one in ours:
        problem = composer.name_problem(one) or find_key(command.schema, values, one.key_or_group)
        if problem is None and one.is_delete():
            problem = f"{one.input_line}: keys cannot be removed; set a value"
        problems += [problem] if problem else []
        known += [] if problem else [one]
    made = None if printing else _check_values(command, base, [*groups, *known], known, composer, problems)
    if problems or composer.problems:
        raise ConfigError(dict.fromkeys([*composer.problems, *problems]))
    given = [one for one in parsed if not (printing and one.is_sweep_override())]
    taken = [_as_hydra_takes(one, base, composer) for one in given]
    return [*taken, *(first_value(one, composer) for one in parsed if one not in given)], made


def _check_values(
    command: Declaration[Config],
    base: DictConfig,
    every: Sequence[Override],
    known: Sequence[Override],
    composer: Composer,
    problems: list[str],
) -> Config | None:
    """Judge the values together; those of a sweep each once, the rest of the sweep at its first."""
    first = {one.key_or_group: first_value(one, composer) for one in every}
    trials = [(base, first)]
    for one in every:
        for value in elements(one, composer)[1:]:
            changed = {**first, one.key_or_group: f"{one.key_or_group}={value}"}
            groups = [text for key, text in changed.items() if composer.choices(key)]
            moved = base if one in known else composer.compose(command.name, groups, full=True)
            trials.append((moved, changed))
    names = {one.key_or_group for one in known}
    made = []
    for composed, values in trials:
        try:
            texts = [text for key, text in values.items() if key in names]
            made.append(command.read(with_values(composed, texts)))
        except ConfigError as error:
            problems += error.problems
    return made[0] if made else None


def lacks_choice(command: Declaration[Any], overrides: Sequence[str]) -> bool:
    """Say whether a command line leaves out what must be chosen."""
    if not command.required:
        return False
    keys = [one.lstrip("+").partition("=")[0] for one in overrides]
    given = {key if (CONF / key.partition(".")[0]).is_dir() else key.partition(".")[0] for key in keys}
    return not given & {*command.required, "experiment"}


def _parse(text: str, problems: list[str]) -> Override | None:
    try:
        return parse(text)
    except ConfigError as error:
        problems += error.problems
        return None


def _is_hydras(one: Override) -> bool:
    return one.key_or_group.startswith(("hydra.", "hydra/"))


def _as_hydra_takes(one: Override, base: DictConfig, composer: Composer) -> str:
    """Let keys that the schema knows and no file holds be set without a plus, and others with one."""
    text = str(one.input_line)
    if one.is_delete() or composer.choices(one.key_or_group) or _is_hydras(one):
        return text
    missing = object()
    there = OmegaConf.select(base, one.key_or_group, default=missing) is not missing
    return text if there and not text.startswith("+") else "++" + text.lstrip("+")


def _sweep_problems(base: DictConfig, swept: Sequence[Override]) -> Iterator[str]:
    """Say what is wrong with values of a sweep whatever their key is."""
    keys = [one.key_or_group for one in swept]
    for key in dict.fromkeys(key for key in keys if keys.count(key) > 1):
        yield f"{key}: varied twice; name all its values at once"
    for one in swept:
        value: Any = one.value()
        listed = [] if isinstance(value, Glob) else elements(one)
        for text in dict.fromkeys(text for text in listed if listed.count(text) > 1):
            yield f"{one.key_or_group}={text}: named twice"
        if not isinstance(value, IntervalSweep):
            continue
        low, high = float(value.start or 0), float(value.end or 0)
        text = f"{one.key_or_group}: interval({low:g},{high:g})"
        if "BasicSweeper" in str(base.hydra.sweeper.get("_target_")):
            yield f"{text}: a grid takes none; name values, as in range(1,9,2), or add hydra/sweeper=tpe"
        if low >= high:
            yield f"{text} is empty; write the lower end first"
        if "log" in value.tags and low <= 0:
            yield f"{text} on a log scale must begin above 0"
