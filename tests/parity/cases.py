"""What is compared: each case runs one net or procedure of hdrlab on the inputs that a program was given."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hdrlab.nets import SYSTEMS, Net, build_net
from hdrlab.ops.masks import highlight_mask
from hdrlab.ops.response import apply_response, make_monotone
from hdrlab.pipeline.iqatm import BOTTOM_MARGIN, tone_map
from hdrlab.pipeline.resizing import Procedure
from hdrlab.pipeline.singlehdr import reconstruct
from hdrlab.stages.optimizers import TensorFlowAdam
from hdrlab.weights import load_variables
from parity import recipe
from parity.reference import Agreement, Array, Reference

Outputs = dict[str, Array]
EXACT, TRAINING, ROUNDING = 3e-5, 2e-4, 1e-7
"""Allowed differences: of float32 kernels, with batch norms over a small batch, and of sums alone."""


@dataclass(frozen=True)
class Case:
    """One line of the table.

    Attributes:
        what: The net or procedure.
        preset: The preset that follows the program.
        program: The program, a key of `Reference.programs`.
        run: Returns hdrlab's outputs by the reference's names and in its layout.
        tolerance: Largest difference allowed, relative to the largest magnitude of each array.
    """

    what: str
    preset: str
    program: str
    run: Callable[[Reference], Outputs]
    tolerance: float = EXACT

    def compare(self, reference: Reference) -> Agreement:
        """Run it and compare."""
        torch.manual_seed(0)
        return reference.compare(self.run(reference))


def build(name: str, preset: str, **options: Any) -> Net:
    """Return a net with the recipe's weights, for inference."""
    net = build_net(name, preset, **options)
    load_variables(net, recipe.variables(net))
    return net.eval()


def to_torch(values: Array) -> Tensor:
    """Turn NHWC into NCHW; other ranks stay."""
    tensor = torch.from_numpy(np.array(values, dtype=np.float32))
    return tensor.permute(0, 3, 1, 2).contiguous() if tensor.ndim == 4 else tensor


def to_numpy(tensor: Tensor) -> Array:
    """Turn NCHW into NHWC; other ranks stay."""
    tensor = tensor.detach()
    values: Array = (tensor.permute(0, 2, 3, 1) if tensor.ndim == 4 else tensor).numpy()
    return values


def named(file: str, tensors: Mapping[str, Tensor]) -> Outputs:
    """Put outputs under the reference's names."""
    return {f"{file}/{name}": to_numpy(tensor) for name, tensor in tensors.items()}


def dequantization(_: Reference) -> Outputs:
    out = build("dequantization", "official")(to_torch(recipe.photograph("deq", 2, 64, 96)))
    return named("singlehdr/deq_forward", {"out": out, "out_clipped": out.clamp(0, 1)})


def dequantization_tf2(_: Reference) -> Outputs:
    out = build("dequantization", "tf2")(to_torch(recipe.photograph("deq", 2, 64, 96)))
    return named("singlehdr/deq_forward_tf2", {"out": out})


def refinement(_: Reference) -> Outputs:
    out = build("refinement", "official")(to_torch(recipe.refinement_input()))
    return named("singlehdr/ref_forward", {"out": out, "out_relu": out.relu()})


def refinement_tf2(_: Reference) -> Outputs:
    out = build("refinement", "tf2")(to_torch(recipe.refinement_input()))
    return named("singlehdr/ref_forward_tf2", {"out_relu": out})


def features(preset: str, file: str) -> Callable[[Reference], Outputs]:
    def run(_: Reference) -> Outputs:
        net: Any = build("linearization", preset)
        return named(file, {"features": net.features(to_torch(recipe.image("feat", 1, 24, 32)))})

    return run


SIZES = {"lin_forward": (2, 64, 96), "lin_forward_odd": (1, 65, 97)}


def linearization(file: str) -> Callable[[Reference], Outputs]:
    def run(_: Reference) -> Outputs:
        net: Any = build("linearization", "official")
        parts = net.curve_parts(to_torch(recipe.image(file, *SIZES[file])))
        return named(f"singlehdr/{file}", {"feature": parts.feature, "pca": parts.coefficients})

    return run


def linearization_training(file: str) -> Callable[[Reference], Outputs]:
    def run(_: Reference) -> Outputs:
        net: Any = build("linearization", "official").train()
        parts = net.curve_parts(to_torch(recipe.image(file, *SIZES[file])))
        norms = {"bn_conv1": "bn_conv1"}
        norms |= {"bn2a_branch1": "blocks.2a.branch1.bn", "bn3b_branch2c": "blocks.3b.branch2c.bn"}
        after = {
            f"after:crf_feature_net/{theirs}/BatchNorm/{leaf}": net.get_submodule(ours).get_buffer(buffer)
            for theirs, ours in norms.items()
            for leaf, buffer in STATISTICS.items()
        }
        outputs = {"train_feature": parts.feature, "train_pca": parts.coefficients}
        return named(f"singlehdr/{file}", outputs | after)

    return run


