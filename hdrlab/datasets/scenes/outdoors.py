"""Landscapes, seas and cities as radiance by viewing direction, painted in layers from back to front."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from hdrlab.datasets.scenes.paint import (
    Array,
    Rng,
    any_hue,
    cell_random,
    fractal_tile,
    inside,
    kelvin,
    lit_windows,
    mix,
    rgb,
    sample,
    smooth,
)
from hdrlab.datasets.scenes.trace import Camera, Scene

PIXEL = 0.0024  # the usual size of a pixel in the plane at distance 1


@dataclass(frozen=True)
class View:
    """Directions [3, N] and where they meet the upright plane at distance 1, as x and y [N]."""

    direction: Array
    x: Array
    y: Array


Layer = Callable[[View, Array], Array]  # the view and the radiance of all layers behind it


def paint_layers(layers: Sequence[Layer], direction: Array) -> Array:
    """The radiance [3, N] of the layers, the farthest first, towards directions [3, N]."""
    ahead = np.maximum(np.abs(direction[2]), 0.05)
    view = View(direction, direction[0] / ahead, direction[1] / ahead)
    radiance = np.zeros_like(direction)
    for layer in layers:
        radiance = layer(view, radiance)
    return radiance


def towards(azimuth: float, elevation: float) -> Array:
    """A unit vector [3, 1]; azimuth 0 is straight ahead."""
    flat = np.cos(elevation)
    return np.array([[flat * np.sin(azimuth)], [np.sin(elevation)], [flat * np.cos(azimuth)]])


def _offset(direction: Array, axis: Array) -> Array:
    """The chord between unit vectors: well conditioned for small angles, unlike their cosine."""
    chord: Array = np.linalg.norm(direction - axis, axis=0)
    return chord


def sky(zenith: Array, horizon: Array, sun: Array, glow: Array) -> Layer:
    """A gradient from horizon to zenith, brighter around the sun."""

    def layer(view: View, below: Array) -> Array:
        chord = _offset(view.direction, sun)
        halo = 0.2 * np.exp(-chord / 0.4) + 1.8 * np.exp(-chord / 0.1) + 16.0 * np.exp(-chord / 0.035)
        return mix(horizon, zenith, np.clip(view.direction[1], 0.0, 1.0) ** 0.5) + glow * halo

    return layer


def disc(axis: Array, radius: float, light: Array) -> Layer:
    """The sun or the moon."""
    return lambda view, below: below + light * smooth(radius - _offset(view.direction, axis), 1.5 * PIXEL)


def stars(salt: int, count: float) -> Layer:
    """Points of light on the dark sky."""

    def layer(view: View, below: Array) -> Array:
        u, v = view.x * 70.0, view.y * 70.0
        i, j = np.floor(u), np.floor(v)
        du, dv = u - i - 0.3 - 0.4 * cell_random(i, j, salt), v - j - 0.3 - 0.4 * cell_random(i, j, salt + 1)
        power = smooth(cell_random(i, j, salt + 2) - 1.0 + count, count) * np.exp(-(du**2 + dv**2) / 0.006)
        return below + power * mix(kelvin(3500.0), kelvin(12000.0), cell_random(i, j, salt + 3))

    return layer


def clouds(tile: Array, sun: Array, cover: float, light: Array, shade: Array, silver: float) -> Layer:
    """Fractal clouds on a plane overhead: dark cores, bright rims, brightest (``silver``) before the sun."""

    def layer(view: View, below: Array) -> Array:
        up = np.maximum(view.direction[1], 0.0) + 0.1
        u, v = 0.16 * view.direction[0] / up, 0.16 * np.abs(view.direction[2]) / up
        depth = sample(tile, u, v) + 0.35 * sample(tile, 3.1 * u, 3.1 * v) + 1.6 * cover - 0.8
        burnt = 1.0 - 0.8 * np.exp(-_offset(view.direction, sun) / 0.06)  # the sun shines through
        alpha = 0.97 * burnt * smooth(depth - 0.35, 0.9) * smooth(view.direction[1] - 0.04, 0.08)
        lit = sample(tile, u + 0.012 * sun[0], v + 0.012 * sun[2])
        core = smooth(depth - 0.9 - 0.5 * (sample(tile, u, v) - lit), 1.6)
        forward = silver * np.exp(-_offset(view.direction, sun) / 0.16)
        return mix(below, mix(light * (1.0 + forward), shade * (1.0 + 0.15 * forward), core), alpha)

    return layer


def hills(
    tile: Array, row: float, base: float, height: float, colour: Array, haze: Array, rough: float
) -> Layer:
    """A ridge whose slopes show the noise's relief; ``rough`` scales it."""

    def layer(view: View, below: Array) -> Array:
        ridge = (
            base
            + height * sample(tile, 0.09 * view.x + row, row)
            + 0.02 * rough * height * sample(tile, 2 * view.x, row)
        )
        down = ridge - view.y
        u, v = 0.3 * view.x + row, 0.7 * view.y + 0.1 * row
        relief = sample(tile, u + 0.004, v) - sample(tile, u - 0.004, v)
        grain = sample(tile, 2.7 * u, 2.7 * v)
        slope = colour * np.exp(rough * np.clip(1.6 * relief + 0.3 * grain, -2.0, 1.2))
        return mix(below, mix(slope, haze, np.exp(-down / 0.25) * 0.3), smooth(down, PIXEL))

    return layer


