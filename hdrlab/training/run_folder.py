"""Run folders: where a training writes.

::

    runs/<stage>/<difference>_<hash>-<n>/    config.yaml, metrics.csv, panels/, time.json, last.ckpt,
                                             previous.ckpt, best.ckpt and checkpoints.json, their list;
                                             finished.json at the end

The hash alone decides: it leaves out what does not change the result, so the same command line finds its own
folder again. What stands before it says how the run differs from the defaults, for people.
``python -m hdrlab.runs`` lists what is there.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]  # comes with omegaconf
from filelock import FileLock

from hdrlab.config.schema.commands import TrainConfig
from hdrlab.errors import RunError
from hdrlab.io.atomic import remove_stale, write_text
from hdrlab.training.checkpoint_list import find_last
from hdrlab.training.distributed import Announced
from hdrlab.training.run_hash import label, run_hash
from hdrlab.training.run_lock import OWNER, lock_run

UNREADABLE = (OSError, ValueError, LookupError, TypeError, RecursionError, yaml.YAMLError)
"""What reading a damaged file of ours raises."""


@dataclass(frozen=True)
class Run:
    """A run folder.

    Attributes:
        folder: Where the run writes.
        resume_from: Checkpoint to go on from, or None.
        finished_step: Step at which an earlier call finished, or None.
        lock: Keeps other processes out of the folder until this one ends.
    """

    folder: Path
    resume_from: Path | None
    finished_step: int | None
    lock: FileLock | None = None

    @property
    def name(self) -> str:
        """Stage and folder, for example ``hal/3fa2b1c9-1``."""
        return f"{self.folder.parent.name}/{self.folder.name}"

    @property
    def announced(self) -> Announced:
        """What the other processes of a training must know of it."""
        return Announced(self.folder, self.resume_from, self.finished_step)

    def release(self) -> None:
        """Let other processes into the folder."""
        if self.lock is not None:
            with suppress(OSError):  # which would hide what went wrong before
                (self.folder / OWNER).unlink(missing_ok=True)
            self.lock.release()

    def mark_finished(self, step: int, scores: Mapping[str, float], length: int) -> None:
        """Write that the run ended as it should.

        Args:
            step: The step it reached.
            scores: The scores of its last validation.
            length: The step that it was to reach; a callback may have stopped it before.
        """
        content = {"step": step, "length": max(step, length), "scores": dict(scores)}
        write_text(self.folder / "finished.json", json.dumps(content, indent=2, allow_nan=False))


def run_folder(config: TrainConfig, fingerprint: str, inputs: Mapping[str, str]) -> Path:
    """Return the folder of a configuration's run: that of an earlier call, or one with the next number.

    Args:
        config: The configuration; ``resume`` chooses between going on and starting anew.
        fingerprint: Digest of the data.
        inputs: Digests of the files it starts from.
    """
    earlier = run_folders(config, fingerprint, inputs)
    if earlier and config.resume != "never" and config.trainer.name != "smoke":
        return earlier[-1]
    number = int(earlier[-1].name.rpartition("-")[2]) + 1 if earlier else 1
    words = (label(config), f"{run_hash(config, fingerprint, inputs)}-{number}")
    return Path(config.paths.runs) / config.stage.name / "_".join(filter(None, words))


def open_run(
    config: TrainConfig, fingerprint: str, inputs: Mapping[str, str], folder: Path | None = None
) -> Run:
    """Open the run folder of a configuration, new or an earlier call's, and write the configuration into it.

    Args:
        config: The configuration.
        fingerprint: Digest of the data.
        inputs: Digests of the files it starts from.
        folder: The folder, if the user has named one.

    Raises:
        RunError: Another process trains in the folder, it is another run's, or it cannot be made.
        CheckpointError: The folder holds checkpoints, and none can be gone on from.
    """
    folder = folder or run_folder(config, fingerprint, inputs)
    make_folder(folder)
    lock = lock_run(folder)
    _take(folder, run_hash(config, fingerprint, inputs), config)
    remove_stale(folder)
    write_text(folder / "config.yaml", yaml.safe_dump(asdict(config), sort_keys=False, allow_unicode=True))
    last: Path | None = Path(config.resume)
    if config.resume in ("auto", "never"):
        last, problems = find_last(folder)
        for problem in problems:
            print(f"warning: {problem}; going on from {last}", file=sys.stderr, flush=True)
    return Run(folder, last, finished_step(folder), lock)


def make_folder(folder: Path) -> None:
    """Make a run folder.

    Raises:
        RunError: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        remedy = "name another place by paths.runs=FOLDER or hydra.run.dir=FOLDER"
        raise RunError(f"{folder}: cannot be made ({error.strerror or error}); {remedy}") from error


def _take(folder: Path, name: str, config: TrainConfig) -> None:
    """Mark a folder as a run's.

    Raises:
        RunError: It is another run's.
    """
    mark = folder / "hash.txt"
    others = mark.read_text(encoding="utf-8") if mark.is_file() else None
    if others is None and (folder / "config.yaml").is_file() and not _has_hash(folder, name):
        others = "another"
    if others not in (None, name):
        raise RunError(f"{folder}: holds another training; choose another folder by hydra.run.dir=FOLDER")
    if others == name and config.resume == "never" and not _has_hash(folder, name):
        raise RunError(f"{folder}: holds this training already, and resume=never; choose another folder")
    write_text(mark, name)


def run_folders(config: TrainConfig, fingerprint: str, inputs: Mapping[str, str]) -> list[Path]:
    """List the folders of a configuration's runs in the order they were made."""
    parent = Path(config.paths.runs) / config.stage.name
    name = run_hash(config, fingerprint, inputs)
    found = [path for path in parent.glob(f"*{name}-*") if path.is_dir() and _has_hash(path, name)]
    return sorted(found, key=lambda path: int(path.name.rpartition("-")[2]))


def _has_hash(folder: Path, name: str) -> bool:
    """Say whether a folder is named as a run of this hash is."""
    return re.fullmatch(rf"(.*_)?{name}-\d+", folder.name) is not None


def finished_step(folder: Path) -> int | None:
    """Return the length for which a run is finished, or None."""
    return read_finished(folder)["length"] if (folder / "finished.json").is_file() else None


def read_finished(folder: Path) -> dict[str, Any]:
    """Read what a run wrote at its end.

    Raises:
        RunError: It is damaged.
    """
    path = folder / "finished.json"
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(stored["step"], int) and isinstance(stored["scores"], dict):
            return {"length": stored["step"], **stored}
        reason = "a value of the wrong type"
    except UNREADABLE as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
    raise RunError(f"{path}: damaged ({reason}); delete it, and the same command finishes the run again")


def join_run(run: Announced) -> Run:
    """Take part in the run that the first process of a training has opened."""
    return Run(run.folder, run.resume_from, run.finished_step)
