"""Composes configurations with Hydra, its own and the user's, and reads single overrides."""

from __future__ import annotations

import json
import os
import re
import sys
from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, IntervalSweep, Override
from hydra.errors import HydraException, MissingConfigException
from hydra.initialize import get_gh_backup, restore_gh_from_backup
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, flag_override
from omegaconf.errors import OmegaConfBaseException

from hdrlab.config.choices import CONF
from hdrlab.config.registry.loading import load_plugins
from hdrlab.config.registry.stages import DATA, STAGES
from hdrlab.config.schema.section import Section, nearest
from hdrlab.errors import ConfigError


@dataclass(frozen=True)
class Composer:
    """Hydra, set up with the project's configuration and the user's.

    Attributes:
        hydra: It.
        foreign: Whether there is configuration that only Hydra knows of, by ``hydra.searchpath``.
        problems: Plug-ins that could not be loaded.
    """

    hydra: Hydra
    foreign: bool
    problems: Sequence[str] = ()

    def choices(self, group: str) -> list[str]:
        """List the names that ``group=NAME`` accepts; nothing if it is no group."""
        group = group.partition("@")[0]
        # Asked of each override; the loader's own answer copies all its sources first.
        sources = [one for one in self.hydra.config_loader.get_sources() if one.is_group(group)]
        return sorted({name for one in sources for name in one.list(group, ObjectType.CONFIG)})

    def compose(self, config_name: str, overrides: Sequence[str], *, full: bool = False) -> DictConfig:
        """Compose.

        Raises:
            ConfigError: Hydra refuses.
        """
        try:
            composed = self.hydra.compose_config(
                config_name, list(overrides), RunMode.RUN, with_log_configuration=False
            )
        except (HydraException, OmegaConfBaseException) as error:
            raise ConfigError([first_line(error)]) from error
        if not full:
            with flag_override(composed, ["readonly", "struct"], False):
                del composed["hydra"]
        return composed

    def group_problems(self, one: Override) -> Iterator[str]:
        """Say which choices of a group do not exist."""
        group, legal = one.key_or_group, self.choices(one.key_or_group)
        if one.is_add() and (CONF / group).is_dir():
            yield f"{one.input_line}: write {str(one.input_line).lstrip('+')}; {group} is there to be chosen"
        for name in () if one.is_delete() or self.foreign else elements(one, self):
            if name not in legal:
                yield f"{group}={name}: must be {' | '.join(legal)}{nearest(name, legal)}"

    def name_problem(self, one: Override) -> str | None:
        """Refuse another name for a choice: names lead to classes, files and folders."""
        group, _, last = one.key_or_group.rpartition(".")
        if last != "name" or not (legal := self.choices(group)):
            return None
        return f"{one.key_or_group}: cannot be set; {group}=NAME chooses {' | '.join(legal)}"

    def sweeper_params(self, base: DictConfig, given: Sequence[Override]) -> list[Override]:
        """Return what the configuration itself wants swept, but for keys that the command line names."""
        keys = {one.key_or_group for one in given}
        params = OmegaConf.select(base, "hydra.sweeper.params") or {}
        return [parse(f"{key}={value}") for key, value in params.items() if str(key) not in keys]


@contextmanager
def open_composer(options: Namespace) -> Iterator[Composer]:
    """Set Hydra up with the project's configuration and that of ``--config-dir``."""
    problems: tuple[str, ...] = ()
    try:
        load_plugins(named_plugins(options), options.config_dir)
    except ConfigError as error:  # to be told with whatever else is wrong
        problems = error.problems
    _offer()
    backup = get_gh_backup()
    GlobalHydra.instance().clear()  # a command may be composed inside another's job
    path = create_config_search_path(str(CONF))
    if options.config_dir:
        folder = f"file://{os.path.abspath(options.config_dir)}"
        path.prepend("command-line", folder, SearchPathQuery(provider="schema"))
    try:
        foreign = any("hydra.searchpath" in one for one in options.overrides)
        yield Composer(Hydra.create_main_hydra2("hdrlab", path), foreign, problems)
    finally:
        restore_gh_from_backup(backup)


