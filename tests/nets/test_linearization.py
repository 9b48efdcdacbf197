from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from reference import TAG, Arrays, Load, assert_agrees, stored_weights, to_torch

from hdrlab.nets.features import SoftHistogram
from hdrlab.nets.linearization import LinearizationNet
from hdrlab.ops.response import apply_response
from hdrlab.weights import load_variables


@pytest.fixture(scope="module")
def emor(shared: Path) -> Path:
    return shared / "crf" / "invemor.txt"


def build(preset: str, **options: object) -> LinearizationNet:
    from hdrlab.nets import build_net

    net = build_net("linearization", preset, **options)
    assert isinstance(net, LinearizationNet)
    return net


@pytest.fixture
def official(load: Load, emor: Path) -> LinearizationNet:
    net = build("official", basis=emor)
    load_variables(net, stored_weights(load("lin_forward")))
    return net


@pytest.fixture
def tf2(load: Load, emor: Path, recipe: ModuleType) -> LinearizationNet:
    variables = stored_weights(load("lin_forward"))
    name = "tf2/crf_feature_net/conv1/kernel"
    variables[name] = recipe.make(TAG, name, (7, 7, 93, 64))
    net = build("tf2", basis=emor)
    load_variables(net, variables)
    return net


def test_histogram_votes_as_the_worked_figure_of_the_paper() -> None:
    votes = SoftHistogram((5,))(torch.tensor([0.63, 0.65, 0.32, 0.84, 0.15]).view(1, 1, 1, 5))[0, :, 0].T
    expected = torch.zeros(5, 5)
    for row, (first, pair) in enumerate(
        [(2, (0.35, 0.65)), (2, (0.25, 0.75)), (1, (0.9, 0.1)), (3, (0.3, 0.7)), (0, (0.75, 0.25))]
    ):
        expected[row, first : first + 2] = torch.tensor(pair)
    assert torch.allclose(votes, expected, atol=1e-6)


def test_histograms_are_ordered_by_bin_with_channels_inside_and_sum_as_specified() -> None:
    x = torch.rand(2, 3, 5, 7, generator=torch.Generator().manual_seed(1))
    authors = SoftHistogram((4, 8), "authors")(x)
    assert authors.shape == (2, (5 + 9) * 3, 5, 7)
    assert torch.allclose(authors[:, :15].unflatten(1, (5, 3)).sum(1), torch.ones_like(x))
    assert torch.allclose(authors[:, 3:6], (1 - 4 * (x - 0.25).abs()).clamp(min=0))
    ends = SoftHistogram((4,))(torch.tensor([0.0, 1.0, 0.5]).view(1, 1, 1, 3)).sum(1).flatten()
    assert torch.allclose(ends, torch.tensor([0.5, 0.5, 1.0]))


@pytest.mark.golden
@pytest.mark.parametrize(("name", "preset"), [("lin_features_tf1", "official"), ("lin_features_tf2", "tf2")])
def test_features_equal_the_reference(load: Load, name: str, preset: str) -> None:
    arrays = load(name)
    features = build(preset).features(to_torch(arrays["x"]))
    sizes = [3, 6, *(arrays[f"hist{n}"].shape[-1] for n in (4, 8, 16))]
    for part, key in zip(features.split(sizes, 1)[1:], ("edges", "hist4", "hist8", "hist16"), strict=True):
        assert_agrees(part, arrays[key], 1e-6)
    assert_agrees(features, arrays["features"], 1e-6)


@pytest.mark.golden
@pytest.mark.parametrize("name", ["lin_forward", "lin_forward_odd"])
@torch.no_grad()
def test_inference_agrees_with_the_authors_net(load: Load, official: LinearizationNet, name: str) -> None:
    arrays = load(name)
    inner: dict[str, torch.Tensor] = {}
    official.bn_conv1.register_forward_pre_hook(lambda _m, args: inner.__setitem__("conv1", args[0]))
    official.blocks["2a"].register_forward_pre_hook(lambda _m, args: inner.__setitem__("pool1", args[0]))
    official.blocks["3b"].register_forward_hook(lambda _m, _i, out: inner.__setitem__("res3b_relu", out))
    x = to_torch(arrays["x"])
    parts = official.eval().curve_parts(x)
    assert_agrees(inner["conv1"][:1, :, ::4, ::4], arrays["conv1"])
    assert_agrees(inner["pool1"][:1], arrays["pool1"])
    assert_agrees(inner["res3b_relu"], arrays["res3b_relu"])
    for ours, key in zip(parts, ("feature", "pca", "invcrf_raw", "invcrf"), strict=True):
        assert_agrees(ours, arrays[key])
    assert_agrees(apply_response(x, official(x)), arrays["linear"])


