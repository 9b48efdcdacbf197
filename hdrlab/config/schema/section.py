"""A section of the configuration: typed keys with limits, meanings and defaults, checked when it is made.

Plain dataclasses, since a check must be done before a second has passed: pydantic alone takes half of it.
"""

from __future__ import annotations

import difflib
import os
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import MISSING, Field, dataclass, field, fields
from functools import cache
from typing import Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from hdrlab.config.registry import Limits, Parameter
from hdrlab.errors import ConfigError

Config = TypeVar("Config", bound="Section")


def key(
    help: str,
    default: Any = MISSING,
    *,
    path: bool = False,
    later: bool = False,
    free: bool = False,
    **limits: Any,
) -> Any:
    """Describe one key.

    Args:
        help: Its meaning.
        default: Its value where none is given; none for what must be set.
        path: Whether it names files or folders, or one of a few words instead.
        later: Whether the key came after trainings whose runs should still be found: while it has its
            default, which then may never change, the hash of a run leaves it out.
        free: Whether its values are judged by what they are handed to, not here.
        limits: See `Limits`.
    """
    metadata = {"help": help, "path": path, "later": later, "free": free, "limits": Limits(**limits)}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Section:
    """A section of the configuration.

    Raises:
        ConfigError: With every value that does not fit.
    """

    without: ClassVar[Mapping[str, Any]] = {}
    """What sections mean that a user removes, as by ``~logger``."""

    OPEN: ClassVar[str | None] = None
    """The key among whose values names go that are no keys of the section's own."""

    @classmethod
    def further(cls) -> Mapping[str, Key]:
        """List the keys of registered parts, whose values go among those of `OPEN` where they are set."""
        return {}

    @classmethod
    def refusal(cls, name: str, *, is_section: bool) -> str | None:
        """Say why a name that is no key cannot be set; None: it can, "": there is nothing of that name."""
        return ""

    @classmethod
    def irrelevant(cls, values: Mapping[str, Any]) -> Sequence[str]:
        """Name the keys that have no effect beside the values of others, which help then leaves out."""
        return ()

    def __post_init__(self) -> None:
        problems: list[str] = []
        checked = build(type(self), {one.name: getattr(self, one.name) for one in fields(self)}, problems)
        if problems:
            raise ConfigError(problems)
        for one in fields(self):
            object.__setattr__(self, one.name, getattr(checked, one.name))

    def rules(self) -> Iterator[str]:
        """Say what does not fit together, or is not there, though each value alone is right."""
        yield from ()


@dataclass(frozen=True)
class Key:
    """A key as a class declares it.

    Attributes:
        name: Its name.
        kind: Its type without None; of a choice ``str``, of a list ``tuple``.
        optional: Whether it may be None.
        limits: What else its values must be.
        described: The dataclass field.
    """

    name: str
    kind: Any
    optional: bool
    limits: Limits
    described: Field[Any]

    @property
    def help(self) -> str:
        """What it means."""
        return str(self.described.metadata.get("help", ""))

    @property
    def default(self) -> Any:
        """Its value where none is given, or MISSING."""
        return self.described.default

    @property
    def path(self) -> bool:
        """Whether it names files or folders."""
        return bool(self.described.metadata.get("path"))

    @property
    def later(self) -> bool:
        """Whether the hash of a run leaves it out while it has its default."""
        return bool(self.described.metadata.get("later"))

    @property
    def free(self) -> bool:
        """Whether its values are judged by what they are handed to."""
        return bool(self.described.metadata.get("free"))

    @property
    def is_required(self) -> bool:
        """Whether it has no default."""
        return self.default is MISSING

    @property
    def section(self) -> type[Section] | None:
        """The class of a key that is a section itself."""
        return self.kind if isinstance(self.kind, type) and issubclass(self.kind, Section) else None

    @property
    def wanted(self) -> str:
        """What it may be, in words."""
        text = " | ".join(self.limits.choices) if self.limits.choices else _KINDS.get(self.kind, _KINDS[str])
        return text + (f" {self.limits}" if str(self.limits) else "") + (", or null" if self.optional else "")


