"""The last tone-mapping stage: both branches and the net that merges them, on whole pictures."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from hdrlab.config.schema import TmoFtConfig
from hdrlab.losses import delta_e_itp_loss, hue_loss, l1_loss, ssim_loss, tmqi_multiscale_loss
from hdrlab.metrics import tmqi
from hdrlab.nets import Net, build_net
from hdrlab.ops.tone_range import normalise_minmax
from hdrlab.ops.transfer import srgb_encode
from hdrlab.stages.base import Batch, Outputs
from hdrlab.stages.panels import PanelSample
from hdrlab.stages.tone import ToneStage
from hdrlab.tone_mapping import BOTTOM_MARGIN, merge_layers


class TmoFtStage(ToneStage):
    """Trains N_G, N_L and N_ft together: from the layers H and B to the SDR picture."""

    name: ClassVar[str] = "tmo_ft"
    COMPARED: ClassVar[tuple[tuple[str, str], ...]] = (("tmqi", "tmqi_input"), ("ssim_sdr", "ssim_sdr_input"))
    config: TmoFtConfig

    def __init__(self, config: TmoFtConfig, preset: str) -> None:
        super().__init__(config, preset)
        self.tmo_bottom = build_net("tmo_bottom", preset, width=config.width)
        self.tmo_high = build_net("tmo_high", preset, width=config.width, bypass=not config.high)
        self.tmo_merge = build_net("tmo_merge", preset, width=config.width, bypass=not config.merge)

    @property
    def nets(self) -> dict[str, Net]:
        """The three nets by name."""
        return {name: getattr(self, name) for name in ("tmo_bottom", "tmo_high", "tmo_merge")}

    def forward(self, batch: Batch) -> Outputs:
        """Return ``sdr`` [B, 3, H, W] in (0, 1), encoded as the label is."""
        margin = 0 if self.training else BOTTOM_MARGIN
        return {"sdr": merge_layers(batch["high"], batch["bottom"], self.nets, margin=margin)}

    def losses(self, batch: Batch, outputs: Outputs) -> dict[str, Tensor]:
        """Return ``l1``, ``ssim``, ``delta_e``, ``perceptual`` to the label, the others to x."""
        made, given, target = outputs["sdr"], batch["encoded"], batch["sdr"]
        labelled, form = batch["labelled"], self.form
        return {
            "l1": l1_loss(made, target, labelled),
            "ssim": ssim_loss(made, target, labelled, form=form),
            "delta_e": delta_e_itp_loss(made, target, labelled, **self.colour),
            "hue": hue_loss(made, given, gamut=self.gamut, **self.colour),
            "structure": tmqi_multiscale_loss(made, given, form=form, scale255=self.config.scale255),
            **self.perceptual(made, target, labelled),
        }

    def metrics(self, batch: Batch, outputs: Outputs) -> dict[str, Tensor]:
        """Return TMQI and the likeness to the label of the stretched result, of x, and of the label."""
        shown, given, target = map(
            self.display, (normalise_minmax(outputs["sdr"]), batch["encoded"], batch["sdr"])
        )
        hdr, unlabelled = batch["hdr"], batch["labelled"].flatten() == 0
        return {
            "tmqi": tmqi(hdr, shown).q,
            "tmqi_input": tmqi(hdr, given).q,
            "tmqi_sdr": tmqi(hdr, target).q.masked_fill(unlabelled, math.nan),
            "ssim_sdr": ssim(shown, target).masked_fill(unlabelled, math.nan),
            "ssim_sdr_input": ssim(given, target).masked_fill(unlabelled, math.nan),
        }

    def panel(self, batch: Batch, outputs: Outputs) -> PanelSample:
        """Return the HDR picture in two exposures, the result and the label."""
        hdr = batch["hdr"][0]
        exposed = hdr * (0.25 / hdr.mean().clamp(min=1e-12))
        return PanelSample(
            displays={
                "HDR picture, 0 EV": srgb_encode(exposed.clamp(0, 1)),
                "HDR picture, -4 EV": srgb_encode((exposed / 16).clamp(0, 1)),
                "tone-mapped": self.display(normalise_minmax(outputs["sdr"]))[0],
                "SDR picture": self.display(batch["sdr"])[0],
            }
        )


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Return the SSIM [B] of display-encoded pictures [B, 3, H, W] in [0, 1]."""
    return torch.stack([1 - ssim_loss(x[None], y[None]) for x, y in zip(a, b, strict=True)])
