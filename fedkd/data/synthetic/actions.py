"""The twelve actions, as curves of a pose over time.

Each action is a function of a pose to write into [T 18], its phase in turns [T] (one turn is one repetition), an
amplitude (1 is wholehearted) and the manner of the performer. All are written for a right-handed body; a left-handed
one is mirrored as a whole. Nothing of an action shows outside the moving body: there is no ball, no box, and the stool
stands behind everybody, whether they sit down or not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from fedkd.data.synthetic.body import BEND, FOOT_L, FOOT_R, HAND_L, HAND_R, LEAN, PELVIS, TWIST
from fedkd.data.synthetic.chance import Chance, Number, cosine, sine, smoothstep

Pose = Float[np.ndarray, "T 18"]
Phase = Float[np.ndarray, "T"]


@dataclass(frozen=True)
class Manner:
    """How one subject does one action: where the hands go (arm lengths), and three habits of -1..1 for the rest."""

    right: Float[np.ndarray, "3"]
    left: Float[np.ndarray, "3"]
    first: float
    second: float
    third: float


def manner(chance: Chance, spread: float) -> Manner:
    """Draw one; `spread` is in arm lengths."""
    hands = chance.normals(spread, 2, 3)
    return Manner(hands[0], hands[1], *chance.uniforms(-1, 1, 3).tolist())


def point(*xyz: Number | Phase) -> Float[np.ndarray, "*T 3"]:
    """A curve [T 3] from three coordinates, each a number or a curve [T]; a point [3] from three numbers."""
    return np.stack(np.broadcast_arrays(*[np.asarray(part, dtype=np.float64) for part in xyz]), axis=-1)


def there_and_back(phase: Phase) -> Phase:
    """0 at whole turns, 1 at half turns, at ease."""
    return 0.5 - 0.5 * cosine(phase)


def fraction(phase: Phase) -> Phase:
    """How far into its turn a phase is, 0..1."""
    return phase - np.floor(phase)


def mirrored(curve: Float[np.ndarray, "*T 3"]) -> Float[np.ndarray, "*T 3"]:
    """The other hand's curve."""
    return curve * np.array([-1.0, 1.0, 1.0])


def wave_one(pose: Pose, phase: Phase, size: float, how: Manner) -> None:
    """One hand beside the head, the forearm swinging."""
    sway = sine(phase)
    pose[:, HAND_R] = (
        point(0.42 + 0.30 * size * sway, 0.22, 0.55 + 0.10 * how.first - 0.08 * size * sway * sway) + how.right
    )
    pose[:, LEAN] = 0.012 * sway


def wave_two(pose: Pose, phase: Phase, size: float, how: Manner) -> None:
    """Both hands overhead, swinging out and in like somebody who calls for help."""
    sway = sine(phase)
    high = 0.72 + 0.08 * how.first
    both = point(0.30 + 0.34 * size * sway, 0.12, high - 0.20 * size * sway) + how.right
    pose[:, HAND_R] = both
    pose[:, HAND_L] = mirrored(both)


def clap(pose: Pose, phase: Phase, size: float, how: Manner) -> None:
    """Hands before the chest, apart and together."""
    apart = 0.5 + 0.5 * cosine(phase)
    height = -0.22 + 0.16 * how.first
    hand = point(-0.26 + 0.42 * size * apart, 0.50 + how.right[1], height + how.right[2])
    pose[:, HAND_R] = hand
    pose[:, HAND_L] = mirrored(hand)


def punch(pose: Pose, phase: Phase, size: float, how: Manner) -> None:
    """From a guard, the strong hand shoots forward; every other time the weak one, by some."""
    thrust = smoothstep(1.7 * there_and_back(phase) - 0.5)
    alternate = how.second > 0
    turn = np.floor(phase)
    other = turn - 2 * np.floor(turn / 2) if alternate else np.zeros_like(phase)
    strong, weak = thrust * (1 - other), thrust * other
    guard = point(-0.02, 0.36, -0.12 + 0.10 * how.first) + how.right
    strike = point(-0.22, 0.62 + 0.36 * size, 0.02 + 0.12 * how.third)
    pose[:, HAND_R] = guard + strong[:, None] * (strike - guard)
    guard = mirrored(guard)
    pose[:, HAND_L] = guard + weak[:, None] * (mirrored(strike) - guard)
    pose[:, TWIST] = 0.085 * size * (strong - weak) - 0.03
    pose[:, BEND] = 0.02 + 0.02 * strong
    pose[:, FOOT_L] = point(0, 0.16, 0)
    pose[:, FOOT_R] = point(0, -0.14, 0)
    pose[:, PELVIS] = point(0, 0.05 * (strong + weak), -0.05)


