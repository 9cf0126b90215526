"""One event: a subject does one action once more, never the same way twice.

A trial draws when the action begins and ends (before and after it the subject stands at ease), how fast and how large
it is, where the subject stands and where it faces. The key of every draw is (subject, action, trial), so that an event
is the same whatever else is made, and whichever view asks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from fedkd.data.synthetic.actions import ACTIONS, SIT, Manner, manner
from fedkd.data.synthetic.body import BEND, HAND_L, HAND_R, LEAN, PELVIS, TWIST, Subject, joints_of, standing, subject
from fedkd.data.synthetic.chance import Chance, cosine, sine, smoothstep

FRAMES = 96
"""Instants of one event ..."""
RATE = 40.0
"""... at so many a second: 2.4 seconds."""

# What makes unseen people hard. Set together with the cameras so that a student with all labels ends at .80-.88.
STYLE = 0.10  # arm lengths: how far a subject's way of an action lies from the common way
JITTER = 0.05  # arm lengths: and a trial from the subject's way
SMALLEST, LARGEST = 0.55, 1.10  # size of the movement, times the subject's own
SHORTEST = 0.5  # share of the clip that the action fills at least
HEADING = 30 / 360  # turns to either side
PLACE = 0.25  # metres to either side


@dataclass(frozen=True)
class Event:
    """What happened, before anybody films it. Joints in world coordinates, metres, z up."""

    performer: Subject
    joints: Float[np.ndarray, "T 25 3"]
    stool: Float[np.ndarray, "3"]


def perform(world_seed: int, person: int, action: int, trial: int) -> Event:
    """The event (person, action, trial) of a world."""
    chance = Chance(world_seed, "trial", person, action, trial)
    who = subject(world_seed, person)
    way = _manner_of_trial(world_seed, person, action, trial)
    joints = joints_of(who, _poses(chance, who, action, way))
    heading = chance.uniform(-HEADING, HEADING)
    place = chance.uniforms(-PLACE, PLACE, 2)
    seat = np.array(
        [0.0, -0.44 * who.leg, who.ankle_height + 0.525 * who.leg]
    )  # where `sit_down` ends, for this subject's legs
    return Event(who, _placed(joints, heading, place), _placed(seat, heading, place))


def _manner_of_trial(world_seed: int, person: int, action: int, trial: int) -> Manner:
    usual = manner(Chance(world_seed, "manner", person, action), STYLE)
    today = manner(Chance(world_seed, "mood", person, action, trial), JITTER)
    habits = {name: 0.75 * getattr(usual, name) + 0.25 * getattr(today, name) for name in ("first", "second", "third")}
    return replace(usual, right=usual.right + today.right, left=usual.left + today.left, **habits)


def _poses(chance: Chance, who: Subject, action: int, way: Manner) -> Float[np.ndarray, "T 18"]:
    """At ease, then the action, then at ease again (who sat down stays seated)."""
    time = np.arange(FRAMES) / RATE
    rest = _at_ease(chance, time)
    size = who.amplitude * chance.uniform(SMALLEST, LARGEST)
    pace = who.tempo * ACTIONS[action].rate * chance.uniform(0.85, 1.15)
    share = chance.uniform(SHORTEST, 1.0)
    clip = FRAMES / RATE
    begin = chance.uniform(0, (1 - share) * clip)
    if action == SIT:
        begin, share = chance.uniform(0.05, 0.9), 2.0
    pose = rest.copy()
    ACTIONS[action].curve(pose, pace * np.maximum(time - begin, 0), size, way)
    soft = 0.22  # seconds to raise the hands, say, before the wave
    gate = smoothstep((time - begin + soft) / (2 * soft)) * smoothstep(
        (begin + share * clip + soft - time) / (2 * soft)
    )
    return rest + gate[:, None] * (pose - rest)


def _at_ease(chance: Chance, time: Float[np.ndarray, "T"]) -> Float[np.ndarray, "T 18"]:
    """Nobody stands like a post: a slow sway, arms that hang a little differently, or hands held before the belly."""
    pose = standing(len(time))
    for hand, side in ((HAND_L, -1), (HAND_R, 1)):
        pose[:, hand] += chance.normals(0.06, 3)
        if chance.happens(0.2):
            pose[:, hand] = np.array([-0.10 * side, 0.34, -0.55]) + chance.normals(0.05, 3)
    sway = sine(chance.uniform() + chance.uniform(0.2, 0.45) * time)
    pose[:, PELVIS] += sway[:, None] * np.array([0.018, 0.012, 0.0])
    pose[:, LEAN] += 0.006 * sway + chance.normal(0.006)
    pose[:, BEND] += 0.005 * sine(chance.uniform() + 0.3 * time) + chance.normal(0.012)
    pose[:, TWIST] += chance.normal(0.012)
    return pose


def _placed(
    points: Float[np.ndarray, "... 3"], heading: float, place: Float[np.ndarray, "2"]
) -> Float[np.ndarray, "... 3"]:
    """From the body's frame to the world's: turned to the left by `heading` turns, then moved along the floor."""
    c, s = float(cosine(heading)), float(sine(heading))
    x, y = points[..., 0], points[..., 1]
    return np.stack([c * x - s * y + place[0], s * x + c * y + place[1], points[..., 2]], axis=-1)
