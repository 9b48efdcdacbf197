"""The three nets that tone-map: one for the fine layer, one for the coarse layer, one that joins the two."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hdrlab.nets.layers import Net, conv2d_leaky, require_maps, scaled, truncated_normal_init
from hdrlab.nets.sweeps import Moments, Run, sweep
from hdrlab.ops.free_sizes import is_free
from hdrlab.ops.strips import cells_at_once

GROUPS = 3
LARGEST = 5
"""Side of the largest of the groups' windows."""
SLOPE = 0.3
EPSILON = 1e-6
SMALLEST_SIDE = 2
"""Statistics over a single pixel say nothing."""


def normalise_instance(y: Tensor) -> Tensor:
    """Bring every channel of every sample to mean 0 and variance 1; there is nothing to learn or to track.

    Args:
        y: Maps [B, C, H, W] of any range.

    Returns:
        Maps of that shape and any range, in float32 at least: statistics in half precision would not do for
        an image.
    """
    return F.instance_norm(_at_least_float32(y), eps=EPSILON)


def normalise_batch(y: Tensor) -> Tensor:
    """Bring every channel of the batch to mean 0 and variance 1, in training and in use.

    With one sample it is `normalise_instance`; with several, each depends on the others.

    Args:
        y: Maps [B, C, H, W] of any range.

    Returns:
        Maps of that shape and any range, in float32 at least.
    """
    y = _at_least_float32(y)
    if not torch.is_grad_enabled():
        # With channels last torch sums a whole map in one go: at 512² that costs three more digits.
        normed = F.batch_norm(y.contiguous(), None, None, training=True, eps=EPSILON)
        return normed.contiguous(memory_format=torch.channels_last)
    return F.batch_norm(y, None, None, training=True, eps=EPSILON)


def _at_least_float32(y: Tensor) -> Tensor:
    return y if y.dtype == torch.float64 else y.float()


