"""How steady clips become, beside frame-by-frame processing: ``python experiments/video.py FOLDER [IMAGES]``.

Clips are made of HDR pictures, so that their truth is known: still, with an exposure that drifts, a pan and a
zoom. Each frame is photographed with noise of its own through a response curve of the built-in family,
and encoded by x264 (4:2:0, 8 bits). What is decoded becomes HDR by the nets that come along, frame by frame
and steadily. With ``--tonemap`` clips are HDR10 by x265 and become SDR, likewise in both ways: still, a pan,
and still but for a light that passes.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from hdrlab import Reconstructor, ToneMapper
from hdrlab.camera import load_response_curves
from hdrlab.inference.video.colour import HDR10, absolute, encode_light
from hdrlab.inference.video.reading import Description, VideoClip
from hdrlab.inference.video.steady import (
    EachAlone,
    Maker,
    SteadyReconstructor,
    SteadyToneMapper,
    developed_alone,
    frame_pixels,
    frame_tensor,
)
from hdrlab.inference.video.writing import Coding, SegmentWriter
from hdrlab.io import read_hdr
from hdrlab.metrics.pu21 import psnr_pu21
from hdrlab.metrics.steadiness import flicker
from hdrlab.ops.colour import luminance, srgb_decode
from hdrlab.ops.colour_spaces import DIFFUSE_WHITE, PQ_PEAK

FRAMES, RATE, SIDE = 16, 25, 384
KINDS = ("still", "drift", "pan", "zoom")
TONE_KINDS = ("still", "pan", "passing")
OPERATORS = ("reinhard", "drago", "durand", "reinhard_local")
NOISE = (0.006, 0.012)
"""Of the sensor: standard deviation in the dark, and the factor on the root of the light."""

BORDER = (0.75, 1.3)
"""Of the brightest channel, 1 = the clipping point: below it is measured, above it clipped."""

DRIFT, ZOOM, PAN = 0.6, 0.25, 2.6
"""Stops over the clip, share of the picture over it, and pixels a frame."""

LAMP = (40.0, 24.0, 20.0)
"""Light that passes, 1 = diffuse white; its radius, and its way from a frame to the next, in pixels."""


class Scene:
    """A picture in motion: what it shows at each frame, and where each pixel was at the frame before."""

    def __init__(self, hdr: Tensor, kind: str) -> None:
        self.hdr, self.kind = hdr, kind
        self.height, self.width = 288, SIDE

    def window(self, number: int) -> tuple[float, float, float]:
        """Centre and half width of what is seen, in units of the picture's half width."""
        share = number / (FRAMES - 1)
        if self.kind == "pan":
            return -0.2 + PAN * number * 2 / self.hdr.shape[-1], 0.0, 0.62
        if self.kind == "zoom":
            return 0.0, 0.0, 0.75 * (1 - ZOOM * share)
        return 0.0, 0.0, 0.75

    def grid(self, number: int, seen_by: int | None = None) -> Tensor:
        """Return where the pixels of a frame lie in the picture, or in another frame."""
        x, y, half = self.window(number)
        rows = torch.linspace(-1, 1, self.height).view(-1, 1).expand(self.height, self.width)
        columns = torch.linspace(-1, 1, self.width).view(1, -1).expand(self.height, self.width)
        aspect = self.height / self.width * self.hdr.shape[-1] / self.hdr.shape[-2]
        there = torch.stack([x + half * columns, y + half * aspect * rows], dim=-1)
        if seen_by is not None:
            x, y, half = self.window(seen_by)
            there = (there - torch.tensor([x, y])) / torch.tensor([half, half * aspect])
        return there[None]

    def light(self, number: int) -> Tensor:
        """Return what is photographed, 1 = the clipping point of the first frame."""
        seen = F.grid_sample(self.hdr, self.grid(number), mode="bilinear", align_corners=True)
        return torch.where(self.lamp(number), LAMP[0], seen * 2 ** self.brighter(number))

    def lamp(self, number: int) -> Tensor:
        """Return where a light passes, which is outside in the first and the last frames."""
        radius, step = LAMP[1:]
        y, x = torch.meshgrid(torch.arange(self.height), torch.arange(self.width), indexing="ij")
        x = x - (step * (number - 1) - 2 * radius if self.kind == "passing" else -self.width)
        return ((x**2 + (y - self.height / 2) ** 2) < radius**2)[None, None]

    def brighter(self, number: int) -> float:
        """Stops by which the exposure has drifted."""
        return DRIFT * number / (FRAMES - 1) if self.kind == "drift" else 0.0


