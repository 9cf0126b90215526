"""A round's deadline where the server's clock is put right in the middle of the round."""

import time

import httpx
import pytest
from flwr.app import Message, RecordDict
from flwr.superlink.grid.inmemory_grid import InMemoryGrid

from fedkd.errors import Remark
from simulations.identity import become_server, stamp
from strategies.steady import steady


class Slow(InMemoryGrid):
    """Flower's own loop, over a host that answers at the fifth look, or never."""

    def __init__(self, answers: bool = True) -> None:
        self.pull_interval, self.looks, self.answers = 0.02, 0, answers

    def push_messages(self, messages) -> list[str]:
        self.sent = list(messages)
        return [stamp(message) for message in self.sent]

    def pull_messages(self, message_ids) -> list[Message]:
        self.looks += 1
        return [Message(RecordDict(), reply_to=self.sent[0])] if self.answers and self.looks == 5 else []


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch):
    """The time of day, an hour later at every look."""
    become_server(1)
    hours = iter(range(1000))
    monkeypatch.setattr(time, "time", lambda: 3600.0 * next(hours))


def asked() -> list[Message]:
    return [Message(RecordDict(), 1, "train")]


def test_a_jump_of_the_servers_clock_ends_no_round() -> None:
    assert not list(Slow().send_and_receive(asked(), timeout=60.0)), "Flower keeps time: steady.py may go"
    assert len(list(steady(Slow()).send_and_receive(asked(), timeout=60.0))) == 1


def test_a_host_that_never_answers_is_waited_for_until_the_deadline() -> None:
    began = time.monotonic()
    assert not list(steady(Slow(answers=False)).send_and_receive(asked(), timeout=0.1))
    assert 0.1 <= time.monotonic() - began < 10


class Stumbling(Slow):
    """A SuperLink that answers with these states, one after the other, before it says what it knows."""

    def __init__(self, *states: int) -> None:
        super().__init__()
        self.states = list(states)

    def pull_messages(self, message_ids) -> list[Message]:
        if self.states:
            asked = httpx.Request("POST", "https://127.0.0.1/v1/runtime/pull-messages")
            httpx.Response(self.states.pop(0), request=asked).raise_for_status()
        return super().pull_messages(message_ids)


def test_a_superlink_that_stumbles_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("strategies.steady.PULL_SECONDS", 0.01)
    with pytest.warns(Remark, match="stumbled, and is asked again: .*500"):
        assert len(list(steady(Stumbling(500, 503)).send_and_receive(asked(), timeout=60.0))) == 1


def test_a_superlink_that_refuses_or_stays_down_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(httpx.HTTPStatusError, match="401"):
        steady(Stumbling(401)).send_and_receive(asked(), timeout=60.0)
    monkeypatch.setattr("strategies.steady.STUMBLE_SECONDS", -1.0)
    with pytest.raises(httpx.HTTPStatusError, match="500"):
        steady(Stumbling(500)).send_and_receive(asked(), timeout=60.0)
