"""From joints to pictures: a body of tapered capsules, drawn with a depth buffer.

A capsule is projected to a thick line of two radii. Each pixel near it finds its place along the line, from which
follow its coverage (soft edges without supersampling), a rounded normal for the light, and a depth. All frames of a
clip are drawn at once. Every step is one rounding of + - * / or sqrt in float32: the same bits on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8

from fedkd.data.synthetic.body import Subject
from fedkd.data.synthetic.camera import Camera, project, seen_from
from fedkd.data.synthetic.chance import UP, Chance, Number, cross, unit
from fedkd.data.synthetic.room import Room

OCCLUDED = 0.12
"""Probability that something stands between the camera and the stage."""
WOOD = np.array([0.45, 0.30, 0.18])


Colour = Float[np.ndarray, "3"]
Pictures = Float[np.ndarray, "T H W 3"]
Depth = Float[np.ndarray, "T H W"]


@dataclass(frozen=True)
class Capsule:
    """A limb: two ends in the world [T 3], their radii in metres, a colour."""

    start: Float[np.ndarray, "T 3"]
    end: Float[np.ndarray, "T 3"]
    start_radius: float
    end_radius: float
    colour: Colour


def film(
    chance: Chance,
    camera: Camera,
    room: Room,
    who: Subject,
    joints: Float[np.ndarray, "T 25 3"],
    stool: Float[np.ndarray, "3"],
) -> UInt8[np.ndarray, "T H W 3"]:
    """One clip. `chance` decides occluder, light of the day and the noise of each pixel."""
    size, frames = len(room.picture), len(joints)
    picture = room.picture[None].copy()
    depth = np.full((1, size, size), 1e4, dtype=np.float32)
    draw(picture, depth, furniture(stool) + occluder(chance, camera), camera, room.light)
    picture = np.repeat(picture, frames, axis=0)
    depth = np.repeat(depth, frames, axis=0)
    cast_shadows(picture, depth, room, joints)
    draw(picture, depth, body(who, joints), camera, room.light)
    return expose(chance, camera, picture)


def body(who: Subject, joints: Float[np.ndarray, "T 25 3"]) -> list[Capsule]:
    """A dressed body on the joints. Radii are shares of the height, times the subject's girth."""
    broad = who.height * who.girth
    sleeve = who.shirt if who.long_sleeves else who.skin
    leg = who.trousers if who.long_trousers else who.skin
    j = joints.transpose(1, 0, 2)  # 25 T 3
    parts = []
    for hip, knee, ankle, foot in ((12, 13, 14, 15), (16, 17, 18, 19)):
        parts.append(Capsule(j[ankle], j[foot], 0.027 * who.height, 0.022 * who.height, who.shoes))
        parts.append(Capsule(j[knee], j[ankle], 0.033 * broad, 0.024 * broad, leg))
        parts.append(Capsule(j[hip], j[knee], 0.050 * broad, 0.036 * broad, who.trousers))
    parts.append(Capsule(j[12], j[16], 0.058 * broad, 0.058 * broad, who.trousers))
    waist = 0.5 * (j[0] + j[1])
    for shoulder, hip in ((4, 12), (8, 16)):
        armpit = 0.78 * j[shoulder] + 0.22 * j[20]
        parts.append(Capsule(armpit, 0.45 * j[hip] + 0.55 * waist, 0.040 * broad, 0.058 * broad, who.shirt))
    parts.append(Capsule(j[20], waist, 0.062 * broad, 0.074 * broad, who.shirt))
    parts.append(Capsule(j[4], j[8], 0.034 * broad, 0.034 * broad, who.shirt))
    parts.append(Capsule(j[20], j[2], 0.032 * broad, 0.030 * who.height, who.skin))
    parts.extend(head(who, joints))
    for shoulder, elbow, wrist, tip in ((4, 5, 6, 21), (8, 9, 10, 23)):
        parts.append(Capsule(j[shoulder], j[elbow], 0.033 * broad, 0.026 * broad, who.shirt))
        parts.append(Capsule(j[elbow], j[wrist], 0.026 * broad, 0.019 * broad, sleeve))
        parts.append(Capsule(j[wrist], 0.6 * j[tip] + 0.4 * j[wrist], 0.019 * who.height, 0.021 * who.height, who.skin))
    return parts


