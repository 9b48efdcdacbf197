"""Systems of nets as files for other programs: what they say of themselves, and that they are the same."""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from hdrlab.errors import ResourceError, __version__
from hdrlab.inference.graphs import ChainGraph, Graph, ToneGraph, to_onnx, trace
from hdrlab.inference.load import CHAIN, TONE_MAPPING, find_weights
from hdrlab.inference.reconstructor import Reconstructor
from hdrlab.inference.sessions import open_session
from hdrlab.inference.tone_mapper import ToneNets
from hdrlab.io.atomic import write_bytes
from hdrlab.nets import SYSTEMS, Net
from hdrlab.weights.net_file import load_nets, save_net
from hdrlab.weights.pretrained import SHIPPED

if TYPE_CHECKING:
    from hdrlab.inference.load import Weights

Run = Callable[[NDArray[Any]], "list[NDArray[np.float32]]"]
"""From an image [H, W, 3] to what the graph gives, without the first axis."""

SIZES = ((97, 131), (480, 640), (800, 1200))
"""Heights and widths that an export is checked at; nets shrink the last."""

ALIKE = 1e-3
"""Largest difference of an export from PyTorch, relative to values above 1."""

HALF = 3e-2
"""The same where weights are rounded to half precision."""


@dataclass(frozen=True, eq=False)
class System:
    """Nets that work together, ready to be exported.

    Attributes:
        title: A name for files.
        task: reconstruct or tonemap.
        nets: The nets as they are loaded, by name.
        graph: What they make together.
        run: The same by hdrlab.
        metadata: What a file says of itself.
        source: What a file of one net says of its origin.
    """

    title: str
    task: str
    nets: Mapping[str, Net]
    graph: Graph
    run: Run
    metadata: Mapping[str, str]
    source: Mapping[str, Any]


@dataclass(frozen=True)
class Check:
    """How an export differs from PyTorch at one size.

    Attributes:
        size: Height and width.
        difference: The largest one of all values, relative to values above 1.
        peak: The largest value.
        seconds: What the export and PyTorch took.
    """

    size: tuple[int, int]
    difference: float
    peak: float
    seconds: tuple[float, float]


def open_system(
    weights: Weights,
    task: str | None = None,
    *,
    refine: bool | None = None,
    procedure: str = "auto",
    normalize: str = "auto",
    runs: str | os.PathLike[str] = "runs",
) -> System:
    """Load the nets of a system.

    Args:
        weights: As for `hdrlab.Reconstructor.load`.
        task: reconstruct or tonemap; None: what files that are named hold, else reconstruct.
        refine: As for `hdrlab.Reconstructor`.
        procedure: Likewise.
        normalize: As for `hdrlab.ToneMapper.load`.
        runs: The folder of run folders and published checkpoints.

    Raises:
        WeightsError: A net is missing, a file cannot be used, or none is published.
    """
    if task is None:
        named = find_weights(weights, CHAIN, runs)
        task = "tonemap" if load_nets(named).keys() & {*SYSTEMS["IQATM"]} else "reconstruct"
    files = find_weights(weights, TONE_MAPPING if task == "tonemap" else CHAIN, runs)
    graph: Graph
    run: Run
    source: dict[str, Any] = {"files": ", ".join(file.name for file in files)}
    if task == "tonemap":
        tone = ToneNets.load(files, procedure, normalize, "cpu", "32", runs)
        names, procedure = [*tone.nets], tone.procedure
        graph = ToneGraph(tone.nets, tone.tone, tone.procedure, tone.normalize)
        source["tone"] = asdict(tone.tone)

        def run(image: NDArray[Any]) -> list[NDArray[np.float32]]:
            return [tone(image)]

    else:
        chain = Reconstructor.load(files, refine=refine, procedure=procedure, device="cpu", precision="32")
        names, procedure = [*chain.nets], chain.procedure
        graph = ChainGraph(chain.nets, chain.procedure)

        def run(image: NDArray[Any]) -> list[NDArray[np.float32]]:
            made = chain.develop(image)
            return [made.hdr, made.curve]

    nets = {name: net for name, net in load_nets(files).items() if name in names}
    preset = next(iter(nets.values())).preset
    named_by = (
        str(weights or "compact") if isinstance(weights, (str, os.PathLike, type(None))) else str(files[0])
    )
    title = f"{Path(named_by).stem}_{task}"
    metadata = {
        "name": f"hdrlab {title}",
        "version": __version__,
        "nets": ", ".join(nets),
        "preset": preset,
        "procedure": procedure,
        "licence": _licence(files, preset),
        **graph.meaning,
    }
    return System(title, task, nets, graph, run, metadata, source)


