"""How fast this checkout is beside another: the targets of speed, measured interleaved; writes speed.md.

    make bench                      # beside the commit before the work on speed, checked out in build/
    make bench BASE=../other        # beside another checkout
    python experiments/bench.py --base PATH [--rows T5 T9] [--quads 2] [--side 512]

Each checkout has a process of its own with one thread; they take turns (ABBA or BAAB), and what counts is
the processor time of the one whose turn it is, which other programs disturb less than the clock. Both compute
with the same weights on the same data, and their results are compared.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
BASE_COMMIT = "c719228"
CHAIN = ("dequantization", "linearization", "hallucination", "refinement")
TONE = ("tmo_high", "tmo_bottom", "tmo_merge")
PRESETS = {"linearization": "official"}
"""The authors' form where the default is another: its histogram maps are those that fold."""
PHOTO, SCENE = (1504, 2016), (3000, 4000)
"""Sizes of the whole commands: 3 and 12 megapixels."""
ROWS = ["T1", "T2", *(f"T{number}" for number in range(5, 12)), "T13"]
EQUAL = 1e-5
"""Largest difference of float32 results, relative to the largest value."""

# ------------------------------------------------------------------- what a checkout computes, in its process


def cases(work: Path, side: int) -> dict[str, Callable[[], Any]]:
    """Return what can be asked for, by name; everything is made when it is asked for first."""
    import torch

    from hdrlab.nets import build_net

    torch.set_num_threads(1)
    made: dict[str, Any] = {}

    def net(name: str, *, train: bool = False, half: bool = False) -> Any:
        built = build_net(name, PRESETS.get(name, "default"))
        built.load_state_dict(torch.load(work / f"{name}.state"))
        built.autocast = torch.bfloat16 if half else None
        return built.train() if train else built.fold() if hasattr(built, "fold") else built.eval()

    def image(channels: int, size: int, batch: int = 1) -> Any:
        return torch.rand(batch, channels, size, size, generator=torch.Generator().manual_seed(1))

    def infer(name: str, half: bool) -> Callable[[], Any]:
        ready, x = net(name, half=half), image(9 if name == "refinement" else 3, side)
        return lambda: ready(x).numpy()

    def step(name: str, half: bool) -> Callable[[], Any]:
        ready, x = net(name, train=True, half=half), image(3, side // 2, batch=2)

        def run() -> Any:
            ready.zero_grad()
            loss = ready(x).square().mean()
            loss.backward()
            return loss.detach().reshape(1).numpy()

        return run

    def photo(height: int, width: int) -> Any:
        y, x = np.mgrid[0:height, 0:width] / height
        noise = 30 * np.random.default_rng(0).random((height, width, 3))
        lamp = 400 * np.exp(-40 * ((x - 0.6) ** 2 + (y - 0.3) ** 2))
        return (np.stack([200 * x, 150 * y, 180 - 100 * x], -1) + noise + lamp[..., None]).clip(0, 255)

    def untrained(name: str) -> Any:
        built = build_net(name, PRESETS.get(name, "default"))
        built.load_state_dict(torch.load(work / f"{name}.state"))
        return built.eval()

    def reconstruct(half: bool) -> Callable[[], Any]:
        nets, taken = {name: untrained(name) for name in CHAIN}, photo(*PHOTO).astype(np.uint8)
        if find_spec("hdrlab.inference"):
            from hdrlab.inference.reconstructor import Reconstructor

            precision = "bf16" if half else "32"
            ready = Reconstructor(nets, procedure="default", precision=precision, device="cpu", memory="2GB")
            return lambda: ready(taken)
        from hdrlab.chain import _keep_heap_small  # type: ignore[import-not-found]  # of the base
        from hdrlab.tiles import reconstruct_tiled  # type: ignore[import-not-found]

        _keep_heap_small()
        ldr = torch.from_numpy(taken).permute(2, 0, 1)[None].float() / 255
        return lambda: (
            reconstruct_tiled(ldr, nets, memory=2e9).result[0].clamp(min=0).permute(1, 2, 0).numpy()
        )

    def tonemap(half: bool) -> Callable[[], Any]:
        nets = {name: untrained(name) for name in TONE}
        hdr = (photo(*SCENE) ** 2 / 1e4).astype(np.float32)
        if find_spec("hdrlab.inference"):
            from hdrlab.inference.tone_mapper import ToneNets
            from hdrlab.pipeline.iqatm import ToneInput

            ready = ToneNets(nets, ToneInput(), "default", "minmax", "cpu", "bf16" if half else "32")
            return lambda: ready(hdr)
        from hdrlab.tone_mapping import tone_map  # type: ignore[import-not-found]

        image = torch.from_numpy(hdr).permute(2, 0, 1)[None]
        return lambda: tone_map(image, nets)[0].permute(1, 2, 0).numpy()

    def lazily(name: str, make: Callable[[], Callable[[], Any]]) -> Callable[[], Any]:
        def run() -> Any:
            with torch.set_grad_enabled(name.startswith("step")):
                if name not in made:
                    made.clear()
                    made[name] = make()
                return made[name]()

        return run

    table: dict[str, Callable[[], Any]] = {}
    for half, ending in ((False, ""), (True, " bf16")):
        for name in CHAIN:
            table[f"infer {name}{ending}"] = lazily(
                f"infer {name}{ending}", lambda n=name, h=half: infer(n, h)
            )
        for name in CHAIN[:3]:
            table[f"step {name}{ending}"] = lazily(f"step {name}{ending}", lambda n=name, h=half: step(n, h))
        table[f"reconstruct{ending}"] = lazily(f"reconstruct{ending}", lambda h=half: reconstruct(h))
        table[f"tonemap{ending}"] = lazily(f"tonemap{ending}", lambda h=half: tonemap(h))
    return table


def peak(*, reset: bool = False) -> float:
    """Return the largest resident memory in GB so far, or since it was reset (Linux only)."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        return 0.0
    said = Path("/proc/self/status").read_text(encoding="ascii").partition("VmHWM:")[2]
    return int(said.split()[0]) * 1024 / 1e9


def serve(work: Path, side: int) -> None:
    """Answer each line, the name of a case, with seconds, peak memory and the place of the result."""
    table = cases(work, side)
    print("ready", flush=True)
    for line in sys.stdin:
        name = line.rstrip("\n")
        peak(reset=True)
        before = resource.getrusage(resource.RUSAGE_SELF)
        result = table[name]()
        after = resource.getrusage(resource.RUSAGE_SELF)
        place = work / f"{os.getpid()}.npy"
        np.save(place, result)
        user, system = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
        print(json.dumps({"seconds": user + system, "peak": peak(), "result": str(place)}), flush=True)


# ------------------------------------------------------------------------------------- who asks, and compares


class Arm:
    """A checkout's process."""

    def __init__(self, root: Path, work: Path, side: int) -> None:
        environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
        line = [sys.executable, str(HERE / "bench.py"), "--serve", str(work), "--side", str(side)]
        self.process = subprocess.Popen(
            line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=root
        )
        assert self._read() == "ready"

    def _read(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def __call__(self, case: str) -> dict[str, Any]:
        """Run a case."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{case}\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._read())
        answer["result"] = np.load(answer["result"])
        return answer

    def close(self) -> None:
        """End the process."""
        self.process.communicate()


@dataclass
class Row:
    """One comparison: seconds of both arms, in the order taken, and whether they agree."""

    name: str
    target: str
    base: list[float]
    ours: list[float]
    agreement: str
    peak: float

    def cells(self) -> str:
        """Return the row of the table."""
        ratios = np.array(self.ours) / np.array(self.base)
        drawn = np.random.default_rng(0).choice(ratios, (2000, len(ratios)))
        low, high = np.quantile(np.median(drawn, axis=1), [0.025, 0.975])
        base, ours = np.median(self.base), np.median(self.ours)
        ratio = f"{np.median(ratios):.2f} [{low:.2f}, {high:.2f}]"
        said = f"{ratio} | {self.target} | {self.agreement} | {self.peak:.2f} |"
        return f"| {self.name} | {base:.2f} | {ours:.2f} | {said}"


HEAD = (
    "| what | base, s | here, s | ratio [95 %] | target | results | peak, GB |\n|---|---|---|---|---|---|---|"
)


def compare(arms: dict[str, Arm], name: str, theirs: str, ours: str, target: str, quads: int) -> Row:
    """Run a case of ours beside one of the other checkout's; where there are 0 quads, each once."""
    results = {}
    for arm, case in (("A", theirs), ("B", ours)) if quads > 0 else ():
        arms[arm](case)  # warms up
    seconds: dict[str, list[float]] = {"A": [], "B": []}
    highest = 0.0
    random = np.random.default_rng(0)
    for turn in "".join(random.choice(["ABBA", "BAAB"]) for _ in range(quads)) or "AB":
        answer = arms[turn](theirs if turn == "A" else ours)
        seconds[turn].append(answer["seconds"])
        results[turn] = answer["result"]
        highest = max(highest, answer["peak"]) if turn == "B" else highest
    error = np.abs(results["B"] - results["A"]).max() / np.abs(results["A"]).max()
    if ours == theirs:
        agreement = f"{'equal' if error < EQUAL else 'DIFFER'}, {error:.0e}"
    else:
        agreement = f"off by {error:.0e}"
    row = Row(name, target, seconds["A"], seconds["B"], agreement, highest)
    print(row.cells(), flush=True)
    return row


def add_up(name: str, target: str, rows: list[Row]) -> Row:
    """Return the comparison of what is done one after the other."""
    base, ours = (
        [sum(column) for column in zip(*(getattr(row, side) for row in rows), strict=True)]
        for side in ("base", "ours")
    )
    row = Row(name, target, base, ours, "see its nets", max(row.peak for row in rows))
    print(row.cells(), flush=True)
    return row


FLOAT = {
    "dequantization": "≤ 0.72",
    "linearization": "≤ 0.38",
    "hallucination": "≤ 0.58",
    "refinement": "≤ 0.72",
}


def measure(arms: dict[str, Arm], wanted: list[str], quads: int, *, half: bool) -> Iterator[Row]:
    """Compare what is wanted, row by row."""
    endings = [("", "")] + ([(" bf16", " bf16")] if half else [])
    for number, (ending, said) in zip(("T5", "T6"), endings, strict=False):
        if number in wanted:
            rows = [
                compare(
                    arms,
                    f"{number} {name}{said}",
                    f"infer {name}",
                    f"infer {name}{ending}",
                    FLOAT[name] if not ending else "",
                    quads,
                )
                for name in CHAIN
            ]
            yield from rows
            yield add_up(f"{number} chain{said}", "≤ 0.25" if ending else "≤ 0.47", rows)
    several = (
        ("T7", [f"step {name}" for name in CHAIN[:3]], "≤ 0.75", "≤ 0.45"),
        ("T8", ["reconstruct"], "≤ 0.35", "≤ 0.17"),
        ("T9", ["tonemap"], "≤ 0.18", ""),
    )
    for number, names, target, half_target in several:
        for name in names if number in wanted else ():
            for ending, said in endings:
                aim = half_target if ending else target
                long = number in ("T8", "T9")
                yield compare(
                    arms, f"{number} {name}{said}", name, f"{name}{ending}", aim, 0 if long else quads
                )


def command(words: list[str], root: Path, threads: int, work: Path | None = None) -> tuple[float, float]:
    """Run Python with a checkout; return the seconds of its processor time and its peak memory in GB.

    Args:
        words: What Python is given.
        root: The checkout.
        threads: Threads of torch.
        work: Where to run it, and where modules are looked for behind it; else in the checkout.
    """
    code = (
        "import resource, subprocess, sys\n"
        "subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)\n"
        "done = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(done.ru_utime + done.ru_stime, done.ru_maxrss * 1024 / 1e9)"
    )
    path = [str(root)] + ([str(work)] if work else [])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path), "OMP_NUM_THREADS": str(threads)}
    answer = subprocess.run(
        [sys.executable, "-c", code, sys.executable, *words],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
        cwd=work or root,
    ).stdout.split()
    return float(answer[0]), float(answer[1])


