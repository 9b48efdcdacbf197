"""A whole system as one graph, for images of any size and for programs that know neither hdrlab nor torch."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hdrlab.errors import __version__
from hdrlab.inference.load import require_onnx
from hdrlab.inference.sessions import OPSET
from hdrlab.pipeline.iqatm import ToneInput, crop_to_layers, map_one
from hdrlab.pipeline.resizing import Procedure
from hdrlab.pipeline.singlehdr import reconstruct

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from hdrlab.pipeline.iqatm import Normalization
    from hdrlab.pipeline.resizing import ProcedureName


class Graph(nn.Module):
    """What is exported.

    Attributes:
        inputs: Names of what it takes, of one image.
        outputs: Names of what it gives.
        example: Such an input [1, height, width, 3].
        multiple: Height and width are multiples of this.
        axes: Which axes of the input these are.
        meaning: What input and outputs mean, by their names.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    example: Tensor
    multiple: int = 1
    axes: tuple[int, int] = (1, 2)
    meaning: Mapping[str, str] = {}


class ChainGraph(Graph):
    """From a photograph to light: `hdrlab.inference.reconstructor.Reconstructor`, not in tiles.

    Args:
        nets: Those of a Reconstructor.
        procedure: Its procedure.
    """

    inputs = ("photograph",)
    outputs = ("hdr", "curve")
    example = torch.zeros(1, 101, 127, 3, dtype=torch.uint8)
    meaning = {  # noqa: RUF012 - nobody changes it
        "photograph": "uint8 [1, height, width, 3], RGB, sRGB-encoded, upright, any size from 2 × 2 on",
        "hdr": "float32 [1, height, width, 3], RGB, linear light, Rec. 709 (sRGB) primaries, white D65, at "
        "least 0; 1 is the photograph's clipping point, brighter is what was clipped",
        "curve": "float32 [1, 1024], the inverse response: sample k is the linear light of the encoded value "
        "k/1023, before highlights are restored; rises from 0 to 1",
    }

    def __init__(self, nets: Mapping[str, nn.Module], procedure: ProcedureName) -> None:
        super().__init__()
        self.nets, self.procedure = nn.ModuleDict(dict(nets)), procedure

    def forward(self, photograph: Tensor) -> tuple[Tensor, Tensor]:
        """Return light [1, H, W, 3] and the inverse response [1, 1024], of a photograph [1, H, W, 3]."""
        return self.develop(photograph.permute(0, 3, 1, 2).float() / 255)

    def develop(self, ldr: Tensor) -> tuple[Tensor, Tensor]:
        """Return the same of samples [1, 3, H, W] in [0, 1]."""
        sizes = Procedure(self.procedure, *ldr.shape[-2:])
        done = reconstruct(sizes.fit(ldr), self.nets)
        return sizes.undo(done.result).clamp(min=0).permute(0, 2, 3, 1), done.curve


class SamplesGraph(ChainGraph):
    """The same from float32 samples in [0, 1], which hold photographs of any depth."""

    inputs = ("samples",)
    example = torch.zeros(1, 101, 127, 3)

    def forward(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Return light [1, H, W, 3] and the inverse response [1, 1024], of samples [1, H, W, 3]."""
        return self.develop(samples.permute(0, 3, 1, 2))


class ToneGraph(Graph):
    """From light to what a display shows: the learned `hdrlab.inference.tone_mapper.ToneMapper`.

    Args:
        nets: Its nets.
        tone: What they were trained with.
        procedure: Its procedure.
        normalize: How the output is stretched.
    """

    inputs = ("hdr",)
    outputs = ("shown",)
    example = torch.zeros(1, 101, 127, 3)
    meaning = {  # noqa: RUF012 - nobody changes it
        "hdr": "float32 [1, height, width, 3], RGB, linear light in any unit, Rec. 709 (sRGB) primaries, "
        "finite; what is below 0 counts as 0; any size from 2 × 2 on, from 8 × 8 on under procedure official",
        "shown": "float32 [1, height, width, 3] in [0, 1], RGB, sRGB-encoded for display; cropped to "
        "multiples of 8 under procedure official",
    }

    def __init__(
        self,
        nets: Mapping[str, nn.Module],
        tone: ToneInput,
        procedure: ProcedureName,
        normalize: Normalization,
    ) -> None:
        super().__init__()
        self.nets, self.tone = nn.ModuleDict(dict(nets)), tone
        self.official, self.normalize = procedure == "official", normalize

    def forward(self, hdr: Tensor) -> Tensor:
        """Return display-encoded values [1, H, W, 3] of linear ones [1, H, W, 3]."""
        light = hdr.permute(0, 3, 1, 2).clamp(min=0)
        light = crop_to_layers(light) if self.official else light
        shown = map_one(light, self.nets, self.tone, self.official, self.normalize)
        return shown.permute(0, 2, 3, 1)


def trace(graph: Graph) -> ExportedProgram:
    """Trace a graph for images of any size; `torch.export.save` writes what comes out."""
    height, width = (torch.export.Dim(name, min=2, max=2**16) for name in ("height", "width"))
    if graph.multiple > 1:
        height, width = graph.multiple * height, graph.multiple * width
    free = dict(zip(graph.axes, (height, width), strict=True))
    with torch.no_grad(), _quiet():
        return torch.export.export(graph.eval(), (graph.example,), dynamic_shapes=(free,))


def to_onnx(graph: Graph, metadata: Mapping[str, str]) -> bytes:
    """Return the content of an ONNX file.

    Args:
        graph: The graph.
        metadata: What the file says of itself, by keys.

    Raises:
        ResourceError: An extra is missing.
    """
    require_onnx("format=onnx")
    import onnx

    with torch.no_grad(), _quiet():
        program = torch.onnx.export(
            trace(graph),
            dynamo=True,
            opset_version=OPSET,
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    model.producer_name, model.producer_version = "hdrlab", __version__
    onnx.helper.set_model_props(model, dict(metadata))
    _forget_the_way(model)
    _name_sizes(model, graph.axes)
    content: bytes = model.SerializeToString()
    return content


def _forget_the_way(model: Any) -> None:
    """Remove what the exporter tells of every node: lines of code, with this machine's paths."""
    for part in (model.graph, *model.functions):
        for one in (part, *part.node, *getattr(part, "initializer", ())):
            del one.metadata_props[:]
            one.doc_string = ""
        del part.value_info[:]
    for one in (*model.graph.input, *model.graph.output):
        del one.metadata_props[:]


def _name_sizes(model: Any, axes: Sequence[int]) -> None:
    """Call the free sizes height and width, in place of symbols."""
    given = model.graph.input[0].type.tensor_type.shape.dim
    names = {given[axis].dim_param: name for axis, name in zip(axes, ("height", "width"), strict=True)}
    for one in (*model.graph.input, *model.graph.output):
        for size in one.type.tensor_type.shape.dim:
            if size.dim_param in names:
                size.dim_param = names[size.dim_param]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep to ourselves what the exporter says of itself and of what is not installed."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
