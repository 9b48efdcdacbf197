"""The compact nets: SingleHDR's chain for a few megabytes and a few operations a pixel.

They keep the paper's ideas (edges and histograms tell the response, a mask of clipped pixels guards the
highlights) and are formed such that they cannot do much harm: dequantization adds a small residual,
linearization bends the mean camera's curve, hallucination multiplies clipped pixels by gains of at least 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hdrlab.nets.layers import Net, convolve_leaky, require_maps, scaled
from hdrlab.ops.colour import srgb_encode
from hdrlab.ops.free_sizes import area_max, as_size, in_graph, is_free, shrink
from hdrlab.ops.inverse_basis import load_inverse_basis
from hdrlab.ops.masks import highlight_mask
from hdrlab.ops.response import average_inverse, make_monotone
from hdrlab.ops.response_curves import response_family

RESIDUAL = 0.1
"""Largest change that dequantization makes to an encoded value."""

LIN_SIDE = 640
"""Longest side of the image that linearization looks at."""

HAL_SIDE = 384
"""Longest side of the image that hallucination looks at."""

SLOPE = 0.1


class CompactDequantizationNet(Net):
    """Restores what quantisation and compression took, at half resolution.

    Args:
        width: Factor on the channel counts.
    """

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        channels = scaled(16, width)
        self.first = _conv(12, channels)
        self.middle = nn.ModuleList([_conv(channels, channels, dilation=2) for _ in range(2)])
        self.last = nn.Conv2d(channels, 12, 3, padding=1)
        _init(self)
        nn.init.zeros_(self.last.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Add the predicted residual; fresh weights add none.

        Args:
            x: Display-encoded images [B, 3, H, W], nominally in [0, 1], H and W even.

        Returns:
            x + residual in (x − 0.1, x + 0.1), before the clamp to [0, 1] that is the caller's.

        Raises:
            ValueError: The shape does not fit.
        """
        require_maps(x, 3, multiple=2)
        y = convolve_leaky(self.first, F.pixel_unshuffle(x, 2), SLOPE)
        for conv in self.middle:
            y = y + convolve_leaky(conv, y, SLOPE)
        return x + RESIDUAL * torch.tanh(F.pixel_shuffle(self.last(y), 2))


