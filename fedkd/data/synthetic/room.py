"""The room behind the stage: each camera has its own, drawn without a look at what will happen in it.

One ray a pixel (nine, averaged, for soft edges) meets the floor, three walls with pictures, and the furniture that
stands along them. Colours are linear light, 0..1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from fedkd.data.synthetic.camera import Camera
from fedkd.data.synthetic.chance import Chance, cosine, sine

FINE = 3  # rays along each side of a pixel
TABLE = 64  # patterns repeat after so many cells, far wider than any room


Plane = Float[np.ndarray, "H W"]
Picture = Float[np.ndarray, "H W 3"]
Pattern = Callable[[Plane, Plane], Picture]
"""Colour of a surface at its own two coordinates, metres."""


@dataclass(frozen=True)
class Room:
    """What a camera sees of its empty room, and where each pixel meets the floor (world x, y; else far away)."""

    picture: Float[np.ndarray, "H W 3"]
    floor: Float[np.ndarray, "H W 2"]
    light: Float[np.ndarray, "3"]  # where light comes from: to the right in the picture, up, towards the camera


def room(world_seed: int, number: int, camera: Camera, size: int) -> Room:
    """The room of camera `number`, for pictures of `size` pixels."""
    chance = Chance(world_seed, "room", number)
    turn = camera.azimuth + chance.uniform(-0.04, 0.04)
    light = np.array([chance.uniform(-0.8, 0.8), chance.uniform(0.35, 0.9), chance.uniform(0.5, 0.8)])
    rays = _rays(camera, size * FINE)
    origin, rays = _turned(camera.centre, turn), _turned(rays, turn)
    fine = _paint(chance, origin, rays)
    picture = np.zeros((size, size, 3))
    for row in range(FINE):
        for column in range(FINE):
            picture = picture + fine[row::FINE, column::FINE]
    return Room((picture / FINE**2).astype(np.float32), _floor(camera, size), light)


def _rays(camera: Camera, size: int) -> Picture:
    """Direction of each pixel's ray, one metre ahead."""
    across = ((np.arange(size) + 0.5) / size - 0.5) / camera.focal
    left, up, ahead = camera.axes
    return ahead - across[None, :, None] * left - across[:, None, None] * up


def _turned(points: Float[np.ndarray, "... 3"], turn: float) -> Float[np.ndarray, "... 3"]:
    """World to room coordinates: the room's back wall lies across from the camera."""
    c, s = float(cosine(turn)), float(sine(turn))
    x, y = points[..., 0], points[..., 1]
    return np.stack([c * x + s * y, c * y - s * x, points[..., 2]], axis=-1)


def _floor(camera: Camera, size: int) -> Float[np.ndarray, "H W 2"]:
    rays = _rays(camera, size)
    slope = rays[..., 2:3]
    reach = np.where(slope < -1e-3, -camera.centre[2] / np.minimum(slope, -1e-3), 1e4)
    return (camera.centre[:2] + reach * rays[..., :2]).astype(np.float32)


def _paint(chance: Chance, origin: Float[np.ndarray, "3"], rays: Picture) -> Picture:
    """Colour of the nearest thing on each ray."""
    back, side, ceiling = chance.uniform(1.7, 2.6), chance.uniform(1.9, 2.8), chance.uniform(2.6, 3.2)
    wall, floor = _paint_colour(chance, 0.45, 0.85), _paint_colour(chance, 0.25, 0.7)
    nearest = np.full(rays.shape[:2], 1e4)
    picture = np.zeros_like(rays)
    planes = (
        (2, 0.0, _floor_pattern(chance, floor), 1.0),
        (2, ceiling, lambda x, y: np.broadcast_to(0.9 + 0 * wall, (*x.shape, 3)), 0.9),
        (1, -back, _wall_pattern(chance, wall), 1.0),
        (0, -side, _wall_pattern(chance, wall), 0.8),
        (0, side, _wall_pattern(chance, wall), 0.7),
    )
    for axis, place, pattern, brightness in planes:
        slope = np.where(np.abs(rays[..., axis]) < 1e-6, 1e-6, rays[..., axis])
        reach = (place - origin[axis]) / slope
        hit = (reach > 0) & (reach < nearest)
        at = origin + reach[..., None] * rays
        first, second = [k for k in range(3) if k != axis]
        colour = brightness * pattern(at[..., first], at[..., second])
        nearest, picture = np.where(hit, reach, nearest), np.where(hit[..., None], colour, picture)
    for _ in range(5 + chance.choose(4)):
        nearest, picture = _furnish(chance, origin, rays, back, side, nearest, picture)
    return picture


