"""The default logger: every number of a run in one plain file."""

from __future__ import annotations

import csv
from argparse import Namespace
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only


class MetricsFile(Logger):
    """Appends ``step,metric,value`` rows to ``metrics.csv``, and goes on where a resumed run goes on.

    Rows behind the step a run resumes from are dropped, so that the file holds each number once.

    Args:
        path: The file.
        step: Step the run starts from.
    """

    def __init__(self, path: Path, step: int = 0) -> None:
        super().__init__()
        self.path = path
        kept = []
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as stream:
                kept = [row for row in csv.DictReader(stream) if row["value"] and int(row["step"]) <= step]
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, ("step", "metric", "value"), lineterminator="\n")
            writer.writeheader()
            writer.writerows(kept)

    @property
    def name(self) -> str:
        """The logger's name."""
        return "csv"

    @property
    def version(self) -> str:
        """The run folder's name."""
        return self.path.parent.name

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Append numbers; ``step`` counts from 0, the file's steps from 1, as checkpoints do."""
        with self.path.open("a", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            for name, value in metrics.items():
                if name != "epoch":
                    writer.writerow(((step or 0) + 1, name, repr(float(value))))

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the run folder holds the configuration already."""
