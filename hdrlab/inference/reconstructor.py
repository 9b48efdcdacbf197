"""The reconstruction of HDR images: nets chosen once, then any photograph, of any size."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hdrlab.config.validate import memory_bytes
from hdrlab.errors import ImageError, ResourceError, WeightsError
from hdrlab.inference.hdr_files import Developed, developed, open_photograph
from hdrlab.inference.load import (
    CHAIN,
    LINEAR_CHAIN,
    find_weights,
    lacks_memory,
    pick_device,
    pick_precision,
    require_onnx,
)
from hdrlab.nets import Net
from hdrlab.ops.heap import kept_pages
from hdrlab.ops.panorama import unwrap, wrap
from hdrlab.pipeline.resizing import MULTIPLE, Procedure, ProcedureName
from hdrlab.pipeline.singlehdr import REQUIRED
from hdrlab.pipeline.tiling import least_memory, reconstruct_tiled, result_tiled
from hdrlab.weights.net_file import fingerprint, load_nets

if TYPE_CHECKING:
    from hdrlab.inference.arrays import ImageLike
    from hdrlab.inference.load import Weights

PROGRAM = 500e6
"""Bytes that Python, its libraries and torch's kernels take before there is a net or an image."""

ROUND_EDGES = 256  # pixels by which panoramas are continued at either edge
LINEAR_ONLY = ("dequantization", "linearization")


