"""A Hydra launcher that runs every job as a process of its own: ``hydra/launcher=process``.

A job that crashes or runs out of memory ends alone; jobs at the same time share the cores and take the GPUs
in turn; a signal reaches all of them, and they save.
"""

import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from hdrlab.training.processes import SWEEP, tied
from hdrlab.training.signals import CODES, Interrupted
from hydra_plugins.hdrlab_report import Job, folder_of, swept

POLL_SECONDS = 0.2
_ITS_OWN = ("hydra/launcher", "hydra/sweeper", "hydra.launcher", "hydra.sweeper", "hydra.mode", "hydra.run")
"""Overrides of the sweep that are none of its jobs'."""


@dataclass
class ProcessConf:
    """Settings of the launcher.

    Attributes:
        n_jobs: How many run at the same time.
        gpus_per_job: GPUs of each; null: as many as trainer.devices.
    """

    _target_: str = "hydra_plugins.hdrlab_launcher.ProcessLauncher"
    n_jobs: int = 1
    gpus_per_job: int | None = None


ConfigStore.instance().store(group="hydra/launcher", name="process", node=ProcessConf, provider="hdrlab")


def _run_name(*, _root_: DictConfig) -> str:
    from hdrlab.train import name_run

    return name_run(_root_)


# Here, since every process in which Hydra runs a job, joblib's and submitit's too, imports the plug-ins.
OmegaConf.register_new_resolver("run_name", _run_name, replace=True)


@dataclass
class _Running:
    process: subprocess.Popen[bytes]
    job: Job
    place: int
    begun: float


@dataclass
class ProcessLauncher(Launcher):
    """Runs jobs as processes of this machine; see `ProcessConf`."""

    n_jobs: int
    gpus_per_job: int | None
    stopped: str | None = None
    _running: list[_Running] = field(default_factory=list)

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra gives."""
        self.context, self.config = hydra_context, config
        self.module = task_function.__module__

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run all jobs to their end; one that fails returns NaN, and leaves the others alone.

        Raises:
            Interrupted: A signal asked to stop; the jobs were told, and the same command goes on.
        """
        folder, keys = folder_of(self.config), swept(self.config)
        numbered = enumerate(map(list, job_overrides), initial_job_idx)
        jobs = [Job(folder, number, overrides) for number, overrides in numbered]
        waiting = deque(jobs)
        with self._watching():
            while self._running or (waiting and not self.stopped):
                while waiting and not self.stopped and len(self._running) < self.n_jobs:
                    self._start(waiting.popleft(), keys)
                time.sleep(POLL_SECONDS)
                for one in [one for one in self._running if one.process.poll() is not None]:
                    self._running.remove(one)
                    self._end(one, keys)
        if self.stopped:
            left = sum(job.code != 0 for job in jobs)
            print(
                f"{self.stopped}: {left} of {len(jobs)} jobs are left; the same command goes on", flush=True
            )
            raise Interrupted(CODES[self.stopped])
        return [_returned(job) for job in jobs]

    def _start(self, job: Job, keys: Sequence[str]) -> None:
        place = min(set(range(self.n_jobs)) - {one.place for one in self._running})
        config = self.context.config_loader.load_sweep_config(self.config, job.overrides)
        devices = self.gpus_per_job or int(OmegaConf.select(config, "trainer.devices", default=1))
        job.save()
        print(f"{job.title(keys)}: log {job.log}", flush=True)
        with job.log.open("ab") as log:
            process = subprocess.Popen(
                self._command(job),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, SWEEP: str(job.folder), **self._share(place, devices)},
                start_new_session=True,  # a Ctrl-C reaches it through this process alone, once
                **tied(),
            )
        self._running.append(_Running(process, job, place, time.monotonic()))

    def _command(self, job: Job) -> list[str]:
        """Return what runs a job: the same command, with the values of the job."""
        hydras = [
            one for one in self.config.hydra.overrides.hydra if not one.lstrip("+~").startswith(_ITS_OWN)
        ]
        sources = self.config.hydra.runtime.config_sources
        dirs = [f"--config-dir={one.path}" for one in sources if one.provider == "command-line"]
        name = f"--config-name={self.config.hydra.job.config_name}"
        where = "hydra.run.dir=${hydra.sweep.dir}/${hydra.sweep.subdir}"
        more = [f"hydra.job.num={job.number}", "hydra.mode=RUN", where]
        return [sys.executable, "-m", self.module, name, *dirs, *job.overrides, *hydras, *more]

    def _share(self, place: int, devices: int) -> dict[str, str]:
        """Return the environment that keeps jobs at the same time from taking the same cores and GPUs."""
        if self.n_jobs == 1:
            return {}
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        share = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max(1, cores // self.n_jobs)))}
        if gpus := visible_gpus():
            mine = [gpus[(place * devices + k) % len(gpus)] for k in range(devices)]
            share["CUDA_VISIBLE_DEVICES"] = ",".join(dict.fromkeys(mine))
        return share

    def _end(self, one: _Running, keys: Sequence[str]) -> None:
        """Note what became of a job, and say it."""
        job = one.job.read()
        job.code, job.seconds = one.process.returncode, job.seconds + time.monotonic() - one.begun
        if job.code:
            job.reason = _why(job.code, job.log)
        job.save()
        one.job.__dict__.update(job.__dict__)
        spent = f"{job.seconds // 60:.0f}:{job.seconds % 60:02.0f}"
        result = "" if job.value is None else f"{job.value:.5g}, "
        print(f"{job.title(keys)}: {result}{job.reason or 'done'} ({spent})", flush=True)

    @contextmanager
    def _watching(self) -> Iterator[None]:
        """Pass signals on to the jobs; leave none behind, whatever happens."""
        before = {name: signal.getsignal(getattr(signal, name)) for name in CODES}
        for name in before:
            signal.signal(getattr(signal, name), self._on_signal)
        try:
            yield
        finally:
            for one in self._running:
                one.process.terminate()
            for name, handler in before.items():
                signal.signal(getattr(signal, name), handler or signal.SIG_DFL)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        again = self.stopped is not None
        self.stopped = self.stopped or signal.Signals(number).name
        for one in self._running:
            if again:
                one.process.kill()
            elif os.name == "posix":
                one.process.send_signal(number)
            else:
                one.process.terminate()  # Windows has no signals to pass on


def _returned(job: Job) -> JobReturn:
    value: Any = math.nan if job.code else job.value
    return JobReturn(overrides=job.overrides, status=JobStatus.COMPLETED, _return_value=value)


def _why(code: int, log: Path) -> str:
    """Say why a job failed, by its exit code and the last it printed."""
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    if code in CODES.values():
        return "was told to stop"
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - 4000))
        lines = [line for line in stream.read().decode(errors="replace").splitlines() if line.strip()]
    last = next((line for line in reversed(lines) if line.startswith("error: ")), "".join(lines[-1:]))
    return f"failed with {code}: {last.removeprefix('error: ')}"


def visible_gpus() -> list[str]:
    """List the GPUs that processes of this one may use, without loading what uses them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [gpu for gpu in named.split(",") if gpu]
    if shutil.which("nvidia-smi") is None:
        return []
    listed = subprocess.run(
        ["nvidia-smi", "--list-gpus"], capture_output=True, text=True, check=False, timeout=60
    ).stdout
    return [str(number) for number, _ in enumerate(listed.splitlines())]
