"""Hallucination-Net: what the clipped highlights may have held."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hdrlab.nets.layers import (
    BiasedBatchNorm2d,
    Net,
    assign_tensors,
    glorot_init,
    require_choice,
    require_maps,
    require_shapes,
    truncated_normal_init,
)
from hdrlab.nets.vgg16 import CAFFE_MEANS, VGG16
from hdrlab.ops.resampling import upsample_bilinear, upsample_nearest

VARIANTS = ("authors", "tf2")
UPSAMPLING = ("resize", "transposed")


class _Deconv(nn.Module):
    """Doubles the resolution: up-sampling, 3×3 convolution, ReLU, batch norm, ReLU.

    Or, in place of the first two, a transposed convolution 4×4, as the paper's ablation.
    """

    conv: nn.Conv2d | nn.ConvTranspose2d

    def __init__(self, cin: int, cout: int, variant: str, upsampling: str) -> None:
        super().__init__()
        self.variant, self.upsampling = variant, upsampling
        if upsampling == "transposed":
            self.conv = nn.ConvTranspose2d(cin, cout, 4, stride=2, padding=1)
        else:
            self.conv = nn.Conv2d(cin, cout, 3)
        self.bn = _batch_norm(cout, variant)

    def forward(self, y: Tensor) -> Tensor:
        if self.upsampling == "resize":
            y = self._enlarge(y)
        return F.relu(self.bn(F.relu(self.conv(y))))

    def _enlarge(self, y: Tensor) -> Tensor:
        if self.variant == "authors":
            return F.pad(upsample_nearest(y), (1, 1, 1, 1), mode="reflect")
        return F.pad(upsample_bilinear(y), (1, 1, 1, 1))


class _Fuse(nn.Conv2d):
    """1×1 convolution that joins the decoder's maps with a skip on a scale of 255."""

    def __init__(self, channels: int) -> None:
        super().__init__(2 * channels, channels, 1)

    def forward(self, y: Tensor, skip: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(torch.cat([y, skip / 255], dim=1))

    @torch.no_grad()
    def init_as_sum(self) -> None:
        identity = torch.eye(self.out_channels)
        self.weight.copy_(torch.cat([identity, identity], dim=1)[..., None, None])
        nn.init.zeros_(self.bias)  # type: ignore[arg-type]


class HallucinationNet(Net):
    """VGG-16 encoder and resize-convolution decoder that predict what lies above the clipping point.

    Args:
        variant: `authors`, or `tf2` for weights of the TensorFlow 2 code base, which up-samples bilinearly,
            joins the input as mean-subtracted BGR (so that its weights emit BGR) and ends with a ReLU.
        width: Factor on the channel counts.
        upsampling: `resize`, before a convolution; or `transposed` convolutions, which leave checkerboards.
        residual: Whether the output is to be added to the picture, or, inside the highlight mask, to take
            its place; `hdrlab.pipeline.hallucinate` does either.

    Raises:
        ValueError: An option is illegal.

    Source: SingleHDR, section 3.3; after Eilertsen et al., "HDR image reconstruction from a single exposure".
    """

    means: Tensor

    def __init__(
        self,
        variant: str = "authors",
        width: float = 1.0,
        upsampling: str = "resize",
        residual: bool = True,
    ) -> None:
        super().__init__()
        require_choice("variant", variant, VARIANTS)
        require_choice("upsampling", upsampling, UPSAMPLING)
        self.variant, self.residual = variant, residual
        self.encoder = VGG16(width=width)
        levels = self.encoder.channels[::-1]
        deepest = levels[0]
        self.bottom = nn.Conv2d(deepest, deepest, 3, padding=1)
        self.bottom_bn = _batch_norm(deepest, variant)
        pairs = zip([deepest, *levels], levels, strict=False)
        self.deconvs = nn.ModuleList([_Deconv(cin, cout, variant, upsampling) for cin, cout in pairs])
        self.fuses = nn.ModuleList([_Fuse(channels) for channels in levels])
        self.last = nn.Conv2d(levels[-1], 3, 1)
        self.last_bn = _batch_norm(3, variant)
        self.fuse_input = _Fuse(3)
        self.register_buffer("means", torch.tensor(CAFFE_MEANS).view(3, 1, 1), persistent=False)
        self._init_weights()

    def _init_weights(self) -> None:
        if self.variant == "tf2":
            glorot_init(self)
            return
        encoder = set(self.encoder.children())
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.weight, 1.0, 0.002)
            elif isinstance(module, _Fuse):
                module.init_as_sum()
            elif module in encoder:  # until VGG weights are loaded
                nn.init.kaiming_normal_(module.get_parameter("weight"))
                nn.init.zeros_(module.get_parameter("bias"))
            elif isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                truncated_normal_init(module, 0.02)
        truncated_normal_init(self.last, (1.3 * 2 / (self.last.in_channels + 3)) ** 0.5)

    def load_encoder(self, weights: Mapping[str, Tensor]) -> None:
        """Start the encoder from VGG-16 weights, of places365 in the paper.

        Weights trained with another preprocessing (torchvision's) are converted to this net's input; exact
        but for the outermost pixels, whose zero padding meant another colour.

        Args:
            weights: As `hdrlab.weights.load_vgg16` returns them.

        Raises:
            WeightsError: Weights are missing or have another shape, for example since `width` is not 1.
        """
        shapes = {**self.encoder.state_dict(), "scale": torch.empty(3), "offset": torch.empty(3)}
        require_shapes(shapes, weights, "the VGG-16 encoder")
        kernel, bias = weights["conv1_1.weight"], weights["conv1_1.bias"]
        scale = (weights["scale"] / 255).view(3, 1, 1)
        shift = torch.tensor(CAFFE_MEANS).view(3, 1, 1) * scale - weights["offset"].view(3, 1, 1)
        converted = {
            "conv1_1.weight": (kernel * scale).flip(1),  # this encoder sees B, G, R
            "conv1_1.bias": bias + (kernel * shift).sum(dim=(1, 2, 3)),
        }
        assign_tensors(self.encoder.state_dict(), {**weights, **converted}, "the VGG-16 encoder")

    def forward(self, x: Tensor) -> Tensor:
        """Predict the residual.

        Args:
            x: Scene-linear RGB pictures [B, 3, H, W] in [0, 1], H and W multiples of 32.

        Returns:
            Residual [B, 3, H, W] on the scale of x; RGB, before the ReLU that is the caller's (variant `tf2`:
            after it, and in that code base's weights BGR).

        Raises:
            ValueError: The shape does not fit.
        """
        require_maps(x, 3, multiple=32)
        x_rgb = 255 * x
        x_bgr = (x_rgb - self.means).flip(1)
        stages = self.encoder(x_bgr)
        y = F.relu(self.bottom_bn(self.bottom(stages[-1][1])))
        for deconv, fuse, (skip, _) in zip(self.deconvs, self.fuses, reversed(stages), strict=True):
            y = fuse(deconv(y), skip)
        y = F.relu(self.last_bn(self.last(y)))
        if self.variant == "authors":
            out: Tensor = self.fuse_input(y, x_rgb)
            return out
        return F.relu(self.fuse_input(y, x_bgr))


def _batch_norm(channels: int, variant: str) -> nn.BatchNorm2d:
    if variant == "authors":
        return BiasedBatchNorm2d(channels, eps=1e-5, momentum=0.1)
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)