def photograph(light: Tensor, curve: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Add a sensor's noise, clip, and apply a response curve."""
    pixels = noisy(frame_pixels(light), rng).clip(0, 1)
    encoded = np.interp(pixels, np.linspace(0, 1, len(curve)), curve)
    levels: NDArray[np.uint8] = np.rint(encoded * 255).astype(np.uint8)
    return levels


def noisy(pixels: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Add a sensor's noise."""
    noise = np.sqrt(NOISE[0] ** 2 + NOISE[1] ** 2 * pixels) * rng.standard_normal(pixels.shape)
    return np.asarray(pixels + noise, np.float32)


def encode(path: Path, frames: Iterator[NDArray[np.uint8]]) -> None:
    """Write a clip as cameras do."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(RATE))
        stream.width, stream.height, stream.pix_fmt = SIDE, 288, "yuv420p"
        stream.options = {"crf": "20"}
        context = stream.codec_context
        context.color_primaries = context.color_trc = context.colorspace = context.color_range = 1
        for number, levels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(levels, "rgb24").reformat(format="yuv420p", dst_colorspace=1)
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def score(
    scene: Scene, made: list[Tensor], masks: list[dict[str, Tensor]], *, is_input: bool = False
) -> dict[str, float]:
    """Return change from frame to frame along the true motion in stops, and the quality of each frame.

    Where the scene becomes brighter, so should what is made of it; of the input what is clipped cannot.
    """
    found: dict[str, list[float]] = {}
    for number in range(1, len(made)):
        before, inside = carried(scene, made, number)
        rise = scene.brighter(number) - scene.brighter(number - 1)
        for region, mask in masks[number].items():
            where = mask & inside
            if where.sum() > 200:
                change = 0.0 if is_input and region != "measured" else rise
                value = float(flicker(before, made[number], change, where))
                found.setdefault(f"change, {region}", []).append(value)
    for number, frame in enumerate(made):
        truth = scene.light(number)
        for region, mask in ({"all": torch.ones_like(truth[:, :1])} | masks[number]).items():
            if mask.sum() > 200:
                quality = psnr_pu21(frame * DIFFUSE_WHITE, truth * DIFFUSE_WHITE, mask.float())
                found.setdefault(f"PU21, {region}", []).append(float(quality))
    return {name: float(np.mean(values)) for name, values in found.items()}


def carried(scene: Scene, made: list[Tensor], number: int) -> tuple[Tensor, Tensor]:
    """Return the frame before, carried along the true motion, and where it shows the same."""
    grid = scene.grid(number, number - 1)
    before = F.grid_sample(made[number - 1], grid, mode="bilinear", align_corners=True)
    return before, (grid.abs() < 0.98).all(dim=-1)[:, None] & ~scene.lamp(number) & ~scene.lamp(number - 1)


def masks_of(truth: Tensor) -> dict[str, Tensor]:
    """Part what is clipped, what surely is not, and the border between, where masks decide."""
    brightest = truth.amax(dim=1, keepdim=True)
    border = (brightest >= BORDER[0]) & (brightest < BORDER[1])
    return {"measured": brightest < BORDER[0], "border": border, "clipped": brightest >= BORDER[1]}


def scene_of(picture: Path, kind: str) -> Scene:
    """Open a picture such that 7 % of it are brighter than 1."""
    hdr = torch.from_numpy(read_hdr(picture).pixels).permute(2, 0, 1)[None]
    return Scene(hdr / np.percentile(luminance(hdr).numpy(), 93), kind)


def decoded(path: Path) -> list[Tensor]:
    """Return all frames of a clip."""
    clip = VideoClip(path)
    return list(clip.frames([time for time, _ in clip.times()], 0, FRAMES))


def measure(
    picture: Path, kind: str, curve: NDArray[np.float32], nets: Reconstructor, seed: int
) -> dict[str, dict[str, float]]:
    """Make a clip, decode it, reconstruct it in both ways and score all."""
    scene = scene_of(picture, kind)
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "clip.mp4")
        encode(path, (photograph(scene.light(number), curve, rng) for number in range(FRAMES)))
        frames = decoded(path)
    levels = np.linspace(0, 1, len(curve))
    inputs = [np.interp(frame.numpy(), curve, levels).astype(np.float32) for frame in frames]
    masks = [masks_of(scene.light(number)) for number in range(FRAMES)]
    makers: dict[str, Maker] = {
        "alone": developed_alone(nets.develop),
        "steady": SteadyReconstructor(nets, RATE),
    }
    results = {"input": score(scene, [*map(torch.from_numpy, inputs)], masks, is_input=True)}
    for name, maker in makers.items():
        maker.begin(frames[:: max(1, FRAMES // 9)])
        results[name] = score(scene, [maker(frame) for frame in frames], masks)
    return results


def measure_tones(picture: Path, kind: str, seed: int) -> dict[str, dict[str, float]]:
    """Make an HDR clip, decode it, tone-map it in both ways and score all.

    Change is that of the light on the display, in stops, where the scene stays the same. PSNR is that of a
    frame beside the scene without noise and compression, tone-mapped alone.
    """
    scene, rng = scene_of(picture, kind), np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "clip.mp4")
        about = Description(
            path=path, width=SIDE, height=288, rate=Fraction(RATE), time_base=Fraction(1, RATE)
        )
        writer = SegmentWriter(path, "hdr10", Coding(), about, (SIDE, 288))
        for number in range(FRAMES):
            light = absolute(frame_tensor(noisy(frame_pixels(scene.light(number)), rng)), PQ_PEAK)
            writer.add(encode_light(light, HDR10), number)
        writer.close()
        frames = decoded(path)
    results = {"input": {"change": steadiness(scene, frames)}}
    for name in OPERATORS:
        mapper = ToneMapper.load(name)

        def alone(frame: Tensor, mapper: ToneMapper = mapper) -> Tensor:
            return frame_tensor(mapper.apply(frame_pixels(frame.clamp(min=0))))

        makers: dict[str, Maker] = {"alone": EachAlone(alone), "steady": SteadyToneMapper(mapper, RATE)}
        truths = [alone(scene.light(number)) for number in range(0, FRAMES, 5)]
        for way, maker in makers.items():
            maker.begin(())
            made = [maker(frame) for frame in frames]
            errors = [float((a - b).square().mean()) for a, b in zip(made[::5], truths, strict=True)]
            results[f"{name}, {way}"] = {
                "change": steadiness(scene, [srgb_decode(one) for one in made]),
                "PSNR": float(np.mean(-10 * np.log10(errors))),
            }
    return results


def steadiness(scene: Scene, made: list[Tensor]) -> float:
    """Return the change of light from frame to frame in stops, where the scene stays the same."""
    changes = []
    for number in range(1, len(made)):
        before, same = carried(scene, made, number)
        changes.append(float(flicker(before.clamp(min=0), made[number].clamp(min=0), 0.0, same)))
    return float(np.mean(changes))


def cell(column: str, scores: list[dict[str, float]], inputs: list[dict[str, float]]) -> str:
    """Return the mean over clips; of a change also the median of its ratio to the input's."""
    values = [one[column] for one in scores if column in one]
    if "change" not in column:
        return f"{np.mean(values):.2f}" if values else ""
    pairs = zip(scores, inputs, strict=True)
    ratio = np.median([one[column] / given[column] for one, given in pairs if column in one])
    return f"{np.mean(values):.4f} ({ratio:.2f} ×)"


def main() -> None:
    """Measure and print tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="of HDR pictures of at least 384 × 288 pixels")
    parser.add_argument("images", type=int, nargs="?", default=6, help="how many, spread evenly")
    parser.add_argument("--kinds", nargs="*")
    parser.add_argument("--tonemap", action="store_true", help="measure hdrlab tonemap, not reconstruct")
    options = parser.parse_args()
    torch.set_num_threads(1)
    pictures = sorted(path for path in options.folder.iterdir() if path.suffix in (".hdr", ".exr"))
    pictures = [pictures[i * len(pictures) // options.images] for i in range(options.images)]
    curves = load_response_curves("builtin")
    held_out = curves.split("test")
    nets = Reconstructor.load("compact", device="cpu", precision="32")
    begun = time.monotonic()
    for kind in options.kinds or (TONE_KINDS if options.tonemap else KINDS):
        rows: dict[str, list[dict[str, float]]] = {}
        for number, picture in enumerate(pictures):
            if options.tonemap:
                scored = measure_tones(picture, kind, number)
            else:
                curve = curves.curves[held_out[number * len(held_out) // len(pictures)]]
                scored = measure(picture, kind, curve, nets, number)
            for name, scores in scored.items():
                rows.setdefault(name, []).append(scores)
            print(f"{kind} {picture.name} {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
        names = list(
            dict.fromkeys(itertools.chain.from_iterable(itertools.chain.from_iterable(rows.values())))
        )
        print(f"| {kind} | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|", sep="\n")
        for name, scores in rows.items():
            cells = [cell(column, scores, rows["input"]) for column in names]
            print(f"| {name} | {' | '.join(cells)} |", flush=True)
        print(flush=True)


if __name__ == "__main__":
    main()
