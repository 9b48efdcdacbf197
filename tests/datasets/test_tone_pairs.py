"""HDR images and their SDR images are found in all layouts, checked, and made where they are missing."""

from __future__ import annotations

import csv
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import call
from photographs import scene, turn_by_exif
from records import tone_example, tone_maps, write_records
from tones import config, shown, write_tone, write_tones

from hdrlab.config.registry.stages import TONE_KEYS
from hdrlab.config.schema.data import HdrRealConfig
from hdrlab.datasets.build import make_data, open_data
from hdrlab.datasets.index import ToneImage, ToneRecords, open_index
from hdrlab.datasets.pairing import ListedRecords, ListedTone, list_tones
from hdrlab.datasets.sources import make_sdr
from hdrlab.errors import DataError
from hdrlab.io import read_image, write_image
from hdrlab.metrics.tmqi import tmqi
from hdrlab.ops.encoding import tone_limits
from hdrlab.prepare import COMMAND
from hdrlab.tonemapping import OPERATORS, tone_map_classically

LARGE = {"height": 168, "width": 176}  # TMQI judges nothing smaller


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "images and labels"


def partners(root: Path, **options: Any) -> dict[str, str | None]:
    found = list_tones(root, **options)[0]
    assert all(isinstance(tone, ListedTone) for tone in found)
    return {
        tone.file: tone.sdr.relative_to(root).as_posix() if tone.sdr else None
        for tone in found
        if isinstance(tone, ListedTone)
    }


# ------------------------------------------------------------------------------------------ finding


def test_images_pair_by_stem_whatever_their_formats(root: Path) -> None:
    write_tone(root, "train/hdr/night/a.exr", "train/sdr/night/a.jpg", 0)
    write_tone(root, "train/hdr/b.hdr", "train/sdr/b.png", 1)
    write_tone(root, "more/hdr/b.pfm", "more/sdr/b.JPEG", 2)
    write_tone(root, "test/c.hdr", None, 3)
    assert partners(root) == {
        "more/hdr/b.pfm": "more/sdr/b.JPEG",
        "train/hdr/b.hdr": "train/sdr/b.png",
        "train/hdr/night/a.exr": "train/sdr/night/a.jpg",
    }


def test_a_manifest_chooses_and_splits(root: Path, tmp_path: Path) -> None:
    write_tones(root, "a", "b", "c", "d")
    rows = ["hdr/c.hdr,train,one,hdr", "hdr/a.hdr,val,two,hdr", "sdr/b.png,train,one,sdr"]
    (tmp_path / "m.csv").write_text("\n".join(["file,split,scene,role", *rows]))
    tones, bad = list_tones(root, manifest=tmp_path / "m.csv")
    assert [(t.file, t.split, t.scene) for t in tones] == [
        ("hdr/a.hdr", "val", "two"),
        ("hdr/c.hdr", "train", "one"),
    ]
    assert not bad
    (root / "other").mkdir()
    (root / "hdr/d.hdr").rename(root / "other/d.hdr")
    (tmp_path / "m.csv").write_text("\n".join(["file,split,scene", *rows[:2], "other/d.hdr,val,three"]))
    (root / "sdr/d.png").unlink()
    said = [(item.file, item.reason) for item in list_tones(root, manifest=tmp_path / "m.csv")[1]]
    assert said == [("other/d.hdr", "listed in the manifest, but no HDR image of a pair")]


def test_the_measured_images_are_found(shared: Path) -> None:
    folder = shared / "data" / "open"
    tones, bad = list_tones(folder, manifest=folder / "MANIFEST.csv")
    assert not bad
    assert [sum(t.split == split for t in tones) for split in ("train", "val", "test")] == [54, 13, 19]
    assert all(Path(sdr).stem == Path(hdr).stem for hdr, sdr in partners(folder).items() if sdr)


def test_hdr_images_alone_say_what_to_do_in_one_line(root: Path) -> None:
    for number, folder in enumerate(("", "hdr/")):
        write_tone(root, f"{folder}a.hdr", None, number)
        write_tone(root, f"{folder}b.exr", None, number)
        with pytest.raises(DataError) as caught:
            list_tones(root)
        assert len(caught.value.problems) == 1
        assert "2 HDR images and no SDR images: lay these into sdr/ beside hdr/" in str(caught.value)
        assert "data.make_sdr=true" in str(caught.value)
        assert partners(root, make_sdr=True) == {f"{folder}a.hdr": None, f"{folder}b.exr": None}


def test_a_folder_of_something_else_says_what_is_needed(root: Path) -> None:
    root.mkdir()
    (root / "notes.txt").write_text("nothing")
    with pytest.raises(
        DataError, match=r"needs hdr/\*\.hdr with sdr/\*\.jpg by their names, dual_\.tfrecord"
    ):
        list_tones(root, make_sdr=True)


