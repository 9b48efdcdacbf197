"""The nets that ship as one graph that onnxruntime computes, so that small photographs need no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from hdrlab.config.validate import memory_bytes
from hdrlab.errors import __version__
from hdrlab.inference.hdr_files import Developed, developed, open_photograph
from hdrlab.inference.load import CHAIN, find_weights, require_onnx
from hdrlab.inference.sessions import OPSET, kept_graph, open_session
from hdrlab.io.atomic import digest
from hdrlab.weights.pretrained import shipped

if TYPE_CHECKING:
    from hdrlab.inference.arrays import ImageLike
    from hdrlab.inference.load import Weights
    from hdrlab.inference.reconstructor import Reconstructor

PROGRAM = 300e6
"""Bytes that Python, its libraries and the graph take before there is an image."""

BYTES_PER_PIXEL = 180
"""Of the graph's maps, measured as resident memory at 1, 4 and 12 megapixels."""

LEAST_MEMORY = 1e9
"""Below it tiles are all that fits, and what they need is checked where they are made."""


class OnnxChain:
    """Develops photographs as `Reconstructor` does: as a whole where that fits, else by one.

    Args:
        weights: Nets that ship with hdrlab, as for `Reconstructor.load`.
        memory: What the program and the maps may take, as ``2GB``.
        device: Where onnxruntime computes.

    Raises:
        ResourceError: An extra is missing, or the device is not there.

    Attributes:
        metadata: What a file says of its making.
        fingerprint: That of the Reconstructor, whose results are the same up to rounding.
    """

    def __init__(self, weights: Weights, memory: str, device: str) -> None:
        require_onnx("backend=onnxruntime")
        self._settings: dict[str, Any] = {"weights": weights, "memory": memory}
        self._device, self._most = device, (memory_bytes(memory) - PROGRAM) / BYTES_PER_PIXEL
        (folder,) = find_weights(weights, CHAIN, "")
        makers = __version__, version("torch"), version("onnxscript"), str(OPSET), "chain"
        files = (digest(file) for file in sorted(folder.iterdir()) if file.is_file())
        name = hashlib.sha256(" ".join((*makers, *files)).encode()).hexdigest()
        self._session = open_session(kept_graph(name, self._make), device)
        said = self._session.get_modelmeta().custom_metadata_map
        self.fingerprint = said.pop("fingerprint")
        self.metadata = dict(said)

    @staticmethod
    def suits(
        weights: Weights, *, stages: str, refine: bool | None, procedure: str, memory: str, precision: str
    ) -> bool:
        """Say whether what is asked of a `Reconstructor` can be had from one graph."""
        plain = stages == "all" and refine is None and procedure == "auto" and precision != "bf16"
        return plain and memory_bytes(memory) >= LEAST_MEMORY and weights in (None, *shipped())

    @cached_property
    def _tiled(self) -> Reconstructor:
        from hdrlab.inference.reconstructor import Reconstructor

        return Reconstructor.load(**self._settings, device=self._device, backend="onnxruntime")

    def _make(self) -> bytes:
        from hdrlab.inference.graphs import SamplesGraph, to_onnx
        from hdrlab.inference.reconstructor import Reconstructor

        chain = Reconstructor.load(**self._settings, device="cpu", precision="32")
        said = {**chain.metadata, "fingerprint": chain.fingerprint}
        return to_onnx(SamplesGraph(chain.nets, chain.procedure), said)

    def develop(
        self,
        photo: ImageLike,
        progress: Callable[[int, int], None] | None = None,
        *,
        layers: bool = False,
        wide: bool = False,
        panorama: bool = False,
    ) -> Developed:
        """Reconstruct a photograph; all as for `Reconstructor.develop`."""
        photograph = open_photograph(photo, wide=wide)
        if isinstance(photograph, Developed):
            return photograph
        samples = photograph.samples
        if layers or panorama or samples.shape[0] * samples.shape[1] > self._most:
            return self._tiled.develop(photo, progress, layers=layers, wide=wide, panorama=panorama)
        hdr, curve = (made[0] for made in self._session.run(None, {"samples": samples[None]}))
        if progress:
            progress(1, 1)
        return developed(photograph, hdr, curve, self.metadata)
