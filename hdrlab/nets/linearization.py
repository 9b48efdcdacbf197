"""Linearization-Net: from an image to the inverse of the camera's response curve."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hdrlab.nets.features import FEATURES, Features, mirror
from hdrlab.nets.layers import (
    Foldable,
    Net,
    convolve_leaky,
    glorot_init,
    in_own_precision,
    scale_and_shift,
    scale_outputs,
    scaled,
)
from hdrlab.ops.free_sizes import is_free
from hdrlab.ops.inverse_basis import load_inverse_basis
from hdrlab.ops.padding import pad_same, same_margins
from hdrlab.ops.response import make_monotone
from hdrlab.ops.strips import cells_at_once

BLOCKS = ("2a", "2b", "2c", "3a", "3b")
"""The residual blocks, named as in Caffe's ResNet-50; those of stage 3 start at half resolution."""


class CurveParts(NamedTuple):
    """What the net computes on its way to the curve.

    Attributes:
        feature: Pooled feature [B, 512 · width].
        coefficients: Coefficients of the basis [B, 11].
        raw_curve: Mean plus weighted basis [B, 1024].
        curve: The same made monotone, from 0 to 1; or cut off there, where the net is not `monotone`.
    """

    feature: Tensor
    coefficients: Tensor
    raw_curve: Tensor
    curve: Tensor


