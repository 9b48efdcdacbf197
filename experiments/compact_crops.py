"""Train the compact hallucination on crops that are kept, ten times faster than on photographs drawn anew.

Most of a training step of `stage=hal preset=compact` makes photographs, as it is with linearization
(compact_counts.py). So crops are made once,

    python experiments/compact_crops.py make CROPS --root FOLDER --curves emor.txt --num 7000 --part 0

and the net goes on from what ships, over them again and again, flipped and turned, in larger batches:

    python experiments/compact_crops.py train CROPS OUT.safetensors --root FOLDER --curves emor.txt

Half of a batch is linearized by curves near the true one, as `stage=hal` does it, half by the curve that
the shipped linearization finds, and aligned. `--width 1.5` widens the net first: it starts as the function
that it was; `--colour 1` punishes tints more. `make` can be run several times at once, with a part each;
both go on where they were stopped.
"""

from __future__ import annotations

import argparse
import math
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from hdrlab.datasets import HDRDataModule
from hdrlab.losses import highlight_loss
from hdrlab.losses.pixel import WHITEST
from hdrlab.metrics import align_scale, clipped_mask, log10_rmse
from hdrlab.nets import Net, build_net
from hdrlab.nets.compact import CompactHallucinationNet
from hdrlab.ops.response import apply_response, average_inverse
from hdrlab.pipeline.singlehdr import dequantize, hallucinate, highlight
from hdrlab.weights.net_file import load_nets, save_net
from hdrlab.weights.pretrained import SHIPPED

CHUNK, PART = 200, 5_000_000
FIRST = 100_000_000
"""Counter of the first photograph, far from those of other trainings."""
NAMES = ("jpeg", "hdr", "curve", "found")
VALIDATED = 39
FLOOR = 1e-3


Columns = dict[str, Tensor]


def photographs(words: argparse.Namespace, patch: int = 256) -> HDRDataModule:
    """Open the images as `stage=hal` does."""
    data = HDRDataModule(
        "hdr_synth",
        stage="hal",
        root=str(words.root),
        manifest=str(words.root / "manifest.csv"),
        curves=str(words.curves),
        short_side=320,
        camera="varied",
        patch=patch,
        batch_size=8,
        val_images=VALIDATED,
        workers=0,
    )
    data.setup("fit")
    return data


def make(words: argparse.Namespace) -> None:
    """Keep crops, 200 a file."""
    words.crops.mkdir(parents=True, exist_ok=True)
    drawn = photographs(words, words.patch).train_dataloader().dataset
    nets = load_nets(SHIPPED / "compact")
    for chunk in range(math.ceil(words.num / CHUNK)):
        stem = f"train_{words.part}_{chunk:04d}"
        files = {name: words.crops / f"{stem}_{name}.npy" for name in NAMES}
        if all(file.exists() for file in files.values()):
            continue
        first = FIRST + words.part * PART + chunk * CHUNK
        samples = [drawn[i] for i in range(first, first + CHUNK)]
        columns = {
            "jpeg": [(s["jpeg"] * 255).round().byte() for s in samples],
            "hdr": [s["hdr"].clamp(max=WHITEST).half() for s in samples],
            "curve": [s["inv_curve"] for s in samples],
            "found": [find(nets, s["jpeg"][None])[0] for s in samples],
        }
        for name, column in columns.items():
            part = files[name].with_suffix(".part.npy")
            np.save(part, torch.stack(column).numpy())
            part.replace(files[name])
        print(stem, flush=True)


@torch.no_grad()
def find(nets: Mapping[str, nn.Module], photograph: Tensor) -> Tensor:
    """Return the inverse curves [B, 1024] that the shipped nets find."""
    curve: Tensor = nets["linearization"](dequantize(nets["dequantization"], photograph))
    return curve


class Crops:
    """Kept crops, read where they lie.

    Args:
        folder: What `make` wrote.
    """

    def __init__(self, folder: Path) -> None:
        self.columns = {
            name: [np.load(file, mmap_mode="r") for file in sorted(folder.glob(f"train_*_{name}.npy"))]
            for name in NAMES
        }
        if not self.columns["found"]:
            raise SystemExit(f"error: {folder} holds no crops; make some first")

    def draw(self, size: int, draws: torch.Generator) -> Columns:
        """Draw crops, each turned and flipped; images [B, 3, H, W], curves [B, 1024]."""
        files = torch.randint(len(self.columns["found"]), (size,), generator=draws)
        rows = torch.randint(CHUNK, (size,), generator=draws)
        turns = torch.randint(8, (size,), generator=draws)
        batch: Columns = {}
        for name, column in self.columns.items():
            taken = [torch.from_numpy(column[f][r].copy()) for f, r in zip(files, rows, strict=True)]
            if taken[0].ndim == 3:
                taken = [turn(one, int(way)) for one, way in zip(taken, turns, strict=True)]
            batch[name] = torch.stack(taken).float()
        batch["jpeg"] /= 255
        return batch


