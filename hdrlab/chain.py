"""The nets of a chain, chosen from files or slots, and their work on one photograph of any size."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hdrlab.hdr_outputs import Developed
from hdrlab.io import ImageError
from hdrlab.io.photographs import read_photograph, samples_in_unit
from hdrlab.net_files import fingerprint, load_nets
from hdrlab.pipeline import REQUIRED
from hdrlab.procedure import Procedure, ProcedureName
from hdrlab.runs import slot_of
from hdrlab.tiles import reconstruct_tiled

LEAST_SIDE = 16
M_MMAP_THRESHOLD = -3  # of glibc's malloc.h
LINEAR_ONLY = ("dequantization", "linearization")
SLOT_SETS = (("real_finetune",), ("joint",), ("deq", "lin", "hal"))
"""Stages whose slots make a chain, the best first."""


class ChainError(ValueError):
    """Nets or a device that cannot be had."""


class NoHallucination(nn.Module):
    """Stands for the hallucination net where a linear picture is all that is wanted: adds nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.nothing = nn.Parameter(torch.zeros(()), requires_grad=False)

    def forward(self, linear: Tensor) -> Tensor:
        """Return zeros of the shape given."""
        return self.nothing.expand_as(linear)


@dataclass(frozen=True, eq=False)
class Chain:
    """Nets that are ready to work.

    Attributes:
        nets: By the names of `hdrlab.nets.build_net`.
        procedure: How pictures are brought to a size that the nets take.
        memory: Bytes for the maps of a tile.
        fingerprint: Digest of everything that decides about the result.
        metadata: What a file says of its making.
    """

    nets: dict[str, nn.Module]
    procedure: ProcedureName
    memory: float
    fingerprint: str
    metadata: dict[str, str]

    def develop(self, path: Path, advance: Callable[[int, int], None], *, layers: bool = False) -> Developed:
        """Reconstruct a photograph.

        Args:
            path: The photograph.
            advance: Told after each tile.
            layers: Whether to keep the pictures of all steps.

        Raises:
            ImageError: The photograph cannot be read, is too small, or does not fit into memory.
        """
        photograph = read_photograph(path)
        height, width, _ = photograph.shape
        if min(height, width) < LEAST_SIDE:
            raise ImageError(path, f"is {width} × {height} pixels; {LEAST_SIDE} × {LEAST_SIDE} is the least")
        sizes = Procedure(self.procedure, height, width)
        ldr = torch.from_numpy(samples_in_unit(photograph)).permute(2, 0, 1)[None]
        try:
            done = reconstruct_tiled(sizes.fit(ldr), self.nets, memory=self.memory, progress=advance)
        except RuntimeError as error:
            if not lacks_memory(error):
                raise
            raise ImageError(path, "does not fit into memory; memory= lowers what tiles take") from error

        def pixels(picture: Tensor) -> NDArray[np.float32]:
            upright = sizes.undo(picture)[0].clamp(min=0).permute(1, 2, 0)
            return cast("NDArray[np.float32]", upright.contiguous().numpy())

        steps = {"C": done.dequantized, "B": done.linear, "A": done.hdr, "alpha": done.alpha}
        if isinstance(self.nets["hallucination"], NoHallucination):
            steps = {"C": done.dequantized, "B": done.linear}
        return Developed(
            pixels(done.result),
            _in_8_bits(photograph.pixels),
            done.curve[0].numpy(),
            {name: pixels(picture) for name, picture in steps.items()} if layers else {},
            self.metadata,
        )


