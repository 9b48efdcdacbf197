"""Trainings of a second on images made from formulas, which no change of the renderer can move."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hdrlab.config.registry.stages import STAGES
from hdrlab.config.schema.commands import TrainConfig
from hdrlab.datasets.index import IndexedImage, Source, build_index
from hdrlab.datasets.sources import make_tone
from hdrlab.datasets.splits import Bad, Listed

SIDE = 64
TONE_SIDE = 192  # the least that five scales of similarity take
START = {
    "joint": ("deq", "lin", "hal"),
    "real_finetune": ("joint",),
    "tmo_ft": ("tmo_bottom", "tmo_high"),
}
TONE_STAGES = ("tmo_bottom", "tmo_high", "tmo_ft")
PERCEPTUAL_STAGES = ("hal", "joint", "real_finetune", *TONE_STAGES)
UNLABELLED = 3
LONG = ("joint", "real_finetune", "tmo_high", "tmo_ft")


def slow(*values: Any) -> Any:
    """Parameters of a test that only the long tests try."""
    return pytest.param(*values, marks=pytest.mark.slow)


every_stage = pytest.mark.parametrize("name", STAGES)
long_stages_slow = pytest.mark.parametrize("name", [slow(name) if name in LONG else name for name in STAGES])
"""Each day stages of either system; the others, of which each costs seconds, are for the long tests."""

SPLITS = ("train",) * 4 + ("val",) * 2 + ("test",) * 3


def formula(number: int, side: int = SIDE) -> NDArray[np.float32]:
    """Coloured waves and a lamp [side, side + 16, 3], linear, 0 to about 48."""
    y, x = np.mgrid[0:side, 0 : side + 16] / side
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
    build_index(listed, Formulas(folder), folder, short_side=SIDE, resize_filter="area", workers=1)


class ToneFormulas(Formulas):
    """The same images, larger, with SDR images made by a plain curve; one has none."""

    def make(
        self, listed: Listed, stamp: str, folder: Path, settings: Mapping[str, Any]
    ) -> IndexedImage | Bad:
        hdr = formula(int(listed.file), TONE_SIDE)
        if int(listed.file) == UNLABELLED:
            return make_tone(listed, stamp, folder, hdr, labelled=False)
        sdr = np.rint(255 * (hdr / (1 + hdr)) ** (1 / 2.2)).astype(np.uint8)
        return make_tone(listed, stamp, folder, hdr, sdr)


def prepare_tones(folder: Path) -> None:
    """Prepare a data set for ``data=tmo_pairs``."""
    listed = [Listed(str(number), split, f"scene {number}") for number, split in enumerate(SPLITS)]
    build_index(listed, ToneFormulas(folder), folder, workers=1)


@dataclass(frozen=True)
class Lab:
    prepared: Path
    work: Path

    @property
    def runs(self) -> Path:
        return self.work / "runs"

    def data(self, stage: str = "hal") -> list[str]:
        common = ["data.val_images=2", "data.workers=0"]
        if stage in TONE_STAGES:
            return ["data=tmo_pairs", f"data.root={self.prepared / 'tones'}", *common]
        return ["data=hdr_synth", f"data.root={self.prepared}", "data.short_side=64", *common]

    def words(self, stage: str, *more: str) -> list[str]:
        patch = TONE_SIDE if stage in TONE_STAGES else 32
        small = ["stage.width=0.0625", f"stage.patch={patch}", "stage.batch_size=2", "stage.max_steps=3"]
        quiet = ["callbacks.progress=none", "callbacks.panels=0", "trainer.accelerator=cpu"]
        places = [f"paths.runs={self.runs}", f"paths.data={self.work / 'data'}"]
        weights = ["stage.loss.perceptual=0"] if stage in PERCEPTUAL_STAGES else []
        starts = [f"stage.init.{name}={self.starts(name)}" for name in START.get(stage, ())]
        return [f"stage={stage}", *self.data(stage), *small, *quiet, *places, *weights, *starts, *more]

    def starts(self, stage: str) -> Path:
        """A fresh checkpoint of a stage that others start from, made once a session."""
        path = self.prepared / f"{stage}.ckpt"
        if not path.is_file():
            lab = Lab(self.prepared, self.prepared / "starts")
            # In float64, so that threads and kernels, which round differently, start all the same.
            run = lab.train(stage, "trainer=smoke", "trainer.precision=64", "trainer.val_images=1")
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

    def trained(self, stage: str, *more: str) -> Path:
        """Return the run folder of a finished training: a copy of one that was made once a session."""
        made = Lab(self.prepared, self.prepared / "trained" / "_".join([stage, *more]).replace("=", "-"))
        if not made.runs.is_dir():
            made.train(stage, *more)
        shutil.copytree(made.runs, self.runs, dirs_exist_ok=True)
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
