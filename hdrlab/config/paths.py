"""Paths on command lines: taken as they are, where Hydra's grammar would see brackets, commas and blanks."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator, Sequence

PATH_KEYS = re.compile(
    r"input|output|plugins|stem|source|root|checkpoint|weights|basis|niqe|resume|plan"
    r"|paths\.\w+|inputs\.\w+|toolbox\.\w+|results\..+|stage\.init\.\w+|stage\.\w+\.weights"
    r"|data\.(?:root|manifest|lists\.\w+|curves|basis|photographs|references|hdr|sdr|masks|scenes|keep|unlabelled)"
)
"""Keys whose values are paths, or words that need no grammar."""

_SWEEP = re.compile(r"(?:choice|glob|range|interval|shuffle|sort|tag|extend_list)\(.*\)", re.DOTALL)
_QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""", re.DOTALL)


def literal_paths(overrides: Sequence[str], *, sweeping: bool) -> list[str]:
    r"""Quote the values of path keys, such that Hydra takes them as they are.

    A name that exists is always meant. Else ``[a,b]`` is a list, what stands in quotes is Hydra's, ``${…}``
    is filled in, and in a sweep a comma separates values; everything else is one path.

    Args:
        overrides: Those of a command line, as the shell hands them over.
        sweeping: Whether they describe a sweep (-m).

    Returns:
        The same, ready for Hydra: ``input=a (1).jpg`` as ``input='a (1).jpg'``.
    """
    return [_literal(override, sweeping) for override in overrides]


def existing(path: str) -> str:
    """Return a path as it is on the disk, whichever form its letters have: ü is one sign or two (NFC, NFD).

    Args:
        path: A path; where nothing of the kind exists it comes back as it is.
    """
    if os.path.lexists(path) or path.isascii():
        return path
    folder, name = os.path.split(path)
    folder = existing(folder) if folder not in ("", path) else folder
    wanted = unicodedata.normalize("NFC", name)
    try:
        names = os.listdir(folder or ".")
    except OSError:
        names = []
    found = next((one for one in names if unicodedata.normalize("NFC", one) == wanted), name)
    return os.path.join(folder, found)


def _literal(argument: str, sweeping: bool) -> str:
    key, equals, value = argument.partition("=")
    if not equals or value in ("", "null") or not PATH_KEYS.fullmatch(key.lstrip("+")):
        return argument
    return f"{key}={_value(value, sweeping)}"


def _value(value: str, sweeping: bool) -> str:
    if _exists(value):
        return quote(existing(os.path.expanduser(value)), literally=True)
    if value.startswith("[") and value.endswith("]"):
        return f"[{','.join(map(_element, _split(value[1:-1])))}]"
    if sweeping and _SWEEP.fullmatch(value):
        return value
    parts = [*_split(value)] if sweeping else [value]
    return ",".join(map(_element, parts))


def _element(value: str) -> str:
    value = value.strip()
    if _exists(value):
        return quote(existing(os.path.expanduser(value)), literally=True)
    return value if value in ("", "null") or _QUOTED.fullmatch(value) else quote(value, literally=False)


def _exists(value: str) -> bool:
    return "\0" not in value and os.path.lexists(existing(os.path.expanduser(value)))


def _split(text: str) -> Iterator[str]:
    """Split at commas outside quotes."""
    start = place = 0
    while place < len(text):
        quoted = _QUOTED.match(text, place) if not text[start:place].strip() else None
        if quoted:
            place = quoted.end()
        elif text[place] == ",":
            yield text[start:place]
            start = place = place + 1
        else:
            place += 1
    yield text[start:]


def quote(value: str, *, literally: bool) -> str:
    r"""Write a value in Hydra's quotes.

    Args:
        value: Any text.
        literally: Whether ``${`` is meant, too, and does not ask for another key's value.
    """
    if literally:
        value = re.sub(r"(\\*)\$\{", r"\1\1\\${", value)
    # In quotes a backslash means itself, but before a quote.
    escaped = re.sub(r"(\\*)(?:'|\Z)", lambda m: m[1] * 2 + ("\\'" if m[0].endswith("'") else ""), value)
    return f"'{escaped}'" if value != "???" else "'./???'"
