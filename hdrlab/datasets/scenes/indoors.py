"""Rooms with lamps, with a window, a corridor with a bright exit, and a still life of glossy things."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hdrlab.datasets.scenes import paint
from hdrlab.datasets.scenes.outdoors import outlook, towards
from hdrlab.datasets.scenes.paint import (
    Array,
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
    Triple,
    partly,
)

Texture = Callable[[Array, Array, Array, Array, Array], Array]
Lamp = tuple[list[Shape], Light]
BROWN = rgb(0.32, 0.18, 0.09)


def textured(texture: Texture, tile: Array, colour: Array) -> Paint:
    """A texture of the paint module in one colour."""
    return lambda hit: texture(tile, hit.u, hit.v, hit.pixel, colour)


def any_wall(rng: Rng, tile: Array, saturation: float, value: float) -> Paint:
    """Plaster, paper or bricks of random hue."""
    texture = (paint.plaster, paint.wallpaper, paint.bricks)[rng.integers(3)]
    return textured(texture, tile, any_hue(rng, saturation, value))


def any_floor(rng: Rng, tile: Array, saturation: float, value: float) -> Paint:
    """Planks, tiles or carpet, the latter two of random hue."""
    texture = (paint.wood, paint.checker, paint.fabric)[rng.integers(3)]
    return textured(texture, tile, BROWN if texture is paint.wood else any_hue(rng, saturation, value))


def room_paint(rng: Rng, tile: Array) -> Paint:
    """Random materials for the floor, walls and ceiling of a room."""
    floor, walls = any_floor(rng, tile, 0.6, 0.5), any_wall(rng, tile, 0.5, 0.6)
    ceiling = textured(paint.plaster, tile, rgb(0.55, 0.54, 0.5))

    def albedo(hit: Hit) -> Array:
        level = partly(hit.faces(1, 1), floor, hit) + partly(hit.faces(1, -1), ceiling, hit)
        return level + partly(hit.upright(), walls, hit)

    return albedo


def corner_shade(half: Triple, light: Array) -> Paint:
    """Ambient light that fades towards the edges of a room on the ground that begins at z = 0."""

    def ambient(hit: Hit) -> Array:
        room = np.array(half)[:, None] - np.abs(hit.point - np.array([[0.0], [half[1]], [half[2]]]))
        shade: Array = np.prod(0.45 + 0.55 * (1.0 - np.exp(-np.maximum(room, 0.0) / 0.35)), axis=0)
        return light * shade

    return ambient


def assemble(
    at: Triple, yaw: float, albedo: Paint, parts: list[tuple[Triple, Triple]], gloss: float = 0.0
) -> list[Shape]:
    """Furniture from boxes, given by centre and half sizes in its own frame, turned and put at a place."""
    c, s = np.cos(yaw), np.sin(yaw)
    shapes: list[Shape] = []
    for (x, y, z), half in parts:
        centre = (at[0] + c * x + s * z, at[1] + y, at[2] - s * x + c * z)
        shapes.append(Box(centre, half, yaw, albedo=albedo, gloss=gloss, thickness=1.2 * min(half)))
    return shapes


def table(at: Triple, wide: float, deep: float, yaw: float, albedo: Paint) -> list[Shape]:
    """A table whose top's centre is ``at``: a board on four legs."""
    down = 0.5 * at[1]
    legs = [(x * (wide - 0.05), -down - 0.02, z * (deep - 0.05)) for x in (-1, 1) for z in (-1, 1)]
    parts = [((0.0, -0.02, 0.0), (wide, 0.02, deep)), *((leg, (0.025, down - 0.02, 0.025)) for leg in legs)]
    return assemble(at, yaw, albedo, parts, gloss=0.02)


def sofa(x: float, z: float, yaw: float, wide: float, albedo: Paint) -> list[Shape]:
    """A sofa or armchair: seat, back and two arms."""
    seat, back = ((0.0, 0.22, 0.0), (wide, 0.2, 0.4)), ((0.0, 0.62, 0.34), (wide, 0.26, 0.1))
    arms = [((edge * (wide + 0.08), 0.34, 0.0), (0.09, 0.32, 0.42)) for edge in (-1.0, 1.0)]
    return assemble((x, 0.0, z), yaw, albedo, [seat, back, *arms])


