"""Score trained nets, and compare methods: ``python -m hdrlab.evaluate checkpoint=… data=…``.

A single stage is scored by metrics of its own, beside doing nothing; what makes whole images is compared with
other methods. Without a checkpoint, classical methods and results of other programs are compared.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, cast

from hdrlab.config.cli import Command
from hdrlab.config.schema.commands import EvaluateConfig
from hdrlab.errors import EvaluationError, OperatorError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hdrlab.evaluation.benchmark import Task
    from hdrlab.evaluation.candidates import Candidate

LOG_WIDTH = 120


def evaluate(config: EvaluateConfig) -> int:
    """Score what the checkpoint holds, or compare methods; print a table, write what it is made of.

    Raises:
        EvaluationError: What is asked for does not fit together.
        OperatorError: An operator's package is not installed.
    """
    from hdrlab.tonemapping import missing

    if lacking := [reason for name in config.operators if (reason := missing(name))]:
        raise OperatorError("; ".join(lacking))
    from hdrlab.evaluation.candidates import sort_candidates

    given = list(config.checkpoint or ())
    if config.weights:
        from hdrlab.weights.pretrained import TONE, pretrained_weights

        part = TONE if (config.task or config.data.tasks[0]) == "tonemap" else ""
        named = pretrained_weights(config.weights, Path(config.paths.runs), part)
        given.append(str(named or config.weights))
    if not given:
        return compare(config, config.task or cast("Task", config.data.tasks[0]), [])
    kind, candidates = sort_candidates(given)
    if kind == "stage":
        if config.results or config.task:
            text = "the checkpoint of a single stage is scored by itself; leave results and task out"
            raise EvaluationError(f"checkpoint={given[0]}: {text}, or give a whole chain")
        from hdrlab.evaluation.stage_scores import score

        return score(config, Path(given[0]))
    if config.task not in (None, kind):
        raise EvaluationError(f"task={config.task}: the checkpoint is for task={kind}")
    return compare(config, kind, candidates)


def compare(config: EvaluateConfig, task: Task, candidates: Sequence[Candidate]) -> int:
    """Compare methods; print the table, write CSV, JSON, Markdown, a plot and a page."""
    from rich.console import Console

    from hdrlab.config.validate import memory_bytes
    from hdrlab.datasets.progress import reading
    from hdrlab.evaluation import hdr_metrics, tables, tasks
    from hdrlab.evaluation.benchmark import run
    from hdrlab.evaluation.plots import plot_scores
    from hdrlab.evaluation.report import page_image, write_report
    from hdrlab.evaluation.summary import summarise_rows
    from hdrlab.io.csv_files import write_rows

    with reading(f"data={config.data.name}") as progress:
        benchmark = tasks.open_benchmark(config, task, candidates, progress)
    total, names = len(benchmark.stems), ", ".join(method.name for method in benchmark.methods)
    print(f"{benchmark.title}: {total} images by {names}", flush=True)
    output = tasks.output_folder(config)
    output.mkdir(parents=True, exist_ok=True)
    with reading("comparing") as progress:
        num_shown = min(config.report_images, total) if config.report else 0
        rows, images = run(benchmark, page_image, num_shown, memory_bytes(config.memory), progress)
    if task == "reconstruct":
        hdr_metrics.add_harm(rows)
    every = summarise_rows(benchmark, rows, everything=True)
    nothing_left = not any(row["usable"] for row in rows)
    results = every if nothing_left else summarise_rows(benchmark, rows)
    failed = tables.failures_of(results, total)
    notes = tasks.notes(config, benchmark, results, candidates, nothing_left=nothing_left)
    settings = {
        "config": asdict(config),
        "data_fingerprint": benchmark.fingerprint,
        "failures": failed,
        "checkpoints": {one.name: one.headers for one in candidates},
    }
    write_rows(rows, output / "images.csv")
    tables.write_summary(benchmark, results, every, notes, settings, output / "summary.json")
    tables.write_markdown(benchmark, results, notes, failed, output / "report.md")
    plot_scores(benchmark, results, tables.headline_metrics(benchmark, results), output / "scores.png")
    if config.report:
        write_report(benchmark, results, rows, images, notes, output / "report.html")
    # A log has no width of its own, and the table needs one.
    console = Console() if sys.stdout.isatty() else Console(width=LOG_WIDTH)
    console.print(tables.screen_table(benchmark, results, console.width))
    for line in failed:
        print(f"failures, scored as black: {line}")
    print(f"comparison: {output}")
    return 0


COMMAND = Command(
    "evaluate",
    EvaluateConfig,
    evaluate,
    (
        "checkpoint=runs/slots/tiny/hal.ckpt",
        "weights=compact data=hdr_real data.root=~/pairs split=all",
        "data=folder data.photographs=~/jpg data.references=~/hdr results.theirs=~/out",
    ),
    ("checkpoint", "weights", "data", "results", "task"),
)

if __name__ == "__main__":
    COMMAND.main()
