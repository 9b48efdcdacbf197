"""Objects of the user's own that the configuration names: callbacks, loggers, a scheduler.

Their modules are imported because the command line, or a configuration file that it names, says so. Nothing
that a checkpoint, data or a stored configuration say comes here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, TypeVar, cast

import pytorch_lightning as pl
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import BatchSizeFinder
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities.types import LRSchedulerConfigType
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from hdrlab.config.schema.commands import TrainConfig
from hdrlab.errors import ConfigError, blamed

_LIGHTNINGS = ("interval", "frequency", "monitor")
"""What of a scheduler's settings is Lightning's."""

Kind = TypeVar("Kind")


def more_callbacks(config: TrainConfig) -> list[pl.Callback]:
    """Make the callbacks that the configuration adds.

    Raises:
        ConfigError: A class cannot be imported or made, is of another kind, or changes what names a run.
    """
    named = config.callbacks.objects or {}
    made = {name: _make(f"callbacks.{name}", one, pl.Callback) for name, one in named.items()}
    if finders := [name for name, one in made.items() if isinstance(one, BatchSizeFinder)]:
        reason = "stage.batch_size names a run, so nothing changes it on the way; sweep it"
        raise ConfigError([f"callbacks.{name}: {reason}" for name in finders])
    return [*made.values()]


def more_loggers(config: TrainConfig) -> list[Logger]:
    """Make the loggers that the configuration adds.

    Raises:
        ConfigError: A class cannot be imported or made, or is of another kind.
    """
    named = config.logger.objects or {}
    return [_make(f"logger.{name}", one, Logger) for name, one in named.items()]


def schedule(settings: Mapping[str, Any], optimizer: Optimizer) -> LRSchedulerConfigType:
    """Make a scheduler, as Lightning's ``lr_scheduler``; it moves once a step unless ``interval`` is given.

    Raises:
        ConfigError: The class cannot be imported or made, or is of another kind.
    """
    own = {name: value for name, value in settings.items() if name not in _LIGHTNINGS}
    given = {name: value for name, value in settings.items() if name in _LIGHTNINGS}
    scheduler = _make("scheduler", own, LRScheduler, optimizer)
    return cast("LRSchedulerConfigType", {"interval": "step", **given, "scheduler": scheduler})


def _make(where: str, settings: Mapping[str, Any], kind: Callable[..., Kind], *given: Any) -> Kind:
    assert isinstance(kind, type)
    target = settings["_target_"]
    module, _, name = target.rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError([f"{where}._target_={target}: cannot be imported ({error})"]) from error
    except Exception as error:
        raise ConfigError([f"{where}._target_={target}: cannot be imported ({blamed(error)})"]) from error
    if not isinstance(found, type) or not issubclass(found, kind):
        raise ConfigError([f"{where}._target_={target}: is no {kind.__module__}.{kind.__name__}"])
    arguments = {name: value for name, value in settings.items() if name != "_target_"}
    try:
        return cast("Kind", found(*given, **arguments))
    except (TypeError, ValueError, MisconfigurationException) as error:
        raise ConfigError([f"{where}: {error}"]) from error
    except Exception as error:
        raise ConfigError([f"{where}: {blamed(error)}"]) from error
