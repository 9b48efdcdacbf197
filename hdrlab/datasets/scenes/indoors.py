"""Rooms: dark ones with lamps, one with a window, a corridor with a bright exit, and a still life of glossy things."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hdrlab.datasets.scenes import paint
from hdrlab.datasets.scenes.outdoors import outlook, towards
from hdrlab.datasets.scenes.paint import (
    Array,
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
Triple = tuple[float, float, float]


def plain(colour: Array, tile: Array, rough: float = 0.1) -> Paint:
    """One colour with a little noise."""
    return lambda hit: colour * np.exp(rough * sample(tile, 0.6 * hit.u, 0.6 * hit.v))


def textured(
    texture: Callable[[Array, Array, Array, Array, Array], Array], tile: Array, colour: Array
) -> Paint:
    """A texture of the paint module in one colour."""
    return lambda hit: texture(tile, hit.u, hit.v, hit.pixel, colour)


def by_side(floor: Paint, walls: Paint, ceiling: Paint) -> Paint:
    """Different paints for surfaces that face up, sideways and down."""

    def albedo(hit: Hit) -> Array:
        up = hit.normal[1]
        upright = partly(1.0 * (np.abs(up) <= 0.5), walls, hit)
        return upright + partly(1.0 * (up > 0.5), floor, hit) + partly(1.0 * (up < -0.5), ceiling, hit)

    return albedo


def room_paint(rng: Rng, tile: Array) -> Paint:
    """Random materials for the floor, walls and ceiling of a room."""
    floors = paint.wood, paint.checker, paint.fabric
    walls = paint.plaster, paint.wallpaper, paint.bricks
    floor = floors[rng.integers(3)]
    floor_colour = (
        rgb(0.34, 0.19, 0.09) * rng.uniform(0.6, 1.2) if floor is paint.wood else any_hue(rng, 0.6, 0.5)
    )
    return by_side(
        textured(floor, tile, floor_colour),
        textured(walls[rng.integers(3)], tile, any_hue(rng, 0.5, 0.6)),
        textured(paint.plaster, tile, rgb(0.55, 0.54, 0.5)),
    )


def corner_shade(half: Triple, centre: Triple, light: Array) -> Paint:
    """Ambient light that fades towards the edges of a room."""

    def ambient(hit: Hit) -> Array:
        room = np.array(half)[:, None] - np.abs(hit.point - np.array(centre)[:, None])
        return light * np.prod(0.45 + 0.55 * (1.0 - np.exp(-np.maximum(room, 0.0) / 0.35)), axis=0)

    return ambient


def table(at: Triple, half: tuple[float, float], yaw: float, albedo: Paint) -> list[Shape]:
    """A table whose top's centre is ``at``: a board on four legs."""
    x, top, z = at
    c, s = np.cos(yaw), np.sin(yaw)
    shapes: list[Shape] = [
        Box(albedo=albedo, centre=(x, top - 0.02, z), half=(half[0], 0.02, half[1]), yaw=yaw, gloss=0.02)
    ]
    for right, ahead in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
        dx, dz = right * (half[0] - 0.05), ahead * (half[1] - 0.05)
        leg = (x + c * dx + s * dz, 0.5 * top - 0.02, z - s * dx + c * dz)
        shapes.append(
            Box(albedo=albedo, centre=leg, half=(0.025, 0.5 * top - 0.02, 0.025), yaw=yaw, thickness=0.03)
        )
    return shapes


def sofa(x: float, z: float, yaw: float, wide: float, albedo: Paint) -> list[Shape]:
    """A sofa or armchair facing −z before turning: seat, back and two arms."""
    c, s = np.cos(yaw), np.sin(yaw)

    def part(dx: float, y: float, dz: float, half: Triple) -> Shape:
        return Box(
            albedo=albedo,
            centre=(x + c * dx + s * dz, y, z - s * dx + c * dz),
            half=half,
            yaw=yaw,
            thickness=0.2,
        )

    return [
        part(0, 0.22, 0, (wide, 0.2, 0.4)),
        part(0, 0.62, 0.34, (wide, 0.26, 0.1)),
        part(-wide - 0.08, 0.34, 0, (0.09, 0.32, 0.42)),
        part(wide + 0.08, 0.34, 0, (0.09, 0.32, 0.42)),
    ]


