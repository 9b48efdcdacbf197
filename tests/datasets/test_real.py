"""Samples of photographs with HDR images: which patches are used, and what a counter draws."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from photographs import photograph, scene, write_folders, write_stack
from records import pair_example, write_records
from test_pairs import config

from hdrlab.config.registry.stages import REAL_KEYS
from hdrlab.datasets.build import make_data, open_data, training_set, validation_set
from hdrlab.datasets.hdr_real import STRIDE, RealTraining, RealValidation, pairs_of, usable_patches
from hdrlab.datasets.index import Index
from hdrlab.errors import DataError
from hdrlab.io import write_image

PATCH = 64


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    """Three pairs; a training photograph has a white left half and black last rows."""
    root = tmp_path_factory.mktemp("pairs")
    write_folders(root, "a", "b", "c", height=200, width=264)
    index, _ = make_data(config(root), root, root.parent / "first")
    name = index.split("train")[0].file
    hdr = scene(5, 200, 264)
    ldr = photograph(hdr)
    ldr[:, :90], ldr[128:] = 255, 0
    write_image(root / name, ldr, quality=100)
    write_image(root / name.replace("LDR_in", "HDR_gt").replace("jpg", "hdr"), hdr)
    return make_data(config(root), root, root.parent / "ready")[0]


def by_definition(ldr: np.ndarray, patch: int) -> list[tuple[int, int]]:
    grey = ldr.astype(np.float64) @ (0.299, 0.587, 0.114)
    kept = []
    for top in range(0, ldr.shape[0] - patch + 1, STRIDE):
        for left in range(0, ldr.shape[1] - patch + 1, STRIDE):
            window = grey[top : top + patch, left : left + patch]
            if (window >= 249).sum() + (window <= 6).sum() <= patch * patch / 2:
                kept.append((top, left))
    return kept


@pytest.mark.parametrize("patch", [32, 64, 96, 128, 192])
def test_usable_patches_follow_the_published_rule(index: Index, patch: int) -> None:
    pairs = pairs_of(index, "train")
    expected = [
        (number, 0, top, left)
        for number, pair in enumerate(pairs)
        for top, left in by_definition(index.open_array(pair.jpeg)[0], patch)
    ]
    assert [tuple(row) for row in usable_patches(index, pairs, patch).tolist()] == expected
    if patch == 64:
        assert len(expected) < len(pairs) * 3 * 4


def test_the_rule_keeps_a_patch_that_is_half_white(tmp_path: Path) -> None:
    hdr = scene(1, 128, 128)
    for extra, kept in ((0, True), (1, False)):
        root = tmp_path / str(extra)
        ldr = np.clip(photograph(hdr), 20, 200)
        ldr[:, :64] = 255
        ldr[0, 64 : 64 + extra] = 0
        for stem in ("a", "b"):
            (root / "LDR_in").mkdir(parents=True, exist_ok=True)
            (root / "HDR_gt").mkdir(exist_ok=True)
            write_image(root / f"LDR_in/{stem}.png", ldr)
            write_image(root / f"HDR_gt/{stem}.hdr", hdr)
        index, _ = make_data(config(root), root, root / "ready")
        sample = RealValidation(index, "val")[0]
        assert bool(sample["mask"].item()) == kept
        if kept:
            assert len(RealTraining(index, patch=128, seed=0)) == 1
        else:
            with pytest.raises(DataError, match="every training patch is mostly black or mostly white"):
                RealTraining(index, patch=128, seed=0)


def test_small_images_are_named(index: Index) -> None:
    said = r"stage.patch=256: 1 of 1 training images are smaller \(LDR_in/.\.jpg 264×200\)"
    with pytest.raises(DataError, match=said):
        RealTraining(index, patch=256, seed=0)
    with pytest.raises(DataError, match=r"data.val_crop=256: larger than LDR_in/.\.jpg of the split val"):
        RealValidation(index, "val", crop=256)


def test_samples_have_their_domains(index: Index) -> None:
    training = RealTraining(index, patch=PATCH, seed=0)
    for counter in range(12):
        sample = training[counter]
        assert {name: tuple(value.shape) for name, value in sample.items()} == {
            "jpeg": (3, PATCH, PATCH),
            "hdr": (3, PATCH, PATCH),
            "mask": (1, 1, 1),
        }
        assert all(value.dtype == torch.float32 and value.is_contiguous() for value in sample.values())
        assert sample["mask"].item() == 1
        assert 0 <= sample["jpeg"].min() <= sample["jpeg"].max() <= 1
        assert sample["hdr"].min() >= 0
        np.testing.assert_array_equal(sample["jpeg"] * 255, (sample["jpeg"] * 255).round())


def test_both_images_are_turned_alike(index: Index) -> None:
    training = RealTraining(index, patch=PATCH, seed=3)
    for counter in range(16):
        jpeg, hdr = training[counter]["jpeg"], training[counter]["hdr"]
        seen = (jpeg > 0.05) & (jpeg < 0.95)
        expected = torch.from_numpy(photograph(hdr.numpy())) / 255.0
        assert (jpeg - expected)[seen].abs().median() < 0.05


def test_a_counter_draws_the_same_anywhere(index: Index) -> None:
    first, second = (RealTraining(index, patch=PATCH, seed=7) for _ in range(2))
    ahead = {counter: first[counter] for counter in (31, 2, 17)}
    for counter in (2, 17, 31):
        for name, value in second[counter].items():
            assert torch.equal(value, ahead[counter][name])
    assert not torch.equal(RealTraining(index, patch=PATCH, seed=8)[2]["hdr"], ahead[2]["hdr"])


def unturned(sample: torch.Tensor) -> float:
    return float(sample.double().sum())


def test_an_epoch_uses_every_patch_once_in_its_own_order(index: Index) -> None:
    training = RealTraining(index, patch=PATCH, seed=1)
    size = len(training)
    epochs = [[round(unturned(training[e * size + i]["hdr"]), 3) for i in range(size)] for e in range(2)]
    assert len(set(epochs[0])) == size
    assert set(epochs[0]) == set(epochs[1])
    assert epochs[0] != epochs[1]


def test_all_eight_positions_are_equally_frequent(index: Index) -> None:
    training = RealTraining(index, patch=PATCH, seed=0)
    training.places = training.places[:1]
    seen = Counter(training[counter]["hdr"].numpy().tobytes() for counter in range(800))
    assert len(seen) == 8
    assert all(70 < times < 130 for times in seen.values())


def test_validation_is_fixed_and_central(index: Index) -> None:
    validation = RealValidation(index, "val", crop=PATCH)
    assert len(validation) == 1
    pair = validation.image(0)
    window = (slice(68, 132), slice(100, 164))
    np.testing.assert_array_equal(validation[0]["hdr"], index.load(pair)[0][window].transpose(2, 0, 1))
    assert RealValidation(index, "val")[0]["jpeg"].shape == (3, 192, 256)
    assert len(RealValidation(index, "train", num=5)) == 1


def test_exposures_scale_the_hdr_image_to_their_clipping_point(tmp_path: Path) -> None:
    for seed, name in enumerate(("hall", "yard")):
        write_stack(tmp_path / "stacks", name, seed, (0.25, 1, 4))
    index = open_data(config(tmp_path / "stacks", exposures="all"), tmp_path)
    assert len({pair.array for pair in index.images}) == 2  # one HDR image a stack
    photos = RealValidation(index, "train", crop=96)
    assert [Path(photos.image(i).file).name for i in range(3)] == ["exp_00.jpg", "exp_01.jpg", "exp_02.jpg"]
    dark, middle, bright = (photos[i]["hdr"] for i in range(3))
    torch.testing.assert_close(4 * dark, middle)
    torch.testing.assert_close(bright, 4 * middle)
    for number in range(3):  # a camera that clips at 1 takes this very photograph
        expected = photograph(photos[number]["hdr"].numpy())
        assert np.median(np.abs(photos[number]["jpeg"].numpy() * 255 - expected)) < 8


def test_record_files_are_drawn_patch_by_patch(tmp_path: Path) -> None:
    root = tmp_path / "records"
    root.mkdir()
    hdr = scene(2, 256, 256)
    white = np.full((256, 256, 3), 255, np.uint8)
    white[0] = 100
    for number in range(2):
        photo = photograph(hdr)
        examples = [pair_example(photo, hdr), pair_example(white, hdr), pair_example(photo, 2 * hdr)]
        write_records(root / f"train_64_{number:04d}.tfrecords", examples)
    training = RealTraining(open_data(config(root), tmp_path), patch=256, seed=0)
    assert training.places.tolist() == [[0, 0, 0, 0], [0, 2, 0, 0]]
    drawn = sorted(float(training[counter]["hdr"].max()) for counter in range(2))
    assert drawn == [30, 60]
    assert len(RealTraining(training.index, patch=128, seed=0)) == 2 * 9
    assert len(RealValidation(training.index, "val")) == 3


def test_the_data_section_chooses_these_samples(index: Index) -> None:
    data = config(index.folder, val_crop=PATCH)
    training = training_set(data, index, None, keys=REAL_KEYS, patch=PATCH, batch_size=2, seed=4)
    validation = validation_set(data, index, None, "val", REAL_KEYS, 3)
    assert torch.equal(training[5]["jpeg"], RealTraining(index, patch=PATCH, seed=4)[5]["jpeg"])
    assert torch.equal(validation[0]["hdr"], RealValidation(index, "val", crop=PATCH)[0]["hdr"])
