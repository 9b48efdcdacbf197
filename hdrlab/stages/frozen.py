"""Nets that a stage uses and does not train."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hdrlab.nets.vgg16 import POOLS, VGG16Features, preprocessing_tensors, random_vgg16
from hdrlab.weights.vgg16 import load_vgg16


class Frozen:
    """Holds a net that is used but neither trained nor stored with the stage, on the stage's device."""

    def __init__(self, net: nn.Module) -> None:
        self.net = net.eval().requires_grad_(False)

    @classmethod
    def vgg16(cls, source: str, layers: Sequence[str] = POOLS, *, raw: bool = False) -> Frozen:
        """Hold the VGG-16 features of a perceptual loss.

        Args:
            source: A file of weights, or ``random``.
            layers: The maps to compare.
            raw: Whether images are fed as they are, not as the weights want them.
        """
        weights = random_vgg16() if source == "random" else load_vgg16(source)
        return cls(VGG16Features(weights | preprocessing_tensors("raw") if raw else weights, layers))

    def __deepcopy__(self, memo: object) -> Frozen:
        """Share the net with copies of the stage: nobody changes it."""
        return self

    def on(self, like: Tensor) -> nn.Module:
        """Return the net on a tensor's device and in its precision, if that is a full one."""
        dtype = like.dtype if like.dtype == torch.float64 else torch.float32
        return self.net.to(like.device, dtype)
