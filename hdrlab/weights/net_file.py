"""Files that hold one net each, and loading of nets from them or from checkpoints of trainings."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from hdrlab import nets
from hdrlab.config.registry import needs_plugin
from hdrlab.config.registry.tables import NETS, like, net_names
from hdrlab.errors import WeightsError, __version__
from hdrlab.io.atomic import writing
from hdrlab.nets import SYSTEMS, Net
from hdrlab.nets.compact import CompactLinearizationNet
from hdrlab.nets.layers import assign_tensors, require_choice, require_shapes
from hdrlab.nets.linearization import LinearizationNet
from hdrlab.weights.safe_load import DAMAGE, load_safely, require_weights

SUFFIX = ".pt"
SHIPPED_SUFFIX = ".safetensors"
NET_SUFFIXES = (SUFFIX, SHIPPED_SUFFIX)
SUFFIXES = (*NET_SUFFIXES, ".ckpt")
SCHEMA_VERSION = 1
MARK = "hdrlab_net"
CHECKPOINT_MARK = "hdrlab"

DESCRIPTION: Mapping[str, tuple[type, ...]] = {
    "net": (str,),
    "preset": (str,),
    "options": (dict,),
    "basis": (str, type(None)),
}
"""The description of a net by `describe_net`, and its types."""

HEADER: Mapping[str, tuple[type, ...]] = {"schema_version": (int,), **DESCRIPTION, "sha256": (str,)}
"""What the header of a net file must say to be read, and its types."""

PathLike = str | os.PathLike[str]


def save_net(net: Net, path: Path, source: Mapping[str, Any]) -> None:
    """Write a net with a header of plain types, so that the file stands alone and can be read safely.

    Args:
        net: From `build_net`.
        path: The file; a former one is replaced when the new one is whole. One that ends in .safetensors
            holds half precision, at half the size.
        source: What the weights come from, plain types.
    """
    state = net.state_dict()
    if path.suffix == SHIPPED_SUFFIX:
        state = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    header = {
        "schema_version": SCHEMA_VERSION,
        **describe_net(net),
        "source": dict(source),
        "versions": versions(),
        "sha256": _digest(state),
    }
    if path.suffix == SHIPPED_SUFFIX:
        contiguous = {name: value.contiguous() for name, value in state.items()}
        with writing(path) as stream:
            stream.write(safetensors.torch.save(contiguous, {MARK: json.dumps(header)}))
        return
    with writing(path) as stream:
        torch.save({MARK: header, "state_dict": state}, stream)


def describe_net(net: Net) -> dict[str, Any]:
    """Return what a net is, in plain types: with its weights enough to build it again.

    The inverse basis of a linearization net is among its weights; only its name is given.
    """
    options = {name: value for name, value in net.options.items() if name != "basis"}
    basis = getattr(net, "basis_name", None)
    origin = NETS.origin(f"{net.name}/{net.preset}")
    described = {"net": net.name, "preset": net.preset, "options": options, "basis": basis}
    return described | ({"plugin": origin.plugin} if origin else {})


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


def fingerprint(own: Mapping[str, Net], *settings: Any) -> str:
    """Digest everything that decides about what nets make.

    Args:
        own: Nets by name.
        settings: Their other settings, plain values.
    """
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for name, net in sorted(own.items()):
        options = json.dumps(describe_net(net)["options"], sort_keys=True)
        digest.update(f"{name} {net.preset} {options} ".encode())
        digest.update(_digest(net.state_dict()).encode())
    return digest.hexdigest()


def build_net(
    name: str,
    preset: str | None = None,
    *,
    weights: PathLike | Sequence[PathLike] | None = None,
    **options: Any,
) -> Net:
    """Build a net, with fresh weights or with those of a file.

    Args:
        name: dequantization, linearization, hallucination, refinement, tmo_bottom, tmo_high or tmo_merge.
        preset: As for `hdrlab.nets.build_net`; None: the weights' own, without weights ``default``.
        weights: Files, folders or checkpoints as for `load_nets`, of which this net is taken.
        **options: As for `hdrlab.nets.build_net`; beside weights they may only say what these say.

    Returns:
        The net: with weights in evaluation mode, else in training mode.

    Raises:
        ValueError: A name, preset, option or value is illegal.
        WeightsError: The weights cannot be used, or are of another preset or other options.
    """
    if weights is None:
        return nets.build_net(name, preset or "default", **options)
    require_choice("net", name, net_names(), nets.ALIASES)
    loaded = load_nets(weights)
    if name not in loaded:
        raise WeightsError(f"{weights}: holds no {name} net, but {', '.join(loaded)}")
    net = loaded[name]
    stored = {"preset": net.preset, **net.options}
    asked = {"preset": preset or net.preset, **options}
    if other := [f"{key}={value}" for key, value in asked.items() if stored.get(key) != value]:
        kind = ", ".join(f"{key}={value}" for key, value in stored.items())
        raise WeightsError(f"{weights}: {name} is of {kind}, not of {', '.join(other)}; leave that out")
    return net


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
    loaded: dict[str, Net] = {}
    origin: dict[str, Path] = {}
    for path in dict.fromkeys(file for one in given for file in _files(Path(one))):
        for net in _load_file(path):
            if net.name in loaded:
                raise WeightsError(
                    f"{net.name} is both in {origin[net.name]} and in {path}: give only one of them"
                )
            loaded[net.name], origin[net.name] = net.eval(), path
    if not loaded:
        raise WeightsError(f"no nets in {', '.join(str(one) for one in given) or 'an empty list'}")
    require_one_preset({(name, origin[name]): net.preset for name, net in loaded.items()})
    return loaded


def num_parameters(*nets: Net) -> int:
    """Count the values in nets that training sets."""
    return sum(values.numel() for net in nets for values in net.parameters())


def require_one_preset(presets: Mapping[tuple[str, Path], str]) -> None:
    """Refuse nets of one system in several presets, which do not understand each other's images.

    Args:
        presets: Preset of each net, by its name and place.

    Raises:
        WeightsError: Naming every net's preset.
    """
    for names in SYSTEMS.values():
        own = {net: preset for net, preset in presets.items() if net[0] in names}
        if len(set(map(like, own.values()))) > 1:
            files = "\n  ".join(f"{preset}: {name} ({place})" for (name, place), preset in own.items())
            raise WeightsError(
                f"nets of different presets do not work together; give those of one:\n  {files}"
            )


def read_header(path: Path) -> dict[str, Any]:
    """Read what a file of one net says of itself.

    Raises:
        WeightsError: The file is damaged, foreign or newer.
    """
    return dict(_require_header(path, _read(path)))


def _files(path: Path) -> Iterator[Path]:
    if os.path.isfile(path):  # the methods of Path raise where a name is too long
        yield path
    elif os.path.isdir(path):
        yield from sorted(file for file in path.iterdir() if file.suffix in SUFFIXES and file.is_file())
    else:
        raise WeightsError(f"{path}: no such file or folder")


def _load_file(path: Path) -> Iterator[Net]:
    stored = _read(path, remedy="; hdrlab.import_weights reads foreign weights")
    if CHECKPOINT_MARK in stored:
        yield from _load_checkpoint(path, stored)
        return
    header = _require_header(path, stored)
    net = _load_net(path, header, require_weights(path, stored.get("state_dict")))
    if _digest(stored["state_dict"]) != header["sha256"]:
        raise WeightsError(f"{path}: the checksum of its weights does not match, so the file is damaged")
    yield net


def _read(path: Path, remedy: str = "") -> dict[str, Any]:
    return _load_safetensors(path) if path.suffix == SHIPPED_SUFFIX else load_safely(path, remedy=remedy)


def _load_safetensors(path: Path) -> dict[str, Any]:
    """Read a file of tensors with one of our headers as its metadata; another's has none."""
    try:
        with safetensors.safe_open(path, framework="pt") as stored:
            described = json.loads((stored.metadata() or {}).get(MARK, "null"))
            state = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 - no mapping
    except DAMAGE as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise WeightsError(f"{path}: cannot be read ({reason})") from error
    return {MARK: described, "state_dict": state}


