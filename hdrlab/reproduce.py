"""Carry out a paper's chain of trainings and compare: ``python -m hdrlab.reproduce plan=singlehdr``.

Every training and every scoring is a command of its own, so that it can use several devices and leaves no
memory behind; what is done already, run folders and scores say themselves.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from hdrlab.config.cli import Command, find_command
from hdrlab.config.schema.commands import ReproduceConfig, TrainConfig
from hdrlab.errors import ConfigError
from hdrlab.evaluation import claims
from hdrlab.evaluation.plans import Plan, Scale, Step, fill, plan_file, read_plan, require_inputs
from hdrlab.io.atomic import write_text
from hdrlab.training.processes import alone, tied
from hdrlab.training.slots import slot_of


@dataclass(frozen=True)
class Job:
    """A training of the plan, ready to be called.

    Attributes:
        step: What the plan says of it.
        arguments: Its command line.
        scoring: Arguments for scoring besides checkpoint and output.
        slot: Where its result lies.
    """

    step: Step
    arguments: tuple[str, ...]
    scoring: tuple[str, ...]
    slot: Path


@dataclass
class Journal:
    """What earlier calls did, kept in a file.

    Attributes:
        path: The file.
        seconds: Time spent on each training, over all calls.
        done: The trainings that are finished, by stage their command lines.
        scored: By stage, what its scores were made of.
    """

    path: Path
    seconds: dict[str, float] = field(default_factory=dict)
    done: dict[str, str] = field(default_factory=dict)
    scored: dict[str, str] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path) -> Journal:
        """Read it, or begin a new one."""
        stored = read_json(path) if path.is_file() else {}
        kept = {one.name: stored.get(one.name) for one in fields(cls) if one.name != "path"}
        return cls(path, **{name: value for name, value in kept.items() if isinstance(value, dict)})

    def save(self) -> None:
        """Write it; a kill leaves the former one whole."""
        content = {"seconds": self.seconds, "done": self.done, "scored": self.scored}
        write_text(self.path, json.dumps(content, indent=2))


@dataclass(frozen=True)
class Task:
    """A plan at a scale, checked.

    Attributes:
        plan: The plan.
        scale: The scale.
        folder: Where all of it is written.
        jobs: The trainings in their order.
    """

    plan: Plan
    scale: Scale
    folder: Path
    jobs: tuple[Job, ...]


def reproduce(config: ReproduceConfig) -> int:
    """Carry out a checked configuration; return the exit code."""
    tasks: list[Task] = []
    problems: list[str] = []
    for name in config.plan:
        try:
            tasks.append(make_task(config, plan_file(name)))
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(dict.fromkeys(problems))
    for task in tasks:
        carry_out(task, config)
    return 0


def make_task(config: ReproduceConfig, file: Path) -> Task:
    """Read a plan and check everything that its trainings need.

    Raises:
        ConfigError: With all that is wrong or missing.
    """
    plan = read_plan(file)
    if config.scale not in plan.scales:
        raise ConfigError([f"scale={config.scale}: must be {' | '.join(plan.scales)}"])
    scale = plan.scales[config.scale]
    inputs = require_inputs(plan, scale, asdict(config.inputs))
    folder = Path(config.paths.runs) / "reproduce" / f"{file.stem}-{config.scale}"
    return Task(plan, scale, folder, tuple(make_jobs(config, scale, inputs, folder)))


def carry_out(task: Task, config: ReproduceConfig) -> None:
    """Train, score and report what is not done yet.

    Raises:
        ConfigError: A command failed.
        RunError: Another call is at work.
    """
    task.folder.mkdir(parents=True, exist_ok=True)
    with alone(task.folder / "lock") as lock:
        journal, jobs = Journal.open(task.folder / "journal.json"), task.jobs
        for number, job in enumerate(jobs):
            message = f"{task.plan.title} {number + 1}/{len(jobs)}: {job.step.stage}"
            print(f"{message}{time_left(jobs, number, journal)}", flush=True)
            _train(job, journal, lock)
        scores = {job.step.stage: _score(job, journal, task.folder / "scores", lock) for job in jobs}
        report(task, journal, scores, [f"inputs.{n}={asdict(config.inputs)[n]}" for n in task.scale.inputs])


def make_jobs(config: ReproduceConfig, scale: Scale, inputs: Mapping[str, str], folder: Path) -> list[Job]:
    """Make the command lines of all trainings and check every one before the first starts.

    Raises:
        ConfigError: With all that the trainings would refuse.
    """
    places = (f"paths.runs={folder / 'runs'}", f"paths.data={config.paths.data}")
    devices = (f"trainer.devices={config.devices}", f"trainer.precision={config.precision}")
    jobs, problems = [], []
    for step in scale.steps:
        data = fill(step.data, inputs)
        arguments = (*fill([*scale.common, *step.train], inputs), *data, *places, *devices)
        try:
            trained: TrainConfig = find_command("train").compose(arguments)
        except ConfigError as error:
            problems += [f"{step.stage}: {problem}" for problem in error.problems]
            continue
        slot = slot_of(folder / "runs", trained.data.name, trained.stage.name)
        accelerator = f"accelerator={trained.trainer.accelerator}"
        where = (*(data or [f"data={trained.data.name}"]), f"paths.data={config.paths.data}")
        jobs.append(Job(step, arguments, (*where, accelerator, *fill(step.score, inputs)), slot))
    if problems:
        raise ConfigError(problems)
    return jobs


def time_left(jobs: Sequence[Job], number: int, journal: Journal) -> str:
    """Say how long the trainings from one on may take, by the speed of those finished; or nothing yet."""
    done = [job.step for job in jobs if job.step.stage in journal.done]
    planned = sum(step.cost for step in done)
    if not planned:
        return ""
    left = sum(job.step.cost for job in jobs[number:] if job.step.stage not in journal.done)
    minutes = left / planned * sum(journal.seconds.get(step.stage, 0) for step in done) / 60
    return f": about {minutes:.0f} min for this and the rest" if left else ""


def _train(job: Job, journal: Journal, lock: int) -> None:
    stage, arguments = job.step.stage, shlex.join(job.arguments)
    fresh, begun = journal.done.get(stage) != arguments, time.monotonic()
    try:
        _call("train", job.arguments, lock)
        journal.done[stage] = arguments
    finally:
        if fresh:
            journal.seconds[stage] = journal.seconds.get(stage, 0.0) + time.monotonic() - begun
            journal.save()


def _score(job: Job, journal: Journal, folder: Path, lock: int) -> claims.Scores:
    """Score a training's result on the test split, unless that was done, and return its scores."""
    stage, summary = job.step.stage, folder / job.step.stage / "summary.json"
    manifest = read_json(job.slot.with_suffix(".json"))
    made_of = shlex.join([manifest["sha256"], manifest["data_fingerprint"], *job.scoring])
    if journal.scored.get(stage) != made_of or not summary.is_file():
        arguments = (f"checkpoint={job.slot}", *job.scoring, f"output={summary.parent}")
        _call("evaluate", arguments, lock)
        journal.scored[stage] = made_of
        journal.save()
    return claims.scores_of(read_json(summary))


