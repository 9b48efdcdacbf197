"""What arithmetic a training uses, and where: half precision is for the nets alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from pytorch_lightning.plugins.precision import DoublePrecision, MixedPrecision, Precision
from torch import nn

from hdrlab.config.schema.trainer import TrainerConfig
from hdrlab.config.validate import HALF_NEEDS_GPU, SYNC_NEEDS_GPU
from hdrlab.errors import ResourceError
from hdrlab.nets import Net


class HalfPrecisionNets(MixedPrecision):
    """Lets the nets compute in half precision, and everything around them in float32.

    Lightning would put the whole step under autocast. Response curves, scales, logarithms and differences of
    images have more digits than half precision, so that here each net switches it on for itself (see
    ``Net.autocast``) and nobody else has to switch it off.

    Args:
        precision: ``bf16-mixed``; or ``16-mixed``, whose gradients are scaled so that small ones survive.
        device: Where the gradients are: ``cuda``, ``mps`` or ``cpu``.
    """

    def __init__(self, precision: Literal["bf16-mixed", "16-mixed"], device: str) -> None:
        super().__init__(precision, device)
        self.dtype = torch.bfloat16 if precision == "bf16-mixed" else torch.float16

    def convert_module(self, module: nn.Module) -> nn.Module:
        """Tell the nets."""
        for net in module.modules():
            if isinstance(net, Net):
                net.autocast = self.dtype
        return module

    @contextmanager
    def forward_context(self) -> Iterator[None]:
        """Leave the step as it is."""
        yield


def precision_plugin(config: TrainerConfig) -> Precision:
    """Make Lightning's plugin for ``trainer.precision``."""
    match config.precision:
        case "64":
            return DoublePrecision()
        case "32":
            return Precision()
        case "bf16":
            return HalfPrecisionNets("bf16-mixed", device_type(config.accelerator))
        case _:
            return HalfPrecisionNets("16-mixed", device_type(config.accelerator))


def device_type(accelerator: str) -> str:
    """Return what ``trainer.accelerator`` means on this machine: ``cuda``, ``mps`` or ``cpu``."""
    if accelerator == "auto":
        found = "mps" if torch.backends.mps.is_available() else "cpu"
        return "cuda" if torch.cuda.is_available() else found
    return "cuda" if accelerator == "gpu" else accelerator


def require_device(config: TrainerConfig) -> None:
    """Refuse a device that this machine does not have, and float16 or shared batch norms without a GPU.

    Raises:
        ResourceError: Naming the keys to change.
    """
    device = device_type(config.accelerator)
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(device, True):
        raise ResourceError(
            f"trainer.accelerator={config.accelerator}: torch {torch.__version__} finds none on this machine"
            "; leave it at auto"
        )
    if config.precision == "16" and device == "cpu":
        raise ResourceError(HALF_NEEDS_GPU)
    if config.sync_batchnorm and device == "cpu":
        raise ResourceError(SYNC_NEEDS_GPU)