def bookcase(x: float, z: float, wide: float, high: float, salt: int) -> Shape:
    """A full bookcase standing against the far wall."""

    def albedo(hit: Hit) -> Array:
        row = np.floor(hit.v / 0.3)
        along, up = hit.u / 0.045 + 7 * row, hit.v / 0.3 - row
        book = np.floor(along)
        hue = 2 * np.pi * cell_random(book, row, salt) + np.array([[0.0], [2.1], [4.2]])
        spine = (0.12 + 0.1 * np.sin(hue)) * (0.4 + cell_random(book, row, salt + 1))
        tall = inside(up - 0.42, 0.28 + 0.13 * cell_random(book, row, salt + 2), 0.05)
        gap = inside(along - book - 0.5, 0.46, 0.1 + hit.pixel / 0.045)
        books = rgb(0.012, 0.01, 0.008) + spine * tall * gap
        return mix(books, BROWN, smooth(np.abs(up - 0.5) - 0.45, 0.05))

    return Box((x, high, z), (wide, high, 0.16), albedo=albedo)


def picture(x: float, y: float, z: float, wide: float, high: float, salt: int, tile: Array) -> Shape:
    """A framed painting on the far wall."""

    def albedo(hit: Hit) -> Array:
        frame = np.maximum(np.abs(hit.u) - wide, np.abs(hit.v) - high) + 0.045
        canvas = paint.painting(tile, hit.u, hit.v, salt)
        return mix(canvas, rgb(0.3, 0.2, 0.06), smooth(frame, 0.005 + hit.pixel))

    return Box((x, y, z), (wide, high, 0.02), albedo=albedo, casts=False)


def rod(x: float, y: float, z: float, height: float, radii: tuple[float, float], colour: Array) -> Shape:
    """An upright rod or hood of one colour, too thin to cast a shadow."""
    return Cone((x, y, z), height, radii, albedo=colour, casts=False)


def lampshade(x: float, y: float, z: float, size: float, colour: Array, power: float) -> Lamp:
    """A lit shade with pleats, brightest in the middle, its bulb showing above; and the light it gives."""

    def emission(hit: Hit) -> Array:
        up = hit.v / size - 0.5
        pleats = 1.0 + 0.12 * np.sin(hit.u / size * 45.0)
        rim = 1.0 - 0.7 * smooth(np.abs(up) - 0.46, 0.02 + hit.pixel / size)
        bright = 0.2 + np.exp(-np.square(up / 0.45))
        return colour * (power * 7.0 * bright * pleats * rim * hit.upright())

    radii, glow = (0.55 * size, 0.35 * size), mix(colour, kelvin(4000.0), 0.4) * (170.0 * power)
    shade = Cone((x, y, z), size, radii, albedo=rgb(0.5, 0.45, 0.4), emission=emission, casts=False)
    bulb = Sphere((x, y + 1.12 * size, z), 0.13 * size, emission=glow, casts=False)
    return [shade, bulb], Light((x, y + 0.7 * size, z), colour * power, radius=0.25)


def floor_lamp(x: float, z: float, tall: float, colour: Array) -> Lamp:
    """A standing lamp."""
    shapes, light = lampshade(x, tall, z, 0.38, colour, 1.0)
    metal = rgb(0.16, 0.12, 0.08)
    stand = [rod(x, 0.0, z, tall, (0.02, 0.02), metal), rod(x, 0.0, z, 0.03, (0.18, 0.16), metal)]
    return shapes + stand, light


def table_lamp(x: float, top: float, z: float, colour: Array, foot: Array) -> Lamp:
    """A lamp on a round glazed foot, to stand on something of height ``top``."""
    shapes, light = lampshade(x, top + 0.3, z, 0.28, colour, 0.35)
    ball = Sphere((x, top + 0.13, z), 0.13, albedo=foot, gloss=0.05, casts=False)
    return [*shapes, ball, rod(x, top + 0.2, z, 0.12, (0.02, 0.02), foot)], light


