"""Sources of camera response curves: the built-in family, or the measured curves of DoRF.

NumPy only, so that curves can be listed and checked without torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from hdrlab.errors import DataError
from hdrlab.ops.response_curves import (
    NUM_TEST,
    family_test_indices,
    read_dorf,
    read_emor,
    response_family,
)

__all__ = ["CurveSplit", "DataError", "ResponseCurves", "load_response_curves"]

CurveSplit = Literal["train", "test", "all"]

_SPLIT_SEED = 730
_DRAWS, _TEST_DRAWS, _COMPONENTS = 1200, 60, 11


@dataclass(frozen=True, eq=False)
class ResponseCurves:
    """A checked set of response curves.

    Attributes:
        curves: responses [N, 1024] to a uniform grid of sensor values, float32, non-decreasing within [0, 1].
        names: their N names.
        source: where they come from: "builtin", or the name of the file.
        train: positions of the training curves, in the order of the source's split.
        test: positions of the held-out curves, likewise.
    """

    curves: NDArray[np.float32]
    names: tuple[str, ...]
    source: str
    train: NDArray[np.int64]
    test: NDArray[np.int64]

    def split(self, name: CurveSplit) -> NDArray[np.int64]:
        """Positions [M] of the curves of a split: "train", "test", or "all" in the order of the source.

        Raises:
            ValueError: There is no such split.
            ValueError: There is no such split.
        """
        if name not in get_args(CurveSplit):
            raise ValueError(f"unknown split of response curves {name!r}: use one of {get_args(CurveSplit)}")
        return np.arange(len(self.curves)) if name == "all" else getattr(self, name)


def load_response_curves(source: str | Path) -> ResponseCurves:
    """Loads response curves and their split.

    Args:
        source: "builtin" for the family of formulas, or the path of a `dorfCurves.txt` or of EMoR's
            `emor.txt`.

    Returns:
        Curves, names and split. DoRF is split as the authors do: the ten last of a seeded shuffle are for
        testing. The built-in family holds out ten curves spread over its kinds. EMoR stands for
        the family and 1,200 draws from its space, of which the last 60 are for testing.

    Raises:
        DataError: the file is missing, or a curve in it is short, not finite, falling or outside [0, 1].

    Source: SingleHDR (Liu et al., CVPR 2020), training data; Grossberg and Nayar, CVPR 2003.
    """
    if str(source) == "builtin":
        curves, names = response_family()
        test = family_test_indices(len(curves))
        return ResponseCurves(
            curves.copy(), names, "builtin", np.setdiff1d(np.arange(len(curves)), test), test
        )
    path = Path(source)
    if _is_emor(path):
        return _drawn(path)
    curves, names = read_dorf(path)
    order = np.arange(len(curves))
    np.random.RandomState(_SPLIT_SEED).shuffle(order)
    num_train = len(order) - min(NUM_TEST, len(order) // 2)
    return ResponseCurves(curves, names, path.name, order[:num_train], order[num_train:])


def _is_emor(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(8).replace(b" ", b"").startswith(b"E=")
    except OSError:
        return False  # the reader of DoRF says what is wrong


def _drawn(path: Path) -> ResponseCurves:
    """Draws rising curves from EMoR's space, as far from its mean as those of the built-in family are.

    A draw's own width is 0.3 to 1.5 of the family's deviations, so that many cameras lie near the mean.
    """
    mean, components = read_emor(path, _COMPONENTS, inverse=False)
    family, names = response_family()
    deviations = ((family - mean) @ components).std(axis=0)
    draws = np.random.Generator(np.random.Philox(_SPLIT_SEED))
    curves: list[NDArray[np.float64]] = []
    while len(curves) < _DRAWS:
        curve = mean + components @ (
            draws.uniform(0.3, 1.5) * deviations * draws.standard_normal(_COMPONENTS)
        )
        if np.all(np.diff(curve) >= 0):
            curves.append(curve)
    rows = np.concatenate([family, np.stack(curves)]).clip(0, 1).astype(np.float32)
    every = np.arange(len(rows))
    train, test = every[:-_TEST_DRAWS], every[-_TEST_DRAWS:]
    return ResponseCurves(rows, (*names, *(f"emor({i})" for i in range(_DRAWS))), path.name, train, test)
