"""The linearization stage: from the display-encoded L to the inverse response curve and the linear B."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from hdrlab.config.schema import LinConfig
from hdrlab.losses import CurveReduction, curve_loss, l2_loss
from hdrlab.metrics import curve_mse, psnr
from hdrlab.nets import build_net
from hdrlab.ops.response import apply_response
from hdrlab.ops.transfer import srgb_decode
from hdrlab.stages.base import Batch, Outputs, Stage
from hdrlab.stages.panels import PanelSample


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
    )

    def __init__(self, config: LinConfig, preset: str) -> None:
        super().__init__(config, preset)
        self.input = config.input
        self.curve_reduction: CurveReduction = config.curve_reduction  # type: ignore[assignment]
        self.linearization = build_net(
            "linearization",
            preset,
            width=config.width,
            basis=config.basis,
            bn_momentum=config.bn_momentum,
            features=config.features,
            monotone=config.monotone,
        )

    def forward(self, batch: Batch) -> Outputs:
        """Return ``curve``, the inverse response [B, 1024], and ``linear``, B = curve(input) in [0, 1]."""
        x = batch[self.input]
        curve = self.linearization(x)
        return {"curve": curve, "linear": apply_response(x, curve)}

    def losses(self, batch: Batch, outputs: Outputs) -> dict[str, Tensor]:
        """Return ``l2``, of the linear picture, and ``curve``, of the inverse response curve."""
        mask = batch["mask"]
        return {
            "l2": l2_loss(outputs["linear"], batch["lin"], mask),
            "curve": curve_loss(outputs["curve"], batch["inv_curve"], mask, self.curve_reduction),
        }

    def metrics(self, batch: Batch, outputs: Outputs) -> dict[str, Tensor]:
        """Return PSNR of B and error of the curve; beside them doing nothing, and the sRGB curve."""
        grid = torch.linspace(0, 1, batch["inv_curve"].shape[1], device=batch["lin"].device)
        return {
            "psnr_b": psnr(outputs["linear"], batch["lin"]),
            "psnr_l": psnr(batch[self.input], batch["lin"]),
            "psnr_srgb": psnr(srgb_decode(batch[self.input]), batch["lin"]),
            "curve_mse": curve_mse(outputs["curve"], batch["inv_curve"]),
            "curve_mse_srgb": curve_mse(srgb_decode(grid).expand_as(batch["inv_curve"]), batch["inv_curve"]),
        }

    def panel(self, batch: Batch, outputs: Outputs) -> PanelSample:
        """Return L as it stands, B and H_c, the error of B, and both curves."""
        return PanelSample(
            pictures={
                "L as if linear": batch[self.input][0],
                "linearized B": outputs["linear"][0],
                "scene H_c": batch["lin"][0],
            },
            maps={"error of B ×4": 4 * (outputs["linear"] - batch["lin"])[0].abs().mean(0)},
            curves={"true inverse": batch["inv_curve"][0], "predicted": outputs["curve"][0]},
        )
