"""What Linearization-Net sees of an image: its colours, its edges and its soft histograms."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hdrlab.nets.layers import require_choice, require_maps

HISTOGRAMS = ("paper", "authors")
FEATURES = ("rgb", "edges", "histograms")
BIN_COUNTS = (4, 8, 16)
SMALLEST_SIDE = 2

CELLS = 2**18
"""Numbers that are worked on at a time: 1 MB in float32, so that they stay in the cache."""

Margins = tuple[int, int, int, int]
"""Rows above and below, columns to the left and to the right."""


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
        """Compute all histograms.

        Args:
            x: Images [B, C, H, W] in [0, 1].

        Returns:
            Votes [B, bins · C, H, W] in [0, 1]: histogram by histogram, bin by bin, channels inside a bin.
        """
        distances = x.unsqueeze(1) - self.centres
        if distances.requires_grad:
            return torch.relu(1 - self.bins * distances.abs()).flatten(1, 2)
        return distances.abs_().mul_(-self.bins).add_(1).relu_().flatten(1, 2)


class Features(nn.Module):
    """The maps that the first convolution takes.

    In the form `authors` all bins have their centres on multiples of 1/16, so that every map, and the image
    itself, is a sum of the 17 finest bins: of those alone the convolution can compute the same.

    Args:
        seen: Which of `FEATURES` there are.
        form: Form of the soft histograms.

    Attributes:
        channels: Number of maps.
        sums: Each map as a sum of those that `padded` gives [given, all]; None where these are all.

    Source: SingleHDR, section 3.2.
    """

    sums: Tensor | None
    spread: Tensor
    shift: Tensor

    def __init__(self, seen: Collection[str] = FEATURES, form: str = "paper") -> None:
        super().__init__()
        for name in seen:
            require_choice("feature", name, FEATURES)
        self.seen = frozenset(seen)
        self.histogram = SoftHistogram(form=form)
        self.finest = SoftHistogram(BIN_COUNTS[-1:], form)
        sizes = {"rgb": 3, "edges": 6, "histograms": 3 * self.histogram.bins.numel()}
        self.channels = sum(sizes[name] for name in self.seen)
        compact = form == "authors" and "histograms" in self.seen
        self.register_buffer("sums", self._sums() if compact else None, persistent=False)
        spread, shift = self._spread()
        self.register_buffer("spread", spread, persistent=False)
        self.register_buffer("shift", shift, persistent=False)

    def _spread(self) -> tuple[Tensor, Tensor]:
        """Return what makes the maps that `padded` gives of a pixel's colours and edges: [9, maps], [maps].

        Histograms come last, and before their triangles: B times the distance from the centre.
        """
        identity = torch.eye(9)
        parts = [identity[:, :3]] if "rgb" in self.seen and self.sums is None else []
        if "edges" in self.seen:
            parts.append(identity[:, 3:])
        spread = torch.cat(parts, dim=1) if parts else torch.zeros(9, 0)
        shift = torch.zeros(spread.shape[1])
        if "histograms" in self.seen:
            votes = self.histogram if self.sums is None else self.finest
            bins, centres = votes.bins.flatten(), votes.centres.flatten()
            spread = torch.cat([spread, (bins[None, :, None] * identity[:, None, :3]).flatten(1)], dim=1)
            shift = torch.cat([shift, (-bins * centres).repeat_interleave(3)])
        return spread, shift

    def _sums(self) -> Tensor:
        knots = self.finest.centres.view(1, 1, 1, -1)
        values = {"rgb": knots[0, 0], "histograms": self.histogram(knots)[0, :, 0]}  # [maps, knots]
        fine = [
            torch.einsum("mk,cd->kcmd", values[name], torch.eye(3)).reshape(3 * knots.numel(), -1)
            for name in values
            if name in self.seen
        ]
        if "edges" not in self.seen:
            return torch.cat(fine, dim=1)
        # Edges come first among what is given, and behind the colours among all.
        edges = torch.zeros(len(fine[0]) + 6, 6)
        edges[:6] = torch.eye(6)
        fine = [F.pad(part, (0, 0, 6, 0)) for part in fine]
        return torch.cat([*fine[:-1], edges, fine[-1]], dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """Compute all maps.

        Args:
            x: Display-encoded images [B, 3, H, W], nominally in [0, 1], at least 2×2.

        Returns:
            Maps [B, 93 or 102, H, W]: R, G, B; Sobel dy and dx of R, G, B, in [-4, 4] for images in [0, 1];
            histograms of 4, 8, 16 bins in [0, 1]. Fewer where the net was built to see less.

        Raises:
            ValueError: The shape does not fit.
        """
        return self._maps(mirror(x), whole=True)

    def _maps(self, mirrored: Tensor, *, whole: bool) -> Tensor:
        """Compute maps of images that are mirrored by a pixel: all, or those that the others are sums of."""
        whole = whole or self.sums is None
        # A difference of neighbours is gone where each is rounded to half precision.
        with torch.autocast(mirrored.device.type, enabled=False):
            x = mirrored[..., 1:-1, 1:-1]
            maps = [x] if "rgb" in self.seen and whole else []
            if "edges" in self.seen:
                maps.append(_sobel(mirrored))
            if "histograms" in self.seen:
                maps.append((self.histogram if whole else self.finest)(x))
            return torch.cat(maps, dim=1)

    def padded(self, x: Tensor, margins: Margins) -> Tensor:
        """Compute the maps that the others are sums of, zeros around them; gradients pass.

        Args:
            x: Images [B, 3, H, W] as in `forward`.
            margins: Widths of the border.

        Returns:
            Maps [B, C, H + above + below, W + left + right] in the range of `forward`, channels last.

        Raises:
            ValueError: The shape does not fit.
        """
        mirrored = mirror(x)
        if torch.compiler.is_compiling():
            above, below, left, right = margins
            maps = F.pad(self._maps(mirrored, whole=False), (left, right, above, below))
            return maps.contiguous(memory_format=torch.channels_last)
        made: Tensor = _Assembled.apply(mirrored, self, margins)  # type: ignore[no-untyped-call]
        return made

    def rows(
        self, mirrored: Tensor, margins: Margins, start: int, stop: int, dtype: torch.dtype | None = None
    ) -> Tensor:
        """Compute some rows of `padded`, a few at a time; no gradients.

        Args:
            mirrored: Images [B, 3, H + 2, W + 2] in the range of `forward`, mirrored by a pixel.
            margins: Widths of the border.
            start: First row.
            stop: Row behind the last.
            dtype: What the maps are rounded to; None: that of the images.

        Returns:
            Maps [B, C, stop − start, W + left + right], channels last.
        """
        above, _, left, right = margins
        height, width = mirrored.shape[-2] - 2, mirrored.shape[-1] - 2
        given = len(self.shift)
        made = mirrored.new_empty(
            len(mirrored), stop - start, left + width + right, given, dtype=dtype or mirrored.dtype
        )
        first, last = max(start - above, 0), min(stop - above, height)
        made[:, : first + above - start] = 0
        made[:, last + above - start :] = 0
        made[:, :, :left] = 0
        made[:, :, left + width :] = 0
        for number, target in enumerate(made):
            image = mirrored[number : number + 1]
            for top, bottom in _pieces(first, last, given * width):
                maps = self._last(image[..., top : bottom + 2, :])
                target[top + above - start : bottom + above - start, left : left + width] = maps
        return made.permute(0, 3, 1, 2)

    def _last(self, mirrored: Tensor) -> Tensor:
        """Compute what `_maps` does of one image, the maps last [H, W, maps]: one product and a triangle."""
        with torch.autocast(mirrored.device.type, enabled=False):
            seen = torch.cat([mirrored[..., 1:-1, 1:-1], _sobel(mirrored)], dim=1)
            pixels = seen.flatten(2)[0].T
            maps = torch.addmm(self.shift.to(pixels), pixels, self.spread.to(pixels))
            if "histograms" in self.seen:
                votes = maps[:, 3 * ("rgb" in self.seen and self.sums is None) + 6 * ("edges" in self.seen) :]
                votes.abs_().neg_().add_(1).relu_()
            return maps.view(*seen.shape[2:], -1)


class _Assembled(torch.autograd.Function):
    """Computes `Features.padded` piece by piece, and its gradient from the images alone."""

    @staticmethod
    def forward(ctx: Any, mirrored: Tensor, features: Features, margins: Margins) -> Tensor:
        """Compute all rows."""
        ctx.save_for_backward(mirrored)
        ctx.features, ctx.margins = features, margins
        return features.rows(mirrored, margins, 0, mirrored.shape[-2] - 2 + margins[0] + margins[1])

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, None, None]:
        """Differentiate the maps of a few rows at a time."""
        (mirrored,) = ctx.saved_tensors
        above, _, left, right = ctx.margins
        slope = slopes[0][..., left : slopes[0].shape[-1] - right]
        total = torch.zeros_like(mirrored)
        cells = slope.shape[0] * slope.shape[1] * slope.shape[3]
        for top, bottom in _pieces(0, mirrored.shape[-2] - 2, cells):
            piece = mirrored[..., top : bottom + 2, :].detach().requires_grad_()
            with torch.enable_grad():
                maps = ctx.features._maps(piece, whole=False)
            (own,) = torch.autograd.grad(maps, piece, slope[..., top + above : bottom + above, :])
            total[..., top : bottom + 2, :] += own
        return total, None, None


def _pieces(start: int, stop: int, cells: int) -> Iterator[tuple[int, int]]:
    """Cut rows of that many cells into pieces."""
    step = max(1, CELLS // cells)
    for top in range(start, stop, step):
        yield top, min(top + step, stop)


def mirror(x: Tensor) -> Tensor:
    """Extend images [B, C, H, W] of any range by a pixel on each side, as the edges need it.

    Raises:
        ValueError: The shape does not fit.
    """
    require_maps(x, 3, least=SMALLEST_SIDE)
    return F.pad(x.contiguous(), (1, 1, 1, 1), mode="reflect")


def _sobel(mirrored: Tensor) -> Tensor:
    """Return dy and dx of each channel, from images that are mirrored by a pixel."""
    along = mirrored[..., :-2] + 2 * mirrored[..., 1:-1] + mirrored[..., 2:]
    across = mirrored[..., :-2, :] + 2 * mirrored[..., 1:-1, :] + mirrored[..., 2:, :]
    dy, dx = along[..., 2:, :] - along[..., :-2, :], across[..., 2:] - across[..., :-2]
    return torch.stack([dy, dx], dim=2).flatten(1, 2)