_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a word or path"}


def keys_of(cls: type[Section]) -> Mapping[str, Key]:
    """List the keys that a section class has: its own, and those of registered parts."""
    further = cls.further()
    return {**own_keys(cls), **further} if further else own_keys(cls)


def own_keys(cls: type) -> Mapping[str, Key]:
    """List the keys that a section class declares itself."""
    return _own_keys(cls)


@cache
def _own_keys(cls: type) -> Mapping[str, Key]:
    hints = get_type_hints(cls)
    return {one.name: _read_key(one, hints[one.name]) for one in fields(cls)}


def _read_key(described: Field[Any], annotation: Any) -> Key:
    members = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    kind = next(member for member in members if member is not types.NoneType)
    limits = described.metadata.get("limits", Limits())
    inner = get_args(kind)[0] if get_origin(kind) is tuple else kind
    if get_origin(inner) is Literal:
        limits, inner = Limits(get_args(inner)), str
    kind = get_origin(kind) if get_origin(kind) in (tuple, dict) else inner
    return Key(described.name, kind, types.NoneType in members, limits, described)


def parameter_keys(parameters: Mapping[str, Mapping[str, Parameter]]) -> dict[str, Key]:
    """Describe parameters of parts as keys; null leaves one to its part.

    Args:
        parameters: By the part that has it, for each parameter.
    """
    found = {}
    for name, having in parameters.items():
        one = next(iter(having.values()))
        limits = one.limits if all(other.limits == one.limits for other in having.values()) else Limits()
        whose = f"of {' and '.join(having)}: " if len(having) < 4 and not one.help.startswith("of ") else ""
        default = "" if one.default is None else f"; null: {one.default}"
        described = key(f"{whose}{one.help}{default}", None)
        described.name = name
        found[name] = Key(name, one.kind, True, limits, described)
    return found


def schema_of(declared: type[Section], values: Any) -> type[Section]:
    """Return the class of a section: the one among the subclasses whose ``name`` is the values'."""
    name = values.get("name") if isinstance(values, Mapping) else None
    return variants(declared).get(name, declared) if name else declared


def variants(declared: type[Section]) -> Mapping[Any, type[Section]]:
    """List the subclasses that stand for a choice, by their name."""
    named = [cls for cls in (declared, *_below(declared)) if "name" in keys_of(cls)]
    names = {keys_of(cls)["name"].default: cls for cls in named}
    return {name: cls for name, cls in names.items() if name is not MISSING}


def _below(cls: type[Section]) -> Iterator[type[Section]]:
    one: type[Section]
    for one in cls.__subclasses__():
        yield one
        yield from _below(one)


def amended(section: Config, **changes: Any) -> Config:
    """Return a copy with other values, which are not checked: other keys may be wrong, and that is known."""
    made = copy(section)
    for name, value in changes.items():
        object.__setattr__(made, name, value)
    return made


def anchored(section: Config, wanted: bool = True) -> Config:
    """Return a copy with absolute paths, where that is wanted: the working directory is about to change."""
    if not wanted:
        return section
    changed = {}
    for name, declared in own_keys(type(section)).items():
        value = getattr(section, name)
        if isinstance(value, Section):
            changed[name] = anchored(value)
        elif declared.path and value is not None:
            changed[name] = _absolute(value)
    return amended(section, **changed)


def _absolute(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_absolute, value))
    if isinstance(value, Mapping):
        return {name: _absolute(one) for name, one in value.items()}
    return value if value in ("auto", "never", "random", "builtin") else os.path.abspath(value)


def missing_files(named: Mapping[str, str | None]) -> Iterator[str]:
    """Say which of the files, by their keys, do not exist."""
    for name, path in named.items():
        if path is not None and not os.path.isfile(path):
            yield f"{name}={path}: no such file"


