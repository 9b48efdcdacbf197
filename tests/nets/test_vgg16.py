from __future__ import annotations

import importlib.util
from types import ModuleType

import pytest
import torch
from reference import TAG, Load, assert_agrees, to_torch

from hdrlab.errors import WeightsError
from hdrlab.nets.vgg16 import VGG16Features, conv_names, preprocessing_tensors, random_vgg16
from hdrlab.ops.encoding import log_compress


def test_convolutions_are_named_as_published() -> None:
    names = conv_names()
    assert len(names) == 13
    assert names[:3] == ["conv1_1", "conv1_2", "conv2_1"]
    assert conv_names(3)[-1] == "conv3_3"


@pytest.mark.golden
@torch.no_grad()
def test_pool3_agrees_with_the_reference(load: Load, recipe: ModuleType) -> None:
    weights = preprocessing_tensors("caffe")
    for name, tensor in random_vgg16().items():
        if "." in name:
            conv, leaf = name.split(".")
            shape = [*tensor.shape[2:], *tensor.shape[1::-1]]
            theirs = recipe.make(TAG, f"vgg16/{conv}/{'filter' if leaf == 'weight' else 'biases'}", shape)
            weights[name] = torch.from_numpy(theirs)
            if leaf == "weight":
                weights[name] = weights[name].permute(3, 2, 0, 1)
    weights["conv1_1.weight"] = weights["conv1_1.weight"].flip(1)
    arrays = load("loss_hal")
    maps = VGG16Features(weights)(log_compress(to_torch(arrays["y_final"])))
    assert_agrees(maps[2][:1], arrays["pool3_of_y_final"])


@torch.no_grad()
def test_random_weights_are_the_same_in_every_run_and_keep_the_scale() -> None:
    first, second = VGG16Features(), VGG16Features()
    x = torch.rand(1, 3, 32, 40, generator=torch.Generator().manual_seed(0))
    maps = first(x)
    assert [list(m.shape) for m in maps] == [[1, 64, 16, 20], [1, 128, 8, 10], [1, 256, 4, 5]]
    assert all(torch.equal(a, b) for a, b in zip(maps, second(x), strict=True))
    assert all(10 < m.std() < 1000 for m in maps)
    assert not any(p.requires_grad for p in first.parameters())
    assert not torch.equal(random_vgg16(1)["conv1_1.weight"], random_vgg16(0)["conv1_1.weight"])


def test_gradients_pass_through_and_odd_sizes_round_up() -> None:
    x = torch.rand(1, 3, 9, 11, dtype=torch.float64, requires_grad=True)
    maps = VGG16Features(layers=["pool1", "pool2"]).double()(x)
    assert [list(m.shape[2:]) for m in maps] == [[5, 6], [3, 3]]
    maps[-1].sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0


def test_weights_that_do_not_fit_are_all_listed() -> None:
    weights = random_vgg16()
    del weights["conv2_1.bias"]
    weights["conv1_2.weight"] = torch.zeros(1)
    with pytest.raises(WeightsError, match=r"(?s)conv1_2\.weight has \[1\].*conv2_1\.bias is missing"):
        VGG16Features(weights)


@pytest.mark.skipif(importlib.util.find_spec("torchvision") is None, reason="torchvision is not installed")
@torch.no_grad()
def test_torchvision_weights_give_torchvision_s_features() -> None:
    torchvision = pytest.importorskip("torchvision")
    model = torchvision.models.vgg16(weights=None).features.eval()
    weights = preprocessing_tensors("torchvision")
    convs = [layer for layer in model if isinstance(layer, torch.nn.Conv2d)]
    for name, conv in zip(conv_names(), convs, strict=True):
        weights |= {f"{name}.weight": conv.weight, f"{name}.bias": conv.bias}
    x = torch.rand(1, 3, 32, 32)
    normalise = torchvision.transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert torch.allclose(VGG16Features(weights)(x)[2], model[:17](normalise(x)), atol=1e-5)
