"""Train the compact linearization on counts that are kept, a thousand times faster than on photographs.

Most of a training step of `stage=lin preset=compact` makes photographs and counts their levels and edges, the
net itself takes a few milliseconds. So photographs are counted once:

    python experiments/compact_counts.py make COUNTS --root FOLDER --curves emor.txt --num 28000 --part 0

and the net goes on from what ships, over them again and again, in large batches:

    python experiments/compact_counts.py train COUNTS OUT.safetensors

`make` can be run several times at once, with a part each, and goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from hdrlab.datasets import HDRDataModule, varied
from hdrlab.datasets.varied import Floats, VariedTraining
from hdrlab.metrics.photometry import ANCHOR_LUMINANCE, PEAK_LUMINANCE
from hdrlab.metrics.pu21 import PU21_PEAK, pu21_encode
from hdrlab.nets import build_net
from hdrlab.nets.compact import CompactLinearizationNet, statistics
from hdrlab.ops.response import average_inverse
from hdrlab.weights.net_file import load_nets, save_net
from hdrlab.weights.pretrained import SHIPPED

CHUNK, PART = 400, 5_000_000
FIRST = 50_000_000
"""Counter of the first photograph, far from those of other trainings."""
NAMES = ("counts", "cells", "levels", "curve")
LEVELS, UNCLIPPED = 256, 250


def count(sample: Mapping[str, Tensor]) -> tuple[np.ndarray, ...]:
    """Count a photograph: for the net, its levels [3, 256] for the loss, and its curve [1024]."""
    photograph = sample["jpeg"]
    counts, cells = statistics(photograph[None])
    levels = torch.stack(
        [torch.bincount(p.flatten(), minlength=LEVELS) for p in (photograph * 255).round().long()]
    )
    return (
        counts[0].half().numpy(),
        cells[0].half().numpy(),
        levels.int().numpy(),
        sample["inv_curve"].half().numpy(),
    )


def make(words: argparse.Namespace) -> None:
    """Count photographs in files of 400."""
    words.counts.mkdir(parents=True, exist_ok=True)
    data = HDRDataModule(
        "hdr_synth",
        stage="lin",
        root=str(words.root),
        manifest=str(words.root / "manifest.csv"),
        curves=str(words.curves),
        short_side=320,
        camera="varied",
        patch=224,
        batch_size=16,
        val_images=39,
        workers=0,
    )
    data.setup("fit")
    validation = data.val_dataloader()
    (held,) = validation if isinstance(validation, list) else [validation]
    _write(words.counts / "val.npz", held.dataset, range(39))
    photographs = data.train_dataloader().dataset
    if words.mixed:
        varied.cut = partial(cut_two, photographs.samples, varied.cut)
    for chunk in range(math.ceil(words.num / CHUNK)):
        first = FIRST + words.part * PART + chunk * CHUNK
        _write(words.counts / f"train_{words.part}_{chunk:04d}.npz", photographs, range(first, first + CHUNK))


def cut_two(
    drawn: VariedTraining, cut: Callable[..., Floats], image: Floats, side: int, draws: np.random.Generator
) -> Floats:
    """Cut a square [3, side, side] out of an image, and often put one of another scene into a part of it."""
    square = cut(image, side, draws)
    if draws.random() < 0.25:
        return square
    other = cut(drawn.index.load(drawn._image(draws)), side, draws)
    brightness = np.median(square) / max(float(np.median(other)), 1e-9)
    at = round(side * draws.uniform(0.3, 0.7))
    part = (
        (slice(None), slice(at, None))
        if draws.random() < 0.5
        else (slice(None), slice(None), slice(at, None))
    )
    square[part] = other[part] * np.float32(brightness * np.exp(draws.normal(0, 0.7)))
    return square


def _write(file: Path, photographs: Dataset[dict[str, Tensor]], counters: range) -> None:
    if file.exists():
        return
    columns = zip(*(count(photographs[i]) for i in counters), strict=True)
    part = file.with_suffix(".part.npz")
    np.savez(part, **dict(zip(NAMES, map(np.stack, columns), strict=True)))
    part.replace(file)
    print(file, flush=True)


def read(files: list[Path]) -> list[Tensor]:
    """Read counts of all files."""
    stored = [np.load(file) for file in files]
    return [torch.from_numpy(np.concatenate([one[name] for one in stored])) for name in NAMES]


def scores(curve: Tensor, levels: Tensor, truth: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Compare inverse curves [B, 1024] over the levels [B, 3, 256] of photographs.

    Returns:
        Squared error of the linear image, of the curve, of the aligned logarithm over unclipped levels; and
        PU21-PSNR in dB of the aligned linear image; each [B].
    """
    made, true = (_at_levels(one) for one in (curve, truth))
    weight = _shares(levels.sum(dim=1).float())
    unclipped = weight.clone()
    unclipped[:, UNCLIPPED:] = 0
    ratio = torch.log(made + 0.005) - torch.log(true + 0.005)
    ratio = ratio - (_shares(unclipped) * ratio).sum(1, keepdim=True)
    scale = (unclipped * made * true).sum(1) / (unclipped * made.square()).sum(1).clamp(min=1e-9)
    median = true.gather(1, (weight.cumsum(1) < 0.5).sum(1, keepdim=True).clamp(max=LEVELS - 1))
    display = ANCHOR_LUMINANCE / median.clamp(min=1e-3)
    shown, wanted = (
        pu21_encode((x * display).clamp(0.005, PEAK_LUMINANCE["display"]))
        for x in (made * scale[:, None], true)
    )
    error = (weight * (shown - wanted).square()).sum(1)
    return (
        (weight * (made - true).square()).sum(1),
        (curve - truth).square().mean(1),
        (_shares(unclipped) * ratio.square()).sum(1),
        10 * torch.log10(PU21_PEAK**2 / error.clamp(min=1e-3)),
    )


