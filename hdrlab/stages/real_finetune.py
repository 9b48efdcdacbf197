"""The last stage: the whole chain and the Refinement-Net on pairs of real photographs and HDR images."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from hdrlab.config.schema.singlehdr import RealFinetuneConfig
from hdrlab.errors import RunError
from hdrlab.losses import log_l1_loss, perceptual_loss, total_variation_loss
from hdrlab.metrics import align_scale, alignment_mask, anchor_luminance, log_l1, psnr_pu21
from hdrlab.nets import Net, build_net
from hdrlab.ops.colour import srgb_decode
from hdrlab.ops.encoding import mean_normalise
from hdrlab.pipeline.singlehdr import reconstruct
from hdrlab.stages.base import Batch, Outputs, Stage
from hdrlab.stages.joint import build_chain
from hdrlab.stages.panel import PanelSample

CONSTANT = 1e-4  # standard deviation of ℓ(R) below which an image shows nothing
PATIENCE = 20  # steps in a row


class RealFinetuneStage(Stage):
    """Trains all four nets on (I, H), scales apart: real pairs share no unit.

    Two forms of the pixel loss, ``normalise``: ``mean`` divides both images by their mean, as the paper;
    ``aligned`` brings R to the scale of H on the pixels that I did not clip, which suns cannot rule.

    Source:
        Liu et al., CVPR 2020, section 3.4 and supplement; the aligned form is ours.
    """

    name: ClassVar[str] = "real_finetune"
    COMPARED: ClassVar[tuple[tuple[str, str], ...]] = (
        ("log_l1", "log_l1_srgb"),
        ("psnr_pu21", "psnr_pu21_srgb"),
    )
    config: RealFinetuneConfig

    def __init__(
        self, config: RealFinetuneConfig | None = None, preset: str = "default", **keys: Any
    ) -> None:
        super().__init__(config, preset, **keys)
        self.dequantization, self.linearization, self.hallucination = build_chain(self.config, preset)
        self.refinement = build_net("refinement", preset, width=self.config.width, identity_init=True)
        self.constant_steps = 0
        self.train()  # Lightning keeps the modes it finds, so they must be right from the start

    @property
    def nets(self) -> dict[str, Net]:
        """The chain's nets by name."""
        names = ("dequantization", "linearization", "hallucination", "refinement")
        return {name: getattr(self, name) for name in names}

    def train(self, mode: bool = True) -> RealFinetuneStage:
        """Switch to training; batch norms keep the statistics of synthetic training where ``frozen``."""
        super().train(mode)
        if mode and self.config.batch_norm == "frozen":
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self

    def forward(self, batch: Batch) -> Outputs:
        """Return ``linear`` B, ``alpha``, ``hdr`` A, ``refined`` R and the ``curve``."""
        made = reconstruct(batch["jpeg"], self.nets)
        assert made.refined is not None
        return {
            "curve": made.curve,
            "linear": made.linear,
            "alpha": made.alpha,
            "hdr": made.hdr,
            "refined": made.refined,
        }

    def on_a_scale(self, hdr: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Bring a result [B, 3, H, W] and the batch's HDR image to one scale, as ``normalise`` says."""
        scene = batch["hdr"]
        if self.config.normalise == "mean":
            return mean_normalise(hdr), mean_normalise(scene)
        unclipped = alignment_mask(batch["jpeg"])
        scale = align_scale(hdr, scene, unclipped).view(-1, 1, 1, 1)
        white = clipping_point(scene, unclipped).view(-1, 1, 1, 1)
        return hdr * scale / white, scene / white

    def losses(self, batch: Batch, outputs: Outputs) -> dict[str, Tensor]:
        """Return scalars at least 0: ``log_l1`` of R and, where they weigh, ``perceptual`` and ``tv``.

        Raises:
            RunError: If the results have shown nothing for many steps.
        """
        self._watch(outputs["refined"])
        result, scene = self.on_a_scale(outputs["refined"], batch)
        terms = {
            "log_l1": log_l1_loss(result, scene, batch["mask"]),
            "tv": total_variation_loss(result, batch["mask"]),
        }
        if self.vgg16 is not None:
            terms["perceptual"] = perceptual_loss(self.vgg16.on(result), result, scene, batch["mask"])
        return terms

    def _watch(self, refined: Tensor) -> None:
        flat = bool((refined.detach().flatten(1).std(dim=1) < CONSTANT).all())
        self.constant_steps = self.constant_steps + 1 if flat else 0
        if self.constant_steps >= PATIENCE:
            raise RunError(
                f"the results have been constant for {PATIENCE} steps: training has collapsed; "
                "lower stage.lr, keep stage.batch_norm=frozen, and check the joint checkpoint it starts from"
            )

    def metrics(self, batch: Batch, outputs: Outputs) -> dict[str, Tensor]:
        """Return the errors [B] of R, scale aligned, beside those of the photograph undone by sRGB."""
        scene, unclipped = batch["hdr"], alignment_mask(batch["jpeg"])
        display = anchor_luminance(scene)
        scores = {}
        for suffix, hdr in (("", outputs["refined"]), ("_srgb", srgb_decode(batch["jpeg"]))):
            aligned = hdr * align_scale(hdr, scene, unclipped).view(-1, 1, 1, 1)
            scores["log_l1" + suffix] = log_l1(aligned, scene)
            scores["psnr_pu21" + suffix] = psnr_pu21(display(aligned), display(scene))
        return scores

    def panel(self, batch: Batch, outputs: Outputs) -> PanelSample:
        """Return the photograph undone by sRGB, R and the HDR image on one scale; α and the curve."""
        scene = batch["hdr"]
        unclipped = alignment_mask(batch["jpeg"])
        shown = {"photograph, sRGB undone": srgb_decode(batch["jpeg"]), "refined R": outputs["refined"]}
        images = {n: (x * align_scale(x, scene, unclipped).view(-1, 1, 1, 1))[0] for n, x in shown.items()}
        return PanelSample(
            images={**images, "real HDR": scene[0]},
            maps={"mask α": outputs["alpha"][0, 0]},
            curves={
                "sRGB": srgb_decode(torch.linspace(0, 1, outputs["curve"].shape[1])),
                "predicted": outputs["curve"][0],
            },
        )


def clipping_point(scene: Tensor, unclipped: Tensor) -> Tensor:
    """Estimate the scene value at which a camera clipped: the 99th percentile of what it did not clip.

    Args:
        scene: Linear images [B, 3, H, W] in any unit.
        unclipped: Boolean mask [B, 1, H, W] of the pixels that the photograph shows.

    Returns:
        Values [B], above 0. The largest value itself would be ruled by a pixel beside a highlight that JPEG
        or a misalignment moved.
    """
    brightest = scene.amax(dim=1, keepdim=True)
    values = [b[u] if u.any() else b.flatten() for b, u in zip(brightest, unclipped, strict=True)]
    return torch.stack([v.quantile(0.99) for v in values]).clamp(min=1e-6)