def bookcase(x: float, z: float, half: tuple[float, float], salt: int, tile: Array) -> Shape:
    """A full bookcase standing against the far wall."""

    def albedo(hit: Hit) -> Array:
        row = np.floor(hit.v / 0.3)
        book = np.floor(hit.u / 0.045 + 7 * row)
        hue = 2 * np.pi * cell_random(book, row, salt) + np.array([[0.0], [2.1], [4.2]])
        spine = (0.12 + 0.1 * np.sin(hue)) * (0.4 + cell_random(book, row, salt + 1))
        tall = inside(hit.v / 0.3 - row - 0.42, 0.28 + 0.13 * cell_random(book, row, salt + 2), 0.05)
        gap = inside(hit.u / 0.045 + 7 * row - book - 0.5, 0.46, 0.1 + hit.pixel / 0.045)
        shelf = smooth(np.abs(hit.v / 0.3 - row - 0.5) - 0.45, 0.05)
        return mix(rgb(0.012, 0.01, 0.008) + spine * tall * gap, rgb(0.3, 0.17, 0.08), shelf)

    return Box(albedo=albedo, centre=(x, half[1], z), half=(half[0], half[1], 0.16))


def picture(x: float, y: float, z: float, half: tuple[float, float], salt: int, tile: Array) -> Shape:
    """A framed painting on the far wall."""

    def albedo(hit: Hit) -> Array:
        frame = np.maximum(np.abs(hit.u) - half[0] + 0.045, np.abs(hit.v) - half[1] + 0.045)
        return mix(
            paint.painting(tile, hit.u, hit.v, salt), rgb(0.3, 0.2, 0.06), smooth(frame, 0.005 + hit.pixel)
        )

    return Box(albedo=albedo, centre=(x, y, z), half=(*half, 0.02), casts=False)


def lampshade(
    x: float, y: float, z: float, size: float, colour: Array, power: float
) -> tuple[list[Shape], Light]:
    """A lit shade with its bulb showing above: brightest in the middle, with pleats; and the light it gives."""

    def emission(hit: Hit) -> Array:
        centre = np.exp(-(((hit.v - 0.5 * size) / (0.45 * size)) ** 2))
        pleats = 1.0 + 0.12 * np.sin(hit.u / size * 45.0)
        rim = smooth(np.abs(hit.v - 0.5 * size) - 0.46 * size, 0.02 * size + hit.pixel)
        return (
            colour
            * (power * 7.0 * (0.2 + centre) * pleats * (1.0 - 0.7 * rim))
            * (np.abs(hit.normal[1:2]) < 0.9)
        )

    shade = Cone(
        albedo=lambda hit: rgb(0.5, 0.45, 0.4), emission=emission, base=(x, y, z), height=size,
        radii=(0.55 * size, 0.35 * size), casts=False,
    )  # fmt: skip
    bulb = Sphere(
        albedo=lambda hit: rgb(0.5, 0.5, 0.5), emission=lambda hit: mix(colour, kelvin(4000.0), 0.4) * (170.0 * power),
        centre=(x, y + 1.12 * size, z), radius=0.13 * size, casts=False,
    )  # fmt: skip
    return [shade, bulb], Light((x, y + 0.7 * size, z), colour * power, radius=0.25)


def floor_lamp(x: float, z: float, tall: float, colour: Array, power: float) -> tuple[list[Shape], Light]:
    """A standing lamp."""
    shapes, light = lampshade(x, tall, z, 0.38, colour, power)
    metal = Cone(
        albedo=lambda hit: rgb(0.2, 0.16, 0.1), base=(x, 0.0, z), height=tall, radii=(0.02, 0.02), casts=False
    )
    foot = Cone(
        albedo=lambda hit: rgb(0.1, 0.08, 0.06),
        base=(x, 0.0, z),
        height=0.03,
        radii=(0.18, 0.16),
        casts=False,
    )
    return [*shapes, metal, foot], light


