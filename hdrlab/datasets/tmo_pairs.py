"""Tone mapping: windows of HDR pictures, encoded and split into layers, with those of their SDR pictures.

Which window a step draws follows from the seed and a global counter alone. What a sample holds is written in
`hdrlab.config.stages`; only the keys that are asked for are made.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Sequence
from itertools import accumulate
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from hdrlab.camera.sampling import camera_generator
from hdrlab.config.schema import ToneConfig
from hdrlab.config.stages import TONE_KEYS
from hdrlab.datasets.index import Index, Picture, TonePicture, ToneRecords
from hdrlab.datasets.order import sample_index
from hdrlab.datasets.splits import DataError, some
from hdrlab.ops.pyramids import Pyramid, decompose
from hdrlab.ops.tone_range import ENCODING_EXPONENT, Domain, encode_hdr, tone_limits

WINDOWS = 16
"""Samples of a picture: 15 random windows, and the whole of it."""
MULTIPLE = 8
"""What the sides of a picture must be multiples of, so that it has a bottom layer."""
SDR_EXPONENT = 2.2

_AUGMENT_STREAM = 0  # of the counter-based generators
_LAYERS = {"encoded": ("high", "bottom"), "sdr": ("sdr_high", "sdr_bottom")}
_FLAGS = ("labelled", "mask")
Maps = dict[str, Tensor]


def window_at(height: int, width: int, draws: Sequence[float]) -> tuple[slice, slice]:
    """Place a window of 10 to 60 % of each side in a picture.

    Args:
        height: Height of the picture in pixels.
        width: Width of the picture.
        draws: Four numbers in [0, 1): for the window's height, its width, its top and its left.

    Returns:
        Rows and columns.

    Source:
        IQATM, the authors' record generator.
    """
    rows, columns = int(height * (0.1 + 0.5 * draws[0])), int(width * (0.1 + 0.5 * draws[1]))
    top, left = int(draws[2] * (height - rows)), int(draws[3] * (width - columns))
    return slice(top, top + rows), slice(left, left + columns)


def encode_window(
    hdr: Tensor,
    sdr: Tensor | None,
    limits: tuple[Tensor, Tensor],
    sdr_range: tuple[int, int],
    tone: ToneConfig,
) -> Maps:
    """Encode a window of a picture by the limits of the whole.

    Args:
        hdr: Linear values [1, 3, H, W], at least 0.
        sdr: Values of 8 bits of the SDR picture, same shape, as floats; None where there is none.
        limits: As `hdrlab.ops.tone_range.tone_limits` gives them.
        sdr_range: Least and greatest value of the whole SDR picture.
        tone: How pictures are seen.

    Returns:
        ``encoded``, ``hdr``, and ``sdr`` where there is one.
    """
    maps = {"encoded": encode_hdr(hdr, *limits, cast("Domain", tone.domain)), "hdr": hdr}
    if sdr is not None:
        low, high = sdr_range if tone.sdr_range == "minmax" else (0, 255)
        sdr = (sdr - low) / (high - low)
        maps["sdr"] = sdr**SDR_EXPONENT if tone.domain == "linear" else sdr
    return maps


def to_sample(maps: Maps, tone: ToneConfig, keys: Collection[str]) -> Maps:
    """Add layers, zeros where there is no label, and flags; keep what is asked for, without batch dimension.

    Args:
        maps: Pictures, or their layers, [1, 3, H, W] by batch key.
        tone: How pictures are split.
        keys: What is wanted.
    """
    for name, layers in _LAYERS.items():
        # Zeros in place of missing layers take their shape from the other picture's.
        wanted = layers if name == "sdr" else (*layers, *_LAYERS["sdr"])
        if name in maps and not set(wanted).isdisjoint(keys):
            parts = decompose(
                maps[name],
                pyramid=cast("Pyramid", tone.pyramid),
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


def usable(index: Index, split: str, keys: Collection[str]) -> list[TonePicture | ToneRecords]:
    """Return what of a split can give the keys: ft records only where there are no dual ones for layers.

    Raises:
        DataError: There is nothing, or only dual records where whole pictures are asked for.
    """
    found = [p for p in index.split(split) if isinstance(p, (TonePicture, ToneRecords))]
    dual = [p for p in found if _kind(p) == "dual"]
    inside = {*_LAYERS["encoded"], *_LAYERS["sdr"], *_FLAGS}
    passed_over = "ft" if dual and inside.issuperset(keys) else "dual"
    chosen = [p for p in found if _kind(p) != passed_over]
    if found and not chosen:
        lacking = ", ".join(sorted(set(keys) - inside))
        said = f"its dual_ records ({some([p.file for p in dual])}) hold layers only and not {lacking}"
        raise DataError(
            [f"{index.folder}: {said}; give ft_ records or pictures, or train tmo_bottom or tmo_high"]
        )
    if not chosen:
        raise DataError([f"{index.folder}: no picture in the split {split}"])
    return chosen


def sample_ends(pictures: Iterable[Picture]) -> list[int]:
    """Return after how many samples each picture ends: 16 a picture, or as many as a file has records."""
    return list(accumulate(p.num if isinstance(p, ToneRecords) else WINDOWS for p in pictures))


def _kind(picture: Picture) -> str:
    return picture.kind if isinstance(picture, ToneRecords) else "picture"


def record_maps(index: Index, records: ToneRecords, number: int, tone: ToneConfig) -> Maps:
    """Read a patch of a record file: as the records were made, whatever `tone` says, but for the domain.

    Raises:
        DataError: The domain is one that no published record has.
    """
    if tone.domain == "log":
        said = "record files hold values encoded by a power, or linear ones; set data.tone.domain=gamma"
        raise DataError([f"data.tone.domain=log: {said}"])
    maps = {name: _tensor(index.open_array(file)[number]) for name, file in records.arrays.items()}
    if "encoded" in maps:
        x = maps["encoded"]
        maps["hdr"] = x.clamp(min=0) ** (1 / ENCODING_EXPONENT) if tone.domain == "gamma" else x.clamp(min=0)
    return maps


def _tensor(values: NDArray[np.generic]) -> Tensor:
    """Turn [H, W, 3] into float32 [1, 3, H, W]."""
    return torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1), np.float32))[None]


def _cut(index: Index, picture: TonePicture, window: tuple[slice, slice]) -> tuple[Tensor, Tensor | None]:
    sdr = _tensor(index.open_array(picture.sdr)[window]) if picture.sdr else None
    return _tensor(index.load(picture)[window]), sdr


class ToneTraining(Dataset[dict[str, Tensor]]):
    """Training samples by global counter, endless: full permutations of all samples one after the other.

    A picture counts as 16 samples, 15 random windows and the whole of it, each resized to a square patch; a
    record is a sample as it is.

    Args:
        index: The pictures.
        tone: How pictures are seen.
        patch: Side of the samples in pixels, a multiple of 8.
        seed: The run's seed.
        keys: The batch keys to make.
        official: Whether pictures smaller than a patch give no windows but themselves 16 times.

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
    ) -> None:
        self.index, self.tone, self.patch, self.seed = index, tone, patch, seed
        self.keys, self.official = tuple(keys), official
        self.pictures = usable(index, "train", keys)
        self.ends = sample_ends(self.pictures)
        other = [p for p in self.pictures if isinstance(p, ToneRecords) and p.width != patch]
        if other:
            said = f"{some([p.file for p in other])} holds patches of {other[0].width} pixels"
            raise DataError([f"stage.patch={patch}: {said}; set stage.patch={other[0].width}"])

    def __len__(self) -> int:
        return self.ends[-1]

    def __getitem__(self, counter: int) -> dict[str, Tensor]:
        picture, number = self.choice(counter)
        if isinstance(picture, ToneRecords):
            maps = record_maps(self.index, picture, number, self.tone)
        else:
            maps = self._resized(picture, self.window(picture, number, counter))
        return to_sample(maps, self.tone, self.keys)

    def choice(self, counter: int) -> tuple[TonePicture | ToneRecords, int]:
        """Return which picture a counter draws, and which of its samples."""
        sample = sample_index(counter, len(self), self.seed)
        place = bisect_right(self.ends, sample)
        return self.pictures[place], sample - (self.ends[place - 1] if place else 0)

    def describe(self, counter: int) -> str:
        """Say what a sample is made of."""
        picture, number = self.choice(counter)
        return f"{picture.file}, window {number}"

    def window(self, picture: TonePicture, number: int, counter: int) -> tuple[slice, slice]:
        """Return the window that a counter draws in a picture; the last of the samples is the whole."""
        whole = number == WINDOWS - 1 or (self.official and min(picture.height, picture.width) < self.patch)
        if whole:
            return slice(None), slice(None)
        draws = camera_generator(self.seed, counter, _AUGMENT_STREAM).random(4).tolist()
        return window_at(picture.height, picture.width, draws)

    def _resized(self, picture: TonePicture, window: tuple[slice, slice]) -> Maps:
        limits = picture.log_limits if self.tone.domain == "log" else picture.limits
        low, high = (torch.full((1, 1, 1, 1), limit) for limit in limits)
        maps = encode_window(*_cut(self.index, picture, window), (low, high), picture.sdr_range, self.tone)
        size = (self.patch, self.patch)
        return {
            name: F.interpolate(values, size=size, mode="bilinear", align_corners=False)
            for name, values in maps.items()
        }


