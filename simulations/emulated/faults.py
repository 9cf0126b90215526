"""What goes wrong on a fleet, done to an emulated one: each fault strikes a host, and gives how it is put right.

What puts itself right, since somebody starts the process again, gives nothing to do.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from simulations.emulated.clock import Clock
from simulations.emulated.fleet import SERVER, Fleet

PutRight = Callable[[], None]
PROGRAMS = "/bin/python"
"""In the command line of every process of a host but the shell that starts them again."""


def power_cut(fleet: Fleet, host: str) -> PutRight:
    """All of a host's processes are killed. Its SuperNode is refused for a minute, and tried again until it is not."""
    fleet.network.kill(host, PROGRAMS)
    return _by_itself


def dead_camera(fleet: Fleet, host: str) -> PutRight:
    """The warm process is killed, whatever it is at."""
    fleet.network.kill(host, "clients.warm_process")
    return _by_itself


def dead_server(fleet: Fleet, host: str) -> PutRight:
    """The SuperLink is killed, and with it the run; `host` is spared."""
    fleet.network.kill(SERVER, "flower-superlink")
    return _by_itself


def cut_link(fleet: Fleet, host: str) -> PutRight:
    """Nothing passes the host's link."""
    link = fleet.network.links[host]
    fleet.network.link(host, replace(link, up=False))
    return lambda: fleet.network.link(host, link)


def bad_link(fleet: Fleet, host: str) -> PutRight:
    """The host's link is slow, far, and loses a fifth of its frames."""
    link = fleet.network.links[host]
    fleet.network.link(host, replace(link, rate=1, delay=200, loss=0.2))
    return lambda: fleet.network.link(host, link)


def full_disk(fleet: Fleet, host: str) -> PutRight:
    """No byte is left where the host keeps its state; `own_disk` keeps that from being this machine's disk."""
    filler = state_of(fleet, host) / "filler"
    with suppress(OSError), open(filler, "wb", buffering=0) as file:  # until it is full
        while file.write(bytes(1 << 20)):
            pass
    return filler.unlink


def wrong_clock(clock: Clock, ahead: float) -> Callable[[Fleet, str], PutRight]:
    """The host's clock jumps by so many seconds, and back."""

    def jump(fleet: Fleet, host: str) -> PutRight:
        clock.set(ahead)
        return lambda: clock.set(0)

    return jump


def state_of(fleet: Fleet, host: str) -> Path:
    """Where a host keeps what it needs between two starts."""
    return fleet.folder_of(host) / "state"


@contextmanager
def own_disk(fleet: Fleet, host: str, megabytes: int) -> Iterator[None]:
    """Within the block the host's state lies on a small disk of its own. To be entered before the host starts."""
    disk = state_of(fleet, host)
    disk.mkdir(mode=0o700)
    options = f"size={megabytes}m,mode=700,uid={os.getuid()}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "fedkd", disk], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def _by_itself() -> None:
    """Somebody starts it again."""
