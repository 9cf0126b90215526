"""One message to every host and back, for `fedkd fleet check FOLDER/server`: who answers, and for which views."""

from __future__ import annotations

import json

from flwr.serverapp import Grid

from fedkd.wire import about, names
from strategies.lag import hellos

HELLO = "hello"
"""In place of a run's overrides."""
MARK = "fedkd-hello "
HELLO_SECONDS = 60.0
"""Seconds for the answers; starting a ClientApp takes a few."""


def hello(grid: Grid) -> None:
    """Print one line, MARK and JSON: {node: its views}."""
    replies = grid.send_and_receive(hellos(grid.get_node_ids(), "query.hello"), timeout=HELLO_SECONDS)
    views = {
        reply.metadata.src_node_id: names(about(reply.content), "views") for reply in replies if reply.has_content()
    }
    print(MARK + json.dumps(views), flush=True)
