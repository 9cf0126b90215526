"""The articulated body: who a subject is, and where a pose puts the 25 joints.

A pose is a row of 18 numbers (`Pose`): where pelvis, hands and feet are, and how the trunk bends. Pelvis and trunk go
forward through the chain (forward kinematics); elbows and knees follow from the two bones of a limb by the law of
cosines, so that hands and feet arrive where an action wants them whatever the subject's limbs.

Body frame: x to the body's right, y forward, z up, metres; the floor is z = 0.
Joints and their order: `fedkd.skeleton.NTU`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from fedkd.data.synthetic.chance import UP, Chance, cosine, cross, dot, sine, unit
from fedkd.skeleton import NTU

_SIDES = {joint: other for left, right in NTU.pairs for joint, other in ((left, right), (right, left))}
MIRROR = [_SIDES.get(joint, joint) for joint in range(len(NTU.joints))]
"""Which joint of a body its mirror image shows in the place of each."""

# The columns of a pose. Hands: from the shoulder, in arm lengths. Pelvis and feet: from where they are in standing,
# in leg lengths.
PELVIS, BEND, TWIST, LEAN = slice(0, 3), 3, 4, 5  # the trunk's angles are in turns: forward, to the left, to the right
HAND_L, HAND_R, FOOT_L, FOOT_R = slice(6, 9), slice(9, 12), slice(12, 15), slice(15, 18)
POSE_WIDTH = 18


Curve = Float[np.ndarray, "T 3"]
Joints = Float[np.ndarray, "T 25 3"]


@dataclass(frozen=True)
class Subject:
    """One person: lengths in metres, habits as factors of 1, colours 0..1."""

    height: float
    trunk: float
    upper_arm: float
    forearm: float
    thigh: float
    shin: float
    shoulder: float  # half the width between the shoulders
    hip: float  # half the width between the hips
    girth: float  # how stout, 1 is usual
    left_handed: bool
    tempo: float
    amplitude: float
    stance: float  # how far the feet stand apart, in hip widths
    long_sleeves: bool
    long_trousers: bool
    skin: Float[np.ndarray, "3"]
    hair: Float[np.ndarray, "3"]
    shirt: Float[np.ndarray, "3"]
    trousers: Float[np.ndarray, "3"]
    shoes: Float[np.ndarray, "3"]

    @property
    def arm(self) -> float:
        """Metres from shoulder to wrist."""
        return self.upper_arm + self.forearm

    @property
    def leg(self) -> float:
        """Metres from hip to ankle."""
        return self.thigh + self.shin

    @property
    def ankle_height(self) -> float:
        """Metres from floor to ankle."""
        return 0.045 * self.height


def subject(world_seed: int, number: int) -> Subject:
    """Proportions after Winter's anthropometric table (Biomechanics and Motor Control of Human Movement), +- 4 %."""
    build = Chance(world_seed, "build", number)
    height = 1.70 + build.normal(0.10)
    trunk, upper_arm, forearm, thigh, shin, shoulder, hip = (
        share * height * (1 + build.normal(0.04)) for share in (0.288, 0.180, 0.152, 0.242, 0.243, 0.112, 0.052)
    )
    girth = 1 + build.normal(0.13)
    habit = Chance(world_seed, "habit", number)
    clothes = Chance(world_seed, "clothes", number)
    tone = clothes.uniform()
    skin = np.array([0.93, 0.74, 0.62]) * (1 - tone) + np.array([0.42, 0.27, 0.19]) * tone
    dark = clothes.uniform(0.08, 0.55)
    return Subject(
        height, trunk, upper_arm, forearm, thigh, shin, shoulder, hip, girth,
        left_handed=habit.happens(0.2), tempo=habit.uniform(0.75, 1.3), amplitude=habit.uniform(0.72, 1.08),
        stance=habit.uniform(1.0, 1.9),
        long_sleeves=clothes.happens(0.5), long_trousers=clothes.happens(0.75), skin=skin,
        hair=dark * np.array([1.0, 0.78, 0.55]),
        shirt=_dye(clothes), trousers=0.75 * _dye(clothes), shoes=0.5 * _dye(clothes),
    )  # fmt: skip


def _dye(clothes: Chance) -> Float[np.ndarray, "3"]:
    """A cloth colour: grey mixed with a hue, so that some people stand out of the room and some hardly do."""
    hue, saturation, value = clothes.uniform(), clothes.uniform(0.1, 0.75), clothes.uniform(0.25, 0.95)
    wheel = 0.5 + 0.5 * cosine(hue - np.array([0.0, 1 / 3, 2 / 3]))
    return value * (1 - saturation + saturation * wheel)


def standing(num_frames: int) -> Float[np.ndarray, "T 18"]:
    """At ease, arms hanging."""
    pose = np.zeros((num_frames, POSE_WIDTH))
    pose[:, HAND_L] = (-0.16, 0.08, -0.95)
    pose[:, HAND_R] = (0.16, 0.08, -0.95)
    return pose


