"""Data sections of the configuration: rendered scenes, folders prepared or not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hdrlab.camera.curves import load_response_curves
from hdrlab.config.registry.stages import STAGES, TONE_KEYS
from hdrlab.config.schema.data import HdrSynthConfig, ListsConfig, TinyConfig
from hdrlab.datasets import sources, tiny
from hdrlab.datasets.build import open_data, training_set, validation_set
from hdrlab.datasets.index import Source, ToneImage, build_index
from hdrlab.datasets.sources import Rendered
from hdrlab.datasets.splits import list_images
from hdrlab.errors import DataError
from hdrlab.io import write_image

Images = Callable[..., Path]
COMMON: dict[str, Any] = {
    "short_side": 64,
    "val_crop": None,
    "val_images": 2,
    "exposures": 5,
    "curves": "builtin",
    "noise": "independent",
    "jpeg_quality": "random",
    "resize_filter": "area",
    "workers": 0,
}


def folder_config(root: Path, **changes: Any) -> HdrSynthConfig:
    values = {"name": "hdr_synth", "root": str(root), "manifest": None, "lists": None, "skip_bad": False}
    return HdrSynthConfig(**{**COMMON, **values, **changes})


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def root(images: Images) -> Path:
    return images("a.exr", "b.exr", "c.exr")


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_unprepared_folder_is_indexed_below_the_cache(root: Path, cache: Path) -> None:
    before = files_in(root)
    reads: list[str] = []
    index = open_data(folder_config(root), cache, progress=lambda done, total, file: reads.append(file))
    assert index.folder.parent == cache
    assert files_in(root) == before
    assert reads == ["a.exr", "b.exr", "c.exr"]
    again = open_data(folder_config(root), cache, progress=lambda done, total, file: reads.append(file))
    assert again == index
    assert len(reads) == 3


def test_runs_with_other_sizes_do_not_undo_each_others_cache(root: Path, cache: Path) -> None:
    index = open_data(folder_config(root), cache)
    samples = np.array(index.load(index.images[0]))
    for change in ({"short_side": 96}, {"resize_filter": "bilinear"}):
        assert open_data(folder_config(root, **change), cache).folder != index.folder
    np.testing.assert_array_equal(index.load(index.images[0]), samples)


def test_folders_of_one_name_have_their_own_cache(root: Path, cache: Path, tmp_path: Path) -> None:
    twin = tmp_path / "other" / root.name
    twin.mkdir(parents=True)
    for path in root.iterdir():
        write_image(twin / path.name, np.random.default_rng(0).random((48, 64, 3), np.float32))
    assert open_data(folder_config(root), cache).folder != open_data(folder_config(twin), cache).folder


def test_manifest_and_lists_choose_the_splits(root: Path, cache: Path, tmp_path: Path) -> None:
    manifest, train, test = (tmp_path / name for name in ("m.csv", "train.txt", "test.txt"))
    manifest.write_text("file,split\na.exr,val\nb.exr,train\n")
    train.write_text("c.exr\n")
    test.write_text("a.exr\nb.exr\n")
    by_manifest = open_data(folder_config(root, manifest=str(manifest)), cache)
    assert [(p.file, p.split) for p in by_manifest.images] == [("a.exr", "val"), ("b.exr", "train")]
    by_lists = open_data(folder_config(root, lists=ListsConfig(train=str(train), test=str(test))), cache)
    assert [p.file for p in by_lists.split("train")] == ["c.exr"]
    assert [p.file for p in by_lists.split("val")] == ["a.exr", "b.exr"]


def test_images_for_scoring_alone_need_no_training_images(root: Path, cache: Path, tmp_path: Path) -> None:
    manifest, reads = tmp_path / "m.csv", []
    manifest.write_text("file,split\na.exr,val\nb.exr,val\n")
    data = folder_config(root, manifest=str(manifest))
    with pytest.raises(DataError, match=r"no usable image in the split train$"):
        open_data(data, cache, progress=lambda *read: reads.append(read))
    assert not reads
    assert len(open_data(data, cache, splits=("val",)).images) == 2
    assert len(open_data(data, cache, splits=("all",)).images) == 2


def test_prepared_folder_is_opened_as_it_is(root: Path, cache: Path, tmp_path: Path) -> None:
    prepared, _ = build_index(
        list_images(root), Source(root), tmp_path / "ready", short_side=64, resize_filter="area"
    )
    assert open_data(folder_config(prepared.folder), cache) == prepared
    assert not cache.exists()


def test_prepared_folder_with_other_settings_is_refused(root: Path, cache: Path, tmp_path: Path) -> None:
    build_index(list_images(root), Source(root), tmp_path / "ready", short_side=64, resize_filter="area")
    wanted = folder_config(tmp_path / "ready", short_side=96, resize_filter="bilinear", manifest="m.csv")
    with pytest.raises(DataError) as caught:
        open_data(wanted, cache)
    assert len(caught.value.problems) == 3
    assert "set data.short_side=64 or prepare it again" in caught.value.problems[0]


def test_bad_images_stop_or_are_left_out(root: Path, cache: Path) -> None:
    write_image(root / "a_2.exr", np.zeros((48, 64, 3), np.float32))
    with pytest.raises(DataError, match="1 of 4 images: all black"):
        open_data(folder_config(root), cache)
    assert len(open_data(folder_config(root, skip_bad=True), cache).images) == 3


def test_split_whose_images_are_all_bad(root: Path, cache: Path) -> None:
    for item in list_images(root):
        if item.split == "val":
            write_image(root / item.file, np.zeros((48, 64, 3), np.float32))
    with pytest.raises(DataError, match="no usable image in the split val"):
        open_data(folder_config(root, skip_bad=True), cache)


def tiny_config() -> TinyConfig:
    return TinyConfig(**COMMON, name="tiny")


def test_rendered_scenes_are_made_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"train": 2, "val": 1, "test": 1}
    rendered: list[tuple[str, int]] = []

    def render(split: str, number: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        rendered.append((split, number))
        return np.random.default_rng(number).random((48, 64, 3), np.float32)

    monkeypatch.setattr(tiny, "SPLIT_SIZES", sizes)
    monkeypatch.setattr(tiny, "render_scene", render)
    config = tiny_config()
    index = open_data(config, cache)
    assert {split: len(index.split(split)) for split in sizes} == sizes
    assert open_data(config, cache) == index
    assert len(rendered) == 4
    assert open_data(replace(config, resize_filter="bilinear"), cache).folder != index.folder


def test_rendered_scenes_follow_the_renderers_code() -> None:
    source = Rendered()
    listed = source.listed()
    assert len(listed) == sum(tiny.SPLIT_SIZES.values())
    assert len({item.file for item in listed}) == len(listed)
    assert source.stamp(listed[0]) == Rendered().version


def test_rendered_scenes_get_sdr_images_only_where_these_are_read(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hdr = np.random.default_rng(4).lognormal(0, 2, (168, 176, 3)).astype(np.float32)
    made: list[str] = []

    def make(image: np.ndarray[Any, np.dtype[np.float32]]) -> tuple[Any, dict[str, float]]:
        np.testing.assert_array_equal(image, hdr)
        made.append("")
        return np.rint(255 * hdr / (1 + hdr)).astype(np.uint8), {"one": 0.5, "two": 0.75}

    monkeypatch.setattr(tiny, "SPLIT_SIZES", {"train": 2, "val": 1, "test": 1})
    monkeypatch.setattr(tiny, "render_scene", lambda split, number: hdr)
    monkeypatch.setattr(sources, "make_sdr", make)
    plain = open_data(tiny_config(), cache, STAGES["hal"].batch_keys)
    assert not made
    tones = open_data(tiny_config(), cache, STAGES["tmo_ft"].batch_keys)
    assert len(made) == 4
    assert open_data(tiny_config(), cache, TONE_KEYS) == tones
    assert len(made) == 4
    assert tones.folder != plain.folder
    for image in tones.images:
        assert isinstance(image, ToneImage)
        assert (image.width, image.height, image.operator) == (176, 168, "two")
    rows = (tones.folder / "labels.csv").read_text().splitlines()
    assert rows[:2] == ["file,split,operator,tmqi,one,two", "train/0/landscape_00,train,two,0.75,0.5,0.75"]

    data, curves = tiny_config(), load_response_curves("builtin")
    for stage, index in (("hal", plain), ("tmo_ft", tones)):
        keys = STAGES[stage].batch_keys
        training = training_set(data, index, curves, keys=keys, patch=32, batch_size=1, seed=0)
        validation = validation_set(data, index, curves, "val", keys, 1)
        for sample in (training[0], validation[0]):
            assert sample.keys() >= set(keys)


@pytest.mark.slow
@pytest.mark.timeout(900)  # every operator on every scene: two minutes of two cores
def test_the_rendered_scenes_get_their_sdr_images(cache: Path) -> None:
    index = open_data(tiny_config(), cache, TONE_KEYS)
    assert len(index.images) == sum(tiny.SPLIT_SIZES.values())
    scores = [max(p.tmqi.values()) for p in index.images if isinstance(p, ToneImage)]
    assert min(scores) > 0.8
