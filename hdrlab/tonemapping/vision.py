"""Operators that model what an eye adapts to and sees.

They take and return what the global ones do, see `hdrlab.tonemapping.global_curves`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d, gaussian_filter, zoom
from scipy.optimize import nnls

from hdrlab.ops.colour import Pixels, log_average, luminance

_PIXELS_PER_DEGREE = 30.0
_LOWEST_BAND = 3.0  # cycles per degree
_NODE = 0.1  # log10 units between the nodes of a tone curve
_REACH = 7  # nodes: contrasts up to 0.7 are counted
_JUST_VISIBLE = 0.0043  # contrast in log10 units
_ADAPTED_TO = 1000.0  # cd/m²: what an observer of the scene is adapted to
_ANCHOR = 0.1  # weight of a gap in the histogram, as a share of all contrasts
_SEEN = (0.05, 99.95)  # percentiles of the luminance between which contrasts are shown
_ROUNDS = 50

_DT = 0.2
_CONE_EXPONENT, _CONE_RANGE = 0.74, 2.0  # of Naka and Rushton's equation; log10 units
_FECHNER = (100 / 1.85, 100 / 1.85, 100 / 8.7)  # of the three cones
_CONTRAST = (-7.7456, 0, 15.836, 0, -11.013, 0, 3.7891, 0)  # from x⁷ down: an arctangent of slope 10


def mantiuk08(
    hdr: Pixels, enhancement: float = 1.0, display_peak: float = 200.0, black: float = 0.4
) -> Pixels:
    """Find the tone curve by which a display shows the scene's contrasts with the least visible distortion.

    Args:
        hdr: Linear pixels [H, W, 3], at least 0, in any unit.
        enhancement: Factor on the scene's contrasts before they are matched.
        display_peak: Of the display, in cd/m².
        black: What it shows as black, room light on its glass included, in cd/m².

    Returns:
        Display light [H, W, 3], linear; 1 = the display's white, which it may exceed.

    Source: Mantiuk, Daly and Kerofsky, "Display Adaptive Tone Mapping", 2008: responses to contrast by a
    transducer, sensitivity by Daly's function, a quadratic programme for the slopes of a piecewise linear
    curve; colours as in Mantiuk et al., "Color Correction for Tone Mapping", 2009. The scene counts as seen
    by an observer adapted to 1000 cd/m², at 30 pixels per degree. Ours: the
    darkest and the brightest 0.05 % of the pixels count as the limit of the others.
    """
    light = luminance(hdr)
    # A single hot or dark pixel would otherwise claim decades of the display for itself.
    darkest, brightest = np.percentile(light[light > 0], _SEEN)
    logarithm = np.log10(light.clip(darkest, brightest))
    nodes, counts = _contrasts(logarithm)
    low, high = math.log10(black), math.log10(display_peak)
    rises = _optimal_rises(counts, enhancement, low, high)
    curve = high - rises.sum() + np.concatenate([[0], rises.cumsum()])
    slope = np.append(rises / _NODE, 1.0)
    powered = slope**0.82
    chroma = np.interp(logarithm, nodes, 2.48 * powered / (1 + 1.48 * powered)).astype(np.float32)
    shown = (10 ** np.interp(logarithm, nodes, curve)).astype(np.float32)
    ratio = np.divide(hdr, light[..., None], out=np.zeros_like(hdr), where=light[..., None] > 0)
    displayed: Pixels = (ratio ** chroma[..., None] * shown[..., None] - black) / (display_peak - black)
    return displayed.clip(min=0)


def _contrasts(logarithm: Pixels) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Count contrasts by band, background and size.

    Returns:
        The nodes [N] of the tone curve in log10 luminance; the counts [F, N, 2 · 7 + 1].
    """
    first = math.floor(float(logarithm.min()) / _NODE)
    number = math.ceil(float(logarithm.max()) / _NODE) - first + 1
    fine, counts = logarithm, []
    for band, _ in enumerate(_frequencies()):
        coarse = fine
        taps = np.zeros(4 * 2**band + 1)
        taps[:: 2**band] = (0.05, 0.25, 0.4, 0.25, 0.05)
        for axis in (0, 1):
            coarse = correlate1d(coarse, taps, axis=axis, mode="mirror")
        contrast = fine - coarse
        size = np.rint(contrast / _NODE).astype(np.int64)
        seen = np.abs(contrast) > _JUST_VISIBLE
        size[seen & (size == 0)] = np.sign(contrast[seen & (size == 0)])
        ground = (np.rint(coarse / _NODE).astype(np.int64) - first).clip(0, number - 1)
        within = np.abs(size) <= _REACH
        cells = ground[within] * (2 * _REACH + 1) + size[within] + _REACH
        counts.append(np.bincount(cells, minlength=number * (2 * _REACH + 1)).reshape(number, -1))
        fine = coarse
    return (first + np.arange(number)) * _NODE, np.stack(counts).astype(np.float64)


