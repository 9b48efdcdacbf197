"""List, compare, show and remove trainings: ``python -m hdrlab.runs``."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from hdrlab.errors import HdrlabError, RunError, end_unread

if TYPE_CHECKING:
    from rich.table import Table

    from hdrlab.training.run_list import RunRecord

USAGE = """List, compare, show and remove trainings, and what they published.

usage: hdrlab runs [FOLDER]            a table a stage: steps made, best validation, time, what differs
       hdrlab runs show RUN            one run: its scores and its whole configuration
       hdrlab runs compare RUN RUN …   what differs, one table, the curves in one plot
       hdrlab runs report [RUN …]      all runs, or these, as one HTML page
       hdrlab runs remove RUN …        asks first

RUN is a folder, or any part of STAGE/NAME that only one run has.

  paths.runs=FOLDER   where the runs lie (runs)
  output=FILE         the plot of compare (runs/compare.png), the page of report (runs/report.html)
  --json              list, show and compare as JSON
  yes=true            remove without a question
"""

_MANY = 99
ACTIONS = {
    "list": (0, 0, "one folder"),
    "show": (1, 1, "one run"),
    "compare": (2, _MANY, "two runs or more"),
    "report": (0, _MANY, "runs"),
    "remove": (1, _MANY, "one run or more"),
}
"""How many runs each takes."""

_KEYS = {"paths.runs=": "--runs=", "output=": "--output=", "yes=true": "--yes", "json=true": "--json"}
"""What is written as other commands' keys."""


def main() -> None:
    """Carry out what the command line says."""
    try:
        _carry_out(_parse(sys.argv[1:]))
        sys.stdout.flush()
    except BrokenPipeError:  # a reader that has seen enough, as in show RUN | head
        end_unread()
    except HdrlabError as error:
        print("error: " + "\n".join(error.problems), file=sys.stderr)
        raise SystemExit(error.exit_code) from None


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise RunError(f"{message}; hdrlab runs --help says what it takes")


def _parse(words: Sequence[str]) -> argparse.Namespace:
    if {"-h", "--help"} & {*words}:
        print(USAGE, end="")
        raise SystemExit(0)
    words = [_as_option(word) for word in words]
    parser = _Parser(prog="hdrlab runs", add_help=False, allow_abbrev=False)
    parser.add_argument("--runs", type=Path)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--yes", action="store_true")
    parser.add_argument("names", nargs="*")
    chosen = parser.parse_args(words)
    chosen.action = chosen.names.pop(0) if chosen.names and chosen.names[0] in ACTIONS else "list"
    if chosen.action == "list" and chosen.names and chosen.runs is None:
        chosen.runs = Path(chosen.names.pop(0))
    least, most, wanted = ACTIONS[chosen.action]
    if not least <= len(chosen.names) <= most:
        raise RunError(f"{chosen.action}: takes {wanted}; hdrlab runs --help shows it")
    chosen.runs = chosen.runs or Path("runs")
    if not chosen.runs.is_dir():
        raise RunError(f"{chosen.runs}: no such folder; train a stage first, or name another")
    return chosen


def _as_option(word: str) -> str:
    return next((word.replace(key, option, 1) for key, option in _KEYS.items() if word.startswith(key)), word)