def joints_of(who: Subject, pose: Float[np.ndarray, "T 18"]) -> Float[np.ndarray, "T 25 3"]:
    """Where the pose puts the joints of a right-handed body; a left-handed subject is its mirror image."""
    joints = np.zeros((len(pose), len(NTU.joints), 3))
    root = np.array([0.0, 0.0, who.ankle_height + 0.985 * who.leg]) + who.leg * pose[:, PELVIS]
    right, forward, up = trunk_axes(pose[:, BEND], pose[:, TWIST], pose[:, LEAN])
    top = root + who.trunk * unit(0.25 * UP + up)
    joints[:, 0], joints[:, 20] = root, top
    joints[:, 1] = root + 0.48 * who.trunk * unit(0.6 * UP + up)
    joints[:, 2] = top + 0.045 * who.height * up
    joints[:, 3] = joints[:, 2] + 0.085 * who.height * unit(up + 0.5 * UP + 0.15 * forward)
    for side, first_arm, first_leg, hand, foot in ((-1, 4, 12, HAND_L, FOOT_L), (1, 8, 16, HAND_R, FOOT_R)):
        shoulder = top - 0.02 * who.height * up + side * who.shoulder * right
        place_arm(joints, who, shoulder, who.arm * pose[:, hand], side, first_arm)
        place_leg(joints, who, root, who.leg * pose[:, foot], side, first_leg)
    if who.left_handed:
        joints = joints[:, MIRROR] * np.array([-1.0, 1.0, 1.0])
    return joints


def trunk_axes(
    bend: Float[np.ndarray, "T"], twist: Float[np.ndarray, "T"], lean: Float[np.ndarray, "T"]
) -> tuple[Curve, Curve, Curve]:
    """The trunk's own right, forward and up [T 3]: twisted about the vertical, bent forward, leant to the right."""
    bend, twist, lean = bend[:, None], twist[:, None], lean[:, None]
    right = cosine(twist) * np.array([1.0, 0, 0]) + sine(twist) * np.array([0, 1.0, 0])
    forward = cosine(twist) * np.array([0, 1.0, 0]) - sine(twist) * np.array([1.0, 0, 0])
    up = cosine(bend) * UP + sine(bend) * forward
    forward = cosine(bend) * forward - sine(bend) * UP
    return cosine(lean) * right - sine(lean) * up, forward, cosine(lean) * up + sine(lean) * right


def place_arm(joints: Joints, who: Subject, shoulder: Curve, reach: Curve, side: int, at: int) -> None:
    """Shoulder, elbow, wrist, hand from joint `at`; tip of hand and thumb. Elbows point out, back and down."""
    elbow, wrist = two_bones(shoulder, shoulder + reach, who.upper_arm, who.forearm, np.array([0.7 * side, -0.5, -0.5]))
    along, hand = unit(wrist - elbow), 0.105 * who.height
    thumb = unit(cross(along, np.array([0.3, 0.2, 1.0])))
    joints[:, at], joints[:, at + 1], joints[:, at + 2] = shoulder, elbow, wrist
    joints[:, at + 3] = wrist + 0.5 * hand * along
    first = 21 if side < 0 else 23
    joints[:, first] = wrist + hand * along
    joints[:, first + 1] = wrist + 0.45 * hand * along + 0.3 * hand * side * thumb


def place_leg(joints: Joints, who: Subject, root: Curve, step: Curve, side: int, at: int) -> None:
    """Hip, knee, ankle, foot from joint `at`. Knees point forward; a raised foot points along with its shin."""
    hip = root + np.array([side * who.hip, 0, -0.015 * who.height])
    stand = np.array([side * who.hip * who.stance, 0, who.ankle_height])
    knee, ankle = two_bones(hip, stand + step, who.thigh, who.shin, np.array([0.25 * side, 1.0, 0.1]))
    shin = unit(ankle - knee)
    toes = np.array([0.2 * side, 1.0, 0.0])
    toes = unit(toes - 0.8 * dot(toes, shin) * shin + 0.25 * shin)
    joints[:, at], joints[:, at + 1], joints[:, at + 2] = hip, knee, ankle
    joints[:, at + 3] = ankle + 0.105 * who.height * toes
    joints[:, at + 3, 2] = np.maximum(joints[:, at + 3, 2], 0.015 * who.height)  # toes stay on the floor


def two_bones(
    start: Curve, goal: Curve, first: float, second: float, pole: Float[np.ndarray, "3"]
) -> tuple[Curve, Curve]:
    """Middle and end [T 3] of a limb of two bones that reaches for `goal`, its middle turned towards `pole`."""
    line = unit(goal - start)
    far = np.sqrt(dot(goal - start, goal - start))
    far = np.minimum(np.maximum(far, abs(first - second) + 0.35 * second), 0.995 * (first + second))
    along = (far * far + first * first - second * second) / (2 * far)
    aside = np.sqrt(np.maximum(first * first - along * along, 0))
    return start + along * line + aside * unit(pole - dot(pole, line) * line), start + far * line
