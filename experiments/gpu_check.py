"""What a GPU must show before it is trusted with a training, and how fast it is; some ten minutes.

    python experiments/gpu_check.py [--device cuda] [--output experiments/gpu_check.md]

Needs torch 2.11 or newer. Trains on rendered scenes (data=tiny), perceptual losses on random VGG-16 weights:
the losses mean nothing, the times do. ``--device cpu`` with a small ``--width`` tries the program itself.
"""

from __future__ import annotations

import argparse
import copy
import math
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts; makes it deterministic

import pytorch_lightning as pl
import torch
from torch import Tensor, distributed, nn
from torch.utils.data import Dataset

from hdrlab import __version__
from hdrlab.config.registry.stages import STAGES
from hdrlab.datasets.build import open_data
from hdrlab.datasets.progress import reading
from hdrlab.nets import NETS, Net, build_net
from hdrlab.train import COMMAND
from hdrlab.training import build, checkpoints
from hdrlab.training.run_folder import Run
from hdrlab.training.signals import interruptible

LEAST_TORCH = (2, 11)
WARM_UP = 5
"""Steps before the clock starts."""

PAPER_SIZES = {
    **dict.fromkeys(("deq", "lin", "hal", "joint", "real_finetune", "tmo_ft"), (8, 256)),
    "tmo_bottom": (32, 384),
    "tmo_high": (4, 384),
}
"""Samples a step and side of a patch: the papers', but for windows of 512, which no rendered scene has."""

PERCEPTUAL = {
    **dict.fromkeys(("hal", "joint"), 0.001),
    **dict.fromkeys(("tmo_bottom", "tmo_high", "tmo_ft"), 0.3),
}
"""Weights of the perceptual losses, which data=tiny leaves out where a CPU would be slow."""

NET_PRESETS = [tuple(name.split("/")) for name in NETS]

TRAINING = """
import os, signal, sys
import pytorch_lightning as pl
import torch
from hdrlab.training import (build)
from hdrlab.train import (COMMAND)

class Killed(pl.Callback):
    def on_train_batch_end(self, trainer, *args):
        if trainer.global_step == int(os.environ.get("KILL_AT", "-1")):
            os.kill(os.getpid(), signal.SIGKILL)

plain = build.build_trainer

def build_trainer(*args):
    trainer = plain(*args)
    trainer.callbacks.append(Killed())
    return trainer

build.build_trainer = build_trainer
torch.use_deterministic_algorithms(True, warn_only=True)
COMMAND.main(sys.argv[1:])
"""


def words_of_tiny(stage: str) -> list[str]:
    """Return the words that choose the rendered scenes."""
    return ["data=tiny"]


@dataclass(frozen=True)
class Plan:
    """What is checked, and at which size.

    Attributes:
        device: ``cuda``, or ``cpu`` to try the program itself.
        work: Scratch folder for runs.
        data: From a stage to the words that choose its data.
        width: Factor on the nets' channel counts.
        sizes: Samples a step and side of a patch, by stage.
        side: Side of the images that nets are compared on.
        steps: Steps of a run, more than `WARM_UP`.
        workers: Loader processes.
        stages: What is trained.
        compiled: Stages that are also trained with compiled nets.
    """

    device: str
    work: Path
    data: Callable[[str], list[str]] = words_of_tiny
    width: float = 1.0
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=lambda: PAPER_SIZES)
    side: int = 64
    steps: int = 25
    workers: int = min(16, os.cpu_count() or 1)
    stages: tuple[str, ...] = tuple(STAGES)
    compiled: tuple[str, ...] = ("deq", "lin", "hal", "tmo_ft")


@dataclass(frozen=True)
class Finding:
    """A line of the table of checks; ``passed`` is None where nothing was promised."""

    check: str
    subject: str
    result: str
    passed: bool | None


@dataclass(frozen=True)
class Outcome:
    """A short training.

    Attributes:
        speed: Samples a second, after the warm-up.
        first_seconds: Seconds to the end of the first step.
        memory: Peak of the device's memory in GB; NaN on a CPU.
        losses: Of the first and of the last step.
        weights: At the end, on the CPU.
    """

    speed: float
    first_seconds: float
    memory: float
    losses: tuple[float, float]
    weights: dict[str, Tensor]


