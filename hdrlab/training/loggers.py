"""Where the numbers and panels of a run go: a plain file in every case, and a dashboard beside it."""

from __future__ import annotations

import json
import os
import re
import secrets
import shlex
import shutil
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

from hdrlab.config.schema.commands import TrainConfig
from hdrlab.config.schema.trainer import WandbConfig
from hdrlab.errors import RunError
from hdrlab.io.atomic import write_text
from hdrlab.metrics.names import METRICS, better
from hdrlab.training.checkpoint_callback import owes_validation
from hdrlab.training.checkpoint_list import BEST, LAST
from hdrlab.training.checkpoints import read_checkpoint
from hdrlab.training.metrics_csv import MetricsFile, RunLogger
from hdrlab.training.metrics_rows import read_metrics
from hdrlab.training.run_folder import Run
from hdrlab.training.run_list import read_run

PANEL = "panel"
"""What dashboards call a run's panels."""


def build_loggers(config: TrainConfig, run: Run) -> list[Logger]:
    """Make the loggers of a run; all write into the run folder.

    Every run but one of ``logger=none`` has its ``metrics.csv``, whatever dashboard it is shown on.

    Raises:
        RunError: If a dashboard that is to be online cannot be reached.
    """
    chosen = config.logger
    if chosen.name == "none":
        return []
    stored = read_checkpoint(run.resume_from) if run.resume_from else None
    step = stored["global_step"] if stored else -1
    validated = stored is not None and not owes_validation(stored)
    metrics = MetricsFile(run.folder / "metrics.csv", step, validated=validated)
    if chosen.name == "tensorboard":
        return [metrics, TensorBoard(run.folder, step, validated=validated)]
    if isinstance(chosen, WandbConfig):
        return [metrics, Wandb(chosen, config, run, step)]
    return [metrics]


def panel_name(step: int) -> str:
    """Return where a run folder keeps the panel of a step."""
    return f"panels/step_{step:07d}.png"


def log_image(loggers: list[Logger], step: int, path: Path) -> None:
    """Hand a panel to the loggers that take images."""
    for logger in loggers:
        if isinstance(logger, RunLogger):
            logger.log_image(step, path)


class TensorBoard(RunLogger):
    """Event files in ``tensorboard/``, where TensorBoard leaves out what earlier tries logged too far.

    It can do so for whole steps only; what the run folder keeps of the step gone on from is logged again.

    Args:
        folder: The run folder.
        step: Step the run starts from; below 0 for a new one.
        validated: Whether that step's validation is over; else it comes again, and its panel with it.
    """

    def __init__(self, folder: Path, step: int, *, validated: bool = True) -> None:
        super().__init__(folder)
        self._writer: Any = None
        self._start(step, validated=validated)

    @rank_zero_only
    def _start(self, step: int, *, validated: bool) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(self.folder / "tensorboard"), purge_step=max(0, step))
        self.write(step, read_metrics(self.folder / "metrics.csv").get(step, {}))
        panel = self.folder / panel_name(step)
        if validated and panel.is_file():
            self.log_image(step, panel)

    def write(self, step: int, scores: Mapping[str, float]) -> None:
        """Log numbers."""
        for name, value in scores.items():
            self._writer.add_scalar(name, value, step)

    @rank_zero_only
    def log_image(self, step: int, path: Path) -> None:
        """Log a panel."""
        from hdrlab.io import read_image

        self._writer.add_image(PANEL, read_image(path).pixels, step, dataformats="HWC")

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Show what the run says of itself as text."""
        text = json.dumps(_plain(params), indent=2)
        self._writer.add_text("run", "\n".join("    " + line for line in text.splitlines()))

    @rank_zero_only
    def save(self) -> None:
        """Write what is held back."""
        self._writer.flush()

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Close the event file; what comes later opens another."""
        self._writer.close()