def head(who: Subject, joints: Float[np.ndarray, "T 25 3"]) -> list[Capsule]:
    """A face, and hair on the crown and the back of the head."""
    crown, neck = joints[:, 3], joints[:, 2]
    up = unit(crown - neck)
    forward = unit(cross(up, joints[:, 8] - joints[:, 4]))  # up x right
    size = 0.058 * who.height
    chin = crown - 0.45 * size * up + 0.15 * size * forward
    face = Capsule(chin, crown + 0.3 * size * up + 0.1 * size * forward, 0.82 * size, size, who.skin)
    hair = Capsule(
        crown - 0.2 * size * up - 0.35 * size * forward,
        crown + 0.55 * size * up - 0.12 * size * forward,
        size,
        size,
        who.hair,
    )
    return [face, hair]


def furniture(stool: Float[np.ndarray, "3"]) -> list[Capsule]:
    """The stool that stands behind everybody. `stool` is where the hips of somebody seated would be."""
    seat = stool - np.array([0.0, 0.0, 0.15])
    parts = []
    for dx, dy in ((0.14, 0.14), (0.14, -0.14), (-0.14, 0.14), (-0.14, -0.14)):
        corner = seat + np.array([dx, dy, 0.0])
        foot = np.array([seat[0] + 1.2 * dx, seat[1] + 1.2 * dy, 0.0])
        parts.append(Capsule(corner[None], foot[None], 0.022, 0.018, 0.8 * WOOD))
    for dx in (-0.11, 0.0, 0.11):
        edge = np.array([dx, 0.0, 0.0])
        parts.append(
            Capsule((seat + edge - [0, 0.13, 0])[None], (seat + edge + [0, 0.13, 0])[None], 0.055, 0.055, 1.4 * WOOD)
        )
    return parts


def occluder(chance: Chance, camera: Camera) -> list[Capsule]:
    """Now and then a post, a plant or a chair's back in front of the stage, over an arm or a leg."""
    happens, near, aside = chance.happens(OCCLUDED), chance.uniform(1.0, 1.7), chance.uniform(-0.55, 0.55)
    kind, colour = chance.choose(3), chance.uniforms(0.1, 0.7, 3)
    if not happens:
        return []
    across, towards = camera.axes[0], unit(camera.centre * np.array([1.0, 1.0, 0.0]))
    foot = near * towards + aside * across

    def rod(
        start: Number,
        low: Number,
        end: Number,
        high: Number,
        radius: float,
        dye: Colour = colour,
        tip: float | None = None,
    ) -> Capsule:
        bottom, top = foot + start * across + low * UP, foot + end * across + high * UP
        return Capsule(bottom[None], top[None], radius, tip or radius, dye)

    post = [rod(0, 0, 0, 3.0, 0.05)]
    green = np.array([0.15, 0.38, 0.14])
    leaves = [rod(0, 0.4, 0.16 * k, 1.05 - 0.1 * k * k, 0.05, green, 0.13) for k in (-1, 0, 1)]
    plant = [rod(0, 0.12, 0, 0.32, 0.12, tip=0.16), *leaves]
    rails = [rod(-0.24, height, 0.24, height, 0.045) for height in (0.5, 0.7, 0.9)]
    chair = [*rails, rod(-0.24, 0, -0.24, 0.95, 0.03), rod(0.24, 0, 0.24, 0.95, 0.03)]
    return (post, plant, chair)[kind]


def draw(
    pictures: Pictures, depth: Depth, capsules: Sequence[Capsule], camera: Camera, light: Float[np.ndarray, "3"]
) -> None:
    """Paint capsules into `pictures` and `depth`, where they are nearer than what is there."""
    if not capsules:
        return
    size = pictures.shape[1]
    ends = np.stack([np.stack([capsule.start, capsule.end]) for capsule in capsules])  # capsules 2 T 3
    seen = seen_from(camera.centre, camera.axes, ends)
    distance = seen[..., 2].astype(np.float32)
    pixels = project(camera.focal, seen, size).astype(np.float32)
    scale = np.float32(camera.focal * size)
    for capsule, at, away in zip(capsules, pixels, distance, strict=True):
        radii = scale * np.array([[capsule.start_radius], [capsule.end_radius]], dtype=np.float32) / away
        paint(pictures, depth, at, away, radii, scale, capsule.colour.astype(np.float32), light.astype(np.float32))


