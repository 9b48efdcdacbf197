"""Images for trainings: ``HDRDataModule("tiny", patch=128, batch_size=4)``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hdrlab.datasets.datamodule import HDRDataModule

__all__ = ["HDRDataModule"]


def __getattr__(name: str) -> Any:  # Lightning comes with it, which those who only read an index do not need
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from hdrlab.datasets.datamodule import HDRDataModule

    return HDRDataModule
