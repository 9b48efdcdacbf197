"""Scores of a trained stage on photographs it never saw."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from hdrlab.camera import ResponseCurves
from hdrlab.config.registry.stages import DATA, STAGES
from hdrlab.config.schema.commands import EvaluateConfig
from hdrlab.datasets.build import open_curves, open_data, validation_set
from hdrlab.datasets.index import Index, Progress
from hdrlab.datasets.progress import reading
from hdrlab.errors import CheckpointError, DataError
from hdrlab.evaluation.bootstrap import Summary, summarise
from hdrlab.io.atomic import write_text
from hdrlab.io.csv_files import write_rows
from hdrlab.metrics import PSNR_CAP
from hdrlab.metrics.names import HIGHER_IS_BETTER
from hdrlab.stages.base import Stage
from hdrlab.training.checkpoints import load_stage
from hdrlab.training.precision import device_type

Row = dict[str, str | float]


def score(config: EvaluateConfig, checkpoint: Path) -> int:
    """Score one stage on all photographs of a split; print the table, write CSV and JSON."""
    stage = open_stage(config, checkpoint)
    keys = STAGES[stage.name].batch_keys
    with reading(f"data={config.data.name}") as progress:
        cache = Path(config.paths.data) / "cache"
        index = open_data(config.data, cache, keys, progress, splits=(config.split,))
    curves = open_curves(config.data)
    with reading(checkpoint.name) as progress:
        rows = score_stage(config, stage, index, curves, progress)
    summaries = paired(stage, rows)
    Console().print(_table(f"stage {stage.name}, {config.split} split of {config.data.name}", summaries))
    output = Path(config.output or checkpoint.parent / f"scores_{config.data.name}_{config.split}")
    output.mkdir(parents=True, exist_ok=True)
    write_rows(rows, output / "images.csv")
    settings = {"config": asdict(config), "data_fingerprint": index.fingerprint, "checkpoint": stage.header}
    scores = {name: asdict(summary) for name, summary in summaries.items()}
    text = json.dumps({"scores": scores, **settings}, indent=2, allow_nan=False)
    write_text(output / "summary.json", text)
    print(f"scores: {output}")
    return 0


def open_stage(config: EvaluateConfig, checkpoint: Path) -> Stage:
    """Open the stage that is to be scored.

    Raises:
        CheckpointError: If the checkpoint cannot be used, or not on these data.
    """
    stage = load_stage(checkpoint).to(device_type(config.accelerator))
    needed = set(STAGES[stage.name].batch_keys)
    missing = needed - set(DATA[config.data.name].batch_keys)
    if missing:
        message = f"of the stage {stage.name}, which needs {', '.join(sorted(missing))}"
        able = " or ".join(f"data={name}" for name, row in DATA.items() if not needed - set(row.batch_keys))
        raise CheckpointError(f"{checkpoint}: {message}; data={config.data.name} has not; use {able}")
    return stage


def score_stage(
    config: EvaluateConfig, stage: Stage, index: Index, curves: ResponseCurves | None, progress: Progress
) -> list[Row]:
    """Score a stage on every photograph of a split.

    Each image gives two photographs, by held-out response curves and exposures in turn. Photographs that
    are mostly black or white are left out, as in training; their number shows in the table.

    Args:
        config: What to score on.
        stage: What to score.
        index: The images.
        curves: Response curves, of which the held-out ones are used, where the data have some.
        progress: Called after each photograph.

    Returns:
        A row a photograph: file, scene, and the stage's scores.

    Raises:
        DataError: There is none that is not mostly black or white.
    """
    keys, tone = stage.batch_keys, getattr(stage.config, "tone", None)
    photographs = validation_set(config.data, index, curves, config.split, keys, config.images, tone)
    rows: list[Row] = []
    for number in range(len(photographs)):
        image = photographs.image(number)
        batch = {name: values[None].to(stage.device) for name, values in photographs[number].items()}
        progress(number + 1, len(photographs), image.file)
        if not batch["mask"].any():
            continue
        with torch.inference_mode():
            scores = stage.metrics(batch, stage(batch))
        capped = {
            name: min(float(value), PSNR_CAP) if name.startswith("psnr") else float(value)
            for name, value in scores.items()
        }
        rows.append({"file": image.file, "scene": image.scene, "photograph": number, **capped})
    if not rows:
        message = f"all {len(photographs)} photographs of the split {config.split} are mostly black or white"
        raise DataError([f"data={config.data.name}: {message}: nothing to score on"])
    return rows


def paired(stage: Stage, rows: list[Row]) -> dict[str, Summary]:
    """Summarise every score, and the paired gain of the stage's own over each it is compared with.

    A gain is positive where the stage is better, whether the score is one to raise or to lower.
    """
    scenes = [str(row["scene"]) for row in rows]
    names = [name for name in rows[0] if name not in ("file", "scene", "photograph")]
    columns = {name: [float(row[name]) for row in rows] for name in names}
    summaries = {name: summarise(values, scenes) for name, values in columns.items()}
    for own, other in stage.COMPARED:
        sign = 1 if own.startswith(HIGHER_IS_BETTER) else -1
        gains = [sign * (a - b) for a, b in zip(columns[own], columns[other], strict=True)]
        order = (own, other) if sign > 0 else (other, own)
        summaries[" − ".join(order)] = summarise(gains, scenes)
    return summaries


def _table(title: str, summaries: Mapping[str, Summary]) -> Table:
    table = Table("score", "mean", "95 % interval", "images", "scenes", "wins", title=title)
    for name, summary in summaries.items():
        digits = 2 if abs(summary.mean) >= 1 else max(2, 2 - math.floor(math.log10(abs(summary.mean) or 1)))
        mean, low, high = (f"{value:.{digits}f}" for value in (summary.mean, summary.low, summary.high))
        difference = " − " in name
        interval = f"{low} … {high}"
        if difference and not summary.differs:
            interval += " not significant"
        wins = f"{summary.positive:.0%}" if difference else ""
        table.add_row(name, mean, interval, str(summary.num), str(summary.scenes), wins)
    return table
