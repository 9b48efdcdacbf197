"""What a large image needs: peak memory of a command at full net width, measured in a process of its own.

    python experiments/memory.py reconstruct 4000x3000 2GB
    python experiments/memory.py tonemap 4000x3000

Nets have fresh weights: what they hold changes neither memory nor time. Linux only (VmHWM).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from hdrlab.io import write_image
from hdrlab.nets import SYSTEMS, build_net
from hdrlab.weights.net_file import save_net

CODE = """
import sys
from hdrlab.{command} import COMMAND
try:
    COMMAND.main(sys.argv[1:])
finally:
    print(open("/proc/self/status").read().partition("VmHWM:")[2].split()[0])
"""
OWN_BYTES = {"reconstruct": 100, "tonemap": 0}
"""Bytes a pixel that a command's images take; what memory= limits are the nets' maps."""


def peak(command: str, *words: str) -> tuple[float, float]:
    """Run a command and return its peak memory in GB and the seconds it took."""
    begun = time.monotonic()
    told = [sys.executable, "-c", CODE.format(command=command), *words]
    answer = subprocess.run(told, capture_output=True, text=True, check=True)
    return int(answer.stdout.splitlines()[-1]) * 1024 / 1e9, time.monotonic() - begun


def write_nets(command: str, folder: Path) -> None:
    """Write nets of full width with fresh weights."""
    folder.mkdir()
    torch.manual_seed(0)
    system = SYSTEMS["SingleHDR" if command == "reconstruct" else "IQATM"]
    for name in system:
        save_net(build_net(name), folder / f"{name}.pt", {})


def main(command: str, size: str, memory: str | None = None) -> None:
    """Measure a command on an image of a size, and on one of 64 × 64 for what the program itself takes."""
    width, height = map(int, size.split("x"))
    noise = np.random.default_rng(0).random((height, width, 3), np.float32)
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        write_nets(command, work / "nets")
        suffix = ".png" if command == "reconstruct" else ".exr"
        for name, pixels in (("large", noise), ("small", noise[:64, :64])):
            levels = (255 * pixels).astype(np.uint8)
            write_image(work / f"{name}{suffix}", levels if command == "reconstruct" else 10 * pixels**4)
        common = [f"checkpoint={work / 'nets'}", "device=cpu"]
        common += [f"memory={memory}"] if memory else []
        took = {
            name: peak(command, f"input={work / name}{suffix}", f"output={work / 'out' / name}", *common)
            for name in ("small", "large")
        }
    (program, _), (whole, seconds) = took["small"], took["large"]
    images = OWN_BYTES[command] * width * height / 1e9
    print(
        f"{command} {size}{f' memory={memory}' if memory else ''}: peak {whole:.2f} GB in {seconds:.0f} s; "
        f"the program {program:.2f} GB, the images {images:.2f} GB, "
        f"beyond both {whole - program - images:.2f} GB"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
