"""The open country as radiance by viewing direction, painted in layers from back to front."""

from __future__ import annotations

import numpy as np

from hdrlab.datasets.tiny.paint import (
    PIXEL,
    Array,
    Radiance,
    Rng,
    any_hue,
    cell_random,
    fractal_tile,
    inside,
    kelvin,
    mix,
    rgb,
    sample,
    smooth,
)


def towards(azimuth: float, elevation: float) -> Array:
    """A unit vector [3, 1]; azimuth 0 is straight ahead."""
    flat = np.cos(elevation)
    return np.array([[flat * np.sin(azimuth)], [np.sin(elevation)], [flat * np.cos(azimuth)]])


def landscape(rng: Rng) -> tuple[Radiance, float]:
    """A country with a tree before us and the sun on its other side; and the camera's pitch."""
    side = rng.choice([-1.0, 1.0])
    sun = towards(side * rng.uniform(-0.1, 0.4), rng.uniform(0.17, 0.36))
    near = -side * rng.uniform(0.34, 0.46)
    return country(rng, sun, rng.uniform(250.0, 700.0), near), float(rng.uniform(-0.02, 0.08))


def country(rng: Rng, sun: Array, sunlight: float, near: float | None = None) -> Radiance:
    """Sky, sun and clouds over hills and a meadow with trees.

    Args:
        rng: Draws all that is not given.
        sun: Where it stands, [3, 1].
        sunlight: Radiance of its disc.
        near: Where a large tree stands before us, at distance 1 from the middle; None for none.
    """
    tile = fractal_tile(rng, 1.7)
    warmth = rng.random() ** 2
    horizon = mix(rgb(0.45, 0.66, 0.95), rgb(1.1, 0.75, 0.45), warmth)
    zenith = rgb(0.045, 0.16, 0.60) * rng.uniform(0.6, 1.2)
    light = mix(kelvin(6500.0), kelvin(3000.0), 0.7 * warmth)
    glow, radius = light * rng.uniform(1.0, 2.0), rng.uniform(0.022, 0.028)
    cover, silver = rng.uniform(0.1, 0.65), rng.uniform(5.0, 14.0)
    green = mix(rgb(0.05, 0.11, 0.03), rgb(0.16, 0.10, 0.04), rng.uniform(0.0, 0.8))
    ridges = [(rng.random(), rng.uniform(0.3, 1.0)) for _ in range(rng.integers(2, 5))]
    grass = mix(rgb(0.07, 0.17, 0.02), rgb(0.22, 0.18, 0.05), rng.random() ** 2) * rng.uniform(0.3, 0.8)
    flower = any_hue(rng, 0.95, 0.8)
    leaf = mix(rgb(0.02, 0.05, 0.008), rgb(0.09, 0.045, 0.008), rng.random()) * rng.uniform(0.3, 0.8)
    trees = [
        (rng.uniform(-0.6, 0.6), rng.uniform(0.1, 0.25), rng.random()) for _ in range(rng.integers(3, 7))
    ]
    if near is not None:
        trees.append((near, rng.uniform(0.45, 0.7), rng.random()))

    def radiance(direction: Array) -> Array:
        ahead = np.maximum(np.abs(direction[2]), 0.05)
        x, y, up = direction[0] / ahead, direction[1] / ahead, np.maximum(direction[1], 0.0)
        chord = np.linalg.norm(direction - sun, axis=0)  # unlike the cosine, sound for small angles
        halo = 0.2 * np.exp(-chord / 0.4) + 1.8 * np.exp(-chord / 0.1) + 16.0 * np.exp(-chord / 0.035)
        seen = mix(horizon, zenith, np.minimum(up, 1.0) ** 0.5) + glow * halo
        seen = seen + light * sunlight * smooth(radius - chord, 1.5 * PIXEL)
        seen = _clouds(seen, tile, direction, up, chord, cover, light, horizon, silver)
        for number, (row, tall) in enumerate(ridges, 1):
            share = number / len(ridges)
            ridge = 0.06 * (1.2 - share) + 0.05 * tall * (1.3 - share) * sample(tile, 0.09 * x + row, row)
            u, v = 0.3 * x + row, 0.7 * y + 0.1 * row
            relief = (
                sample(tile, u + 0.004, v) - sample(tile, u - 0.004, v) + 0.2 * sample(tile, 2.7 * u, 2.7 * v)
            )
            slope = mix(0.6 * horizon, 0.8 * green, share) * np.exp(
                (0.5 + share) * np.clip(relief, -2.0, 1.2)
            )
            seen = mix(seen, mix(slope, horizon, 0.3 * np.exp((y - ridge) / 0.25)), smooth(ridge - y, PIXEL))
        seen = mix(seen, _meadow(tile, x, y, grass, flower), smooth(-y, PIXEL))
        for place, tall, salt in trees:
            seen = _tree(seen, tile, (x - place) / tall, y / tall + 0.25, leaf, salt, PIXEL / tall)
        return seen

    return radiance