def named_plugins(options: Namespace) -> list[str]:
    """Name the plug-ins of a command line, and of the files of ``--config-dir`` that it chooses.

    They are to be loaded before anything is composed: what they bring may be chosen. Those of a file are
    told, for whoever took the file from elsewhere.
    """
    found: list[str] = []
    groups = {key.lstrip("+"): value for key, _, value in (one.partition("=") for one in options.overrides)}
    given = groups.get("plugins", "")
    if given not in ("", "null"):
        for one in elements(parse(f"plugins={given}")):
            value: Any = parse(f"plugins={one}").value()
            found += map(str, value if isinstance(value, list) else [value])
    chosen = {f"{group}/{name}" for group, name in groups.items() if re.fullmatch(r"[\w/.-]+", name)}
    for name in sorted(chosen | {options.config_name or ""}) if options.config_dir else ():
        file = Path(options.config_dir, f"{name}.yaml")
        if name and file.is_file():
            for one in _listed_in(file):
                print(f"note: {file} names the plug-in {one}, whose code runs", file=sys.stderr)
                found.append(one)
    return found


def _listed_in(file: Path) -> list[str]:
    try:
        stored = OmegaConf.load(file)
    except Exception:  # of YAML, with no base of its own; Hydra says what is wrong with the file
        return []
    listed: Any = stored.get("plugins") if isinstance(stored, DictConfig) else None
    return [str(one) for one in (listed if OmegaConf.is_list(listed) else [listed] if listed else [])]


def _offer() -> None:
    """Let Hydra know the stages and data sets of plug-ins that have no file of their own."""
    for group, table in (("stage", STAGES), ("data", DATA)):
        for name in table.keys() - table.own.keys():
            schema = DATA[name] if table is DATA else STAGES[name].schema
            ConfigStore.instance().store(f"{name}.yaml", _plain(schema(name=name)), group=group)


def _plain(section: Section) -> dict[str, Any]:
    values = json.loads(json.dumps(asdict(section)))  # tuples become lists
    return dict(values)


def with_values(base: DictConfig, overrides: Iterable[str]) -> DictConfig:
    """Return a composed configuration with further values, set as Hydra sets them."""
    changed = deepcopy(base)
    with flag_override(changed, ["readonly", "struct"], False):
        for one in map(parse, overrides):
            if one.is_delete():
                section, _, last = one.key_or_group.rpartition(".")
                (OmegaConf.select(changed, section) if section else changed).pop(last, None)
            else:
                OmegaConf.update(changed, one.key_or_group, one.value(), merge=True, force_add=True)
    return changed


def plain_values(config: DictConfig, *, resolve: bool = True) -> dict[str, Any]:
    """Return plain values, without Hydra's own."""
    try:
        ours = {str(key): config._get_node(key) for key in config if key != "hydra"}
        return {
            key: OmegaConf.to_container(node, resolve=resolve) if OmegaConf.is_config(node) else config[key]
            for key, node in ours.items()
        }
    except OmegaConfBaseException as error:
        raise ConfigError([f"{error.full_key}: {first_line(error)}"]) from error


def parse(text: str) -> Override:
    """Read an override of a command line.

    Raises:
        ConfigError: If it is not understood.
    """
    try:
        return OverridesParser.create().parse_override(text)
    except HydraException as error:
        remedy = "not understood; write key=value, with quotes round blanks and commas"
        raise ConfigError([f"{text}: {remedy}"]) from error


def elements(one: Override, composer: Composer | None = None) -> list[str]:
    """List the values an override stands for, as a command line writes them; of an interval its ends."""
    if one.is_delete():
        return []
    value: Any = one.value()
    if isinstance(value, IntervalSweep):
        return [f"{end:.15g}" for end in (value.start, value.end)]
    if isinstance(value, Glob):
        return list(value.filter(composer.choices(one.key_or_group) if composer else []))
    if one.is_sweep_override():
        return [str(element) for element in one.sweep_string_iterator()]
    return [one.get_value_element_as_str()]


def first_value(one: Override, composer: Composer) -> str:
    """Write an override with the first of its values."""
    if one.is_delete() or not one.is_sweep_override():
        return str(one.input_line)
    return f"{one.get_key_element()}={elements(one, composer)[0]}"


def first_line(error: Exception) -> str:
    """Return the first line of what Hydra says, with what it lists as choices."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    if isinstance(error, MissingConfigException) and error.options:
        return f"{lines[0]} Available: {', '.join(error.options)}"
    return lines[0]
