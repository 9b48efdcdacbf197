"""Loads plug-ins: modules of the user's own, which register parts of theirs.

Loading one runs its code. So only what ``plugins=`` names is loaded, on the command line or in a
configuration file that it names; nothing that a checkpoint, data or a stored configuration say comes here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

from hdrlab.config.registry import LOADING, restored
from hdrlab.errors import ConfigError, HdrlabError, blamed

GROUP = "hdrlab.plugins"
"""Entry points of installed distributions, each enabled by its name alone."""


@dataclass(frozen=True)
class Plugin:
    """A loaded plug-in.

    Attributes:
        name: As ``plugins=`` names it.
        module: What was imported.
        file: Where it lies.
    """

    name: str
    module: str
    file: Path

    @property
    def folder(self) -> Path | None:
        """The configuration beside it: ``conf`` in a package, ``NAME_conf`` beside a file."""
        is_package = self.file.name == "__init__.py"
        found = self.file.with_name("conf" if is_package else f"{self.file.stem}_conf")
        return found if found.is_dir() else None


LOADED: dict[str, Plugin] = {}


def offered() -> list[str]:
    """Name the plug-ins that installed distributions offer; none is loaded."""
    return sorted(one.name for one in entry_points(group=GROUP))


def load_plugins(names: Iterable[str], beside: str | os.PathLike[str] | None = None) -> None:
    """Import plug-ins, each once.

    Args:
        names: Of modules or entry points, or paths of Python files.
        beside: A folder in which files may lie too: that of the configuration which names them.

    Raises:
        ConfigError: One is not there or cannot be imported, with the line of it that failed; nothing is
            registered then.
    """
    problems: list[str] = []
    for name in names:
        try:
            with restored():
                _load(name, beside)
        except HdrlabError as error:
            problems += [f"plugins={name}: {line}" for line in error.problems]
        except (Exception, SystemExit) as error:
            problems.append(f"plugins={name}: cannot be loaded: {blamed(error)}")
    if problems:
        raise ConfigError(problems)


def _load(name: str, beside: str | os.PathLike[str] | None) -> None:
    file: Path | None = None
    if name.endswith(".py") or os.sep in name:
        file = _find(name, beside)
        module = file.stem
        _let_find(file.parent)
        name = str(file)
    else:
        named = [one.module for one in entry_points(group=GROUP, name=name)]
        module = named[0] if named else name
        if not named and not _is_there(module):
            _let_find(Path.cwd())  # which a program that is installed does not see
            if not _is_there(module):
                raise ConfigError("no such module or entry point; a file is named by its path, ./NAME.py")
    if name in LOADED:
        return
    LOADING.append(name)
    try:
        made = import_module(module)
    except BaseException:
        sys.modules.pop(module, None)
        raise
    finally:
        LOADING.pop()
    place = Path(made.__file__ or "").absolute()
    if file and place.resolve() != file.resolve():
        raise ConfigError(f"another module is called {module}, {place}; give the file another name")
    LOADED[name] = Plugin(name, module, place)


def _find(name: str, beside: str | os.PathLike[str] | None) -> Path:
    path = Path(name).expanduser()
    for one in (path, *([Path(beside, path)] if beside else [])):
        if one.is_file() and one.suffix == ".py" and one.stem.isidentifier():
            return one.absolute()
    raise ConfigError("no such file; a plug-in is a file NAME.py, or the name of a module")


def _let_find(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.append(str(folder))  # last, so that it hides nothing; processes started later inherit it


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False
