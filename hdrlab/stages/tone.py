"""What the tone-mapping stages share."""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor

from hdrlab.config.schema import ToneStageConfig
from hdrlab.losses import Form, Gamut, tone_perceptual_loss
from hdrlab.nets.vgg16 import FIRST_CONVOLUTIONS
from hdrlab.ops.tone_range import ENCODING_EXPONENT
from hdrlab.stages.base import Frozen, Stage


class ToneStage(Stage):
    """A stage of IQATM: terms that need an SDR label count where there is one, the others everywhere.

    Preset ``official`` takes the losses as the authors' program computes them, ``default`` the mended ones.

    Source:
        Guo and Jiang, "Deep Tone-Mapping Operator Using Image Quality Assessment Inspired Semi-Supervised
        Learning", IEEE Access 9, 2021; weights and forms from the authors' program.
    """

    config: ToneStageConfig

    def __init__(self, config: ToneStageConfig, preset: str) -> None:
        super().__init__(config, preset)
        self.gamut = cast("Gamut", config.gamut)
        self.form: Form = "official" if preset == "official" else "default"
        self.vgg16: Frozen | None = None

    def open_files(self, vgg16: str | None) -> None:
        """Load the perceptual loss's VGG-16."""
        if vgg16:
            raw = self.config.perceptual.input == "raw"
            self.vgg16 = Frozen.vgg16(vgg16, FIRST_CONVOLUTIONS, raw=raw)

    @property
    def is_linear(self) -> bool:
        """Whether the data are left linear (``data.tone.domain``): pictures are then encoded to be shown."""
        data = self.header.get("config", {}).get("data", {})
        return bool(data.get("tone", {}).get("domain") == "linear")

    def display(self, x: Tensor) -> Tensor:
        """Encode pictures of the data's domain, in [0, 1], as a display shows them."""
        return x**ENCODING_EXPONENT if self.is_linear else x

    @property
    def colour(self) -> dict[str, Any]:
        """What the colour terms are told besides the pictures: the form, and whether to undo an encoding."""
        return {"form": self.form, "linearise": False if self.is_linear else None}

    def perceptual(self, made: Tensor, target: Tensor, labelled: Tensor) -> dict[str, Tensor]:
        """Return the perceptual term of two pictures or layers, none where its weight is 0."""
        if self.vgg16 is None:
            return {}
        return {"perceptual": tone_perceptual_loss(self.vgg16.on(made), made, target, labelled)}


def labelled_mean(values: Tensor, labelled: Tensor) -> Tensor:
    """Average values [B, …] per sample; NaN for a sample without a label [B, 1, 1, 1]."""
    means = values.flatten(1).mean(dim=1)
    return means.masked_fill(labelled.flatten() == 0, float("nan"))
