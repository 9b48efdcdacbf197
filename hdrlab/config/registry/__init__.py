"""What a name on a command line stands for: a table for each kind of part, hdrlab's own and plug-ins' alike.

A part is named with the place of what it stands for, ``module:name``, which is imported when it is used, or
with the thing itself. So tables and parameters are known before numpy or torch are imported.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import math
import os
import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from hdrlab.errors import HdrlabError, PluginError, blamed

Row = TypeVar("Row")
KINDS = (float, int, bool, str)


@dataclass(frozen=True)
class Limits:
    """What values of a key or parameter may be."""

    choices: Collection[str] | None = None
    above: float | None = None
    least: float | None = None
    most: float | None = None
    multiple: int | None = None

    def __str__(self) -> str:
        texts = (
            ("above {}", self.above),
            ("at least {}", self.least),
            ("at most {}", self.most),
            ("a multiple of {}", self.multiple),
        )
        return ", ".join(text.format(number) for text, number in texts if number is not None)

    def admit(self, value: Any) -> bool:
        """Say whether a value of the right type is within the limits."""
        if self.choices is not None:
            return value in self.choices
        if not isinstance(value, (int, float)):
            return True
        return (
            (self.above is None or value > self.above)
            and (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
            and (self.multiple is None or value % self.multiple == 0)
            and math.isfinite(value)
        )


@dataclass(frozen=True)
class Parameter:
    """A setting of a part, which a command line sets by its name.

    Attributes:
        help: What it means.
        kind: float, int, bool or str.
        default: Its value where none is set, as help tells it; None: the meaning says so.
        limits: What else its values must be.
    """

    help: str
    kind: type = float
    default: Any = None
    limits: Limits = field(default_factory=Limits)


def parameter(help: str, **limits: Any) -> Parameter:
    """Describe a parameter beyond what a function's signature says.

    Args:
        help: What it means.
        **limits: ``above``, ``least``, ``most``, ``multiple``, ``choices``.
    """
    return Parameter(help, limits=Limits(**limits))


@dataclass(frozen=True)
class Part:
    """Something that a name stands for.

    Attributes:
        target: The thing itself, or its place, ``module:name``.
        summary: What it is, in a few words.
        parameters: What may be set of it, by the names of its keywords.
    """

    target: Any
    summary: str
    parameters: Mapping[str, Parameter] = field(default_factory=dict)

    @property
    def apply(self) -> Callable[..., Any]:
        """What it is; imports it.

        Raises:
            PluginError: It is not where a plug-in says.
        """
        found: Callable[..., Any] = resolve(self.target)
        return found

    @property
    def defaults(self) -> Mapping[str, Any]:
        """The keywords of `apply`, with their defaults; imports it."""
        _, *others = inspect.signature(self.apply).parameters.values()
        return {one.name: one.default for one in others if one.kind is not one.KEYWORD_ONLY}


@functools.cache
def _imported(place: str) -> Any:
    module, _, name = place.partition(":")
    try:
        return getattr(import_module(module), name)
    except Exception as error:
        if module.startswith("hdrlab."):
            raise
        raise PluginError(f"{place}: cannot be imported ({blamed(error)})") from error


def resolve(target: Any) -> Any:
    """Return what a target names, importing it if need be.

    Raises:
        PluginError: It is not there, or raises.
    """
    return _imported(target) if isinstance(target, str) else target


@dataclass(frozen=True)
class Origin:
    """Where a part was registered.

    Attributes:
        place: File and line.
        plugin: What ``plugins=`` calls its module.
        identity: Module and name of what was registered: the same again takes the place of the former.
    """

    place: str
    plugin: str
    identity: str


TABLES: list[Registry[Any]] = []
LOADING: list[str] = []
"""The plug-ins that are being imported, the innermost last."""


class Registry(Mapping[str, Row]):
    """The parts of one kind by their names, in the order of their registration.

    Args:
        kind: What they are, for messages.
        rows: hdrlab's own.
        reserved: Says why a parameter cannot have a name, or nothing; a command has keys of its own.
    """

    def __init__(self, kind: str, rows: Mapping[str, Row]) -> None:
        self.kind = kind
        self._rows = dict(rows)
        self._origins: dict[str, Origin] = {}
        self.reserved: Mapping[str, str] = {}
        TABLES.append(self)

    def __getitem__(self, name: str) -> Row:
        return self._rows[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __hash__(self) -> int:
        return id(self)

    @property
    def own(self) -> Mapping[str, Row]:
        """Those of hdrlab itself."""
        return {name: row for name, row in self._rows.items() if name not in self._origins}

    def origin(self, name: str) -> Origin | None:
        """Say where a name comes from; None: from hdrlab itself."""
        return self._origins.get(name)

    def add(self, name: str, row: Row, target: Any, *, taken: Collection[str] = ()) -> None:
        """Register a part of a plug-in.

        Args:
            name: What command lines call it.
            row: What the table holds.
            target: The thing or its place, by which it is known again.
            taken: Further names that it cannot have.

        Raises:
            PluginError: The name is none, or taken; both places are named.
        """
        origin = _origin(target)
        if not re.fullmatch(r"[a-z]\w*(/[a-z]\w*)?", name, re.ASCII):
            raise PluginError(f"{origin.place}: {self.kind} {name!r}: must be small letters, digits and _")
        before = self._origins.get(name)
        if name in taken or (name in self._rows and before is None):
            own = getattr(self._rows.get(name), "target", "hdrlab")
            raise PluginError(f"{origin.place}: {self.kind} {name}: taken by {own}; choose another name")
        if before and before.identity != origin.identity and before.place != origin.place:
            there = f"registered already in {before.place}"
            raise PluginError(f"{origin.place}: {self.kind} {name}: {there}; rename one of them")
        self._refuse_parameters(name, row, origin)
        self._rows[name], self._origins[name] = row, origin

    def _refuse_parameters(self, name: str, row: Row, origin: Origin) -> None:
        for word, own in getattr(row, "parameters", {}).items():
            where = f"{origin.place}: {self.kind} {name}: parameter {word}"
            if word in self.reserved:
                raise PluginError(f"{where}: {self.reserved[word]} has a key of this name; choose another")
            for other, its in ((n, r) for n, r in self._rows.items() if n != name):
                twin = getattr(its, "parameters", {}).get(word)
                if twin and twin.kind is not own.kind:
                    there = before.place if (before := self._origins.get(other)) else "hdrlab"
                    kinds = f"a {own.kind.__name__} here, and a {twin.kind.__name__} of {other} ({there})"
                    raise PluginError(f"{where}: {kinds}; choose another name")

    def version(self, name: str) -> str:
        """Return a digest of the file that a part of a plug-in was registered in; empty for hdrlab's own."""
        origin = self._origins.get(name)
        path = origin.place.rpartition(":")[0] if origin else ""
        content = Path(path).read_bytes() if os.path.isfile(path) else path.encode()
        return hashlib.sha256(content).hexdigest()[:16] if origin else ""

    def parameters(self) -> dict[str, dict[str, Parameter]]:
        """List the parameters there are, each with the parts that have it."""
        found: dict[str, dict[str, Parameter]] = {}
        for name, row in self._rows.items():
            for word, one in getattr(row, "parameters", {}).items():
                found.setdefault(word, {})[name] = one
        return found


