"""Carries out a sweep: ``python -m hdrlab.train -m stage=hal stage.lr=1e-3,1e-4``."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shlex
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any

from hdrlab.config.check import ConfigError, nearest
from hdrlab.config.command import Command, elements
from hdrlab.config.schema import SweepConfig, TrainConfig, WandbConfig
from hdrlab.processes import alone
from hdrlab.runs import finished_step, run_folders, run_hash, what_counts
from hdrlab.sweeps.launchers import Launcher, Local, Slurm, Task
from hdrlab.sweeps.record import (
    FAILED,
    FINISHED,
    INTERRUPTED,
    RUNNING,
    WAITING,
    Job,
    Record,
    figure,
)
from hdrlab.sweeps.report import report, told
from hdrlab.sweeps.space import Axis, Values, grid, grid_size, make_axis, split, suggest
from hdrlab.train import Material, gather, in_steps
from hdrlab.training.interruption import CODES, interruptible

POLL_SECONDS = 0.2
PATIENCE_SECONDS = 10
"""How long to wait for the jobs of a call that was killed."""


@dataclass(frozen=True)
class Plan:
    """A sweep that was checked.

    Attributes:
        command: The command whose jobs it is made of.
        settings: The sweep's section.
        shared: Words that all jobs share.
        own: Further ones that make a training a sweep's job.
        axes: What is varied.
        base: Configuration of one job, for what is the same in all.
        higher: Whether the higher result is the better.
    """

    command: Command[TrainConfig]
    settings: SweepConfig
    shared: tuple[str, ...]
    own: tuple[str, ...]
    axes: tuple[Axis, ...]
    base: TrainConfig
    higher: bool
    _composed: dict[tuple[str, ...], TrainConfig] = field(default_factory=dict)

    @property
    def keys(self) -> list[str]:
        """The varied keys."""
        return [axis.key for axis in self.axes]

    def words(self, values: Values) -> list[str]:
        """Return the words of a job's own command line."""
        return [*self.shared, *(f"{key}={value}" for key, value in values.items()), *self.own]

    def compose(self, values: Values) -> TrainConfig:
        """Return a job's configuration.

        Raises:
            ConfigError: If the values do not go together.
        """
        named = tuple(values.values())
        if named not in self._composed:
            self._composed[named] = self.command.compose(self.words(values))
        return self._composed[named]


# ------------------------------------------------------------------------------------------- what is asked


def sweep(command: Command[TrainConfig], words: Sequence[str]) -> int:
    """Carry out the words of a sweep and return the exit code.

    Returns:
        0 when all jobs are finished, 1 when some failed, 75 or 130 when a signal ended it.

    Raises:
        ConfigError: With everything that is wrong with the words.
    """
    with interruptible():
        return _sweep(make_plan(command, words), Sources())


def _sweep(plan: Plan, sources: Sources) -> int:
    jobs = [] if plan.settings.method == "tpe" else grid(plan.axes)
    _check_jobs(plan, jobs or _corners(plan.axes), sources)
    definition = _definition(plan, sources)
    folder = Path(plan.base.paths.runs) / "sweeps" / _name(plan, definition)
    if isinstance(plan.base.logger, WandbConfig) and plan.base.logger.group is None:
        plan = replace(plan, own=(*plan.own, f"logger.group={folder.name}"))
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    with alone(folder / "lock", PATIENCE_SECONDS) as lock:
        record = Record.open(folder, definition)
        record.jobs += [Job(number, values) for number, values in enumerate(jobs, 1)][len(record.jobs) :]
        return Drive(plan, record, sources, _launcher(plan, folder, lock)).run()


def make_plan(command: Command[TrainConfig], words: Sequence[str]) -> Plan:
    """Check everything that can be checked without looking at the data.

    Raises:
        ConfigError: With every problem found.
    """
    chosen = [word for word in words if word.lstrip("+").startswith(("sweep=", "sweep."))]
    others = [word for word in words if word not in chosen]
    if not any(word.lstrip("+").startswith("sweep=") for word in chosen):
        chosen = ["sweep=grid", *chosen]
    settings = _settings(command, chosen)
    shared, varied = split(others, settings.space or ())
    axes = tuple(make_axis(one, whole=False) for one in varied if elements(one))
    if settings.method == "grid" and grid_size(axes) > settings.jobs:  # before looking at all of them
        said = f"{grid_size(axes)} jobs, more than sweep.jobs={settings.jobs} allows"
        raise ConfigError([f"{said}; name fewer values, raise it, or let sweep=tpe choose"])
    problems = [*_rules(settings, axes), *_repeated([one.key_or_group for one in varied])]
    problems += [
        f"{word}: a sweep starts its jobs itself; set sweep.parallel=2 or so, or sweep.launcher=slurm"
        for word in others
        if word.lstrip("+").startswith(("hydra/", "hydra."))
    ]
    if not varied:
        problems.append("nothing is varied; name several values, for example stage.lr=1e-3,1e-4, or sweep=lr")
    try:
        command.check_words([*shared, *(str(one.input_line) for one in varied)], sweeping=True)
        base = command.compose([*shared, *(f"{axis.key}={axis.values[0]}" for axis in axes)])
        problems += _base_rules(base)
    except ConfigError as error:
        problems += error.problems
    if problems:
        raise ConfigError(dict.fromkeys(problems))
    axes = tuple(make_axis(one, whole=_is_whole(base, one.key_or_group)) for one in varied)
    higher = _is_higher_better(settings.objective)
    return Plan(command, settings, tuple(shared), ("publish=false",), axes, base, higher)


