"""What must not stand in a command line or a configuration: secrets, and what would fetch some.

Everything that stands there ends up in run folders, checkpoints and dashboards.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_NAMED = re.compile(
    r"(?:^|[-.+~_{,\s])(?:api[_-]?key|access[_-]?key|secret(?:[_-]?key)?|token|password|passwd|credentials?)"
    r"['\"\s]*[=:]",
    re.IGNORECASE,
)
"""A key that is named like a secret."""

_FORMS = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"sk-[\w-]{16,}"  # OpenAI, Anthropic
    r"|hf_[A-Za-z0-9]{16,}"  # Hugging Face
    r"|gh[opsur]_[A-Za-z0-9]{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}"  # GitHub, GitLab
    r"|(?:AKIA|ASIA)[A-Z0-9]{12,}"  # Amazon
    r"|AIza[\w-]{30,}"  # Google
    r"|xox[a-z]-[\w-]{10,}"  # Slack
    r"|wandb_v\d+_\w{16,}"
    r"|eyJ[\w-]{8,}\.eyJ[\w-]{8,}"  # a web token
    r")|-----BEGIN [A-Z ]*PRIVATE KEY|://[^/\s:@]+:[^/\s@]+@"
)
"""How issued secrets look, and an address with a password in it."""

_WANDB = re.compile(r"(?:local-)?[0-9a-f]{40}")
"""wandb's keys, where they stand alone: a folder may be named by a commit."""

_ISSUED = re.compile(r"API_?KEY|ACCESS_?KEY|SECRET|TOKEN|PASSW|PASSPHRASE|CREDENTIAL", re.IGNORECASE)
"""Environment variables that hold secrets are named so."""

_RESOLVER = re.compile(r"(?<!\\)(?:\\\\)*\$\{(?!(?:now|hydra|run_name):)[^}]*:")

_LEAST = 8
"""Values of the environment that are shorter are too common to be distinguished from other text."""


def is_secret(text: str) -> bool:
    """Say whether a text holds something that looks like a secret, or that the environment holds as one."""
    alone = re.split(r"[\s,'\"=\[\]{}()]+", text)
    return bool(_FORMS.search(text)) or any(map(_WANDB.fullmatch, alone)) or _is_in_environment(text)


def _is_in_environment(text: str) -> bool:
    return any(
        value in text
        for name, value in os.environ.items()
        if _ISSUED.search(name) and len(value) >= _LEAST and not value.startswith(("/", "~", "."))
    )


def secret_arguments(arguments: Sequence[str]) -> Iterator[str]:
    """Say what must not stand in a command line; a secret is not repeated.

    Args:
        arguments: Those of the command line.
    """
    for number, argument in enumerate(arguments, start=1):
        if _NAMED.search(argument) or is_secret(argument):
            key, equals, _ = argument.partition("=")
            named = key if equals and not is_secret(key) else f"argument {number}"
            yield (
                f"{named}: looks like a secret, and command lines are stored; set it in the environment, "
                "such as WANDB_API_KEY"
            )
        elif _RESOLVER.search(argument):
            yield f"{argument}: ${{…:…}} would be filled in from the environment; write the value itself"


def secret_values(values: Any, where: str = "") -> Iterator[str]:
    """Say which values of a configuration look like secrets, without repeating them.

    Args:
        values: Plain values, nested.
        where: Dotted prefix, for the messages.
    """
    if isinstance(values, Mapping):
        for name, value in values.items():
            yield from secret_values(value, f"{where}.{name}" if where else str(name))
    elif isinstance(values, (list, tuple)):
        for value in values:
            yield from secret_values(value, where)
    elif isinstance(values, str) and is_secret(values):
        yield f"{where}: looks like a secret, and configurations are stored; set it in the environment"
