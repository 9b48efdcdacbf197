"""Run folders and slots: where a training writes, and where the next stage finds its result.

::

    runs/<stage>/<hash>-<n>/    config.yaml, metrics.csv, panels/, last.ckpt, previous.ckpt, best.ckpt and
                                checkpoints.json, their list; finished.json at the end
    runs/slots/<data>/          <stage>.ckpt and <stage>.json, its manifest

The hash leaves out what does not change the result, so the same command line finds its own folder again.
``python -m hdrlab.runs`` lists what is there.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]  # comes with omegaconf
from filelock import FileLock, Timeout

from hdrlab.config.schema import StageConfig, TrainConfig
from hdrlab.config.stages import DATA, STAGES, reads_tones
from hdrlab.training.manifest import check_listed, digest, find_last, remove_parts, write_text
from hdrlab.training.ranks import Announced

# Keys that change how long, where or how visibly a run computes, but not what a step computes.
_FREE_KEYS = {
    "stage": {"max_steps", "epochs", "init"},  # what a run starts from counts by its content
    "data": {
        "root",
        "manifest",
        "lists",
        "workers",
        "val_pictures",
        "val_crop",
        "short_run",
        "skip_bad",
        "pairing",
        "make_sdr",
        "unlabelled",
    },
    "trainer": {
        *("max_steps", "accelerator", "devices", "num_nodes", "timeout", "compile", "val_every"),
        *("save_every", "log_every", "val_pictures", "bad_steps", "bad_samples"),
    },
}
_FREE_SECTIONS = {"logger", "callbacks", "paths", "resume", "publish", "experiment", "sweep"}


OWNER = "run.lock.txt"
"""Who trains in a run folder, for a message to the next."""

UNREADABLE = (OSError, ValueError, LookupError, TypeError, RecursionError, yaml.YAMLError)
"""What reading a damaged file of ours raises."""


class RunError(ValueError):
    """A run that cannot be continued as asked."""


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
            (self.folder / OWNER).unlink(missing_ok=True)
            self.lock.release()

    def mark_finished(self, step: int, figures: Mapping[str, float]) -> None:
        """Write that the run ended as it should."""
        _write_json(self.folder / "finished.json", {"step": step, "figures": dict(figures)})


def run_hash(config: TrainConfig, fingerprint: str, inputs: Mapping[str, str]) -> str:
    """Return 8 hexadecimal digits of everything that changes what a training computes.

    Args:
        config: The configuration.
        fingerprint: Digest of the data.
        inputs: Digests of the files it starts from, by key.
    """
    text = json.dumps([what_counts(config), fingerprint, dict(inputs)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def what_counts(config: TrainConfig) -> dict[str, Any]:
    """Return the part of a configuration that changes what a training computes, as plain values."""
    kept: dict[str, Any] = {}
    for name, section in asdict(config).items():
        if name not in _FREE_SECTIONS:
            free = _FREE_KEYS.get(name, set()) | _as_ever(getattr(config, name))
            if name == "data" and not reads_tones(STAGES[config.stage.name].batch_keys):
                free = free | {"tone"}
            kept[name] = {k: section[k] for k in section if k not in free} if free else section
    return kept


def _as_ever(section: Any) -> set[str]:
    """Name the keys that came later and say what was done before: the run of an older version is found."""
    described = fields(section) if is_dataclass(section) else ()
    said = {one.name: one.metadata["absent"] for one in described if "absent" in one.metadata}
    return {name for name, absent in said.items() if getattr(section, name) == absent}


def open_run(config: TrainConfig, fingerprint: str, inputs: Mapping[str, str]) -> Run:
    """Find the run folder of a configuration, or make a new one, and write the configuration into it.

    Args:
        config: The configuration; ``resume`` chooses between going on and starting anew.
        fingerprint: Digest of the data.
        inputs: Digests of the files it starts from.

    Raises:
        RunError: Another process trains in the folder, or it cannot be made.
        ManifestError: The folder holds checkpoints, and none can be gone on from.
    """
    earlier = run_folders(config, fingerprint, inputs)
    if config.resume == "never" or config.trainer.name == "smoke" or not earlier:
        parent = Path(config.paths.runs) / config.stage.name
        number = int(earlier[-1].name.rpartition("-")[2]) + 1 if earlier else 1
        folder = parent / f"{run_hash(config, fingerprint, inputs)}-{number}"
    else:
        folder = earlier[-1]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise RunError(f"paths.runs={config.paths.runs}: {folder} cannot be made ({reason})") from error
    lock = _lock(folder)
    remove_parts(folder)
    write_text(folder / "config.yaml", yaml.safe_dump(asdict(config), sort_keys=False, allow_unicode=True))
    last: Path | None = Path(config.resume)
    if config.resume in ("auto", "never"):
        last, problems = find_last(folder)
        for problem in problems:
            print(f"warning: {problem}; going on from {last}", file=sys.stderr, flush=True)
    return Run(folder, last, finished_step(folder), lock)


def run_folders(config: TrainConfig, fingerprint: str, inputs: Mapping[str, str]) -> list[Path]:
    """List the folders of a configuration's runs in the order they were made."""
    parent = Path(config.paths.runs) / config.stage.name
    name = run_hash(config, fingerprint, inputs)
    found = [path for path in parent.glob(f"{name}-*") if path.is_dir()]
    return sorted(found, key=lambda path: int(path.name.rpartition("-")[2]))


