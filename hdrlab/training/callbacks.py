"""What a person watches: panels, and lines where there is no terminal."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from torch import Tensor

from hdrlab.io.atomic import replacing, write_text
from hdrlab.stages.base import Stage
from hdrlab.stages.panel import PanelSample, draw_panel
from hdrlab.training.loggers import log_image, panel_name
from hdrlab.training.run_list import TIME, read_time


class Panels(pl.Callback):
    """Draws the first validation images after every validation, as ``panels/step_….png``.

    Args:
        folder: The run folder.
        num: Images in a panel.
    """

    def __init__(self, folder: Path, num: int) -> None:
        self.folder, self.num = folder, num
        self.samples: list[PanelSample] = []

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: dict[str, Tensor],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep what is to be drawn of a usable sample."""
        assert isinstance(pl_module, Stage)
        if outputs is not None and len(self.samples) < self.num and trainer.is_global_zero:
            self.samples.append(pl_module.panel(batch, outputs))

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the panel and hand it to the loggers that take images."""
        if not self.samples:
            return
        assert isinstance(pl_module, Stage)
        path = self.folder / panel_name(trainer.global_step)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part:
            draw_panel(self.samples, part, f"{pl_module.name}, step {trainer.global_step}")
        self.samples = []
        log_image(trainer.loggers, trainer.global_step, path)


class Clock(pl.Callback):
    """Keeps in ``time.json`` when a run began, and how long all its tries have trained together.

    Args:
        folder: The run folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Go on from the time of earlier tries."""
        self.started, self.before = read_time(self.folder)
        self.started = self.started or datetime.now(UTC).isoformat(timespec="milliseconds")
        self.begun = time.monotonic()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write it as often as the run is saved."""
        self._write(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the whole time."""
        self._write(trainer)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Count a try that was broken off."""
        if hasattr(self, "begun"):
            self._write(trainer)

    def _write(self, trainer: pl.Trainer) -> None:
        if trainer.is_global_zero and not trainer.sanity_checking:
            seconds = round(self.before + time.monotonic() - self.begun, 3)
            write_text(self.folder / TIME, json.dumps({"started": self.started, "seconds": seconds}))


class Lines(pl.Callback):
    """Prints a line now and then, where a live bar would only fill a log file.

    Args:
        every: Steps between lines.
    """

    def __init__(self, every: int) -> None:
        self.every = every
        self.begun = (0.0, 0)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self.begun = (time.monotonic(), trainer.global_step)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Print the losses, the speed and the remaining time."""
        step = trainer.global_step
        if not trainer.is_global_zero or (step % self.every and step != trainer.max_steps):
            return
        seconds = (time.monotonic() - self.begun[0]) / max(1, step - self.begun[1])
        terms = "  ".join(
            f"{name.removeprefix('train/')} {float(value):.4g}"
            for name, value in trainer.callback_metrics.items()
            if name.startswith("train/")
        )
        left = int(seconds * (trainer.max_steps - step))
        clock = f"{seconds:.2f} s/step  {left // 60}:{left % 60:02d} left"
        print(f"step {step}/{trainer.max_steps}  {terms}  {clock}", flush=True)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Print the validation scores."""
        if not trainer.is_global_zero or trainer.sanity_checking:
            return
        scores = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("val/")}
        print("  ".join(f"{name} {value:.4g}" for name, value in scores.items()), flush=True)