def measure_commands(work: Path, root: Path, wanted: list[str]) -> Iterator[str]:
    """Time whole commands: starting up, and a large photograph with the compact nets."""
    from PIL import Image

    random = np.random.default_rng(0)
    for name, shape in (("small", (1000, 1000, 3)), ("large", (3000, 4000, 3))):
        Image.fromarray(random.integers(0, 256, shape, np.uint8)).resize(shape[1::-1]).save(
            work / f"{name}.png", compress_level=0
        )
    run = ["-m", "hdrlab.reconstruct", "preview=false", "device=cpu"]
    if "T13" in wanted:
        torch, _ = min(command(["-c", "import torch"], root, 1) for _ in range(3))
        help_, _ = min(command([*run[:2], "--help"], root, 1) for _ in range(3))
        words = [*run, f"input={work}/small.png"]
        whole, memory = min(command([*words, f"output={work}/small{i}"], root, 1) for i in range(3))
        limit = f"{1.2 * torch + 1.5:.2f}: 1.2 × import torch ({torch:.2f}) + 1.5"
        yield f"| T13 reconstruct, 1 MP, compact | {whole:.2f} | {limit} | {memory:.2f} |"
        yield f"| T13 reconstruct --help | {help_:.2f} | 0.50 | |"
        words.append("backend=onnxruntime")
        command([*words, f"output={work}/graph"], root, 1)  # makes the graph, where it is not kept yet
        whole, memory = min(command([*words, f"output={work}/onnx{i}"], root, 1) for i in range(3))
        yield f"| T13 reconstruct, 1 MP, compact, onnxruntime | {whole:.2f} | 2.00 | {memory:.2f} |"
    if "T10" in wanted:
        seconds, memory = command([*run, f"input={work}/large.png", f"output={work}/large"], root, 2)
        limit = "24: 12 s on two cores"
        yield f"| T10 reconstruct, 12 MP, compact | {seconds:.1f} | {limit} | {memory:.2f} |"


