"""Embedded data: twelve everyday actions of articulated bodies, filmed by cameras that differ. `data=synthetic`.

Nothing is downloaded: one world seed makes the same bits on every machine, and a view renders only what it needs.
Read in this order: `body` (who moves), `actions` (how), `motion` (one event), `camera`, `room`, `renderer` (pictures),
`sensors` (skeletons, 2-D poses, inertial units), `dataset` (events, splits, labels).

>>> view = Synthetic(labels=0.1).view("v01", seed=0)     # about five seconds
>>> view.train.streams["rgb"].shape
torch.Size([360, 8, 48, 48, 3])
"""

from fedkd.data.synthetic.dataset import Synthetic

__all__ = ["Synthetic"]
