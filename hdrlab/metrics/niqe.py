"""NIQE: how far the local statistics of an image lie from those of pristine ones; needs no reference.

The published model of pristine images is its authors' and is loaded from the user's file; a model fitted to
other images gives scores that compare among themselves only. All values are computed in float64.
"""

from __future__ import annotations

import lzma
import os
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from hdrlab.errors import ImageSizeError, WeightsError
from hdrlab.metrics.inputs import Array, as_images
from hdrlab.metrics.mat_file import read_matrices
from hdrlab.ops.windows import gaussian_window, window_mean

NIQE_BLOCK = 96
"""Side of a block in pixels; half of it at the second scale."""

_FEATURES = 36
_WINDOW = gaussian_window(7, 7 / 6)
_SHIFTS = ((0, 1), (1, 0), (1, 1), (-1, 1))
_SHARPNESS = 0.75
_CUBIC_HALF = (-3 / 256, -9 / 256, 29 / 256, 111 / 256, 111 / 256, 29 / 256, -9 / 256, -3 / 256)
"""The cubic of a = -½ stretched by 2, at the 8 samples about an output."""

_MODEL_NAMES = (("mu_prisparam", "cov_prisparam"), ("mu_pris_param", "cov_pris_param"))
"""What files call mean and covariance: the authors' .mat, and the .npz of BasicSR."""

_BROKEN_FILE = (
    OSError, ValueError, TypeError, LookupError, ArithmeticError, EOFError, RuntimeError, MemoryError,
    SyntaxError, tokenize.TokenError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error,
)  # fmt: skip
"""What reading damaged files raises."""

_LARGEST = 1 << 16
"""Bytes that an array of a model may have, with its header; larger ones are passed over unread."""


class NiqeModel(NamedTuple):
    """Distribution of the features of pristine images.

    Attributes:
        mean: Mean [36], float64.
        covariance: Covariance [36, 36], float64.
    """

    mean: Tensor
    covariance: Tensor


class Aggd(NamedTuple):
    """An asymmetric generalised Gaussian, exp(−(|x| / scale)^shape) with a scale for each side of 0.

    Attributes:
        shape: 2 for a Gaussian, 1 for a Laplacian; in [0.2, 10].
        left: Scale of the negative values, > 0; NaN where there is none.
        right: Scale of the positive values, > 0; NaN where there is none.
    """

    shape: Tensor
    left: Tensor
    right: Tensor


def niqe(sdr: Array, model: NiqeModel) -> Tensor:
    """Score images by the distance of their statistics from those of pristine ones; lower is better.

    Images are cropped to whole blocks of 96×96 from the top left; flat blocks are left out.

    Args:
        sdr: Display-encoded images [B, 3, H, W] in [0, 1], of at least two blocks; not rounded to 8 bits.
        model: From `load_niqe_model` or `fit_niqe`.

    Returns:
        Distance [B] ≥ 0, float64; NaN where an image is not finite, or all blocks but one are flat.

    Raises:
        ImageSizeError: An image has fewer than two blocks.
        ValueError: The shape is not that of images, or values are integers.

    Source: Mittal, Soundararajan and Bovik, "Making a 'Completely Blind' Image Quality Analyzer", 2013.
    """
    (sdr,) = as_images(sdr)
    features, _ = _block_features(sdr)
    finite = sdr.isfinite().all(dim=-1).all(dim=-1).all(dim=-1)
    scores = torch.stack([_distance(_complete(rows), model) for rows in features])
    return torch.where(finite, scores, torch.nan)


def fit_niqe(images: Iterable[Array]) -> NiqeModel:
    """Fit the model to pristine images, by the blocks of each that are sharper than ¾ of its sharpest.

    Args:
        images: Display-encoded images [B, 3, H, W] or [3, H, W] in [0, 1], of any sizes of at least two
            blocks.

    Returns:
        The model.

    Raises:
        WeightsError: Fewer than 37 blocks are left, too few for a covariance of 36 features.
        ImageSizeError: An image has fewer than two blocks.
        ValueError: A shape is not that of images, or values are integers.

    Source: As in `niqe`.
    """
    kept = []
    for image in images:
        features, sharpness = _block_features(*as_images(image))
        sharp = sharpness > _SHARPNESS * sharpness.amax(dim=1, keepdim=True)
        kept.append(_complete(features[sharp]).cpu())
    rows = torch.cat(kept) if kept else torch.empty(0, _FEATURES)
    if len(rows) <= _FEATURES:
        raise WeightsError(
            f"{len(rows)} sharp blocks in {len(kept)} images; a NIQE model needs at least "
            f"{_FEATURES + 1}: give more or larger images"
        )
    return NiqeModel(rows.mean(dim=0), rows.T.cov())


