"""What the other sensors measure: skeletons, 2-D poses, and inertial units, each with its own errors.

skeleton  a depth camera's joints, in that camera's coordinates: every joint trembles, some slip for a while.
pose2d    a pose estimator's joints in the picture.
imu       accelerometer (m/s^2, gravity included) and gyroscope (rad/s) strapped to a wrist and a thigh, never twice
          in quite the same way: the strap turns them, and they have a bias.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from fedkd.data.synthetic.chance import Chance, cosine, cross, dot, sine, unit
from fedkd.data.synthetic.motion import RATE

GRAVITY = 9.81
TREMBLE = 0.07  # metres, each joint and frame: sets how well a skeleton teacher can do
SLIP, SLIP_SHARE = 0.17, 0.15  # metres, and the share of (joint, eight frames) that slip
SLIP_FRAMES = 8
KEYPOINT = 0.035  # torso lengths, each 2-D joint and frame
KEYPOINT_SLIP = 0.12

Joints = Float[np.ndarray, "T 25 3"]


def tracked(
    chance: Chance, joints: Float[np.ndarray, "T 25 D"], tremble: float, slip: float
) -> Float[np.ndarray, "T 25 D"]:
    """Joints as a tracker reports them."""
    frames, count, axes = joints.shape
    spells = -(-frames // SLIP_FRAMES)
    slips = (chance.uniforms(0, 1, spells, count, 1) < SLIP_SHARE) * chance.normals(slip, spells, count, axes)
    return joints + chance.normals(tremble, frames, count, axes) + np.repeat(slips, SLIP_FRAMES, axis=0)[:frames]


def skeleton(chance: Chance, seen: Joints) -> Float[np.ndarray, "T 25 3"]:
    """Camera coordinates in; prepared for a network: the first frame's base of spine is the origin."""
    joints = tracked(chance, seen, TREMBLE, SLIP)
    return (joints - joints[:1, :1]).astype(np.float32)


def pose2d(chance: Chance, pixels: Float[np.ndarray, "T 25 2"]) -> Float[np.ndarray, "T 25 2"]:
    """Pixels in; prepared for a network: origin as for the skeleton, in units of the clip's median torso."""
    torso = torso_length(pixels)
    joints = tracked(chance, pixels, KEYPOINT * torso, KEYPOINT_SLIP * torso)
    return ((joints - joints[:1, :1]) / torso_length(joints)).astype(np.float32)


def torso_length(pixels: Float[np.ndarray, "T 25 2"]) -> float:
    """Median distance from base of spine to the shoulders' spine, in pixels."""
    trunk = pixels[:, 20] - pixels[:, 0]
    return float(np.median(np.sqrt(trunk[:, 0] * trunk[:, 0] + trunk[:, 1] * trunk[:, 1])))


def imu(chance: Chance, joints: Joints) -> Float[np.ndarray, "T 12"]:
    """World joints at `RATE` in. Right wrist, then right thigh: acceleration 3, turning 3 each."""
    wrist = limb_frame(joints[:, 9], joints[:, 10], joints[:, 8])
    thigh = limb_frame(joints[:, 16], joints[:, 17], joints[:, 18])
    strapped = []
    for place, axes in ((joints[:, 10], wrist), (0.4 * joints[:, 16] + 0.6 * joints[:, 17], thigh)):
        mount = mounting(chance)
        turned = np.stack(
            [dot(mount[k], axes.swapaxes(1, 2))[..., 0] for k in range(3)], axis=1
        )  # T 3 3, rows: sensor axes
        force = acceleration(place, turned) + chance.normals(0.25, 3) + chance.normals(0.35, len(joints), 3)
        rate = turning(turned) + chance.normals(0.05, 3) + chance.normals(0.08, len(joints), 3)
        strapped += [force, rate]
    return np.concatenate(strapped, axis=-1).astype(np.float32)


def limb_frame(
    start: Float[np.ndarray, "T 3"], end: Float[np.ndarray, "T 3"], beyond: Float[np.ndarray, "T 3"]
) -> Float[np.ndarray, "T 3 3"]:
    """Axes fixed to a limb [T 3 3]: along it, across its plane of bending, and the third."""
    along = unit(end - start)
    across = unit(cross(along, beyond - start) + 1e-3 * cross(along, np.array([0.3, 0.2, 1.0])))
    return np.stack([along, across, cross(along, across)], axis=1)


def mounting(chance: Chance) -> Float[np.ndarray, "3 3"]:
    """How the strap turned the sensor: up to a fifth of a turn around the limb, and a little askew."""
    around = chance.uniform(-0.2, 0.2)
    c, s = float(cosine(around)), float(sine(around))
    first = unit(np.array([1.0, chance.normal(0.12), chance.normal(0.12)]))
    second = np.array([0.0, c, s])
    second = unit(second - dot(first, second) * first)
    return np.stack([first, second, cross(first, second)])


def acceleration(place: Float[np.ndarray, "T 3"], axes: Float[np.ndarray, "T 3 3"]) -> Float[np.ndarray, "T 3"]:
    """Specific force along the sensor's axes: at rest it shows 9.81 upwards."""
    force = slope(slope(place)) + np.array([0.0, 0.0, GRAVITY])
    return dot(axes, force[:, None])[..., 0]


def turning(axes: Float[np.ndarray, "T 3 3"]) -> Float[np.ndarray, "T 3"]:
    """Angular rate about the sensor's own axes: how its second axis moves towards its third, and so on."""
    moving = slope(axes)
    pairs = ((1, 2), (2, 0), (0, 1))
    return np.concatenate([dot(moving[:, one], axes[:, two]) for one, two in pairs], axis=-1)


def slope(curve: Float[np.ndarray, "T ..."]) -> Float[np.ndarray, "T ..."]:
    """Change a second, by central differences; the ends repeat their neighbours."""
    inner = (curve[2:] - curve[:-2]) * (RATE / 2)
    return np.concatenate([inner[:1], inner, inner[-1:]])