def finished_step(folder: Path) -> int | None:
    """Return the step at which a run finished, or None."""
    return read_finished(folder)["step"] if (folder / "finished.json").is_file() else None


def read_finished(folder: Path) -> dict[str, Any]:
    """Read what a run wrote at its end.

    Raises:
        RunError: It is damaged.
    """
    path = folder / "finished.json"
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(stored["step"], int) and isinstance(stored["figures"], dict):
            return {"step": stored["step"], "figures": stored["figures"]}
        reason = "a value of the wrong type"
    except UNREADABLE as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
    raise RunError(f"{path}: damaged ({reason}); delete it, and the same command finishes the run again")


def join_run(run: Announced) -> Run:
    """Take part in the run that the first process of a training has opened."""
    return Run(run.folder, run.resume_from, run.finished_step)


def _lock(folder: Path) -> FileLock:
    """Take a run folder for this process; the system gives it back whatever way the process ends.

    Raises:
        RunError: Another process has it.
    """
    owner = folder / OWNER
    lock = FileLock(folder / "run.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        who = owner.read_text(encoding="utf-8") if owner.is_file() else "just started"
        said = f"{folder}: another process trains here ({who})"
        raise RunError(f"{said}; wait for it, or set resume=never for a run of its own") from error
    owner.write_text(f"process {os.getpid()} on {platform.node()}", encoding="utf-8")
    return lock


def starting_points(config: TrainConfig) -> dict[str, Path]:
    """Find the checkpoints a stage starts from, by the stage they are of: named ones before the slots.

    A smoke run starts from random nets where slots are empty.

    Raises:
        RunError: If a slot is empty, with the command that fills it.
    """
    row = STAGES[config.stage.name]
    named = {k: Path(path) for k, path in asdict(config.stage)["init"].items() if path is not None}
    if config.stage.name in named:
        return {config.stage.name: named[config.stage.name]}
    if getattr(config.stage, "start", "slots") == "nothing":
        return named
    missing: list[str] = []
    left_out = _left_out(config.stage)
    for choice in (tuple(name for name in names if name not in left_out) for names in row.starts_from):
        if not choice:
            continue
        found = {name: named.get(name) or _filled_slot(config, name) for name in choice}
        if all(found.values()):
            return {name: path for name, path in found.items() if path}
        missing = missing or [name for name, path in found.items() if not path]
    if missing and config.trainer.name != "smoke":
        data = DATA[config.data.name].slots_of[0]
        commands = "; ".join(f"python -m hdrlab.train stage={name} data={data} …" for name in missing)
        raise RunError(
            f"stage={config.stage.name} starts from {', '.join(missing)}, whose slot is empty; fill it: "
            f"{commands}; or name a checkpoint: stage.init.{missing[0]}=FILE"
            + "; or stage.start=nothing"
            * (config.stage.name == "tmo_ft")
        )
    return {}


def _left_out(stage: StageConfig) -> set[str]:
    """Name the stages that this one could start from, but is told not to."""
    named = {"joint": getattr(stage, "start", "") == "parts", "tmo_high": not getattr(stage, "high", True)}
    return {name for name, is_left_out in named.items() if is_left_out}


def _filled_slot(config: TrainConfig, stage: str) -> Path | None:
    slots = (slot_of(Path(config.paths.runs), data, stage) for data in DATA[config.data.name].slots_of)
    return next((slot for slot in slots if slot.is_file()), None)


def publish(run: Run, checkpoint: Path, config: TrainConfig, fingerprint: str) -> Path:
    """Copy a finished stage's checkpoint into its slot, with a manifest beside it.

    Args:
        run: The run it comes from.
        checkpoint: The file.
        config: The run's configuration.
        fingerprint: Digest of the data.

    Returns:
        The slot's checkpoint.

    Raises:
        ManifestError: The checkpoint is not what the run has written.
    """
    check_listed(checkpoint)
    slot = slot_of(Path(config.paths.runs), config.data.name, config.stage.name)
    slot.parent.mkdir(parents=True, exist_ok=True)
    part = slot.with_suffix(".part")
    shutil.copyfile(checkpoint, part)
    part.replace(slot)
    reached = read_finished(run.folder)
    origin = {"run": run.name, "data_fingerprint": fingerprint, "sha256": digest(slot)}
    _write_json(slot.with_suffix(".json"), {**reached, **origin})
    return slot


def slot_of(runs: Path, data: str, stage: str) -> Path:
    """Return the path of a slot's checkpoint, whether it is filled or not."""
    return runs / "slots" / data / f"{stage}.ckpt"


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    write_text(path, json.dumps(content, indent=2, allow_nan=False))


def _table(runs: Path) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("run", "data", "steps", "state", title=escape(str(runs)))
    for path in sorted(runs.glob("*/*/config.yaml"), key=lambda p: p.stat().st_mtime):
        finished = path.with_name("finished.json")
        started = path.with_name("last.ckpt").is_file()
        state = "finished" if finished.is_file() else "can be resumed" if started else "no checkpoint yet"
        run = f"{path.parent.parent.name}/{path.parent.name}"
        table.add_row(escape(run), *map(escape, _data_and_steps(path)), state)
    slots = Table("slot", "from run", "step", "data fingerprint", title="slots")
    for path in sorted(runs.glob("slots/*/*.json")):
        name = f"{path.parent.name}/{path.stem}"
        slots.add_row(*map(escape, (name, *_origin(path))))
    Console().print(table, slots, sep="\n")


def _data_and_steps(path: Path) -> tuple[str, str]:
    """Read a run's stored configuration as plain text: nothing in it is filled in or made."""
    try:
        stored = yaml.safe_load(path.read_text(encoding="utf-8"))
        return str(stored["data"]["name"]), str(stored["stage"]["max_steps"])
    except UNREADABLE:
        return "config.yaml is damaged", ""


def _origin(path: Path) -> tuple[str, str, str]:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return str(stored["run"]), str(stored["step"]), str(stored["data_fingerprint"])[:8]
    except UNREADABLE:
        return "manifest is damaged", "", ""


def main() -> None:
    """List the runs and slots of a folder, ``runs`` unless another is named."""
    words = sys.argv[1:]
    if len(words) > 1 or any(word.startswith("-") for word in words):
        print("List run folders and slots.\n\nusage: python -m hdrlab.runs [FOLDER]")
        raise SystemExit(0 if words in (["-h"], ["--help"]) else 2)
    folder = Path(words[0].removeprefix("paths.runs=") if words else "runs")
    if not folder.is_dir():
        print(f"error: {folder}: no such folder; train a stage first, or name another", file=sys.stderr)
        raise SystemExit(2)
    _table(folder)


if __name__ == "__main__":
    main()
