"""Checkpoints of trainings: what they hold, how they are read, and how a stage comes back from one."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, fields, replace
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from hdrlab import __version__
from hdrlab.config.check import build, perceptual_weights
from hdrlab.config.schema import TrainConfig
from hdrlab.config.stages import STAGES
from hdrlab.datasets.index import Index
from hdrlab.net_files import DAMAGE, check_records
from hdrlab.stages.base import SCHEMA_VERSION, Stage
from hdrlab.training.manifest import (
    BEST,
    LAST,
    PART,
    PREVIOUS,
    Entry,
    digest,
    link,
    read_manifest,
    sync_folder,
    write_manifest,
)

_NET_KEYS = {"features", "monotone", "upsampling", "residual"}
"""Keys that change what a net computes and, unlike the width, not always the shape of its weights."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be used."""


def perceptual_source(config: TrainConfig) -> str | None:
    """Return which VGG-16 weights a stage uses: a path, ``random``, or None where it uses none."""
    weights = perceptual_weights(config.stage)
    # The check has seen to it that random ones are allowed.
    return config.paths.vgg16 or "random" if weights == "auto" else weights


def header(config: TrainConfig, index: Index, inputs: Mapping[str, str]) -> dict[str, Any]:
    """Return what a checkpoint says of itself, in plain types.

    Args:
        config: The full configuration.
        index: The pictures trained on.
        inputs: Digests of the files the run starts from, by key.
    """
    packages = ("torch", "pytorch-lightning", "numpy", "OpenImageIO", "pillow")
    own = {"hdrlab": __version__, "python": platform.python_version()}
    num_pictures = len(index.split("train"))
    return {
        "config": asdict(config),
        "data": {"name": config.data.name, "fingerprint": index.fingerprint, "pictures": num_pictures},
        "inputs": dict(inputs),
        "perceptual": perceptual_source(config),
        "git_commit": _git_commit(),
        "versions": own | {name: version(name) for name in packages},
    }