def _settings(command: Command[TrainConfig], chosen: Sequence[str]) -> SweepConfig:
    """Read the sweep's own words.

    Raises:
        ConfigError: With every problem found.
    """
    command.check_words(["stage=deq", *chosen], sweeping=False)
    settings = command.compose(["stage=deq", *chosen]).sweep
    assert settings is not None
    return settings


def _rules(settings: SweepConfig, axes: Sequence[Axis]) -> Iterator[str]:
    for axis in axes:
        yield from axis.problems(settings.method)
    for package, needed in (("optuna", settings.method == "tpe"), ("submitit", settings.launcher == "slurm")):
        if needed and importlib.util.find_spec(package) is None:
            yield f"sweep={settings.name}: the package {package} is missing; pip install 'hdrlab[sweep]'"
    if settings.launcher == "slurm" and shutil.which("sbatch") is None:
        yield "sweep.launcher=slurm: there is no sbatch here; start the sweep on a machine that submits jobs"
    for option in settings.slurm.options or ():
        if "=" not in option:
            yield f"sweep.slurm.options={option}: must be name=value, an option of sbatch"
    weights = [axis.key for axis in axes if axis.key.startswith("stage.loss.")]
    if weights and settings.objective == "val/loss":
        yield (
            f"{', '.join(weights)}: changes what val/loss means; judge by a figure, for example "
            "sweep.objective=val/psnr_pu21"
        )
    if settings.objective != "val/loss":
        from hdrlab.metrics.names import METRICS  # brings torch: only where a figure was named

        kind, _, name = settings.objective.partition("/")
        if kind != "val" or name not in METRICS:
            near = nearest(name, METRICS)
            yield f"sweep.objective={settings.objective}: must be val/loss or val/NAME of a figure{near}"


def _base_rules(base: TrainConfig) -> Iterator[str]:
    if base.resume != "auto":
        yield f"resume={base.resume}: a sweep goes on by itself; to begin anew, change seed"
    if base.logger.name == "none":
        yield "logger=none: a sweep judges by what is logged; choose another"


def _is_higher_better(objective: str) -> bool:
    if objective == "val/loss":
        return False
    from hdrlab.metrics.names import HIGHER_IS_BETTER

    return objective.removeprefix("val/").startswith(HIGHER_IS_BETTER)


def _repeated(keys: Sequence[str]) -> list[str]:
    twice = [key for key in dict.fromkeys(keys) if keys.count(key) > 1]
    return [f"{key}: varied twice; name all its values at once" for key in twice]


def _is_whole(base: TrainConfig, key: str) -> bool:
    """Say whether a key of the configuration holds whole numbers."""
    value: Any = base
    for part in key.split("."):
        value = getattr(value, part, None)
    return isinstance(value, int) and not isinstance(value, bool)


def _corners(axes: Sequence[Axis]) -> list[Values]:
    """Return jobs in which every value, and every end of an interval, occurs."""
    first = {axis.key: axis.values[0] for axis in axes}
    return [first, *({**first, axis.key: value} for axis in axes for value in axis.values[1:])]


def _check_jobs(plan: Plan, jobs: Sequence[Values], sources: Sources) -> None:
    """Compose every job and find its data, so that none fails for what can be known now.

    Raises:
        ConfigError: With every problem found.
    """
    problems: list[str] = []
    runs: dict[str, Values] = {}
    for values in jobs:
        try:
            config = plan.compose(values)
        except ConfigError as error:
            problems += error.problems
            continue
        same = runs.setdefault(sources.run_name(config), values)
        if same is not values:
            differ = ", ".join(key for key in plan.keys if same[key] != values[key])
            problems.append(f"{differ}: does not change what is trained, so its jobs would be the same run")
    if problems:
        raise ConfigError(dict.fromkeys(problems))


# --------------------------------------------------------------------------------------------- the folder


