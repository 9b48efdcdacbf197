"""The one DataModule: training samples by counter, fixed samples to validate and test on."""

from __future__ import annotations

import math
from functools import cached_property
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler, Sampler

from hdrlab.config.registry.stages import DATA, STAGES
from hdrlab.config.schema.data import DataConfig
from hdrlab.config.schema.iqatm import ToneConfig
from hdrlab.datasets.build import open_curves, open_data, training_set, validation_set
from hdrlab.datasets.checked import CheckedSamples, describe
from hdrlab.datasets.index import Index
from hdrlab.datasets.loading import loader_settings
from hdrlab.datasets.progress import reading
from hdrlab.datasets.sampler import CounterSampler
from hdrlab.datasets.sections import data_section, named_row
from hdrlab.errors import ConfigError


class HDRDataModule(pl.LightningDataModule):
    """Images for a stage: training samples by counter, and fixed sets to validate, test and predict on.

    The order of samples follows from the step alone, so a resumed run goes on with the sample that was next,
    whatever the number of devices. Where the trainer counts steps alone, ``max_steps``, the run is one epoch;
    else an epoch is every image's patch, or window, once.

    Args:
        data: The name of a data set, or its section of the configuration.
        stage: What reads the batches: a stage, its section or its name; None: the module that the trainer
            fits. It declares ``batch_keys``.
        patch: Side of the training samples in pixels; None: what the stage's section says.
        batch_size: Samples of an optimiser step, over all devices and the parts of
            ``accumulate_grad_batches`` together; None: what the stage's section says.
        seed: Of order, augmentation and camera.
        cache: Folder for what is made on first use.
        index: The images, where they are open already.
        preset: That of the nets; None: the stage's.
        bad_samples: Training samples that others may stand for where they cannot be made.
        listed: File these are written to.
        **keys: Keys of the data set's section, for example ``root="…"`` or ``val_images=4``.

    Raises:
        ConfigError: There is no such data set, stage or key, or a value does not fit.
    """

    def __init__(
        self,
        data: str | DataConfig = "tiny",
        *,
        stage: Any = None,
        patch: int | None = None,
        batch_size: int | None = None,
        seed: int = 0,
        cache: str | Path = "data/cache",
        index: Index | None = None,
        preset: str | None = None,
        bad_samples: int = 0,
        listed: Path | None = None,
        **keys: Any,
    ) -> None:
        super().__init__()
        self.config = data_section(data, keys)
        self._stage = named_row("stage", stage, STAGES).schema() if isinstance(stage, str) else stage
        self._given = {"patch": patch, "batch_size": batch_size}
        self.seed, self.cache, self._preset = seed, Path(cache), preset
        self.bad_samples, self.listed = bad_samples, listed
        self._index = index
        self.name = self.config.name  # which Lightning's class has too

    @property
    def stage(self) -> Any:
        """What reads the batches.

        Raises:
            ConfigError: Nobody does, or it declares no batch keys.
        """
        stage = self._stage or (self.trainer and self.trainer.lightning_module)
        if stage is None or not getattr(stage, "batch_keys", None):
            raise ConfigError(
                "HDRDataModule: nothing says what a batch must hold; name a stage, "
                f"HDRDataModule(…, stage={' | '.join(STAGES)}), or give the module batch_keys = (…)"
            )
        return stage

    @property
    def _wants(self) -> Any:
        """The section of the stage, which says what it wants where nobody else does."""
        return getattr(self.stage, "config", self.stage)

    @property
    def patch(self) -> int:
        """Side of the training samples in pixels."""
        return self._chosen("patch")

    @property
    def batch_size(self) -> int:
        """Samples of an optimiser step, over all devices and parts together."""
        return self._chosen("batch_size")

    def _chosen(self, name: str) -> int:
        value = self._given[name] or getattr(self._wants, name, None)
        if value is None:
            raise ConfigError(f"HDRDataModule: {name} is not set; HDRDataModule(…, {name}=…)")
        return int(value)

    def prepare_data(self) -> None:
        """Read all images, and make the fast files that are not there yet; in one process of a machine."""
        assert self.index is not None

    @cached_property
    def index(self) -> Index:
        """The images.

        Raises:
            DataError: With every problem found.
        """
        if self._index is not None:
            return self._index
        with reading(f"data={self.name}") as progress:
            return open_data(self.config, self.cache, self.stage.batch_keys, progress)

    def setup(self, stage: str) -> None:
        """Make the samples that a trainer's call needs, so that it fails before it starts.

        Raises:
            DataError: Images are smaller than a patch, or none can be used.
            ConfigError: The batch cannot be shared among the devices.
        """
        if missing := set(self.stage.batch_keys) - set(self.config.batch_keys):
            able = " or ".join(
                n for n, row in DATA.items() if set(self.stage.batch_keys) <= set(row.batch_keys)
            )
            raise ConfigError(f"data={self.name} has no {', '.join(sorted(missing))}; use {able}")
        least = getattr(self._wants, "least_patch", 32)
        if stage == "fit" and (self.patch < least or self.patch % 32):
            raise ConfigError(f"patch={self.patch}: must be a multiple of 32 and at least {least}")
        sets = {"fit": ("training", "validation"), "validate": ("validation",)}.get(stage, ("test",))
        for name in sets:
            getattr(self, name)  # makes it
        if stage == "fit":
            self._require_shares()

    def _require_shares(self) -> None:
        if self.trainer is None:
            return
        shares = self.trainer.world_size * self.trainer.accumulate_grad_batches
        if self.batch_size % shares:
            parts = self.trainer.accumulate_grad_batches
            raise ConfigError(
                f"batch_size={self.batch_size}: holds the samples of all devices and parts of a step, so it "
                f"must be a multiple of {self.trainer.world_size} devices × accumulate_grad_batches={parts}"
            )

    @cached_property
    def training(self) -> CheckedSamples:
        """Training samples by global counter."""
        samples = training_set(
            self.config,
            self.index,
            open_curves(self.config),
            keys=self.stage.batch_keys,
            patch=self.patch,
            batch_size=self.batch_size,
            seed=self.seed,
            tone=self._tone,
            official=(self._preset or getattr(self.stage, "preset", "default")) == "official",
        )
        return CheckedSamples(samples, self.bad_samples, self.listed)

    @cached_property
    def validation(self) -> CheckedSamples:
        """The fixed validation samples."""
        return CheckedSamples(self._fixed("val", self.config.val_images))

    @cached_property
    def test(self) -> CheckedSamples:
        """All samples of the test split."""
        return CheckedSamples(self._fixed("test", None))

    def _fixed(self, split: str, num: int | None) -> Dataset[dict[str, Tensor]]:
        curves, keys = open_curves(self.config), self.stage.batch_keys
        return validation_set(self.config, self.index, curves, split, keys, num, self._tone)

    @property
    def _tone(self) -> ToneConfig | None:
        tone: ToneConfig | None = getattr(self._wants, "tone", None)
        return tone

    def describe(self, counter: int) -> str:
        """Say what a training sample is made of, for messages."""
        return describe(self.training.samples, counter)

    def train_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Load from the step the trainer stands at to the end of the run, or of each epoch."""
        trainer = self.trainer
        if trainer is None:
            sampler = CounterSampler(self.batch_size, self._epoch)
        else:
            whole = trainer.max_epochs == -1 and trainer.max_steps > 0
            sampler = CounterSampler(
                self.batch_size,
                trainer.max_steps if whole else self._epoch,
                start=trainer.global_step if whole else lambda: trainer.global_step,
                rank=trainer.global_rank,
                ranks=trainer.world_size,
                parts=trainer.accumulate_grad_batches,
            )
        return DataLoader(self.training, batch_size=sampler.share, sampler=sampler, **self._loader)

    @property
    def _loader(self) -> dict[str, Any]:
        on_gpu = self.trainer is not None and self.trainer.accelerator.name() == "cuda"
        return loader_settings(self.config.workers, pin_memory=on_gpu)

    @property
    def _epoch(self) -> int:
        """Steps of an epoch."""
        return math.ceil(self.training.epoch / self.batch_size)

    def val_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Load the validation set one by one: an image at a time is what every memory can hold."""
        return self._one_by_one(self.validation)

    def test_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Load the test split, likewise."""
        return self._one_by_one(self.test)

    def predict_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Load the test split, likewise."""
        return self._one_by_one(self.test)

    def _one_by_one(self, samples: CheckedSamples) -> DataLoader[dict[str, Tensor]]:
        # Lightning would deal another sampler's samples among the devices; here each sees all.
        every: Sampler[int] = DistributedSampler(samples, num_replicas=1, rank=0, shuffle=False)
        return DataLoader(samples, batch_size=1, sampler=every, **self._loader)
