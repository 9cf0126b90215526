"""Pinhole cameras around the stage, no two alike.

Camera i stands 65 degrees further round than camera i - 1, at its own height and distance, with its own focal
length, exposure, colour temperature, gamma and noise. Camera coordinates are a Kinect's: x to the picture's left
(the right hand of somebody who faces the camera), y up, z away from the camera, metres. A point lands on column
(1/2 - f x / z) * size and row (1/2 - f y / z) * size, f being the focal length in picture widths.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from fedkd.data.synthetic.chance import UP, Chance, cosine, cross, dot, sine, unit


@dataclass(frozen=True)
class Camera:
    """Where it stands, and what it does to light."""

    centre: Float[np.ndarray, "3"]  # metres, world
    axes: Float[np.ndarray, "3 3"]  # rows: left, up, ahead
    focal: float  # picture widths
    azimuth: float  # turns to the left of where the stage faces
    gain: Float[np.ndarray, "3"]  # exposure times colour temperature, for red, green, blue
    eighths_of_gamma: int  # tone = linear ** (eighths / 8); below 8 it lifts the shadows
    noise: float  # grey levels


def camera(world_seed: int, number: int) -> Camera:
    """Camera `number` (from 0) of a world."""
    chance = Chance(world_seed, "camera", number)
    azimuth = (-25 + 65.0 * number + chance.uniform(-4, 4)) / 360
    distance = chance.uniform(3.9, 5.0)
    height = 1.0 + 1.7 * ((0.31 + 0.618 * number) % 1.0)
    warmth = chance.uniform(-0.12, 0.12)
    gain = chance.uniform(0.95, 1.15) * np.array([1 + warmth, 1.0, 1 - warmth])
    aim = np.array([chance.uniform(-0.1, 0.1), chance.uniform(-0.1, 0.1), 1.05])
    centre, axes = looking(azimuth, distance, height, aim)
    focal = distance / chance.uniform(2.4, 2.65)  # so that about 2.5 metres fit into the picture
    return Camera(centre, axes, focal, azimuth, gain, 6 + chance.choose(4), chance.uniform(4.5, 6.0))


def looking(
    azimuth: float, distance: float, height: float, aim: Float[np.ndarray, "3"]
) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3 3"]]:
    """Centre [3] and axes [3 3] of a camera at `azimuth` turns (0 is before the stage) that looks at `aim`."""
    centre = np.array([-distance * float(sine(azimuth)), distance * float(cosine(azimuth)), height])
    ahead = unit(aim - centre)
    left = unit(cross(UP, ahead))
    return centre, np.stack([left, cross(ahead, left), ahead])


def seen_from(
    centre: Float[np.ndarray, "3"], axes: Float[np.ndarray, "3 3"], points: Float[np.ndarray, "*N 3"]
) -> Float[np.ndarray, "*N 3"]:
    """World points in camera coordinates [... 3]: left, up, ahead."""
    offset = points - centre
    return np.concatenate([dot(offset, axis) for axis in axes], axis=-1)


def project(focal: float, points: Float[np.ndarray, "... 3"], size: int) -> Float[np.ndarray, "... 2"]:
    """Camera coordinates to pixels (column, row) of a square picture; pixel centres lie at halves."""
    x, y, z = points[..., 0], points[..., 1], points[..., 2]
    return np.stack([(0.5 - focal * x / z) * size, (0.5 - focal * y / z) * size], axis=-1)
