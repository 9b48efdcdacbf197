"""VGG-16 in the forms it is published in, and files that only look like it."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from hdrlab.errors import WeightsError
from hdrlab.nets.vgg16 import PREPROCESSING, VGG16, conv_names
from hdrlab.weights import load_vgg16


@pytest.fixture(scope="module")
def caffe_layers() -> dict[str, list[np.ndarray[Any, Any]]]:
    generator = np.random.default_rng(0)
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in VGG16().state_dict().items()}
    layers, kernels = {}, dict[torch.Size, np.ndarray[Any, Any]]()
    for name in conv_names():
        shape = shapes[f"{name}.weight"]
        # Kernels of one shape are one array, which a pickle holds once.
        if shape not in kernels:
            kernels[shape] = generator.random((3, 3, shape[1], shape[0]), np.float32)
        layers[name] = [kernels[shape], generator.random(shape[0], np.float32)]
    return layers


def _save_python2_npy(path: Path, tree: object) -> None:
    """Write an object array as Python 2's NumPy did: old header, protocol 2."""
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
        array = np.empty((), object)
        array[()] = tree
        file.write(pickle.dumps(array, protocol=2).replace(b"numpy._core", b"numpy.core"))


@pytest.mark.parametrize("form", ["lists", "places365", "now"])
def test_caffe_files_are_read_into_rgb_kernels(
    tmp_path: Path, caffe_layers: dict[str, list[np.ndarray[Any, Any]]], form: str
) -> None:
    tree: dict[str, Any] = dict(caffe_layers)
    if form == "places365":
        tree = {name: {"weights": w, "biases": b} for name, (w, b) in tree.items()}
    if form == "now":
        np.save(tmp_path / "vgg.npy", np.array(tree, object), allow_pickle=True)
    else:
        _save_python2_npy(tmp_path / "vgg.npy", tree | {"fc6": [np.zeros((2, 2), np.float32)]})
    weights = load_vgg16(tmp_path / "vgg.npy")
    assert len(weights) == 28
    kernel = caffe_layers["conv1_1"][0]
    assert np.array_equal(weights["conv1_1.weight"][5, 0], kernel[:, :, 2, 5])  # our R is Caffe's third
    assert np.array_equal(weights["conv2_1.weight"][5, 7], caffe_layers["conv2_1"][0][:, :, 7, 5])
    assert np.array_equal(weights["conv5_3.bias"], caffe_layers["conv5_3"][1])
    assert weights["scale"].tolist() == [255] * 3
    assert weights["offset"].tolist() == pytest.approx([123.68, 116.779, 103.939])


@pytest.mark.parametrize(
    "inner", ["block{s}_conv{i}_W_1:0 block{s}_conv{i}_b_1:0", "{k}/kernel:0 {k}/bias:0"]
)
def test_keras_files_are_read(
    tmp_path: Path, caffe_layers: dict[str, list[np.ndarray[Any, Any]]], inner: str
) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "vgg.h5", "w") as file:
        for name, arrays in caffe_layers.items():
            layer = f"block{name[4]}_conv{name[6]}"
            for leaf, array in zip(inner.format(s=name[4], i=name[6], k=layer).split(), arrays, strict=True):
                file[f"{layer}/{leaf}"] = array
        file["block1_pool/empty"] = np.zeros(1)
    weights = load_vgg16(tmp_path / "vgg.h5")
    assert np.array_equal(weights["conv1_1.weight"][5, 0], caffe_layers["conv1_1"][0][:, :, 2, 5])
    assert np.array_equal(weights["conv3_2.bias"], caffe_layers["conv3_2"][1])
    (tmp_path / "cut.h5").write_bytes((tmp_path / "vgg.h5").read_bytes()[:5000])
    with pytest.raises(WeightsError, match="HDF5"):
        load_vgg16(tmp_path / "cut.h5")


