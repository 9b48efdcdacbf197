"""A small ray tracer: boxes, spheres and cones under point lights, with soft shadows and one mirror bounce.

Axes: x right, y up, z forward, in metres; vectors are [3, N] float64 arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hdrlab.datasets.scenes.paint import Array, smooth

Index = NDArray[np.int64]
Triple = tuple[float, float, float]

NEAR = 1e-4  # hits closer than this are the surface the ray starts from
TILE = 64  # side of the squares of pixels traced together: the arrays stay in the cache


def dot(first: Array, second: Array) -> Array:
    """The scalar products [N] of vectors [3, N]."""
    product: Array = first[0] * second[0] + first[1] * second[1] + first[2] * second[2]
    return product


@dataclass(frozen=True)
class Hit:
    """Where rays met a surface: position, normal, ray direction [3, N]; u, v and pixel size in metres [N]."""

    point: Array
    normal: Array
    view: Array
    u: Array
    v: Array
    pixel: Array

    def take(self, at: Index) -> Hit:
        """The hits at the given indices."""
        point, normal, view = (vector[:, at] for vector in (self.point, self.normal, self.view))
        return Hit(point, normal, view, self.u[at], self.v[at], self.pixel[at])

    def faces(self, axis: int, sign: float) -> Array:
        """1 where the surface faces along the axis (0 right, 1 up, 2 ahead) or, with sign −1, against it."""
        return np.where(sign * self.normal[axis] > 0.5, 1.0, 0.0)

    def upright(self) -> Array:
        """1 on walls, 0 on floors and ceilings."""
        return np.where(np.abs(self.normal[1]) < 0.5, 1.0, 0.0)


Paint = Callable[[Hit], Array]
BLACK = np.zeros((3, 1))


def partly(share: Array, paint: Paint, hit: Hit) -> Array:
    """The share [N] of a paint, [3, N], which is worked out only where there is any."""
    result: Array = np.zeros_like(hit.point)
    at = np.flatnonzero(share)
    if at.size:
        result[:, at] = share[at] * paint(hit.take(at))
    return result


def painted(colour: Paint | Array, hit: Hit) -> Array:
    """A paint at the hits, [3, N], or a constant colour [3, 1] as it is."""
    return colour(hit) if callable(colour) else colour


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A convex solid; ``thickness`` is the chord beyond which its shadow is full."""

    albedo: Paint | Array = field(default_factory=lambda: BLACK)
    emission: Paint | Array = field(default_factory=lambda: BLACK)
    gloss: float = 0.0
    ripple: Callable[[Hit], Array] | None = None
    casts: bool = True
    inward: bool = False
    thickness: float = 0.1

    def ball(self) -> tuple[Triple, float]:
        """Centre and radius of a ball around the shape."""
        raise NotImplementedError

    def span(self, origin: Array, direction: Array) -> tuple[Array, Array]:
        """The ray parameters of entry and exit; exit < entry where the ray passes by."""
        raise NotImplementedError

    def surface(self, point: Array) -> tuple[Array, Array, Array]:
        """The outward normal [3, N] and texture coordinates u, v [N] of points on the surface."""
        raise NotImplementedError

    def distance(self, origin: Array, direction: Array) -> Array:
        """The ray parameter of the visible hit, infinite where there is none."""
        near, far = self.span(origin, direction)
        first = far if self.inward else near
        return np.where((far >= near) & (first > NEAR), first, np.inf)


