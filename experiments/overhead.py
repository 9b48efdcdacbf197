"""What the frame costs beside the nets: its step against a bare loop, its input, its checkpoints.

    python experiments/overhead.py [--stages deq lin] [--quads 8] [--data "data=tiny"]

Both sides of a comparison run in one process on the same machine, in blocks of random order (ABBA or BAAB),
with a fixed operation timed around every block; four blocks count only where that operation did not drift by
more than 15 %. Reported is the median ratio with a bootstrapped interval of 95 %.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from gpu_check import Cached
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from hdrlab.config.registry.stages import STAGES
from hdrlab.config.schema.commands import TrainConfig
from hdrlab.datasets import HDRDataModule
from hdrlab.datasets.build import open_data
from hdrlab.datasets.progress import reading
from hdrlab.datasets.sampler import CounterSampler
from hdrlab.train import COMMAND
from hdrlab.training import build, checkpoints
from hdrlab.training.checkpoint_list import LAST
from hdrlab.training.run_folder import Run
from hdrlab.training.signals import interruptible

DRIFT = 1.15
BLOCK = 2
"""Steps in a block."""

WARM_UP = 2
"""Steps of either side before anything counts."""

SAVES = 3

Clock = tuple[float, float]
"""Seconds of wall time, and of this process on its cores, which other programs disturb less."""


def clock() -> Clock:
    """Return both times."""
    return time.perf_counter(), time.process_time()


@dataclass
class Blocks:
    """The times of two sides, A and B, block by block.

    Attributes:
        quads: How often four blocks are done.
        order: ``A`` or ``B`` for every block.
        seconds: Wall and process time of the blocks done.
        calibrations: Seconds of the fixed operation before the first block and after each.
    """

    quads: int
    order: str = ""
    seconds: list[Clock] = field(default_factory=list)
    calibrations: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        random = np.random.default_rng(0)
        self.order = "".join(random.choice(["ABBA", "BAAB"]) for _ in range(self.quads))
        self.matrix = torch.rand(512, 512)

    @property
    def next(self) -> str | None:
        """Whose turn it is; None at the end."""
        return self.order[len(self.seconds)] if len(self.seconds) < len(self.order) else None

    def calibrate(self) -> None:
        """Time the fixed operation, the best of some."""
        taken = []
        for _ in range(5):
            begun = time.perf_counter()
            self.matrix @ self.matrix
            taken.append(time.perf_counter() - begun)
        self.calibrations.append(min(taken))

    def add(self, begun: Clock, ended: Clock) -> None:
        """Note a block."""
        self.seconds.append((ended[0] - begun[0], ended[1] - begun[1]))
        self.calibrate()

    def run(self, side: Callable[[int], None]) -> None:
        """Run and note a block of a side that is a function."""
        begun = clock()
        side(BLOCK)
        self.add(begun, clock())

    def per_step(self, side: str) -> float:
        """Return the median seconds of a step."""
        mine = [s[0] for s, name in zip(self.seconds, self.order, strict=True) if name == side]
        return float(np.median(mine)) / BLOCK

    def ratios(self, which: int) -> tuple[list[float], int]:
        """Return A ÷ B of every four blocks that count, and how many do not.

        Args:
            which: 0 for wall time, where drifted ones do not count; 1 for process time, where all do.
        """
        made, dropped = [], 0
        for first in range(0, len(self.order), 4):
            around = self.calibrations[first : first + 5]
            if which == 0 and max(around) > DRIFT * min(around):
                dropped += 1
                continue
            sums = {"A": 0.0, "B": 0.0}
            for number in range(first, first + 4):
                sums[self.order[number]] += self.seconds[number][which]
            made.append(sums["A"] / sums["B"])
        return made, dropped

    def summary(self) -> str:
        """Put the ratio A ÷ B into words."""
        told = []
        for which, name in enumerate(("wall", "process")):
            ratios, dropped = self.ratios(which)
            left_out = f", {dropped} of {self.quads} dropped for drift" if which == 0 else ""
            told.append(f"{name} time {with_interval(ratios)}{left_out}")
        return "; ".join(told)


def with_interval(ratios: list[float]) -> str:
    """Return the median and its bootstrapped interval of 95 %."""
    if not ratios:
        return "unknown"
    drawn = np.random.default_rng(0).choice(ratios, (2000, len(ratios)))
    low, high = np.quantile(np.median(drawn, axis=1), [0.025, 0.975])
    return f"{np.median(ratios):.3f} [{low:.3f}, {high:.3f}]"


# --------------------------------------------------------------------------------------------- the sides


class BareLoop:
    """Trains a stage as a page of PyTorch would: load, forward, loss, backward, step."""

    def __init__(self, config: TrainConfig, samples: Dataset[dict[str, Tensor]], workers: int = 0) -> None:
        self.stage = build.build_stage(config)
        self.stage.setup("fit")
        made = self.stage.configure_optimizers()
        self.optimiser = made["optimizer"] if isinstance(made, dict) else made
        sampler = CounterSampler(config.stage.batch_size, 10**6)
        self.batches: Iterator[dict[str, Tensor]] = iter(
            DataLoader(samples, batch_size=sampler.share, sampler=sampler, num_workers=workers)
        )
        self.losses: list[float] = []

    def __call__(self, steps: int) -> None:
        """Take some steps."""
        for _ in range(steps):
            batch = next(self.batches)
            loss = self.stage.weigh(self.stage.losses(batch, self.stage(batch)))
            self.optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimiser.step()
            self.losses.append(loss.item())


class Interleaved(pl.Callback):
    """Holds a training up between its blocks of steps and runs the other side's; measures saving at the end.

    The training's blocks are side A, from one step's start to that of the step two further on, so that all
    that lies between steps counts.
    """

    def __init__(self, blocks: Blocks, other: BareLoop, folder: Path) -> None:
        self.blocks, self.other, self.folder = blocks, other, folder
        self.begun: Clock | None = None
        self.losses: list[float] = []
        self.saving: list[float] = []
        self.writing: list[float] = []

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Take turns."""
        step = trainer.global_step - WARM_UP
        if step < 0 or step % BLOCK:
            return
        if self.begun is None:
            self.other(WARM_UP)
            self.blocks.calibrate()
        else:
            self.blocks.add(self.begun, clock())
        while self.blocks.next == "B":
            self.blocks.run(self.other)
        if self.blocks.next is None:
            trainer.should_stop = True
        self.begun = clock()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *args: Any
    ) -> None:
        """Keep the losses."""
        self.losses.append(float(outputs["loss"]))

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Time what a validation that is the best so far saves."""
        for _ in range(SAVES):
            begun = time.perf_counter()
            trainer.save_checkpoint(self.folder / LAST, storage_options={"best": True})
            self.saving.append(time.perf_counter() - begun)  # the rest is written beside the next steps
            trainer.strategy.checkpoint_io.teardown()  # waits until it is written
            self.writing.append(time.perf_counter() - begun)


# ------------------------------------------------------------------------------------------- measurements


def prepare(stage: str, words: list[str], steps: int) -> tuple[TrainConfig, HDRDataModule, Any]:
    """Compose a stage's default training and open its data."""
    more = ["callbacks.progress=none", "data.val_images=1", f"trainer.val_every={steps}", "data.workers=0"]
    config = COMMAND.compose(
        [f"stage={stage}", f"trainer.max_steps={steps}", "trainer.accelerator=cpu", *more, *words]
    )
    with reading(f"data={config.data.name}") as progress:
        keys = STAGES[stage].batch_keys
        index = open_data(config.data, Path(config.paths.data) / "cache", keys, progress)
    return config, build.build_data(config, index), index


