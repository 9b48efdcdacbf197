"""Nets computed by onnxruntime: what surrounds them, and so the tiles, stays as it is."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor, nn

from hdrlab.errors import __version__
from hdrlab.inference.graphs import Graph, to_onnx
from hdrlab.inference.load import require_onnx
from hdrlab.inference.sessions import OPSET, kept_graph, open_session
from hdrlab.nets import Net
from hdrlab.nets.compact import CompactLinearizationNet
from hdrlab.nets.linearization import LinearizationNet
from hdrlab.pipeline.resizing import MULTIPLE
from hdrlab.weights.net_file import fingerprint


class NetGraph(Graph):
    """One method of one net, of maps [1, C, H, W] whose sides are multiples of 32.

    Args:
        net: The net.
        method: The method's name.
    """

    inputs, outputs = ("maps",), ("made",)
    multiple, axes = MULTIPLE, (2, 3)

    def __init__(self, net: Net, method: str) -> None:
        super().__init__()
        channels = 9 if net.name == "refinement" else 3
        self.example = torch.zeros(1, channels, 3 * MULTIPLE, 4 * MULTIPLE)
        self.net, self.method = net, method

    def forward(self, maps: Tensor) -> Tensor:
        """Return what the method makes of maps."""
        made: Tensor = getattr(self.net, self.method)(maps)
        return made


def run_by_onnxruntime(nets: Mapping[str, nn.Module], device: str) -> None:
    """Let onnxruntime compute what takes time of nets: their forward, in place of torch.

    Graphs are kept in the user's cache, since making one takes seconds.

    Args:
        nets: Those of a Reconstructor on the CPU, folded, by name; changed in place.
        device: Where onnxruntime is to compute, as for `open_session`.

    Raises:
        ResourceError: An extra is missing, or the device is not there.
    """
    require_onnx("backend=onnxruntime")
    for net in nets.values():
        # The compact response is counted once in a small image; a graph would only do the same.
        if isinstance(net, Net) and not isinstance(net, CompactLinearizationNet):
            method = "backbone" if isinstance(net, LinearizationNet) else "forward"
            setattr(net, method, _Session(_content(net, method), device))


class _Session:
    def __init__(self, content: bytes, device: str) -> None:
        self.session = open_session(content, device)

    def __call__(self, maps: Tensor) -> Tensor:
        (made,) = self.session.run(None, {"maps": maps.contiguous().numpy()})
        return torch.from_numpy(made)

    def __deepcopy__(self, memo: Any) -> _Session:
        return self


def _content(net: Net, method: str) -> bytes:
    """Return the graph of a net, from the cache where it is there."""
    makers = __version__, version("torch"), version("onnxscript"), OPSET, method
    digest = fingerprint({net.name: net}, *makers)
    return kept_graph(digest, lambda: to_onnx(NetGraph(net, method), {"net": net.name, "preset": net.preset}))