def test_unlabelled_images_train_only(root: Path, tmp_path: Path) -> None:
    write_tones(root, "a", "b")
    for place in (tmp_path / "elsewhere", root / "unlabelled"):
        write_tone(place, "deep/x_1.hdr", None, 7)
        write_tone(place, "y.exr", None, 8)
        tones, bad = list_tones(root, unlabelled=place)
        assert not bad
        more = [tone for tone in tones if isinstance(tone, ListedTone) and not tone.labelled]
        assert [tone.file for tone in more] == ["unlabelled/deep/x_1.hdr", "unlabelled/y.exr"]
        assert {tone.split for tone in more} == {"train"}
    index, _ = make_data(config(root, unlabelled=str(place)), root, tmp_path / "ready")
    labelled = {p.file: p.sdr is not None for p in index.images if isinstance(p, ToneImage)}
    assert sum(labelled.values()) == 2
    assert len(labelled) == 4
    write_tone(tmp_path / "alone", "a.hdr", None, 0)
    write_tone(tmp_path / "alone", "b.hdr", None, 1)
    write_tone(tmp_path / "alone", "unlabelled/c.hdr", None, 2)
    tones, _ = list_tones(tmp_path / "alone", make_sdr=True, unlabelled=tmp_path / "alone/unlabelled")
    assert [tone.file for tone in tones] == ["a.hdr", "b.hdr", "unlabelled/c.hdr"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"data\.unlabelled=.*empty: no HDR image in this folder"):
        list_tones(root, unlabelled=tmp_path / "empty")


# ----------------------------------------------------------------------------------------- checking


def test_what_has_no_partner_is_reported_with_the_rest(root: Path, tmp_path: Path) -> None:
    write_tones(root, "attic", "beach", "deep", "lit", "lone", "twice")
    write_image(root / "sdr/deep.png", np.zeros((48, 64, 3), np.uint16) + np.uint16(9))
    (root / "hdr/lit.hdr").write_bytes((root / "sdr/lit.png").read_bytes())
    (root / "sdr/lone.png").unlink()
    write_image(root / "hdr/twice.exr", scene(11))
    write_image(root / "sdr/alone.png", shown(scene(1)))
    said = complaints(root, tmp_path)
    assert said == {
        "sdr/deep.png": "holds uint16; a tone-mapped image has 8 bits",
        "hdr/lit.hdr": "display-encoded integers; an HDR image holds linear values",
        "hdr/lone.hdr": "no SDR image in sdr of this name",
        "sdr/alone.png": "no HDR image in hdr of this name",
        "hdr/twice.hdr": "several files of this name, with different suffixes",
        "hdr/twice.exr": "several files of this name, with different suffixes",
    }
    index, bad = make_data(config(root, skip_bad=True), root, tmp_path / "ready")
    assert {image.file for image in index.images} == {"hdr/attic.hdr", "hdr/beach.hdr"}
    assert {item.file for item in bad} == said.keys()


def complaints(root: Path, tmp_path: Path) -> dict[str, str]:
    with pytest.raises(DataError) as caught:
        open_data(config(root), tmp_path / "cache")
    return {item.file: item.reason for item in caught.value.bad}


def test_partners_that_do_not_fit_are_reported(root: Path, tmp_path: Path) -> None:
    write_tones(root, "attic", "beach", "small", "turned", "black", "grey", "wrong")
    write_image(root / "hdr/small.hdr", scene(2, 48, 63))
    (root / "sdr/turned.png").unlink()
    write_image(root / "sdr/turned.jpg", shown(scene(3)))
    turn_by_exif(root / "sdr/turned.jpg", 6)
    write_image(root / "hdr/black.hdr", np.zeros((48, 64, 3), np.float32))
    write_image(root / "sdr/grey.png", np.full((48, 64, 3), 90, np.uint8))
    write_image(root / "sdr/wrong.png", shown(scene(6))[::-1])
    expected = {
        "sdr/small.png": "is 64×48 pixels, its HDR image 63×48",
        "sdr/turned.jpg": "48×64 pixels, once turned as its Exif orientation 6 says, its HDR image 64×48",
        "hdr/black.hdr": "HDR image: all black",
        "hdr/grey.hdr": "tone-mapped image: one constant value",
        "hdr/wrong.hdr": "tone-mapped image and HDR image do not show the same (rank correlation",
    }
    said = complaints(root, tmp_path)
    assert said.keys() == expected.keys()
    assert all(reason in said[file] for file, reason in expected.items())


