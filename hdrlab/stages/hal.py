"""The hallucination stage: from the clipped linear H_c to an HDR image with its highlights restored."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from hdrlab.config.schema.singlehdr import HalConfig, HalNetConfig
from hdrlab.losses import highlight_loss, log_l1_loss, perceptual_loss, total_variation_loss
from hdrlab.losses.pixel import WHITEST
from hdrlab.metrics import anchor_luminance, clipped_mask, log10_rmse, log_l1, psnr_pu21
from hdrlab.nets import PAPER, build_net
from hdrlab.nets.hallucination import HallucinationNet
from hdrlab.ops.response import apply_response, average_inverse
from hdrlab.pipeline.singlehdr import hallucinate
from hdrlab.stages.base import Batch, Outputs, Stage
from hdrlab.stages.panel import PanelSample
from hdrlab.weights.vgg16 import load_vgg16


class HalStage(Stage):
    """Trains the Hallucination-Net on (H_c, H_t).

    Source:
        Liu et al., CVPR 2020, section 3.3.
    """

    name: ClassVar[str] = "hal"
    COMPARED: ClassVar[tuple[tuple[str, str], ...]] = (
        ("log_l1", "log_l1_input"),
        ("psnr_pu21", "psnr_pu21_input"),
        ("psnr_clipped", "psnr_clipped_input"),
        ("log10_clipped", "log10_clipped_input"),
    )
    config: HalConfig

    def __init__(self, config: HalConfig | None = None, preset: str = "default", **keys: Any) -> None:
        super().__init__(config, preset, **keys)
        self.input = self.config.input
        self.hallucination = build_net(
            "hallucination",
            preset,
            width=self.config.width,
            mask_width=self.config.mask_width,
            **hal_options(self.config, preset),
        )
        if self.config.encoder_weights:
            assert isinstance(self.hallucination, HallucinationNet)
            self.hallucination.load_encoder(load_vgg16(self.config.encoder_weights))

    def forward(self, batch: Batch) -> Outputs:
        """Return ``alpha`` [B, 1, H, W] and ``hdr``, A of `hallucinate`, linear and at least 0."""
        linear = batch["lin"] if self.input == "lin" else self.linearize(batch)
        alpha, hdr = hallucinate(self.hallucination, linear)
        return {"alpha": alpha, "hdr": hdr, "linear": linear}

    def linearize(self, batch: Batch) -> Tensor:
        """Return B [B, 3, H, W], linear, by curves that are, in training, not quite right."""
        curve = batch["inv_curve"]
        if self.training:
            share = 0.7 * torch.rand(len(curve), 1, device=curve.device, dtype=curve.dtype)
            curve = torch.lerp(curve, average_inverse(curve), share)
        return apply_response(batch["jpeg"], curve)

    def losses(self, batch: Batch, outputs: Outputs) -> dict[str, Tensor]:
        """Return scalars at least 0: ``log_l1``, ``tv``, ``highlights`` and, if it weighs, ``perceptual``."""
        hdr, target, mask = outputs["hdr"], batch["hdr"], batch["mask"]
        terms = {
            "log_l1": log_l1_loss(hdr, target, mask),
            "tv": total_variation_loss(hdr, mask),
            "highlights": highlight_loss(hdr, target, outputs["alpha"], mask),
        }
        if self.vgg16 is not None:
            terms["perceptual"] = perceptual_loss(self.vgg16.on(hdr), hdr, target, mask)
        return terms

    def metrics(self, batch: Batch, outputs: Outputs) -> dict[str, Tensor]:
        """Return the errors [B] of A, each in its unit, and of the clipped input beside it."""
        scene, clipped = batch["hdr"], clipped_mask(batch["lin"])
        display, wide = (anchor_luminance(scene, mode) for mode in ("display", "wide"))
        scores = {}
        for suffix, hdr in (("", outputs["hdr"]), ("_input", outputs["linear"])):
            scores["log_l1" + suffix] = log_l1(hdr, scene)
            scores["psnr_pu21" + suffix] = psnr_pu21(display(hdr), display(scene))
            scores["psnr_clipped" + suffix] = psnr_pu21(wide(hdr), wide(scene), clipped)
            scores["log10_clipped" + suffix] = log10_rmse(hdr, scene.clamp(max=WHITEST), clipped, floor=1e-4)
        return scores

    def panel(self, batch: Batch, outputs: Outputs) -> PanelSample:
        """Return H_c, A and H_t, the mask α, and the error of A in stops."""
        ratio = torch.log2((outputs["hdr"] + 1e-3) / (batch["hdr"] + 1e-3))[0].abs().mean(0)
        return PanelSample(
            images={
                "clipped H_c": batch["lin"][0],
                "restored A": outputs["hdr"][0],
                "scene H_t": batch["hdr"][0],
            },
            maps={"mask α": outputs["alpha"][0, 0], "error, 4 stops = white": ratio / 4},
        )


def hal_options(config: HalNetConfig, preset: str) -> dict[str, Any]:
    """Return the options of the paper's net beyond its width; other nets have no such options."""
    return {} if preset not in PAPER else {"upsampling": config.upsampling, "residual": config.residual}