class CompactLinearizationNet(Net):
    """Predicts the inverse response curve from statistics of an image's levels and edges.

    The image is shrunk to 640 pixels. What tells the response are counts: of levels, of contrasts at each
    level (scenes have like contrasts at all levels; a response stretches some of them), and of the middle one
    of three pixels across an edge, which lies between its neighbours in linear light (Lin et al., 2004), in
    one channel and against another. Counts in 8×6 cells say where in the image levels lie.

    Args:
        basis: `builtin`, or the path of EMoR's `invemor.txt`. It is stored with the weights.
        width: Factor on the channel counts.

    Raises:
        ValueError: The basis cannot be read.

    Source: SingleHDR, section 3.2, for edges, histograms and the basis; Lin et al., "Radiometric Calibration
    from a Single Image", CVPR 2004, for the blends across edges.
    """

    basis_mean: Tensor
    basis_components: Tensor
    coefficient_scale: Tensor

    def __init__(self, basis: str | Path = "builtin", width: float = 1.0) -> None:
        super().__init__()
        hidden, cells = scaled(384, width), scaled(64, width)
        self.cells = nn.Sequential(
            nn.Conv2d(_CELL_MAPS, cells, 1),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(cells, cells, 3, padding=1),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(cells, cells, 3, padding=1),
            nn.LeakyReLU(SLOPE),
        )
        self.counts = nn.Sequential(nn.Dropout(0.1), nn.Linear(_COUNTS, hidden), nn.LeakyReLU(SLOPE))
        self.head = nn.Sequential(
            nn.Dropout(0.2),
            nn.Linear(hidden + 2 * cells, hidden // 2),
            nn.LeakyReLU(SLOPE),
            nn.Dropout(0.1),
            nn.Linear(hidden // 2, hidden // 2),
            nn.LeakyReLU(SLOPE),
            nn.Linear(hidden // 2, 11),
        )
        last = self.head[-1]
        assert isinstance(last, nn.Linear)
        # Zero coefficients are the mean camera's curve: where evidence is thin, that is the best guess.
        _init(self, last.weight)
        inverse_basis = load_inverse_basis(basis)
        self.basis_name = inverse_basis.name
        # The inverse of the mean response, which fits shadows better than the mean of inverses does.
        mean, components = average_inverse(inverse_basis.mean[None])[0].clone(), inverse_basis.components
        self.register_buffer("basis_mean", mean)
        self.register_buffer("basis_components", components)
        self.register_buffer("coefficient_scale", _spread(mean, components))

    def forward(self, x: Tensor) -> Tensor:
        """Predict the curve.

        Args:
            x: Display-encoded images [B, 3, H, W], nominally in [0, 1]: whole images, no crops.

        Returns:
            Inverse response curve [B, 1024] over a uniform grid on [0, 1]: rises from 0 to 1 ± 1e-6.

        Raises:
            ValueError: The shape does not fit.
        """
        require_maps(x, 3, least=8)
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            counts, cells = statistics(shrink(x.float(), LIN_SIDE).clamp(0, 1))
        return self.curve(counts, cells)

    def curve(self, counts: Tensor, cells: Tensor) -> Tensor:
        """Predict the curve [B, 1024] from what `statistics` counts."""
        dtype = self.basis_mean.dtype
        y = self.cells(cells.to(dtype))
        feature = [self.counts(counts.to(dtype)), y.mean(dim=(2, 3)), y.amax(dim=(2, 3))]
        out = self.head(torch.cat(feature, dim=1))
        # 1024 differences of a curve on [0, 1] need more digits than half precision has.
        with torch.autocast(out.device.type, enabled=False):
            coefficients = out.to(dtype) * self.coefficient_scale
            return make_monotone(self.basis_mean + coefficients @ self.basis_components.T)


_LEVELS, _CONTRASTS, _EDGE_LEVELS, _BLENDS, _CELL_LEVELS, _TONES = 32, 9, 8, 8, 16, 64
_CELLS = (6, 8)
_PAIRS = ((0, 1), (1, 2), (0, 2))
_CELL_MAPS = 4 * _CELL_LEVELS
_JOINT = _LEVELS * _CONTRASTS
_EDGES = _EDGE_LEVELS * _EDGE_LEVELS * _BLENDS
_COUNTS = 4 * (_JOINT + _LEVELS) + 3 * _TONES + 4 * _EDGES + len(_PAIRS) * _EDGES
_LEAST_EDGE, _UNCLIPPED = 16, 250
_ANCHORS = 50_000


def statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Count what tells the response, see `CompactLinearizationNet`, at up to 50,000 pixels.

    Args:
        x: Display-encoded images [B, 3, H, W] in [0, 1].

    Returns:
        Square roots of shares [B, N], and of shares in cells [B, maps, 6, 8], all in [0, 1].
    """
    if x.device.type == "cpu" and not is_free(x) and len(x) > 1:
        # One after the other, so that what is counted stays in the cache.
        counts, cells = zip(*(statistics(x[i : i + 1]) for i in range(len(x))), strict=True)
        return torch.cat(counts), torch.cat(cells)
    # Codes, their sums and bins fit in 16 bits, which take a fifth of the time; onnxruntime lacks them.
    dtype = torch.int16 if x.device.type == "cpu" and not is_free(x) else torch.int32
    planes = (torch.cat([x, x.mean(dim=1, keepdim=True)], dim=1) * 255 + 0.5).to(dtype)
    here, right, below, right2, below2 = _anchors(planes)
    joint, sizes = torch.zeros(0), _contrast_sizes(x.device).to(dtype)
    for there in (right, below):
        level, contrast = (here + there) >> 4, (here - there).abs().int()
        size = sizes.index_select(0, contrast.flatten()).view_as(level)
        counted = _count(level * _CONTRASTS + size, _JOINT)
        joint = joint + counted if joint.numel() else counted
    joint = joint / 2
    shares = joint.view(*joint.shape[:2], _LEVELS, _CONTRASTS)
    weights = torch.arange(_CONTRASTS, dtype=torch.float32, device=x.device)
    mean_size = (shares * weights).sum(3) / (shares.sum(3) + 1e-4) / _CONTRASTS
    edges = [_edges(*triple) for triple in ((here, right, right2), (here, below, below2))]
    blends = [(a + b).sqrt() for a, b in zip(*edges, strict=True)]
    tones = _count(here[:, :3] >> 2, _TONES)
    parts = [joint.sqrt(), mean_size, tones.sqrt(), *blends]
    return torch.cat([part.flatten(1) for part in parts], dim=1), _cell_counts(here, right)


def _anchors(planes: Tensor) -> list[Tensor]:
    """Return up to 50,000 pixels of planes [B, 4, H, W], those 1 right of and below them, and 2."""
    height, width = (size - 2 for size in planes.shape[-2:])
    ways = ((0, 0), (0, 1), (1, 0), (0, 2), (2, 0))
    if not is_free(planes):
        stride = 1
        while (height // stride) * (width // stride) > _ANCHORS:
            stride += 1
        return [planes[..., y : y + height : stride, x : x + width : stride].contiguous() for y, x in ways]
    stride = _stride(height, width)
    rows, columns = (
        torch.arange((size + stride - 1) // stride, device=planes.device) * stride for size in (height, width)
    )
    return [planes.index_select(-2, rows + y).index_select(-1, columns + x) for y, x in ways]


def _stride(height: int, width: int) -> int:
    """Return the step from anchor to anchor where sizes, of at most `LIN_SIDE`, are free."""
    most = math.isqrt(LIN_SIDE**2 // _ANCHORS) + 1
    above = [in_graph((height // step) * (width // step)) > _ANCHORS for step in range(1, most)]
    return as_size(1 + torch.stack(above).sum(dim=0), most=most)


def _contrast_sizes(device: torch.device) -> Tensor:
    """Return the bin of each contrast 0 … 255: twice the contrast is one bin further."""
    contrast = torch.arange(256, device=device)
    return (torch.log2(contrast.clamp(min=1)) + (contrast > 0)).clamp(max=_CONTRASTS - 1)


def _edges(first: Tensor, middle: Tensor, last: Tensor) -> list[Tensor]:
    """Count blends across edges of 2 pixels, in each plane and between channels."""
    low, high = torch.minimum(first, last), torch.maximum(first, last)
    usable = (high - low > _LEAST_EDGE) & (high < _UNCLIPPED)
    # Between neighbours: where the middle is no blend of both, it tells nothing.
    usable &= (low <= middle) & (middle <= high)

    blend = (((middle - low) * _BLENDS) / (high - low).clamp(min=1)).to(low.dtype).clamp(max=_BLENDS - 1)
    counts = [_count(((low >> 5) * _EDGE_LEVELS + (high >> 5)) * _BLENDS + blend, _EDGES, usable)]
    along, levels = (middle - first) / (last - first), (first + last) >> 6
    for a, b in _PAIRS:
        both = usable[:, a] & usable[:, b]
        ahead = (along[:, a] - along[:, b]) * (1.5 * _BLENDS) + _BLENDS / 2
        ahead = torch.where(both, ahead, 0).floor().clamp(0, _BLENDS - 1).to(levels.dtype)
        index = (levels[:, a] * _EDGE_LEVELS + levels[:, b]) * _BLENDS + ahead
        counts.append(_count(index[:, None], _EDGES, both[:, None]))
    return counts


def _cell_counts(here: Tensor, right: Tensor) -> Tensor:
    """Count levels in cells: of the channels, and of edges of the mean."""
    height, width = here.shape[-2:]
    rows = torch.arange(height, device=here.device) * _CELLS[0] // height
    columns = torch.arange(width, device=here.device) * _CELLS[1] // width
    cell = (rows[:, None] * _CELLS[1] + columns).to(here.dtype)
    num = _CELLS[0] * _CELLS[1]
    index = cell * _CELL_LEVELS + (here >> 4)
    edge = (here[:, 3:] - right[:, 3:]).abs() > 5
    bins = num * _CELL_LEVELS
    maps = torch.cat([_count(index[:, :3], bins), _count(index[:, 3:], bins, edge)], dim=1)
    maps = maps.view(len(here), -1, num, _CELL_LEVELS).transpose(2, 3)
    shares: Tensor = (maps * num).sqrt().reshape(len(here), -1, *_CELLS)
    return shares


def _count(index: Tensor, bins: int, which: Tensor | None = None) -> Tensor:
    """Count bins over the pixels of [B, C, H, W] where `which` holds, as shares [B, C, bins] of all."""
    batch, planes, height, width = index.shape
    first = torch.arange(batch * planes, device=index.device).view(batch, planes, 1, 1) * bins
    if index.dtype == torch.int16:  # one image on a processor
        index = index + first.to(index.dtype)
        found = index.flatten() if which is None else index.flatten()[which.flatten()]
        counts = torch.bincount(found, minlength=planes * bins).float()
        return counts.view(batch, planes, bins) / (height * width)
    where = (index + first).flatten()
    ones = torch.ones((), device=index.device) if which is None else which.flatten().float()
    counts = torch.zeros(batch * planes * bins, device=index.device)
    counts = counts.scatter_add(0, where, ones.expand_as(where))
    return counts.view(batch, planes, bins) / (height * width)


def _spread(mean: Tensor, components: Tensor) -> Tensor:
    """Return the deviation of each coefficient [11] over the built-in family, so that all learn alike."""
    curves, _ = response_family()
    grid = np.linspace(0, 1, len(mean))
    inverses = np.stack([np.interp(grid, curve, grid) for curve in curves])
    coefficients = (torch.from_numpy(inverses).float() - mean) @ components
    return coefficients.std(dim=0)


class CompactHallucinationNet(Net):
    """Predicts by how much each clipped channel was brighter, as the logarithm of a gain.

    A U-Net from a quarter of the resolution downwards, the mean and the maximum of its bottom as context; its
    output is at half of the resolution.
    `hdrlab.pipeline.singlehdr.hallucinate` turns what it gives out into A = B · exp(1.5 · w · max(g, 0)).

    Args:
        width: Factor on the channel counts.
        mask_width: Ramp of the highlight mask, see `hdrlab.ops.masks.highlight_mask`.
    """

    log_gain = True

    def __init__(self, width: float = 1.0, mask_width: float = 0.12) -> None:
        super().__init__()
        self.mask_width = mask_width
        quarter, *levels = (scaled(channels, width) for channels in (64, 96, 128, 128))
        self.enter = nn.Conv2d(7 * 16, quarter, 1)
        self.first = _conv(quarter, quarter)
        self.down = nn.ModuleList()
        cin = quarter
        for cout in levels:
            self.down.append(nn.ModuleList([_conv(cin, cout, stride=2), _conv(cout, cout)]))
            cin = cout
        self.context = nn.Linear(2 * cin, cin)
        self.up = nn.ModuleList()
        outs, skips = (levels[1], scaled(80, width), scaled(48, width)), (levels[1], levels[0], quarter)
        for skip, cout in zip(skips, outs, strict=True):
            self.up.append(nn.ModuleList([nn.Conv2d(cin, cout, 1), _conv(cout + skip, cout)]))
            cin = cout
        self.last = nn.Conv2d(cin, 12, 3, padding=1)
        _init(self, self.last.weight)
        assert self.last.bias is not None
        nn.init.constant_(self.last.bias, 0.3)

    def forward(self, x: Tensor) -> Tensor:
        """Predict the gain's logarithm, over 1.5 and before the cut at 0 that is the caller's.

        Args:
            x: Scene-linear RGB images [B, 3, H, W] in [0, 1], 1 = the clipping point, H and W multiples of 4:
                whole images, since what the net looks at is shrunk to 384 pixels.

        Returns:
            Maps [B, 3, H, W], smooth, of any range: logarithms of gains, see
            `hdrlab.pipeline.singlehdr.brighten`.

        Raises:
            ValueError: The shape does not fit.
        """
        return F.interpolate(self.field(x), x.shape[-2:], mode="bilinear", align_corners=False)

    def field(self, x: Tensor) -> Tensor:
        """Return what `forward` enlarges [B, 3, h, w], of any range, at half of what the net looks at."""
        require_maps(x, 3, multiple=4)
        seen = shrink(x, HAL_SIDE, multiple=4)
        # The maximum, since the mean loses highlights that are smaller than a new pixel.
        mask = area_max(highlight_mask(x, self.mask_width), *seen.shape[-2:])
        y = torch.cat([seen, srgb_encode(seen), mask], dim=1)
        y = convolve_leaky(self.enter, F.pixel_unshuffle(y, 4), SLOPE)
        y = y + convolve_leaky(self.first, y, SLOPE)
        skips = [y]
        for step, block in _pairs(self.down):
            y = convolve_leaky(step, y, SLOPE)
            y = y + convolve_leaky(block, y, SLOPE)
            skips.append(y)
        context = torch.cat([y.mean(dim=(2, 3)), y.amax(dim=(2, 3))], dim=1)
        y = F.leaky_relu(y + self.context(context)[..., None, None], SLOPE)
        skips.pop()
        for reduce, fuse in _pairs(self.up):
            skip = skips.pop()
            y = F.interpolate(reduce(y), skip.shape[-2:], mode="bilinear", align_corners=False)
            y = convolve_leaky(fuse, torch.cat([y, skip], dim=1), SLOPE)
        return _smooth(F.pixel_shuffle(self.last(y), 2))


def _smooth(maps: Tensor) -> Tensor:
    """Weigh neighbours ¼, ½, ¼ along both axes, against the lattice that enlarging by shuffling leaves."""
    channels = maps.shape[1]
    weights = maps.new_tensor([0.25, 0.5, 0.25])
    kernel = (weights[:, None] * weights).expand(channels, 1, 3, 3)
    return F.conv2d(F.pad(maps, (1, 1, 1, 1), mode="replicate"), kernel, groups=channels)


def _pairs(modules: nn.ModuleList) -> list[tuple[nn.Module, nn.Module]]:
    return [(pair[0], pair[1]) for pair in cast("Iterable[nn.ModuleList]", modules)]


def _conv(cin: int, cout: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    return nn.Conv2d(cin, cout, 3, stride, padding=dilation, dilation=dilation)


def _init(net: nn.Module, last: Tensor | None = None) -> None:
    """Draw fresh weights, those of `last` small; on the meta device, where drawing loads a compiler, none."""
    if next(net.parameters()).is_meta:
        return
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, a=SLOPE)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    if last is not None:
        nn.init.normal_(last, std=1e-3)
