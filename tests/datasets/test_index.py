"""The index: what it holds, what it refuses, and what an interruption leaves."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from hdrlab.datasets.index import Index, Source, build_index, check_samples, open_index
from hdrlab.datasets.splits import Listed, list_images
from hdrlab.errors import DataError
from hdrlab.io import read_image, write_image
from hdrlab.ops.resize import resize

Images = Callable[..., Path]
NAMES = ("a.exr", "b.hdr", "c.pfm", "d.exr")


class CountingSource(Source):
    """Notes each read in a file, so that reads in other processes count too; stops where it is told to."""

    def __init__(self, root: Path, stop_at: str = "") -> None:
        super().__init__(root)
        self.log, self.stop_at = root.parent / "reads.txt", stop_at

    def read(self, listed: Listed) -> tuple[NDArray[np.float32], str]:
        if listed.file == self.stop_at:
            raise KeyboardInterrupt
        with self.log.open("a") as stream:
            stream.write(listed.file + "\n")
        return super().read(listed)

    def reads(self) -> list[str]:
        """What was read since the last call."""
        lines = self.log.read_text().split() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return lines


def build(source: Source, folder: Path, **options: Any) -> Index:
    index, _ = build_index(
        list_images(source.root), source, folder, **{"short_side": 32, "resize_filter": "area", **options}
    )
    return index


@pytest.fixture
def source(images: Images) -> CountingSource:
    return CountingSource(images(*NAMES))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "prepared"


@pytest.fixture
def index(source: CountingSource, folder: Path) -> Index:
    made = build(source, folder)
    source.reads()
    return made


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


# ----------------------------------------------------------------------------------------- what it holds


@pytest.mark.parametrize("resize_filter", ["area", "bilinear"])
def test_fast_files_hold_the_resized_images(source: Source, folder: Path, resize_filter: str) -> None:
    index = build(source, folder, resize_filter=resize_filter)
    assert len(index.images) == 4
    for image in index.images:
        pixels = np.asarray(read_image(source.root / image.file).pixels)
        samples = index.load(image)
        assert (image.height, image.width, image.source_size) == (32, 43, (64, 48))
        np.testing.assert_array_equal(samples, resize(pixels, 32, 43, method=resize_filter))
        assert not samples.flags.writeable
        luminance = pixels @ np.array([0.212656, 0.715158, 0.072186], np.float32)
        np.testing.assert_allclose(
            image.luminance, (luminance.min(), np.median(luminance), luminance.max()), rtol=1e-5
        )
        assert 3 < image.stops < 12


def test_small_images_are_enlarged_and_grey_ones_get_three_channels(images: Images, folder: Path) -> None:
    root = images("a.exr", "b.exr")
    grey = np.random.default_rng(0).random((40, 36, 1), np.float32)
    write_image(root / "c.exr", grey)
    index = build(Source(root), folder, short_side=72)
    tall = next(image for image in index.images if image.file == "c.exr")
    assert index.load(tall).shape == (80, 72, 3)
    np.testing.assert_array_equal(np.ptp(index.load(tall), axis=2), 0)


def test_opened_index_is_the_built_one(index: Index, folder: Path) -> None:
    opened = open_index(folder)
    assert opened == index
    assert opened.fingerprint == index.fingerprint
    assert {len(opened.split(split)) for split in ("train", "val", "test")} == {1, 2}


def test_negative_samples_are_clipped_and_counted(images: Images, folder: Path) -> None:
    root = images("a.exr", "b.exr")
    pixels = np.array(read_image(root / "a.exr").pixels)
    pixels[20, 20:25, 0] = -0.5
    write_image(root / "a.exr", pixels)
    index = build(Source(root), folder)
    assert {image.file: image.negatives for image in index.images} == {"a.exr": 5, "b.exr": 0}
    assert all(index.load(image).min() >= 0 for image in index.images)


def test_black_part_does_not_blow_up_the_dynamic_range(images: Images, folder: Path) -> None:
    root = images("a.exr", "b.exr")
    pixels = np.array(read_image(root / "a.exr").pixels)
    pixels[24:] = 0
    write_image(root / "a.exr", pixels)
    assert all(3 < image.stops < 12 for image in build(Source(root), folder).images)


def test_source_folder_is_never_written_to(source: Source, folder: Path) -> None:
    before = contents(source.root)
    build(source, folder)
    assert contents(source.root) == before


def test_progress_counts_every_image(source: Source, folder: Path) -> None:
    calls: list[tuple[int, int, str]] = []
    build(source, folder, progress=lambda *call: calls.append(call))
    assert calls == [(i + 1, 4, name) for i, name in enumerate(NAMES)]


def test_worker_processes_make_the_same(images: Images, tmp_path: Path) -> None:
    source = CountingSource(images(*(f"{name}.exr" for name in "abcdefghi")))
    several = build(source, tmp_path / "several", workers=2)
    assert sorted(source.reads()) == [f"{name}.exr" for name in "abcdefghi"]
    one = build(source, tmp_path / "one", workers=1)
    assert several.images == one.images
    for image in one.images:
        np.testing.assert_array_equal(one.load(image), several.load(image))


# -------------------------------------------------------------------------------------- what it refuses


@pytest.fixture
def mixed(images: Images) -> Path:
    """Three good images and one of each bad kind."""
    root = images("good/a.exr", "good/b.exr", "good/c.hdr", "nan1.exr", "nan2.exr", "cut.exr", "negative.exr")
    for row, name in enumerate(("nan1", "nan2")):
        pixels = np.array(read_image(root / f"{name}.exr").pixels)
        pixels[row : row + 3, 5, 1] = np.nan
        write_image(root / f"{name}.exr", pixels)
    write_image(root / "negative.exr", np.array(read_image(root / "negative.exr").pixels) - 0.5)
    content = (root / "cut.exr").read_bytes()
    (root / "cut.exr").write_bytes(content[: len(content) // 2])
    write_image(root / "black.exr", np.zeros((40, 40, 3), np.float32))
    write_image(root / "constant.exr", np.tile(np.array([0.5, 0.25, 0.125], np.float32), (40, 40, 1)))
    write_image(root / "small.exr", np.random.default_rng(0).random((20, 40, 3), np.float32))
    write_image(root / "dark.pfm", np.random.default_rng(0).random((40, 40, 3), np.float32) * 1e-10)
    tifffile.imwrite(root / "eight.tif", np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8))
    (root / "empty.hdr").touch()
    return root


KINDS = {
    "nan1.exr, nan2.exr": "non-finite",
    "cut.exr": "",
    "negative.exr": "more than 1% of the samples are negative",
    "black.exr": "all black",
    "constant.exr": "one constant value",
    "small.exr": "smaller than 32 pixels",
    "dark.pfm": "mean outside",
    "eight.tif": "display-encoded",
    "empty.hdr": "is empty",
}


def test_all_bad_images_are_reported_at_once_by_kind(mixed: Path, folder: Path) -> None:
    with pytest.raises(DataError) as caught:
        build(Source(mixed), folder)
    problems = caught.value.problems
    assert len(problems) == len(KINDS)
    for files, reason in KINDS.items():
        (line,) = [line for line in problems if f"({files})" in line]
        assert reason in line
        assert f"{files.count(',') + 1} of 13 images" in line
        assert "data.skip_bad=true" in line
    assert {bad.file for bad in caught.value.bad} == {name for files in KINDS for name in files.split(", ")}
    assert not (folder / "index.json").exists()


def test_bad_images_can_be_left_out(mixed: Path, folder: Path) -> None:
    source = CountingSource(mixed)
    index, bad = build_index(
        list_images(mixed), source, folder, short_side=32, resize_filter="area", skip_bad=True, workers=1
    )
    assert [image.file for image in index.images] == ["good/a.exr", "good/b.exr", "good/c.hdr"]
    assert len(bad) == 10
    assert open_index(folder) == index
    source.reads()
    build(source, folder, skip_bad=True, workers=1)
    assert set(source.reads()) == {image.file for image in bad}  # they may have been mended meanwhile


def test_only_bad_images_are_refused_even_so(images: Images, folder: Path) -> None:
    root = images("a.exr", "b.exr")
    for name in ("a", "b"):
        write_image(root / f"{name}.exr", np.zeros((40, 40, 3), np.float32))
    with pytest.raises(DataError, match=r"2 of 2 images: all black \(a.exr, b.exr\); give a folder of HDR"):
        build(Source(root), folder, skip_bad=True)


def test_large_values_within_reason_pass() -> None:
    pixels = np.random.default_rng(0).random((32, 32, 3), np.float32)
    assert check_samples(pixels * 1e6) is None
    assert check_samples(pixels * 1e10) is not None


# ------------------------------------------------------------------------- interruption, change, resume


def test_second_call_reads_nothing(source: CountingSource, index: Index, folder: Path) -> None:
    before = contents(folder / "images")
    assert build(source, folder) == index
    assert source.reads() == []
    assert contents(folder / "images") == before


def test_interrupted_call_goes_on(source: CountingSource, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        build(CountingSource(source.root, stop_at="c.pfm"), folder)
    assert source.reads() == ["a.exr", "b.hdr"]
    with (folder / "journal.jsonl").open("a") as journal:
        journal.write('{"file": "c.pfm", "split": "tra')  # killed while writing
    with pytest.raises(KeyboardInterrupt):
        build(CountingSource(source.root, stop_at="d.exr"), folder)
    assert source.reads() == ["c.pfm"]
    resumed = build(source, folder)
    assert source.reads() == ["d.exr"]
    assert resumed.images == build(source, tmp_path / "uninterrupted").images
    assert sorted(path.name for path in folder.iterdir()) == ["images", "index.json"]
    assert len(list((folder / "images").iterdir())) == 4


def test_failure_keeps_what_was_good(source: CountingSource, folder: Path) -> None:
    good = read_image(source.root / "b.hdr")
    (source.root / "b.hdr").write_bytes(b"")
    with pytest.raises(DataError, match="1 of 4 images"):
        build(source, folder)
    source.reads()
    write_image(source.root / "b.hdr", good)
    build(source, folder)
    assert source.reads() == ["b.hdr"]


def test_changed_source_is_read_again(source: CountingSource, index: Index, folder: Path) -> None:
    write_image(source.root / "b.hdr", np.array(read_image(source.root / "d.exr").pixels) * 2)
    changed = build(source, folder)
    assert source.reads() == ["b.hdr"]
    assert changed.fingerprint != index.fingerprint
    pixels = np.asarray(read_image(source.root / "b.hdr").pixels)
    (image,) = (image for image in changed.images if image.file == "b.hdr")
    np.testing.assert_array_equal(changed.load(image), resize(pixels, 32, 43))
    assert len(list((folder / "images").iterdir())) == 4


def test_touched_source_gives_the_same_data(source: CountingSource, index: Index, folder: Path) -> None:
    os.utime(source.root / "a.exr", (1, 1))
    again = build(source, folder)
    assert source.reads() == ["a.exr"]
    assert again.fingerprint == index.fingerprint


@pytest.mark.parametrize("options", [{"short_side": 40}, {"resize_filter": "bilinear"}])
def test_other_settings_make_all_again(
    source: CountingSource, index: Index, folder: Path, options: dict[str, Any]
) -> None:
    other = build(source, folder, **options)
    assert sorted(source.reads()) == list(NAMES)
    assert other.fingerprint != index.fingerprint
    assert len(list((folder / "images").iterdir())) == 4  # the superseded ones are gone


def test_former_index_is_true_until_it_is_replaced(
    source: CountingSource, index: Index, folder: Path
) -> None:
    before = [np.array(index.load(image)) for image in index.images]
    with pytest.raises(KeyboardInterrupt):
        build(CountingSource(source.root, stop_at="d.exr"), folder, resize_filter="bilinear")
    assert open_index(folder) == index
    for image, samples in zip(index.images, before, strict=True):
        np.testing.assert_array_equal(index.load(image), samples)


def test_journal_of_other_settings_is_not_taken_over(
    source: CountingSource, folder: Path, tmp_path: Path
) -> None:
    for options in ({}, {"resize_filter": "bilinear"}):
        with pytest.raises(KeyboardInterrupt):
            build(CountingSource(source.root, stop_at="b.hdr"), folder, **options)
        with (folder / "journal.jsonl").open("a") as journal:
            journal.write('{"file"')
        assert source.reads() == ["a.exr"]
    made = build(source, folder)
    assert source.reads() == ["b.hdr", "c.pfm", "d.exr"]
    assert made.images == build(source, tmp_path / "fresh").images


def test_missing_and_short_fast_files_are_made_again(
    source: CountingSource, index: Index, folder: Path
) -> None:
    first, second = (folder / image.array for image in index.images[:2])
    first.unlink()
    second.write_bytes(second.read_bytes()[:-4])
    with pytest.raises(DataError, match="2 fast files are gone or cut short"):
        open_index(folder)
    assert build(source, folder) == index
    assert source.reads() == ["a.exr", "b.hdr"]
    assert open_index(folder) == index


# ------------------------------------------------------------------------------------ damaged, foreign


def _newer(text: str) -> str:
    stored = json.loads(text)
    stored["settings"]["version"] = 99
    stored["images"] = {"laid out": "in another way"}
    return json.dumps(stored)


DAMAGES = [
    pytest.param(lambda text: text[: len(text) // 2], "damaged", id="cut"),
    pytest.param(lambda text: "", "damaged", id="empty"),
    pytest.param(lambda text: "\x00\x80" * 5, "damaged", id="zeros"),
    pytest.param(lambda text: "[1, 2]", "damaged or no index", id="list"),
    pytest.param(lambda text: "{}", "damaged or no index", id="foreign"),
    pytest.param(lambda text: '{"settings": 3, "images": []}', "damaged or no index", id="settings"),
    pytest.param(lambda text: text.replace('"stamp"', '"mark"'), "damaged or no index", id="column"),
    pytest.param(lambda text: _newer(text), "version 99, this hdrlab needs 1", id="newer"),
]


@pytest.mark.parametrize(("damage", "said"), DAMAGES)
def test_damaged_index_is_refused_and_can_be_made_again(
    source: CountingSource, index: Index, folder: Path, damage: Callable[[str], str], said: str
) -> None:
    path = folder / "index.json"
    path.write_text(damage(path.read_text()))
    with pytest.raises(DataError, match=said) as caught:
        open_index(folder)
    assert str(path) in str(caught.value)
    assert build(source, folder).fingerprint == index.fingerprint


def test_missing_index(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        open_index(tmp_path)


# ------------------------------------------------------------------------------------------ fingerprint


def test_fingerprint_does_not_depend_on_the_place(source: Source, index: Index, tmp_path: Path) -> None:
    shutil.copytree(source.root, tmp_path / "elsewhere")
    moved = build(Source(tmp_path / "elsewhere"), tmp_path / "moved")
    assert moved.fingerprint == index.fingerprint
    shutil.copytree(index.folder, tmp_path / "copied")
    copied = open_index(tmp_path / "copied")
    assert copied.fingerprint == index.fingerprint
    np.testing.assert_array_equal(copied.load(copied.images[0]), index.load(index.images[0]))


def test_fingerprint_changes_with_the_splits(source: CountingSource, index: Index, folder: Path) -> None:
    listed = [
        Listed(x.file, {"test": "train"}.get(x.split, x.split), x.scene) for x in list_images(source.root)
    ]
    other, _ = build_index(listed, source, folder, short_side=32, resize_filter="area")
    assert source.reads() == []
    assert other.fingerprint != index.fingerprint
    assert not other.split("test")


def test_fingerprint_changes_with_the_images(source: Source, index: Index, folder: Path) -> None:
    listed = list_images(source.root)
    fewer, _ = build_index(listed[:-1], source, folder, short_side=32, resize_filter="area")
    assert fewer.fingerprint != index.fingerprint


def test_a_fast_file_that_was_replaced_is_mapped_anew(index: Index) -> None:
    image = index.images[0]
    before = index.load(image)
    assert index.load(image) is before
    assert not before.flags.writeable
    np.save(index.folder / "other.npy", before + 1)
    expected = before + 1
    (index.folder / "other.npy").replace(index.folder / image.array)
    np.testing.assert_array_equal(index.load(image), expected)