# ------------------------------------------------------------------------------------------------- parity


@contextmanager
def without_tf32() -> Iterator[None]:
    """Let float32 have all its digits on a GPU."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def run_net(net: Net, x: Tensor, device: str, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return a net's output and its gradient, all parameters' in one vector, in float64 on the CPU."""
    net = copy.deepcopy(net).to(device, dtype).train()
    for module in net.modules():
        if isinstance(module, nn.Dropout):  # which draws anew on each device
            module.eval()
    made = net(x.to(device, dtype))
    made.square().mean().backward()
    slopes = [p.grad.flatten() for p in net.parameters() if p.grad is not None]
    return made.detach().double().cpu(), torch.cat(slopes).double().cpu()


def error_of(made: tuple[Tensor, Tensor], exact: tuple[Tensor, Tensor]) -> float:
    """Return the larger relative error of output and gradient, in the Euclidean norm."""
    return max(float((a - b).norm() / b.norm().clamp(min=1e-30)) for a, b in zip(made, exact, strict=True))


def compare_net(name: str, preset: str, plan: Plan) -> Finding:
    """Compare a net on the device with the same net on the CPU, both with the CPU's float64 result.

    The device may err ten times as much as the CPU does; in float64 by 1e-9.
    """
    torch.manual_seed(0)
    net = build_net(name, preset, width=plan.width)
    x = torch.rand(2, 9 if name == "refinement" else 3, plan.side, plan.side)
    exact = run_net(net, x, "cpu", torch.float64)
    with without_tf32():
        wide = error_of(run_net(net, x, plan.device, torch.float64), exact)
        cpu = error_of(run_net(net, x, "cpu", torch.float32), exact)
        single = error_of(run_net(net, x, plan.device, torch.float32), exact)
    tf32 = error_of(run_net(net, x, plan.device, torch.float32), exact)
    result = f"float64 {wide:.1e}; float32 {single:.1e} (CPU {cpu:.1e}, with TF32 {tf32:.1e})"
    return Finding("parity", f"{name}, {preset}", result, wide < 1e-9 and single < 10 * cpu + 1e-6)


def parity(plan: Plan) -> Iterator[Finding]:
    """Compare every net in every preset."""
    for name, preset in NET_PRESETS:
        yield compare_net(name, preset, plan)


# ------------------------------------------------------------------------------------------------ training


