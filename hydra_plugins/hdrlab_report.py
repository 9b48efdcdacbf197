"""The report of a sweep: what became of its jobs, as files, a table and a plot. A callback of Hydra.

::

    runs/sweeps/<stage>-<hash>/
        jobs.csv, summary.md, sweep.png    the table and the plot
        jobs/003.json, logs/003.txt        each job: what became of it, and what it printed
        optuna.log                         of hydra/sweeper=tpe, for Optuna's own tools
"""

import hashlib
import json
import math
import os
import re
import shlex
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from hdrlab.config.paths import quote
from hdrlab.training.distributed import own_rank
from hdrlab.training.processes import SWEEP

_NO_MATTER = {"n_trials", "n_jobs", "max_batch_size"}
"""Settings of a sweeper that make no other sweep."""

_PLAIN = re.compile(r"[\w./-]+")
"""A path that Hydra takes without quotes."""


@dataclass
class Job:
    """One job of a sweep.

    Attributes:
        folder: The sweep's folder.
        number: Its number, from 0.
        overrides: Its command line.
        run: Its run folder, once it has begun.
        value: What it returned, by which it is judged.
        code: Its exit code, None before its end.
        seconds: How long it ran.
        reason: Why it failed.
    """

    folder: Path
    number: int
    overrides: list[str]
    run: str | None = None
    value: float | None = None
    code: int | None = None
    seconds: float = 0.0
    reason: str = ""

    @property
    def file(self) -> Path:
        """Where it is kept."""
        return self.folder / "jobs" / f"{self.number:03d}.json"

    @property
    def log(self) -> Path:
        """What it printed."""
        return self.folder / "logs" / f"{self.number:03d}.txt"

    def values(self, keys: Sequence[str]) -> list[str]:
        """Return the values of these keys."""
        given = dict(one.lstrip("+").split("=", 1) for one in self.overrides if "=" in one)
        return [given.get(key, "") for key in keys]

    def title(self, keys: Sequence[str]) -> str:
        """Name it for people."""
        varied = zip(keys, self.values(keys), strict=True)
        return f"job {self.number}  " + "  ".join(f"{key}={value}" for key, value in varied)

    def save(self) -> None:
        """Write it; a kill leaves the former one whole."""
        from hdrlab.io.atomic import write_text

        for path in (self.file, self.log):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_text(self.file, json.dumps(asdict(self) | {"folder": None}, indent=2))

    def read(self) -> "Job":
        """Return it as its own process has left it."""
        return read_job(self.file) or self


def read_job(path: Path) -> Job | None:
    """Read a job; None if its file is missing or damaged."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return Job(**{**stored, "folder": path.parents[1]})
    except (OSError, ValueError, TypeError):
        return None


def folder_of(config: DictConfig) -> Path:
    """Return the folder of a sweep, the same for the same command line.

    Args:
        config: Its composed configuration, with Hydra's.
    """
    place = config.hydra
    settings: dict[str, Any] = OmegaConf.to_container(place.sweeper)  # type: ignore[assignment]
    same = {name: value for name, value in settings.items() if name not in _NO_MATTER}
    text = json.dumps([sorted(place.overrides.task), same], sort_keys=True, default=str)
    name = place.runtime.choices.get("stage") or place.job.name
    return Path(place.sweep.dir) / "sweeps" / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def swept(config: DictConfig) -> list[str]:
    """List the keys that a sweep varies, those of the configuration before those of the command line."""
    params = OmegaConf.select(config, "hydra.sweeper.params") or {}
    named = [f"{key}={value}" for key, value in params.items()]
    parsed = OverridesParser.create().parse_overrides([*named, *config.hydra.overrides.task])
    return list(dict.fromkeys(one.key_or_group for one in parsed if one.is_sweep_override()))


class SweepReport(Callback):
    """Notes what becomes of a sweep's jobs; writes ``jobs.csv``, ``summary.md``, ``sweep.png`` at its end."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Begin with an empty list of jobs."""
        folder = folder_of(config).absolute()
        os.environ[SWEEP] = str(folder)
        for file in (folder / "jobs").glob("*.json"):
            file.unlink()

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Note where a job writes, in the process that runs it."""
        if (job := _job_of(config)) is not None:
            job.run = str(config.hydra.runtime.output_dir)
            job.save()
        self._begun = time.monotonic()

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Note what a job returned."""
        if (job := _job_of(config)) is not None:
            job.code = int(job_return.status != JobStatus.COMPLETED)
            if config.hydra.mode == RunMode.MULTIRUN:  # else it is a process that hdrlab's launcher times
                job.seconds += time.monotonic() - self._begun
            value = None if job.code else job_return.return_value
            job.value = float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None
            job.save()

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Write and print the table, draw the plot.

        Raises:
            SystemExit: Jobs have failed.
        """
        folder, keys = Path(os.environ.pop(SWEEP)), swept(config)
        jobs = [job for file in sorted((folder / "jobs").glob("*.json")) if (job := read_job(file))]
        objective = str(OmegaConf.select(config, "objective", default="result"))
        higher = not objective.endswith("loss") and _is_higher_better(objective)
        ranked = sorted((one for one in jobs if one.value is not None), key=_goodness(higher), reverse=True)
        rows = [*ranked, *(one for one in jobs if one not in ranked)]
        if rows:
            _write_tables(folder, rows, keys, objective)
        if ranked:
            _draw(
                folder / "sweep.png", rows, keys, f"{objective} ({'higher' if higher else 'lower'} is better)"
            )
            print(f"plot: {folder / 'sweep.png'}")
            if config.hydra.job.name == "train":
                own = [one for one in ranked[0].overrides if not one.startswith("sweep=")]
                line = shlex.join([*own, *_run_dir(config, ranked[0])])
                print(f"to publish the best: python -m hdrlab.train {line}")
        print(f"table: {folder / 'jobs.csv'}", flush=True)
        if any(one.code != 0 for one in jobs):
            raise SystemExit(1)


def _job_of(config: DictConfig) -> Job | None:
    """Return the job of a sweep that this process runs; None without a sweep, and on further ranks."""
    place = config.hydra
    if SWEEP not in os.environ or OmegaConf.is_missing(place.job, "num") or own_rank():
        return None
    return Job(Path(os.environ[SWEEP]), int(place.job.num), list(place.overrides.task)).read()


def _run_dir(config: DictConfig, job: Job) -> list[str]:
    """Name a job's run folder, where its own command line would look for it elsewhere."""
    place = OmegaConf.to_container(config.hydra, resolve=False)
    assert isinstance(place, dict)
    if f"{place['sweep']['dir']}/{place['sweep']['subdir']}" == place["run"]["dir"]:
        return []
    folder = str(job.run)
    return [f"hydra.run.dir={folder if _PLAIN.fullmatch(folder) else quote(folder, literally=True)}"]


