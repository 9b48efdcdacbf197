"""What the tone-mapping stages share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor

from hdrlab.config.schema.iqatm import ToneStageConfig
from hdrlab.losses import Form, tone_perceptual_loss
from hdrlab.nets.vgg16 import FIRST_CONVOLUTIONS
from hdrlab.ops.encoding import ENCODING_EXPONENT
from hdrlab.stages.base import Stage


class ToneStage(Stage):
    """A stage of IQATM: terms that need an SDR label count where there is one, the others everywhere.

    Preset ``official`` takes the losses as the authors' program computes them, ``default`` the mended ones.

    Source:
        Guo and Jiang, "Deep Tone-Mapping Operator Using Image Quality Assessment Inspired Semi-Supervised
        Learning", IEEE Access 9, 2021; weights and forms from the authors' program.
    """

    VGG16_LAYERS: ClassVar[Sequence[str]] = FIRST_CONVOLUTIONS
    config: ToneStageConfig

    def __init__(self, config: ToneStageConfig | None = None, preset: str = "default", **keys: Any) -> None:
        super().__init__(config, preset, **keys)
        self.form: Form = "official" if preset == "official" else "default"

    @property
    def is_linear(self) -> bool:
        """Whether images are left linear (``stage.tone.domain``): they are then encoded to be shown."""
        return self.config.tone.domain == "linear"

    def display(self, x: Tensor) -> Tensor:
        """Encode images of the stage's domain, in [0, 1], as a display shows them."""
        return x**ENCODING_EXPONENT if self.is_linear else x

    @property
    def colour(self) -> dict[str, Any]:
        """Options of the colour terms: the form, and whether to undo an encoding."""
        return {"form": self.form, "linearise": False if self.is_linear else None}

    def perceptual(self, made: Tensor, target: Tensor, labelled: Tensor) -> dict[str, Tensor]:
        """Return the perceptual term of two images or layers, none where its weight is 0."""
        if self.vgg16 is None:
            return {}
        return {"perceptual": tone_perceptual_loss(self.vgg16.on(made), made, target, labelled)}


def labelled_mean(values: Tensor, labelled: Tensor) -> Tensor:
    """Average values [B, …] per sample; NaN for a sample without a label [B, 1, 1, 1]."""
    means = values.flatten(1).mean(dim=1)
    return means.masked_fill(labelled.flatten() == 0, float("nan"))
