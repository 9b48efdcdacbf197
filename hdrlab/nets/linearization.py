"""Linearization-Net: from a picture to the inverse of the camera's response curve."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hdrlab.nets.layers import Net, glorot_init, require_choice, require_maps, scaled
from hdrlab.ops.inverse_basis import load_inverse_basis
from hdrlab.ops.resampling import pad_same
from hdrlab.ops.response import make_monotone

HISTOGRAMS = ("paper", "authors")
FEATURES = ("rgb", "edges", "histograms")
BIN_COUNTS = (4, 8, 16)
SMALLEST_SIDE = 2
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


class SoftHistogram(nn.Module):
    """Maps in which every pixel votes for the bins around its value with triangular weights.

    Args:
        bin_counts: Numbers of bins; one histogram each.
        form: `paper` has centres (2b − 1) / (2B) for b = 1 … B; `authors`, the form of the released weights,
            has B + 1 centres b / B for b = 0 … B.

    Raises:
        ValueError: The form is unknown.

    Source: SingleHDR, eq. 2.
    """

    bins: Tensor
    centres: Tensor

    def __init__(self, bin_counts: tuple[int, ...] = BIN_COUNTS, form: str = "paper") -> None:
        super().__init__()
        require_choice("histogram", form, HISTOGRAMS)
        extra, shift = (0, 0.5) if form == "paper" else (1, 0.0)
        bins = torch.tensor([float(n) for n in bin_counts for _ in range(n + extra)])
        centres = torch.tensor([(b + shift) / n for n in bin_counts for b in range(n + extra)])
        # Constants of the form, so they stay out of checkpoints.
        self.register_buffer("bins", bins.view(-1, 1, 1, 1), persistent=False)
        self.register_buffer("centres", centres.view(-1, 1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Compute all histograms in one pass.

        Args:
            x: Pictures [B, C, H, W] in [0, 1].

        Returns:
            Votes [B, bins · C, H, W] in [0, 1]: histogram by histogram, bin by bin, channels inside a bin.
        """
        distances = (x.unsqueeze(1) - self.centres).abs()
        return torch.relu_(1 - self.bins * distances).flatten(1, 2)


class _ConvNorm(nn.Module):
    def __init__(self, cin: int, cout: int, kernel: int, stride: int, momentum: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(cin, cout, kernel, stride, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(cout, eps=1e-3, momentum=momentum)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.bn(self.conv(x))
        return out


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
        y = F.relu(self.branch2a(x))
        y = F.relu(self.branch2b(y))
        return F.relu(self.branch1(x) + self.branch2c(y))


class LinearizationNet(Net):
    """Predicts the inverse response curve of the camera that took a picture.

    Args:
        histogram: Form of the soft histograms: `paper`, or `authors` for the released weights.
        basis: `builtin`, or the path of EMoR's `invemor.txt`, which the released weights need. The basis is
            stored with the weights, so that a checkpoint stands alone.
        bn_momentum: Share of a batch in the running statistics: 0.001 as the authors; 0.01 for short runs.
        width: Factor on the channel counts.
        features: What the net sees of a picture, of `FEATURES`; the paper's ablation leaves some out.
        monotone: Whether the curve is made monotone; else it is only kept in [0, 1].

    Raises:
        ValueError: An option is illegal, or the basis cannot be read.

    Source: SingleHDR, section 3.2.
    """

    sobel: Tensor
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
        for name in features:
            require_choice("feature", name, FEATURES)
        self.seen, self.monotone = frozenset(features), monotone
        self.histogram = SoftHistogram(form=histogram)
        self.register_buffer("sobel", _sobel_kernels(), persistent=False)
        low, high = scaled(64, width), scaled(128, width)
        maps = {"rgb": 3, "edges": 6, "histograms": 3 * self.histogram.bins.numel()}
        self.conv1 = nn.Conv2d(sum(maps[name] for name in self.seen), low, 7, stride=2)
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
            x: Display-encoded pictures [B, 3, H, W], nominally in [0, 1], at least 2×2.

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
            x: As in `forward`.

        Returns:
            Feature, coefficients, curve before and after the monotone step.

        Raises:
            ValueError: The shape does not fit.
        """
        maps = self.backbone(self.features(x))
        return self.curve_from_feature(maps.mean(dim=(2, 3), dtype=self.basis_mean.dtype))

    def features(self, x: Tensor) -> Tensor:
        """Stack the picture, its edges and its soft histograms.

        Args:
            x: As in `forward`.

        Returns:
            Maps [B, 93 or 102, H, W]: R, G, B; Sobel dy and dx of R, G, B; histograms of 4, 8, 16 bins.
            Fewer where the net was told to see less.

        Raises:
            ValueError: The shape does not fit.
        """
        require_maps(x, 3, least=SMALLEST_SIDE)
        maps = [x] if "rgb" in self.seen else []
        # A difference of neighbours is gone where each is rounded to half precision.
        with torch.autocast(x.device.type, enabled=False):
            if "edges" in self.seen:
                maps.append(F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), self.sobel, groups=3))
            if "histograms" in self.seen:
                maps.append(self.histogram(x))
        return torch.cat(maps, dim=1)

    def backbone(self, features: Tensor) -> Tensor:
        """Run the convolutions; their mean over height and width is the feature.

        Args:
            features: Maps [B, 93 or 102, H, W] of `features`.

        Returns:
            Maps [B, 512 · width, ceil(H/8), ceil(W/8)].
        """
        y = F.relu(self.bn_conv1(self.conv1(pad_same(features, 7, 2))))
        y = F.max_pool2d(pad_same(y, 3, 2, value=float("-inf")), 3, stride=2)
        for block in self.blocks.values():
            y = block(y)
        return y

    def curve_from_feature(self, feature: Tensor) -> CurveParts:
        """Turn the pooled feature into the curve.

        Args:
            feature: [B, 512 · width], the mean of `backbone` over height and width.

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


def _sobel_kernels() -> Tensor:
    dy = torch.tensor([[-1.0, -2.0, -1.0], [0.0, 0.0, 0.0], [1.0, 2.0, 1.0]])
    return torch.stack([dy, dy.T]).unsqueeze(1).repeat(3, 1, 1, 1)