def table_lamp(
    x: float, top: float, z: float, colour: Array, power: float, foot: Array
) -> tuple[list[Shape], Light]:
    """A lamp on a round glazed foot, to stand on something of height ``top``."""
    shapes, light = lampshade(x, top + 0.3, z, 0.28, colour, power)
    ball = Sphere(albedo=lambda hit: foot, centre=(x, top + 0.13, z), radius=0.13, gloss=0.05, casts=False)
    neck = Cone(albedo=lambda hit: foot, base=(x, top + 0.2, z), height=0.12, radii=(0.02, 0.02), casts=False)
    return [*shapes, ball, neck], light


def pendant(
    x: float, z: float, ceiling: float, drop: float, colour: Array, power: float
) -> tuple[list[Shape], Light]:
    """A bare bulb under a small metal hood on a cord."""
    y = ceiling - drop
    hood = Cone(
        albedo=lambda hit: rgb(0.12, 0.02, 0.02), base=(x, y, z), height=0.16, radii=(0.22, 0.05), casts=False
    )
    cord = Cone(
        albedo=lambda hit: rgb(0.02, 0.02, 0.02),
        base=(x, y, z),
        height=drop,
        radii=(0.008, 0.008),
        casts=False,
    )
    bulb = Sphere(
        albedo=black, emission=lambda hit: colour * (130.0 * power) * (0.5 + 0.5 * np.abs(hit.normal[1])),
        centre=(x, y - 0.03, z), radius=0.075, casts=False,
    )  # fmt: skip
    return [hood, cord, bulb], Light((x, y - 0.1, z), 2.2 * colour * power, radius=0.15)


def screen(x: float, z: float, half: tuple[float, float], salt: int, tile: Array) -> list[Shape]:
    """A television that is on, on a low cabinet against the far wall."""

    def emission(hit: Hit) -> Array:
        glass = inside(hit.u, half[0] - 0.03, hit.pixel) * inside(hit.v, half[1] - 0.03, hit.pixel)
        return paint.painting(tile, hit.u, hit.v, salt) ** 2 * 9.0 * glass * (hit.normal[2] < -0.5)

    set_ = Box(
        albedo=lambda hit: rgb(0.01, 0.01, 0.01),
        emission=emission,
        centre=(x, 0.62 + half[1], z),
        half=(*half, 0.03),
    )
    cabinet = Box(
        albedo=plain(rgb(0.12, 0.07, 0.04), tile), centre=(x, 0.25, z), half=(half[0] + 0.2, 0.25, 0.2)
    )
    return [set_, cabinet]


