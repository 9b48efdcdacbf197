"""What a plug-in registers its parts by: operators, methods, losses, metrics, nets, stages and data sets.

A plug-in is a module of the user's; ``plugins=[MODULE]`` on a command line loads it, ``import`` in Python.
Each function here is a decorator, or registers a part by its place, ``module:name``, which is imported when
it is used: so a plug-in whose nets want torch is checked before torch is imported. Examples: docs/plugins.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, is_dataclass
from typing import Any, Literal, TypeVar

from hdrlab.config.registry import Parameter, Part, guarded, parameter, signature_of
from hdrlab.config.registry.loading import load_plugins
from hdrlab.config.registry.stages import DATA, STAGES, StageRow
from hdrlab.config.registry.tables import (
    ENDS,
    EXPANSIONS,
    LEARNED,
    LOSSES,
    NETS,
    OPERATORS,
    SCORES,
    Expansion,
    NetRow,
    Operator,
    Score,
)
from hdrlab.config.schema import commands
from hdrlab.config.schema.data import (
    PLUGIN_BASES,
    DataConfig,
    RealPairsConfig,
    SynthConfig,
    TonePairsConfig,
)
from hdrlab.config.schema.section import key, own_keys
from hdrlab.config.schema.stage import Init, Loss, StageConfig, weight_key
from hdrlab.errors import PluginError

__all__ = [
    "Init",
    "Loss",
    "RealPairsConfig",
    "StageConfig",
    "SynthConfig",
    "TonePairsConfig",
    "data_set",
    "key",
    "load_plugins",
    "loss",
    "method",
    "metric",
    "net",
    "operator",
    "parameter",
    "stage",
    "weight_key",
]

Thing = TypeVar("Thing")
DataSet = TypeVar("DataSet", bound=DataConfig)
Registered = Callable[[Thing], Thing]


def _registering(add: Callable[[Any], None], target: str | None) -> Registered[Thing]:
    """Register by place at once, or return the decorator."""
    if target is not None:
        add(target)

    def decorate(made: Thing) -> Thing:
        add(made)
        return made

    return decorate


def _guarded(kind: str, name: str, made: Any) -> Any:
    return made if isinstance(made, str) else guarded(kind, name, made)


def _described(made: Any, described: Mapping[str, Parameter], given: int = 1) -> Mapping[str, Parameter]:
    return described if isinstance(made, str) else signature_of(made, described, given)


def operator(
    name: str, summary: str, target: str | None = None, **parameters: Parameter
) -> Registered[Callable[..., Any]]:
    """Register a tone-mapping operator: ``hdrlab tonemap operator=NAME``, and `hdrlab.ToneMapper.load`.

    Its function takes linear pixels [H, W, 3], float32 in [0, 1], to display light of that shape: linear,
    1 = the display's white; hdrlab encodes it. Its keywords are keys of the command, their defaults those of
    the signature; ``exposure`` acts before it where it has a keyword ``key``. With a keyword ``scene``, it is
    called with parts of the image and gets what it must know of the whole, `hdrlab.tonemapping.scene.Scene`.

    Args:
        name: Small letters, digits and _.
        summary: What it is, in a few words.
        target: Its place, ``module:name``, in place of decorating it.
        **parameters: By keyword, what it means and may be, see `parameter`.

    Raises:
        PluginError: The name is taken, or a keyword cannot be a key.
    """

    def add(made: Any) -> None:
        row = Operator(_guarded("operator", name, made), summary, _described(made, parameters))
        OPERATORS.add(name, row, made, taken=(LEARNED,))

    return _registering(add, target)


def method(
    name: str, summary: str, target: str | None = None, *, title: str = "", **parameters: Parameter
) -> Registered[Callable[..., Any]]:
    """Register a way to expand photographs: ``reconstruct method=NAME`` and ``evaluate methods=[NAME]``.

    Its function takes the photograph, linearised as sRGB, float32 [H, W, 3] in [0, 1], to linear pixels of
    that shape, at least 0; 1 = the photograph's clipping point.

    Args:
        name: As for `operator`, and so are ``summary``, ``target`` and ``parameters``.
        summary: See there.
        target: See there.
        title: What tables call it; empty: its name.
        **parameters: See there.
    """

    def add(made: Any) -> None:
        described = _described(made, parameters)
        row = Expansion(_guarded("method", name, made), summary, described, title or name)
        EXPANSIONS.add(name, row, made, taken=ENDS.keys())

    return _registering(add, target)


def loss(
    name: str, summary: str, target: str | None = None, **parameters: Parameter
) -> Registered[Callable[..., Any]]:
    """Register a loss term for every stage: ``train stage=hal stage.loss.NAME=0.1``.

    Its function takes the batch and what the stage's ``forward`` made of it, both by name, to a scalar. Its
    keywords are keys too: ``stage.loss.NAME_KEYWORD``; see `operator`.
    """

    def add(made: Any) -> None:
        row = Part(_guarded("loss", name, made), summary, _described(made, parameters, given=2))
        LOSSES.add(name, row, made, taken=_own_terms())

    return _registering(add, target)


def _own_terms() -> set[str]:
    return {term for row in STAGES.values() for term in own_keys(type(row.schema().loss))}


def metric(
    name: str,
    summary: str,
    target: str | None = None,
    *,
    task: Literal["reconstruct", "tonemap"] = "reconstruct",
    title: str = "",
    unit: str = "",
    higher_is_better: bool = True,
    **parameters: Parameter,
) -> Registered[Callable[..., Any]]:
    """Register a metric of comparisons: ``evaluate metrics=[NAME]``.

    Its function takes a result and its reference, tensors [1, 3, H, W], to a number: for reconstruct linear
    light in cd/m², on one scale; for tonemap the display-encoded result in [0, 1], and the linear HDR image.

    Args:
        name: As for `operator`, and so are ``summary`` and ``target``.
        summary: How it is measured; tables quote it.
        target: See there.
        task: What it judges.
        title: For heads of tables; empty: its name.
        unit: Such as "dB".
        higher_is_better: Whether a larger number is the better one.
        **parameters: By keyword, what it means and may be: keys of the command, as of an `operator`.
    """

    def add(made: Any) -> None:
        taken = {commands.ALL}
        described = _described(made, parameters, given=2)
        function = _guarded("metric", name, made)
        row = Score(function, summary, described, task, title or name, unit, higher_is_better)
        SCORES.add(name, row, made, taken=taken)

    return _registering(add, target)


def net(
    name: str, target: str | None = None, *, preset: str = "default", like: str = "default", **options: Any
) -> Registered[type[Any]]:
    """Register a net: for `hdrlab.build_net`, and by its preset in place of one of a system's in trainings.

    Its class is a `hdrlab.nets.Net` that takes ``width``, a factor on its channels; hallucination
    ``mask_width`` too, linearization ``basis``.

    Args:
        name: Its name; under the name of one of hdrlab's nets it stands in for that, by its preset.
        target: See `operator`.
        preset: The preset it is registered under.
        like: The preset with whose other nets it works together.
        **options: Arguments of its class under this preset.
    """

    def add(made: Any) -> None:
        NETS.add(f"{name}/{preset}", NetRow(made, options, like), made)

    return _registering(add, target)


def stage(
    name: str,
    summary: str,
    schema: type[StageConfig],
    target: str | None = None,
    *,
    starts_from: tuple[tuple[str, ...], ...] = (),
) -> Registered[type[Any]]:
    """Register a training stage: ``train stage=NAME``, and checkpoints of it.

    Its class is a `hdrlab.stages.Stage` with nets, ``forward``, ``losses``, ``metrics`` and ``panel``.

    Args:
        name: As for `operator`, and so are ``summary`` and ``target``.
        summary: See there.
        schema: Its section of the configuration: what may be set, and ``batch_keys``, what it reads of a
            batch (`hdrlab.config.registry.stages`).
        target: See there.
        starts_from: Stages whose published checkpoints it needs; of several choices the first that is there.
    """
    if not is_dataclass(schema) or own_keys(schema)["name"].default != name:
        raise PluginError(f"stage {name}: its schema must be a dataclass with name: str = key(…, {name!r})")

    def add(made: Any) -> None:
        if not isinstance(made, str):
            made.name = name
        STAGES.add(name, StageRow(summary, schema, made, starts_from), made)

    return _registering(add, target)


def data_set(name: str, summary: str) -> Registered[type[DataSet]]:
    """Register a data set: ``data=NAME``.

    Its class is a subclass of `SynthConfig`, HDR images which photographs are synthesised from, of
    `RealPairsConfig`, photographs with their HDR images, or of `TonePairsConfig`, HDR images with their SDR
    images: keys of its own, ``images()``, which names each with its split, and ``read(name)``, which returns
    one, as its base class says. All are read once, into fast files below ``paths.data``.

    Args:
        name: As for `operator`.
        summary: See there.
    """

    def decorate(cls: type[DataSet]) -> type[DataSet]:
        if not issubclass(cls, PLUGIN_BASES):
            kinds = " or ".join(kind.__name__ for kind in PLUGIN_BASES)
            raise PluginError(f"data set {name}: must be a subclass of {kinds} of hdrlab.config.plugins")
        cls.__annotations__ = {**cls.__annotations__, "name": "str"}
        cls.name = key("the data set's name", name)
        cls.summary = summary
        made: type[DataSet] = dataclass(frozen=True, kw_only=True)(cls)
        DATA.add(name, made, made)
        return made

    return decorate
