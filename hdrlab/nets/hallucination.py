"""Hallucination-Net: what the clipped highlights may have held."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hdrlab.nets.layers import (
    BiasedBatchNorm2d,
    Foldable,
    Net,
    assign_tensors,
    glorot_init,
    require_choice,
    require_maps,
    require_shapes,
    scale_and_shift,
    scale_outputs,
    truncated_normal_init,
)
from hdrlab.nets.vgg16 import CAFFE_MEANS, VGG16
from hdrlab.ops.strips import Local, in_strips
from hdrlab.ops.upsampling import DoubledKernel, convolve_doubled, doubled_kernel, upsample_bilinear

VARIANTS = ("authors", "tf2")
UPSAMPLING = ("resize", "transposed")


class _Deconv(nn.Module, Foldable):
    """Doubles the resolution: up-sampling, 3×3 convolution, ReLU, batch norm, ReLU.

    Or, in place of the first two, a transposed convolution 4×4, as the paper's ablation.
    """

    conv: nn.Conv2d | nn.ConvTranspose2d
    bn: nn.Module
    low: Tensor | None
    high: Tensor | None

    def __init__(self, cin: int, cout: int, variant: str, upsampling: str) -> None:
        super().__init__()
        self.variant, self.upsampling = variant, upsampling
        if upsampling == "transposed":
            self.conv = nn.ConvTranspose2d(cin, cout, 4, stride=2, padding=1)
        else:
            self.conv = nn.Conv2d(cin, cout, 3)
        self.bn = _batch_norm(cout, variant)
        self.register_buffer("low", None, persistent=False)
        self.register_buffer("high", None, persistent=False)

    def kernel(self) -> DoubledKernel | None:
        """Return what `forward` needs of the weights, computed once for all strips."""
        if self.upsampling == "resize" and self.variant == "authors":
            return doubled_kernel(self.conv.weight)
        return None

    def forward(self, y: Tensor, kernel: DoubledKernel | None) -> Tensor:
        if kernel is not None:
            y = convolve_doubled(y, kernel, self.conv.bias)
        elif self.upsampling == "resize":
            y = self.conv(F.pad(upsample_bilinear(y), (1, 1, 1, 1)))
        else:
            y = self.conv(y)
        if self.low is not None and self.high is not None:
            # With limits in another precision it takes ten times as long.
            return y.clamp_(self.low.to(y.dtype), self.high.to(y.dtype))
        return F.relu_(self.bn(F.relu_(y)))

    @torch.no_grad()
    def fold_constants(self) -> None:
        """Fold the batch norm: with the ReLUs around it, it is a scale, a shift and two limits."""
        scale, shift = scale_and_shift(self.bn)
        scale_outputs(self.conv, scale, shift)
        end, rising = shift.relu()[:, None, None], (scale >= 0)[:, None, None]
        self.low, self.high = torch.where(rising, end, 0), torch.where(rising, torch.inf, end)
        self.bn = nn.Identity()


class _Fuse(nn.Conv2d):
    """1×1 convolution that joins the decoder's maps with a skip on a scale of 255."""

    def __init__(self, channels: int) -> None:
        super().__init__(2 * channels, channels, 1)

    def kernels(self) -> tuple[Tensor, Tensor]:
        """Return what maps and skip are multiplied by, [C, C] each."""
        maps, skip = self.weight[:, :, 0, 0].chunk(2, dim=1)
        return maps, skip / 255

    def forward(self, y: Tensor, skip: Tensor) -> Tensor:  # type: ignore[override]
        maps, skips = self.kernels()
        return _pointwise(y, maps, self.bias).add_(_pointwise(skip, skips))

    @torch.no_grad()
    def init_as_sum(self) -> None:
        identity = torch.eye(self.out_channels)
        self.weight.copy_(torch.cat([identity, identity], dim=1)[..., None, None])
        nn.init.zeros_(self.bias)  # type: ignore[arg-type]


def _pointwise(maps: Tensor, kernel: Tensor, bias: Tensor | None = None) -> Tensor:
    """Convolve maps [B, C, H, W] by a kernel [K, C]."""
    return F.linear(maps.permute(0, 2, 3, 1), kernel, bias).permute(0, 3, 1, 2)


