"""Pairs as they lie in folders: what belongs together, and every problem at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from commands import call
from scenes import scene

from hdrlab.config.schema.data import FolderConfig
from hdrlab.errors import DataError
from hdrlab.evaluation.folders import FolderPhotographs, FolderTones
from hdrlab.io import write_image

HDR = scene()


def config(**keys: object) -> FolderConfig:
    return replace(FolderConfig(), **keys)  # type: ignore[arg-type]


def shown(clip: float = 2.0) -> np.ndarray:  # type: ignore[type-arg]
    return np.rint(255 * np.clip(HDR / clip, 0, 1) ** (1 / 2.2)).astype(np.uint8)


def pairs(folder: Path, *names: str) -> FolderConfig:
    """Write pairs of these names."""
    for side in ("in", "gt"):
        (folder / side).mkdir(exist_ok=True)
    for name in names:
        write_image(folder / "in" / f"{name}.png", shown())
        write_image(folder / "gt" / f"{name}.exr", HDR)
    return config(photographs=str(folder / "in"), references=str(folder / "gt"))


def opened(data: FolderConfig, num: int | None = None) -> FolderPhotographs:
    return FolderPhotographs(data, num, lambda *moved: None)


def refusal(data: FolderConfig) -> str:
    with pytest.raises(DataError) as caught:
        opened(data)
    return str(caught.value)


def test_pairs_by_name_are_read_whole(tmp_path: Path) -> None:
    found = opened(pairs(tmp_path, "kitchen_1", "kitchen_2", "yard.v2"))
    assert found.stems == ["kitchen_1", "kitchen_2", "yard.v2"]
    photo = found[1]
    np.testing.assert_array_equal(photo.ldr, shown())
    np.testing.assert_allclose(photo.reference, HDR, rtol=1e-3)
    assert photo.usable
    assert photo.clip_point is None
    assert found[0].scene == photo.scene != found[2].scene
    assert opened(pairs(tmp_path), num=2).stems == ["kitchen_1", "kitchen_2"]
    again = opened(pairs(tmp_path)).fingerprint
    assert again == found.fingerprint
    write_image(tmp_path / "gt" / "kitchen_1.exr", 2 * HDR)
    assert opened(pairs(tmp_path)).fingerprint != again


def test_names_that_differ_go_by_order_only_where_none_is_shared(tmp_path: Path) -> None:
    pairs(tmp_path, "a", "b")
    for name in ("a", "b"):
        (tmp_path / "gt" / f"{name}.exr").rename(tmp_path / "gt" / f"{name}_HDR.exr")
    assert opened(pairs(tmp_path)).stems == ["a", "b"]
    assert "no reference of this name" in refusal(replace(pairs(tmp_path), pairing="stem"))
    (tmp_path / "gt" / "b_HDR.exr").unlink()
    assert "2 photographs and 1 references, and no name is on both sides" in refusal(pairs(tmp_path))


def test_all_problems_are_listed_at_once(tmp_path: Path) -> None:
    from PIL import Image

    data = pairs(tmp_path, "good", "narrow", "turned", "broken", "lonely", "twice", "other", "masked")
    places = tmp_path / "in", tmp_path / "gt"
    write_image(places[1] / "narrow.exr", HDR[:, :-1])
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(shown()).save(places[0] / "turned.jpg", exif=exif)
    (places[0] / "turned.png").unlink()
    (places[1] / "broken.exr").write_bytes(b"no image")
    (places[1] / "lonely.exr").unlink()
    write_image(places[0] / "twice.jpg", shown())
    write_image(places[0] / "other.png", 255 - shown())
    masks = tmp_path / "masks"
    masks.mkdir()
    for name in ("good", "narrow", "turned", "broken", "other", "masked"):
        write_image(masks / f"{name}.png", np.full((96, 144, 1), 255, np.uint8))
    write_image(masks / "masked.png", np.zeros((96, 144, 1), np.uint8))
    table = tmp_path / "scenes.csv"
    table.write_text("file,scene\ngood,s\n")
    said = refusal(replace(data, masks=str(masks), scenes=str(table)))
    for problem in (
        "in/narrow.png: is 144×96 pixels, its HDR image 143×96",
        "in/turned.jpg: is 96×144 pixels, once turned as its Exif orientation 6 says, its HDR image 144×96",
        "gt/broken.exr: is not a Radiance",
        "in/lonely.png: no reference of this name",
        "in/twice.jpg: several files of this name",
        "in/twice.png: several files of this name",
        "in/other.png: photograph and HDR image do not show the same",
        "masks/masked.png: mask without a white pixel",
        "scenes.csv: no scene for 5 of 6 images (broken, masked, narrow …)",
    ):
        assert problem in said
    assert "good.png" not in said
    left = opened(replace(data, masks=str(masks), skip_bad=True))
    assert left.stems == ["good"]
    assert left.left_out == 8


def test_lists_tell_scenes_and_what_counts(tmp_path: Path) -> None:
    data = pairs(tmp_path, "1", "2", "3")
    scenes = tmp_path / "scenes.csv"
    scenes.write_text("file,scene\nLDR_in/1.jpg,x\n2,x\n3.png,y\n")
    keep = tmp_path / "keep.csv"
    keep.write_text("\ufeff0,1\r\n1,0\r\n2,1\r\n", encoding="utf-8")  # as published
    found = opened(replace(data, scenes=str(scenes), keep=str(keep)))
    assert [found[i].scene for i in range(3)] == ["x", "x", "y"]
    assert [found[i].usable for i in range(3)] == [True, False, True]
    keep.write_text("file,keep\n3,1\n2,0\n1,0\n")
    assert [opened(replace(data, keep=str(keep)))[i].usable for i in range(3)] == [False, False, True]
    for text, problem in (
        ("0,1\n1,1\n", "2 rows for 3 images"),
        ("0,1\n2,1\n1,1\n", "running number"),
        ("0,1\n1,2\n2,1\n", "'2' is neither 0 nor 1"),
        ("file,scene\n1,x\n", "needs the columns file and keep"),
        ("file,keep\n" + 200_000 * "1", "no table of comma-separated values"),
    ):
        keep.write_text(text)
        assert problem in refusal(replace(data, keep=str(keep)))


def test_masks_are_read_with_their_photographs(tmp_path: Path) -> None:
    data = pairs(tmp_path, "a")
    (tmp_path / "m").mkdir()
    mask = np.zeros((96, 144, 3), np.uint8)
    mask[:10] = 255
    write_image(tmp_path / "m" / "a.png", mask)
    photo = opened(replace(data, masks=str(tmp_path / "m")))[0]
    assert photo.mask is not None
    np.testing.assert_array_equal(photo.mask, mask[..., 0] > 0)


def test_hdr_images_for_tone_mapping_have_labels_or_none(tmp_path: Path) -> None:
    hdr = np.tile(HDR, (2, 2, 1))[:177, :190]
    for folder in ("hdr", "sdr"):
        (tmp_path / folder).mkdir()
    write_image(tmp_path / "hdr" / "a.exr", hdr)
    write_image(tmp_path / "sdr" / "a.png", np.rint(255 * (hdr / (1 + hdr)) ** 0.5).astype(np.uint8))
    alone = FolderTones(config(hdr=str(tmp_path / "hdr")), None, None, lambda *moved: None)
    case = alone[0]
    assert (case.name, case.sdr, case.reference.shape) == ("a", None, (177, 190, 3))
    assert not alone.all_labelled
    both = config(hdr=str(tmp_path / "hdr"), sdr=str(tmp_path / "sdr"))
    labelled = FolderTones(both, None, None, lambda *moved: None)
    assert labelled.all_labelled
    assert labelled[0].sdr is not None
    write_image(tmp_path / "hdr" / "b.exr", HDR)
    write_image(tmp_path / "hdr" / "c.exr", hdr)
    write_image(tmp_path / "hdr" / "c.hdr", hdr)
    with pytest.raises(DataError) as caught:
        FolderTones(config(hdr=str(tmp_path / "hdr")), None, None, lambda *moved: None)
    assert "b.exr: smaller than 161 pixels" in str(caught.value)
    assert "c.hdr: several files of this name" in str(caught.value)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ([], "data.root: not set; a folder with LDR_in and HDR_gt"),
        (["data.root={empty}"], "holds neither LDR_in with HDR_gt nor hdr"),
        (["data.root={empty}", "data.hdr={empty}"], "data.root and data.hdr: give the one or the other"),
        (["data.photographs={empty}"], "data.photographs: needs data.references=FOLDER beside it"),
        (["data.sdr={empty}"], "data.sdr: needs data.hdr=FOLDER beside it"),
        (["data.hdr={empty}/no"], "no such folder"),
        (
            ["data.hdr={empty}", "data.photographs={empty}", "data.references={empty}"],
            "set task=reconstruct or task=tonemap",
        ),
        (["data.hdr={empty}", "task=reconstruct"], "task=reconstruct: data=folder is for task=tonemap"),
        (["data.hdr={empty}", "data.keep={empty}/x"], "x: no such file"),
        (["data.hdr={empty}", "results.gamma={empty}"], "a method of hdrlab is called so"),
        (["data.hdr={empty}", "results.theirs={empty}/x"], "results.theirs={empty}/x: no such folder"),
        (["data.hdr={empty}", "results=theirs"], "must be names with values"),
        (["data.hdr={empty}", "'results={{a b: {empty}}}'"], "a name of letters"),
    ],
)
def test_wrong_words_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], problem: str
) -> None:
    from hdrlab.evaluate import COMMAND

    given = [word.format(empty=tmp_path).strip("'") for word in words]
    assert call(COMMAND, ["data=folder", *given]) == 2
    assert problem.format(empty=tmp_path) in capsys.readouterr().err


def test_a_root_is_turned_into_its_folders(tmp_path: Path) -> None:
    from hdrlab.evaluate import COMMAND

    for name in ("LDR_in", "HDR_gt"):
        (tmp_path / name).mkdir()
    data = COMMAND.compose(["data=folder", f"data.root={tmp_path}"]).data
    assert isinstance(data, FolderConfig)
    assert (data.photographs, data.references) == (str(tmp_path / "LDR_in"), str(tmp_path / "HDR_gt"))


def test_trainings_are_told_that_folders_are_for_evaluations(capsys: pytest.CaptureFixture[str]) -> None:
    from hdrlab.train import COMMAND

    assert call(COMMAND, ["stage=deq", "data=folder"]) == 2
    said = capsys.readouterr().err
    assert "data=folder: for hdrlab.evaluate only; to train on pairs use data=hdr_real" in said
    assert len(said.splitlines()) == 1