def pendant(x: float, y: float, z: float, cord: float, colour: Array, power: float) -> Lamp:
    """A bare bulb under a small metal hood on a cord."""
    hood = rod(x, y, z, 0.16, (0.22, 0.05), rgb(0.12, 0.02, 0.02))
    glow = colour * (100.0 * power)
    bulb = Sphere((x, y - 0.03, z), 0.075, emission=lambda hit: glow * np.abs(hit.normal[1]), casts=False)
    light = Light((x, y - 0.1, z), 2.2 * colour * power, radius=0.15)
    return [hood, rod(x, y, z, cord, (0.008, 0.008), rgb(0.02, 0.02, 0.02)), bulb], light


def television(x: float, z: float, salt: int, tile: Array) -> list[Shape]:
    """A television that is on, on a low cabinet against the far wall."""

    def emission(hit: Hit) -> Array:
        glass = inside(hit.u, 0.57, hit.pixel) * inside(hit.v, 0.31, hit.pixel) * hit.faces(2, -1)
        return 9.0 * glass * np.square(paint.painting(tile, hit.u, hit.v, salt))

    cabinet = Box((x, 0.25, z), (0.8, 0.25, 0.2), albedo=textured(paint.wood, tile, 0.4 * BROWN))
    return [Box((x, 0.96, z), (0.6, 0.34, 0.03), albedo=rgb(0.01, 0.01, 0.01), emission=emission), cabinet]


def _rug(rng: Rng, tile: Array, x: float, z: float) -> Shape:
    weave, dark = textured(paint.fabric, tile, any_hue(rng, 0.9, 0.5)), any_hue(rng, 0.8, 0.3)

    def albedo(hit: Hit) -> Array:
        border = np.maximum(np.abs(hit.u) - 0.35, np.abs(hit.v))
        ring = np.sin(26.0 * border + 0.4 * sample(tile, hit.u, hit.v))
        return mix(weave(hit), dark, smooth(ring, 0.4 + 60.0 * hit.pixel))

    return Box((x, 0.005, z), (1.25, 0.01, 0.85), albedo=albedo, casts=False)


def lamp_room(rng: Rng) -> tuple[Scene, Camera]:
    """A living room at night, lit by two or three lamps."""
    draw, tile, salt = rng.uniform, fractal_tile(rng, 1.2), int(rng.integers(1 << 16))
    half = wide, tall, deep = draw(2.0, 2.6), draw(1.2, 1.4), draw(2.2, 2.8)
    back, side = 2 * deep, rng.choice([-1.0, 1.0])
    shapes: list[Shape] = [Box((0.0, tall, deep), half, albedo=room_paint(rng, tile), inward=True)]
    shapes.append(_rug(rng, tile, side * 0.3, back - 2.0))
    cloth = textured(paint.fabric, tile, any_hue(rng, 0.9, 0.5))
    shapes += sofa(side * draw(0.2, 0.6), back - draw(0.6, 1.0), side * draw(-0.1, 0.3), 0.8, cloth)
    x, z = side * draw(0.1, 0.5), back - draw(1.9, 2.2)
    shapes += table((x, 0.45, z), 0.55, 0.35, draw(-0.3, 0.3), textured(paint.wood, tile, BROWN))
    shapes.append(Sphere((x + 0.2, 0.55, z), 0.1, albedo=any_hue(rng, 0.95, 0.7), gloss=0.05))
    if rng.random() < 0.6:
        shapes.append(bookcase(-side * (wide - 0.75), back - 0.17, 0.6, draw(0.8, 1.0), salt))
    else:
        shapes += television(-side * (wide - 1.0), back - 0.25, salt, tile)
    for k in range(int(rng.integers(1, 4))):
        at = side * (wide - 0.6 - 0.75 * k), draw(1.5, 1.7), back - 0.02
        shapes.append(picture(*at, draw(0.2, 0.3), draw(0.2, 0.35), salt + k, tile))

    lamps = [floor_lamp(side * (wide - 0.45), back - 0.5, draw(1.2, 1.4), kelvin(draw(2200.0, 3000.0)))]
    lamps.append(table_lamp(x - 0.3, 0.45, z, kelvin(draw(2200.0, 3500.0)), any_hue(rng, 0.9, 0.4)))
    if rng.random() < 0.5:
        x, cord = -side * draw(0.6, 1.1), draw(0.6, 0.9)
        lamps.append(pendant(x, 2 * tall - cord, back - 2.0, cord, kelvin(2600.0), 0.5))
    shapes += [shape for parts, _ in lamps for shape in parts]
    camera = Camera((-side * draw(0.3, 0.8), draw(1.2, 1.5), 0.25), side * draw(0.0, 0.2), -0.1, 0.75)
    ambient = corner_shade(half, kelvin(2500.0) * draw(0.002, 0.008))
    return Scene(shapes, [light for _, light in lamps], ambient), camera


