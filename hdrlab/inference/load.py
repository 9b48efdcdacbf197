"""Where weights come from, and what a device and its memory can do."""

from __future__ import annotations

import logging
import math
import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from hdrlab.errors import ResourceError, WeightsError, install
from hdrlab.weights.pretrained import TONE, pretrained_weights

if TYPE_CHECKING:
    import torch

    PathLike = str | os.PathLike[str]
    Weights = PathLike | Sequence[PathLike] | None


_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class System:
    """Nets that work together.

    Attributes:
        slots: The stages whose slots make it, the best first.
        lacking: What to say where none do.
        shipped: The weights inside the package that are taken where none are named; None: there are none.
        part: The folder within these that holds them.
    """

    slots: tuple[tuple[str, ...], ...]
    lacking: str
    shipped: str | None = None
    part: str = ""


CHAIN = System(
    (("real_finetune",), ("joint",), ("deq", "lin", "hal")),
    "neither joint nor deq, lin and hal; train them (python -m hdrlab.train stage=deq, then lin and hal)",
    "compact",
)
LINEAR_CHAIN = System((*CHAIN.slots, ("deq", "lin")), CHAIN.lacking, CHAIN.shipped)
"""With the stages that make a linear image only."""

TONE_MAPPING = System(
    (("tmo_ft",),),
    "no tmo_ft; train it (python -m hdrlab.train stage=tmo_bottom, then tmo_high and tmo_ft), take a "
    "classical operator, for example operator=reinhard",
    "compact",
    TONE,
)


def find_weights(weights: Weights, system: System, runs: PathLike) -> list[Path]:
    """Find the files of a system's nets.

    Args:
        weights: A file or folder of nets, or several; ``compact``, which come with the package, or
            ``official``, see `hdrlab.weights.pretrained`; the name of a data set, whose published
            checkpoints are meant; or None: what comes with the package, else those of the only data set that
            has a system.
        system: What they are to make.
        runs: The folder of run folders and published checkpoints.

    Raises:
        WeightsError: Nothing is found, or checkpoints of several data sets are.
    """
    if weights is not None and not isinstance(weights, (str, os.PathLike)):
        return [Path(one) for one in weights]
    if weights is None and system.shipped:
        weights = system.shipped
    if named := pretrained_weights(str(weights), Path(runs), system.part):
        return [named]
    if weights is not None and (os.path.exists(weights) or Path(weights).name != str(weights)):
        return [Path(weights)]
    from hdrlab.training.slots import slot_of

    slots = Path(runs) / "slots"
    found = {}
    for folder in sorted(slots.glob("*/")) if weights is None else [slots / weights]:
        places = [[slot_of(Path(runs), folder.name, stage) for stage in stages] for stages in system.slots]
        if filled := [place for place in places if all(path.is_file() for path in place)]:
            found[folder.name] = filled[0]
    if not found:
        raise WeightsError(
            f"no nets: {slots / (weights or '*')} holds {system.lacking}, or name a checkpoint or a folder, "
            "for example what hdrlab.import_weights wrote"
        )
    if len(found) > 1:
        raise WeightsError(f"nets of several data sets: choose with slots={' or slots='.join(found)}")
    return next(iter(found.values()))


def pick_device(name: str) -> torch.device:
    """Return the device of a name; ``auto`` is CUDA, else Apple's, else the CPU.

    Raises:
        ResourceError: It is not there.
    """
    import torch

    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(device for device, available in there.items() if available)
    if not there.get(name):
        raise ResourceError(f"device={name}: not on this machine; use device=auto")
    if name == "cuda":
        # TensorFloat-32 rounds to 10 bits, which would show as steps where tiles meet.
        torch.backends.cudnn.allow_tf32 = False
    return torch.device(name)