def field(tile: Array, horizon: float, colour: Array, accent: Array, haze: Array) -> Layer:
    """A meadow seen in perspective, with blades of grass and patches of flowers in another colour."""

    def layer(view: View, below: Array) -> Array:
        depth = 0.12 / np.maximum(horizon - view.y, 1e-3)
        u, v = view.x * depth, depth
        blades = sample(tile, 2.3 * view.x, 0.9 * view.y) / (1.0 + 0.1 * depth) + sample(
            tile, 1.9 * u, 0.5 * v
        )
        ground = colour * np.exp(0.35 * blades + 0.3 * sample(tile, 0.3 * u, 0.1 * v))
        i, j = np.floor(u / 0.02), np.floor(v / 0.03)
        away = np.hypot(u / 0.02 - i - 0.5, v / 0.03 - j - 0.5)
        meadow = smooth(sample(tile, 0.2 * u, 0.06 * v) - 0.2, 1.0) * (cell_random(i, j, 7) < 0.3)
        flowers = meadow * inside(away, 0.3, 0.3 + depth * PIXEL / 0.02) * np.exp(-depth / 6.0)
        ground = mix(ground, accent * (0.5 + cell_random(i, j, 8)), flowers)
        return mix(below, mix(ground, haze, 1.0 - np.exp(-depth / 40.0)), smooth(horizon - view.y, PIXEL))

    return layer


def water(tile: Array, above: Sequence[Layer], tint: Array, waves: float) -> Layer:
    """A lake or sea up to the horizon that mirrors the layers above it in waves."""

    def layer(view: View, below: Array) -> Array:
        at = np.flatnonzero(view.y < PIXEL)
        x, down = view.x[at], np.maximum(-view.y[at], 1e-3)
        u, v = 0.5 * x / down, 0.5 / down
        swell = sample(tile, 0.12 * u, 0.5 * v) + 0.7 * sample(tile, 0.5 * u, 1.9 * v)
        tilt = waves * swell / (1.0 + 0.03 / down)
        mirrored = view.direction[:, at] * np.array([[1.0], [-1.0], [1.0]])
        mirrored = mirrored + np.stack([0.25 * tilt, np.abs(tilt) + tilt, 0.0 * tilt])
        mirrored[1] = np.abs(mirrored[1])
        mirrored = mirrored / np.sqrt((mirrored**2).sum(axis=0))
        share = 0.12 + 0.75 * (1.0 - np.clip(mirrored[1], 0.0, 1.0)) ** 4
        surface = tint * np.exp(0.15 * swell) + share * paint_layers(above, mirrored)
        result = below.copy()
        result[:, at] = mix(below[:, at], surface, smooth(-view.y[at], PIXEL))
        return result

    return layer


