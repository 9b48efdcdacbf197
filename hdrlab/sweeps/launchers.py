"""Where the jobs of a sweep run: as processes of this machine, or on a SLURM cluster through submitit."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from hdrlab.config.schema import SlurmConfig, TrainerConfig
from hdrlab.processes import die_with_parent

GRACE_SECONDS = 120
"""How long before its time limit a job on a cluster is told to save."""


class Task(Protocol):
    """A job that was started.

    Attributes:
        reason: Why it ended, where only the launcher knows.
    """

    reason: str

    @property
    def cluster_id(self) -> str | None:
        """Its number on a cluster, or None."""

    def poll(self) -> int | None:
        """Return its exit code, or None while it runs."""

    def stop(self, number: int) -> bool:
        """Pass a signal on; say whether the job ends by that, so that it is worth waiting for."""


class Launcher(Protocol):
    """Starts jobs."""

    def start(self, name: str, words: Sequence[str], log: Path, trainer: TrainerConfig) -> Task:
        """Start a training; what it prints is appended to a file."""

    def find(self, cluster_id: str, trainer: TrainerConfig) -> Task | None:
        """Return the task of a job that an earlier call started, if it outlived that call."""


def command_line(words: Sequence[str]) -> list[str]:
    """Return what runs a training."""
    return [sys.executable, "-m", "hdrlab.train", *words]


# ------------------------------------------------------------------------------------------ this machine


@dataclass
class LocalTask:
    """A process of this machine, and the first of the GPUs that it was given."""

    process: subprocess.Popen[bytes]
    place: int
    reason: str = ""

    @property
    def cluster_id(self) -> None:
        """It is on no cluster."""

    def poll(self) -> int | None:
        """Return its exit code, or None while it runs."""
        return self.process.poll()

    def stop(self, number: int) -> bool:
        """Pass a signal on."""
        self.process.send_signal(number)
        return True


@dataclass
class Local:
    """Processes of this machine, several at a time.

    Jobs at the same time share the cores, and take the GPUs in turn.

    Attributes:
        lock: Descriptor that they keep open, so that the sweep stays locked until all have ended.
        parallel: How many run at the same time.
        gpus: Names of the GPUs, as in CUDA_VISIBLE_DEVICES.
    """

    lock: int
    parallel: int
    gpus: Sequence[str] = field(default_factory=lambda: visible_gpus())
    _running: list[LocalTask] = field(default_factory=list)

    def start(self, name: str, words: Sequence[str], log: Path, trainer: TrainerConfig) -> Task:
        """Start a process in a session of its own: a Ctrl-C reaches it through the sweep alone, once."""
        self._running = [task for task in self._running if task.poll() is None]
        place = next(p for p in range(self.parallel) if p not in {task.place for task in self._running})
        with log.open("ab") as stream:
            process = subprocess.Popen(
                command_line(words),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self._shares(place, trainer.devices)},
                pass_fds=(self.lock,),
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        self._running.append(LocalTask(process, place))
        return self._running[-1]

    def find(self, cluster_id: str, trainer: TrainerConfig) -> Task | None:
        """Return None: processes end with the call that started them."""
        return None

    def _shares(self, place: int, devices: int) -> dict[str, str]:
        """Return the environment that keeps jobs at the same time from taking the same cores and GPUs."""
        if self.parallel == 1:
            return {}
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        threads = os.environ.get("OMP_NUM_THREADS", str(max(1, cores // self.parallel)))
        shares = {"OMP_NUM_THREADS": threads}
        if self.gpus:
            mine = [self.gpus[(place * devices + k) % len(self.gpus)] for k in range(devices)]
            shares["CUDA_VISIBLE_DEVICES"] = ",".join(dict.fromkeys(mine))
        return shares


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


# ---------------------------------------------------------------------------------------------- a cluster


@dataclass
class Call:
    """What submitit carries out on the cluster: a training, in as many tasks as it has devices.

    Attributes:
        words: Of the training.
        log: File for what it prints.
    """

    words: Sequence[str]
    log: Path

    def __call__(self) -> int:
        """Run the training to its end and return its exit code."""
        rank = os.environ.get("SLURM_PROCID", "0")
        log = self.log if rank == "0" else self.log.with_stem(f"{self.log.stem}-rank{rank}")
        with log.open("ab") as stream:
            process = subprocess.Popen(command_line(self.words), stdout=stream, stderr=subprocess.STDOUT)

        def pass_on(number: int, frame: FrameType | None) -> None:
            process.send_signal(number)

        signal.signal(signal.SIGTERM, pass_on)  # it saves and ends with 75; the sweep submits it again
        return process.wait()


@dataclass
class ClusterTask:
    """A job of the cluster, which goes on when the sweep is stopped."""

    job: Any
    reason: str = ""

    @property
    def cluster_id(self) -> str | None:
        """Its number there."""
        return str(self.job.job_id)

    def poll(self) -> int | None:
        """Return the first exit code that is not 0 of its tasks, or None while it waits or runs."""
        if not self.job.done():
            return None
        try:
            codes: list[int] = self.job.results()
        except Exception as error:  # of any kind: it carries whatever went wrong on another machine
            said = str(error).strip().splitlines() or [type(error).__name__]
            self.reason = f"job {self.cluster_id}, {self.job.state}: {said[0]}"
            return 1
        return next((code for code in codes if code), 0)

    def stop(self, number: int) -> bool:
        """Leave it on the cluster."""
        return False


@dataclass
class Slurm:
    """Jobs of a SLURM cluster, each submitted by itself.

    Attributes:
        folder: Where submitit keeps its files, on a disk that all machines see.
        asked: What a job asks for.
        cluster: ``slurm``; ``local`` runs them here, for tests.
    """

    folder: Path
    asked: SlurmConfig
    cluster: str = "slurm"

    def start(self, name: str, words: Sequence[str], log: Path, trainer: TrainerConfig) -> Task:
        """Submit a training."""
        import submitit

        executor = submitit.AutoExecutor(self.folder, cluster=self.cluster)
        executor.update_parameters(name=name, timeout_min=self.asked.minutes)
        if self.cluster == "slurm":
            executor.update_parameters(**self._parameters(trainer))
        return ClusterTask(executor.submit(Call(list(words), log.resolve())))

    def find(self, cluster_id: str, trainer: TrainerConfig) -> Task | None:
        """Return the task of a job that an earlier call submitted."""
        import submitit

        tasks = list(range(trainer.devices * trainer.num_nodes))
        return ClusterTask(submitit.SlurmJob(self.folder, cluster_id, tasks=tasks))

    def _parameters(self, trainer: TrainerConfig) -> dict[str, Any]:
        asked = self.asked
        more = dict(option.split("=", 1) for option in asked.options or ())
        chosen = {
            "slurm_partition": asked.partition,
            "slurm_account": asked.account,
            "slurm_mem": asked.memory,
            "slurm_setup": list(asked.setup) if asked.setup else None,
            "gpus_per_node": asked.gpus * trainer.devices or None,
        }
        return {
            **{name: value for name, value in chosen.items() if value is not None},
            "nodes": trainer.num_nodes,
            "tasks_per_node": trainer.devices,
            "cpus_per_task": asked.cpus,
            # submitit would requeue a job itself by another signal; hdrlab.train saves at this one.
            "slurm_additional_parameters": {"signal": f"TERM@{GRACE_SECONDS}", **more},
        }
