"""`fedkd fleet status`: who is there, and how far the run is. Asked on the server's machine."""

from __future__ import annotations

import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

from fedkd.errors import UserError
from fedkd.results import load
from fedkd.words import human_bytes, human_seconds
from simulations.fleet.kit import Kit
from simulations.fleet.link import Node, nodes
from simulations.fleet.place import LAST_RUN, FleetCommand


def status(kit: Kit, result: Path | None) -> RenderableType:
    """Hosts, then the last run that `fedkd run place=fleet` started here, or else the last of all.

    result  the record of that run; None: where `fedkd run place=fleet` on this machine put it.
    """
    path = kit.folder / LAST_RUN
    last = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    which = ("--limit", "1") if last is None else ("--run-id", last["run-id"])
    with tempfile.TemporaryDirectory(prefix="fedkd-fleet-") as scratch:
        runs = FleetCommand(kit.folder, Path(scratch)).runs(*which)
    parts: list[RenderableType] = [_hosts(kit)]
    if runs:
        parts += ["", _run(runs[0])]
        folder = result or (Path(last["folder"]) if last else None)
        parts += [_progress(folder)] if folder else []
    return Group(*parts)


def _hosts(kit: Kit) -> Table:
    found = nodes(kit)
    node_of = {node.host: node for node in found}
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 3, 0, 0))
    for name in ("host", "views", "is", "last seen"):
        table.add_column(name, no_wrap=True)
    for host in kit.hosts:
        node = node_of.get(host.name)
        state = "not registered" if node is None else "[green]online[/]" if node.online else "[red]offline[/]"
        table.add_row(host.name, ", ".join(host.views), state, _seen(node))
    for node in (node for node in found if node.host is None):
        table.add_row(str(node.id), "", "[red]not of this kit[/]", _seen(node))
    return table


def _seen(node: Node | None) -> str:
    if node is None or node.last_seen is None:
        return "never"
    ago = f"{human_seconds(round((datetime.now(UTC) - node.last_seen).total_seconds()))} ago"
    return ago if node.online else f"at least {ago}"


def _run(run: dict[str, Any]) -> str:
    traffic = run["network-traffic"]
    sent, received = human_bytes(traffic["outbound-bytes"]), human_bytes(traffic["inbound-bytes"])
    # with the app, the exams and Flower's own envelopes; the record counts what the methods exchange
    elapsed = human_seconds(round(run["elapsed"]))
    return f"run {run['run-id']}: {run['status']}, {elapsed}, Flower sent {sent} and received {received}"


def _progress(folder: Path) -> str:
    try:
        result = load(folder)
    except UserError as error:
        return f"its record cannot be read: {error}"
    up, down = (human_bytes(result.summary[key]) for key in ("bytes_up", "bytes_down"))
    return f"round {result.rounds_done} of {result.summary['rounds']}, up {up}, down {down}: {folder}"
