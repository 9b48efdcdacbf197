"""NIQE: features against an independent program, the fit of distributions, model files, orderings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import loadmat, savemat
from scipy.ndimage import correlate1d
from scipy.special import gamma
from torch import Tensor

from hdrlab.errors import ImageSizeError, WeightsError
from hdrlab.metrics import NiqeModel, fit_niqe, load_niqe_model, niqe, save_niqe_model
from hdrlab.metrics.mat_file import read_matrices
from hdrlab.metrics.niqe import fit_aggd

SHAPES = np.arange(0.2, 10.0005, 0.001)
RATIOS = gamma(2 / SHAPES) ** 2 / (gamma(1 / SHAPES) * gamma(3 / SHAPES))


def make_images(seed: int, num: int, height: int = 192, width: int = 192) -> Tensor:
    """Grey images in [0, 1] whose amplitude falls as 1 / frequency, as that of photographs does."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(num, 3, height, width, generator=generator, dtype=torch.float64)
    fy, fx = torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)
    falling = torch.fft.irfft2(
        torch.fft.rfft2(noise) / torch.hypot(fx, fy).clamp(min=1 / 64), s=(height, width)
    )
    return (0.5 + 0.18 * falling / falling.std(dim=(1, 2, 3), keepdim=True)).clamp(0, 1)


@pytest.fixture(scope="module")
def model() -> NiqeModel:
    return fit_niqe(make_images(0, 24))