def kick(pose: Pose, phase: Phase, size: float, how: Manner) -> None:
    """The strong foot swings forward and up; the arms balance."""
    swing = smoothstep(1.35 * there_and_back(phase) - 0.2)
    back = sine(phase + 0.06) * (1 - swing) * 0.15
    pose[:, FOOT_R] = point(-0.06 * swing, 0.80 * size * swing - back, (0.52 + 0.14 * how.first) * size * swing)
    pose[:, BEND] = -0.035 * size * swing
    pose[:, PELVIS] = point(-0.05 * swing, -0.04 * swing, 0)
    pose[:, HAND_R] += swing[:, None] * point(0.25, -0.25, 0.25 + 0.2 * how.second)
    pose[:, HAND_L] += swing[:, None] * point(-0.30, 0.35, 0.35 + 0.2 * how.second)


def squat(pose: Pose, phase: Phase, size: float, how: Manner) -> None:
    """Knees bend deeply, arms held out in front, or folded."""
    down = there_and_back(phase)
    pose[:, PELVIS] = point(0, -0.16 * down, -0.48 * size * down)
    pose[:, BEND] = (0.075 + 0.02 * how.third) * down
    front = point(0.02, 0.85, 0.02) if how.first > -0.2 else point(-0.12, 0.42, -0.25)
    reach = smoothstep(1.6 * down)[:, None]
    for hand, goal, lean in ((HAND_R, front, how.right), (HAND_L, mirrored(front), how.left)):
        pose[:, hand] += reach * (goal + lean - pose[:, hand])


def jump(pose: Pose, phase: Phase, size: float, how: Manner) -> None:
    """Crouch, leave the ground, land; the arms swing up with it."""
    part = fraction(phase)
    crouch = there_and_back(np.minimum(part / 0.42, 1)) + 0.7 * there_and_back(np.maximum((part - 0.78) / 0.22, 0))
    flight = np.minimum(np.maximum((part - 0.42) / 0.36, 0), 1)
    rise = (0.42 + 0.10 * how.first) * size * 4 * flight * (1 - flight)  # a parabola, as gravity has it
    pose[:, PELVIS] = point(0, -0.06 * crouch, rise - 0.26 * size * crouch)
    pose[:, BEND] = 0.06 * crouch
    tucked = 0.12 * smoothstep(2 * rise)
    pose[:, FOOT_R] = pose[:, FOOT_L] = point(0, -0.08 * tucked, rise + tucked)
    swing = (smoothstep((part - 0.28) / 0.2) * smoothstep((0.98 - part) / 0.25))[:, None]
    up = point(0.22, 0.40, 0.55 + 0.3 * how.second) if how.second > -0.5 else point(0.35, 0.3, -0.45)
    for hand, goal, lean in ((HAND_R, up, how.right), (HAND_L, mirrored(up), how.left)):
        pose[:, hand] += crouch[:, None] * point(0.0, -0.35, 0.05) + swing * size * (goal + lean - pose[:, hand])


def walk(pose: Pose, phase: Phase, size: float, how: Manner) -> None:
    """Knees rise in turn, arms swing against them, on the spot."""
    step = sine(phase)
    left, right = np.maximum(step, 0), np.maximum(-step, 0)
    lift = 0.26 + 0.10 * how.first
    for foot, up in ((FOOT_L, left), (FOOT_R, right)):
        pose[:, foot] = point(0, 0.10 * size * up, lift * size * up)
    pose[:, PELVIS] = point(0.025 * step, 0, 0.015 * step * step)
    pose[:, TWIST] = 0.02 * step
    swing = (0.26 + 0.14 * how.second) * size * step
    bent = 0.12 + 0.10 * how.third
    pose[:, HAND_R] = point(0.14, 0.08 + bent + swing, -0.88 + bent + 0.20 * swing * swing) + 0.5 * how.right
    pose[:, HAND_L] = point(-0.14, 0.08 + bent - swing, -0.88 + bent + 0.20 * swing * swing) + 0.5 * how.left


