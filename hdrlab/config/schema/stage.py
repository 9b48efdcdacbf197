"""What the sections of all stages have; those of each are in `singlehdr` and `iqatm`.

Their defaults are the papers', as the files in ``conf/stage`` say them too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

from hdrlab.config.registry import Limits
from hdrlab.config.registry.tables import LOSSES
from hdrlab.config.schema.section import Key, Section, key, missing_files, own_keys, parameter_keys
from hdrlab.errors import ConfigError

OWN_CHECKPOINT = "a checkpoint of this stage"


def max_steps_key(default: int) -> Any:
    """Describe ``max_steps``."""
    return key("optimiser steps of the whole training", default, least=1)


def batch_size_key(default: int) -> Any:
    """Describe ``batch_size``."""
    return key("samples per optimiser step, over all devices together", default, least=1)


def patch_key(default: int) -> Any:
    """Describe ``patch``."""
    return key("side of the square training patches in pixels", default, least=32, multiple=32)


def lr_key(default: float) -> Any:
    """Describe ``lr``."""
    return key("Adam's learning rate", default, above=0)


def weight_key(help: str, default: float) -> Any:
    """Describe the weight of a loss term."""
    return key(help, default, least=0)


@dataclass(frozen=True, kw_only=True)
class Init(Section):
    """What a stage starts from, instead of fresh weights or the published ones: checkpoints, by the stage."""


@dataclass(frozen=True, kw_only=True)
class Loss(Section):
    """Weights of a stage's loss terms, and of those of plug-ins."""

    OPEN: ClassVar[str | None] = "more"

    more: dict[str, Any] | None = key(
        "weights of plug-ins' terms, and what is set of these", None, later=True, free=True
    )

    @classmethod
    def further(cls) -> Mapping[str, Key]:
        """List the terms of plug-ins, and their parameters as TERM_PARAMETER."""
        found: dict[str, Key] = {}
        for name in [name for name in LOSSES if name not in own_keys(cls)]:
            found[name] = Key(name, float, True, Limits(least=0), weight_key(LOSSES[name].summary, 0.0))
            parameters = LOSSES[name].parameters.items()
            found |= parameter_keys({f"{name}_{word}": {name: one} for word, one in parameters})
        return found

    @property
    def added(self) -> dict[str, float]:
        """The weights of plug-ins' terms."""
        settings = {f"{name}_{word}" for name, row in LOSSES.items() for word in row.parameters}
        return {name: weight for name, weight in (self.more or {}).items() if name not in settings}

    def settings_of(self, term: str) -> dict[str, Any]:
        """Return what is set of a plug-in's term."""
        given = {word: (self.more or {}).get(f"{term}_{word}") for word in LOSSES[term].parameters}
        return {word: value for word, value in given.items() if value is not None}

    @property
    def weights(self) -> dict[str, float]:
        """All weights, by the terms' names."""
        own = {name: getattr(self, name) for name in own_keys(type(self)) if name != self.OPEN}
        return {**own, **self.added}


@dataclass(frozen=True, kw_only=True)
class PerceptualConfig(Section):
    """The frozen VGG-16 behind a perceptual loss."""

    weights: str = key("auto, random, or a file: VGG-16 as .pth, .npy or .safetensors", "auto", path=True)


@dataclass(frozen=True, kw_only=True)
class StageConfig(Section):
    """What every stage has."""

    batch_keys: ClassVar[tuple[str, ...]] = ()
    """What the stage reads of a batch, see `hdrlab.config.registry.stages`."""
    least_patch: ClassVar[int] = 32
    """The smallest patch that its loss terms can be computed on."""

    name: str = key("the stage's name; chosen with stage=NAME")
    max_steps: int = max_steps_key(500_000)
    batch_size: int = batch_size_key(8)
    patch: int = patch_key(256)
    width: float = key("factor on the nets' channel counts; 1 is the paper's net", 1.0, above=0, most=4)
    lr: float = lr_key(1e-4)
    adam_epsilon: Literal["torch", "tf"] = key(
        "where Adam adds its epsilon: torch, or tf as the reference programs", "torch"
    )
    weight_decay: float = key("decoupled decay of the weights (AdamW)", 0.0, least=0, most=1)
    schedule: Literal["constant", "cosine"] = key(
        "the learning rate's way: constant; or cosine, to zero at max_steps after a short rise", "constant"
    )
    init: Init = Init()
    loss: Loss = Loss()

    @property
    def vgg16(self) -> str | None:
        """The VGG-16 of the perceptual loss: auto, random or a file; None where there is no such loss."""
        section, weight = getattr(self, "perceptual", None), getattr(self.loss, "perceptual", None)
        return section.weights if section is not None and weight else None

    def find_vgg16(self, file: str | None, *, rehearsal: bool) -> str | None:
        """Name the VGG-16 of the perceptual loss: a file, ``random``, or None where there is no such loss.

        Args:
            file: What ``auto`` stands for, where there is such a file.
            rehearsal: Whether random weights may stand for a file that is missing.

        Raises:
            ConfigError: It is ``auto``, and there is no file.
        """
        if self.vgg16 != "auto" or file is not None:
            return file if self.vgg16 == "auto" else self.vgg16
        if rehearsal:
            return "random"
        raise ConfigError(
            "stage.perceptual.weights=auto: no VGG-16 file is configured; set paths.vgg16 (or HDRLAB_VGG16) "
            "to a torchvision .pth, vgg16.npy, vgg16_places365_weights.npy or .safetensors file, or choose "
            "stage.perceptual.weights=random or stage.loss.perceptual=0"
        )

    def input_files(self) -> dict[str, str]:
        """Return the files that a training reads besides data and checkpoints, by their keys."""
        named = {
            "stage.basis": getattr(self, "basis", "builtin"),
            "stage.encoder_weights": getattr(self, "encoder_weights", None),
            "stage.perceptual.weights": self.vgg16,
        }
        return {name: path for name, path in named.items() if path not in (None, "builtin", "random", "auto")}

    def rules(self) -> Iterator[str]:
        """Say which files are not there, and what nothing could be learnt from."""
        weights = self.loss.weights
        if weights and not any(weights.values()):
            yield "stage.loss: every weight is 0, so nothing would be learnt"
        if self.patch < self.least_patch:
            yield (
                f"stage.patch={self.patch}: the terms that compare structure need at least {self.least_patch}"
            )
        yield from missing_files({f"stage.init.{name}": path for name, path in asdict(self.init).items()})
        yield from missing_files(self.input_files())