def _at_levels(curve: Tensor) -> Tensor:
    place = torch.arange(LEVELS) / (LEVELS - 1) * (curve.shape[1] - 1)
    below = place.floor().long().clamp(max=curve.shape[1] - 2)
    return torch.lerp(curve[:, below], curve[:, below + 1], (place - below)[None])


def _shares(weights: Tensor) -> Tensor:
    return weights / weights.sum(1, keepdim=True).clamp(min=1e-6)


def train(words: argparse.Namespace) -> None:
    """Train on counts; validated eight times, of which the last state is written."""
    torch.manual_seed(words.seed)
    known = read(sorted(words.counts.glob("train_*.npz")))
    held = [column.float() for column in read([words.counts / "val.npz"])]
    if words.fresh:
        net = build_net("linearization", "compact", basis=str(words.fresh))
    else:
        net = load_nets(SHIPPED / "compact")["linearization"].train()
    assert isinstance(net, CompactLinearizationNet)
    average = torch.optim.swa_utils.AveragedModel(
        net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99)
    )
    optimizer = torch.optim.AdamW(net.parameters(), words.lr, weight_decay=0.02)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, words.lr, total_steps=words.steps, pct_start=0.05)
    _report("average camera", scores(average_inverse(held[3]), held[2], held[3]))
    for step in range(1, words.steps + 1):
        drawn = torch.randint(len(known[0]), (words.batch,))
        counts, cells, levels, truth = (column[drawn].float() for column in known)
        linear, curve, logarithm, psnr = (
            term.mean() for term in scores(net.curve(counts, cells), levels, truth)
        )
        loss = linear + 5 * curve + logarithm - words.pu21 * psnr
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 0.5)
        optimizer.step()
        rate.step()
        average.update_parameters(net)
        if step % max(1, words.steps // 8) == 0:
            with torch.no_grad():
                inferred = average.module.eval().curve(held[0], held[1])
            _report(f"step {step}", scores(inferred, held[2], held[3]))
    save_net(average.module, words.out, {"experiment": "compact_counts", "steps": words.steps})


def _report(name: str, values: tuple[Tensor, ...]) -> None:
    linear, curve, logarithm, psnr = (float(value.mean()) for value in values)
    print(
        f"{name}: linear {linear:.5f}  curve {curve:.5f}  log {logarithm:.4f}  PU21-PSNR {psnr:.2f}",
        flush=True,
    )


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    does = parser.add_subparsers(required=True)
    making, training = (does.add_parser(one.__name__, help=one.__doc__) for one in (make, train))
    making.set_defaults(run=make)
    training.set_defaults(run=train)
    for one in (making, training):
        one.add_argument("counts", type=Path, help="folder of the counts")
    making.add_argument("--root", type=Path, required=True, help="HDR images, with manifest.csv")
    making.add_argument("--curves", type=Path, required=True, help="emor.txt")
    making.add_argument("--num", type=int, default=14000)
    making.add_argument("--part", type=int, default=0)
    making.add_argument("--mixed", action="store_true", help="photographs of two scenes each, mostly")
    training.add_argument("out", type=Path)
    training.add_argument(
        "--fresh", type=Path, help="from nothing, with this invemor.txt, not from what ships"
    )
    training.add_argument("--steps", type=int, default=1500)
    training.add_argument("--batch", type=int, default=256)
    training.add_argument("--lr", type=float, default=1e-3)
    training.add_argument("--pu21", type=float, default=0.03)
    training.add_argument("--seed", type=int, default=0)
    words = parser.parse_args()
    words.run(words)


if __name__ == "__main__":
    main()