def _frequencies() -> Iterator[float]:
    """Yield the bands' peaks in cycles per degree, until the first below 3."""
    frequency = _PIXELS_PER_DEGREE / 2
    while frequency > _LOWEST_BAND:
        yield frequency
        frequency /= 2
    yield frequency


def _optimal_rises(
    counts: NDArray[np.float64], enhancement: float, low: float, high: float
) -> NDArray[np.float64]:
    """Return the rises [N - 1] between nodes in log10 units; together at most ``high - low``."""
    bands, number = counts.shape[:2]
    if number < 2:
        return np.zeros(0)
    band, ground, size = np.nonzero(counts)
    size, weight = size - _REACH, counts[band, ground, size]
    other = ground + size
    kept = (size != 0) & (other >= 0) & (other < number)
    band, ground, other, weight = (of[kept] for of in (band, ground, other, weight))
    first, last = np.minimum(ground, other), np.maximum(ground, other)
    covered = np.zeros(number, int)
    np.add.at(covered, first, 1)
    np.add.at(covered, last, -1)
    gaps = np.flatnonzero(np.diff(np.concatenate([[1], covered.cumsum()[:-1] > 0, [1]]).astype(int)))
    starts, ends = gaps[::2], gaps[1::2]
    total = weight.sum() or 1.0
    band = np.concatenate([band, np.full(len(starts), bands - 1)])
    ground, first, last = (np.concatenate(pair) for pair in ((ground, ends), (first, starts), (last, ends)))
    weight = np.concatenate([weight, np.full(len(starts), total * _ANCHOR)]) / total
    spans = np.arange(number - 1)
    covers = ((spans >= first[:, None]) & (spans < last[:, None])).astype(np.float64)
    frequency = np.array([*_frequencies()])[band]
    wanted = _response((last - first) * _NODE * enhancement, _sensitivity(frequency, _ADAPTED_TO))
    rises = np.full(number - 1, (high - low) / (number - 1))
    for _ in range(_ROUNDS):  # the response to a contrast depends on the contrast: it is linearised anew
        before = rises
        curve = high - rises.sum() + np.concatenate([[0], rises.cumsum()])
        contrast = covers @ rises
        response = _response(contrast, _sensitivity(frequency, 10 ** curve[ground]))
        gain = np.divide(response, contrast, out=np.ones_like(response), where=contrast > 1e-4)
        rises = _bounded_least_squares(covers * gain[:, None], wanted, weight, high - low)
        rises = (rises + before) / 2
        if np.abs(rises - before).max() < _NODE / 100:
            break
    return rises


def _bounded_least_squares(
    matrix: NDArray[np.float64], wanted: NDArray[np.float64], weight: NDArray[np.float64], most: float
) -> NDArray[np.float64]:
    """Minimise Σ weight (matrix x - wanted)² for x at least 0 whose sum is at most ``most``."""
    weighted = matrix * weight[:, None]
    hessian = matrix.T @ weighted
    hessian += np.eye(len(hessian)) * max(np.trace(hessian) / len(hessian), 1e-12) * 1e-6
    linear = weighted.T @ wanted

    def solve(tied: float) -> NDArray[np.float64]:
        root = np.linalg.cholesky(hessian + tied)
        found: NDArray[np.float64] = nnls(root.T, np.linalg.solve(root, linear + tied * most))[0]
        return found

    free = solve(0.0)
    return free if free.sum() <= most else solve(1e3 * float(np.trace(hessian)))


