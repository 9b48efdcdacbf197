"""Tone mapping: windows of HDR images, encoded and split into layers, with those of their SDR images.

Which window a step draws follows from the seed and a global counter alone. What a sample holds is written in
`hdrlab.config.registry.stages`; only the keys that are asked for are made.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Sequence
from itertools import accumulate

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from hdrlab.camera.sampling import camera_generator
from hdrlab.config.registry.stages import TONE_KEYS
from hdrlab.config.schema.iqatm import ToneConfig
from hdrlab.datasets.index import Index, IndexedImage, ToneImage, ToneRecords
from hdrlab.datasets.sampler import sample_index
from hdrlab.datasets.splits import some
from hdrlab.errors import DataError
from hdrlab.ops.encoding import ENCODING_EXPONENT, encode_hdr, tone_limits
from hdrlab.ops.pyramids import decompose

WINDOWS = 16
"""Samples of an image: 15 random windows, and the whole of it."""
SHARES = (0.1, 0.6)
"""The least and the greatest share of an image's sides that a window takes."""
MULTIPLE = 8
"""What the sides of an image must be multiples of, so that it has a bottom layer."""
SDR_EXPONENT = 2.2

_AUGMENT_STREAM = 0  # of the counter-based generators
_LAYERS = {"encoded": ("high", "bottom"), "sdr": ("sdr_high", "sdr_bottom")}
_FLAGS = ("labelled", "mask")
Maps = dict[str, Tensor]


def window_at(
    height: int, width: int, draws: Sequence[float], shares: tuple[float, float] = SHARES
) -> tuple[slice, slice]:
    """Place a window in an image.

    Args:
        height: Height of the image in pixels.
        width: Width of the image.
        draws: Four numbers in [0, 1): for the window's height, its width, its top and its left.
        shares: The least and the greatest share of each side, 10 to 60 % as published.

    Returns:
        Rows and columns.

    Source:
        IQATM, the authors' record generator.
    """
    least, span = shares[0], shares[1] - shares[0]
    rows, columns = int(height * (least + span * draws[0])), int(width * (least + span * draws[1]))
    top, left = int(draws[2] * (height - rows)), int(draws[3] * (width - columns))
    return slice(top, top + rows), slice(left, left + columns)


def encode_window(
    hdr: Tensor,
    sdr: Tensor | None,
    limits: tuple[Tensor, Tensor],
    sdr_range: tuple[int, int],
    tone: ToneConfig,
) -> Maps:
    """Encode a window of an image by the limits of the whole.

    Args:
        hdr: Linear values [1, 3, H, W], at least 0.
        sdr: Values of 8 bits of the SDR image, same shape, as floats; None where there is none.
        limits: As `hdrlab.ops.encoding.tone_limits` gives them.
        sdr_range: Least and greatest value of the whole SDR image.
        tone: How images are seen.

    Returns:
        ``encoded``, ``hdr``, and ``sdr`` where there is one.
    """
    maps = {"encoded": encode_hdr(hdr, *limits, tone.domain), "hdr": hdr}
    if sdr is not None:
        low, high = sdr_range if tone.sdr_range == "minmax" else (0, 255)
        sdr = (sdr - low) / (high - low)
        maps["sdr"] = sdr**SDR_EXPONENT if tone.domain == "linear" else sdr
    return maps


def to_sample(maps: Maps, tone: ToneConfig, keys: Collection[str]) -> Maps:
    """Add layers, zeros where there is no label, and flags; keep what is asked for, without batch dimension.

    Args:
        maps: Images, or their layers, [1, 3, H, W] by batch key.
        tone: How images are split.
        keys: What is wanted.
    """
    for name, layers in _LAYERS.items():
        # Zeros in place of missing layers take their shape from the other image's.
        wanted = layers if name == "sdr" else (*layers, *_LAYERS["sdr"])
        if name in maps and not set(wanted).isdisjoint(keys):
            parts = decompose(
                maps[name],
                pyramid=tone.pyramid,
                sigma_color=tone.sigma_color,
                fuse_middle=tone.fuse_middle,
            )
            maps |= dict(zip(layers, parts, strict=True))
    labelled = not maps.keys().isdisjoint(("sdr", "sdr_high"))
    if not labelled:
        twins = {"sdr": "encoded", "sdr_high": "high", "sdr_bottom": "bottom"}
        maps |= {name: torch.zeros_like(maps[twin]) for name, twin in twins.items() if twin in maps}
    maps["labelled"], maps["mask"] = torch.full((1, 1, 1, 1), float(labelled)), torch.ones(1, 1, 1, 1)
    return {name: maps[name][0] for name in keys}