class HallucinationNet(Net, Foldable):
    """VGG-16 encoder and resize-convolution decoder that predict what lies above the clipping point.

    Args:
        variant: `authors`, or `tf2` for weights of the TensorFlow 2 code base, which up-samples bilinearly,
            joins the input as mean-subtracted BGR (so that its weights emit BGR) and ends with a ReLU.
        width: Factor on the channel counts.
        upsampling: `resize`, before a convolution; or `transposed` convolutions, which leave checkerboards.
        residual: Whether the output is to be added to the image, or, inside the highlight mask, to take
            its place; `hdrlab.pipeline.singlehdr.hallucinate` does either.
        mask_width: Width of that mask's ramp below the clipping point, in (0, 1].

    Raises:
        ValueError: An option is illegal.

    Source: SingleHDR, section 3.3; after Eilertsen et al., "HDR image reconstruction from a single exposure".
    """

    means: Tensor
    bottom_bn: nn.Module
    last_bn: nn.Module

    def __init__(
        self,
        variant: str = "authors",
        width: float = 1.0,
        upsampling: str = "resize",
        residual: bool = True,
        mask_width: float = 0.12,
    ) -> None:
        super().__init__()
        require_choice("variant", variant, VARIANTS)
        require_choice("upsampling", upsampling, UPSAMPLING)
        self.variant, self.residual, self.mask_width = variant, residual, mask_width
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
            weights: Arrays in the shapes that `hdrlab.weights.vgg16.load_vgg16` returns, of any range.

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
            x: Scene-linear RGB images [B, 3, H, W] in [0, 1], H and W multiples of 32.

        Returns:
            Residual [B, 3, H, W] on the scale of x; RGB, before the ReLU that is the caller's (variant `tf2`:
            after it, and in that code base's weights BGR).

        Raises:
            ValueError: The shape does not fit.
        """
        require_maps(x, 3, multiple=32)
        x_rgb = 255 * x
        x_bgr = (x_rgb - self.means).flip(1)
        # Batch norms in training need whole maps, and what gradients need is kept anyway.
        strips = _whole if self.training or torch.is_grad_enabled() else in_strips
        maps, skip, bias = self._last_kernels()
        *deconvs, last_deconv = cast("list[_Deconv]", [*self.deconvs])
        last_kernel = last_deconv.kernel()

        def first_stage(x_bgr: Tensor) -> tuple[Tensor, ...]:
            detail, y = self.encoder.stage(0, x_bgr)
            return _pointwise(detail, skip), y

        def last_level(x: Tensor, finest: Tensor, y: Tensor) -> tuple[Tensor, ...]:
            y = _pointwise(last_deconv(y, last_kernel), maps, bias).add_(finest)
            y = F.relu_(self.last_bn(y))
            with torch.autocast(x.device.type, enabled=False):  # an image has more digits than half precision
                return (self.fuse_input(y.to(x.dtype), x),)

        width = 2 * self.last.in_channels
        finest, y = strips(first_stage, [x_bgr], channels=width, halo=2, multiple=2)
        skips = []
        for number in range(1, self.encoder.num_stages):
            detail, y = self.encoder.stage(number, y)
            skips.append(detail)
        del detail
        y = F.relu_(self.bottom_bn(self.bottom(y)))
        for deconv, fuse in zip(deconvs, cast("list[_Fuse]", [*self.fuses]), strict=False):
            level = partial(_level, deconv, deconv.kernel(), fuse)
            (y,) = strips(level, [skips.pop(), y], channels=2 * fuse.out_channels, halo=2, multiple=2)
        inputs = [x_rgb if self.variant == "authors" else x_bgr, finest, y]
        (out,) = strips(last_level, inputs, channels=width, halo=2, multiple=2)
        return out if self.variant == "authors" else F.relu_(out)

    def _last_kernels(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return what the last convolution makes of the finest maps, of their skip, and of nothing.

        Nothing lies between it and the 1×1 convolution before, so that the two are one, of 3 channels.
        """
        fuse = self.fuses[-1]
        assert isinstance(fuse, _Fuse)
        assert fuse.bias is not None
        with torch.autocast(self.means.device.type, enabled=False):
            last = self.last.weight[:, :, 0, 0]
            maps, skip = (last @ kernel for kernel in fuse.kernels())
            return maps, skip, F.linear(fuse.bias, last, self.last.bias)

    @torch.no_grad()
    def fold_constants(self) -> None:
        """Fold the batch norms of the bottom and of the last convolution."""
        for conv, norm in ((self.bottom, self.bottom_bn), (self.last, self.last_bn)):
            scale_outputs(conv, *scale_and_shift(norm))
        self.bottom_bn, self.last_bn = nn.Identity(), nn.Identity()


def _level(
    deconv: nn.Module, kernel: DoubledKernel | None, fuse: nn.Module, skip: Tensor, y: Tensor
) -> tuple[Tensor, ...]:
    return (fuse(deconv(y, kernel), skip),)


def _whole(function: Local, sources: Sequence[Tensor], **_: int) -> tuple[Tensor, ...]:
    return function(*sources)


def _batch_norm(channels: int, variant: str) -> nn.BatchNorm2d:
    if variant == "authors":
        return BiasedBatchNorm2d(channels, eps=1e-5, momentum=0.1)
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)
