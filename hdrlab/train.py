"""Train one stage: ``python -m hdrlab.train stage=hal``."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hdrlab.config.check import check_train
from hdrlab.config.command import Command
from hdrlab.config.menu import train_menu
from hdrlab.config.schema import TrainConfig
from hdrlab.config.stages import STAGES
from hdrlab.training.interruption import Interruption, interruptible
from hdrlab.training.ranks import announce, listen, own_rank, started_together

if TYPE_CHECKING:
    from hdrlab.camera import ResponseCurves
    from hdrlab.datasets.index import Index
    from hdrlab.runs import Run


@dataclass(frozen=True)
class Material:
    """What a training starts from.

    Attributes:
        config: The configuration, its length in steps.
        index: The pictures.
        starts: Checkpoints of other stages, by the stage.
        inputs: Digests of the files, by key.
    """

    config: TrainConfig
    index: Index
    starts: Mapping[str, Path]
    inputs: Mapping[str, str]


def gather(config: TrainConfig) -> Material:
    """Find what a training starts from; what is wrong with it is said before torch is imported."""
    from hdrlab.datasets.progress import reading
    from hdrlab.datasets.sources import open_data
    from hdrlab.runs import starting_points
    from hdrlab.training.manifest import digest

    starts = starting_points(config)
    with reading(f"data={config.data.name}") as progress:
        keys = STAGES[config.stage.name].batch_keys
        index = open_data(config.data, Path(config.paths.data) / "cache", keys, progress)
    inputs = {key: digest(Path(path)) for key, path in _input_files(config)}
    inputs |= {f"stage.init.{name}": digest(path) for name, path in starts.items()}
    return Material(in_steps(config, index), index, starts, inputs)


def train(config: TrainConfig) -> int:
    """Carry out a checked training configuration; return the exit code.

    What is wrong with data, curves and bases is said before torch is imported. A signal to stop ends it with
    75 (SIGTERM, SIGUSR1) or 130 (SIGINT), between two steps once it trains; the same command goes on there.
    """
    with interruptible() as interruption:
        return _train(config, interruption)


def _train(config: TrainConfig, interruption: Interruption) -> int:
    from hdrlab.datasets.sources import open_curves
    from hdrlab.runs import RunError, join_run, open_run

    on = config.trainer
    if on.precision == "16" or on.sync_batchnorm or on.accelerator in ("gpu", "mps"):
        from hdrlab.training.precision import require_device  # this needs torch, as nothing else here does

        require_device(on)
    if on.num_nodes > 1 and not started_together():
        said = "start one process a device with torchrun or srun; experiments/several_gpus.md shows how"
        raise RunError(f"trainer.num_nodes={on.num_nodes}: {said}")
    if own_rank():
        run = join_run(listen())  # which waits until the first process has prepared the data
        _fit(gather(config), run, open_curves(config.data), interruption)
        return 0
    material = gather(config)
    curves = open_curves(config.data)
    run = open_run(material.config, material.index.fingerprint, material.inputs)
    try:
        announce(run.announced)
        _fit(material, run, curves, interruption)
        _publish(material, run)
    finally:
        run.release()
    return 0


def _publish(material: Material, run: Run) -> None:
    """Fill the stage's slot with the result, or say where that is."""
    from hdrlab.runs import publish

    config, index = material.config, material.index
    chosen = run.folder / _chosen(index)
    if config.experiment and not config.experiment.publish:
        print(f"result: {chosen}; an ablation's takes no slot")
    elif config.trainer.name != "smoke" and config.publish:
        print(f"slot: {publish(run, chosen, config, index.fingerprint)}")


def in_steps(config: TrainConfig, index: Index) -> TrainConfig:
    """Turn epochs into steps, where a stage counts in these."""
    epochs = getattr(config.stage, "epochs", None)
    if epochs is None or config.trainer.name == "smoke":
        return config
    from hdrlab.datasets.tone import sample_ends, usable

    samples = sample_ends(usable(index, "train", STAGES[config.stage.name].batch_keys))[-1]
    steps = math.ceil(epochs * samples / config.stage.batch_size)
    return replace(
        config,
        stage=replace(config.stage, max_steps=steps),
        trainer=replace(config.trainer, max_steps=steps),
    )


def _fit(material: Material, run: Run, curves: ResponseCurves | None, interruption: Interruption) -> None:
    """Train in a run folder, unless that is done."""
    config, index, starts = material.config, material.index, material.starts
    first = own_rank() == 0
    if run.finished_step is not None and run.finished_step >= config.trainer.max_steps:
        if first:
            said = f"finished at step {run.finished_step}; raise stage.max_steps or resume=never"
            print(f"{run.folder}: {said}")
        return
    # Torch comes in here, seconds after the first mistakes were found.
    from hdrlab.training import checkpoints, runtime
    from hdrlab.training.resuming import Checkpoints

    data = runtime.build_data(config, index, curves, run.folder)
    stage = runtime.build_stage(config, starts)
    stage.header = checkpoints.header(config, index, material.inputs)
    trainer = runtime.build_trainer(config, run, data, interruption)
    if first:
        begun = f"resuming {run.resume_from}" if run.resume_from else "a new run"
        print(f"{run.folder}: {begun}", flush=True)
        for name, path in starts.items():
            print(f"{name} starts from {path}")
        if stage.header["perceptual"] == "random":
            print("perceptual loss on random VGG-16 weights: set paths.vgg16 to a file for the paper's loss")
    runtime.fit(trainer, stage, data, run.resume_from)
    if first:
        (kept,) = (one for one in trainer.callbacks if isinstance(one, Checkpoints))  # type: ignore[attr-defined]
        run.mark_finished(trainer.global_step, kept.check_result())
        for panel in sorted((run.folder / "panels").glob("*.png"))[-1:]:
            print(f"panel: {panel}")


def _chosen(index: Index) -> str:
    """Name the checkpoint to publish: the best, but the last where validation would choose by test pictures.

    With the published lists the authors validate on ten pictures of the test list.
    """
    return "last.ckpt" if any(picture.in_test_list for picture in index.split("val")) else "best.ckpt"


def _input_files(config: TrainConfig) -> Iterator[tuple[str, str]]:
    """Name the files a training starts from; their digests are part of what it is."""
    stage = config.stage
    perceptual = getattr(stage, "perceptual", None)
    named = {
        "stage.encoder_weights": getattr(stage, "encoder_weights", None),
        "stage.basis": getattr(stage, "basis", None),
        "stage.perceptual.weights": perceptual and perceptual.weights,
        "paths.vgg16": config.paths.vgg16 if perceptual and perceptual.weights == "auto" else None,
        "data.curves": getattr(config.data, "curves", None),
    }
    yield from ((key, path) for key, path in named.items() if path not in (None, "builtin", "random", "auto"))


def _sweep(words: Sequence[str]) -> int:
    from hdrlab.sweeps.drive import sweep

    return sweep(COMMAND, words)


COMMAND = Command("config", TrainConfig, check_train, train, train_menu, ("stage",), _sweep)

if __name__ == "__main__":
    COMMAND.main()
