"""onnxruntime's sessions, and the graphs that are kept for them; nothing here imports torch."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from hdrlab.errors import ResourceError
from hdrlab.io.atomic import write_bytes

if TYPE_CHECKING:
    import onnxruntime

OPSET = 18
"""Of ONNX: the first whose ScatterElements finds maxima too, known to onnxruntime from 1.14 on."""


def open_session(content: bytes, device: str = "cpu") -> onnxruntime.InferenceSession:
    """Let onnxruntime load the content of an ONNX file, on as many threads as torch has or would have.

    Args:
        content: That of the file.
        device: auto, cpu, cuda or mps, which is CoreML.

    Raises:
        ResourceError: The device is not there.
    """
    import onnxruntime

    kinds = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "mps": "CoreMLExecutionProvider"}
    there = onnxruntime.get_available_providers()
    if device == "auto":
        device = "cuda" if kinds["cuda"] in there else "cpu"
    if kinds[device] not in there:
        packages = "onnxruntime-gpu has it" if device == "cuda" else "it is Apple's"
        raise ResourceError(f"device={device}: not in this onnxruntime; use device=cpu ({packages})")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = _threads()
    return onnxruntime.InferenceSession(content, options, [*dict.fromkeys((kinds[device], kinds["cpu"]))])


def _threads() -> int:
    """Return how many threads torch has, if it is there, else what the user says; 0 is one a core."""
    if (torch := sys.modules.get("torch")) is not None:
        return int(torch.get_num_threads())
    told = os.environ.get("OMP_NUM_THREADS", "")
    return int(told) if told.isdigit() else 0


def kept_graph(digest: str, make: Callable[[], bytes]) -> bytes:
    """Return a graph from the user's cache, where it is put once it is made, since that takes seconds.

    Args:
        digest: Of all that decides about the graph.
        make: Makes the content of its file.
    """
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    file = Path(cache, "hdrlab", "onnx", f"{digest}.onnx")
    if file.is_file():
        return file.read_bytes()
    content = make()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(file, content)
    except OSError:
        pass  # it is made again next time
    return content
