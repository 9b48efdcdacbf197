from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from reference import Arrays, to_torch
from torch import Tensor

from hdrlab.nets import SYSTEMS, Net, build_net
from hdrlab.nets.tone_mapping import normalise_batch, normalise_instance
from hdrlab.weights import load_variables
from hdrlab.weights.net_file import load_nets, save_net

NAMES = SYSTEMS["IQATM"]
TOLERANCE = 5e-5
INNER = {
    "high_level": ("tmo_high", {f"conv{i}": f"conv{i}_leaky_relu" for i in (1, 2, 3, 4)}),
    "bot_level": (
        "tmo_bottom",
        {
            "conv1": "conv1_leaky_relu",
            "conv2": "conv2_leaky_relu",
            **{f"residual.groups.{i}": f"3pass_resg{i + 1}_leaky_relu" for i in range(3)},
            "residual.merge": "3pass_rescc_n_leaky_relu",
            "conv3": "conv2_leaky_relu_1",
        },
    ),
    "ft_merger": (
        "tmo_merge",
        {
            **{f"conv{i}": f"conv{i}_leaky_relu" for i in (1, 2, 3)},
            **{
                f"residuals.{b}.groups.{i}": f"3pass_res{b + 1}g{i + 1}_leaky_relu"
                for b in range(2)
                for i in range(3)
            },
            **{f"residuals.{b}.merge": f"3pass_res{b + 1}cc_n_leaky_relu" for b in range(2)},
        },
    ),
}
"""Our convolutions and the activations of the authors' graph that come of them."""


@pytest.fixture(scope="module")
def arrays(iqatm_goldens: Path) -> Arrays:
    with np.load(iqatm_goldens / "nets.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def nets(iqatm_goldens: Path) -> dict[str, Net]:
    """The three with the weights behind the reference outputs."""
    with np.load(iqatm_goldens / "weights.npz") as file:
        variables = dict(file)
    built = {name: build_net(name, "official").eval() for name in NAMES}
    loaded = [name for net in built.values() for name in load_variables(net, variables).loaded]
    assert sorted(loaded) == sorted(variables)
    return built


def assert_close(ours: Tensor, reference: np.ndarray, tolerance: float = TOLERANCE) -> None:
    assert ours.shape == to_torch(reference).shape
    assert float((ours - to_torch(reference)).abs().max()) <= tolerance


# ------------------------------------------------------------------------------------------------ reference


@pytest.mark.golden
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@torch.no_grad()
def test_the_nets_agree_with_the_authors(arrays: Arrays, nets: dict[str, Net], dtype: torch.dtype) -> None:
    def run(name: str, key: str) -> Tensor:
        out: Tensor = build_like(nets[name], dtype)(to_torch(arrays[key]).to(dtype))
        assert out.dtype == dtype
        return out

    assert_close(run("tmo_high", "high_in"), arrays["high_out"])
    assert_close(run("tmo_bottom", "bot_in"), arrays["bot_out"])
    assert_close(run("tmo_bottom", "ft_bot_in"), arrays["joint_bot_out"])
    assert_close(run("tmo_bottom", "bot1_padded_in")[..., 6:-6, 6:-6], arrays["bot1_padded_out"])
    assert_close(run("tmo_merge", "ft_in"), arrays["ft_out"])
    single = build_like(nets["tmo_bottom"], dtype)(to_torch(arrays["bot_in"])[:1].to(dtype))
    assert_close(single, arrays["bot1_out"])
    raised = run("tmo_high", "ft_high_in") + to_torch(arrays["joint_bot_up"])
    assert_close(raised, arrays["ft_in"])


def build_like(net: Net, dtype: torch.dtype) -> Net:
    copy = build_net(net.name, net.preset).eval()
    copy.load_state_dict(net.state_dict())
    return copy.to(dtype)


@pytest.mark.golden
@pytest.mark.parametrize("scope", list(INNER))
@torch.no_grad()
def test_every_activation_agrees(arrays: Arrays, nets: dict[str, Net], scope: str) -> None:
    inputs = {"high_level": "ft_high_in", "bot_level": "ft_bot_in", "ft_merger": "ft_in"}
    name, layers = INNER[scope]
    net = build_like(nets[name], torch.float32)
    seen: dict[str, Tensor] = {}
    for layer in layers:
        net.get_submodule(layer).register_forward_pre_hook(
            lambda module, args, layer=layer: seen.__setitem__(
                layer, F.leaky_relu(F.conv2d(args[0], module.weight, module.bias, padding="same"), 0.3)
            )
        )
    net(to_torch(arrays[inputs[scope]]))
    compared = {f"{scope}.{theirs}": seen[ours] for ours, theirs in layers.items()}
    stored = {key.removeprefix("act__") for key in arrays if key.startswith(f"act__{scope}")}
    assert {key for key in stored if "sigmoid" not in key} == compared.keys()
    for key, maps in compared.items():
        probe = maps[0, [0, -1], ::4, ::4].permute(1, 2, 0)
        assert np.abs(probe.numpy() - arrays[f"act__{key}"]).max() < TOLERANCE, key
        mean = maps.double().mean((0, 2, 3)).numpy()
        assert np.abs(mean - arrays[f"actmean__{key}"]).max() < TOLERANCE, key


@pytest.mark.golden
def test_both_normalisations_agree(arrays: Arrays) -> None:
    y = to_torch(arrays["norm_in"])
    assert_close(normalise_instance(y), arrays["norm_in_"], 1e-5)
    assert_close(normalise_batch(y), arrays["norm_bn"], 1e-5)


# ------------------------------------------------------------------------------------------------- contract


@pytest.mark.parametrize(
    ("name", "count"), [("tmo_high", 16_371), ("tmo_bottom", 18_635), ("tmo_merge", 26_107)]
)
@pytest.mark.parametrize("preset", ["default", "official"])
def test_parameter_counts_are_the_authors(name: str, count: int, preset: str) -> None:
    net = build_net(name, preset)
    assert sum(p.numel() for p in net.parameters()) == count
    assert not list(net.buffers())


def test_initial_weights_are_normal_without_tails() -> None:
    torch.manual_seed(0)
    net = build_net("tmo_merge")
    kernels = torch.cat([p.flatten() for p in net.parameters() if p.ndim == 4]).detach()
    biases = torch.cat([p for p in net.parameters() if p.ndim == 1])
    assert 0.19 < float(kernels.abs().max()) <= 0.2
    assert float(kernels.std()) == pytest.approx(0.088, abs=0.002)  # of a normal of 0.1 cut at two deviations
    assert torch.equal(biases, torch.full_like(biases, 0.005))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("width", "channels"), [(0.01, 12), (0.5, 12), (0.75, 18), (2.0, 48)])