def _load_checkpoint(path: Path, stored: Mapping[str, Any]) -> Iterator[Net]:
    """Load the nets of a training's checkpoint: described in its header, the weights under their names."""
    header, weights = stored[CHECKPOINT_MARK], require_weights(path, stored.get("state_dict"))
    described = header.get("nets") if isinstance(header, dict) else None
    if not isinstance(described, dict) or not all(isinstance(name, str) for name in described):
        raise WeightsError(f"{path}: does not say which nets it holds: damaged, or of an older hdrlab")
    for name, description in described.items():
        own = {key.removeprefix(f"{name}."): v for key, v in weights.items() if key.startswith(f"{name}.")}
        yield _load_net(path, _require_fields(path, description, DESCRIPTION), own)


def _load_net(path: Path, description: Mapping[str, Any], weights: Mapping[str, Tensor]) -> Net:
    """Build the net described and give it the weights; all is found out before memory is taken for it."""
    what = f"{description['net']} ({path})"
    plugin = description.get("plugin")
    if plugin and f"{description['net']}/{description['preset']}" not in NETS:
        raise WeightsError(f"{path}: {description['net']} {needs_plugin(plugin)}")
    options = {name: value for name, value in description["options"].items() if name != "basis"}
    try:
        with torch.device("meta"):
            expected = nets.build_net(description["net"], description["preset"], **options).state_dict()
    except DAMAGE as error:
        raise WeightsError(f"{path}: its header describes no net of hdrlab ({error})") from error
    require_shapes(expected, weights, what)
    if unknown := sorted(weights.keys() - expected.keys()):
        raise WeightsError(f"{path}: weights that {description['net']} has not: {', '.join(unknown)}")
    net = nets.build_net(description["net"], description["preset"], **options)
    if isinstance(net, LinearizationNet | CompactLinearizationNet):
        net.basis_name = description["basis"]
    assign_tensors(net.state_dict(), weights, what)
    return net


def _require_header(path: Path, stored: Mapping[str, Any]) -> Mapping[str, Any]:
    header = stored.get(MARK)
    if not isinstance(header, dict):
        raise WeightsError(
            f"{path}: holds no net of hdrlab; give files of hdrlab.import_weights or checkpoints of trainings"
        )
    _require_fields(path, header, HEADER)
    if header["schema_version"] > SCHEMA_VERSION:
        raise WeightsError(f"{path}: written by a newer hdrlab; update to read it")
    return header


def _require_fields(path: Path, stored: object, kinds: Mapping[str, tuple[type, ...]]) -> Mapping[str, Any]:
    if not isinstance(stored, dict):
        raise WeightsError(f"{path}: its header is damaged")
    if unfit := [name for name, kind in kinds.items() if not isinstance(stored.get(name), kind)]:
        raise WeightsError(f"{path}: its header is damaged ({', '.join(unfit)})")
    return stored
