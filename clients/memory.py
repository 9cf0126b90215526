"""Where cameras live between messages.

A process that stays (a local worker, a Ray actor of ours) keeps them as they are. Flower's own engines may hand the
next message to another process, so there a camera's state travels in `Context.state`, which never leaves the host.
"""

from __future__ import annotations

from collections.abc import Mapping

from flwr.app import ConfigRecord, Context

from clients.camera import Camera
from clients.outfit import forget_recordings, new_camera

_HERE: dict[tuple[int, int], dict[str, Camera]] = {}
"""(run, node) -> the cameras this process keeps."""


def recall(context: Context, overrides: tuple[str, ...], view: str) -> Camera:
    """A view's camera as the last message left it, or a fresh one."""
    key = (context.run_id, context.node_id)
    if _stays(context) and view in _HERE.get(key, {}):
        return _HERE[key][view]
    camera = new_camera(overrides, view)
    packed = context.state.get("cameras")
    if isinstance(packed, ConfigRecord) and isinstance(state := packed.get(view), bytes):
        camera.restore(state)
    return camera


def remember(context: Context, cameras: Mapping[str, Camera]) -> None:
    """Keep cameras for the next message."""
    if _stays(context):
        _HERE.setdefault((context.run_id, context.node_id), {}).update(cameras)
        return
    packed = context.state.get("cameras", ConfigRecord())
    assert isinstance(packed, ConfigRecord)
    context.state["cameras"] = ConfigRecord({**packed, **{view: camera.state() for view, camera in cameras.items()}})


def forget(run_id: int) -> None:
    """Let go of a finished run's cameras and recordings."""
    for key in [key for key in _HERE if key[0] == run_id]:
        del _HERE[key]
    forget_recordings()


def _stays(context: Context) -> bool:
    return bool(context.node_config.get("resident", False))
