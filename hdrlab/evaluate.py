"""Score a trained stage beside doing nothing: ``python -m hdrlab.evaluate checkpoint=… data=…``."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from hdrlab.config.check import check_evaluate
from hdrlab.config.command import Command
from hdrlab.config.menu import evaluate_menu
from hdrlab.config.schema import EvaluateConfig

if TYPE_CHECKING:
    from hdrlab.metrics.statistics import Summary


def evaluate(config: EvaluateConfig) -> int:
    """Score a checkpoint on all photographs of a split; print the table, write CSV and JSON."""
    from hdrlab.operators import OperatorError, missing

    if lacking := [reason for name in config.operators if (reason := missing(name))]:
        raise OperatorError("; ".join(lacking))
    from hdrlab.config.stages import STAGES
    from hdrlab.datasets.progress import reading
    from hdrlab.datasets.sources import open_curves, open_data
    from hdrlab.scoring import open_stage, paired, score_stage

    checkpoint = Path(config.checkpoint)
    stage = open_stage(config, checkpoint)
    keys = STAGES[stage.name].batch_keys
    with reading(f"data={config.data.name}") as progress:
        index = open_data(config.data, Path(config.paths.data) / "cache", keys, progress)
    curves = open_curves(config.data)
    with reading(checkpoint.name) as progress:
        rows = score_stage(config, stage, index, curves, progress)
    summaries = paired(stage, rows)
    said = f"stage {stage.name}, {config.split} split of {config.data.name}"
    Console().print(_table(said, summaries))
    output = Path(config.output or checkpoint.parent / f"scores_{config.data.name}_{config.split}")
    output.mkdir(parents=True, exist_ok=True)
    with (output / "pictures.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    settings = {"config": asdict(config), "data_fingerprint": index.fingerprint, "checkpoint": stage.header}
    figures = {name: asdict(summary) for name, summary in summaries.items()}
    text = json.dumps({"figures": figures, **settings}, indent=2, allow_nan=False)
    (output / "summary.json").write_text(text, encoding="utf-8")
    print(f"scores: {output}")
    return 0


def _table(title: str, summaries: dict[str, Summary]) -> Table:
    table = Table("figure", "mean", "95 % interval", "pictures", "scenes", "wins", title=title)
    for name, summary in summaries.items():
        digits = 2 if abs(summary.mean) >= 1 else max(2, 2 - math.floor(math.log10(abs(summary.mean) or 1)))
        row = [f"{value:.{digits}f}" for value in (summary.mean, summary.low, summary.high)]
        difference = " − " in name
        verdict = "" if summary.differs or not difference else " not significant"
        wins = f"{summary.positive:.0%}" if difference else ""
        interval = f"{row[1]} … {row[2]}{verdict}"
        table.add_row(name, row[0], interval, str(summary.num), str(summary.scenes), wins)
    return table


COMMAND = Command("evaluate", EvaluateConfig, check_evaluate, evaluate, evaluate_menu, ("checkpoint",))

if __name__ == "__main__":
    COMMAND.main()