@dataclass
class Sources:
    """What the jobs train on, looked at once for all jobs that train on the same."""

    _known: dict[str, Material] = field(default_factory=dict)

    def of(self, config: TrainConfig) -> Material:
        """Return what a job starts from."""
        place = repr((config.data, config.paths, config.trainer.name, _without_numbers(asdict(config.stage))))
        if place not in self._known:
            self._known[place] = gather(config)
        return self._known[place]

    def run_name(self, config: TrainConfig) -> str:
        """Return the name of a job's run, but for its number."""
        material = self.of(config)
        config = in_steps(config, material.index)
        return f"{config.stage.name}/{run_hash(config, material.index.fingerprint, material.inputs)}"

    def finished_run(self, config: TrainConfig) -> Path | None:
        """Return the newest run folder of a job, if the run is finished."""
        material = self.of(config)
        config = in_steps(config, material.index)
        for folder in run_folders(config, material.index.fingerprint, material.inputs)[-1:]:
            if (finished_step(folder) or 0) >= config.trainer.max_steps:
                return folder
        return None


def _without_numbers(values: Mapping[str, Any]) -> dict[str, Any]:
    """Leave what may name files and other stages: no number says where a training starts."""
    kept = {k: _without_numbers(v) if isinstance(v, Mapping) else v for k, v in values.items()}
    return {k: v for k, v in kept.items() if isinstance(v, bool) or not isinstance(v, (int, float))}


def _definition(plan: Plan, sources: Sources) -> dict[str, Any]:
    """Return what makes a sweep this one, in plain values: by another, other jobs are compared."""
    material = sources.of(plan.base)
    shared = what_counts(plan.base)
    for key in plan.keys:
        *sections, last = key.split(".")
        inside: Any = shared
        for section in sections:
            inside = inside.get(section, {})
        inside.pop(last, None)
    settings = plan.settings
    drawn = {"seed": settings.seed, "startup": settings.startup} if settings.method == "tpe" else {}
    return {
        "method": settings.method,
        "objective": settings.objective,
        "axes": [asdict(axis) for axis in plan.axes],
        **drawn,
        "shared": shared,
        "max_steps": in_steps(plan.base, material.index).trainer.max_steps,
        "data_fingerprint": material.index.fingerprint,
        "inputs": dict(material.inputs),
    }


def _name(plan: Plan, definition: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(definition, sort_keys=True).encode()).hexdigest()[:8]
    stages = next((axis.values for axis in plan.axes if axis.key == "stage"), (plan.base.stage.name,))
    return f"{'+'.join(stages)}-{plan.settings.name}-{digest}"


def _launcher(plan: Plan, folder: Path, lock: int) -> Launcher:
    if plan.settings.launcher == "slurm":
        return Slurm((folder / "slurm").resolve(), plan.settings.slurm)
    return Local(lock, plan.settings.parallel)


# -------------------------------------------------------------------------------------------- the driving


