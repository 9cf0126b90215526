"""Where cameras live between messages.

A process that stays (a local worker, a Ray actor of ours) keeps them as they are. Flower's own engines may hand the
next message to another process, so there a camera's state travels in `Context.state`, which never leaves the host.
"""

from __future__ import annotations

from collections.abc import Sequence

from flwr.app import ConfigRecord, Context

from clients.camera import Camera
from clients.outfit import new_cameras

_HERE: dict[tuple[int, int], dict[str, Camera]] = {}
"""(run, node) -> the cameras this process keeps."""


def recall(context: Context, overrides: tuple[str, ...], views: Sequence[str]) -> dict[str, Camera]:
    """The cameras of these views as the last message left them, or fresh ones."""
    key = (context.run_id, context.node_id)
    if _stays(context) and key in _HERE:
        return _HERE[key]
    cameras = new_cameras(overrides, views)
    kept = context.state.get("cameras")
    if isinstance(kept, ConfigRecord):
        for name, camera in cameras.items():
            camera.restore(kept[name])  # type: ignore[arg-type]
    return cameras


def remember(context: Context, cameras: dict[str, Camera]) -> None:
    """Keep the cameras for the next message."""
    if _stays(context):
        _HERE[context.run_id, context.node_id] = cameras
    else:
        context.state["cameras"] = ConfigRecord({name: camera.state() for name, camera in cameras.items()})


def forget(run_id: int) -> None:
    """Let go of a finished run's cameras."""
    for key in [key for key in _HERE if key[0] == run_id]:
        del _HERE[key]


def _stays(context: Context) -> bool:
    return bool(context.node_config.get("resident", False))
