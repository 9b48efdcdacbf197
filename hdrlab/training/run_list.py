"""What became of runs, read from their folders: for lists, comparisons and dashboards, without torch.

Nothing in a folder is trusted: what is missing or damaged is left out, and said in the run's state.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from hdrlab.config.schema.section import nearest
from hdrlab.errors import RunError
from hdrlab.training.metrics_rows import read_metrics
from hdrlab.training.run_folder import UNREADABLE
from hdrlab.training.run_hash import counts
from hdrlab.training.run_lock import is_locked

TIME = "time.json"
"""When a run began, and for how many seconds it trained."""

DAMAGED = "config.yaml is damaged"


@dataclass(frozen=True)
class RunRecord:
    """A run as its folder tells it.

    Attributes:
        folder: The folder.
        config: The stored configuration as plain values by dotted key; empty where it is damaged.
        started: When it began.
        seconds: How long it trained, all tries together; NaN where no file says so.
        steps: Steps made, those of the newest checkpoint; None before the first.
        planned: Steps it was to make.
        state: In words, for example ``finished``.
        scores: Numbers that were logged, by name, by step.
        hash: The digest of all that counts.
    """

    folder: Path
    config: Mapping[str, Any]
    started: datetime
    seconds: float
    steps: int | None
    planned: int | None
    state: str
    scores: Mapping[int, Mapping[str, float]]
    hash: str

    @property
    def name(self) -> str:
        """Stage and folder, for example ``hal/lr0.001_3fa2b1c9-1``."""
        return f"{self.folder.parent.name}/{self.folder.name}"

    @property
    def stage(self) -> str:
        """The stage."""
        return str(self.config.get("stage.name", self.folder.parent.name))

    @property
    def data(self) -> str:
        """The data set."""
        return str(self.config.get("data.name", ""))

    @property
    def best_step(self) -> int | None:
        """The step of the lowest validation loss, that of ``best.ckpt``."""
        losses = {step: row["val/loss"] for step, row in self.scores.items() if "val/loss" in row}
        finite = {step: loss for step, loss in losses.items() if math.isfinite(loss)}
        return min(finite, key=lambda step: (finite[step], step)) if finite else None

    @property
    def best(self) -> Mapping[str, float]:
        """The validation's scores at the best step, by name without ``val/``."""
        row = {} if self.best_step is None else self.scores[self.best_step]
        return {name.removeprefix("val/"): value for name, value in row.items() if name.startswith("val/")}

    @property
    def headline(self) -> str:
        """The metric that says most: the first that is no loss term, else the loss."""
        terms = {key.removeprefix("stage.loss.") for key in self.config if key.startswith("stage.loss.")}
        return next((name for name in self.best if name != "loss" and name not in terms), "loss")

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values for JSON."""
        return {
            "name": self.name,
            "folder": str(self.folder),
            "stage": self.stage,
            "data": self.data,
            "started": self.started.isoformat(timespec="seconds"),
            "seconds": None if math.isnan(self.seconds) else self.seconds,
            "steps": self.steps,
            "planned": self.planned,
            "state": self.state,
            "best_step": self.best_step,
            "best": {name: value for name, value in self.best.items() if math.isfinite(value)},
            "headline": self.headline,
            "hash": self.hash,
        }


def read_run(folder: Path) -> RunRecord:
    """Read a run folder.

    Args:
        folder: One that holds a ``config.yaml``.
    """
    path = folder / "config.yaml"
    try:
        config = dict(_flat(yaml.safe_load(path.read_text(encoding="utf-8"))))
        planned = config.get("stage.max_steps")
    except UNREADABLE:
        config, planned = {}, None
    steps = _steps_made(folder)
    started, seconds = read_time(folder)
    try:
        begun = datetime.fromisoformat(started).astimezone()
    except (ValueError, OverflowError, OSError):  # no date, or none that clocks know
        begun = datetime.fromtimestamp(path.stat().st_mtime, UTC).astimezone()
    mark = folder / "hash.txt"
    return RunRecord(
        folder=folder,
        config=config,
        started=begun,
        seconds=seconds if started else math.nan,
        steps=steps,
        planned=planned if isinstance(planned, int) else None,
        state=_state(folder, config, steps),
        scores=read_metrics(folder / "metrics.csv"),
        hash=mark.read_text(encoding="utf-8", errors="replace")[:8] if mark.is_file() else "",
    )


def _state(folder: Path, config: Mapping[str, Any], steps: int | None) -> str:
    if not config:
        return DAMAGED
    if is_locked(folder):
        return "training"
    if (folder / "finished.json").is_file():
        return "finished"
    return "no checkpoint yet" if steps is None else "can be resumed"


def _flat(values: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield dotted keys of a nested mapping with their values."""
    if not isinstance(values, Mapping):
        raise TypeError("no mapping")
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _steps_made(folder: Path) -> int | None:
    """Return the steps of the newest checkpoint, None where there is none."""
    try:
        stored = json.loads((folder / "checkpoints.json").read_text(encoding="utf-8"))
        return max(int(entry["step"]) for entry in stored)
    except UNREADABLE:
        return None


