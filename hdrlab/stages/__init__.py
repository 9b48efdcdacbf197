"""One LightningModule per training stage: ``HalStage(lr=1e-4)``."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hdrlab.config.registry import resolve
from hdrlab.config.registry.stages import STAGES

if TYPE_CHECKING:
    from hdrlab.stages.base import Stage
    from hdrlab.stages.deq import DeqStage
    from hdrlab.stages.hal import HalStage
    from hdrlab.stages.joint import JointStage
    from hdrlab.stages.lin import LinStage
    from hdrlab.stages.real_finetune import RealFinetuneStage
    from hdrlab.stages.tmo_bottom import TmoBottomStage
    from hdrlab.stages.tmo_ft import TmoFtStage
    from hdrlab.stages.tmo_high import TmoHighStage

__all__ = [
    "DeqStage",
    "HalStage",
    "JointStage",
    "LinStage",
    "RealFinetuneStage",
    "Stage",
    "TmoBottomStage",
    "TmoFtStage",
    "TmoHighStage",
    "stage_class",
]


def stage_class(name: str) -> type[Stage]:
    """Return the LightningModule of a stage by its name."""
    found: type[Stage] = resolve(STAGES[name].target)
    found.name = name
    return found


def __getattr__(name: str) -> Any:
    """Import a stage when it is asked for: each brings its own nets and losses."""
    if name == "Stage":
        return import_module("hdrlab.stages.base").Stage
    for stage, row in STAGES.own.items():
        if row.target.endswith(f":{name}"):
            return stage_class(stage)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
