"""Steps of TensorFlow's Adam on one batch: nets, losses and optimiser together against the reference.

Everything runs in double precision, so that the only noise is the reference's own: in float32 the choice of
convolution kernels alone moves the gradients of hal by 0.6 %. The second and later steps of lin and hal are
chaotic (monotone step, batch statistics over a few cells, signs of the L1) and not followed.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hdrlab.losses import curve_loss, l2_loss, log_l1_loss, perceptual_loss, total_variation_loss
from hdrlab.nets import Net, build_net
from hdrlab.nets.vgg16 import VGG16, VGG16Features, preprocessing_tensors
from hdrlab.ops.masks import highlight_mask
from hdrlab.ops.response import apply_response
from hdrlab.stages.optimizers import TensorFlowAdam
from hdrlab.weights import load_variables

pytestmark = pytest.mark.golden

Arrays = Mapping[str, NDArray[np.float32]]
TAG = "open-d"

ZERO_GRADIENT = (
    "crf_feature_net/conv1/biases",
    "Hallucination_Net/encoder/h6/conv/b_conv2d",
    "Hallucination_Net/decoder/h7/conv2d/b_conv2d",
)
"""Biases in front of a batch norm: their gradients are rounding noise."""


def load(path: Path) -> dict[str, NDArray[np.float32]]:
    with np.load(path) as arrays:
        return dict(arrays)


def draw(goldens: Path, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """A variable as the seeded recipe of the reference outputs draws it."""
    spec = importlib.util.spec_from_file_location("recipe", goldens.parent / "recipe.py")
    assert spec is not None
    assert spec.loader is not None
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    values: NDArray[np.float32] = recipe.make(TAG, name, shape)
    return values


def stored_variables(path: Path) -> dict[str, NDArray[np.float32]]:
    return {name.removeprefix("w:"): array for name, array in load(path).items() if name.startswith("w:")}


def image(array: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(array).permute(0, 3, 1, 2).double()


def official(name: str, variables: Arrays, **options: object) -> Net:
    net = build_net(name, "official", **options)
    load_variables(net, variables)
    return net.double()


def fingerprint(values: NDArray[np.float32]) -> tuple[int, float, float]:
    """What a variable keeps when its axes are permuted."""
    return values.size, float(values.min()), float(values.max())


def names_of_parameters(net: nn.Module, variables: Arrays) -> dict[str, str]:
    """TensorFlow's name for each parameter, found by its initial values."""
    names = {fingerprint(array): name for name, array in variables.items()}
    return {key: names[fingerprint(p.detach().float().numpy())] for key, p in net.named_parameters()}


def train(
    net: nn.Module, loss: Callable[[], Tensor], names: Mapping[str, str], num_steps: int = 1
) -> tuple[list[float], dict[str, float]]:
    """Take steps; return the losses around them and the norms of the first gradients."""
    optimiser = TensorFlowAdam(net.parameters(), lr=1e-4)
    losses: list[float] = []
    norms: dict[str, float] = {}
    for _ in range(num_steps):
        optimiser.zero_grad()
        value = loss()
        value.backward()
        losses.append(value.item())
        if not norms:
            norms = {
                names[key]: float(p.grad.norm()) for key, p in net.named_parameters() if p.grad is not None
            }
        optimiser.step()
    with torch.no_grad():
        return [*losses, loss().item()], norms


def check(golden: Arrays, losses: list[float], norms: Mapping[str, float]) -> None:
    assert losses[0] == pytest.approx(golden["losses"][0], rel=1e-6)
    assert losses[1] == pytest.approx(golden["losses"][1], rel=1e-3)
    expected = dict(
        zip(json.loads(str(golden["grad_names_json"])), golden["grad_norms"].tolist(), strict=True)
    )
    floor = 1e-4 * max(expected.values())
    assert norms.keys() == expected.keys()
    for name in expected.keys() - set(ZERO_GRADIENT):
        assert norms[name] == pytest.approx(expected[name], rel=2e-3, abs=floor), name


