"""Trainings of a second on pictures made from formulas, which no change of the renderer can move."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrlab.config.schema import TrainConfig
from hdrlab.datasets.index import Source, build_index
from hdrlab.datasets.splits import Listed

SIDE = 64
START = {"joint": ("deq", "lin", "hal"), "real_finetune": ("joint",)}
SPLITS = ("train",) * 4 + ("val",) * 2 + ("test",) * 3


def formula(number: int) -> NDArray[np.float32]:
    """Coloured waves and a lamp [64, 80, 3], linear, 0 to about 48."""
    y, x = np.mgrid[0:SIDE, 0 : SIDE + 16] / SIDE
    waves = [1 + np.sin((number + 3) * x * (c + 2)) * np.cos((5 - c) * y + number) for c in range(3)]
    lamp = 40 * np.exp(-90 * ((x - 0.2 * number % 1) ** 2 + (y - 0.5) ** 2))
    return (np.stack(waves, -1) ** 3 + lamp[..., None]).astype(np.float32)


class Formulas(Source):
    def stamp(self, listed: Listed) -> str:
        return "1"

    def read(self, listed: Listed) -> tuple[NDArray[np.float32], str]:
        return formula(int(listed.file)), listed.file


def prepare_formulas(folder: Path) -> None:
    listed = [Listed(str(number), split, f"scene {number}") for number, split in enumerate(SPLITS)]
    build_index(listed, Formulas(folder), folder, short_side=SIDE, workers=1)


@dataclass(frozen=True)
class Lab:
    prepared: Path
    work: Path

    @property
    def runs(self) -> Path:
        return self.work / "runs"

    def data(self) -> list[str]:
        root = f"data.root={self.prepared}"
        return ["data=hdr_synth", root, "data.short_side=64", "data.val_pictures=2", "data.workers=0"]

    def words(self, stage: str, *more: str) -> list[str]:
        small = ["stage.width=0.0625", "stage.patch=32", "stage.batch_size=2", "stage.max_steps=3"]
        quiet = ["callbacks.progress=none", "callbacks.panels=0", "trainer.accelerator=cpu"]
        places = [f"paths.runs={self.runs}", f"paths.data={self.work / 'data'}"]
        weights = ["stage.loss.perceptual=0"] if stage in ("hal", "joint", "real_finetune") else []
        starts = [f"stage.init.{name}={self.starts(name)}" for name in START.get(stage, ())]
        return [f"stage={stage}", *self.data(), *small, *quiet, *places, *weights, *starts, *more]

    def starts(self, stage: str) -> Path:
        """A fresh checkpoint of a stage that others start from, made once a session."""
        path = self.prepared / f"{stage}.ckpt"
        if not path.is_file():
            lab = Lab(self.prepared, self.prepared / "starts")
            # In float64, so that threads and kernels, which round differently, start all the same.
            run = lab.train(stage, "trainer=smoke", "trainer.precision=64")
            path.write_bytes((run / "last.ckpt").read_bytes())
        return path

    def config(self, stage: str, *more: str) -> TrainConfig:
        from hdrlab.train import COMMAND

        return COMMAND.compose(self.words(stage, *more))

    def train(self, stage: str, *more: str) -> Path:
        """Train in this process and return the run folder."""
        from hdrlab.train import train

        assert train(self.config(stage, *more)) == 0
        return self.newest(stage)

    def newest(self, stage: str) -> Path:
        return max((self.runs / stage).iterdir(), key=lambda run: (run / "config.yaml").stat().st_mtime_ns)


def numbers(run: Path, metric: str = "") -> list[tuple[int, str, float]]:
    """Rows of metrics.csv, all or those of one metric."""
    with (run / "metrics.csv").open(newline="", encoding="utf-8") as stream:
        rows = [(int(row["step"]), row["metric"], float(row["value"])) for row in csv.DictReader(stream)]
    return [row for row in rows if row[1].startswith(metric)]


def checkpoint(path: Path) -> dict[str, Any]:
    import torch

    stored: dict[str, Any] = torch.load(path, weights_only=True)
    return stored


def assert_same(a: Any, b: Any, where: str = "") -> None:
    """Compare nested plain values and tensors to the last bit."""
    import torch

    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_same(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), where
        for number, pair in enumerate(zip(a, b, strict=True)):
            assert_same(*pair, f"{where}[{number}]")
    else:
        assert a == b, where
