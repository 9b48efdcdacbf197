"""The variables of TensorFlow checkpoints by name, and their way into our nets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hdrlab.errors import WeightsError
from hdrlab.nets.layers import Net
from hdrlab.nets.linearization import BLOCKS
from hdrlab.nets.vgg16 import conv_names

GRAPH_LEAVES = {
    "Dequantization_Net": ("kernel", "bias"),
    "Refinement_Net": ("kernel", "bias"),
    "Hallucination_Net": ("W_conv2d", "b_conv2d"),
    "crf_feature_net": ("weights", "biases"),
    "ae_invcrf_decode_net": ("kernel", "bias"),
}
"""How the authors' code calls kernel and bias under each scope."""

NORM_LEAVES = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}
OBJECT_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
OBJECT_ROOTS = ("lin/", "tf2/")
"""What SingleHDR-tf2 hangs every net under, and the mark of its variables where both kinds stand together."""


@dataclass(frozen=True)
class LoadReport:
    """What `load_variables` did with each variable.

    Attributes:
        loaded: Names whose values are now in the net.
        ignored: Names that are not this net's: other nets', optimiser slots, counters.
    """

    loaded: tuple[str, ...]
    ignored: tuple[str, ...]


@torch.no_grad()
def load_variables(net: Net, variables: Mapping[str, NDArray[Any]]) -> LoadReport:
    """Load TensorFlow variables into a net, all or none.

    Names and shapes decide alone: whether the variables belong to the net's preset is the caller's to know.

    Args:
        net: From `build_net`, of any preset; dtype and device are kept.
        variables: Arrays in TensorFlow's layout by name: graph names of the authors' code (with or without
            `:0`) or object paths of SingleHDR-tf2. Names of other nets are ignored.

    Returns:
        Which names were loaded and which ignored.

    Raises:
        WeightsError: Variables of this net are missing, misshapen or not finite; the message lists all.
        ValueError: The net has no counterpart in TensorFlow.
    """
    by_path = {_canonical(name): name for name in variables}
    from_objects = any(name.endswith(OBJECT_SUFFIX) for name in variables)
    chosen: dict[str, Tensor] = {}
    problems = []
    for target, paths in _targets(net):
        # A mapping may hold one variable under both names, so the first that fits wins.
        present = [by_path[path] for path in paths if path in by_path]
        wanted = _tensorflow_shape(target)
        fitting = [name for name in present if list(np.shape(variables[name])) == wanted]
        if not present:
            problems.append(f"{paths[-1 if from_objects else 0]} is missing, expected {wanted}")
        elif not fitting:
            problems.append(f"{present[0]} has {list(np.shape(variables[present[0]]))}, expected {wanted}")
        elif not np.isfinite(variables[fitting[0]]).all():
            problems.append(f"{fitting[0]} holds values that are not finite")
        else:
            chosen[fitting[0]] = target
    if problems:
        summary = f"{len(problems)} variables do not fit {net.name} (preset {net.preset}):"
        raise WeightsError("\n  ".join([summary, *problems]))
    for name, target in chosen.items():
        target.copy_(from_tensorflow(variables[name]))
    return LoadReport(tuple(chosen), tuple(name for name in variables if name not in chosen))


def _canonical(name: str) -> str:
    name = name.removesuffix(":0").removesuffix(OBJECT_SUFFIX)
    for root in OBJECT_ROOTS:
        name = name.removeprefix(root)
    return name


def _targets(net: Net) -> Iterator[tuple[Tensor, tuple[str, ...]]]:
    """Yield each tensor of the net with its name in the authors' graph and, where it has one, object path."""
    if net.name in _TONE_NAMES:
        for module_name, name in _TONE_NAMES[net.name].items():
            for leaf in ("weight", "bias"):
                yield net.get_parameter(f"{module_name}.{leaf}"), (name.format(leaf),)
        return
    if net.name not in _SCOPES:
        known = ", ".join([*_SCOPES, *_TONE_NAMES])
        raise ValueError(f"net {net.name!r} has no TensorFlow names; nets with them are {known}")
    for module_name, (scope, path) in _SCOPES[net.name].items():
        module = net.get_submodule(module_name)
        kernel, bias = GRAPH_LEAVES[scope.split("/")[0]]
        leaves = {"weight": (kernel, "kernel"), "bias": (bias, "bias")}
        if isinstance(module, nn.BatchNorm2d):
            leaves = {ours: (leaf, leaf) for ours, leaf in NORM_LEAVES.items()}
        for ours, tensor in module.state_dict().items():
            if ours in leaves:  # the count of batches has no counterpart
                yield tensor, (f"{scope}/{leaves[ours][0]}", f"{path}/{leaves[ours][1]}")


def variable_shapes(net: Net) -> dict[str, list[int]]:
    """Name the variables that `load_variables` wants.

    Args:
        net: From `build_net`, of any preset.

    Returns:
        Shapes in TensorFlow's layout by the authors' graph names.

    Raises:
        ValueError: The net has no counterpart in TensorFlow.
    """
    return {paths[0]: _tensorflow_shape(target) for target, paths in _targets(net)}


