from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hdrlab.errors import WeightsError
from hdrlab.io import read_image, write_image
from hdrlab.nets import build_net
from hdrlab.ops.masks import highlight_mask
from hdrlab.ops.response import apply_response
from hdrlab.pipeline.resizing import PROCEDURES, Procedure, pad_mirrored, reconstruct_any_size, resize_bicubic
from hdrlab.pipeline.singlehdr import Reconstruction, reconstruct
from hdrlab.weights import load_variables

TAG = "open-d"
Arrays = dict[str, Any]


def narrow_nets(preset: str = "default") -> dict[str, nn.Module]:
    torch.manual_seed(0)
    return {name: build_net(name, preset, width=0.1).eval() for name in FOUR}


FOUR = ("dequantization", "linearization", "hallucination", "refinement")


@pytest.fixture(scope="module")
def arrays(goldens: Path) -> Arrays:
    with np.load(goldens / "pipeline.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def recipe(shared: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("recipe", shared / "goldens" / "singlehdr" / "recipe.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def official(goldens: Path, shared: Path, recipe: ModuleType) -> dict[str, nn.Module]:
    """The four nets with the weights behind the reference."""
    shapes: dict[str, Any] = {}
    for name in ("deq_forward", "lin_forward", "ref_forward"):
        with np.load(goldens / f"{name}.npz") as file:
            shapes |= {key[2:]: file[key].shape for key in file.files if key.startswith("w:")}
    with np.load(goldens / "hal_forward.npz") as file:
        shapes |= dict(json.loads(str(file["var_list_json"])))
    variables = {name: recipe.make(TAG, name, shape) for name, shape in shapes.items()}
    nets: dict[str, nn.Module] = {}
    for name in FOUR:
        options = {"basis": shared / "crf" / "invemor.txt"} if name == "linearization" else {}
        net = build_net(name, "official", **options).eval()
        load_variables(net, variables)
        nets[name] = net
    return nets


@pytest.fixture(scope="module")
def done(official: dict[str, nn.Module], arrays: Arrays) -> Reconstruction:
    with torch.no_grad():
        return reconstruct(image_of(arrays["padded"]), official)


def image_of(array: Any) -> Tensor:
    """NHWC or HWC as NCHW."""
    tensor = torch.from_numpy(np.array(array))
    return (tensor if tensor.ndim == 4 else tensor[None]).permute(0, 3, 1, 2)


def off_by(ours: Tensor, reference: Tensor) -> float:
    assert ours.shape == reference.shape
    return float((ours - reference).abs().max() / reference.abs().max())


@pytest.mark.golden
@pytest.mark.parametrize(
    ("ours", "name"),
    [("dequantized", "C"), ("linear", "B"), ("alpha", "alpha"), ("hdr", "A"), ("refined", "refined")],
)
def test_every_image_of_the_chain_agrees_with_the_reference(
    done: Reconstruction, arrays: Arrays, ours: str, name: str
) -> None:
    assert off_by(getattr(done, ours), image_of(arrays[name])) < 1e-5


@pytest.mark.golden
def test_the_curve_agrees_with_the_reference(done: Reconstruction, arrays: Arrays) -> None:
    assert off_by(done.curve, torch.from_numpy(arrays["invcrf"]).reshape(1, -1)) < 1e-5


@pytest.mark.golden
def test_the_official_procedure_prepares_images_as_the_reference(arrays: Arrays) -> None:
    ldr = image_of(arrays["ldr_rgb_u8"]).float() / 255
    resized = resize_bicubic(ldr, *arrays["resized"].shape[:2])
    assert off_by(resized, image_of(arrays["resized"])) < 1e-6
    assert resized.min() < 0 < 1 < resized.max()  # overshoot is kept
    assert off_by(Procedure("official", *ldr.shape[-2:]).fit(ldr), image_of(arrays["padded"])) < 1e-6


@pytest.mark.golden
@pytest.mark.parametrize(("ours", "name"), [("refined", "final_refined_bgr"), ("hdr", "final_hal_bgr")])
def test_the_official_procedure_brings_images_back_as_the_reference(
    done: Reconstruction, arrays: Arrays, ours: str, name: str
) -> None:
    reference = image_of(arrays[name]).flip(1)
    back = Procedure("official", *reference.shape[-2:]).undo(getattr(done, ours))
    assert off_by(back, reference) < 1e-5


@pytest.mark.golden
def test_the_whole_official_path_writes_the_reference_file(
    official: dict[str, nn.Module], arrays: Arrays, goldens: Path, tmp_path: Path
) -> None:
    ldr = image_of(arrays["ldr_rgb_u8"]).float() / 255
    with torch.no_grad():
        result = reconstruct_any_size(ldr, lambda x: reconstruct(x, official), "official").result
    write_image(tmp_path / "ours.hdr", result[0].permute(1, 2, 0).contiguous().numpy())
    ours = read_image(tmp_path / "ours.hdr").pixels
    reference = read_image(goldens / "pipeline_refined.hdr").pixels
    assert np.array_equal(reference, arrays["rgbe_readback_bgr"][..., ::-1].clip(0))
    exact = arrays["final_refined_bgr"][..., ::-1]
    assert (ours[exact < 0] == 0).all()  # the reference's writer lets small negatives wrap round to bright
    # One step of a mantissa is at most 1/128 of the pixel's maximum; OpenCV cuts off, hdrlab rounds.
    error = np.abs(ours - reference) / ours.max(axis=2, keepdims=True)
    assert error[exact >= 0].max() < 1 / 100


def test_refinement_is_optional_and_module_dicts_will_do() -> None:
    nets = narrow_nets()
    x = torch.rand(2, 3, 32, 64)
    whole = reconstruct(x, nn.ModuleDict(nets))
    del nets["refinement"]
    short = reconstruct(x, nets)
    assert short.refined is None
    assert short.result is short.hdr
    assert whole.result is whole.refined
    assert torch.equal(short.hdr, whole.hdr)


def test_a_missing_net_is_named() -> None:
    nets = narrow_nets()
    del nets["linearization"]
    with pytest.raises(WeightsError, match="no linearization net"):
        reconstruct(torch.rand(1, 3, 32, 32), nets)


def test_the_input_is_taken_as_it_is() -> None:
    nets = narrow_nets()
    x = torch.rand(1, 3, 32, 32) * 1.4 - 0.2
    assert torch.equal(reconstruct(x, nets).dequantized, nets["dequantization"](x).clamp(0, 1))


def test_double_precision_and_gradients_pass_the_whole_chain() -> None:
    nets = {name: net.double() for name, net in narrow_nets().items()}
    x = torch.rand(1, 3, 32, 32, dtype=torch.float64, requires_grad=True)
    made = reconstruct(x, nets)
    assert made.result.dtype == made.curve.dtype == torch.float64
    made.result.sum().backward()
    for net in nets.values():
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_tf2_nets_get_their_channels_swapped() -> None:
    nets = narrow_nets("tf2")
    made = reconstruct(torch.rand(1, 3, 32, 32), nets)
    residual = nets["hallucination"](made.linear)
    alpha = highlight_mask(made.linear)
    assert residual.abs().max() > 0
    assert torch.allclose(made.hdr, made.linear + alpha * residual.flip(1))
    assert not torch.allclose(made.hdr, made.linear + alpha * residual)


def test_the_mask_is_as_wide_as_the_net_says() -> None:
    nets = narrow_nets()
    x = torch.rand(1, 3, 32, 32)
    linear = reconstruct(x, nets).linear
    assert torch.equal(reconstruct(x, nets).alpha, highlight_mask(linear, 0.12))
    nets["hallucination"] = build_net("hallucination", width=1 / 16, mask_width=0.3).eval()
    assert torch.equal(reconstruct(x, nets).alpha, highlight_mask(linear, 0.3))


def test_linear_is_the_curve_applied() -> None:
    made = reconstruct(torch.rand(2, 3, 32, 32), narrow_nets())
    assert torch.equal(made.linear, apply_response(made.dequantized, made.curve))


@pytest.mark.parametrize("procedure", PROCEDURES)
@pytest.mark.parametrize(("height", "width"), [(16, 16), (17, 50), (33, 31), (64, 96), (70, 100)])
def test_images_of_any_size_come_back_at_their_size(procedure: Any, height: int, width: int) -> None:
    nets = narrow_nets()
    with torch.no_grad():
        made = reconstruct_any_size(
            torch.rand(1, 3, height, width), lambda x: reconstruct(x, nets), procedure
        )
    assert made.refined is not None
    for image in (made.dequantized, made.linear, made.hdr, made.refined):
        assert image.shape == (1, 3, height, width)
        assert image.isfinite().all()
        assert image.min() >= 0
    assert made.alpha.shape == (1, 1, height, width)


def test_a_fitting_image_is_left_alone_by_default() -> None:
    x = torch.rand(1, 3, 64, 32)
    assert torch.equal(Procedure("default", 64, 32).fit(x), x)


@pytest.mark.parametrize(("repeat", "mode"), [(False, "reflect"), (True, "symmetric")])
def test_mirrored_margins_are_those_of_numpy(repeat: bool, mode: Any) -> None:
    x = torch.arange(60.0).reshape(1, 1, 10, 6)
    padded = pad_mirrored(x, (9, 4, 5, 2), repeat_border=repeat)
    assert np.array_equal(padded[0, 0].numpy(), np.pad(x[0, 0].numpy(), ((9, 4), (5, 2)), mode=mode))


def test_an_image_smaller_than_its_margin_is_continued_by_its_border() -> None:
    x = torch.rand(1, 3, 16, 40)
    padded = pad_mirrored(x, (0, 16, 0, 24))
    assert torch.equal(padded[..., 16:, :40], x[..., 15:, :].expand(1, 3, 16, 40))
    assert torch.equal(padded[..., :16, 40:], x[..., 15:39].flip(-1))


def test_an_unknown_procedure_is_refused() -> None:
    with pytest.raises(ValueError, match="official"):
        Procedure("oficial", 64, 64)  # type: ignore[arg-type]


def test_procedures_take_functions_of_one_argument() -> None:
    calls: list[tuple[int, ...]] = []

    def run(x: Tensor) -> Reconstruction:
        calls.append(tuple(x.shape))
        return Reconstruction(x, torch.zeros(1, 1024), x, x[:, :1], x, None)

    typed: Callable[[Tensor], Reconstruction] = run
    reconstruct_any_size(torch.rand(1, 3, 65, 65), typed, "official")
    reconstruct_any_size(torch.rand(1, 3, 65, 65), typed)
    assert calls == [(1, 3, 192, 192), (1, 3, 96, 96)]
