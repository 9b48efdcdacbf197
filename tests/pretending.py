"""Stands for hdrlab.train in tests of sweeps: leaves what a training leaves, without torch."""

from __future__ import annotations

import math
import os
import signal
import time
from dataclasses import replace

from hdrlab import train
from hdrlab.config.cli import output_dir
from hdrlab.config.schema.commands import TrainConfig
from hdrlab.training.run_folder import open_run
from hdrlab.training.signals import interruptible

ORDERS = "PRETEND"
"""Environment variable: what happens to jobs, by their learning rate, as ``kill:0.1 wait:0.2``."""


def pretend(config: TrainConfig) -> int:
    """Do as if training: the best learning rate is 1e-3."""
    inputs = train.prepare(config)
    run = open_run(inputs.config, inputs.index.fingerprint, inputs.digests, output_dir())
    try:
        if run.finished_step is not None:
            return 0
        with (run.folder / "begun").open("a") as stream:
            stream.write("x")
        lr = inputs.config.stage.lr
        order = {float(rate): what for what, rate in map(_split, os.environ.get(ORDERS, "").split())}.get(lr)
        if order == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if order == "fail":
            print("error: the reason")
            return 1
        with interruptible():
            time.sleep(60 * (order == "wait"))
        loss = 0.01 + abs(math.log10(lr / 1e-3))
        values = {"loss": loss, "psnr_c": -loss}
        rows = [f"{step},val/{name},{value + step}" for step in (0, 3) for name, value in values.items()]
        (run.folder / "metrics.csv").write_text("\n".join(["step,metric,value", *rows]) + "\n")
        run.mark_finished(inputs.config.max_steps, {}, inputs.config.max_steps)
    finally:
        run.release()
    return 0


def _split(order: str) -> list[str]:
    return order.split(":")


if __name__ == "__main__":
    replace(train.COMMAND, run=pretend).main()