def read_json(path: Path) -> dict[str, Any]:
    """Read a file that a command of the project wrote.

    Raises:
        ConfigError: It is damaged.
    """
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(stored, dict):
            return stored
        reason = "not what was written"
    except (OSError, ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0]
    raise ConfigError([f"{path}: damaged ({reason}); delete it, and the same command makes it again"])


def report(task: Task, journal: Journal, scores: Mapping[str, claims.Scores], inputs: Sequence[str]) -> None:
    """Write ``report.md`` and ``report.html``."""
    steps = []
    for job in task.jobs:
        manifest: Mapping[str, Any] = read_json(job.slot.with_suffix(".json"))
        minutes = f"{journal.seconds.get(job.step.stage, 0) / 60:.1f}"
        arguments = shlex.join(["python", "-m", "hdrlab.train", *job.arguments])
        steps.append([job.step.stage, arguments, manifest["run"], str(manifest["step"]), minutes])
    notes = [task.scale.note, *inputs]
    shown = claims.tables(task.plan, task.scale, steps, scores)
    for name, text in (("md", claims.markdown), ("html", claims.page)):
        file = task.folder / f"report.{name}"
        write_text(file, text(task.plan, notes, shown))
        print(f"report: {file}")


def _call(module: str, arguments: Sequence[str], lock: int) -> None:
    """Run a command of the project to its end.

    Raises:
        ConfigError: It failed.
    """
    line = [sys.executable, "-m", f"hdrlab.{module}", *arguments]
    done = subprocess.run(line, check=False, **tied(lock))
    if done.returncode:
        message = f"python -m hdrlab.{module} {shlex.join(arguments)}"
        raise ConfigError(
            [f"{message}: ended with {done.returncode}; mend that, and the same command goes on here"]
        )


COMMAND = Command(
    "reproduce",
    ReproduceConfig,
    reproduce,
    (
        "singlehdr",
        "iqatm scale=paper inputs.tmo_pairs=~/pairs inputs.vgg16=~/vgg16.npy",
    ),
    ("plan",),
    positional=("plan",),
)

if __name__ == "__main__":
    COMMAND.main()
