"""Operators that work on differences between neighbours, and that fuse exposures.

They take and return what the global ones do, see `hdrlab.tonemapping.global_curves`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.fft import dctn, idctn
from scipy.ndimage import correlate1d

from hdrlab.ops.colour import Pixels, log_average, luminance, srgb_decode, srgb_encode

_FATTALS_TOP = 32  # pixels of the shorter side at the top of the pyramid
_BLACK, _WHITE = 0.1, 99.5  # percentiles of the luminance that become the display's
_BINOMIAL = np.array((1, 4, 6, 4, 1)) / 16


def fattal(hdr: Pixels, strength: float = 0.9, threshold: float = 0.1, chroma: float = 0.55) -> Pixels:
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
    light = luminance(hdr)
    floor = np.float32(log_average(light) * 2.0**-30)  # what black pixels count as
    logarithm = np.log(np.maximum(light, floor))
    attenuation = _attenuation(logarithm, strength, threshold)
    down, across = (np.diff(logarithm, axis=axis) for axis in (0, 1))
    down *= (attenuation[1:] + attenuation[:-1]) / 2
    across *= (attenuation[:, 1:] + attenuation[:, :-1]) / 2
    shown = np.exp(_integrate(down, across))
    black, white = np.percentile(shown, (_BLACK, _WHITE))
    if white > black:
        shown = (shown - np.float32(black)).clip(0) / np.float32(white - black)
    ratio = np.divide(hdr, light[..., None], out=np.zeros_like(hdr), where=light[..., None] > 0)
    coloured: Pixels = ratio ** np.float32(chroma) * shown[..., None]
    return coloured


def _attenuation(logarithm: Pixels, strength: float, threshold: float) -> Pixels:
    """Return Φ [H, W] of Fattal's equations 4 to 6."""
    factors: list[Pixels] = []
    for level, scaled in enumerate(_gaussian_pyramid(logarithm, _FATTALS_TOP)):
        gradient = (
            np.hypot(*np.gradient(scaled)) / 2**level if min(scaled.shape) > 1 else np.zeros_like(scaled)
        )
        alpha = max(threshold * float(gradient.mean()), 1e-6)
        relative = (np.maximum(gradient, alpha / 100) / alpha).astype(np.float32)
        factors.append(relative ** np.float32(strength - 1))
    whole = factors.pop()
    while factors:
        finer = factors.pop()
        whole = _enlarge(whole, finer.shape) * finer
    return whole


def _integrate(down: Pixels, across: Pixels) -> Pixels:
    """Find the map [H, W] of mean 0 whose differences come nearest to those given, with free borders."""
    height, width = across.shape[0], down.shape[1]
    divergence = np.zeros((height, width), np.float32)
    divergence[:-1] += down
    divergence[1:] -= down
    divergence[:, :-1] += across
    divergence[:, 1:] -= across
    transformed = dctn(divergence, norm="ortho", overwrite_x=True)
    waves = [(2 * np.cos(np.pi * np.arange(size) / size) - 2).astype(np.float32) for size in (height, width)]
    eigenvalues = waves[0][:, None] + waves[1]
    eigenvalues[0, 0] = 1
    transformed /= eigenvalues
    transformed[0, 0] = 0
    found: Pixels = idctn(transformed, norm="ortho", overwrite_x=True)
    return found


def mertens(
    hdr: Pixels, step: float = 2.0, contrast_weight: float = 1.0, saturation_weight: float = 1.0
) -> Pixels:
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
    light = luminance(hdr)
    dark, bright = np.percentile(light[light > 0], (1, _WHITE))
    least, most = -math.log2(bright), -math.log2(dark) - 3
    number = max(1, math.ceil((most - least) / step)) + 1 if most > least else 1
    scales = 2 ** np.linspace(least, max(least, most), number, dtype=np.float32)
    total = np.zeros_like(light)
    for scale in scales:  # twice, since to keep the weights of all exposures would take more memory than time
        total += _goodness(srgb_encode((hdr * scale).clip(0, 1)), contrast_weight, saturation_weight)
    fused: list[Pixels] = []
    for scale in scales:
        band = srgb_encode((hdr * scale).clip(0, 1))
        share = _goodness(band, contrast_weight, saturation_weight) / total
        for level in range(depth := _depth(hdr, 1), -1, -1):
            coarse = _halve(band) if level else band[:0]
            if level:
                band -= _enlarge(coarse, band.shape)
            band *= share[..., None]
            if len(fused) <= depth:
                fused.append(band)
            else:
                fused[depth - level] += band
            band, share = coarse, _halve(share)
    image = fused.pop()
    while fused:
        finer = fused.pop()
        image = _enlarge(image, finer.shape) + finer
    return srgb_decode(image.clip(0, 1) * (light > 0)[..., None])


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
    for _ in range(_depth(image, smallest)):
        levels.append(_halve(levels[-1]))
    return levels


def _depth(image: Pixels, smallest: int) -> int:
    return int(math.log2(max(min(image.shape[:2]) / smallest, 1)))


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
