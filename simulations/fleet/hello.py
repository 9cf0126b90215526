"""A ServerApp that sends one message to every host and tells who answered, for `fedkd fleet check FOLDER/server`."""

from __future__ import annotations

import json
import time

from flwr.app import ConfigRecord, Context, Message
from flwr.serverapp import Grid, ServerApp

from fedkd.wire import about, address, names

MARK = "fedkd-hello "
PATIENCE = 60.0
"""Seconds for the answers; starting a ClientApp takes a few."""

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Print one line, MARK and JSON: {"seconds": until the last answer, "views": {node: its views}}."""
    began = time.monotonic()
    asked = [Message(address({}, ConfigRecord({"round": 0})), node, "query.hello") for node in grid.get_node_ids()]
    replies = grid.send_and_receive(asked, timeout=PATIENCE)
    views = {
        str(reply.metadata.src_node_id): names(about(reply.content), "views")
        for reply in replies
        if reply.has_content()
    }
    print(MARK + json.dumps({"seconds": time.monotonic() - began, "views": views}), flush=True)
