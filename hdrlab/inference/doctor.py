"""What works on this machine, and what is missing for what: ``hdrlab doctor``."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from hdrlab.config.registry.loading import offered
from hdrlab.errors import HdrlabError, __version__, install

EXTRAS = {
    "heic": ("pillow_heif", "HEIC and HEIF photographs"),
    "codecs": ("imagecodecs", "AVIF, profiles with tables at 16 bits"),
    "exr": ("OpenEXR", "OpenEXR files with sub-sampled chroma"),
    "raw": ("rawpy", "camera raw files"),
    "video": ("av", "clips: MP4, MOV, MKV, WebM"),
    "operators": ("cv2", "tone mapping by OpenCV and colour-hdri"),
    "serve": ("uvicorn", "hdrlab serve, a page to drop photographs on"),
    "onnx": ("onnxruntime", "hdrlab export, reconstruct backend=onnxruntime"),
    "sweep": ("optuna", "hydra/sweeper=tpe and launchers for clusters"),
    "tensorboard": ("tensorboard", "logger=tensorboard"),
    "dashboards": ("wandb_workspaces", "a project's page in wandb as code"),
    "keras": ("h5py", "VGG-16 weights in Keras files"),
    "docs": ("sphinx", "the documentation site, make docs"),
}
"""A module of each extra of the package, and what it is for."""

PROGRAMS = {
    ("octave-cli", "octave", "matlab"): "HDR-VDP in evaluate (metrics=hdrvdp3)",
}
"""Programs that are called where they are asked for, any one of a kind, and what for."""

Row = tuple[str, str, str]


def main() -> int:
    """Print a table; return 1 if something that comes with hdrlab does not work."""
    if len(sys.argv) > 1:
        print("Say what is installed, and what is missing for what.\n\nusage: hdrlab doctor")
        return 0 if sys.argv[1:] in (["-h"], ["--help"]) else 2
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("", "state", "", show_lines=False)
    broken = False
    for rows in (_machine(), _formats(), _weights(), _extras()):
        for name, state, remark in rows:
            colour = {"broken": "red", "missing": "yellow"}.get(state, "green")
            broken |= state == "broken"
            table.add_row(escape(name), f"[{colour}]{escape(state)}[/]", escape(remark))
        table.add_section()
    Console().print(table)
    return int(broken)


def _machine() -> Iterator[Row]:
    yield "hdrlab", __version__, str(Path(__file__).parents[1])
    yield "Python", platform.python_version(), f"{platform.system()} {platform.machine()}"
    try:
        import torch
    except (ImportError, OSError) as error:  # Windows' word for a library that is not there
        yield "PyTorch", "broken", str(error)
        return
    from hdrlab.inference.load import computes_bf16, free_memory
    from hdrlab.tonemapping.rows import available_cores

    yield "PyTorch", torch.__version__, f"Lightning {version('pytorch-lightning')}"
    cores = available_cores()
    memory = free_memory()
    remark = "bf16 natively" if computes_bf16(torch.device("cpu")) else "no bf16: precision=auto is 32"
    remark += f"; {memory / 1e9:.1f} GB free" if memory < 1e15 else ""
    yield "processor", "1 core" if cores == 1 else f"{cores} cores", remark
    for index in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(index)
        yield f"cuda:{index}", card.name, f"{card.total_memory / 1e9:.0f} GB"
    if torch.backends.mps.is_available():
        yield "mps", "there", "Apple's GPU"


def _formats() -> Iterator[Row]:
    """Formats that the package itself needs: whether their libraries can be loaded."""
    for module, what in {
        "OpenImageIO": "EXR, Radiance, TIFF, DPX; colour by OpenColorIO",
        "PIL": "JPEG, PNG; Ultra HDR",
    }.items():
        try:
            loaded = import_module(module)
        except ImportError as error:
            yield module, "broken", str(error)
        else:
            yield module, str(getattr(loaded, "__version__", "there")), what


def _weights() -> Iterator[Row]:
    try:
        import_module("torch")
    except (ImportError, OSError):  # PyTorch, which has its own line
        return
    from hdrlab.weights.net_file import load_nets, num_parameters
    from hdrlab.weights.pretrained import HOW_OFFICIAL, OFFICIAL, SHIPPED, shipped

    for name in shipped():
        try:
            folders = sorted({file.parent for file in (SHIPPED / name).rglob("*.safetensors")})
            nets = {one: net for folder in folders for one, net in load_nets(folder).items()}
        except HdrlabError as error:
            yield f"weights={name}", "broken", str(error)
        else:
            count = num_parameters(*nets.values())
            yield f"weights={name}", "sound", f"{', '.join(nets)}; {count / 1e6:.1f} million parameters"
    folder = Path("runs", "weights", OFFICIAL)
    if folder.is_dir():
        yield "weights=official", "there", str(folder)
    else:
        yield "weights=official", "missing", HOW_OFFICIAL.format(folder=folder)


def _extras() -> Iterator[Row]:
    for extra, (module, what) in EXTRAS.items():
        found = find_spec(module) is not None
        yield extra, "there" if found else "missing", what if found else f"{what}: {install(extra)}"
    for name in offered():
        yield name, "there", f"a plug-in, loaded by plugins={name} only"
    for names, what in PROGRAMS.items():
        program = next(filter(None, map(shutil.which, names)), None)
        yield names[0], "there" if program else "missing", f"{what}{f': {program}' if program else ''}"


if __name__ == "__main__":
    sys.exit(main())