def lamp_room(rng: Rng) -> tuple[Scene, Camera]:
    """A living room at night, lit by two or three lamps."""
    tile = fractal_tile(rng, 1.2)
    half = (rng.uniform(2.0, 2.6), rng.uniform(1.2, 1.4), rng.uniform(2.2, 2.8))
    centre = (0.0, half[1], half[2])
    back, side = 2 * half[2], rng.choice([-1.0, 1.0])
    salt = int(rng.integers(1 << 16))
    shapes: list[Shape] = [Box(albedo=room_paint(rng, tile), centre=centre, half=half, inward=True)]

    weave, dark = textured(paint.fabric, tile, any_hue(rng, 0.9, 0.5)), any_hue(rng, 0.8, 0.3)

    def rug(hit: Hit) -> Array:
        ring = np.sin(
            26.0 * np.maximum(np.abs(hit.u) - 0.35, np.abs(hit.v)) + 0.4 * sample(tile, hit.u, hit.v)
        )
        return mix(weave(hit), dark, smooth(ring, 0.4 + 60.0 * hit.pixel))

    shapes.append(
        Box(albedo=rug, centre=(side * 0.3, 0.005, back - 2.0), half=(1.25, 0.01, 0.85), casts=False)
    )
    cloth = textured(paint.fabric, tile, any_hue(rng, 0.9, 0.5))
    shapes += sofa(
        side * rng.uniform(0.2, 0.6), back - rng.uniform(0.6, 1.0), side * rng.uniform(-0.1, 0.3), 0.8, cloth
    )
    board = textured(paint.wood, tile, rgb(0.3, 0.17, 0.09))
    spot = (side * rng.uniform(0.1, 0.5), 0.45, back - rng.uniform(1.9, 2.2))
    shapes += table(spot, (0.55, 0.35), rng.uniform(-0.3, 0.3), board)
    bowl = any_hue(rng, 0.95, 0.7)
    shapes.append(
        Sphere(albedo=lambda hit: bowl, centre=(spot[0] + 0.2, 0.55, spot[2]), radius=0.1, gloss=0.05)
    )
    if rng.random() < 0.5:
        shapes.append(
            bookcase(-side * (half[0] - 0.75), back - 0.17, (0.6, rng.uniform(0.8, 1.0)), salt, tile)
        )
    else:
        shapes += screen(-side * (half[0] - 1.0), back - 0.25, (0.6, 0.34), salt, tile)
    for k in range(int(rng.integers(1, 4))):
        at = side * (half[0] - 0.6 - 0.75 * k), rng.uniform(1.5, 1.7)
        shapes.append(
            picture(*at, back - 0.02, (rng.uniform(0.2, 0.3), rng.uniform(0.2, 0.35)), salt + k, tile)
        )

    lamps = [
        floor_lamp(
            side * (half[0] - 0.45), back - 0.5, rng.uniform(1.2, 1.4), kelvin(rng.uniform(2200, 3000)), 1.0
        )
    ]
    lamps.append(
        table_lamp(
            spot[0] - 0.3, 0.45, spot[2], kelvin(rng.uniform(2200, 3500)), 0.35, any_hue(rng, 0.9, 0.4)
        )
    )
    if rng.random() < 0.5:
        lamps.append(
            pendant(
                -side * rng.uniform(0.6, 1.1),
                back - 2.0,
                2 * half[1],
                rng.uniform(0.6, 0.9),
                kelvin(2600.0),
                0.5,
            )
        )
    shapes += [shape for parts, _ in lamps for shape in parts]
    camera = Camera(
        (-side * rng.uniform(0.3, 0.8), rng.uniform(1.2, 1.5), 0.25), side * rng.uniform(0.0, 0.2), -0.1, 0.75
    )
    lights = [light for _, light in lamps]
    glow = kelvin(2500.0) * rng.uniform(0.002, 0.008)
    return Scene(shapes, lights, corner_shade(half, centre, glow)), camera