def turn(image: Tensor, way: int) -> Tensor:
    """Turn an image [C, S, S] by quarters, and flip it from way 4 on."""
    image = torch.rot90(image, way % 4, (1, 2))
    return image.flip(2) if way >= 4 else image


def loss_of(net: CompactHallucinationNet, batch: Columns, linear: Tensor, colour: float = 0.0) -> Tensor:
    """Return the loss of a training batch, a scalar, at every second pixel of B [B, 3, H, W].

    `colour` weighs by how much the channels' errors differ, beside the errors themselves.
    """
    scale = align_scale(linear, batch["hdr"], ~clipped_mask(batch["jpeg"])).clamp(0.2, 5)
    with torch.autocast("cpu", torch.bfloat16):
        field = net.field(linear).float()
    gain = _before(_before(field, 2), 3)
    linear, scene = (image[..., ::2, ::2].contiguous() for image in (linear, batch["hdr"]))
    alpha, hdr = highlight(net, linear, gain)
    hdr = hdr * scale[:, None, None, None]
    loss = highlight_loss(hdr, scene, alpha)
    if not colour:
        return loss
    error = torch.log(hdr + FLOOR) - torch.log(scene + FLOOR)
    tint = (error - error.mean(1, keepdim=True)).abs() * alpha
    return loss + colour * (tint.sum((1, 2, 3)) / (3 * alpha.sum((1, 2, 3)) + 3e-3 * alpha[0].numel())).mean()


def _before(field: Tensor, axis: int) -> Tensor:
    """Interpolate maps at half the resolution where the first of each two pixels lies."""
    first = field.narrow(axis, 0, 1)
    return 0.75 * field + 0.25 * torch.cat([first, field.narrow(axis, 0, field.shape[axis] - 1)], axis)


def error_of(net: CompactHallucinationNet, photo: Columns, curve: Tensor, deq: nn.Module) -> Tensor:
    """Return the aligned log10 error [B] in clipped pixels of whole photographs, by a curve."""
    linear = apply_response(dequantize(deq, photo["jpeg"]), curve)
    hdr = hallucinate(net, linear)[1]
    scale = align_scale(linear, photo["hdr"], ~clipped_mask(photo["jpeg"]))[:, None, None, None]
    return log10_rmse(hdr * scale, photo["hdr"], clipped_mask(photo["lin"]), floor=1e-4)