def _window(
    middle: float, low: float, high: float, wide: float, bars: tuple[int, int]
) -> Callable[..., Array]:
    """The mask of the panes as a function of x, y and the softness of their edges, all in metres."""

    def glass(x: Array, y: Array, soft: Array) -> Array:
        away, half = (x - middle, y - 0.5 * (low + high)), (wide, 0.5 * (high - low))
        panes = inside(away[0], half[0], soft) * inside(away[1], half[1], soft)
        for offset, size, count in zip(away, half, bars, strict=True):
            pane = 2 * size / count
            panes = panes * inside((offset + size) % pane - 0.5 * pane, 0.5 * pane - 0.02, soft)
        return panes

    return glass


def window_room(rng: Rng) -> tuple[Scene, Camera]:
    """A dim room with a window onto a sunny country, sunlight on the floor, curtains and a table."""
    draw, tile = rng.uniform, fractal_tile(rng, 1.2)
    half = breadth, tall, deep = draw(1.9, 2.4), draw(1.25, 1.45), draw(1.9, 2.4)
    back, side = 2 * deep, rng.choice([-1.0, 1.0])
    middle, wide, low, high = side * draw(-0.1, 0.5), draw(0.6, 0.95), draw(0.6, 0.9), draw(2.0, 2.25)
    glass = _window(middle, low, high, wide, (int(rng.integers(2, 4)), int(rng.integers(2, 4))))
    camera = Camera((side * draw(0.0, 0.6), draw(1.3, 1.5), 0.25), side * draw(-0.12, 0.05), -0.08, 0.75)
    if low_sun := rng.random() < 0.4:  # seen through one of the panes
        seen = np.array([[middle + draw(-0.8, 0.8) * wide], [high - draw(0.15, 0.3)], [back]])
        sun = seen - np.array(camera.position)[:, None]
        sun = sun / np.sqrt((sun**2).sum())
    else:
        sun = towards(-side * draw(0.25, 0.6), draw(0.35, 0.6))
    view, brightness, walls = outlook(rng, sun), draw(2.5, 5.0), room_paint(rng, tile)

    def panes(hit: Hit) -> Array:
        return hit.faces(2, -1) * glass(hit.point[0], hit.point[1], hit.pixel + 0.004)

    def albedo(hit: Hit) -> Array:
        beside, above = np.abs(hit.point[0] - middle) - wide, np.abs(hit.point[1] - 0.5 * (low + high))
        frame = smooth(0.07 - np.maximum(beside, above - 0.5 * (high - low)), 0.01 + hit.pixel)
        return mix(walls(hit), rgb(0.6, 0.58, 0.54), frame * hit.faces(2, -1)) * (1.0 - panes(hit))

    def emission(hit: Hit) -> Array:
        return partly(brightness * panes(hit), lambda part: view(part.view), hit)

    def sunbeam(point: Array) -> Array:
        reach = (back - point[2]) / sun[2]
        return glass(point[0] + reach * sun[0], point[1] + reach * sun[1], 0.012 * (1.0 + reach))

    shapes: list[Shape] = [Box((0.0, tall, deep), half, albedo=albedo, emission=emission, inward=True)]
    colour = any_hue(rng, 0.85, 0.7)
    shapes += [
        _curtain(middle + e * (wide + 0.12), back - 0.08, high + 0.15, colour, tile) for e in (-1.0, 1.0)
    ]
    x, z = -side * draw(0.2, 0.7), back - draw(1.1, 1.5)
    shapes += table((x, 0.74, z), 0.65, 0.4, draw(-0.4, 0.4), textured(paint.wood, tile, BROWN))
    shapes.append(Cone((x, 0.74, z), 0.28, (0.05, 0.1), albedo=any_hue(rng, 0.9, 0.5), gloss=0.05))
    shapes.append(Sphere((x + 0.3, 0.81, z), 0.07, albedo=rgb(0.6, 0.08, 0.03), gloss=0.03))
    cloth = textured(paint.fabric, tile, any_hue(rng, 0.9, 0.45))
    shapes += sofa(side * (breadth - 0.6), back - 1.5, side * draw(0.8, 1.3), 0.35, cloth)
    case_x, salt = -side * (breadth - 0.3), int(rng.integers(1 << 16))
    shapes.append(bookcase(case_x, back - 0.17, 0.28, draw(0.5, 0.9), salt))

    x, y, z = 200.0 * sun[:, 0]
    lights = [Light((x, y, z), kelvin(4500.0) * (brightness * draw(2.0, 4.0) * 200.0**2), gate=sunbeam)]
    for x in (middle - 0.5 * wide, middle + 0.5 * wide):
        at = (x, 0.5 * (low + high), back - 0.02)
        lights.append(Light(at, kelvin(8000.0) * (0.5 * brightness), 0.4, facing=(0.0, 0.0, -1.0)))
    ambient = rgb(0.9, 1.0, 1.1) * (draw(0.008, 0.016) if low_sun else draw(0.003, 0.009))
    return Scene(shapes, lights, corner_shade(half, ambient)), camera


