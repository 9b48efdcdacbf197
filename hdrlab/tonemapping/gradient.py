"""Operators that work on differences between neighbours, and that fuse exposures.

They take and return what the global ones do, see `hdrlab.tonemapping.global_curves`, and read and show images
by rows, see `hdrlab.tonemapping.rows.by_rows`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from scipy.fft import dctn, idctn
from scipy.ndimage import correlate1d

from hdrlab.ops.colour import Pixels, luminance, srgb_decode, srgb_encode
from hdrlab.ops.ranks import percentiles
from hdrlab.tonemapping.rows import Shown, Source, by_rows, with_halo
from hdrlab.tonemapping.scene import log_average_of

_FATTALS_TOP = 32  # pixels of the shorter side at the top of the pyramid
_BLACK, _WHITE = 0.1, 99.5  # percentiles of the luminance that become the display's
_NEAR = 4  # rows: no fewer than any that a row of the divergence depends on
_HALO = 32  # rows that a row depends on at the most through the levels that are made by strips
_FINE = 3  # of which mertens has so many
_BINOMIAL = np.array((1, 4, 6, 4, 1)) / 16


@by_rows
def fattal(hdr: Source, strength: float = 0.9, threshold: float = 0.1, chroma: float = 0.55) -> Shown:
    """Attenuate large gradients of log L more than small ones, at every scale, and integrate what is left.

    Args:
        hdr: Linear pixels [H, W, 3], at least 0, in any unit.
        strength: β: gradients are raised to this power; 1 leaves them, less compresses more.
        threshold: α, as a share of the mean gradient of a scale: smaller gradients are magnified.
        chroma: s, the exponent of a channel's ratio to the luminance.

    Returns:
        Display light [H, W, 3], linear; 1 = the display's white, which it may exceed.

    Source: Fattal, Lischinski and Werman, "Gradient Domain High Dynamic Range Compression", 2002, whose
    ranges hold these constants. Ours: the Poisson equation is solved exactly, by cosine transforms, and
    the ends of the result, its 0.1st and 99.5th percentile, become black and white.
    """
    floor = np.float32(log_average_of(hdr) * 2.0**-30)  # what black pixels count as
    shown = _integrate(_divergence(hdr, floor, strength, threshold))
    for rows in hdr.strips():
        np.exp(shown[rows], out=shown[rows])
    black, white = percentiles(lambda: (shown[rows] for rows in hdr.strips()), (_BLACK, _WHITE))
    black, white = (black, white) if white > black else (0.0, 1.0)

    def show(rows: slice) -> Pixels:
        pixels = hdr[rows]
        light = luminance(pixels)[..., None]
        ratio = np.divide(pixels, light, out=np.zeros_like(pixels), where=light > 0)
        stretched = (shown[rows] - np.float32(black)).clip(0) / np.float32(white - black)
        coloured: Pixels = ratio ** np.float32(chroma) * stretched[..., None]
        return coloured

    return Shown(show)


def _divergence(hdr: Source, floor: np.float32, strength: float, threshold: float) -> Pixels:
    """Return the divergence [H, W] of the attenuated gradients of log L, Fattal's equations 2 and 4 to 6."""
    shape = hdr.height, hdr.width

    def logarithm(rows: slice) -> Pixels:
        return np.log(np.maximum(hdr.light(rows), floor))

    coarser: Pixels | None = None
    if _depth(shape, _FATTALS_TOP):
        half = np.concatenate([_halved(logarithm, rows, hdr.height) for rows in hdr.strips(_NEAR)])
        factors = [
            _attenuation(_gradient(scaled), level + 1, strength, threshold)
            for level, scaled in enumerate(_gaussian_pyramid(half, _FATTALS_TOP))
        ]
        coarser = factors.pop()
        while factors:
            coarser = _enlarge(coarser, factors[-1].shape) * factors.pop()
    total = 0.0
    for rows in hdr.strips(_NEAR):
        outer, inner = with_halo(rows, hdr.height, _NEAR)
        total += float(_gradient(logarithm(outer))[inner].sum(dtype=np.float64))
    mean = total / (hdr.height * hdr.width)
    divergence = np.zeros(shape, np.float32)
    for rows in hdr.strips(_NEAR):
        outer, inner = with_halo(rows, hdr.height, _NEAR)
        part = logarithm(outer)
        factor = _attenuation(_gradient(part), 0, strength, threshold, mean)
        if coarser is not None:
            factor *= _enlarge(coarser[outer.start // 2 : (outer.stop + 1) // 2], part.shape)
        spread = np.zeros_like(part)
        down, across = (np.diff(part, axis=axis) for axis in (0, 1))
        down *= (factor[1:] + factor[:-1]) / 2
        across *= (factor[:, 1:] + factor[:, :-1]) / 2
        spread[:-1] += down
        spread[1:] -= down
        spread[:, :-1] += across
        spread[:, 1:] -= across
        divergence[rows] = spread[inner]
    return divergence


def _halved(image: Callable[[slice], Pixels], rows: slice, height: int) -> Pixels:
    """Return the rows of an image's half that lie in these rows of it, whose first is even."""
    outer, inner = with_halo(rows, height, _NEAR)
    return _halve(image(outer))[inner.start // 2 : (inner.stop + 1) // 2]


def _gradient(image: Pixels) -> Pixels:
    """Return the length [H, W] of an image's gradient."""
    steps = [
        np.gradient(image, axis=axis) if size > 1 else np.zeros_like(image)
        for axis, size in enumerate(image.shape)
    ]
    length: Pixels = np.hypot(*steps)
    return length


def _attenuation(
    gradient: Pixels, level: int, strength: float, threshold: float, mean: float | None = None
) -> Pixels:
    """Return the factors [H, W] of a level of the pyramid, by the mean gradient of that whole level."""
    scale = 2.0**-level
    mean = float(gradient.mean()) if mean is None else mean
    alpha = max(threshold * mean * scale, 1e-6)
    relative = (np.maximum(gradient * np.float32(scale), alpha / 100) / alpha).astype(np.float32)
    factors: Pixels = relative ** np.float32(strength - 1)
    return factors


def _integrate(divergence: Pixels) -> Pixels:
    """Find the map [H, W] of mean 0 of this divergence, with free borders, and put it in its place."""
    transformed = dctn(divergence, norm="ortho", overwrite_x=True)
    down, across = (
        (2 * np.cos(np.pi * np.arange(size) / size) - 2).astype(np.float32) for size in divergence.shape
    )
    transformed[0, 0] = 0
    for row, wave in zip(transformed, down, strict=True):
        np.divide(row, wave + across, out=row, where=wave + across != 0)  # but for the mean, which is 0
    found: Pixels = idctn(transformed, norm="ortho", overwrite_x=True)
    return found


@by_rows
def mertens(
    hdr: Source, step: float = 2.0, contrast_weight: float = 1.0, saturation_weight: float = 1.0
) -> Shown:
    """Photograph the scene at several exposures and fuse the photographs where each is best.

    Best is what has contrast, colour, and values near the middle; the fusion blends Laplacian pyramids.

    Args:
        hdr: Linear pixels [H, W, 3], at least 0, in any unit.
        step: Stops between the exposures, of which there are as many as the scene needs: from the one that
            clips half a per cent to the one that brings the darkest hundredth to an eighth of the scale.
        contrast_weight: Exponent of the contrast, 0 to leave it out.
        saturation_weight: Exponent of the saturation, 0 to leave it out.

    Returns:
        Display light [H, W, 3], linear; 1 = the display's white, which it may exceed.

    Source: Mertens, Kautz and Van Reeth, "Exposure Fusion", 2007; 0.2 is its deviation of a good exposure.
    The exposures, made by sRGB's curve, are ours, and the least weight, 1e-6, above rounding: greys have no
    saturation.
    """
    dark, bright = percentiles(hdr.lit, (1, _WHITE))
    least, most = -math.log2(bright), -math.log2(dark) - 3
    number = max(1, math.ceil((most - least) / step)) + 1 if most > least else 1
    scales = 2 ** np.linspace(least, max(least, most), number, dtype=np.float32)
    depth = _depth((hdr.height, hdr.width), 1)
    fine = min(depth, _FINE)  # levels of the pyramid that are made anew for each strip

    def weighed(rows: slice) -> Iterator[tuple[Pixels, Pixels]]:
        """Yield the photographs and their shares of the fusion."""
        pixels = hdr[rows]
        bands = [srgb_encode((pixels * scale).clip(0, 1)) for scale in scales]
        weights = [_goodness(band, contrast_weight, saturation_weight) for band in bands]
        total = sum(weights)
        return ((band, weight / total) for band, weight in zip(bands, weights, strict=True))

    strips_of: list[list[tuple[Pixels, Pixels]]] = []
    for rows in hdr.strips(2 * _HALO):
        outer, inner = with_halo(rows, hdr.height, _HALO)
        inside = slice(inner.start >> fine, -(-inner.stop >> fine))
        tops = []
        for band, share in weighed(outer):
            for _ in range(fine):
                band, share = _halve(band), _halve(share)
            tops.append((band[inside], share[inside]))
        strips_of.append(tops)
    coarse: list[Pixels] = []
    for parts in zip(*strips_of, strict=True):
        band, share = (np.concatenate(of) for of in zip(*parts, strict=True))
        _fuse(coarse, band, share, depth - fine)
    base = _collapsed(coarse)

    def show(rows: slice) -> Pixels:
        outer, inner = with_halo(rows, hdr.height, _HALO)
        fused: list[Pixels] = []
        for band, share in weighed(outer):
            _fuse(fused, band, share, fine)
        fused[fine] = base[outer.start >> fine : -(-outer.stop >> fine)]
        lit = hdr.light(rows) > 0
        return srgb_decode(_collapsed(fused)[inner].clip(0, 1) * lit[..., None])

    return Shown(show, least=2 * _HALO)


def _fuse(fused: list[Pixels], band: Pixels, share: Pixels, depth: int) -> None:
    """Add the share of a photograph [H, W, 3] to the levels of a Laplacian pyramid, or begin them."""
    for level in range(depth + 1):
        coarse = _halve(band) if level < depth else None
        if coarse is not None:
            band = band - _enlarge(coarse, band.shape)
        band = band * share[..., None]
        if level < len(fused):
            fused[level] += band
        else:
            fused.append(band)
        if coarse is not None:
            band, share = coarse, _halve(share)


def _collapsed(levels: list[Pixels]) -> Pixels:
    """Return the image of a Laplacian pyramid."""
    *finer, image = levels
    for level in reversed(finer):
        image = _enlarge(image, level.shape) + level
    return image


def _goodness(encoded: Pixels, contrast_weight: float, saturation_weight: float) -> Pixels:
    """Weigh the pixels of a photograph [H, W, 3] in [0, 1] by its quality measures; above 0."""
    grey = luminance(encoded)
    padded = np.pad(grey, 1, mode="symmetric")
    around = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
    weight = np.exp(np.square(encoded - 0.5).sum(axis=2) / np.float32(-2 * 0.2**2))
    weight *= np.abs(around - 4 * grey) ** np.float32(contrast_weight)
    weight *= encoded.std(axis=2) ** np.float32(saturation_weight)
    good: Pixels = weight + np.float32(1e-6)
    return good


def _gaussian_pyramid(image: Pixels, smallest: int) -> list[Pixels]:
    """Halve an image [H, W, ...] as often as its shorter side can be halved to that many pixels."""
    levels = [image]
    for _ in range(_depth(image.shape, smallest)):
        levels.append(_halve(levels[-1]))
    return levels


def _depth(shape: Sequence[int], smallest: int) -> int:
    return int(math.log2(max(min(shape[:2]) / smallest, 1)))


def _halve(image: Pixels) -> Pixels:
    for axis in (0, 1):
        image = _blur(image, axis)
    return np.ascontiguousarray(image[::2, ::2])


def _blur(image: Pixels, axis: int) -> Pixels:
    blurred: Pixels = correlate1d(image, _BINOMIAL, axis=axis, mode="mirror")
    return blurred


def _enlarge(image: Pixels, shape: Sequence[int]) -> Pixels:
    """Double an image [H, W, ...] to a shape whose halves it holds, with the pyramid's filter."""
    doubled = np.zeros((*shape[:2], *image.shape[2:]), image.dtype)
    doubled[::2, ::2] = 4 * image
    for axis in (0, 1):
        doubled = _blur(doubled, axis)
    return doubled