def paint(
    pictures: Pictures,
    depth: Depth,
    at: Float[np.ndarray, "2 T 2"],
    away: Float[np.ndarray, "2 T"],
    radii: Float[np.ndarray, "2 T"],
    scale: np.float32,
    colour: Colour,
    light: Float[np.ndarray, "3"],
) -> None:
    """One capsule: its two ends in pixels, their distances in metres and radii in pixels; `scale` is pixels at 1 m."""
    size = pictures.shape[1]
    rows, columns = window(at[..., 1], radii, size), window(at[..., 0], radii, size)
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return
    (ax, ay), (bx, by) = at.transpose(0, 2, 1)[..., None, None]  # each T 1 1
    (az, bz), (ra, rb) = away[..., None, None], radii[..., None, None]
    x = np.arange(columns.start, columns.stop, dtype=np.float32)[None, None, :] + np.float32(0.5) - ax
    y = np.arange(rows.start, rows.stop, dtype=np.float32)[None, :, None] + np.float32(0.5) - ay
    lx, ly = bx - ax, by - ay
    along = np.minimum(np.maximum((x * lx + y * ly) / (lx * lx + ly * ly + np.float32(1e-6)), 0), 1)  # T h w
    x, y, radius = x - along * lx, y - along * ly, ra + along * (rb - ra)
    squared = x * x + y * y
    cover = np.minimum(np.maximum(radius - np.sqrt(squared) + np.float32(0.5), 0), 1)
    bulge = np.sqrt(np.maximum(1 - squared / (radius * radius), 0))  # the normal's share towards the camera
    near = az + along * (bz - az) - bulge * radius * (az / scale)
    shade = (light[0] * x - light[1] * y) / radius + light[2] * bulge
    shade = np.float32(0.5) + np.float32(0.6) * np.maximum(shade, 0)
    before = depth[:, rows, columns]
    cover = np.where(near < before, cover, 0)
    under = pictures[:, rows, columns]
    pictures[:, rows, columns] = under + cover[..., None] * (shade[..., None] * colour - under)
    depth[:, rows, columns] = np.where(cover > 0.5, near, before)


def window(middle: Float[np.ndarray, "2 T"], radii: Float[np.ndarray, "2 T"], size: int) -> slice:
    """The rows (or columns) that a capsule touches in any frame."""
    return slice(max(int((middle - radii).min()) - 1, 0), min(int((middle + radii).max()) + 2, size))


def cast_shadows(pictures: Pictures, depth: Depth, room: Room, joints: Float[np.ndarray, "T 25 3"]) -> None:
    """Soft dark patches on the floor under feet and hips; they fade when the body leaves the floor."""
    dark = np.ones(depth.shape, dtype=np.float32)
    for joint, reach, strength in ((15, 0.24, 0.35), (19, 0.24, 0.35), (0, 0.50, 0.30)):
        at = joints[:, joint].astype(np.float32)
        height = np.maximum(at[:, 2] - (0.8 if joint == 0 else 0.05), 0)[:, None, None]
        dx, dy = room.floor[None, ..., 0] - at[:, 0, None, None], room.floor[None, ..., 1] - at[:, 1, None, None]
        patch = np.maximum(1 - (dx * dx + dy * dy) / np.float32(reach * reach), 0)
        dark = dark * (1 - np.float32(strength) * patch / (1 + 4 * height))
    pictures *= np.where(depth > 1e3, dark, 1)[..., None]


def expose(chance: Chance, camera: Camera, picture: Float[np.ndarray, "T H W 3"]) -> UInt8[np.ndarray, "T H W 3"]:
    """Light of the day and the camera's gain, clipped to 8 bits; then its tone curve, by table; then its noise."""
    gain = (camera.gain * chance.uniform(0.85, 1.15) * 255).astype(np.float32)
    linear = np.minimum(np.maximum(picture * gain, 0), 255).astype(np.uint8)
    noise = (chance.grain(*linear.shape) * round(camera.noise * 16)) // (148 * 16)
    return np.minimum(np.maximum(tone_table(camera.eighths_of_gamma)[linear] + noise, 0), 255).astype(np.uint8)


def tone_table(eighths: int) -> Int[np.ndarray, "256"]:
    """255 * (level / 255) ** (eighths / 8) by three square roots, as `pow` is not the same on every machine."""
    root = np.sqrt(np.sqrt(np.sqrt(np.arange(256) / 255)))
    power = np.ones(256)
    for _ in range(eighths):
        power = power * root
    return np.rint(255 * power).astype(np.int32)
