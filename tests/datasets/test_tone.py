"""Samples for tone mapping: which windows are cut, how they are encoded, and what a counter draws."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from records import tone_example, tone_maps, write_records
from tones import TONE, config, write_tone, write_tones
from torch import Tensor

from hdrlab.config.registry.stages import STAGES, TONE_KEYS
from hdrlab.datasets import pairing
from hdrlab.datasets.build import make_data, open_data, training_set, validation_set
from hdrlab.datasets.index import Index, ToneImage
from hdrlab.datasets.sources import make_tone
from hdrlab.datasets.splits import Listed
from hdrlab.datasets.tmo_pairs import WINDOWS, ToneTraining, ToneValidation, window_at
from hdrlab.errors import DataError
from hdrlab.ops.encoding import Domain, encode_hdr, tone_limits
from hdrlab.ops.pyramids import decompose

PATCH = 32
LAYERS = ("high", "bottom", "sdr_high", "sdr_bottom", "labelled", "mask")


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    """Four pairs of 50×75, smaller than some patches, and two images without SDR images."""
    folder = tmp_path_factory.mktemp("tones")
    write_tones(folder / "pairs", "a", "b", "c", "d", height=50, width=75)
    for number, name in enumerate("xy"):
        write_tone(folder / "more", f"{name}.hdr", None, 8 + number)
    data = config(folder / "pairs", unlabelled=str(folder / "more"))
    return make_data(data, folder / "pairs", folder / "ready")[0]


def labelled_only(index: Index) -> Index:
    return replace(index, images=tuple(p for p in index.images if getattr(p, "sdr", None)))


def hwc(values: Tensor) -> np.ndarray:
    return values.movedim(-3, -1).numpy()


# ------------------------------------------------------------------------------------------- goldens


@pytest.mark.golden
def test_windows_are_those_of_the_authors_program(iqatm_goldens: Path) -> None:
    golden = np.load(iqatm_goldens / "crops.npz")
    draws = random.Random(int(golden["python_random_seed"]))
    height, width = golden["img"].shape[:2]
    windows = [window_at(height, width, [draws.random() for _ in range(4)]) for _ in range(15)]
    ours = [(r.start, c.start, r.stop - r.start, c.stop - c.start) for r, c in windows]
    for call in (0, 1):  # for the HDR image and for the SDR image
        np.testing.assert_array_equal(golden["windows_isimg_top_left_h_w"][call::2, 1:], ours)


@pytest.mark.golden
@pytest.mark.parametrize("kind", ["dual", "ft"])
def test_training_samples_are_the_authors_records(
    iqatm_goldens: Path, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    golden = np.load(iqatm_goldens / "e2e.npz")
    (tmp_path / "images").mkdir()
    monkeypatch.setattr(pairing, "LEAST_LIKENESS", -1)  # the two show different things
    listed = Listed("t0", "train", "t0")
    image = make_tone(listed, "", tmp_path, golden["train_source_t0_hdr"], golden["train_source_t0_jpg"])
    assert isinstance(image, ToneImage)
    training = ToneTraining(Index(tmp_path, {}, (image,)), TONE, patch=PATCH, seed=0)
    draws = random.Random(int(golden[f"train_random_seed_{kind}"]))
    windows = [window_at(image.height, image.width, [draws.random() for _ in range(4)]) for _ in range(2)]
    windows.append((slice(None), slice(None)))
    ours = {"train": "encoded", "label": "sdr", "train1": "high", "train2": "bottom"}
    if kind == "dual":
        ours = {"train1": "high", "train2": "bottom", "label1": "sdr_high", "label2": "sdr_bottom"}
    for number, window in enumerate(windows):
        monkeypatch.setattr(training, "window", lambda *_, window=window: window)
        sample = training[0]
        for theirs, name in ours.items():
            expected = golden[f"{kind}_{number}_{theirs}"]
            np.testing.assert_allclose(hwc(sample[name]), expected, rtol=0, atol=2e-6)


@pytest.mark.golden
@pytest.mark.parametrize("scene", ["sceneA", "sceneB"])
def test_validation_samples_are_the_authors_test_records(
    iqatm_goldens: Path, scene: str, tmp_path: Path
) -> None:
    golden = np.load(iqatm_goldens / "e2e.npz")
    (tmp_path / "images").mkdir()
    image = make_tone(Listed(scene, "val", scene), "", tmp_path, golden[f"hdr_{scene}"], labelled=False)
    assert isinstance(image, ToneImage)
    sample = ToneValidation(Index(tmp_path, {}, (image,)), TONE, "val")[0]
    for name, expected in (("high", f"rec_high_{scene}"), ("bottom", f"rec_bot_{scene}")):
        np.testing.assert_allclose(hwc(sample[name]), golden[expected], rtol=0, atol=2e-6)
    assert sample["labelled"].item() == 0


# ------------------------------------------------------------------------------------------ training


def test_samples_have_their_shapes_and_domains(index: Index) -> None:
    training = ToneTraining(index, TONE, patch=64, seed=0)
    labelled = set()
    for counter in range(len(training)):
        sample = training[counter]
        assert {name: tuple(value.shape) for name, value in sample.items()} == {
            name: (1, 1, 1) if name in ("labelled", "mask") else (3, *(2 * (8 if "bottom" in name else 64,)))
            for name in TONE_KEYS
        }
        assert all(value.dtype == torch.float32 and value.isfinite().all() for value in sample.values())
        for name in ("encoded", "sdr"):
            assert 0 <= sample[name].min() <= sample[name].max() <= 1
        assert sample["hdr"].min() >= 0
        assert sample["mask"].item() == 1
        has_label = bool(sample["labelled"].item())
        assert all(bool(sample[name].any()) == has_label for name in ("sdr", "sdr_high", "sdr_bottom"))
        labelled.add(has_label)
    assert labelled == {True, False}


@pytest.mark.parametrize(("domain", "level"), [("gamma", 0.0), ("log", 0.0), ("adaptive", 0.4)])
def test_a_window_is_encoded_by_the_limits_of_the_whole(index: Index, domain: Domain, level: float) -> None:
    index = labelled_only(index)
    training = ToneTraining(index, replace(TONE, domain=domain, level=level), patch=PATCH, seed=3)
    for counter in range(8):
        image, number = training.choice(counter)
        assert isinstance(image, ToneImage)
        assert image.sdr is not None
        rows, columns = training.window(image, number, counter)
        hdr = torch.from_numpy(index.load(image).copy()).movedim(-1, 0)[None]
        sdr = torch.from_numpy(index.open_array(image.sdr).copy()).movedim(-1, 0)[None].float()
        whole = {"encoded": encode_hdr(hdr, *tone_limits(hdr, domain, level=level), domain), "hdr": hdr}
        whole["sdr"] = (sdr - sdr.min()) / (sdr.max() - sdr.min())
        sample = training[counter]
        for name, values in whole.items():
            cut = values[..., rows, columns]
            expected = F.interpolate(cut, (PATCH, PATCH), mode="bilinear", align_corners=False)[0]
            torch.testing.assert_close(sample[name], expected, rtol=1e-6, atol=1e-7)
        for name, layers in (("encoded", ("high", "bottom")), ("sdr", ("sdr_high", "sdr_bottom"))):
            for layer, expected in zip(layers, decompose(sample[name][None]), strict=True):
                torch.testing.assert_close(sample[layer], expected[0])


def test_an_epoch_has_fifteen_windows_and_the_whole_of_each_image(index: Index) -> None:
    training = ToneTraining(index, TONE, patch=PATCH, seed=1)
    assert len(training) == WINDOWS * len(training.images)
    seen = [[training.choice(e * len(training) + i) for i in range(len(training))] for e in range(2)]
    orders = [[(image.file, number) for image, number in epoch] for epoch in seen]
    every = {(image.file, number) for image in training.images for number in range(WINDOWS)}
    assert set(orders[0]) == set(orders[1]) == every
    assert orders[0] != orders[1]
    windows = set()
    for counter, (image, number) in enumerate(seen[0]):
        assert isinstance(image, ToneImage)
        rows, columns = training.window(image, number, counter)
        assert (rows == columns == slice(None)) == (number == WINDOWS - 1)
        if number < WINDOWS - 1:
            assert 0 <= rows.start < rows.stop <= image.height
            assert 0.1 * image.height - 1 < rows.stop - rows.start <= 0.6 * image.height
            windows.add((image.file, rows.start, rows.stop, columns.start, columns.stop))
    assert len(windows) > 0.9 * 15 * len(training.images)


def test_windows_can_be_nearly_the_whole(index: Index) -> None:
    data = replace(config(index.folder), window_least=0.7, window_most=0.9)
    training = training_set(data, index, None, keys=("encoded", "sdr"), patch=PATCH, batch_size=2, seed=0)
    assert isinstance(training, ToneTraining)
    for counter in range(200):
        image, number = training.choice(counter)
        assert isinstance(image, ToneImage)
        rows, _ = training.window(image, number, counter)
        if number < WINDOWS - 1:
            assert 0.7 * image.height - 1 < rows.stop - rows.start <= 0.9 * image.height
    (problem,) = replace(data, window_most=0.5).rules()
    assert problem.startswith("data.window_most=0.5")


def test_official_windows_of_small_images_are_the_whole(index: Index) -> None:
    index = labelled_only(index)
    small, fits = (ToneTraining(index, TONE, patch=p, seed=0, official=True) for p in (64, PATCH))
    assert all(small.window(p, n, 5) == (slice(None), slice(None)) for p in small.images for n in range(16))
    ours = ToneTraining(index, TONE, patch=PATCH, seed=0)
    image = ours.images[0]
    assert fits.window(image, 3, 5) == ours.window(image, 3, 5) != (slice(None), slice(None))


def test_a_counter_draws_the_same_anywhere(index: Index) -> None:
    first, second = (ToneTraining(index, TONE, patch=PATCH, seed=7) for _ in range(2))
    ahead = {counter: first[counter] for counter in (131, 2, 17)}
    for counter in (2, 17, 131):
        for name, value in second[counter].items():
            assert torch.equal(value, ahead[counter][name])
    other = ToneTraining(index, TONE, patch=PATCH, seed=8)
    assert not torch.equal(other[2]["encoded"], ahead[2]["encoded"])
    image = first.images[0]
    assert isinstance(image, ToneImage)
    assert len({str(first.window(image, 0, counter)) for counter in range(20)}) == 20


@pytest.mark.parametrize("stage", [name for name in STAGES if name.startswith("tmo_")])
def test_only_what_a_stage_reads_is_made(index: Index, stage: str) -> None:
    keys = STAGES[stage].batch_keys
    whole = ToneTraining(index, TONE, patch=PATCH, seed=0)
    training = training_set(config(index.folder), index, None, keys=keys, patch=PATCH, batch_size=2, seed=0)
    for counter in range(6):
        sample = training[counter]
        assert set(sample) == set(keys)
        assert all(torch.equal(value, whole[counter][name]) for name, value in sample.items())


def test_other_ways_of_seeing(index: Index) -> None:
    index = labelled_only(index)

    def sample(**changes: object) -> dict[str, Tensor]:
        return ToneTraining(index, replace(TONE, **changes), patch=PATCH, seed=0)[counter]  # type: ignore[arg-type]

    training = ToneTraining(index, TONE, patch=PATCH, seed=0)
    counter = next(i for i in range(100) if training.choice(i)[1] == WINDOWS - 1)
    plain, full = sample(), sample(sdr_range="full")
    linear, log = sample(domain="linear"), sample(domain="log")
    torch.testing.assert_close(linear["sdr"].mean(), (plain["sdr"] ** 2.2).mean(), rtol=0.1, atol=0)
    assert linear["sdr"].mean() < plain["sdr"].mean()
    assert linear["encoded"].mean() < plain["encoded"].mean() < log["encoded"].mean()
    torch.testing.assert_close(log["sdr"], plain["sdr"])
    assert full["sdr"].min() >= 10 / 255
    assert full["sdr"].max() <= 250 / 255
    for changes in ({"pyramid": "gaussian"}, {"fuse_middle": True}, {"sigma_color": 0.1}):
        other = sample(**changes)
        assert torch.equal(other["encoded"], plain["encoded"])
        assert not torch.equal(other["high"], plain["high"])
        assert not torch.equal(other["sdr_high"], plain["sdr_high"])


# ---------------------------------------------------------------------------------------- validation


def test_validation_is_whole_images_in_a_fixed_order(index: Index) -> None:
    validation = ToneValidation(index, TONE, "val")
    assert [validation.image(n).split for n in range(len(validation))] == ["val"] * len(index.split("val"))
    sample = validation[0]
    assert sample["encoded"].shape == (3, 48, 72)
    assert sample["bottom"].shape == (3, 6, 9)
    hdr = index.load(validation.image(0))[:48, :72]
    np.testing.assert_array_equal(hwc(sample["hdr"]), hdr)
    x = sample["hdr"][None]
    assert torch.equal(sample["encoded"], encode_hdr(x, *tone_limits(x))[0])
    assert (sample["sdr"].min(), sample["sdr"].max()) == (0, 1)
    assert len(ToneValidation(index, TONE, "train", num=2)) == 2


def test_a_validation_crop_is_an_image_of_its_own(index: Index) -> None:
    data = config(index.folder, val_crop=32)
    validation = validation_set(data, index, None, "val", TONE_KEYS, 1)
    sample = validation[0]
    np.testing.assert_array_equal(hwc(sample["hdr"]), index.load(validation.image(0))[9:41, 21:53])
    x = sample["hdr"][None]
    assert torch.equal(sample["encoded"], encode_hdr(x, *tone_limits(x))[0])
    with pytest.raises(DataError, match=r"data\.val_crop=64: larger than hdr/.\.hdr of the split val"):
        ToneValidation(index, TONE, "val", crop=64)
    with pytest.raises(DataError, match="no image in the split test"):
        ToneValidation(replace(index, images=tuple(index.split("train"))), TONE, "test")


# ------------------------------------------------------------------------------------------- records


def records(folder: Path, *kinds: str) -> Index:
    folder.mkdir()
    for kind in kinds:
        write_records(folder / f"{kind}_.tfrecord", [tone_example(tone_maps(kind, n)) for n in range(4)])
    return open_data(config(folder), folder.parent / "cache", TONE_KEYS)


def test_dual_records_serve_the_branches_only(tmp_path: Path) -> None:
    index = records(tmp_path / "records", "dual")
    training = ToneTraining(index, TONE, patch=32, seed=0, keys=LAYERS)
    assert len(training) == 3
    names = {"high": "train1", "bottom": "train2", "sdr_high": "label1", "sdr_bottom": "label2"}
    found = set()
    for counter in range(3):
        number = training.choice(counter)[1]
        found.add(number)
        for name, theirs in names.items():
            np.testing.assert_array_equal(hwc(training[counter][name]), tone_maps("dual", number)[theirs])
    assert found == {0, 1, 2}
    validation = ToneValidation(index, TONE, "val", keys=LAYERS)
    np.testing.assert_array_equal(hwc(validation[0]["high"]), tone_maps("dual", 3)["train1"])
    said = r"its dual_ records \(dual_\.tfrecord#train\) hold layers only and not encoded, hdr, sdr; give ft_"
    with pytest.raises(DataError, match=said):
        ToneTraining(index, TONE, patch=32, seed=0, keys=STAGES["tmo_ft"].batch_keys)
    with pytest.raises(
        DataError, match=r"stage\.patch=64: dual_.* patches of 32 pixels; set stage\.patch=32"
    ):
        ToneTraining(index, TONE, patch=64, seed=0, keys=LAYERS)


def test_ft_records_serve_every_stage(tmp_path: Path) -> None:
    index = records(tmp_path / "records", "ft")
    training = ToneTraining(index, TONE, patch=32, seed=0)
    sample = training[0]
    maps = tone_maps("ft", training.choice(0)[1])
    np.testing.assert_array_equal(hwc(sample["encoded"]), maps["train"])
    np.testing.assert_array_equal(hwc(sample["sdr"]), maps["label"])
    for name, layers in (("encoded", ("high", "bottom")), ("sdr", ("sdr_high", "sdr_bottom"))):
        for layer, expected in zip(layers, decompose(sample[name][None]), strict=True):
            torch.testing.assert_close(sample[layer], expected[0])
    low, high = torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1)
    torch.testing.assert_close(encode_hdr(sample["hdr"][None], low, high)[0], sample["encoded"])
    linear = ToneTraining(index, replace(TONE, domain="linear"), patch=32, seed=0)[0]
    assert torch.equal(linear["hdr"], linear["encoded"])
    with pytest.raises(
        DataError, match=r"stage\.tone\.domain=log: record files hold values encoded by a power"
    ):
        ToneTraining(index, replace(TONE, domain="log"), patch=32, seed=0)[0]


def test_of_both_records_each_stage_takes_its_own(tmp_path: Path) -> None:
    index = records(tmp_path / "records", "dual", "ft")
    for stage, file in (("tmo_bottom", "dual"), ("tmo_high", "dual"), ("tmo_ft", "ft")):
        training = ToneTraining(index, TONE, patch=32, seed=0, keys=STAGES[stage].batch_keys)
        assert {image.file for image in training.images} == {f"{file}_.tfrecord#train"}