class _ConvNorm(nn.Module, Foldable):
    bn: nn.Module

    def __init__(self, cin: int, cout: int, kernel: int, stride: int, momentum: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(cin, cout, kernel, stride, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(cout, eps=1e-3, momentum=momentum)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.bn(self.conv(x))
        return out

    def rectified(self, x: Tensor) -> Tensor:
        """Do as `forward` does, and apply a ReLU."""
        return convolve_leaky(self.conv, x) if isinstance(self.bn, nn.Identity) else F.relu_(self(x))

    @torch.no_grad()
    def fold_constants(self) -> None:
        scale_outputs(self.conv, *scale_and_shift(self.bn))
        self.bn = nn.Identity()


class _Bottleneck(nn.Module):
    """Residual block with the stride on its 1×1 convolutions, as in Caffe's ResNet."""

    def __init__(self, cin: int, middle: int, stride: int, projects: bool, momentum: float) -> None:
        super().__init__()
        cout = 4 * middle
        self.branch1 = _ConvNorm(cin, cout, 1, stride, momentum) if projects else nn.Identity()
        self.branch2a = _ConvNorm(cin, middle, 1, stride, momentum)
        self.branch2b = _ConvNorm(middle, middle, 3, 1, momentum)
        self.branch2c = _ConvNorm(middle, cout, 1, 1, momentum)

    def forward(self, x: Tensor) -> Tensor:
        y = self.branch2a.rectified(x)
        y = self.branch2c(self.branch2b.rectified(y))
        return F.relu_(y.add_(self.branch1(x)))


class LinearizationNet(Net, Foldable):
    """Predicts the inverse response curve of the camera that took an image.

    Args:
        histogram: Form of the soft histograms: `paper`, or `authors` for the released weights.
        basis: `builtin`, or the path of EMoR's `invemor.txt`, which the released weights need. The basis is
            stored with the weights, so that a checkpoint stands alone.
        bn_momentum: Share of a batch in the running statistics: 0.001 as the authors; 0.01 for short runs.
        width: Factor on the channel counts.
        features: What the net sees of an image, of `FEATURES`; the paper's ablation leaves some out.
        monotone: Whether the curve is made monotone; else it is only kept in [0, 1].

    Raises:
        ValueError: An option is illegal, or the basis cannot be read.

    Source: SingleHDR, section 3.2.
    """

    bn_conv1: nn.Module
    basis_mean: Tensor
    basis_components: Tensor

    def __init__(
        self,
        histogram: str = "paper",
        basis: str | Path = "builtin",
        bn_momentum: float = 0.001,
        width: float = 1.0,
        features: Sequence[str] = FEATURES,
        monotone: bool = True,
    ) -> None:
        super().__init__()
        if not 0 < bn_momentum <= 1:
            raise ValueError(f"bn_momentum={bn_momentum}: must be in (0, 1], for example 0.001 or 0.01")
        if not features:
            raise ValueError(f"features: the net must see something; choose of {', '.join(FEATURES)}")
        self.features, self.monotone = Features(features, histogram), monotone
        low, high = scaled(64, width), scaled(128, width)
        self.conv1 = nn.Conv2d(self.features.channels, low, 7, stride=2)
        self.bn_conv1 = nn.BatchNorm2d(low, eps=1e-3, momentum=bn_momentum)
        self.blocks = nn.ModuleDict()
        cin = low
        for name in BLOCKS:
            middle = low if name.startswith("2") else high
            stride, projects = 2 if name == "3a" else 1, name.endswith("a")
            self.blocks[name] = _Bottleneck(cin, middle, stride, projects, bn_momentum)
            cin = 4 * middle
        self.head = nn.Linear(cin, 11)
        self._init_weights()
        inverse_basis = load_inverse_basis(basis)
        self.basis_name = inverse_basis.name
        self.register_buffer("basis_mean", inverse_basis.mean)
        self.register_buffer("basis_components", inverse_basis.components)

    def _init_weights(self) -> None:
        glorot_init(self)
        # The monotone step answers one falling sample by blending in a straight line everywhere, and one unit
        # of a late component falls by up to 0.23 per sample where the mean curve rises by 0.0004. So the
        # coefficients start near 0.001; Glorot's O(1) would start from straight lines with hardly a gradient.
        nn.init.normal_(self.head.weight, std=1e-3 / self.head.in_features**0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Predict the curve.

        Args:
            x: Display-encoded images [B, 3, H, W], nominally in [0, 1], at least 2×2.

        Returns:
            Inverse response curve [B, 1024] over a uniform grid on [0, 1]: rises from 0 to 1 ± 1e-6, unless
            the net is not `monotone`.

        Raises:
            ValueError: The shape does not fit.
        """
        return self.curve_parts(x).curve

    def curve_parts(self, x: Tensor) -> CurveParts:
        """Predict the curve and keep what it was made of.

        Args:
            x: Images [B, 3, H, W] as in `forward`.

        Returns:
            Feature, coefficients, curve before and after the monotone step.

        Raises:
            ValueError: The shape does not fit.
        """
        return self.curve_from_feature(self.backbone(x).mean(dim=(2, 3), dtype=self.basis_mean.dtype))

    @in_own_precision
    def backbone(self, x: Tensor) -> Tensor:
        """Run the convolutions; their mean over height and width is the feature.

        Args:
            x: Images [B, 3, H, W] as in `forward`.

        Returns:
            Maps [B, 512 · width, ceil(H/8), ceil(W/8)], at least 0.

        Raises:
            ValueError: The shape does not fit.
        """
        y = F.relu_(self.bn_conv1(self._first_convolution(x)))
        y = F.max_pool2d(pad_same(y, 3, 2, value=float("-inf")), 3, stride=2)
        for block in self.blocks.values():
            y = block(y)
        return y

    def _first_convolution(self, x: Tensor) -> Tensor:
        kernel, stride = self.conv1.weight, 2
        if self.features.sums is not None and kernel.shape[1] == self.features.channels:
            kernel = self._folded_kernel()
        margins = same_margins(x, kernel.shape[-1], stride)
        if torch.is_grad_enabled() or is_free(x):
            return F.conv2d(self.features.padded(x, margins), kernel, self.conv1.bias, stride)
        # The features take more memory than all that follows: a strip of them is enough.
        mirrored = mirror(x)
        half = torch.is_autocast_enabled(x.device.type)
        dtype = torch.get_autocast_dtype(x.device.type) if half else x.dtype
        height = -(-x.shape[-2] // stride)
        step = max(1, cells_at_once(x) // (len(x) * x.shape[-1] * kernel.shape[1] * stride))
        strips = []
        for start in range(0, height, step):
            stop = min(start + step, height)
            last = stride * (stop - 1) + kernel.shape[-1]
            rows = self.features.rows(mirrored, margins, stride * start, last, dtype)
            strips.append(F.conv2d(rows, kernel, self.conv1.bias, stride))
        return torch.cat(strips, dim=2)

    def _folded_kernel(self) -> Tensor:
        """Return the first kernel for the maps that the others are sums of."""
        assert self.features.sums is not None
        with torch.autocast(self.conv1.weight.device.type, enabled=False):
            kernel: Tensor = torch.tensordot(self.conv1.weight, self.features.sums, dims=([1], [1]))
            return kernel.movedim(-1, 1)

    @torch.no_grad()
    def fold_constants(self) -> None:
        """Fold the first kernel, and the batch norm behind it."""
        if self.features.sums is not None:
            self.conv1.weight = nn.Parameter(self._folded_kernel(), requires_grad=False)
        scale_outputs(self.conv1, *scale_and_shift(self.bn_conv1))
        self.bn_conv1 = nn.Identity()

    def curve_from_feature(self, feature: Tensor) -> CurveParts:
        """Turn the pooled feature into the curve.

        Args:
            feature: [B, 512 · width], at least 0: the mean of `backbone` over height and width.

        Returns:
            All parts of the curve.
        """
        # 1024 differences of a curve on [0, 1] need more digits than half precision has.
        with torch.autocast(feature.device.type, enabled=False):
            feature = feature.to(self.basis_mean.dtype)
            coefficients = self.head(feature)
            raw_curve = self.basis_mean + coefficients @ self.basis_components.T
            curve = make_monotone(raw_curve) if self.monotone else raw_curve.clamp(0, 1)
            return CurveParts(feature, coefficients, raw_curve, curve)
