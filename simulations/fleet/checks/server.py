"""What the server alone can tell: where the authority's key lies, and which hosts are there and answer."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from fedkd.errors import UserError
from simulations.fleet.checks.finding import Finding
from simulations.fleet.hello import HELLO, HELLO_SECONDS, MARK
from simulations.fleet.kit import Kit
from simulations.fleet.link import Node, nodes
from simulations.fleet.place import FleetCommand
from simulations.flwr_command import by_hand

ARRIVAL_SECONDS = 20.0
"""For a SuperNode that was started a moment ago; a small host imports Flower for a while."""


def authority_key(kit: Kit) -> Finding:
    """Whether it still lies beside the server's folder."""
    key = kit.folder.parent / "ca" / "ca.key"
    return Finding("ca.key", None if key.exists() else True, f"take {key} offline" if key.exists() else "is not here")


def hosts(kit: Kit) -> Iterator[Finding]:
    """Each host: registered, online, and answering for its views."""
    try:
        listed = _arrived(kit)
    except UserError as error:
        yield Finding("hosts", False, str(error))
        return
    found = {node.host: node for node in listed if node.host is not None}
    told, busy = _hello(kit) if any(node.online for node in listed) else ({}, "")
    for host in kit.hosts:
        node = found.get(host.name)
        if node is None:
            yield Finding(
                host.name,
                False,
                "is not registered; run server/register.sh (one that was unregistered needs a new key)",
            )
        elif not node.online:
            seen = f"has been offline since {node.last_seen:%Y-%m-%d %H:%M:%S} UTC" if node.last_seen else "never came"
            yield Finding(host.name, False, f"{seen}; start its supernode.sh")
        elif str(node.id) not in told and busy:
            wait = f"within {HELLO_SECONDS:.0f} s: run {busy} is under way; ask again after it"
            says = f"is online, and did not answer {wait}"
            yield Finding(host.name, None, says)
        elif str(node.id) not in told:
            yield Finding(host.name, False, "is online, and did not answer a message; see its SuperNode's log")
        elif sorted(told[str(node.id)]) != sorted(host.views):
            yield Finding(
                host.name, False, f"answers for {told[str(node.id)]}, not {list(host.views)}; copy its folder anew"
            )
        else:
            yield Finding(host.name, True, f"answered a message, for {', '.join(host.views)}")
    for node in listed:
        if node.host is None:
            forget = by_hand(kit.folder.parent / "flower-home", "supernode", "unregister", node.id, "fleet")
            yield Finding(str(node.id), False, f"is registered with a key that is not in server/keys; {forget}")


def _arrived(kit: Kit) -> list[Node]:
    """The hosts that the SuperLink knows, once none of them is yet to come for the first time, or after a while."""
    deadline, listed = time.monotonic() + ARRIVAL_SECONDS, nodes(kit)
    while any(node.last_seen is None and node.host for node in listed) and time.monotonic() < deadline:
        time.sleep(1.0)
        listed = nodes(kit)
    return listed


def _hello(kit: Kit) -> tuple[dict[str, list[str]], str]:
    """One message to every host and back: node -> the views it answers for; and a run that is under way meanwhile."""
    with tempfile.TemporaryDirectory(prefix="fedkd-fleet-") as scratch:
        flower = FleetCommand(kit.folder.parent, Path(scratch))
        busy = next((run["run-id"] for run in flower.runs() if not run["status"].startswith("finished")), "")
        said = flower("log", flower.start(HELLO, Path()), "fleet", "--stream")
    lines = [line for line in said.splitlines() if line.startswith(MARK)]
    views: dict[str, list[str]] = json.loads(lines[-1].removeprefix(MARK)) if lines else {}
    return views, busy