STATISTICS = {"moving_mean": "running_mean", "moving_variance": "running_var"}


def linearization_tf2(_: Reference) -> Outputs:
    net: Any = build("linearization", "tf2")
    x = to_torch(recipe.image("lin_forward", 2, 64, 96))
    parts = net.curve_parts(x)
    net.train()(x)
    outputs = {"feature": parts.feature, "pca": parts.coefficients}
    outputs |= {f"after_bn_conv1_{leaf}": net.bn_conv1.get_buffer(b) for leaf, b in STATISTICS.items()}
    return named("singlehdr/lin_forward_tf2", outputs)


def curves(reference: Reference) -> Outputs:
    raw = torch.from_numpy(reference.given("singlehdr/lin_forward/invcrf_raw"))
    curve = torch.from_numpy(reference.given("singlehdr/lin_forward/invcrf"))
    x = to_torch(recipe.image("lin_forward", 2, 64, 96))
    outputs = {"invcrf": make_monotone(raw), "linear": apply_response(x, curve)}
    return named("singlehdr/lin_forward", outputs)


def emor_curves(basis: Path) -> Callable[[Reference], Outputs]:
    def run(_: Reference) -> Outputs:
        outputs: Outputs = {}
        for file, size in SIZES.items():
            net: Any = build("linearization", "official", basis=basis)
            x = to_torch(recipe.image(file, *size))
            parts = net.curve_parts(x)
            made = {
                "invcrf_raw": parts.raw_curve,
                "invcrf": parts.curve,
                "linear": apply_response(x, parts.curve),
            }
            made["train_invcrf"] = net.train()(x)
            outputs |= named(f"singlehdr/{file}", made)
        return outputs

    return run


def hallucination(_: Reference) -> Outputs:
    x = to_torch(recipe.image("hal", 2, 64, 96))
    out, alpha = build("hallucination", "official")(x), highlight_mask(x)
    outputs = {"out": out, "alpha": alpha, "final": x + alpha * out.relu()}
    return named("singlehdr/hal_forward", outputs)


def hallucination_training(_: Reference) -> Outputs:
    net = build("hallucination", "official").train()
    outputs = {"train_out": net(to_torch(recipe.image("hal", 2, 64, 96)))}
    norms = {"encoder/h6/batch_norm": "bottom_bn", "decoder/h7/batch_norm": "last_bn"}
    norms |= {f"decoder/h{i + 1}/decon2d/batch_norm_dc": f"deconvs.{i}.bn" for i in range(5)}
    for scope, ours in norms.items():
        for leaf, buffer in STATISTICS.items():
            outputs[f"after:Hallucination_Net/{scope}/{leaf}"] = net.get_submodule(ours).get_buffer(buffer)
    return named("singlehdr/hal_forward", outputs)


def hallucination_tf2(_: Reference) -> Outputs:
    out = build("hallucination", "tf2")(to_torch(recipe.image("hal", 2, 64, 96)))
    return named("singlehdr/hal_forward_tf2", {"out_relu": out})


class Given(nn.Module):
    """Stands where a linearization net would, and returns the reference's curve."""

    def __init__(self, curve: Tensor) -> None:
        super().__init__()
        self.curve = curve

    def forward(self, _: Tensor) -> Tensor:
        return self.curve


def chain(basis: Path | None) -> Callable[[Reference], Outputs]:
    def run(reference: Reference) -> Outputs:
        photograph = to_torch(recipe.photograph("pipe", 1, 70, 100))
        procedure = Procedure("official", 70, 100)
        nets: dict[str, nn.Module] = {
            name: build(name, "official") for name in SYSTEMS["SingleHDR"] if name != "linearization"
        }
        nets["linearization"] = (
            build("linearization", "official", basis=basis)
            if basis
            else Given(torch.from_numpy(reference.given("singlehdr/pipeline/invcrf")))
        )
        padded = procedure.fit(photograph)
        done = reconstruct(padded, nets)
        assert done.refined is not None
        outputs = {
            "padded": padded,
            "C": done.dequantized,
            "B": done.linear,
            "alpha": done.alpha,
            "A": done.hdr,
        }
        outputs["refined"] = done.refined
        outputs["final_refined_bgr"] = procedure.undo(done.refined).flip(1)
        outputs["final_hal_bgr"] = procedure.undo(done.hdr).flip(1)
        if basis:
            outputs["invcrf"] = done.curve
        return named("singlehdr/pipeline", outputs)

    return run


