"""Score trained nets, and compare methods: ``python -m hdrlab.evaluate checkpoint=… data=…``.

A single stage is scored by its own figures, beside doing nothing; what makes whole pictures is compared with
other methods. Without a checkpoint, classical methods and results of other programs are compared.
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

from hdrlab.config.check import check_evaluate, tasks_of
from hdrlab.config.command import Command
from hdrlab.config.menu import evaluate_menu
from hdrlab.config.schema import EvaluateConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hdrlab.comparison.candidates import Candidate
    from hdrlab.comparison.setups import Setup
    from hdrlab.comparison.summaries import Results
    from hdrlab.metrics.statistics import Summary

TABLE_WIDTH = 120


def evaluate(config: EvaluateConfig) -> int:
    """Score what the checkpoint holds, or compare methods; print a table, write what it is made of.

    Raises:
        ComparisonError: What is asked for does not fit together.
        OperatorError: An operator's package is not installed.
    """
    from hdrlab.operators import OperatorError, missing

    if lacking := [reason for name in config.operators if (reason := missing(name))]:
        raise OperatorError("; ".join(lacking))
    from hdrlab.comparison.candidates import sort_candidates
    from hdrlab.comparison.contest import ComparisonError
    from hdrlab.comparison.setups import set_up

    task = config.task or tasks_of(config.data)[0]
    candidates: list[Candidate] = []
    if config.checkpoint:
        kind, candidates = sort_candidates(config.checkpoint)
        if kind == "stage":
            if config.results or config.task:
                said = "the checkpoint of a single stage is scored by itself; leave results and task out"
                raise ComparisonError(f"checkpoint={config.checkpoint[0]}: {said}, or give a whole chain")
            return score(config, Path(config.checkpoint[0]))
        if config.task not in (None, kind):
            raise ComparisonError(f"task={config.task}: the checkpoint is for task={kind}")
        task = kind
    return compare_methods(config, candidates, set_up(config, task, candidates))


def compare_methods(config: EvaluateConfig, candidates: Sequence[Candidate], setup: Setup) -> int:
    """Compare methods; print the table, write CSV, JSON, Markdown and a page."""
    from hdrlab.comparison import outputs, setups
    from hdrlab.comparison.contest import Gallery, compare
    from hdrlab.comparison.plots import plot_scores
    from hdrlab.comparison.summaries import LEAST_SCENES, against, failures_of, pairs_of, summarise_rows
    from hdrlab.datasets.progress import reading
    from hdrlab.report import Report, write_report

    where = setups.where(config)
    with reading(f"data={config.data.name}") as progress:
        opened = setup.open(progress)
    contenders = setups.all_contenders(setup, opened)
    methods = [contender.about for contender in contenders]
    names = ", ".join(method.name for method in methods)
    print(f"{setup.title}, {where}: {len(opened.cases)} pictures by {names}", flush=True)
    gates = setup.check()
    output = setups.output_folder(config)
    output.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder:
        gallery = Gallery(Path(folder))
        with reading("comparing") as progress:
            num_shown = min(config.report_pictures, len(opened.cases)) if config.report else 0
            rows = compare(opened.cases, contenders, gallery, num_shown, progress)
        failed = failures_of(rows)
        every = summarise_rows(rows, setup.columns, everything=True)
        nothing_left = not any(row["usable"] for row in rows)
        pairs = pairs_of(methods, setup.baseline)
        results = summarise_rows(rows, setup.columns, pairs, everything=nothing_left)
        said = {
            "pictures": _counted(config, results, nothing_left=nothing_left),
            "data": f"{where}, fingerprint {opened.fingerprint[:16]}",
            **opened.said,
            **setup.said,
            "significant": f"the 95 % interval excludes 0, with {LEAST_SCENES} scenes at least",
            "failures, scored as black": "; ".join(failed) or "none",
            **{f"checkpoint {one.name}": ", ".join(one.files) for one in candidates},
            "versions": setups.versions(),
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
            "data_fingerprint": opened.fingerprint,
            "failures": failed,
            "checkpoints": {one.name: one.headers for one in candidates},
        }
        outputs.write_rows(rows, output / "pictures.csv")
        outputs.write_summary(report, results, every, settings, output / "summary.json")
        outputs.write_markdown(report, results, setup.headline, failed, output / "report.md")
        plot_scores(report, outputs.headline_columns(report, setup.headline), output / "scores.png")
        if config.report:
            write_report(report, output / "report.html")
    # A log has no width of its own, and the table needs one.
    console = Console() if sys.stdout.isatty() else Console(width=TABLE_WIDTH)
    console.print(outputs.screen_table(report, setup.headline))
    for line in failed:
        print(f"failures, scored as black: {line}")
    print(f"comparison: {output}")
    return 0


def _counted(config: EvaluateConfig, results: Results, *, nothing_left: bool) -> str:
    """Say how many pictures count, and what became of the others."""
    if nothing_left:
        return f"{results.num}, all mostly black or white"
    listed = getattr(config.data, "keep", None)
    apart = f"are left out by {listed}" if listed else "are mostly black or white and left out"
    return f"{results.num}; {results.left_out} more {apart}"


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


COMMAND = Command(
    "evaluate",
    EvaluateConfig,
    check_evaluate,
    evaluate,
    evaluate_menu,
    ("checkpoint", "data", "results", "task"),
)

if __name__ == "__main__":
    COMMAND.main()
