"""Files that hold one net each, and loading of nets from them or from checkpoints of trainings."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import platform
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hdrlab import __version__
from hdrlab.nets import SYSTEMS, Net, build_net
from hdrlab.nets.layers import WeightsError, assign_tensors, require_shapes
from hdrlab.nets.linearization import LinearizationNet

SUFFIX = ".pt"
SUFFIXES = (SUFFIX, ".ckpt")
SCHEMA_VERSION = 1
MARK = "hdrlab_net"
CHECKPOINT_MARK = "hdrlab"

HEADER: Mapping[str, tuple[type, ...]] = {
    "schema_version": (int,),
    "net": (str,),
    "preset": (str,),
    "options": (dict,),
    "basis": (str, type(None)),
    "sha256": (str,),
}
"""What the header of a net file must say to be read, and its types."""

DAMAGE = (
    OSError, RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError,
    ArithmeticError, EOFError, MemoryError, struct.error, zlib.error, zipfile.BadZipFile,
    pickle.UnpicklingError,
)  # fmt: skip
"""What reading damaged or hostile bytes raises."""

PathLike = str | os.PathLike[str]


def save_net(net: Net, path: Path, source: Mapping[str, Any]) -> None:
    """Write a net with a header of plain types, so that the file stands alone and can be read safely.

    Args:
        net: From `build_net`.
        path: The file; a former one is replaced when the new one is whole.
        source: What the weights come from, plain types.
    """
    options = {name: value for name, value in net.options.items() if name != "basis"}
    state = net.state_dict()
    header = {
        "schema_version": SCHEMA_VERSION,
        "net": net.name,
        "preset": net.preset,
        "options": options,
        "basis": getattr(net, "basis_name", None),
        "source": dict(source),
        "versions": versions(),
        "sha256": _digest(state),
    }
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as stream:
            torch.save({MARK: header, "state_dict": state}, stream)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def versions() -> dict[str, str]:
    """Return the versions of hdrlab and of what decides about the content of its files."""
    own = {"hdrlab": __version__, "python": platform.python_version()}
    return own | {name: version(name) for name in ("torch", "numpy")}


def _digest(state: Mapping[str, Tensor]) -> str:
    """Hash names, shapes and values: PyTorch's own reader lets a flipped bit pass."""
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def fingerprint(nets: Mapping[str, Net], *said: Any) -> str:
    """Digest everything that decides about what nets make.

    Args:
        nets: Nets by name.
        said: What they are told besides, plain values.
    """
    digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode())
    for name, net in sorted(nets.items()):
        options = {key: value for key, value in net.options.items() if key != "basis"}
        digest.update(f"{name} {net.preset} {json.dumps(options, sort_keys=True)} ".encode())
        digest.update(_digest(net.state_dict()).encode())
    return digest.hexdigest()


def load_nets(paths: PathLike | Sequence[PathLike]) -> dict[str, Net]:
    """Load nets for inference.

    Args:
        paths: Files that `hdrlab.import_weights` wrote, checkpoints of trainings, folders that hold such
            files directly (`.pt`, `.ckpt`), or a list of all these.

    Returns:
        Nets by name, in evaluation mode, on the CPU.

    Raises:
        WeightsError: A file is missing, damaged or foreign, two files hold the same net, or presets mix.
    """
    given = [paths] if isinstance(paths, (str, os.PathLike)) else paths
    nets: dict[str, Net] = {}
    origin: dict[str, Path] = {}
    for path in dict.fromkeys(file for one in given for file in _files(Path(one))):
        for net in _load_file(path):
            if net.name in nets:
                raise WeightsError(
                    f"{net.name} is both in {origin[net.name]} and in {path}: give only one of them"
                )
            nets[net.name], origin[net.name] = net.eval(), path
    if not nets:
        raise WeightsError(f"no nets in {', '.join(str(one) for one in given) or 'an empty list'}")
    require_one_preset({(name, origin[name]): net.preset for name, net in nets.items()})
    return nets


def require_one_preset(presets: Mapping[tuple[str, Path], str]) -> None:
    """Refuse nets of one system in several presets, which do not understand each other's pictures.

    Args:
        presets: Preset of each net, by its name and place.

    Raises:
        WeightsError: Naming every net's preset.
    """
    for names in SYSTEMS.values():
        own = {net: preset for net, preset in presets.items() if net[0] in names}
        if len(set(own.values())) > 1:
            said = "\n  ".join(f"{preset}: {name} ({place})" for (name, place), preset in own.items())
            raise WeightsError(
                f"nets of different presets do not work together; give those of one:\n  {said}"
            )


