from __future__ import annotations

import pytest
import torch
from reference import Load, assert_agrees, stored_weights, to_torch

from hdrlab.nets import build_net
from hdrlab.weights import load_variables


@pytest.mark.golden
@torch.no_grad()
def test_dequantization_agrees_with_the_authors_net_and_its_inner_maps(load: Load) -> None:
    arrays = load("deq_forward")
    net = build_net("dequantization", "official")
    load_variables(net, stored_weights(arrays))
    inner: dict[str, torch.Tensor] = {}
    for index, name in ((1, "s1"), (9, "bottleneck"), (11, "up1_out")):
        net.get_submodule(f"convs.{index}").register_forward_hook(
            lambda _m, _i, out, name=name: inner.__setitem__(name, torch.nn.functional.leaky_relu(out, 0.1))
        )
    net.get_submodule("convs.10").register_forward_pre_hook(
        lambda _m, args: inner.__setitem__("up1_resized", args[0])
    )
    net.get_submodule("convs.18").register_forward_pre_hook(
        lambda _m, args: inner.__setitem__("last_feat", args[0])
    )
    out = net(to_torch(arrays["x"]))
    assert_agrees(out, arrays["out"])
    assert_agrees(out.clamp(0, 1), arrays["out_clipped"])
    for name, maps in inner.items():
        assert_agrees(maps[: len(arrays[name])], arrays[name])


@pytest.mark.golden
@torch.no_grad()
def test_dequantization_agrees_with_the_tf2_net(load: Load) -> None:
    net = build_net("dequantization", "tf2")
    load_variables(net, stored_weights(load("deq_forward")))
    arrays = load("deq_forward_tf2")
    assert_agrees(net(to_torch(arrays["x"])), arrays["out"])


@pytest.mark.golden
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@torch.no_grad()
def test_refinement_agrees_with_both_nets(load: Load, dtype: torch.dtype) -> None:
    arrays, arrays_tf2 = load("ref_forward"), load("ref_forward_tf2")
    official = build_net("refinement", "official").to(dtype)
    tf2 = build_net("refinement", "tf2").to(dtype)
    for net in (official, tf2):
        load_variables(net, stored_weights(arrays))
    out = official(to_torch(arrays["x"]).to(dtype))
    assert out.dtype == dtype
    assert_agrees(out, arrays["out"])
    assert_agrees(out.relu(), arrays["out_relu"])
    assert_agrees(tf2(to_torch(arrays_tf2["x"]).to(dtype)), arrays_tf2["out_relu"])


@torch.no_grad()
def test_refinement_starts_as_the_identity_on_the_hallucinated_image() -> None:
    x = torch.randn(1, 9, 32, 48, generator=torch.Generator().manual_seed(0))
    assert torch.equal(build_net("refinement", width=0.25)(x), x[:, :3])
    random_start = build_net("refinement", width=0.25, identity_init=False)(x)
    assert (random_start - x[:, :3]).abs().max() > 1e-3


def test_the_last_convolution_of_an_identity_start_receives_a_gradient() -> None:
    net = build_net("refinement", width=0.25)
    net(torch.rand(1, 9, 16, 16)).square().sum().backward()
    grad = net.get_submodule("convs.18").get_parameter("weight").grad
    assert grad is not None
    assert grad.abs().sum() > 0


@pytest.mark.parametrize("shape", [(1, 3, 40, 48), (1, 4, 32, 32), (3, 32, 32)])
def test_shapes_that_do_not_fit_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"multiples of 16|\[B, 3, H, W\]"):
        build_net("dequantization", width=0.25)(torch.zeros(shape))
