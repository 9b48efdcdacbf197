"""How a run is carried out, watched and repeated; the files in ``conf`` say the same defaults."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal

from hdrlab.config.schema.section import Section, key, keys_of, nearest

Accelerator = Literal["auto", "cpu", "gpu", "mps"]
Precision = Literal["64", "32", "bf16", "16"]


OURS = {
    "callbacks": "add one by callbacks.NAME._target_=package.module.Class",
    "logger": "choose logger=NAME, or add one by logger.NAME._target_=package.module.Class",
    "plugins": "hdrlab brings its own for checkpoints and precision",
    "default_root_dir": "set hydra.run.dir",
    "enable_checkpointing": "set trainer.save_every, or add callbacks.NAME._target_=package.module.Class",
    "enable_progress_bar": "set callbacks.progress",
    "use_distributed_sampler": "hdrlab deals the samples itself",
    "fast_dev_run": "choose trainer=smoke",
}
"""Arguments of ``pl.Trainer`` that are set another way, and how."""


@cache
def trainer_arguments() -> tuple[str, ...]:
    """Name the arguments of ``pl.Trainer``, read off its source: importing it takes seconds."""
    found = importlib.util.find_spec("pytorch_lightning")
    assert found is not None
    assert found.origin is not None
    tree = ast.parse((Path(found.origin).parent / "trainer" / "trainer.py").read_text(encoding="utf-8"))
    (trainer,) = (one for one in tree.body if isinstance(one, ast.ClassDef) and one.name == "Trainer")
    (init,) = (one for one in trainer.body if isinstance(one, ast.FunctionDef) and one.name == "__init__")
    return tuple(one.arg for one in init.args.kwonlyargs)


def object_problems(where: str, settings: Any) -> Iterator[str]:
    """Say why settings name no class to make an object of; nothing is imported.

    Args:
        where: Their dotted key.
        settings: ``_target_`` and the class's arguments.
    """
    target = settings.get("_target_") if isinstance(settings, dict) else None
    if target is None:
        yield f"{where}: has no class; set {where}._target_=package.module.Class"
    elif not isinstance(target, str) or not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)+", target):
        yield f"{where}._target_={target}: must be package.module.Class"
    elif importlib.util.find_spec(target.partition(".")[0]) is None:
        package = target.partition(".")[0]
        yield f"{where}._target_={target}: no package {package} is installed or lies in this folder"


@dataclass(frozen=True, kw_only=True)
class Extensible(Section):
    """A section to which objects of the user's own can be added: ``NAME._target_=package.module.Class``."""

    OPEN: ClassVar[str | None] = "objects"

    objects: dict[str, Any] | None = key(
        "further ones by names of your own, each with _target_=package.module.Class and its arguments",
        None,
        later=True,
        free=True,
    )

    @classmethod
    def refusal(cls, name: str, *, is_section: bool) -> str | None:
        """Admit whatever has keys of its own."""
        return None if is_section else ""


@dataclass(frozen=True, kw_only=True)
class TrainerConfig(Section):
    """How a run is carried out; none of it changes what a step computes, but for precision."""

    OPEN: ClassVar[str | None] = "arguments"

    name: str = key("fit, or smoke for two steps", "fit")
    max_steps: int | None = key("steps of this run; null: stage.max_steps", None, least=1)
    accelerator: Accelerator = key("where to compute", "auto")
    devices: int = key("devices on this machine", 1, least=1)
    num_nodes: int = key("machines; start one process a device with torchrun or srun then", 1, least=1)
    timeout: int = key(
        "seconds after which a process that is not heard of ends a run of several", 600, least=1
    )
    precision: Precision = key(
        "arithmetic of the nets, losses stay in 32 bits; bf16 is slow on CPUs without AVX512-BF16 or AMX",
        "32",
    )
    accumulate_grad_batches: int = key(
        "parts a step is computed in, one after the other, to save memory", 1, least=1, later=True
    )
    gradient_clip_val: float = key(
        "largest norm of a step's gradient; 0 clips nothing", 0.0, least=0, later=True
    )
    bad_steps: int = key("steps with NaN or infinity that are left out before a run stops", 10, least=0)
    ema: float | None = key(
        "decay of the weights' moving average, which is then validated and published; null: none",
        None,
        above=0,
        most=0.999999,
        later=True,
    )
    compile: bool = key("compile the nets: a minute or more at first, faster steps then", False, later=True)
    sync_batchnorm: bool = key("batch norms over the samples of all GPUs, not of each", False, later=True)
    bad_samples: int = key("samples that cannot be made and are replaced before a run stops", 0, least=0)
    val_every: int | None = key("steps between validations; null: a tenth of the run", None, least=1)
    save_every: int | None = key("steps between checkpoints; null: at validations only", None, least=1)
    log_every_n_steps: int = key("steps between logged training losses", 10, least=1)
    val_images: int | None = key("images of a validation; null: data.val_images", None, least=1)
    arguments: dict[str, Any] | None = key(
        "further arguments of pl.Trainer, each by its own name: trainer.limit_val_batches=4",
        None,
        later=True,
        free=True,
    )

    @classmethod
    def refusal(cls, name: str, *, is_section: bool) -> str | None:
        """Admit the arguments of ``pl.Trainer``, but those that hdrlab sets itself."""
        if name in OURS:
            return f"cannot be set; {OURS[name]}"
        if name in trainer_arguments():
            return None
        close = "" if nearest(name, keys_of(cls)) else nearest(name, trainer_arguments())
        return close and f"no such key{close}"

    def rules(self) -> Iterator[str]:
        """Say which further arguments are none."""
        for name in self.arguments or ():
            if (refusal := self.refusal(name, is_section=False)) is not None:
                yield f"trainer.{name}: {refusal or 'no argument of pl.Trainer'}"


@dataclass(frozen=True, kw_only=True)
class LoggerConfig(Extensible):
    """Where the numbers go."""

    name: str = key("the logger's name; chosen with logger=NAME", "csv")

    def rules(self) -> Iterator[str]:
        """Say which further loggers cannot be made."""
        for name, settings in (self.objects or {}).items():
            yield from object_problems(f"logger.{name}", settings)


@dataclass(frozen=True, kw_only=True)
class WandbConfig(LoggerConfig):
    """Weights & Biases; the key comes from the environment only."""

    name: Literal["wandb"] = key("the logger's name", "wandb")
    project: str = key("project name", "hdrlab")
    entity: str | None = key("user or team", None)
    group: str | None = key("group; null: the stage's name", None)
    online: bool = key("send while training; false keeps an offline run", False)
    artifacts: bool = key("keep the checkpoints in it too, as an artifact", False)


@dataclass(frozen=True, kw_only=True)
class CallbacksConfig(Extensible):
    """What a person watches, and what else accompanies a training."""

    progress: Literal["auto", "bar", "lines", "none"] = key(
        "auto: a live bar in a terminal, else lines", "auto"
    )
    panels: int = key("validation images drawn in each panel; 0 draws none", 4, least=0, most=16)

    def rules(self) -> Iterator[str]:
        """Say which further callbacks cannot be made."""
        for name, settings in (self.objects or {}).items():
            yield from object_problems(f"callbacks.{name}", settings)


@dataclass(frozen=True, kw_only=True)
class ExperimentConfig(Section):
    """A named study, pinned to its stage."""

    name: str = key("the study's name")
    stage: str = key("the stage it was made for")
    publish: bool = key("whether the result is published as the stage's; an ablation's is not", True)
