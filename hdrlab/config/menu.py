"""The text of ``--help``, made from the schemas and the tables so that it cannot fall behind them."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from hdrlab.config.choices import CONF, choices
from hdrlab.config.declaration import Declaration
from hdrlab.config.registry.stages import DATA, STAGES
from hdrlab.config.schema.section import Key, Section, keys_of, own_keys, schema_of

WIDTH = 110
_COLUMN = 15


def menu(command: Declaration[Any], *, everything: bool = False) -> str:
    """Return what ``hdrlab NAME --help`` prints; ``everything``, with ``--help all``."""
    keys = keys_of(command.schema)
    called = f"hdrlab {command.name}"
    groups = [name for name, key in keys.items() if key.section and (CONF / name).is_dir()]
    data = {name: schema.summary for name, schema in DATA.items() if command.data(schema)}
    tables = {"stage": {name: row.summary for name, row in STAGES.items()}, "data": data}
    lines = [inspect.getdoc(command.schema) or "", "", f"usage: {called} {_usage(command)}[key=value ...]"]
    for name in groups:
        if name in tables:
            rows = [f"  {choice:<13} {summary}" for choice, summary in tables[name].items()]
            lines += ["", f"{name}=", *rows]
    named = [name for name in groups if name not in tables] + ["sweep"] * ("objective" in keys)
    lines += [""] + [_entry(name, " | ".join(choices(name))) for name in named]
    shown = command.first if command.first and not everything else [*_names(command.schema)]
    lines += [_entry(name, _meaning(keys[name])) for name in shown if not keys[name].section]
    lines += ["", "examples", *(f"  {called} {example}" for example in command.examples), ""]
    more = {f"{called} --help all": "further keys"} if shown is command.first else {}
    if groups:
        more[f"{called} {_choice(command)}--help"] = "every key and its value"
    return "\n".join([*lines, *(f"  {line}   # {what}" for line, what in more.items())])


def _usage(command: Declaration[Any]) -> str:
    """The arguments of a command: ``INPUT [OUTPUT]``; those of one that takes a choice, ``stage=STAGE``."""
    keys = keys_of(command.schema)
    names = [name.upper() if keys[name].is_required else f"[{name.upper()}]" for name in command.positional]
    return "".join(f"{name} " for name in names) or _choice(command)


def _choice(command: Declaration[Any]) -> str:
    keys = keys_of(command.schema)
    names = [name for name in command.required if keys[name].is_required or name == "stage"]
    return "".join(f"{name}={name.upper()} " for name in names)


def key_lines(
    declared: type[Section],
    values: Mapping[str, Any],
    only: Collection[str] | None = None,
    where: str = "",
) -> Iterator[str]:
    """Describe every key of a composed configuration: ``key = value   meaning``.

    Args:
        declared: Schema class.
        values: Composed plain values, interpolations unresolved.
        only: Keys of the outermost section to describe; None: all.
        where: Dotted prefix of the section.
    """
    left_out = declared.irrelevant(values)
    values = {**values, **((values.get(declared.OPEN) if declared.OPEN else None) or {})}
    keys = keys_of(declared)
    for name in _names(declared):
        if name in left_out or (only is not None and name not in only):
            continue
        key, value = keys[name], values.get(name)
        if key.section:
            if isinstance(value, Mapping):
                yield from key_lines(schema_of(key.section, value), value, None, f"{where}{name}.")
        else:
            shown = "null" if value is None else ", ".join(value) if isinstance(value, tuple) else value
            if isinstance(value, Mapping):
                shown = ", ".join(f"{inner}: {one}" for inner, one in value.items())
            yield f"  {where}{name} = {shown}\n      {_meaning(key)}"


def _names(declared: type[Section]) -> Iterator[str]:
    """Name the keys of a section; those of parts stand for the one that holds their values."""
    parts = declared.further()
    for name in own_keys(declared):
        yield from parts if parts and name == declared.OPEN else (name,)


def _meaning(key: Key) -> str:
    legal = f" [{' | '.join(key.limits.choices)}]" if key.limits.choices else ""
    return key.help + legal


def _entry(name: str, text: str) -> str:
    indent = " " * _COLUMN
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=f"  {name + '=':<{_COLUMN - 2}}" + " " * (len(name) + 1 >= _COLUMN - 2),
        subsequent_indent=indent,
        break_long_words=False,
    )