def measure_step(stage: str, words: list[str], quads: int) -> Iterator[tuple[str, str, str]]:
    """Compare the frame's step with a bare loop's, and its saving with the default interval."""
    steps = WARM_UP + 2 * BLOCK * quads + 1
    config, data, index = prepare(stage, words, steps)
    kept = [data.training[counter] for counter in range(2 * data.batch_size)]
    data.training = Cached(kept)
    bare = BareLoop(config, data.training)
    module = build.build_stage(config)
    module.header = checkpoints.header(config, index, {})
    blocks = Blocks(quads)
    with tempfile.TemporaryDirectory() as folder, interruptible() as interruption:
        turns = Interleaved(blocks, bare, Path(folder))
        trainer = build.build_trainer(config, Run(Path(folder), None, None), data, interruption)
        trainer.callbacks.append(turns)  # type: ignore[attr-defined]
        build.fit(trainer, module, data, None)
    common = min(len(turns.losses), len(bare.losses))
    same = turns.losses[:common] == bare.losses[:common]
    size = f"{config.stage.batch_size} × {config.stage.patch}², width {config.stage.width:g}"
    yield f"step ÷ bare loop, {stage}", "≤ 1.05", blocks.summary()
    yield (
        f"both sides, {stage}",
        "",
        f"{size}: {blocks.per_step('A'):.3f} and {blocks.per_step('B'):.3f} s a step; losses of {common} "
        f"steps {'bit-identical' if same else 'differ'}",
    )
    interval = max(1, config.stage.max_steps // 10)
    saving, writing = (float(np.median(times)) for times in (turns.saving, turns.writing))
    step = blocks.per_step("A")
    told = (
        f"{100 * saving / (interval * step):.2f} %: {saving:.3f} s every {interval} steps of {step:.3f} s; "
        f"0.5 % from {saving / step / 0.005:.0f} steps on; written {writing:.2f} s later beside the training"
    )
    yield f"checkpoint ÷ interval, {stage}", "≤ 0.5 %", told


def measure_input(stage: str, words: list[str], quads: int, workers: int) -> Iterator[tuple[str, str, str]]:
    """Compare the speed of a training that makes its samples with that of one that has them."""
    config, data, _ = prepare(stage, words, 1)
    kept = Cached([data.training[counter] for counter in range(data.batch_size)])
    sides = {"A": BareLoop(config, kept), "B": BareLoop(config, data.training, workers)}
    blocks = Blocks(quads)
    for side in sides.values():
        side(WARM_UP)
    blocks.calibrate()
    while name := blocks.next:
        blocks.run(sides[name])
    # Processes of their own do their work beside this one, whose time says nothing of it.
    ratios, dropped = blocks.ratios(0)
    told = f"wall time {with_interval(ratios)}, {dropped} of {quads} dropped for drift"
    yield f"speed with real input ÷ cached, {stage}, {workers} workers", "≥ 0.90", told


def measure_making(stage: str, words: list[str], quads: int) -> Iterator[tuple[str, str, str]]:
    """Compare a step on samples that are there with making its samples."""
    config, data, _ = prepare(stage, words, 1)
    counters = itertools.count(data.batch_size)

    def make(steps: int) -> None:
        for _ in range(steps * data.batch_size):
            data.training[next(counters)]

    kept = Cached([data.training[counter] for counter in range(data.batch_size)])
    sides = {"A": BareLoop(config, kept), "B": make}
    blocks = Blocks(quads)
    for side in sides.values():
        side(10 * WARM_UP)
    blocks.calibrate()
    while name := blocks.next:
        blocks.run(sides[name])
    told = f"process time {with_interval(blocks.ratios(1)[0])}; {1e3 * blocks.per_step('A'):.0f} ms a step"
    yield f"step ÷ making its samples, {stage}", "≥ 1.3", told


def main() -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--stages", nargs="+", choices=tuple(STAGES), default=["deq", "lin"])
    parser.add_argument("--quads", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--data", default="data=tiny", help="words that choose data and sizes")
    told = parser.parse_args()
    words = told.data.split()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, load {load:.1f} at the start\n")
    print("| measured | target | result |\n|---|---|---|")
    for stage in told.stages:
        for row in measure_step(stage, words, told.quads):
            print("| " + " | ".join(row) + " |", flush=True)
        for workers in dict.fromkeys((0, told.workers)):
            for row in measure_input(stage, words, told.quads, workers):
                print("| " + " | ".join(row) + " |", flush=True)
        for row in measure_making(stage, words, told.quads):
            print("| " + " | ".join(row) + " |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
