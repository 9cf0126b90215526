"""The one file that touches Flower's private names, for grids of our own.

Flower's `Message` reads who sends it from a process-wide identity that its own processes set, and a message's id is
set by the grid that posts it. tests/test_strategies.py and the place tests break here first when Flower moves them.
"""

from __future__ import annotations

import itertools

from flwr.app import Message
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

__all__ = ["Run", "become_server", "new_run", "stamp"]

_numbers = itertools.count(1)


def become_server(run_id: int) -> None:
    """Let this process make messages from the server of a run."""
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = run_id, 0, 0


def new_run(run_id: int) -> Run:
    """What Flower knows of a run that it did not start."""
    return Run.create_empty(run_id)


def stamp(message: Message) -> str:
    """Give a message its id."""
    message.metadata.__dict__["_message_id"] = f"message-{next(_numbers)}"
    return message.metadata.message_id
