"""Pairs are found in all layouts, checked, and everything wrong with them is said at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import call
from photographs import photograph, scene, turn_by_exif, write_folders, write_pair, write_stack
from records import pair_example, write_records

from hdrlab.config.schema.data import HdrRealConfig, HdrSynthConfig
from hdrlab.datasets.build import make_data, open_data
from hdrlab.datasets.index import Pair, open_index
from hdrlab.datasets.pairing import likeness, list_pairs
from hdrlab.datasets.sources import count_extremes
from hdrlab.errors import DataError
from hdrlab.io import read_image, write_image
from hdrlab.prepare import COMMAND


def config(root: Path, **changes: Any) -> HdrRealConfig:
    said = HdrRealConfig(
        name="hdr_real",
        val_crop=None,
        val_images=4,
        workers=0,
        root=str(root),
        manifest=None,
        pairing="auto",
        exposures="ldr",
        skip_bad=False,
    )
    return replace(said, **changes)


def partners(root: Path, **options: Any) -> dict[str, str]:
    return {pair.file: pair.hdr for pair in list_pairs(root, **options)[0]}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "photographs and images"


# ------------------------------------------------------------------------------------------ finding


def test_stems_pair_where_they_match(root: Path) -> None:
    write_folders(root, "b", "a")
    assert partners(root) == {"LDR_in/a.jpg": "HDR_gt/a.hdr", "LDR_in/b.jpg": "HDR_gt/b.hdr"}


def test_sorted_order_pairs_where_no_stem_matches(root: Path) -> None:
    for number, name in enumerate(("k", "l", "m")):
        write_pair(root, f"train/LDR_in/photo_{name}.jpg", f"train/HDR_gt/{number}.hdr", number)
    assert partners(root) == {
        f"train/LDR_in/photo_{name}.jpg": f"train/HDR_gt/{number}.hdr" for number, name in enumerate("klm")
    }
    assert not partners(root, pairing="stem")
    (root / "train/HDR_gt/2.hdr").unlink()
    pairs, bad = list_pairs(root)
    assert not pairs
    assert bad[0].reason == (
        "3 photographs and 2 HDR images, and no name is on both sides: cannot be paired by sorted order"
    )


def test_order_is_used_when_asked_for(root: Path) -> None:
    for number, (ldr, hdr) in enumerate((("a", "b"), ("b", "c"))):
        write_pair(root, f"LDR_in/{ldr}.jpg", f"HDR_gt/{hdr}.hdr", number)
    assert partners(root) == {"LDR_in/b.jpg": "HDR_gt/b.hdr"}
    assert partners(root, pairing="order") == {"LDR_in/a.jpg": "HDR_gt/b.hdr", "LDR_in/b.jpg": "HDR_gt/c.hdr"}


def test_names_that_are_numbers_are_split_in_blocks(root: Path) -> None:
    for number in range(60):
        for folder, suffix in (("LDR_in", "jpg"), ("HDR_gt", "hdr")):
            (root / folder).mkdir(parents=True, exist_ok=True)
            (root / folder / f"{number:04d}.{suffix}").touch()
    pairs, _ = list_pairs(root)
    assert len({pair.scene for pair in pairs}) == 20
    for first in range(0, 60, 3):  # neighbours may show one scene
        assert len({pair.split for pair in pairs[first : first + 3]}) == 1
    counts = [sum(pair.split == split for pair in pairs) for split in ("train", "val", "test")]
    assert counts == [48, 6, 6]


def test_scenes_by_name_stay_together(root: Path) -> None:
    write_folders(root, "attic_01", "attic_02", "beach_01", "beach_02", height=32, width=32)
    pairs, _ = list_pairs(root)
    assert pairs[0].split == pairs[1].split != pairs[2].split == pairs[3].split


def test_stacks_give_one_or_all_exposures(root: Path) -> None:
    write_stack(root, "hall", 1, (0.25, 1, 4))
    write_stack(root, "yard", 2, (0.5, 2))
    assert partners(root) == {f"{name}/ldr.jpg": f"{name}/hdr.hdr" for name in ("hall", "yard")}
    pairs, _ = list_pairs(root, exposures="all")
    assert {pair.file: pair.scale for pair in pairs} == {
        "hall/exp_00.jpg": 0.25,
        "hall/exp_01.jpg": 1,
        "hall/exp_02.jpg": 4,
        "yard/exp_00.jpg": 0.25,
        "yard/exp_01.jpg": 1,
    }


@pytest.mark.parametrize(
    ("times", "reason"),
    [
        (None, "missing"),
        ("file,time\nexp_00.jpg,1", "needs the columns file and relative_exposure"),
        (
            "file,relative_exposure\nexp_00.jpg,0\nexp_09.jpg,1",
            "missing or not within 1e-9 to 1e9: exp_00.jpg, exp_09.jpg",
        ),
        ("file,relative_exposure\nexp_00.jpg,long", "could not convert"),
        ("file,relative_exposure\nexp_00.jpg,1", "none of its exposures is ldr.jpg"),
        ("file,relative_exposure\n../yard/ldr.jpg,1", "missing or not within 1e-9 to 1e9: ../yard/ldr.jpg"),
    ],
)
def test_bad_exposure_tables_are_named(root: Path, times: str | None, reason: str) -> None:
    write_stack(root, "hall", 1, (0.25, 1))
    write_stack(root, "yard", 1, (0.25, 1))
    table = root / "hall/times.csv"
    table.write_text(times) if times else table.unlink()
    pairs, bad = list_pairs(
        root, exposures="all", manifest=manifest_of(root, "yard/exp_00.jpg", "yard/exp_01.jpg")
    )
    assert [pair.file for pair in pairs] == ["yard/exp_00.jpg", "yard/exp_01.jpg"]
    assert [item.file for item in bad] == ["hall/times.csv"]
    assert reason in bad[0].reason


def manifest_of(root: Path, *files: str, role: str = "") -> Path:
    """A manifest whose first file is for training and whose other ones are for validation."""
    path = root.parent / "manifest.csv"
    rows = [f"{file},{'val' if i else 'train'},scene{i},{role}" for i, file in enumerate(files)]
    path.write_text("\n".join(["file,split,scene,role", *rows]))
    return path


def test_manifest_chooses_and_splits(root: Path) -> None:
    write_folders(root, "a", "b", "c")
    pairs, bad = list_pairs(root, manifest=manifest_of(root, "LDR_in/c.jpg", "LDR_in/a.jpg"))
    assert [(pair.file, pair.split, pair.scene) for pair in pairs] == [
        ("LDR_in/a.jpg", "val", "scene1"),
        ("LDR_in/c.jpg", "train", "scene0"),
    ]
    assert not bad


def test_manifest_rows_that_are_no_photograph(root: Path) -> None:
    write_folders(root, "a", "b")
    manifest = manifest_of(root, "LDR_in/a.jpg", "LDR_in/b.jpg", "HDR_gt/a.hdr")
    _, bad = list_pairs(root, manifest=manifest)
    assert [(item.file, item.reason) for item in bad] == [
        ("HDR_gt/a.hdr", "listed in the manifest, but no photograph of a pair")
    ]
    with pytest.raises(DataError, match="1 of 2 listed images not found"):
        list_pairs(root, manifest=manifest_of(root, "LDR_in/a.jpg", "LDR_in/z.jpg"))


def test_a_folder_without_pairs_says_what_is_needed(root: Path) -> None:
    root.mkdir()
    write_image(root / "a.hdr", scene(0))
    with pytest.raises(DataError, match=r"needs LDR_in/\*\.jpg with HDR_gt/\*\.hdr"):
        list_pairs(root)


def test_the_measured_stacks_are_found_and_fit(shared: Path, tmp_path: Path) -> None:
    folder = shared / "data" / "open"
    data = config(folder, manifest=str(folder / "MANIFEST.csv"))
    index = open_data(data, tmp_path)
    assert {p.scene: p.split for p in index.images} == {
        "canal": "val",
        "office_fisheye": "test",
        "room_lamp": "train",
        "st_louis_arch": "train",
    }
    pairs, bad = list_pairs(folder / "stacks", exposures="all")
    assert len(pairs) == 32
    assert not bad


# ----------------------------------------------------------------------------------------- checking


def test_every_problem_is_reported_at_once(root: Path, tmp_path: Path) -> None:
    good = ("attic", "beach", "cave", "dune")
    write_folders(root, *good, "small", "turned", "broken", "black", "grey", "upside", "deep", "lit", "lone")
    write_image(root / "HDR_gt/small.hdr", scene(4, 96, 127))
    turn_by_exif(root / "LDR_in/turned.jpg", 6)
    photo = root / "LDR_in/broken.jpg"
    photo.write_bytes(photo.read_bytes()[:60])
    write_image(root / "HDR_gt/black.hdr", np.zeros((96, 128, 3), np.float32))
    write_image(root / "LDR_in/grey.jpg", np.full((96, 128, 3), 90, np.uint8))
    write_image(root / "LDR_in/upside.jpg", photograph(scene(9, 96, 128))[::-1])
    (root / "LDR_in/deep.jpg").unlink()
    write_image(root / "LDR_in/deep.png", np.zeros((96, 128, 3), np.uint16) + np.uint16(9))
    (root / "HDR_gt/lit.hdr").write_bytes((root / "LDR_in/lit.jpg").read_bytes())
    (root / "HDR_gt/lone.hdr").unlink()
    write_image(root / "LDR_in/attic.png", photograph(scene(0, 96, 128)))
    write_image(root / "HDR_gt/alone.hdr", scene(0))
    with pytest.raises(DataError) as caught:
        open_data(config(root), tmp_path)
    said = {item.file: item.reason for item in caught.value.bad}
    expected = {
        "LDR_in/small.jpg": "is 128×96 pixels, its HDR image 127×96",
        "LDR_in/turned.jpg": "is 96×128 pixels, once turned as its Exif orientation 6 says, its HDR",
        "LDR_in/broken.jpg": "is a damaged JPEG",
        "LDR_in/black.jpg": "HDR image: all black",
        "LDR_in/grey.jpg": "photograph: one constant value",
        "LDR_in/upside.jpg": "do not show the same (rank correlation",
        "LDR_in/deep.png": "holds uint16; a photograph has 8 bits",
        "HDR_gt/lit.hdr": "display-encoded integers",
        "LDR_in/lone.jpg": "no HDR image of this name",
        "HDR_gt/alone.hdr": "no photograph of this name",
        "LDR_in/attic.jpg": "several files of this name",
        "LDR_in/attic.png": "several files of this name",
    }
    assert said.keys() == expected.keys()
    for file, reason in expected.items():
        assert reason in said[file]
    assert all("data.skip_bad=true leaves them out" in problem for problem in caught.value.problems)
    index, bad = make_data(config(root, skip_bad=True), root, tmp_path / "ready")
    assert {image.file for image in index.images} == {f"LDR_in/{name}.jpg" for name in good[1:]}
    assert {item.file for item in bad} == expected.keys()


def test_fast_files_hold_what_the_images_hold(root: Path, tmp_path: Path) -> None:
    write_folders(root, "a", "b")
    made, _ = make_data(config(root), root, tmp_path / "ready")
    index = open_index(tmp_path / "ready")
    assert index == made
    for image in index.images:
        assert isinstance(image, Pair)
        assert (image.num, image.width, image.height, image.scale) == (1, 128, 96, 1)
        hdr = read_image(root / image.file.replace("LDR_in", "HDR_gt").replace("jpg", "hdr"))
        np.testing.assert_array_equal(index.load(image)[0], hdr.pixels)
        np.testing.assert_array_equal(index.open_array(image.jpeg)[0], read_image(root / image.file).pixels)


def test_an_interrupted_preparation_goes_on(root: Path, tmp_path: Path) -> None:
    write_folders(root, "a", "b", "c")

    def stop(done: int, total: int, file: str) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_data(config(root), root, tmp_path / "ready", stop)
    read: list[str] = []
    index, _ = make_data(config(root), root, tmp_path / "ready", lambda done, total, file: read.append(file))
    assert read == ["LDR_in/c.jpg"]
    assert index.fingerprint == make_data(config(root), root, tmp_path / "other")[0].fingerprint
    write_pair(root, "other/b.jpg", "HDR_gt/b.hdr", 7)
    read.clear()
    changed = make_data(
        config(root, skip_bad=True), root, tmp_path / "ready", lambda *said: read.append(said[2])
    )
    assert read == ["LDR_in/b.jpg"]
    assert changed[0].fingerprint != index.fingerprint


def test_a_prepared_set_is_opened_for_what_it_was_made_for(root: Path, tmp_path: Path) -> None:
    write_folders(root, "a", "b")
    ready = tmp_path / "ready"
    make_data(config(root), root, ready)
    assert open_data(config(ready), tmp_path / "cache").folder == ready
    with pytest.raises(DataError, match=r"data.exposures=all: .* was prepared with ldr"):
        open_data(config(ready, exposures="all"), tmp_path)
    synth = HdrSynthConfig(
        name="hdr_synth", val_crop=None, val_images=1, workers=0, short_side=64, exposures=1,
        curves="builtin", noise="none", jpeg_quality="random", resize_filter="area", root=str(ready),
        manifest=None, lists=None, skip_bad=False,
    )  # fmt: skip
    with pytest.raises(DataError, match="was prepared for data=hdr_real, not data=hdr_synth"):
        open_data(synth, tmp_path)


def test_record_files_become_pairs(root: Path, tmp_path: Path) -> None:
    root.mkdir()
    hdr = scene(3, 256, 256)
    for number in range(2):
        examples = [pair_example(photograph(hdr * k), hdr * k) for k in (1, 2, 3)[number:]]
        write_records(root / f"train_64_{number:04d}.tfrecords", examples, zipped=bool(number))
    index = open_data(config(root), tmp_path)
    assert [(p.file, p.num, p.height) for p in index.images if isinstance(p, Pair)] == [
        ("train_64_0000.tfrecords", 3, 256),
        ("train_64_0001.tfrecords", 2, 256),
    ]
    np.testing.assert_array_equal(index.load(index.images[1])[1], 3 * hdr)
    (root / "train_64_0002.tfrecords").write_bytes(b"no record")
    with pytest.raises(DataError, match=r"1 of 3 images: record 0: is truncated"):
        open_data(config(root), tmp_path)


def test_the_command_says_everything_in_one_table(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    write_folders(root, "a", "b", "c")
    (root / "HDR_gt/c.hdr").unlink()
    write_image(root / "HDR_gt/b.hdr", scene(1, 96, 100))
    words = ["data=hdr_real", f"source='{root}'", f"root={tmp_path / 'ready'}"]
    assert call(COMMAND, words) == 2
    said = capsys.readouterr()
    assert "LDR_in/b.jpg" in said.out
    assert "is 128×96 pixels, its HDR image 100×96" in said.out
    assert "no HDR image of this name" in said.out
    assert "1 of 3 images" in said.err


# ---------------------------------------------------------------------------------------- functions


def test_extremes_are_counted_exactly() -> None:
    ldr = np.full((1, 70, 64, 3), 100, np.uint8)
    ldr[0, 0, :3] = 249
    ldr[0, 1, 32:34] = 6
    ldr[0, 40, 40] = (248, 249, 249)  # grey 248.7
    ldr[0, 41, 41] = (7, 6, 6)  # grey 6.3
    ldr[0, 42, 42] = (250, 249, 247)  # grey 249.07
    ldr[0, 69, 5] = 255  # below the last whole cell
    np.testing.assert_array_equal(count_extremes(ldr), [[[3, 2], [0, 1]]])


def test_likeness_knows_a_partner() -> None:
    hdr, other = scene(0, 96, 128), scene(0, 96, 128)[::-1]
    assert likeness(photograph(hdr), hdr) == pytest.approx(1, abs=0.05)
    assert likeness(photograph(other), hdr) < 0
    assert likeness(photograph(100 * hdr), hdr) is None