def _curtain(x: float, z: float, tall: float, colour: Array, tile: Array) -> Shape:
    """A curtain in folds; daylight shines through its thin places."""

    def folds(hit: Hit) -> Array:
        return 0.5 + 0.5 * np.sin(hit.u * 70.0 + 0.7 * sample(tile, 0.0 * hit.u + x, 0.03 * hit.v))

    def emission(hit: Hit) -> Array:
        return colour**1.5 * (0.25 * folds(hit) ** 2 * np.exp(-(((hit.v - 0.2) / 0.7) ** 2)))

    def albedo(hit: Hit) -> Array:
        return colour * (0.25 + 0.75 * folds(hit))

    return Box((x, 0.5 * tall + 0.02, z), (0.2, 0.5 * tall, 0.03), albedo=albedo, emission=emission)


def corridor(rng: Rng) -> tuple[Scene, Camera]:
    """A long dark passage with doors, lamps and a polished floor, open at its end to the bright outdoors."""
    draw, tile = rng.uniform, fractal_tile(rng, 1.2)
    half = wide, tall, deep = draw(1.1, 1.5), draw(1.3, 1.5), draw(8.0, 11.0)
    sun = towards(draw(-0.3, 0.3), draw(0.1, 0.3))
    view, brightness = outlook(rng, sun), draw(4.0, 9.0)
    walls, door, arch, spacing = (
        room_paint(rng, tile),
        any_hue(rng, 0.8, 0.35),
        draw(0.75, 0.95),
        draw(2.6, 3.4),
    )

    def opening(hit: Hit) -> Array:
        x, y = hit.point[0], hit.point[1]
        outside = np.where(y < 1.5, np.abs(x), np.hypot(x, y - 1.5)) - arch
        return hit.faces(2, -1) * smooth(-outside, 0.02 + hit.pixel)

    def albedo(hit: Hit) -> Array:
        along = (hit.point[2] % spacing) - 0.5 * spacing
        soft, upright = hit.pixel + 0.03, hit.faces(0, 1) + hit.faces(0, -1)
        leaf = inside(along, 0.45, soft) * smooth(2.1 - hit.point[1], soft) * upright
        case = inside(along, 0.53, soft) * smooth(2.18 - hit.point[1], soft) * upright
        panel = door * np.exp(0.2 * sample(tile, 2.0 * hit.u, 0.2 * hit.v))
        return mix(mix(walls(hit), rgb(0.5, 0.48, 0.42), case), panel, leaf) * (1.0 - opening(hit))

    def emission(hit: Hit) -> Array:
        return partly(brightness * opening(hit), lambda part: view(part.view), hit)

    shapes: list[Shape] = [Box((0.0, tall, deep), half, albedo=albedo, emission=emission, inward=True)]
    shapes.append(
        Box((0.0, 0.0, deep), (wide, 0.004, deep), albedo=albedo, gloss=draw(0.02, 0.12), casts=False)
    )
    day = kelvin(7500.0) * (1.5 * brightness)
    lights = [Light((0.0, 1.4, 2 * deep - 0.3), day, 0.5, facing=(0.0, 0.0, -1.0), shadows=False)]
    tint, power = kelvin(draw(2300.0, 5500.0)), draw(0.15, 0.5)
    for z in spacing * np.arange(1.0, 6.0):
        on = rng.random() < 0.75
        shapes.append(_tubes((0.0, 2 * tall - 0.03, z), tint * (120.0 * power * on)))
        at = (0.0, 2 * tall - 0.15, z)
        lights.append(Light(at, tint * (power * on), 0.2, facing=(0.0, -1.0, 0.0), shadows=False))
    for _ in range(2):
        at = rng.choice([-1.0, 1.0]) * (wide - 0.25), 0.4, draw(2.5, 9.0)
        shapes.append(Box(at, (0.2, 0.4, 0.3), albedo=textured(paint.wood, tile, BROWN)))
    camera = Camera((draw(-0.4, 0.4), draw(1.3, 1.6), 0.3), draw(-0.05, 0.05), -0.02, 0.8)
    return Scene(shapes, lights, corner_shade(half, tint * draw(0.001, 0.004))), camera


