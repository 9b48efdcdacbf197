"""The learned tone-mapping operator: its nets, chosen from files or a slot, and their work on one picture."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from hdrlab.chain import ChainError, lacks_memory, pick_device
from hdrlab.net_files import fingerprint, load_nets
from hdrlab.nets import SYSTEMS, Net
from hdrlab.operators import OperatorError
from hdrlab.procedure import ProcedureName
from hdrlab.runs import slot_of
from hdrlab.tone_mapping import Normalization, ToneInput, ToneMappingError, tone_map
from hdrlab.training.checkpoints import CheckpointError, read_checkpoint

STAGE = "tmo_ft"
REMEDY = "and the nets see a picture as a whole; take a classical operator or make it smaller"
NETS = SYSTEMS["IQATM"]
BYTES_PER_PIXEL = 800
"""Peak need in float32 on a CPU, measured at full width on a picture of 2 megapixels."""


@dataclass(frozen=True, eq=False)
class LearnedOperator:
    """IQATM, ready to work.

    Attributes:
        nets: By the names of `hdrlab.nets.build_net`.
        tone: What they were trained to see.
        procedure: How pictures are brought to a size that they take.
        normalize: How their output is stretched.
        fingerprint: Digest of everything that decides about the result.
    """

    nets: Mapping[str, Net]
    tone: ToneInput
    procedure: ProcedureName
    normalize: Normalization
    fingerprint: str

    def __call__(self, hdr: NDArray[np.float32]) -> NDArray[np.float32]:
        """Tone-map linear pixels [H, W, 3], at least 0, to display-encoded ones in [0, 1].

        Raises:
            OperatorError: The picture does not fit into memory, or is too small for the procedure.
        """
        device = next(self.nets["tmo_bottom"].parameters()).device
        if device.type == "cpu":
            self._require_memory(hdr.shape[0] * hdr.shape[1])
        picture = torch.from_numpy(np.ascontiguousarray(hdr)).to(device).permute(2, 0, 1)[None]
        try:
            shown = tone_map(
                picture, self.nets, tone=self.tone, procedure=self.procedure, normalize=self.normalize
            )
        except ToneMappingError as error:
            raise OperatorError(str(error)) from error
        except RuntimeError as error:
            if not lacks_memory(error):
                raise
            raise OperatorError(f"does not fit into memory, {REMEDY}") from error
        return cast("NDArray[np.float32]", shown[0].permute(1, 2, 0).contiguous().cpu().numpy())

    def _require_memory(self, num_pixels: int) -> None:
        """Refuse what Linux would grant and then kill the program for."""
        need = num_pixels * BYTES_PER_PIXEL * cast("float", self.nets["tmo_merge"].options.get("width", 1))
        if need > (free := free_memory()):
            raise OperatorError(
                f"needs {need / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB are free, {REMEDY}"
            )


def free_memory() -> float:
    """Return the bytes that programs can still get, infinity where the system does not say."""
    try:
        said = Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return math.inf
    found = re.search(r"^MemAvailable: +(\d+) kB", said, re.MULTILINE)
    return int(found[1]) * 1024 if found else math.inf


def open_learned(
    checkpoint: Sequence[str] | None,
    slots: tuple[Path, str | None],
    *,
    procedure: str = "auto",
    normalize: str = "minmax",
    device: str = "auto",
) -> LearnedOperator:
    """Load the nets and bring them to their device.

    Args:
        checkpoint: Files and folders of nets, or None: the slot.
        slots: The folder of runs, and the data set whose slot is meant or None for the only one filled.
        procedure: ``default``, ``official``, or ``auto``: official for the authors' weights.
        normalize: A key of `hdrlab.tone_mapping.NORMALIZATIONS`.
        device: auto, cpu, cuda or mps.

    Raises:
        ChainError: A net is missing, no slot is filled, or the device is not there.
        WeightsError: A file cannot be used.
    """
    files = [Path(one) for one in checkpoint] if checkpoint else [find_tone_slot(*slots)]
    loaded = load_nets(files)
    if missing := [name for name in NETS if name not in loaded]:
        said = ", ".join(str(file) for file in files)
        raise ChainError(f"checkpoint={said}: holds no {' and no '.join(missing)} net")
    nets = {name: loaded[name].requires_grad_(False).to(pick_device(device)) for name in NETS}
    tone = _trained_with(files)
    if procedure == "auto":
        procedure = "official" if nets["tmo_merge"].preset == "official" else "default"
    return LearnedOperator(
        nets,
        tone,
        cast("ProcedureName", procedure),
        cast("Normalization", normalize),
        fingerprint(nets, asdict(tone), procedure, normalize),
    )


def find_tone_slot(runs: Path, data: str | None) -> Path:
    """Return the checkpoint of the slot that holds the three nets.

    Args:
        runs: The folder of runs.
        data: The data set whose slot is meant; None: the only one that has it.

    Raises:
        ChainError: No slot is filled, or those of several data sets are.
    """
    folders = sorted(runs.glob("slots/*/")) if data is None else [runs / "slots" / data]
    places = [slot_of(runs, folder.name, STAGE) for folder in folders]
    filled = [place for place in places if place.is_file()]
    if not filled:
        raise ChainError(
            f"no nets: {runs / 'slots' / (data or '*')} holds no {STAGE}; train it (python -m hdrlab.train "
            "stage=tmo_bottom, then tmo_high and tmo_ft), give checkpoint=, for example what "
            "hdrlab.import_weights wrote, or take a classical operator, for example operator=reinhard"
        )
    if len(filled) > 1:
        names = " or slots=".join(place.parent.name for place in filled)
        raise ChainError(f"nets of several data sets: choose with slots={names}")
    return filled[0]


def _trained_with(files: Sequence[Path]) -> ToneInput:
    """Read what the nets were trained to see from the checkpoints of trainings; imported nets say nothing.

    Raises:
        ChainError: Checkpoints differ in it.
    """
    inside = [one for file in files for one in (sorted(file.iterdir()) if file.is_dir() else [file])]
    said = {file: tone for file in inside if (tone := _tone_of(file))}
    if len(set(said.values())) > 1:
        lines = "; ".join(f"{file}: {asdict(tone)}" for file, tone in said.items())
        raise ChainError(f"nets trained on differently encoded pictures do not work together: {lines}")
    return next(iter(said.values()), ToneInput())


def _tone_of(file: Path) -> ToneInput | None:
    try:
        said: Mapping[str, Any] = read_checkpoint(file)["hdrlab"]["config"]["data"]["tone"]
    except (CheckpointError, KeyError):
        return None  # a file of one net, or of another system: the nets themselves are loaded by now
    return ToneInput(**{one.name: said[one.name] for one in fields(ToneInput) if one.name in said})
