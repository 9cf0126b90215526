"""Who takes part: which node serves which views.

The server cannot see a node's configuration, so it asks. Nodes that name their views keep them; the other views are
dealt to the other nodes in name order, so that two nodes can serve any number of cameras.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flwr.app import ConfigRecord, Message
from flwr.serverapp import Grid

from fedkd.errors import UserError
from fedkd.wire import about, address, names


@dataclass(frozen=True, slots=True)
class Roster:
    """view -> node, in name order of the views."""

    node_of: Mapping[str, int]

    @property
    def views(self) -> tuple[str, ...]:
        """The views, in name order."""
        return tuple(self.node_of)

    def unserved(self, views: Sequence[str]) -> dict[str, str]:
        """view -> why it takes no part, for those of `views` that no node serves."""
        return {view: "no node serves it" for view in views if view not in self.node_of}

    def by_node(self) -> dict[int, list[str]]:
        """node -> its views, both in name order of the views."""
        served: dict[int, list[str]] = {}
        for view, node in self.node_of.items():
            served.setdefault(node, []).append(view)
        return served


def muster(grid: Grid, views: Sequence[str], *, together: bool, patience: float) -> Roster:
    """Wait until nodes are there, ask which views they serve, and deal the rest.

    together  every view must be on one node (recordings are pooled).
    patience  seconds to wait for the first nodes, and for their answers.
    """
    nodes = _wait_for_nodes(grid, patience)
    asked = [Message(address({}, ConfigRecord({"round": 0})), node, "query.hello") for node in nodes]
    claims: dict[int, list[str]] = {}
    for reply in grid.send_and_receive(asked, timeout=patience):
        if reply.has_content():
            claims[reply.metadata.src_node_id] = names(about(reply.content), "views")
    if not claims:
        raise UserError(
            f"expected an answer from one of {len(nodes)} nodes within {patience:.0f} s, got none; "
            "is the ClientApp running?"
        )
    if together:
        return Roster(dict.fromkeys(sorted(views), min(claims)))
    return Roster(deal(views, claims))


def deal(views: Sequence[str], claims: Mapping[int, Sequence[str]]) -> dict[str, int]:
    """view -> node: a claimed view to the node that claims it, the others in name order to the nodes without claims."""
    node_of: dict[str, int] = {}
    for node in sorted(claims):
        for view in claims[node]:
            if view not in views:
                raise UserError(
                    f"expected nodes to serve views of {', '.join(views)}, "
                    f"got '{view}' from node {node}; mend its node config."
                )
            if view in node_of:
                raise UserError(
                    f"expected each view on one node, but nodes {node_of[view]} and {node} both claim '{view}'; "
                    "mend a node config."
                )
            node_of[view] = node
    free = [node for node in sorted(claims) if not claims[node]]
    unclaimed = [view for view in sorted(views) if view not in node_of]
    if unclaimed and not free and not node_of:
        raise UserError("expected at least one node, got none.")
    for index, view in enumerate(unclaimed if free else []):
        node_of[view] = free[index * len(free) // len(unclaimed)]
    return dict(sorted(node_of.items()))


def _wait_for_nodes(grid: Grid, patience: float) -> list[int]:
    """The nodes that are there once their number has been steady for a moment."""
    deadline = time.monotonic() + patience
    seen: list[int] = []
    while time.monotonic() < deadline:
        nodes = sorted(grid.get_node_ids())
        if nodes and (nodes == seen or getattr(grid, "complete", False)):
            return nodes
        seen = nodes
        time.sleep(0.5)
    if seen:
        return seen
    raise UserError(f"expected at least one node within {patience:.0f} s, got none; start the SuperNodes first.")