class NoHallucination(nn.Module):
    """Stands for the hallucination net where a linear image is all that is wanted: adds nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.nothing = nn.Parameter(torch.zeros(()), requires_grad=False)

    def forward(self, linear: Tensor) -> Tensor:
        """Return zeros of the shape given."""
        return self.nothing.expand_as(linear)


class Reconstructor:
    """Makes HDR images of photographs: ``Reconstructor.load()(photo)``.

    Args:
        nets: Dequantization, linearization, hallucination and, if there is one, refinement, by the names of
            `hdrlab.build_net`; copies of them are used.
        stages: ``all``, or ``deq_lin`` to stop at the linear image.
        refine: Whether to refine; None: where there is a refinement net.
        procedure: How images are brought to a size that the nets take: ``default``, ``official``, or
            ``auto``: official for the authors' weights.
        memory: What the program with its nets and the maps of a tile may take, as ``2GB`` or ``900MB``;
            images, about 100 bytes a pixel, apart.
        device: auto, cpu, cuda or mps.
        precision: What the nets compute in: ``32``, ``bf16``, or ``auto``, bf16 where the device has it; the
            response curve and the images are float32.
        backend: What computes the nets: ``torch``; or ``onnxruntime``, in float32, whose mps is CoreML.

    Raises:
        WeightsError: A net is missing.
        ResourceError: The device or an extra is not there, or the memory is no amount or too little.

    Attributes:
        metadata: What a file says of its making.
        precision: What the nets compute in, ``32`` or ``bf16``.
        fingerprint: Digest of everything that decides about the result.
    """

    def __init__(
        self,
        nets: Mapping[str, Net],
        *,
        stages: str = "all",
        refine: bool | None = None,
        procedure: str = "auto",
        memory: str = "2GB",
        device: str = "auto",
        precision: str = "auto",
        backend: str = "torch",
    ) -> None:
        linear_only = stages == "deq_lin"
        wanted = [*(LINEAR_ONLY if linear_only else REQUIRED)]
        if refine or (refine is None and not linear_only and "refinement" in nets):
            wanted.append("refinement")
        if missing := [name for name in wanted if name not in nets]:
            raise WeightsError(f"no {' and no '.join(missing)} net among them: {', '.join(nets) or 'none'}")
        chosen = {name: nets[name] for name in wanted}
        preset = chosen["linearization"].preset
        if procedure == "auto":
            procedure = "official" if preset == "official" else "default"
        self.procedure = cast("ProcedureName", procedure)
        elsewhere = backend == "onnxruntime"
        if elsewhere and precision == "bf16":
            raise ResourceError("precision=bf16: backend=onnxruntime computes in 32; leave it out")
        on = pick_device("cpu" if elsewhere else device)
        half = None if elsewhere else pick_precision(precision, on)
        self.nets: dict[str, nn.Module] = {}
        for name, net in chosen.items():
            own = copy.deepcopy(net).to(on)
            own.autocast = half
            self.nets[name] = own.fold()
        self.memory = _memory_for_tiles(memory, self.nets)
        if elsewhere:
            from hdrlab.inference.onnx_nets import run_by_onnxruntime

            run_by_onnxruntime(self.nets, device)
        if linear_only:
            self.nets["hallucination"] = NoHallucination().eval().to(on)
        self.precision = "bf16" if half else "32"
        self.metadata = {"preset": preset, "procedure": procedure, "nets": ", ".join(wanted)}
        self.fingerprint = fingerprint(chosen, procedure, self.precision)

    @classmethod
    def load(
        cls,
        weights: Weights = None,
        *,
        stages: str = "all",
        refine: bool | None = None,
        procedure: str = "auto",
        memory: str = "2GB",
        device: str = "auto",
        precision: str = "auto",
        backend: str = "torch",
        runs: str | os.PathLike[str] = "runs",
    ) -> Reconstructor:
        """Load the nets and bring them to their device.

        Args:
            weights: A checkpoint of a training, a file of `hdrlab.import_weights`, a folder of such files, or
                several of these; the name of a data set, whose published checkpoints are meant; or None:
                those of the only data set that has a chain.
            stages: As for the class, like all that follow.
            refine: See there.
            procedure: See there.
            memory: See there.
            device: See there.
            precision: See there.
            backend: See there.
            runs: The folder of run folders and published checkpoints.

        Raises:
            WeightsError: A net is missing, a file cannot be used, or none is published.
            ResourceError: The device is not there.
        """
        if backend == "onnxruntime":
            require_onnx("backend=onnxruntime")
        files = find_weights(weights, LINEAR_CHAIN if stages == "deq_lin" else CHAIN, runs)
        nets = load_nets(files)
        try:
            return cls(
                nets,
                stages=stages,
                refine=refine,
                procedure=procedure,
                memory=memory,
                device=device,
                precision=precision,
                backend=backend,
            )
        except WeightsError as error:
            raise WeightsError(f"{', '.join(map(str, files))}: {error}") from error

    def __call__(
        self, photo: ImageLike, progress: Callable[[int, int], None] | None = None
    ) -> NDArray[np.float32]:
        """Reconstruct the scene behind a photograph.

        Args:
            photo: A display-encoded array [H, W, 3] of uint8, uint16, or floats in [0, 1], of any size; a
                tensor, an image of Pillow's, or the path of a file, see `hdrlab.inference.arrays`.
            progress: Called with the finished tiles and all of them, after each.

        Returns:
            Scene-linear float32 [H, W, 3], Rec. 709, at least 0; 1 = the photograph's clipping point.

        Raises:
            ImageError: It is no photograph, or does not fit into memory.
        """
        return self.develop(photo, progress).hdr

    def develop(
        self,
        photo: ImageLike,
        progress: Callable[[int, int], None] | None = None,
        *,
        layers: bool = False,
        wide: bool = False,
        panorama: bool = False,
    ) -> Developed:
        """Reconstruct a photograph, and keep what it was made by; one in PQ or HLG is taken as it is.

        Args:
            photo: Display-encoded pixels [H, W, 3], or what else a call takes.
            progress: Likewise.
            layers: Whether to keep the images of all steps.
            wide: Whether to keep a file's colours outside Rec. 709, which the nets do not see.
            panorama: Whether its left and right edge are neighbours.

        Raises:
            ImageError: As for a call.
        """
        photograph = open_photograph(photo, wide=wide)
        if isinstance(photograph, Developed):
            return photograph
        samples, width = photograph.samples, photograph.samples.shape[1]
        # Whole cells of the nets' coarsest maps, and as far as they see what they would not see otherwise.
        margin = min(width, ROUND_EDGES) // MULTIPLE * MULTIPLE if panorama else 0
        samples = wrap(samples, margin, margin) if margin else samples
        sizes = Procedure(self.procedure, *samples.shape[:2])
        ldr = torch.from_numpy(np.ascontiguousarray(samples)).permute(2, 0, 1)[None]
        steps: dict[str, Tensor] = {}
        try:
            with kept_pages():
                if layers:
                    done = reconstruct_tiled(sizes.fit(ldr), self.nets, memory=self.memory, progress=progress)
                    result, curve = done.result, done.curve
                    steps = {"C": done.dequantized, "B": done.linear}
                    if not isinstance(self.nets["hallucination"], NoHallucination):
                        steps |= {"A": done.hdr, "alpha": done.alpha}
                else:
                    result, curve = result_tiled(sizes.fit(ldr), self.nets, self.memory, progress)
        except RuntimeError as error:
            if not lacks_memory(error):
                raise
            message = "does not fit into memory; memory= lowers what tiles take"
            raise ImageError(photograph.path, message) from error

        def pixels(image: Tensor) -> NDArray[np.float32]:
            upright = sizes.undo(image)[0].permute(1, 2, 0).contiguous().clamp_(min=0).numpy()
            return unwrap(upright, margin) if margin else cast("NDArray[np.float32]", upright)

        layers_made = {name: pixels(image) for name, image in steps.items()}
        return developed(photograph, pixels(result), curve[0].numpy(), self.metadata, layers_made)


def _memory_for_tiles(memory: str, nets: Mapping[str, nn.Module]) -> float:
    """Return what is left of ``memory=`` for the maps of a tile.

    Raises:
        ResourceError: It is no amount, or not enough for the smallest tile.
    """
    if not (given := memory_bytes(memory)):
        raise ResourceError(f"memory={memory}: must be a number with MB or GB, for example 2GB")
    kept = (tensor for net in nets.values() for tensor in (*net.parameters(), *net.buffers()))
    own = PROGRAM + sum(tensor.nbytes for tensor in kept)
    least = own + least_memory(nets)
    if given < least:
        raise ResourceError(
            f"memory={memory}: too little for these nets; give at least {math.ceil(least / 1e6)}MB"
        )
    return given - own
