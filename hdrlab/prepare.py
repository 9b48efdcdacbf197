"""Check and index a data set: ``python -m hdrlab.prepare data=hdr_synth source=… root=…``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hdrlab.config.check import check_prepare
from hdrlab.config.command import Command
from hdrlab.config.menu import prepare_menu
from hdrlab.config.schema import HdrRealConfig, HdrSynthConfig, PrepareConfig, TmoPairsConfig

if TYPE_CHECKING:
    from hdrlab.datasets.index import Index
    from hdrlab.datasets.splits import Bad


def prepare(config: PrepareConfig) -> int:
    """Read every picture of a folder, report all that is wrong, write index and fast files."""
    from hdrlab.datasets.progress import reading
    from hdrlab.datasets.sources import make_data
    from hdrlab.datasets.splits import DataError
    from hdrlab.datasets.tone_pairs import LABELS

    assert isinstance(config.data, (HdrSynthConfig, HdrRealConfig, TmoPairsConfig))
    source, root = Path(config.source), Path(config.root)
    console = Console()
    try:
        with reading(str(source)) as progress:
            index, bad = make_data(config.data, source, root, progress)
    except DataError as error:
        if error.bad:
            console.print(_table_of(error.bad, "that cannot be used"))
        raise
    if bad:
        console.print(_table_of(bad, "left out"))
    console.print(_table_of_splits(index, escape(str(root))))
    negative = sum(picture.negatives > 0 for picture in index.pictures)
    if negative:
        console.print(f"{negative} pictures held negative samples, which were set to 0")
    if (root / LABELS).is_file():
        made = f"SDR pictures were made: {root / LABELS} says by which operators"
        console.print(made, soft_wrap=True, markup=False, highlight=False)
    console.print(
        f"train on it with {_words(config.data, config.root)}", soft_wrap=True, markup=False, highlight=False
    )
    return 0


def _table_of_splits(index: Index, title: str) -> Table:
    table = Table("split", "pictures", "scenes", "stops (least, median, most)", title=title)
    for split in ("train", "val", "test"):
        pictures = index.split(split)
        stops = sorted(picture.stops for picture in pictures)
        spread = f"{stops[0]:.1f}  {stops[len(stops) // 2]:.1f}  {stops[-1]:.1f}" if stops else ""
        table.add_row(split, str(len(pictures)), str(len({p.scene for p in pictures})), spread)
    return table


def _words(data: HdrSynthConfig | HdrRealConfig | TmoPairsConfig, root: str) -> str:
    """Return what chooses the prepared set on a command line."""
    made_with = ""
    if isinstance(data, HdrRealConfig):
        made_with = f" data.exposures={data.exposures}"
    elif isinstance(data, HdrSynthConfig):
        made_with = f" data.short_side={data.short_side} data.resize_filter={data.resize_filter}"
    return f"data={data.name} data.root={root}{made_with}"


def _table_of(bad: Iterable[Bad], fate: str) -> Table:
    table = Table("picture", "reason", title=f"pictures {fate}")
    for item in sorted(bad, key=lambda item: item.file):
        table.add_row(escape(item.file), escape(item.reason))
    return table


COMMAND = Command("prepare", PrepareConfig, check_prepare, prepare, prepare_menu, required=("source", "root"))

if __name__ == "__main__":
    COMMAND.main()
