"""The joint stage: the three nets trained together, end to end, on synthetic photographs."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from hdrlab.config.schema import ChainConfig, JointConfig
from hdrlab.losses import curve_loss, l2_loss, log_l1_loss, perceptual_loss, total_variation_loss
from hdrlab.metrics import anchor_luminance, curve_mse, log_l1, psnr, psnr_pu21
from hdrlab.nets import Net, build_net
from hdrlab.ops.response import apply_response
from hdrlab.ops.transfer import srgb_decode
from hdrlab.pipeline import dequantize, hallucinate, reconstruct
from hdrlab.stages.base import Batch, Frozen, Outputs, Stage
from hdrlab.stages.panels import PanelSample


class JointStage(Stage):
    """Trains dequantization, linearization and hallucination on I → C → B → A.

    ``chained``: each net works on what the one before it made, and gradients cross all three.
    ``teacher_forcing``: each works on its true input, as SingleHDR-tf2 trained; that is three trainings in
    one step. Validation is always chained.

    Source:
        Liu et al., CVPR 2020, section 3.4; the weights of the terms as recalled from its supplement.
    """

    name: ClassVar[str] = "joint"
    COMPARED: ClassVar[tuple[tuple[str, str], ...]] = (
        ("log_l1", "log_l1_srgb"),
        ("psnr_pu21", "psnr_pu21_srgb"),
        ("psnr_c", "psnr_i"),
        ("curve_mse", "curve_mse_srgb"),
    )

    def __init__(self, config: JointConfig, preset: str) -> None:
        super().__init__(config, preset)
        self.mode, self.mask_width = config.mode, config.mask_width
        self.dequantization, self.linearization, self.hallucination = build_chain(config, preset)
        self.vgg16: Frozen | None = None

    @property
    def nets(self) -> dict[str, Net]:
        """The chain's nets by name."""
        names = ("dequantization", "linearization", "hallucination")
        return {name: getattr(self, name) for name in names}

    def open_files(self, vgg16: str | None) -> None:
        """Load the perceptual loss's VGG-16."""
        self.vgg16 = Frozen.vgg16(vgg16) if vgg16 else None

    def forward(self, batch: Batch) -> Outputs:
        """Return ``dequantized`` C, ``curve``, ``linear`` B, ``alpha`` and ``hdr`` A."""
        if self.mode == "chained" or not self.training:
            made = reconstruct(batch["jpeg"], self.nets, self.mask_width)
            return {name: getattr(made, name) for name in ("dequantized", "curve", "linear", "alpha", "hdr")}
        curve = self.linearization(batch["ldr"])
        alpha, hdr = hallucinate(self.hallucination, batch["lin"], self.mask_width)
        return {
            "dequantized": dequantize(self.dequantization, batch["jpeg"]),
            "curve": curve,
            "linear": apply_response(batch["ldr"], curve),
            "alpha": alpha,
            "hdr": hdr,
        }

    def losses(self, batch: Batch, outputs: Outputs) -> dict[str, Tensor]:
        """Return the terms of all three stages."""
        mask, hdr = batch["mask"], outputs["hdr"]
        terms = {
            "deq": l2_loss(outputs["dequantized"], batch["ldr"], mask),
            "lin": l2_loss(outputs["linear"], batch["lin"], mask),
            "curve": curve_loss(outputs["curve"], batch["inv_curve"], mask),
            "log_l1": log_l1_loss(hdr, batch["hdr"], mask),
            "tv": total_variation_loss(hdr, mask),
        }
        if self.vgg16 is not None:
            terms["perceptual"] = perceptual_loss(self.vgg16.on(hdr), hdr, batch["hdr"], mask)
        return terms

    def metrics(self, batch: Batch, outputs: Outputs) -> dict[str, Tensor]:
        """Return the errors of C, curve and A; beside them those of undoing the sRGB curve."""
        plain, scene = srgb_decode(batch["jpeg"]), batch["hdr"]
        display = anchor_luminance(scene)
        curves = batch["inv_curve"]
        grid = torch.linspace(0, 1, curves.shape[1], device=curves.device).expand_as(curves)
        return {
            "psnr_c": psnr(outputs["dequantized"], batch["ldr"]),
            "psnr_i": psnr(batch["jpeg"], batch["ldr"]),
            "curve_mse": curve_mse(outputs["curve"], curves),
            "curve_mse_srgb": curve_mse(srgb_decode(grid), curves),
            "log_l1": log_l1(outputs["hdr"], scene),
            "log_l1_srgb": log_l1(plain, scene),
            "psnr_pu21": psnr_pu21(display(outputs["hdr"]), display(scene)),
            "psnr_pu21_srgb": psnr_pu21(display(plain), display(scene)),
        }

    def panel(self, batch: Batch, outputs: Outputs) -> PanelSample:
        """Return the photograph undone by the sRGB curve, A and the scene; α and both curves."""
        return PanelSample(
            pictures={
                "photograph, sRGB undone": srgb_decode(batch["jpeg"][0]),
                "reconstructed A": outputs["hdr"][0],
                "scene H_t": batch["hdr"][0],
            },
            maps={"mask α": outputs["alpha"][0, 0]},
            curves={"true inverse": batch["inv_curve"][0], "predicted": outputs["curve"][0]},
        )


def build_chain(config: ChainConfig, preset: str) -> tuple[Net, Net, Net]:
    """Build dequantization, linearization and hallucination as a chain's configuration says."""
    lin = {"features": config.features, "monotone": config.monotone}
    lin |= {"basis": config.basis, "bn_momentum": config.bn_momentum}
    hal = {"upsampling": config.upsampling, "residual": config.residual}
    return (
        build_net("dequantization", preset, width=config.width),
        build_net("linearization", preset, width=config.width, **lin),
        build_net("hallucination", preset, width=config.width, **hal),
    )
