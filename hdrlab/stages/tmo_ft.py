"""The last tone-mapping stage: both branches and the net that merges them, on whole images."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar, cast

import torch
from torch import Tensor

from hdrlab.config.schema.iqatm import TmoFtConfig
from hdrlab.losses import delta_e_itp_loss, hue_loss, l1_loss, masked_mean, ssim_loss, tmqi_multiscale_loss
from hdrlab.metrics import tmqi
from hdrlab.metrics.tmqi import trainable_tmqi
from hdrlab.nets import Net, build_net
from hdrlab.ops.chromaticity import contrast_for, with_chromaticity
from hdrlab.ops.colour import srgb_encode
from hdrlab.pipeline.iqatm import BOTTOM_MARGIN, NORMALIZATIONS, merge_layers
from hdrlab.stages.base import Batch, Outputs
from hdrlab.stages.panel import PanelSample
from hdrlab.stages.tone import ToneStage


class TmoFtStage(ToneStage):
    """Trains N_G, N_L and N_ft together: from the layers H and B to the SDR image."""

    name: ClassVar[str] = "tmo_ft"
    COMPARED: ClassVar[tuple[tuple[str, str], ...]] = (("tmqi", "tmqi_input"), ("ssim_sdr", "ssim_sdr_input"))
    config: TmoFtConfig

    def __init__(self, config: TmoFtConfig | None = None, preset: str = "default", **keys: Any) -> None:
        super().__init__(config, preset, **keys)
        self.tmo_bottom = build_net("tmo_bottom", preset, width=self.config.width)
        self.tmo_high = build_net("tmo_high", preset, width=self.config.width, bypass=not self.config.high)
        options = {"bypass": not self.config.merge, **({"skip": True} if self.config.skip else {})}
        self.tmo_merge = build_net("tmo_merge", preset, width=self.config.width, **options)
        if self.config.skip and self.config.start == "nothing":
            for net in (self.tmo_bottom, self.tmo_high):
                if not getattr(net, "bypass", False):
                    torch.nn.init.zeros_(cast("torch.nn.Conv2d", net.head).weight)

    @property
    def nets(self) -> dict[str, Net]:
        """The three nets by name."""
        return {name: getattr(self, name) for name in ("tmo_bottom", "tmo_high", "tmo_merge")}

    def forward(self, batch: Batch) -> Outputs:
        """Return ``sdr`` [B, 3, H, W] in (0, 1), encoded as the label is."""
        margin = 0 if self.training else BOTTOM_MARGIN
        made = merge_layers(batch["high"], batch["bottom"], self.nets, margin=margin)
        if (tone := self.config.tone).colour == "input":
            contrast = contrast_for(made, tone.local_contrast) if tone.local_contrast else tone.contrast
            made = with_chromaticity(made, batch["hdr"].clamp(min=0), tone.saturation, contrast)
        return {"sdr": made}

    def stretched(self, made: Tensor) -> Tensor:
        """Stretch images [B, 3, H, W] to [0, 1] as they are where they are shown."""
        return NORMALIZATIONS[self.config.tone.stretch](made)

    def losses(self, batch: Batch, outputs: Outputs) -> dict[str, Tensor]:
        """Return scalars at least 0, the first four of them to the label, the others to x; none idle."""
        made, given, target = outputs["sdr"], batch["encoded"], batch["sdr"]
        labelled, form = batch["labelled"], self.form
        config, colour = self.config, self.colour
        terms: dict[str, Callable[[], Tensor]] = {
            "l1": lambda: l1_loss(made, target, labelled),
            "ssim": lambda: ssim_loss(made, target, labelled, form=form),
            "delta_e": lambda: delta_e_itp_loss(made, target, labelled, **colour),
            "hue": lambda: hue_loss(made, given, gamut=config.gamut, **colour),
            "structure": lambda: tmqi_multiscale_loss(made, given, form=form, scale255=config.scale255),
            "quality": lambda: masked_mean(1 - trainable_tmqi(batch["hdr"], self.display(made))),
        }
        counted = {name: term() for name, term in terms.items() if self.weights[name]}
        return {**counted, **self.perceptual(made, target, labelled)}

    def metrics(self, batch: Batch, outputs: Outputs) -> dict[str, Tensor]:
        """Return TMQI [B] in [0, 1] and likeness to the label, of the stretched result, x and the label."""
        shown, given, target = map(
            self.display, (self.stretched(outputs["sdr"]), batch["encoded"], batch["sdr"])
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
        """Return the HDR image in two exposures, the result and the label."""
        hdr = batch["hdr"][0]
        exposed = hdr * (0.25 / hdr.mean().clamp(min=1e-12))
        return PanelSample(
            displays={
                "HDR image, 0 EV": srgb_encode(exposed.clamp(0, 1)),
                "HDR image, -4 EV": srgb_encode((exposed / 16).clamp(0, 1)),
                "tone-mapped": self.display(self.stretched(outputs["sdr"]))[0],
                "SDR image": self.display(batch["sdr"])[0],
            }
        )


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Return the SSIM [B] of display-encoded images [B, 3, H, W] in [0, 1]."""
    return torch.stack([1 - ssim_loss(x[None], y[None]) for x, y in zip(a, b, strict=True)])
