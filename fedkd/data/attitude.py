"""How a phone lies, from Android's three angles, as vectors: what is up, and where magnetic north is.

    up, north = up_and_north(np.array([[359.0, -80.0, 5.0]]))[0]          # both of length 1, along the phone's axes

The angles are those of `SensorManager.getOrientation`
(https://developer.android.com/reference/android/hardware/SensorManager), whose source has pitch = asin(-up_y) and
roll = atan2(-up_x, up_z). The phone's x points right, y to its top edge, z out of the screen. Azimuth is a turn about
-z, from magnetic north over east; pitch, within 90 degrees, one about -x: the top edge goes down; roll one about y:
the right edge goes down (a sentence there says the left one, its source and "about the y axis" the right). So v, along
the phone's axes, is Rz(-azimuth) Rx(-pitch) Ry(roll) v along east, north and up, and that matrix' last rows are north
and up along the phone's axes. The sensor TYPE_ORIENTATION, which Android gave up, turns about the same axes in another
order, and has pitch within 180 and roll within 90 degrees.

Angles are no numbers to reckon with: 359 and 1 degrees are 2 apart, and near pitch 90 azimuth and roll turn on a spot.
These vectors move as the phone does. They turn, when the phone is mounted otherwise, as what its accelerometer and its
gyroscope measure, so that all of a clip's vectors may be turned together (`fedkd.data.skeleton_augment`).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float


def up_and_north(angles: Float[np.ndarray, "T 3"]) -> Float[np.ndarray, "T 2 3"]:
    """Unit vectors, along the phone's axes, from (azimuth, pitch, roll) in degrees."""
    (sa, sp, sr), (ca, cp, cr) = np.sin(np.deg2rad(angles)).T, np.cos(np.deg2rad(angles)).T
    up = np.stack([-cp * sr, -sp, cp * cr], axis=1)
    north = np.stack([-sa * cr - ca * sp * sr, ca * cp, -sa * sr + ca * sp * cr], axis=1)
    return np.stack([up, north], axis=1)


def directed(vectors: Float[np.ndarray, "*rest 3"]) -> Float[np.ndarray, "*rest 3"]:
    """The vectors' directions, length 1: after directions were averaged, or laid on straight lines between two.

    Halfway between two opposite ones there is no direction: 0.
    """
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.where(lengths > 1e-6, vectors / np.maximum(lengths, 1e-6), 0)