def tree(tile: Array, x: float, base: float, height: float, colour: Array, salt: float) -> Layer:
    """A broad-leaved tree: a trunk and a crown of leaves with gaps through which the background shines."""

    def layer(view: View, below: Array) -> Array:
        right, up = (view.x - x) / height, (view.y - base) / height
        at = np.flatnonzero((np.abs(right) < 0.7) & (up > -0.1) & (up < 1.4))
        right, up = right[at], up[at]
        lumps = sample(tile, 0.45 * right + salt, 0.45 * up + salt)
        leaves = sample(tile, 2.9 * right + salt, 2.9 * up)
        body = 1.0 - np.hypot(right / 0.42, (up - 0.68) / 0.4) + 0.2 * lumps + 0.1 * leaves
        crown = smooth(body, 0.05) * (1.0 - 0.9 * smooth(leaves - 0.6 - 1.6 * np.maximum(body, 0.0), 0.4))
        bend = 0.03 * np.sin(3.0 * up + 7.0 * salt)
        trunk = inside(right - bend, 0.035 + 0.02 * (1 - up), PIXEL / height) * inside(up - 0.3, 0.3, 0.03)
        shade = np.exp(0.5 * lumps + 0.35 * leaves + 0.6 * (up - 0.7))
        result = below.copy()
        painted = mix(below[:, at], 0.5 * rgb(0.9, 0.6, 0.4) * colour.mean() * np.exp(0.3 * leaves), trunk)
        result[:, at] = mix(painted, colour * shade, crown)
        return result

    return layer


def towers(
    salt: int, base: float, height: float, wide: float, wall: Array, light: float, lit: float
) -> Layer:
    """A row of high-rise buildings with lit windows and, on some, coloured crowns."""

    def layer(view: View, below: Array) -> Array:
        at = np.flatnonzero((view.y > base - PIXEL) & (view.y < base + height + PIXEL))
        x, y = view.x[at] / wide, view.y[at]
        column = np.floor(x)
        tall = base + height * (0.25 + 0.75 * cell_random(column, 0, salt) ** 2)
        u = (x - column) * (4.0 + np.floor(5.0 * cell_random(column, 1, salt))) + 40.0 * column
        glow = lit_windows(u, (y - base) * 9.0 / wide, np.full_like(u, 0.3), lit, salt)
        crown = inside(y - tall + 0.012, 0.006, 2 * PIXEL) * (cell_random(column, 2, salt) < 0.2)
        hue = cell_random(column, 4, salt) + np.array([[0.0], [1 / 3], [2 / 3]])
        neon = np.square(1.0 + 0.98 * np.cos(2 * np.pi * hue))
        front = wall * (0.6 + 0.8 * cell_random(column, 3, salt)) + light * (glow + crown * neon)
        result = below.copy()
        result[:, at] = mix(below[:, at], front, smooth(tall - y, PIXEL) * smooth(y - base, PIXEL))
        return result

    return layer


def _day(rng: Rng, tile: Array, sun: Array, sunlight: float) -> list[Layer]:
    """A blue sky with sun and clouds, and two to four ranges of hills."""
    warmth = rng.uniform(0.0, 1.0)
    horizon = mix(rgb(0.45, 0.66, 0.95), rgb(1.1, 0.75, 0.45), warmth**2)
    zenith = rgb(0.045, 0.16, 0.60) * rng.uniform(0.6, 1.2)
    light = mix(kelvin(6500.0), kelvin(3000.0), 0.7 * warmth**2)
    layers = [
        sky(zenith, horizon, sun, light * rng.uniform(1.0, 2.0)),
        disc(sun, rng.uniform(0.022, 0.028), light * sunlight),
        clouds(tile, sun, rng.uniform(0.1, 0.7), 1.2 * light, 0.35 * horizon, rng.uniform(4.0, 14.0)),
    ]
    count = int(rng.integers(2, 5))
    base = rng.uniform(0.02, 0.08)
    green = mix(rgb(0.05, 0.11, 0.03), rgb(0.16, 0.10, 0.04), rng.uniform(0.0, 0.8))
    for k in range(count):
        near = (k + 1) / count
        colour = mix(0.6 * horizon, green * 0.8, near)
        layers.append(
            hills(
                tile,
                rng.random(),
                base * (1.2 - near),
                0.03 + 0.07 * rng.random() * (1.3 - near),
                colour,
                horizon,
                0.35 + 0.5 * near,
            )
        )
    return layers