def _licence(files: list[Path], preset: str) -> str:
    if all(file.is_relative_to(SHIPPED) for file in files):
        return "MIT"
    return "the weights' authors'" if preset in ("official", "tf2") else "that of whoever trained the weights"


def write_onnx(system: System, output: Path) -> list[Check]:
    """Write an ONNX file, if onnxruntime makes the same of it as PyTorch.

    Raises:
        ResourceError: It does not, or an extra is missing.
    """
    content = to_onnx(system.graph, system.metadata)
    session, (name,) = open_session(content), system.graph.inputs
    checks = check(system, lambda image: [one[0] for one in session.run(None, {name: image[None]})])
    write_bytes(output, content)
    return checks


def write_torch_export(system: System, output: Path) -> list[Check]:
    """Write a file of `torch.export.save`, if it makes the same when it is loaded.

    Raises:
        ResourceError: It does not.
    """
    stream = io.BytesIO()
    extra = {"hdrlab.json": json.dumps(dict(system.metadata), indent=1)}
    torch.export.save(trace(system.graph), stream, extra_files=extra)
    stream.seek(0)
    loaded = torch.export.load(stream).module()

    @torch.no_grad()
    def run(image: NDArray[Any]) -> list[NDArray[np.float32]]:
        made = loaded(torch.from_numpy(image)[None])
        return [one[0].numpy() for one in (made if isinstance(made, tuple) else (made,))]

    checks = check(system, run)
    write_bytes(output, stream.getbuffer())
    return checks


def write_safetensors(system: System, output: Path) -> list[Check]:
    """Write a folder of one file a net that hdrlab loads, and any program that reads safetensors.

    Raises:
        ResourceError: Half precision makes something else of it.
    """
    output.mkdir(parents=True, exist_ok=True)
    for name, net in system.nets.items():
        save_net(
            net, output / f"{name}.safetensors", {**system.source, "licence": system.metadata["licence"]}
        )
    return check(system, open_system(output, system.task).run, HALF)


def check(system: System, run: Run, alike: float = ALIKE) -> list[Check]:
    """Compare what an export makes of images of several sizes with what PyTorch makes.

    Args:
        system: What is exported.
        run: The export.
        alike: The largest difference allowed, relative to values above 1.

    Raises:
        ResourceError: It is larger.
    """
    checks = []
    for height, width in SIZES:
        image = scene(height, width, system.task)
        pairs, seconds = [], []
        for one in (run, system.run):
            begun = time.perf_counter()
            pairs.append(one(image))
            seconds.append(time.perf_counter() - begun)
        theirs, ours = pairs
        difference = max(
            float((np.abs(one - other) / np.maximum(other, 1)).max())
            for one, other in zip(theirs, ours, strict=True)
        )
        checks.append(Check((height, width), difference, float(ours[0].max()), (seconds[0], seconds[1])))
    if not (worst := max(one.difference for one in checks)) <= alike:
        raise ResourceError(
            f"the export differs from PyTorch by {worst:.2g}, more than {alike:g}, so it was not kept; "
            "please report the nets and the versions of torch, onnxscript and onnxruntime"
        )
    return checks


def scene(height: int, width: int, task: str) -> NDArray[Any]:
    """Make an image to compare by, of patches, ramps, grain and a lamp.

    Args:
        height: Its height.
        width: Its width.
        task: reconstruct for a photograph, uint8 [H, W, 3]; tonemap for light, float32.
    """
    draw = np.random.default_rng(height)
    rows, columns = np.mgrid[:height, :width] / max(height, width)
    patches = draw.lognormal(-2, 1, (9, 12, 3))[(rows * 8).astype(int), (columns * 11).astype(int)]
    lamp = 40 * np.exp(-80 * ((rows - 0.2) ** 2 + (columns - 0.3) ** 2))
    grain = 1 + 0.05 * draw.standard_normal((height, width, 1))
    light: NDArray[Any] = (patches * (0.5 + columns[..., None]) * grain + lamp[..., None]).clip(0)
    photograph: NDArray[Any] = (255 * light.clip(0, 1) ** (1 / 2.2) + 0.5).astype(np.uint8)
    return light.astype(np.float32) if task == "tonemap" else photograph