def test_other_widths_keep_three_equal_groups(name: str, width: float, channels: int) -> None:
    net = build_net(name, width=width)
    x = torch.rand(2, 3, 9, 14)
    out = net(x)
    assert net.get_submodule("head").get_parameter("weight").shape[1] == channels
    assert out.shape == x.shape
    low = 0 if name == "tmo_merge" else x
    assert bool((out > low).all())
    assert bool((out < low + 1).all())


@pytest.mark.parametrize("name", NAMES)
def test_training_and_evaluation_are_one_and_the_same(name: str) -> None:
    x = torch.rand(3, 3, 16, 16)
    net = build_net(name)
    assert torch.equal(net.train()(x), net.eval()(x))


@torch.no_grad()
def test_only_the_bottom_net_sees_the_rest_of_the_batch() -> None:
    x = torch.rand(3, 3, 16, 16)
    for name in NAMES:
        net = build_net(name)
        same = torch.allclose(net(x)[:1], net(x[:1]), atol=1e-5)
        assert same == (name != "tmo_bottom")


@pytest.mark.parametrize("name", NAMES)
def test_constant_images_and_gradients_are_finite(name: str) -> None:
    net = build_net(name)
    x = torch.zeros(1, 3, 8, 8, requires_grad=True)
    net(x).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in (x, *net.parameters()) if p.grad is not None)
    assert all(p.grad is not None for p in net.parameters())


@pytest.mark.parametrize("norm", [normalise_instance, normalise_batch])
def test_statistics_are_not_taken_in_half_precision(norm: object) -> None:
    y = (300 + torch.randn(2, 3, 200, 200, generator=torch.Generator().manual_seed(0))).half()
    assert callable(norm)
    assert float((norm(y) - norm(y.double())).abs().max()) < 1e-3
    with torch.autocast("cpu", torch.bfloat16):
        out = norm(y.bfloat16())
    assert out.dtype == torch.float32


@pytest.mark.parametrize("name", NAMES)
def test_mixed_precision_stays_close_and_keeps_the_input_s_type(name: str) -> None:
    torch.manual_seed(0)
    net, x = build_net(name), torch.rand(1, 3, 32, 32)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = net(x)
    assert mixed.dtype == torch.float32
    assert float((mixed - net(x)).detach().abs().mean()) < 0.01


@pytest.mark.parametrize("name", NAMES)
def test_wrong_use_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="choose one of default, official"):
        build_net(name, "tf2")
    with pytest.raises(ValueError, match="above 0"):
        build_net(name, width=0)
    for shape in [(1, 1, 8, 8), (3, 8, 8), (1, 3, 1, 8)]:
        with pytest.raises(ValueError, match=r"\[B, 3, H, W\]|at least 2"):
            build_net(name)(torch.zeros(shape))


def test_with_a_skip_merging_begins_as_the_layers_themselves(tmp_path: Path) -> None:
    torch.manual_seed(3)
    net = build_net("tmo_merge", skip=True).eval()
    x = torch.rand(1, 3, 24, 32)
    with torch.no_grad():
        assert (net(x + 1) - x).abs().max() < 0.01  # the head's bias
        net.head.weight.normal_(std=0.1)
        made = net(x + 1)
        assert 0.02 < (made - x).abs().mean() < 0.3
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(net, "_in_strips", lambda _: True)
            torch.testing.assert_close(net(x + 1), made, atol=1e-5, rtol=1e-4)
    save_net(net, tmp_path / "tmo_merge.pt", {})
    with torch.no_grad():
        assert torch.equal(load_nets(tmp_path)["tmo_merge"](x + 1), made)


@torch.no_grad()
def test_statistics_of_large_maps_keep_their_digits() -> None:
    torch.manual_seed(0)
    net, bottom = build_net("tmo_bottom"), 0.9 + 0.1 * torch.rand(1, 3, 320, 320)
    error = net(bottom) - deepcopy(net).double()(bottom.double())
    assert error.abs().max() < 1e-5
