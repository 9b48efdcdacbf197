"""Rooms as radiance by viewing direction: lit by lamps in the dark, or by a window onto the sunny country."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hdrlab.datasets.tiny.outdoors import country, towards
from hdrlab.datasets.tiny.paint import (
    PIXEL,
    Array,
    Radiance,
    Rng,
    any_hue,
    checker,
    fractal_tile,
    inside,
    kelvin,
    mix,
    painting,
    plaster,
    smooth,
    wood,
)

NEAR = 1e-6


@dataclass(frozen=True)
class Ball:
    """A ball; one that shines is a lamp, and casts no shadow."""

    centre: Array
    radius: float
    colour: Array
    light: float = 0.0

    def chord(self, origin: Array, direction: Array) -> tuple[Array, Array]:
        """The way [N] to the point of a ray that is nearest to the centre, and half the chord, else 0."""
        way = self.centre - origin
        middle = (way * direction).sum(axis=0)
        squared = self.radius**2 - ((way - middle * direction) ** 2).sum(axis=0)
        return middle, np.sqrt(np.maximum(squared, 0.0))


@dataclass(frozen=True)
class Window:
    """An opening in the wall ahead, its middle and half sides in metres, and what lies beyond."""

    x: float
    y: float
    half: tuple[float, float]
    beyond: Radiance
    sun: Array
    sunlight: Array

    def share(self, x: Array, y: Array, soft: Array | float) -> Array:
        """1 in the panes, 0 on the bars and outside, [N]."""
        x, y = x - self.x, y - self.y
        bars = smooth(np.abs(x) - 0.03, soft) * smooth(np.abs(y - 0.2 * self.half[1]) - 0.03, soft)
        return inside(x, self.half[0], soft) * inside(y, self.half[1], soft) * bars


@dataclass(frozen=True)
class Room:
    """A room around the camera: walls at ±width, floor and ceiling, and a wall ahead, in metres."""

    width: float
    floor: float
    ceiling: float
    depth: float
    tile: Array
    colours: Sequence[Array]
    tiled: bool
    balls: Sequence[Ball]
    ambient: Array
    window: Window | None = None

    def radiance(self, direction: Array) -> Array:
        """What is seen from the origin towards directions [3, N]."""
        x, y, z = direction
        bounds = (np.sign(x) * self.width, np.where(y < 0, self.floor, self.ceiling), np.sign(z) * self.depth)
        with np.errstate(divide="ignore", invalid="ignore"):
            ways = np.stack([np.abs(b / d) for b, d in zip(bounds, direction, strict=True)])
        axis = np.nan_to_num(ways, nan=np.inf).argmin(axis=0)
        distance = np.take_along_axis(ways, axis[None], axis=0)[0]
        point = distance * direction
        normal = (np.arange(3)[:, None] == axis) * -np.sign(direction)
        seen = self._walls(point, normal, axis, distance * PIXEL) * self._lit(point, normal)
        if self.window is not None:
            share = self.window.share(point[0], point[1], 2 * distance * PIXEL) * (axis == 2)
            at = np.flatnonzero(share)
            seen[:, at] = mix(seen[:, at], self.window.beyond(direction[:, at]), share[at])
        for ball in sorted(self.balls, key=lambda ball: -float(np.linalg.norm(ball.centre))):
            self._draw(ball, direction, seen)
        return seen

    def _walls(self, point: Array, normal: Array, axis: Array, pixel: Array) -> Array:
        """The reflectance [3, N] of floor, ceiling and walls."""
        x, y, z = point
        along = np.where(axis == 0, z, x)
        wall = plaster(self.tile, along, y, self.colours[0])
        framed = inside(along - np.where(axis == 0, 0.6 * self.depth, -0.55 * self.width), 0.5, pixel)
        framed = framed * inside(y - 0.3, 0.35, pixel) * (axis != 2 if self.window else 1)
        wall = mix(wall, painting(self.tile, along, y), framed)
        ground = (checker if self.tiled else wood)(self.tile, x, z, pixel, self.colours[1])
        return np.where(
            axis == 1, np.where(normal[1] > 0, ground, plaster(self.tile, x, z, self.colours[2])), wall
        )

    def _lit(self, point: Array, normal: Array) -> Array:
        """The light [3, N] that a white surface reflects at points."""
        total = self.ambient * np.ones_like(point)
        for lamp in self.balls:
            if lamp.light:
                way = lamp.centre - point
                length = np.sqrt((way**2).sum(axis=0))
                share = np.maximum((normal * way).sum(axis=0) / length, 0.0) * self._open(
                    point, way / length, length
                )
                total += lamp.colour * (lamp.light * lamp.radius**2 * share / (length**2 + lamp.radius**2))
        if self.window is not None:
            total += self._daylight(self.window, point, normal)
        return total

    def _daylight(self, window: Window, point: Array, normal: Array) -> Array:
        """The sky's light, as of a lamp in the middle of the window, and the sun's where its rays pass."""
        way = np.array([[window.x], [window.y], [self.depth]]) - point
        squared = (way**2).sum(axis=0)
        facing = np.maximum((normal * way).sum(axis=0), 0.0) * np.maximum(way[2], 0.0) / squared
        area = 4 * window.half[0] * window.half[1]
        light = 0.6 * area * facing / (squared + area) * np.array([[0.75], [0.9], [1.1]])
        reach = (self.depth - point[2]) / window.sun[2]
        x, y = point[0] + reach * window.sun[0], point[1] + reach * window.sun[1]
        beam = window.share(x, y, 0.02 + 0.02 * reach) * np.maximum((normal * window.sun).sum(axis=0), 0.0)
        at = np.flatnonzero(beam)
        beam[at] *= self._open(point[:, at], window.sun, reach[at])
        lit: Array = light + window.sunlight * beam
        return lit

    def _open(self, point: Array, way: Array, length: Array) -> Array:
        """How much of the light along unit vectors arrives at points, [N] in [0, 1]."""
        arrives = np.ones(point.shape[1])
        for ball in self.balls:
            if not ball.light:
                middle, half = ball.chord(point, way)
                blocks = (middle > NEAR) & (middle < length)
                arrives *= 1.0 - blocks * smooth(half / ball.radius - 0.25, 0.5)
        return arrives

    def _draw(self, ball: Ball, direction: Array, seen: Array) -> None:
        """Paint a ball over what is seen behind it."""
        middle, half = ball.chord(np.zeros((3, 1)), direction)
        away = np.linalg.norm(ball.centre - middle * direction, axis=0)
        cover = smooth(ball.radius - away, 1.5 * PIXEL * float(np.linalg.norm(ball.centre))) * (middle > 0)
        at = np.flatnonzero(cover)
        point = (middle - half)[at] * direction[:, at]
        normal = (point - ball.centre) / ball.radius
        if ball.light:
            shade = 0.3 + 0.7 * np.maximum(half[at] / ball.radius, 0.0) ** 2
            colour = ball.colour * ball.light * shade * (1.0 + 0.2 * np.sin(14.0 * normal[1]))
        else:
            u, v = np.arctan2(normal[0], -normal[2]) * ball.radius, normal[1] * ball.radius
            paint = checker(self.tile, u, v, np.full_like(u, PIXEL), ball.colour, 0.4 * ball.radius)
            colour = paint * self._lit(point + 1e-3 * normal, normal)
        seen[:, at] = mix(seen[:, at], colour, cover[at])


def lamp_room(rng: Rng) -> tuple[Radiance, float]:
    """A dark room with a few lamps; and the camera's pitch."""
    lamps = []
    for _ in range(rng.integers(2, 5)):
        warmth, light = kelvin(rng.uniform(2000.0, 4500.0)), rng.uniform(60.0, 250.0)
        lamps.append(Ball(_place(rng, rng.uniform(0.1, 0.8)), rng.uniform(0.13, 0.2), warmth, light))
    ambient = np.full((3, 1), rng.uniform(0.001, 0.004))
    return _room(rng, rng.uniform(4.0, 6.0), lamps, ambient).radiance, float(rng.uniform(-0.1, 0.0))


