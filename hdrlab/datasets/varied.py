"""Photographs of all kinds of cameras, made from HDR images: what the compact nets are trained on.

SingleHDR's camera takes every image alike. Here scenes are drawn evenly, whatever number of images they have,
and exposures by the share of the image that clips, since that is what a photographer sees. Everything random
about a sample follows from the seed and a global counter alone.

Inside, images are planes [3, H, W]: NumPy is several times slower where three channels lie innermost.
"""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import uniform_filter
from torch import Tensor
from torch.utils.data import Dataset

from hdrlab.camera.curves import ResponseCurves
from hdrlab.camera.sampling import camera_generator
from hdrlab.datasets.index import Index, IndexedImage
from hdrlab.ops.resize import resize
from hdrlab.ops.response import invert_response

_STREAM = 2
_MULTIPLE = 32
_TABLE = 1 << 14
_SQUARES = np.linspace(0, 1, _TABLE + 1) ** 2
Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

EMOR_SHARE = 0.8
"""Share of the photographs whose response is a draw from EMoR's space, where there are some."""

VAL_CLIPPED = (0.02, 0.08, 0.2)


class VariedTraining(Dataset[dict[str, Tensor]]):
    """Training samples by global counter, endless.

    Args:
        index: The images.
        curves: Response curves; draws from EMoR are named ``emor(…)``.
        patch: Side of the samples in pixels.
        seed: The run's seed.
    """

    def __init__(self, index: Index, curves: ResponseCurves, *, patch: int, seed: int) -> None:
        self.index, self.patch, self.seed = index, patch, seed
        self.scenes: dict[str, list[IndexedImage]] = {}
        for image in index.split("train"):
            self.scenes.setdefault(image.scene, []).append(image)
        self.names = sorted(self.scenes)
        self.responses = curves.curves
        self.inverses = invert_response(torch.from_numpy(curves.curves))
        drawn = np.array([curves.names[i].startswith("emor") for i in curves.train])
        self.drawn, self.others = curves.train[drawn], curves.train[~drawn]

    def __len__(self) -> int:
        """Scenes; a sample of any counter can be made."""
        return len(self.names)

    @property
    def epoch(self) -> int:
        """Samples of an epoch: as many as there are scenes."""
        return len(self)

    def image(self, counter: int) -> IndexedImage:
        """Return the image a sample is made from."""
        return self._image(camera_generator(self.seed, counter, _STREAM))

    def describe(self, counter: int) -> str:
        """Say what a sample is made of."""
        return self.image(counter).file

    def __getitem__(self, counter: int) -> dict[str, Tensor]:
        draws = camera_generator(self.seed, counter, _STREAM)
        image = self.index.load(self._image(draws))
        drawn = len(self.others) == 0 or (len(self.drawn) > 0 and draws.random() < EMOR_SHARE)
        curve = int(draws.choice(self.drawn if drawn else self.others))
        enlarge = draws.uniform(1.1, 1.6) if draws.random() < 0.2 else 1.0
        scene = cut(image, round(self.patch * enlarge), draws)
        scene = light(scene, draws)
        scene *= np.float32(exposure_of(scene, float(np.exp(draws.uniform(np.log(0.005), np.log(0.3))))))
        noisy = scene
        if draws.random() < 0.6:
            noisy = noise(scene, draws)
            noisy += scene
        encoded = respond(noisy, self.responses[curve])
        if draws.random() < 0.15:
            encoded = sharpen(encoded, draws)
        quality = int(draws.integers(70, 100, endpoint=True))
        photograph = compress(encoded, quality, halved=draws.random() < 0.7)
        if enlarge > 1:
            size = (self.patch, self.patch)
            filters = (Image.Resampling.BOX, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)
            photograph = np.asarray(
                Image.fromarray(photograph).resize(size, filters[draws.integers(len(filters))])
            )
            scene = np.ascontiguousarray(resize(scene.transpose(1, 2, 0), *size).transpose(2, 0, 1))
            encoded = respond(scene, self.responses[curve])
        return sample_of(scene, encoded, photograph, self.responses[curve], self.inverses[curve])

    def _image(self, draws: np.random.Generator) -> IndexedImage:
        images = self.scenes[self.names[int(draws.integers(len(self.names)))]]
        return images[int(draws.integers(len(images)))]