def _sensitivity(frequency: NDArray[np.float64], adapted: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Return an eye's sensitivity to gratings, in 1 / contrast.

    Source: Daly, "The Visible Differences Predictor", 1993, equation 14.8, for images of a square degree and
    0.5 m away, gratings upright.
    """

    def at(rho: NDArray[np.float64]) -> NDArray[np.float64]:
        a, b = 0.801 * (1 + 0.7 / adapted) ** -0.2, 0.3 * (1 + 100 / adapted) ** 0.15
        spread = 0.9 * b * rho
        size = ((3.23 * (rho**2) ** -0.3) ** 5 + 1) ** -0.2
        found: NDArray[np.float64] = (
            size * a * 0.9 * rho * np.exp(-spread) * np.sqrt(1 + 0.06 * np.exp(spread))
        )
        return found

    return 250 * np.minimum(at(frequency), at(frequency / (0.856 * 0.5**0.14)))


def _response(contrast: NDArray[np.float64], sensitivity: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the transducer's response to contrasts in log10 units, at least 0.

    Source: Mantiuk et al., "A Perceptual Framework for Contrast Processing of HDR Images", 2006, after
    Wilson, "A Transducer Function for Threshold and Suprathreshold Human Vision", 1980.
    """
    seen = sensitivity * (10**contrast - 1)
    answer: NDArray[np.float64] = 3.291 * ((1 + seen**3) ** (1 / 3) - 1) / (0.2599 * (3.433 + seen) ** 0.8)
    return answer


def ferradans(hdr: Pixels, rho: float = -2.0, inverse_reach: float = 5.0) -> Pixels:
    """Adapt each channel as cones do, then enhance contrasts as the brain does.

    Args:
        hdr: Linear pixels [H, W, 3], at least 0, in any unit.
        rho: ρ, in log10 units: greater adapts to brighter light, and darkens.
        inverse_reach: 1 / α: contrasts are measured over the shorter side divided by this.

    Returns:
        Display light [H, W, 3], linear; 1 = the display's white, which it may exceed.

    Source: Ferradans, Bertalmío, Provenzi and Caselles, "An Analysis of Visual Adaptation and Contrast
    Perception for Tone Mapping", 2011. Ours: the unit, in which the channels' adaptation has a geometric
    mean of 1.
    """
    light = np.maximum(hdr, np.float32(log_average(luminance(hdr)) * 1e-6))
    middles = [
        float(np.sqrt(light[..., k].mean(dtype=np.float64) * np.median(light[..., k]))) for k in range(3)
    ]
    light = light / np.float32(math.prod(middles) ** (1 / 3))
    middles = [middle / math.prod(middles) ** (1 / 3) for middle in middles]
    adapted = np.stack([_cones(light[..., k], middles[k], rho, _FECHNER[k]) for k in range(3)], axis=2)
    sigma = min(hdr.shape[:2]) / inverse_reach
    shown, average = adapted, np.float32(255 / 253) * adapted.mean(axis=(0, 1))
    for _ in range(_ROUNDS):
        before = shown
        contrast = np.stack([_local_contrast(shown[..., k], sigma) for k in range(3)], axis=2).clip(-1, 1)
        contrast *= 0.5 / np.maximum(np.abs(contrast).max(axis=(0, 1)), np.float32(1e-12))
        shown = before + np.float32(_DT) * (adapted + contrast + average)
        shown = (shown / np.float32(1 + _DT * (1 + 255 / 253))).clip(0, 1)
        if np.abs(shown - before).mean(axis=(0, 1)).sum() < _DT / 20:
            break
    low, high = shown.min(axis=(0, 1)), shown.max(axis=(0, 1))
    flat = high - low < 1e-6
    encoded = (shown - np.where(flat, 0, low)) / np.where(flat, 1, high - low)
    return np.asarray(encoded ** np.float32(2.2) * hdr.any(axis=2, keepdims=True), np.float32)


def _cones(light: NDArray[Any], middle: float, rho: float, fechner: float) -> Pixels:
    """Return what cones answer [H, W] in [0, 1]: Weber and Fechner's law, then Naka and Rushton's."""
    half = middle * 10 ** (1.9 - 0.37 * (math.log10(middle) + 4 - rho))
    dark, bend = half / 10**1.2, half * 10**_CONE_RANGE
    powered = np.maximum(light, np.float32(bend)) ** np.float32(_CONE_EXPONENT)
    bright = powered / (powered + np.float32(half**_CONE_EXPONENT))
    meeting = bend**_CONE_EXPONENT / (bend**_CONE_EXPONENT + half**_CONE_EXPONENT)
    meeting -= fechner * math.log10(bend + dark)
    answer = np.where(
        light <= bend, np.float32(fechner) * np.log10(light + np.float32(dark)) + meeting, bright
    )
    answer -= answer.min()
    most = float(answer.max())
    scaled: Pixels = (answer / most if most > 0 else answer + 0.5).astype(np.float32)
    return scaled


def _local_contrast(channel: Pixels, sigma: float) -> Pixels:
    """Return ∫ w(x, y) r(I(x) - I(y)) dy [H, W] for a Gaussian w and the odd polynomial r.

    By the binomial theorem it is a polynomial in I(x) with the means of I(y)ⁿ as coefficients.
    """
    means, power = [np.ones_like(channel)], np.ones_like(channel)
    for _ in range(7):
        power = power * channel
        means.append(_wide_mean(power, sigma))
    total = np.zeros_like(channel)
    for degree, factor in zip(range(7, -1, -1), _CONTRAST, strict=True):
        if not factor:
            continue
        inner = np.zeros_like(channel)
        for own in range(degree, -1, -1):
            inner *= channel
            inner += np.float32(math.comb(degree, own) * (-1) ** (degree - own)) * means[degree - own]
        total += np.float32(factor) * inner
    return total


def _wide_mean(image: Pixels, sigma: float) -> Pixels:
    """Blur an image [H, W] by a wide Gaussian, at a size at which it measures some four pixels."""
    step = max(1, int(sigma / 4))
    height, width = (-(-size // step) * step for size in image.shape)
    padded = np.pad(image, ((0, height - image.shape[0]), (0, width - image.shape[1])), mode="edge")
    small = padded.reshape(height // step, step, width // step, step).mean(axis=(1, 3))
    blurred = gaussian_filter(small, sigma / step, mode="nearest")
    wide: Pixels = zoom(blurred, step, order=1, mode="nearest", grid_mode=True)[
        : image.shape[0], : image.shape[1]
    ]
    return wide
