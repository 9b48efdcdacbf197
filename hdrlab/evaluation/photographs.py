"""The photographs that chains are compared on: whole images of 8 bits, and what is known of the camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray

from hdrlab.camera import ResponseCurves
from hdrlab.config.registry.stages import REAL_KEYS, SYNTH_KEYS
from hdrlab.config.schema.data import DataConfig, RealPairsConfig
from hdrlab.datasets.build import validation_set
from hdrlab.datasets.hdr_real import RealValidation, cut_pair, to_sample
from hdrlab.datasets.index import Index, Pair
from hdrlab.io.tensorflow.records import RECORD_SUFFIXES


@dataclass(frozen=True, eq=False)
class Photograph:
    """A photograph and the scene behind it.

    Attributes:
        name: Unlike that of any other; what other programs' results of it are called, without suffix.
        scene: What several photographs may share.
        ldr: Display-encoded values [H, W, 3] of 8 bits: the one input of all methods.
        reference: Scene-linear light [H, W, 3], at least 0.
        usable: Whether less than half of it is nearly black or white.
        clip_point: The value of the reference at which the camera clipped, where that is known.
        inverse_curve: The camera's inverse response curve [K], where that is known.
        mask: Pixels [H, W] that are scored apart, true or false, where the user gave some.
    """

    name: str
    scene: str
    ldr: NDArray[np.uint8]
    reference: NDArray[np.float32]
    usable: bool = True
    clip_point: float | None = None
    inverse_curve: NDArray[np.float32] | None = None
    mask: NDArray[np.bool_] | None = None


class Photographs:
    """The photographs of a split, each whole and made when it is asked for.

    Their names are those of their files; of photographs that the camera model makes, their number and the
    scene's name. ``hdrlab.synthesize`` writes these under the same names.

    Args:
        data: The data section; its crop for validations does not apply.
        index: Its index.
        curves: Its response curves, where it has some.
        split: train, val, test or all.
        num: How many, spread evenly; None takes all.
    """

    def __init__(
        self,
        data: DataConfig,
        index: Index,
        curves: ResponseCurves | None,
        split: str,
        num: int | None = None,
    ) -> None:
        keys = REAL_KEYS if isinstance(data, RealPairsConfig) else SYNTH_KEYS
        self.source = index
        self.taken = validation_set(replace(data, val_crop=None), index, curves, split, keys, num)
        self.stems = self._stems()

    def __len__(self) -> int:
        return len(self.taken)

    @property
    def knows_curves(self) -> bool:
        """Whether the true response curves are known."""
        return not isinstance(self.taken, RealValidation)

    def __getitem__(self, number: int, /) -> Photograph:
        if isinstance(self.taken, RealValidation):
            return self._real(number, *self.taken.photos[number])
        sample = self.taken[number]
        return Photograph(
            self.stems[number],
            self.taken.image(number).scene,
            np.rint(255 * _rows(sample["jpeg"].numpy())).astype(np.uint8),
            _rows(sample["hdr"].numpy()),
            bool(sample["mask"].any()),
            1.0,
            sample["inv_curve"].numpy(),
        )

    def _real(self, number: int, pair: Pair, within: int) -> Photograph:
        ldr, hdr = cut_pair(self.source, pair, within, slice(None), slice(None))
        usable = bool(to_sample(ldr, hdr)["mask"].any())
        clip_point = 1.0 if _is_of_stack(pair.file) else None
        return Photograph(
            self.stems[number], pair.scene, np.asarray(ldr), np.asarray(hdr), usable, clip_point
        )

    def _stems(self) -> list[str]:
        if not isinstance(self.taken, RealValidation):
            images = (self.taken.image(number) for number in range(len(self)))
            return [f"{number:03d}_{PurePath(image.file).stem}" for number, image in enumerate(images)]
        files = [
            f"{pair.file}_{within:03d}" if _is_record(pair.file) else str(PurePath(pair.file).with_suffix(""))
            for pair, within in self.taken.photos
        ]
        return without_folder(files, "LDR_in")


def without_folder(stems: Sequence[str], folder: str) -> list[str]:
    """Drop the name of a folder that parts of a data set lie in from paths, if all stay unlike each other."""
    short = []
    for stem in stems:
        parts = list(PurePath(stem).parts)
        if folder in parts[:-1]:
            parts.remove(folder)
        short.append("/".join(parts))
    return short if len(set(short)) == len(short) else list(stems)


def _is_of_stack(file: str) -> bool:
    """Say whether a pair comes from an exposure stack, of which 1 is the photograph's clipping point."""
    path = PurePath(file)
    return len(path.parts) > 1 and "LDR_in" not in path.parts[:-1] and not _is_record(file)


def _is_record(file: str) -> bool:
    return PurePath(file).suffix.lower() in RECORD_SUFFIXES


def _rows(image: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.ascontiguousarray(image.transpose(1, 2, 0))
