"""The ClientApp: what a host answers to each message. `clients.app:app` runs unchanged in every place.

| message        | asks                          | tells                                                   |
|----------------|-------------------------------|---------------------------------------------------------|
| query.hello    |                               | the views this host serves (none: any it is dealt)      |
| query.wait     | to reply together with a join | the same                                                |
| query.join     | to reply together with a wait | the same                                                |
| query.enrol    |                               | each view's clips, teachers, event labels it can tell   |
| train.teacher  | one teacher round             | the teacher's weights after it                          |
| train          | one student round             | tally, and soft labels or weights if wished             |
| evaluate       | an exam                       | the students' and teachers' answers, the true ones, ... |

Flower's SuperNode starts a process for each message. So this module imports little: where the operator keeps a warm
process (`warm=true` in the node config), it does the work, and torch, model and recordings are loaded once.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

app = ClientApp()


@app.query("hello")
@app.query("enrol")
@app.train("teacher")
@app.train()
@app.evaluate()
def answer(message: Message, context: Context) -> Message:
    """The host's reply, by its warm process if it has one."""
    if context.node_config.get("warm"):
        from clients.warm import ask

        return ask(message, context)
    from clients.acts import ACTS  # here: it brings torch

    return ACTS[message.metadata.message_type](message, context)


@app.query("wait")
@app.query("join")
def answer_together(message: Message, context: Context) -> Message:
    """The reply, at the same moment as that of the other of the two; the warm process gives it when its turn comes.

    Only a SuperNode that lags starts both ClientApps at once (strategies/lag.py).
    """
    reply = answer(message, context)
    if context.node_config.get("warm"):
        from clients.meeting import join, wait

        meet = wait if message.metadata.message_type == "query.wait" else join
        with suppress(OSError):  # a full disk costs the meeting, not the reply
            meet(Path(str(context.node_config["state-dir"])).expanduser())
    return reply