def _git_commit() -> str | None:
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        return None
    asked = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, check=False, timeout=10
    )
    return asked.stdout.strip() or None


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint safely: tensors and plain types only.

    Raises:
        CheckpointError: With path and reason, if it is damaged, foreign or from a newer version.
    """
    try:
        check_records(path)
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except DAMAGE as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise CheckpointError(f"{path}: cannot be read ({reason})") from error
    if not isinstance(stored, dict) or "hdrlab" not in stored or "state_dict" not in stored:
        raise CheckpointError(f"{path}: not a checkpoint of hdrlab")
    said, weights = stored["hdrlab"], stored["state_dict"]
    kinds = {"schema_version": int, "stage": str, "preset": str, "config": dict}
    sound = isinstance(said, dict) and all(isinstance(said.get(k), kind) for k, kind in kinds.items())
    if not sound or not isinstance(weights, dict) or not all(map(torch.is_tensor, weights.values())):
        raise CheckpointError(f"{path}: damaged, or not a checkpoint of hdrlab")
    if said["schema_version"] > SCHEMA_VERSION:
        raise CheckpointError(f"{path}: written by a newer hdrlab; update to read it")
    return stored


def load_stage(path: Path) -> Stage:
    """Rebuild a trained stage from its checkpoint alone, ready for inference.

    Args:
        path: A checkpoint written by a run, or a slot's.

    Raises:
        CheckpointError: If it cannot be read or does not hold what it says.
    """
    stored = read_checkpoint(path)
    said = stored["hdrlab"]
    problems: list[str] = []
    if said["stage"] not in STAGES:
        raise CheckpointError(f"{path}: of the stage {said['stage']!r}, which this version does not know")
    values = dict(said["config"].get("stage") or {})
    if "basis" in values:
        values["basis"] = "builtin"  # the trained net carries its own; the file may be long gone
    config = build(STAGES[said["stage"]].schema, values, problems)
    if problems:
        raise CheckpointError(f"{path}: " + "; ".join(problems))
    stage: Stage = stage_class(said["stage"])(config, said["preset"])
    stage.header = {k: v for k, v in said.items() if k not in ("schema_version", "stage", "preset", "step")}
    load_weights(stage, stored["state_dict"], path)
    return stage.eval()


def load_weights(
    stage: Stage, weights: Mapping[str, torch.Tensor], path: Path, *, whole: bool = True
) -> None:
    """Load weights into a stage, or say everything that does not fit.

    Args:
        stage: Receives them.
        weights: Tensors by name; a net has the same name in every stage.
        path: Where they come from, for the message.
        whole: Whether they must fill the whole stage, or only the nets they are of.

    Raises:
        CheckpointError: With every missing, unexpected and misshapen tensor.
    """
    nets = {name.partition(".")[0] for name in weights}
    own = {k: v for k, v in stage.state_dict().items() if whole or k.partition(".")[0] in nets}
    _compare(own, weights, path)
    stage.load_state_dict(dict(weights), strict=whole)


def _compare(own: Mapping[str, torch.Tensor], weights: Mapping[str, torch.Tensor], path: Path) -> None:
    wrong = [f"missing {name}" for name in own.keys() - weights.keys()]
    wrong += [f"unexpected {name}" for name in weights.keys() - own.keys()]
    wrong += [
        f"{name} is {tuple(weights[name].shape)}, must be {tuple(own[name].shape)}"
        for name in own.keys() & weights.keys()
        if own[name].shape != weights[name].shape
    ]
    if wrong:
        raise CheckpointError(f"{path}: does not fit this stage: " + "; ".join(sorted(wrong)))


def check_resumes(stored: Mapping[str, Any], stage: Stage, path: Path) -> None:
    """Check that a run can go on from a checkpoint.

    Raises:
        CheckpointError: It is of another stage, or its nets are others.
    """
    said = stored["hdrlab"]
    if (said["stage"], said["preset"]) != (stage.name, stage.preset):
        raise CheckpointError(
            f"resume={path}: of stage={said['stage']} preset={said['preset']}, and this run is of "
            f"stage={stage.name} preset={stage.preset}"
        )
    if not {"optimizer_states", "loops", "callbacks"} <= stored.keys():
        said = f"resume={path}: holds weights alone"
        raise CheckpointError(f"{said}; start from them: stage.init.{stage.name}={path}")
    _compare(stage.state_dict(), stored["state_dict"], path)


def check_fits(said: Mapping[str, Any], stage: str, config: TrainConfig, path: Path) -> None:
    """Check that a checkpoint can start a run.

    Args:
        said: What it says of itself.
        stage: The stage it should be of.
        config: The run's configuration.
        path: Where it is, for the message.

    Raises:
        CheckpointError: It is of another stage or preset, or of nets that compute something else.
    """
    if said["stage"] != stage or said["preset"] != config.preset:
        raise CheckpointError(
            f"{path}: a checkpoint of stage={said['stage']} preset={said['preset']}, "
            f"not of stage={stage} preset={config.preset}"
        )
    told = said["config"]["stage"]
    keys = {one.name: one.metadata.get("absent") for one in fields(STAGES[stage].schema)}
    trained = {key: told.get(key, keys[key]) for key in _NET_KEYS & keys.keys() if hasattr(config.stage, key)}
    other = [f"stage.{key}={v}" for key, v in trained.items() if v != getattr(config.stage, key)]
    if other:
        raise CheckpointError(f"{path}: was trained with {', '.join(sorted(other))}; say so here too")


class CheckpointFiles(TorchCheckpointIO):
    """Writes checkpoints such that a kill or a full disk at any moment leaves a whole one behind.

    The new one is written beside its place, brought to the disk, read again, and only then moved there; the
    one before is kept as ``previous.ckpt``; then the run's list is renewed, see `hdrlab.training.manifest`.
    All that goes on beside the training, which waits only for a copy of what is to be written.
    """

    def __init__(self) -> None:
        super().__init__()
        self._writer = ThreadPoolExecutor(1, "checkpoint")
        self._writing: Future[None] | None = None
        self._error: OSError | CheckpointError | None = None

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Begin to save as ``path``, and with ``storage_options={"best": True}`` as ``best.ckpt`` too.

        Waits for the one before. What goes wrong is not raised, since the other ranks wait for this one:
        see `take_error`.
        """
        self.finish()
        place, best = Path(path), bool((storage_options or {}).get("best"))
        try:
            check_finite(checkpoint, place)
        except CheckpointError as error:
            self._error = error
        else:
            self._writing = self._writer.submit(self._save, _copied(checkpoint), place, best=best)

    def finish(self) -> None:
        """Wait until all is written."""
        if self._writing is None:
            return
        try:
            self._writing.result()
        except (OSError, CheckpointError) as error:
            self._error = error
        self._writing = None

    def take_error(self) -> OSError | CheckpointError | None:
        """Return why a checkpoint could not be saved, on the rank that saves, and forget it."""
        error, self._error = self._error, None
        return error

    def teardown(self) -> None:
        """Wait until all is written."""
        self.finish()

    def _save(self, checkpoint: dict[str, Any], place: Path, *, best: bool) -> None:
        """Save, or change nothing.

        Raises:
            CheckpointError: The disk gave back something else than was written.
            OSError: It cannot be written.
        """
        part = place.with_name(place.name + PART)
        try:
            with part.open("wb") as stream:
                writing = _Digesting(stream)
                torch.save(checkpoint, cast("BinaryIO", writing))
                stream.flush()
                os.fsync(stream.fileno())
            written = writing.digest.hexdigest()
            if digest(part) != written:
                raise CheckpointError(f"{place}: the disk does not give back what was written; not kept")
            entry = Entry(place.name, int(checkpoint["global_step"]), part.stat().st_size, written)
            self._put(part, place, entry, best=best)
        finally:
            part.unlink(missing_ok=True)

    @staticmethod
    def _put(part: Path, place: Path, entry: Entry, *, best: bool) -> None:
        folder = place.parent
        listed = {one.file: one for one in read_manifest(folder)}
        if place.name == LAST and place.is_file():
            link(place, folder / PREVIOUS)
            if LAST in listed:
                listed[PREVIOUS] = replace(listed[LAST], file=PREVIOUS)
        if best:  # before the last one, whose state already counts on it
            link(part, folder / BEST)
            listed[BEST] = replace(entry, file=BEST)
        part.replace(place)
        sync_folder(folder)
        write_manifest(folder, list((listed | {entry.file: entry}).values()))


class _Digesting:
    """A file that computes the SHA-256 of what is written to it."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream, self.digest = stream, hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return self.stream.write(data)

    def flush(self) -> None:
        self.stream.flush()


def _copied(value: Any) -> Any:
    """Copy nested values with all tensors, in the memory of the CPU: training goes on changing its own."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {key: _copied(inner) for key, inner in value.items()}
    return type(value)(map(_copied, value)) if type(value) in (list, tuple) else value


def check_finite(checkpoint: Mapping[str, Any], path: Path) -> None:
    """Check that weights and optimiser states are finite numbers.

    Raises:
        CheckpointError: Naming the first that is not.
    """
    for name, value in _tensors(checkpoint, ""):
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise CheckpointError(f"{path}: not written: {name} holds NaN or infinite values")


def _tensors(value: Any, name: str) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, (Mapping, list, tuple)):
        rows = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, inner in rows:
            yield from _tensors(inner, f"{name}.{key}" if name else str(key))


def stage_class(name: str) -> Any:
    """Return the LightningModule of a stage."""
    module, _, cls = STAGES[name].cls.partition(":")
    return getattr(import_module(module), cls)
