"""How steady clips become, beside frame-by-frame processing: ``python experiments/video.py FOLDER [IMAGES]``.

Clips are made of HDR pictures, so that their truth is known: still, with an exposure that drifts, a pan and a
zoom. Each frame is photographed with noise of its own through a response curve that no net was trained on,
and encoded by x264 (4:2:0, 8 bits). What is decoded becomes HDR by the nets that come along, frame by frame
and steadily.
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

from hdrlab import Reconstructor
from hdrlab.camera import load_response_curves
from hdrlab.inference.video.reading import VideoClip
from hdrlab.inference.video.steady import Maker, SteadyReconstructor, developed_alone
from hdrlab.io import read_hdr
from hdrlab.metrics.pu21 import psnr_pu21
from hdrlab.metrics.steadiness import flicker
from hdrlab.ops.colour import luminance
from hdrlab.ops.colour_spaces import DIFFUSE_WHITE

FRAMES, RATE, SIDE = 16, 25, 384
KINDS = ("still", "drift", "pan", "zoom")
METHODS = ("input", "alone", "steady")
NOISE = (0.006, 0.012)
"""Of the sensor: standard deviation in the dark, and the factor on the root of the light."""

BORDER = (0.75, 1.3)
"""Of the brightest channel, 1 = the clipping point: below it is measured, above it clipped."""

DRIFT, ZOOM, PAN = 0.6, 0.25, 2.6
"""Stops over the clip, share of the picture over it, and pixels a frame."""


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
        return seen * 2 ** self.brighter(number)

    def brighter(self, number: int) -> float:
        """Stops by which the exposure has drifted."""
        return DRIFT * number / (FRAMES - 1) if self.kind == "drift" else 0.0


def photograph(light: Tensor, curve: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Add a sensor's noise, clip, and apply a response curve."""
    pixels = light[0].permute(1, 2, 0).numpy()
    noise = np.sqrt(NOISE[0] ** 2 + NOISE[1] ** 2 * pixels) * rng.standard_normal(pixels.shape)
    encoded = np.interp((pixels + noise).clip(0, 1), np.linspace(0, 1, len(curve)), curve)
    levels: NDArray[np.uint8] = np.rint(encoded * 255).astype(np.uint8)
    return levels


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
        grid = scene.grid(number, number - 1)
        before = F.grid_sample(made[number - 1], grid, mode="bilinear", align_corners=True)
        inside = (grid.abs() < 0.98).all(dim=-1)[:, None]
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


def masks_of(truth: Tensor) -> dict[str, Tensor]:
    """Part what is clipped, what surely is not, and the border between, where masks decide."""
    brightest = truth.amax(dim=1, keepdim=True)
    border = (brightest >= BORDER[0]) & (brightest < BORDER[1])
    return {"measured": brightest < BORDER[0], "border": border, "clipped": brightest >= BORDER[1]}


def measure(
    picture: Path, kind: str, curve: NDArray[np.float32], nets: Reconstructor, seed: int
) -> dict[str, dict[str, float]]:
    """Make a clip, decode it, reconstruct it in both ways and score all."""
    hdr = torch.from_numpy(read_hdr(picture).pixels).permute(2, 0, 1)[None]
    scene = Scene(hdr / np.percentile(luminance(hdr).numpy(), 93), kind)
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "clip.mp4")
        encode(path, (photograph(scene.light(number), curve, rng) for number in range(FRAMES)))
        clip = VideoClip(path)
        frames = list(clip.frames([time for time, _ in clip.times()], 0, FRAMES))
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


def cell(column: str, scores: list[dict[str, float]], inputs: list[dict[str, float]]) -> str:
    """Return the mean over clips; of a change also the median of its ratio to the input's."""
    pairs = [(one[column], given[column]) for one, given in zip(scores, inputs, strict=True) if column in one]
    mean = float(np.mean([value for value, _ in pairs]))
    if "change" not in column:
        return f"{mean:.2f}"
    return f"{mean:.4f} ({np.median([value / given for value, given in pairs]):.2f} ×)"


def main() -> None:
    """Measure and print tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="of HDR pictures of at least 384 × 288 pixels")
    parser.add_argument("images", type=int, nargs="?", default=6, help="how many, spread evenly")
    parser.add_argument("--kinds", nargs="*", default=KINDS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    pictures = sorted(path for path in options.folder.iterdir() if path.suffix in (".hdr", ".exr"))
    pictures = [pictures[i * len(pictures) // options.images] for i in range(options.images)]
    curves = load_response_curves("builtin")
    held_out = curves.split("test")
    nets = Reconstructor.load("compact", device="cpu", precision="32")
    begun = time.monotonic()
    for kind in options.kinds:
        rows: dict[str, list[dict[str, float]]] = {name: [] for name in METHODS}
        for number, picture in enumerate(pictures):
            curve = curves.curves[held_out[number * len(held_out) // len(pictures)]]
            for name, scores in measure(picture, kind, curve, nets, number).items():
                rows[name].append(scores)
            print(f"{kind} {picture.name} {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
        names = list(dict.fromkeys(itertools.chain.from_iterable(scores for scores in rows["input"])))
        print(f"| {kind} | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|", sep="\n")
        for name, scores in rows.items():
            cells = [cell(column, scores, rows["input"]) for column in names]
            print(f"| {name} | {' | '.join(cells)} |", flush=True)
        print(flush=True)


if __name__ == "__main__":
    main()