def _tensorflow_shape(tensor: Tensor) -> list[int]:
    shape = list(tensor.shape)
    return [*shape[2:], *shape[1::-1]]


def from_tensorflow(array: NDArray[Any]) -> Tensor:
    """Turn kernels [H, W, in, out] into [out, in, H, W], and dense ones [in, out] into [out, in]."""
    axes = {4: (3, 2, 0, 1), 2: (1, 0)}.get(array.ndim, tuple(range(array.ndim)))
    return torch.from_numpy(np.array(array.transpose(axes)))


def _unet_scopes(scope: str) -> dict[str, tuple[str, str]]:
    stages = ["", "d2/", "d3/", "d4/", "enc/", "u4/", "u3/", "u2/", "u1/"]
    objects = [f"{stage}conv{i}" for stage in stages for i in (1, 2)] + ["out"]
    return {
        f"convs.{i}": (f"{scope}/conv2d_{i}" if i else f"{scope}/conv2d", path)
        for i, path in enumerate(objects)
    }


def _linearization_scopes() -> dict[str, tuple[str, str]]:
    root = "crf_feature_net"
    scopes = {
        "conv1": (f"{root}/conv1", f"{root}/conv1"),
        "bn_conv1": (f"{root}/bn_conv1/BatchNorm", f"{root}/norm1"),
        "head": ("ae_invcrf_decode_net/dense", "ae_invcrf_decode_net/fc"),
    }
    for number, block in enumerate(BLOCKS, start=1):
        branches = ["branch2a", "branch2b", "branch2c"]
        if block.endswith("a"):
            branches.insert(0, "branch1")
        for i, branch in enumerate(branches, start=1):
            ours, theirs, layer = f"blocks.{block}.{branch}", f"{block}_{branch}", f"{root}/res{number}"
            scopes[f"{ours}.conv"] = (f"{root}/res{theirs}", f"{layer}/conv{i}")
            scopes[f"{ours}.bn"] = (f"{root}/bn{theirs}/BatchNorm", f"{layer}/norm{i}")
    return scopes


def _hallucination_scopes() -> dict[str, tuple[str, str]]:
    encoder, decoder = "Hallucination_Net/encoder", "Hallucination_Net/decoder"
    scopes = {
        f"encoder.{name}": (f"{encoder}/h{name[4]}/conv_{name[6]}", f"d{name[4]}/conv{name[6]}")
        for name in conv_names()
    }
    scopes["bottom"] = (f"{encoder}/h6/conv", "conv1")
    scopes["bottom_bn"] = (f"{encoder}/h6/batch_norm", "norm1")
    for i in range(5):
        deconv = f"{decoder}/h{i + 1}/decon2d"
        scopes[f"deconvs.{i}.conv"] = (deconv, f"u{5 - i}/conv1")
        scopes[f"deconvs.{i}.bn"] = (f"{deconv}/batch_norm_dc", f"u{5 - i}/norm1")
        scopes[f"fuses.{i}"] = (f"{decoder}/h{i + 2}/fuse_skip_connection", f"s{5 - i}/conv1")
    scopes["last"] = (f"{decoder}/h7/conv2d", "conv2")
    scopes["last_bn"] = (f"{decoder}/h7/batch_norm", "norm2")
    scopes["fuse_input"] = (f"{decoder}/h7/fuse_skip_connection", "s0/conv1")
    return scopes


_SCOPES = {
    "dequantization": _unet_scopes("Dequantization_Net"),
    "linearization": _linearization_scopes(),
    "hallucination": _hallucination_scopes(),
    "refinement": _unet_scopes("Refinement_Net"),
}
"""For each net, module → its scope in the authors' graph and its object path in SingleHDR-tf2."""


def _tone_names(scope: str, head: str, blocks: Mapping[str, str]) -> dict[str, str]:
    names = {f"conv{i}": f"{scope}/conv{i}_{{}}" for i in (1, 2, 3)} | {"head": f"{scope}/{head}_{{}}"}
    for ours, theirs in blocks.items():
        names |= {f"{ours}.groups.{i}": f"{scope}/{theirs}g{i + 1}_{{}}" for i in range(3)}
        names[f"{ours}.merge"] = f"{scope}/{theirs}cc_n_{{}}"
    return names


_TONE_NAMES = {
    "tmo_high": _tone_names("high_level", "c5_sig", {}) | {"conv4": "high_level/conv4_{}"},
    "tmo_bottom": _tone_names("bot_level", "c4_sig", {"residual": "3pass_res"})
    # The authors call two layers conv2, and TensorFlow numbered the second one's variables.
    | {"conv3": "bot_level/conv2_{}_1"},
    "tmo_merge": _tone_names(
        "ft_merger", "c5_sig", {"residuals.0": "3pass_res1", "residuals.1": "3pass_res2"}
    ),
}
"""For each net of tone mapping, module → names in the authors' graph, with a gap for weight or bias."""