def widen(net: CompactHallucinationNet, width: float) -> CompactHallucinationNet:
    """Return a wider net that is the same function: what is new reads all, and is read by nothing old yet."""
    wide = build_net("hallucination", "compact", width=width)
    assert isinstance(wide, CompactHallucinationNet)
    state = wide.state_dict()
    for name, old in net.state_dict().items():
        new = state[name]
        if old.ndim == 1:
            new[: len(old)] = old
            continue
        # What is concatenated: new maps come after each part's own.
        if re.fullmatch(r"up\.\d\.1\.weight", name):
            parts, wider = (_halves(one, name) for one in (net, wide))
        elif name.startswith("context"):
            parts, wider = ([one.shape[1] // 2] * 2 for one in (old, new))
        else:
            parts, wider = [old.shape[1]], [new.shape[1]]
        new[: len(old)] = 0
        here = there = 0
        for part, room in zip(parts, wider, strict=True):
            new[: len(old), there : there + part] = old[:, here : here + part]
            here, there = here + part, there + room
    wide.load_state_dict(state)
    return wide


def _halves(net: CompactHallucinationNet, name: str) -> list[int]:
    fuse = net.get_parameter(name)
    return [len(fuse), fuse.shape[1] - len(fuse)]


def train(words: argparse.Namespace) -> None:
    """Train on crops; the averaged state with the least error on validation photographs is written."""
    draws = torch.Generator().manual_seed(words.seed)
    torch.manual_seed(words.seed)
    crops, nets = Crops(words.crops), load_nets(SHIPPED / "compact")
    validation = photographs(words).val_dataloader()
    (held,) = validation if isinstance(validation, list) else [validation]
    photos = [{k: v[None] for k, v in held.dataset[i].items()} for i in range(VALIDATED)]
    for one in photos:
        one["curve"], one["found"] = one["inv_curve"], find(nets, one["jpeg"])
        one["hdr"] = one["hdr"].clamp(max=WHITEST)
    net = nets["hallucination"]
    assert isinstance(net, CompactHallucinationNet)
    if words.width != 1:
        net = widen(net, words.width)
    average = torch.optim.swa_utils.AveragedModel(
        net,
        multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(words.ema),  # type: ignore[no-untyped-call]
    )
    optimizer = torch.optim.AdamW(net.parameters(), words.lr, weight_decay=0.01)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, words.lr, total_steps=words.steps, pct_start=0.05)
    parts: dict[str, Any] = {"net": net, "average": average, "optimizer": optimizer, "rate": rate}
    state, first, best = words.out.with_suffix(".state"), 1, math.inf
    if state.exists():
        kept = torch.load(state, weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(kept[name])
        draws.set_state(kept["draws"])
        first, best = kept["step"] + 1, kept["best"]
    else:
        _validate("before", average.module, nets, photos)
    began, total = time.monotonic(), 0.0
    for step in range(first, words.steps + 1):
        net.train()
        batch = crops.draw(words.batch, draws)
        curve, half = batch["found"], words.batch // 2
        share = 0.4 * torch.rand(half, 1, generator=draws)
        curve[:half] = torch.lerp(batch["curve"][:half], average_inverse(batch["curve"][:half]), share)
        with torch.no_grad():
            with torch.autocast("cpu", torch.bfloat16):
                dequantized = dequantize(nets["dequantization"], batch["jpeg"])
            linear = apply_response(dequantized.float(), curve)
        loss = loss_of(net, batch, linear, words.colour)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(net.parameters(), 0.5)
        optimizer.step()
        rate.step()
        average.update_parameters(net)
        total += float(loss.detach())
        if step % words.every == 0 or step == words.steps:
            speed = (time.monotonic() - began) / (step - first + 1)
            print(f"loss {total / words.every:.4f}, {speed:.2f} s a step", flush=True)
            total = 0.0
            score = _validate(f"step {step}", average.module, nets, photos)
            if score < best:
                best = score
                save_net(
                    cast("Net", average.module), words.out, {"experiment": "compact_crops", "steps": step}
                )
            kept = {name: part.state_dict() for name, part in parts.items()}
            torch.save({**kept, "draws": draws.get_state(), "step": step, "best": best}, state)


@torch.no_grad()
def _validate(name: str, net: nn.Module, nets: Mapping[str, nn.Module], photos: list[Columns]) -> float:
    """Print the error in clipped pixels with the true curve and with the one found; return the latter."""
    assert isinstance(net, CompactHallucinationNet)
    net.eval()
    scores = []
    for curve in ("curve", "found"):
        errors = [error_of(net, one, one[curve], nets["dequantization"]) for one in photos]
        scores.append(float(torch.cat(errors).nanmean()))
    print(f"{name}: log10 error {scores[0]:.4f} by true curves, {scores[1]:.4f} by its own", flush=True)
    return scores[1]


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
        one.add_argument("crops", type=Path, help="folder of the crops")
        one.add_argument("--root", type=Path, required=True, help="HDR images, with manifest.csv")
        one.add_argument("--curves", type=Path, required=True, help="emor.txt")
    making.add_argument("--num", type=int, default=7000)
    making.add_argument("--part", type=int, default=0)
    making.add_argument("--patch", type=int, default=256)
    training.add_argument("out", type=Path)
    training.add_argument("--width", type=float, default=1.0)
    training.add_argument("--steps", type=int, default=5000)
    training.add_argument("--every", type=int, default=250)
    training.add_argument("--batch", type=int, default=32)
    training.add_argument("--lr", type=float, default=5e-4)
    training.add_argument("--ema", type=float, default=0.998)
    training.add_argument(
        "--colour", type=float, default=0.0, help="weight of errors that channels do not share"
    )
    training.add_argument("--seed", type=int, default=0)
    words = parser.parse_args()
    words.run(words)


if __name__ == "__main__":
    main()
