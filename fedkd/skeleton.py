"""The bodies that depth cameras see: names, bones and mirror pairs of their joints.

    >>> KINECT_V1.joints[KINECT_V1.parents[3]]     # what is the head attached to?
    'shoulder centre'

Every bone points from a joint to its parent, the neighbour nearer to the centre; the centre is its own parent. "Left"
is the person's own left. Both sensors look at a person who faces them with +x on the person's right, +y up.

Where sources differ:

* NTU hands. PYSKL (https://github.com/kennymckormick/pyskl, `pyskl/utils/graph.py`) ties tip and thumb to the hand:
  1-based (22, 8), (23, 8), (24, 12), (25, 12). CTR-GCN (https://github.com/Uason-Chen/CTR-GCN, `graph/ntu_rgb_d.py`)
  chains tip to thumb to hand: (22, 23), (23, 8), (24, 25), (25, 12). Here: PYSKL's, which is the anatomy.
* 20 joints. N-UCLA's files and the Kinect SDK 1 share one order, `KINECT_V1`. UTD-MHAD's begins head, shoulder centre,
  spine, hip centre and is otherwise the same: `skeleton[..., UTD_MHAD_TO_KINECT_V1, :]` puts it right.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Skeleton:
    """A tree of J joints.

    joints   the J names, in the data's order.
    parents  for each joint the next one on the way to the centre; the centre's is itself.
    pairs    (left, right) joints that trade places when the picture is mirrored.
    """

    joints: tuple[str, ...]
    parents: tuple[int, ...]
    pairs: tuple[tuple[int, int], ...]

    @property
    def centre(self) -> int:
        """The root of the tree."""
        return next(joint for joint, parent in enumerate(self.parents) if joint == parent)

    @property
    def bones(self) -> tuple[tuple[int, int], ...]:
        """(child, parent) of every joint but the centre."""
        return tuple((joint, parent) for joint, parent in enumerate(self.parents) if joint != parent)


KINECT_V1 = Skeleton(
    # Names and order: Kinect for Windows SDK 1.8, JointType. Parents: CTR-GCN, `feeders/feeder_ucla.py`, made 0-based.
    joints=(
        *("hip centre", "spine", "shoulder centre", "head"),  # 0-3
        *("left shoulder", "left elbow", "left wrist", "left hand"),  # 4-7
        *("right shoulder", "right elbow", "right wrist", "right hand"),  # 8-11
        *("left hip", "left knee", "left ankle", "left foot"),  # 12-15
        *("right hip", "right knee", "right ankle", "right foot"),  # 16-19
    ),
    parents=(1, 2, 2, 2, 2, 4, 5, 6, 2, 8, 9, 10, 0, 12, 13, 14, 0, 16, 17, 18),
    pairs=((4, 8), (5, 9), (6, 10), (7, 11), (12, 16), (13, 17), (14, 18), (15, 19)),
)
"""20 joints of the Kinect v1, as N-UCLA stores them."""

UTD_MHAD_TO_KINECT_V1 = (3, 2, 1, 0, *range(4, 20))
"""Where each KINECT_V1 joint lies in UTD-MHAD's order (the data set's own `Skeleton_joint_order.txt`)."""

NTU = Skeleton(
    # Names and order: Shahroudy et al., NTU RGB+D, CVPR 2016, https://arxiv.org/abs/1604.02808, figure 1.
    # Parents: PYSKL, `pyskl/utils/graph.py`, layout "nturgb+d", made 0-based.
    joints=(
        *("spine base", "spine middle", "neck", "head"),  # 0-3
        *("left shoulder", "left elbow", "left wrist", "left hand"),  # 4-7
        *("right shoulder", "right elbow", "right wrist", "right hand"),  # 8-11
        *("left hip", "left knee", "left ankle", "left foot"),  # 12-15
        *("right hip", "right knee", "right ankle", "right foot"),  # 16-19
        *("spine shoulder", "left hand tip", "left thumb", "right hand tip", "right thumb"),  # 20-24
    ),
    parents=(1, 20, 20, 2, 20, 4, 5, 6, 20, 8, 9, 10, 0, 12, 13, 14, 0, 16, 17, 18, 20, 7, 7, 11, 11),
    pairs=(
        *((4, 8), (5, 9), (6, 10), (7, 11), (12, 16), (13, 17), (14, 18), (15, 19)),
        *((21, 23), (22, 24)),
    ),
)
"""25 joints of the Kinect v2, as NTU RGB+D stores them."""

SKELETONS = {len(body.joints): body for body in (KINECT_V1, NTU)}
"""Number of joints -> skeleton."""