def outlook(rng: Rng, sun: Array) -> Callable[[Array], Array]:
    """What a window shows: a sunny country with trees, as radiance by direction."""
    tile = fractal_tile(rng, 1.7)
    layers = _day(rng, tile, sun, rng.uniform(50.0, 90.0))
    layers.append(field(tile, 0.0, rgb(0.2, 0.32, 0.08), rgb(0.5, 0.42, 0.12), rgb(0.6, 0.75, 0.9)))
    for _ in range(5):
        colour = mix(rgb(0.06, 0.16, 0.03), rgb(0.22, 0.16, 0.03), rng.random())
        layers.append(tree(tile, rng.uniform(-1.2, 1.2), -0.04, rng.uniform(0.12, 0.4), colour, rng.random()))
    return lambda direction: paint_layers(layers, direction)


def _panorama(layers: Sequence[Layer], pitch: float) -> tuple[Scene, Camera]:
    return Scene(
        (), (), lambda hit: rgb(0.0, 0.0, 0.0), lambda direction: paint_layers(layers, direction)
    ), Camera(pitch=pitch)


def landscape(rng: Rng) -> tuple[Scene, Camera]:
    """Hills and trees under a sky with sun and clouds, before them a meadow or a lake."""
    tile = fractal_tile(rng, 1.7)
    side = rng.choice([-1.0, 1.0])
    sun = towards(-side * rng.uniform(-0.1, 0.45), rng.uniform(0.17, 0.36))
    layers = _day(rng, tile, sun, rng.uniform(250.0, 700.0))
    shore = 0.0
    if rng.random() < 0.45:
        layers.append(water(tile, tuple(layers), rgb(0.01, 0.025, 0.03), rng.uniform(0.02, 0.06)))
        shore = -rng.uniform(0.16, 0.28)
    grass = mix(rgb(0.07, 0.17, 0.02), rgb(0.22, 0.18, 0.05), rng.random() ** 2) * rng.uniform(0.3, 0.8)
    layers.append(field(tile, shore, grass, any_hue(rng, 0.95, 0.8), rgb(0.2, 0.3, 0.3)))
    leaf = mix(rgb(0.02, 0.05, 0.008), rgb(0.09, 0.045, 0.008), rng.random()) * rng.uniform(0.3, 0.8)
    for k in range(int(rng.integers(3, 7))):
        size = rng.uniform(0.1, 0.25) if k else rng.uniform(0.45, 0.7)
        at = rng.uniform(-0.6, 0.6) if k else side * rng.uniform(0.34, 0.46)
        layers.append(tree(tile, at, shore - 0.25 * size, size, leaf, rng.random()))
    return _panorama(layers, rng.uniform(-0.02, 0.08))


def sunset_sea(rng: Rng) -> tuple[Scene, Camera]:
    """The low sun over the sea, with burning clouds, glitter on the water and dark rocks."""
    tile = fractal_tile(rng, 1.7)
    sun = towards(rng.uniform(-0.3, 0.3), rng.uniform(0.03, 0.13))
    ember = mix(rgb(1.0, 0.30, 0.06), rgb(1.0, 0.55, 0.18), rng.random())
    dusk = mix(rgb(0.06, 0.09, 0.25), rgb(0.14, 0.08, 0.24), rng.random())
    layers = [
        sky(dusk, 0.6 * ember + 0.15, sun, ember * rng.uniform(1.0, 2.0)),
        disc(sun, rng.uniform(0.028, 0.036), mix(ember, rgb(1.0, 0.9, 0.6), 0.5) * rng.uniform(150.0, 400.0)),
        clouds(tile, sun, rng.uniform(0.25, 0.7), 0.5 * ember, 0.4 * dusk, rng.uniform(8.0, 20.0)),
    ]
    if rng.random() < 0.6:
        layers.append(hills(tile, rng.random(), 0.005, 0.03, 0.12 * ember, 0.4 * ember, 0.2))
    layers.append(water(tile, tuple(layers), rgb(0.002, 0.006, 0.012), rng.uniform(0.03, 0.09)))
    side = rng.choice([-1.0, 1.0])
    for k in range(3):
        layers.append(
            _rock(tile, side * rng.uniform(0.25, 0.6), -0.12 - 0.12 * k, rng.uniform(0.1, 0.3), rng.random())
        )
    return _panorama(layers, rng.uniform(-0.06, 0.04))