def test_fast_files_hold_what_the_images_hold(root: Path, tmp_path: Path) -> None:
    write_tones(root, "a", "b", height=50, width=75)
    made, _ = make_data(config(root), root, tmp_path / "ready")
    index = open_index(tmp_path / "ready")
    assert index == made
    for image in index.images:
        assert isinstance(image, ToneImage)
        assert image.sdr is not None
        hdr = np.asarray(read_image(root / image.file).pixels)
        sdr = read_image(root / image.file.replace("hdr/", "sdr/").replace(".hdr", ".png")).pixels
        assert (image.width, image.height) == (75, 50)
        np.testing.assert_array_equal(index.load(image), hdr)
        np.testing.assert_array_equal(index.open_array(image.sdr), sdr)
        assert image.sdr_range == (sdr.min(), sdr.max())
        for domain, stored in (("gamma", image.limits), ("log", image.log_limits)):
            limits = tone_limits(torch.from_numpy(hdr).movedim(-1, 0)[None], domain)  # type: ignore[arg-type]
            assert stored == tuple(limit.item() for limit in limits)
        assert (image.operator, dict(image.tmqi)) == ("", {})
    assert not (tmp_path / "ready" / "labels.csv").exists()


def test_a_changed_image_is_read_again(root: Path, tmp_path: Path) -> None:
    write_tones(root, "a", "b")
    read: list[str] = []

    def make() -> str:
        read.clear()
        return make_data(config(root), root, tmp_path / "ready", lambda *said: read.append(said[2]))[
            0
        ].fingerprint

    first = make()
    assert (make(), read) == (first, [])
    write_image(root / "sdr/b.png", shown(2 * scene(1)))
    assert make() != first
    assert read == ["hdr/b.hdr"]


def test_a_prepared_set_is_opened_for_what_it_was_made_for(root: Path, tmp_path: Path) -> None:
    write_tones(root, "a", "b")
    make_data(config(root), root, tmp_path / "ready")
    assert open_data(config(tmp_path / "ready"), tmp_path / "cache", TONE_KEYS).folder == tmp_path / "ready"
    real = HdrRealConfig(
        name="hdr_real", val_crop=None, val_images=1, workers=0, root=str(tmp_path / "ready"),
        manifest=None, pairing="auto", exposures="ldr", skip_bad=False,
    )  # fmt: skip
    with pytest.raises(DataError, match="was prepared for data=tmo_pairs, not data=hdr_real"):
        open_data(real, tmp_path)
    with pytest.raises(DataError, match=r"data\.unlabelled: .*prepare it again with these images"):
        open_data(config(tmp_path / "ready", unlabelled=str(root)), tmp_path)


def test_caches_of_different_requests_are_apart(root: Path, tmp_path: Path) -> None:
    write_tones(root, "a", "b")
    write_tone(tmp_path / "more", "c.hdr", None, 2)
    plain, mixed = (
        open_data(config(root, unlabelled=more), tmp_path / "cache")
        for more in (None, str(tmp_path / "more"))
    )
    assert plain.folder != mixed.folder
    assert len(mixed.images) == len(plain.images) + 1


# ------------------------------------------------------------------------------------- SDR images


def test_the_operator_of_the_highest_tmqi_makes_the_label() -> None:
    hdr = scene(3, **LARGE)
    sdr, tried = make_sdr(hdr)
    assert list(tried) == [name for name, operator in OPERATORS.items() if operator.package is None]
    best = max(tried, key=tried.__getitem__)
    expected = np.rint(255 * tone_map_classically(best, hdr)).astype(np.uint8)
    np.testing.assert_array_equal(sdr, expected)
    maps = [torch.from_numpy(x).movedim(-1, 0)[None] for x in (hdr, expected)]
    assert tried[best] == pytest.approx(float(tmqi(maps[0], maps[1] / 255).q), abs=1e-6)
    assert len(set(tried.values())) > 1


def test_labels_are_made_where_they_are_missing_and_recorded(root: Path, tmp_path: Path) -> None:
    write_tones(root, "a", "b", **LARGE)
    write_tone(root, "hdr/c.exr", None, 2, **LARGE)
    index, _ = make_data(config(root, make_sdr=True), root, tmp_path / "ready")
    images = {p.file: p for p in index.images if isinstance(p, ToneImage)}
    assert {file for file, image in images.items() if image.operator} == {"hdr/c.exr"}
    made = images["hdr/c.exr"]
    sdr, tried = make_sdr(np.asarray(read_image(root / "hdr/c.exr").pixels))
    assert made.sdr is not None
    np.testing.assert_array_equal(index.open_array(made.sdr), sdr)
    assert made.tmqi == tried
    with (tmp_path / "ready" / "labels.csv").open(newline="", encoding="utf-8") as stream:
        (row,) = csv.DictReader(stream)
    assert (row["file"], row["operator"]) == ("hdr/c.exr", made.operator)
    assert {name: float(row[name]) for name in tried} == tried
    assert float(row["tmqi"]) == max(tried.values())
    write_image(root / "sdr/c.png", sdr)
    make_data(config(root), root, tmp_path / "ready")
    assert not (tmp_path / "ready" / "labels.csv").exists()