def _carry_out(chosen: argparse.Namespace) -> None:
    from hdrlab.training.run_list import find_run, list_runs, neighbours

    runs: list[RunRecord] = [find_run(chosen.runs, name) for name in chosen.names]
    if chosen.action == "remove":
        _remove(chosen.runs, runs, sure=chosen.yes)
    elif chosen.action == "compare":
        _compare(chosen, runs)
    elif chosen.action == "show":
        from hdrlab.evaluation.run_tables import run_tables

        _give(chosen.json, {**runs[0].as_dict(), "config": runs[0].config}, run_tables(runs[0]))
    elif chosen.action == "report":
        from hdrlab.evaluation.report.runs import write_runs_report

        path = chosen.output or chosen.runs / "report.html"
        write_runs_report(runs or list_runs(chosen.runs), f"Runs in {chosen.runs}", path)
        print(f"report: {path}")
    else:
        from hdrlab.evaluation.run_tables import list_tables

        runs = list_runs(chosen.runs)
        told = zip(runs, neighbours(runs), strict=True)
        content = {
            "runs": [{**run.as_dict(), "otherwise": otherwise} for run, otherwise in told],
            "published": [dict(zip(_SLOT_KEYS, slot, strict=True)) for slot in _slots(chosen.runs)],
        }
        _give(chosen.json, content, [*list_tables(runs), _slot_table(chosen.runs)])


def _compare(chosen: argparse.Namespace, runs: Sequence[RunRecord]) -> None:
    from hdrlab.evaluation.run_curves import plot_runs
    from hdrlab.evaluation.run_tables import comparison_tables
    from hdrlab.training.run_list import differing

    if len({run.stage for run in runs}) > 1:
        stages = ", ".join(f"{run.name} is of {run.stage}" for run in runs)
        raise RunError(f"compare: the scores of different stages say nothing of each other: {stages}")
    content = {"runs": [run.as_dict() for run in runs], "differing": differing(runs)}
    _give(chosen.json, content, comparison_tables(runs))
    path = chosen.output or chosen.runs / "compare.png"
    plot_runs(runs, path)
    print(f"plot: {path}", file=sys.stderr if chosen.json else sys.stdout)


def _give(as_json: bool, content: dict[str, Any], tables: Iterable[Table]) -> None:
    """Print JSON, or tables."""
    if as_json:
        print(json.dumps(content, indent=2, default=str))
        return
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console.width = 160  # a log file has no edge
    console.print(*tables, sep="\n")


_SLOT_KEYS = ("checkpoint", "run", "step", "data_fingerprint")


def _slots(runs: Path) -> list[tuple[str, ...]]:
    """List the published checkpoints: name, run, step and data."""
    from hdrlab.training.run_folder import UNREADABLE

    found: list[tuple[str, ...]] = []
    for path in sorted(runs.glob("slots/*/*.json")):
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            origin = (str(stored["run"]), str(stored["step"]), str(stored["data_fingerprint"])[:8])
        except UNREADABLE:
            origin = ("manifest is damaged", "", "")
        found.append((f"{path.parent.name}/{path.stem}", *origin))
    return found


def _slot_table(runs: Path) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table(
        "checkpoint", "from run", "step", "data fingerprint", title="published", title_justify="left"
    )
    table.title_justify = "left"
    table.columns[1].overflow = "fold"
    for slot in _slots(runs):
        table.add_row(*map(escape, slot))
    return table


def _remove(folder: Path, runs: Sequence[RunRecord], *, sure: bool) -> None:
    """Remove run folders, after a question; what they published stays."""
    from hdrlab.training.run_lock import is_locked

    for run in runs:
        if is_locked(run.folder):
            raise RunError(f"{run.folder}: a process trains here; stop it first, nothing is removed")
    published = {run: name for name, run, *_ in _slots(folder)}
    for run in runs:
        size = sum(path.stat().st_size for path in run.folder.rglob("*") if path.is_file()) / 1e6
        stays = f"; runs/slots/{published[run.name]}.ckpt stays" if run.name in published else ""
        print(f"{run.folder}: {run.state}, {size:.0f} MB{stays}", flush=True)
    if not sure:
        if not sys.stdin.isatty():
            raise RunError("remove: nobody is here to be asked; add yes=true")
        if input(f"remove {len(runs)} run(s) for good? [y/N] ").strip().lower() not in ("y", "yes"):
            print("nothing removed")
            return
    for run in runs:
        shutil.rmtree(run.folder)
        print(f"removed {run.folder}")


if __name__ == "__main__":
    main()
