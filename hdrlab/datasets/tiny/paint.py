"""Noise, masks, colours and textures from which the scenes are painted.

Points come as flat arrays of N values, colours as [3, N] or [3, 1] arrays of scene-linear Rec. 709 RGB. Every
edge is a ramp about one pixel wide: it antialiases, and keeps rounding differences between processors from
flipping pixels.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

Array = NDArray[np.float64]
Rng = np.random.Generator
Radiance = Callable[[Array], Array]
"""A scene: the radiance [3, N] seen towards directions [3, N], unit vectors."""

FOCAL = 0.85  # in image widths
PIXEL = 1 / (FOCAL * 512)  # the usual size of a pixel in the plane at distance 1


def rgb(red: float, green: float, blue: float) -> Array:
    """A colour as a [3, 1] array."""
    return np.array([[red], [green], [blue]])


def kelvin(temperature: float) -> Array:
    """The approximate colour of a black body, [3, 1], with its largest channel near 1."""
    knots = [1800.0, 2700.0, 4000.0, 6500.0, 12000.0]
    channels = [1.0, 1.0, 1.0, 0.96, 0.60], [0.35, 0.57, 0.80, 0.97, 0.76], [0.04, 0.20, 0.54, 1.0, 1.25]
    return np.array([[np.interp(temperature, knots, channel)] for channel in channels])


def any_hue(rng: Rng, saturation: float, value: float = 1.0) -> Array:
    """A colour of random hue, [3, 1]: channels between value·(1 − saturation) and value."""
    phase = rng.random() + np.array([[0.0], [1 / 3], [2 / 3]])
    return value * (1.0 - saturation * (0.5 + 0.5 * np.cos(2 * np.pi * phase)))


def mix(first: Array, second: Array, weight: Array | float) -> Array:
    """First where the weight is 0, second where it is 1."""
    return first + (second - first) * weight


def smooth(x: Array, width: Array | float) -> Array:
    """A smooth step from 0 to 1, centred where x = 0 and ``width`` wide."""
    s: Array = np.clip(x / width + 0.5, 0.0, 1.0)
    return s * s * (3.0 - 2.0 * s)


def inside(x: Array, half: Array | float, width: Array | float) -> Array:
    """1 where |x| < half and 0 outside, with soft edges."""
    return smooth(half - np.abs(x), width)


def fractal_tile(rng: Rng, slope: float, size: int = 512) -> Array:
    """Periodic noise [size, size] of zero mean, unit deviation and amplitude spectrum 1/f^slope."""
    spectrum = fft.rfft2(rng.random((size, size)))
    frequency = np.hypot(fft.fftfreq(size)[:, None], fft.rfftfreq(size)[None, :])
    frequency[0, 0] = np.inf
    tile: Array = fft.irfft2(spectrum * frequency**-slope, (size, size))
    tile /= tile.std()
    return tile


def sample(tile: Array, u: Array, v: Array | float) -> Array:
    """The tile at (u, v) by bilinear interpolation; its period is 1 in both directions."""
    size = len(tile)
    x, y = np.broadcast_arrays(u * size, v * size)
    left, top = np.floor(x), np.floor(y)
    x, y = x - left, y - top
    column, row = left.astype(np.int64) % size, top.astype(np.int64) % size * size
    right, below = (column + 1) % size, (row + size) % size**2
    flat = tile.ravel()
    first, second = flat[row + column], flat[below + column]
    first += (flat[row + right] - first) * x
    second += (flat[below + right] - second) * x
    mixed: Array = first + (second - first) * y
    return mixed


def cell_random(i: Array, j: Array | float, salt: int) -> Array:
    """Uniform values in [0, 1) that depend only on the integers i, j and salt."""
    column, row = np.broadcast_arrays(i, j)
    with np.errstate(over="ignore"):
        h = column.astype(np.int64).astype(np.uint32) * np.uint32(0x9E3779B1)
        h ^= row.astype(np.int64).astype(np.uint32) * np.uint32(0x85EBCA77) ^ np.uint32(
            salt * 0x27D4EB2F & 0xFFFFFFFF
        )
        for shift, factor in ((15, 0x2C1B3C6D), (12, 0x297A2D39), (15, 1)):
            h = (h ^ (h >> np.uint32(shift))) * np.uint32(factor)
    return h / 2.0**32


def wood(tile: Array, u: Array, v: Array, pixel: Array, colour: Array, plank: float = 0.16) -> Array:
    """Planks along v with grain, joints and a shade of their own."""
    row = np.floor(u / plank)
    shade = cell_random(row, np.floor(v / 1.7 + cell_random(row, 0, 1)), 2)
    grain = sample(tile, u * 1.3 + shade, v * 0.11 + shade)
    fine = sample(tile, u * 5.1, v * 0.35 + shade) / (1.0 + 60.0 * pixel)
    joint = inside(u / plank - row - 0.5, 0.485, pixel / plank + 0.02)
    return colour * ((0.55 + 0.6 * shade) * np.exp(0.22 * grain + 0.16 * fine) * (0.25 + 0.75 * joint))


def checker(tile: Array, u: Array, v: Array, pixel: Array, colour: Array, size: float = 0.4) -> Array:
    """Glazed tiles, dark and light in turn, with thin joints."""
    wave = np.sin(np.pi * u / size) * np.sin(np.pi * v / size)
    light = smooth(wave, 3.0 * pixel / size + 0.02)
    line = smooth(np.abs(wave) - 0.03, 0.04 + 3.0 * pixel / size)
    return mix(0.15 * colour, colour, light) * (
        np.exp(0.12 * sample(tile, u * 0.4, v * 0.4)) * (0.6 + 0.4 * line)
    )


def plaster(tile: Array, u: Array, v: Array, colour: Array) -> Array:
    """Painted plaster: faint stains and a fine grain."""
    return colour * np.exp(0.09 * sample(tile, u * 0.2, v * 0.2) + 0.05 * sample(tile, u * 1.7, v * 1.7))


def painting(tile: Array, u: Array, v: Array) -> Array:
    """An abstract image: bands of saturated colour along the noise's contours."""
    field = sample(tile, u * 0.25, v * 0.25)
    phase = np.array([[0.0], [0.9], [2.1]])
    return 0.25 + 0.23 * np.sin(phase + 3.0 * field) + 0.04 * sample(tile, u, v)


def glare(image: Array) -> Array:
    """What the lens does to an image [3, H, W]: a soft core and faint skirts around highlights."""
    core: Array = ndimage.gaussian_filter(image, (0.0, 0.55, 0.55))
    height, width = image.shape[1:]
    squared = (np.pi * np.arange(height)[:, None] / height) ** 2 + (np.pi * np.arange(width) / width) ** 2
    # Each skirt: its share of the light, its deviation in pixels of an image 512 wide.
    skirts = ((0.03, 2.5), (0.006, 9.0), (0.0012, 45.0))
    # A narrower Gaussian than one pixel would ring, for its spectrum does not fit.
    transfer = sum(a * np.exp(-0.5 * max(s * width / 512.0, 1.0) ** 2 * squared) for a, s in skirts)
    # The cosine transform continues the image by reflection, so nothing leaks in from the opposite border.
    wide: Array = fft.idctn(fft.dctn(core, axes=(1, 2)) * transfer, axes=(1, 2))
    blurred: Array = (1.0 - sum(a for a, _ in skirts)) * core + wide
    return np.maximum(blurred, 0.0)