def window_room(rng: Rng) -> tuple[Scene, Camera]:
    """A dim room with a tall window onto a sunny country, a patch of sunlight on the floor, curtains and a table."""
    tile = fractal_tile(rng, 1.2)
    half = (rng.uniform(1.9, 2.4), rng.uniform(1.25, 1.45), rng.uniform(1.9, 2.4))
    centre, back = (0.0, half[1], half[2]), 2 * half[2]
    side = rng.choice([-1.0, 1.0])
    middle, wide, low, high = (
        side * rng.uniform(-0.1, 0.5),
        rng.uniform(0.6, 0.95),
        rng.uniform(0.6, 0.9),
        rng.uniform(2.0, 2.25),
    )
    bars = (int(rng.integers(2, 4)), int(rng.integers(2, 4)))
    camera = Camera(
        (side * rng.uniform(0.0, 0.6), rng.uniform(1.3, 1.5), 0.25),
        -side * rng.uniform(-0.05, 0.12),
        -0.08,
        0.75,
    )
    if rng.random() < 0.5:
        sun = towards(-side * rng.uniform(0.25, 0.6), rng.uniform(0.35, 0.6))
    else:  # low in the sky, seen through one of the panes
        way = (
            np.array([[middle + rng.uniform(-0.8, 0.8) * wide], [high - rng.uniform(0.15, 0.3)], [back]])
            - np.array([camera.position]).T
        )
        sun = way / np.sqrt((way**2).sum())
    view, brightness = outlook(rng, sun), rng.uniform(2.5, 5.0)

    def glass(x: Array, y: Array, soft: Array | float) -> Array:
        u, v = (x - middle) / wide, (2 * y - low - high) / (high - low)
        panes = inside(x - middle, wide, soft) * inside(y - 0.5 * (low + high), 0.5 * (high - low), soft)
        for along, size, count in ((u, wide, bars[0]), (v, 0.5 * (high - low), bars[1])):
            cell = 0.5 * (along + 1.0) * count
            panes = panes * inside(
                cell - np.floor(cell) - 0.5, 0.5 - 0.025 * count / (2 * size), soft * count / (2 * size)
            )
        return panes

    walls = room_paint(rng, tile)

    def far_wall(hit: Hit) -> Array:
        return (hit.normal[2] < -0.5) * glass(hit.point[0], hit.point[1], hit.pixel + 0.004)

    def albedo(hit: Hit) -> Array:
        near_glass = np.maximum(
            np.abs(hit.point[0] - middle) - wide,
            np.abs(hit.point[1] - 0.5 * (low + high)) - 0.5 * (high - low),
        )
        frame = (hit.normal[2] < -0.5) * smooth(0.07 - near_glass, 0.01 + hit.pixel)
        return mix(walls(hit), rgb(0.6, 0.58, 0.54), frame) * (1.0 - far_wall(hit))

    def emission(hit: Hit) -> Array:
        return partly(brightness * far_wall(hit), lambda part: view(part.view), hit)

    def sunbeam(point: Array) -> Array:
        reach = (back - point[2]) / sun[2]
        return glass(point[0] + reach * sun[0], point[1] + reach * sun[1], 0.012 * (1.0 + reach))

    shapes: list[Shape] = [Box(albedo=albedo, emission=emission, centre=centre, half=half, inward=True)]
    curtain = any_hue(rng, 0.85, 0.7)
    for edge in (-1.0, 1.0):
        shapes.append(_curtain(middle + edge * (wide + 0.12), back - 0.08, high + 0.15, curtain, tile))
    shapes.append(
        Cone(
            albedo=plain(rgb(0.05, 0.03, 0.02), tile),
            base=(middle, high + 0.15, back - 0.08),
            height=0.04,
            radii=(0.03, 0.03),
        )
    )
    spot = (-side * rng.uniform(0.2, 0.7), 0.74, back - rng.uniform(1.1, 1.5))
    shapes += table(
        spot, (0.65, 0.4), rng.uniform(-0.4, 0.4), textured(paint.wood, tile, rgb(0.36, 0.2, 0.1))
    )
    vase = any_hue(rng, 0.9, 0.5)
    shapes.append(
        Cone(
            albedo=lambda hit: vase, base=(spot[0], 0.74, spot[2]), height=0.28, radii=(0.05, 0.1), gloss=0.05
        )
    )
    shapes.append(
        Sphere(
            albedo=plain(rgb(0.6, 0.08, 0.03), tile),
            centre=(spot[0] + 0.3, 0.81, spot[2]),
            radius=0.07,
            gloss=0.03,
        )
    )
    shapes += sofa(
        side * (half[0] - 0.6),
        back - 1.5,
        side * rng.uniform(0.8, 1.3),
        0.35,
        textured(paint.fabric, tile, any_hue(rng, 0.9, 0.45)),
    )
    shapes.append(
        bookcase(
            -side * (half[0] - 0.3), back - 0.17, (0.28, rng.uniform(0.5, 0.9)), int(rng.integers(99)), tile
        )
    )

    x, y, z = 200.0 * sun[:, 0]
    lights = [
        Light((x, y, z), kelvin(4500.0) * (brightness * rng.uniform(2.0, 4.0) * 200.0**2), gate=sunbeam)
    ]
    for dx in (-0.5, 0.5):
        sky_light = Light(
            (middle + dx * wide, 0.5 * (low + high), back - 0.02),
            kelvin(8000.0) * 0.5 * brightness,
            0.4,
            (0.0, 0.0, -1.0),
        )
        lights.append(sky_light)
    return Scene(
        shapes, lights, corner_shade(half, centre, rgb(0.9, 1.0, 1.1) * rng.uniform(0.015, 0.03))
    ), camera