def load_niqe_model(path: str | Path) -> NiqeModel:
    """Read a model from a file.

    Args:
        path: The authors' `modelparameters.mat` (MATLAB 5 to 7.2), or an .npz with the same names
            (mu_prisparam and cov_prisparam) or those of BasicSR (mu_pris_param and cov_pris_param).

    Returns:
        The model.

    Raises:
        WeightsError: The file cannot be read, or holds no such arrays of 36 and of 36×36 finite numbers.
    """
    arrays = _read_arrays(Path(path))
    for mean, covariance in _MODEL_NAMES:
        if mean in arrays and covariance in arrays:
            return NiqeModel(
                _as_parameter(arrays[mean].ravel(), (_FEATURES,), f"{mean} of {path}"),
                _as_parameter(arrays[covariance], (_FEATURES, _FEATURES), f"{covariance} of {path}"),
            )
    raise WeightsError(
        f"{path} is no NIQE model: it holds {', '.join(sorted(arrays)) or 'no arrays'}, not "
        f"{' or '.join(' and '.join(names) for names in _MODEL_NAMES)}"
    )


def save_niqe_model(model: NiqeModel, path: str | Path) -> None:
    """Write a model to an .npz file for `load_niqe_model`.

    Args:
        model: From `fit_niqe`.
        path: The file, which is replaced once the new one is whole.
    """
    mean, covariance = (values.cpu().numpy() for values in model)
    temporary = Path(path).with_name(f".{Path(path).name}.{os.getpid()}.tmp")
    try:
        with temporary.open("xb") as file:
            np.savez(file, mu_prisparam=mean, cov_prisparam=covariance)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def fit_aggd(samples: Tensor) -> Aggd:
    """Fit asymmetric generalised Gaussians by their moments.

    Args:
        samples: Values [..., N] about 0.

    Returns:
        Shape, left and right scale [...]; the shape is the best of a table in steps of 0.001.

    Source: Lasmar, Stitou and Berthoumieu, "Multiscale skewed heavy tailed model for texture analysis", 2009.
    """
    left, right = _rms(samples.clamp(max=0)), _rms(samples.clamp(min=0))
    skew = left / right
    ratio = samples.abs().mean(dim=-1).square() / samples.square().mean(dim=-1)
    ratio = ratio * (skew**3 + 1) * (skew + 1) / (skew.square() + 1).square()
    shape = _look_up_shape(ratio)
    scale = torch.exp((torch.lgamma(1 / shape) - torch.lgamma(3 / shape)) / 2)
    return Aggd(shape, left * scale, right * scale)


def _rms(one_sided: Tensor) -> Tensor:
    """Return the root mean square [...] of the samples that are not 0."""
    return (one_sided.square().sum(dim=-1) / one_sided.count_nonzero(dim=-1)).sqrt()


def _look_up_shape(ratio: Tensor) -> Tensor:
    """Return the shape whose (mean absolute value)² / mean square, which rises with it, is nearest."""
    shapes = torch.linspace(0.2, 10, 9801, dtype=ratio.dtype, device=ratio.device)
    log_ratios = 2 * torch.lgamma(2 / shapes) - torch.lgamma(1 / shapes) - torch.lgamma(3 / shapes)
    ratios = log_ratios.exp()
    above = torch.searchsorted(ratios, ratio.contiguous()).clamp(1, len(ratios) - 1)
    nearer_below = ratio - ratios[above - 1] < ratios[above] - ratio
    return shapes[torch.where(nearer_below, above - 1, above)]