def test_torchvision_and_our_own_files_are_read(tmp_path: Path) -> None:
    with torch.device("cpu"):
        ours = {
            name: torch.full_like(tensor, i) for i, (name, tensor) in enumerate(VGG16().state_dict().items())
        }
    indices = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
    renamed = {
        f"features.{index}.{leaf}": ours[f"{name}.{leaf}"]
        for name, index in zip(conv_names(), indices, strict=True)
        for leaf in ("weight", "bias")
    }
    theirs = renamed | {"classifier.0.weight": torch.zeros(2, 2)}
    torch.save(theirs, tmp_path / "new.pth")
    torch.save(theirs, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    save_file(theirs, tmp_path / "theirs.safetensors")
    for name in ("new.pth", "old.pth", "theirs.safetensors"):
        weights = load_vgg16(tmp_path / name)
        assert all(torch.equal(weights[key], tensor) for key, tensor in ours.items())
        assert torch.equal(weights["scale"], torch.tensor(PREPROCESSING["torchvision"][0]))
    save_file(weights, tmp_path / "ours.safetensors")
    again = load_vgg16(tmp_path / "ours.safetensors")
    assert again.keys() == weights.keys()
    assert all(torch.equal(again[key], tensor) for key, tensor in weights.items())
    for value, wrong in ((torch.full([64], torch.nan), "NaN"), (torch.zeros(64) * 1j, "no plain tensors")):
        save_file({**weights, "conv1_2.bias": value}, tmp_path / "odd.safetensors")
        with pytest.raises(WeightsError, match=rf"odd\.safetensors: .*{wrong}"):
            load_vgg16(tmp_path / "odd.safetensors")


class _Canary:
    """Pickles into a call that would leave a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("suffix", ["npy", "pth"])
def test_a_malicious_pickle_is_refused_and_runs_nothing(tmp_path: Path, suffix: str) -> None:
    canary, path = tmp_path / "canary", tmp_path / f"vgg.{suffix}"
    tree = {"conv1_1": [_Canary(canary), np.zeros(2)]}
    if suffix == "npy":
        _save_python2_npy(path, tree)
    else:
        torch.save({"features.0.weight": _Canary(canary)}, path)
    with pytest.raises(WeightsError, match="mkdir"):
        load_vgg16(path)
    assert not canary.exists()


def test_broken_vgg_files_are_errors_of_ours(tmp_path: Path, caffe_layers: dict[str, Any]) -> None:
    _save_python2_npy(tmp_path / "good.npy", {"conv1_1": caffe_layers["conv1_1"]})
    good = (tmp_path / "good.npy").read_bytes()
    generator = np.random.default_rng(0)
    for cut in [0, 4, 9, 60, *generator.integers(80, len(good), 30)]:
        (tmp_path / "cut.npy").write_bytes(good[:cut])
        with pytest.raises(WeightsError):
            load_vgg16(tmp_path / "cut.npy")
    for position in generator.integers(80, 700, 200):
        flipped = good[:position] + bytes([good[position] ^ 1 << int(position) % 8]) + good[position + 1 :]
        (tmp_path / "flipped.npy").write_bytes(flipped)
        with pytest.raises(WeightsError):
            load_vgg16(tmp_path / "flipped.npy")
    with pytest.raises(WeightsError, match=r"(?s)conv1_2\.weight is missing.*conv5_3\.bias is missing"):
        load_vgg16(tmp_path / "good.npy")
    with pytest.raises(WeightsError, match="is no file"):
        load_vgg16(tmp_path)
    np.save(tmp_path / "plain.npy", np.zeros(3))
    with pytest.raises(WeightsError, match="plain numbers"):
        load_vgg16(tmp_path / "plain.npy")
    (tmp_path / "text.pth").write_text("<html>not found</html>")
    with pytest.raises(WeightsError, match="begins like a web page"):
        load_vgg16(tmp_path / "text.pth")
    (tmp_path / "cut.safetensors").write_bytes((100).to_bytes(8, "little") + b'{"a"')
    with pytest.raises(WeightsError, match="safetensors"):
        load_vgg16(tmp_path / "cut.safetensors")
    (tmp_path / "cut.pth").write_bytes(b"PK\x03\x04" + bytes(50))
    with pytest.raises(WeightsError, match="cannot be read"):
        load_vgg16(tmp_path / "cut.pth")