def nearest(word: str, names: Iterable[str]) -> str:
    """Name the most similar legal word as ``"; did you mean X?"``, or nothing where none is similar."""
    close = difflib.get_close_matches(word, list(names), n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""


def build(cls: type[Config], values: Mapping[str, Any], problems: list[str], where: str = "") -> Config:
    """Make a section from plain values, appending to ``problems`` what does not fit.

    Args:
        cls: Its class.
        values: Plain resolved values, as from ``OmegaConf.to_container``; what is not named has its default.
        problems: List to append to, one line a problem.
        where: Dotted prefix of the section, for the messages.

    Returns:
        The section; what does not fit stands in it as it is, and rules are not to judge it.
    """
    known, values = keys_of(cls), dict(values)
    further = cls.further()
    if further and cls.OPEN and isinstance(given := values.get(cls.OPEN), Mapping):
        values[cls.OPEN] = {name: one for name, one in given.items() if name not in further} or None
        values = {**values, **{name: one for name, one in given.items() if name in further}}
    for name in [name for name in values if name not in known]:
        value = values.pop(name)
        refusal = cls.refusal(str(name), is_section=isinstance(value, Mapping))
        if refusal is None and cls.OPEN:
            values[cls.OPEN] = {**(values.get(cls.OPEN) or {}), str(name): value}
        else:
            problems.append(f"{where}{name}: {refusal or 'no such key' + nearest(str(name), known)}")
    for name in further:
        if (value := _judge(known[name], values.pop(name, None), where + name, problems)) is not None:
            values[str(cls.OPEN)] = {**(values.get(str(cls.OPEN)) or {}), name: value}
    made = object.__new__(cls)  # not checked once more
    for name, declared in own_keys(cls).items():
        default = None if declared.default is MISSING else declared.default
        value = _judge(declared, values.get(name, default), where + name, problems)
        object.__setattr__(made, name, value)
    return made


def _judge(declared: Key, value: Any, where: str, problems: list[str]) -> Any:
    if value is None and declared.optional:
        return None
    if declared.free and isinstance(value, Mapping):
        return dict(value)
    if section := declared.section:
        if isinstance(value, Mapping):
            return build(schema_of(section, value), value, problems, f"{where}.")
        if not isinstance(value, section):
            inner = ", ".join(f"{where}.{name}" for name in keys_of(section) if name != section.OPEN)
            problems.append(f"{where}: got {value!r}, but is a section; set {inner}")
        return value
    if declared.kind is tuple:
        return _judge_list(declared, value, where, problems)
    if declared.kind is dict:
        return _judge_named(declared, value, where, problems)
    return _judge_scalar(declared, value, where, problems)


def _judge_list(declared: Key, value: Any, where: str, problems: list[str]) -> tuple[Any, ...]:
    """Judge a list of words; one alone needs no brackets."""
    if value in ([], ()):
        problems.append(f"{where}: empty, must be one or more of {declared.wanted}")
    listed = value if isinstance(value, (list, tuple)) else [value]
    return tuple(_judge_scalar(declared, one, where, problems) for one in listed)


def _judge_named(declared: Key, value: Any, where: str, problems: list[str]) -> Any:
    """Judge words under names of the user's own."""
    if not isinstance(value, Mapping):
        problems.append(f"{where}: got {value!r}, must be names with values, for example {where}.theirs=PATH")
        return value
    return {
        str(name): _judge_scalar(declared, one, f"{where}.{name}", problems) for name, one in value.items()
    }


def _judge_scalar(declared: Key, value: Any, where: str, problems: list[str]) -> Any:
    kind = declared.kind if declared.kind in _KINDS else str
    choices = declared.limits.choices
    if isinstance(value, os.PathLike) and kind is str:
        value = os.fspath(value)
    if declared.path and isinstance(value, str):
        value = os.path.expanduser(value)
    if choices and isinstance(value, (int, float)) and not isinstance(value, bool):
        value = str(value)  # trainer.precision=32 reads as a number
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    fits = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    if not fits or not declared.limits.admit(value):
        shown = "not set" if value is None else f"got {value!r}"
        hint = nearest(str(value), choices) if choices else ""
        problems.append(f"{where}: {shown}, must be {declared.wanted}{hint}")
    return value
