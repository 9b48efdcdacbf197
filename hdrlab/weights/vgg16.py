"""VGG-16's convolutions out of the files they are published in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from hdrlab.errors import WeightsError
from hdrlab.io.magic import begins_like
from hdrlab.nets.layers import require_shapes
from hdrlab.nets.vgg16 import VGG16, conv_names, preprocessing_tensors
from hdrlab.weights.names import from_tensorflow
from hdrlab.weights.safe_load import DAMAGE, load_pickled_npy, load_safely, require_weights

LARGEST_KERNEL = 3 * 3 * 512 * 512

KINDS = {".npy": "NumPy file", ".pth": "PyTorch file", ".h5": "HDF5 file", ".safetensors": "safetensors file"}

TORCHVISION_INDICES = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
"""Where torchvision's `features` hold the convolutions."""


def load_vgg16(path: str | Path) -> dict[str, Tensor]:
    """Read the convolutions of a VGG-16 file, recognised by its content.

    Args:
        path: torchvision's `.pth`; `vgg16.npy` or `vgg16_places365_weights.npy` (Caffe weights in a pickle);
            Keras' `.h5` (Caffe weights too); `.safetensors` under torchvision's names or those returned here.

    Returns:
        `conv1_1.weight` [64, 3, 3, 3], `conv1_1.bias` … `conv5_3.bias`, float32, kernels for RGB; with
        `scale` and `offset` [3], the transform RGB · scale − offset from [0, 1] to what they were trained on.

    Raises:
        WeightsError: The file cannot be read safely or does not hold VGG-16 in finite numbers; every problem
            is listed.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"{path} is no file")
    with path.open("rb") as file:
        magic = file.read(9)
    if magic.startswith(b"\x93NUMPY"):
        found = _load_caffe(path)
    elif magic.startswith((b"PK", b"\x80")):
        state = load_safely(path, old=True)
        # Published files hold parameters.
        found = _from_torchvision({k: v.detach() for k, v in state.items() if isinstance(v, Tensor)})
    elif magic.startswith(b"\x89HDF"):
        found = _load_keras(path)
    elif magic[8:9] == b"{":
        found = _from_torchvision(_load_safetensors(path))
    else:
        wanted = KINDS.get(path.suffix.lower(), "file of VGG-16 weights (.pth, .npy, .h5, .safetensors)")
        raise WeightsError(f"{path} is no {wanted}: {begins_like(path)}")
    with torch.device("meta"):
        expected = {**VGG16().state_dict(), "scale": torch.empty(3), "offset": torch.empty(3)}
    require_shapes(expected, found, f"VGG-16 ({path})")
    weights = require_weights(path, {name: found[name] for name in expected})
    return {name: tensor.float().contiguous() for name, tensor in weights.items()}


def _from_torchvision(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    if "features.0.weight" not in state:
        return dict(state)
    renamed = preprocessing_tensors("torchvision")
    for name, index in zip(conv_names(), TORCHVISION_INDICES, strict=True):
        for leaf in ("weight", "bias"):
            if f"features.{index}.{leaf}" in state:
                renamed[f"{name}.{leaf}"] = state[f"features.{index}.{leaf}"]
    return renamed


def _load_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except DAMAGE as error:
        raise WeightsError(f"{path} cannot be read as safetensors: {error}") from error


def _load_keras(path: Path) -> dict[str, Tensor]:
    try:
        import h5py  # type: ignore[import-untyped]
    except ImportError as error:
        raise WeightsError(f"{path} is an HDF5 file, and reading it needs h5py: pip install h5py") from error
    arrays: dict[str, NDArray[Any]] = {}

    def keep(key: str, item: object) -> None:
        layer = key.split("/")[-2].replace("block", "conv").replace("_conv", "_") if "/" in key else ""
        if not isinstance(item, h5py.Dataset) or layer not in conv_names() or item.dtype.kind != "f":
            return
        # What was never written takes no room in the file, and a chunk may be larger than its data set.
        if max(item.size, math.prod(item.chunks or ())) <= LARGEST_KERNEL:
            arrays[f"{layer}.{'weight' if item.ndim == 4 else 'bias'}"] = item[()]

    try:
        with h5py.File(path, "r") as file:
            file.visititems(keep)
    except DAMAGE as error:
        raise WeightsError(f"{path} cannot be read as HDF5: {error}") from error
    return _caffe_to_rgb({name: from_tensorflow(array) for name, array in arrays.items()})


def _load_caffe(path: Path) -> dict[str, Tensor]:
    """Read the dictionary of layers that `numpy.save` pickled, without running anything from the file."""
    found: dict[str, Tensor] = {}
    try:
        layers = load_pickled_npy(path)
        for name in conv_names():
            layer = layers.get(name, ())
            pair = (layer["weights"], layer["biases"]) if isinstance(layer, dict) else layer
            for leaf, array in zip(("weight", "bias"), pair, strict=False):
                found[f"{name}.{leaf}"] = from_tensorflow(array.decode(LARGEST_KERNEL))
    except DAMAGE as error:
        raise WeightsError(f"{path} cannot be read as VGG-16 weights: {error}") from error
    return _caffe_to_rgb(found)


def _caffe_to_rgb(found: dict[str, Tensor]) -> dict[str, Tensor]:
    """Turn the first kernel from B, G, R to R, G, B and add Caffe's preprocessing."""
    if found.get("conv1_1.weight", torch.empty(0)).ndim == 4:
        found["conv1_1.weight"] = found["conv1_1.weight"].flip(1)
    return found | preprocessing_tensors("caffe")