class ToneValidation(Dataset[dict[str, Tensor]]):
    """Pictures of a split, spread evenly over it, each as the nets see it when they are used.

    What is cut is treated as a picture of its own: its limits are its own too. Records are patches as they
    are.

    Args:
        index: The pictures.
        tone: How pictures are seen.
        split: train, val or test.
        num: Pictures; None takes all.
        crop: Side of a central crop in pixels; None takes whole pictures, cut at the right and the bottom to
            multiples of 8.
        keys: The batch keys to make.

    Raises:
        DataError: As `usable`, or pictures are smaller than the crop.

    Source:
        IQATM, the authors' test program, for whole pictures.
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
            (picture, number)
            for picture in usable(index, split, keys)
            for number in range(picture.num if isinstance(picture, ToneRecords) else 1)
        ]
        num = min(num or len(places), len(places))
        self.places = [places[i * len(places) // num] for i in range(num)]
        small = [
            picture.file
            for picture, _ in self.places
            if isinstance(picture, TonePicture) and min(picture.width, picture.height) < (crop or 0)
        ]
        if small:
            raise DataError([f"data.val_crop={crop}: larger than {some(small)} of the split {split}"])

    def __len__(self) -> int:
        return len(self.places)

    def picture(self, number: int) -> Picture:
        """Return the picture, or the part of a record file, that a sample is of."""
        return self.places[number][0]

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        picture, within = self.places[number]
        if isinstance(picture, ToneRecords):
            return to_sample(record_maps(self.index, picture, within, self.tone), self.tone, self.keys)
        rows, columns = (self._kept(size) for size in (picture.height, picture.width))
        hdr, sdr = _cut(self.index, picture, (rows, columns))
        limits = tone_limits(hdr, cast("Domain", self.tone.domain))
        low, high = (0, 255) if sdr is None else (int(sdr.min()), int(sdr.max()))
        maps = encode_window(hdr, sdr, limits, (low, max(high, low + 1)), self.tone)
        return to_sample(maps, self.tone, self.keys)

    def _kept(self, size: int) -> slice:
        if self.crop is None:
            return slice(size // MULTIPLE * MULTIPLE)
        start = (size - self.crop) // 2
        return slice(start, start + self.crop)