def _clouds(
    seen: Array,
    tile: Array,
    direction: Array,
    up: Array,
    chord: Array,
    cover: float,
    light: Array,
    shade: Array,
    silver: float,
) -> Array:
    """Fractal clouds on a plane overhead: dark cores, bright rims, brightest (``silver``) before the sun."""
    u, v = 0.16 * direction[0] / (up + 0.1), 0.16 * np.abs(direction[2]) / (up + 0.1)
    depth = sample(tile, u, v) + 0.35 * sample(tile, 3.1 * u, 3.1 * v) + 1.6 * cover - 0.8
    burnt = 1.0 - 0.8 * np.exp(-chord / 0.06)  # the sun shines through
    alpha = 0.97 * burnt * smooth(depth - 0.35, 0.9) * smooth(direction[1] - 0.04, 0.08)
    forward = silver * np.exp(-chord / 0.16)
    core = smooth(depth - 0.9, 1.6)
    return mix(seen, mix(1.2 * light * (1.0 + forward), 0.35 * shade * (1.0 + 0.15 * forward), core), alpha)


def _meadow(tile: Array, x: Array, y: Array, grass: Array, flower: Array) -> Array:
    """Grass in perspective, with patches of flowers."""
    depth = 0.12 / np.maximum(-y, 1e-3)
    u, v = x * depth, depth
    blades = sample(tile, 2.3 * x, 0.9 * y) / (1.0 + 0.1 * depth) + sample(tile, 1.9 * u, 0.5 * v)
    ground = grass * np.exp(0.35 * blades + 0.3 * sample(tile, 0.3 * u, 0.1 * v))
    i, j = np.floor(u / 0.02), np.floor(v / 0.03)
    away = np.hypot(u / 0.02 - i - 0.5, v / 0.03 - j - 0.5)
    patch = smooth(sample(tile, 0.2 * u, 0.06 * v) - 0.2, 1.0) * (cell_random(i, j, 7) < 0.3)
    share = patch * inside(away, 0.3, 0.3 + depth * PIXEL / 0.02) * np.exp(-depth / 6.0)
    ground = mix(ground, flower * (0.5 + cell_random(i, j, 8)), share)
    return mix(ground, rgb(0.2, 0.3, 0.3), 1.0 - np.exp(-depth / 40.0))


def _tree(
    seen: Array, tile: Array, right: Array, up: Array, colour: Array, salt: float, pixel: float
) -> Array:
    """A broad-leaved tree of height 1: a trunk, and a crown with gaps through which the background shines."""
    at = np.flatnonzero((np.abs(right) < 0.7) & (up > -0.1) & (up < 1.4))
    right, up = right[at], up[at]
    lumps = sample(tile, 0.45 * right + salt, 0.45 * up + salt)
    leaves = sample(tile, 2.9 * right + salt, 2.9 * up)
    body = 1.0 - np.hypot(right / 0.42, (up - 0.68) / 0.4) + 0.2 * lumps + 0.1 * leaves
    crown = smooth(body, 0.05) * (1.0 - 0.9 * smooth(leaves - 0.6 - 1.6 * np.maximum(body, 0.0), 0.4))
    bend = 0.03 * np.sin(3.0 * up + 7.0 * salt)
    trunk = inside(right - bend, 0.035 + 0.02 * (1 - up), pixel) * inside(up - 0.3, 0.3, 0.03)
    bark = 0.5 * rgb(0.9, 0.6, 0.4) * colour.mean() * np.exp(0.3 * leaves)
    crowned = colour * np.exp(0.5 * lumps + 0.35 * leaves + 0.6 * (up - 0.7))
    seen = seen.copy()
    seen[:, at] = mix(mix(seen[:, at], bark, trunk), crowned, crown)
    return seen
