"""The linearization stage: from the display-encoded L to the inverse response curve and the linear B."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from hdrlab.config.schema.singlehdr import LinConfig, LinNetConfig
from hdrlab.losses import curve_log_error, curve_loss, l2_loss, masked_mean
from hdrlab.metrics import align_scale, alignment_mask, anchor_luminance, curve_mse, psnr, psnr_pu21
from hdrlab.nets import PAPER, build_net
from hdrlab.ops.colour import srgb_decode
from hdrlab.ops.response import apply_response, average_inverse
from hdrlab.stages.base import Batch, Outputs, Stage
from hdrlab.stages.panel import PanelSample


class LinStage(Stage):
    """Trains the Linearization-Net on (L, inverse curve, H_c).

    Source:
        Liu et al., CVPR 2020, section 3.2.
    """

    name: ClassVar[str] = "lin"
    COMPARED: ClassVar[tuple[tuple[str, str], ...]] = (
        ("psnr_b", "psnr_l"),
        ("psnr_b", "psnr_srgb"),
        ("curve_mse", "curve_mse_srgb"),
        ("curve_mse", "curve_mse_average"),
        ("curve_log", "curve_log_average"),
    )
    config: LinConfig

    def __init__(self, config: LinConfig | None = None, preset: str = "default", **keys: Any) -> None:
        super().__init__(config, preset, **keys)
        self.input = self.config.input
        self.linearization = build_net(
            "linearization",
            preset,
            width=self.config.width,
            basis=self.config.basis,
            **lin_options(self.config, preset),
        )

    def forward(self, batch: Batch) -> Outputs:
        """Return ``curve``, the inverse response [B, 1024], and ``linear``, B = curve(input) in [0, 1]."""
        x = batch[self.input]
        curve = self.linearization(x)
        return {"curve": curve, "linear": apply_response(x, curve)}

    def losses(self, batch: Batch, outputs: Outputs) -> dict[str, Tensor]:
        """Return scalars of any unit: ``l2`` of B, ``curve``, ``log`` and, if it weighs, ``pu21``."""
        mask = batch["mask"]
        error = curve_log_error(outputs["curve"], batch["inv_curve"], batch[self.input])
        terms = {
            "l2": l2_loss(outputs["linear"], batch["lin"], mask),
            "curve": curve_loss(outputs["curve"], batch["inv_curve"], mask, self.config.curve_reduction),
            "log": masked_mean(error, mask),
        }
        if self.weights["pu21"] > 0:  # else nothing may come of images that hold no light
            psnrs = aligned_psnr(outputs["linear"], batch["lin"], batch["jpeg"])
            terms["pu21"] = -masked_mean(psnrs, mask)
        return terms

    def metrics(self, batch: Batch, outputs: Outputs) -> dict[str, Tensor]:
        """Return PSNR of B [B] in dB and error of the curve; beside them doing nothing, and sRGB."""
        grid = torch.linspace(0, 1, batch["inv_curve"].shape[1], device=batch["lin"].device)
        truth, average = batch["inv_curve"], average_inverse(batch["inv_curve"])
        return {
            "psnr_pu21": aligned_psnr(outputs["linear"], batch["lin"], batch["jpeg"]),
            "psnr_pu21_average": aligned_psnr(
                apply_response(batch[self.input], average), batch["lin"], batch["jpeg"]
            ),
            "psnr_b": psnr(outputs["linear"], batch["lin"]),
            "psnr_l": psnr(batch[self.input], batch["lin"]),
            "psnr_srgb": psnr(srgb_decode(batch[self.input]), batch["lin"]),
            "curve_mse": curve_mse(outputs["curve"], batch["inv_curve"]),
            "curve_mse_srgb": curve_mse(srgb_decode(grid).expand_as(batch["inv_curve"]), batch["inv_curve"]),
            "curve_mse_average": curve_mse(average, truth),
            "curve_log": curve_log_error(outputs["curve"], truth, batch[self.input]),
            "curve_log_average": curve_log_error(average, truth, batch[self.input]),
        }

    def panel(self, batch: Batch, outputs: Outputs) -> PanelSample:
        """Return L as it stands, B and H_c, the error of B, and both curves."""
        return PanelSample(
            images={
                "L as if linear": batch[self.input][0],
                "linearized B": outputs["linear"][0],
                "scene H_c": batch["lin"][0],
            },
            maps={"error of B ×4": 4 * (outputs["linear"] - batch["lin"])[0].abs().mean(0)},
            curves={"true inverse": batch["inv_curve"][0], "predicted": outputs["curve"][0]},
        )


def lin_options(config: LinNetConfig, preset: str) -> dict[str, Any]:
    """Return the options of the paper's net beyond width and basis; other nets have no such options."""
    if preset not in PAPER:
        return {}
    return {
        "features": config.features,
        "monotone": config.monotone,
        "bn_momentum": config.bn_momentum,
    }


def aligned_psnr(linear: Tensor, truth: Tensor, jpeg: Tensor, stride: int = 3) -> Tensor:
    """Return PU21-PSNR [B] in dB of B against H_c, both [B, 3, H, W], as evaluations score it.

    B is brought to the scale of H_c on pixels that are not clipped: what remains is the response's shape, and
    how far above the middle tones it puts white. Every third pixel of every third row counts.
    """
    made, true, photo = (x[..., ::stride, ::stride] for x in (linear, truth, jpeg))
    with torch.no_grad():
        display, unclipped = anchor_luminance(true), alignment_mask(photo, true, 1.0)
    scale = align_scale(made, true, unclipped).view(-1, 1, 1, 1)
    return psnr_pu21(display(made * scale), display(true))
