"""The default logger: every number of a run in one plain file."""

from __future__ import annotations

import csv
from argparse import Namespace
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

from hdrlab.io.atomic import appending_text, writing_text
from hdrlab.training.metrics_rows import rows


class RunLogger(Logger):
    """What the loggers of a run folder share: they count steps from 1, as checkpoints do, and rank 0 writes.

    Args:
        folder: The run folder.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    @property
    def name(self) -> str:
        """The stage, for a run's folder lies in its stage's."""
        return self.folder.parent.name

    @property
    def version(self) -> str:
        """The run folder's name."""
        return self.folder.name

    def write(self, step: int, scores: Mapping[str, float]) -> None:
        """Log numbers at an optimiser step."""
        raise NotImplementedError

    def log_image(self, step: int, path: Path) -> None:
        """Log a panel; a logger of numbers alone does nothing."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Log numbers; Lightning's ``step`` counts from 0."""
        scores = {name: float(value) for name, value in metrics.items() if name != "epoch"}
        if scores:
            self.write((step or 0) + 1, scores)

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Take what a run says of itself; the run folder holds it already."""


class MetricsFile(RunLogger):
    """Appends ``step,metric,value`` rows to ``metrics.csv``, and goes on where a resumed run goes on.

    Rows behind the step a run resumes from are dropped, so that the file holds each number once.

    Args:
        path: The file.
        step: Step the run starts from; below 0 for one that has done nothing yet.
        validated: Whether that step's validation is over; else it comes again, and its rows with it.
    """

    def __init__(self, path: Path, step: int = 0, *, validated: bool = True) -> None:
        super().__init__(path.parent)
        self.path = path
        self._keep(step, (step,) if validated else ())

    @rank_zero_only
    def _keep(self, step: int, validated: Collection[int]) -> None:
        """Replace the file by what it holds up to a step, whole or not at all."""
        with writing_text(self.path) as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(("step", "metric", "value"))
            for row in rows(self.path):
                reached, trained = int(row[0]), row[1].startswith("train/")
                if reached < step or reached in validated or (reached == step and trained):
                    writer.writerow(row)

    def write(self, step: int, scores: Mapping[str, float]) -> None:
        """Append numbers."""
        with appending_text(self.path) as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerows((step, name, repr(value)) for name, value in scores.items())
