"""The first tone-mapping stage: brightness and colour, on the bottom layer at an eighth of the size."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from hdrlab.config.schema.iqatm import TmoBottomConfig
from hdrlab.losses import delta_e_itp_loss, hue_loss, l1_loss, tmqi_ssim_loss
from hdrlab.nets import build_net
from hdrlab.stages.base import Batch, Outputs
from hdrlab.stages.panel import PanelSample
from hdrlab.stages.tone import ToneStage, labelled_mean


class TmoBottomStage(ToneStage):
    """Trains N_G: from the HDR image's bottom layer B to the SDR image's."""

    name: ClassVar[str] = "tmo_bottom"
    COMPARED: ClassVar[tuple[tuple[str, str], ...]] = (("l1_layer", "l1_layer_input"),)
    config: TmoBottomConfig

    def __init__(self, config: TmoBottomConfig | None = None, preset: str = "default", **keys: Any) -> None:
        super().__init__(config, preset, **keys)
        self.tmo_bottom = build_net("tmo_bottom", preset, width=self.config.width)

    def forward(self, batch: Batch) -> Outputs:
        """Return ``bottom`` [B, 3, H/8, W/8], display-encoded."""
        return {"bottom": self.tmo_bottom(batch["bottom"])}

    def losses(self, batch: Batch, outputs: Outputs) -> dict[str, Tensor]:
        """Return scalars at least 0: ``l1``, ``delta_e``, ``perceptual``; ``structure``, ``hue`` to B."""
        made, given, target = outputs["bottom"], batch["bottom"], batch["sdr_bottom"]
        labelled = batch["labelled"]
        return {
            "l1": l1_loss(made, target, labelled),
            "delta_e": delta_e_itp_loss(made, target, labelled, **self.colour),
            "hue": hue_loss(made, given, gamut=self.config.gamut, **self.colour),
            "structure": tmqi_ssim_loss(made, given, form=self.form, scale255=self.config.scale255),
            **self.perceptual(made, target, labelled),
        }

    def metrics(self, batch: Batch, outputs: Outputs) -> dict[str, Tensor]:
        """Return the error [B] of the encoded layer, and of the layer given beside it."""
        layers = {"l1_layer": outputs["bottom"], "l1_layer_input": batch["bottom"]}
        target, labelled = batch["sdr_bottom"], batch["labelled"]
        return {name: labelled_mean((layer - target).abs(), labelled) for name, layer in layers.items()}

    def panel(self, batch: Batch, outputs: Outputs) -> PanelSample:
        """Return B, what was made of it, and the label."""
        return PanelSample(
            displays={
                "bottom layer B": batch["bottom"][0],
                "tone-mapped": outputs["bottom"][0],
                "of the SDR image": batch["sdr_bottom"][0],
            }
        )
