"""The DataModule: which sample each step sees."""

from __future__ import annotations

from pathlib import Path

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from hdrlab.datasets import HDRDataModule


class Numbers(Dataset[dict[str, Tensor]]):
    """Sample k says k."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    @property
    def epoch(self) -> int:
        return 12

    def __getitem__(self, counter: int) -> dict[str, Tensor]:
        return {"number": torch.tensor([float(counter)])}


class Fed(HDRDataModule):
    training, validation = Numbers(1000), Numbers(3)  # type: ignore[assignment]

    def prepare_data(self) -> None:
        """Nothing is read."""

    def setup(self, stage: str) -> None:
        """Nothing is made."""


class Notes(pl.LightningModule):
    """Notes what it is fed."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(1, 1)
        self.seen: list[list[float]] = []
        self.validated: list[list[float]] = []

    def training_step(self, batch: dict[str, Tensor], number: int) -> Tensor:
        self.seen.append(batch["number"].flatten().tolist())
        loss: Tensor = self.net(batch["number"]).mean()
        return loss

    def validation_step(self, batch: dict[str, Tensor], number: int) -> None:
        self.validated.append(batch["number"].flatten().tolist())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 1e-3)


def fit(
    folder: Path, steps: int, *, workers: int = 0, resume: Path | None = None
) -> tuple[Notes, pl.Trainer]:
    trainer = pl.Trainer(
        accelerator="cpu",
        max_steps=steps,
        val_check_interval=2,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    notes = Notes()
    data = Fed(stage="deq", batch_size=4, workers=workers)
    trainer.fit(notes, data, ckpt_path=resume, weights_only=True)
    return notes, trainer


def batches(first: int, last: int) -> list[list[float]]:
    return [[float(4 * step + i) for i in range(4)] for step in range(first, last)]


def test_each_step_draws_the_next_counters(tmp_path: Path) -> None:
    notes, trainer = fit(tmp_path, 6)
    assert notes.seen == batches(0, 6)
    assert notes.validated == [[0.0], [1.0], [2.0]] * 3
    assert trainer.global_step == 6


def test_resumed_run_goes_on_with_the_sample_that_was_next(tmp_path: Path) -> None:
    _, trainer = fit(tmp_path, 4)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    notes, resumed = fit(tmp_path, 9, resume=tmp_path / "last.ckpt")
    assert notes.seen == batches(4, 9)
    assert resumed.global_step == 9


def test_workers_feed_in_the_same_order(tmp_path: Path) -> None:
    notes, _ = fit(tmp_path, 4, workers=2)
    assert notes.seen == batches(0, 4)