@contextmanager
def restored() -> Iterator[None]:
    """Take back what was registered, if an error follows: a plug-in that fails leaves nothing behind."""
    before = [(table, dict(table._rows), dict(table._origins)) for table in TABLES]
    try:
        yield
    except BaseException:
        for table, rows, origins in before:
            table._rows, table._origins = rows, origins
        raise


def _origin(target: Any) -> Origin:
    """Find the first caller outside hdrlab."""
    package = str(Path(__file__).parents[2])
    frame = sys._getframe(1)
    while frame.f_back and frame.f_code.co_filename.startswith(package):
        frame = frame.f_back
    module = frame.f_globals.get("__name__", "?")
    known = getattr(target, "__qualname__", None)
    identity = target if isinstance(target, str) else f"{getattr(target, '__module__', '')}:{known}"
    place = f"{frame.f_code.co_filename}:{frame.f_lineno}"
    return Origin(place, LOADING[-1] if LOADING else module, identity)


def needs_plugin(named: object) -> str:
    """Say that a file is of plug-ins which are not loaded: it is told by whom it was made, and runs nothing.

    Args:
        named: What the file says of them.
    """
    names = ",".join(map(str, named)) if isinstance(named, (list, tuple)) else str(named)
    remedy = f"if you trust it, add plugins=[{names}], or import it in Python"
    return f"is of a plug-in that is not loaded; {remedy}"


def signature_of(
    function: Callable[..., Any], described: Mapping[str, Parameter], given: int = 1
) -> dict[str, Parameter]:
    """Read the parameters of a plug-in's function: its keywords with defaults, as described.

    Args:
        function: The function.
        described: What is said of them.
        given: How many arguments it gets that are none.

    Raises:
        PluginError: One has no default or is of another type, or what is described is none of them.
    """
    keywords = [*inspect.signature(function).parameters.values()][given:]
    named = getattr(function, "__qualname__", str(function))
    hints, found = get_type_hints(function), dict[str, Parameter]()
    for one in keywords:
        if one.kind in (one.VAR_KEYWORD, one.VAR_POSITIONAL, one.KEYWORD_ONLY):
            continue
        if one.default is one.empty:
            raise PluginError(f"{named}: {one.name} has no default; give it one, which help shows")
        kind = hints.get(one.name, type(one.default))
        if kind not in KINDS:
            raise PluginError(f"{named}: {one.name}: must be float, int, bool or str, with a default of it")
        known = described.get(one.name) or Parameter("see its module")
        found[one.name] = replace(known, kind=kind, default=one.default)
    if unknown := [name for name in described if name not in found]:
        raise PluginError(f"{named}: has no keyword {' and no '.join(unknown)}")
    return found


def guarded(kind: str, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a plug-in's function tell errors as its own, with the line in it that raised."""

    @functools.wraps(function)
    def call(*given: Any, **more: Any) -> Any:
        try:
            return function(*given, **more)
        except HdrlabError:
            raise
        except Exception as error:
            raise PluginError(f"{kind} {name}: {blamed(error)}") from error

    return call