def tone_bottom(reference: Reference) -> Outputs:
    net = build("tmo_bottom", "official")
    return named("iqatm/nets", {"bot_out": net(to_torch(reference.given("iqatm/nets/bot_in")))})


@contextmanager
def listening(net: nn.Module) -> Iterator[list[Tensor]]:
    """What a net was given, and what it made of it."""
    heard: list[Tensor] = []
    hook = net.register_forward_hook(lambda _net, given, made: heard.extend([given[0], made]))
    yield heard
    hook.remove()


def tone_chain(reference: Reference) -> Outputs:
    nets = {name: build(name, "official") for name in SYSTEMS["IQATM"]}
    hdr = to_torch(reference.given("iqatm/e2e/hdr_sceneA")[None])
    with (
        listening(nets["tmo_high"]) as high,
        listening(nets["tmo_bottom"]) as bottom,
        listening(nets["tmo_merge"]) as merge,
    ):
        shown = tone_map(hdr, nets, procedure="official")
    inside = slice(BOTTOM_MARGIN, -BOTTOM_MARGIN)
    outputs = {
        "rec_high": high[0],
        "rec_bot": bottom[0][..., inside, inside],
        "stage_high_out": high[1],
        "stage_bot_out_cropped": bottom[1][..., inside, inside],
        "stage_bot_expanded": merge[0] - high[1],
        "stage_ft_out": merge[1],
        "float_before_save": 255 * shown,
    }
    return named("iqatm/e2e", {f"{name}_sceneA": tensor for name, tensor in outputs.items()})


def adam(reference: Reference) -> Outputs:
    w = torch.from_numpy(reference.given("singlehdr/adam_tf1/w0")).requires_grad_()
    a = torch.from_numpy(reference.given("singlehdr/adam_tf1/a"))
    optimiser, path = TensorFlowAdam([w], lr=1e-4), []
    with torch.enable_grad():
        for _ in range(4):
            optimiser.zero_grad()
            (a * w.square()).sum().backward()
            optimiser.step()
            path.append(w.detach().clone())
    return named("singlehdr/adam_tf1", {"trajectory": torch.stack(path)})


def adam_rates(reference: Reference) -> Outputs:
    grads = torch.from_numpy(reference.given("iqatm/adam/grads"))
    start = torch.from_numpy(reference.given("iqatm/adam/trajectory_lr0.0003"))[0]
    outputs = {}
    for lr in (0.0003, 0.0015):
        w = start.clone().requires_grad_()
        optimiser, path = TensorFlowAdam([w], lr=lr), [start]
        for grad in grads:
            w.grad = grad.clone()
            optimiser.step()
            path.append(w.detach().clone())
        outputs[f"trajectory_lr{lr}"] = torch.stack(path)
    return named("iqatm/adam", outputs)


def cases(basis: Path | None = None) -> list[Case]:
    """Return all cases; with EMoR's ``invemor.txt`` the curves that the linearization net makes of it too."""
    found = [
        Case("dequantization", "official", "TF1", dequantization),
        Case("dequantization", "tf2", "TF2", dequantization_tf2),
        Case(
            "linearization: features", "official", "TF1", features("official", "singlehdr/lin_features_tf1")
        ),
        Case("linearization: features", "tf2", "TF2", features("tf2", "singlehdr/lin_features_tf2")),
        Case("linearization", "official", "TF1", linearization("lin_forward")),
        Case("linearization, odd size", "official", "TF1", linearization("lin_forward_odd")),
        Case("linearization, training", "official", "TF1", linearization_training("lin_forward"), TRAINING),
        Case(
            "linearization, training, odd size",
            "official",
            "TF1",
            linearization_training("lin_forward_odd"),
            TRAINING,
        ),
        Case("linearization", "tf2", "TF2", linearization_tf2),
        Case("monotone curve, and applied", "official", "TF1", curves),
        Case("hallucination", "official", "TF1", hallucination),
        Case("hallucination, training", "official", "TF1", hallucination_training, TRAINING),
        Case("hallucination", "tf2", "TF2", hallucination_tf2),
        Case("refinement", "official", "TF1", refinement),
        Case("refinement", "tf2", "TF2", refinement_tf2),
        Case("SingleHDR, photograph to file", "official", "TF1", chain(basis)),
        Case("tmo_bottom, batch statistics", "official", "IQATM", tone_bottom),
        Case("IQATM, HDR to bytes", "official", "IQATM", tone_chain, 5e-5),
        Case("Adam as TensorFlow's", "official", "TF1", adam, ROUNDING),
        Case("Adam as TensorFlow's", "official", "IQATM", adam_rates, ROUNDING),
    ]
    if basis:
        found.append(Case("linearization: curves", "official", "TF1", emor_curves(basis), TRAINING))
    return found
