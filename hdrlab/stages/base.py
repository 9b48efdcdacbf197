"""What all stages share: the step, the optimiser, the logging and the checkpoint's header."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from hdrlab.config.schema import StageConfig
from hdrlab.metrics.names import METRICS
from hdrlab.nets.vgg16 import POOLS, VGG16Features, preprocessing_tensors, random_vgg16
from hdrlab.optim import TensorFlowAdam
from hdrlab.stages.panels import PanelSample
from hdrlab.weights import load_vgg16

Batch = Mapping[str, Tensor]
Outputs = dict[str, Tensor]

SCHEMA_VERSION = 1


class Stage(pl.LightningModule):
    """A training stage: nets, a forward pass, and named loss terms that the configuration weighs.

    A stage defines ``forward``, ``losses``, ``metrics`` and ``panel``; training and validation share the step
    made of them. What a batch holds is written in ``hdrlab.config.stages``.

    Args:
        config: The stage's section of the configuration.
        preset: Which published form the nets have.
    """

    name: ClassVar[str]
    COMPARED: ClassVar[tuple[tuple[str, str], ...]]
    """Figures of the stage, each with the one of doing nothing, or of a plain guess, beside it."""

    def __init__(self, config: StageConfig, preset: str) -> None:
        super().__init__()
        self.config, self.preset = config, preset
        self.weights: dict[str, float] = asdict(config.loss)  # type: ignore[attr-defined]
        self.header: dict[str, Any] = {}  # what a checkpoint says of itself, completed by the run
        self._seen: dict[str, list[float]] = {}
        self._parts: list[Tensor] = []

    @abstractmethod
    def forward(self, batch: Batch) -> Outputs:
        """Run the nets on a batch and return what the losses, metrics and panels need."""

    @abstractmethod
    def losses(self, batch: Batch, outputs: Outputs) -> dict[str, Tensor]:
        """Return the named loss terms, scalars before weighting; those of weight 0 may be left out."""

    @abstractmethod
    def metrics(self, batch: Batch, outputs: Outputs) -> dict[str, Tensor]:
        """Return validation figures [B] by their names in ``METRICS``; NaN where one does not apply."""

    @abstractmethod
    def panel(self, batch: Batch, outputs: Outputs) -> PanelSample:
        """Return what a person should see of the first sample of a batch."""

    def open_files(self, vgg16: str | None) -> None:
        """Load what a training needs and a trained stage does not.

        Args:
            vgg16: Weights of a perceptual loss: a file, ``random``, or None where the stage uses none.
        """

    # ------------------------------------------------------------------------------------------ steps

    def weigh(self, terms: Mapping[str, Tensor]) -> Tensor:
        """Sum the loss terms with the configuration's weights.

        Raises:
            KeyError: If a term has no weight, or a weight above 0 no term.
        """
        active = {name for name, weight in self.weights.items() if weight > 0}
        if not active <= set(terms) <= set(self.weights):
            raise KeyError(f"loss terms {sorted(terms)} do not match the weights {self.weights}")
        return torch.stack([self.weights[name] * term for name, term in terms.items()]).sum()

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Return the loss of one optimiser step, or of its part on this rank; log that of the whole."""
        terms = self.losses(batch, self(batch))
        loss = self.weigh(terms)
        self._parts.append(torch.stack([loss.detach(), *(term.detach() for term in terms.values())]))
        if len(self._parts) == self.trainer.accumulate_grad_batches:
            figures = torch.stack(self._parts).mean(0)
            self._parts.clear()
            if self.trainer.world_size > 1:
                figures = self.trainer.strategy.reduce(figures, reduce_op="mean")
            for name, value in zip(("loss", *terms), figures, strict=True):
                self.log(f"train/{name}", value, prog_bar=True, batch_size=len(batch["mask"]))
        return loss

    def validation_step(self, batch: Batch, batch_index: int) -> Outputs | None:
        """Collect losses and figures of a validation batch, masked samples left out."""
        if not bool(batch["mask"].any()):
            return None
        outputs: Outputs = self(batch)
        terms = self.losses(batch, outputs)
        kept = batch["mask"].flatten() > 0
        figures = {"loss": self.weigh(terms), **terms}
        judged = self.metrics(batch, outputs)
        assert not figures.keys() & judged.keys() - {"log_l1"}, "a term and a figure share a name"
        figures |= {name: values[kept] for name, values in judged.items()}
        for name, values in figures.items():
            capped = [min(v, 100.0) if name.startswith("psnr") else v for v in values.flatten().tolist()]
            # A figure that is NaN does not apply; a loss that is NaN is the end of a training.
            applies = (v for v in capped if name not in judged or not math.isnan(v))
            self._seen.setdefault(name, []).extend(applies)
        return outputs

    def on_validation_epoch_end(self) -> None:
        """Log the mean of each figure over the validation pictures; infinite PSNR counts as 100 dB."""
        for name, values in self._seen.items():
            known = name in METRICS or name == "loss" or name in self.weights
            assert known, f"{name} is missing in hdrlab.metrics.names"
            if values:
                self.log(f"val/{name}", sum(values) / len(values), sync_dist=False)
        self._seen.clear()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam over what is trained, with epsilon where the configuration wants it."""
        kind = TensorFlowAdam if self.config.adam_epsilon == "tf" else torch.optim.Adam
        return kind([p for p in self.parameters() if p.requires_grad], lr=self.config.lr, eps=1e-8)

    # ------------------------------------------------------------------------------------- checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the header, plain types only, so that the file can be read safely and stands alone."""
        checkpoint["hdrlab"] = {
            **self.header,
            "schema_version": SCHEMA_VERSION,
            "stage": self.name,
            "preset": self.preset,
            "step": int(self.global_step),
        }


class StageError(ValueError):
    """A training that cannot go on in a useful way."""


class Frozen:
    """Holds a net that is used but neither trained nor stored with the stage, on the stage's device."""

    def __init__(self, net: nn.Module) -> None:
        self.net = net.eval().requires_grad_(False)

    @classmethod
    def vgg16(cls, source: str, layers: Sequence[str] = POOLS, *, raw: bool = False) -> Frozen:
        """Hold the VGG-16 features of a perceptual loss.

        Args:
            source: A file of weights, or ``random``.
            layers: The maps to compare.
            raw: Whether pictures are fed as they are, not as the weights want them.
        """
        weights = random_vgg16() if source == "random" else load_vgg16(source)
        return cls(VGG16Features(weights | preprocessing_tensors("raw") if raw else weights, layers))

    def __deepcopy__(self, memo: object) -> Frozen:
        """Share the net with copies of the stage: nobody changes it."""
        return self

    def on(self, like: Tensor) -> nn.Module:
        """Return the net on a tensor's device and in its precision, if that is a full one."""
        dtype = like.dtype if like.dtype == torch.float64 else torch.float32
        return self.net.to(like.device, dtype)