def read_header(path: Path) -> dict[str, Any]:
    """Read what a file of one net says of itself.

    Raises:
        WeightsError: The file is damaged, foreign or newer.
    """
    header: dict[str, Any] = _require_header(path, _read(path))
    return header


def _files(path: Path) -> Iterator[Path]:
    if os.path.isfile(path):  # the methods of Path raise where a name is too long
        yield path
    elif os.path.isdir(path):
        yield from sorted(file for file in path.iterdir() if file.suffix in SUFFIXES and file.is_file())
    else:
        raise WeightsError(f"{path}: no such file or folder")


def _load_file(path: Path) -> Iterator[Net]:
    stored = _read(path)
    if CHECKPOINT_MARK in stored:
        yield from _stage_nets(path)
        return
    header = _require_header(path, stored)
    options = {name: value for name, value in header["options"].items() if name != "basis"}
    state = _require_state(path, header, options, stored.get("state_dict"))
    if _digest(state) != header["sha256"]:
        raise WeightsError(f"{path}: the checksum of its weights does not match, so the file is damaged")
    net = build_net(header["net"], header["preset"], **options)
    if isinstance(net, LinearizationNet):
        net.basis_name = header["basis"]
    assign_tensors(net.state_dict(), state, f"{header['net']} ({path})")
    yield net


def _require_state(
    path: Path, header: Mapping[str, Any], options: Mapping[str, Any], state: object
) -> dict[str, Tensor]:
    """Return the weights if they are those of the net described; find out before memory is taken for it."""
    try:
        with torch.device("meta"):
            expected = build_net(header["net"], header["preset"], **options).state_dict()
    except DAMAGE as error:
        raise WeightsError(f"{path}: its header describes no net of hdrlab ({error})") from error
    if not isinstance(state, dict) or not all(map(_is_plain, state.values())):
        raise WeightsError(f"{path}: holds no plain tensors as weights")
    require_shapes(expected, state, f"{header['net']} ({path})")
    if unknown := [str(name) for name in state.keys() - expected.keys()]:
        raise WeightsError(f"{path}: weights that {header['net']} has not: {', '.join(sorted(unknown))}")
    return state


def _is_plain(value: object) -> bool:
    """Say whether a value is a tensor that holds as many numbers as its shape says."""
    if type(value) is not Tensor or value.device.type != "cpu" or value.layout is not torch.strided:
        return False
    held = not (value.is_quantized or value.is_nested) and value.untyped_storage().nbytes()
    return held >= value.numel() * value.element_size()


def _stage_nets(path: Path) -> Iterator[Net]:
    from hdrlab.training.checkpoints import load_stage  # brings Lightning, which a net file does not need

    stage = load_stage(path)
    for module in stage.modules():
        if isinstance(module, Net):
            if module.name == "hallucination":
                module.options = {**module.options, "mask_width": getattr(stage, "mask_width", None)}
            yield module


def _read(path: Path) -> dict[str, Any]:
    try:
        check_records(path)
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except DAMAGE as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise WeightsError(
            f"{path}: cannot be read ({reason}); hdrlab.import_weights reads foreign weights"
        ) from error
    if not isinstance(stored, dict):
        raise WeightsError(
            f"{path}: holds no nets; give files of hdrlab.import_weights or checkpoints of trainings"
        )
    return stored


def check_records(path: Path) -> None:
    """Compare the checksums of the records in a file of `torch.save`: PyTorch lets a flipped bit pass.

    Raises:
        ValueError: They differ, or the records are packed, as PyTorch never does, to who knows what size.
        OSError: The file cannot be read.
        zipfile.BadZipFile: It is no such file.
    """
    with zipfile.ZipFile(path) as archive:
        records = archive.infolist()
        packed = any(record.compress_type != zipfile.ZIP_STORED for record in records)
        if packed or sum(record.file_size for record in records) > path.stat().st_size:
            raise ValueError("its records are packed or overlap")
        damaged = archive.testzip()
    if damaged:
        raise ValueError(f"the checksum of its record {damaged} does not match")


def _require_header(path: Path, stored: Mapping[str, Any]) -> dict[str, Any]:
    header = stored.get(MARK)
    if not isinstance(header, dict):
        raise WeightsError(
            f"{path}: holds no net of hdrlab; give files of hdrlab.import_weights or checkpoints of trainings"
        )
    if unfit := [name for name, kinds in HEADER.items() if not isinstance(header.get(name), kinds)]:
        raise WeightsError(f"{path}: its header is damaged ({', '.join(unfit)})")
    if header["schema_version"] > SCHEMA_VERSION:
        raise WeightsError(f"{path}: written by a newer hdrlab; update to read it")
    return header