class _Conv(nn.Conv2d):
    """Convolution, leaky ReLU and, after it, normalisation."""

    def __init__(
        self, cin: int, cout: int, kernel: int = 3, norm: Callable[[Tensor], Tensor] = normalise_instance
    ) -> None:
        super().__init__(cin, cout, kernel, padding=kernel // 2)
        self.norm = norm

    def forward(self, y: Tensor) -> Tensor:
        return self.norm(self.raw(y))

    def raw(self, y: Tensor) -> Tensor:
        """Return what is to be normalised."""
        return conv2d_leaky(y, self.weight, self.bias, SLOPE, padding=self.padding)


class _GroupResidual(nn.Module):
    """Residual block that looks at each third of the channels through a window of its own size."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        group = channels // GROUPS
        self.groups = nn.ModuleList([_Conv(group, group, kernel) for kernel in (1, 3, LARGEST)])
        self.merge = _Conv(channels, channels)

    def forward(self, y: Tensor) -> Tensor:
        parts = [conv(part) for conv, part in zip(self._groups(), y.chunk(GROUPS, dim=1), strict=True)]
        merged: Tensor = self.merge(torch.cat(parts, dim=1))
        return merged + y

    def raw(self, y: Tensor) -> Tensor:
        """Return the groups' maps before they are normalised, by one convolution of the largest window."""
        groups = self._groups()
        kernels = [F.pad(conv.weight, [(LARGEST - conv.weight.shape[-1]) // 2] * 4) for conv in groups]
        biases = torch.cat([cast("Tensor", conv.bias) for conv in groups])
        padding = (LARGEST // 2, LARGEST // 2)
        return conv2d_leaky(y, torch.cat(kernels), biases, SLOPE, padding=padding, groups=GROUPS)

    def sweep(self, maps: Tensor, normed: Run) -> Tensor:
        """Do as `forward` does with `normed` of one image's maps, which are replaced, a sweep a norm."""
        groups, merged = Moments(EPSILON), Moments(EPSILON)
        walk = partial(sweep, channels=maps.shape[1])

        def inner(maps: Tensor) -> Tensor:
            return self.merge.raw(groups.normalise(self.raw(normed(maps))))

        walk(lambda maps: self.raw(normed(maps)), [maps], halo=2, moments=groups, keep=False)
        walk(inner, [maps], halo=3, moments=merged, keep=False)
        return walk(lambda maps: merged.normalise(inner(maps)) + normed(maps), [maps], halo=3, target=maps)

    def _groups(self) -> list[_Conv]:
        return cast("list[_Conv]", [*self.groups])


class _ToneNet(Net):
    """Base of the three: channel count, head, initial weights.

    Args:
        width: Factor on the channel counts. There are three groups of round(8 · width) channels, at least 4
            each, so that the counts are multiples of 3: 24 at width 1, 12 at 0.5 and below.
        bypass: Whether the net stands for one that is left out: it has no weights and returns what it is
            given.

    Raises:
        ValueError: The width is not above 0.
    """

    def __init__(self, width: float, bypass: bool = False) -> None:
        super().__init__()
        self.channels, self.bypass = GROUPS * scaled(8, width), bypass
        if not bypass:
            self.head = nn.Conv2d(self.channels, 3, 1)

    def _init_weights(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                truncated_normal_init(module, std=0.1, bias=0.005)

    def _in_strips(self, x: Tensor) -> bool:
        """Say whether images are so large that computing twice costs less than their memory."""
        if torch.is_grad_enabled() or is_free(x):
            return False
        return self.channels * x.numel() // x.shape[1] > 16 * cells_at_once(x)

    def _image(self, y: Tensor, like: Tensor) -> Tensor:
        """Turn maps into RGB in (0, 1), in the precision of the input."""
        return torch.sigmoid(self.head(y).to(like.dtype))


class ToneHighNet(_ToneNet):
    """Tone-maps the high layer: what the bilateral filter took from an image.

    Args:
        width: Factor on the channel counts; see `_ToneNet`.
        bypass: Whether to return the layer as it is.

    Source: Guo and Jiang, IEEE Access 9, 2021 (net N_L); the authors' program, scope `high_level`.
    """

    def __init__(self, width: float = 1.0, bypass: bool = False) -> None:
        super().__init__(width, bypass)
        if bypass:
            return
        self.conv1 = _Conv(3, self.channels)
        self.conv2, self.conv3, self.conv4 = (_Conv(self.channels, self.channels) for _ in range(3))
        self._init_weights()

    def forward(self, high: Tensor) -> Tensor:
        """Add what the net predicts.

        Args:
            high: High layers [B, 3, H, W] of encoded images, about 0.

        Returns:
            high + (0, 1), of that shape; high itself where the net is left out.

        Raises:
            ValueError: The shape does not fit.
        """
        require_maps(high, 3, least=SMALLEST_SIDE)
        if self.bypass:
            return high
        if self._in_strips(high):
            return _one_by_one(self._sweep, high)
        first = self.conv1(high)
        return high + self._image(self.conv4(self.conv3(self.conv2(first))) + first, high)

    def _sweep(self, high: Tensor) -> Tensor:
        """Do as `forward` does with one image, a sweep a norm; the first maps are made twice."""
        norms = [Moments(EPSILON) for _ in range(4)]
        first, second, third, last = norms
        walk = partial(sweep, channels=self.channels)

        def start(x: Tensor) -> Tensor:
            return first.normalise(self.conv1.raw(x))

        walk(self.conv1.raw, [high], halo=1, moments=first, keep=False)
        maps = walk(lambda x: self.conv2.raw(start(x)), [high], halo=2, moments=second)
        walk(lambda y: self.conv3.raw(second.normalise(y)), [maps], halo=1, moments=third, target=maps)
        walk(lambda y: self.conv4.raw(third.normalise(y)), [maps], halo=1, moments=last, target=maps)
        return walk(lambda y, x: x + self._image(last.normalise(y) + start(x), x), [maps, high], halo=1)


class ToneBottomNet(_ToneNet):
    """Tone-maps the bottom layer: an image at 1/8 of its size.

    Its convolutions outside the residual block are normalised over the whole batch, when it is used too:
    what it makes of an image depends on the others of the batch and, as for the other two nets, on the
    whole of the image.

    Args:
        width: Factor on the channel counts; see `_ToneNet`.

    Source: Guo and Jiang, IEEE Access 9, 2021 (net N_G); the authors' program, scope `bot_level`.
    """

    def __init__(self, width: float = 1.0) -> None:
        super().__init__(width)
        self.conv1 = _Conv(3, self.channels, norm=normalise_batch)
        self.conv2 = _Conv(self.channels, self.channels, norm=normalise_batch)
        self.residual = _GroupResidual(self.channels)
        self.conv3 = _Conv(self.channels, self.channels, norm=normalise_batch)
        self._init_weights()

    def forward(self, bottom: Tensor) -> Tensor:
        """Add what the net predicts.

        Args:
            bottom: Bottom layers [B, 3, H, W] of encoded images, in [0, 1].

        Returns:
            bottom + (0, 1), of that shape.

        Raises:
            ValueError: The shape does not fit.
        """
        require_maps(bottom, 3, least=SMALLEST_SIDE)
        y = self.conv3(self.residual(self.conv2(self.conv1(bottom))))
        return bottom + self._image(y, bottom)


class ToneMergeNet(_ToneNet):
    """Makes the image from the sum of both layers, each tone-mapped and at full size.

    Args:
        width: Factor on the channel counts; see `_ToneNet`.
        bypass: Whether to return the layers' sum as it is.
        skip: Whether the net adds up to ±½ to the layers' sum, clipped to [0, 1], instead of making the image
            anew; it begins by adding nothing.

    Source: Guo and Jiang, IEEE Access 9, 2021 (net N_ft); the authors' program, scope `ft_merger`.
    """

    def __init__(self, width: float = 1.0, bypass: bool = False, skip: bool = False) -> None:
        super().__init__(width, bypass)
        self.skip = skip
        if bypass:
            return
        self.conv1 = _Conv(3, self.channels)
        self.conv2 = _Conv(self.channels, self.channels)
        self.residuals = nn.Sequential(_GroupResidual(self.channels), _GroupResidual(self.channels))
        self.conv3 = _Conv(self.channels, self.channels)
        self._init_weights()
        if skip:
            nn.init.zeros_(self.head.weight)

    def forward(self, layers: Tensor) -> Tensor:
        """Make the image.

        Args:
            layers: High layers plus enlarged bottom layers [B, 3, H, W] of any range, both tone-mapped.

        Returns:
            Display-encoded images [B, 3, H, W] in (0, 1), whose range is the caller's to stretch; without
            bounds where the net is left out.

        Raises:
            ValueError: The shape does not fit.
        """
        require_maps(layers, 3, least=SMALLEST_SIDE)
        if self.bypass:
            return layers
        if self._in_strips(layers):
            return _one_by_one(self._sweep, layers)
        return self._merged(self.conv3(self.residuals(self.conv2(self.conv1(layers)))), layers)

    def _merged(self, y: Tensor, layers: Tensor) -> Tensor:
        """Turn maps into the image, or its change of the layers' sum, to which each net brings ½."""
        if not self.skip:
            return self._image(y, layers)
        return (self._image(y, layers) + layers - 1.5).clamp(0, 1)

    def _sweep(self, layers: Tensor) -> Tensor:
        """Do as `forward` does with one image, a sweep a norm: blocks are computed again, not kept."""
        first, second, last = (Moments(EPSILON) for _ in range(3))
        walk = partial(sweep, channels=self.channels)
        walk(self.conv1.raw, [layers], halo=1, moments=first, keep=False)
        maps = walk(
            lambda x: self.conv2.raw(first.normalise(self.conv1.raw(x))), [layers], halo=2, moments=second
        )
        normed: Run = second.normalise
        for block in cast("list[_GroupResidual]", [*self.residuals]):
            maps, normed = block.sweep(maps, normed), _as_they_are
        walk(self.conv3.raw, [maps], halo=1, moments=last, target=maps)
        return walk(lambda y, x: self._merged(last.normalise(y), x), [maps, layers], halo=0)


def _as_they_are(maps: Tensor) -> Tensor:
    return maps


def _one_by_one(run: Run, images: Tensor) -> Tensor:
    return torch.cat([run(image[None]) for image in images])
