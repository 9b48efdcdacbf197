"""Arguments without a key: the files and folders that most command lines are about."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from typing import Any

from hdrlab.config.declaration import Declaration
from hdrlab.config.paths import existing, quote
from hdrlab.config.schema.section import keys_of
from hdrlab.errors import ConfigError


def with_keys(command: Declaration[Any], arguments: Sequence[str]) -> list[str]:
    """Give arguments that have no key those of ``command.positional``, in this order.

    Where the first key takes several values, it takes them all, but for an output folder at the end.

    Args:
        command: The command that is called.
        arguments: A command line without options, as the shell hands it over.

    Returns:
        Overrides: for ``reconstruct``, ``a.jpg b.jpg hdr preview=false`` becomes ``input=['a.jpg','b.jpg']``,
        ``output='hdr'`` and ``preview=false``; ``a.jpg x/lamp.exr`` becomes ``input=['a.jpg']``,
        ``output='x'``, ``stem='lamp'`` and ``formats=[exr]``.

    Raises:
        ConfigError: There are more than the command takes, or the last may be an input or the output.
    """
    positional = [one for one in arguments if _has_no_key(command, one)]
    overrides = [one for one in arguments if one not in positional]
    if not (positional and command.positional):
        return [*arguments]
    names = list(command.positional)
    paths = [existing(os.path.expanduser(one)) for one in positional]
    values = [quote(one, literally=True) for one in paths]
    takes_several = keys_of(command.schema)[names[0]].kind is tuple
    if takes_several and (members := _members(positional[0])):
        inputs = [quote(existing(os.path.expanduser(one)), literally=True) for one in members]
        values = [f"[{','.join(inputs)}]", *values[1:]]
    elif takes_several:
        has_output = len(names) > 1 and not any(one.startswith(f"{names[1]}=") for one in overrides)
        if has_output and (named := _named_file(command, paths)):
            return [f"{names[0]}=[{values[0]}]", *named, *overrides]
        count = len(paths) - (has_output and _ends_with_output(command, paths))
        values = [f"[{','.join(values[:count])}]", *values[count:]]
    if len(values) > len(names):
        usage = f"hdrlab {command.name} {' '.join(name.upper() for name in names)}"
        raise ConfigError([f"{one}: one too many; {usage}" for one in positional[len(names) :]])
    return [*(f"{name}={value}" for name, value in zip(names, values, strict=False)), *overrides]


def _members(argument: str) -> list[str]:
    """Return what a list as keys take it holds, ``[a.hdr,b.hdr]``; nothing, if it is a file or a pattern."""
    if not re.fullmatch(r"\[.*[.,/].*\]", argument) or os.path.lexists(argument):
        return []
    return [one.strip().strip("'\"") for one in argument[1:-1].split(",") if one.strip()]


def _has_no_key(command: Declaration[Any], argument: str) -> bool:
    """Say whether an argument is a value alone; one such as ``a=b.jpg`` is where a file is called so."""
    name, equals, _ = argument.partition("=")
    if name.lstrip("+~").partition(".")[0] in (*keys_of(command.schema), "hydra"):
        return not equals and os.path.lexists(argument)
    is_deletion = name.startswith("~") and not name.startswith("~/")
    is_key = equals and not re.search(r"[\s,'\"()#%]", name)  # which no key has
    return os.path.lexists(os.path.expanduser(argument)) or not (is_key or is_deletion)


def _named_file(command: Declaration[Any], paths: Sequence[str]) -> list[str]:
    """Return what the last of two paths sets, if it is an output file and not the second input."""
    if command.formats is None or len(paths) != 2 or os.path.isdir(paths[0]) or glob.has_magic(paths[0]):
        return []
    (key, formats), (folder, name) = command.formats, os.path.split(paths[1])
    stem, ending = os.path.splitext(name)
    own = os.path.exists(os.path.join(folder, command.journal))
    if ending.lower() not in formats or os.path.isdir(paths[1]) or (os.path.lexists(paths[1]) and not own):
        return []
    folder = quote(folder or ".", literally=True)
    return [f"output={folder}", f"stem={quote(stem, literally=True)}", f"{key}=[{formats[ending.lower()]}]"]


def _ends_with_output(command: Declaration[Any], paths: Sequence[str]) -> bool:
    """Say whether the last of some paths is the folder to write, as the last that ``cp`` is given.

    Raises:
        ConfigError: That cannot be known.
    """
    *sources, last = paths
    if not sources or os.path.isfile(last) or glob.has_magic(last):
        return False
    problem = None
    if not os.path.lexists(last) and os.path.splitext(last)[1]:
        problem = f"{last}: no such file;"
    elif os.path.isdir(last) and any(map(os.path.isdir, sources)):
        own = os.path.join(last, command.journal)
        if not os.path.exists(own) and os.listdir(last):
            problem = f"{last}: is it an input, or the folder to write?"
    if problem:
        listed = ",".join(paths)
        raise ConfigError([f"{problem} output={last} writes there; input=[{listed}] reads all of them"])
    return True
