"""HDR-Synth: photographs made from HDR images by the camera model, sample by sample.

A sample is one of patches × response curves × exposures. Which one a step draws, and everything random about
it, follows from the seed and a global counter alone; so order, workers, ranks and resumes change nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from hdrlab.camera import CameraNoise, ResponseCurves, synthesize
from hdrlab.camera.curves import CurveSplit
from hdrlab.camera.sampling import (
    NoiseMode,
    camera_generator,
    exposure_list,
    positional_qualities,
    sample_noise,
)
from hdrlab.datasets.index import Index, IndexedImage
from hdrlab.datasets.sampler import sample_index
from hdrlab.ops.resize import resize
from hdrlab.ops.response import invert_response

_AUGMENT_STREAM = 0  # of the counter-based generators; the camera has its own
QUALITIES = (90, 100)
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Camera:
    """The choices of which a sample's camera is made.

    Attributes:
        curves: Response curves [N, 1024].
        inverses: Their inverses [N, 1024].
        exposures: Factors on the normalised scene [E].
    """

    curves: Tensor
    inverses: Tensor
    exposures: Floats

    @classmethod
    def of(cls, curves: ResponseCurves, split: CurveSplit, num_exposures: int) -> Camera:
        """Take a split of a set of response curves, and exposures 2^-3 to 2^3."""
        chosen = torch.from_numpy(curves.curves[curves.split(split)])
        return cls(chosen, invert_response(chosen), exposure_list(num_exposures))


def noise_mode(name: str) -> NoiseMode:
    """Return a kind of sensor noise by its name in the configuration.

    Raises:
        ValueError: There is no such kind.
    """
    for mode in get_args(NoiseMode):
        if mode == name:
            return cast("NoiseMode", mode)
    raise ValueError(f"no sensor noise {name!r}: choose one of {', '.join(get_args(NoiseMode))}")


def square_patch(image: Floats, side: int, second: bool) -> Floats:
    """Cut the first (left or top) or second (right or bottom) square of an image and set its mean to 0.5.

    Args:
        image: Linear samples [H, W, 3] whose short side is ``side``.
        side: Side of the square in pixels.
        second: Which of the two.

    Returns:
        Samples [side, side, 3], linear, at least 0.

    Source:
        SingleHDR, data preparation: two crops an image, H ← 0.5·H / (mean(H) + 1e-6).
    """
    height, width = image.shape[:2]
    top, left = (height - side, width - side) if second else (0, 0)
    patch = image[top : top + side, left : left + side]
    return patch * np.float32(0.5 / (float(patch.mean(dtype=np.float64)) + 1e-6))


def photograph(
    hdr: Floats, camera: Camera, curve: int, exposure: float, noise: CameraNoise | None, quality: int
) -> dict[str, Tensor]:
    """Take one photograph of a scene [H, W, 3]; the batch's keys without the batch dimension."""
    scene = torch.from_numpy(np.ascontiguousarray(hdr.transpose(2, 0, 1)))[None]
    response = camera.curves[curve]
    taken = synthesize(scene, torch.tensor([exposure]), response[None], noise, [quality])
    return {
        "jpeg": taken.jpeg[0],
        "ldr": taken.ldr[0],
        "lin": taken.clipped[0],
        "hdr": taken.hdr_t[0],
        "curve": response,
        "inv_curve": camera.inverses[curve],
        "mask": taken.loss_mask[0],
    }