def read_time(folder: Path) -> tuple[str, float]:
    """Return when a run began, ISO 8601, and for how many seconds it trained; "" and 0 where nothing says."""
    try:
        stored = json.loads((folder / TIME).read_text(encoding="utf-8"))
        return str(stored["started"]), float(stored["seconds"])
    except UNREADABLE:
        return "", 0.0


def list_runs(runs: Path) -> list[RunRecord]:
    """Read all runs below a folder, by stage and in the order they were begun."""
    found = [read_run(path.parent) for path in runs.glob("*/*/config.yaml")]
    return sorted(found, key=lambda run: (run.stage, run.started, run.name))


def find_run(runs: Path, text: str) -> RunRecord:
    """Find the run that a user means.

    Args:
        runs: The folder of runs.
        text: A run folder's path, or a part of ``STAGE/NAME`` that only one has.

    Raises:
        RunError: There is none, or more than one.
    """
    if (Path(text) / "config.yaml").is_file():
        return read_run(Path(text))
    known = {f"{path.parent.parent.name}/{path.parent.name}": path for path in runs.glob("*/*/config.yaml")}
    found = [text] if text in known else sorted(name for name in known if text in name)
    if not found:
        hint = nearest(text, known) or f"; hdrlab runs {runs} lists them"
        raise RunError(f"{text}: no such run in {runs}{hint}")
    if len(found) > 1:
        listed = "".join(f"\n  {name}" for name in found)
        raise RunError(f"{text}: may be any of {len(found)} runs; say more of the name{listed}")
    return read_run(known[found[0]].parent)


def differing(runs: Sequence[RunRecord]) -> dict[str, tuple[Any, ...]]:
    """Return the keys in which runs differ with their values, those first that change what is computed.

    Where things lie is left out, and how a run is watched.
    """
    told = [run.config for run in runs if run.config]
    keys = dict.fromkeys(key for config in told for key in config)
    found = {
        key: tuple(config.get(key) for config in told)
        for key in keys
        if key.partition(".")[0] not in ("paths", "logger", "callbacks", "resume")
        and any(config.get(key) != told[0].get(key) for config in told)
    }
    return dict(sorted(found.items(), key=lambda item: not counts(item[0])))


def difference(run: RunRecord, before: RunRecord) -> str:
    """Say in a line what a run has otherwise than another, as overrides of the command line."""
    if not run.config or not before.config:
        return ""
    found = differing([before, run])
    told = {key: values[1] for key, values in found.items() if counts(key) or key == "stage.max_steps"}
    if told:
        return "  ".join(f"{key}={as_override(value)}" for key, value in told.items())
    return "the same again" if run.hash == before.hash else "other data or inputs"


def neighbours(runs: Sequence[RunRecord]) -> list[str]:
    """Say of each run what it has otherwise than the one of its stage before it; nothing of a first one."""
    told = []
    last: dict[str, RunRecord] = {}
    for run in runs:
        told.append(difference(run, last[run.stage]) if run.stage in last else "")
        last[run.stage] = run
    return told


def as_override(value: Any) -> str:
    """Write a value as on a command line."""
    return "null" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