class Meter(pl.Callback):
    """Measures a training."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.begun = time.perf_counter()
        self.first_seconds = self.seconds = float("nan")
        self.losses: list[Tensor] = []

    def _clock(self) -> float:
        if self.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def on_train_batch_start(self, trainer: pl.Trainer, *args: Any) -> None:
        """Start the clock: of the first step, or of those that count."""
        if trainer.global_step in (0, WARM_UP):
            self.begun = self._clock()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *args: Any
    ) -> None:
        """Note the loss, and the time where it is asked for."""
        self.losses.append(outputs["loss"].detach())
        if trainer.global_step == 1:
            self.first_seconds = self._clock() - self.begun
        if trainer.global_step == trainer.max_steps:
            self.seconds = self._clock() - self.begun


class Cached(Dataset[dict[str, Tensor]]):
    """A few samples in memory, again and again: what a training is without its input."""

    def __init__(self, samples: list[dict[str, Tensor]]) -> None:
        self.samples = samples

    def __getitem__(self, counter: int) -> dict[str, Tensor]:
        """Return a sample by the counter of the training."""
        return self.samples[counter % len(self.samples)]


def words_of(plan: Plan, stage: str, runs: Path, *more: str) -> list[str]:
    """Return the command line of a training."""
    batch, patch = plan.sizes[stage]
    weight = PERCEPTUAL.get(stage)
    perceptual = [f"stage.loss.perceptual={weight}", "stage.perceptual.weights=random"] if weight else []
    return [
        *(f"stage={stage}", *plan.data(stage), f"stage.width={plan.width}", *perceptual),
        *(f"stage.batch_size={batch}", f"stage.patch={patch}", f"stage.max_steps={plan.steps}"),
        *(
            f"trainer.accelerator={'gpu' if plan.device == 'cuda' else 'cpu'}",
            f"trainer.val_every={plan.steps}",
        ),
        *("data.val_images=1", "callbacks.progress=none", "callbacks.panels=0", f"paths.runs={runs}"),
        *more,
    ]


def train_once(plan: Plan, stage: str, *more: str, cached: bool = True) -> Outcome:
    """Train a stage from random nets for a few steps.

    Args:
        plan: The sizes.
        stage: The stage.
        *more: Words of the command line.
        cached: Whether the samples are those of one step again and again.
    """
    workers = 0 if cached else plan.workers
    config = COMMAND.compose(words_of(plan, stage, plan.work, f"data.workers={workers}", *more))
    with reading(f"data={config.data.name}") as progress:
        keys = STAGES[stage].batch_keys
        index = open_data(config.data, Path(config.paths.data) / "cache", keys, progress)
    data = build.build_data(config, index)
    if cached:
        data.training = Cached([data.training[counter] for counter in range(data.batch_size)])
    module = build.build_stage(config)
    module.header = checkpoints.header(config, index, {})
    meter = Meter(plan.device)
    if plan.device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    with tempfile.TemporaryDirectory(dir=plan.work) as folder, interruptible() as interruption:
        trainer = build.build_trainer(config, Run(Path(folder), None, None), data, interruption)
        trainer.callbacks.append(meter)  # type: ignore[attr-defined]
        build.fit(trainer, module, data, None)
    memory = torch.cuda.max_memory_allocated() / 1e9 if plan.device == "cuda" else float("nan")
    samples = (plan.steps - WARM_UP) * config.stage.batch_size
    weights = {name: value.cpu().clone() for name, value in module.state_dict().items()}
    losses = float(meter.losses[0]), float(meter.losses[-1])
    return Outcome(samples / meter.seconds, meter.first_seconds, memory, losses, weights)


def is_finite(outcome: Outcome) -> bool:
    """Say whether losses and weights are numbers."""
    values = [torch.tensor(outcome.losses), *outcome.weights.values()]
    return all(bool(value.isfinite().all()) for value in values)


def described(one: Outcome) -> str:
    """Put an outcome into words."""
    losses = " → ".join(f"{loss:.4g}" for loss in one.losses)
    memory = "" if math.isnan(one.memory) else f"{one.memory:.2f} GB, "
    return f"{one.speed:.1f} samples/s, {memory}loss {losses}"


def stages(plan: Plan) -> Iterator[Finding]:
    """Train every stage in float32 and bf16; in bf16 with real input too."""
    for stage in plan.stages:
        single = train_once(plan, stage, "trainer.precision=32")
        half = train_once(plan, stage, "trainer.precision=bf16")
        real = train_once(plan, stage, "trainer.precision=bf16", cached=False)
        sound = all(map(is_finite, (single, half, real)))
        apart = abs(half.losses[0] / single.losses[0] - 1)
        for name, one in (("float32", single), ("bf16", half)):
            yield Finding(f"training in {name}", stage, described(one), is_finite(one))
        told = f"bf16 ÷ float32: first loss {1 + apart:.4f}, speed {half.speed / single.speed:.2f}"
        yield Finding("bf16 agrees", stage, told, sound and apart < 0.03)
        told = f"{real.speed:.1f} samples/s, {real.speed / half.speed:.2f} of a cached batch's"
        yield Finding(f"input, {plan.workers} workers", stage, told, None)


def float16(plan: Plan) -> Iterator[Finding]:
    """Train in float16, which a CPU does not."""
    if plan.device == "cpu":
        yield Finding("training in float16", "", "left out: needs a GPU", None)
        return
    for stage in ("deq", "tmo_ft"):
        one = train_once(plan, stage, "trainer.precision=16")
        told = (
            f"{one.speed:.1f} samples/s, {one.memory:.2f} GB, loss {one.losses[0]:.4g} → {one.losses[1]:.4g}"
        )
        yield Finding("training in float16", stage, told, is_finite(one))


def compiled(plan: Plan) -> Iterator[Finding]:
    """Train with compiled nets and without."""
    for stage in plan.compiled:
        for precision in ("32", "bf16"):
            plain, fast = (
                train_once(plan, stage, f"trainer.precision={precision}", f"trainer.compile={on}")
                for on in ("false", "true")
            )
            apart = abs(fast.losses[0] / plain.losses[0] - 1)
            told = (
                f"{fast.speed:.1f} samples/s, {fast.speed / plain.speed:.2f} of plain; first step "
                f"{fast.first_seconds:.0f} s; first loss apart by {apart:.1e}"
            )
            passed = is_finite(fast) and apart < (0.03 if precision == "bf16" else 1e-3)
            yield Finding(f"compiled, precision={precision}", stage, told, passed)


# ------------------------------------------------------------------------------------------ exactness


@contextmanager
def deterministic() -> Iterator[list[str]]:
    """Choose deterministic kernels; yield what torch says of operations that have none."""
    said: list[str] = []
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield said
        said += sorted({str(w.message).split(" ")[0] for w in caught if "deterministic" in str(w.message)})
    finally:
        torch.use_deterministic_algorithms(False)


def determinism(plan: Plan) -> Iterator[Finding]:
    """Train every stage twice with deterministic kernels: bit for bit the same, where torch has them all?"""
    for stage in plan.stages:
        usual = train_once(plan, stage)
        with deterministic() as without:
            one, other = (train_once(plan, stage) for _ in range(2))
        changed = [n for n, value in one.weights.items() if not torch.equal(value, other.weights[n])]
        told = "bit-identical" if not changed else f"{len(changed)} of {len(one.weights)} tensors differ"
        told += f"; time ÷ usual {usual.speed / one.speed:.2f}"
        told += f"; torch has no deterministic {', '.join(without)}" if without else ""
        yield Finding("determinism", stage, told, None if changed and without else not changed)


def kill_and_resume(plan: Plan) -> Iterator[Finding]:
    """Kill a training, start the same command again, and compare with one that nothing happened to."""
    stage = "deq"
    more = (f"data.workers={min(2, plan.workers)}", "trainer.save_every=5", "trainer.log_every_n_steps=1")
    results = {}
    for name, kills in (("killed", ["8", "-1"]), ("whole", ["-1"])):
        words = words_of(plan, stage, plan.work / name, *more)
        for kill_at in kills:
            told = [sys.executable, "-c", TRAINING, *words]
            left = subprocess.run(told, env={**os.environ, "KILL_AT": kill_at}, check=False)
            expected = 0 if kill_at == "-1" else -signal.SIGKILL
            if left.returncode != expected:
                yield Finding("kill and resume", stage, f"exit code {left.returncode}, not {expected}", False)
                return
        (last,) = (plan.work / name / stage).glob("*/last.ckpt")
        stored = torch.load(last, map_location="cpu", weights_only=True)
        results[name] = stored["state_dict"], (last.parent / "metrics.csv").read_bytes()
    (a, log), (b, other_log) = results.values()
    changed = [name for name in a if not torch.equal(a[name], b[name])]
    told = f"{len(changed)} of {len(a)} tensors differ" if changed else "weights bit-identical"
    told += ", the log too" if log == other_log else ", the log differs"
    yield Finding("kill and resume", stage, told, not changed and log == other_log)


# ------------------------------------------------------------------------------------- shared batch norm


def _share(rank: int, folder: str, width: float, side: int) -> None:
    """Run half of a batch on one of two ranks that share the GPU; write output and summed gradients."""
    distributed.init_process_group("gloo", init_method=f"file://{folder}/ranks", rank=rank, world_size=2)
    try:
        net, x = _shared_net(width, side)
        net = nn.SyncBatchNorm.convert_sync_batchnorm(net)
        made = net(x[2 * rank : 2 * rank + 2])
        made.square().sum().backward()
        slopes = torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None]).cpu()
        distributed.all_reduce(slopes)
        torch.save((made.detach().cpu(), slopes), f"{folder}/{rank}.pt")
    finally:
        distributed.destroy_process_group()


def _shared_net(width: float, side: int) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    net = build_net("hallucination", width=width).to("cuda", torch.float64)
    return net, torch.rand(4, 3, side, side, dtype=torch.float64).to("cuda")


def shared_batch_norm(plan: Plan) -> Iterator[Finding]:
    """Compare two ranks with synchronised batch norms with one that has the whole batch, in float64."""
    if plan.device == "cpu":
        yield Finding("SyncBatchNorm", "", "left out: torch has it for GPUs only", None)
        return
    with tempfile.TemporaryDirectory(dir=plan.work) as folder:
        torch.multiprocessing.spawn(_share, (folder, plan.width, plan.side), nprocs=2)
        parts = [torch.load(Path(folder) / f"{rank}.pt", weights_only=True) for rank in range(2)]
    net, x = _shared_net(plan.width, plan.side)
    made = net(x)
    made.square().sum().backward()
    slopes = torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None]).cpu()
    both = torch.cat([part[0] for part in parts]), parts[0][1]
    error = error_of(both, (made.detach().cpu(), slopes))
    yield Finding(
        "SyncBatchNorm", "hallucination, two ranks", f"apart by {error:.1e} in float64", error < 1e-9
    )


# ------------------------------------------------------------------------------------------------- report

SECTIONS = (parity, shared_batch_norm, stages, float16, determinism, kill_and_resume, compiled)


def check(plan: Plan) -> list[Finding]:
    """Carry out all checks; one that breaks off is a finding, and the others still run."""
    found = []
    for section in SECTIONS:
        try:
            for finding in section(plan):
                found.append(finding)
                print(_line(finding), flush=True)
        except Exception as error:  # minutes on a GPU are dear: say all that can be said
            told = f"broke off: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            found.append(Finding(section.__name__, "", told, False))
            print(_line(found[-1]), flush=True)
    return found


def _line(one: Finding) -> str:
    verdict = {True: "yes", False: "**no**", None: "–"}[one.passed]
    return f"| {one.check} | {one.subject} | {one.result} | {verdict} |"


def machine(device: str) -> dict[str, str]:
    """Describe card and versions."""
    told = {"date": date.today().isoformat(), "hdrlab": __version__, "Python": platform.python_version()}
    told["torch"] = f"{torch.__version__} (CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()})"
    if device == "cuda":
        card = torch.cuda.get_device_properties(0)
        told["card"] = f"{card.name}, {card.total_memory / 1e9:.0f} GB, capability {card.major}.{card.minor}"
        if nvidia := shutil.which("nvidia-smi"):
            asked = [nvidia, "--query-gpu=driver_version", "--format=csv,noheader"]
            answer = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=30)
            told["driver"] = answer.stdout.strip().splitlines()[0] if answer.stdout.strip() else "unknown"
    else:
        told["card"] = f"none: {platform.processor() or platform.machine()}"
    return told


def write_report(plan: Plan, found: list[Finding], path: Path) -> None:
    """Write card, versions and numbers as Markdown."""
    sizes = "; ".join(f"{s} {plan.sizes[s][0]} × {plan.sizes[s][1]}²" for s in plan.stages)
    lines = [
        "# What a GPU showed",
        "",
        "Written by `python experiments/gpu_check.py`. Rendered scenes, random VGG-16 weights: the losses",
        f"mean nothing. Width {plan.width:g}, {plan.steps} steps a run, {WARM_UP} of them untimed; {sizes}.",
        "",
        *(f"- {name}: {value}" for name, value in machine(plan.device).items()),
        "",
        "| check | of | result | passed |",
        "|---|---|---|---|",
        *map(_line, found),
        "",
    ]
    path.write_text("\n".join(lines), encoding="utf-8")


def refusal(device: str) -> str | None:
    """Return why nothing can be checked here."""
    version = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    if device == "cuda" and version < LEAST_TORCH:
        return f"torch {torch.__version__}: the check needs 2.11 or newer"
    if device == "cuda" and not torch.cuda.is_available():
        return f"torch {torch.__version__} finds no GPU on this machine; nothing was checked"
    return None


def main() -> int:
    """Check, print, write; return 0 where all passed, 1 where not, 2 where nothing can be checked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("gpu_check.md"))
    parser.add_argument("--width", type=float, default=1.0)
    told = parser.parse_args()
    if said := refusal(told.device):
        print(said, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as work:
        plan = Plan(told.device, Path(work), width=told.width)
        found = check(plan)
        write_report(plan, found, told.output)
    print(f"written: {told.output}")
    return int(any(one.passed is False for one in found))


if __name__ == "__main__":
    sys.exit(main())