def test_an_image_too_small_for_tmqi_is_named(root: Path, tmp_path: Path) -> None:
    write_tone(root, "a.hdr", None, 0)
    write_tone(root, "b.hdr", None, 1)
    with pytest.raises(DataError, match="no SDR image can be made: TMQI needs images of at least 161×161"):
        open_data(config(root, make_sdr=True), tmp_path)


# ----------------------------------------------------------------------------------------- records


@pytest.mark.golden
def test_published_records_become_patches(iqatm_goldens: Path, root: Path, tmp_path: Path) -> None:
    expected = np.load(iqatm_goldens / "e2e.npz")
    root.mkdir()
    for name in ("dual_", "ft_", "test_"):
        (root / f"{name}.tfrecord").write_bytes((iqatm_goldens / f"{name}.tfrecord").read_bytes())
    index = open_data(config(root), tmp_path)
    parts = [p for p in index.images if isinstance(p, ToneRecords)]
    assert [(p.file, p.split, p.kind, p.num, p.width) for p in parts] == [
        (f"{kind}_.tfrecord#{split}", split, kind, num, 32)
        for kind in ("dual", "ft")
        for split, num in (("train", 2), ("val", 1))
    ]
    names = {"high": "train1", "bottom": "train2", "sdr_high": "label1", "sdr_bottom": "label2"}
    names |= {"encoded": "train", "sdr": "label"}
    for part in parts:
        for key, file in part.arrays.items():
            stored = index.open_array(file)
            for number in range(part.num):
                place = number + 2 * (part.split == "val")
                np.testing.assert_array_equal(stored[number], expected[f"{part.kind}_{place}_{names[key]}"])
    assert open_index(index.folder) == index


def test_patches_of_an_image_stay_in_one_split(root: Path) -> None:
    root.mkdir()
    examples = [tone_example(tone_maps("dual", number, side=8)) for number in range(36)]
    write_records(root / "dual_.tfrecord", examples)
    parts = [part for part in list_tones(root)[0] if isinstance(part, ListedRecords)]
    assert [(p.split, p.start, p.stop) for p in parts] == [("train", 0, 32), ("val", 32, 36)]


def test_records_that_cannot_be_used_are_named(root: Path, iqatm_goldens: Path, tmp_path: Path) -> None:
    root.mkdir()
    path = root / "test_.tfrecord"
    path.write_bytes((iqatm_goldens / "test_.tfrecord").read_bytes())
    with pytest.raises(DataError, match=r"test_\.tfrecord: test records: layers of whole HDR images"):
        list_tones(root)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(DataError, match=r"test_\.tfrecord: record 0: is truncated"):
        list_tones(root)
    write_records(path, [tone_example(tone_maps("ft", 0))])
    with pytest.raises(DataError, match=r"test_\.tfrecord: one record; at least two are needed"):
        list_tones(root)
    write_records(path, [tone_example(tone_maps("ft", n, side=32 + 8 * n)) for n in range(2)] * 2)
    with pytest.raises(DataError, match="record 1: its patches must be square, of one size"):
        open_data(config(root), tmp_path)
    write_records(path, [tone_example({k: 0 * v for k, v in tone_maps("ft", 0).items()})] * 3)
    with pytest.raises(DataError, match="2 of 2 images: all black"):
        open_data(config(root), tmp_path)
    assert not list(tmp_path.rglob("*.part"))


def test_images_go_before_the_records_made_of_them(root: Path) -> None:
    write_tones(root / "train", "a", "b")
    write_records(root / "dual_.tfrecord", [tone_example(tone_maps("dual", n)) for n in range(3)])
    write_tone(root, "test/c.hdr", None, 3)
    assert all(isinstance(tone, ListedTone) for tone in list_tones(root)[0])
    (root / "train/sdr/a.png").unlink()
    (root / "train/sdr/b.png").unlink()
    assert all(isinstance(part, ListedRecords) for part in list_tones(root)[0])


# ----------------------------------------------------------------------------------------- command


def test_the_command_prepares_and_says_how_to_go_on(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    for number, name in enumerate("ab"):
        write_tone(root, f"{name}.hdr", None, number, **LARGE)
    words = ["data=tmo_pairs", f"source='{root}'", f"root={tmp_path / 'ready'}"]
    for more, code in ((), 2), (("data.make_sdr=true",), 0):
        assert call(COMMAND, [*words, *more]) == code
    said = capsys.readouterr()
    assert f"data=tmo_pairs data.root={tmp_path / 'ready'}\n" in said.out
    assert f"{tmp_path / 'ready' / 'labels.csv'} says by which operators" in said.out
    assert "2 HDR images and no SDR images" in said.err
    assert asdict(open_index(tmp_path / "ready").images[0])["operator"]
