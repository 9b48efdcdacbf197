"""The joint stage: the three nets trained together, end to end, on synthetic photographs."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from hdrlab.config.schema.singlehdr import ChainConfig, JointConfig
from hdrlab.losses import (
    curve_loss,
    highlight_loss,
    l2_loss,
    log_l1_loss,
    masked_mean,
    perceptual_loss,
    total_variation_loss,
)
from hdrlab.losses.pixel import WHITEST
from hdrlab.metrics import anchor_luminance, clipped_mask, curve_mse, log10_rmse, log_l1, psnr, psnr_pu21
from hdrlab.nets import Net, build_net
from hdrlab.ops.colour import srgb_decode
from hdrlab.ops.response import apply_response, average_inverse
from hdrlab.pipeline.singlehdr import dequantize, hallucinate, reconstruct
from hdrlab.stages.base import Batch, Outputs, Stage
from hdrlab.stages.hal import hal_options
from hdrlab.stages.lin import aligned_psnr, lin_options
from hdrlab.stages.panel import PanelSample


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
        ("psnr_aligned", "psnr_aligned_average"),
        ("log10_clipped", "log10_clipped_average"),
    )
    config: JointConfig

    def __init__(self, config: JointConfig | None = None, preset: str = "default", **keys: Any) -> None:
        super().__init__(config, preset, **keys)
        self.dequantization, self.linearization, self.hallucination = build_chain(self.config, preset)

    @property
    def nets(self) -> dict[str, Net]:
        """The chain's nets by name."""
        names = ("dequantization", "linearization", "hallucination")
        return {name: getattr(self, name) for name in names}

    def forward(self, batch: Batch) -> Outputs:
        """Return ``dequantized`` C, ``curve``, ``linear`` B, ``alpha`` and ``hdr`` A."""
        if self.config.mode == "chained" or not self.training:
            made = reconstruct(batch["jpeg"], self.nets)
            return {name: getattr(made, name) for name in ("dequantized", "curve", "linear", "alpha", "hdr")}
        curve = self.linearization(batch["ldr"])
        alpha, hdr = hallucinate(self.hallucination, batch["lin"])
        return {
            "dequantized": dequantize(self.dequantization, batch["jpeg"]),
            "curve": curve,
            "linear": apply_response(batch["ldr"], curve),
            "alpha": alpha,
            "hdr": hdr,
        }

    def losses(self, batch: Batch, outputs: Outputs) -> dict[str, Tensor]:
        """Return all stages' terms, scalars of any unit; ``highlights``, ``pu21`` only where they weigh."""
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
        if self.weights["highlights"] > 0:
            terms["highlights"] = highlight_loss(hdr, batch["hdr"], outputs["alpha"], mask)
        if self.weights["pu21"] > 0:
            terms["pu21"] = -masked_mean(aligned_psnr(hdr, batch["hdr"], batch["jpeg"]), mask)
        return terms

    def metrics(self, batch: Batch, outputs: Outputs) -> dict[str, Tensor]:
        """Return the errors [B] of C, curve and A, each in its unit; beside them two plain curves'."""
        plain, scene = srgb_decode(batch["jpeg"]), batch["hdr"]
        display, clipped = anchor_luminance(scene), clipped_mask(batch["lin"])
        curves, known = batch["inv_curve"], scene.clamp(max=WHITEST)
        average = apply_response(batch["jpeg"], average_inverse(curves))
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
            "psnr_aligned": aligned_psnr(outputs["hdr"], scene, batch["jpeg"]),
            "psnr_aligned_average": aligned_psnr(average, scene, batch["jpeg"]),
            "log10_clipped": log10_rmse(outputs["hdr"], known, clipped, floor=1e-4),
            "log10_clipped_average": log10_rmse(average, known, clipped, floor=1e-4),
        }

    def panel(self, batch: Batch, outputs: Outputs) -> PanelSample:
        """Return the photograph undone by the sRGB curve, A and the scene; α and both curves."""
        return PanelSample(
            images={
                "photograph, sRGB undone": srgb_decode(batch["jpeg"][0]),
                "reconstructed A": outputs["hdr"][0],
                "scene H_t": batch["hdr"][0],
            },
            maps={"mask α": outputs["alpha"][0, 0]},
            curves={"true inverse": batch["inv_curve"][0], "predicted": outputs["curve"][0]},
        )


def build_chain(config: ChainConfig, preset: str) -> tuple[Net, Net, Net]:
    """Build dequantization, linearization and hallucination as a chain's configuration says."""
    lin = {"basis": config.basis, **lin_options(config, preset)}
    hal = {"mask_width": config.mask_width, **hal_options(config, preset)}
    return (
        build_net("dequantization", preset, width=config.width),
        build_net("linearization", preset, width=config.width, **lin),
        build_net("hallucination", preset, width=config.width, **hal),
    )
