"""A street at night: lit windows, lamps and their pools of light, cars, neon signs and a wet road."""

from __future__ import annotations

import numpy as np

from hdrlab.datasets.scenes import paint
from hdrlab.datasets.scenes.indoors import plain
from hdrlab.datasets.scenes.outdoors import disc, paint_layers, sky, stars, towards
from hdrlab.datasets.scenes.paint import (
    Array,
    any_hue,
    fractal_tile,
    inside,
    kelvin,
    mix,
    rgb,
    sample,
    smooth,
)
from hdrlab.datasets.scenes.trace import (
    Box,
    Camera,
    Cone,
    Hit,
    Light,
    Paint,
    Scene,
    Shape,
    Sphere,
    black,
    partly,
)

Rng = np.random.Generator


def house(rng: Rng, tile: Array, side: float, edge: float, z: float, long: float) -> list[Shape]:
    """A town house along the pavement: brick or plaster, lit windows, and on some a shop or a neon sign."""
    storey, bay, salt = rng.uniform(2.8, 3.4), rng.uniform(1.5, 2.2), int(rng.integers(1 << 16))
    tall, lit = storey * int(rng.integers(2, 5)) + 0.8, rng.uniform(0.2, 0.5)
    colour, masonry = any_hue(rng, 0.4, 0.4), paint.bricks if rng.random() < 0.5 else paint.plaster
    shop, shop_light = rng.random() < 0.5, mix(kelvin(3500.0), any_hue(rng, 0.8), 0.4) * rng.uniform(1.0, 3.0)

    def place(hit: Hit) -> tuple[Array, Array, Array]:
        return hit.u / bay, (hit.v + 0.5 * tall) / storey, hit.pixel / bay

    def shop_front(hit: Hit) -> Array:
        glass = inside(hit.v + 0.5 * tall - 1.5, 1.0, 0.05 + hit.pixel) * inside(
            hit.u, 0.42 * long, 0.05 + hit.pixel
        )
        goods = np.exp(0.7 * sample(tile, 0.4 * hit.u, 0.4 * hit.v))
        return shop_light * (glass * goods * (0.3 + smooth(np.sin(2.2 * hit.u) + 0.9, 0.1)))

    def emission(hit: Hit) -> Array:
        ground = smooth(storey - 0.2 - hit.v - 0.5 * tall, 0.1) * shop
        upright = np.abs(hit.normal[1]) < 0.5
        homes = partly(
            upright * (1.0 - ground), lambda part: 1.2 * paint.lit_windows(*place(part), lit, salt), hit
        )
        return homes + partly(upright * ground, shop_front, hit)

    def albedo(hit: Hit) -> Array:
        return masonry(tile, hit.u, hit.v, hit.pixel, colour) * (1.0 - 0.85 * paint.window_panes(*place(hit)))

    deep = 3.0
    body = Box(
        albedo=albedo, emission=emission, centre=(side * (edge + deep), 0.5 * tall, z), half=(deep, 0.5 * tall, 0.5 * long),
        casts=False,
    )  # fmt: skip
    shapes: list[Shape] = [body]
    if rng.random() < 0.6:
        shapes.append(
            _neon(
                side * (edge - 0.45),
                rng.uniform(3.2, 4.2),
                z - 0.3 * long,
                any_hue(rng, 0.97, rng.uniform(12.0, 30.0)),
                salt,
            )
        )
    return shapes


def _neon(x: float, y: float, z: float, colour: Array, salt: int) -> Shape:
    """A sign of glowing strokes standing out from the wall."""

    def emission(hit: Hit) -> Array:
        soft = 0.03 + hit.pixel
        row = np.floor(hit.v / 0.3)
        ring = inside(np.hypot(hit.u * 0.8, hit.v - 0.3 * row - 0.15) - 0.09, 0.022, soft)
        bar = inside(hit.v - 0.3 * row - 0.15, 0.02, soft) * inside(hit.u, 0.14, soft)
        glyph = np.where(paint.cell_random(row, 0, salt) < 0.5, ring, np.maximum(bar, 0.6 * ring))
        frame = inside(np.maximum(np.abs(hit.u) / 0.27, np.abs(hit.v) / 0.87) - 0.9, 0.03, 0.06)
        return (colour * glyph + colour[[1, 2, 0]] * frame) * (np.abs(hit.normal[2]) > 0.5)

    return Box(
        albedo=lambda hit: rgb(0.02, 0.02, 0.02),
        emission=emission,
        centre=(x, y, z),
        half=(0.3, 0.9, 0.06),
        casts=False,
    )


def street_lamp(
    side: float, x: float, z: float, tall: float, colour: Array, power: float
) -> tuple[list[Shape], Light]:
    """A post with a lantern reaching over the kerb."""
    dark = plain_colour(0.03, 0.03, 0.035)
    post = Cone(albedo=dark, base=(side * x, 0.0, z), height=tall, radii=(0.09, 0.05), casts=False)
    arm = Box(albedo=dark, centre=(side * (x - 0.4), tall, z), half=(0.45, 0.04, 0.04), casts=False)
    lantern = Sphere(
        albedo=black, emission=lambda hit: colour * power * (8.0 + 16.0 * smooth(-hit.normal[1], 1.5)),
        centre=(side * (x - 0.8), tall - 0.12, z), radius=0.17, casts=False,
    )  # fmt: skip
    light = Light((side * (x - 0.8), tall - 0.3, z), colour * power, 0.4, (0.0, -1.0, 0.0), shadows=False)
    return [post, arm, lantern], light