def aggd_one_by_one(x: np.ndarray) -> tuple[float, float, float]:
    if x.min() >= 0 or x.max() <= 0:
        return np.nan, np.nan, np.nan
    left, right = np.sqrt(np.mean(x[x < 0] ** 2)), np.sqrt(np.mean(x[x > 0] ** 2))
    skew = left / right
    ratio = np.mean(np.abs(x)) ** 2 / np.mean(x**2) * (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    shape = SHAPES[np.argmin((RATIOS - ratio) ** 2)]
    scale = np.sqrt(gamma(1 / shape) / gamma(3 / shape))
    return shape, left * scale, right * scale


def cubic(t: float) -> float:
    t = abs(t)
    return 1.5 * t**3 - 2.5 * t**2 + 1 if t <= 1 else -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2


def features_one_by_one(grey: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Features [N, 36] and sharpness [N] of whole blocks of [H, W] in 0 … 255."""
    window = np.exp(-0.5 * (np.arange(-3, 4) / (7 / 6)) ** 2)
    scales, sharpness = [], []
    for side in (96, 48):

        def blur(x: np.ndarray) -> np.ndarray:
            for axis in (0, 1):
                x = correlate1d(x, window / window.sum(), axis=axis, mode="nearest")
            return x

        mean = blur(grey)
        deviation = np.sqrt(np.abs(blur(grey * grey) - mean**2))
        values = (grey - mean) / (deviation + 1)
        rows = []
        for i in range(0, grey.shape[0], side):
            for j in range(0, grey.shape[1], side):
                block = values[i : i + side, j : j + side]
                shape, left, right = aggd_one_by_one(block)
                row = [shape, (left + right) / 2]
                for shift in ((0, 1), (1, 0), (1, 1), (-1, 1)):
                    shape, left, right = aggd_one_by_one(block * np.roll(block, shift, (0, 1)))
                    row += [shape, (right - left) * gamma(2 / shape) / gamma(1 / shape), left, right]
                rows.append(row)
                if side == 96:
                    sharpness.append(deviation[i : i + side, j : j + side].mean())
        scales.append(rows)
        for axis in (0, 1):  # half the size: cubic stretched by 2, the border mirrored
            padded = np.pad(grey, [(4, 4) if a == axis else (0, 0) for a in (0, 1)], mode="symmetric")
            count = grey.shape[axis]
            grey = sum(
                cubic((offset - 0.5) / 2)
                / 2
                * padded.take(np.arange(4 + offset, 4 + offset + count, 2), axis)
                for offset in range(-3, 5)
            )
    return np.concatenate([np.array(rows) for rows in scales], axis=1), np.array(sharpness)


def grey_codes(image: Tensor) -> np.ndarray:
    red, green, blue = 255 * image.numpy()
    codes: np.ndarray = 0.299 * red + 0.587 * green + 0.114 * blue
    return codes


def test_scores_equal_those_of_an_independent_program() -> None:
    images = make_images(1, 2, 192 + 40, 288 + 95)
    rng = np.random.default_rng(2)
    mean, factor = rng.normal(size=36), rng.normal(size=(36, 50))
    model = NiqeModel(torch.from_numpy(mean), torch.from_numpy(factor @ factor.T))
    expected = []
    for image in images:
        rows, _ = features_one_by_one(grey_codes(image)[:192, :288])
        inverse = np.linalg.pinv((np.cov(rows.T) + factor @ factor.T) / 2)
        expected.append(np.sqrt((rows.mean(0) - mean) @ inverse @ (rows.mean(0) - mean)))
    assert niqe(images, model).tolist() == pytest.approx(expected, rel=1e-9)


def test_the_fit_takes_the_sharp_blocks_of_each_image() -> None:
    images = [p.clone() for p in make_images(3, 5, 288, 480)]
    images[1] = images[1][:, :192]
    for image in images:
        image[:, :96] = 0.5 + 0.3 * (image[:, :96] - 0.5)  # too soft to count
    kept = []
    for image in images:
        rows, sharpness = features_one_by_one(grey_codes(image[:, :, : image.shape[2] // 96 * 96]))
        kept.append(rows[sharpness > 0.75 * sharpness.max()])
    rows = np.concatenate(kept)
    assert len(rows) == 45
    fitted = fit_niqe(images)
    np.testing.assert_allclose(fitted.mean, rows.mean(0), rtol=1e-9)
    np.testing.assert_allclose(fitted.covariance, np.cov(rows.T), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(("shape", "left", "right"), [(2, 1, 1), (1, 0.5, 2), (0.6, 3, 1), (4, 0.01, 0.03)])
def test_the_fit_recovers_the_distribution_of_samples(shape: float, left: float, right: float) -> None:
    rng = np.random.default_rng(4)
    size = rng.gamma(1 / shape, size=400_000) ** (1 / shape)
    samples = np.where(rng.random(len(size)) < left / (left + right), -left * size, right * size)
    fitted = fit_aggd(torch.from_numpy(samples))
    assert [v.item() for v in fitted] == pytest.approx([shape, left, right], rel=0.03)
    assert [v.item() for v in fitted] == pytest.approx(aggd_one_by_one(samples), rel=1e-9)


def test_distributions_are_fitted_along_the_last_axis() -> None:
    samples = torch.randn(2, 3, 500, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    samples[1, 2] = samples[1, 2].abs()  # no left side
    fitted = fit_aggd(samples)
    assert fitted.shape.shape == (2, 3)
    assert fitted.left.isnan().flatten().tolist() == [False] * 5 + [True]
    assert fitted.right.isfinite().all()
    torch.testing.assert_close(fit_aggd(-samples[0]).left, fitted.right[0])
    one = fit_aggd(samples[0, 1])
    assert [v.item() for v in one] == [v[0, 1].item() for v in fitted]


def test_damage_raises_the_score(model: NiqeModel) -> None:
    pristine = make_images(5, 4)
    damaged = {
        "noise": pristine + 0.1 * torch.randn(pristine.shape, generator=torch.Generator().manual_seed(0)),
        "blur": torch.nn.functional.avg_pool2d(pristine, 5, 1, 2),
        "crushed": 0.1 * pristine,
        "two levels": pristine.round(),
    }
    best = niqe(pristine, model)
    for name, images in damaged.items():
        assert (niqe(images.clamp(0, 1), model) > 1.5 * best).all(), name


def test_images_are_scored_one_by_one(model: NiqeModel) -> None:
    images = make_images(6, 3, 192, 200)
    scores = niqe(images, model)
    assert scores.shape == (3,)
    assert (scores >= 0).all()
    torch.testing.assert_close(niqe(images.flip(0), model), scores.flip(0))
    torch.testing.assert_close(niqe(images[1].permute(1, 2, 0).numpy(), model)[0], scores[1])
    torch.testing.assert_close(niqe(images.float(), model), scores, rtol=1e-4, atol=0)
    torch.testing.assert_close(niqe(images[..., :192], model), scores)  # whole blocks only


def test_flat_blocks_do_not_count(model: NiqeModel) -> None:
    image = make_images(7, 1, 192, 288)
    image[..., 192 - 16 :] = 0.7
    rows, _ = features_one_by_one(grey_codes(image[0]))
    assert np.isnan(rows).any(1).tolist() == [False, False, True] * 2
    own = NiqeModel(torch.from_numpy(rows[[0, 1, 3, 4]].mean(0)), torch.eye(36, dtype=torch.float64))
    assert niqe(image, own).item() == pytest.approx(0, abs=1e-9)
    assert niqe(torch.full_like(image, 0.7), model).isnan().all()
    assert niqe(torch.zeros_like(image), model).isnan().all()


def test_what_is_not_finite_has_no_score(model: NiqeModel) -> None:
    images = make_images(8, 2)
    images[0, 0, 5, 5] = torch.nan
    assert niqe(images, model).isnan().tolist() == [True, False]


def test_models_come_back_from_files(model: NiqeModel, tmp_path: Path) -> None:
    mean, covariance = (values.numpy() for values in model)
    save_niqe_model(model, tmp_path / "own.npz")
    savemat(tmp_path / "modelparameters.mat", {"mu_prisparam": mean[None], "cov_prisparam": covariance})
    np.savez(
        tmp_path / "other.npz", mu_pris_param=mean[None], cov_pris_param=covariance, gaussian_window=np.eye(7)
    )
    for name in ("own.npz", "modelparameters.mat", "other.npz"):
        loaded = load_niqe_model(tmp_path / name)
        assert torch.equal(loaded.mean, model.mean)
        assert torch.equal(loaded.covariance, model.covariance)


def test_files_that_are_no_model_are_refused_by_name(tmp_path: Path) -> None:
    good = {"mu_prisparam": np.zeros((1, 36)), "cov_prisparam": np.eye(36)}
    savemat(tmp_path / "names.mat", {"mean": np.zeros(36)})
    savemat(tmp_path / "size.mat", {**good, "mu_prisparam": np.zeros((1, 18))})
    np.savez(tmp_path / "nan.npz", mu_prisparam=np.full(36, np.nan), cov_prisparam=np.eye(36))
    np.savez(tmp_path / "text.npz", mu_prisparam=np.array(["a"] * 36), cov_prisparam=np.eye(36))
    np.savez(tmp_path / "pickled.npz", mu_prisparam=np.array([{}] * 36), cov_prisparam=np.eye(36))
    (tmp_path / "notes.txt").write_text("no model\n" * 20)
    (tmp_path / "empty.mat").write_bytes(b"")
    savemat(tmp_path / "whole.mat", good, do_compression=True)
    (tmp_path / "cut.mat").write_bytes((tmp_path / "whole.mat").read_bytes()[:200])
    for name, said in {
        "names.mat": "it holds mean, not mu_prisparam and cov_prisparam",
        "size.mat": "mu_prisparam of .*size.mat has the shape",
        "nan.npz": "finite numbers",
        "text.npz": "finite numbers",
        "pickled.npz": "cannot be read",
        "notes.txt": "cannot be read",
        "empty.mat": "cannot be read",
        "cut.mat": "cannot be read",
        "missing.mat": "cannot be read",
    }.items():
        with pytest.raises(WeightsError, match=said):
            load_niqe_model(tmp_path / name)


def test_too_few_blocks_are_refused_by_name(model: NiqeModel) -> None:
    with pytest.raises(ImageSizeError, match=r"two blocks of 96×96 .* not 191×100"):
        niqe(torch.rand(1, 3, 191, 100), model)
    assert niqe(make_images(9, 1, 96, 192), model).isfinite().all()
    with pytest.raises(WeightsError, match="at least 37"):
        fit_niqe(make_images(9, 3))
    with pytest.raises(WeightsError, match="0 sharp blocks in 0 images"):
        fit_niqe([])
    with pytest.raises(ValueError, match="255"):
        niqe(torch.zeros(1, 3, 192, 192, dtype=torch.uint8), model)


@pytest.mark.parametrize("packed", [False, True])
def test_matrices_are_read_as_scipy_does_and_large_ones_are_passed_over(tmp_path: Path, packed: bool) -> None:
    draws = np.random.default_rng(0)
    held = {
        "a": draws.random((3, 4)),
        "b": np.float32([[1.5]]),
        "large": np.zeros((99, 99)),
        "c": 1j * np.eye(2),
    }
    savemat(tmp_path / "x.mat", {**held, "d": {"a": 1.0}, "e": "text"}, do_compression=packed)
    read = read_matrices(tmp_path / "x.mat", 8 * 36 * 36)
    assert read.keys() == {"a", "b"}
    for name, values in read.items():
        np.testing.assert_array_equal(values, loadmat(tmp_path / "x.mat")[name])
        assert values.dtype == held[name].dtype
