"""The basis in which the linearization net describes inverse response curves."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hdrlab.errors import DataError
from hdrlab.ops.response_curves import family_test_indices, read_emor, response_family

__all__ = ["NUM_COMPONENTS", "DataError", "InverseBasis", "load_inverse_basis"]

NUM_COMPONENTS = 11


@dataclass(frozen=True)
class InverseBasis:
    """Mean inverse response curve and its main deviations.

    Attributes:
        mean: mean inverse curve [1024], float32, rising from 0 to 1.
        components: orthonormal deviations [1024, 11], float32, zero at both ends.
        name: where it comes from: "builtin", or the name of the file.
    """

    mean: Tensor
    components: Tensor
    name: str


def load_inverse_basis(source: str | Path) -> InverseBasis:
    """Loads the EMoR inverse basis, or makes the built-in one.

    Args:
        source: "builtin" for the principal components of the built-in response family, or the path of an
            `invemor.txt` (needed for the authors' weights).

    Returns:
        The basis; its tensors are fresh copies.

    Raises:
        DataError: the file is missing or no such basis (a ValueError).

    Source: Grossberg and Nayar, "What is the space of camera response functions?", CVPR 2003.
    """
    if str(source) == "builtin":
        mean, components = _builtin_basis()
        return InverseBasis(mean.clone(), components.clone(), "builtin")
    path = Path(source)
    values = read_emor(path, NUM_COMPONENTS)
    mean, components = (torch.from_numpy(array).float() for array in values)
    return InverseBasis(mean, components, path.name)


@lru_cache(maxsize=1)
def _builtin_basis() -> tuple[Tensor, Tensor]:
    """Principal components of the inverses of the family's training curves."""
    curves, _ = response_family()
    train = np.delete(curves.astype(np.float64), family_test_indices(len(curves)), axis=0)
    grid = np.linspace(0.0, 1.0, curves.shape[1])
    inverse = np.stack([np.interp(grid, curve, grid) for curve in train])
    mean = inverse.mean(axis=0)
    components = np.linalg.svd(inverse - mean, full_matrices=False)[2][:NUM_COMPONENTS].T
    # The decomposition leaves signs open; the largest deviation is made positive.
    peaks = np.abs(components).argmax(axis=0)
    components = components * np.sign(components[peaks, np.arange(NUM_COMPONENTS)])
    components[[0, -1]] = 0
    return torch.from_numpy(mean).float(), torch.from_numpy(np.ascontiguousarray(components)).float()
