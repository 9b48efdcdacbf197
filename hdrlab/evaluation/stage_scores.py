"""Scores of a trained stage on photographs it never saw."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch

from hdrlab.camera import ResponseCurves
from hdrlab.config.schema import EvaluateConfig, TinyConfig, TmoPairsConfig
from hdrlab.config.stages import DATA, STAGES, reads_tones
from hdrlab.datasets.index import Index, Progress
from hdrlab.datasets.sets import validation_set
from hdrlab.datasets.splits import DataError
from hdrlab.metrics import PSNR_CAP
from hdrlab.metrics.names import HIGHER_IS_BETTER
from hdrlab.metrics.statistics import Summary, summarise
from hdrlab.stages.base import Stage
from hdrlab.training.checkpoints import CheckpointError, load_stage
from hdrlab.training.precision import device_type

Row = dict[str, str | float]


def open_stage(config: EvaluateConfig, checkpoint: Path) -> Stage:
    """Open the stage that is to be scored.

    Raises:
        CheckpointError: If the checkpoint cannot be used, or not on these data.
    """
    stage = load_stage(checkpoint).to(device_type(config.accelerator))
    needed = set(STAGES[stage.name].batch_keys)
    missing = needed - set(DATA[config.data.name].batch_keys)
    if missing:
        said = f"of the stage {stage.name}, which needs {', '.join(sorted(missing))}"
        able = " or ".join(f"data={name}" for name, row in DATA.items() if not needed - set(row.batch_keys))
        raise CheckpointError(f"{checkpoint}: {said}; data={config.data.name} has not; use {able}")
    if reads_tones(STAGES[stage.name].batch_keys):
        assert isinstance(config.data, (TinyConfig, TmoPairsConfig))
        trained, told = stage.header["config"]["data"]["tone"], asdict(config.data.tone)
        other = [f"data.tone.{key}={trained[key]}" for key in told if trained[key] != told[key]]
        if other:
            raise CheckpointError(f"{checkpoint}: saw pictures in another way; set {' '.join(other)}")
    return stage


def score_stage(
    config: EvaluateConfig, stage: Stage, index: Index, curves: ResponseCurves | None, progress: Progress
) -> list[Row]:
    """Score a stage on every photograph of a split.

    Each picture gives two photographs, by held-out response curves and exposures in turn. Photographs that
    are mostly black or white are left out, as in training; their number shows in the table.

    Args:
        config: What to score on.
        stage: What to score.
        index: The pictures.
        curves: Response curves, of which the held-out ones are used, where the data have some.
        progress: Called after each photograph.

    Returns:
        A row a photograph: file, scene, and the stage's figures.

    Raises:
        DataError: There is none that is not mostly black or white.
    """
    keys = STAGES[stage.name].batch_keys
    photographs = validation_set(config.data, index, curves, config.split, keys, config.pictures)
    rows: list[Row] = []
    for number in range(len(photographs)):
        picture = photographs.picture(number)
        batch = {name: values[None].to(stage.device) for name, values in photographs[number].items()}
        progress(number + 1, len(photographs), picture.file)
        if not batch["mask"].any():
            continue
        with torch.inference_mode():
            figures = stage.metrics(batch, stage(batch))
        capped = {
            name: min(float(value), PSNR_CAP) if name.startswith("psnr") else float(value)
            for name, value in figures.items()
        }
        rows.append({"file": picture.file, "scene": picture.scene, "photograph": number, **capped})
    if not rows:
        said = f"all {len(photographs)} photographs of the split {config.split} are mostly black or white"
        raise DataError([f"data={config.data.name}: {said}: nothing to score on"])
    return rows


def paired(stage: Stage, rows: list[Row]) -> dict[str, Summary]:
    """Summarise every figure, and the paired gain of the stage's own over each it is compared with.

    A gain is positive where the stage is better, whether the figure is one to raise or to lower.
    """
    scenes = [str(row["scene"]) for row in rows]
    names = [name for name in rows[0] if name not in ("file", "scene", "photograph")]
    columns = {name: [float(row[name]) for row in rows] for name in names}
    summaries = {name: summarise(values, scenes) for name, values in columns.items()}
    for own, other in stage.COMPARED:
        sign = 1 if own.startswith(HIGHER_IS_BETTER) else -1
        gains = [sign * (a - b) for a, b in zip(columns[own], columns[other], strict=True)]
        words = (own, other) if sign > 0 else (other, own)
        summaries[" − ".join(words)] = summarise(gains, scenes)
    return summaries
