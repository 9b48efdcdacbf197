"""HDR-Synth: what a sample is, and that it depends on seed and counter alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from hdrlab.camera import load_response_curves
from hdrlab.camera.sampling import exposure_list
from hdrlab.config.registry.stages import SYNTH_KEYS
from hdrlab.datasets.hdr_synth import Camera, Floats, SynthTraining, SynthValidation, square_patch
from hdrlab.datasets.index import Index, Source, build_index
from hdrlab.datasets.splits import Listed
from hdrlab.ops.resize import resize
from hdrlab.ops.response import apply_response

Sample = dict[str, Tensor]
SIDE = 64


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    from hdrlab.io import write_image

    root = tmp_path_factory.mktemp("images")
    splits = {"train": 3, "val": 6, "test": 1}
    listed = [
        Listed(f"{split}{i}.exr", split, f"{split}{i}") for split, n in splits.items() for i in range(n)
    ]
    for number, item in enumerate(listed):
        size = (72, 96, 3) if number % 2 else (100, 70, 3)
        write_image(root / item.file, np.random.default_rng(number).lognormal(0, 1, size).astype(np.float32))
    return build_index(
        listed,
        Source(root),
        tmp_path_factory.mktemp("ready"),
        short_side=SIDE,
        resize_filter="area",
        workers=1,
    )[0]


@pytest.fixture(scope="module")
def camera() -> Camera:
    return Camera.of(load_response_curves("builtin"), "train", 4)


def training(index: Index, camera: Camera, **options: Any) -> SynthTraining:
    return SynthTraining(index, camera, **{"patch": 32, "batch_size": 4, "seed": 5, **options})


def equal(one: Sample, other: Sample) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


# ------------------------------------------------------------------------------------------- the sample


@pytest.mark.parametrize("noise", ["independent", "authors", "none"])
def test_sample_keeps_the_contract_of_the_batch(index: Index, camera: Camera, noise: str) -> None:
    batch = next(iter(DataLoader(training(index, camera, noise=noise), sampler=range(12), batch_size=12)))
    assert set(batch) == set(SYNTH_KEYS)
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(("jpeg", "ldr", "lin", "hdr"), (12, 3, 32, 32))
    shapes |= dict.fromkeys(("curve", "inv_curve"), (12, 1024)) | {"mask": (12, 1, 1, 1)}
    assert {key: tuple(values.shape) for key, values in batch.items()} == shapes
    for key, values in batch.items():
        assert values.dtype == torch.float32, key
        assert values.min() >= 0, key
        assert key == "hdr" or values.max() <= 1, key
    assert batch["hdr"].max() > 1
    assert set(batch["mask"].unique().tolist()) <= {0.0, 1.0}
    assert torch.equal(batch["lin"], batch["hdr"].clamp(max=1))
    assert torch.equal(batch["ldr"], apply_response(batch["lin"], batch["curve"]))
    steps = batch["jpeg"] * 255
    assert torch.allclose(steps, steps.round(), atol=1e-3)
    usable = batch["mask"].bool().flatten()
    assert (batch["jpeg"] - batch["ldr"])[usable].abs().mean() < 0.05
    grid = torch.linspace(0, 1, 1024)
    there_and_back = apply_response(batch["inv_curve"][:, None, None], batch["curve"])[:, 0, 0]
    assert (there_and_back[:, 50:] - grid[50:]).abs().mean() < 0.01


def test_without_noise_the_hdr_image_is_the_exposed_patch(index: Index, camera: Camera) -> None:
    dataset = training(index, camera, noise="none", patch=SIDE)
    for counter in range(6):
        patch, curve, exposure = dataset.choice(counter)
        sample = dataset[counter]
        assert torch.equal(sample["curve"], camera.curves[curve])
        assert torch.equal(sample["inv_curve"], camera.inverses[curve])
        image = index.load(index.split("train")[patch // 2])
        square = square_patch(image, SIDE, bool(patch % 2))
        brightness = float(sample["hdr"].mean()) / float(camera.exposures[exposure])
        assert brightness == pytest.approx(float(square.mean()), rel=0.4)  # a scaled crop of it


def test_authors_noise_and_none_differ(index: Index, camera: Camera) -> None:
    drawn = [training(index, camera, noise=noise)[3]["hdr"] for noise in ("none", "authors", "independent")]
    assert not torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[1], drawn[2])
    with pytest.raises(ValueError, match="no sensor noise 'loud': choose one of independent, authors, none"):
        training(index, camera, noise="loud")


def test_positional_quality_follows_the_place_in_the_batch(
    index: Index, camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hdrlab.datasets import hdr_synth

    asked: list[int] = []
    original = hdr_synth.photograph

    def noted(*arguments: Any) -> Sample:
        asked.append(arguments[-1])
        return original(*arguments)

    monkeypatch.setattr(hdr_synth, "photograph", noted)
    dataset = training(index, camera, positional_quality=True, batch_size=4)
    for counter in range(8):
        dataset[counter]
    assert asked == [90, 93, 97, 100] * 2
    asked.clear()
    for counter in range(40):
        training(index, camera)[counter]
    assert min(asked) >= 90
    assert max(asked) <= 100
    assert len(set(asked)) > 7


def test_images_too_small_for_the_patch(index: Index, camera: Camera) -> None:
    with pytest.raises(ValueError, match="patches of 96 pixels do not fit images of short side 64"):
        training(index, camera, patch=96)


# ----------------------------------------------------------------------------------------- square patches


@pytest.mark.parametrize("shape", [(64, 90, 3), (90, 64, 3), (64, 64, 3)])
def test_square_patches_have_mean_one_half(shape: tuple[int, int, int]) -> None:
    image = np.random.default_rng(0).lognormal(3, 2, shape).astype(np.float32)
    for second, corner in ((False, np.s_[:64, :64]), (True, np.s_[-64:, -64:])):
        square = square_patch(image, 64, second)
        assert square.dtype == np.float32
        assert square.mean(dtype=np.float64) == pytest.approx(0.5, rel=1e-5)
        part = image[corner]
        np.testing.assert_allclose(square, part * 0.5 / (part.mean(dtype=np.float64) + 1e-6), rtol=1e-6)


def test_normalisation_of_a_dark_patch_has_the_authors_floor() -> None:
    square = square_patch(np.full((8, 8, 3), 1e-6, np.float32), 8, False)
    np.testing.assert_allclose(square, 0.25, rtol=1e-5)


# ------------------------------------------------------------------------------------------ augmentation


@pytest.mark.parametrize(("side", "patch"), [(64, 32), (64, 64), (96, 64), (70, 33), (65, 31)])
def test_augmented_shapes(index: Index, camera: Camera, side: int, patch: int) -> None:
    dataset = training(index, camera, patch=32)
    dataset.side, dataset.patch = side, patch
    square = np.random.default_rng(0).random((side, side, 3), np.float32)
    for seed in range(30):
        sample = dataset.augment(square, np.random.default_rng(seed))
        assert sample.shape == (patch, patch, 3)
        assert 0 <= sample.min() <= sample.max() <= 1


def test_augmentation_uses_all_turns_scales_and_places(index: Index, camera: Camera) -> None:
    dataset = training(index, camera)
    rows, columns = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    square = np.stack([rows, columns, np.ones_like(rows)], -1)
    turns, steps, places, num_swapped = set(), [], set(), 0
    for seed in range(200):
        sample = dataset.augment(square, np.random.default_rng(seed))
        down, right = sample[20, 16] - sample[12, 16], sample[16, 20] - sample[16, 12]
        swapped = abs(down[1]) > abs(down[0])
        along, across = (down[1], right[0]) if swapped else (down[0], right[1])
        num_swapped += swapped
        turns.add((bool(swapped), bool(along > 0), bool(across > 0)))
        steps.append(abs(float(along)) / 8)
        places.add((round(float(sample[16, 16, 0])), round(float(sample[16, 16, 1]))))
    assert len(turns) == 8
    assert 80 < num_swapped < 120
    assert min(steps) == pytest.approx(0.5, abs=0.05)  # enlarged by 2
    assert max(steps) == pytest.approx(2, abs=0.1)  # shrunk by 2
    assert len(places) > 100


def test_only_the_window_is_computed_and_it_is_the_crop(index: Index, camera: Camera) -> None:
    dataset, square = training(index, camera), np.random.default_rng(0).random((SIDE, SIDE, 3), np.float32)
    sample = dataset.augment(square, np.random.default_rng(1))
    side = max(32, round(SIDE * np.random.default_rng(1).uniform(0.5, 2)))
    whole = resize(square, side, side)
    crops = np.lib.stride_tricks.sliding_window_view(whole, (32, 32), (0, 1)).transpose(0, 1, 3, 4, 2)
    turned = [np.rot90(flipped, k) for k in range(4) for flipped in (sample, sample[::-1])]
    assert any((crops == turn).all((2, 3, 4)).any() for turn in turned)


# ---------------------------------------------------------------------------------- seed and counter alone


def test_epoch_covers_the_index_space_once(index: Index) -> None:
    curves = load_response_curves("builtin")
    few = Camera(torch.from_numpy(curves.curves[:5]), torch.from_numpy(curves.curves[:5]), exposure_list(3))
    dataset = training(index, few)
    assert len(dataset) == 6 * 5 * 3
    choices = [dataset.choice(counter) for counter in range(2 * len(dataset))]
    every = {(p, c, e) for p in range(6) for c in range(5) for e in range(3)}
    assert set(choices[:90]) == every
    assert set(choices[90:]) == every
    assert choices[:90] != choices[90:]


def test_index_space_of_the_paper_is_counted_not_laid_out(index: Index, camera: Camera) -> None:
    many = Camera(camera.curves, camera.inverses, exposure_list(600))
    dataset = training(index, many)
    dataset.images = dataset.images * 168
    assert len(dataset) == 2 * 504 * len(camera.curves) * 600 > 100_000_000
    assert len({dataset.choice(counter) for counter in range(500)}) == 500


def test_sample_does_not_depend_on_what_was_drawn_before(index: Index, camera: Camera) -> None:
    forward = training(index, camera)
    samples = {counter: forward[counter] for counter in (0, 7, 10_000_000, 3)}
    torch.manual_seed(99)
    backward = training(index, camera)
    for counter in reversed(samples):
        assert equal(backward[counter], samples[counter])


def test_other_counters_and_seeds_give_other_samples(index: Index, camera: Camera) -> None:
    dataset = training(index, camera)
    assert not torch.equal(dataset[0]["hdr"], dataset[1]["hdr"])
    assert not torch.equal(dataset[0]["hdr"], training(index, camera, seed=6)[0]["hdr"])
    again = next(k for k in range(len(dataset), 2 * len(dataset)) if dataset.choice(k) == dataset.choice(0))
    assert not torch.equal(dataset[0]["hdr"], dataset[again]["hdr"])  # cut and noised anew


def test_augmentation_follows_seed_and_counter(
    index: Index, camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[float] = []

    def noted(self: SynthTraining, square: Floats, draws: np.random.Generator) -> Floats:
        drawn.append(draws.random())
        return square

    monkeypatch.setattr(SynthTraining, "augment", noted)
    for seed in (5, 6):
        for counter in (0, 1):
            training(index, camera, seed=seed)[counter]
    assert len(set(drawn)) == 4


def test_threads_change_nothing(index: Index, camera: Camera) -> None:
    dataset, before = training(index, camera), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = [dataset[counter] for counter in range(4)]
        torch.set_num_threads(2)
        assert all(equal(dataset[counter], sample) for counter, sample in enumerate(one))
    finally:
        torch.set_num_threads(before)


def test_workers_change_nothing(index: Index, camera: Camera) -> None:
    dataset, batches = training(index, camera), [[0, 1], [2, 3], [11, 5], [8, 4]]
    alone = list(DataLoader(dataset, batch_sampler=batches, num_workers=0))
    helped = list(DataLoader(dataset, batch_sampler=batches, num_workers=2))
    assert len(alone) == len(helped) == 4
    assert all(equal(one, other) for one, other in zip(alone, helped, strict=True))


# -------------------------------------------------------------------------------------------- validation


@pytest.fixture(scope="module")
def held_out() -> Camera:
    return Camera.of(load_response_curves("builtin"), "test", 5)


def test_validation_is_fixed(index: Index, held_out: Camera) -> None:
    one, other = (SynthValidation(index, held_out, "val", num=4) for _ in range(2))
    first = [one[number] for number in range(len(one))]
    torch.manual_seed(1)
    assert all(equal(other[number], first[number]) for number in reversed(range(len(other))))


def test_validation_spreads_over_the_images(index: Index, held_out: Camera) -> None:
    def chosen(num: int | None) -> list[str]:
        photographs = SynthValidation(index, held_out, "val", num=num)
        return [photographs.image(i).file.removesuffix(".exr") for i in range(len(photographs))]

    everything = [f"val{i}" for i in range(6)]
    assert chosen(3) == ["val0", "val2", "val4"]
    assert chosen(6) == everything
    assert chosen(8) == [*everything, "val0", "val3"]
    assert chosen(None) == chosen(100) == everything * 2


def test_validation_curves_are_not_the_training_ones(camera: Camera, held_out: Camera) -> None:
    assert len(held_out.curves) == 10
    distance = (held_out.curves[:, None] - camera.curves[None]).abs().amax(2)
    assert distance.min() > 0


def test_validation_pairs_every_curve_with_every_exposure(
    index: Index, held_out: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hdrlab.datasets import hdr_synth

    pairs: list[tuple[int, float]] = []
    monkeypatch.setattr(
        hdr_synth, "photograph", lambda *arguments: pairs.append((arguments[2], arguments[3]))
    )
    photographs = SynthValidation(index, held_out, "val")
    photographs.patches = photographs.patches * 5
    for number in range(50):
        photographs[number]
    assert len(set(pairs)) == 50


def test_validation_looks_at_whole_patches_or_their_centre(index: Index, held_out: Camera) -> None:
    whole = SynthValidation(index, held_out, "val", noise="none")[0]["hdr"]
    centre = SynthValidation(index, held_out, "val", noise="none", crop=32)[0]["hdr"]
    assert whole.shape == (3, SIDE, SIDE)
    assert torch.equal(centre, whole[:, 16:48, 16:48])
    assert float(whole.mean()) / float(held_out.exposures[0]) == pytest.approx(0.5, rel=1e-4)
