"""Score trained nets: ``python -m hdrlab.evaluate checkpoint=… data=…``.

A single stage is scored by its own figures, beside doing nothing; what makes whole pictures is compared with
other methods.
"""

from __future__ import annotations

import csv
import json
import math
import sys
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from hdrlab.config.check import check_evaluate
from hdrlab.config.command import Command
from hdrlab.config.menu import evaluate_menu
from hdrlab.config.schema import EvaluateConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hdrlab.comparison.candidates import Candidate
    from hdrlab.comparison.setups import Setup
    from hdrlab.metrics.statistics import Summary

TABLE_WIDTH = 120


def evaluate(config: EvaluateConfig) -> int:
    """Score what the checkpoint holds; print a table, write what it is made of."""
    from hdrlab.operators import OperatorError, missing

    if lacking := [reason for name in config.operators if (reason := missing(name))]:
        raise OperatorError("; ".join(lacking))
    from hdrlab.comparison.candidates import sort_candidates

    kind, candidates = sort_candidates(config.checkpoint)
    if kind == "stage":
        return score(config, Path(config.checkpoint[0]))
    from hdrlab.comparison.setups import reconstructions, tone_mappings

    setup = (reconstructions if kind == "hdr" else tone_mappings)(config, candidates)
    return compare_methods(config, candidates, setup)


def compare_methods(config: EvaluateConfig, candidates: Sequence[Candidate], setup: Setup) -> int:
    """Compare nets with other methods; print the table, write CSV, JSON, Markdown and a page."""
    from hdrlab.comparison import outputs
    from hdrlab.comparison.contest import Gallery, compare
    from hdrlab.comparison.setups import versions
    from hdrlab.comparison.summaries import LEAST_SCENES, against, pairs_of, summarise_rows
    from hdrlab.datasets.progress import reading
    from hdrlab.datasets.sources import open_data
    from hdrlab.report import Report, write_report

    where = f"{config.split} split of {config.data.name}"
    with reading(f"data={config.data.name}") as progress:
        cache = Path(config.paths.data) / "cache"
        index = open_data(config.data, cache, setup.keys, progress, splits=(config.split,))
    cases, more = setup.open(index)
    contenders = [*setup.contenders, *more]
    gates = setup.check()
    first = Path(config.checkpoint[0])
    beside = first if first.is_dir() else first.parent
    output = Path(config.output or beside / f"comparison_{config.data.name}_{config.split}")
    output.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder:
        gallery = Gallery(Path(folder))
        with reading("comparing") as progress:
            num_shown = min(config.report_pictures, len(cases)) if config.report else 0
            rows = compare(cases, contenders, gallery, num_shown, progress)
        methods = [contender.about for contender in contenders]
        results = summarise_rows(rows, setup.columns, pairs_of(methods, setup.baseline))
        every = summarise_rows(rows, setup.columns, everything=True)
        said = {
            "pictures": f"{results.num}; {results.left_out} more are mostly black or white and left out",
            "data": f"{where}, fingerprint {index.fingerprint[:16]}",
            **setup.said,
            "significant": f"the 95 % interval excludes 0, with {LEAST_SCENES} scenes at least",
            **{f"checkpoint {one.name}": ", ".join(one.files) for one in candidates},
            "versions": versions(),
        }
        report = Report(
            f"{setup.title}: {where}",
            "hdr" if setup.baseline == "srgb" else "sdr",
            said,
            setup.columns,
            methods,
            results.scores,
            against(results, setup.baseline),
            gates,
            gallery,
            setup.baseline,
        )
        settings = {
            "config": asdict(config),
            "data_fingerprint": index.fingerprint,
            "checkpoints": {one.name: one.headers for one in candidates},
        }
        outputs.write_rows(rows, output / "pictures.csv")
        outputs.write_summary(report, results, every, settings, output / "summary.json")
        outputs.write_markdown(report, results, setup.headline, output / "report.md")
        if config.report:
            write_report(report, output / "report.html")
    # A log has no width of its own, and the table needs one.
    console = Console() if sys.stdout.isatty() else Console(width=TABLE_WIDTH)
    console.print(outputs.screen_table(report, setup.headline))
    print(f"comparison: {output}")
    return 0


def score(config: EvaluateConfig, checkpoint: Path) -> int:
    """Score one stage on all photographs of a split; print the table, write CSV and JSON."""
    from hdrlab.config.stages import STAGES
    from hdrlab.datasets.progress import reading
    from hdrlab.datasets.sources import open_curves, open_data
    from hdrlab.scoring import open_stage, paired, score_stage

    stage = open_stage(config, checkpoint)
    keys = STAGES[stage.name].batch_keys
    with reading(f"data={config.data.name}") as progress:
        cache = Path(config.paths.data) / "cache"
        index = open_data(config.data, cache, keys, progress, splits=(config.split,))
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