def _curtain(x: float, z: float, tall: float, colour: Array, tile: Array) -> Shape:
    """A curtain in folds; daylight shines through its thin places."""

    def folds(hit: Hit) -> Array:
        return 0.5 + 0.5 * np.sin(hit.u * 70.0 + 0.7 * sample(tile, 0.0 * hit.u + x, 0.03 * hit.v))

    def emission(hit: Hit) -> Array:
        return colour**1.5 * (0.25 * folds(hit) ** 2 * np.exp(-(((hit.v - 0.2) / 0.7) ** 2)))

    def albedo(hit: Hit) -> Array:
        return colour * (0.25 + 0.75 * folds(hit))

    return Box(
        albedo=albedo, emission=emission, centre=(x, 0.5 * tall + 0.02, z), half=(0.2, 0.5 * tall, 0.03)
    )


def corridor(rng: Rng) -> tuple[Scene, Camera]:
    """A long dark passage with doors and a row of lamps, open at its end to the bright outdoors."""
    tile = fractal_tile(rng, 1.2)
    half = (rng.uniform(1.1, 1.5), rng.uniform(1.3, 1.5), rng.uniform(8.0, 11.0))
    centre, back = (0.0, half[1], half[2]), 2 * half[2]
    sun = towards(rng.uniform(-0.3, 0.3), rng.uniform(0.1, 0.3))
    view, brightness = outlook(rng, sun), rng.uniform(4.0, 9.0)
    walls, arch = room_paint(rng, tile), rng.uniform(0.75, 0.95)
    door, spacing = any_hue(rng, 0.8, 0.35), rng.uniform(2.6, 3.4)

    def opening(hit: Hit) -> Array:
        x, y = hit.point[0], hit.point[1]
        outside = np.where(y < 1.5, np.abs(x), np.hypot(x, y - 1.5)) - arch
        return (hit.normal[2] < -0.5) * smooth(-outside, 0.02 + hit.pixel)

    def albedo(hit: Hit) -> Array:
        along = hit.point[2] / spacing
        cell = along - np.floor(along) - 0.5
        soft = hit.pixel / spacing + 0.01
        leaf = (
            inside(cell, 0.45 / spacing, soft)
            * smooth(2.1 - hit.point[1], 0.03)
            * (np.abs(hit.normal[0]) > 0.5)
        )
        case = (
            inside(cell, 0.53 / spacing, soft)
            * smooth(2.18 - hit.point[1], 0.03)
            * (np.abs(hit.normal[0]) > 0.5)
        )
        colour = mix(walls(hit), rgb(0.5, 0.48, 0.42), case)
        return mix(colour, door * np.exp(0.2 * sample(tile, 2.0 * hit.u, 0.2 * hit.v)), leaf) * (
            1.0 - opening(hit)
        )

    room = Box(
        albedo=albedo, emission=lambda hit: partly(brightness * opening(hit), lambda part: view(part.view), hit), centre=centre, half=half,
        inward=True,
    )  # fmt: skip
    polish = Box(
        albedo=albedo,
        centre=(0.0, 0.0, half[2]),
        half=(half[0], 0.004, half[2]),
        gloss=rng.uniform(0.02, 0.12),
        casts=False,
    )
    shapes: list[Shape] = [room, polish]
    lights = [
        Light((0.0, 1.4, back - 0.3), kelvin(7500.0) * 1.5 * brightness, 0.5, (0.0, 0.0, -1.0), shadows=False)
    ]
    tint = kelvin(rng.uniform(2300.0, 5500.0))
    power = rng.uniform(0.15, 0.5)
    for k in range(5):
        z = spacing * (k + 1.0)
        on = rng.random() < 0.75
        glow = tint * (120.0 * power if on else 0.0)
        panel = Box(
            albedo=lambda hit: rgb(0.3, 0.3, 0.3), emission=_panel(glow), centre=(0.0, 2 * half[1] - 0.03, z),
            half=(0.18, 0.03, 0.4), casts=False,
        )  # fmt: skip
        shapes.append(panel)
        if on:
            lights.append(
                Light((0.0, 2 * half[1] - 0.15, z), tint * power, 0.2, (0.0, -1.0, 0.0), shadows=False)
            )
    for k in range(2):
        z, x = rng.uniform(2.5, 9.0), rng.choice([-1.0, 1.0]) * (half[0] - 0.25)
        shapes.append(
            Box(
                albedo=textured(paint.wood, tile, rgb(0.3, 0.18, 0.1)),
                centre=(x, 0.4, z),
                half=(0.2, 0.4, 0.3),
            )
        )
    camera = Camera(
        (rng.uniform(-0.4, 0.4), rng.uniform(1.3, 1.6), 0.3), rng.uniform(-0.05, 0.05), -0.02, 0.8
    )
    return Scene(shapes, lights, corner_shade(half, centre, tint * rng.uniform(0.001, 0.004))), camera