class VariedValidation(Dataset[dict[str, Tensor]]):
    """Fixed photographs of a split: whole images, 2, 8 and 20 % clipped, curves that training never sees.

    Args:
        index: The images.
        curves: Response curves.
        split: val or test.
        num: Photographs, at most three an image; None makes all of these.
    """

    def __init__(self, index: Index, curves: ResponseCurves, split: str, *, num: int | None = None) -> None:
        self.index = index
        images = index.split(split)
        self.choices = [(image, share) for share in VAL_CLIPPED for image in images]
        whole = len(self.choices)
        num = min(num or whole, whole)
        self.choices = [self.choices[i * whole // num] for i in range(num)]
        self.responses = curves.curves[curves.test]
        self.inverses = invert_response(torch.from_numpy(self.responses))

    def __len__(self) -> int:
        return len(self.choices)

    def image(self, number: int) -> IndexedImage:
        """Return the image a photograph is made from."""
        return self.choices[number][0]

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        image, share = self.choices[number]
        draws = camera_generator(0, number, _STREAM)
        scene = np.asarray(self.index.load(image))
        height, width = (size // _MULTIPLE * _MULTIPLE for size in scene.shape[:2])
        scene = np.ascontiguousarray(scene.transpose(2, 0, 1))
        scene = scene[:, :height, :width] * np.float32(exposure_of(scene, share))
        curve = number % len(self.responses)
        encoded = respond(scene + noise(scene, draws), self.responses[curve])
        photograph = compress(encoded, int(draws.integers(90, 100, endpoint=True)), halved=True)
        return sample_of(scene, encoded, photograph, self.responses[curve], self.inverses[curve])


def cut(image: Floats, side: int, draws: np.random.Generator) -> Floats:
    """Cut out a square, 60 to 100 % of the short side of an image [H, W, 3], resized to [3, side, side]."""
    height, width = image.shape[:2]
    own = round(min(height, width) * draws.uniform(0.6, 1))
    top, left = int(draws.integers(height - own + 1)), int(draws.integers(width - own + 1))
    crop = torch.from_numpy(image[top : top + own, left : left + own].copy())
    # Faster than our own resizing by far; samples need not be the same bits on all machines.
    scaled = F.interpolate(
        crop.permute(2, 0, 1)[None], (side, side), mode="bilinear", antialias=True, align_corners=False
    )
    square: Floats = scaled[0].numpy()
    if draws.random() < 0.15:
        square = np.rot90(square, axes=(1, 2))
    return np.ascontiguousarray(square[:, :, :: -1 if draws.random() < 0.5 else 1])


def light(scene: Floats, draws: np.random.Generator) -> Floats:
    """Change the light on a scene: its colour, its saturation, and, half of the time, its distribution."""
    gains = np.exp(draws.normal(0, 0.1, 3)).astype(np.float32)
    scene = scene * (gains / gains[1])[:, None, None]
    saturation = np.float32(draws.uniform(0.7, 1.25))
    grey = scene.mean(axis=0)
    scene -= grey
    scene *= saturation
    scene += grey
    np.maximum(scene, 0, out=scene)
    if draws.random() < 0.5:
        coarse = draws.normal(0, 0.4, (3, 3)).astype(np.float32)
        scene *= np.exp(_spread(3, scene.shape[1]) @ coarse @ _spread(3, scene.shape[2]).T)
    return scene


@lru_cache(maxsize=16)
def _spread(few: int, many: int) -> Floats:
    """Return the weights [many, few] of linear interpolation between the middles of a few cells."""
    place = ((np.arange(many) + 0.5) * few / many - 0.5).clip(0, few - 1)
    weights: Floats = np.maximum(0, 1 - np.abs(place[:, None] - np.arange(few))).astype(np.float32)
    return weights


def exposure_of(scene: Floats, share: float) -> float:
    """Return the factor that clips a share of a scene's pixels in their brightest channel."""
    brightest = scene[:, ::2, ::2].max(axis=0).ravel()
    place = min(len(brightest) - 1, int((1 - share) * len(brightest)))
    return 1 / max(float(np.partition(brightest, place)[place]), 1e-12)


def noise(scene: Floats, draws: np.random.Generator) -> Floats:
    """Draw noise of a sensor: its variance grows with the light, from that of its electronics on."""
    shot, read = np.exp(draws.uniform(np.log((0.001, 0.0002)), np.log((0.02, 0.004)))).astype(np.float32)
    deviation = np.minimum(scene, 1)
    deviation *= shot**2
    deviation += read**2
    np.sqrt(deviation, out=deviation)
    height, width = scene.shape[1:]
    grain = _grain(max(1024, height, width))
    top, left = (int(draws.integers(grain.shape[1] - size + 1)) for size in (height, width))
    deviation *= grain[:, top : top + height, left : left + width]
    return deviation


@lru_cache(maxsize=1)
def _grain(side: int) -> Floats:
    """Return standard normal values [3, side, side], of which windows are taken: drawing is slow."""
    drawn = camera_generator(0, 0, _STREAM).standard_normal((side, side, 3), dtype=np.float32)
    return np.ascontiguousarray(drawn.transpose(2, 0, 1))


def respond(scene: Floats, response: Floats) -> Floats:
    """Clip a linear scene to [0, 1] and encode it by a response curve."""
    # By a table that is finest where responses are steepest, an order faster than interpolation.
    place = scene.clip(0, 1)
    np.sqrt(place, out=place)
    place *= np.float32(_TABLE)
    place += np.float32(0.5)
    encoded: Floats = _table(response.tobytes()).take(place.astype(np.intp), mode="clip")
    return encoded


@lru_cache(maxsize=256)
def _table(response: bytes) -> Floats:
    """Return a response curve, float32, at the squares of evenly spaced values."""
    curve = np.frombuffer(response, np.float32)
    table: Floats = np.interp(_SQUARES, np.linspace(0, 1, len(curve)), curve).astype(np.float32)
    return table


def sharpen(encoded: Floats, draws: np.random.Generator) -> Floats:
    """Do as phones do: lift fine detail, or local contrast."""
    size, amount = ((3, 0.8), (31, 0.3))[int(draws.integers(2))]
    amount *= draws.uniform(0.3, 1)
    detail = encoded.mean(axis=0)
    detail -= uniform_filter(detail, size, mode="nearest")
    detail *= np.float32(amount)
    sharpened: Floats = encoded + detail
    return sharpened.clip(0, 1, out=sharpened)


def compress(encoded: Floats, quality: int, *, halved: bool) -> Bytes:
    """Round to 8 bits and pass through JPEG, chroma halved (4:2:0) or whole (4:4:4): bytes [H, W, 3]."""
    buffer = BytesIO()
    levels = encoded * 255
    levels += 0.5
    pixels = np.ascontiguousarray(levels.astype(np.uint8).transpose(1, 2, 0))
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=quality, subsampling=2 if halved else 0)
    # The decoder itself: opening a file's image would read its markers once more, in Python.
    shape, content = pixels.shape[1::-1], buffer.getvalue()
    return np.asarray(Image.frombytes("RGB", shape, content, "jpeg", "RGB", ""))


def sample_of(
    scene: Floats, encoded: Floats, photograph: Bytes, response: Floats, inverse: Tensor
) -> dict[str, Tensor]:
    """Return the keys of a batch, without the batch dimension."""
    hdr = torch.from_numpy(scene)
    jpeg = torch.from_numpy(np.ascontiguousarray(photograph.transpose(2, 0, 1)))
    return {
        "jpeg": jpeg.float().div_(255),
        "ldr": torch.from_numpy(encoded),
        "lin": hdr.clamp(max=1),
        "hdr": hdr,
        "curve": torch.from_numpy(response),
        "inv_curve": inverse,
        "mask": torch.ones(1, 1, 1),
    }
