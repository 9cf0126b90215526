"""An app that does nothing, in as many phases as it is told: what is left of a phase is Flower's own.

The floor under a round on a fleet: SuperNodes ask for work every 3 s, and start a process for each message. The server
looks for answers every 3 s too, or (`steady_server`) twice a second, as fedkd's does.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from strategies.steady import steady

server = ServerApp()
steady_server = ServerApp()
client = ClientApp()


@server.main()
def main(grid: Grid, context: Context) -> None:
    """Send a message to every host, `overrides` times, one after the other; `folder`/floor.json has the seconds."""
    _measure(grid, context)


@steady_server.main()
def steady_main(grid: Grid, context: Context) -> None:
    """The same with fedkd's own looks for answers."""
    _measure(steady(grid), context)


def _measure(grid: Grid, context: Context) -> None:
    seconds = []
    for _ in range(int(str(context.run_config["overrides"]))):
        began = time.monotonic()
        asked = [Message(RecordDict({"nothing": ConfigRecord()}), node, "train") for node in grid.get_node_ids()]
        list(grid.send_and_receive(asked, timeout=60))
        seconds.append(time.monotonic() - began)
    folder = Path(str(context.run_config["folder"]))
    folder.mkdir(parents=True)
    (folder / "floor.json").write_text(json.dumps(seconds))


@client.train()
def answer(message: Message, context: Context) -> Message:
    """The same again."""
    return Message(message.content, reply_to=message)