def window_room(rng: Rng) -> tuple[Radiance, float]:
    """A room with a window before the sun; and the camera's pitch."""
    depth = rng.uniform(4.0, 6.0)
    sun = towards(rng.uniform(-0.15, 0.15), rng.uniform(0.08, 0.15))
    x, y, _ = depth * sun[:, 0] / sun[2, 0]
    window = Window(
        x=x + rng.uniform(-0.4, 0.4),
        y=y - rng.uniform(0.1, 0.4),
        half=(rng.uniform(0.6, 1.1), rng.uniform(0.6, 0.9)),
        beyond=country(rng, sun, rng.uniform(60.0, 120.0)),
        sun=sun,
        sunlight=kelvin(5200.0) * rng.uniform(4.0, 8.0),
    )
    room = _room(rng, depth, [], np.full((3, 1), rng.uniform(0.003, 0.008)), window)
    return room.radiance, float(rng.uniform(-0.12, -0.02))


def _room(
    rng: Rng, depth: float, lamps: Sequence[Ball], ambient: Array, window: Window | None = None
) -> Room:
    floor = -rng.uniform(1.1, 1.5)
    balls = []
    for radius in rng.uniform(0.15, 0.45, rng.integers(3, 7)):
        colour = any_hue(rng, 0.8, rng.uniform(0.1, 0.8))
        balls.append(Ball(_place(rng, floor + radius), radius, colour))
    return Room(
        width=rng.uniform(1.9, 2.6),
        floor=floor,
        ceiling=rng.uniform(1.1, 1.6),
        depth=depth,
        tile=fractal_tile(rng, 1.5),
        colours=[any_hue(rng, 0.5, 0.6), any_hue(rng, 0.4, 0.45), np.full((3, 1), 0.6)],
        tiled=bool(rng.random() < 0.5),
        balls=[*balls, *lamps],
        ambient=ambient,
        window=window,
    )


def _place(rng: Rng, height: float) -> Array:
    """A point in the room, before the camera, [3, 1]."""
    return np.array([[rng.uniform(-1.3, 1.3)], [height], [rng.uniform(2.4, 3.8)]])