@dataclass(frozen=True)
class Box(Shape):
    """A box turned about the vertical; seen from within where ``inward``."""

    centre: Triple
    half: Triple
    yaw: float = 0.0

    def ball(self) -> tuple[Triple, float]:
        """A ball through its corners."""
        return self.centre, float(np.linalg.norm(self.half))

    def _turn(self, vector: Array, yaw: float) -> tuple[Array, Array, Array]:
        if yaw == 0.0:
            return vector[0], vector[1], vector[2]
        c, s = np.cos(yaw), np.sin(yaw)
        return c * vector[0] - s * vector[2], vector[1], s * vector[0] + c * vector[2]

    def span(self, origin: Array, direction: Array) -> tuple[Array, Array]:
        """Where the ray crosses the three slabs."""
        start = self._turn(origin - np.array(self.centre)[:, None], self.yaw)
        near, far = np.array(-np.inf), np.array(np.inf)
        with np.errstate(divide="ignore"):
            for half, x, dx in zip(self.half, start, self._turn(direction, self.yaw), strict=True):
                inverse = 1.0 / dx
                middle, reach = -x * inverse, half * np.abs(inverse)
                near, far = np.maximum(near, middle - reach), np.minimum(far, middle + reach)
        return near, far

    def surface(self, point: Array) -> tuple[Array, Array, Array]:
        """The nearest face, with metres from its centre as u and v."""
        local = np.stack(self._turn(point - np.array(self.centre)[:, None], self.yaw))
        x, y, z = np.abs(local) - np.array(self.half)[:, None]
        axis = np.where((x > y) & (x > z), 0, np.where(y > z, 1, 2))
        normal = (np.arange(3)[:, None] == axis) * np.sign(local) * (-1.0 if self.inward else 1.0)
        u, v = np.where(axis == 0, local[2], local[0]), np.where(axis == 1, local[2], local[1])
        return np.stack(self._turn(normal, -self.yaw)), u, v


@dataclass(frozen=True)
class Sphere(Shape):
    """A ball."""

    centre: Triple
    radius: float

    def ball(self) -> tuple[Triple, float]:
        """The ball itself."""
        return self.centre, self.radius

    def span(self, origin: Array, direction: Array) -> tuple[Array, Array]:
        """Where the ray crosses the ball."""
        start = origin - np.array(self.centre)[:, None]
        a = dot(direction, direction)
        b = -dot(start, direction)
        d = b * b - a * (dot(start, start) - self.radius**2)
        root = np.copysign(np.sqrt(np.abs(d)), d)
        return (b - root) / a, (b + root) / a

    def surface(self, point: Array) -> tuple[Array, Array, Array]:
        """Metres along the equator and above it as u and v."""
        normal = (point - np.array(self.centre)[:, None]) / self.radius
        return normal, np.arctan2(normal[0], -normal[2]) * self.radius, normal[1] * self.radius


@dataclass(frozen=True)
class Cone(Shape):
    """A vertical frustum (a cylinder where both radii agree), for rays less steep than its side."""

    base: Triple
    height: float
    radii: tuple[float, float]

    def ball(self) -> tuple[Triple, float]:
        """A ball around both ends."""
        x, y, z = self.base
        return (x, y + 0.5 * self.height, z), float(np.hypot(0.5 * self.height, max(self.radii)))

    def span(self, origin: Array, direction: Array) -> tuple[Array, Array]:
        """Where the ray crosses the side and the two planes of the ends."""
        (x, y, z), (dx, dy, dz) = origin - np.array(self.base)[:, None], direction
        slope = (self.radii[1] - self.radii[0]) / self.height
        radius = self.radii[0] + slope * y
        a = np.maximum(dx * dx + dz * dz - (slope * dy) ** 2, 1e-12)
        b = slope * dy * radius - x * dx - z * dz
        d = b * b - a * (x * x + z * z - radius**2)
        root = np.copysign(np.sqrt(np.abs(d)), d)
        with np.errstate(divide="ignore"):
            middle, reach = (0.5 * self.height - y) / dy, 0.5 * self.height / np.abs(dy)
        return np.maximum((b - root) / a, middle - reach), np.minimum((b + root) / a, middle + reach)

    def surface(self, point: Array) -> tuple[Array, Array, Array]:
        """Metres around the axis and above the base as u and v."""
        x, y, z = point - np.array(self.base)[:, None]
        r = np.hypot(x, z)
        slope = (self.radii[1] - self.radii[0]) / self.height
        side = np.stack([x / r, np.full_like(r, -slope), z / r]) / np.hypot(1.0, slope)
        cap = np.stack([0 * r, np.where(y > 0.5 * self.height, 1.0, -1.0), 0 * r])
        on_side = np.abs(r - self.radii[0] - slope * y) < np.minimum(y, self.height - y) + 1e-9
        return np.where(on_side, side, cap), np.arctan2(x, -z) * r, y