def measure_evaluate(work: Path, base: Path, root: Path) -> str:
    """Time the comparison of methods on six photographs, by every method that comes along."""
    command(["-m", "hdrlab.synthesize", f"output={work}/pairs", "images=6"], root, 1)
    # A package proper, before which what is installed as a namespace of plug-ins is not looked for.
    plain = work / "plain"
    (plain / "hydra_plugins").mkdir(parents=True)
    (plain / "hydra_plugins" / "__init__.py").touch()
    pairs = [f"data.photographs={work}/pairs/LDR_in", f"data.references={work}/pairs/HDR_gt"]
    words = ["-m", "hdrlab.evaluate", "data=folder", *pairs, "report=false"]
    theirs, _ = command(words, base, 1, plain)
    ours, memory = command(words, root, 1, work)
    return f"| T11 evaluate, 6 pairs | {ours:.1f} | {0.4 * theirs:.1f}: 0.4 × {theirs:.1f} | {memory:.2f} |"


def measure_training(wanted: list[str], quads: int) -> Iterator[str]:
    """Compare steps of the compact nets with making their samples, rendered scenes by varied cameras."""
    import overhead
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for stage, sizes in {"deq": (16, 96), "lin": (8, 192), "hal": (8, 192)}.items():
        words = [f"experiment=compact_{stage}", "data=tiny", "data.camera=varied"]
        words += [f"stage.{key}={size}" for key, size in zip(("batch_size", "patch"), sizes, strict=True)]
        rows = [overhead.measure_making(stage, words, 8 * quads)] if "T2" in wanted else []
        rows += [overhead.measure_input(stage, words, 4 * quads, 1)] if "T1" in wanted else []
        for row in rows:
            yield from (f"| {' | '.join(cells)} |" for cells in row)
    torch.set_num_threads(threads)


