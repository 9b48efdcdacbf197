"""Check and index a data set: ``python -m hdrlab.prepare data=hdr_synth source=… root=…``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hdrlab.config.cli import Command
from hdrlab.config.schema.commands import PrepareConfig
from hdrlab.config.schema.data import PreparableConfig
from hdrlab.errors import DataError

if TYPE_CHECKING:
    from hdrlab.datasets.index import Index
    from hdrlab.datasets.splits import Bad


def prepare(config: PrepareConfig) -> int:
    """Read every image of a folder, report all that is wrong, write index and fast files."""
    from hdrlab.datasets.build import make_data
    from hdrlab.datasets.progress import reading
    from hdrlab.datasets.sources import LABELS

    assert isinstance(config.data, PreparableConfig)
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
    negative = sum(image.negatives > 0 for image in index.images)
    if negative:
        console.print(f"{negative} images held negative samples, which were set to 0")
    if (root / LABELS).is_file():
        made = f"SDR images were made: {root / LABELS} says by which operators"
        console.print(made, soft_wrap=True, markup=False, highlight=False)
    console.print(
        f"train on it with {_arguments(config.data, config.root)}",
        soft_wrap=True,
        markup=False,
        highlight=False,
    )
    return 0


def _table_of_splits(index: Index, title: str) -> Table:
    table = Table("split", "images", "scenes", "stops (least, median, most)", title=title)
    for split in ("train", "val", "test"):
        images = index.split(split)
        stops = sorted(image.stops for image in images)
        spread = f"{stops[0]:.1f}  {stops[len(stops) // 2]:.1f}  {stops[-1]:.1f}" if stops else ""
        table.add_row(split, str(len(images)), str(len({p.scene for p in images})), spread)
    return table


def _arguments(data: PreparableConfig, root: str) -> str:
    """Return what chooses the prepared set on a command line."""
    from hdrlab.datasets.build import settings_of

    made_with = "".join(f" data.{name}={value}" for name, value in settings_of(data).items())
    return f"data={data.name} data.root={root}{made_with}"


def _table_of(bad: Iterable[Bad], fate: str) -> Table:
    table = Table("image", "reason", title=f"images {fate}")
    for item in sorted(bad, key=lambda item: item.file):
        table.add_row(escape(item.file), escape(item.reason))
    return table


COMMAND = Command(
    "prepare",
    PrepareConfig,
    prepare,
    (
        "~/hdr ~/prepared",
        "~/pairs ~/prepared data=hdr_real data.skip_bad=true",
    ),
    ("source", "root"),
    positional=("source", "root"),
    data=lambda data: data.root_holds is not None,
)

if __name__ == "__main__":
    COMMAND.main()
