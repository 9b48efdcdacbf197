"""Train one stage: ``python -m hdrlab.train stage=hal``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from hdrlab.config.cli import Command, output_dir
from hdrlab.config.schema.commands import TrainConfig
from hdrlab.config.schema.section import anchored
from hdrlab.errors import RunError
from hdrlab.training.distributed import announce, listen, own_rank, started_together
from hdrlab.training.judging import judge, judging_rules
from hdrlab.training.processes import SWEEP
from hdrlab.training.signals import Interruption, interruptible

if TYPE_CHECKING:
    from hdrlab.training.inputs import Inputs
    from hdrlab.training.run_folder import Run

_prepared: list[tuple[TrainConfig, Inputs]] = []
"""What `run_name` has found, for the training that follows."""


def train(config: TrainConfig) -> int:
    """Carry out a checked training configuration; return the exit code.

    What is wrong with data, curves and bases is reported before torch is imported. A signal to stop ends it
    with 75 (SIGTERM, SIGUSR1) or 130 (SIGINT), between two steps once it trains; the same command goes on
    there.
    """
    from hdrlab.datasets.build import open_curves
    from hdrlab.training.run_folder import join_run, open_run
    from hdrlab.training.slots import publish

    with interruptible() as interruption:
        if own_rank():
            run = join_run(listen())  # which waits until the first process has prepared the data
            _fit(prepare(config), run, interruption)
            return 0
        inputs = prepare(config)
        open_curves(config.data)
        run = open_run(inputs.config, inputs.index.fingerprint, inputs.digests, output_dir())
        try:
            announce(run.announced)
            _fit(inputs, run, interruption)
            if SWEEP not in os.environ:
                print(publish(run, inputs.config, inputs.index))
        finally:
            run.release()
    return 0


def prepare(config: TrainConfig) -> Inputs:
    """Find what a training starts from, unless that was just done to name its folder."""
    from hdrlab.training.inputs import gather

    while _prepared:
        known, inputs = _prepared.pop()
        if known == anchored(config):
            return inputs
    on = config.trainer
    if on.precision == "16" or on.sync_batchnorm or on.accelerator in ("gpu", "mps"):
        from hdrlab.training.precision import require_device  # this needs torch, as nothing else here does

        require_device(on)
    if on.num_nodes > 1 and not started_together():
        remedy = "start one process a device with torchrun or srun; experiments/several_gpus.md shows how"
        raise RunError(f"trainer.num_nodes={on.num_nodes}: {remedy}")
    return gather(config)


def name_run(composed: DictConfig) -> str:
    """Name the run folder of a composed configuration, below ``paths.runs``: the resolver ``run_name``."""
    from hdrlab.training.run_folder import make_folder, run_folder

    if composed.hydra.mode is None:  # Hydra only prints
        return f"{composed.stage.name}/HASH-NUMBER" if composed.get("stage") else "STAGE/HASH-NUMBER"
    if own_rank():
        folder = listen().folder
    else:
        config = COMMAND.read(composed)
        with interruptible():
            inputs = prepare(config)
        _prepared.append((anchored(config), inputs))
        folder = run_folder(inputs.config, inputs.index.fingerprint, inputs.digests)
        make_folder(folder)
    return f"{folder.parent.name}/{folder.name}"


def _fit(inputs: Inputs, run: Run, interruption: Interruption) -> None:
    """Train in a run folder, unless that is done."""
    from hdrlab.training.run_folder import read_finished

    if run.finished_step is not None and run.finished_step >= inputs.config.max_steps:
        if own_rank() == 0:
            step = read_finished(run.folder)["step"]
            print(f"{run.folder}: finished at step {step}; raise stage.max_steps or resume=never")
        return
    from hdrlab.training.build import carry_out  # and torch, seconds after the first mistakes were found

    carry_out(inputs, run, interruption)


COMMAND = Command(
    "train",
    TrainConfig,
    train,
    (
        "stage=hal stage.width=0.25",
        "stage=deq data=hdr_synth data.root=~/hdr_images",
        "-m stage=lin stage.lr=1e-3,1e-4                  # every combination, and a table of them",
        "stage=lin sweep=lr hydra.sweeper.n_trials=12    # Optuna looks for the best learning rate",
        "stage=hal --cfg job                             # every key and its value",
        "--hydra-help                                    # what Hydra can do",
    ),
    ("stage",),
    result=judge,
    judged=judging_rules,
    data=lambda data: bool(data.batch_keys),
)

if __name__ == "__main__":
    COMMAND.main()