def pick_precision(name: str, device: torch.device) -> torch.dtype | None:
    """Return the half precision that nets are to compute in, None for float32.

    Args:
        name: ``32``, ``bf16``, or ``auto``: bf16 where the device computes it, and does not emulate it.
        device: Where the nets are.

    Raises:
        ResourceError: There is no such precision.
    """
    import torch

    if name not in ("auto", "32", "bf16"):
        raise ResourceError(f"precision={name}: must be auto, 32 or bf16")
    if name == "32" or (name == "auto" and not computes_bf16(device)):
        return None
    if not computes_bf16(device):
        message = "precision=bf16: this %s emulates it, a convolution takes %.1f times as long as in 32"
        _log.warning(message, device.type, _bf16_factor(device))
    return torch.bfloat16


def computes_bf16(device: torch.device) -> bool:
    """Say whether a device has instructions for bfloat16: AVX512-BF16, AMX, or a GPU's from Ampere on."""
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    asked = (getattr(torch.cpu, f"_is_{name}_supported", bool) for name in ("avx512_bf16", "amx_tile"))
    return device.type == "cpu" and any(ask() for ask in asked)


def _bf16_factor(device: torch.device) -> float:
    import torch

    seconds = []
    for dtype in (torch.float32, torch.bfloat16):
        x, kernel = (
            torch.ones(shape, dtype=dtype, device=device) for shape in ((1, 32, 64, 64), (32, 32, 3, 3))
        )
        taken = []
        for _ in range(3):
            begun = time.perf_counter()
            torch.nn.functional.conv2d(x, kernel).sum().item()
            taken.append(time.perf_counter() - begun)
        seconds.append(min(taken))
    return seconds[1] / seconds[0]


def require_onnx(asked: str) -> None:
    """Refuse what needs the extra onnx where it is missing.

    Args:
        asked: What the user asked for.

    Raises:
        ResourceError: It is missing.
    """
    if any(find_spec(module) is None for module in ("onnx", "onnxscript", "onnxruntime")):
        raise ResourceError(f"{asked} needs an extra: {install('onnx')}")


def lacks_memory(error: RuntimeError) -> bool:
    """Say whether an error means that memory ran out.

    PyTorch has an exception of its own for a GPU's memory, but not for the machine's.
    """
    import torch

    return isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error)


def free_memory() -> float:
    """Return the bytes that this process can still get, infinity where the system does not say.

    The least of what is free on the machine, in the container or other group of processes (Linux's cgroups,
    both versions), and up to the process's own limit (``ulimit -v``).
    """
    machine = _number(r"^MemAvailable: +(\d+) kB", "/proc/meminfo", math.inf, 1024)
    limit = _number(r"^Max address space +(\d+)", "/proc/self/limits", math.inf)
    taken = _number(r"^VmSize:\s+(\d+) kB", "/proc/self/status", 0, 1024)
    return max(0.0, min(machine, limit - taken, *_left_in_groups("/proc/self/cgroup", "/sys/fs/cgroup")))


def _left_in_groups(mine: str, mounted: str) -> Iterator[float]:
    for line in _text(mine).splitlines():
        _, kinds, path = line.split(":", 2)
        if kinds == "":
            top, most, used = Path(mounted), "memory.max", "memory.current"
        elif "memory" in kinds.split(","):
            top, most, used = Path(mounted, "memory"), "memory.limit_in_bytes", "memory.usage_in_bytes"
        else:
            continue
        inner = top / path.strip("/")  # a container sees its own group as the top, whatever its path says
        for group in (inner, *(one for one in inner.parents if one.is_relative_to(top))):
            limit = _number(r"^(\d+)$", group / most, math.inf)
            cached = _number(r"^inactive_file (\d+)$", group / "memory.stat", 0)
            yield limit - _number(r"^(\d+)$", group / used, 0) + cached


def _number(pattern: str, path: PathLike, missing: float, factor: int = 1) -> float:
    found = re.search(pattern, _text(path), re.MULTILINE)
    return int(found[1]) * factor if found else missing


def _text(path: PathLike) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""