def open_chain(
    checkpoint: Sequence[str] | None,
    slots: tuple[Path, str | None],
    *,
    stages: str = "all",
    refine: bool | None = None,
    procedure: str = "auto",
    memory: float,
    device: str = "auto",
) -> Chain:
    """Load the nets and bring them to their device.

    Args:
        checkpoint: Files and folders of nets, or None: the slots.
        slots: The folder of runs, and the data set whose slots are meant or None for the only one filled.
        stages: ``all``, or ``deq_lin`` to stop at the linear picture.
        refine: Whether to refine; None: where there is a refinement net.
        procedure: ``default``, ``official``, or ``auto``: official for the authors' weights.
        memory: Bytes for the maps of a tile.
        device: auto, cpu, cuda or mps.

    Raises:
        ChainError: A net is missing, no slots are filled, or the device is not there.
        WeightsError: A file cannot be used.
    """
    linear_only = stages == "deq_lin"
    files = [Path(one) for one in checkpoint] if checkpoint else find_slots(*slots, linear_only=linear_only)
    loaded = load_nets(files)
    said = f"checkpoint={', '.join(str(file) for file in files)}"
    wanted = [*(LINEAR_ONLY if linear_only else REQUIRED)]
    if refine or (refine is None and not linear_only and "refinement" in loaded):
        wanted.append("refinement")
    missing = [name for name in wanted if name not in loaded]
    if missing:
        raise ChainError(f"{said}: holds no {' and no '.join(missing)} net")
    chosen = {name: loaded[name].requires_grad_(False) for name in wanted}
    _keep_heap_small()
    preset = chosen["linearization"].preset
    if procedure == "auto":
        procedure = "official" if preset == "official" else "default"
    nets: dict[str, nn.Module] = {name: net.to(pick_device(device)) for name, net in chosen.items()}
    if linear_only:
        nets["hallucination"] = NoHallucination().eval().to(pick_device(device))
    metadata = {"preset": preset, "procedure": procedure, "nets": ", ".join(wanted)}
    return Chain(nets, cast("ProcedureName", procedure), memory, fingerprint(chosen, procedure), metadata)


def find_slots(runs: Path, data: str | None, *, linear_only: bool = False) -> list[Path]:
    """Return the checkpoints of the slots that make a chain.

    Args:
        runs: The folder of runs.
        data: The data set whose slots are meant; None: the only one that has a chain.
        linear_only: Whether deq and lin are enough.

    Raises:
        ChainError: No slots make a chain, or those of several data sets do.
    """
    folders = sorted(runs.glob("slots/*/")) if data is None else [runs / "slots" / data]
    sets = (*SLOT_SETS, ("deq", "lin")) if linear_only else SLOT_SETS
    found = {}
    for folder in folders:
        places = [[slot_of(runs, folder.name, stage) for stage in stages] for stages in sets]
        filled = [place for place in places if all(path.is_file() for path in place)]
        if filled:
            found[folder.name] = filled[0]
    if not found:
        raise ChainError(
            f"no nets: {runs / 'slots' / (data or '*')} holds neither joint nor deq, lin and hal; train them "
            "(python -m hdrlab.train stage=deq, then lin and hal), or give checkpoint=, for example what "
            "hdrlab.import_weights wrote"
        )
    if len(found) > 1:
        raise ChainError(f"nets of several data sets: choose with slots={' or slots='.join(found)}")
    return next(iter(found.values()))


def pick_device(name: str) -> torch.device:
    """Return the device of a name; ``auto`` is CUDA, else Apple's, else the CPU.

    Raises:
        ChainError: It is not there.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(device for device, available in there.items() if available)
    if not there[name]:
        raise ChainError(f"device={name}: not on this machine; use device=auto")
    if name == "cuda":
        # TensorFloat-32 rounds to 10 bits, which would show as steps where tiles meet.
        torch.backends.cudnn.allow_tf32 = False
    return torch.device(name)


def _keep_heap_small() -> None:
    """Let glibc map large blocks one by one, which returns them when they are freed.

    It would soon put blocks of up to 32 MB on its heap, whose gaps grow with every tile: beyond the budget
    by a gigabyte were seen.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:  # musl has none
        mallopt(M_MMAP_THRESHOLD, 1 << 20)


def _in_8_bits(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    eight = pixels if pixels.dtype == np.uint8 else (pixels.astype(np.uint32) + 128) // 257
    return eight.astype(np.uint8, copy=False)


def lacks_memory(error: RuntimeError) -> bool:
    """PyTorch has an exception of its own for a GPU's memory, but not for the machine's."""
    return isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error)