def test_dequantization_training(goldens: Path) -> None:
    golden, variables = load(goldens / "train_deq.npz"), stored_variables(goldens / "deq_forward.npz")
    net = official("dequantization", variables)
    jpeg, ldr = image(golden["jpeg"]), image(golden["ldr"])
    names = names_of_parameters(net, variables)
    losses, norms = train(net, lambda: l2_loss(net(jpeg).clamp(0, 1), ldr), names, num_steps=3)
    check(golden, losses, norms)
    # TensorFlow multiplies the powers of β₂ up in float32, which moves its later steps by some 1e-5.
    assert losses == pytest.approx(golden["losses"].tolist(), rel=1e-5)
    finals = {
        name: p.detach() for (key, p) in net.named_parameters() if f"final:{(name := names[key])}" in golden
    }
    assert len(finals) == 3
    for name, value in finals.items():
        final = value.permute(2, 3, 1, 0) if value.ndim == 4 else value
        # A step is 1e-4: its size and its sign are right where weights agree to a hundredth of that.
        np.testing.assert_allclose(final.numpy(), golden[f"final:{name}"], rtol=0, atol=1e-6)


def test_linearization_training(goldens: Path, shared: Path) -> None:
    golden, variables = load(goldens / "train_lin.npz"), stored_variables(goldens / "lin_forward.npz")
    net = official("linearization", variables, basis=shared / "crf" / "invemor.txt")
    ldr, lin = image(golden["ldr"]), image(golden["clipped_hdr"])
    inv_curve, mask = torch.from_numpy(golden["invcrf"]).double(), torch.ones(2, 1, 1, 1)

    def loss() -> Tensor:
        curve = net(ldr)
        return l2_loss(apply_response(ldr, curve), lin, mask) + 0.1 * curve_loss(curve, inv_curve, mask)

    check(golden, *train(net, loss, names_of_parameters(net, variables)))


@pytest.mark.slow
def test_hallucination_training(goldens: Path) -> None:
    golden, forward = load(goldens / "train_hal.npz"), load(goldens / "hal_forward.npz")
    shapes = json.loads(str(forward["var_list_json"]))
    variables = {name: draw(goldens, name, tuple(shape)) for name, shape in shapes}
    net = official("hallucination", variables)
    x_lin, hdr_t = image(golden["clipped_hdr"]), image(golden["hdr_t"])
    features = vgg16_of_the_reference(goldens)
    alpha, mask = highlight_mask(x_lin), torch.ones(2, 1, 1, 1)

    def loss() -> Tensor:
        hdr = x_lin + alpha * torch.relu(net(x_lin))
        perceptual = perceptual_loss(features, hdr, hdr_t, mask)
        return log_l1_loss(hdr, hdr_t, mask) + 0.001 * perceptual + 0.1 * total_variation_loss(hdr, mask)

    check(golden, *train(net, loss, names_of_parameters(net, variables)))


def test_hallucination_loss_and_its_gradient(goldens: Path) -> None:
    golden = load(goldens / "loss_hal.npz")
    x_lin, hdr_t = image(golden["clipped_hdr"]), image(golden["hdr_t"])
    residual = image(golden["y_predict_relu"]).requires_grad_()
    mask = torch.from_numpy(golden["loss_mask"])
    hdr = x_lin + highlight_mask(x_lin) * residual
    features = vgg16_of_the_reference(goldens)
    for sample in range(3):
        one = slice(sample, sample + 1)
        expected = golden["perceptual"][sample].item()
        assert perceptual_loss(features, hdr[one], hdr_t[one]).item() == pytest.approx(expected, rel=1e-5)
    loss = log_l1_loss(hdr, hdr_t, mask) + 0.001 * perceptual_loss(features, hdr, hdr_t, mask)
    loss = loss + 0.1 * total_variation_loss(hdr, mask)
    assert loss.item() == pytest.approx(golden["total"].item(), rel=1e-6)
    (gradient,) = torch.autograd.grad(loss, residual)
    expected_gradient = image(golden["grad_ypred"])
    torch.testing.assert_close(
        gradient, expected_gradient, rtol=0, atol=1e-4 * float(expected_gradient.abs().max())
    )


def vgg16_of_the_reference(goldens: Path) -> VGG16Features:
    weights = preprocessing_tensors("caffe")
    for name, tensor in VGG16(num_stages=3).state_dict().items():
        layer, kind = name.split(".")
        if kind == "bias":
            weights[name] = torch.from_numpy(draw(goldens, f"vgg16/{layer}/biases", tuple(tensor.shape)))
            continue
        cout, cin = tensor.shape[:2]
        kernel = torch.from_numpy(draw(goldens, f"vgg16/{layer}/filter", (3, 3, cin, cout)))
        # The reference feeds BGR.
        weights[name] = (kernel.flip(2) if cin == 3 else kernel).permute(3, 2, 0, 1)
    return VGG16Features(weights).double()