def _goodness(higher: bool) -> Any:
    return lambda job: (job.value or 0.0) * (1 if higher else -1)


def _is_higher_better(objective: str) -> bool:
    from hdrlab.metrics.names import HIGHER_IS_BETTER

    return objective.rpartition("/")[2].startswith(HIGHER_IS_BETTER)


def _write_tables(folder: Path, jobs: Sequence[Job], keys: Sequence[str], objective: str) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from hdrlab.io.atomic import write_text
    from hdrlab.io.csv_files import write_rows

    heads = ["job", *keys, objective, "seconds", "run", "state"]
    rows = [
        [
            str(job.number),
            *job.values(keys),
            "" if job.value is None else repr(job.value),
            f"{job.seconds:.1f}",
            job.run or "",
            job.reason or ("done" if job.code == 0 else "not finished"),
        ]
        for job in jobs
    ]
    write_rows((dict(zip(heads, row, strict=True)) for row in rows), folder / "jobs.csv")
    cells = [heads, ["---"] * len(heads), *rows]
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells]
    write_text(folder / "summary.md", "\n".join([f"# {folder.name}", "", *lines, "", "![](sweep.png)", ""]))
    table = Table(*map(escape, heads), title=escape(str(folder)), title_justify="left")
    for row in rows:
        table.add_row(*map(escape, row))
    console = Console()
    if not console.is_terminal:
        console.width = 160  # a log file has no edge
    console.print(table)


def _draw(path: Path, jobs: Sequence[Job], keys: Sequence[str], goal: str) -> None:
    """Draw a panel for each varied key: every job's value, the best one circled, failed ones crossed out."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from hdrlab.io.atomic import replacing

    done = [job for job in jobs if job.value is not None]
    results = [job.value or 0.0 for job in done]
    figure = Figure((4.4 * max(1, len(keys)), 3.8), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    for column, panel in enumerate(figure.subplots(1, max(1, len(keys)), squeeze=False)[0]):
        texts = [job.values(keys)[column] if keys else str(job.number) for job in jobs]
        places, ticks = _places(texts)
        shown = panel.scatter(
            places[: len(done)], results, c=[job.number for job in done], cmap="viridis", zorder=2
        )
        panel.scatter(places[:1], results[:1], s=170, facecolors="none", edgecolors="tab:red", zorder=3)
        failed = places[len(done) :]
        panel.plot(failed, [0.03] * len(failed), "x", color="tab:red", transform=panel.get_xaxis_transform())
        if ticks:
            panel.set_xticks(range(len(ticks)), ticks, rotation=20, ha="right")
        elif _spans(places):
            panel.set_xscale("log")
        if _spans(results):
            panel.set_yscale("log")
        panel.set_xlabel(keys[column] if keys else "job")
        panel.grid(alpha=0.3)
        if column == 0:
            panel.set_ylabel(goal)
    figure.colorbar(shown, ax=panel, label="job")
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png")


def _places(texts: Sequence[str]) -> tuple[list[float], list[str]]:
    """Return where values stand on an axis, and the names of its ticks where they are no numbers."""
    try:
        return [float(text) for text in texts], []
    except ValueError:
        names = list(dict.fromkeys(texts))
        return [float(names.index(text)) for text in texts], names


def _spans(values: Sequence[float]) -> bool:
    """Say whether numbers need a log scale."""
    return min(values) > 0 and max(values) / min(values) > 10
