"""The section of a data set, made from its name and keys as Python users give them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

from hdrlab.config.registry.stages import DATA
from hdrlab.config.schema.data import DataConfig
from hdrlab.config.schema.section import build, nearest
from hdrlab.errors import ConfigError

Row = TypeVar("Row")


def named_row(kind: str, name: str, table: Mapping[str, Row]) -> Row:
    """Return the row of a table by its name.

    Raises:
        ConfigError: There is none, with the names there are.
    """
    if name not in table:
        raise ConfigError(f"{kind}={name}: must be {' | '.join(table)}{nearest(name, table)}")
    return table[name]


def data_section(data: object, keys: Mapping[str, Any]) -> DataConfig:
    """Make the section of a data set from its name and keys, and check it.

    Raises:
        ConfigError: With every problem found.
    """
    if isinstance(data, DataConfig):
        return replace(data, **keys)
    if not isinstance(data, str):
        names = ", ".join(f'"{name}"' for name, schema in DATA.items() if schema.batch_keys)
        raise ConfigError(f"data={data!r}: must be the name of a data set ({names}), or its section")
    problems: list[str] = []
    trained = {name: schema for name, schema in DATA.items() if schema.batch_keys}
    config = build(named_row("data", data, trained), keys, problems, "data.")
    if not problems:
        if config.root_holds and getattr(config, "root", None) is None:
            problems.append(f"data.root: not set; the folder of {config.root_holds}, prepared or not")
        problems += config.rules()
    if problems:
        raise ConfigError(problems)
    return config