def usable(index: Index, split: str, keys: Collection[str]) -> list[ToneImage | ToneRecords]:
    """Return what of a split can give the keys: ft records only where there are no dual ones for layers.

    Raises:
        DataError: There is nothing, or only dual records where whole images are asked for.
    """
    found = [p for p in index.split(split) if isinstance(p, (ToneImage, ToneRecords))]
    dual = [p for p in found if _kind(p) == "dual"]
    inside = {*_LAYERS["encoded"], *_LAYERS["sdr"], *_FLAGS}
    passed_over = "ft" if dual and inside.issuperset(keys) else "dual"
    chosen = [p for p in found if _kind(p) != passed_over]
    if found and not chosen:
        lacking = ", ".join(sorted(set(keys) - inside))
        message = f"its dual_ records ({some([p.file for p in dual])}) hold layers only and not {lacking}"
        raise DataError(
            [f"{index.folder}: {message}; give ft_ records or images, or train tmo_bottom or tmo_high"]
        )
    if not chosen:
        raise DataError([f"{index.folder}: no image in the split {split}"])
    return chosen


def sample_ends(images: Iterable[IndexedImage]) -> list[int]:
    """Return after how many samples each image ends: 16 an image, or as many as a file has records."""
    return list(accumulate(p.num if isinstance(p, ToneRecords) else WINDOWS for p in images))


def _kind(image: IndexedImage) -> str:
    return image.kind if isinstance(image, ToneRecords) else "image"


def record_maps(index: Index, records: ToneRecords, number: int, tone: ToneConfig) -> Maps:
    """Read a patch of a record file: as the records were made, whatever `tone` says, but for the domain.

    Raises:
        DataError: The domain is one that no published record has.
    """
    if tone.domain in ("log", "adaptive"):
        message = "record files hold values encoded by a power, or linear ones; set stage.tone.domain=gamma"
        raise DataError([f"stage.tone.domain={tone.domain}: {message}"])
    maps = {name: _tensor(index.open_array(file)[number]) for name, file in records.arrays.items()}
    if "encoded" in maps:
        x = maps["encoded"]
        maps["hdr"] = x.clamp(min=0) ** (1 / ENCODING_EXPONENT) if tone.domain == "gamma" else x.clamp(min=0)
    return maps


def _tensor(values: NDArray[np.generic]) -> Tensor:
    """Turn [H, W, 3] into float32 [1, 3, H, W]."""
    return torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1), np.float32))[None]


def _cut(index: Index, image: ToneImage, window: tuple[slice, slice]) -> tuple[Tensor, Tensor | None]:
    sdr = _tensor(index.open_array(image.sdr)[window]) if image.sdr else None
    return _tensor(index.load(image)[window]), sdr


