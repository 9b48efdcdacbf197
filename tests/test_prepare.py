"""``python -m hdrlab.prepare`` from its words to its files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from commands import call
from training import Lab, formula

from hdrlab.datasets.index import Source, open_index
from hdrlab.io import write_image
from hdrlab.io.atomic import digest
from hdrlab.prepare import COMMAND

Prepare = Callable[..., tuple[int, str, str]]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Six good images of four scenes, one all black, one cut short, one that is no image."""
    folder = tmp_path / "downloaded [hdr]"
    folder.mkdir()
    for number, name in enumerate(("hall_1", "hall_2", "park", "lake", "roof_1", "roof_2", "cut")):
        pixels = np.random.default_rng(number).lognormal(0, 1, (70, 90, 3)).astype(np.float32)
        write_image(folder / f"{name}.exr", pixels)
    content = (folder / "cut.exr").read_bytes()
    (folder / "cut.exr").write_bytes(content[: len(content) // 2])
    write_image(folder / "black[0].exr", np.zeros((70, 90, 3), np.float32))
    (folder / "text.hdr").write_text("not an image")
    return folder


@pytest.fixture
def prepare(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Prepare:
    """Runs the command and answers exit code, output and errors."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: str) -> tuple[int, str, str]:
        paths = (f'source="{source}"', f"root={tmp_path / 'ready'}")
        code = call(COMMAND, [*paths, "data.short_side=64", *words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_bad_images_stop_it_with_a_table_of_all(prepare: Prepare, tmp_path: Path) -> None:
    code, out, err = prepare()
    assert code == 2
    for name in ("black[0].exr", "cut.exr", "text.hdr"):
        assert name in out
        assert name in err
    assert "park.exr" not in out
    errors = [line for line in err.splitlines() if line.startswith("error:")]
    assert len(errors) == 3
    assert all("1 of 9 images" in line and "data.skip_bad=true" in line for line in errors)
    assert not (tmp_path / "ready" / "index.json").exists()


def test_then_they_are_left_out_and_nothing_good_is_read_again(
    prepare: Prepare, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in source.iterdir()}
    assert prepare()[0] == 2
    read: list[str] = []
    original = Source.read

    def counted(self, listed):  # type: ignore[no-untyped-def]
        read.append(listed.file)
        return original(self, listed)

    monkeypatch.setattr(Source, "read", counted)
    for _ in range(2):
        code, out, _ = prepare("data.skip_bad=true")
        assert code == 0
        assert "images left out" in out
        assert "black[0].exr" in out
        assert sorted(read) == ["black[0].exr", "cut.exr", "text.hdr"]  # these may have been mended
        read.clear()
    index = open_index(tmp_path / "ready")
    assert len(index.images) == 6
    assert {path.name: path.stat().st_mtime_ns for path in source.iterdir()} == before


def test_it_ends_with_the_splits_and_the_words_to_train(prepare: Prepare, tmp_path: Path) -> None:
    _, out, _ = prepare("data.skip_bad=true")
    table = [line.split() for line in out.splitlines()]
    counts = {line[1]: line[3] for line in table if len(line) > 4 and line[1] in ("train", "val", "test")}
    assert sum(map(int, counts.values())) == 6
    assert set(counts) == {"train", "val", "test"}
    words = f"data=hdr_synth data.root={tmp_path / 'ready'} data.short_side=64 data.resize_filter=area"
    assert words in out


def test_negative_samples_are_mentioned(prepare: Prepare, source: Path) -> None:
    pixels = np.random.default_rng(0).lognormal(0, 1, (70, 90, 3)).astype(np.float32)
    pixels[0, 0] = -1
    write_image(source / "park.exr", pixels)
    assert "1 images held negative samples" in prepare("data.skip_bad=true")[1]


def test_manifest_that_names_missing_files(prepare: Prepare, tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("file,split\npark.exr,train\ngone.exr,val\n")
    code, _, err = prepare(f"data.manifest={tmp_path / 'm.csv'}")
    assert code == 2
    assert "1 of 2 listed images not found (gone.exr)" in err


def test_a_folder_prepared_with_published_lists_publishes_as_with_the_lists(
    prepare: Prepare, lab: Lab, source: Path, tmp_path: Path
) -> None:
    """The authors validate on images of the test list, by which no checkpoint may be chosen."""
    for split, numbers in (("train", (0, 1)), ("test", (2, 3))):
        for number in numbers:
            write_image(source / f"{number}.pfm", formula(number))
        (tmp_path / f"{split}.txt").write_text("".join(f"{number}.pfm\n" for number in numbers))
    lists = [f"data.lists.{split}={tmp_path / split}.txt" for split in ("train", "test")]
    assert prepare(*lists)[0] == 0
    index = open_index(tmp_path / "ready")
    assert [(p.split, p.in_test_list) for p in index.images] == [("train", False)] * 2 + [("val", True)] * 2
    slot = lab.runs / "slots" / "hdr_synth" / "deq.ckpt"
    worse = ("stage.lr=0.5", "trainer.val_every=1")
    run = lab.train("deq", f"data.root={index.folder}", *worse)
    assert digest(run / "best.ckpt") != digest(run / "last.ckpt") == digest(slot)
    slot.unlink()
    assert lab.train("deq", f"data.root='{source}'", *lists, *worse) == run  # it is the same training
    assert digest(run / "last.ckpt") == digest(slot)


def test_source_stays_as_it_is(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(COMMAND, [f'source="{source}"', f'root="{source}"']) == 2
    assert "must be another folder than source" in capsys.readouterr().err


def test_wrong_words_come_together(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = [f"source={tmp_path / 'nowhere'}", f"root={tmp_path / 'x'}", "data.short_sied=64"]
    assert call(COMMAND, words) == 2
    err = capsys.readouterr().err
    assert "no such folder" in err
    assert "did you mean data.short_side?" in err