def _paint_colour(chance: Chance, low: float, high: float) -> Float[np.ndarray, "3"]:
    """A wall colour: bright or dark, with a slight hue."""
    return chance.uniform(low, high) * (1 + chance.uniforms(-0.13, 0.13, 3))


def _cells(table: Float[np.ndarray, "n n"], x: Plane, y: Plane) -> Float[np.ndarray, "H W 1"]:
    """A number for each cell of a grid of unit squares [H W 1]."""
    columns = np.floor(np.clip(x, -1e4, 1e4)).astype(np.int64) % TABLE
    rows = np.floor(np.clip(y, -1e4, 1e4)).astype(np.int64) % TABLE
    return table[rows, columns][..., None]


def _floor_pattern(chance: Chance, colour: Float[np.ndarray, "3"]) -> Pattern:
    """Planks, tiles, or carpet."""
    kind, grain = chance.choose(3), chance.uniforms(-1, 1, TABLE, TABLE)
    wide, long, depth = ((0.16, 1.1, 0.14), (0.5, 0.5, 0.22), (0.07, 0.07, 0.18))[kind]
    return lambda x, y: colour * (1 + depth * _cells(grain, x / wide + 0.3, y / long))


def _wall_pattern(chance: Chance, colour: Float[np.ndarray, "3"]) -> Pattern:
    """Plain above a skirting board, with some pictures."""
    pictures = [
        (
            chance.uniform(-2.2, 2.2),
            chance.uniform(1.1, 2.0),
            chance.uniform(0.15, 0.5),
            chance.uniform(0.15, 0.4),
            _paint_colour(chance, 0.1, 0.9),
        )
        for _ in range(3)
    ]
    grain = chance.uniforms(-1, 1, TABLE, TABLE)

    def pattern(x: Plane, z: Plane) -> Picture:
        shade = 1 + 0.03 * _cells(grain, 3 * x, 3 * z) - 0.06 * np.clip(1.2 - z, 0, 1.2)[..., None]
        painted = np.where((z < 0.1)[..., None], 0.5 * colour, colour) * shade
        for middle, height, wide, tall, dye in pictures:
            painted = np.where(_within(x, middle, wide, z, height, tall)[..., None], dye * shade, painted)
        return painted

    return pattern


def _within(x: Plane, middle: float, wide: float, z: Plane, height: float, tall: float) -> Bool[np.ndarray, "H W"]:
    return (np.abs(x - middle) < wide) & (np.abs(z - height) < tall)


def _furnish(
    chance: Chance,
    origin: Float[np.ndarray, "3"],
    rays: Picture,
    back: float,
    side: float,
    nearest: Plane,
    picture: Picture,
) -> tuple[Plane, Picture]:
    """One more box along the back or a side wall: a cupboard, a shelf of books, a crate."""
    low = np.array([chance.uniform(-2.3, 2.0), -back, 0.0])
    high = low + np.array([chance.uniform(0.25, 0.9), chance.uniform(0.25, 0.5), chance.uniform(0.3, 1.9)])
    if chance.happens(0.35):
        low[0], high[0] = (-side, -side + 0.4) if chance.happens(0.5) else (side - 0.4, side)
        low[1] = high[1] = chance.uniform(-back, 0.0)
        high[1] = low[1] + chance.uniform(0.4, 1.0)
    colour, books = _paint_colour(chance, 0.12, 0.8), chance.happens(0.4)
    grain = chance.uniforms(-1, 1, TABLE, TABLE)
    enter, leave = np.full(nearest.shape, -1e4), np.full(nearest.shape, 1e4)
    face = np.zeros(nearest.shape, dtype=np.int64)
    for axis in range(3):
        slope = np.where(np.abs(rays[..., axis]) < 1e-6, 1e-6, rays[..., axis])
        one, two = (low[axis] - origin[axis]) / slope, (high[axis] - origin[axis]) / slope
        first, last = np.minimum(one, two), np.maximum(one, two)
        face = np.where(first > enter, axis, face)
        enter, leave = np.maximum(enter, first), np.minimum(leave, last)
    hit = (enter < leave) & (enter > 0) & (enter < nearest)
    at = origin + enter[..., None] * rays
    depth = 0.55 if books else 0.08
    pattern = 1 + depth * _cells(grain, (at[..., 0] + at[..., 1]) / 0.09, at[..., 2] / 0.33)
    shaded = colour * pattern * np.array([0.7, 0.9, 1.15])[face][..., None]
    return np.where(hit, enter, nearest), np.where(hit[..., None], shaded, picture)
