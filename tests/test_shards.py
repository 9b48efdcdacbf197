"""Several jobs share a folder of images: each image is done once, and what is missing is done later."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hdrlab.io import write_image
from hdrlab.tonemap import COMMAND


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    for number in range(5):
        write_image(tmp_path / "in" / f"{number}.exr", np.full((8, 8, 3), 1.0 + number, np.float32))

    def call(*arguments: str) -> int:
        with pytest.raises(SystemExit) as left:
            COMMAND.main(["input=in", "output=out", "operator=reinhard", *arguments])
        return int(left.value.code or 0)

    return call


def done(folder: Path) -> list[str]:
    """The images done so far, each as often as it was done."""
    lines = (folder / "out" / "tonemap.jsonl").read_text().splitlines()
    return sorted(line["target"] for line in map(json.loads, lines) if "stamp" in line)


@pytest.mark.slow
def test_jobs_share_a_folder_and_do_each_image_once(call, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    assert call("shard=1", "num_shards=3") == 0
    assert done(tmp_path) == ["1", "4"]
    assert call("-m", "shard=range(3)", "num_shards=3", "hydra/launcher=basic") == 0
    assert done(tmp_path) == ["0", "1", "2", "3", "4"]
    assert len(list((tmp_path / "out").glob("*.png"))) == 5
    assert call("-m", "shard=range(2)", "num_shards=2", "hydra/launcher=basic") == 0
    assert len(done(tmp_path)) == 5


def test_a_share_that_does_not_exist_is_refused(
    call,  # type: ignore[no-untyped-def]
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call("-m", "shard=range(4)", "num_shards=3") == 2
    assert capsys.readouterr().err == "error: shard=3: must be below num_shards=3; the first is 0\n"


@pytest.mark.slow
def test_jobs_may_be_processes(call, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    assert call("-m", "shard=range(2)", "num_shards=2", "hydra.launcher.n_jobs=2") == 0
    assert done(tmp_path) == ["0", "1", "2", "3", "4"]