class SynthTraining(Dataset[dict[str, Tensor]]):
    """Training samples by global counter, endless: full permutations of the index space one after the other.

    Args:
        index: The images.
        camera: Curves and exposures to choose from.
        patch: Side of the samples in pixels.
        batch_size: Global batch; only positional JPEG qualities depend on it.
        seed: The run's seed.
        noise: Kind of sensor noise.
        positional_quality: JPEG quality by the position in the batch, as the authors, instead of random.

    Source:
        SingleHDR, data preparation: scale 0.5 to 2, crop, rotations by 90°, flips.
    """

    def __init__(
        self,
        index: Index,
        camera: Camera,
        *,
        patch: int,
        batch_size: int,
        seed: int,
        noise: str = "independent",
        positional_quality: bool = False,
    ) -> None:
        self.index, self.camera, self.patch, self.seed = index, camera, patch, seed
        self.noise = noise_mode(noise)
        self.images = index.split("train")
        self.side = int(index.settings["short_side"])
        self.method = str(index.settings["resize_filter"])
        self.qualities = positional_qualities(batch_size) if positional_quality else None
        if self.side < patch:
            raise ValueError(f"patches of {patch} pixels do not fit images of short side {self.side}")

    def __len__(self) -> int:
        """Size of the index space: patches × curves × exposures."""
        return 2 * len(self.images) * len(self.camera.curves) * len(self.camera.exposures)

    @property
    def epoch(self) -> int:
        """Samples of an epoch: each patch once, by one of its cameras."""
        return 2 * len(self.images)

    def __getitem__(self, counter: int) -> dict[str, Tensor]:
        patch, curve, exposure = self.choice(counter)
        square = square_patch(self.index.load(self.images[patch // 2]), self.side, bool(patch % 2))
        hdr = self.augment(square, camera_generator(self.seed, counter, _AUGMENT_STREAM))
        draws = camera_generator(self.seed, counter)
        quality = int(draws.integers(*QUALITIES, endpoint=True))
        if self.qualities:
            quality = self.qualities[counter % len(self.qualities)]
        noise = sample_noise(draws, hdr.shape[:2], self.noise)
        return photograph(hdr, self.camera, curve, float(self.camera.exposures[exposure]), noise, quality)

    def choice(self, counter: int) -> tuple[int, int, int]:
        """Return which patch p, curve c and exposure e a sample is made of.

        They are the sample p + P·(c + C·e) of the index space. Patches 2i and 2i+1 are the first and the
        second square of image i.
        """
        rest, patch = divmod(sample_index(counter, len(self), self.seed), 2 * len(self.images))
        exposure, curve = divmod(rest, len(self.camera.curves))
        return patch, curve, exposure

    def describe(self, counter: int) -> str:
        """Say what a sample is made of."""
        patch, curve, exposure = self.choice(counter)
        image, second = self.images[patch // 2], ("first", "second")[patch % 2]
        return f"{image.file}, {second} square, curve {curve}, exposure {self.camera.exposures[exposure]:.3g}"

    def augment(self, square: Floats, draws: np.random.Generator) -> Floats:
        """Scale, crop, rotate and flip a square [S, S, 3] to a sample [patch, patch, 3]."""
        side = max(self.patch, round(self.side * draws.uniform(0.5, 2)))
        top, left = (int(draws.integers(0, max(1, side - self.patch))) for _ in range(2))
        window = slice(top, top + self.patch), slice(left, left + self.patch)
        sample: Floats = resize(square, side, side, method=self.method, window=window)
        sample = np.rot90(sample, int(draws.integers(4)))
        upside, mirrored = draws.random(2) < 0.5
        return sample[:: -1 if upside else 1, :: -1 if mirrored else 1]


class SynthValidation(Dataset[dict[str, Tensor]]):
    """A fixed set of photographs from a split, the same in every run of the same data.

    Images are spread evenly over the split, a second square taken only where there are too few; curves that
    training never sees and exposures take turns.

    Args:
        index: The images.
        camera: Curves and exposures.
        split: val or test.
        num: Photographs, at most two an image; None makes all of these.
        crop: Side of a central crop in pixels, or None for whole patches.
        noise: Kind of sensor noise.
    """

    def __init__(
        self,
        index: Index,
        camera: Camera,
        split: str,
        *,
        num: int | None = None,
        crop: int | None = None,
        noise: str = "independent",
    ) -> None:
        self.index, self.camera, self.crop, self.noise = index, camera, crop, noise_mode(noise)
        images = index.split(split)
        num = min(num or 2 * len(images), 2 * len(images))
        firsts = _spread(images, min(num, len(images)))
        seconds = _spread(images, num - len(firsts))
        self.patches = [(image, False) for image in firsts] + [(image, True) for image in seconds]
        self.side = int(index.settings["short_side"])

    def __len__(self) -> int:
        return len(self.patches)

    def image(self, number: int) -> IndexedImage:
        """Return the image a photograph is made from."""
        return self.patches[number][0]

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        image, second = self.patches[number]
        square = square_patch(self.index.load(image), self.side, second)
        if self.crop:
            start = (self.side - self.crop) // 2
            square = square[start : start + self.crop, start : start + self.crop]
        draws = camera_generator(0, number)
        quality = int(draws.integers(*QUALITIES, endpoint=True))
        turn, curve = divmod(number, len(self.camera.curves))
        # One further each turn, or ten curves and five exposures would always meet in the same pairs.
        exposure = float(self.camera.exposures[(curve + turn) % len(self.camera.exposures)])
        noise = sample_noise(draws, square.shape[:2], self.noise)
        return photograph(square, self.camera, curve, exposure, noise, quality)


def _spread(images: list[IndexedImage], num: int) -> list[IndexedImage]:
    return [images[i * len(images) // num] for i in range(num)]
