"""Train one stage: ``python -m hdrlab.train stage=hal``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from hydra.core.hydra_config import HydraConfig

from hdrlab.config.check import check_train
from hdrlab.config.command import Command
from hdrlab.config.menu import train_menu
from hdrlab.config.schema import TrainConfig


def train(config: TrainConfig) -> int:
    """Carry out a checked training configuration; return the exit code.

    What is wrong with data, curves and bases is said before torch is imported.
    """
    from hdrlab.camera.curves import load_response_curves
    from hdrlab.datasets.progress import reading
    from hdrlab.datasets.sources import open_data
    from hdrlab.runs import digest, open_run, publish

    with reading(f"data={config.data.name}") as progress:
        index = open_data(config.data, Path(config.paths.data) / "cache", progress)
    curves = load_response_curves(config.data.curves)
    inputs = {key: digest(Path(path)) for key, path in _input_files(config)}
    run = open_run(config, index.fingerprint, inputs)
    if run.finished_step is not None and run.finished_step >= config.trainer.max_steps:
        print(f"{run.folder}: finished at step {run.finished_step}; raise stage.max_steps or set resume=never")
        return 0

    from hdrlab import runtime  # torch comes in here, seconds after the first mistakes were found

    data = runtime.build_data(config, index, curves)
    stage = runtime.build_stage(config)
    stage.header = runtime.header(config, index, inputs)
    trainer = runtime.build_trainer(config, run)
    print(f"{run.folder}: {'resuming ' + str(run.resume_from) if run.resume_from else 'a new run'}", flush=True)
    if stage.header["perceptual"] == "random":
        print("perceptual loss on random VGG-16 weights: set paths.vgg16 to a file for the paper's loss")
    runtime.fit(trainer, stage, data, run.resume_from)

    figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
    run.mark_finished(trainer.global_step, figures)
    for panel in sorted((run.folder / "panels").glob("*.png"))[-1:]:
        print(f"panel: {panel}")
    if config.trainer.name != "smoke" and not HydraConfig.initialized():  # nor do the jobs of a sweep publish
        manifest = {"step": trainer.global_step, "data_fingerprint": index.fingerprint, "figures": figures}
        print(f"slot: {publish(run, run.folder / 'best.ckpt', config, manifest)}")
    return 0


def _input_files(config: TrainConfig) -> Iterator[tuple[str, str]]:
    """Name the files a training starts from; their digests are part of what it is."""
    stage = config.stage
    perceptual = getattr(stage, "perceptual", None)
    named = {
        "stage.init": stage.init,
        "stage.encoder_weights": getattr(stage, "encoder_weights", None),
        "stage.basis": getattr(stage, "basis", None),
        "stage.perceptual.weights": perceptual and perceptual.weights,
        "paths.vgg16": config.paths.vgg16 if perceptual and perceptual.weights == "auto" else None,
        "data.curves": config.data.curves,
    }
    yield from ((key, path) for key, path in named.items() if path not in (None, "builtin", "random", "auto"))


COMMAND = Command("config", TrainConfig, check_train, train, train_menu, required=("stage",))

if __name__ == "__main__":
    COMMAND.main()
