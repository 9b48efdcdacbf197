"""A street at night: lit windows, lamps and their pools of light, cars, neon signs and a wet road."""

from __future__ import annotations

import numpy as np

from hdrlab.datasets.scenes import paint
from hdrlab.datasets.scenes.indoors import Lamp, rod
from hdrlab.datasets.scenes.outdoors import disc, paint_layers, sky, stars, towards
from hdrlab.datasets.scenes.paint import (
    Array,
    Rng,
    any_hue,
    fractal_tile,
    inside,
    kelvin,
    mix,
    rgb,
    sample,
    smooth,
)
from hdrlab.datasets.scenes.trace import Box, Camera, Hit, Light, Scene, Shape, Sphere, partly

DARK = rgb(0.02, 0.02, 0.022)


def house(rng: Rng, tile: Array, side: float, edge: float, z: float, long: float) -> list[Shape]:
    """A town house beside the pavement: bricks or plaster, lit windows, and on some a shop or a neon sign."""
    storey, bay, lit, salt = (
        rng.uniform(2.8, 3.4),
        rng.uniform(1.5, 2.2),
        rng.uniform(0.2, 0.5),
        int(rng.integers(1 << 16)),
    )
    half = 0.5 * (storey * int(rng.integers(2, 5)) + 0.8)
    colour, masonry = any_hue(rng, 0.4, 0.4), (paint.bricks, paint.plaster)[rng.integers(2)]
    shop, light = rng.random() < 0.5, mix(kelvin(3500.0), any_hue(rng, 0.8), 0.4) * rng.uniform(1.0, 3.0)

    def place(hit: Hit) -> tuple[Array, Array, Array]:
        return hit.u / bay, (hit.v + half) / storey, hit.pixel / bay

    def homes(hit: Hit) -> Array:
        return 1.2 * paint.lit_windows(*place(hit), lit, salt)

    def shop_window(hit: Hit) -> Array:
        soft = 0.05 + hit.pixel
        glass = inside(hit.v + half - 1.5, 1.0, soft) * inside(hit.u, 0.42 * long, soft)
        goods = np.exp(0.7 * sample(tile, 0.4 * hit.u, 0.4 * hit.v))
        return light * (glass * goods * (0.3 + smooth(np.sin(2.2 * hit.u) + 0.9, 0.1)))

    def emission(hit: Hit) -> Array:
        ground = smooth(storey - 0.2 - hit.v - half, 0.1) * shop
        return partly(hit.upright() * (1.0 - ground), homes, hit) + partly(
            hit.upright() * ground, shop_window, hit
        )

    def albedo(hit: Hit) -> Array:
        return masonry(tile, hit.u, hit.v, hit.pixel, colour) * (1.0 - 0.85 * paint.window_panes(*place(hit)))

    body = Box(
        (side * (edge + 3.0), half, z), (3.0, half, 0.5 * long), albedo=albedo, emission=emission, casts=False
    )
    if rng.random() < 0.6:
        sign = _neon(
            side * (edge - 0.45),
            rng.uniform(3.2, 4.2),
            z - 0.3 * long,
            any_hue(rng, 0.97, rng.uniform(12.0, 30.0)),
            salt,
        )
        return [body, sign]
    return [body]


def _neon(x: float, y: float, z: float, colour: Array, salt: int) -> Shape:
    """A sign of glowing strokes standing out from the wall."""

    def emission(hit: Hit) -> Array:
        soft, row = 0.03 + hit.pixel, np.floor(hit.v / 0.3)
        up = hit.v - 0.3 * row - 0.15
        ring = inside(np.hypot(0.8 * hit.u, up) - 0.09, 0.022, soft)
        bar = inside(up, 0.02, soft) * inside(hit.u, 0.14, soft)
        glyph = np.where(paint.cell_random(row, 0, salt) < 0.5, ring, np.maximum(bar, 0.6 * ring))
        frame = inside(np.maximum(np.abs(hit.u) / 0.27, np.abs(hit.v) / 0.87) - 0.9, 0.03, 0.06)
        return (colour * glyph + colour[[1, 2, 0]] * frame) * hit.faces(2, -1)

    return Box((x, y, z), (0.3, 0.9, 0.06), albedo=DARK, emission=emission, casts=False)


def street_lamp(side: float, x: float, z: float, tall: float, light: Array) -> Lamp:
    """A post with a lantern reaching over the kerb."""

    def glow(hit: Hit) -> Array:
        return light * (8.0 + 16.0 * smooth(-hit.normal[1], 1.5))

    arm = Box((side * (x - 0.4), tall, z), (0.45, 0.04, 0.04), albedo=DARK, casts=False)
    lantern = Sphere((side * (x - 0.8), tall - 0.12, z), 0.17, emission=glow, casts=False)
    pool = Light((side * (x - 0.8), tall - 0.3, z), light, 0.4, facing=(0.0, -1.0, 0.0), shadows=False)
    return [rod(side * x, 0.0, z, tall, (0.09, 0.05), DARK), arm, lantern], pool


