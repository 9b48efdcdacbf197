"""What a command declares: its help, the checks and the command line are made from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig

from hdrlab.config.choices import CONF
from hdrlab.config.composer import plain_values
from hdrlab.config.registry.loading import load_plugins
from hdrlab.config.schema.data import DataConfig
from hdrlab.config.schema.section import Config, keys_of
from hdrlab.config.secrets import secret_values
from hdrlab.config.validate import check
from hdrlab.errors import ConfigError


def _beside(composed: DictConfig) -> str | None:
    """Return the folder of ``--config-dir``; a job's configuration has Hydra's part no more."""
    place: Any = composed.get("hydra") or (HydraConfig.get() if HydraConfig.initialized() else None)
    sources = place.runtime.config_sources if place else ()
    return next((str(one.path) for one in sources if one.provider == "command-line"), None)


@dataclass(frozen=True)
class Declaration(Generic[Config]):
    """What a command says of itself.

    Attributes:
        name: Its module in ``hdrlab``, and its file in ``conf/``.
        schema: Schema class of the whole configuration.
        run: Does the work; its exit code is the command's.
        examples: Command lines for the help.
        required: Keys without one of which the help is printed instead; none: it needs no arguments.
        positional: Keys of the arguments that are given without one, in this order.
        formats: The key that names the formats to write, and the format of each ending: what an output file
            named in place of the folder sets.
        first: What people set first, which the short help lists; nothing: all keys.
        result: Of a sweep's job, the number that it is judged by.
        judged: Says what a sweep could not judge by; a single run's result must exist, too.
        data: Which data sets the command is for.
    """

    name: str
    schema: type[Config]
    run: Callable[[Config], int]
    examples: Sequence[str]
    required: tuple[str, ...]
    positional: tuple[str, ...] = ()
    formats: tuple[str, Mapping[str, str]] | None = None
    first: tuple[str, ...] = ()
    result: Callable[[Config], float | None] | None = None
    judged: Callable[[Mapping[str, Any], Sequence[Override]], Iterable[str]] | None = None
    data: Callable[[type[DataConfig]], bool] = lambda schema: True

    @property
    def journal(self) -> str:
        """Name of the file in which the command keeps what it wrote into a folder."""
        return f"{self.name}.jsonl"

    def read(self, composed: DictConfig) -> Config:
        """Check a composed configuration and return it as an object.

        Raises:
            ConfigError: With every problem found.
        """
        values = plain_values(composed)
        values.pop("hydra", None)
        for name, key in keys_of(self.schema).items():
            if key.section and (CONF / name).is_dir():
                values.setdefault(name, self.schema.without.get(name))  # ~logger
        if problems := list(secret_values(values)):
            raise ConfigError(problems)
        named = values.get("plugins") or ()
        found: list[str] = []
        try:
            load_plugins([named] if isinstance(named, str) else named, _beside(composed))
        except ConfigError as error:
            found += error.problems
        try:
            checked = check(self.schema, values)
        except ConfigError as error:
            found += error.problems
        if found:
            raise ConfigError(found)
        return checked