def _rock(tile: Array, x: float, base: float, size: float, row: float) -> Layer:
    """A dark rock rising from the water."""

    def layer(view: View, below: Array) -> Array:
        right = (view.x - x) / size
        top = base + 0.5 * size * (1.0 - right**2 + 0.25 * sample(tile, 0.3 * right, row))
        stone = rgb(0.012, 0.01, 0.012) * np.exp(0.6 * sample(tile, view.x, view.y) + 3.0 * (view.y - base))
        return mix(
            below,
            stone,
            smooth(top - view.y, PIXEL) * smooth(view.y - base + 0.02 * sample(tile, view.x, row), 0.01),
        )

    return layer


def skyline(rng: Rng) -> tuple[Scene, Camera]:
    """A city by the water at dusk or night: towers with lit windows under the moon, and their reflections."""
    tile = fractal_tile(rng, 1.7)
    salt = int(rng.integers(1 << 16))
    moon = towards(rng.uniform(-0.4, 0.4), rng.uniform(0.22, 0.42))
    dusk = rng.random() ** 2
    zenith, horizon = (
        rgb(0.003, 0.005, 0.016) * (1 + 6 * dusk),
        mix(rgb(0.02, 0.014, 0.014), rgb(0.16, 0.06, 0.05), dusk),
    )
    layers = [
        sky(zenith, horizon, moon, rgb(0.03, 0.035, 0.045)),
        stars(salt, 0.03),
        disc(moon, rng.uniform(0.025, 0.04), rgb(9.0, 9.0, 8.0) * rng.uniform(2.0, 5.0)),
        clouds(tile, moon, rng.uniform(0.05, 0.45), 2.0 * horizon, horizon, rng.uniform(2.0, 6.0)),
    ]
    for k, wide in enumerate((0.05, 0.075, 0.1)):
        wall = rgb(0.006, 0.007, 0.009) * (3 - k)
        tall = rng.uniform(0.16, 0.32) - 0.04 * k
        layers.append(
            towers(salt + 10 * k, 0.0, tall, wide, wall, rng.uniform(1.5, 3.0), rng.uniform(0.3, 0.6))
        )
    layers.append(
        _quay_lamps(
            salt, rng.uniform(0.05, 0.1), kelvin(rng.uniform(1900.0, 3000.0)) * rng.uniform(120.0, 300.0)
        )
    )
    layers.append(water(tile, tuple(layers), rgb(0.001, 0.002, 0.004), rng.uniform(0.02, 0.06)))
    layers.append(_railing(tile, -rng.uniform(0.26, 0.34), rng.uniform(0.02, 0.05)))
    return _panorama(layers, rng.uniform(-0.02, 0.03))


def _railing(tile: Array, top: float, spacing: float) -> Layer:
    """The dark balustrade before us."""

    def layer(view: View, below: Array) -> Array:
        post = view.x / spacing - np.floor(view.x / spacing) - 0.5
        bars = inside(post, 0.1 + 0.06 * np.cos(60.0 * (view.y - top)), 2 * PIXEL / spacing)
        solid = np.maximum(
            bars, np.maximum(inside(view.y - top, 0.012, PIXEL), smooth(top - 0.1 - view.y, PIXEL))
        )
        stone = rgb(0.0006, 0.0006, 0.0008) * np.exp(0.4 * sample(tile, view.x, view.y))
        return mix(below, stone, solid * smooth(top + 0.012 - view.y, PIXEL))

    return layer


def _quay_lamps(salt: int, spacing: float, light: Array) -> Layer:
    """A string of lamps along the water's edge."""

    def layer(view: View, below: Array) -> Array:
        cell = np.floor(view.x / spacing)
        away = (view.x / spacing - cell - 0.5) * spacing
        up = view.y - 0.012 - 0.006 * cell_random(cell, 0, salt)
        bulb = np.exp(-(away**2 + up**2) / 0.0035**2) + 0.001 * np.exp(-np.hypot(away, up) / 0.012)
        return below + light * bulb

    return layer
