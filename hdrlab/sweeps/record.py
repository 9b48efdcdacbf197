"""The record of a sweep: its jobs, what became of them, and where; kept in the sweep's folder.

::

    runs/sweeps/<stage>-<name>-<hash>/
        sweep.json    the jobs: by it the same command line goes on
        jobs.csv      the same as a table, with the summary.md for people
        sweep.png     what was found
        logs/         what each job printed
        optuna.log    of a TPE sweep, for Optuna's own tools
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from hdrlab.sweeps.space import Values
from hdrlab.training.manifest import write_text

WAITING, RUNNING, FINISHED, FAILED, INTERRUPTED = "waiting", "running", "finished", "failed", "interrupted"


class SweepError(ValueError):
    """A sweep that cannot go on."""


@dataclass
class Job:
    """One training of a sweep.

    Attributes:
        number: Its number, from 1.
        values: The values of the varied keys.
        state: waiting, running, finished, failed or interrupted.
        result: The figure it is judged by, once it is finished.
        step: Step of the validation the figure is from.
        run: Its run folder, once there is one.
        seconds: Time spent on it, over all calls.
        reason: Why it failed, or was interrupted.
        cluster_id: Its number on a cluster, while it is there.
    """

    number: int
    values: Values
    state: str = WAITING
    result: float | None = None
    step: int | None = None
    run: str | None = None
    seconds: float = 0.0
    reason: str = ""
    cluster_id: str | None = None

    @property
    def words(self) -> list[str]:
        """The words that make it this job."""
        return [f"{key}={value}" for key, value in self.values.items()]


@dataclass
class Record:
    """All jobs of a sweep, kept in a file.

    Attributes:
        folder: The sweep's folder.
        definition: What makes it this sweep, in plain values.
        jobs: The jobs so far.
    """

    folder: Path
    definition: dict[str, Any]
    jobs: list[Job] = field(default_factory=list)

    @classmethod
    def open(cls, folder: Path, definition: dict[str, Any]) -> Record:
        """Read what an earlier call wrote, or begin.

        Raises:
            SweepError: If the file is damaged.
        """
        record, path = cls(folder, definition), folder / "sweep.json"
        if path.is_file():
            known = {one.name for one in fields(Job)}
            try:
                stored = json.loads(path.read_text(encoding="utf-8"))
                record.jobs = [Job(**{k: v for k, v in job.items() if k in known}) for job in stored["jobs"]]
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                said = "delete it to begin the sweep anew; finished runs are found again"
                raise SweepError(f"{path}: damaged ({error}); {said}") from error
        return record

    def save(self) -> None:
        """Write it; a kill or a full disk leaves the former one whole."""
        content = {**self.definition, "jobs": [asdict(job) for job in self.jobs]}
        write_text(self.folder / "sweep.json", json.dumps(content, indent=2) + "\n")

    def log_of(self, job: Job) -> Path:
        """Return the file with what a job printed."""
        return self.folder / "logs" / f"{job.number:03d}.txt"

    def in_state(self, *states: str) -> list[Job]:
        """List the jobs in some states."""
        return [job for job in self.jobs if job.state in states]

    def ranked(self, *, higher: bool) -> list[Job]:
        """List the finished jobs, the best first."""
        done = [job for job in self.jobs if job.result is not None]
        return sorted(done, key=lambda job: (job.result or 0.0) * (-1 if higher else 1))


def figure(run: Path, name: str) -> tuple[float, int]:
    """Return a validation figure of a run at its best validation, and that validation's step.

    The best is the one with the lowest ``val/loss``, whose weights the run keeps as best.ckpt.

    Args:
        run: The run folder.
        name: The figure, for example ``val/psnr_c``.

    Raises:
        SweepError: If the run has no such figure.
    """
    path = run / "metrics.csv"
    if not path.is_file():
        raise SweepError(f"{path}: is missing, so the run cannot be judged; delete the run folder")
    with path.open(newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["metric"].startswith("val/")]
    losses = {int(row["step"]): float(row["value"]) for row in rows if row["metric"] == "val/loss"}
    values = {int(row["step"]): float(row["value"]) for row in rows if row["metric"] == name}
    judged = {step: loss for step, loss in losses.items() if step in values}
    if not judged:
        there = ", ".join(dict.fromkeys(row["metric"] for row in rows)) or "no figure at all"
        raise SweepError(f"sweep.objective={name}: {run} has {there}")
    best = min(judged, key=lambda step: judged[step])
    return values[best], best


def write_table(record: Record, keys: Sequence[str], objective: str) -> None:
    """Write ``jobs.csv``."""
    with (record.folder / "jobs.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("job", *keys, "state", objective, "step", "seconds", "run", "reason"))
        for job in record.jobs:
            values = [job.values[key] for key in keys]
            result = "" if job.result is None else repr(job.result)
            step = "" if job.step is None else job.step
            spent = round(job.seconds, 1)
            writer.writerow((job.number, *values, job.state, result, step, spent, job.run or "", job.reason))
