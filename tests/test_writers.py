"""Everything that writes a file: a full disk, links, special files and what killed processes left behind."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from evaluation.test_summary import benchmark, rows
from matplotlib.figure import Figure

from hdrlab.datasets.index import write_array
from hdrlab.errors import HdrlabError
from hdrlab.evaluation.plots import plot_scores
from hdrlab.evaluation.report import write_report
from hdrlab.evaluation.summary import summarise_rows
from hdrlab.evaluation.tables import write_markdown, write_summary
from hdrlab.inference.hdr_files import write_curve
from hdrlab.io import write_image
from hdrlab.io.atomic import appending_text
from hdrlab.io.csv_files import write_rows
from hdrlab.io.heif import write_avif
from hdrlab.io.openexr import COMPRESSIONS
from hdrlab.io.ultrahdr import write_ultrahdr
from hdrlab.nets import build_net
from hdrlab.reproduce import Journal
from hdrlab.training.checkpoint_list import Entry, write_manifest
from hdrlab.training.metrics_csv import MetricsFile
from hdrlab.weights.net_file import save_net

Writer = Callable[[Path], object]
HDR = np.random.default_rng(0).random((64, 80, 3), np.float32)
SDR = (255 * HDR).astype(np.uint8)
RESULTS = summarise_rows(benchmark(), rows(9, 9))


def append(path: Path, line: str) -> None:
    with appending_text(path) as stream:
        stream.write(line + "\n")


WRITERS: dict[str, Writer] = {
    **{
        f"{compression}.exr": lambda path, compression=compression: write_image(
            path, HDR, compression=compression
        )
        for compression in COMPRESSIONS
    },
    **{f"light{suffix}": lambda path: write_image(path, HDR) for suffix in (".hdr", ".pfm", ".tif")},
    **{f"photo{suffix}": lambda path: write_image(path, SDR) for suffix in (".png", ".jpg", ".tif")},
    "deep.png": lambda path: write_image(path, SDR.astype(np.uint16) * 257),
    "ultra.jpg": lambda path: write_ultrahdr(path, HDR, SDR),
    "light.avif": lambda path: write_avif(path, 100 * HDR),
    "curve.csv": lambda path: write_curve(path, np.linspace(0, 1, 1024, dtype=np.float32)),
    "rows.csv": lambda path: write_rows([{"image": "a" * 2000}] * 20, path),
    "summary.json": lambda path: write_summary(benchmark(), RESULTS, RESULTS, {}, {"x": "y" * 20_000}, path),
    "report.md": lambda path: write_markdown(benchmark(), RESULTS, {"note": "n" * 20_000}, [], path),
    "scores.png": lambda path: plot_scores(benchmark(), RESULTS, benchmark().metrics, path),
    "report.html": lambda path: write_report(benchmark(), RESULTS, rows(9, 9), [], {}, path),
    "net.pt": lambda path: save_net(build_net("dequantization", width=0.05), path, {}),
    "net.safetensors": lambda path: save_net(build_net("dequantization", width=0.05), path, {}),
    "array.npy": lambda path: write_array(path, HDR),
    "journal.json": lambda path: Journal(path, done={"deq": "a" * 20_000}).save(),
    "metrics.csv": lambda path: MetricsFile(path).write(1, {f"val/{n}": 0.5 for n in range(2000)}),
    "lines.txt": lambda path: append(path, "a" * 5000),
    "checkpoints.json": lambda path: write_manifest(path.parent, [Entry("last.ckpt", 1, 2, "a" * 20_000)]),
}
APPENDS = {"metrics.csv", "lines.txt"}
"""A line that is cut off there is passed over when the file is read."""


@contextmanager
def room(size: int) -> Iterator[None]:
    """A disk on which no file gets longer than this, whoever writes it: hdrlab, or a library in C."""
    before, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, most))


@pytest.fixture(scope="module", autouse=True)
def _ready() -> None:
    """Let libraries write what they keep, such as lists of fonts, before there is no room."""
    torch.manual_seed(0)
    Figure().savefig(os.devnull, format="png")


@pytest.mark.parametrize("name", WRITERS)
def test_on_a_full_disk_the_former_file_stays_and_the_error_names_it(name: str, tmp_path: Path) -> None:
    path, write = tmp_path / name, WRITERS[name]
    write(path)
    whole = path.read_bytes()
    for size in (0, 1, len(whole) // 2, len(whole) - 1):
        path.write_bytes(b"former")
        with room(size), pytest.raises((OSError, HdrlabError)) as refused:
            write(path)
        assert str(path) in str(refused.value) or name in APPENDS
        assert path.read_bytes() == b"former" or name in APPENDS
        assert [one.name for one in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", WRITERS)
def test_links_and_special_files_in_its_place_are_left_alone(name: str, tmp_path: Path) -> None:
    write = WRITERS[name]
    precious = tmp_path / "precious"
    precious.write_text("kept")
    for make in (
        lambda path: path.symlink_to(precious),
        lambda path: path.symlink_to(tmp_path / "nothing"),
        os.mkfifo,
        lambda path: path.symlink_to("/dev/null"),
        Path.mkdir,
    ):
        path = tmp_path / name
        make(path)
        mode = path.lstat().st_mode
        with pytest.raises((OSError, HdrlabError)) as refused:
            write(path)
        assert str(path) in str(refused.value)
        assert path.lstat().st_mode == mode
        with suppress(OSError):
            path.unlink()
    assert precious.read_text() == "kept"
    assert {one.name for one in tmp_path.iterdir()} == {"precious", name}