@dataclass(frozen=True)
class Light:
    """A small lamp: radiance of a white surface at one metre [3, 1], the radius that tames its near field."""

    position: Triple
    power: Array
    radius: float = 0.1
    facing: Triple | None = None
    gate: Callable[[Array], Array] | None = None
    shadows: bool = True


@dataclass(frozen=True)
class Scene:
    """Shapes, lights, the radiance beyond all shapes by direction, and the ambient light by hit."""

    shapes: Sequence[Shape]
    lights: Sequence[Light]
    ambient: Paint
    background: Callable[[Array], Array] = field(default=lambda direction: np.zeros_like(direction))

    @cached_property
    def _balls(self) -> tuple[Array, Array]:
        """Centres [S, 3] and radii [S] of balls around the shapes."""
        balls = [shape.ball() for shape in self.shapes]
        radii = [np.inf if shape.inward else ball[1] for shape, ball in zip(self.shapes, balls, strict=True)]
        return np.array([ball[0] for ball in balls]).reshape(-1, 3), np.array(radii)

    def _candidates(self, origin: Array, direction: Array) -> Index:
        """Indices of the shapes whose balls touch the cone around rays [3, N] from one origin [3]."""
        centres, radii = self._balls
        axis = direction.mean(axis=1)
        axis /= np.linalg.norm(axis)
        chord = np.sqrt(((direction - axis[:, None]) ** 2).sum(axis=0).max())
        way = centres - origin
        distance = np.maximum(np.linalg.norm(way, axis=1), 1e-9)
        apart = np.arccos(np.clip(way @ axis / distance, -1.0, 1.0))
        reach = 2.0 * np.arcsin(min(0.5 * chord, 1.0)) + np.arcsin(np.minimum(radii / distance, 1.0))
        return np.flatnonzero((apart < reach + 1e-6) | (distance < radii))

    def _shadow(self, point: Array, way: Array) -> Array:
        """How much of the light at point + way, the same for all, arrives: [N] in [0, 1]."""
        arrives, length = np.ones(point.shape[1]), np.sqrt(dot(way, way))
        for k in self._candidates(point[:, 0] + way[:, 0], -way / length):
            shape = self.shapes[k]
            if shape.casts and not shape.inward:
                near, far = shape.span(point, way)
                chord = (np.minimum(far, 1.0 - NEAR) - np.maximum(near, NEAR)) * length
                arrives *= 1.0 - smooth(chord - 0.5 * shape.thickness, shape.thickness)
        return arrives

    def _lit(self, hit: Hit) -> Array:
        """The light that a white surface reflects at the hits, [3, N]."""
        total = self.ambient(hit) * np.ones_like(hit.u)
        for light in self.lights:
            way = np.array(light.position)[:, None] - hit.point
            squared = dot(way, way)
            share = np.maximum(dot(hit.normal, way), 0.0) / np.sqrt(squared)
            if light.facing is not None:
                share *= np.maximum(-dot(np.array(light.facing), way), 0.0) / np.sqrt(squared)
            if light.gate is not None:
                share *= light.gate(hit.point)
            if light.shadows:
                at = np.flatnonzero(share)
                if at.size:
                    share[at] *= self._shadow(hit.point[:, at], way[:, at])
            total += light.power * (share / (squared + light.radius**2))
        return total

    def _shade(
        self, shape: Shape, origin: Array, direction: Array, distance: Array, spread: float, bounce: bool
    ) -> Array:
        point = origin + distance * direction
        normal, u, v = shape.surface(point)
        cosine = np.abs(dot(normal, direction))
        hit = Hit(point, normal, direction, u, v, distance * spread / np.maximum(cosine, 0.05))
        colour = painted(shape.emission, hit) + painted(shape.albedo, hit) * self._lit(hit)
        if shape.gloss > 0.0 and bounce:
            if shape.ripple is not None:
                normal = normal + shape.ripple(hit)
                normal = normal / np.sqrt(dot(normal, normal))
            mirror = direction - 2.0 * dot(normal, direction) * normal
            fresnel = shape.gloss + (1.0 - shape.gloss) * (1.0 - np.minimum(cosine, 1.0)) ** 5
            mirrored, _ = self.trace(point + NEAR * mirror, mirror, 2.0 * spread, bounce=False)
            colour = colour + fresnel * mirrored
        return colour

    def trace(
        self, origin: Array, direction: Array, spread: float, bounce: bool = True
    ) -> tuple[Array, Array]:
        """The radiance [3, N] along rays and the shape each met [N]; ``spread`` is the pixel size at 1 m."""
        nearest, which = np.full(direction.shape[1], np.inf), np.full(direction.shape[1], -1)
        common = origin.shape[1] == 1 and bool(self.shapes)
        for k in self._candidates(origin[:, 0], direction) if common else range(len(self.shapes)):
            distance = self.shapes[k].distance(origin, direction)
            closer = distance < nearest
            nearest, which = np.where(closer, distance, nearest), np.where(closer, k, which)
        radiance = np.empty_like(direction)
        for k in np.unique(which):
            at = np.flatnonzero(which == k)
            start = origin[:, at] if origin.shape[1] > 1 else origin
            if k < 0:
                radiance[:, at] = self.background(direction[:, at])
            else:
                radiance[:, at] = self._shade(
                    self.shapes[k], start, direction[:, at], nearest[at], spread, bounce
                )
        return radiance, which