def pick_up(pose: Pose, phase: Phase, size: float, how: Manner) -> None:
    """Bend down, reach the floor with one hand, bring it up to the chest."""
    part = fraction(phase)
    down = smoothstep(part / 0.36) * smoothstep((0.86 - part) / 0.34)
    knees = 0.26 + 0.12 * how.first
    pose[:, PELVIS] = point(0, -0.16 * down, -knees * size * down)
    pose[:, BEND] = (0.20 - 0.05 * how.first) * size * down
    pose[:, TWIST] = 0.03 * how.second * down
    floor = point(-0.10 + 0.20 * how.second, 0.42, -0.86) + how.right
    chest = point(-0.10, 0.45, -0.38)
    holding = smoothstep((part - 0.58) / 0.2) * smoothstep((0.99 - part) / 0.12)
    for share, goal in ((down, floor), (holding, chest)):
        pose[:, HAND_R] += share[:, None] * (goal - pose[:, HAND_R])
    pose[:, HAND_L] += down[:, None] * (point(-0.18, 0.30, -0.62) + how.left - pose[:, HAND_L])


def throw(pose: Pose, phase: Phase, size: float, how: Manner) -> None:
    """The strong hand is drawn back behind the head, then whips forward and down across the body."""
    part = fraction(phase)
    windup = smoothstep(part / 0.38) * smoothstep((0.58 - part) / 0.14)
    release = smoothstep((part - 0.44) / 0.12) * smoothstep((0.76 - part) / 0.16)
    follow = smoothstep((part - 0.60) / 0.14) * smoothstep((1.0 - part) / 0.22)
    behind = point(0.42, -0.30 - 0.1 * how.second, 0.42 + 0.18 * how.first) + how.right
    ahead = point(-0.05, 0.82, 0.35 + 0.18 * how.first)
    across = point(-0.42, 0.55, -0.55)
    for share, goal in ((windup, behind), (release * size, ahead), (follow * size, across)):
        pose[:, HAND_R] += share[:, None] * (goal - pose[:, HAND_R])
    pose[:, HAND_L] += windup[:, None] * (point(-0.12, 0.70, 0.05) + how.left - pose[:, HAND_L])
    pose[:, TWIST] = 0.10 * size * (release + follow) - 0.11 * windup
    pose[:, BEND] = 0.07 * size * follow + 0.03 * release - 0.03 * windup
    step = smoothstep((part - 0.25) / 0.25) * smoothstep((1.0 - part) / 0.2)
    pose[:, FOOT_L] = point(0, 0.28 * step, 0.10 * there_and_back(np.minimum(part / 0.5, 1)))
    pose[:, PELVIS] = point(0, 0.12 * step - 0.05 * windup, -0.04 * step)


def sit_down(pose: Pose, phase: Phase, size: float, how: Manner) -> None:
    """Back and down onto the stool, trunk leaning forward on the way; then seated, hands on the thighs."""
    sinking = smoothstep(phase)
    pose[:, PELVIS] = point(0, -0.44 * sinking, -0.46 * sinking)
    pose[:, BEND] = (0.13 + 0.03 * how.first) * size * 4 * sinking * (1 - sinking) + (
        0.012 + 0.02 * how.third
    ) * sinking
    thighs = point(0.02, 0.42, -0.62)
    for hand, goal, lean in ((HAND_R, thighs, how.right), (HAND_L, mirrored(thighs), how.left)):
        pose[:, hand] += sinking[:, None] * (goal + 0.6 * lean - pose[:, hand])


def raise_arms(pose: Pose, phase: Phase, size: float, how: Manner) -> None:
    """Both arms rise sideways in a wide arc to above the head, and sink."""
    turn = 0.03 + (0.36 + 0.04 * how.first) * (0.5 + 0.5 * size) * there_and_back(phase)
    reach = 0.93 + 0.05 * how.second
    arc = point(reach * sine(turn), 0.10 + 0.15 * how.third, -reach * cosine(turn)) + 0.4 * how.right
    pose[:, HAND_R] = arc
    pose[:, HAND_L] = mirrored(arc)


@dataclass(frozen=True)
class Action:
    """A name, its curve, and how often it repeats."""

    name: str
    curve: Callable[[Pose, Phase, float, Manner], None]
    rate: float  # repetitions in a second


ACTIONS = (
    Action("wave with one hand", wave_one, 1.9),
    Action("wave with two hands", wave_two, 1.5),
    Action("clap", clap, 1.9),
    Action("punch", punch, 1.5),
    Action("kick", kick, 0.95),
    Action("squat", squat, 0.75),
    Action("jump", jump, 0.95),
    Action("walk on the spot", walk, 1.0),
    Action("pick up", pick_up, 0.55),
    Action("throw", throw, 0.75),
    Action("sit down", sit_down, 0.85),
    Action("raise arms", raise_arms, 0.55),
)
SIT = [action.name for action in ACTIONS].index("sit down")