def write_weights(work: Path) -> None:
    """Write the same random weights for both arms."""
    import torch

    from hdrlab.nets import build_net

    torch.manual_seed(0)
    for name in (*CHAIN, *TONE):
        torch.save(build_net(name, PRESETS.get(name, "default")).state_dict(), work / f"{name}.state")


def check_out_base() -> Path:
    """Check the commit before the work on speed out."""
    folder = HERE.parent / "build" / f"base-{BASE_COMMIT}"
    if not folder.is_dir():
        subprocess.run(["git", "worktree", "add", "--detach", str(folder), BASE_COMMIT], check=True, cwd=HERE)
    return folder


def processor() -> str:
    """Name the processor."""
    try:
        said = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor()
    return said.partition("model name")[2].partition(":")[2].partition("\n")[0].strip()


def commit_of(root: Path) -> str:
    """Return the commit that is checked out, abbreviated."""
    line = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(line, capture_output=True, text=True, check=True, cwd=root).stdout.strip()


def main() -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--base", type=Path)
    parser.add_argument("--rows", nargs="*", default=ROWS)
    parser.add_argument("--quads", type=int, default=2)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--serve", type=Path)
    parser.add_argument("--output", type=Path, default=HERE / "speed.md")
    chosen = parser.parse_args()
    if chosen.serve:
        serve(chosen.serve, chosen.side)
        return 0
    import torch

    from hdrlab.inference.load import computes_bf16

    half, begun = computes_bf16(torch.device("cpu")), time.monotonic()
    root, base = HERE.parent, (chosen.base or check_out_base()).resolve()
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        write_weights(work)
        arms = {"A": Arm(base, work, chosen.side), "B": Arm(root, work, chosen.side)}
        print(HEAD)
        rows = [row.cells() for row in measure(arms, chosen.rows, chosen.quads, half=half)]
        for arm in arms.values():
            arm.close()
        alone = [*measure_commands(work, root, chosen.rows)]
        alone += [measure_evaluate(work, base, root)] if "T11" in chosen.rows else []
    training = [*measure_training(chosen.rows, chosen.quads)]
    print("\n".join(alone + training))
    side, spent = chosen.side, time.monotonic() - begun
    about = (
        f"{processor()}, one thread, torch {torch.__version__}; {commit_of(root)} beside {commit_of(base)}; "
        f"nets at {side}², training steps at {side // 2}² with 2 a batch; once a side photographs of "
        f"{PHOTO[0]} × {PHOTO[1]} and HDR images of {SCENE[0]} × {SCENE[1]}. Seconds are processor time "
        "(user and system) of interleaved runs; bf16 is beside the base's float32. "
        f"It took {spent:.0f} s."
    )
    told = ["# Speed, as `make bench` measured it", "", about, "", HEAD, *rows]
    told += ["", "| command | s | at most | peak, GB |", "|---|---|---|---|", *alone] if alone else []
    told += ["", "| training | at least | ratio |", "|---|---|---|", *training] if training else []
    chosen.output.write_text("\n".join(told) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
