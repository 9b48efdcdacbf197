"""The second tone-mapping stage: detail, on the high layer at full size."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from hdrlab.config.schema.iqatm import TmoHighConfig
from hdrlab.losses import l1_loss, multiscale_ssim_loss, tmqi_multiscale_loss
from hdrlab.nets import build_net
from hdrlab.stages.base import Batch, Outputs
from hdrlab.stages.panel import PanelSample
from hdrlab.stages.tone import ToneStage, labelled_mean


class TmoHighStage(ToneStage):
    """Trains N_L: from the HDR image's high layer H to the SDR image's."""

    name: ClassVar[str] = "tmo_high"
    COMPARED: ClassVar[tuple[tuple[str, str], ...]] = (("l1_layer", "l1_layer_input"),)
    config: TmoHighConfig

    def __init__(self, config: TmoHighConfig | None = None, preset: str = "default", **keys: Any) -> None:
        super().__init__(config, preset, **keys)
        self.tmo_high = build_net("tmo_high", preset, width=self.config.width)

    def forward(self, batch: Batch) -> Outputs:
        """Return ``high`` [B, 3, H, W], H plus values in (0, 1)."""
        return {"high": self.tmo_high(batch["high"])}

    def losses(self, batch: Batch, outputs: Outputs) -> dict[str, Tensor]:
        """Return ``l1``, ``ms_ssim`` and ``perceptual`` against the label, ``structure`` against H.

        Layers are about 0, so both of a pair are stretched to [0, 1] where structure is compared.
        """
        made, given, target = outputs["high"], batch["high"], batch["sdr_high"]
        labelled, form, scale255 = batch["labelled"], self.form, self.config.scale255
        return {
            "l1": l1_loss(made, target, labelled),
            "ms_ssim": multiscale_ssim_loss(made, target, labelled, form=form, normalise=True),
            "structure": tmqi_multiscale_loss(made, given, form=form, normalise=True, scale255=scale255),
            **self.perceptual(made, target, labelled),
        }

    def metrics(self, batch: Batch, outputs: Outputs) -> dict[str, Tensor]:
        """Return the error [B] of the encoded layer, and of the layer given beside it."""
        layers = {"l1_layer": outputs["high"], "l1_layer_input": batch["high"]}
        target, labelled = batch["sdr_high"], batch["labelled"]
        return {name: labelled_mean((layer - target).abs(), labelled) for name, layer in layers.items()}

    def panel(self, batch: Batch, outputs: Outputs) -> PanelSample:
        """Return H, what was made of it, and the label, about mid grey and with four times the contrast."""
        layers = {
            "high layer H": batch["high"],
            "tone-mapped": outputs["high"],
            "of the SDR image": batch["sdr_high"],
        }
        return PanelSample(displays={k: 0.5 + 4 * (x[0] - x[0].mean()) for k, x in layers.items()})
