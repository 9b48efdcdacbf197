"""Training with compiled nets."""

from __future__ import annotations

import pytorch_lightning as pl
import torch

from hdrlab.nets import Net


class Compiled(pl.Callback):
    """Compiles the nets for training, in place: names of weights and checkpoints stay as they are.

    Validation runs them as they were written: its images come in many sizes, and to compile for each would
    take longer than it saves.
    """

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Mark the nets; each is compiled when it is first run."""
        for net in pl_module.modules():
            if isinstance(net, Net):
                net.compile()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave what is compiled aside."""
        torch.compiler.set_stance("force_eager")

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take it up again."""
        torch.compiler.set_stance("default")

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Also where a validation is broken off: others in this process may compile."""
        torch.compiler.set_stance("default")
