"""The hallucination stage: from the clipped linear H_c to an HDR picture with its highlights restored."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from hdrlab.config.schema import HalConfig
from hdrlab.losses import log_l1_loss, perceptual_loss, total_variation_loss
from hdrlab.metrics import anchor_luminance, clipped_mask, log_l1, psnr_pu21
from hdrlab.nets import build_net
from hdrlab.nets.hallucination import HallucinationNet
from hdrlab.pipeline import hallucinate
from hdrlab.stages.base import Batch, Frozen, Outputs, Stage
from hdrlab.stages.panels import PanelSample
from hdrlab.weights import load_vgg16


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
    )

    def __init__(self, config: HalConfig, preset: str) -> None:
        super().__init__(config, preset)
        self.mask_width, self.encoder_weights = config.mask_width, config.encoder_weights
        self.hallucination = build_net(
            "hallucination",
            preset,
            width=config.width,
            upsampling=config.upsampling,
            residual=config.residual,
        )
        self.vgg16: Frozen | None = None

    def open_files(self, vgg16: str | None) -> None:
        """Load the perceptual loss's VGG-16, and the weights that the encoder starts from."""
        if self.encoder_weights:
            assert isinstance(self.hallucination, HallucinationNet)
            self.hallucination.load_encoder(load_vgg16(self.encoder_weights))
        if vgg16:
            self.vgg16 = Frozen.vgg16(vgg16)

    def forward(self, batch: Batch) -> Outputs:
        """Return ``alpha`` [B, 1, H, W] and ``hdr``, A of `hallucinate`, linear and at least 0."""
        alpha, hdr = hallucinate(self.hallucination, batch["lin"], self.mask_width)
        return {"alpha": alpha, "hdr": hdr}

    def losses(self, batch: Batch, outputs: Outputs) -> dict[str, Tensor]:
        """Return ``log_l1``, ``tv`` and, unless its weight is 0, ``perceptual``."""
        hdr, target, mask = outputs["hdr"], batch["hdr"], batch["mask"]
        terms = {
            "log_l1": log_l1_loss(hdr, target, mask),
            "tv": total_variation_loss(hdr, mask),
        }
        if self.vgg16 is not None:
            terms["perceptual"] = perceptual_loss(self.vgg16.on(hdr), hdr, target, mask)
        return terms

    def metrics(self, batch: Batch, outputs: Outputs) -> dict[str, Tensor]:
        """Return the errors of A, and of the clipped input beside it."""
        scene, clipped = batch["hdr"], clipped_mask(batch["lin"])
        display, wide = (anchor_luminance(scene, mode) for mode in ("display", "wide"))
        figures = {}
        for suffix, hdr in (("", outputs["hdr"]), ("_input", batch["lin"])):
            figures["log_l1" + suffix] = log_l1(hdr, scene)
            figures["psnr_pu21" + suffix] = psnr_pu21(display(hdr), display(scene))
            figures["psnr_clipped" + suffix] = psnr_pu21(wide(hdr), wide(scene), clipped)
        return figures

    def panel(self, batch: Batch, outputs: Outputs) -> PanelSample:
        """Return H_c, A and H_t, the mask α, and the error of A in stops."""
        ratio = torch.log2((outputs["hdr"] + 1e-3) / (batch["hdr"] + 1e-3))[0].abs().mean(0)
        return PanelSample(
            pictures={
                "clipped H_c": batch["lin"][0],
                "restored A": outputs["hdr"][0],
                "scene H_t": batch["hdr"][0],
            },
            maps={"mask α": outputs["alpha"][0, 0], "error, 4 stops = white": ratio / 4},
        )
