"""`fedkd fleet check`: is this machine ready? One finding a line, each with what to do.

What cannot be told from where it is asked is said to be so, and is no fault.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from simulations.fleet.checks.finding import Finding
from simulations.fleet.checks.host import admission, recordings
from simulations.fleet.checks.machine import asker, disk, environment, private, versions
from simulations.fleet.checks.network import network
from simulations.fleet.checks.server import authority_key, hosts
from simulations.fleet.kit import Kit


def check(kit: Kit, overrides: Sequence[str]) -> Iterator[Finding]:
    """Look at a host's folder, or the server's.

    overrides  name the data whose recordings a host should have, such as data=nw_ucla.
    """
    yield versions(kit)
    yield asker(kit)
    settings = yield from environment(kit)
    yield private(kit.folder / ("key" if kit.role == "host" else "server.key"))
    reached = yield from network(kit)
    if kit.role == "host":
        yield from admission(kit, settings) if reached else [Finding("key", None, "the server is not reached")]
        yield disk(kit, settings)
        yield from recordings(kit, settings, overrides)
        return
    yield authority_key(kit)
    yield disk(kit, settings)
    yield from hosts(kit)
