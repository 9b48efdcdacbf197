"""What a sweep found, for people: lines while it runs; at its end a table, a CSV, a page and a plot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hdrlab.sweeps.record import FAILED, FINISHED, INTERRUPTED, RUNNING, WAITING, Job, Record, write_table
from hdrlab.sweeps.space import Axis, as_study

SHOWN = 30
"""Rows of the table on the screen."""


def told(record: Record, job: Job, jobs: int, objective: str, *, higher: bool) -> str:
    """Return the line that says what has just become of a job."""
    line = f"job {job.number}/{jobs}  {'  '.join(job.words)}: "
    if job.state == RUNNING:
        where = f"job {job.cluster_id} of the cluster, " if job.cluster_id else ""
        return f"{line}{where}log {record.log_of(job)}"
    if job.state == FINISHED:
        best = record.ranked(higher=higher)[0]
        ranks = "the best so far" if best is job else f"best so far {best.result:.5g} of job {best.number}"
        return f"{line}{objective} {job.result:.5g} at step {job.step}, {ranks}"
    if job.state == FAILED:
        return f"{line}failed, {job.reason}"
    return line + ("submitted again" if job.state == WAITING else job.reason)


def report(record: Record, axes: Sequence[Axis], objective: str, *, higher: bool) -> None:
    """Write ``jobs.csv``, ``summary.md`` and ``sweep.png``, and print the table."""
    keys = [axis.key for axis in axes]
    write_table(record, keys, objective)
    rows = _rows(record, keys, higher=higher)
    header = ["", "job", *keys, objective, "step", "time", "run or reason"]
    (record.folder / "summary.md").write_text(_markdown(record, header, rows), encoding="utf-8")
    _print(header, rows, record)
    if record.ranked(higher=higher):
        from hdrlab.sweeps.plot import draw

        print(f"plot: {draw(record, axes, objective, higher=higher)}")
    if record.definition["method"] == "tpe":
        _export(record, axes, higher=higher)
    print(f"table: {record.folder / 'jobs.csv'}", flush=True)


def _rows(record: Record, keys: Sequence[str], *, higher: bool) -> list[list[str]]:
    """Return the finished jobs, the best first, then the others."""
    ranked = record.ranked(higher=higher)
    others = [job for job in record.jobs if job.result is None]
    return [_row(job, keys, "best" if job is ranked[0] else "") for job in ranked] + [
        _row(job, keys, job.state) for job in sorted(others, key=lambda job: job.state != FAILED)
    ]


def _row(job: Job, keys: Sequence[str], mark: str) -> list[str]:
    values = [job.values[key] for key in keys]
    result = "" if job.result is None else f"{job.result:.5g}"
    step = "" if job.step is None else str(job.step)
    spent = f"{job.seconds // 60:.0f}:{job.seconds % 60:02.0f}"
    run = "/".join(Path(job.run).parts[-2:]) if job.run else job.reason
    return [mark, str(job.number), *values, result, step, spent, run]


def _markdown(record: Record, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

    table = "\n".join([line(header), "|" + "---|" * len(header), *map(line, rows)])
    left = len(record.in_state(WAITING, RUNNING, INTERRUPTED))
    state = f"{left} jobs are not finished.\n\n" if left else ""
    return f"# {record.folder.name}\n\n{state}{table}\n\n![the jobs](sweep.png)\n"


def _print(header: Sequence[str], rows: Sequence[Sequence[str]], record: Record) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(*map(escape, header), title=escape(str(record.folder)), title_justify="left")
    for row in rows[:SHOWN]:
        style = {"best": "bold", "failed": "red"}.get(row[0])
        table.add_row(*map(escape, row), style=style)
    console = Console()
    if not console.is_terminal:
        console.width = 160  # a log file has no edge
    console.print(table)
    if len(rows) > SHOWN:
        print(f"and {len(rows) - SHOWN} more")


def _export(record: Record, axes: Sequence[Axis], *, higher: bool) -> None:
    """Write the study as a file that Optuna's own tools read."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    path = record.folder / "optuna.log"
    path.unlink(missing_ok=True)
    earlier = [(job.values, job.result) for job in record.jobs]
    storage = JournalStorage(JournalFileBackend(str(path)))
    as_study(axes, earlier, higher=higher, storage=storage, name=record.folder.name)
