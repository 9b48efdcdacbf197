"""Operators that model what an eye adapts to and sees.

They take and return what the global ones do, see `hdrlab.tonemapping.global_curves`, and read and show images
by rows, see `hdrlab.tonemapping.rows.by_rows`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d, gaussian_filter
from scipy.optimize import nnls

from hdrlab.ops.colour import Pixels, luminance
from hdrlab.ops.ranks import percentiles
from hdrlab.tonemapping.rows import Shown, Source, by_rows, with_halo
from hdrlab.tonemapping.scene import log_average_of

_PIXELS_PER_DEGREE = 30.0
_LOWEST_BAND = 3.0  # cycles per degree
_NODE = 0.1  # log10 units between the nodes of a tone curve
_REACH = 7  # nodes: contrasts up to 0.7 are counted
_JUST_VISIBLE = 0.0043  # contrast in log10 units
_ADAPTED_TO = 1000.0  # cd/m²: what an observer of the scene is adapted to
_ANCHOR = 0.1  # weight of a gap in the histogram, as a share of all contrasts
_SEEN = (0.05, 99.95)  # percentiles of the luminance between which contrasts are shown
_ROUNDS = 50
_HALO = 32  # rows that a contrast of mantiuk08 depends on at the most

_DT = 0.2
_CONE_EXPONENT, _CONE_RANGE = 0.74, 2.0  # of Naka and Rushton's equation; log10 units
_FECHNER = (100 / 1.85, 100 / 1.85, 100 / 8.7)  # of the three cones
_CONTRAST = (-7.7456, 0, 15.836, 0, -11.013, 0, 3.7891, 0)  # from x⁷ down: an arctangent of slope 10


@by_rows
def mantiuk08(
    hdr: Source, enhancement: float = 1.0, display_peak: float = 200.0, black: float = 0.4
) -> Shown:
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
    # A single hot or dark pixel would otherwise claim decades of the display for itself.
    darkest, brightest = percentiles(hdr.lit, _SEEN)

    def logarithm(rows: slice) -> Pixels:
        level: Pixels = np.log10(hdr.light(rows).clip(np.float32(darkest), np.float32(brightest)))
        return level

    first = math.floor(math.log10(darkest) / _NODE)
    number = math.ceil(math.log10(brightest) / _NODE) - first + 1
    counts = np.zeros((len([*_frequencies()]), number, 2 * _REACH + 1))
    for rows in hdr.strips(4 * _HALO):
        outer, inner = with_halo(rows, hdr.height, _HALO)
        counts += _contrasts(logarithm(outer), inner, first, number)
    nodes = (first + np.arange(number)) * _NODE
    low, high = math.log10(black), math.log10(display_peak)
    rises = _optimal_rises(counts, enhancement, low, high)
    curve = high - rises.sum() + np.concatenate([[0], rises.cumsum()])
    slope = np.append(rises / _NODE, 1.0)
    powered = slope**0.82
    chromas = 2.48 * powered / (1 + 1.48 * powered)

    def show(rows: slice) -> Pixels:
        pixels, level = hdr[rows], logarithm(rows)
        light = luminance(pixels)[..., None]
        chroma = np.interp(level, nodes, chromas).astype(np.float32)
        shown = (10 ** np.interp(level, nodes, curve)).astype(np.float32)
        ratio = np.divide(pixels, light, out=np.zeros_like(pixels), where=light > 0)
        displayed: Pixels = (ratio ** chroma[..., None] * shown[..., None] - black) / (display_peak - black)
        return displayed.clip(min=0)

    return Shown(show)


def _contrasts(logarithm: Pixels, inner: slice, first: int, number: int) -> NDArray[np.float64]:
    """Count contrasts [F, N, 2 · 7 + 1] by band, background and size.

    Args:
        logarithm: Of the luminance to the base 10, rows [h, W] that reach `_HALO` further than those counted.
        inner: The rows that are counted.
        first: Node of the tone curve that the darkest pixel lies above, in steps of `_NODE`.
        number: Of its nodes.
    """
    fine, counts = logarithm, []
    for band, _ in enumerate(_frequencies()):
        coarse = fine
        taps = np.zeros(4 * 2**band + 1)
        taps[:: 2**band] = (0.05, 0.25, 0.4, 0.25, 0.05)
        for axis in (0, 1):
            coarse = correlate1d(coarse, taps, axis=axis, mode="mirror")
        contrast = (fine - coarse)[inner]
        size = np.rint(contrast / _NODE).astype(np.int64)
        seen = np.abs(contrast) > _JUST_VISIBLE
        size[seen & (size == 0)] = np.sign(contrast[seen & (size == 0)])
        ground = (np.rint(coarse[inner] / _NODE).astype(np.int64) - first).clip(0, number - 1)
        within = np.abs(size) <= _REACH
        cells = ground[within] * (2 * _REACH + 1) + size[within] + _REACH
        counts.append(np.bincount(cells, minlength=number * (2 * _REACH + 1)).reshape(number, -1))
        fine = coarse
    return np.stack(counts).astype(np.float64)


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


@by_rows
def ferradans(hdr: Source, rho: float = -2.0, inverse_reach: float = 5.0) -> Shown:
    """Adapt each channel as cones do, then enhance contrasts as the brain does.

    Args:
        hdr: Linear pixels [H, W, 3], at least 0, in any unit.
        rho: ρ, in log10 units: greater adapts to brighter light, and darkens.
        inverse_reach: 1 / α: contrasts are measured over the shorter side divided by this.

    Returns:
        Display light [H, W, 3], linear; 1 = the display's white, which it may exceed.

    Source: Ferradans, Bertalmío, Provenzi and Caselles, "An Analysis of Visual Adaptation and Contrast
    Perception for Tone Mapping", 2011. Ours: the unit, in which the channels' adaptation has a geometric
    mean of 1; and the darkest and the brightest 0.05 % of the samples count as the limit of the others.
    """

    def samples() -> Iterator[Pixels]:
        for rows in hdr.strips():
            part = hdr[rows]
            yield part[part > 0]

    darkest, brightest = percentiles(samples, _SEEN)
    least, most = np.float32(max(darkest, log_average_of(hdr) * 1e-6)), np.float32(brightest)

    def seen(rows: slice, channel: int) -> Pixels:
        return hdr[rows][..., channel].clip(least, most)

    size = hdr.height, hdr.width
    middles, ends = [], []
    for k in range(3):
        parts = partial(_each, seen, hdr, k)
        low, median, high = percentiles(parts, (0, 50, 100))
        mean = sum(float(part.sum(dtype=np.float64)) for part in parts()) / math.prod(size)
        middles.append(math.sqrt(mean * median))
        ends.append((low, high))
    unit = math.prod(middles) ** (1 / 3)
    cones = [
        partial(_cones, middle=middle / unit, rho=rho, fechner=fechner)
        for middle, fechner in zip(middles, _FECHNER, strict=True)
    ]
    extremes = [
        of(np.array(pair, np.float32) / np.float32(unit)) for of, pair in zip(cones, ends, strict=True)
    ]

    def adapted(rows: slice, channel: int) -> Pixels:
        least, most = extremes[channel]
        answer = cones[channel](seen(rows, channel) / np.float32(unit)) - least
        scaled: Pixels = answer / (most - least) if most > least else answer + np.float32(0.5)
        return scaled

    surround = [_LocalContrast(size, min(size) / inverse_reach) for _ in range(3)]
    shown, average = np.empty((*size, 3), np.float32), np.zeros(3)
    for rows, k in product(hdr.strips(), range(3)):
        shown[rows, :, k] = answer = adapted(rows, k)
        average[k] += answer.sum(dtype=np.float64) * (255 / 253 / math.prod(size))
        surround[k].add(rows.start, answer)
    for _ in range(_ROUNDS):
        greatest, moved = np.full(3, 1e-12), 0.0
        for k in range(3):
            surround[k].close()
        for rows, k in product(hdr.strips(), range(3)):
            found = surround[k].read(rows.start, np.ascontiguousarray(shown[rows, :, k]))
            greatest[k] = max(greatest[k], min(1.0, float(np.abs(found).max())))
        for rows, k in product(hdr.strips(), range(3)):
            before = np.ascontiguousarray(shown[rows, :, k])
            contrast = surround[k].read(rows.start, before).clip(-1, 1)
            contrast *= np.float32(0.5 / greatest[k])
            after = before + np.float32(_DT) * (adapted(rows, k) + contrast + np.float32(average[k]))
            after = (after / np.float32(1 + _DT * (1 + 255 / 253))).clip(0, 1)
            moved += float(np.abs(after - before).sum(dtype=np.float64))
            shown[rows, :, k] = after
            surround[k].add(rows.start, after)
        if moved / math.prod(size) < _DT / 20:
            break
    start, end = shown.min(axis=(0, 1)), shown.max(axis=(0, 1))
    flat = end - start < 1e-6
    start, span = np.where(flat, 0, start), np.where(flat, 1, end - start)

    def show(rows: slice) -> Pixels:
        encoded = (shown[rows] - start) / span
        return np.asarray(encoded ** np.float32(2.2) * hdr[rows].any(axis=2, keepdims=True), np.float32)

    return Shown(show, store=shown)


def _each(read: Callable[[slice, int], Pixels], hdr: Source, channel: int) -> Iterator[Pixels]:
    return (read(rows, channel) for rows in hdr.strips())


def _cones(light: Pixels, middle: float, rho: float, fechner: float) -> Pixels:
    """Return what cones answer [H, W], more to more light, by Weber and Fechner, then Naka and Rushton."""
    half = middle * 10 ** (1.9 - 0.37 * (math.log10(middle) + 4 - rho))
    dark, bend = half / 10**1.2, half * 10**_CONE_RANGE
    powered = np.maximum(light, np.float32(bend)) ** np.float32(_CONE_EXPONENT)
    bright = powered / (powered + np.float32(half**_CONE_EXPONENT))
    meeting = bend**_CONE_EXPONENT / (bend**_CONE_EXPONENT + half**_CONE_EXPONENT)
    meeting -= fechner * math.log10(bend + dark)
    answer = np.float32(fechner) * np.log10(light + np.float32(dark)) + np.float32(meeting)
    return np.where(light <= bend, answer, bright)


class _LocalContrast:
    """Finds ∫ w(x, y) r(I(x) - I(y)) dy for a wide Gaussian w and the odd polynomial r.

    By the binomial theorem it is a polynomial in I(x) with the means of I(y)ⁿ as coefficients. These are
    found at a size at which the Gaussian measures some four pixels, and lie between those pixels on lines.

    Args:
        shape: H and W of I, which comes by rows.
        sigma: Standard deviation of w in pixels.
    """

    def __init__(self, shape: tuple[int, int], sigma: float) -> None:
        self._step = step = max(1, int(sigma / 4))
        self._shape, self._sigma = shape, sigma / step
        self._small = tuple(-(-size // step) for size in shape)
        self._places = [
            ((np.arange(size) + 0.5) / step - 0.5).clip(0, small - 1)
            for size, small in zip(shape, self._small, strict=True)
        ]
        self._sums = np.zeros((7, *self._small))
        self._factors: Pixels = np.empty(0, np.float32)

    def add(self, top: int, image: Pixels) -> None:
        """Add rows [h, W] of I, the first of which is row ``top``."""
        rows = np.arange(top, top + len(image))
        # The last row and column stand for those that the small image's last pixels lack.
        lacking = [small * self._step - size for small, size in zip(self._small, self._shape, strict=True)]
        weights = np.where(rows == self._shape[0] - 1, 1 + lacking[0], 1)
        power = np.ones_like(image)
        for sums in self._sums:
            power *= image
            across = np.add.reduceat(power, np.arange(0, self._shape[1], self._step), axis=1).astype(
                np.float64
            )
            across[:, -1] += lacking[1] * power[:, -1]
            np.add.at(sums, rows // self._step, across * weights[:, None])

    def close(self) -> None:
        """Take what was added for the image that is read from now on."""
        means = [np.ones(self._small)]
        means += [gaussian_filter(sums / self._step**2, self._sigma, mode="nearest") for sums in self._sums]
        factors = np.zeros((8, *self._small))
        for degree, factor in zip(range(7, -1, -1), _CONTRAST, strict=True):
            for own in range(degree + 1):
                factors[own] += factor * math.comb(degree, own) * (-1) ** (degree - own) * means[degree - own]
        self._factors = factors.astype(np.float32)
        self._sums[:] = 0

    def read(self, top: int, image: Pixels) -> Pixels:
        """Return the contrasts [h, W] of rows of I."""
        (down, above), (across, left) = (
            (place % 1, place.astype(int))
            for place in (self._places[0][top : top + len(image)], self._places[1])
        )
        lower = np.minimum(above + 1, self._small[0] - 1)
        total = np.zeros_like(image)
        for factor in self._factors[::-1]:
            rows = factor[above] + (factor[lower] - factor[above]) * down[:, None].astype(np.float32)
            rise = np.diff(rows, axis=1, append=rows[:, -1:])
            total *= image
            total += rows.take(left, axis=1)
            total += rise.take(left, axis=1) * across.astype(np.float32)
        return total
