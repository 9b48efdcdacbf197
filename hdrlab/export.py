"""Nets for other programs: ``python -m hdrlab.export weights=… format=onnx output=…``."""

from __future__ import annotations

import os
from pathlib import Path

from hdrlab.config.cli import Command
from hdrlab.config.schema.commands import ExportConfig
from hdrlab.errors import RunError

SUFFIXES = {"onnx": ".onnx", "torch_export": ".pt2", "safetensors": ""}
PROGRAMS = {"onnx": "onnxruntime", "torch_export": "torch.export", "safetensors": "half precision"}


def export(config: ExportConfig) -> int:
    """Write a system of nets, compare it with PyTorch at three sizes, and print how both did."""
    from hdrlab.inference.load import require_onnx

    suffix = SUFFIXES[config.format]
    if config.output and Path(config.output).suffix != suffix:
        wanted = f"a file that ends in {suffix}" if suffix else "a folder, whose name has no ending"
        raise RunError([f"output={config.output}: format={config.format} writes {wanted}"])
    if config.format == "onnx":
        require_onnx("format=onnx")

    import torch

    from hdrlab.inference import exports

    system = exports.open_system(
        config.checkpoint or config.slots or config.weights,
        config.task,
        refine=config.refine,
        procedure=config.procedure,
        normalize=config.normalize,
        runs=config.paths.runs,
    )
    output = Path(os.path.abspath(config.output or f"{system.title}{suffix}"))
    print(
        f"exporting {system.metadata['nets']} ({system.metadata['preset']}) for {config.format}", flush=True
    )
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        checks = getattr(exports, f"write_{config.format}")(system, output)
    except OSError as error:
        raise RunError([f"output={output}: cannot be written ({error.strerror or error})"]) from error
    files = [output / f"{name}.safetensors" for name in system.nets] if output.is_dir() else [output]
    size = sum(file.stat().st_size for file in files) / 1e6
    print(f"{config.output or output.name}: {size:.1f} MB, {system.metadata['licence']}")
    print("largest difference from PyTorch, relative to values above 1:")
    for one in checks:
        height, width = one.size
        print(f"  {width:4} × {height:<4} {one.difference:.1e}   (values up to {one.peak:.3g})")
    theirs, ours = checks[-1].seconds
    count = torch.get_num_threads()
    threads = "1 thread" if count == 1 else f"{count} threads"
    print(
        f"time at {width} × {height}, {threads}: {PROGRAMS[config.format]} {theirs:.2f} s, "
        f"PyTorch {ours:.2f} s"
    )
    return 0


COMMAND = Command(
    "export",
    ExportConfig,
    export,
    (
        "weights=compact              # writes compact_reconstruct.onnx here",
        "tonemap.onnx task=tonemap",
        "chain.pt2 checkpoint=runs/slots/tiny/joint.ckpt format=torch_export",
        "nets weights=compact format=safetensors",
    ),
    ("output", "weights", "checkpoint", "slots", "task", "format"),
    positional=("output",),
    first=("output", "format", "weights", "checkpoint", "task"),
)

if __name__ == "__main__":
    COMMAND.main()