@pytest.mark.golden
@pytest.mark.parametrize("name", ["lin_forward", "lin_forward_odd"])
@torch.no_grad()
def test_training_mode_and_running_statistics_agree(
    load: Load, official: LinearizationNet, name: str
) -> None:
    arrays = load(name)
    x = to_torch(arrays["x"])
    parts = official.train().curve_parts(x)
    for ours, key in ((parts.feature, "feature"), (parts.coefficients, "pca"), (parts.curve, "invcrf")):
        assert_agrees(ours, arrays[f"train_{key}"])
    assert_agrees(apply_response(x, parts.curve), arrays["train_linear"])
    after = {key.removeprefix("after:"): array for key, array in arrays.items() if key.startswith("after:")}
    norms = {
        "bn_conv1": "bn_conv1",
        "bn2a_branch1": "blocks.2a.branch1.bn",
        "bn3b_branch2c": "blocks.3b.branch2c.bn",
    }
    assert len(after) == 2 * len(norms)
    for theirs, ours_name in norms.items():
        norm = official.get_submodule(ours_name)
        for leaf, buffer in (("moving_mean", "running_mean"), ("moving_variance", "running_var")):
            key = f"crf_feature_net/{theirs}/BatchNorm/{leaf}"
            assert_agrees(norm.get_buffer(buffer), after[key], 1e-6)


@pytest.mark.golden
@torch.no_grad()
def test_the_tf2_net_agrees_in_both_modes(load: Load, tf2: LinearizationNet) -> None:
    arrays = load("lin_forward_tf2")
    x = to_torch(arrays["x"])
    parts = tf2.eval().curve_parts(x)
    for ours, key in ((parts.feature, "feature"), (parts.coefficients, "pca"), (parts.curve, "invcrf")):
        assert_agrees(ours, arrays[key])
    assert_agrees(apply_response(x, parts.curve), arrays["linear"])
    assert_agrees(tf2.train()(x), arrays["train_invcrf"])
    assert_agrees(tf2.bn_conv1.get_buffer("running_mean"), arrays["after_bn_conv1_moving_mean"], 1e-6)
    assert_agrees(tf2.bn_conv1.get_buffer("running_var"), arrays["after_bn_conv1_moving_variance"], 1e-6)


@pytest.mark.golden
@torch.no_grad()
def test_double_precision_agrees(load: Load, official: LinearizationNet) -> None:
    arrays: Arrays = load("lin_forward")
    curve = official.double().eval()(to_torch(arrays["x"]).double())
    assert curve.dtype == torch.float64
    assert_agrees(curve, arrays["invcrf"])


@torch.no_grad()
def test_the_fresh_net_starts_near_the_mean_curve() -> None:
    torch.manual_seed(0)
    net = build("default")
    parts = net.curve_parts(torch.rand(2, 3, 64, 64))
    assert parts.coefficients.abs().max() < 0.01
    straight = torch.linspace(0, 1, 1024)
    # Had Glorot's head begun, the curve would be all but straight, whatever the mean curve is.
    assert (parts.curve - net.basis_mean).abs().max() < 0.3 * (straight - net.basis_mean).abs().max()
    assert torch.allclose(parts.curve[:, -1], torch.ones(2))


def test_the_basis_travels_with_the_weights(emor: Path) -> None:
    source = build("default", width=0.1, basis=emor)
    target = build("default", width=0.1)
    assert source.basis_name != target.basis_name
    assert not torch.equal(source.basis_components, target.basis_components)
    target.load_state_dict(source.state_dict())
    x = torch.rand(1, 3, 20, 33)
    assert torch.equal(source.eval()(x), target.eval()(x))


def test_gradients_reach_the_image_and_every_weight() -> None:
    torch.manual_seed(0)
    net = build("default", width=0.1)
    x = torch.rand(2, 3, 32, 32, requires_grad=True)
    (net(x) * torch.linspace(0, 1, 1024)).sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in net.parameters())


@pytest.mark.parametrize("size", [(2, 2), (3, 5), (7, 2)])
def test_small_and_odd_images_are_taken(size: tuple[int, int]) -> None:
    curve = build("default", width=0.1).eval()(torch.rand(1, 3, *size))
    assert curve.shape == (1, 1024)
    assert np.isfinite(curve.detach().numpy()).all()


def test_illegal_use_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        build("default", width=0.1)(torch.zeros(1, 3, 1, 8))
    with pytest.raises(ValueError, match="bn_momentum"):
        build("default", bn_momentum=0.0)
    with pytest.raises(ValueError, match="did you mean authors"):
        build("default", histogram="author")
