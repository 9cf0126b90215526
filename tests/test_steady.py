"""A round's deadline where the server's clock is put right in the middle of the round."""

import time

import httpx
import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.common.serde import message_to_proto
from flwr.proto.message_pb2 import PullObjectResponse
from flwr.proto.runtime_pb2 import PullAppMessagesResponse
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree
from flwr.supercore.run import Run
from flwr.superlink.grid.http_grid import HttpGrid
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


def refuse(state: int) -> None:
    """Raise what Flower does for an answer of this state."""
    asked = httpx.Request("POST", "https://127.0.0.1/v1/runtime/pull-messages")
    httpx.Response(state, request=asked).raise_for_status()


class Stumbling(Slow):
    """A SuperLink that answers with these states, one after the other, before it says what it knows."""

    def __init__(self, *states: int) -> None:
        super().__init__()
        self.states = list(states)

    def pull_messages(self, message_ids) -> list[Message]:
        if self.states:
            refuse(self.states.pop(0))
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


class HandsOutOnce:
    """A SuperLink that names an answer once, stumbles over what follows on it, and then says `content`."""

    def __init__(self, content: bytes | None = None) -> None:
        become_server(1)
        question = Message(RecordDict(), 1, "train")
        question.metadata.__dict__["_message_id"] = "asked"
        self.reply = Message(RecordDict({"said": ConfigRecord({"a": 1})}), reply_to=question)
        self.objects = get_all_nested_objects(self.reply)
        self.reply.metadata.__dict__["_message_id"] = self.reply.object_id
        self.content, self.named, self.stumbled, self.confirmed = content, False, set(), 0

    def PullMessages(self, asked) -> PullAppMessagesResponse:
        if self.named:
            return PullAppMessagesResponse()
        self.named = True
        proto, tree = message_to_proto(remove_content_from_message(self.reply)), get_object_tree(self.reply)
        return PullAppMessagesResponse(messages_list=[proto], message_object_trees=[tree])

    def stumble(self, over: str) -> None:
        if over not in self.stumbled:
            self.stumbled.add(over)
            refuse(500)

    def PullObject(self, asked) -> PullObjectResponse:
        self.stumble("object")
        content = self.content or self.objects[asked.object_id].deflate()
        return PullObjectResponse(object_found=True, object_available=True, object_content=content)

    def ConfirmMessageReceived(self, asked) -> None:
        self.stumble("confirmation")
        self.confirmed += 1


def over_http(link: HandsOutOnce) -> HttpGrid:
    grid = HttpGrid(token="token")
    grid.set_run(Run.create_empty(1))
    grid._client = link
    return grid


def test_a_superlink_that_stumbles_over_what_it_hands_out_once_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("strategies.steady.PULL_SECONDS", 0.01)
    link = HandsOutOnce()
    with pytest.warns(Remark, match="stumbled"):
        [reply] = steady(over_http(link)).pull_messages(["asked"])
    assert reply.content["said"]["a"] == 1 and link.stumbled == {"object", "confirmation"} and link.confirmed == 1


def test_an_answer_that_is_none_of_flowers_ends_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("strategies.steady.PULL_SECONDS", 0.01)
    with pytest.warns(Remark, match="answers were lost, as one of them is none of Flower's"):
        assert not list(steady(over_http(HandsOutOnce(b"\xff\xff\xff"))).pull_messages(["asked"]))