@dataclass(frozen=True)
class Camera:
    """A pinhole camera; angles in radians, focal length in picture widths."""

    position: Triple = (0.0, 0.0, 0.0)
    yaw: float = 0.0
    pitch: float = 0.0
    focal: float = 0.85

    def rays(self, x: Array, y: Array, height: int, width: int) -> Array:
        """Unit directions [3, N] through picture positions (x, y) in pixels."""
        right, up = (x - 0.5 * width) / (self.focal * width), (0.5 * height - y) / (self.focal * width)
        up, ahead = up * np.cos(self.pitch) + np.sin(self.pitch), np.cos(self.pitch) - up * np.sin(self.pitch)
        c, s = np.cos(self.yaw), np.sin(self.yaw)
        ray = np.stack([c * right + s * ahead, up, c * ahead - s * right])
        return ray / np.sqrt(dot(ray, ray))


def photograph(scene: Scene, camera: Camera, height: int, width: int) -> Array:
    """The scene's radiance [3, height, width]; pixels on outlines are the averages of four rays."""
    origin, spread = np.array(camera.position)[:, None], 1.0 / (camera.focal * width)
    order = np.arange(height * width).reshape(height, width)
    tiles = [
        order[top : top + TILE, left : left + TILE].ravel()
        for top in range(0, height, TILE)
        for left in range(0, width, TILE)
    ]

    def shoot(pixels: Index, offsets: Array) -> tuple[Array, Array]:
        x, y = pixels % width + 0.5 + offsets[:, :1], pixels // width + 0.5 + offsets[:, 1:]
        rays = camera.rays(x.ravel(), y.ravel(), height, width)
        radiance, which = scene.trace(origin, rays, spread)
        return radiance.reshape(3, len(offsets), -1).mean(axis=1), which

    image, which = np.empty((3, height * width)), np.empty(height * width, dtype=np.int64)
    for tile in tiles:
        image[:, tile], which[tile] = shoot(tile, np.zeros((1, 2)))
    edges = _outlines(image.reshape(3, height, width), which.reshape(height, width)).ravel()
    corners = np.array([[-0.375, -0.125], [0.125, -0.375], [0.375, 0.125], [-0.125, 0.375]])
    for tile in tiles:
        if edges[tile].any():
            at = tile[edges[tile]]
            image[:, at] = shoot(at, corners)[0]
    return image.reshape(3, height, width)


def _outlines(image: Array, which: Index) -> NDArray[np.bool_]:
    """Where a neighbour shows another shape or is more than four times as bright, [H, W] bool."""
    stops = np.log(np.maximum(image.sum(axis=0), 1e-6))
    edges = np.zeros(which.shape, dtype=bool)
    for first, second in (np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1]):
        differ = (which[first] != which[second]) | (np.abs(stops[first] - stops[second]) > 1.4)
        edges[first] |= differ
        edges[second] |= differ
    return edges