def car(x: float, z: float, oncoming: bool, body: Array) -> Lamp:
    """A car with its head lights or tail lights to us."""
    glow, size = (kelvin(5000.0) * 260.0, 0.1) if oncoming else (rgb(1.0, 0.03, 0.02) * 40.0, 0.08)
    hull = Box((x, 0.6, z), (0.85, 0.3, 2.0), albedo=body, gloss=0.06, thickness=0.5)
    cabin = Box((x, 1.12, z + 0.1), (0.7, 0.25, 1.1), albedo=0.5 * DARK, gloss=0.08, thickness=0.5)
    bulbs = [Sphere((x + dx, 0.66, z - 2.05), size, emission=glow, casts=False) for dx in (-0.6, 0.6)]
    beam = Light((x, 0.6, z - 2.2), 0.04 * glow, 0.5, facing=(0.0, -0.25, -1.0), shadows=False)
    return [hull, cabin, *bulbs], beam


def _ground(tile: Array, road: float, wet: float) -> Shape:
    """Asphalt with a dashed line between paved walks, more or less wet."""

    def albedo(hit: Hit) -> Array:
        x, z = hit.point[0], hit.point[2]
        grain = np.exp(0.35 * sample(tile, 1.1 * x, 1.1 * z) + 0.3 * sample(tile, 0.07 * x, 0.07 * z))
        dash = inside(x, 0.07, hit.pixel + 0.02) * smooth(np.sin(1.3 * z) + 0.2, 0.1)
        slabs = paint.checker(tile, x, z, hit.pixel, rgb(0.3, 0.29, 0.27), 0.5) * 0.5 + 0.1
        asphalt = mix(rgb(0.07, 0.07, 0.075) * grain, rgb(0.5, 0.5, 0.45), dash)
        return mix(asphalt, slabs, smooth(np.abs(x) - road, 0.04 + hit.pixel))

    def puddles(hit: Hit) -> Array:
        x, z = hit.point[0], hit.point[2]
        rough = 0.02 + 0.03 * smooth(sample(tile, 0.11 * x, 0.11 * z), 1.0)
        across, along = 0.25 * sample(tile, 0.9 * x, 0.5 * z), sample(tile, 0.9 * x, 0.9 * z + 0.5)
        return np.stack([rough * across, 0.0 * x, rough * along])

    return Box((0.0, -1.0, 40.0), (60.0, 1.0, 80.0), albedo=albedo, gloss=wet, ripple=puddles, casts=False)


def street_night(rng: Rng) -> tuple[Scene, Camera]:
    """A street between town houses at night, often after rain."""
    draw, tile, salt = rng.uniform, fractal_tile(rng, 1.2), int(rng.integers(1 << 16))
    road = draw(2.8, 3.8)
    edge = road + draw(1.8, 2.6)
    shapes: list[Shape] = [_ground(tile, road, draw(0.02, 0.3))]
    for side in (-1.0, 1.0):
        z = -2.0
        while z < 50.0:
            long = draw(7.0, 12.0)
            shapes += house(rng, tile, side, edge + draw(0.0, 0.25), z + 0.5 * long, long)
            z += long
    tint, power, tall, spacing = (
        kelvin(rng.choice([1900.0, 2300.0, 4000.0])),
        draw(8.0, 16.0),
        draw(4.2, 5.2),
        draw(4.8, 6.6),
    )
    lamps = [
        street_lamp((-1.0) ** (k + 1), road + 0.4, 5.0 + spacing * k, tall, tint * power) for k in range(5)
    ]
    for k in range(int(rng.integers(1, 4))):
        lane = (-0.5, 0.5)[k % 2] * road
        lamps.append(car(lane, draw(9.0, 13.0) + 8.0 * k, k % 2 == 0, any_hue(rng, 0.9, 0.3)))
    shapes += [shape for parts, _ in lamps for shape in parts]
    moon = towards(draw(-0.25, 0.25), draw(0.3, 0.45))
    night = sky(rgb(0.002, 0.003, 0.008), rgb(0.03, 0.022, 0.02), moon, rgb(0.006, 0.007, 0.009))
    heaven = night, stars(salt, 0.05), disc(moon, 0.022, rgb(5.0, 5.0, 4.6))
    ambient = mix(tint, rgb(0.4, 0.5, 1.0), 0.6) * draw(0.004, 0.01)
    camera = Camera((draw(-1.5, 1.5), draw(1.6, 2.4), -1.0), draw(-0.08, 0.08), draw(0.0, 0.08), 0.8)
    lights = [light for _, light in lamps]
    return Scene(
        shapes, lights, lambda hit: ambient, lambda direction: paint_layers(heaven, direction)
    ), camera