@dataclass
class Drive:
    """A sweep being carried out.

    Attributes:
        plan: The sweep.
        record: What is done.
        sources: What the jobs train on.
        launcher: Starts them.
        tasks: The running ones, by their numbers, with the time they were started at.
        stopped: The signal that ended the sweep.
    """

    plan: Plan
    record: Record
    sources: Sources
    launcher: Launcher
    tasks: dict[int, tuple[Task, float]] = field(default_factory=dict)
    starts: Counter[int] = field(default_factory=Counter)
    stopped: str | None = None

    def run(self) -> int:
        """Start jobs until none is left or a signal comes; return the exit code."""
        self._take_stock()
        print(f"{self.record.folder}: {self._state()}", flush=True)
        with self._watching():
            while self._start_jobs():
                time.sleep(POLL_SECONDS)
                for job in self.record.in_state(RUNNING):
                    code = self.tasks[job.number][0].poll()
                    if code is not None:
                        self._end(job, code)
        self.record.save()
        report(self.record, self.plan.axes, self.plan.settings.objective, higher=self.plan.higher)
        self._tell_best()
        if self.stopped:
            print(f"{self.stopped}: {self._state()}; the same command goes on", flush=True)
            return CODES[self.stopped]
        return 1 if self.record.in_state(FAILED, INTERRUPTED) else 0

    def _tell_best(self) -> None:
        """Say how the best job's result takes the slot: the same training, found finished, publishes."""
        best = self.record.ranked(higher=self.plan.higher)[:1]
        if best and not self.stopped and self.plan.base.trainer.name != "smoke":
            line = shlex.join([*self.plan.shared, *best[0].words])
            print(f"to publish job {best[0].number}: python -m hdrlab.train {line}", flush=True)

    def _take_stock(self) -> None:
        """See which jobs are finished: their run folders say so; others are to be done, failed ones too."""
        for job in self.record.jobs:
            try:
                config = self.plan.compose(job.values)
            except ConfigError as error:
                job.state, job.reason = FAILED, "; ".join(error.problems)
                continue
            if config.trainer.name == "smoke":  # such a run is never gone on with
                job.state = job.state if job.state == FINISHED and job.run else WAITING
            elif not self._finish(job, config):
                task = self.launcher.find(job.cluster_id, config.trainer) if job.cluster_id else None
                job.state = RUNNING if task else WAITING
                if task:
                    self.tasks[job.number] = task, time.monotonic()
        self.record.save()

    def _finish(self, job: Job, config: TrainConfig) -> bool:
        """Note the result of a job, if its run is finished."""
        run = self.sources.finished_run(config)
        job.result = job.step = job.run = None
        if run is not None:
            job.result, job.step = figure(run, self.plan.settings.objective)
            job.state, job.run, job.reason, job.cluster_id = FINISHED, str(run), "", None
        return run is not None

    def _start_jobs(self) -> bool:
        """Start what may be started; say whether there is anything to wait for."""
        while self.stopped is None and len(self.tasks) < self.plan.settings.parallel:
            job = self._next()
            if job is None:
                break
            self._start(job)
        waits_for = [task for task, _ in self.tasks.values() if not self.stopped or task.cluster_id is None]
        return bool(waits_for)

    def _next(self) -> Job | None:
        """Return the next job: one that waits, or in a search a new one."""
        settings = self.plan.settings
        for job in self.record.in_state(WAITING):
            if job.number <= settings.jobs:
                return job
        if settings.method == "grid" or len(self.record.jobs) >= settings.jobs:
            return None
        earlier = [(job.values, job.result) for job in self.record.jobs]
        values = suggest(
            self.plan.axes, earlier, higher=self.plan.higher, startup=settings.startup, seed=settings.seed
        )
        if values is None:
            return None
        self.record.jobs.append(Job(len(self.record.jobs) + 1, values))
        return self.record.jobs[-1]

    def _start(self, job: Job) -> None:
        try:
            config = self.plan.compose(job.values)
        except ConfigError as error:
            job.state, job.reason = FAILED, "; ".join(error.problems)
            self._tell(job)
            return
        name, words = f"{config.stage.name}-{job.number}", self.plan.words(job.values)
        job.state, job.reason = RUNNING, ""
        self.record.save()
        task = self.launcher.start(name, words, self.record.log_of(job), config.trainer)
        self.starts[job.number] += 1
        self.tasks[job.number] = task, time.monotonic()
        job.cluster_id = task.cluster_id
        self._tell(job)

    def _end(self, job: Job, code: int) -> None:
        """Note what became of a job."""
        task, begun = self.tasks.pop(job.number)
        job.seconds += time.monotonic() - begun
        job.cluster_id = None
        if code == 0 and self._finish(job, self.plan.compose(job.values)):
            pass
        elif self.stopped or code in CODES.values():
            again = task.cluster_id is not None and self.starts[job.number] < self.plan.settings.slurm.starts
            job.state, job.reason = (WAITING if again else INTERRUPTED), "was told to stop"
        else:
            job.state = FAILED
            job.reason = task.reason or why(code, self.record.log_of(job))
        self._tell(job)

    def _tell(self, job: Job) -> None:
        self.record.save()
        jobs = max(len(self.record.jobs), self.plan.settings.jobs * (self.plan.settings.method == "tpe"))
        print(told(self.record, job, jobs, self.plan.settings.objective, higher=self.plan.higher), flush=True)

    def _state(self) -> str:
        counts = Counter(job.state for job in self.record.jobs)
        if self.plan.settings.method == "tpe":
            counts[WAITING] += max(0, self.plan.settings.jobs - len(self.record.jobs))
        return ", ".join(f"{count} {state}" for state, count in counts.items() if count)

    @contextmanager
    def _watching(self) -> Iterator[None]:
        """Pass signals on to the jobs; leave none behind, whatever happens."""
        before = {name: signal.getsignal(getattr(signal, name)) for name in CODES}
        for name in before:
            signal.signal(getattr(signal, name), self._on_signal)
        try:
            yield
        finally:
            for task, _ in self.tasks.values():
                task.stop(signal.SIGTERM)
            for name, handler in before.items():
                signal.signal(getattr(signal, name), handler or signal.SIG_DFL)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        again = self.stopped is not None
        self.stopped = self.stopped or signal.Signals(number).name
        for task, _ in self.tasks.values():
            task.stop(signal.SIGKILL if again else number)


def why(code: int, log: Path) -> str:
    """Say why a job failed, by its exit code and the last it printed."""
    lines = [line for line in tail(log).splitlines() if line.strip()]
    said = next((line for line in reversed(lines) if line.startswith("error: ")), "\n".join(lines[-1:]))
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"ended with {code}: {said.removeprefix('error: ')}"


def tail(path: Path, size: int = 4000) -> str:
    """Return the end of a text file."""
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - size))
        return stream.read().decode(errors="replace")