def _panel(glow: Array) -> Paint:
    """A ceiling lamp with two tubes behind its cover."""
    return lambda hit: glow * (0.3 + inside(np.abs(hit.u) - 0.08, 0.03, 0.02 + hit.pixel))


def still_life(rng: Rng) -> tuple[Scene, Camera]:
    """Glossy balls, fruit and vases on a table, under a bulb and a window-shaped softbox that they mirror."""
    tile = fractal_tile(rng, 1.2)
    cloth = (paint.fabric, paint.checker, paint.wood)[rng.integers(3)]
    top = Box(
        albedo=textured(cloth, tile, any_hue(rng, 0.6, 0.4)),
        centre=(0.0, -0.05, 1.5),
        half=(1.6, 0.05, 1.1),
        gloss=0.03,
    )
    wall = Box(
        albedo=textured((paint.plaster, paint.wallpaper, paint.bricks)[rng.integers(3)], tile, any_hue(rng, 0.8, 0.2)),
        centre=(0.0, 1.0, 3.9), half=(4.0, 3.0, 0.1),
    )  # fmt: skip
    shapes: list[Shape] = [top, wall]
    for k in range(int(rng.integers(5, 8))):
        x, z = -0.9 + 1.8 * (k + rng.uniform(0.1, 0.9)) / 7.0, rng.uniform(0.95, 2.1)
        size, gloss = rng.uniform(0.1, 0.24), float(rng.choice([0.04, 0.06, 0.5, 0.85]))
        body = plain(any_hue(rng, 0.97, 0.55 if gloss < 0.1 else 0.15), tile, 0.25)
        if rng.random() < 0.7:
            shapes.append(Sphere(albedo=body, centre=(x, size, z), radius=size, gloss=gloss))
        else:
            radii = (0.5 * size, size * rng.uniform(0.5, 0.9))
            shapes.append(Cone(albedo=body, base=(x, 0.0, z), height=2.2 * size, radii=radii, gloss=gloss))
    side = rng.choice([-1.0, 1.0])
    tint, power = kelvin(rng.uniform(3000.0, 9000.0)), rng.uniform(0.15, 0.5)

    def panes(hit: Hit) -> Array:
        cross = smooth(np.abs(hit.u) - 0.04, 0.02) * smooth(np.abs(hit.v) - 0.04, 0.02)
        return tint * (150.0 * power * cross * (hit.normal[2] > 0.5)) * (0.6 + 0.8 * smooth(hit.v, 1.2))

    box = (side * 1.3, 1.5, -0.9)
    shapes.append(Box(albedo=black, emission=panes, centre=box, half=(0.5, 0.6, 0.02), yaw=0.0, casts=False))
    lights = [Light(box, tint * power, 0.3)]
    bulb, lamp_power = (
        (-side * rng.uniform(0.2, 0.6), rng.uniform(0.75, 0.9), rng.uniform(1.6, 2.2)),
        rng.uniform(0.8, 1.4),
    )
    parts, light = pendant(bulb[0], bulb[2], 2.5, 2.5 - bulb[1], kelvin(2500.0), lamp_power)
    shapes += parts
    lights.append(light)
    ambient = rgb(1.0, 1.0, 1.2) * rng.uniform(0.002, 0.006)
    camera = Camera(
        (rng.uniform(-0.2, 0.2), rng.uniform(0.55, 0.8), -0.3), 0.0, rng.uniform(-0.16, -0.1), 0.9
    )
    return Scene(shapes, lights, lambda hit: ambient), camera
