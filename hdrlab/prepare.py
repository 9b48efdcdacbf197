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
from hdrlab.config.schema import HdrSynthConfig, PrepareConfig

if TYPE_CHECKING:
    from hdrlab.datasets.splits import Bad


def prepare(config: PrepareConfig) -> int:
    """Read every picture of a folder, report all that is wrong, write index and fast files."""
    from hdrlab.datasets.index import Source, build_index
    from hdrlab.datasets.progress import reading
    from hdrlab.datasets.sources import listed_of
    from hdrlab.datasets.splits import DataError

    assert isinstance(config.data, HdrSynthConfig)
    source, root = Path(config.source), Path(config.root)
    listed = listed_of(config.data, source)
    console = Console()
    try:
        with reading(str(source)) as progress:
            index, bad = build_index(
                listed,
                Source(source),
                root,
                short_side=config.data.short_side,
                resize_filter=config.data.resize_filter,
                skip_bad=config.data.skip_bad,
                progress=progress,
            )
    except DataError as error:
        console.print(_table_of(error.bad, "that cannot be used"))
        raise
    if bad:
        console.print(_table_of(bad, "left out"))
    table = Table("split", "pictures", "scenes", "stops (least, median, most)", title=str(root))
    for split in ("train", "val", "test"):
        pictures = index.split(split)
        stops = sorted(picture.stops for picture in pictures)
        spread = f"{stops[0]:.1f}  {stops[len(stops) // 2]:.1f}  {stops[-1]:.1f}" if stops else ""
        table.add_row(split, str(len(pictures)), str(len({p.scene for p in pictures})), spread)
    console.print(table)
    negative = sum(picture.negatives > 0 for picture in index.pictures)
    if negative:
        console.print(f"{negative} pictures held negative samples, which were set to 0")
    console.print(f"train on it with data=hdr_synth data.root={root}", soft_wrap=True)
    return 0


def _table_of(bad: Iterable[Bad], fate: str) -> Table:
    table = Table("picture", "reason", title=f"pictures {fate}")
    for item in sorted(bad, key=lambda item: item.file):
        table.add_row(escape(item.file), escape(item.reason))
    return table


COMMAND = Command("prepare", PrepareConfig, check_prepare, prepare, prepare_menu, required=("source", "root"))

if __name__ == "__main__":
    COMMAND.main()