class Wandb(RunLogger):
    """A run of Weights & Biases, kept in ``wandb/`` until it is sent, or sent while it trains.

    Its steps are the optimiser's. A resumed run keeps its id, and logs again what ``metrics.csv`` and
    ``panels/`` hold up to the step it goes on from: so the newest offline folder is always the whole run,
    older ones go, and sending it doubles no step and misses none.

    Args:
        chosen: The logger's section.
        config: The whole configuration.
        run: The run.
        step: Step the run starts from; below 0 for a new one.

    Raises:
        RunError: If it is to be online and cannot be reached.
    """

    def __init__(self, chosen: WandbConfig, config: TrainConfig, run: Run, step: int) -> None:
        super().__init__(run.folder)
        self.chosen = chosen
        self._run: Any = None
        self._start(config, run, step)

    @rank_zero_only
    def _start(self, config: TrainConfig, run: Run, step: int) -> None:
        own = self.folder / "wandb"
        own.mkdir(exist_ok=True)
        # Without these it writes into the home folder, and reports to its makers even from an offline run.
        os.environ |= {"WANDB_CACHE_DIR": str(own / "cache"), "WANDB_DATA_DIR": str(own / "cache")}
        os.environ["WANDB_ERROR_REPORTING"] = "false"
        import wandb

        self.id = _kept_id(own / "run_id", run)
        earlier = [path for path in own.glob(f"offline-run-*-{self.id}") if path.is_dir()]
        try:
            self._run = wandb.init(
                project=self.chosen.project,
                entity=self.chosen.entity,
                group=self.chosen.group or config.stage.name,
                job_type=config.stage.name,
                tags=[config.stage.name, config.data.name, config.preset],
                name=run.name,
                id=self.id,
                dir=self.folder,
                mode="online" if self.chosen.online else "offline",
                resume="allow" if self.chosen.online else None,
                settings=wandb.Settings(
                    silent=True,
                    disable_git=True,  # the address of a remote may hold a token; we log the commit
                    disable_code=True,
                    save_code=False,
                    console="off",  # what is printed is not checked for secrets
                ),
            )
        except wandb.Error as error:
            hint = (
                "; set WANDB_API_KEY in the environment, see that the server is reached, or leave "
                "logger.online=false"
            )
            message = (str(error) or type(error).__name__).splitlines()[0]
            raise RunError(f"logger=wandb: {message}" + hint * self.chosen.online) from error
        self._define(config.stage.loss.weights)
        self._log_again(step)
        for path in earlier:
            shutil.rmtree(path)

    def _define(self, terms: Mapping[str, float]) -> None:
        """Say what the axis is and which end of each score is the good one."""
        self._run.define_metric("step", hidden=True)
        self._run.define_metric("train/*", step_metric="step")
        for name in {"loss", *terms, *METRICS}:
            self._run.define_metric(f"val/{name}", step_metric="step", summary=f"{better(name)},last")

    def _log_again(self, step: int) -> None:
        """Log what was logged up to a step, as the run folder has it."""
        scores = read_metrics(self.folder / "metrics.csv")
        drawn = set(self.folder.glob("panels/*.png"))
        for logged in range(step + 1):
            if logged in scores:
                self.write(logged, scores[logged])
            if (panel := self.folder / panel_name(logged)) in drawn:
                self.log_image(logged, panel)

    def write(self, step: int, scores: Mapping[str, float]) -> None:
        """Log numbers, but not again what the server has of an online run that was resumed."""
        if step >= self._run.starting_step:
            self._run.log({**scores, "step": step}, step=step)

    @rank_zero_only
    def log_image(self, step: int, path: Path) -> None:
        """Log a panel."""
        import wandb

        if step >= self._run.starting_step:
            self._run.log({PANEL: wandb.Image(str(path)), "step": step}, step=step)

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Store what the run says of itself: the configuration's sections, and its origin beside them."""
        message = _plain(params)
        config = message.pop("config", {})
        self._run.config.update({**config, "origin": message}, allow_val_change=True)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """End the run, with its checkpoints as an artifact if that is wanted."""
        if self._run is None:
            return
        self._run.summary.update(_outcome(self.folder))
        if status == "success" and self.chosen.artifacts:
            self._log_checkpoints()
        self._run.finish(exit_code=0 if status == "success" else 1)
        offline = f"send it by: wandb sync {shlex.quote(str(Path(self._run.dir).parent))}"
        print(f"wandb: {self._run.url if self.chosen.online else offline}", flush=True)
        self._run = None

    def _log_checkpoints(self) -> None:
        import wandb

        artifact = wandb.Artifact(self.id, type="checkpoint")
        for name in (LAST, BEST):
            artifact.add_file(str(self.folder / name), policy="immutable")  # as it lies here, without a copy
        self._run.log_artifact(artifact)


def _outcome(folder: Path) -> dict[str, Any]:
    """Return what ``hdrlab runs`` tells of a run: steps made, seconds, and the scores at its best step."""
    run = read_run(folder)
    told = {"steps": run.steps, "seconds": run.seconds, "best/step": run.best_step}
    return {**told, **{f"best/{name}": value for name, value in run.best.items()}}


def _kept_id(path: Path, run: Run) -> str:
    """Return the id of a run, the same at every start; two people's runs of one name have two."""
    kept = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    if not re.fullmatch(r"[a-z0-9_-]+", kept):
        plain = re.sub(r"[^a-z0-9_-]+", "-", run.name.lower())
        kept = f"{plain}-{secrets.token_hex(3)}"
        write_text(path, kept)
    return kept


def _plain(params: dict[str, Any] | Namespace) -> dict[str, Any]:
    return dict(vars(params) if isinstance(params, Namespace) else params)