def _tubes(at: Triple, glow: Array) -> Shape:
    """A ceiling lamp with two tubes behind its cover."""

    def emission(hit: Hit) -> Array:
        return glow * (0.3 + inside(np.abs(hit.u) - 0.08, 0.03, 0.02 + hit.pixel))

    return Box(at, (0.18, 0.03, 0.4), albedo=rgb(0.3, 0.3, 0.3), emission=emission, casts=False)


def still_life(rng: Rng) -> tuple[Scene, Camera]:
    """Glossy balls and beakers on a table, under a lamp and a window that they mirror."""
    draw, tile = rng.uniform, fractal_tile(rng, 1.2)
    side = rng.choice([-1.0, 1.0])
    shapes: list[Shape] = [
        Box((0.0, -0.05, 1.5), (1.6, 0.05, 1.1), albedo=any_floor(rng, tile, 0.6, 0.4), gloss=0.03),
        Box((0.0, 1.0, 3.9), (4.0, 3.0, 0.1), albedo=any_wall(rng, tile, 0.8, 0.2)),
    ]
    for k in range(int(rng.integers(5, 8))):
        x, z = -0.9 + 1.8 * (k + draw(0.1, 0.9)) / 7.0, draw(0.95, 2.1)
        size, gloss = draw(0.1, 0.24), float(rng.choice([0.04, 0.06, 0.5, 0.85]))
        body = textured(paint.plaster, tile, any_hue(rng, 0.97, 0.55 if gloss < 0.1 else 0.15))
        if rng.random() < 0.7:
            shapes.append(Sphere((x, size, z), size, albedo=body, gloss=gloss))
        else:
            radii = (0.5 * size, size * draw(0.5, 0.9))
            shapes.append(Cone((x, 0.0, z), 2.2 * size, radii, albedo=body, gloss=gloss))
    tint, power = kelvin(draw(3000.0, 9000.0)), draw(0.15, 0.5)

    def panes(hit: Hit) -> Array:
        cross = smooth(np.abs(hit.u) - 0.04, 0.02) * smooth(np.abs(hit.v) - 0.04, 0.02)
        return tint * (150.0 * power * cross * hit.faces(2, 1) * (0.6 + 0.8 * smooth(hit.v, 1.2)))

    window = (side * 1.3, 1.5, -0.9)
    shapes.append(Box(window, (0.5, 0.6, 0.02), emission=panes, casts=False))
    x, y, z = -side * draw(0.2, 0.6), draw(0.75, 0.9), draw(1.6, 2.2)
    parts, light = pendant(x, y, z, 1.6, kelvin(2500.0), draw(0.8, 1.4))
    ambient = rgb(1.0, 1.0, 1.2) * draw(0.002, 0.006)
    camera = Camera((draw(-0.2, 0.2), draw(0.55, 0.8), -0.3), 0.0, draw(-0.16, -0.1), 0.9)
    return Scene([*shapes, *parts], [Light(window, tint * power, 0.3), light], lambda hit: ambient), camera
