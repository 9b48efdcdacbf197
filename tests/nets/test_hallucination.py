from __future__ import annotations

import copy

import pytest
import torch
from reference import Arrays, Load, assert_agrees, to_torch
from torch import nn

from hdrlab.errors import WeightsError
from hdrlab.nets.hallucination import HallucinationNet
from hdrlab.nets.layers import BiasedBatchNorm2d
from hdrlab.nets.vgg16 import PREPROCESSING, preprocessing_tensors
from hdrlab.ops import strips
from hdrlab.ops.masks import highlight_mask
from hdrlab.weights import load_variables


def build(preset: str = "default", **options: object) -> HallucinationNet:
    from hdrlab.nets import build_net

    net = build_net("hallucination", preset, **options)
    assert isinstance(net, HallucinationNet)
    return net


@pytest.fixture(scope="module")
def official(hal_variables: Arrays) -> HallucinationNet:
    net = build("official").eval()
    load_variables(net, hal_variables)
    return net


@pytest.mark.golden
@pytest.mark.parametrize(
    # oneDNN's AVX2 kernels add up each sum in one go, which costs float32 another digit.
    ("dtype", "tolerance"),
    [(torch.float32, 3e-5), (torch.float64, 1e-5)],
)
@torch.no_grad()
def test_inference_agrees_with_the_authors_net(
    load: Load,
    official: HallucinationNet,
    dtype: torch.dtype,
    tolerance: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(strips, "CELLS", 2**40)  # the hooks are to see whole maps
    arrays = load("hal_forward")
    net = copy.deepcopy(official).to(dtype)
    inner: dict[str, torch.Tensor] = {}

    def keep(name: str, module: nn.Module, relu: bool = True) -> None:
        module.register_forward_hook(lambda _m, _i, out: inner.__setitem__(name, out.relu() if relu else out))

    keep("beforepool5", net.encoder.get_submodule("conv5_3"))
    keep("enc_h6", net.bottom_bn)
    keep("dec_h1", net.deconvs[0])
    keep("dec_h5", net.deconvs[4])
    keep("dec_h7_relu", net.last_bn)
    x = to_torch(arrays["x"]).to(dtype)
    out = net(x)
    assert out.dtype == dtype
    assert_agrees(out, arrays["out"], tolerance)
    inner["dec_h5"] = inner["dec_h5"][:1, :, ::4, ::4]
    for name, maps in inner.items():
        assert_agrees(maps, arrays[name], tolerance)
    alpha = highlight_mask(x)
    assert_agrees(alpha, arrays["alpha"], 1e-6)
    assert_agrees(x + alpha * out.relu(), arrays["final"], tolerance)


@pytest.mark.golden
@torch.no_grad()
def test_training_mode_and_running_statistics_agree(load: Load, official: HallucinationNet) -> None:
    arrays = load("hal_forward")
    net = copy.deepcopy(official).train()
    assert_agrees(net(to_torch(arrays["x"])), arrays["train_out"], 2e-4)
    scopes = {"encoder/h6/batch_norm": net.bottom_bn, "decoder/h7/batch_norm": net.last_bn}
    scopes |= {
        f"decoder/h{i + 1}/decon2d/batch_norm_dc": net.get_submodule(f"deconvs.{i}.bn") for i in range(5)
    }
    for scope, norm in scopes.items():
        key = f"after:Hallucination_Net/{scope}"
        assert_agrees(norm.get_buffer("running_mean"), arrays[f"{key}/moving_mean"], 2e-5)
        assert_agrees(norm.get_buffer("running_var"), arrays[f"{key}/moving_variance"], 2e-5)


@pytest.mark.golden
@torch.no_grad()
def test_the_tf2_net_agrees(load: Load, hal_variables: Arrays) -> None:
    arrays = load("hal_forward_tf2")
    net = build("tf2").eval()
    load_variables(net, hal_variables)
    assert_agrees(net(to_torch(arrays["x"])), arrays["out_relu"])


def test_biased_batch_norm_averages_the_biased_variance() -> None:
    x = torch.randn(2, 3, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ours = BiasedBatchNorm2d(3, momentum=0.1).double()
    theirs = nn.BatchNorm2d(3, momentum=0.1).double()
    leaf = x.clone().requires_grad_()
    out = ours(leaf)
    assert torch.equal(out, theirs(x))
    out.square().sum().backward()  # the update must not disturb what autograd kept
    expected = 0.9 + 0.1 * x.var(dim=(0, 2, 3), correction=0)
    assert torch.allclose(ours.get_buffer("running_var"), expected, rtol=1e-12)
    assert torch.equal(ours.get_buffer("running_mean"), theirs.get_buffer("running_mean"))
    assert ours.get_buffer("num_batches_tracked") == 1
    before = ours.get_buffer("running_var").clone()
    ours.eval()(x)
    assert torch.equal(ours.get_buffer("running_var"), before)


@torch.no_grad()
def test_the_fresh_net_returns_the_image_plus_a_non_negative_part() -> None:
    torch.manual_seed(0)
    net = build(width=0.1).eval()
    x = torch.rand(1, 3, 64, 32)
    residual = net(x) - x
    assert residual.min() > -1e-5
    gammas = torch.cat([m.weight for m in net.modules() if isinstance(m, nn.BatchNorm2d)])
    assert (gammas - 1).abs().max() < 0.01
    assert gammas.std() > 1e-4
    kernel = net.get_submodule("deconvs.0.conv").get_parameter("weight")
    assert kernel.abs().max() <= 0.04
    y, skip = torch.randn(1, 3, 4, 4), torch.randn(1, 3, 4, 4)
    assert torch.allclose(net.fuse_input(y, skip), y + skip / 255, atol=1e-6)


@torch.no_grad()
def test_the_encoder_starts_from_vgg_weights_of_either_preprocessing() -> None:
    torch.manual_seed(0)
    net = build(width=0.1)
    caffe = build(width=0.1).encoder.state_dict() | preprocessing_tensors("caffe")
    net.load_encoder(caffe)
    first = net.encoder.get_submodule("conv1_1")
    assert torch.equal(first.get_parameter("weight"), caffe["conv1_1.weight"].flip(1))
    assert torch.equal(first.get_parameter("bias"), caffe["conv1_1.bias"])
    last = net.encoder.get_submodule("conv5_3").get_parameter("weight")
    assert torch.equal(last, caffe["conv5_3.weight"])

    net.load_encoder(caffe | preprocessing_tensors("torchvision"))
    x = torch.rand(1, 3, 8, 8)
    scale, offset = (torch.tensor(values).view(3, 1, 1) for values in PREPROCESSING["torchvision"])
    expected = nn.functional.conv2d(x * scale - offset, caffe["conv1_1.weight"], caffe["conv1_1.bias"])
    ours = first((255 * x - net.means).flip(1))[..., 1:-1, 1:-1]
    assert torch.allclose(ours, expected, atol=1e-5)


def test_vgg_weights_do_not_fit_another_width() -> None:
    weights = {"conv1_1.weight": torch.zeros(64, 3, 3, 3)}
    with pytest.raises(
        WeightsError, match=r"(?s)conv1_1\.weight has \[64, .*expected \[6, .*conv1_1.bias is"
    ):
        build(width=0.1).load_encoder(weights)


def test_gradients_reach_every_weight() -> None:
    torch.manual_seed(0)
    net = build(width=0.1)
    net(torch.rand(2, 3, 64, 64)).square().mean().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in net.parameters())


@pytest.mark.parametrize("shape", [(1, 3, 48, 64), (1, 1, 32, 32)])
def test_shapes_that_do_not_fit_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"multiples of 32|\[B, 3, H, W\]"):
        build(width=0.1)(torch.zeros(shape))