def plain_colour(red: float, green: float, blue: float) -> Paint:
    """One colour everywhere."""
    colour = rgb(red, green, blue)
    return lambda hit: colour


def car(x: float, z: float, towards_us: bool, body: Array, tile: Array) -> tuple[list[Shape], list[Light]]:
    """A car with its head lights or tail lights to us."""
    end = z - 2.05
    shapes: list[Shape] = [
        Box(albedo=plain(body, tile), centre=(x, 0.6, z), half=(0.85, 0.3, 2.0), gloss=0.06, thickness=0.5),
        Box(
            albedo=plain_colour(0.01, 0.01, 0.012),
            centre=(x, 1.12, z + 0.1),
            half=(0.7, 0.25, 1.1),
            gloss=0.08,
            thickness=0.5,
        ),
    ]
    glow = kelvin(5000.0) * 260.0 if towards_us else rgb(1.0, 0.03, 0.02) * 40.0
    for dx in (-0.6, 0.6):
        size = 0.1 if towards_us else 0.08
        shapes.append(
            Sphere(
                albedo=black, emission=lambda hit: glow, centre=(x + dx, 0.66, end), radius=size, casts=False
            )
        )
    beam = Light((x, 0.6, end - 0.15), glow * 0.04, 0.5, (0.0, -0.25, -1.0), shadows=False)
    return shapes, [beam]


def street_night(rng: Rng) -> tuple[Scene, Camera]:
    """A street between town houses at night, often after rain."""
    tile = fractal_tile(rng, 1.2)
    road, edge = rng.uniform(2.8, 3.8), 0.0
    edge = road + rng.uniform(1.8, 2.6)
    wet = rng.uniform(0.02, 0.3)

    def ground_paint(hit: Hit) -> Array:
        x, z = hit.point[0], hit.point[2]
        grain = np.exp(0.35 * sample(tile, 1.1 * x, 1.1 * z) + 0.3 * sample(tile, 0.07 * x, 0.07 * z))
        dash = inside(x, 0.07, hit.pixel + 0.02) * smooth(np.sin(1.3 * z) + 0.2, 0.1)
        slabs = paint.checker(tile, x, z, hit.pixel, rgb(0.3, 0.29, 0.27), 0.5) * 0.5 + 0.1
        kerb = smooth(np.abs(x) - road, 0.04 + hit.pixel)
        return mix(mix(rgb(0.07, 0.07, 0.075) * grain, rgb(0.5, 0.5, 0.45), dash), slabs, kerb)

    def puddles(hit: Hit) -> Array:
        x, z = hit.point[0], hit.point[2]
        rough = 0.02 + 0.03 * smooth(sample(tile, 0.11 * x, 0.11 * z), 1.0)
        return (
            np.stack([0.25 * sample(tile, 0.9 * x, 0.5 * z), 0.0 * x, sample(tile, 0.9 * x, 0.9 * z + 0.5)])
            * rough
        )

    shapes: list[Shape] = [
        Box(
            albedo=ground_paint,
            centre=(0.0, -1.0, 40.0),
            half=(60.0, 1.0, 80.0),
            gloss=wet,
            ripple=puddles,
            casts=False,
        )
    ]
    for side in (-1.0, 1.0):
        z = -2.0
        while z < 50.0:
            long = rng.uniform(7.0, 12.0)
            shapes += house(rng, tile, side, edge + rng.uniform(0.0, 0.25), z + 0.5 * long, long)
            z += long
    lights: list[Light] = []
    tint = kelvin(rng.choice([1900.0, 2300.0, 4000.0]))
    power, tall, spacing = rng.uniform(8.0, 16.0), rng.uniform(4.2, 5.2), rng.uniform(8.0, 11.0)
    for k in range(5):
        side = 1.0 if k % 2 else -1.0
        parts, light = street_lamp(side, road + 0.4, 5.0 + 0.6 * spacing * k, tall, tint, power)
        shapes += parts
        lights.append(light)
    for k in range(int(rng.integers(1, 4))):
        oncoming = k % 2 == 0
        parts, beams = car(
            (-0.5 if oncoming else 0.5) * road,
            rng.uniform(9.0, 13.0) + 8.0 * k,
            oncoming,
            any_hue(rng, 0.9, 0.3),
            tile,
        )
        shapes += parts
        lights += beams
    moon, salt = towards(rng.uniform(-0.25, 0.25), rng.uniform(0.3, 0.45)), int(rng.integers(1 << 16))
    heaven = (
        sky(rgb(0.002, 0.003, 0.008), rgb(0.03, 0.022, 0.02), moon, rgb(0.006, 0.007, 0.009)),
        stars(salt, 0.05),
        disc(moon, 0.022, rgb(5.0, 5.0, 4.6)),
    )
    ambient = mix(tint, rgb(0.4, 0.5, 1.0), 0.6) * rng.uniform(0.004, 0.01)
    camera = Camera(
        (rng.uniform(-1.5, 1.5), rng.uniform(1.6, 2.4), -1.0),
        rng.uniform(-0.08, 0.08),
        rng.uniform(0.0, 0.08),
        0.8,
    )
    return Scene(
        shapes, lights, lambda hit: ambient, lambda direction: paint_layers(heaven, direction)
    ), camera
