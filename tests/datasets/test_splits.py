"""Which image belongs to which split: manifests, published lists, names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hdrlab.datasets.splits import Listed, list_images, scene_of
from hdrlab.errors import DataError


def touch(root: Path, *files: str) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(b"image")
    return root


def problems_of(root: Path, **sources: Path | tuple[Path, Path]) -> tuple[str, ...]:
    with pytest.raises(DataError) as caught:
        list_images(root, **sources)  # type: ignore[arg-type]
    return caught.value.problems


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return tmp_path / "manifest.csv"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return touch(tmp_path / "images", "a.hdr", "b.hdr", "c.exr", "sub/d.exr")


# ------------------------------------------------------------------------------------------- manifests


def test_manifest_gives_splits_scenes_and_roles(root: Path, manifest: Path) -> None:
    manifest.write_text(
        "role,file,split,scene,note\nhdr,a.hdr,train,one,\nhdr,./b.hdr,val,two,x\nsdr,a.jpg,train,one,\n"
        ',sub/d.exr,test,,"a note\nof two lines"\n'
    )
    assert list_images(root, manifest) == [
        Listed("a.hdr", "train", "one"),
        Listed("b.hdr", "val", "two"),
        Listed("sub/d.exr", "test", "sub/d"),
    ]


def test_manifest_without_roles_takes_every_row(root: Path, manifest: Path) -> None:
    manifest.write_text("\ufefffile, split\r\na.hdr,train\r\nb.hdr, val\r\n", encoding="utf-8")
    assert [(x.file, x.split) for x in list_images(root, manifest)] == [
        ("a.hdr", "train"),
        ("b.hdr", "val"),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "needs the columns file and split, has none"),
        ("name,split\na.hdr,train\n", "needs the columns file and split, has name, split"),
        ("file,split\n", "lists no image"),
        ("file,split,role\na.jpg,train,sdr\n", "lists no image"),
    ],
)
def test_manifest_that_says_nothing(root: Path, manifest: Path, text: str, said: str) -> None:
    manifest.write_text(text)
    (problem,) = problems_of(root, manifest=manifest)
    assert problem == f"{manifest}: {said}"


def test_manifest_that_is_no_text(root: Path, manifest: Path) -> None:
    manifest.write_bytes(b"\x80\x04\x95\xff")
    (problem,) = problems_of(root, manifest=manifest)
    assert "not a text file" in problem


def test_all_problems_of_a_manifest_come_together(root: Path, manifest: Path) -> None:
    outside = touch(root.parent, "outside.hdr") / "outside.hdr"
    rows = [
        "a.hdr,train,one",
        "./a.hdr,train,one",  # twice
        "b.hdr,val,one",  # scene in two splits
        "c.exr,training,two",  # unknown split
        "../outside.hdr,train,three",
        f"{outside},train,four",
        *(f"gone{i}.hdr,train,gone" for i in range(5)),
        "short",
    ]
    manifest.write_text("file,split,scene\n" + "\n".join(rows))
    problems = problems_of(root, manifest=manifest)
    for part in (
        "a.hdr: listed 2 times",
        "scene one: in the splits train and val",
        "c.exr: split 'training' is none of train, val, test",
        "../outside.hdr: must be a path inside",
        f"{outside}: must be a path inside",
        "6 of 12 listed images not found (gone0.hdr, gone1.hdr, gone2.hdr and 3 more)",
        "short: split '' is none of",
    ):
        assert any(part in problem for problem in problems), part
    assert len(problems) == 7


# ------------------------------------------------------------------------------------- published lists


def write_lists(folder: Path, train: list[str], test: list[str]) -> tuple[Path, Path]:
    (folder / "train.txt").write_text("\n".join(train))
    (folder / "test.txt").write_text("\n".join(test) + "\n\n")
    return folder / "train.txt", folder / "test.txt"


def test_lists_take_the_authors_validation_images(tmp_path: Path) -> None:
    train, test = [f"s/t{i}.hdr" for i in range(20)], [f"s/u{i}.exr" for i in range(30)]
    root = touch(tmp_path / "images", *train, *test)
    listed = list_images(root, lists=write_lists(tmp_path, train, test))
    expected = np.array(test)
    np.random.RandomState(730).shuffle(expected)
    assert {x.file for x in listed if x.split == "val"} == set(expected[:10].tolist())
    assert {x.file for x in listed if x.split == "test"} == set(expected[10:].tolist())
    assert [x.file for x in listed if x.split == "train"] == train
    assert len({x.scene for x in listed}) == 50


def test_published_lists(shared: Path, tmp_path: Path) -> None:
    lists = shared / "splits" / "hdr_synth_train.txt", shared / "splits" / "hdr_synth_test.txt"
    root = touch(tmp_path, *(line for path in lists for line in path.read_text().split("\n") if line))
    listed = list_images(root, lists=lists)
    count = {split: sum(x.split == split for x in listed) for split in ("train", "val", "test")}
    assert count == {"train": 503, "val": 10, "test": 50}


def test_lists_in_the_wrong_folder_say_so_in_one_line(tmp_path: Path) -> None:
    lists = write_lists(tmp_path, [f"a{i}.hdr" for i in range(40)], ["b.hdr"])
    (problem,) = problems_of(tmp_path, lists=lists)
    assert problem == f"{tmp_path}: 41 of 41 listed images not found (a0.hdr, a1.hdr, a2.hdr and 38 more)"


def test_lists_that_overlap(tmp_path: Path) -> None:
    root = touch(tmp_path / "images", "a.hdr", "b.hdr")
    problems = problems_of(root, lists=write_lists(tmp_path, ["a.hdr", "b.hdr"], ["b.hdr"]))
    assert "b.hdr: listed 2 times" in problems


# --------------------------------------------------------------------------------------------- by name


def test_names_split_whole_scenes_deterministically(tmp_path: Path) -> None:
    files = [
        f"{place}/room{i:02}_y{yaw:03}.exr" for place in "ab" for i in range(20) for yaw in (80, 200, 320)
    ]
    listed = list_images(touch(tmp_path / "one", *files))
    again = list_images(touch(tmp_path / "two", *reversed(files)))
    assert listed == again
    splits = {scene: {x.split for x in listed if x.scene == scene} for scene in {x.scene for x in listed}}
    assert len(splits) == 40
    assert all(len(found) == 1 for found in splits.values())
    count = {split: sum(found == {split} for found in splits.values()) for split in ("train", "val", "test")}
    assert count == {"train": 32, "val": 4, "test": 4}


def test_splits_by_name_are_the_same_everywhere(tmp_path: Path) -> None:
    listed = list_images(touch(tmp_path, *(f"{name}.hdr" for name in "abcdefghijkl")))
    assert {x.scene: x.split for x in listed if x.split != "train"} == {"d": "test", "j": "val"}


def test_one_more_scene_moves_hardly_any_other(tmp_path: Path) -> None:
    files = [f"place {name}.hdr" for name in "abcdefghijklmnopqrst"]
    before = {x.file: x.split for x in list_images(touch(tmp_path, *files))}
    after = {x.file: x.split for x in list_images(touch(tmp_path, "another place.hdr"))}
    assert sum(before[file] != after[file] for file in before) <= 2


@pytest.mark.parametrize(("number", "splits"), [(2, {"train", "val"}), (3, {"train", "val", "test"})])
def test_few_scenes(tmp_path: Path, number: int, splits: set[str]) -> None:
    listed = list_images(touch(tmp_path, *(f"{name}.hdr" for name in "xyz"[:number])))
    assert {x.split for x in listed} == splits


def test_folder_without_use(tmp_path: Path) -> None:
    touch(tmp_path, "photo.jpg", "._kitchen.exr", "notes.txt")
    (tmp_path / "folder.hdr").mkdir()
    assert "no HDR image in this folder" in problems_of(tmp_path)[0]
    touch(tmp_path, "img_001.hdr", "img_002.hdr")
    (problem,) = problems_of(tmp_path)
    assert "only one scene (img)" in problem
    assert "data.manifest" in problem


@pytest.mark.parametrize(
    ("file", "scene"),
    [
        ("indoor/kitchen_y080.exr", "indoor/kitchen"),
        ("kitchen (2).hdr", "kitchen"),
        ("kitchen-01_02.hdr", "kitchen"),
        ("S0350.hdr", "S0350"),
        ("_12.hdr", "_12"),
        ("CraterLake1.hdr", "CraterLake1"),
    ],
)
def test_scene_of(file: str, scene: str) -> None:
    assert scene_of(file) == scene
