"""Where the numbers and panels of a run go."""

from __future__ import annotations

from dataclasses import asdict

from pytorch_lightning.loggers import Logger, TensorBoardLogger, WandbLogger

from hdrlab.checkpoints import read_checkpoint
from hdrlab.config.schema import TrainConfig, WandbConfig
from hdrlab.metrics_file import MetricsFile
from hdrlab.runs import Run


def build_logger(config: TrainConfig, run: Run) -> Logger | None:
    """Make the logger that the configuration names; all write into the run folder."""
    chosen = config.logger
    if chosen.name == "none":
        return None
    if chosen.name == "tensorboard":
        return TensorBoardLogger(run.folder.parent, name="", version=run.folder.name, sub_dir="tensorboard")
    if isinstance(chosen, WandbConfig):
        return WandbLogger(
            project=chosen.project,
            entity=chosen.entity,
            group=chosen.group or config.stage.name,
            name=run.name,
            save_dir=run.folder,
            offline=not chosen.online,
            config=asdict(config),
        )
    step = read_checkpoint(run.resume_from)["global_step"] if run.resume_from else 0
    return MetricsFile(run.folder / "metrics.csv", step)