class ToneTraining(Dataset[dict[str, Tensor]]):
    """Training samples by global counter, endless: full permutations of all samples one after the other.

    An image counts as 16 samples, 15 random windows and the whole of it, each resized to a square patch; a
    record is a sample as it is.

    Args:
        index: The images.
        tone: How images are seen.
        patch: Side of the samples in pixels, a multiple of 8.
        seed: The run's seed.
        keys: The batch keys to make.
        official: Whether images smaller than a patch give no windows but themselves 16 times.
        shares: The least and the greatest share of each side that a window takes.

    Raises:
        DataError: As `usable`, or the records are patches of another size.

    Source:
        IQATM, the authors' record generator; it draws the windows once, here each counter draws its own.
    """

    def __init__(
        self,
        index: Index,
        tone: ToneConfig,
        *,
        patch: int,
        seed: int,
        keys: Collection[str] = TONE_KEYS,
        official: bool = False,
        shares: tuple[float, float] = SHARES,
    ) -> None:
        self.index, self.tone, self.patch, self.seed = index, tone, patch, seed
        self.keys, self.official, self.shares = tuple(keys), official, shares
        self._adaptive: dict[str, tuple[float, float]] = {}
        self.images = usable(index, "train", keys)
        self.ends = sample_ends(self.images)
        other = [p for p in self.images if isinstance(p, ToneRecords) and p.width != patch]
        if other:
            message = f"{some([p.file for p in other])} holds patches of {other[0].width} pixels"
            raise DataError([f"stage.patch={patch}: {message}; set stage.patch={other[0].width}"])

    def __len__(self) -> int:
        return self.ends[-1]

    @property
    def epoch(self) -> int:
        """Samples of an epoch: each window once."""
        return len(self)

    def __getitem__(self, counter: int) -> dict[str, Tensor]:
        image, number = self.choice(counter)
        if isinstance(image, ToneRecords):
            maps = record_maps(self.index, image, number, self.tone)
        else:
            maps = self._resized(image, self.window(image, number, counter))
        return to_sample(maps, self.tone, self.keys)

    def choice(self, counter: int) -> tuple[ToneImage | ToneRecords, int]:
        """Return which image a counter draws, and which of its samples."""
        sample = sample_index(counter, len(self), self.seed)
        place = bisect_right(self.ends, sample)
        return self.images[place], sample - (self.ends[place - 1] if place else 0)

    def describe(self, counter: int) -> str:
        """Say what a sample is made of."""
        image, number = self.choice(counter)
        return f"{image.file}, window {number}"

    def window(self, image: ToneImage, number: int, counter: int) -> tuple[slice, slice]:
        """Return the window that a counter draws in an image; the last of the samples is the whole."""
        whole = number == WINDOWS - 1 or (self.official and min(image.height, image.width) < self.patch)
        if whole:
            return slice(None), slice(None)
        draws = camera_generator(self.seed, counter, _AUGMENT_STREAM).random(4).tolist()
        return window_at(image.height, image.width, draws, self.shares)

    def _limits(self, image: ToneImage) -> tuple[float, float]:
        """Return the limits of the whole image; those of the adaptive encoding are found once."""
        if self.tone.domain != "adaptive":
            return image.log_limits if self.tone.domain == "log" else image.limits
        if image.file not in self._adaptive:
            low, high = tone_limits(_tensor(self.index.load(image)), "adaptive", level=self.tone.level)
            self._adaptive[image.file] = (low.item(), high.item())
        return self._adaptive[image.file]

    def _resized(self, image: ToneImage, window: tuple[slice, slice]) -> Maps:
        low, high = (torch.full((1, 1, 1, 1), limit) for limit in self._limits(image))
        maps = encode_window(*_cut(self.index, image, window), (low, high), image.sdr_range, self.tone)
        size = (self.patch, self.patch)
        return {
            name: F.interpolate(values, size=size, mode="bilinear", align_corners=False)
            for name, values in maps.items()
        }


class ToneValidation(Dataset[dict[str, Tensor]]):
    """Images of a split, spread evenly over it, each as the nets see it when they are used.

    What is cut is treated as an image of its own: its limits are its own too. Records are patches as they
    are.

    Args:
        index: The images.
        tone: How images are seen.
        split: train, val or test.
        num: Images; None takes all.
        crop: Side of a central crop in pixels; None takes whole images, cut at the right and the bottom to
            multiples of 8.
        keys: The batch keys to make.

    Raises:
        DataError: As `usable`, or images are smaller than the crop.

    Source:
        IQATM, the authors' test program, for whole images.
    """

    def __init__(
        self,
        index: Index,
        tone: ToneConfig,
        split: str,
        *,
        num: int | None = None,
        crop: int | None = None,
        keys: Collection[str] = TONE_KEYS,
    ) -> None:
        self.index, self.tone, self.crop, self.keys = index, tone, crop, tuple(keys)
        places = [
            (image, number)
            for image in usable(index, split, keys)
            for number in range(image.num if isinstance(image, ToneRecords) else 1)
        ]
        num = min(num or len(places), len(places))
        self.places = [places[i * len(places) // num] for i in range(num)]
        small = [
            image.file
            for image, _ in self.places
            if isinstance(image, ToneImage) and min(image.width, image.height) < (crop or 0)
        ]
        if small:
            raise DataError([f"data.val_crop={crop}: larger than {some(small)} of the split {split}"])

    def __len__(self) -> int:
        return len(self.places)

    def image(self, number: int) -> IndexedImage:
        """Return the image, or the part of a record file, that a sample is of."""
        return self.places[number][0]

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        image, within = self.places[number]
        if isinstance(image, ToneRecords):
            return to_sample(record_maps(self.index, image, within, self.tone), self.tone, self.keys)
        rows, columns = (self._kept(size) for size in (image.height, image.width))
        hdr, sdr = _cut(self.index, image, (rows, columns))
        limits = tone_limits(hdr, self.tone.domain, level=self.tone.level)
        low, high = (0, 255) if sdr is None else (int(sdr.min()), int(sdr.max()))
        maps = encode_window(hdr, sdr, limits, (low, max(high, low + 1)), self.tone)
        return to_sample(maps, self.tone, self.keys)

    def _kept(self, size: int) -> slice:
        if self.crop is None:
            return slice(size // MULTIPLE * MULTIPLE)
        start = (size - self.crop) // 2
        return slice(start, start + self.crop)