def _block_features(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return features [B, N, 36] and sharpness [B, N] of the blocks; NaN among a flat block's features."""
    rows, columns = (size // NIQE_BLOCK for size in images.shape[-2:])
    if rows * columns < 2:
        raise ImageSizeError(
            f"NIQE needs images of at least two blocks of {NIQE_BLOCK}×{NIQE_BLOCK} pixels, such as "
            f"{NIQE_BLOCK}×{2 * NIQE_BLOCK}, not {images.shape[-2]}×{images.shape[-1]}: leave them out "
            f"or judge larger ones"
        )
    grey = _grey_codes(images[..., : rows * NIQE_BLOCK, : columns * NIQE_BLOCK])
    fine, deviation = _normalise(grey)
    coarse, _ = _normalise(_halve(grey))
    features = [_statistics(_blocks(fine, NIQE_BLOCK)), _statistics(_blocks(coarse, NIQE_BLOCK // 2))]
    return torch.cat(features, dim=-1), _blocks(deviation, NIQE_BLOCK).mean(dim=(-2, -1))


def _grey_codes(images: Tensor) -> Tensor:
    """Return Rec. 601 luma [B, 1, H, W] in 0 … 255."""
    weights = torch.tensor((0.299, 0.587, 0.114), dtype=torch.float64, device=images.device)
    return 255 * (images.double() * weights.view(3, 1, 1)).sum(dim=1, keepdim=True)


def _normalise(grey: Tensor) -> tuple[Tensor, Tensor]:
    """Subtract the local mean and divide by the local deviation + 1; return the deviation too."""
    padded = F.pad(grey, [len(_WINDOW) // 2] * 4, mode="replicate")
    mean = window_mean(padded, _WINDOW)
    deviation = (window_mean(padded.square(), _WINDOW) - mean.square()).abs().sqrt()
    return (grey - mean) / (deviation + 1), deviation


def _halve(x: Tensor) -> Tensor:
    """Halve [B, 1, H, W] of even sides as MATLAB's imresize does: anti-aliased cubic, border mirrored."""
    beyond = len(_CUBIC_HALF) // 2 - 1
    for dim in (-1, -2):
        start, end = x.narrow(dim, 0, beyond), x.narrow(dim, x.shape[dim] - beyond, beyond)
        x = torch.cat([start.flip(dim), x, end.flip(dim)], dim)
    return window_mean(x, _CUBIC_HALF)[..., ::2, ::2]


def _blocks(x: Tensor, side: int) -> Tensor:
    """Cut [B, 1, H, W] into N blocks [B, N, side, side]."""
    return x.unfold(-2, side, side).unfold(-2, side, side).reshape(len(x), -1, side, side)


def _statistics(blocks: Tensor) -> Tensor:
    """Return the features [B, N, 18] of one scale: of the values, and of products of neighbours."""
    products = [blocks * blocks.roll(shift, (-2, -1)) for shift in _SHIFTS]
    shape, left, right = fit_aggd(torch.stack([blocks, *products], dim=2).flatten(start_dim=-2))
    mean = (right - left) * torch.exp(torch.lgamma(2 / shape) - torch.lgamma(1 / shape))
    of_values = torch.stack([shape, (left + right) / 2], dim=-1)[:, :, 0]
    of_products = torch.stack([shape, mean, left, right], dim=-1)[:, :, 1:].flatten(start_dim=-2)
    return torch.cat([of_values, of_products], dim=-1)


def _complete(rows: Tensor) -> Tensor:
    return rows[rows.isfinite().all(dim=-1)]


def _distance(rows: Tensor, model: NiqeModel) -> Tensor:
    """Return the distance of features [N, 36] from the model, a scalar."""
    if len(rows) < 2:
        return rows.new_tensor(torch.nan)
    difference = rows.mean(dim=0) - model.mean.to(rows)
    inverse = torch.linalg.pinv((rows.T.cov() + model.covariance.to(rows)) / 2)
    distance: Tensor = (difference @ inverse @ difference).sqrt()
    return distance


def _read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                small = [one for one in archive.infolist() if one.file_size <= _LARGEST]
                return {one.filename.removesuffix(".npy"): _read_npy(archive, one) for one in small}
        return read_matrices(path, _LARGEST)
    except _BROKEN_FILE as error:
        raise WeightsError(f"{path} cannot be read as a .mat or .npz file: {error!s:.500}") from error


def _read_npy(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    with archive.open(member) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _as_parameter(values: NDArray[Any], shape: tuple[int, ...], name: str) -> Tensor:
    if values.shape != shape or values.dtype.kind != "f" or not np.isfinite(values).all():
        raise WeightsError(
            f"{name} has the shape {values.shape} and type {values.dtype}; a NIQE model needs {shape} finite "
            f"numbers"
        )
    return torch.from_numpy(values.astype(np.float64))
