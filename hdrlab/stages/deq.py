"""The dequantization stage: from the 8-bit photograph I to C, close to the unquantised L."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from hdrlab.config.schema.singlehdr import DeqConfig
from hdrlab.losses import l2_loss
from hdrlab.metrics import psnr
from hdrlab.nets import build_net
from hdrlab.ops.colour import srgb_decode
from hdrlab.pipeline.singlehdr import dequantize
from hdrlab.stages.base import Batch, Outputs, Stage
from hdrlab.stages.panel import PanelSample


class DeqStage(Stage):
    """Trains the Dequantization-Net on (I, L).

    Source:
        Liu et al., CVPR 2020, section 3.1.
    """

    name: ClassVar[str] = "deq"
    COMPARED: ClassVar[tuple[tuple[str, str], ...]] = (("psnr_c", "psnr_i"),)
    config: DeqConfig

    def __init__(self, config: DeqConfig | None = None, preset: str = "default", **keys: Any) -> None:
        super().__init__(config, preset, **keys)
        self.dequantization = build_net("dequantization", preset, width=self.config.width)

    def forward(self, batch: Batch) -> Outputs:
        """Return ``dequantized``: C, [B, 3, H, W] in [0, 1] (clamped pixels pass no gradient)."""
        return {"dequantized": dequantize(self.dequantization, batch["jpeg"])}

    def losses(self, batch: Batch, outputs: Outputs) -> dict[str, Tensor]:
        """Return ``l2``, a scalar at least 0: the squared error of C against L."""
        return {"l2": l2_loss(outputs["dequantized"], batch["ldr"], batch["mask"])}

    def metrics(self, batch: Batch, outputs: Outputs) -> dict[str, Tensor]:
        """Return the PSNR of C [B] in dB, and of the untouched I beside it."""
        return {
            "psnr_c": psnr(outputs["dequantized"], batch["ldr"]),
            "psnr_i": psnr(batch["jpeg"], batch["ldr"]),
        }

    def panel(self, batch: Batch, outputs: Outputs) -> PanelSample:
        """Return I, C and L, decoded by the sRGB curve so that exposures can be shown."""
        shown = {
            "photograph I": batch["jpeg"],
            "dequantized C": outputs["dequantized"],
            "unquantised L": batch["ldr"],
        }
        errors = {
            "error of I ×16": 16 * (batch["jpeg"] - batch["ldr"]).abs(),
            "error of C ×16": 16 * (outputs["dequantized"] - batch["ldr"]).abs(),
        }
        return PanelSample(
            images={name: srgb_decode(x[0]) for name, x in shown.items()},
            maps={name: x[0].mean(0) for name, x in errors.items()},
        )
