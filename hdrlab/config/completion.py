"""Completion in shells: of commands, of their keys, and of what a key may be; else of files."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from hdrlab.config.choices import CONF, choices
from hdrlab.config.cli import find_command
from hdrlab.config.declaration import Declaration
from hdrlab.config.schema.section import keys_of

SHELLS = ("bash", "zsh", "fish")

# In bash "=" ends a word, so that what stands before it must not come again.
_BASH = """_hdrlab() {
    local line="${COMP_LINE:0:COMP_POINT}" IFS=$'\\n'
    COMPREPLY=($(hdrlab --complete "$line" 2>/dev/null))
    case "${line##* }" in *=*) COMPREPLY=("${COMPREPLY[@]#*=}") ;; esac
    case "${COMPREPLY[0]}" in *=) compopt -o nospace ;; esac
}
complete -o default -F _hdrlab hdrlab
"""
_ZSH = """_hdrlab() {
    local -a found
    found=(${(f)"$(hdrlab --complete "${BUFFER[1,CURSOR]}" 2>/dev/null)"})
    compadd -S '' -a found || _files
}
compdef _hdrlab hdrlab
"""
_FISH = "complete -c hdrlab -a '(hdrlab --complete (commandline -cp) 2>/dev/null)'\n"


def script(shell: str) -> str:
    """Return what a shell of `SHELLS` is to run at its start: ``eval "$(hdrlab completion bash)"``."""
    return {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}[shell]


def candidates(line: str, commands: Collection[str]) -> list[str]:
    """Return how the last word of a line can go on.

    Args:
        line: What was typed up to the cursor, ``hdrlab`` included.
        commands: The names of all commands.

    Returns:
        Whole words: commands, ``key=``, ``key=value``; none where files are meant.
    """
    _, *words = line.split(" ")
    if not words:
        return []
    begun = words[-1]
    if len(words) == 1:
        found = [*commands]
    else:
        try:
            found = [*_arguments(find_command(words[0].replace("-", "_")), begun.partition("=")[0])]
        except (ImportError, AttributeError):
            return []
    return [one for one in found if one.startswith(begun) and one != begun]


def _arguments(command: Declaration[Any], name: str) -> Iterator[str]:
    keys = keys_of(command.schema)
    if name not in keys:
        yield from (f"{key}=" for key in keys if key != command.schema.OPEN)
    elif (CONF / name).is_dir():
        yield from (f"{name}={choice}" for choice in choices(name))
    else:
        values = ("true", "false") if keys[name].kind is bool else keys[name].limits.choices or ()
        yield from (f"{name}={value}" for value in values)
