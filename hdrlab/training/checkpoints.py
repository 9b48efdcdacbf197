"""Checkpoints of trainings: what they hold, how they are read, and how a stage comes back from one."""

from __future__ import annotations

import inspect
import platform
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from hdrlab.config.registry import needs_plugin
from hdrlab.config.registry.stages import STAGES
from hdrlab.config.registry.tables import like
from hdrlab.config.schema.commands import TrainConfig
from hdrlab.config.schema.iqatm import ToneConfig
from hdrlab.datasets.index import Index
from hdrlab.errors import CheckpointError, __version__
from hdrlab.io.atomic import filling, link, replacing
from hdrlab.nets import Net
from hdrlab.stages import stage_class
from hdrlab.stages.base import SCHEMA_VERSION, Stage
from hdrlab.training.checkpoint_list import (
    BEST,
    PREVIOUS,
    Entry,
    entry_of,
    read_manifest,
    write_manifest,
)
from hdrlab.weights.net_file import load_nets
from hdrlab.weights.safe_load import load_safely, require_weights

_NET_KEYS = {"features", "monotone", "upsampling", "residual", "tone"}
"""Keys that change what a net computes and, unlike the width, not always the shape of its weights."""


def header(config: TrainConfig, index: Index, inputs: Mapping[str, str]) -> dict[str, Any]:
    """Return what a checkpoint says of itself, in plain types.

    Args:
        config: The full configuration.
        index: The images trained on.
        inputs: Digests of the files the run starts from, by key.
    """
    packages = ("torch", "pytorch-lightning", "numpy", "OpenImageIO", "pillow")
    own = {"hdrlab": __version__, "python": platform.python_version()}
    num_images = len(index.split("train"))
    return {
        "config": asdict(config),
        "data": {"name": config.data.name, "fingerprint": index.fingerprint, "images": num_images},
        "inputs": dict(inputs),
        "perceptual": config.stage.vgg16,
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
    stored = load_safely(path, CheckpointError)
    if "hdrlab" not in stored or "state_dict" not in stored:
        raise CheckpointError(f"{path}: not a checkpoint of hdrlab")
    require_weights(path, stored["state_dict"], CheckpointError)
    header, values = stored["hdrlab"], stored.get("hyper_parameters")
    kinds = {"schema_version": int, "stage": str, "preset": str, "nets": dict}
    if not isinstance(header, dict) or not isinstance(header.get("schema_version"), int):
        raise CheckpointError(f"{path}: damaged, or not a checkpoint of hdrlab")
    if header["schema_version"] != SCHEMA_VERSION:
        age, remedy = (
            ("a newer", "update") if header["schema_version"] > SCHEMA_VERSION else ("an older", "train anew")
        )
        raise CheckpointError(f"{path}: written by {age} hdrlab; {remedy} to use it")
    sound = all(isinstance(header.get(name), kind) for name, kind in kinds.items())
    if not sound or not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        raise CheckpointError(f"{path}: damaged, or not a checkpoint of hdrlab")
    return stored


def load_stage(path: Path) -> Stage:
    """Rebuild a trained stage from its checkpoint alone, ready for inference.

    Args:
        path: A checkpoint written by a run, by a plain ``pl.Trainer``, or a slot's.

    Raises:
        CheckpointError: If it cannot be read or does not hold what it says.
    """
    stored = read_checkpoint(path)
    name = stored["hdrlab"]["stage"]
    if name not in STAGES and (plugins := stored["hdrlab"].get("plugins")):
        raise CheckpointError(f"{path}: stage={name} {needs_plugin(plugins)}")
    if name not in STAGES:
        raise CheckpointError(f"{path}: of the stage {name!r}, which this version does not know")
    try:
        stage = stage_class(name)(**stored["hyper_parameters"])
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{path}: {'; '.join(str(error).splitlines())}") from error
    load_weights(stage, stored["state_dict"], path)
    stage.on_load_checkpoint(stored)
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


def start_from_net(stage: Stage, path: Path) -> None:
    """Give a stage's net the weights of a file that holds one: imported, or shipped with the package.

    Raises:
        CheckpointError: The stage has no such net, or one of another preset or other options.
        WeightsError: The file cannot be read.
    """
    for name, net in load_nets(path).items():
        own = getattr(stage, name, None)
        if not isinstance(own, Net):
            raise CheckpointError(f"{path}: holds a {name} net, which stage={stage.name} has not")
        if other := [f"{key}={value}" for key, value in _form(net).items() if _form(own).get(key) != value]:
            raise CheckpointError(f"{path}: {name} is of {', '.join(other)}; say so here too")
        own.load_state_dict(net.state_dict())


def _form(net: Net) -> dict[str, object]:
    """Return what decides about a net's computation: its preset and options, defaults among them."""
    defaults = {key: one.default for key, one in inspect.signature(type(net)).parameters.items()}
    values = {"preset": net.preset, **defaults, **net.options}
    return {key: value for key, value in values.items() if key not in ("basis", "bn_momentum")}


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
    header = stored["hdrlab"]
    if (header["stage"], header["preset"]) != (stage.name, stage.preset):
        raise CheckpointError(
            f"resume={path}: of stage={header['stage']} preset={header['preset']}, and this run is of "
            f"stage={stage.name} preset={stage.preset}"
        )
    if not {"optimizer_states", "loops", "callbacks"} <= stored.keys():
        problem = f"resume={path}: holds weights alone"
        raise CheckpointError(f"{problem}; start from them: stage.init.{stage.name}={path}")
    _compare(stage.state_dict(), stored["state_dict"], path)


def check_fits(stored: Mapping[str, Any], stage: str, config: TrainConfig, path: Path) -> None:
    """Check that a checkpoint can start a run.

    Args:
        stored: What it holds.
        stage: The stage it should be of.
        config: The run's configuration.
        path: Where it is, for the message.

    Raises:
        CheckpointError: It is of another stage or preset, or of nets that compute something else.
    """
    header, values = stored["hdrlab"], stored["hyper_parameters"]
    if header["stage"] != stage or like(header["preset"]) != like(config.preset):
        raise CheckpointError(
            f"{path}: a checkpoint of stage={header['stage']} preset={header['preset']}, "
            f"not of stage={stage} preset={config.preset}"
        )
    own = asdict(config.stage)
    shared = sorted(_NET_KEYS & values.keys() & own.keys())
    other = [f"stage.{key}={values[key]}" for key in shared if _seen(values[key]) != _seen(own[key])]
    if other:
        raise CheckpointError(f"{path}: was trained with {', '.join(other)}; say so here too")


def _seen(value: Any) -> Any:
    """Return what of a key's value decides what nets see: not how their output is shown."""
    return {k: v for k, v in value.items() if k not in ToneConfig.SHOWN} if isinstance(value, dict) else value


class CheckpointFiles(TorchCheckpointIO):
    """Writes checkpoints such that a kill or a full disk at any moment leaves a whole one behind.

    The new one is written beside its place, brought to the disk and read again; then the run's list is
    renewed, `checkpoint_list`; then the one before is kept as ``previous.ckpt``, and the new one moved to its
    place.
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
        see `take_error`. Without the option it is a file of a callback of the user's, who keeps track of it.
        """
        self.finish()
        place, best = Path(path), None if storage_options is None else bool(storage_options["best"])
        try:
            check_finite(checkpoint, place)
        except CheckpointError as error:
            self._error = error
        else:
            self._writing = self._writer.submit(self._save, _copied(checkpoint), place, best=best)

    def load_checkpoint(self, path: Any, *args: Any, **keys: Any) -> dict[str, Any]:
        """Load one, for a callback that has just saved it too."""
        self.finish()
        return super().load_checkpoint(path, *args, **keys)

    def remove_checkpoint(self, path: Any) -> None:
        """Remove one, for a callback that keeps a few."""
        self.finish()
        super().remove_checkpoint(path)

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

    def _save(self, checkpoint: dict[str, Any], place: Path, *, best: bool | None) -> None:
        """Save, or change nothing.

        Raises:
            OSError: It cannot be written, or the disk gave back something else than was written.
            CheckpointError: A callback of the user's would write over one of a run's own.
        """
        folder = place.parent
        folder.mkdir(parents=True, exist_ok=True)
        if best is None and any(one.file == place.name for one in read_manifest(folder)):
            raise CheckpointError(f"{place}: is the run's own; give the callback another dirpath or filename")
        with replacing(place) as part:
            with filling(part) as stream:
                torch.save(checkpoint, cast("BinaryIO", stream))
            if best is None:
                return
            digest, step = stream.digest.hexdigest(), int(checkpoint["global_step"])
            entry = Entry(place.name, step, part.stat().st_size, digest)
            listed = read_manifest(folder)
            former = entry_of(place, listed)
            others = [one for one in listed if one.file not in (place.name, *([PREVIOUS] if former else []))]
            others += [replace(former, file=PREVIOUS)] if former else []
            bests = [replace(entry, file=BEST)] if best else []
            # Listed before anything is moved: whatever step is the last one, what lies there is listed. For
            # the same reason only a file that is listed takes the place of the one before.
            write_manifest(folder, [entry, *others, *bests])
            if former:
                link(place, folder / PREVIOUS)
            if best:  # before the last one, whose state already counts on it
                link(part, folder / BEST)
        if best:
            write_manifest(folder, [entry, *(one for one in others if one.file != BEST), *bests])


def _copied(value: Any) -> Any:
    """Copy nested values with all tensors, in the memory of the CPU: training goes on changing its own."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {key: _copied(inner) for key, inner in value.items()}
    return type(value)(map(_copied, value)) if type(value) in (list, tuple) else value


def check_finite(checkpoint: Mapping[str, Any], path: Path) -> None:
    """Check that weights and optimiser states are finite numbers; callbacks may hold what they like.

    Raises:
        CheckpointError: Naming the first that is not.
    """
    learnt = {name: value for name, value in checkpoint.items() if name != "callbacks"}
    for name, value in _tensors(learnt, ""):
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise CheckpointError(f"{path}: not written: {name} holds NaN or infinite values")


def _tensors(value: Any, name: str) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, (Mapping, list, tuple)):
        rows = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, inner in rows:
            yield from _tensors(inner, f"{name}.{key}" if name else str(key))
