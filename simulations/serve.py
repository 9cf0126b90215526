"""The ServerApp over a grid of ours: shared by the places that bring their own hosts."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from flwr.app import Context, RecordDict

from fedkd.config import from_string, load
from simulations.host_grid import HostGrid
from simulations.live import watch
from strategies.app import app as server_app

MEMORIES = "checkpoint/cameras"


def memories(folder: Path, overrides: str) -> str:
    """Where the cameras of a run on this machine keep what they need if it is killed: within its result, or nowhere."""
    return str(folder / MEMORIES) if load(from_string(overrides)).resumable else ""


def drop_memories(folder: Path) -> None:
    """It is finished: nobody will go on from there."""
    shutil.rmtree(folder / MEMORIES, ignore_errors=True)


def serve(grid: HostGrid, run_id: int, overrides: str, folder: Path) -> None:
    """Run the ServerApp to its end, and end the hosts whatever happened."""
    logging.getLogger("flwr").setLevel(logging.WARNING)  # the record and the live view say what Flower would log
    context = Context(run_id, 0, {}, RecordDict(), {"overrides": overrides, "folder": str(folder)})
    try:
        with watch(folder):  # here and not at the command line: its thread must not run while a place forks its hosts
            server_app(grid, context)
    finally:
        grid.hosts.close()
    drop_memories(folder)
