"""What all stages share: the step, the optimiser, the logging and the checkpoint's header."""

from __future__ import annotations

import math
import os
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import rank_zero_warn
from pytorch_lightning.utilities.types import LRSchedulerConfigType, OptimizerLRScheduler
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from hdrlab.config.registry.stages import STAGES
from hdrlab.config.registry.tables import LOSSES, NETS
from hdrlab.config.schema.section import build
from hdrlab.config.schema.stage import StageConfig
from hdrlab.errors import ConfigError
from hdrlab.metrics.names import METRICS
from hdrlab.nets import Net
from hdrlab.nets.vgg16 import POOLS
from hdrlab.stages.frozen import Frozen
from hdrlab.stages.optimizers import CosineWay, TensorFlowAdam
from hdrlab.stages.panel import PanelSample
from hdrlab.weights.net_file import describe_net

Batch = Mapping[str, Tensor]
Outputs = dict[str, Tensor]

SCHEMA_VERSION = 2


class Stage(pl.LightningModule):
    """A training stage: nets, a forward pass, and named loss terms that the configuration weighs.

    A stage defines ``forward``, ``losses``, ``metrics`` and ``panel``; training and validation share the step
    made of them. What a batch holds is written in ``hdrlab.config.registry.stages``.

    Args:
        config: The stage's section of the configuration; None: made of the keywords.
        preset: Which published form the nets have.
        **keys: Keys of the section, for example ``lr=1e-4`` or ``loss={"perceptual": 0}``; the others have
            their defaults, the paper's.

    Raises:
        ConfigError: The section has no such key, or a value does not fit.
    """

    name: ClassVar[str]
    COMPARED: ClassVar[tuple[tuple[str, str], ...]]
    """Metrics of the stage, each with the one of doing nothing, or of a plain guess, beside it."""
    METRICS: ClassVar[Mapping[str, str]] = {}
    """Metrics of a plug-in's stage that ``hdrlab.metrics.names`` does not list, with their meanings."""
    VGG16_LAYERS: ClassVar[Sequence[str]] = POOLS
    """What a perceptual loss compares."""

    def __init__(self, config: StageConfig | None = None, preset: str = "default", **keys: Any) -> None:
        super().__init__()
        if (stored := keys.get("name", self.name)) != self.name:
            raise ConfigError([f"a checkpoint of stage {stored}, which {type(self).__name__} cannot load"])
        given = {one.name: getattr(config, one.name) for one in fields(config)} if config else {}
        problems: list[str] = []
        self.config, self.preset = build(STAGES[self.name].schema, {**given, **keys}, problems), preset
        if problems:
            raise ConfigError(problems)
        self.weights: dict[str, float] = self.config.loss.weights
        self.save_hyperparameters({**_stored(self.config), "preset": preset}, logger=False)
        self.header: dict[str, Any] = {}  # what else a checkpoint says of itself, filled by the run
        # Of the run, and stored nowhere: no class is to be imported because a checkpoint names it.
        self.scheduler: Callable[[torch.optim.Optimizer], LRSchedulerConfigType] | None = None
        self.vgg16: Frozen | None = None
        self._seen: dict[str, list[float]] = {}
        self._parts: list[Tensor] = []

    @property
    def batch_keys(self) -> tuple[str, ...]:
        """What the stage reads of a batch."""
        return self.config.batch_keys

    @abstractmethod
    def forward(self, batch: Batch) -> Outputs:
        """Run the nets on a batch and return what the losses, metrics and panels need."""

    def __call__(self, *given: Any, **more: Any) -> Any:
        """Answer to an image in place of a batch."""
        if given and not isinstance(given[0], Mapping):
            keys = ", ".join(STAGES[self.name].batch_keys)
            problem = f"a batch is a dict of tensors ({keys}), not a {type(given[0]).__name__}"
            raise ConfigError([f"{problem}; for images alone take hdrlab.Reconstructor or ToneMapper"])
        return super().__call__(*given, **more)

    @abstractmethod
    def losses(self, batch: Batch, outputs: Outputs) -> dict[str, Tensor]:
        """Return the named loss terms, scalars of any unit, unweighted; those of weight 0 may be left out."""

    @abstractmethod
    def metrics(self, batch: Batch, outputs: Outputs) -> dict[str, Tensor]:
        """Return metrics [B] by their names in ``METRICS``; NaN where one does not apply."""

    @abstractmethod
    def panel(self, batch: Batch, outputs: Outputs) -> PanelSample:
        """Return what a person should see of the first sample of a batch."""

    def setup(self, stage: str) -> None:
        """Check what a training needs, and open the VGG-16 of a perceptual loss; the trainer calls this.

        ``auto`` stands for the file that the environment variable HDRLAB_VGG16 names; where it names none,
        for random weights on data=tiny.

        Raises:
            ConfigError: A file is not there, or values do not fit together.
        """
        if stage not in ("fit", "validate"):
            return
        if problems := [*self.config.rules()]:
            raise ConfigError(problems)
        if self.config.vgg16 is None or self.vgg16 is not None:
            return
        file = os.environ.get("HDRLAB_VGG16")
        source = self.config.find_vgg16(file, rehearsal=file is None and self._is_rehearsal())
        if source == "random" != self.config.vgg16:
            rank_zero_warn("perceptual loss on random VGG-16 weights: set HDRLAB_VGG16 to a file of them")
        raw = getattr(getattr(self.config, "perceptual", None), "input", None) == "raw"
        self.vgg16 = Frozen.vgg16(str(source), self.VGG16_LAYERS, raw=raw)

    def _is_rehearsal(self) -> bool:
        if self.config.vgg16 != "auto":
            return False
        data = getattr(self.trainer, "datamodule", None)
        return bool(getattr(self.trainer, "fast_dev_run", False)) or getattr(data, "name", None) == "tiny"

    # ------------------------------------------------------------------------------------------ steps

    def terms(self, batch: Batch, outputs: Outputs) -> dict[str, Tensor]:
        """Return the stage's own loss terms, scalars of any unit, and those of plug-ins that have a weight.

        Raises:
            PluginError: A term of a plug-in raises.
        """
        loss = self.config.loss
        more = [name for name, weight in loss.added.items() if weight]
        added = {name: LOSSES[name].apply(batch, outputs, **loss.settings_of(name)) for name in more}
        return {**self.losses(batch, outputs), **added}

    def weigh(self, terms: Mapping[str, Tensor]) -> Tensor:
        """Sum the scalar loss terms with the configuration's weights.

        Raises:
            KeyError: If a term has no weight, or a weight above 0 no term.
        """
        active = {name for name, weight in self.weights.items() if weight > 0}
        if not active <= set(terms) <= set(self.weights):
            raise KeyError(f"loss terms {sorted(terms)} do not match the weights {self.weights}")
        return torch.stack([self.weights[name] * term for name, term in terms.items()]).sum()

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Return a step's loss, a scalar of any unit, or that of its part on this rank; log the whole."""
        terms = self.terms(batch, self(batch))
        loss = self.weigh(terms)
        self._parts.append(torch.stack([loss.detach(), *(term.detach() for term in terms.values())]))
        if len(self._parts) == self.trainer.accumulate_grad_batches:
            means = torch.stack(self._parts).mean(0)
            self._parts.clear()
            if self.trainer.world_size > 1:
                means = self.trainer.strategy.reduce(means, reduce_op="mean")
            for name, value in zip(("loss", *terms), means, strict=True):
                self.log(f"train/{name}", value, prog_bar=True, batch_size=len(batch["mask"]))
        return loss

    def validation_step(self, batch: Batch, batch_index: int) -> Outputs | None:
        """Collect losses and metrics of a validation batch, masked samples left out."""
        return self._score(batch, losses=True)

    def test_step(self, batch: Batch, batch_index: int) -> Outputs | None:
        """Collect the metrics of a test batch, masked samples left out; the losses are training's."""
        return self._score(batch, losses=False)

    def predict_step(self, batch: Batch, batch_index: int) -> Outputs:
        """Return what ``forward`` makes of a batch."""
        outputs: Outputs = self(batch)
        return outputs

    def _score(self, batch: Batch, *, losses: bool) -> Outputs | None:
        if not bool(batch["mask"].any()):
            return None
        outputs: Outputs = self(batch)
        kept = batch["mask"].flatten() > 0
        terms = self.terms(batch, outputs) if losses else {}
        scores = {"loss": self.weigh(terms), **terms} if losses else {}
        judged = self.metrics(batch, outputs)
        assert not scores.keys() & judged.keys() - {"log_l1"}, "a term and a metric share a name"
        scores |= {name: values[kept] for name, values in judged.items()}
        for name, values in scores.items():
            capped = [min(v, 100.0) if name.startswith("psnr") else v for v in values.flatten().tolist()]
            # A metric that is NaN does not apply; a loss that is NaN is the end of a training.
            applies = (v for v in capped if name not in judged or not math.isnan(v))
            self._seen.setdefault(name, []).extend(applies)
        return outputs

    def on_validation_epoch_end(self) -> None:
        """Log the mean of each score over the validation images; infinite PSNR counts as 100 dB."""
        self._log_scores("val")

    def on_test_epoch_end(self) -> None:
        """Log the mean of each metric over the test images, likewise."""
        self._log_scores("test")

    def _log_scores(self, split: str) -> None:
        if not self._seen:
            rank_zero_warn(
                f"no {split} image was scored: all are mostly black or white (mask 0), so there are no "
                "scores; use larger or other images"
            )
        for name, values in self._seen.items():
            known = name in METRICS or name == "loss" or name in self.weights or name in self.METRICS
            assert known, f"{name} is missing in hdrlab.metrics.names, or in METRICS of a plug-in's stage"
            if values:
                self.log(f"{split}/{name}", sum(values) / len(values), sync_dist=False)
        self._seen.clear()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam over what is trained, with epsilon where the configuration wants it, on its schedule."""
        config, params = self.config, [p for p in self.parameters() if p.requires_grad]
        optimizer: torch.optim.Optimizer
        if config.weight_decay:
            optimizer = torch.optim.AdamW(params, lr=config.lr, eps=1e-8, weight_decay=config.weight_decay)
        else:
            kind = TensorFlowAdam if config.adam_epsilon == "tf" else torch.optim.Adam
            optimizer = kind(params, lr=config.lr, eps=1e-8)
        if self.scheduler is not None:
            return {"optimizer": optimizer, "lr_scheduler": self.scheduler(optimizer)}
        if config.schedule == "constant":
            return optimizer
        way = LambdaLR(optimizer, CosineWay(config.max_steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": way, "interval": "step"}}

    # ------------------------------------------------------------------------------------- checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the header, plain types only, so that the file can be read safely and stands alone."""
        checkpoint["hdrlab"] = {
            **self.header,
            "schema_version": SCHEMA_VERSION,
            "stage": self.name,
            "preset": self.preset,
            "step": int(self.global_step),
            "nets": {name: describe_net(net) for name, net in self.named_children() if isinstance(net, Net)},
            **({"plugins": plugins} if (plugins := self._plugins()) else {}),
        }

    def _plugins(self) -> list[str]:
        """Name the plug-ins that the stage, its nets and its loss terms are of."""
        nets = [f"{net.name}/{net.preset}" for net in self.children() if isinstance(net, Net)]
        used = [(STAGES, [self.name]), (NETS, nets), (LOSSES, [*self.config.loss.added])]
        origins = (table.origin(name) for table, names in used for name in names)  # type: ignore[attr-defined]
        return list(dict.fromkeys(one.plugin for one in origins if one))

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up what the file says of itself, if it is one of ours, beside the weights."""
        header = checkpoint.get("hdrlab", {})
        for name, net in self.named_children():
            if hasattr(net, "basis_name") and (stored := header.get("nets", {}).get(name)):
                net.basis_name = stored["basis"]
        if not self.header:
            own = ("schema_version", "stage", "preset", "step", "nets", "plugins")
            self.header = {name: value for name, value in header.items() if name not in own}


def _stored(config: StageConfig) -> dict[str, Any]:
    """Return what a checkpoint keeps of a section, in plain types; some is among the weights by then."""
    values = {name: value for name, value in asdict(config).items() if name != "init"}
    absorbed = {"basis": "builtin", "encoder_weights": None}
    return values | {name: value for name, value in absorbed.items() if name in values}
